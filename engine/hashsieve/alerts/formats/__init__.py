"""What an alert looks like to the system that reads it: one file for each form, each a pure function of the record.

A form says less than the record, never something else. Names of files reach it as text with everything that is no UTF-8
escaped; where a form has room, the exact bytes go along as base64.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ...errors import UsageError
from ..sinks import Delivery

__all__ = ["FORMATS", "Format", "find_format"]


@dataclass(frozen=True, slots=True)
class Format:
    """``render`` gives the bytes of one alert, on one line."""

    name: str
    media_type: str
    json: bool
    make: Callable[[Delivery], Any]

    def render(self, delivery: Delivery) -> bytes:
        """The alert in this form; no line feed in it."""
        made = self.make(delivery)
        if isinstance(made, str):
            return made.encode("utf-8")
        return json.dumps(made, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")

    def line(self, delivery: Delivery) -> bytes:
        """The same with its line feed."""
        return self.render(delivery) + b"\n"


FORMATS = {
    "native": "application/json",
    "ocsf": "application/json",
    "ecs": "application/json",
    "cef": "text/plain; charset=utf-8",
    "stix": "application/stix+json;version=2.1",
    "case": "application/ld+json",
}


def find_format(name: str) -> Format:
    """The form of that name."""
    if name not in FORMATS:
        raise UsageError(f"there is no alert format {name!r}; there are {', '.join(FORMATS)}")
    make = import_module(f".{name}", __name__).make
    return Format(name, FORMATS[name], name != "cef", make)
