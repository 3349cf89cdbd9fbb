"""The settings of alerts, from a TOML file. What it does not know it refuses; secrets are only ever named in it.

::

    [record]
    omit = ["users"]                          # context fields to leave out of every alert
    neighbours = 200
    [hours]
    days = [1, 2, 3, 4, 5]                    # Monday is 1
    start = "08:00"
    end = "18:00"
    [network]
    dns_suffixes = ["corp.example"]           # any of these, or of the gateways: on the company's network
    gateways = ["10.0.0.1"]
    [journal]
    cap_mib = 256
    [sink.inbox]
    type = "webhook"                          # webhook, splunk, syslog, file, stdout
    url = "https://alerts.example/hook"
    format = "native"                         # native, ocsf, ecs, cef, stix, case
    secret = "file:/etc/hashsieve/hook.key"   # fd:N, file:PATH, env:NAME; a list while keys are being changed
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..errors import Path, UsageError, shown
from ..platform.host import NetworkRule
from .environment import Environment
from .formats import find_format
from .record import MAX_NEIGHBOURS, Recipe, WorkingHours
from .secrets import ReadSecret, read_secret
from .sinks import Sink

__all__ = ["AlertConfig", "load_config", "make_sinks"]

_TYPES: dict[type, str] = {str: "a text", int: "a whole number", bool: "true or false", list: "a list"}


@dataclass(frozen=True, slots=True)
class AlertConfig:
    """What the file says; without one, the defaults."""

    recipe: Recipe = field(default_factory=Recipe)
    network_rule: NetworkRule = field(default_factory=NetworkRule)
    cap_bytes: int = 256 << 20
    sinks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    text: str = ""


class _Table:
    """A table of the file, read key by key; what is left over at the end is refused."""

    def __init__(self, where: str, found: object) -> None:
        if not isinstance(found, dict):
            raise UsageError(f"{where}: is not a table")
        self.where = where
        self._left: dict[str, Any] = dict(found)

    def take(self, name: str, kind: type, default: Any = None) -> Any:
        value = self._left.pop(name, default)
        if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise UsageError(f"{self.where}.{name}: is not {_TYPES[kind]}")
        return value

    def take_texts(self, name: str) -> list[str]:
        value = self._left.pop(name, [])
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
            raise UsageError(f"{self.where}.{name}: is not a list of texts")
        return texts

    def end(self) -> None:
        if self._left:
            raise UsageError(f"{self.where}: there is no setting {', '.join(sorted(map(shown, self._left)))}")


def load_config(path: Path | None) -> AlertConfig:
    """Reads a settings file; None gives the defaults."""
    if path is None:
        return AlertConfig()
    try:
        with open(path, "rb") as file:
            raw = file.read(1 << 20)
        found = tomllib.loads(raw.decode("utf-8"))
    except OSError as problem:
        raise UsageError(f"{shown(path)}: cannot be read: {problem.strerror or problem}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise UsageError(f"{shown(path)}: is not TOML: {problem}") from None
    try:
        return _config(found, raw.decode("utf-8"))
    except UsageError as problem:
        raise UsageError(f"{shown(path)}: {problem}") from None


def _config(found: Mapping[str, Any], text: str) -> AlertConfig:
    top = _Table("settings", found)
    record = _Table("record", top._left.pop("record", {}))
    hours = top._left.pop("hours", None)
    network = _Table("network", top._left.pop("network", {}))
    journal = _Table("journal", top._left.pop("journal", {}))
    sinks = _Table("sink", top._left.pop("sink", {}))
    top.end()
    neighbours = record.take("neighbours", int, MAX_NEIGHBOURS)
    if not 0 <= neighbours <= MAX_NEIGHBOURS:
        raise UsageError(f"record.neighbours: is a number from 0 to {MAX_NEIGHBOURS}")
    recipe = Recipe(
        omit=frozenset(record.take_texts("omit")),
        hours=None if hours is None else _hours(_Table("hours", hours)),
        max_neighbours=neighbours,
    )
    record.end()
    rule = NetworkRule(tuple(network.take_texts("dns_suffixes")), tuple(network.take_texts("gateways")))
    network.end()
    cap_mib = journal.take("cap_mib", int, 256)
    if not 1 <= cap_mib <= 1 << 20:
        raise UsageError("journal.cap_mib: is a number of MiB from 1")
    journal.end()
    for name, sink in sinks._left.items():
        if not isinstance(sink, dict):
            raise UsageError(f"sink.{shown(name)}: is not a table")
    return AlertConfig(recipe, rule, cap_mib << 20, dict(sinks._left), text)


def _hours(table: _Table) -> WorkingHours:
    days = table.take("days", list, [1, 2, 3, 4, 5])
    if not all(isinstance(day, int) and 1 <= day <= 7 for day in days):
        raise UsageError("hours.days: is a list of numbers from 1, Monday, to 7")
    start, end = (_minute(table, name, default) for name, default in (("start", "08:00"), ("end", "18:00")))
    table.end()
    return WorkingHours(frozenset(day - 1 for day in days), start, end)


def _minute(table: _Table, name: str, default: str) -> int:
    text = table.take(name, str, default)
    hour, colon, minute = text.partition(":")
    if not (colon and hour.isdecimal() and minute.isdecimal() and int(hour) <= 24 and int(minute) < 60):
        raise UsageError(f"hours.{name}: is a time such as 08:00")
    return int(hour) * 60 + int(minute)


def make_sinks(
    config: AlertConfig, *, secrets: ReadSecret = read_secret, environment: Environment | None = None
) -> list[Sink]:
    """The sinks that the settings name; each secret is read once, here."""
    return [_sink(name, found, secrets, environment) for name, found in config.sinks.items()]


def _sink(name: str, found: Mapping[str, Any], secrets: ReadSecret, environment: Environment | None) -> Sink:
    table = _Table(f"sink.{shown(name)}", found)
    kind = table.take("type", str)
    format_name = table.take("format", str, "native")
    batch = table.take("batch", int)
    url = table.take("url", str)
    sources = table.take_texts("secret")
    try:
        format = find_format(format_name)
        given = [secrets(source) for source in sources]
    except UsageError as problem:
        raise UsageError(f"{table.where}: {problem}") from None
    if batch is not None and not 1 <= batch <= 1000:
        raise UsageError(f"{table.where}.batch: is a number from 1 to 1000")
    options: dict[str, Any] = {} if batch is None else {"batch_count": batch}
    try:
        return _typed_sink(name, kind, table, url, format, given, options, environment)
    except UsageError as problem:
        text = str(problem)
        raise UsageError(text if text.startswith(table.where) else f"{table.where}: {text}") from None


def _typed_sink(
    name: str,
    kind: str | None,
    table: _Table,
    url: str | None,
    format: Any,
    secrets: list[bytes],
    options: dict[str, Any],
    environment: Environment | None,
) -> Sink:
    if kind in ("webhook", "splunk"):
        options |= {"ca_file": table.take("ca_file", str), "insecure": table.take("insecure", bool, False)}
        if environment is not None:
            options["environment"] = environment
        if url is None:
            raise UsageError(f"{table.where}.url: is missing")
    if kind == "webhook":
        from .sinks.webhook import WebhookSink

        acknowledge = table.take("acknowledge", str, "status")
        bearer = table.take("authorization", str)
        table.end()
        headers = {} if bearer is None else {"authorization": read_secret(bearer).decode("utf-8", "replace")}
        return WebhookSink(name, str(url), format, secrets, acknowledge=acknowledge, headers=headers, **options)
    if kind == "splunk":
        from .sinks.splunk import SplunkSink

        indexer_ack = table.take("indexer_ack", bool, False)
        table.end()
        if len(secrets) != 1:
            raise UsageError(f"{table.where}.secret: names the one token of the collector")
        return SplunkSink(name, str(url), format, secrets[0], indexer_ack=indexer_ack, **options)
    if kind == "syslog":
        from .sinks.syslog import SyslogSink

        parts = urlsplit(str(url))
        if parts.scheme not in ("tls", "tcp") or not parts.hostname:
            raise UsageError(f"{table.where}.url: is tls://HOST:PORT or tcp://HOST:PORT")
        ca_file, facility = table.take("ca_file", str), table.take("facility", int, 13)
        table.end()
        port = parts.port or (6514 if parts.scheme == "tls" else 601)
        return SyslogSink(
            name, parts.hostname, port, format, tls=parts.scheme == "tls", ca_file=ca_file, facility=facility, **options
        )
    if kind == "file":
        from .sinks.file import FileSink

        path = table.take("path", str)
        table.end()
        return FileSink(name, path or "", format, **options)
    if kind == "stdout":
        from .sinks.file import StdoutSink

        table.end()
        return StdoutSink(name, format, **options)
    raise UsageError(f"{table.where}.type: is webhook, splunk, syslog, file or stdout")
