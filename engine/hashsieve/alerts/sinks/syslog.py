"""Syslog, RFC 5424 messages framed by octet counting (RFC 6587), over TLS (RFC 5425) or plain TCP.

The protocol has no acknowledgement. What comes nearest is asked for: after a batch our side of the connection is
closed, and the batch counts as delivered when the receiver, having read to that end, closes its own. A receiver that
just keeps the connection open is believed once its system has taken every byte, where our system can tell.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import sys
import time
from collections.abc import Sequence

from ...errors import UsageError
from ..formats import Format
from ..formats.syslog import message
from . import Answer, Delivery, Verdict

__all__ = ["SyslogSink"]

_SIOCOUTQ = 0x5411  # Linux: bytes the other side has not acknowledged yet


class SyslogSink:
    """``host:port``; a connection for each batch."""

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        format: Format,
        *,
        tls: bool = True,
        ca_file: str | None = None,
        batch_count: int = 20,
        facility: int = 13,
        connect_seconds: float = 10.0,
        close_seconds: float = 5.0,
        total_seconds: float = 60.0,
    ) -> None:
        if not host or not 0 < port < 65536:
            raise UsageError("a syslog sink is named by HOST:PORT")
        if not 0 <= facility <= 23:
            raise UsageError("a syslog facility is a number from 0 to 23")
        self.name = name
        self.batch_count = batch_count
        self._address = (host, port)
        self._format = format
        self._tls = tls
        self._ca_file = ca_file
        self._facility = facility
        self._connect_seconds = connect_seconds
        self._close_seconds = close_seconds
        self._total_seconds = total_seconds

    def send(self, batch: Sequence[Delivery]) -> Answer:
        """One connection, all messages, and the wait for its orderly end."""
        frames = []
        for each in batch:
            data = message(each, self._format, self._facility)
            frames.append(b"%d %s" % (len(data), data))
        deadline = time.monotonic() + self._total_seconds
        try:
            with socket.create_connection(self._address, timeout=self._connect_seconds) as plain:
                stream: socket.socket = plain
                if self._tls:
                    context = ssl.create_default_context(cafile=self._ca_file)
                    stream = context.wrap_socket(plain, server_hostname=self._address[0])
                with stream:
                    for frame in frames:
                        left = deadline - time.monotonic()
                        if left <= 0:
                            return Answer(Verdict.RETRY, "sending took too long")
                        stream.settimeout(left)
                        stream.sendall(frame)
                    return self._finish(stream, batch)
        except (OSError, ValueError) as problem:  # a certificate that does not fit is an OSError too
            return Answer(Verdict.RETRY, f"{type(problem).__name__}: {problem}")

    def _finish(self, stream: socket.socket, batch: Sequence[Delivery]) -> Answer:
        ids = frozenset(each.id for each in batch)
        stream.settimeout(self._close_seconds)
        if isinstance(stream, ssl.SSLSocket):
            try:
                under = stream.unwrap()
            except (TimeoutError, ssl.SSLError):
                return self._taken(stream, ids)
            under.close()
            return Answer(Verdict.DONE, "", ids)
        stream.shutdown(socket.SHUT_WR)
        try:
            while stream.recv(4096):
                pass
        except TimeoutError:
            return self._taken(stream, ids)
        return Answer(Verdict.DONE, "", ids)

    def _taken(self, stream: socket.socket, ids: frozenset[str]) -> Answer:
        if sys.platform.startswith("linux"):
            import fcntl

            with contextlib.suppress(OSError):
                raw = fcntl.ioctl(stream.fileno(), _SIOCOUTQ, b"\0\0\0\0")
                if struct.unpack("i", raw)[0] == 0:
                    return Answer(Verdict.DONE, "not confirmed by the receiver, but taken by its system", ids)
        return Answer(Verdict.RETRY, "the receiver did not take everything in time")

    def close(self) -> None:
        """Nothing is kept open between batches."""
