"""Reading and writing ``.hdelta`` files. docs/format/hdelta.md is the authority on their bytes.

A reader believes nothing that it has not checked: lengths against the size of the file before memory is asked for,
header, section table and chunk list against the delta's id when the file is opened, every chunk each time it is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, NoReturn

from .._delta import Decoder, encode
from ..errors import DeltaDamagedError, DeltaError, DeltaFormatError, DeltaSealError, DeltaVersionError, Path, shown
from ..model import KINDS, Role
from .compile import Class, class_key
from .publish import AtomicFile, nameless_file
from .seal import CHUNK_BYTES as SEALED_CHUNK_BYTES
from .seal import SALT_BYTES, TAG_BYTES, SealKey

__all__ = ["DeltaFacts", "DeltaFile", "width_of", "write_delta_file"]

FORMAT_VERSION = 1
MAGIC = b"\x89HDLT\r\n\x1a"
TRAILER_MAGIC = b"HDLTROOT"
CHUNK_BYTES = 65536
FINGERPRINT_BYTES = 16
HEADER = struct.Struct("<8sIIIIQQQQQ32s32s16sIIIIQQQQ")
SECTION = struct.Struct("<IIQQQ")
_DESCRIPTION, _DIGESTS, _TAILS, _SIGNATURES, _SEALED = 1, 2, 3, 4, 9
_MUST_UNDERSTAND = 1
_TRAILER = struct.Struct("<8s32sII")
_SIGNATURE_BYTES, _MAX_SIGNATURES = 96, 8
_MAX_SECTIONS = 99
_MAX_DESCRIPTION_BYTES = 64 * 1024 * 1024
_MAX_COUNT = 2**62
_MAX_GENERATION = 2**63 - 1
_MAX_VALID_UNTIL_SECONDS = 253402300799  # 9999-12-31T23:59:59Z

_SEAL_ID_LABEL = b"hashsieve delta seal id 1\0"


def width_of(shape: int, sealed: bool) -> int:
    """Bytes of the digests, or fingerprints, of a row."""
    kinds = [kind for kind in KINDS if shape >> (kind.code - 1) & 1]
    return FINGERPRINT_BYTES * len(kinds) if sealed else sum(kind.size_bytes for kind in kinds)


@dataclass(frozen=True, slots=True)
class DeltaFacts:
    """What a delta's header says: where it starts from, and the new set's own header facts."""

    base_root: bytes
    base_generation: int
    root: bytes
    generation: int
    valid_until_seconds: int
    entries: int
    sizes: str
    filter_millibits: int
    seal_key_id: bytes = bytes(16)

    @property
    def sealed(self) -> bool:
        """Is it a delta of sealed sets?"""
        return any(self.seal_key_id)

    @property
    def seal_id(self) -> bytes:
        """What the sealed section is tied to: this step from one set to another."""
        return hashlib.sha256(_SEAL_ID_LABEL + self.base_root + self.root).digest()[:16]


# ---------------------------------------------------------------- writing


class _Spool:
    """The sections' bytes in the making: appended to a temporary file, and later copied behind the header."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._parts: list[bytes] = []
        self._waiting = 0

    def put(self, data: bytes) -> None:
        self._parts.append(data)
        self._waiting += len(data)
        if self._waiting >= 1 << 20:
            self.flush()

    def flush(self) -> None:
        _write_all(self._file, b"".join(self._parts))
        self._parts.clear()
        self._waiting = 0


