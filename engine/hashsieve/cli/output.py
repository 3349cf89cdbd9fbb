"""Printing: JSON lines exact for any byte in a name, text that cannot play tricks on a terminal."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import OutputError, shown
from ..model import Entry, Listing
from . import silence_stdout

__all__ = [
    "ClosedPipe",
    "block",
    "describe",
    "entry_json",
    "human_bytes",
    "json_line",
    "line",
    "note",
    "path_fields",
    "path_text",
    "say",
]


class ClosedPipe(Exception):  # noqa: N818 -- not an error: the reader has seen enough
    """Whoever read standard output has gone away."""


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise ClosedPipe from None
    except OSError as problem:
        silence_stdout()  # else Python tries again at exit, and ends with a code of its own
        raise OutputError(f"standard output cannot be written: {problem.strerror or problem}") from None


def json_line(record: Mapping[str, Any]) -> str:
    """One JSON object as a line of ASCII."""
    return json.dumps(record, ensure_ascii=True, separators=(",", ":")) + "\n"


def line(record: Mapping[str, Any]) -> None:
    """One JSON object on one line of standard output, flushed so that a reader of the pipe sees it now."""
    _write(json_line(record))


def block(text: bytes) -> None:
    """Whole lines of ASCII on standard output, made elsewhere."""
    _write(text.decode("ascii"))


def say(text: str) -> None:
    """One line of text on standard output; what the terminal's encoding lacks is escaped."""
    _write(_encodable(text, sys.stdout) + "\n")


def note(text: str) -> None:
    """One line of text on standard error."""
    with contextlib.suppress(OSError):
        sys.stderr.write(_encodable(text, sys.stderr) + "\n")
        sys.stderr.flush()


def _encodable(text: str, stream: Any) -> str:
    encoding = getattr(stream, "encoding", None) or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def path_fields(path: bytes) -> dict[str, str]:
    """``path`` as text and, only where the name is not UTF-8, its bytes as ``path_b64``."""
    try:
        return {"path": path.decode("utf-8")}
    except UnicodeDecodeError:
        return {"path": path.decode("utf-8", "backslashreplace"), "path_b64": base64.b64encode(path).decode("ascii")}


def path_text(path: str) -> str:
    """A path for a JSON string: as it is, where it is UTF-8; else with its other bytes escaped."""
    return path_fields(os.fsencode(path))["path"]


def _listing_json(listing: Listing) -> dict[str, Any]:
    return {"source": listing.source, "role": str(listing.role), "category": listing.category, "ref": listing.ref}


def entry_json(entry: Entry) -> dict[str, Any]:
    """An entry as lookups and matches print it."""
    return {
        "digests": {kind: digest.hex() for kind, digest in entry.digests.items()},
        "size": entry.size_bytes,
        "listings": [_listing_json(listing) for listing in entry.listings],
    }


def describe(entries: Sequence[Entry]) -> str:
    """Who listed it, for a line of text."""
    names = sorted(
        {f"{x.source} ({x.role}{f', {x.category}' if x.category else ''})" for e in entries for x in e.listings}
    )
    return shown("; ".join(names[:5]) + (f"; and {len(names) - 5} more" if len(names) > 5 else ""))


def human_bytes(count: float) -> str:
    """``1.5 GB``: decimal units."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
