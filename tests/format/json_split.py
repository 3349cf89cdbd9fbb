"""The splitter of VICS documents in plain Python: what the native one is held against.

It splits a document into its records without ever holding more than one of them.

Records are the elements of the top-level array ``value`` or, where such an element is a case, the elements of its
``Media`` array. Everything else is skipped, except the top-level ``odata`` member that names version and profile.

Invariants: boundaries are found by matching braces outside strings, never by patterns in text, since text members may
hold braces, brackets, quotes and any script. Memory is bounded by one chunk, one record (:data:`MAX_RECORD_BYTES`) and
the nesting (:data:`MAX_NESTING`). Records are not validated here; the decoder does that. Positions are bytes.

There are three ways to find a boundary, equal in result and tried in this order. The JSON decoder splits most of a
chunk at once, as an array, up to a place where a record probably begins; a wrong guess is no valid array. One regular
expression without backtracking takes single objects. A walk over the members takes what does not fit in a chunk, and
large cases.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from hashsieve.errors import ListCutShortError, ListFormatError

__all__ = ["MARKER", "MAX_NESTING", "MAX_RECORD_BYTES", "RECORD", "split_records"]

MARKER = "marker"
RECORD = "record"

MAX_RECORD_BYTES = 64 << 20
"""Largest record. Some tools embed thumbnails; they stay far below."""

MAX_NESTING = 64
"""Deepest nesting of arrays and objects. Lists need six."""

_MAX_KEY_BYTES = 64 << 10
_MAX_SCALAR_BYTES = 1 << 10
_WINDOW_BYTES = 1 << 20
_RUNS_TRIED = 4

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'


def _object_pattern(levels: int) -> bytes:
    """An object with up to *levels* objects inside each other; every loop is possessive, so nothing backtracks."""
    part = _STRING if not levels else rb"(?:" + _STRING + rb"|" + _object_pattern(levels - 1) + rb")"
    return rb'\{[^{}"]*+(?:' + part + rb'[^{}"]*+)*+\}'


_OBJECT_AT = re.compile(_object_pattern(4), re.DOTALL)
_STRING_AT = re.compile(_STRING, re.DOTALL)
_STRING_PART_AT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_BLANKS_AT = re.compile(rb"[ \t\r\n]*+")
_FIRST_KEY_AT = re.compile(rb'\{[ \t\r\n]*+"[^"\\]*+"')
_SCALAR_AT = re.compile(rb"[-+.0-9A-Za-z]*+")
_PLAIN_AT = re.compile(rb'[^"{}\[\]]*+')


def _past(pattern: re.Pattern[bytes], buf: bytes, pos: int) -> int:
    """The end of what *pattern* matches at *pos*; *pos* itself where it does not match."""
    found = pattern.match(buf, pos)
    return pos if found is None else found.end()


_SCALAR_NULL = ord("n")
_QUOTE, _COMMA, _COLON, _OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = b'",:{}[]'
_PARTNER = {_OPEN: _CLOSE, _OPEN_LIST: _CLOSE_LIST}


def split_records(chunks: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """The parts of one document that matter, in order: ``(MARKER, string)`` and ``(RECORD, object)``, as JSON text.

    *chunks* is the document in UTF-8 without byte order mark, cut anywhere. Raises :class:`ListCutShortError` if it
    ends before its top object is closed, and :class:`ListFormatError` if it is not built as described above.
    """
    text = _Text(chunks)
    text.take(_OPEN, "the top object")
    for key in text.members():
        first = text.peek()
        if key == "value" and first != _SCALAR_NULL:
            yield from _elements(text, cases=True)
        elif first == _QUOTE and "odata" in key:
            yield MARKER, text.string()
        else:
            text.skip()
    text.finish()


def _elements(text: _Text, *, cases: bool) -> Iterator[tuple[str, bytes]]:
    """The elements of the array that follows; with *cases* those of its ``Media`` arrays in place of the cases."""
    text.take(_OPEN_LIST, "an array of records")
    while text.peek() != _CLOSE_LIST:
        if text.peek() == _OPEN:
            for raw in text.run_of_objects():
                yield RECORD, bytes(raw)
            end = text.object_end()
            if end:
                start, text.pos = text.pos, end
                yield RECORD, text.buf[start:end]
            else:
                yield from _long_object(text, cases=cases)
        else:
            text.skip()
            yield RECORD, b"null"  # not a record: the decoder says so and the report counts it
        if not text.more_follow(_CLOSE_LIST):
            break
    text.pos += 1


def _long_object(text: _Text, *, cases: bool) -> Iterator[tuple[str, bytes]]:
    """The object that follows, member by member: the elements of its ``Media`` array, or else itself as one record."""
    text.hold = text.pos
    text.pos += 1
    is_case = False
    for key in text.members():
        if cases and key == "Media" and text.peek() == _OPEN_LIST:
            text.hold, is_case = None, True
            yield from _elements(text, cases=False)
        else:
            text.skip()
    if text.hold is not None and not is_case:
        start, text.hold = text.hold, None
        yield RECORD, text.buf[start : text.pos]


_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Text:
    """The document with a position. ``buf`` holds the current chunk and what is still needed before it."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.buf = b""
        self.pos = 0
        self.hold: int | None = None
        self._chunks = iter(chunks)
        self._run_tried = False
        self._dropped_bytes = 0

    def _grow(self) -> bool:
        """Append the next chunk and drop what lies before ``hold`` or ``pos``. False at the end of the document."""
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        keep = self.pos if self.hold is None else self.hold
        self.buf = self.buf[keep:] + chunk
        self._run_tried = False
        self._dropped_bytes += keep
        self.pos -= keep
        if self.hold is not None:
            self.hold = 0
            if len(self.buf) - len(chunk) > MAX_RECORD_BYTES:
                raise ListFormatError(
                    f"a record is larger than {MAX_RECORD_BYTES} bytes, at byte {self._dropped_bytes}"
                )
        return True

    def _need(self) -> None:
        """Append the next chunk. Raises :class:`ListCutShortError` at the end of the document."""
        if not self._grow():
            end_bytes = self._dropped_bytes + len(self.buf)
            raise ListCutShortError(f"the JSON ends at byte {end_bytes}, before its top object is closed")

    def _wrong(self, wanted: str) -> ListFormatError:
        return ListFormatError(
            f"not the JSON of a VICS list: {wanted} expected at byte {self._dropped_bytes + self.pos}"
        )

    def peek(self) -> int:
        """The next byte that is not blank, without taking it."""
        while True:
            if self.pos < len(self.buf):
                byte = self.buf[self.pos]
                if byte > 0x20:
                    return byte
                self.pos = _past(_BLANKS_AT, self.buf, self.pos)
                if self.pos < len(self.buf):
                    return self.buf[self.pos]
            self._need()

    def take(self, byte: int, what: str) -> None:
        """Take the next byte, which begins *what*."""
        if self.peek() != byte:
            raise self._wrong(what)
        self.pos += 1

    def more_follow(self, close: int) -> bool:
        """After an element or member: take the comma, or leave *close* to be taken."""
        byte = self.peek()
        if byte == _COMMA:
            self.pos += 1
        elif byte != close:
            raise self._wrong("a comma or the end of the array or object")
        return byte == _COMMA

    def members(self) -> Iterator[str]:
        """The keys of the object whose opening brace was taken. After each, the caller takes the value."""
        while self.peek() != _CLOSE:
            key = _decoded(self.string())
            self.take(_COLON, "a colon")
            yield key
            if not self.more_follow(_CLOSE):
                break
        self.pos += 1

    def string(self) -> bytes:
        """Take a short string, with its quotes."""
        if self.peek() != _QUOTE:
            raise self._wrong("a string")
        while (found := _STRING_AT.match(self.buf, self.pos)) is None:
            if len(self.buf) - self.pos > _MAX_KEY_BYTES:
                raise self._wrong("a shorter name")
            self._need()
        self.pos = found.end()
        return found.group()

    def object_end(self) -> int:
        """Where the object that begins here ends, or 0 if it does not end within the next :data:`_WINDOW_BYTES`."""
        while True:
            found = _OBJECT_AT.match(self.buf, self.pos)
            if found is not None:
                return found.end()
            if len(self.buf) - self.pos > _WINDOW_BYTES:
                return 0
            self._need()

    def run_of_objects(self) -> list[msgspec.Raw]:
        """Take objects separated by commas, up to the last in the chunk that begins like this one, if that works out.

        A run that ends inside a string or inside an object is no JSON array, so the decoder is the judge of the guess.
        Once per chunk: what does not work out is left to :meth:`object_end`.
        """
        first_key = None if self._run_tried else _FIRST_KEY_AT.match(self.buf, self.pos)
        self._run_tried = True
        if first_key is None:
            return []
        end = len(self.buf)
        for _ in range(_RUNS_TRIED):
            end = self.buf.rfind(first_key.group(), self.pos + 1, end)
            if end < 0:
                break
            run = self.buf[self.pos : end].rstrip()
            if not run.endswith(b","):
                continue
            try:
                objects = _decode_array(b"[" + run[:-1] + b"]")
            except (msgspec.DecodeError, RecursionError):
                continue
            self.pos = end
            return objects
        return []

    def skip(self) -> None:
        """Take one value of any kind without keeping it."""
        first = self.peek()
        if first == _QUOTE:
            self._skip_string()
        elif first in _PARTNER:
            self._skip_nested()
        else:
            self._skip_scalar()

    def _skip_string(self) -> None:
        self.pos += 1
        while True:
            self.pos = _past(_STRING_PART_AT, self.buf, self.pos)
            if self.pos < len(self.buf) and self.buf[self.pos] == _QUOTE:
                self.pos += 1
                return
            self._need()

    def _skip_scalar(self) -> None:
        taken_bytes = 0
        while True:
            end = _past(_SCALAR_AT, self.buf, self.pos)
            taken_bytes += end - self.pos
            self.pos = end
            if not 0 < taken_bytes <= _MAX_SCALAR_BYTES:
                raise self._wrong("a value")
            if end < len(self.buf):
                return
            self._need()

    def _skip_nested(self) -> None:
        """Take an array or object; brackets and braces have to pair."""
        closers: list[int] = []
        while True:
            self.pos = _past(_PLAIN_AT, self.buf, self.pos)
            if self.pos == len(self.buf):
                self._need()
                continue
            byte = self.buf[self.pos]
            if byte == _QUOTE:
                self._skip_string()
                continue
            if byte in _PARTNER:
                closers.append(_PARTNER[byte])
                if len(closers) > MAX_NESTING:
                    raise self._wrong(f"a nesting of at most {MAX_NESTING}")
            elif byte != closers.pop():
                raise self._wrong("the matching bracket")
            self.pos += 1
            if not closers:
                return

    def finish(self) -> None:
        """Make sure that nothing but blanks follows."""
        while True:
            self.pos = _past(_BLANKS_AT, self.buf, self.pos)
            if self.pos < len(self.buf):
                raise self._wrong("the end of the file")
            if not self._grow():
                return


def _decoded(string: bytes) -> str:
    """The text of a JSON string."""
    try:
        return msgspec.json.decode(string, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ListFormatError(f"not the JSON of a VICS list: {error}") from error
