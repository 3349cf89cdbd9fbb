"""What lists come wrapped in: gzip, xz, zstd and bzip2 streams, and zip archives.

Everything is unpacked as a stream, never to a name an archive gives. Bounds, so that a small file cannot keep a compile
busy for ever: a layer gives at most :data:`MAX_RATIO` times the bytes of the file on disk, :data:`FREE_BYTES` in any
case; a decoder may use :data:`MAX_DECODER_BYTES`; a zip directory :data:`MAX_DIRECTORY_BYTES`. What ends early is cut
short, not short: :class:`~hashsieve.errors.ListCutShortError`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Protocol

from hashsieve.errors import ListCutShortError, ListFormatError, shown

if TYPE_CHECKING:
    from zipfile import ZipInfo

__all__ = [
    "FREE_BYTES",
    "MAX_LAYERS",
    "MAX_RATIO",
    "STREAMS",
    "unpacked",
    "wrapper_of",
    "zip_beginning",
    "zip_chunks",
    "zip_members",
]

MAX_RATIO = 200
"""Most bytes unpacked for one byte of the file. Lists of digests hardly reach 20."""

FREE_BYTES = 256 << 20
"""Unpacked without a look at the ratio: small databases are mostly zeros."""

MAX_DECODER_BYTES = 128 << 20
"""Most memory of a decoder. ``xz -9`` takes 65 MiB, ``zstd --ultra`` 128 MiB."""

MAX_DIRECTORY_BYTES = 8 << 20
MAX_LAYERS = 3
_PIECE_BYTES = 1 << 20
# A block of a repeated byte is 128 KiB from 4 bytes, and the zstd decoder has no bound of its own on what it gives.
_ZSTD_FEED_BYTES = 1 << 10

_MAGICS = {
    "gzip": b"\x1f\x8b",
    "xz": b"\xfd7zXZ\0",
    "zip": b"PK\x03\x04",
    "empty zip": b"PK\x05\x06",
    "zstd": b"\x28\xb5\x2f\xfd",
    "bzip2": b"BZh",
    "7z": b"7z\xbc\xaf\x27\x1c",
}
_SKIPPABLE = b"\x2a\x4d\x18"  # behind a byte from 0x50 to 0x5f: a frame of zstd that only speaks to tools
STREAMS = frozenset(("gzip", "xz", "zstd", "bzip2"))
SUFFIXES = (".gz", ".xz", ".zst", ".bz2", ".zip")


def wrapper_of(head: bytes) -> str | None:
    """What the file that begins with *head* is wrapped in, or None."""
    if head[1:4] == _SKIPPABLE and 0x50 <= head[0] <= 0x5F:
        return "zstd"
    if head[257:262] == b"ustar":
        return "tar"
    return next((name for name, magic in _MAGICS.items() if head.startswith(magic)), None)


class _Decoder(Protocol):
    """One stream: as ``lzma.LZMADecompressor`` has it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


class _Gzip:
    def __init__(self) -> None:
        import zlib

        self._decoder = zlib.decompressobj(31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        piece = self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)
        self.needs_input = not self._decoder.unconsumed_tail and len(piece) < max_length
        return piece


class _Zstd:
    def __init__(self) -> None:
        import zstandard

        self._decoder = zstandard.ZstdDecompressor(max_window_size=MAX_DECODER_BYTES).decompressobj()
        self._waiting = b""

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data + self._waiting

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        waiting = memoryview(self._waiting + data)
        pieces, length_bytes = [], 0
        while waiting and length_bytes < max_length and not self._decoder.eof:
            piece = self._decoder.decompress(waiting[:_ZSTD_FEED_BYTES])
            waiting = waiting[_ZSTD_FEED_BYTES:]
            pieces.append(piece)
            length_bytes += len(piece)
        self._waiting = bytes(waiting)
        return b"".join(pieces)


def _xz() -> _Decoder:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_DECODER_BYTES)


def _bzip2() -> _Decoder:
    import bz2

    return bz2.BZ2Decompressor()


_DECODERS: dict[str, Callable[[], _Decoder]] = {"gzip": _Gzip, "xz": _xz, "zstd": _Zstd, "bzip2": _bzip2}


