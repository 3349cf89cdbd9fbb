"""From hash lists to a set file: read, merge, build, publish.

The order of records never shows in the result: equal records give equal bytes. Counts of what was taken, dropped and
refused come back for every list.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import struct
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .._build import Builder, Difference
from ..errors import ListEmptyError, OutputError, Path, UsageError, shown
from ..lists import ListOptions, ListReport, PackedRows, read_list
from ..model import KINDS, DigestKind, Listing, Record, Role
from .hashset import HashSet, ref_to_bytes
from .publish import AtomicFile, nameless_file
from .seal import SealKey
from .signature import root_page
from .testfile import TEST_DIGESTS, TEST_LISTING, TEST_TEXT
from .trivial import Trivial, listed_trivial

if TYPE_CHECKING:
    from .delta import DeltaReport

__all__ = [
    "MEMORY_BYTES",
    "Class",
    "CompileReport",
    "Progress",
    "SetWriter",
    "class_key",
    "compile_lists",
    "difference",
]

PAGE_BYTES = 4096
FORMAT_VERSION = 1
MAGIC = b"\x89HSET\r\n\x1a"
_HEADER = struct.Struct("<8sIIIIQQQ16s16sIIQQQII")
_SECTION = struct.Struct("<IIQQQQ")
_META_SECTION = 1 << 8
_MAX_REF_BYTES = 4096
_MAX_SIZE_BYTES = 2**62
_MAX_VALID_UNTIL_SECONDS = 253402300799  # 9999-12-31T23:59:59Z
_MAX_META_BYTES = 64 * 1024 * 1024
_PROGRESS_RECORDS = 1 << 14

MEMORY_BYTES = 512 << 20
_MIN_MEMORY_BYTES = 16 << 20
# The least a sorted run is read by, so that merging many of them is not all seeks. Tests make it tiny.
_BUFFER_BYTES = 64 << 10
_SEALED_SECTION = 9 << 8
_CHUNK_BYTES, _SALT_BYTES, _TAG_BYTES = 65536, 32, 16

Progress = Callable[[str, int, int | None], object]
"""Called with a stage, how much of it is done, and how much there is to do in all, or None where nobody knows yet."""

Class = tuple[str, str, str | None]
"""What listings have in common: source, role, category."""


@dataclass(frozen=True, slots=True)
class CompileReport:
    """What a compilation made: the set's root (32 bytes) and generation, and what each list gave.

    ``digests`` counts distinct digests by kind; ``conflicts`` counts digests that lead to entries which carry different
    digests of another kind.
    """

    path: str
    root: bytes
    generation: int
    entries: int
    conflicts: int
    digests: dict[str, int]
    lists: tuple[ListReport, ...] = ()
    trivial: tuple[Trivial, ...] = ()
    delta: DeltaReport | None = None
    """With a base: what was written instead of the set."""

    def to_json(self) -> dict[str, Any]:
        """The ``compiled`` event of the command line."""
        delta = {} if self.delta is None else self.delta.to_json()
        return {
            "event": "compiled",
            "path": self.path,
            "root": self.root.hex(),
            "generation": self.generation,
            "entries": self.entries,
            "conflicts": self.conflicts,
            "digests": self.digests,
            "lists": [report.to_json() for report in self.lists],
            "trivial": [each.to_json() for each in self.trivial],
            **delta,
        }


def _shape_of(digests: dict[str, bytes]) -> tuple[int, bytes]:
    shape, packed, known = 0, b"", 0
    for kind in KINDS:
        digest = digests.get(kind)
        if digest is None:
            continue
        if len(digest) != kind.size_bytes:
            raise UsageError(f"a {kind} digest has {kind.size_bytes} bytes, not {len(digest)}")
        shape |= 1 << (kind.code - 1)
        packed += digest
        known += 1
    if not shape or known != len(digests):
        raise UsageError(f"a record needs digests of {', '.join(KINDS)}; got {sorted(digests) or 'none'}")
    return shape, packed


class Seal(Protocol):
    """What a sealed set is made with; see ``hashset.seal``."""

    @property
    def key_id(self) -> bytes:
        """16 bytes that name the key."""

    def fingerprints(self, kind_code: int, packed: bytes) -> bytes:
        """Fingerprints of 16 bytes for packed digests."""

    def sealer(self, plain_sha256: bytes, set_id: bytes) -> Any:
        """Encrypts what is not looked up: ``salt``, ``chunk(number, last, plain)``."""


class _TempPlace:
    """Where temporary files lie: known at once, or when the output is."""

    def __init__(self, directory: str | None) -> None:
        self.directory = directory

    def __call__(self) -> int:
        return nameless_file(self.directory or tempfile.gettempdir())


class SetWriter:
    """Takes records and writes one set file. The builder takes any digests, those of empty or trivial content too.

    ``generation`` and ``valid_until_seconds`` (since 1970, UTC, 0 = no end) go into the header. ``bits_per_entry``
    sizes the filters from the counted distinct digests. Records that name nothing but the built-in test file are
    counted in ``test_records`` and left out, since every set answers those anyway.

    Work is done in about ``memory_bytes`` of memory, however many records come: what does not fit waits in temporary
    files without a name in ``temp_dir`` (by default the system's, and the output's directory while writing), which
    needs room for the records and as much again as the set. ``jobs`` threads sort and write. Neither changes the
    result. A writer that is not written should be closed.

    ``seal`` makes a sealed set. ``sign`` is called with the root (32 bytes) and gives the public key and the
    signature, 96 bytes, or up to eight such pairs.
    """

    def __init__(
        self,
        generation: int = 1,
        valid_until_seconds: int = 0,
        sizes: str = "ignored",
        bits_per_entry: float = 16,
        *,
        memory_bytes: int = MEMORY_BYTES,
        jobs: int = 1,
        temp_dir: Path | None = None,
        seal: Seal | None = None,
        sign: Callable[[bytes], bytes] | None = None,
        os_table: object | None = None,
    ) -> None:
        if not 0 <= generation < 2**63:
            raise UsageError(f"a generation is a number from 0 to 2**63 - 1, not {generation}")
        if not 0 <= valid_until_seconds <= _MAX_VALID_UNTIL_SECONDS:
            raise UsageError("the end of validity lies between 1970 and 9999")
        if sizes not in ("ignored", "trusted"):
            raise UsageError(f"sizes are 'ignored' or 'trusted', not {sizes!r}")
        if not 4 <= bits_per_entry <= 64:
            raise UsageError(f"bits per entry are a number from 4 to 64, not {bits_per_entry}")
        if memory_bytes < _MIN_MEMORY_BYTES:
            raise UsageError(f"compiling takes at least {_MIN_MEMORY_BYTES >> 20} MiB of memory")
        if jobs < 1:
            raise UsageError(f"at least one job is needed, not {jobs}")
        self.generation = generation
        self.valid_until_seconds = valid_until_seconds
        self.sizes = sizes
        self.bits_per_entry = bits_per_entry
        self.test_records = 0
        self._seal = seal
        self._sign = sign
        self._place = _TempPlace(None if temp_dir is None else os.fsdecode(temp_dir))
        self._widths = bytes(16 if seal else kind.size_bytes for kind in KINDS)
        self._builder = Builder(
            self._place, memory_bytes, _BUFFER_BYTES, os_table, jobs=min(jobs, 64), widths=self._widths
        )
        self._classes: dict[Class, int] = {}
        self._sources: dict[str, int] = {}

    def _class(self, key: Class) -> int:
        number = self._classes.get(key)
        if number is None:
            number = self._classes[key] = len(self._classes)
            self._sources.setdefault(key[0], len(self._sources))
        return number

    def _class_of(self, listing: Listing) -> int:
        return self._class((listing.source, str(Role(listing.role)), listing.category))

    def add(self, record: Record) -> bool:
        """Takes one record; False when it names nothing but the test file.

        A record with op ``remove`` takes out every record of the same source and ref, whenever that was or will be
        added.
        """
        return self._take(record, False)

    def cancel(self, record: Record) -> None:
        """Takes out one listing of one entry that a base has: same digests, size and listing.

        UsageError when it is written and the base does not have it.
        """
        self._take(record, True)

    def _take(self, record: Record, cancel: bool) -> bool:
        size = record.size_bytes
        if size is not None and not 0 <= size < _MAX_SIZE_BYTES:
            raise UsageError(f"a size is a number from 0 to {_MAX_SIZE_BYTES - 1} bytes, not {size}")
        ref = None
        if record.listing.ref is not None:
            ref = ref_to_bytes(record.listing.ref)
            if len(ref) > _MAX_REF_BYTES:
                raise UsageError(f"a record id has at most {_MAX_REF_BYTES} bytes, not {len(ref)}")
        try:
            if record.op == "remove" and not cancel:
                if ref is None:
                    raise UsageError("a record to remove is known by its id, and this one has none")
                source = self._sources.setdefault(record.listing.source, len(self._sources))
                self._builder.remove(source, ref)
                return True
            if record.op != "add":
                raise UsageError(f"a record is to be added or removed, not {record.op!r}")
            digests = dict(record.digests)
            shape, packed = _shape_of(digests)
            if all(digest == TEST_DIGESTS[DigestKind(kind)] for kind, digest in digests.items()):
                self.test_records += 1
                return False
            if self._seal is not None:
                packed = self._sealed(shape, packed)
            self._builder.add(shape, packed, -1 if size is None else size, self._class_of(record.listing), ref, cancel)
        except OSError as problem:
            raise self._temp_problem(problem) from problem
        return True

    def _sealed(self, shape: int, packed: bytes) -> bytes:
        assert self._seal is not None
        out, at = b"", 0
        for kind in KINDS:
            if shape >> (kind.code - 1) & 1:
                out += self._seal.fingerprints(kind.code, packed[at : at + kind.size_bytes])
                at += kind.size_bytes
        return out

    def _temp_problem(self, problem: OSError) -> OutputError:
        place = self._place.directory or tempfile.gettempdir()
        return OutputError(
            f"{shown(place)}: no temporary file could be written there: {problem.strerror or problem}; free space, "
            "choose another place, or allow more memory; nothing was published"
        )

    def add_packed(self, kind: str, digests: bytes | bytearray | memoryview, listing: Listing) -> None:
        """Many digests of one kind at once, packed one after another; same listing, no sizes, no refs.

        Those of the test file are left out, as :meth:`add` does.
        """
        code = DigestKind(kind)
        if len(digests) % code.size_bytes:
            raise UsageError(f"packed {code} digests come in multiples of {code.size_bytes} bytes")
        if listing.ref is not None:
            raise UsageError("packed digests share one listing, so it cannot have a ref")
        if isinstance(digests, memoryview):
            digests = digests.tobytes()
        number, start = self._class_of(listing), 0
        try:
            for at in _places(digests, TEST_DIGESTS[code]):
                self.test_records += 1
                self._pack(code, digests, start, at, number)
                start = at + code.size_bytes
            self._pack(code, digests, start, len(digests), number)
        except OSError as problem:
            raise self._temp_problem(problem) from problem

    def _pack(self, code: DigestKind, digests: bytes | bytearray, start: int, end: int, number: int) -> None:
        if start == end:
            return
        part: bytes | memoryview = memoryview(digests)[start:end]
        if self._seal is not None:
            part = self._seal.fingerprints(code.code, bytes(part))
        self._builder.add_packed(1 << (code.code - 1), part, number)

    def add_base(self, hash_set: HashSet) -> None:
        """Every record of a set that is there: its pages are read in order and checked when this one is written.

        The set must stay open until then. SetDamagedError or SetFormatError when it cannot be read.
        """
        key_id = hash_set.file.header["seal_key_id"]
        if key_id != (self._seal.key_id if self._seal is not None else bytes(16)):
            raise UsageError(
                f"{shown(hash_set.path)}: a base has to be sealed with the key of the new set, or neither is"
            )
        classes = [
            0xFFFFFFFF if number == hash_set._test_class else self._class((source, str(role), category))
            for number, (source, role, category) in enumerate(hash_set._classes)
        ]
        self._builder.add_base(hash_set.file, classes, hash_set._sealed)

    def add_rows(self, rows: bytes | memoryview, classes: Sequence[Class]) -> None:
        """Rows as :func:`difference` gives them, whose classes are these: to add or to cancel.

        ValueError where the rows cannot be; UsageError when written, as for :meth:`cancel`.
        """
        try:
            self._builder.add_rows(rows, array("I", [self._class(key) for key in classes]))
        except OSError as problem:
            raise self._temp_problem(problem) from problem

    def close(self) -> None:
        """Gives memory and temporary files back; :meth:`write` does that by itself."""
        self._builder.close()

    def __enter__(self) -> SetWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def add_packed_rows(self, rows: PackedRows) -> int:
        """All of *rows*, at less cost than one by one; how many of them did not name the test file only."""
        before = self.test_records
        if len(rows.kinds) == 1 and rows.sizes_bytes is None:
            self.add_packed(rows.kinds[0], rows.digests, rows.listing)
            return len(rows) - (self.test_records - before)
        test = b"".join(TEST_DIGESTS[kind] for kind in rows.kinds)
        if self._seal is not None or test in rows.digests:
            return sum(map(self.add, rows))
        shape = sum(1 << (kind.code - 1) for kind in rows.kinds)
        try:
            self._builder.add_packed(shape, rows.digests, self._class_of(rows.listing), rows.sizes_bytes)
        except OSError as problem:
            raise self._temp_problem(problem) from problem
        return len(rows)

    def write(
        self, path: Path, *, progress: Progress | None = None, accept: Callable[[bytes], object] | None = None
    ) -> CompileReport:
        """Builds the set and publishes it under *path*. The writer is used up.

        *accept* is called with the root before anything is published and may raise to refuse it.
        *progress* is called with a stage, what is done and what there is to do; it may raise to stop, which leaves
        nothing behind.
        """
        try:
            with AtomicFile(path) as output, output.problems():
                if self._place.directory is None:
                    self._place.directory = os.path.dirname(output.path) or "."
                report = self._write(output, progress)
                if accept is not None:
                    accept(report.root)
                output.publish()
                return report
        finally:
            self.close()

    def _merge(self, progress: Progress | None) -> list[Class]:
        """Merges the records; gives the classes of the set in their order."""
        builder = self._builder
        classes: list[Class] = list(self._classes)
        test_class: Class = (TEST_LISTING.source, str(TEST_LISTING.role), None)
        roles = [role for _, role, _ in classes]
        sources = [self._sources[source] for source, _, _ in classes]
        test_digests = b"".join(TEST_DIGESTS[kind] for kind in KINDS)
        if self._seal is not None:
            test_digests = self._sealed(15, test_digests)
        used = list(range(len(classes)))
        while True:
            order = sorted(used, key=lambda n: class_key(classes[n]))
            final = [0] * len(classes)
            for rank, number in enumerate(order):
                final[number] = rank
            found = builder.merge(final, roles, sources, test_digests, len(order), len(TEST_TEXT), progress)
            if found == used:
                return [*(classes[number] for number in order), test_class]
            # Classes of which every listing was removed or cancelled are in no set, so the others are numbered anew.
            used = found

    def _write(self, output: AtomicFile, progress: Progress | None) -> CompileReport:
        builder, file = self._builder, output.file
        classes = self._merge(progress)
        builder.tables(progress)
        entries: int = builder.entry_count
        digests = {KINDS[code - 1].value: count for code, count in builder.distinct_counts().items()}
        set_id = self._set_id(entries, digests)
        meta = {
            "classes": [list(each) for each in classes],
            "conflicts": builder.conflicts,
            "digests": digests,
            "every_size": builder.every_size,
            "roles": dict(sorted(builder.role_counts.items())),
            "test_class": len(classes) - 1,
        }
        text = json.dumps(meta, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode()
        if len(text) > _MAX_META_BYTES:
            raise UsageError(f"the names of sources and categories take more than {_MAX_META_BYTES} bytes")
        millibits = round(self.bits_per_entry * 1000)
        planned = builder.plan(millibits, self._seal is not None)
        if self._seal is None:
            sections = [(_META_SECTION, 1, len(text), 0, 0), *planned]
        else:
            sealed = _SealedText(builder, text)
            chunks = -(-sealed.length // _CHUNK_BYTES)
            length = _SALT_BYTES + sealed.length + chunks * _TAG_BYTES
            sections = [(_SEALED_SECTION, 1, length, chunks, _CHUNK_BYTES), *planned]
        lines, offset = [], PAGE_BYTES
        for section, flags, length, count, aux in sections:
            lines.append((section, flags, offset, length, count, aux))
            offset += -(-length // PAGE_BYTES) * PAGE_BYTES
        list_bytes = (offset // PAGE_BYTES - 1) * 16
        file_bytes = offset + -(-list_bytes // PAGE_BYTES) * PAGE_BYTES + PAGE_BYTES
        file.truncate(file_bytes)
        builder.into(file.fileno(), set_id, offset)
        if self._seal is None:
            builder.write_bytes(_META_SECTION, PAGE_BYTES, text)
        builder.write_sections({line[0]: line[2] for line in lines}, self._seal is not None, progress)
        if self._seal is not None:
            sealed.write(self._seal, set_id)
        root = self._finish(file, lines, set_id, entries, offset, list_bytes, file_bytes)
        return CompileReport(
            path=output.path,
            root=root,
            generation=self.generation,
            entries=entries,
            conflicts=builder.conflicts,
            digests=digests,
        )

    def _set_id(self, entries: int, digests: dict[str, int]) -> bytes:
        """16 bytes that tie pages to this set; from counts known before the first page, so that pages stream out."""
        counts = [digests.get(kind.value, 0) for kind in KINDS]
        facts = struct.pack("<QQIQ4QI", self.generation, self.valid_until_seconds, self.sizes == "trusted", entries,
                            *counts, round(self.bits_per_entry * 1000))  # fmt: skip
        return hashlib.sha256(b"hashsieve set id 1\0" + facts).digest()[:16]

    def _finish(
        self,
        file: Any,
        lines: list[tuple[int, int, int, int, int, int]],
        set_id: bytes,
        entries: int,
        list_offset: int,
        list_bytes: int,
        file_bytes: int,
    ) -> bytes:
        """Writes header and root page around the finished sections; the root."""
        key_id = self._seal.key_id if self._seal is not None else bytes(16)
        header = _HEADER.pack(
            MAGIC, FORMAT_VERSION, FORMAT_VERSION, 0x01020304, PAGE_BYTES, file_bytes, self.generation,
            self.valid_until_seconds, set_id, key_id, self.sizes == "trusted", len(lines), entries,
            list_offset, list_bytes, round(self.bits_per_entry * 1000), 0,
        )  # fmt: skip
        header += b"".join(_SECTION.pack(*line) for line in lines)
        header += bytes(PAGE_BYTES - len(header))
        hashed = hashlib.sha256(header)
        file.seek(list_offset)
        left = list_bytes
        while left:
            part = file.read(min(left, 1 << 20))
            if not part:
                raise OSError("its page list ends early")
            hashed.update(part)
            left -= len(part)
        root = hashed.digest()
        file.seek(file_bytes - PAGE_BYTES)
        signatures = b"" if self._sign is None else bytes(self._sign(root))
        if self._sign is not None and not signatures:
            raise UsageError("nothing was signed; a signature and its public key take 96 bytes")
        _write_all(file, root_page(root, signatures))
        file.seek(0)
        _write_all(file, header)
        return root


class _SealedText:
    """What a sealed set says beside its tables: lengths of the parts, description, columns, groups, record ids."""

    def __init__(self, builder: Builder, description: bytes) -> None:
        groups, refs = builder.lengths()
        columns = 2 + sum(builder.column_widths) * (builder.entry_count + bool(builder.entry_count))
        self._builder, self._description = builder, description
        self._lengths = struct.pack("<4Q", len(description), columns, groups, refs)
        self.length = len(self._lengths) + len(description) + columns + groups + refs

    def _pieces(self) -> Iterator[bytes]:
        yield self._lengths
        yield self._description
        yield from self._builder.column_pieces()
        yield self._builder.group_bytes()
        yield from self._builder.ref_pieces()

    def _chunks(self) -> Iterator[bytes]:
        held = bytearray()
        for piece in self._pieces():
            held += piece
            whole = len(held) // _CHUNK_BYTES * _CHUNK_BYTES
            for at in range(0, whole, _CHUNK_BYTES):
                yield bytes(held[at : at + _CHUNK_BYTES])
            del held[:whole]
        if held:
            yield bytes(held)

    def write(self, seal: Seal, set_id: bytes) -> None:
        """Encrypts it into the first section. Its hash, which decides the key, takes a pass of its own."""
        hashed = hashlib.sha256()
        for piece in self._pieces():
            hashed.update(piece)
        sealer = seal.sealer(hashed.digest(), set_id)
        section = self._builder.section(_SEALED_SECTION, PAGE_BYTES)
        section.put(sealer.salt)
        left = self.length
        for number, chunk in enumerate(self._chunks()):
            left -= len(chunk)
            section.put(sealer.chunk(number, left == 0, chunk))
        section.end()


@contextmanager
def difference(
    old: HashSet,
    new: HashSet,
    *,
    memory_bytes: int = MEMORY_BYTES,
    temp_dir: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[list[Class], Iterator[bytes]]]:
    """What only one of two sets has: the classes that rows name by number, and packed rows in pieces of up to 1 MiB.

    A row: shape (1 byte), digests in code order, size + 1 (8, big-endian; 0 = none), class (4, big-endian), op (1: 0
    only in *new*, 2 only in *old*), length of the record id + 1 (2, little-endian; 0 = none), the record id. The
    classes are in the order of sets; rows rise by shape, digests, size, class, record id. :meth:`SetWriter.add_rows`
    takes them, whole rows at a time.

    Both sets are read in order and every page is checked; SetDamagedError or SetFormatError when one cannot be read.
    """
    if old.file.header["seal_key_id"] != new.file.header["seal_key_id"]:
        raise UsageError(f"{shown(old.path)} and {shown(new.path)}: only sets of the same seal key can be compared")
    own = [[(s, str(r), c) for s, r, c in known._classes[: known._test_class]] for known in (old, new)]
    classes = sorted({*own[0], *own[1]}, key=class_key)
    numbers = {key: number for number, key in enumerate(classes)}
    maps = [[*(numbers[key] for key in keys), 0xFFFFFFFF] for keys in own]
    place = _TempPlace(None if temp_dir is None else os.fsdecode(temp_dir))
    rows = Difference(place, memory_bytes, _BUFFER_BYTES, old=old.file, old_classes=maps[0], new=new.file,
                      new_classes=maps[1], old_sealed=old._sealed, new_sealed=new._sealed, check=progress)  # fmt: skip
    try:
        yield classes, rows
    finally:
        rows.close()


def class_key(key: Class) -> tuple[str, str, bool, str]:
    """What classes are sorted by: source, role, category with none first, by code point."""
    source, role, category = key
    return source, role, category is not None, category or ""


def _places(digests: bytes | bytearray, digest: bytes) -> Iterator[int]:
    """Offsets at which *digest* stands as one of the packed *digests*."""
    at = digests.find(digest)
    while at >= 0:
        if at % len(digest) == 0:
            yield at
        at = digests.find(digest, at + 1)


def _write_all(file: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def compile_lists(
    lists: Iterable[Path],
    path: Path,
    *,
    role: Role | str | None = None,
    source: str | None = None,
    format: str | None = None,
    digest: DigestKind | str | None = None,
    profile: str | None = None,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    generation: int | None = None,
    valid_until_seconds: int = 0,
    sizes: str = "ignored",
    bits_per_entry: float = 16,
    memory_bytes: int = MEMORY_BYTES,
    jobs: int = 1,
    seal: SealKey | None = None,
    sign: Callable[[bytes], bytes] | None = None,
    base: Path | None = None,
    progress: Progress | None = None,
) -> CompileReport:
    """Compiles hash lists into one set file, published under *path* whole or not at all.

    *role* is needed for lists whose format does not carry one; *digest* for bare digests of 64 hex digits; *profile*
    (``us``, ``uk``, or the path of a file with lines ``CATEGORY = ROLE``) maps categories of graded lists to roles.
    *columns* says where a table has what (``{"md5": "File hash", "size": "4"}``, by name or number). *source* names the
    custodian, by default each list's file name. *memory_bytes*, *jobs*, *seal* and *sign* are those of
    :class:`SetWriter`. *progress* is called with a stage, a count and the whole or None, and may raise to stop: nothing
    is then left behind.

    *base* names an older set: then *path* becomes a delta that leads from it to the set these lists make, which
    :func:`hashsieve.apply_delta` writes. *lists* are the complete new state all the same. *generation* is 1 unless
    given, and with a base one more than its. *sign* then signs the delta too.

    Raises UsageError, ListError (a list cannot be imported) or OutputError.
    """
    paths: Sequence[Path] = list(lists)
    if not paths:
        raise UsageError("name at least one hash list")
    try:
        options = ListOptions(
            role=None if role is None else Role(role),
            source=source,
            format=format,
            digest=None if digest is None else DigestKind(digest),
            profile=profile,
            columns=columns,
            strict=strict,
        )
    except ValueError as problem:
        raise UsageError(f"{problem}; roles: {', '.join(Role)}; digests: {', '.join(DigestKind)}") from None
    _refuse_output_over_list([*paths, *([] if base is None else [base])], path)
    with AtomicFile(path):  # better said now than when hours of reading are done
        pass

    def build(out: Path, number: int) -> CompileReport:
        with SetWriter(
            generation=number, valid_until_seconds=valid_until_seconds, sizes=sizes, bits_per_entry=bits_per_entry,
            memory_bytes=memory_bytes, jobs=jobs, temp_dir=os.path.dirname(os.fsdecode(out)) or ".", seal=seal,
            sign=sign,
        ) as writer:  # fmt: skip
            reports = [_take(each, options, writer, progress) for each in paths]
            report = writer.write(out, progress=progress)
        with HashSet.open(out, seal_key=seal) as known:
            trivial = listed_trivial(known)
        return dataclasses.replace(report, lists=tuple(reports), trivial=trivial)

    if base is None:
        return build(path, 1 if generation is None else generation)
    from .delta import compile_delta

    return compile_delta(
        base, path, generation, build, seal=seal, sign=sign, memory_bytes=memory_bytes, progress=progress
    )


def _take(path: Path, options: ListOptions, writer: SetWriter, progress: Progress | None) -> ListReport:
    reading = read_list(path, options)
    taken = told = 0
    before = writer.test_records
    for batch in reading.batches():
        if isinstance(batch, PackedRows):
            taken += writer.add_packed_rows(batch)
        else:
            taken += sum(map(writer.add, batch))
        if progress is not None and taken - told >= _PROGRESS_RECORDS:
            told = taken
            progress("read", taken, None)
    test_records = writer.test_records - before
    report: ListReport = reading.report
    if test_records:
        report.dropped["test-file"] = report.dropped.get("test-file", 0) + test_records
        report.taken -= test_records
    if not taken:
        raise ListEmptyError(f"{shown(path)}: yields no entry, only the built-in test file; name a list with entries")
    return report


def _refuse_output_over_list(lists: Sequence[Path], path: Path) -> None:
    """What is made must not replace one of the files it is made from."""
    for each in lists:
        try:
            same = os.path.samefile(each, path)
        except (OSError, ValueError):
            continue
        if same:
            raise OutputError(f"{shown(path)}: is one of the files to read; name another output")
