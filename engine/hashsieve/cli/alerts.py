"""``hashsieve alerts``: what the journal holds, whether it can be trusted, and its way to the sinks."""

from __future__ import annotations

import json as json_module
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OutputError, UsageError, shown
from ..model import HealthEvent
from . import output, signals
from .options import ConfigOption, JournalKeyOption, JournalOption, JsonOption

if TYPE_CHECKING:
    from ..alerts.config import AlertConfig
    from ..alerts.cursor import Cursor
    from ..alerts.merge import Recorder
    from ..hashset.hashset import HashSet

app = typer.Typer(name="alerts", help="Alerts on this machine: list, verify, deliver, export, retry, purge.",
                  no_args_is_help=True, rich_markup_mode=None)  # fmt: skip

_LISTED = ("alert", "update", "fold", "withdraw", "damage", "full", "space")


def journal_key(source: str | None) -> bytes | None:
    """The secret of a journal from ``--journal-key``."""
    if source is None:
        return None
    from ..alerts.secrets import key_of, read_secret

    return key_of(read_secret(source))


def open_recorder(journal: str, key: str | None, config: AlertConfig, **options: Any) -> Recorder:
    """The writer of a journal directory as every command opens it."""
    from ..alerts.cursor import delivered_up_to, highest_seen
    from ..alerts.environment import Environment
    from ..alerts.merge import Recorder

    holder: list[Recorder] = []
    recorder = Recorder(
        journal, key=journal_key(key), cap_bytes=config.cap_bytes, environment=Environment(config.network_rule),
        recipe=config.recipe, on_event=event, floor_seq=highest_seen(journal),
        delivered=lambda: delivered_up_to(journal, holder[0].journal.journal) if holder else 0, **options,
    )  # fmt: skip
    holder.append(recorder)
    return recorder


def trusted_by(sets: Sequence[HashSet]) -> Callable[[Mapping[str, bytes]], bool]:
    """Does any of these sets list exactly that content as trusted?"""
    from ..model import Role
    from ..scan.verdict import look_up

    def trusted(digests: Mapping[str, bytes]) -> bool:
        hits, _ = look_up(sets, digests)
        return any(
            any(listing.role is Role.TRUSTED for listing in hit.entry.listings)
            and all(digests.get(kind, digest) == digest for kind, digest in hit.entry.digests.items())
            for hit in hits
        )

    return trusted


def event(found: HealthEvent) -> None:
    """A line on standard error."""
    output.note(f"hashsieve: {found.kind}: {found.text}")


@app.command("list")
def list_command(
    journal: JournalOption,
    config: ConfigOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Heartbeats and the journal's own records too.")] = False,
    undelivered: Annotated[bool, typer.Option("--undelivered", help="Only what some sink has not taken yet.")] = False,
    json: JsonOption = False,
) -> int:
    """List alerts. Exit code 0, or 3 when damaged records were left out."""
    from ..alerts.cursor import load_all
    from ..alerts.deliver import delivery_of
    from ..alerts.journal import JournalReader
    from ..alerts.merge import DELIVERED_TYPES

    cursors = load_all(journal)
    reader = JournalReader(journal)
    count = 0
    for line in reader.lines():
        if line.type not in (DELIVERED_TYPES if everything else _LISTED):
            continue
        delivered = {each.name: each.delivered(line.seq) for each in cursors}
        if undelivered and delivered and all(delivered.values()):
            continue
        record = dict(delivery_of(line).record) | {"delivered": delivered, "parked": _parked(cursors, line.seq)}
        count += 1
        if json:
            output.line(record)
        else:
            output.say(_row(record))
    if reader.damaged:
        output.note(f"hashsieve: {reader.damaged} damaged places were passed over; see hashsieve alerts verify")
    if not json and not count:
        output.say("no alerts")
    return 3 if reader.damaged else 0


def _parked(cursors: list[Cursor], seq: int) -> dict[str, str]:
    return {each.name: each.parked[seq].reason for each in cursors if seq in each.parked}


def _row(record: dict[str, Any]) -> str:
    what = f"{'TEST ' if record.get('test') else ''}{str(record['type']).upper()}"
    paths = record.get("paths") or [{}]
    where = record.get("display") or paths[0].get("display") or ""
    sources = sorted({x["source"] for e in record.get("entries") or () for x in e["listings"]})
    state = ", ".join(
        f"{name} {'delivered' if done else record['parked'].get(name, 'waiting')}"
        for name, done in record["delivered"].items()
    )
    times = f"{record['count']} times" if int(record.get("count") or 1) > 1 else ""
    parts = [str(record.get("time", "")), what, str(record["id"]), times, where, ", ".join(sources)]
    parts.append(f"[{state}]" if state else "")
    return shown("  ".join(part for part in parts if part))


