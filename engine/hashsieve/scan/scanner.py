"""The scanner: from roots, paths, descriptors or bytes to outcomes, one for every name, none of them a guess.

A name's way: listed by the walk -> facts by name -> opened relative to its directory, no-follow, non-blocking -> facts
by handle -> read to the end for all planned kinds -> looked up in every set -> on a hit read again for all kinds the
entry knows -> outcome. Whatever goes wrong on the way becomes the outcome of that name, with its reason, and the walk
goes on.
"""

from __future__ import annotations

import datetime
import errno
import os
import stat as stat_module
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from .. import _scan
from ..errors import ForkError, Path, ScanError, SetError, StoppedError, UsageError, shown
from ..hashset.hashset import HashSet
from ..model import DigestKind, FileIdentity, HealthEvent, Match, Outcome, OutcomeKind, Summary
from ..platform.mounts import PSEUDO, MountTable
from .plan import plan_digests
from .reading import BUFFER_BYTES, ReadResult, hashers, read_digests
from .verdict import Hit, Ruling, Verdict, judge, kinds_to_confirm, look_up

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from .._scan import FileStat, OpenFile

__all__ = ["Counters", "Scanner"]

_T = TypeVar("_T")

_READS = 3  # a file whose signature moved in so many reads is `changed`
_IDENTITY_LIMIT_COUNT = 1_000_000  # hard-linked identities remembered; beyond it links are read again
_DESCRIPTOR_PATIENCE_SECONDS = 60.0
_NOT_FAILED = ("by-rule:", PSEUDO)  # reasons that leave a scan complete
_FIELD_OF = {
    OutcomeKind.MATCH: "matched",
    OutcomeKind.NO_MATCH: "no_match",
    OutcomeKind.NOT_EXAMINED: "not_examined",
    OutcomeKind.CHANGED: "changed",
    OutcomeKind.GONE: "gone",
    OutcomeKind.ERROR: "errors",
}


@dataclass(slots=True)
class Counters:
    """Counters of a running scan. ``seen`` is computed from the outcomes, so the sum holds at every moment.

    ``incomplete`` counts outcomes that leave open whether the name is listed. ``bytes_read`` counts content bytes,
    confirming reads included.
    """

    matched: int = 0
    no_match: int = 0
    not_examined: int = 0
    changed: int = 0
    gone: int = 0
    errors: int = 0
    special: int = 0
    known_good: int = 0
    undecided: int = 0
    suppressed: int = 0
    bytes_read: int = 0
    cache_hits: int = 0
    incomplete: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    specials: dict[str, int] = field(default_factory=dict)

    @property
    def seen(self) -> int:
        """Names with an outcome."""
        return self.matched + self.no_match + self.not_examined + self.changed + self.gone + self.errors


@dataclass(frozen=True, slots=True)
class _Examined:
    """What examining one open file came to; names are put on it later, since hard links share it."""

    kind: OutcomeKind
    reason: str | None = None
    verdict: Verdict | None = None
    stat: FileStat | None = None
    digests: dict[str, bytes] = field(default_factory=dict)
    bytes_read: int = 0
    special: str | None = None


