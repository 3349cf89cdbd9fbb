"""``hashsieve compile``: hash lists in, one hash set out."""

from __future__ import annotations

import datetime
import re
from typing import Annotated

import typer

from ..errors import UsageError, shown
from . import output, progress
from .options import JsonOption


def command(
    lists: Annotated[list[str], typer.Argument(metavar="LIST...", help="Hash lists to compile together.")],
    out: Annotated[str, typer.Option("-o", "--output", metavar="SET", help="Where to publish the hash set.")],
    role: Annotated[str | None, typer.Option(help="known-bad, known-good, trusted, undecided or test.")] = None,
    source: Annotated[str | None, typer.Option(help="Name of the custodian; else each list's file name.")] = None,
    format: Annotated[str | None, typer.Option(help="List format, where the content should not decide.")] = None,
    digest: Annotated[str | None, typer.Option(help="Kind of bare digests of 64 hex digits: sha256 or blake3.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="Category profile of graded lists: us, uk, or a file of lines CATEGORY = ROLE.")
    ] = None,
    map_: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="FIELD=COLUMN,...",
            help="Columns of a table by name or number; fields: md5, sha1, sha256, blake3, size, category, ref.",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Any refused row refuses the list.")] = False,
    generation: Annotated[int, typer.Option(help="Generation number of the set.")] = 1,
    valid_until: Annotated[
        str | None, typer.Option(metavar="DATE", help="End of validity, YYYY-MM-DD or ISO 8601, UTC.")
    ] = None,
    sizes: Annotated[str, typer.Option(help="trusted or ignored.")] = "ignored",
    bits_per_entry: Annotated[float, typer.Option(help="Filter bits for each digest.")] = 16,
    json: JsonOption = False,
) -> int:
    """Compile hash lists into one hash set, published whole or not at all."""
    from ..hashset.compile import compile_lists

    state = {"stage": "read", "count": 0}

    def on_progress(stage: str, count: int) -> None:
        state.update(stage=stage, count=count)

    with progress.show("compiling", lambda: f"{state['stage']}: {state['count']:,} records"):
        report = compile_lists(
            lists, out, role=role, source=source, format=format, digest=digest, profile=profile, strict=strict,
            columns=_columns(map_), generation=generation, valid_until_seconds=_seconds(valid_until), sizes=sizes,
            bits_per_entry=bits_per_entry, progress=on_progress,
        )  # fmt: skip
    if json:
        output.line(report.to_json() | {"path": output.path_text(report.path)})
        return 0
    for each in report.lists:
        left = [f"{count:,} {reason}" for counts in (each.dropped, each.refused) for reason, count in counts.items()]
        output.say(
            f"{each.path}: {each.format}, {each.role}, source {each.source}: {each.taken:,} records taken"
            + (f"; left out: {', '.join(left)}" if left else "")
        )
        if each.warned:
            warned = ", ".join(f"{count:,} {reason}" for reason, count in each.warned.items())
            output.say(f"{each.path}: warning: taken, but files like that are on every machine: {warned}")
    digests = ", ".join(f"{count:,} {kind}" for kind, count in report.digests.items())
    output.say(f"{shown(report.path)}: {report.entries:,} entries ({digests}), {report.conflicts:,} conflicts")
    output.say(f"root {report.root.hex()}, generation {report.generation}")
    return 0


def _columns(text: str | None) -> dict[str, str] | None:
    """The pairs of ``--map``. Names of columns may hold equals signs, and commas if no field and its sign follow."""
    if text is None:
        return None
    pairs = [part.partition("=") for part in re.split(r",(?=[a-z0-9]+=)", text)]
    if any(not field.strip() or not column.strip() for field, _, column in pairs):
        raise UsageError(f"--map takes FIELD=COLUMN,..., not {text!r}")
    if len({field for field, _, _ in pairs}) < len(pairs):
        raise UsageError("--map names a field twice")
    return {field.strip(): column.strip() for field, _, column in pairs}


def _seconds(date: str | None) -> int:
    if date is None:
        return 0
    try:
        moment = datetime.datetime.fromisoformat(date)
    except ValueError:
        raise UsageError(f"--valid-until takes a date such as 2027-01-31, not {date!r}") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp())