@app.command("verify")
def verify_command(
    journal: JournalOption,
    journal_key_source: JournalKeyOption = None,
    anchor: Annotated[
        str | None, typer.Option(metavar="SEQ:CHAIN", help="Number and chain value that a receiver once got.")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Prove the journal. Exit code 0 intact, 3 damage found, 2 cannot be opened."""
    from ..alerts.journal import parse_anchor, verify

    report = verify(
        journal, key=journal_key(journal_key_source), anchor=None if anchor is None else parse_anchor(anchor)
    )
    if json:
        output.line(report.to_json())
        return 0 if report.intact else 3
    for each in report.breaks:
        place = f"{each.segment}, byte {each.offset}: " if each.segment and each.offset is not None else ""
        known = "  (recorded before)" if each.name in report.recorded else ""
        output.say(shown(f"{place}{each.text}{known}"))
    if report.unproved:
        output.say(f"{report.unproved} records carry a key that was not given: only their chain was checked")
    words = "intact" if report.intact else f"{len(report.breaks)} breaks"
    output.say(f"{shown(journal)}: {words}, {report.records} records, head {report.seq}:{report.chain}")
    return 0 if report.intact else 3


@app.command("deliver")
def deliver_command(
    journal: JournalOption,
    config: ConfigOption = None,
    seconds: Annotated[float, typer.Option("--for", metavar="SECONDS", help="How long to try.")] = 60.0,
    json: JsonOption = False,
) -> int:
    """Deliver what waits to every sink of the settings. Exit code 0 when nothing waits any more, else 3."""
    from ..alerts.config import load_config, make_sinks
    from ..alerts.deliver import Deliverer

    settings = load_config(config)
    sinks = make_sinks(settings)
    if not sinks:
        raise UsageError("no sink is named: give --config FILE.toml with [sink.NAME] tables")
    left = False
    with (
        Deliverer(journal, sinks, on_event=event) as deliverer,
        signals.instead(lambda number: deliverer.ask_to_stop()),
    ):
        deliverer.run(seconds)
        for worker in deliverer.workers:
            progress = worker.progress
            left |= bool(progress.waiting or not worker.idle or worker.cursor.parked or worker.cursor.stopped)
            if json:
                output.line({"event": "delivered", "sink": worker.sink.name} | progress.to_json())
            elif not isinstance(worker.sink.name, str) or settings.sinks[worker.sink.name].get("type") != "stdout":
                last = f"; last: {progress.last_reason}" if progress.last_reason and left else ""
                output.say(
                    shown(
                        f"{worker.sink.name}: {progress.delivered} delivered, {progress.waiting} waiting, "
                        f"{len(worker.cursor.parked)} parked{last}"
                    )
                )
    stopped_by = signals.received()
    if stopped_by is not None:
        return 128 + stopped_by
    return 3 if left else 0


@app.command("retry")
def retry_command(
    journal: JournalOption,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Parked alerts; all without one.")] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Take parked alerts back among those to be delivered."""
    from ..alerts.deliver import retry

    count = retry(journal, ids or ())
    if json:
        output.line({"event": "retried", "count": count})
    else:
        output.say(f"{count} parked alerts will be delivered again")
    return 0


@app.command("purge")
def purge_command(
    journal: JournalOption,
    older_than: Annotated[float, typer.Option("--older-than", metavar="DAYS", help="Days since they were made.")],
    journal_key_source: JournalKeyOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Take away what every sink has and is older than DAYS; that is recorded."""
    from ..alerts.config import load_config

    with open_recorder(journal, journal_key_source, load_config(config)) as recorder:
        stored = recorder.purge(older_than)
    if json:
        output.line({"event": "purged", "record": None if stored is None else stored.id})
    else:
        output.say("nothing to take away" if stored is None else f"taken away, on the record: {stored.id}")
    return 0


@app.command("export")
def export_command(
    journal: JournalOption,
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the alert.")],
    out: Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="Where to write the package.")],
    journal_key_source: JournalKeyOption = None,
    sign_key: Annotated[str | None, typer.Option(metavar="SRC", help="Ed25519 key: fd:N, file:PATH, env:NAME.")] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Write the evidence package of an alert: record, proof of the chain, set, engine, settings; never content."""
    from ..alerts.config import load_config
    from ..alerts.export import export_alert
    from ..hashset.publish import AtomicFile

    package = export_alert(
        journal, id, config=load_config(config), key=journal_key(journal_key_source),
        sign=None if sign_key is None else _signer(sign_key),
    )  # fmt: skip
    if os.path.lexists(out):
        raise OutputError(f"{shown(out)}: exists already; evidence is not written over")
    with AtomicFile(out) as target:
        with target.problems():
            target.file.write(json_module.dumps(package, indent=1, ensure_ascii=True).encode("ascii") + b"\n")
        target.publish()
    intact = package["chain"]["intact"]
    if json:
        output.line({"event": "exported", "id": id, "path": output.path_text(out), "intact": intact})
    else:
        output.say(f"wrote {shown(out)}" + ("" if intact else "; the journal is NOT intact"))
    return 0


def _signer(source: str) -> Any:
    """Signs with an Ed25519 key as ``hashsieve keygen sign`` makes it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from ..hashset.keys import KeyKind, secret_of

    with secret_of(source, KeyKind.SIGN) as seed:
        key = Ed25519PrivateKey.from_private_bytes(bytes(seed))

    def sign(data: bytes) -> dict[str, str]:
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"algorithm": "ed25519", "public_key": public.hex(), "value": key.sign(data).hex()}

    return sign
