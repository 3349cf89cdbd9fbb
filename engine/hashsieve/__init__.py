"""hashsieve: finds files that are on lists of known material, by digest alone, at almost no load.

The names below are the whole public API; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import HashsieveError
    from .hashset.compile import compile_lists
    from .hashset.delta import apply_delta
    from .hashset.follow import follow
    from .hashset.hashset import HashSet
    from .model import DigestKind, Entry, HealthEvent, Listing, Match, Outcome, OutcomeKind, Record, Role, Summary
    from .scan.scanner import Scanner

__all__ = [
    "DigestKind",
    "Entry",
    "HashSet",
    "HashsieveError",
    "HealthEvent",
    "Listing",
    "Match",
    "Outcome",
    "OutcomeKind",
    "Record",
    "Role",
    "Scanner",
    "Summary",
    "__version__",
    "apply_delta",
    "compile_lists",
    "follow",
]

__version__ = "0.1.0"

_HOMES = {
    "HashSet": "hashset.hashset",
    "HashsieveError": "errors",
    "Scanner": "scan.scanner",
    "apply_delta": "hashset.delta",
    "compile_lists": "hashset.compile",
    "follow": "hashset.follow",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES.get(name, 'model')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
