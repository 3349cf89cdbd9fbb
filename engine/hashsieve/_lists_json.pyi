"""Native splitting of JSON lists. Source: ext/hashsieve/_lists_json.pyx, ext/core/hs_json.c.

Documents come in chunks, cut anywhere, as UTF-8 without byte order mark. Memory is one chunk and one held value. Names
of members compare without regard to the case of ASCII letters. Objects are for one thread at a time; scanning releases
the GIL.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, final

from hashsieve.model import Record

ODD_NAME: int
"""Flag: a noted member is spelled in another case."""
ESCAPED_NAME: int
"""Flag: a name of the object has an escape, so that it may be a noted one that was not found."""
TOO_DEEP: int
"""Flag: nested deeper than :data:`MAX_NESTING`."""
SCALAR: int
"""Flag: neither an object nor an array."""
ODD_TEXT: int
"""Flag: no JSON, as far as the scanner can tell; without it UTF-8 and surrogates are still unchecked."""
MAX_NESTING: int
"""Deepest nesting of arrays and objects that is read."""

@final
class JsonSplitter:
    """Finds the values at the end of wanted paths; everything else is passed over and not kept.

    A path is a tuple of names of members, from the top of the document; ``""`` stands for the elements of an array and
    ``"*NAME"`` for every name that contains NAME. A value that holds values on longer paths gives those in its place.
    *what* names the document in errors, with its article. *members* are noted for :class:`MediaRecords`. With *many*
    several documents may follow each other. A value over *max_value_bytes* is refused.
    """

    def __init__(
        self,
        paths: Sequence[tuple[str, ...]],
        *,
        what: str,
        max_value_bytes: int,
        members: Sequence[str] = (),
        many: bool = False,
    ) -> None: ...
    def feed(self, chunk: bytes) -> list[tuple[int, int, bytes]]:
        """The values that end in *chunk*: number of the path, flags, JSON text.

        Raises :class:`~hashsieve.errors.ListFormatError` where the document is not built as expected.
        """

    def finish(self) -> None:
        """Raises :class:`~hashsieve.errors.ListCutShortError` if the document is not complete."""

    def note_ids(self, chunk: bytes, seen: SeenIds) -> list[bytes]:
        """Enters the ids of media that have a date; returns the values of the last path, which are no media.

        Members 0 and 1 are the id and the date; paths 0 and 1 are media. Instead of :meth:`feed`, not beside it.
        """

    def dated_ids(self, chunk: bytes, seen: SeenIds) -> list[tuple[int, int, bytes, bytes]]:
        """Number of the record, number of its array, id and date of those media whose id *seen* selects."""

class _Superseded(Protocol):
    count: int
    def __contains__(self, number: int, /) -> bool: ...

@final
class MediaRecords:
    """Turns the media of a VICS document into Records, those of plain ones without any Python code.

    The members of *splitter* are those of ``lists/vics_records.py``, paths 0 and 1 are media. *grade* gives role and
    category for the JSON text of a category, or None to have the record looked at; *odd* gives the Record, or None,
    for JSON text, flags and number of what is not plain. Records in *superseded* are left out.
    """

    count: int
    """Media so far; the number of the last one, counted from 1."""
    similarity_count: int
    """Media that carry a similarity digest."""
    superseded_count: int
    def __init__(
        self,
        splitter: JsonSplitter,
        record: type[Record],
        listing: type[Any],
        source: str,
        *,
        universal: Collection[bytes],
        grade: Callable[[bytes], tuple[Any, str | None] | None],
        odd: Callable[[bytes, int, int], Record | None],
        superseded: _Superseded,
    ) -> None: ...
    def feed(self, chunk: bytes) -> list[list[Record]]:
        """The records of the media that end in *chunk*, in batches. Raises as :meth:`JsonSplitter.feed` does."""

@final
class SeenIds:
    """Which ids were there more than once: a filter of *filter_bytes*, and the hashes of those that may have been.

    Raises :class:`~hashsieve.errors.ListFormatError` when there are more than *max_repeated* of them.
    """

    def __init__(self, filter_bytes: int, max_repeated: int) -> None: ...
    def note_text(self, text: bytes) -> None:
        """Enters an id."""

    def repeated(self) -> int:
        """How many ids may have been there before; selects all of them. Call when all are entered."""

    def select(self, first: int, count: int) -> None:
        """Selects *count* of them from number *first* on."""

    def has_text(self, text: bytes) -> bool:
        """Whether *text* may be one of the selected ids."""
