"""A hash list as a file: opened on demand, read in chunks, decoded to bytes of an ASCII superset.

Invariant: what :meth:`Source.chunks` yields has no byte order mark, and UTF-16 has become UTF-8; readers see only
bytes. The file is opened anew for every pass, non-blocking and only if it is a regular file, so that a pipe or a
device can neither hang a compile nor give two passes different content. Units: bytes.
"""

from __future__ import annotations

import codecs
import io
import itertools
import os
import stat
from collections.abc import Iterator

from hashsieve.errors import ListCutShortError, ListError, ListFormatError, Path, shown

__all__ = ["CHUNK_BYTES", "SAMPLE_BYTES", "Source", "decode_sample"]

CHUNK_BYTES = 1 << 20
"""Size of one read. Larger reads were not faster, and the memory of a reader is a small multiple of this."""

SAMPLE_BYTES = 64 << 10
"""Size of the sample that formats are detected from."""

_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Source:
    """One list file. Holds no open descriptor between passes; safe to make several passes one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """Base name of the file, escaped for showing."""
        return shown(os.path.basename(os.fspath(self.path)))

    def sample(self) -> bytes:
        """The first :data:`SAMPLE_BYTES` as they are in the file."""
        return next(self._raw_chunks(SAMPLE_BYTES), b"")

    def chunks(self) -> Iterator[bytes]:
        """The whole file, decoded, from its beginning. Raises :class:`ListError` where it cannot be read."""
        raw = self._raw_chunks(CHUNK_BYTES)
        first = next(raw, b"")
        encoding, mark_bytes = _encoding(first)
        if encoding is not None:
            yield from _transcoded(first[mark_bytes:], raw, encoding)
            return
        if len(first) > mark_bytes:
            yield first[mark_bytes:]
        yield from raw

    def _raw_chunks(self, size_bytes: int) -> Iterator[bytes]:
        """The file in reads of *size_bytes*; system errors become :class:`ListError` with the path."""
        with _open_regular(self.path) as file:
            while True:
                try:
                    chunk = file.read(size_bytes)
                except OSError as error:
                    raise ListError(f"{shown(self.path)}: cannot be read: {_reason(error)}") from error
                if not chunk:
                    return
                yield chunk


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
    if _looks_utf16(raw[:4096]):
        raise ListFormatError("the text looks like UTF-16 without a byte order mark; save it as UTF-8")
    return None, 0


def _looks_utf16(head: bytes) -> bool:
    """Whether every other byte is zero and the rest is not, as in ASCII text stored as UTF-16."""
    even, odd = head[::2], head[1::2]
    return len(odd) >= 8 and ((not any(odd) and all(even)) or (not any(even) and all(odd)))


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
