"""The record itself, as docs/format/alert.schema.json describes it."""

from __future__ import annotations

from typing import Any

from ..sinks import Delivery

__all__ = ["make"]


def make(delivery: Delivery) -> dict[str, Any]:
    """The record."""
    return dict(delivery.record)
