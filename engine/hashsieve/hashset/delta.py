"""Deltas: what leads from one set to the next, and the next set rebuilt from the old one and its deltas.

A delta is the symmetric difference of the rows of two sets, a row being one listing of one entry. Applying it builds
the new set as any other is built, so the result is the very file the full lists would have given; its root says so.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ..errors import (
    DeltaBaseError,
    DeltaFormatError,
    DeltaResultError,
    DeltaSignatureError,
    OutputError,
    Path,
    SetFormatError,
    UsageError,
    shown,
)
from .compile import MEMORY_BYTES, Class, CompileReport, Progress, SetWriter, class_key, difference
from .delta_file import DeltaFacts, DeltaFile, width_of, write_delta_file
from .hashset import HashSet, _Reader
from .keys import KeySource
from .scratch import ScratchFolder
from .seal import SealKey, seal_keys_of
from .signature import fits, trusted_of

__all__ = ["APPLY_MEMORY_BYTES", "ApplyReport", "DeltaReport", "apply_delta", "compile_delta", "make_delta"]

APPLY_MEMORY_BYTES = 128 << 20
_MAX_GENERATION = 2**63 - 1


@dataclass(frozen=True, slots=True)
class DeltaReport:
    """What a delta holds: the root of the set it starts from, its rows (listings to add or cancel), its size."""

    path: str
    base: bytes
    rows: int
    file_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Keys that a ``compiled`` event has when a delta was written."""
        return {"base": self.base.hex(), "delta_rows": self.rows, "delta_bytes": self.file_bytes}


