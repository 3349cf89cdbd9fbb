"""Where alerts go. One file for each way; this one is the contract between a sink and whoever delivers.

A sink takes a batch and answers once: what was acknowledged, what will never be, and what to do about the rest. It
keeps no state about alerts, retries nothing by itself and never raises: whatever goes wrong is an :class:`Answer`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Answer", "Delivery", "Sink", "Verdict"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One record on its way. ``record`` carries the chain value, so that the receiver is the anchor."""

    id: str
    seq: int
    type: str
    record: Mapping[str, Any]


class Verdict(enum.Enum):
    """What to do about everything in a batch that was neither acknowledged nor rejected."""

    DONE = "done"  # nothing is left: all acknowledged
    RETRY = "retry"  # later: the other side, or the way there, has a problem
    SMALLER = "smaller"  # the batch was too large
    REFUSED = "refused"  # this content is not accepted
    STOP = "stop"  # no use before somebody changes something: credentials, address


@dataclass(frozen=True, slots=True)
class Answer:
    """``accepted`` ids are delivered; ``rejected`` maps ids to the reason why they never will be."""

    verdict: Verdict
    reason: str = ""
    accepted: frozenset[str] = frozenset()
    rejected: Mapping[str, str] = field(default_factory=dict)
    retry_after_seconds: float | None = None


class Sink(Protocol):
    """One receiver."""

    name: str
    batch_count: int

    def send(self, batch: Sequence[Delivery]) -> Answer:
        """Tries once, within limits of time."""
        ...

    def close(self) -> None:
        """Gives connections back."""
        ...