class Scanner:
    """Examines files against any number of open sets.

    *jobs*: reader threads of a :meth:`scan`; one keeps a laptop quiet. *digests*: kinds to compute beside the planned
    ones. *on_event* receives HealthEvents, from whichever thread notices. *os_table*: a capsule with another table of
    system calls (tests); *mounts*: another mount table (tests).

    Threads: :meth:`examine` and its kin may be called from any thread, at once. One :meth:`scan` at a time per Scanner.
    Fork: a Scanner belongs to the process that made it; elsewhere it raises ForkError. The sets stay the caller's.
    """

    def __init__(
        self,
        sets: HashSet | Iterable[HashSet],
        *,
        jobs: int = 1,
        digests: Iterable[DigestKind | str] = (),
        on_event: Callable[[HealthEvent], None] | None = None,
        os_table: object | None = None,
        mounts: MountTable | None = None,
    ) -> None:
        self.sets: tuple[HashSet, ...] = (sets,) if isinstance(sets, HashSet) else tuple(sets)
        if not self.sets:
            raise UsageError("a scanner needs at least one hash set")
        if jobs < 1:
            raise UsageError(f"jobs is a number of at least 1, not {jobs}")
        self.jobs = jobs
        self.plan: tuple[DigestKind, ...] = plan_digests((s for each in self.sets for s in each.shapes), digests)
        for each in self.sets:
            each.load(self.plan)
        # What is imported on demand is imported now: later there may be no free descriptor to import it with.
        hashers({*self.plan, *(kind for each in self.sets for kind in each.kinds)})
        if jobs > 1:
            import concurrent.futures.thread  # noqa: F401
        self._on_event = on_event
        self._os = os_table
        self._mounts = mounts
        self._policy = _scan.OpenPolicy()
        self._stop = threading.Event()
        self._closed = False
        self._pid = os.getpid()
        self._local = threading.local()
        self._scanning = threading.Lock()
        self._told: set[str] = set()
        self.counters = Counters()

    # ---- what an agent calls from its own hooks ------------------------------------------------------------------

    def examine(self, path: Path) -> Outcome:
        """Examines one file by path; a link is not followed. Never raises for what the file system answers."""
        self._check_usable()
        raw = os.fsencode(path)
        try:
            # Asked by name first: opening alone would download a placeholder, or let go a writer that waits at a FIFO.
            facts = _scan.stat_root(raw, os=self._os)
        except OSError as problem:
            return self._name(raw, _from_problem("stat", problem))
        examined = _not_to_open(facts)
        if examined is None:
            examined = self._examine_now(lambda: _scan.open_path(raw, policy=self._policy, stat=facts, os=self._os))
        return self._name(raw, examined)

    def examine_fd(self, fd: int, *, path: Path = b"") -> Outcome:
        """Examines an open file by positional reads, its offset untouched; it stays open. *path* is for reports."""
        self._check_usable()
        raw = os.fsencode(path)
        return self._name(raw, self._examine_now(lambda: _scan.OpenFile.from_fd(fd, path=raw, os=self._os)))

    def examine_bytes(self, data: bytes | bytearray | memoryview, *, path: Path = b"") -> Outcome:
        """Examines content that the caller holds in memory. *path* is for the report."""
        self._check_usable()
        view = memoryview(data).cast("B")
        if not len(view):
            return Outcome(OutcomeKind.NO_MATCH, os.fsencode(path), size_bytes=0)

        def digest(kinds: Iterable[DigestKind]) -> dict[str, bytes]:
            made = hashers(kinds)
            for hasher in made.values():
                hasher.update(view)
            return {kind: hasher.digest() for kind, hasher in made.items()}

        digests = digest(self.plan)
        hits, failed = look_up(self.sets, digests)
        self._tell_damage(failed)
        if needed := kinds_to_confirm(hits, digests):
            digests = digest(needed)
        facts = _scan.FileStat(size_bytes=len(view))
        return self._name(
            os.fsencode(path), self._conclude(judge(hits, digests), digests, facts, len(view), bool(failed))
        )

    # ---- scanning trees ------------------------------------------------------------------------------------------

    def scan(self, *roots: Path, every: bool = False) -> Iterator[Outcome | Summary]:
        """Scans files and directory trees. Yields every outcome but ``no_match`` (with *every* those too), then a
        Summary.

        Links below a root are not followed; a root that is a link is. Paths in outcomes are absolute and bytes-exact.
        After :meth:`stop` the Summary says ``complete=False``.
        """
        self._check_usable()
        if not roots:
            raise UsageError("name at least one path to scan")
        return self._scan([os.fsencode(root) for root in roots], every)

    def _scan(self, roots: Sequence[bytes], every: bool) -> Generator[Outcome | Summary, None, None]:
        if not self._scanning.acquire(blocking=False):
            raise UsageError("this scanner is scanning already; make another one for a second scan")
        complete = True
        try:
            self.counters = Counters()
            started, wall, cpu = _now(), time.monotonic(), time.process_time()
            for outcome in _Run(self).outcomes(roots):
                if every or outcome.kind is not OutcomeKind.NO_MATCH:
                    yield outcome
        except StoppedError:
            complete = False
        finally:
            self._scanning.release()
        yield self._summary(started, time.monotonic() - wall, time.process_time() - cpu, complete)

    def stop(self) -> None:
        """Ends all work of this scanner soon, in the middle of a file too. From any thread or a signal handler."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Was :meth:`stop` called?"""
        return self._stop.is_set()

    def close(self) -> None:
        """Stops, and refuses further use. The sets stay open: they are the caller's."""
        self._stop.set()
        self._closed = True

    def __enter__(self) -> Scanner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- one file ------------------------------------------------------------------------------------------------

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise ForkError("this Scanner was made before a fork; make a new one in the child process")
        if self._closed:
            raise UsageError("this scanner was closed")
        self._check_stop()

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise StoppedError("the scanner was stopped")

    def _buffer(self) -> bytearray:
        """One buffer per thread, kept: allocating it anew for each file would cost more than reading a small one."""
        buffer: bytearray | None = getattr(self._local, "buffer", None)
        if buffer is None:
            buffer = self._local.buffer = bytearray(BUFFER_BYTES)
        return buffer

    def _examine_now(self, open_it: Callable[[], OpenFile]) -> _Examined:
        """As :meth:`_examine_opened`; a lack of descriptors is an outcome too, since nobody here can wait for one."""
        try:
            return self._examine_opened(open_it, self._check_stop)
        except OSError as problem:
            return _from_problem("open", problem)

    def _examine_opened(self, open_it: Callable[[], OpenFile], check: Callable[[], None]) -> _Examined:
        """Opens and examines; what the system answers becomes the outcome. EMFILE and ENFILE are raised: one can wait.

        *check* is called between chunks and raises StoppedError to end the work.
        """
        operation = "open"
        try:
            with open_it() as file:
                operation = "stat"
                before = file.stat()
                if (refused := _not_to_open(before)) is not None:
                    return refused
                operation = "read"
                return self._examine_file(file, before, check)
        except OSError as problem:
            if problem.errno in (errno.EMFILE, errno.ENFILE):
                raise
            return _from_problem(operation, problem)
        except MemoryError:
            return _Examined(OutcomeKind.ERROR, f"{operation}: no memory")
        except (StoppedError, ForkError):
            raise
        except Exception as problem:
            # Not foreseen: still the outcome of this name alone, and never silence about it or the names behind it.
            return _Examined(OutcomeKind.ERROR, f"{operation}: {type(problem).__name__} {problem}")

    def _examine_file(self, file: OpenFile, before: FileStat, check: Callable[[], None]) -> _Examined:
        total_bytes = 0
        for _ in range(_READS):
            read = read_digests(file, before, self.plan, self._buffer(), check)
            total_bytes += read.bytes_read
            if read.digests is not None and read.bytes_read:
                hits, failed = look_up(self.sets, read.digests)
                verdict, digests, more_bytes = self._confirm(file, read, hits, check)
                total_bytes += more_bytes
                # A listed digest that was computed is a match, even if the file moved meanwhile.
                if read.settled or verdict.ruling is Ruling.KNOWN_BAD:
                    self._tell_damage(failed)
                    return self._conclude(verdict, digests, before, total_bytes, bool(failed))
            elif read.settled:
                # Nothing in it: no list names it, and a failed read cannot look like it, since the end was reached.
                return _Examined(OutcomeKind.NO_MATCH, stat=before, bytes_read=total_bytes)
            before = read.after
        reason = f"signature moved in {_READS} reads"
        return _Examined(OutcomeKind.CHANGED, reason, stat=before, bytes_read=total_bytes)

    def _confirm(
        self, file: OpenFile, read: ReadResult, hits: Sequence[Hit], check: Callable[[], None]
    ) -> tuple[Verdict, dict[str, bytes], int]:
        """Judges the hits of a read, after a second one for the kinds that the entries know beyond the planned ones."""
        digests = read.digests or {}
        verdict = judge(hits, digests)
        needed = kinds_to_confirm(hits, digests) if verdict.ruling in (Ruling.KNOWN_BAD, Ruling.SUPPRESSED) else ()
        if not needed:
            return verdict, digests, 0
        try:
            again = read_digests(file, read.after, needed, self._buffer(), check)
        except Exception:
            # Whatever it was, a request to stop included: what the first read found is not lost.
            return verdict, digests, 0
        if again.digests is None or any(again.digests[kind] != digest for kind, digest in digests.items()):
            # Other content by now: what was computed first stands, with nothing added.
            return verdict, digests, again.bytes_read
        return judge(hits, again.digests), again.digests, again.bytes_read

    def _conclude(
        self, verdict: Verdict, digests: dict[str, bytes], facts: FileStat, bytes_read: int, damaged: bool
    ) -> _Examined:
        if verdict.ruling is Ruling.KNOWN_BAD:
            return _Examined(OutcomeKind.MATCH, None, verdict, facts, digests, bytes_read)
        if damaged:
            return _Examined(OutcomeKind.NOT_EXAMINED, "set-damaged", None, facts, digests, bytes_read)
        return _Examined(OutcomeKind.NO_MATCH, None, verdict, facts, digests, bytes_read)

    def _name(self, path: bytes, examined: _Examined) -> Outcome:
        """The outcome of one name."""
        facts = examined.stat
        size = facts.size_bytes if facts is not None else None
        if examined.special is not None:
            return Outcome(OutcomeKind.NOT_EXAMINED, path, f"special:{examined.special}", size_bytes=size)
        match = None
        if examined.kind is OutcomeKind.MATCH and examined.verdict is not None and facts is not None:
            verdict = examined.verdict
            assert verdict.deciding is not None
            match = Match(
                path=path,
                size_bytes=facts.size_bytes,
                digests=examined.digests,
                confirmed_by=verdict.confirmed_by,
                contradicted_by=verdict.contradicted_by,
                set_root=verdict.deciding.set.root,
                set_path=verdict.deciding.set.path,
                generation=verdict.deciding.set.generation,
                entries=tuple(hit.entry for hit in verdict.hits),
                identity=FileIdentity(facts.dev, facts.ino),
                test=verdict.test,
            )
        return Outcome(examined.kind, path, examined.reason, match, size, examined.digests)

    def _tell_damage(self, failed: Iterable[tuple[HashSet, SetError]]) -> None:
        for each, problem in failed:
            self._event(f"set-damaged:{each.path}", "set-damaged", str(problem))

    def _event(self, once: str, kind: str, text: str, **counts: int) -> None:
        if once in self._told:
            return
        self._told.add(once)
        if self._on_event is not None:
            self._on_event(HealthEvent(kind, text, counts))

    def _summary(self, started: str, wall_seconds: float, cpu_seconds: float, complete: bool) -> Summary:
        c = self.counters
        return Summary(
            seen=c.seen, matched=c.matched, no_match=c.no_match, not_examined=c.not_examined, changed=c.changed,
            gone=c.gone, errors=c.errors, special=c.special, known_good=c.known_good, undecided=c.undecided,
            suppressed=c.suppressed, bytes_read=c.bytes_read, cache_hits=c.cache_hits, cpu_seconds=cpu_seconds,
            wall_seconds=wall_seconds, started=started, ended=_now(), complete=complete, incomplete=c.incomplete,
            not_examined_reasons=dict(c.reasons), specials=dict(c.specials),
        )  # fmt: skip


