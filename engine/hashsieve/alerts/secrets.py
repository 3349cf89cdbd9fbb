"""Where secrets come from: ``fd:N``, ``file:PATH`` or ``env:NAME``; never an argument or a setting itself.

What was read is never part of a message.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from ..errors import UsageError, shown

__all__ = ["ReadSecret", "read_secret"]

ReadSecret = Callable[[str], bytes]

_MAX_BYTES = 4096


def read_secret(source: str) -> bytes:
    """The bytes behind *source*, white space at both ends taken off; UsageError names the source and what to do."""
    kind, colon, where = source.partition(":")
    if not colon or kind not in ("fd", "file", "env") or not where:
        raise UsageError(
            "a secret is given as fd:N, file:PATH or env:NAME, so that it is seen in no list of processes; "
            "what was given is none of these"
        )
    if kind == "env":
        text = os.environ.get(where)
        if text is None:
            raise UsageError(f"{shown(source)}: there is no such environment variable")
        return _checked(os.fsencode(text), source)
    try:
        if kind == "fd":
            fd = os.dup(int(where))
        else:
            fd = os.open(where, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as problem:
        raise UsageError(f"{shown(source)}: cannot be opened: {_reason(problem)}") from None
    try:
        if kind == "file":
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode):
                raise UsageError(f"{shown(source)}: is not a regular file")
            if os.name == "posix" and (facts.st_mode & 0o077 or facts.st_uid not in (os.geteuid(), 0)):
                raise UsageError(f"{shown(source)}: must belong to its user and be for its owner only (chmod 600)")
        with open(fd, "rb", closefd=False) as file:
            return _checked(file.read(_MAX_BYTES + 1), source)
    except OSError as problem:
        raise UsageError(f"{shown(source)}: cannot be read: {_reason(problem)}") from None
    finally:
        os.close(fd)


def _reason(problem: Exception) -> str:
    return getattr(problem, "strerror", None) or type(problem).__name__


def _checked(data: bytes, source: str) -> bytes:
    data = data.strip()
    if not data or len(data) > _MAX_BYTES:
        raise UsageError(f"{shown(source)}: a secret has 1 to {_MAX_BYTES} bytes, not {len(data)}")
    return data


def key_of(secret: bytes) -> bytes:
    """The bytes of a key: 64 or more hexadecimal digits stand for what they spell, anything else for itself."""
    if len(secret) >= 64 and len(secret) % 2 == 0:
        try:
            return bytes.fromhex(secret.decode("ascii"))
        except (ValueError, UnicodeDecodeError):
            pass
    return secret
