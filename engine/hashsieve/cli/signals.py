"""Ctrl-C and SIGTERM: the first one ends the work in order, and any number of further ones change nothing about it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["Stopped", "installed", "instead", "received"]

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM") if hasattr(signal, name))


class Stopped(BaseException):
    """A signal asked the process to stop. Not an Exception, so that no handler for ordinary errors swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = signal.Signals(number).name
        self.exit_code = 128 + number


_action: Callable[[int], None] | None = None
_seen: int | None = None


def _handler(number: int, frame: FrameType | None) -> None:
    global _seen
    if _action is not None:
        _seen = _seen or number
        _action(number)
    elif _seen is None:
        _seen = number
        raise Stopped(number)


@contextlib.contextmanager
def installed(*, deaf_after_stop: bool = False) -> Iterator[None]:
    """Handles the stop signals inside the block; outside of the main thread nothing is changed.

    *deaf_after_stop*: once one came, further ones are ignored for the rest of the process, so that they cannot break
    into its orderly end.
    """
    global _seen
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _seen = None
    before = {number: signal.signal(number, _handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_IGN if deaf_after_stop and _seen is not None else old)


@contextlib.contextmanager
def instead(action: Callable[[int], None]) -> Iterator[None]:
    """Inside the block each stop signal calls *action* with its number instead of raising."""
    global _action
    before, _action = _action, action
    try:
        yield
    finally:
        _action = before


def received() -> int | None:
    """The first stop signal that came, or None."""
    return _seen