class _Run:
    """One scan of some roots: walks, hands files to the readers, counts, and names outcomes."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.counters = scanner.counters
        self.mounts = scanner._mounts if scanner._mounts is not None else MountTable.current()
        self.visited = _scan.Visited()
        self.by_identity: dict[tuple[int, int], _Examined] = {}
        self.pending: deque[tuple[bytes, Future[_Examined]]] = deque()
        self.pool: ThreadPoolExecutor | None = None
        self.abandoned = threading.Event()

    def check(self) -> None:
        """Raises StoppedError when the scanner was stopped, or nobody asks for the outcomes of this scan any more."""
        if self.abandoned.is_set():
            raise StoppedError("the scan was given up")
        self.scanner._check_stop()

    def outcomes(self, roots: Sequence[bytes]) -> Generator[Outcome, None, None]:
        """Every outcome of every root, counted before it is yielded."""
        if self.scanner.jobs > 1:
            from concurrent.futures import ThreadPoolExecutor

            self.pool = ThreadPoolExecutor(self.scanner.jobs, "hashsieve-reader")
        try:
            for root in roots:
                yield from self._root(root)
            while self.pending:
                yield from self._finish_oldest()
        except StoppedError:
            # What the readers still came to is told: a listed digest that was computed is a match.
            yield from self._finish_stopped()
            raise
        finally:
            self.abandoned.set()
            # A forked child has no readers, and locks that one of them may have held are held for ever.
            if self.pool is not None and os.getpid() == self.scanner._pid:
                self.pool.shutdown(wait=True, cancel_futures=True)

    # ---- roots ---------------------------------------------------------------------------------------------------

    def _root(self, given: bytes, *, named: bool = True) -> Generator[Outcome, None, None]:
        if not given or b"\0" in given:
            yield self._problem(given, "open: not a path")
            return
        absolute = given
        try:
            absolute = os.path.join(os.getcwdb(), given)
            real, reason = self.mounts.resolve(absolute)
            facts = _scan.stat_root(real, os=self.scanner._os) if reason is None else None
        except OSError as problem:
            yield self._problem(os.path.normpath(absolute), _os_reason("open", problem))
            return
        # ".." after a link leads elsewhere than it reads, so such a path is shown as what it led to.
        path = real if b".." in absolute.split(b"/") else os.path.normpath(absolute)
        if reason is not None:
            yield self._count(Outcome(OutcomeKind.NOT_EXAMINED, path, reason), root=True)
        elif facts is not None and facts.is_directory():
            yield from self._tree(path, real)
            for point in self.mounts.stored_in_pseudo_below(real) if named else ():
                yield from self._root(point, named=False)
        elif facts is not None:
            scanner = self.scanner
            yield from self._file(
                path, lambda: _scan.open_path(real, policy=scanner._policy, stat=facts, os=scanner._os), facts
            )

    def _tree(self, shown_root: bytes, real: bytes) -> Generator[Outcome, None, None]:
        with _scan.Walker(
            real, skip=self.mounts.skips_below(real), visited=self.visited, os=self.scanner._os
        ) as walker:
            while batch := self._next_batch(walker):
                directory = batch[0].directory
                path = directory.path
                if shown_root != real:
                    path = _join(shown_root, path[len(real) :].lstrip(b"/"))
                for item in batch:
                    self.scanner._check_stop()
                    yield from self._item(item, directory, _join(path, item.name))

    def _next_batch(self, walker: _scan.Walker) -> list[_scan.WalkItem]:
        try:
            return self._patiently(lambda: walker.next_batch(256))
        except OSError as problem:
            raise ScanError(f"{shown(walker.root)}: the walk cannot go on: {_os_reason('open', problem)}") from problem

    def _patiently(self, call: Callable[[], _T]) -> _T:
        """Runs *call*; while it lacks descriptors, lets readers finish and waits instead of dropping anything."""
        give_up = None
        while True:
            try:
                return call()
            except OSError as problem:
                if problem.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                now = time.monotonic()
                give_up = give_up or now + _DESCRIPTOR_PATIENCE_SECONDS
                if now > give_up:
                    raise
                self.scanner._event("descriptors", "descriptors-scarce", "no file descriptor is free; waiting for one")
                self.scanner._check_stop()
                time.sleep(0.01)

    # ---- names ---------------------------------------------------------------------------------------------------

    def _item(self, item: _scan.WalkItem, directory: _scan.Directory, path: bytes) -> Generator[Outcome, None, None]:
        if item.event == _scan.FILE:
            name = item.name
            try:
                facts = self._patiently(lambda: directory.stat(name))
            except OSError as problem:
                yield from self._named(path, _from_problem("stat", problem))
                return
            yield from self._file(path, lambda: directory.open_file(name, self.scanner._policy, facts), facts)
        elif item.event == _scan.SPECIAL:
            self._count_special(item.detail or "other")
        elif item.event == _scan.GONE:
            yield self._count(Outcome(OutcomeKind.GONE, path))
        elif item.event == _scan.ERROR:
            yield self._problem(
                path, f"{item.detail}: {errno.errorcode.get(item.errno, item.errno)} {os.strerror(item.errno)}"
            )
        elif item.detail == _scan.ALREADY_VISITED:
            self.scanner._event(f"visited:{path!r}", "already-visited", f"{shown(path)}: was entered by another way")
        else:
            yield self._count(Outcome(OutcomeKind.NOT_EXAMINED, path, item.detail))

    def _file(self, path: bytes, open_it: Callable[[], OpenFile], facts: FileStat) -> Generator[Outcome, None, None]:
        """One file by name. Hard links are read in this thread, so that the second name finds the first's result."""
        scanner = self.scanner
        if (refused := _not_to_open(facts)) is not None:
            yield from self._named(path, refused)
            return
        linked = facts.nlink > 1
        if linked:
            known = self.by_identity.get((facts.dev, facts.ino))
            if known is not None and known.stat is not None and known.stat.same_signature(facts):
                yield from self._named(path, replace(known, bytes_read=0))
                return
        try:
            if self.pool is None or linked:
                examined = self._patiently(lambda: scanner._examine_opened(open_it, self.check))
            else:
                # The walk's directory handle is valid only now, so the file is opened here and read elsewhere.
                opened = self._patiently(open_it)
        except OSError as problem:
            yield from self._named(path, _from_problem("open", problem))
            return
        if self.pool is not None and not linked:
            self.pending.append((path, self.pool.submit(scanner._examine_opened, lambda: opened, self.check)))
            if len(self.pending) >= 4 * scanner.jobs:
                yield from self._finish_oldest()
            return
        final = examined.kind in (OutcomeKind.MATCH, OutcomeKind.NO_MATCH)
        if linked and final and len(self.by_identity) < _IDENTITY_LIMIT_COUNT:
            self.by_identity[(facts.dev, facts.ino)] = examined
        yield from self._named(path, examined)

    def _finish_oldest(self) -> Generator[Outcome, None, None]:
        path, future = self.pending[0]
        examined = future.result()
        self.pending.popleft()
        yield from self._named(path, examined)

    def _finish_stopped(self) -> Generator[Outcome, None, None]:
        for path, future in self.pending:
            if not future.cancel():
                try:
                    examined = future.result()
                except StoppedError:
                    continue
                yield from self._named(path, examined)

    def _named(self, path: bytes, examined: _Examined) -> Generator[Outcome, None, None]:
        self.counters.bytes_read += examined.bytes_read
        if examined.special is not None:
            self._count_special(examined.special)
            return
        ruling = examined.verdict.ruling if examined.verdict is not None else Ruling.NOTHING
        self.counters.known_good += ruling is Ruling.KNOWN_GOOD
        self.counters.undecided += ruling is Ruling.UNDECIDED
        self.counters.suppressed += ruling is Ruling.SUPPRESSED
        yield self._count(self.scanner._name(path, examined))

    # ---- counting ------------------------------------------------------------------------------------------------

    def _count(self, outcome: Outcome, root: bool = False) -> Outcome:
        c, name = self.counters, _FIELD_OF[outcome.kind]
        setattr(c, name, getattr(c, name) + 1)
        reason = outcome.reason or ""
        if outcome.kind is OutcomeKind.NOT_EXAMINED:
            c.reasons[reason] = c.reasons.get(reason, 0) + 1
        failed = outcome.kind in (OutcomeKind.ERROR, OutcomeKind.CHANGED) or (
            outcome.kind is OutcomeKind.NOT_EXAMINED and (root or not reason.startswith(_NOT_FAILED))
        )
        c.incomplete += failed
        return outcome

    def _count_special(self, kind: str) -> None:
        self.counters.special += 1
        self.counters.specials[kind] = self.counters.specials.get(kind, 0) + 1

    def _problem(self, path: bytes, reason: str) -> Outcome:
        return self._count(Outcome(OutcomeKind.ERROR, path, reason))


