"""``hashsieve apply``: an older hash set and its deltas in, the newer hash set out."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ..errors import shown
from . import output, progress
from .compile import Stage
from .options import JsonOption, Opening, opens_sets


@opens_sets
def command(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The hash set the first delta starts from.")],
    deltas: Annotated[list[str], typer.Argument(metavar="DELTA...", help="Deltas in their order.")],
    out: Annotated[str, typer.Option("-o", "--output", metavar="SET", help="Where to publish the newer hash set.")],
    memory: Annotated[int, typer.Option(metavar="MIB", help="Memory to use; more rows wait on disk.")] = 128,
    jobs: Annotated[
        int | None, typer.Option(help="Threads that sort and write; else one for each CPU, up to 4.")
    ] = None,
    json: JsonOption = False,
    *,
    opening: Opening,
) -> int:
    """Make a newer hash set from an older one and its deltas, published whole or not at all."""
    from ..hashset.delta import apply_delta

    stage = Stage()
    with progress.show("applying", stage.text):
        report = apply_delta(
            old, deltas, out, seal_key=opening.seal_keys, trusted_keys=opening.require_signature,
            minimum_generation=opening.min_generation, require_valid=opening.require_valid, memory_bytes=memory << 20,
            jobs=jobs or min(4, os.cpu_count() or 1), progress=stage.update,
        )  # fmt: skip
    if json:
        paths = {"path": output.path_text(report.path), "deltas": [output.path_text(each) for each in report.deltas]}
        output.line(report.to_json() | paths)
        return 0
    output.say(f"{shown(report.path)}: {report.entries:,} entries, generation {report.generation}")
    output.say(f"root {report.root.hex()}, made from root {report.base.hex()}")
    return 0
