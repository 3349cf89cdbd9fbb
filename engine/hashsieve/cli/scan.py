"""``hashsieve scan``: which files below these paths are listed?"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import __version__
from ..errors import shown
from ..model import HealthEvent, Match, Outcome, OutcomeKind, Summary
from . import output, progress, signals, silence_stdout
from .options import JournalKeyOption, JsonOption, Opening, SetsOption, opens_sets

if TYPE_CHECKING:
    from ..alerts.merge import Recorder
    from ..scan.scanner import Scanner


@opens_sets
def command(
    sets: SetsOption,
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files and directory trees to scan.")],
    opening: Opening,
    jobs: Annotated[int, typer.Option(help="Reader threads; one keeps a laptop quiet.")] = 1,
    digests: Annotated[str, typer.Option(metavar="K,..", help="Digest kinds to compute beside the planned ones.")] = "",
    only: Annotated[str | None, typer.Option(metavar="media", help="Leave out what does not start like media.")] = None,
    max_size: Annotated[int | None, typer.Option(metavar="BYTES", help="Leave out larger files.")] = None,
    network: Annotated[
        bool, typer.Option("--network", help="Enter network mounts too; else they are reported.")
    ] = False,
    journal: Annotated[
        str | None, typer.Option("--journal", metavar="DIR", help="Alert journal to write every match to.")
    ] = None,
    journal_key: JournalKeyOption = None,
    json: JsonOption = False,
) -> int:
    """Scan files and directory trees. Exit code 0 nothing known, 1 at least one match, 3 something was left open."""
    from ..scan.scanner import Scanner

    with contextlib.ExitStack() as stack:
        # Filters are loaded by the scanner: only those of the planned kinds.
        opened = [stack.enter_context(opening.open(path, load=())) for path in sets]
        extra = [name for name in digests.replace(" ", "").split(",") if name]
        scanner = stack.enter_context(
            Scanner(
                opened, jobs=jobs, digests=extra, only=only, max_size_bytes=max_size, network=network, on_event=_event
            )
        )
        recorder = None
        if journal is not None:
            from ..alerts.config import AlertConfig
            from .alerts import open_recorder, trusted_by

            recorder = stack.enter_context(open_recorder(journal, journal_key, AlertConfig()))
            recorder.withdraw(trusted_by(opened))
        return run(scanner, paths, json=json, recorder=recorder)


def run(scanner: Scanner, paths: list[str], *, json: bool, recorder: Recorder | None = None) -> int:
    """Scans and prints; the exit code. A match is in the journal before it is printed."""
    if json:
        output.line(_start(scanner, paths))
    summary: Summary | None = None
    with signals.instead(lambda number: scanner.stop()), progress.show("scanning", lambda: _progress_text(scanner)):
        try:
            for outcome in scanner.scan(*paths):
                if isinstance(outcome, Summary):
                    summary = outcome
                else:
                    if recorder is not None and outcome.match is not None:
                        recorder.add(outcome.match)
                    (_json if json else _text)(outcome)
            assert summary is not None
            if json:
                output.line(summary_json(summary))
            else:
                _say_summary(summary)
        except output.ClosedPipe:
            scanner.stop()
            if not scanner.counters.matched:
                raise
            # Nobody reads any more, but what was found is still in the exit code.
            silence_stdout()
            return 1
    stopped_by = signals.received()
    return exit_code(summary) if stopped_by is None else 128 + stopped_by


def exit_code(summary: Summary) -> int:
    """1 at least one match; 3 something was left open; 0 everything examined and nothing known."""
    if summary.matched:
        return 1
    return 3 if summary.incomplete or not summary.complete else 0


def _event(event: HealthEvent) -> None:
    output.note(f"hashsieve: {event.kind}: {event.text}")


def _start(scanner: Scanner, paths: list[str]) -> dict[str, Any]:
    import datetime

    return {
        "event": "start",
        "engine": f"hashsieve {__version__}",
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "sets": [
            {"path": output.path_text(s.path), "root": s.root.hex(), "generation": s.generation} for s in scanner.sets
        ],
        "roots": [output.path_text(path) for path in paths],
        "gates": list(scanner.gates),
        "digests": [kind.value for kind in scanner.plan],
    }


def _json(outcome: Outcome) -> None:
    if outcome.match is not None:
        output.line(match_json(outcome.match))
    elif outcome.kind is not OutcomeKind.GONE:
        output.line({"event": outcome.kind.value, **output.path_fields(outcome.path), "reason": outcome.reason})


def match_json(match: Match) -> dict[str, Any]:
    """The ``match`` event."""
    return {
        "event": "match",
        **output.path_fields(match.path),
        "size": match.size_bytes,
        "digests": {kind: digest.hex() for kind, digest in match.digests.items()},
        "confirmed_by": list(match.confirmed_by),
        "contradicted_by": list(match.contradicted_by),
        "set": match.set_root.hex(),
        "set_path": output.path_text(match.set_path),
        "generation": match.generation,
        "test": match.test,
        "entries": [output.entry_json(entry) for entry in match.entries],
    }


def _text(outcome: Outcome) -> None:
    if outcome.match is not None:
        match = outcome.match
        also = f", but not by {', '.join(match.contradicted_by)}" if match.contradicted_by else ""
        output.say(
            f"{'TEST MATCH' if match.test else 'MATCH'}  {shown(outcome.path)}  "
            f"by {', '.join(match.confirmed_by)}{also}  {output.describe(match.entries)}"
        )
    elif outcome.kind is not OutcomeKind.GONE:
        output.say(f"{outcome.kind.value.replace('_', ' ')}  {shown(outcome.path)}  {shown(outcome.reason or '')}")


def summary_json(summary: Summary) -> dict[str, Any]:
    """The ``summary`` event."""
    return {
        "event": "summary",
        "seen": summary.seen,
        "matched": summary.matched,
        "no_match": summary.no_match,
        "not_examined": summary.not_examined,
        "changed": summary.changed,
        "gone": summary.gone,
        "errors": summary.errors,
        "special": summary.special,
        "known_good": summary.known_good,
        "undecided": summary.undecided,
        "suppressed": summary.suppressed,
        "bytes_read": summary.bytes_read,
        "cache_hits": summary.cache_hits,
        "cpu_seconds": round(summary.cpu_seconds, 6),
        "wall_seconds": round(summary.wall_seconds, 6),
        "started": summary.started,
        "ended": summary.ended,
        "complete": summary.complete,
        "incomplete": summary.incomplete,
        "not_examined_reasons": dict(summary.not_examined_reasons),
        "specials": dict(summary.specials),
        "gates": dict(summary.gates),
        "expired_sets": [output.path_text(path) for path in summary.expired_sets],
    }


def _say_summary(s: Summary) -> None:
    rate = s.seen / s.wall_seconds if s.wall_seconds > 0 else 0.0
    output.say(
        f"{s.seen:,} files seen: {s.matched:,} matched, {s.no_match:,} not listed, {s.not_examined:,} not examined, "
        f"{s.changed:,} changed, {s.gone:,} gone, {s.errors:,} errors; {s.special:,} special"
    )
    output.say(
        f"{output.human_bytes(s.bytes_read)} read in {s.wall_seconds:.2f} s ({rate:,.0f} files/s), "
        f"{s.cpu_seconds:.2f} CPU seconds"
    )
    for path in s.expired_sets:
        output.say(f"{shown(path)}: its end of validity has passed; get a newer set")
    if not s.complete:
        output.say("stopped before the end: what was not reached is not examined")
    elif s.incomplete and not s.matched:
        output.say(f"nothing known was found, but {s.incomplete:,} names are left open: this is not a clean result")


def _progress_text(scanner: Scanner) -> str:
    counters = scanner.counters
    return f"{counters.seen:,} files, {output.human_bytes(counters.bytes_read)}, {counters.matched:,} matched"