def _not_to_open(facts: FileStat) -> _Examined | None:
    """What is decided from the facts about a name, without any open; None for a regular file that is here."""
    if not facts.is_regular():
        return _Examined(OutcomeKind.NOT_EXAMINED, special=_special_name(facts.mode), stat=facts)
    if facts.cloud_only:
        return _Examined(OutcomeKind.NOT_EXAMINED, "cloud-only", stat=facts)
    return None


def _from_problem(operation: str, problem: OSError) -> _Examined:
    """What a failed system call makes of a name: found to be no file, gone, or an error."""
    if operation != "read":
        if problem.errno in (errno.ENOENT, errno.ESTALE):
            return _Examined(OutcomeKind.GONE)
        if problem.errno == errno.ELOOP and operation == "open":
            return _Examined(OutcomeKind.NOT_EXAMINED, special="symlink")
        if problem.errno == errno.ENXIO and operation == "open":
            return _Examined(OutcomeKind.NOT_EXAMINED, special="socket")
    return _Examined(OutcomeKind.ERROR, _os_reason(operation, problem))


def _join(directory: bytes, name: bytes) -> bytes:
    return directory if not name else directory.rstrip(b"/") + b"/" + name


def _os_reason(operation: str, problem: OSError) -> str:
    """``read: EIO Input/output error``."""
    number = problem.errno or 0
    return f"{operation}: {errno.errorcode.get(number, number)} {problem.strerror or problem}"


def _special_name(mode: int) -> str:
    for test, name in (
        (stat_module.S_ISDIR, "directory"), (stat_module.S_ISLNK, "symlink"), (stat_module.S_ISFIFO, "fifo"),
        (stat_module.S_ISSOCK, "socket"), (stat_module.S_ISCHR, "char"), (stat_module.S_ISBLK, "block"),
    ):  # fmt: skip
        if test(mode):
            return name
    return "other"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
