"""XML lists read as a stream of events, with everything switched off by which a document can grow or reach out.

A document type declaration is refused outright: it is the only place where entities can be declared, and no list has
one. Nothing is ever fetched. Bounds: elements nest at most :data:`MAX_DEPTH` deep, one tag, comment or other piece of
markup has at most :data:`MAX_MARKUP_BYTES`. Names are given without namespace and in lower case; text comes in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn, Protocol
from xml.parsers import expat

from hashsieve.errors import ListCutShortError, ListFormatError
from hashsieve.lists.source import Source, decode_sample

__all__ = ["MAX_DEPTH", "MAX_MARKUP_BYTES", "Listener", "local_name", "parse_xml", "root_name"]

MAX_DEPTH = 64
MAX_MARKUP_BYTES = 16 << 20

_FEED_BYTES = 256 << 10
_SCAN_BYTES = 16 << 10
_CUT_SHORT = frozenset(
    (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
        expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    )
)


class Listener(Protocol):
    """What takes the events of a document."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def text(self, piece: str) -> None:
        """A piece of text in the innermost element."""

    def end(self, name: str) -> None:
        """The innermost element ends."""


def local_name(name: str) -> str:
    """The *name* of an element without its namespace or prefix, in lower case."""
    return name.rpartition(":")[2].lower()


def root_name(sample: bytes) -> str | None:
    """The local name of the root element of a document that begins with *sample*, or None if it is no XML."""
    text = sample.lstrip()
    if not text.startswith(b"<"):
        return None
    names: list[str] = []

    def start(name: str, _: object) -> NoReturn:
        names.append(local_name(name))
        raise _FoundError

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(text[:_SCAN_BYTES], False)
    except _FoundError:
        return names[0]
    except (expat.ExpatError, ListFormatError, ValueError):
        return None
    return None


class _FoundError(Exception):
    """Ends the parsing of a sample."""


def _refuse_doctype(name: str, *_: object) -> NoReturn:
    raise ListFormatError("the XML has a document type declaration, which no list needs and which may hide a bomb")


def parse_xml(source: Source, listener: Listener) -> Iterator[None]:
    """Sends the events of the whole document to *listener*; yields now and then, for what it has gathered to be taken.

    Raises :class:`ListCutShortError` where the document ends early, :class:`ListFormatError` where it is no XML.
    """
    sample = source.sample()
    # What is transcoded or has a mark is UTF-8 now, whatever its declaration says.
    parser = expat.ParserCreate("utf-8" if decode_sample(sample) != sample else None)
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise ListFormatError(f"the XML nests deeper than {MAX_DEPTH} elements, at byte {parser.CurrentByteIndex}")
        listener.start(local_name(name), attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        listener.end(local_name(name))

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = listener.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    fed_bytes = 0
    for chunk in source.chunks():
        for at in range(0, len(chunk), _FEED_BYTES):
            piece = chunk[at : at + _FEED_BYTES]
            fed_bytes += len(piece)
            _feed(parser, piece)
            if fed_bytes - max(parser.CurrentByteIndex, 0) > MAX_MARKUP_BYTES:
                raise ListFormatError(
                    f"a piece of markup is larger than {MAX_MARKUP_BYTES} bytes, at byte {parser.CurrentByteIndex}"
                )
            yield None
    _feed(parser, b"", last=True)
    yield None


def _feed(parser: expat.XMLParserType, piece: bytes, *, last: bool = False) -> None:
    try:
        parser.Parse(piece, last)
    except expat.ExpatError as error:
        text = expat.errors.messages[error.code]
        if last and text in _CUT_SHORT:
            raise ListCutShortError(
                f"the XML ends before its root element does, at byte {parser.CurrentByteIndex}"
            ) from error
        raise ListFormatError(f"the XML is damaged at line {error.lineno}: {text}") from error
    except (LookupError, ValueError) as error:
        raise ListFormatError(f"the XML cannot be decoded: {error}") from error
