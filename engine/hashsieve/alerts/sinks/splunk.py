"""Splunk's HTTP Event Collector: events as JSON, one after another, with a token; indexer acknowledgement if wanted."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ...errors import UsageError
from ..formats import Format
from . import Answer, Delivery, Verdict
from .http import HttpSink, judge_status

__all__ = ["SplunkSink"]

_BUSY_CODES = frozenset((8, 9, 18, 19, 20, 23, 26))  # the collector's own numbers for: not now
_TOKEN_CODES = frozenset((1, 2, 3, 4))


class SplunkSink(HttpSink):
    """POST to ``/services/collector/event``. *indexer_ack*: wait until the indexers have it."""

    def __init__(
        self,
        name: str,
        url: str,
        format: Format,
        token: bytes,
        *,
        indexer_ack: bool = False,
        ack_seconds: float = 20.0,
        source: str = "hashsieve",
        sourcetype: str = "hashsieve:alert",
        **options: Any,
    ) -> None:
        options.setdefault("batch_count", 20)
        super().__init__(name, url, **options)
        if not format.json:
            raise UsageError(f"Splunk takes JSON; format {format.name} is none")
        parts = urlsplit(self.url)
        if parts.path in ("", "/"):
            self.url = urlunsplit(parts._replace(path="/services/collector/event"))
        self._ack_url = urlunsplit(parts._replace(path="/services/collector/ack", query=""))
        self._format = format
        self._token = token
        self._indexer_ack = indexer_ack
        self._ack_seconds = ack_seconds
        self._channel = str(uuid.uuid4())
        self._source, self._sourcetype = source, sourcetype

    def _headers(self) -> dict[str, str]:
        return {
            "authorization": f"Splunk {self._token.decode('utf-8', 'replace')}", "content-type": "application/json",
            "x-splunk-request-channel": self._channel, "user-agent": "hashsieve",
        }  # fmt: skip

    def _event(self, each: Delivery) -> bytes:
        head = {
            "source": self._source, "sourcetype": self._sourcetype, "host": _host(each),
            "time": _seconds(str(each.record.get("time", ""))), "fields": {"alert_id": each.id},
        }  # fmt: skip
        start = json.dumps({name: value for name, value in head.items() if value is not None})
        return start[:-1].encode() + b',"event":' + self._format.render(each) + b"}"

    def send(self, batch: Sequence[Delivery]) -> Answer:
        """One request for the batch, and where it is wanted the wait for the indexers."""
        reply = self.post(self.url, b"\n".join(self._event(each) for each in batch), self._headers())
        said = _object(reply.body)
        code = said.get("code")
        if reply.problem is None and code in _TOKEN_CODES:
            return Answer(Verdict.STOP, f"the collector does not accept the token: {str(said.get('text'))[:200]}")
        if reply.problem is None and code in _BUSY_CODES:
            return Answer(Verdict.RETRY, f"the collector is busy: {str(said.get('text'))[:200]}")
        if reply.problem is not None or not 200 <= reply.status < 300:
            return judge_status(reply, self._wall_seconds())
        if code != 0:
            return Answer(Verdict.RETRY, f"HTTP {reply.status}, but not an answer of a collector")
        ids = frozenset(each.id for each in batch)
        if not self._indexer_ack:
            return Answer(Verdict.DONE, "", ids)
        number = said.get("ackId")
        if not isinstance(number, int):
            return Answer(Verdict.RETRY, "the collector gives no acknowledgement number; it may be switched off there")
        end = time.monotonic() + self._ack_seconds
        while time.monotonic() < end:
            asked = self.post(self._ack_url, json.dumps({"acks": [number]}).encode(), self._headers())
            acks = _object(asked.body).get("acks")
            if isinstance(acks, dict) and acks.get(str(number)) is True:
                return Answer(Verdict.DONE, "", ids)
            time.sleep(0.5)
        return Answer(Verdict.RETRY, "the indexers have not acknowledged it")


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _host(each: Delivery) -> str | None:
    host = each.record.get("host")
    return str(host["name"]) if isinstance(host, dict) and host.get("name") else None


def _seconds(text: str) -> float | None:
    import datetime

    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
