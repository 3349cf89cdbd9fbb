"""Sealed sets: whoever has the file but not the seal key can neither read a digest in it nor try one.

Tables and filters hold fingerprints, HMAC-SHA-256(seal key, kind || digest) cut to 128 bits; what else a set knows
(sizes, sources, roles, categories, record ids, counts) is one section under AES-256-GCM. docs/format/hset.md has the
bytes, docs/threat-model.md what this stops and what not.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

from .._lookup import SetFile
from .._seal import Seal
from ..errors import SetDamagedError, SetFormatError, UsageError, shown
from ..model import DigestKind
from .keys import KeyKind, KeySource, secret_of

__all__ = ["SealKey", "SealedPart", "Sealer", "options_with_keys", "seal_keys_of"]

CHUNK_BYTES = 65536
TAG_BYTES = 16
SALT_BYTES = 32
LENGTHS_BYTES = 32
KEY_LABEL = b"hashsieve sealed section 1"
SALT_LABEL = b"hashsieve sealed salt 1"
_CACHED_CHUNKS = 16  # 1 MiB of listings in memory
_MAX_META_BYTES = 64 * 1024 * 1024


class SealKey:
    """The key of sealed sets. Holds it in native memory that :meth:`close` wipes; never in its repr, never pickled.

    ``key_id`` (16 bytes) is what a set names its key by. Threads: any number at once.
    """

    def __init__(self, secret: bytes | bytearray) -> None:
        self._seal = Seal(secret)
        self.key_id: bytes = self._seal.key_id

    @classmethod
    def load(cls, source: KeySource) -> SealKey:
        """From a key source; KeySourceError when there is none."""
        with secret_of(source, KeyKind.SEAL) as secret:
            return cls(secret)

    @property
    def native(self) -> Seal:
        """The native key, for the set file."""
        return self._seal

    def fingerprints(self, kind_code: int, digests: bytes) -> bytes:
        """16 bytes for each of the packed digests of a kind."""
        return self._seal.fingerprints(kind_code, digests)

    def fingerprint(self, kind: DigestKind | str, digest: bytes) -> bytes:
        """That of one digest."""
        return self._seal.fingerprints(DigestKind(kind).code, digest)

    def sealer(self, plain_sha256: bytes, set_id: bytes) -> Sealer:
        """What encrypts the sealed section of a set whose plaintext has this SHA-256.

        Its key is made from both: equal sets give equal bytes, and no two texts, nor one text under two set ids, are
        ever encrypted under one key.
        """
        return self._sealer(self._seal.derive(SALT_LABEL + set_id + plain_sha256), set_id)

    def _sealer(self, salt: bytes, set_id: bytes) -> Sealer:
        return Sealer(self._seal.derive(KEY_LABEL + salt), salt, set_id)

    def close(self) -> None:
        """Wipes the key. Open sets keep their own copy until they are closed."""
        self._seal.close()

    def __enter__(self) -> SealKey:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SealKey {self.key_id.hex()}>"

    def __reduce__(self) -> Any:
        raise TypeError("a seal key cannot be pickled or copied")


class Sealer:
    """AES-256-GCM of one sealed section, chunk by chunk. ``salt`` stands before the chunks."""

    def __init__(self, key: bytes, salt: bytes, set_id: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher: Any = AESGCM(key)
        self.salt = salt
        self._set_id = set_id

    @staticmethod
    def _nonce(number: int, last: bool) -> bytes:
        return number.to_bytes(8, "little") + int(last).to_bytes(4, "little")

    def chunk(self, number: int, last: bool, plain: bytes) -> bytes:
        """Chunk *number* encrypted, its tag behind it. Each number once."""
        if len(plain) > CHUNK_BYTES or (len(plain) < CHUNK_BYTES and not last):
            raise UsageError(f"every chunk but the last has {CHUNK_BYTES} bytes")
        sealed: bytes = self._cipher.encrypt(self._nonce(number, last), plain, self._set_id)
        return sealed

    def open(self, number: int, last: bool, sealed: bytes) -> bytes | None:
        """The plaintext of a chunk; None when it was not made with this key, number and set."""
        from cryptography.exceptions import InvalidTag

        try:
            plain: bytes = self._cipher.decrypt(self._nonce(number, last), sealed, self._set_id)
        except InvalidTag:
            return None
        return plain

    def __reduce__(self) -> Any:
        raise TypeError("a key cannot be pickled or copied")


def seal_keys_of(
    given: SealKey | KeySource | Iterable[SealKey | KeySource] | None,
) -> tuple[list[SealKey], list[SealKey]]:
    """(all keys that were given, those of them that were made here and are the caller's to close)."""
    if given is None:
        return [], []
    many = [given] if isinstance(given, SealKey | str) or callable(given) else list(given)
    made: list[SealKey] = []
    try:
        keys = []
        for each in many:
            if not isinstance(each, SealKey):
                each = SealKey.load(each)
                made.append(each)
            keys.append(each)
    except BaseException:
        for each in made:
            each.close()
        raise
    return keys, made


def options_with_keys(open_options: dict[str, Any]) -> dict[str, Any]:
    """Options of ``HashSet.open`` with every key source read: for whoever opens more than once, since what a descriptor
    holds can be read only once. The keys that were made here are wiped when nobody holds them any more.
    """
    keys, _ = seal_keys_of(open_options.get("seal_key"))
    return open_options | {"seal_key": keys} if keys else open_options


class SealedPart:
    """The sealed section of an open set: decrypted chunk by chunk when something in it is asked for.

    At most 1 MiB of plaintext is kept. Threads: any number at once.
    """

    def __init__(self, file: SetFile, keys: Iterable[SealKey]) -> None:
        header = file.header
        self._file, self._path = file, file.path
        self._lock = threading.Lock()
        self._chunks: OrderedDict[int, bytes] = OrderedDict()
        length = file.sealed_length() - SALT_BYTES
        self._count = -(-length // (CHUNK_BYTES + TAG_BYTES))
        self._plain_bytes = length - self._count * TAG_BYTES
        key = next(each for each in keys if each.key_id == header["seal_key_id"])
        self._sealer = key._sealer(file.sealed_bytes(0, SALT_BYTES), header["set_id"])
        self._parts: list[tuple[int, int]] = []
        at = LENGTHS_BYTES
        lengths = self._read(0, LENGTHS_BYTES)
        for n in range(4):
            part = int.from_bytes(lengths[8 * n : 8 * n + 8], "little")
            self._parts.append((at, part))
            at += part
        if at != self._plain_bytes:
            raise self._bad("its parts do not fill it")
        if self._parts[0][1] > _MAX_META_BYTES:
            raise self._bad("the description is impossibly long")
        self._size_width, self._group_width = self._read_part(1, 0, 2)
        self._entries = sum(count for _, count in header["shapes"])
        stride = self._size_width + self._group_width
        if self._size_width > 8 or self._group_width > 8 or self._parts[1][1] != 2 + self._entries * stride:
            raise self._bad("sizes and listings do not fit the entries")
        if self._entries and not self._group_width:
            raise self._bad("entries without listings")

    def _bad(self, what: str) -> SetFormatError:
        return SetFormatError(f"{shown(self._path)}, sealed section: {what}")

    def meta(self) -> bytes:
        """The description."""
        return self._read_part(0, 0, self._parts[0][1])

    def column(self, number: int) -> tuple[int | None, int]:
        """(size in bytes or None, group value) of an entry."""
        stride = self._size_width + self._group_width
        row = self._read_part(1, 2 + number * stride, stride)
        size = int.from_bytes(row[: self._size_width], "little")
        return size - 1 if size else None, int.from_bytes(row[self._size_width :], "little")

    def size_rows(self) -> Iterator[tuple[bytes, int, int]]:
        """All columns in bounded pieces: (packed rows, bytes a row, how many of these are the size)."""
        stride = self._size_width + self._group_width
        step = CHUNK_BYTES // stride * stride if stride else 1
        end = 2 + self._entries * stride
        for at in range(2, end, step):
            yield self._read_part(1, at, min(step, end - at)), stride, self._size_width

    def groups(self) -> bytes:
        """The listing groups without record ids."""
        return self._read_part(2, 0, self._parts[2][1])

    def refs(self, offset: int, length: int) -> bytes:
        """``length`` bytes (cut at the part's end) at ``offset`` of the groups with record ids."""
        have = self._parts[3][1]
        if offset >= have:
            raise self._bad("an entry points to a record id that is not there")
        return self._read_part(3, offset, min(length, have - offset))

    @property
    def widths(self) -> tuple[int, int]:
        """Bytes of size and of group in a row of the columns."""
        return self._size_width, self._group_width

    @property
    def lengths(self) -> tuple[int, ...]:
        """Bytes of the parts: description, columns, listing groups, record ids."""
        return tuple(length for _, length in self._parts)

    def part(self, number: int, offset: int, length: int) -> bytes:
        """``length`` bytes at ``offset`` of a part; SetFormatError where it has none there."""
        return self._read_part(number, offset, length)

    def verify(self) -> None:
        """Decrypts every chunk, so that each is known to be what was sealed."""
        for number in range(self._count):
            self._open(number)

    def _read_part(self, part: int, offset: int, length: int) -> bytes:
        start, have = self._parts[part]
        if offset > have or length > have - offset:
            raise self._bad("a reference points outside of its part")
        return self._read(start + offset, length)

    def _read(self, offset: int, length: int) -> bytes:
        if offset + length > self._plain_bytes:
            raise self._bad("it ends early")
        out = []
        while length:
            number, within = divmod(offset, CHUNK_BYTES)
            piece = self._chunk(number)[within : within + length]
            out.append(piece)
            offset += len(piece)
            length -= len(piece)
        return b"".join(out)

    def _chunk(self, number: int) -> bytes:
        with self._lock:
            held = self._chunks.get(number)
            if held is not None:
                self._chunks.move_to_end(number)
                return held
        plain = self._open(number)
        with self._lock:
            self._chunks[number] = plain
            while len(self._chunks) > _CACHED_CHUNKS:
                self._chunks.popitem(last=False)
        return plain

    def _open(self, number: int) -> bytes:
        last = number == self._count - 1
        at = number * CHUNK_BYTES
        plain_bytes = self._plain_bytes - at if last else CHUNK_BYTES
        sealed = self._file.sealed_bytes(SALT_BYTES + number * (CHUNK_BYTES + TAG_BYTES), plain_bytes + TAG_BYTES)
        plain = self._sealer.open(number, last, sealed)
        if plain is None:
            raise SetDamagedError(
                f"{shown(self._path)}, sealed section, chunk {number}: was not sealed with this key for this set; "
                "get a good copy from its custodian"
            )
        return plain

    def forget(self) -> None:
        """Lets go of what was decrypted; for the end of a set."""
        with self._lock:
            self._chunks.clear()

    def renew_lock(self) -> None:
        """In a forked child: a lock that another thread of the parent held would be held for ever."""
        self._lock = threading.Lock()
