"""A Python callable of the embedding program as a sink."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from . import Answer, Delivery, Verdict

__all__ = ["CallSink"]

Receive = Callable[[Sequence[Mapping[str, Any]]], Iterable[str] | None]


class CallSink:
    """Calls *receive* with a list of records, from the sink's own thread.

    It returns None once it has all of them, or the ids it has; an exception means: again later. The same id may come
    more than once.
    """

    def __init__(self, name: str, receive: Receive, *, batch_count: int = 20) -> None:
        self.name = name
        self.batch_count = batch_count
        self._receive = receive

    def send(self, batch: Sequence[Delivery]) -> Answer:
        """One call."""
        try:
            returned = self._receive([each.record for each in batch])
        except Exception as problem:
            return Answer(Verdict.RETRY, f"{type(problem).__name__}: {problem}")
        if returned is None:
            return Answer(Verdict.DONE, "", frozenset(each.id for each in batch))
        accepted = frozenset(str(each) for each in returned) & {each.id for each in batch}
        done = len(accepted) == len(batch)
        return Answer(Verdict.DONE if done else Verdict.RETRY, f"{len(accepted)} of {len(batch)}", accepted)

    def close(self) -> None:
        """The callable is the program's own."""
