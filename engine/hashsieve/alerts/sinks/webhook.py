"""A webhook signed as Standard Webhooks (standardwebhooks.com) has it; the id is that of the alert, at every try.

A receiver that answers with JSON may acknowledge by id: ``{"accepted": [id, ...], "rejected": [{"id":, "reason":}]}``;
what it names in neither is sent again. Any other answer 2xx that is no page acknowledges everything, unless
``acknowledge = "ids"`` demands the list.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

from ...errors import UsageError
from ..formats import Format
from . import Answer, Delivery, Verdict
from .http import HttpSink, Reply, judge_status

__all__ = ["WebhookSink", "signing_key"]


def signing_key(secret: bytes) -> bytes:
    """The key of a ``whsec_...`` secret, or the bytes themselves."""
    if not secret.startswith(b"whsec_"):
        return secret
    try:
        return base64.b64decode(secret[6:] + b"=" * (-len(secret[6:]) % 4), validate=True)
    except ValueError:
        raise UsageError("what follows whsec_ in a webhook secret is base64; this one is not") from None


class WebhookSink(HttpSink):
    """HTTPS POST of one alert, or of a JSON array with a batch of them. Several *secrets*: keys being changed."""

    def __init__(
        self,
        name: str,
        url: str,
        format: Format,
        secrets: Sequence[bytes] = (),
        *,
        acknowledge: str = "status",
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, url, **options)
        if acknowledge not in ("status", "ids"):
            raise UsageError("acknowledge is status or ids")
        if self.batch_count > 1 and not format.json:
            raise UsageError(f"format {format.name} is sent one by one: batch must be 1")
        self._format = format
        self._keys = [signing_key(secret) for secret in secrets]
        self._acknowledge = acknowledge
        self._headers = dict(headers or {})

    def send(self, batch: Sequence[Delivery]) -> Answer:
        """One request for the batch."""
        rendered = [self._format.render(each) for each in batch]
        if self.batch_count > 1:
            body = b"[" + b",".join(rendered) + b"]"
            message = hashlib.blake2b("\n".join(each.id for each in batch).encode(), digest_size=16).hexdigest()
            message = f"batch-{message}"
        else:
            body, message = rendered[0], batch[0].id
        moment = int(self._wall_seconds())
        headers = {
            **self._headers, "content-type": self._format.media_type, "user-agent": "hashsieve",
            "webhook-id": message, "idempotency-key": f'"{message}"', "webhook-timestamp": str(moment),
        }  # fmt: skip
        if self._keys:
            signed = f"{message}.{moment}.".encode() + body
            headers["webhook-signature"] = " ".join(
                "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in self._keys
            )
        return self._judge(batch, self.post(self.url, body, headers))

    def _judge(self, batch: Sequence[Delivery], reply: Reply) -> Answer:
        if reply.problem is not None or not 200 <= reply.status < 300 or reply.is_page:
            answer = judge_status(reply, self._wall_seconds())
            named = _named(reply)
            if named is None or answer.verdict is not Verdict.REFUSED:
                return answer
            # A refusal that names which ones.
            return Answer(Verdict.RETRY, answer.reason, named[0], named[1])
        named = _named(reply)
        if named is None:
            if self._acknowledge == "ids":
                return Answer(Verdict.RETRY, f"HTTP {reply.status} without the ids that it acknowledges")
            return Answer(Verdict.DONE, f"HTTP {reply.status}", frozenset(each.id for each in batch))
        accepted, rejected = named
        everything = {each.id for each in batch} <= accepted | set(rejected)
        return Answer(
            Verdict.DONE if everything and not rejected else Verdict.RETRY,
            f"HTTP {reply.status}: {len(accepted)} of {len(batch)} acknowledged", accepted, rejected,
        )  # fmt: skip


def _named(reply: Reply) -> tuple[frozenset[str], dict[str, str]] | None:
    """The ids that an answer names; None where it names none."""
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not ("accepted" in found or "rejected" in found):
        return None
    accepted, rejected = found.get("accepted", []), found.get("rejected", [])
    if not isinstance(accepted, list) or not isinstance(rejected, list):
        return None
    reasons = {}
    for each in rejected:
        if isinstance(each, dict) and isinstance(each.get("id"), str):
            reasons[each["id"]] = str(each.get("reason", "rejected"))[:500]
        elif isinstance(each, str):
            reasons[each] = "rejected"
    return frozenset(each for each in accepted if isinstance(each, str)), reasons