@dataclass(frozen=True, slots=True)
class ApplyReport:
    """What deltas made of a set: root (32 bytes), generation and number of entries of the result."""

    path: str
    root: bytes
    generation: int
    entries: int
    base: bytes
    deltas: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The ``applied`` event of the command line."""
        return {
            "event": "applied",
            "path": self.path,
            "root": self.root.hex(),
            "generation": self.generation,
            "entries": self.entries,
            "base": self.base.hex(),
            "deltas": list(self.deltas),
        }


# ---------------------------------------------------------------- the difference of two sets


def make_delta(
    old: HashSet,
    new: HashSet,
    path: Path,
    *,
    seal: SealKey | None = None,
    sign: Callable[[bytes], bytes] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    progress: Progress | None = None,
) -> DeltaReport:
    """Writes the delta that leads from the set *old* to the set *new*, published under *path* whole or not at all.

    *new* must have a higher generation; its signatures go along. *seal* is the key of both where they are sealed.
    *sign* signs the delta itself (see :func:`hashsieve.hashset.signature.signer`). Neither set needs a kind loaded;
    every page that holds a row is read and checked.
    """
    if new.generation <= old.generation:
        raise UsageError(
            f"{shown(old.path)}: has generation {old.generation}; a delta leads to a higher one, not {new.generation}"
        )
    seal_key_id: bytes = new.file.header["seal_key_id"]
    if seal_key_id != old.file.header["seal_key_id"]:
        raise UsageError(
            f"{shown(old.path)} and {shown(new.path)}: are not sealed with the same key, or only one of them is; no "
            "delta leads from one to the other"
        )
    if new.sealed and (seal is None or seal.key_id != seal_key_id):
        raise UsageError(f"{shown(new.path)}: is sealed; a delta to it takes its key")
    facts = DeltaFacts(
        base_root=old.root,
        base_generation=old.generation,
        root=new.root,
        generation=new.generation,
        valid_until_seconds=new.valid_until_seconds,
        entries=len(new),
        sizes=new.sizes,
        filter_millibits=round(new.bits_per_entry * 1000),
        seal_key_id=seal_key_id,
    )
    beside = os.path.dirname(os.fsdecode(path)) or "."
    compare = (
        _sealed_difference(old, new, progress)
        if new.sealed
        else difference(old, new, memory_bytes=memory_bytes, temp_dir=beside, progress=progress)
    )
    with compare as (classes, rows):
        row_count, file_bytes = write_delta_file(
            path,
            facts,
            classes,
            rows,
            signatures=b"".join(public + made for public, made in new.file.header["signatures"]),
            sign=sign,
            seal=seal,
        )
    return DeltaReport(os.fsdecode(path), old.root, row_count, file_bytes)


def compile_delta(
    base: Path,
    path: Path,
    generation: int | None,
    build: Callable[[Path, int], CompileReport],
    *,
    seal: SealKey | None = None,
    sign: Callable[[bytes], bytes] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    progress: Progress | None = None,
) -> CompileReport:
    """Has *build* write the new set to a temporary file, and publishes the delta from *base* to it under *path*.

    *generation* is that of the new set, by default one more than the base's.
    """
    with ExitStack() as stack:
        old = stack.enter_context(HashSet.open(base, load=(), seal_key=seal))
        if generation is None:
            generation = old.generation + 1
        if not old.generation < generation <= _MAX_GENERATION:
            raise UsageError(
                f"{shown(base)}: has generation {old.generation}; the new set takes a higher one, up to "
                f"{_MAX_GENERATION}, not {generation}"
            )
        scratch = stack.enter_context(ScratchFolder(path))
        full = scratch.path("new.hset")
        report = build(full, generation)
        new = stack.enter_context(HashSet.open(full, load=(), seal_key=seal))
        delta = make_delta(old, new, path, seal=seal, sign=sign, memory_bytes=memory_bytes, progress=progress)
    return replace(report, path=delta.path, delta=delta)


# ---------------------------------------------------------------- old set + deltas


def apply_delta(
    old: Path,
    deltas: Path | Sequence[Path],
    out: Path,
    *,
    seal_key: SealKey | KeySource | Iterable[SealKey | KeySource] | None = None,
    trusted_keys: Path | Iterable[bytes] | None = None,
    minimum_generation: int = 0,
    require_valid: bool = False,
    clock: Callable[[], float] = time.time,
    memory_bytes: int = APPLY_MEMORY_BYTES,
    jobs: int = 1,
    progress: Progress | None = None,
) -> ApplyReport:
    """Writes the set that *deltas* make of the set *old* under *out*, whole or not at all; *out* may be *old* itself.

    *deltas* is one path or several in their order, each starting where the one before it ends. All of them are checked
    from end to end before any is used. The result is byte by byte the file that compiling the new state in full gives;
    it is published only if its root is the one the last delta names. *memory_bytes* and *jobs* are those of compiling.
    *progress* is called with a stage, a count and the whole or None, and may raise to stop: nothing is then left
    behind.

    *seal_key*: for sealed sets, their key, or several of which theirs is one, as in :meth:`hashsieve.HashSet.open`.
    *trusted_keys*: a file of public keys, or the keys; every delta and the result must then be signed by one of them,
    which is known before any work is done. *minimum_generation* and *require_valid* hold for the result, as in
    :meth:`hashsieve.HashSet.open`.

    Raises UsageError, SetError (*old* cannot be used), DeltaError or OutputError.
    """
    paths = [deltas] if isinstance(deltas, str | bytes | os.PathLike) else list(deltas)
    if not paths:
        raise UsageError("name at least one delta")
    trusted = None if trusted_keys is None else trusted_of(trusted_keys)
    for each in paths:
        if _same_file(each, out):
            raise OutputError(f"{shown(out)}: is one of the deltas; name another output")
    with ExitStack() as stack:
        keys, made = seal_keys_of(seal_key)
        for key in made:
            stack.callback(key.close)
        base = stack.enter_context(HashSet.open(old, load=(), seal_key=keys))
        opened = [stack.enter_context(DeltaFile(each, keys)) for each in paths]
        _check_chain(base, opened)
        _check_signatures(opened, trusted)
        _check_result(opened[-1], minimum_generation, require_valid, clock)
        for delta in opened:
            delta.verify()
        scratch = stack.enter_context(ScratchFolder(out))
        known = base
        for number, delta in enumerate(opened, start=1):
            last = number == len(opened)
            target = out if last else scratch.path(f"{number}.hset")
            with _writer(known, delta, target, keys, memory_bytes, jobs) as writer:
                report = _build(writer, known, delta, target, progress)
            if known is not base:
                known.close()
                os.unlink(known.path)
            if not last:
                known = stack.enter_context(HashSet.open(target, load=(), seal_key=keys))
    return ApplyReport(
        report.path, report.root, report.generation, report.entries, base.root, tuple(delta.path for delta in opened)
    )


def _same_file(a: Path, b: Path) -> bool:
    try:
        return os.path.samefile(a, b)
    except (OSError, ValueError):
        return False


def _short(root: bytes) -> str:
    return root.hex()[:16]


def _check_chain(base: HashSet, deltas: Sequence[DeltaFile]) -> None:
    """Does every delta start where the one before it ends?"""
    root, generation, name = base.root, base.generation, f"the set {shown(base.path)}"
    for delta in deltas:
        facts = delta.facts
        if facts.base_root != root:
            found = f"{name} has root {_short(root)}, generation {generation}"
            wants = (
                f"{shown(delta.path)}: leads from root {_short(facts.base_root)}, generation {facts.base_generation}, "
                f"to root {_short(facts.root)}, generation {facts.generation}, but {found}"
            )
            if facts.root == root:
                raise DeltaBaseError(f"{wants}: it is what this delta leads to already; there is nothing to do")
            if facts.generation <= generation:
                raise DeltaBaseError(f"{wants}: the delta is older than that; leave it out")
            if facts.base_generation > generation:
                raise DeltaBaseError(
                    f"{wants}: a delta between them is missing; apply that one first, or fetch the whole set"
                )
            raise DeltaBaseError(
                f"{wants}: it starts from another set; fetch the delta made for this one, or the whole set"
            )
        if facts.base_generation != generation or facts.seal_key_id != base.file.header["seal_key_id"]:
            raise DeltaFormatError(
                f"{shown(delta.path)}: names generation {facts.base_generation} and seal key "
                f"{facts.seal_key_id.hex()} for its base, which has {generation} and "
                f"{base.file.header['seal_key_id'].hex()}; fetch the delta again"
            )
        root, generation, name = facts.root, facts.generation, f"{shown(delta.path)} before it"


def _check_signatures(deltas: Sequence[DeltaFile], trusted: Sequence[bytes] | None) -> None:
    """Do all signatures fit, and, where keys are trusted, is there one by such a key where it matters?"""
    for delta in deltas:
        for what, signed, pairs in (
            ("delta", delta.id, delta.own_signatures),
            ("set it leads to", delta.facts.root, delta.signatures),
        ):
            for public, signature in pairs:
                if not fits(signed, public, signature):
                    raise DeltaSignatureError(
                        f"{shown(delta.path)}: the signature of the {what} by {public.hex()} does not fit; fetch the "
                        "delta again"
                    )
            needed = what == "delta" or delta is deltas[-1]
            if trusted is None or not needed or {public for public, _ in pairs} & set(trusted):
                continue
            by = ", ".join(public.hex() for public, _ in pairs)
            raise DeltaSignatureError(
                f"{shown(delta.path)}: the {what} is "
                + (f"signed by {by}, and none of these is trusted" if by else "not signed, and a signature is required")
            )


def _check_result(delta: DeltaFile, minimum_generation: int, require_valid: bool, clock: Callable[[], float]) -> None:
    facts = delta.facts
    if facts.generation < minimum_generation:
        raise DeltaBaseError(
            f"{shown(delta.path)}: leads to generation {facts.generation}, and at least {minimum_generation} is "
            "required; fetch a newer delta too"
        )
    if require_valid and facts.valid_until_seconds and clock() > facts.valid_until_seconds:
        raise DeltaBaseError(f"{shown(delta.path)}: leads to a set whose end of validity has passed; get a newer one")


def _writer(
    known: HashSet, delta: DeltaFile, target: Path, keys: Sequence[SealKey], memory_bytes: int, jobs: int
) -> SetWriter:
    """What writes the set that a delta leads to."""
    facts = delta.facts
    signatures = b"".join(public + made for public, made in delta.signatures)
    return SetWriter(
        generation=facts.generation,
        valid_until_seconds=facts.valid_until_seconds,
        sizes=facts.sizes,
        bits_per_entry=facts.filter_millibits / 1000,
        memory_bytes=memory_bytes,
        jobs=jobs,
        temp_dir=os.path.dirname(os.fsdecode(target)) or ".",
        seal=next((key for key in keys if key.key_id == facts.seal_key_id), None),
        sign=(lambda root: signatures) if signatures else None,
    )


def _build(
    writer: SetWriter, known: HashSet, delta: DeltaFile, target: Path, progress: Progress | None
) -> CompileReport:
    """Builds the set that one delta makes of an open set."""
    facts = delta.facts

    def accept(root: bytes) -> None:
        if root != facts.root:
            raise DeltaResultError(
                f"{shown(delta.path)}: made a set of root {_short(root)} from {shown(known.path)}, root "
                f"{_short(known.root)}, not the promised {_short(facts.root)}; nothing was published: fetch the whole "
                "set, and report this to whoever made the delta"
            )

    if facts.sealed:
        _add_sealed(writer, known, delta)
        return writer.write(target, progress=progress, accept=accept)
    writer.add_base(known)
    for rows in delta.rows(list(range(len(delta.classes)))):
        writer.add_rows(rows, delta.classes)
    try:
        return writer.write(target, progress=progress, accept=accept)
    except UsageError as problem:  # a row to cancel that is not there, or too many record ids for one entry
        raise DeltaFormatError(f"{shown(delta.path)}: does not fit its base: {problem}; fetch the whole set") from None


# ---------------------------------------------------------------- sealed sets


class _Row(NamedTuple):
    """One listing of one entry. Rows compare in their order: shape, fingerprints, size + 1 (0 = none), class, record id
    behind a zero byte (empty = none).
    """

    shape: int
    fingerprints: bytes
    size_code: int
    class_number: int
    ref_code: bytes
    cancel: bool = False


@contextmanager
def _sealed_difference(
    old: HashSet, new: HashSet, progress: Progress | None
) -> Iterator[tuple[list[Class], Iterator[bytes]]]:
    """What :func:`hashsieve.hashset.compile.difference` is for others; listings are decrypted on the way."""
    classes = sorted({*_classes(old), *_classes(new)}, key=class_key)
    place = {key: number for number, key in enumerate(classes)}
    yield classes, _pack(_only_one_has(_rows(old, place), _rows(new, place), len(old) + len(new), progress))


def _only_one_has(old: Iterator[_Row], new: Iterator[_Row], total: int, progress: Progress | None) -> Iterator[_Row]:
    """Rows of only one of the two, in order; those of *old* with ``cancel``."""
    done = 0
    a, b = next(old, None), next(new, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a < b):
            assert a is not None
            yield a._replace(cancel=True)
            a = next(old, None)
        elif a is None or b < a:
            yield b
            b = next(new, None)
        else:
            a, b = next(old, None), next(new, None)
        done += 1
        if progress is not None and not done & 0xFFFF:
            progress("compare", done, total)


def _pack(rows: Iterator[_Row]) -> Iterator[bytes]:
    """Rows in the builder's form."""
    for r in rows:
        head = struct.pack(">QIB", r.size_code, r.class_number, 2 * r.cancel) + struct.pack("<H", len(r.ref_code))
        yield bytes([r.shape]) + r.fingerprints + head + r.ref_code[1:]