def _write_all(file: BinaryIO, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


class _Body:
    """Writes the sections' bytes and collects the hash of every chunk."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._chunk = bytearray()
        self.hashes = bytearray()

    def put(self, data: bytes) -> None:
        self._chunk += data
        while len(self._chunk) >= CHUNK_BYTES:
            self._flush(bytes(self._chunk[:CHUNK_BYTES]))
            del self._chunk[:CHUNK_BYTES]

    def end(self) -> None:
        if self._chunk:
            self._flush(bytes(self._chunk))

    def _flush(self, chunk: bytes) -> None:
        self.hashes += hashlib.sha256(chunk).digest()
        _write_all(self._file, chunk)


def write_delta_file(
    path: Path,
    facts: DeltaFacts,
    classes: list[Class],
    rows: Iterable[bytes],
    *,
    signatures: bytes = b"",
    sign: Callable[[bytes], bytes] | None = None,
    seal: SealKey | None = None,
) -> tuple[int, int]:
    """Publishes a delta under *path*; how many rows and how many bytes it has.

    *rows* come in order, some at a time, in the builder's form (see _delta.pyi), their classes numbered as in
    *classes*. *signatures* is the new set's block of signatures, 96 bytes each; *sign* makes such a block for the
    delta's own id. *seal*: the key of sealed sets, whose rows carry fingerprints. Until it is known how many rows there
    are, they wait in temporary files without a name beside the output.
    """
    sealed = facts.sealed
    with AtomicFile(path) as output, output.problems():
        beside = os.path.dirname(output.path) or "."
        with _temporary(beside) as left, _temporary(beside) as right:
            digests, tails = _Spool(left), _Spool(right)
            counts: dict[int, list[int]] = {}
            totals = [0, 0]
            numbers = list(range(len(classes)))
            for some in rows:
                for shape, packed, tail, adds, cancels in encode(some, numbers, sealed):
                    digests.put(packed)
                    tails.put(tail)
                    count = counts.setdefault(shape, [0, 0])
                    count[0] += adds + cancels
                    count[1] += len(tail)
                    totals[0] += adds
                    totals[1] += cancels
            digests.flush()
            tails.flush()
            left.seek(0)
            right.seek(0)
            shapes = sorted(counts)
            description = json.dumps({"classes": [list(key) for key in classes]}, ensure_ascii=True, sort_keys=True,
                                     separators=(",", ":")).encode()  # fmt: skip
            table: list[tuple[int, int, int]] = []
            contents: list[Iterable[bytes]] = []
            if sealed:
                assert seal is not None
                lengths = [len(description), *(counts[shape][1] for shape in shapes)]
                head = struct.pack(f"<{len(lengths)}Q", *lengths) + description
                text = _SealedText(seal, facts.seal_id, head, right, sum(lengths[1:]))
                table.append((_SEALED << 8, text.sealed_bytes, text.chunks))
                contents.append(text)
            else:
                table.append((_DESCRIPTION << 8, len(description), 0))
                contents.append([description])
            for shape in shapes:
                row_count, tail_bytes = counts[shape]
                length = row_count * width_of(shape, sealed)
                table.append((_DIGESTS << 8 | shape, length, row_count))
                contents.append(_pieces_of(left, length))
                if not sealed:
                    table.append((_TAILS << 8 | shape, tail_bytes, row_count))
                    contents.append(_pieces_of(right, tail_bytes))
            if signatures:
                table.append((_SIGNATURES << 8, len(signatures), len(signatures) // _SIGNATURE_BYTES))
                contents.append([signatures])
            body_bytes = sum(length for _, length, _ in table)
            chunks = -(-body_bytes // CHUNK_BYTES)
            trailer_offset = HEADER.size + SECTION.size * len(table) + body_bytes + 32 * chunks
            head = HEADER.pack(
                MAGIC, FORMAT_VERSION, FORMAT_VERSION, 0x01020304, CHUNK_BYTES, trailer_offset, facts.base_generation,
                facts.generation, facts.valid_until_seconds, facts.entries, facts.base_root, facts.root,
                facts.seal_key_id, facts.sizes == "trusted", facts.filter_millibits, len(table), 0, *totals,
                body_bytes, 0,
            )  # fmt: skip
            head += b"".join(SECTION.pack(*each[:1], _MUST_UNDERSTAND, *each[1:], 0) for each in table)
            _write_all(output.file, head)
            body = _Body(output.file)
            for content in contents:
                for piece in content:
                    body.put(piece)
            body.end()
        _write_all(output.file, body.hashes)
        delta_id = hashlib.sha256(head + body.hashes).digest()
        own = b"" if sign is None else sign(delta_id)
        trailer = _TRAILER.pack(TRAILER_MAGIC, delta_id, len(own) // _SIGNATURE_BYTES, 0) + own
        _write_all(output.file, trailer + hashlib.sha256(trailer).digest())
        output.publish()
    return sum(totals), trailer_offset + len(trailer) + 32


def _temporary(directory: str) -> BinaryIO:
    return open(nameless_file(directory), "w+b", buffering=0)


def _pieces_of(file: BinaryIO, length: int) -> Iterator[bytes]:
    """The next *length* bytes of a temporary file."""
    while length:
        piece = file.read(min(length, 1 << 20))
        if not piece:
            raise OSError("a temporary file ended early")
        yield piece
        length -= len(piece)


class _SealedText:
    """What a sealed delta says beside fingerprints, encrypted: iterates over the bytes of its section.

    The text is *head* and then *length* bytes of *tails*, read twice: the key depends on all of the text.
    """

    def __init__(self, seal: SealKey, seal_id: bytes, head: bytes, tails: BinaryIO, length: int) -> None:
        self._head, self._tails, self._length = head, tails, length
        plain_bytes = len(head) + length
        self.chunks = -(-plain_bytes // SEALED_CHUNK_BYTES)
        self.sealed_bytes = SALT_BYTES + plain_bytes + TAG_BYTES * self.chunks
        whole = hashlib.sha256(head)
        for piece in _pieces_of(tails, length):
            whole.update(piece)
        tails.seek(0)
        self._sealer = seal.sealer(whole.digest(), seal_id)

    def __iter__(self) -> Iterator[bytes]:
        yield self._sealer.salt
        waiting, number = bytearray(self._head), 0
        for piece in _pieces_of(self._tails, self._length):
            waiting += piece
            while len(waiting) > SEALED_CHUNK_BYTES:
                yield self._sealer.chunk(number, False, bytes(waiting[:SEALED_CHUNK_BYTES]))
                del waiting[:SEALED_CHUNK_BYTES]
                number += 1
        while len(waiting) > SEALED_CHUNK_BYTES:
            yield self._sealer.chunk(number, False, bytes(waiting[:SEALED_CHUNK_BYTES]))
            del waiting[:SEALED_CHUNK_BYTES]
            number += 1
        yield self._sealer.chunk(number, True, bytes(waiting))


# ---------------------------------------------------------------- reading


class _Section(NamedTuple):
    offset: int  # within the sections' bytes
    length: int
    rows: int


class DeltaFile:
    """An open delta, its header, section table, chunk list and description checked. For one thread at a time.

    *seal_keys*: where the delta is one of sealed sets, theirs must be among them.

    Raises DeltaFormatError, DeltaVersionError, DeltaDamagedError, DeltaSealError or DeltaError, all naming the path.
    """

    def __init__(self, path: Path, seal_keys: Iterable[SealKey] = ()) -> None:
        self.path = os.fsdecode(path)
        self._seal_keys = tuple(seal_keys)
        try:
            self._fd = os.open(
                path,
                os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0),
            )
        except (OSError, ValueError) as problem:
            reason = getattr(problem, "strerror", None) or str(problem)
            raise DeltaError(f"{shown(path)}: cannot be opened: {reason}") from None
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Gives the file back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> DeltaFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wrong(self, text: str) -> NoReturn:
        raise DeltaFormatError(f"{shown(self.path)}: {text}; this is no delta that hashsieve wrote")

    def _damaged(self, text: str) -> NoReturn:
        raise DeltaDamagedError(f"{shown(self.path)}: {text}; the file is damaged or cut short, fetch it again")

    def _read(self, offset: int, length: int) -> bytes:
        parts, rest = [], length
        while rest:
            try:
                os.lseek(self._fd, offset, os.SEEK_SET)  # no pread on Windows; one thread, so nobody else seeks
                part = os.read(self._fd, rest)
            except OSError as problem:
                raise DeltaDamagedError(f"{shown(self.path)}: cannot be read: {problem.strerror or problem}") from None
            if not part:
                self._damaged(f"ends at byte {offset}, while it is read")
            parts.append(part)
            offset += len(part)
            rest -= len(part)
        return b"".join(parts)

    def _open(self) -> None:
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            self._wrong("is not a regular file")
        size = status.st_size
        magic = self._read(0, min(size, len(MAGIC)))
        if magic != MAGIC[: len(magic)] or not magic:
            self._wrong("does not start as a delta does")
        if size < HEADER.size:
            self._damaged(f"has {size} bytes, fewer than the header of a delta")
        head = self._read(0, HEADER.size)
        (_, version, lowest, order, chunk_bytes, trailer_offset, base_generation, generation, valid_until, entries,
         base_root, root, seal_key_id, sizes, millibits, section_count, _, adds, cancels, body_bytes,
         _) = HEADER.unpack(head)  # fmt: skip
        if not version or not lowest:
            self._wrong("has format version 0")
        if lowest > FORMAT_VERSION:
            raise DeltaVersionError(
                f"{shown(self.path)}: asks for a reader of delta version {lowest}, this one reads "
                f"{FORMAT_VERSION}; install a newer hashsieve"
            )
        if order != 0x01020304:
            self._wrong("has another byte order")
        if chunk_bytes != CHUNK_BYTES:
            self._wrong(f"has chunks of {chunk_bytes} bytes, not {CHUNK_BYTES}")
        if section_count > _MAX_SECTIONS:
            self._wrong(f"has {section_count} sections, more than {_MAX_SECTIONS}")
        self._data_offset = HEADER.size + SECTION.size * section_count
        chunks = -(-body_bytes // CHUNK_BYTES)
        if trailer_offset != self._data_offset + body_bytes + 32 * chunks:
            self._wrong("has lengths in its header that do not fit each other")
        if trailer_offset + _TRAILER.size + 32 > size:
            self._damaged(f"has {size} bytes, its header speaks of at least {trailer_offset + _TRAILER.size + 32}")
        self._body_bytes, self.file_bytes = body_bytes, size
        table = self._read(HEADER.size, SECTION.size * section_count)
        self._hashes = self._read(self._data_offset + body_bytes, 32 * chunks)
        self.id = hashlib.sha256(head + table + self._hashes).digest()
        self._open_trailer(trailer_offset, size)
        if (
            generation > _MAX_GENERATION
            or base_generation >= generation
            or valid_until > _MAX_VALID_UNTIL_SECONDS
            or entries >= _MAX_COUNT
            or sizes > 1
            or not 4000 <= millibits <= 64000
        ):
            self._wrong("has facts in its header that cannot be")
        self.facts = DeltaFacts(
            base_root, base_generation, root, generation, valid_until, entries, "trusted" if sizes else "ignored",
            millibits, seal_key_id,
        )  # fmt: skip
        self.add_count, self.cancel_count = adds, cancels
        self._chunk_number, self._chunk = -1, b""
        self._open_sections(table)

    def _open_trailer(self, offset: int, size: int) -> None:
        trailer = self._read(offset, _TRAILER.size)
        magic, delta_id, count, zero = _TRAILER.unpack(trailer)
        if magic != TRAILER_MAGIC or count > _MAX_SIGNATURES or zero:
            self._damaged("has no valid trailer")
        length = _TRAILER.size + _SIGNATURE_BYTES * count
        if offset + length + 32 != size:
            self._damaged(f"has {size} bytes, its header and trailer speak of {offset + length + 32}")
        trailer = self._read(offset, length)
        if self._read(offset + length, 32) != hashlib.sha256(trailer).digest():
            self._damaged("has a trailer that does not agree with its checksum")
        if delta_id != self.id:
            self._damaged("has a header or chunk list that does not agree with the delta's id")
        self.own_signatures = _pairs(trailer[_TRAILER.size :])

    def _open_sections(self, table: bytes) -> None:
        self._sections: dict[int, _Section] = {}
        sealed = self.facts.sealed
        known = (_SEALED, _DIGESTS, _SIGNATURES) if sealed else (_DESCRIPTION, _DIGESTS, _TAILS, _SIGNATURES)
        offset, last = 0, -1
        for number, flags, length, count, aux in SECTION.iter_unpack(table):
            kind, subject = number >> 8, number & 0xFF
            if number in self._sections or not length or length > self._body_bytes - offset or aux:
                self._wrong("has a section table that cannot be")
            section = _Section(offset, length, count)
            offset += length
            if kind not in known:
                if flags & _MUST_UNDERSTAND:
                    raise DeltaVersionError(
                        f"{shown(self.path)}: has a section {number:#x} that this version does not know and must; "
                        "install a newer hashsieve"
                    )
                continue
            if kind in (_DIGESTS, _TAILS):
                right = 0 < subject < 16 and count and length < _MAX_COUNT and (
                    length == count * width_of(subject, sealed) if kind == _DIGESTS else length >= count
                )  # fmt: skip
                place = 2 * subject + (kind == _TAILS)
            elif kind == _SEALED:
                plain_bytes = length - SALT_BYTES - TAG_BYTES * count
                right = not subject and 0 < count < _MAX_COUNT and count == -(-plain_bytes // SEALED_CHUNK_BYTES)
                place = 0
            elif kind == _DESCRIPTION:
                right, place = not subject and not count and length <= _MAX_DESCRIPTION_BYTES, 0
            else:
                right = not subject and 0 < count <= _MAX_SIGNATURES and length == count * _SIGNATURE_BYTES
                place = 99
            if not right or place <= last:
                self._wrong(f"has a section {number:#x} that cannot be")
            last = place
            self._sections[number] = section
        if offset != self._body_bytes:
            self._wrong("has sections that do not fill their place")
        self.shapes = tuple(number & 0xFF for number in self._sections if number >> 8 == _DIGESTS)
        if (_SEALED if sealed else _DESCRIPTION) << 8 not in self._sections:
            self._wrong("has no description")
        if sum(self._row_count(shape) for shape in self.shapes) != self.add_count + self.cancel_count:
            self._wrong("has numbers of rows that do not add up")
        self._open_sealed() if sealed else self._open_plain()
        self.classes = self._describe()
        self.signatures = _pairs(b"".join(self._pieces(_SIGNATURES << 8)))

    def _row_count(self, shape: int) -> int:
        return self._sections[_DIGESTS << 8 | shape].rows

    def _open_plain(self) -> None:
        tails = {number & 0xFF: section.rows for number, section in self._sections.items() if number >> 8 == _TAILS}
        if tails != {shape: self._row_count(shape) for shape in self.shapes}:
            self._wrong("has digests and tails that do not fit each other")

    def _open_sealed(self) -> None:
        """Finds the key, and where the parts of the sealed text are."""
        wanted = self.facts.seal_key_id
        key = next((each for each in self._seal_keys if each.key_id == wanted), None)
        if key is None:
            given = "with another key than those given" if self._seal_keys else "and no key was given"
            raise DeltaSealError(
                f"{shown(self.path)}: is a delta of sealed sets, {given}; name the key {wanted.hex()} with --seal-key"
            )
        section = self._sections[_SEALED << 8]
        self._sealer = key._sealer(b"".join(self._bytes(section.offset, SALT_BYTES)), self.facts.seal_id)
        self._sealed_chunks = section.rows
        self._plain_bytes = section.length - SALT_BYTES - TAG_BYTES * section.rows
        numbers = [_DESCRIPTION << 8, *(_TAILS << 8 | shape for shape in self.shapes)]
        offset = 8 * len(numbers)
        if self._plain_bytes < offset:
            self._wrong("has a sealed section that ends early")
        lengths = struct.unpack(f"<{len(numbers)}Q", b"".join(self._unsealed(0, offset)))
        self._parts: dict[int, tuple[int, int]] = {}
        for number, length in zip(numbers, lengths, strict=True):
            if length > self._plain_bytes - offset or (number & 0xFF and length < self._row_count(number & 0xFF)):
                self._wrong("has a sealed section whose parts do not fit it")
            self._parts[number] = offset, length
            offset += length
        if offset != self._plain_bytes or lengths[0] > _MAX_DESCRIPTION_BYTES:
            self._wrong("has a sealed section whose parts do not fill it")

    def _unsealed(self, offset: int, length: int) -> Iterator[bytes]:
        """Bytes of the sealed text, piece by piece, each decrypted now."""
        begin = self._sections[_SEALED << 8].offset + SALT_BYTES
        while length:
            number, at = divmod(offset, SEALED_CHUNK_BYTES)
            last = number == self._sealed_chunks - 1
            plain_bytes = self._plain_bytes - number * SEALED_CHUNK_BYTES if last else SEALED_CHUNK_BYTES
            stored = self._bytes(begin + number * (SEALED_CHUNK_BYTES + TAG_BYTES), plain_bytes + TAG_BYTES)
            plain = self._sealer.open(number, last, b"".join(stored))
            if plain is None:
                self._damaged(f"was not sealed with this key for these sets (chunk {number})")
            piece = plain[at : at + length]
            yield piece
            offset += len(piece)
            length -= len(piece)

    def _describe(self) -> list[Class]:
        try:
            meta: dict[str, Any] = json.loads(b"".join(self._pieces(_DESCRIPTION << 8)))
            classes = [(_text(s), str(Role(r)), None if c is None else _text(c)) for s, r, c in meta["classes"]]
        except (ValueError, KeyError, TypeError, RecursionError) as problem:
            self._wrong(f"has a description that cannot be read ({problem})")
        order = [class_key(key) for key in classes]
        if any(a >= b for a, b in pairwise(order)):
            self._wrong("has classes that are not in order")
        return classes

    def chunk(self, number: int) -> bytes:
        """A chunk of the sections' bytes, read and checked now."""
        if number != self._chunk_number:
            length = min(CHUNK_BYTES, self._body_bytes - number * CHUNK_BYTES)
            chunk = self._read(self._data_offset + number * CHUNK_BYTES, length)
            if hashlib.sha256(chunk).digest() != self._hashes[32 * number : 32 * number + 32]:
                self._damaged(f"does not agree with its checksum in chunk {number}")
            self._chunk_number, self._chunk = number, chunk
        return self._chunk

    @property
    def chunk_count(self) -> int:
        """Number of chunks that :meth:`chunk` gives."""
        return len(self._hashes) // 32

    def verify(self) -> None:
        """Reads and checks every chunk."""
        for number in range(self.chunk_count):
            self.chunk(number)

    def _pieces(self, number: int) -> Iterator[bytes]:
        """The bytes of a section, or of what a sealed delta has instead of it; nothing where there is none."""
        if self.facts.sealed and number in self._parts:
            return self._unsealed(*self._parts[number])
        section = self._sections.get(number)
        return iter(()) if section is None else self._bytes(section.offset, section.length)

    def _bytes(self, offset: int, length: int) -> Iterator[bytes]:
        """A stretch of the sections' bytes, piece by piece."""
        end = offset + length
        while offset < end:
            chunk, at = divmod(offset, CHUNK_BYTES)
            piece = self.chunk(chunk)[at : at + end - offset]
            yield piece
            offset += len(piece)

    def rows(self, class_map: list[int]) -> Iterator[bytes]:
        """All rows in order, some at a time, in the builder's form (see _delta.pyi), their classes numbered by
        *class_map*. What cannot be is a DeltaFormatError.
        """
        counts = [0, 0]
        for shape in self.shapes:
            decoder = Decoder(shape, class_map, self.facts.sealed)
            digests, tails = _Feed(self, _DIGESTS << 8 | shape), _Feed(self, _TAILS << 8 | shape)
            while digests.more() | tails.more():
                try:
                    rows, digests_used, tails_used = decoder.feed(digests.data, tails.data, tails.at_end)
                except ValueError as problem:
                    self._wrong(str(problem))
                if not rows:  # both were filled up before, so one of them is at its end
                    self._wrong("has digests and tails that do not fit each other")
                yield rows
                digests.data, tails.data = digests.data[digests_used:], tails.data[tails_used:]
            counts[0] += decoder.add_count
            counts[1] += decoder.cancel_count
        if counts != [self.add_count, self.cancel_count]:
            self._wrong("has numbers of rows that do not add up")


class _Feed:
    """A section front to back: what was not used yet, and the next piece of it when that is little."""

    def __init__(self, delta: DeltaFile, section: int) -> None:
        self._next = delta._pieces(section)
        self.data = b""
        self.at_end = False

    def more(self) -> bool:
        """Is there anything left?"""
        while len(self.data) < CHUNK_BYTES and not self.at_end:
            piece = next(self._next, None)
            if piece is None:
                self.at_end = True
            else:
                self.data += piece
        return bool(self.data)


def _pairs(block: bytes) -> list[tuple[bytes, bytes]]:
    """(public key, signature), as often as they stand in a block."""
    return [(block[at : at + 32], block[at + 32 : at + 96]) for at in range(0, len(block), _SIGNATURE_BYTES)]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a name is not a text")
    return value
