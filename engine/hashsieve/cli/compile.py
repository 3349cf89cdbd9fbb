"""``hashsieve compile``: hash lists in, one hash set out."""

from __future__ import annotations

import datetime
import os
import re
import time
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import typer

from ..errors import UsageError, shown
from . import output, progress
from .options import JsonOption


def command(
    lists: Annotated[list[str], typer.Argument(metavar="LIST...", help="Hash lists to compile together.")],
    out: Annotated[str, typer.Option("-o", "--output", metavar="SET", help="Where to publish the set or delta.")],
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
    generation: Annotated[
        int | None, typer.Option(help="Generation number of the set; else 1, or one more than the base's.")
    ] = None,
    valid_until: Annotated[
        str | None, typer.Option(metavar="DATE", help="End of validity, YYYY-MM-DD or ISO 8601, UTC.")
    ] = None,
    sizes: Annotated[str, typer.Option(help="trusted or ignored.")] = "ignored",
    bits_per_entry: Annotated[float, typer.Option(help="Filter bits for each digest.")] = 16,
    memory: Annotated[int, typer.Option(metavar="MIB", help="Memory to use; more records wait on disk.")] = 512,
    jobs: Annotated[
        int | None, typer.Option(help="Threads that sort and write; else one for each CPU, up to 4.")
    ] = None,
    seal_key: Annotated[
        str | None, typer.Option(metavar="SRC", help="Seal the set with this key: fd:N, file:PATH or env:NAME.")
    ] = None,
    sign_key: Annotated[
        list[str] | None, typer.Option(metavar="SRC", help="Sign the set with this key; may be given again.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="OLD", help="Write a delta from this older hash set to the complete new one.")
    ] = None,
    json: JsonOption = False,
) -> int:
    """Compile hash lists into one hash set, or a delta to it, published whole or not at all."""
    from ..hashset.compile import compile_lists

    if jobs is None:
        jobs = min(4, os.cpu_count() or 1)
    stage = Stage()

    keys: dict[str, Any] = {}
    if seal_key is not None:
        from ..hashset.seal import SealKey

        keys["seal"] = SealKey.load(seal_key)
    if sign_key:
        from ..hashset.signature import SignKey, signer

        keys["sign"] = signer(SignKey.load(each) for each in sign_key)
    with progress.show("compiling", stage.text):
        report = compile_lists(
            lists, out, role=role, source=source, format=format, digest=digest, profile=profile, strict=strict,
            columns=_columns(map_), generation=generation, valid_until_seconds=_seconds(valid_until), sizes=sizes,
            bits_per_entry=bits_per_entry, memory_bytes=memory << 20, jobs=jobs, base=base,
            progress=stage.update, **keys,
        )  # fmt: skip
    for found in report.trivial:
        output.note(
            f"hashsieve: warning: the {found.kind} {'' if seal_key else f'{found.digest.hex()} '}of {found.content} is "
            "listed, as "
            f"{', '.join(found.roles)}: it will be found everywhere; ask the list's custodian"
        )
    if json:
        output.line(report.to_json() | {"path": output.path_text(report.path)})
        return 0
    for each in report.lists:
        left = [f"{count:,} {reason}" for counts in (each.dropped, each.refused) for reason, count in counts.items()]
        output.say(
            f"{each.path}: {each.format}, {each.role}, source {each.source}: {each.taken:,} records taken"
            + (f"; left out: {', '.join(left)}" if left else "")
        )
    if report.delta is not None:
        size = output.human_bytes(report.delta.file_bytes)
        output.say(f"{shown(report.path)}: a delta of {report.delta.rows:,} rows, {size}, to the set below")
        output.say(f"base root {report.delta.base.hex()}")
    digests = ", ".join(f"{count:,} {kind}" for kind, count in report.digests.items())
    name = "" if report.delta is not None else f"{shown(report.path)}: "
    output.say(f"{name}{report.entries:,} entries ({digests}), {report.conflicts:,} conflicts")
    output.say(f"root {report.root.hex()}, generation {report.generation}")
    return 0


class Stage:
    """What is going on, and how long it still takes: one line for people."""

    NAMES: ClassVar = {
        "read": "reading lists", "base": "reading the base", "merge": "merging", "tables": "ordering digests",
        "conflicts": "counting conflicts", "write": "writing", "compare": "comparing with the base",
    }  # fmt: skip

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._state: tuple[str, int, int | None, float] = ("read", 0, None, clock())

    def update(self, stage: str, done: int, total: int | None) -> None:
        """Called by the work."""
        began = self._state[3] if stage == self._state[0] else self._clock()
        self._state = stage, done, total, began

    def text(self) -> str:
        """Called by whoever draws, from another thread."""
        stage, done, total, began = self._state
        text = f"{self.NAMES.get(stage, stage)}: {done:,}"
        if not total:
            return f"{text} records"
        passed = self._clock() - began
        text += f" of {total:,}"
        if done and passed > 1:
            text += f", {_duration(passed * max(total - done, 0) / done)} left in this step"
        return text


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


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
