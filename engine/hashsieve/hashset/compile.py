"""From hash lists to a set file: read, merge, build, publish.

The order of records never shows in the result: equal records give equal bytes. Counts of what was taken, dropped and
refused come back for every list.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from .._build import Builder, PageWriter
from ..errors import ListEmptyError, OutputError, Path, UsageError, shown
from ..lists import ListOptions, ListReport, PackedRows, read_list
from ..model import KINDS, DigestKind, Listing, Record, Role
from .hashset import ref_to_bytes
from .publish import AtomicFile
from .testfile import TEST_DIGESTS, TEST_LISTING, TEST_TEXT

__all__ = ["CompileReport", "SetWriter", "compile_lists"]

PAGE_BYTES = 4096
FORMAT_VERSION = 1
MAGIC = b"\x89HSET\r\n\x1a"
TRAILER_MAGIC = b"HSETROOT"
_HEADER = struct.Struct("<8sIIIIQQQ16s16sIIQQQII")
_SECTION = struct.Struct("<IIQQQQ")
_META_SECTION = 1 << 8
_MAX_REF_BYTES = 4096
_MAX_SIZE_BYTES = 2**62
_MAX_VALID_UNTIL_SECONDS = 253402300799  # 9999-12-31T23:59:59Z
_MAX_META_BYTES = 64 * 1024 * 1024
_PROGRESS_RECORDS = 1 << 14

Progress = Callable[[str, int], None]


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

    def to_json(self) -> dict[str, Any]:
        """The ``compiled`` event of the command line."""
        return {
            "event": "compiled",
            "path": self.path,
            "root": self.root.hex(),
            "generation": self.generation,
            "entries": self.entries,
            "conflicts": self.conflicts,
            "digests": self.digests,
            "lists": [report.to_json() for report in self.lists],
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


@dataclass(slots=True)
class SetWriter:
    """Takes records and writes one set file. The builder takes any digests, those of empty or trivial content too.

    ``generation`` and ``valid_until_seconds`` (since 1970, UTC, 0 = no end) go into the header. ``bits_per_entry``
    sizes the filters from the counted distinct digests. Records that name nothing but the built-in test file are
    counted in ``test_records`` and left out, since every set answers those anyway.
    """

    generation: int = 1
    valid_until_seconds: int = 0
    sizes: str = "ignored"
    bits_per_entry: float = 16
    test_records: int = 0
    _builder: Any = field(default_factory=Builder)
    _classes: dict[tuple[str, str, str | None], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.generation < 2**63:
            raise UsageError(f"a generation is a number from 0 to 2**63 - 1, not {self.generation}")
        if not 0 <= self.valid_until_seconds <= _MAX_VALID_UNTIL_SECONDS:
            raise UsageError("the end of validity lies between 1970 and 9999")
        if self.sizes not in ("ignored", "trusted"):
            raise UsageError(f"sizes are 'ignored' or 'trusted', not {self.sizes!r}")
        if not 4 <= self.bits_per_entry <= 64:
            raise UsageError(f"bits per entry are a number from 4 to 64, not {self.bits_per_entry}")

    def _class(self, listing: Listing) -> int:
        key = (listing.source, str(Role(listing.role)), listing.category)
        return self._classes.setdefault(key, len(self._classes))

    def add(self, record: Record) -> bool:
        """Takes one record; False when it names nothing but the test file."""
        if record.op != "add":
            raise UsageError(f"this version compiles lists of records to add, not to {record.op!r}")
        size = record.size_bytes
        if size is not None and not 0 <= size < _MAX_SIZE_BYTES:
            raise UsageError(f"a size is a number from 0 to {_MAX_SIZE_BYTES - 1} bytes, not {size}")
        digests = dict(record.digests)
        shape, packed = _shape_of(digests)
        if all(digest == TEST_DIGESTS[DigestKind(kind)] for kind, digest in digests.items()):
            self.test_records += 1
            return False
        ref = None
        if record.listing.ref is not None:
            ref = ref_to_bytes(record.listing.ref)
            if len(ref) > _MAX_REF_BYTES:
                raise UsageError(f"a record id has at most {_MAX_REF_BYTES} bytes, not {len(ref)}")
        self._builder.add(shape, packed, -1 if size is None else size, self._class(record.listing), ref)
        return True

    def add_packed(self, kind: str, digests: bytes, listing: Listing) -> None:
        """Many digests of one kind at once, packed one after another; same listing, no sizes, no refs.

        Those of the test file are left out, as :meth:`add` does.
        """
        code = DigestKind(kind)
        if len(digests) % code.size_bytes:
            raise UsageError(f"packed {code} digests come in multiples of {code.size_bytes} bytes")
        if listing.ref is not None:
            raise UsageError("packed digests share one listing, so it cannot have a ref")
        number, start = self._class(listing), 0
        for at in _places(digests, TEST_DIGESTS[code]):
            self.test_records += 1
            self._builder.add_packed(1 << (code.code - 1), memoryview(digests)[start:at], number)
            start = at + code.size_bytes
        self._builder.add_packed(1 << (code.code - 1), memoryview(digests)[start:], number)

    def add_rows(self, rows: PackedRows) -> int:
        """All of *rows*, at less cost than one by one; how many of them did not name the test file only."""
        before = self.test_records
        if len(rows.kinds) == 1 and rows.sizes_bytes is None:
            self.add_packed(rows.kinds[0], rows.digests, rows.listing)
            return len(rows) - (self.test_records - before)
        shape = sum(1 << (kind.code - 1) for kind in rows.kinds)
        test = b"".join(TEST_DIGESTS[kind] for kind in rows.kinds)
        number, width, add = self._class(rows.listing), rows.row_bytes, self._builder.add
        sizes = rows.sizes_bytes or repeat(0)
        for start, size in zip(range(0, len(rows.digests), width), sizes, strict=False):
            packed = rows.digests[start : start + width]
            if packed == test:
                self.test_records += 1
            else:
                add(shape, packed, size or -1, number, None)
        return len(rows) - (self.test_records - before)

    def write(self, path: Path, *, progress: Progress | None = None) -> CompileReport:
        """Builds the set and publishes it under *path*. The writer is used up."""
        builder = self._builder

        def check() -> None:
            if progress is not None:
                progress("build", builder.entry_count)

        with AtomicFile(path) as output:
            classes = [*self._classes, (TEST_LISTING.source, str(TEST_LISTING.role), None)]
            order = sorted(range(len(classes)), key=lambda n: _class_key(classes[n], n == len(classes) - 1))
            final = [0] * len(classes)
            for rank, number in enumerate(order):
                final[number] = rank
            roles = [classes[number][1] for number in order]
            builder.merge(final, roles, check)
            if builder.entry_count:
                packed = b"".join(TEST_DIGESTS[kind] for kind in KINDS)
                builder.set_test_entry(packed, final[-1], len(TEST_TEXT))
            builder.tables(check)
            digests = {KINDS[code - 1].value: count for code, count in builder.distinct_counts().items()}
            set_id = self._set_id(builder.entry_count, digests)
            meta = {
                "classes": [list(classes[number]) for number in order],
                "conflicts": builder.conflicts,
                "digests": digests,
                "every_size": builder.every_size,
                "roles": dict(sorted(builder.role_counts.items())),
                "test_class": final[-1],
            }
            with output.problems():
                output.file.seek(PAGE_BYTES)
                writer = PageWriter(output.file, set_id)
                text = json.dumps(meta, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode()
                if len(text) > _MAX_META_BYTES:
                    raise UsageError(f"the names of sources and categories take more than {_MAX_META_BYTES} bytes")
                writer.write_section(_META_SECTION, text)
                builder.write_sections(writer, round(self.bits_per_entry * 1000), check)
                root = self._finish(output.file, writer, set_id, builder.entry_count)
            output.publish()
        return CompileReport(
            path=os.fsdecode(path),
            root=root,
            generation=self.generation,
            entries=builder.entry_count,
            conflicts=builder.conflicts,
            digests=digests,
        )

    def _set_id(self, entries: int, digests: dict[str, int]) -> bytes:
        """16 bytes that tie pages to this set; from counts known before the first page, so that pages stream out."""
        counts = [digests.get(kind.value, 0) for kind in KINDS]
        facts = struct.pack("<QQIQ4QI", self.generation, self.valid_until_seconds, self.sizes == "trusted", entries,
                            *counts, round(self.bits_per_entry * 1000))  # fmt: skip
        return hashlib.sha256(b"hashsieve set id 1\0" + facts).digest()[:16]

    def _finish(self, file: Any, writer: Any, set_id: bytes, entries: int) -> bytes:
        hashes = b"".join(writer.hashes)
        list_offset = PAGE_BYTES + len(hashes) // 16 * PAGE_BYTES
        padded = hashes + bytes(-len(hashes) % PAGE_BYTES)
        file_bytes = list_offset + len(padded) + PAGE_BYTES
        header = _HEADER.pack(
            MAGIC, FORMAT_VERSION, FORMAT_VERSION, 0x01020304, PAGE_BYTES, file_bytes, self.generation,
            self.valid_until_seconds, set_id, bytes(16), self.sizes == "trusted", len(writer.sections), entries,
            list_offset, len(hashes), round(self.bits_per_entry * 1000), 0,
        )  # fmt: skip
        header += b"".join(_SECTION.pack(*section) for section in writer.sections)
        header += bytes(PAGE_BYTES - len(header))
        root = hashlib.sha256(header + hashes).digest()
        trailer = TRAILER_MAGIC + root
        _write_all(file, padded)
        _write_all(file, trailer + bytes(PAGE_BYTES - len(trailer)))
        file.seek(0)
        _write_all(file, header)
        return root


def _class_key(key: tuple[str, str, str | None], built_in: bool) -> tuple[bool, str, str, bool, str]:
    source, role, category = key
    return built_in, source, role, category is not None, category or ""


def _places(digests: bytes, digest: bytes) -> Iterator[int]:
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
    generation: int = 1,
    valid_until_seconds: int = 0,
    sizes: str = "ignored",
    bits_per_entry: float = 16,
    progress: Progress | None = None,
) -> CompileReport:
    """Compiles hash lists into one set file, published under *path* whole or not at all.

    *role* is needed for lists whose format does not carry one; *digest* for bare digests of 64 hex digits; *profile*
    (``us``, ``uk``, or the path of a file with lines ``CATEGORY = ROLE``) maps categories of graded lists to roles.
    *columns* says where a table has what (``{"md5": "File hash", "size": "4"}``, by name or number). *source* names the
    custodian, by default each list's file name. *progress* is called with a stage and a count and may raise to stop:
    nothing is then left behind.

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
    writer = SetWriter(
        generation=generation, valid_until_seconds=valid_until_seconds, sizes=sizes, bits_per_entry=bits_per_entry
    )
    _refuse_output_over_list(paths, path)
    reports = []
    for each in paths:
        reports.append(_take(each, options, writer, progress))
    report = writer.write(path, progress=progress)
    return CompileReport(
        path=report.path, root=report.root, generation=report.generation, entries=report.entries,
        conflicts=report.conflicts, digests=report.digests, lists=tuple(reports),
    )  # fmt: skip


def _take(path: Path, options: ListOptions, writer: SetWriter, progress: Progress | None) -> ListReport:
    reading = read_list(path, options)
    taken = told = 0
    before = writer.test_records
    for batch in reading.batches():
        if isinstance(batch, PackedRows):
            taken += writer.add_rows(batch)
        else:
            taken += sum(map(writer.add, batch))
        if progress is not None and taken - told >= _PROGRESS_RECORDS:
            told = taken
            progress("read", taken)
    test_records = writer.test_records - before
    report: ListReport = reading.report
    if test_records:
        report.dropped["test-file"] = report.dropped.get("test-file", 0) + test_records
        report.taken -= test_records
    if not taken:
        raise ListEmptyError(f"{shown(path)}: yields no entry, only the built-in test file; name a list with entries")
    return report


def _refuse_output_over_list(lists: Sequence[Path], path: Path) -> None:
    """The set must not replace one of the lists it is made from."""
    for each in lists:
        try:
            same = os.path.samefile(each, path)
        except (OSError, ValueError):
            continue
        if same:
            raise OutputError(f"{shown(path)}: is one of the lists; name another output")