def unpacked(wrapper: str, chunks: Iterator[bytes], file_bytes: int) -> Iterator[bytes]:
    """What the stream *chunks*, of one member or several, unpacks to. *file_bytes*: size of the file on disk.

    Raises :class:`ListCutShortError` where it ends within a member, :class:`ListFormatError` where it is damaged, is
    followed by something else, or unpacks to too much.
    """
    decoder: _Decoder | None = _DECODERS[wrapper]()
    bound = _Bound(file_bytes)
    for chunk in chunks:
        data = chunk
        while True:
            if decoder is None:
                data = data.lstrip(b"\0")  # tapes and xz pad with zeros
                if not data:
                    break
                decoder = _DECODERS[wrapper]()
            try:
                piece = decoder.decompress(data, _PIECE_BYTES)
            except Exception as error:  # each decoder raises its own, some of them OSError and EOFError
                raise ListFormatError(f"the {wrapper} data is damaged: {error}") from error
            data = b""
            if piece:
                bound.add(len(piece))
                yield piece
            if decoder.eof:
                data, decoder = decoder.unused_data, None
            elif decoder.needs_input:
                break
    if decoder is not None:
        raise ListCutShortError(f"the {wrapper} data ends before its end mark")


class _Bound:
    """What a layer may unpack to."""

    def __init__(self, file_bytes: int) -> None:
        self._left_bytes = max(FREE_BYTES, MAX_RATIO * file_bytes)

    def add(self, count_bytes: int) -> None:
        """Raise :class:`ListFormatError` once it is too much."""
        self._left_bytes -= count_bytes
        if self._left_bytes < 0:
            raise ListFormatError(f"unpacks to more than {MAX_RATIO} times its size; no list of digests does")


def zip_members(file: BinaryIO) -> list[ZipInfo]:
    """The files in a zip archive, in its order. Raises as :func:`unpacked` does."""
    import zipfile

    file_bytes = file.seek(0, os.SEEK_END)
    directory_bytes = _directory_bytes(file, file_bytes)
    if directory_bytes is None:
        raise ListCutShortError("the zip archive ends before its directory")
    if directory_bytes > min(MAX_DIRECTORY_BYTES, file_bytes):
        raise ListFormatError(f"the directory of the zip archive is larger than {MAX_DIRECTORY_BYTES} bytes")
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise ListFormatError(f"the zip archive is damaged: {error}") from error
    _Bound(file_bytes).add(sum(member.file_size for member in members))
    return members


def zip_chunks(file: BinaryIO, member: ZipInfo) -> Iterator[bytes]:
    """The content of *member*, unpacked. Raises as :func:`unpacked` does."""
    import zipfile
    import zlib

    name = shown(member.filename)
    if member.flag_bits & 1:
        raise ListFormatError(f"{name} in the zip archive is encrypted; unpack it first")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ListFormatError(f"{name} in the zip archive is packed by method {member.compress_type}; unpack it first")
    length_bytes = 0
    try:
        with zipfile.ZipFile(file) as archive, archive.open(member) as content:
            while chunk := content.read(_PIECE_BYTES):
                length_bytes += len(chunk)
                yield chunk
    except EOFError as error:
        raise ListCutShortError(f"{name} in the zip archive is cut short") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, struct.error) as error:
        raise ListFormatError(f"{name} in the zip archive is damaged: {error}") from error
    if length_bytes != member.file_size:
        raise ListCutShortError(f"{name} in the zip archive has {length_bytes} of {member.file_size} bytes")


def zip_beginning(sample: bytes, limit_bytes: int) -> tuple[str, bytes]:
    """Name and beginning of the first member of a zip archive of which only a *sample* is at hand."""
    import zlib

    if len(sample) < 30:
        return "", b""
    flags, method, name_bytes, extra_bytes = struct.unpack_from("<HH16xHH", sample, 6)
    start = 30 + name_bytes + extra_bytes
    name = shown(os.path.basename(sample[30 : 30 + name_bytes].decode("utf-8", "replace")))
    if flags & 1 or method not in (0, 8):
        return name, b""
    if method == 0:
        return name, sample[start:][:limit_bytes]
    try:
        return name, zlib.decompressobj(-15).decompress(sample[start:], limit_bytes)
    except zlib.error:
        return name, b""


def _directory_bytes(file: BinaryIO, file_bytes: int) -> int | None:
    """Size of the directory as the end record states it; None if there is no end record.

    Asked before the archive is opened, since that loads the directory at once, however large it says it is.
    """
    tail_bytes = min(file_bytes, 22 + 0xFFFF)
    file.seek(file_bytes - tail_bytes)
    tail = file.read(tail_bytes)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        return None
    count, size = struct.unpack_from("<HI", tail, at + 10)
    if count != 0xFFFF and size != 0xFFFFFFFF:
        return int(size)
    locator = at - 20
    if locator < 0 or tail[locator : locator + 4] != b"PK\x06\x07":
        return int(size)
    file.seek(min(struct.unpack_from("<Q", tail, locator + 8)[0], file_bytes))
    record = file.read(56)
    if len(record) < 56 or not record.startswith(b"PK\x06\x06"):
        return None
    return int(struct.unpack_from("<Q", record, 40)[0])