def _unpack(chunks: Iterator[bytes]) -> Iterator[_Row]:
    """Rows of the builder's form."""
    for data in chunks:
        at = 0
        while at < len(data):
            shape, at = data[at], at + 1
            width = width_of(shape, True)
            fingerprints, at = data[at : at + width], at + width
            size_code, class_number, op = struct.unpack_from(">QIB", data, at)
            (ref,) = struct.unpack_from("<H", data, at + 13)
            at += 15
            ref_code, at = (b"\0" + data[at : at + ref - 1], at + ref - 1) if ref else (b"", at)
            yield _Row(shape, fingerprints, size_code, class_number, ref_code, op == 2)


def _rows(known: HashSet, place: dict[Class, int]) -> Iterator[_Row]:
    """All rows of a sealed set in their order; *place* numbers the classes."""
    numbers = [place[key] for key in _classes(known)]
    sealed, groups = known._sealed, _groups(known)
    assert sealed is not None
    for entry in range(len(known)):
        keys, *_ = known.file.entry(entry)
        size, value = sealed.column(entry)
        if not value & 1 and value >> 1 >= len(groups):
            raise SetFormatError(f"{shown(known.path)}: an entry names a listing group that is not there")
        for number, ref_code in _group_in_refs(known, value >> 1) if value & 1 else groups[value >> 1]:
            if number >= len(numbers):
                raise SetFormatError(f"{shown(known.path)}: a listing names a class that is not there")
            shape = sum(1 << (code - 1) for code in keys)
            yield _Row(shape, b"".join(keys.values()), 0 if size is None else size + 1, numbers[number], ref_code)


