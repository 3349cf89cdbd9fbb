"""An open hash set: one generation, for ever. Checked at every use, safe from many threads, cheap to ask."""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .._lookup import SetFile
from ..errors import (
    Path,
    SetDamagedError,
    SetExpiredError,
    SetFormatError,
    SetRollbackError,
    UsageError,
    shown,
)
from ..model import KINDS, DigestKind, Entry, Listing, Role
from .seal import SealedPart, SealKey, seal_keys_of
from .signature import check_signatures, fits, trusted_of
from .testfile import TEST_DIGESTS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .._scan import Sizes
    from .keys import KeySource

__all__ = ["HashSet", "ref_to_bytes"]

_MAX_GROUP_BYTES = 64 * 1024 * 1024


class HashSet:
    """A compiled set file, opened with :meth:`open`.

    Threads: any number may look up at once. After a fork the set is usable in both processes. Memory: page list, fences
    and the filters of the loaded kinds; entries are read from the file when they are asked for, and checked.
    """

    def __init__(
        self,
        file: SetFile,
        *,
        sealed: SealedPart | None = None,
        signed_by: bytes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = file
        self._sealed = sealed
        self._clock = clock
        self.signed_by = signed_by
        self._lock = threading.Lock()
        _all.add(self)
        header = file.header
        self.path: str = file.path
        self.root: bytes = header["root"]
        self.generation: int = header["generation"]
        self.valid_until_seconds: int = header["valid_until"]
        self.sizes: str = header["sizes"]
        self.bits_per_entry: float = header["bits_per_entry"]
        self.kinds: tuple[DigestKind, ...] = tuple(KINDS[code - 1] for code in header["kinds"])
        self._entry_count: int = header["entries"]
        self._shapes: tuple[tuple[int, int], ...] = header["shapes"]
        self._describe()
        self._groups: list[tuple[Listing, ...]] | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        load: Iterable[str] | None = None,
        seal_key: SealKey | KeySource | Iterable[SealKey | KeySource] | None = None,
        trusted_keys: Path | Iterable[bytes] | None = None,
        minimum_generation: int = 0,
        require_valid: bool = False,
        clock: Callable[[], float] = time.time,
        os_table: object | None = None,
    ) -> HashSet:
        """Opens and checks a set file.

        *load* names the digest kinds whose filters are loaded now (None: all of the set's; others can be loaded later
        with :meth:`load`). Header, page list, root and what is loaded are verified here; table pages at every read. The
        digests of the built-in test file are looked up first. *os_table* is a capsule with another table of system
        calls (tests).

        *seal_key*: for a sealed set, its key (:class:`hashsieve.hashset.seal.SealKey`, ``fd:N``, ``file:PATH``,
        ``env:NAME`` or a callable), or several, of which the set names the one it needs. *trusted_keys*: a file of
        public keys, or the keys themselves; the set must then carry a valid signature of one of them. A generation
        below *minimum_generation* is refused, and with *require_valid* so is a set whose end of validity has passed by
        *clock* (seconds since 1970).

        Raises SetFormatError, SetVersionError, SetDamagedError, SetSealError, SetWrongKeyError, SetSignatureError,
        SetRollbackError, SetExpiredError or SetError, all naming the path, and KeySourceError.
        """
        trusted = None if trusted_keys is None else trusted_of(trusted_keys)
        keys, made = seal_keys_of(seal_key)
        try:
            file = SetFile(path, seals=[key.native for key in keys], os_capsule=os_table)
            try:
                header = file.header
                signed_by = None
                # Before anything of it is believed that a key would have to vouch for.
                if trusted is not None:
                    signed_by = check_signatures(path, header["root"], header["signatures"], trusted)
                sealed = SealedPart(file, keys) if header["sealed"] else None
                opened = cls(file, sealed=sealed, signed_by=signed_by, clock=clock)
                if opened.generation < minimum_generation:
                    raise SetRollbackError(
                        f"{shown(path)}: is generation {opened.generation}, and at least {minimum_generation} is "
                        "required"
                    )
                if require_valid and opened.expired:
                    raise SetExpiredError(
                        f"{shown(path)}: was valid until {_date(opened.valid_until_seconds)}; get a newer set"
                    )
                opened.load(opened.kinds if load is None else load)
            except BaseException:
                file.close()
                raise
        finally:
            for key in made:
                key.close()
        return opened

    @classmethod
    def install(cls, path: Path, state_dir: Path, *, name: str | None = None, **open_options: Any) -> HashSet:
        """Opens a private copy of a set file, made and verified first: nobody else can write to it, move it or cut it.

        See :func:`hashsieve.hashset.install.install`; *open_options* are those of :meth:`open`.
        """
        from .install import install

        return install(path, state_dir, name=name, **open_options)

    def copy_into(self, fd: int) -> None:
        """Writes the whole file to a descriptor, every page of it verified. Raises SetDamagedError or OSError."""
        self._file.copy_into(fd)

    def _describe(self) -> None:
        try:
            meta: dict[str, Any] = json.loads(self._sealed.meta() if self._sealed else self._file.meta())
            self._classes = [(str(s), Role(r), None if c is None else str(c)) for s, r, c in meta["classes"]]
            self._test_class = int(meta["test_class"])
            self.conflicts = int(meta["conflicts"])
            self.digest_counts: dict[str, int] = {str(k): int(v) for k, v in meta["digests"].items()}
            self.role_counts: dict[str, int] = {str(k): int(v) for k, v in meta["roles"].items()}
            self.every_size = bool(meta["every_size"])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as problem:
            raise SetFormatError(f"{shown(self.path)}: the description section cannot be read: {problem}") from None

    @property
    def file(self) -> SetFile:
        """The native set file behind this set, for the scan pipeline."""
        return self._file

    @property
    def entry_count(self) -> int:
        """Number of entries, the built-in test entry not counted."""
        return self._entry_count

    def __len__(self) -> int:
        return self._entry_count

    def __repr__(self) -> str:
        return f"<HashSet {shown(self.path)!r} generation {self.generation}, {self._entry_count} entries>"

    @property
    def shapes(self) -> tuple[frozenset[DigestKind], ...]:
        """The combinations of kinds that entries of this set carry."""
        return tuple(
            frozenset(kind for kind in KINDS if shape >> (kind.code - 1) & 1)
            for shape, _ in self._shapes
            if not shape & 0x80
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of all sources, sorted."""
        return tuple(sorted({s for n, (s, _, _) in enumerate(self._classes) if n != self._test_class}))

    def load(self, kinds: Iterable[str]) -> None:
        """Loads and checks the filters of these kinds; kinds the set does not have are passed over."""
        with self._lock:
            for name in kinds:
                kind = _kind(name)
                if kind in self.kinds and not self._file.loaded(kind.code):
                    self._file.load(kind.code)
                    self._self_test(kind)

    def _self_test(self, kind: DigestKind) -> None:
        numbers = self._file.find(kind.code, TEST_DIGESTS[kind])
        if not numbers or self._entry_count not in numbers:
            raise SetDamagedError(
                f"{shown(self.path)}: does not answer the built-in {kind} test digest; the file is damaged or this "
                "build of hashsieve is broken"
            )

    def loaded(self, kind: str) -> bool:
        """Is the filter of this kind in memory?"""
        return self._file.loaded(_kind(kind).code)

    def lookup(self, digests: npt.NDArray[np.uint8], kind: str, *, threads: int = 1) -> npt.NDArray[np.int64]:
        """First entry number of each digest, or -1. *threads*: as many share a large batch.

        *digests*: uint8 array of shape (n, d) where d is the kind's length in bytes; result: int64 array of shape (n,).
        A kind that the set does not have gives all -1. Numbers below :attr:`entry_count` are listed entries; the
        built-in test entry has exactly that number.
        """
        import numpy as np

        code = _checked_batch(digests, kind, threads)
        if not len(digests) or code not in self.kinds:
            return np.full(len(digests), -1, dtype=np.int64)
        out = np.empty(len(digests), dtype=np.int64)
        self._file.lookup_into(code.code, np.ascontiguousarray(digests).reshape(-1), out, threads)
        return out

    def may_match(self, digests: npt.NDArray[np.uint8], kind: str, *, threads: int = 1) -> npt.NDArray[np.bool_]:
        """The filter's answer alone: bool array (n,); False is certain, True errs at the rate :meth:`filter_fpr`."""
        import numpy as np

        code = _checked_batch(digests, kind, threads)
        out = np.zeros(len(digests), dtype=np.uint8)
        if len(digests) and code in self.kinds:
            self._file.probe_into(code.code, np.ascontiguousarray(digests).reshape(-1), out, threads)
        return out.view(np.bool_)

    def mark_listed(self, kind: str, digests: bytes | memoryview, flags: bytearray) -> int:
        """Sets the byte of every listed digest of the packed *digests* to 1; returns how many are. Needs no numpy."""
        code = _kind(kind)
        return self._file.mark_listed(code.code, digests, flags) if len(flags) and code in self.kinds else 0

    def find(self, kind: str, digest: bytes) -> list[int] | None:
        """Numbers of all entries that carry this digest, first to last, or None."""
        code = _kind(kind)
        if len(digest) != code.size_bytes:
            raise UsageError(f"a {code} digest has {code.size_bytes} bytes, not {len(digest)}")
        return self._file.find(code.code, digest) if code in self.kinds else None

    def entries(self, kind: str, digest: bytes) -> list[Entry]:
        """All entries that carry this digest, with all their listings; empty when it is not listed."""
        return [self.entry(number) for number in self.find(kind, digest) or ()]

    def entry(self, number: int) -> Entry:
        """The entry with this number (0 to :attr:`entry_count`, the last being the built-in test entry)."""
        if not 0 <= number < self._entry_count + bool(self.kinds):
            raise UsageError(f"{shown(self.path)}: there is no entry {number}; it has {self._entry_count}")
        digests, size_bytes, group, in_refs = self._file.entry(number)
        if self._sealed is not None:
            digests = {}
            size_bytes, value = self._sealed.column(number)
            group, in_refs = value >> 1, bool(value & 1)
        return Entry(
            digests={KINDS[code - 1].value: digest for code, digest in digests.items()},
            size_bytes=size_bytes,
            listings=self._listings_at(group) if in_refs else self._shared_group(group),
        )

    def table_keys(self, number: int) -> dict[str, bytes]:
        """What the tables hold for an entry, by kind: its digests, or their fingerprints where the set is sealed."""
        return {KINDS[code - 1].value: key for code, key in self._file.entry(number)[0].items()}

    def table_key(self, kind: str, digest: bytes) -> bytes:
        """What the table of a kind would hold for a digest: it, or its fingerprint where the set is sealed."""
        return self._file.keys(_kind(kind).code, digest) if self._sealed is not None else digest

    def add_sizes_to(self, sizes: Sizes) -> None:
        """Adds the sizes of all entries; SetDamagedError when one has none."""
        if self._sealed is None:
            sizes.add_set(self._file)
            return
        for rows, row_bytes, size_bytes in self._sealed.size_rows():
            sizes.add_rows(rows, row_bytes, size_bytes)

    def _shared_group(self, number: int) -> tuple[Listing, ...]:
        with self._lock:
            if self._groups is None:
                reader = _Reader(self._sealed.groups() if self._sealed else self._file.groups(), self.path)
                self._groups = []
                while not reader.at_end():
                    self._groups.append(self._parse_group(reader.block()))
            if number >= len(self._groups):
                raise SetFormatError(f"{shown(self.path)}: an entry names a listing group that is not there")
            return self._groups[number]

    def _listings_at(self, offset: int) -> tuple[Listing, ...]:
        refs = self._sealed.refs if self._sealed else self._file.refs
        head = _Reader(refs(offset, 10), self.path)
        length = head.varint()
        if length > _MAX_GROUP_BYTES:
            raise SetFormatError(f"{shown(self.path)}: a listing group is impossibly long")
        body = refs(offset + head.position, length)
        if len(body) < length:
            raise SetFormatError(f"{shown(self.path)}: a listing group ends early")
        return self._parse_group(_Reader(body, self.path))

    def _parse_group(self, reader: _Reader) -> tuple[Listing, ...]:
        listings = []
        for _ in range(reader.varint()):
            class_number, length = reader.varint(), reader.varint()
            if class_number >= len(self._classes):
                raise SetFormatError(f"{shown(self.path)}: a listing names a class that is not there")
            ref = _ref_from_bytes(reader.take(length - 1)) if length else None
            source, role, category = self._classes[class_number]
            listings.append(Listing(source, role, category, ref))
        return tuple(listings)

    def filter_bytes(self, kind: str) -> int:
        """Size of a kind's filter in bytes; 0 when the set has no such kind."""
        return self._file.filter_bytes(_kind(kind).code)

    def filter_fpr(self, kind: str) -> float:
        """False-positive rate of the kind's filter for a random digest, exact for its bits. The kind must be loaded."""
        return self._file.fpr(_kind(kind).code)

    def verify(self, progress: Any = None) -> None:
        """Reads and checks every page of the file, the sealed section and the signatures.

        ``progress(done_pages)`` may raise to stop early. A signature that does not fit its own public key is damage;
        whether that key is to be trusted is decided when the set is opened.
        """
        self._file.verify(progress)
        if self._sealed is not None:
            self._sealed.verify()
        for public, signature in self._file.header["signatures"]:
            if not fits(self.root, public, signature):
                raise SetDamagedError(
                    f"{shown(self.path)}: the signature by {public.hex()} does not fit; get the set again"
                )

    @property
    def sealed(self) -> bool:
        """Does the set hold fingerprints under a seal key instead of digests?"""
        return self._sealed is not None

    @property
    def signatures(self) -> tuple[bytes, ...]:
        """Public keys that signatures in the set name; ``signed_by`` is the trusted one, verified at opening."""
        return tuple(public for public, _ in self._file.header["signatures"])

    @property
    def expired(self) -> bool:
        """Has the end of validity passed?"""
        return bool(self.valid_until_seconds) and self._clock() > self.valid_until_seconds

    def file_state(self) -> str:
        """Is the file still what it was when it was opened: ``same``, ``changed`` (written to), ``replaced`` (another
        one lies under its name) or ``gone``. Whichever: every answer comes from bytes that were checked.
        """
        return self._file.file_state()

    @property
    def page_count(self) -> int:
        """Number of 4 KiB pages that :meth:`verify` checks."""
        count: int = self._file.header["pages"]
        return count

    def info(self) -> dict[str, Any]:
        """What the set is, as the ``info`` command prints it. Loads the filters to state their exact rate."""
        self.load(self.kinds)
        rates = {kind.value: self.filter_fpr(kind) for kind in self.kinds}
        return {
            "format_version": 1,
            "root": self.root.hex(),
            "generation": self.generation,
            "valid_until": _date(self.valid_until_seconds),
            "expired": self.expired,
            "entries": self._entry_count,
            "conflicts": self.conflicts,
            "digests": self.digest_counts,
            "roles": self.role_counts,
            "sources": list(self.sources),
            "sizes": self.sizes,
            "filter": {
                "bits_per_entry": self.bits_per_entry,
                "fpr": max(rates.values(), default=0.0),
                "fpr_by_kind": rates,
            },
            "sealed": self.sealed,
            "seal_key_id": self._file.header["seal_key_id"].hex() if self.sealed else None,
            "signature": self._describe_signatures(),
        }

    def _describe_signatures(self) -> dict[str, Any] | None:
        signatures = self._file.header["signatures"]
        if not signatures:
            return None
        return {
            "trusted": None if self.signed_by is None else self.signed_by.hex(),
            "keys": [{"key": public.hex(), "valid": fits(self.root, public, made)} for public, made in signatures],
        }

    @property
    def closed(self) -> bool:
        """Was :meth:`close` called? A closed set has no filter loaded and answers nothing."""
        closed: bool = self._file.closed
        return closed

    def close(self) -> None:
        """Gives memory and file back, and wipes keys; refused with SetError while another thread is in a lookup."""
        self._file.close()
        if self._sealed is not None:
            self._sealed.forget()

    def __enter__(self) -> HashSet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Entry]:
        """All entries in order, the test entry left out."""
        for number in range(self._entry_count):
            yield self.entry(number)


