"""What the readers of JSON lists share: records out of a document of any size, and the loose types of their members."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from hashsieve.lists.contract import Job
from hashsieve.lists.digests import MAX_SIZE_BYTES
from hashsieve.lists.source import Source

__all__ = [
    "MAX_REF_CHARS",
    "MAX_VALUE_BYTES",
    "Loose",
    "decoded",
    "is_json",
    "is_true",
    "json_values",
    "short_text",
    "starts_with",
    "whole_number",
]

MAX_VALUE_BYTES = 16 << 20
"""Largest record of a list other than VICS; samples of malware are embedded in some."""

MAX_REF_CHARS = 200
_SIZE_DIGITS = 19
_FIRST = re.compile(rb"\s*([\[{])")

Loose = int | float | str | bool | None
"""A value as writers give it."""


def is_json(sample: bytes) -> bool:
    """Whether a decoded *sample* begins as an object or an array does."""
    return _FIRST.match(sample) is not None


def starts_with(source: Source, byte: bytes) -> bool:
    """Whether the first byte that is not blank is *byte*."""
    for chunk in source.chunks():
        text = chunk.lstrip()
        if text:
            return text.startswith(byte)
    return False


def json_values(
    source: Source, paths: Sequence[tuple[str, ...]], what: str, *, many: bool = False
) -> Iterator[tuple[int, int, bytes]]:
    """The values at *paths* of the document: number of the path, flags, JSON text. See ``_lists_json.JsonSplitter``."""
    # Imported here: the native part is not loaded for lists of other formats.
    from hashsieve._lists_json import JsonSplitter

    splitter = JsonSplitter(paths, what=what, max_value_bytes=MAX_VALUE_BYTES, many=many)
    for chunk in source.chunks():
        yield from splitter.feed(chunk)
    splitter.finish()


_Struct = TypeVar("_Struct")


def decoded(raw: bytes, flags: int, shape: type[_Struct], position: str, job: Job | None) -> _Struct | None:
    """The record *raw* in its *shape*, or None, counted as refused if there is a *job*, if it is none."""
    import msgspec

    from hashsieve._lists_json import TOO_DEEP

    try:
        if flags & TOO_DEEP:
            raise msgspec.DecodeError("nested too deep")
        return msgspec.json.decode(raw, type=shape)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        if job is None:
            return None
        reason = "wrong-type" if isinstance(error, msgspec.ValidationError) else "malformed-record"
        job.report.refuse(position, reason, str(error))
        return None


def short_text(value: Loose) -> str | None:
    """*value* as opaque text: None for nothing, and for text too long to be an id or a category."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return text if 0 < len(text) <= MAX_REF_CHARS else None


def whole_number(value: Loose) -> int | None:
    """*value* as a size in bytes, or None if it gives none that can be."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
        value = int(text) if text.isascii() and text.isdigit() and len(text) <= _SIZE_DIGITS else None
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None
    return value if value is not None and 0 < value <= MAX_SIZE_BYTES else None


def is_true(value: Loose) -> bool:
    """Whether a flag is set: true, 1, ``"true"``, ``"1"``, ``"yes"``."""
    return str(value).strip().lower() in ("true", "1", "1.0", "yes")