def _classes(known: HashSet) -> list[Class]:
    """The set's classes but the built-in one, which comes last."""
    return [(source, str(role), category) for source, role, category in known._classes[: known._test_class]]


def _groups(known: HashSet) -> list[list[tuple[int, bytes]]]:
    assert known._sealed is not None
    reader, out = _Reader(known._sealed.groups(), known.path), []
    while not reader.at_end():
        out.append(_listings(reader.block()))
    return out


def _group_in_refs(known: HashSet, offset: int) -> list[tuple[int, bytes]]:
    assert known._sealed is not None
    head = _Reader(known._sealed.refs(offset, 10), known.path)
    length = head.varint()
    return _listings(_Reader(known._sealed.refs(offset + head.position, length), known.path))


def _listings(reader: _Reader) -> list[tuple[int, bytes]]:
    out = []
    for _ in range(reader.varint()):
        number, length = reader.varint(), reader.varint()
        out.append((number, b"\0" + reader.take(length - 1) if length else b""))
    return out


def _add_sealed(writer: SetWriter, known: HashSet, delta: DeltaFile) -> None:
    """Gives a writer the rows of the base without those that the delta cancels, and those that it adds.

    Both come in one order, so each is read once, side by side.
    """
    classes = sorted({*_classes(known), *delta.classes}, key=class_key)
    place = {key: number for number, key in enumerate(classes)}

    def add(row: _Row) -> None:
        ref = row.ref_code[1:] if row.ref_code else None
        number = writer._class(classes[row.class_number])
        writer._builder.add(row.shape, row.fingerprints, row.size_code - 1, number, ref)

    base, changes = _rows(known, place), _unpack(delta.rows([place[key] for key in delta.classes]))
    row, change = next(base, None), next(changes, None)
    while row is not None or change is not None:
        if change is None or (row is not None and row[:5] < change[:5]):
            assert row is not None
            add(row)
            row = next(base, None)
            continue
        held = row is not None and row[:5] == change[:5]
        if change.cancel and not held:
            raise DeltaFormatError(
                f"{shown(delta.path)}: does not fit its base: a record to cancel is not in the base; fetch the whole "
                "set"
            )
        if not change.cancel:
            add(change)
        if held:
            row = next(base, None)
        change = next(changes, None)