_all: weakref.WeakSet[HashSet] = weakref.WeakSet()


def _renew_locks() -> None:
    """In a forked child: a lock that another thread of the parent held would be held for ever."""
    for each in _all:
        each._lock = threading.Lock()
        if each._sealed is not None:
            each._sealed.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


class _Reader:
    """Bounded reading of the varint-coded listing groups."""

    def __init__(self, data: bytes, path: str) -> None:
        self.data, self.position, self.path = data, 0, path

    def at_end(self) -> bool:
        return self.position >= len(self.data)

    def varint(self) -> int:
        value = shift = 0
        while True:
            if self.at_end() or shift > 63:
                raise SetFormatError(f"{shown(self.path)}: a listing group cannot be read")
            byte = self.data[self.position]
            self.position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def take(self, length: int) -> bytes:
        if length > len(self.data) - self.position:
            raise SetFormatError(f"{shown(self.path)}: a listing group ends early")
        self.position += length
        return self.data[self.position - length : self.position]

    def block(self) -> _Reader:
        return _Reader(self.take(self.varint()), self.path)


def ref_to_bytes(ref: str) -> bytes:
    """A custodian's record id as it is stored: UTF-8. U+DC80 to U+DCFF stand for bytes that were not.

    Other lone surrogates, which JSON can spell, are stored as the three bytes that UTF-8 would have for them.
    """
    try:
        return ref.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return ref.encode("utf-8", "surrogatepass")


def _ref_from_bytes(stored: bytes) -> str:
    try:
        return stored.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return stored.decode("utf-8", "surrogateescape")


def _kind(name: str) -> DigestKind:
    try:
        return DigestKind(name)
    except ValueError:
        raise UsageError(f"unknown digest kind {name!r}; known: {', '.join(DigestKind)}") from None


def _checked_batch(digests: npt.NDArray[np.uint8], kind: str, threads: int) -> DigestKind:
    code = _kind(kind)
    if digests.ndim != 2 or digests.shape[1] != code.size_bytes or digests.dtype != "uint8":
        raise UsageError(
            f"{code} digests come as a uint8 array of shape (n, {code.size_bytes}), not {digests.dtype} {digests.shape}"
        )
    if threads < 1:
        raise UsageError(f"threads is a number of at least 1, not {threads}")
    return code


def _date(seconds: int) -> str | None:
    if not seconds:
        return None
    import datetime

    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat().replace("+00:00", "Z")
