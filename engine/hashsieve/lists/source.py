"""A hash list as a file: opened on demand, unpacked, read in chunks, decoded to bytes of an ASCII superset.

Invariant: what :meth:`Source.chunks` yields has no byte order mark, and UTF-16 has become UTF-8; readers of text see
only bytes. The file is opened anew for every pass, non-blocking and only if it is a regular file, so that a pipe or a
device can neither hang a compile nor give two passes different content. Units: bytes.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import itertools
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from typing import BinaryIO

from hashsieve.errors import ListCutShortError, ListError, ListFormatError, Path, shown
from hashsieve.lists.wrappers import MAX_LAYERS, STREAMS, SUFFIXES, unpacked, wrapper_of, zip_chunks, zip_members

__all__ = ["CHUNK_BYTES", "SAMPLE_BYTES", "Source", "decode_sample"]

CHUNK_BYTES = 1 << 20
"""Size of one read. Larger reads were not faster, and the memory of a reader is a small multiple of this."""

SAMPLE_BYTES = 64 << 10
"""Size of the sample that formats are detected from."""

_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_Opener = Callable[[], contextlib.AbstractContextManager[tuple[Iterator[bytes], int]]]


class Source:
    """One list: a file, or a member of an archive. Holds no open descriptor between passes; safe to make several passes
    one after the other.

    ``member`` names the member of the archive, escaped for showing, and is empty for a file.
    """

    def __init__(self, path: Path, *, member: str = "", opener: _Opener | None = None) -> None:
        self.path = path
        self.member = member
        self._opener = opener
        self._sample: bytes | None = None

    @property
    def name(self) -> str:
        """Base name of the file or member, escaped for showing."""
        return os.path.basename(self.member) or shown(os.path.basename(os.fspath(self.path)))

    @property
    def inner_name(self) -> str:
        """:attr:`name` without the endings that only tell what it is packed in."""
        name = self.name
        while name.lower().endswith(SUFFIXES):
            name = name.rpartition(".")[0]
        return name

    def sample(self) -> bytes:
        """The first :data:`SAMPLE_BYTES` of the content, unpacked but not decoded; of a zip archive its first bytes."""
        if self._sample is None:
            pieces, length_bytes = [], 0
            for chunk in self.raw_chunks():
                pieces.append(chunk)
                length_bytes += len(chunk)
                if length_bytes >= SAMPLE_BYTES:
                    break
            self._sample = b"".join(pieces)[:SAMPLE_BYTES]
        return self._sample

    def chunks(self) -> Iterator[bytes]:
        """The whole content, unpacked and decoded, from its beginning. Raises :class:`ListError` where it cannot be
        read."""
        raw = self.raw_chunks()
        first = next(raw, b"")
        encoding, mark_bytes = _encoding(first)
        if encoding is not None:
            yield from _transcoded(first[mark_bytes:], raw, encoding)
            return
        if len(first) > mark_bytes:
            yield first[mark_bytes:]
        yield from raw

    def raw_chunks(self) -> Iterator[bytes]:
        """The whole content, unpacked but as it is: for formats that are no text."""
        with self._opened() as (packed, file_bytes):
            chunks = packed
            for _ in range(MAX_LAYERS + 1):
                first = next(chunks, b"")
                wrapper = wrapper_of(first)
                chunks = itertools.chain((first,), chunks) if first else chunks
                if wrapper not in STREAMS:
                    yield from chunks
                    return
                chunks = unpacked(wrapper, chunks, file_bytes)
        raise ListFormatError(f"is packed more than {MAX_LAYERS} times; unpack it first")

    def members(self) -> list[Source] | None:
        """The members, if the content is a zip archive, else None."""
        if wrapper_of(self.sample()[:4]) != "zip":
            return None
        return self._members(depth=1)

    def _members(self, depth: int) -> list[Source]:
        if depth > MAX_LAYERS:
            raise ListFormatError(f"archives within archives, more than {MAX_LAYERS} deep; unpack them first")
        with self.file() as file:
            found = zip_members(file)
        sources: list[Source] = []
        for number, info in enumerate(found):
            name = shown(info.filename)
            member = f"{self.member}/{name}" if self.member else name

            def opener(
                number: int = number, crc: int = info.CRC
            ) -> contextlib.AbstractContextManager[tuple[Iterator[bytes], int]]:
                return self._opened_member(number, crc)

            source = Source(self.path, member=member, opener=opener)
            nested = info.filename.lower().endswith(".zip") and not info.flag_bits & 1
            if nested and wrapper_of(source.sample()[:4]) == "zip":
                sources += source._members(depth + 1)
            else:
                sources.append(source)
        return sources

    @contextlib.contextmanager
    def file(self) -> Iterator[BinaryIO]:
        """The content, unpacked, as an open file that can be sought in; a private copy where it is packed."""
        if self._opener is None and not self._is_stream():
            with _open_regular(self.path) as plain, io.BufferedReader(plain, CHUNK_BYTES) as buffered:
                yield buffered
            return
        with tempfile.TemporaryFile(prefix="hashsieve-") as copy:
            self._copy_to(copy)
            yield copy

    @contextlib.contextmanager
    def file_path(self) -> Iterator[str]:
        """The content, unpacked, as the path of a file; a private copy, removed at the end, where it is packed."""
        if self._opener is None and not self._is_stream():
            _open_regular(self.path).close()
            yield os.fsdecode(self.path)
            return
        with tempfile.TemporaryDirectory(prefix="hashsieve-") as folder:
            path = os.path.join(folder, "list")
            with open(path, "xb") as copy:
                self._copy_to(copy)
            yield path

    def _is_stream(self) -> bool:
        with self._opened() as (packed, _):
            return wrapper_of(next(packed, b"")) in STREAMS

    def _copy_to(self, copy: BinaryIO) -> None:
        chunks = self.raw_chunks()
        try:
            for chunk in chunks:
                copy.write(chunk)
            copy.seek(0)
        except OSError as error:
            raise ListError(f"cannot be unpacked into {shown(tempfile.gettempdir())}: {_reason(error)}") from error

    def _opened(self) -> contextlib.AbstractContextManager[tuple[Iterator[bytes], int]]:
        """The bytes as they are stored, and the size of the file on disk."""
        return self._opener() if self._opener is not None else self._opened_file()

    @contextlib.contextmanager
    def _opened_file(self) -> Iterator[tuple[Iterator[bytes], int]]:
        with _open_regular(self.path) as file:
            yield self._read(file), os.fstat(file.fileno()).st_size

    def _read(self, file: io.FileIO) -> Iterator[bytes]:
        """The file in reads of a chunk; system errors become :class:`ListError` with the path."""
        while True:
            try:
                chunk = file.read(CHUNK_BYTES)
            except OSError as error:
                raise ListError(f"{shown(self.path)}: cannot be read: {_reason(error)}") from error
            if not chunk:
                return
            yield chunk

    @contextlib.contextmanager
    def _opened_member(self, number: int, crc: int) -> Iterator[tuple[Iterator[bytes], int]]:
        """The member *number* of the archive that this is; found by its place, since names may come twice."""
        with self.file() as file:
            members = zip_members(file)
            if number >= len(members) or crc != members[number].CRC:
                raise ListError("the archive changed while it was read")
            yield zip_chunks(file, members[number]), file.seek(0, os.SEEK_END)


def decode_sample(raw: bytes) -> bytes:
    """*raw*, the beginning of a file, without its byte order mark and in UTF-8 where it was UTF-16.

    Raises :class:`ListFormatError` for encodings that are not read.
    """
    encoding, mark_bytes = _encoding(raw)
    if encoding is None:
        return raw[mark_bytes:]
    return codecs.getincrementaldecoder(encoding)("replace").decode(raw[mark_bytes:]).encode("utf-8")


def _open_regular(path: Path) -> io.FileIO:
    """*path* opened for reading. Raises :class:`ListError` for what cannot be opened and for all but regular files."""
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except (OSError, ValueError) as error:
        raise ListError(f"{shown(path)}: cannot be opened: {_reason(error)}") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise ListError(f"{shown(path)}: is {what}; give the path of a list file")
    return io.FileIO(descriptor, "rb")


def _encoding(raw: bytes) -> tuple[str | None, int]:
    """The encoding to decode from, None for bytes as they are, and the length of the byte order mark."""
    if raw.startswith(codecs.BOM_UTF8):
        return None, len(codecs.BOM_UTF8)
    if raw.startswith(_UTF32):
        raise ListFormatError("the text is UTF-32; save it as UTF-8")
    if raw[:2] in _UTF16:
        return _UTF16[raw[:2]], 2
    return _unmarked_utf16(raw[:4096]), 0


def _unmarked_utf16(head: bytes) -> str | None:
    """UTF-16 without a byte order mark: most of every other byte are zero, as in ASCII text, and few of the rest."""
    pairs = len(head) // 2
    even, odd = head[::2].count(0), head[1::2].count(0)
    most, few = max(even, odd), min(even, odd)
    if pairs < 8 or 2 * most <= pairs or 20 * few > most:
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def _transcoded(first: bytes, rest: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """UTF-16 text as UTF-8. Lone surrogates can only stand in names, which nobody keeps: they are replaced."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    length_bytes = 0
    for raw in itertools.chain((first,), rest):
        length_bytes += len(raw)
        chunk = decoder.decode(raw).encode("utf-8")
        if chunk:
            yield chunk
    if length_bytes % 2:
        raise ListCutShortError("ends in the middle of a UTF-16 character")


def _reason(error: Exception) -> str:
    """The system's words for *error*, without the path in them."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
