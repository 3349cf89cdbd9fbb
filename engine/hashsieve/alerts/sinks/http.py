"""What sinks over HTTP have in common: one request within hard limits of time, and what its answer means.

Redirects are followed within one host only, and only those that keep the request as it is. An answer counts as one of
the receiver, not of a captive portal, if it is no page for people.
"""

from __future__ import annotations

import contextlib
import email.utils
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from ...errors import UsageError, shown
from ..environment import Environment
from . import Answer, Verdict

__all__ = ["HttpSink", "Reply", "check_url", "judge_status", "retry_after"]

_MAX_REPLY_BYTES = 1 << 16
_MAX_REDIRECTS = 3
_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a request; ``problem`` instead where there was none."""

    status: int = 0
    headers: Mapping[str, str] = None  # type: ignore[assignment]
    body: bytes = b""
    problem: str | None = None

    @property
    def is_page(self) -> bool:
        """Is it something for people to look at, as captive portals send?"""
        kind = (self.headers or {}).get("content-type", "").partition(";")[0].strip().lower()
        return kind in ("text/html", "application/xhtml+xml") or self.body.lstrip()[:1] == b"<"


def check_url(url: str, *, insecure: bool = False) -> str:
    """The URL, if credentials and alerts may go there: https, or http to this very machine."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise UsageError("a URL must not carry credentials; give them as a secret")
    if not parts.hostname or parts.scheme not in ("https", "http"):
        raise UsageError(f"{shown(url)!r} is not an https URL")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and not insecure:
        raise UsageError(f"{shown(url)!r}: alerts go over https only; http is for this machine itself")
    return url


def retry_after(value: str | None, wall_seconds: float) -> float | None:
    """Seconds that a Retry-After header names, as a number or as a date; None where it makes no sense."""
    if value is None:
        return None
    value = value.strip()
    if value.isdecimal() and value.isascii():
        return float(int(value[:9]))
    try:
        moment = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    # With a clock that is wrong the date means nothing; a wait of more than a day is not believed.
    wait = moment - wall_seconds
    return wait if 0 <= wait <= 86_400 else None


def judge_status(reply: Reply, wall_seconds: float) -> Answer:
    """What an answer that is no success means for what was sent."""
    if reply.problem is not None:
        return Answer(Verdict.RETRY, reply.problem)
    status = reply.status
    hint = retry_after((reply.headers or {}).get("retry-after"), wall_seconds)
    reason = f"HTTP {status}"
    if 200 <= status < 300:
        return Answer(Verdict.RETRY, f"{reason} with a page: that is not the receiver but something before it")
    if status in (401, 403, 407):
        return Answer(Verdict.STOP, f"{reason}: the credentials are not accepted", retry_after_seconds=hint)
    if status in (404, 405, 410, 421):
        return Answer(Verdict.STOP, f"{reason}: there is no receiver at this address", retry_after_seconds=hint)
    if status == 413:
        return Answer(Verdict.SMALLER, reason, retry_after_seconds=hint)
    if 300 <= status < 400:
        return Answer(Verdict.RETRY, f"{reason}: leads elsewhere, which is not followed")
    if status in (408, 409, 423, 425, 429) or status >= 500 or status < 200:
        return Answer(Verdict.RETRY, reason, retry_after_seconds=hint)
    return Answer(Verdict.REFUSED, reason, retry_after_seconds=hint)


class HttpSink:
    """One POST at a time over one kept connection; the client is made with the first."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        batch_count: int = 1,
        ca_file: str | None = None,
        insecure: bool = False,
        environment: Environment | None = None,
        connect_seconds: float = 10.0,
        read_seconds: float = 30.0,
        total_seconds: float = 60.0,
    ) -> None:
        self.name = name
        self.batch_count = batch_count
        self.url = check_url(url, insecure=insecure)
        self._ca_file = ca_file
        self._environment = environment or Environment()
        self._limits = (connect_seconds, read_seconds, total_seconds)
        self._client: Any = None

    def _wall_seconds(self) -> float:
        return self._environment.wall_ns() / 1e9

    def _made_client(self) -> Any:
        if self._client is None:
            try:
                import httpx
            except ImportError:
                raise UsageError("delivery over HTTP needs httpx: pip install 'hashsieve[deliver]'") from None
            import ssl

            connect, read, _ = self._limits
            context = ssl.create_default_context(cafile=self._ca_file)
            self._client = httpx.Client(
                verify=context, follow_redirects=False, trust_env=True,
                timeout=httpx.Timeout(read, connect=connect),
                limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30),
            )  # fmt: skip
        return self._client

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """One request, redirects within the host included. Never raises but UsageError."""
        for _ in range(_MAX_REDIRECTS + 1):
            reply = self._once(url, body, headers)
            if reply.problem is not None or reply.status not in (307, 308):
                return reply
            target = urljoin(url, (reply.headers or {}).get("location", ""))
            here, there = urlsplit(url), urlsplit(target)
            if (here.scheme, here.hostname, here.port) != (there.scheme, there.hostname, there.port):
                return reply  # credentials and alerts go to the host they were meant for, or nowhere
            url = target
        return Reply(problem="redirected in a circle")

    def _once(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        client = self._made_client()
        deadline = time.monotonic() + self._limits[2]
        parts: list[bytes] = []
        size = 0
        try:
            with client.stream("POST", url, content=body, headers=dict(headers)) as response:
                for part in response.iter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > _MAX_REPLY_BYTES:
                        break
                    if time.monotonic() > deadline:
                        return Reply(problem="the answer took too long")
                lowered = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status_code, lowered, b"".join(parts)[:_MAX_REPLY_BYTES])
        except Exception as problem:  # the library's own, the system's, a certificate's: all mean that nothing arrived
            self.close()
            return Reply(problem=f"{type(problem).__name__}: {problem}")

    def close(self) -> None:
        """Closes the connection; the next request makes a new one."""
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.close()
            self._client = None
