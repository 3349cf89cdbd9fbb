"""The scanner: from roots, paths, descriptors or bytes to outcomes, one for every name, none of them a guess.

A name's way: listed by the walk -> opened relative to its directory, no-follow, non-blocking -> facts by handle ->
gates -> read to the end for all planned kinds -> looked up in every set -> on a hit read again for all kinds the entry
knows -> outcome. Up to the lookup this happens in the native pipeline (:mod:`hashsieve._scan`), which counts what is
on no list and tells about the rest. Whatever goes wrong on the way becomes the outcome of that name, with its reason,
and the walk goes on.
"""

from __future__ import annotations

import datetime
import errno
import logging
import os
import stat as stat_module
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from queue import Empty, Full, Queue
from types import TracebackType
from typing import TYPE_CHECKING

from .. import _scan
from ..errors import ForkError, Path, ScanError, SetError, StoppedError, UsageError, shown
from ..hashset.follow import FollowedSet
from ..hashset.hashset import HashSet
from ..model import DigestKind, FileIdentity, HealthEvent, Match, Outcome, OutcomeKind, Role, Summary
from ..platform.mounts import FUSE, NETWORK, PSEUDO, MountTable
from . import apart
from .apart import PATIENCE_SECONDS, Apart
from .kernels import demanded_kernels
from .known import Known, Undecided, UndecidedFile, load_known
from .plan import costs_ns_per_byte
from .reading import BUFFER_BYTES, ReadResult, hashers, read_digests
from .verdict import Hit, Ruling, Verdict, judge, kinds_to_confirm, look_up

if TYPE_CHECKING:
    from .._scan import Directory, FileStat, OpenFile, Sizes

__all__ = ["Counters", "Scanner"]

KnownSet = HashSet | FollowedSet

_READS = 3  # a file whose signature moved in so many reads is `changed`
_IDENTITY_LIMIT_COUNT = 1_000_000  # hard-linked identities remembered; beyond it links are read again
_DESCRIPTOR_PATIENCE_SECONDS = 60.0
_TABLE_SECONDS = 2.0  # so old may a mount table be by which single files are examined
_STRETCH_SECONDS = 0.05  # of native work between two looks at signals and counters
_REASONS = {
    _scan.CLOUD_ONLY: "cloud-only",
    _scan.TOO_LARGE: "by-rule:max-size",
    _scan.NOT_MEDIA: "by-rule:only-media",
}
_NO_ANSWER = "no-answer"
_SET_DAMAGED = "set-damaged"
_UNDECIDED_LIMIT_COUNT = 100_000  # names: some 50 MB at the most
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
    gates: dict[str, int] = field(default_factory=dict)
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
    gate: str | None = None


@dataclass(frozen=True, slots=True)
class FirstRead:
    """A read that the pipeline has made: the facts before it, what came of it, and the sets it was planned for."""

    before: FileStat
    result: ReadResult
    known: Known


class Scanner:
    """Examines files against any number of open sets.

    *jobs*: reader threads of a :meth:`scan`; one keeps a laptop quiet. *digests*: kinds to compute beside the planned
    ones. *only*: ``"media"`` leaves out files that do not start like an image, a video or a container of them;
    *max_size_bytes* leaves out larger files; both are ``not_examined: by-rule:...``. *kernels* demands digest kernels
    by kind, else ``HASHSIEVE_KERNEL`` does (:mod:`hashsieve.scan.kernels`). *network*: enters network mounts too,
    which are otherwise left out and reported. They and FUSE mounts are read last, by child processes; a call into one
    that has not come back after *patience_seconds* is given up. *undecided_limit_count*: names that are remembered
    where a damaged set could not decide. *on_event* receives HealthEvents, from whichever thread notices. *os_table*: a
    capsule with another table of system calls (tests); *mounts*: another mount table (tests).

    A set may be a followed one (:func:`hashsieve.follow`): each scan and each examination takes its newest generation.
    Threads: :meth:`examine` and its kin may be called from any thread, at once. One :meth:`scan` at a time per Scanner.
    Fork: a Scanner belongs to the process that made it; elsewhere it raises ForkError. The sets stay the caller's.
    """

    def __init__(
        self,
        sets: KnownSet | Iterable[KnownSet],
        *,
        jobs: int = 1,
        digests: Iterable[DigestKind | str] = (),
        only: str | None = None,
        max_size_bytes: int | None = None,
        kernels: Mapping[str, str] | None = None,
        network: bool = False,
        patience_seconds: float = PATIENCE_SECONDS,
        undecided_limit_count: int = _UNDECIDED_LIMIT_COUNT,
        on_event: Callable[[HealthEvent], None] | None = None,
        os_table: object | None = None,
        mounts: MountTable | None = None,
    ) -> None:
        if jobs < 1:
            raise UsageError(f"jobs is a number of at least 1, not {jobs}")
        if only not in (None, "media"):
            raise UsageError(f"only 'media' can be asked for, not {only!r}")
        if max_size_bytes is not None and max_size_bytes < 0:
            raise UsageError(f"a size limit is a number of bytes of at least 0, not {max_size_bytes}")
        self.jobs = jobs
        self._only = only
        self._max_size_bytes = None if max_size_bytes is None else min(max_size_bytes, 2**64 - 1)
        self._network = network
        self._patience_seconds = patience_seconds
        self._kernels = demanded_kernels() if kernels is None else dict(kernels)
        self._digests: tuple[str, ...] = tuple(digests)
        self._on_event = on_event
        self._os = os_table
        self._mounts = mounts
        self._table: MountTable | None = None  # as examine read it last
        self._table_read = 0.0
        self._any_apart = mounts is not None and _any_apart(mounts)
        self._policy = _scan.OpenPolicy()
        self._stop = _scan.StopFlag()
        self._closed = False
        self._pid = os.getpid()
        self._local = threading.local()
        self._scanning = threading.Lock()
        self._told: set[str] = set()
        self._told_of: weakref.WeakKeyDictionary[HashSet, set[str]] = weakref.WeakKeyDictionary()
        self._undecided = Undecided(undecided_limit_count)
        self._known_lock = threading.Lock()
        self._sources = _sources(sets)
        self._known = self._load(_currents(self._sources))
        self.counters = Counters()

    # ---- sets ------------------------------------------------------------------------------------------------------

    @property
    def sets(self) -> tuple[HashSet, ...]:
        """The sets that are asked now."""
        return self._known.sets

    @property
    def plan(self) -> tuple[DigestKind, ...]:
        """The kinds of digest that are computed of every file."""
        return self._known.plan

    def replace_sets(self, sets: KnownSet | Iterable[KnownSet]) -> None:
        """From now on other sets are asked; a scan that is running goes on with those it began with.

        Raises, with the old sets kept, when one of the new ones cannot be used.
        """
        self._check_usable()
        sources = _sources(sets)
        known = self._load(_currents(sources))
        with self._known_lock:
            self._sources, self._known = sources, known

    def _load(self, sets: Sequence[HashSet]) -> Known:
        return load_known(sets, self._digests, costs_ns_per_byte(self._kernels))

    def _current(self) -> Known:
        """What is asked from here on: the newest generation of every set that is followed."""
        if not any(isinstance(source, FollowedSet) for source in self._sources):
            return self._known
        with self._known_lock:
            sets = _currents(self._sources)
            if any(new is not old for new, old in zip(sets, self._known.sets, strict=True)):
                try:
                    self._known = self._load(sets)
                except SetError as problem:
                    self._event(f"set-refused:{problem}", "set-refused", str(problem))
            return self._known

    # ---- files that a damaged set left undecided ---------------------------------------------------------------------

    @property
    def undecided_count(self) -> int:
        """Names that were ``not_examined: set-damaged`` and are remembered until :meth:`recheck_undecided`."""
        return len(self._undecided)

    @property
    def full_pass_due(self) -> bool:
        """More were left undecided than are remembered: only a scan of everything decides them."""
        return self._undecided.overflowed

    def recheck_undecided(self) -> Iterator[Outcome]:
        """Decides what damaged sets left open, once good ones are there (:meth:`replace_sets`, or a followed set).

        Yields an outcome for each name. What was read then is decided by the digests computed then; a hit, or a set
        that needs other kinds of digest, has the file read again. What still cannot be decided stays remembered.
        """
        self._check_usable()
        known = self._current()
        for file in self._undecided.take():
            paths, done = sorted(file.paths), 0
            try:
                for path in paths:
                    self._check_usable()
                    outcome = self._recheck(known, path, file)
                    done += 1
                    yield outcome
            finally:
                for left in paths[done:]:
                    self._undecided.add(left, file.stat, file.digests)

    def forget_undecided(self) -> None:
        """After a pass over everything with good sets: forgets what was left undecided before."""
        self._undecided.clear()

    def _recheck(self, known: Known, path: bytes, file: UndecidedFile) -> Outcome:
        if not set(known.plan) <= set(file.digests):
            return self.examine(path)
        hits, failed = look_up(known.sets, file.digests)
        self._tell_damage(failed)
        verdict = judge(hits, file.digests)
        if verdict.ruling is Ruling.KNOWN_BAD and path:
            again = self.examine(path)  # with all kinds that the entries know
            if again.kind is OutcomeKind.MATCH:
                return again
        # Gone or changed by now: what was read then stands.
        return self._name(path, self._conclude(verdict, file.digests, file.stat, 0, bool(failed)))

    @property
    def gates(self) -> tuple[str, ...]:
        """Which gates stand before the digests: names as in the counters."""
        named = (("known-sizes", self._known.sizes), ("only-media", self._only), ("max-size", self._max_size_bytes))
        return ("empty", *(name for name, there in named if there is not None))

    def _mount_table_now(self) -> MountTable:
        """What is mounted. OSError: it cannot be asked now, since something has run out."""
        try:
            return MountTable.current()
        except OSError as problem:
            if problem.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise
            text = f"the mount table cannot be read: {problem.strerror}; mounts are not told apart"
            self._event("mounts", "mounts-unknown", text)
            return MountTable(())

    def _mount_table(self) -> MountTable:
        """What is mounted. Without it nobody knows what must not be touched, so a free descriptor is waited for."""
        began = time.monotonic()
        while True:
            try:
                return self._mount_table_now()
            except OSError as problem:
                if time.monotonic() - began > _DESCRIPTOR_PATIENCE_SECONDS:
                    raise ScanError(f"the mount table cannot be read: {problem.strerror}") from problem
                self._check_stop()
                self._event("descriptors", "descriptors-scarce", "no file descriptor is free; waiting for one")
                time.sleep(0.01)

    def _new_pump(self, feed: _scan.Feed, tell_all: bool, known: Known) -> _scan.Pump:
        return _scan.Pump(
            feed, sets=[(each.file, _sole_ruling(each)) for each in known.sets], kinds=known.plan, stop=self._stop,
            max_size_bytes=self._max_size_bytes, media_only=self._only == "media", sizes=known.sizes, tell_all=tell_all,
            forced=self._kernels, os=self._os,
        )  # fmt: skip

    # ---- what an agent calls from its own hooks ------------------------------------------------------------------

    def examine(self, path: Path) -> Outcome:
        """Examines one file by path; a link is not followed. Never raises for what the file system answers."""
        self._check_usable()
        raw = os.fsencode(path)
        try:
            point = self._apart_point(raw)
        except OSError as problem:
            return self._name(raw, _from_problem("open", problem))
        if point is not None:
            return self._name(raw, self._examine_path_apart(raw, point))
        try:
            # Asked by name first: opening alone would download a placeholder, or let go a writer that waits at a FIFO.
            facts = _scan.stat_root(raw, os=self._os)
        except OSError as problem:
            return self._name(raw, _from_problem("stat", problem))
        examined = _not_to_open(facts)
        if examined is None:
            examined = self._examine_opened(lambda: _scan.open_path(raw, policy=self._policy, stat=facts, os=self._os))
        return self._name(raw, examined)

    def examine_fd(self, fd: int, *, path: Path = b"") -> Outcome:
        """Examines an open file by positional reads, its offset untouched; it stays open. *path* is for reports."""
        self._check_usable()
        raw = os.fsencode(path)
        return self._name(raw, self._examine_opened(lambda: _scan.OpenFile.from_fd(fd, path=raw, os=self._os)))

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

        known = self._current()
        digests = digest(known.plan)
        hits, failed = look_up(known.sets, digests)
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
        known = self._current()
        try:
            self.counters = Counters()
            started, wall, cpu = _now(), time.monotonic(), time.process_time()
            self._tell_changed_files(known)
            yield from _Run(self, known, every).outcomes(roots)
        except StoppedError:
            complete = False
        finally:
            self._tell_changed_files(known)
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

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkError("this Scanner was made before a fork; make a new one in the child process")

    def _check_usable(self) -> None:
        self._check_process()
        if self._closed:
            raise UsageError("this scanner was closed")
        self._check_stop()

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise StoppedError("the scanner was stopped")
        between: Callable[[], None] | None = getattr(self._local, "between", None)
        if between is not None:
            between()

    def _buffer(self) -> bytearray:
        """One buffer per thread, kept: allocating it anew for each file would cost more than reading a small one."""
        buffer: bytearray | None = getattr(self._local, "buffer", None)
        if buffer is None:
            buffer = self._local.buffer = bytearray(BUFFER_BYTES)
        return buffer

    def _examine_opened(
        self, open_it: Callable[[], OpenFile], first: FirstRead | None = None, *, gated: Known | None = None
    ) -> _Examined:
        """Opens and examines; what the system answers becomes the outcome. *first*: a read that was made already.
        *gated*: these sets are asked, and the gates that the pipeline would ask stand before the read."""
        operation = "open"
        try:
            with open_it() as file:
                if first is not None:
                    operation = "read"
                    return self._examine_file(file, first.before, first)
                operation = "stat"
                before = file.stat()
                if (refused := _not_to_open(before)) is not None:
                    return refused
                operation = "read"
                if gated is not None and (left_out := self._left_out(file, before, gated.sizes)) is not None:
                    return left_out
                return self._examine_file(file, before, known=gated)
        except OSError as problem:
            return _from_problem(operation, problem)
        except MemoryError:
            return _Examined(OutcomeKind.ERROR, f"{operation}: no memory")
        except (StoppedError, ForkError):
            raise
        except Exception as problem:
            # Not foreseen: still the outcome of this name alone, and never silence about it or the names behind it.
            return _Examined(OutcomeKind.ERROR, f"{operation}: {type(problem).__name__} {problem}")

    def _left_out(self, file: OpenFile, facts: FileStat, sizes: Sizes | None) -> _Examined | None:
        """What the gates say of an open file; None: it is to be read."""
        if self._max_size_bytes is not None and facts.size_bytes > self._max_size_bytes:
            return _Examined(OutcomeKind.NOT_EXAMINED, _REASONS[_scan.TOO_LARGE], stat=facts)
        # A file that claims to be empty is read: some file systems say so of files that are not.
        if sizes is not None and facts.size_bytes and facts.size_bytes not in sizes:
            return _Examined(OutcomeKind.NO_MATCH, stat=facts, gate="known-sizes")
        if self._only == "media":
            self._check_stop()
            start = bytearray(_scan.SNIFF_BYTES)
            got = file.pread_into(start, 0)
            if got and not _scan.looks_like_media(memoryview(start)[:got]):
                return _Examined(OutcomeKind.NOT_EXAMINED, _REASONS[_scan.NOT_MEDIA], stat=facts, bytes_read=got)
        return None

    def _examine_apart(
        self, known: Known, directory: Callable[[], Directory], name: bytes, between: Callable[[], None]
    ) -> _Examined | None:
        """Examines a name on a mount that may never answer, through a child process. None: it is a directory."""
        self._local.between = between
        operation = "open"
        try:
            at = directory()
            operation = "stat"
            facts = at.stat(name)
        except OSError as problem:
            if operation == "open" and problem.errno in (errno.ENOTDIR, errno.ELOOP):
                return _Examined(OutcomeKind.GONE)  # what was a directory when it was listed is none any more
            return _from_problem(operation, problem)
        if facts.is_directory():
            return None
        if (refused := _not_to_open(facts)) is not None:
            return refused
        return self._examine_opened(lambda: at.open_file(name, self._policy, facts), gated=known)

    def _apart_point(self, path: bytes) -> bytes | None:
        """The mount point, where *path* lies on a mount that may never answer."""
        now = time.monotonic()
        if self._mounts is not None:
            table = self._mounts
        elif self._table is not None and now - self._table_read < _TABLE_SECONDS:
            table = self._table
        else:
            table = self._table = self._mount_table_now()
            self._table_read = now
            self._any_apart = _any_apart(table)
        if not self._any_apart:
            return None
        directory, name = os.path.split(path)
        whole = name in (b"", b".", b"..")
        try:
            # Where the way leads, one step at a time and not into such a mount. The last name is not followed.
            where, reason = table.resolve(os.path.join(os.getcwdb(), path if whole else directory))
        except OSError:
            return None  # there is no way, which the open tells
        if reason is None and not whole:
            where = os.path.join(where, name)
            reason = table.reason_at(where)
        mount = table.of(where)
        if reason is None or reason.startswith(PSEUDO) or mount is None:
            return None
        return mount.mount_point

    def _examine_path_apart(self, path: bytes, point: bytes) -> _Examined:
        """Examines a file on a mount that may never answer, by a child process of its own."""
        no_answer = _Examined(OutcomeKind.NOT_EXAMINED, _NO_ANSWER)
        if apart.no_answer_from(point):
            return no_answer
        absolute = os.path.join(os.getcwdb(), path)
        try:
            remote = apart.connect(self._patience_seconds, (self._stop,), self._os)
        except OSError as problem:
            return _Examined(OutcomeKind.ERROR, _os_reason("fork", problem))
        capsule = remote.capsule
        try:
            try:
                facts = _scan.stat_root(absolute, os=capsule)
            except OSError as problem:
                examined = _from_problem("stat", problem)
            else:
                examined = _not_to_open(facts) or self._examine_opened(
                    lambda: _scan.open_path(absolute, policy=self._policy, stat=facts, os=capsule)
                )
            over = remote.over
        finally:
            apart.let_go(point, remote)
        if not over or examined.kind is OutcomeKind.MATCH:
            return examined
        self._check_stop()
        return no_answer if over == _scan.NO_ANSWER else _Examined(OutcomeKind.ERROR, f"open: {apart.HELPER_DIED}")

    def _examine_file(
        self, file: OpenFile, before: FileStat, first: FirstRead | None = None, *, known: Known | None = None
    ) -> _Examined:
        known = first.known if first is not None else known if known is not None else self._current()
        total_bytes = 0
        for attempt in range(_READS):
            if attempt == 0 and first is not None:
                read = first.result  # its bytes are counted where it was made
            else:
                read = read_digests(file, before, known.plan, self._buffer(), self._check_stop)
                total_bytes += read.bytes_read
            if read.digests is not None and read.bytes_read:
                hits, failed = look_up(known.sets, read.digests)
                verdict, digests, more_bytes = self._confirm(file, read, hits)
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

    def _confirm(self, file: OpenFile, read: ReadResult, hits: Sequence[Hit]) -> tuple[Verdict, dict[str, bytes], int]:
        """Judges the hits of a read, after a second one for the kinds that the entries know beyond the planned ones."""
        digests = read.digests or {}
        verdict = judge(hits, digests)
        needed = kinds_to_confirm(hits, digests) if verdict.ruling in (Ruling.KNOWN_BAD, Ruling.SUPPRESSED) else ()
        if not needed:
            return verdict, digests, 0
        try:
            again = read_digests(file, read.after, needed, self._buffer(), self._check_stop)
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
            return _Examined(OutcomeKind.NOT_EXAMINED, _SET_DAMAGED, None, facts, digests, bytes_read)
        return _Examined(OutcomeKind.NO_MATCH, None, verdict, facts, digests, bytes_read)

    def _name(self, path: bytes, examined: _Examined) -> Outcome:
        """The outcome of one name."""
        facts = examined.stat
        size = facts.size_bytes if facts is not None else None
        if examined.special is not None:
            return Outcome(OutcomeKind.NOT_EXAMINED, path, f"special:{examined.special}", size_bytes=size)
        if facts is not None and facts.ino:
            if examined.reason == _SET_DAMAGED:
                self._remember_undecided(path, facts, examined.digests)
            elif examined.kind in (OutcomeKind.MATCH, OutcomeKind.NO_MATCH):
                self._undecided.discard(facts)
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

    def _remember_undecided(self, path: bytes, facts: FileStat, digests: dict[str, bytes]) -> None:
        if not self._undecided.add(path, facts, digests):
            self._event(
                "undecided",
                "undecided-overflow",
                f"more than {self._undecided.limit_count} names could not be decided by damaged sets; scan everything "
                "again when good ones are installed",
            )

    def _tell_damage(self, failed: Iterable[tuple[HashSet, SetError]]) -> None:
        for each, problem in failed:
            self._tell_of(each, _SET_DAMAGED, str(problem))

    def _tell_changed_files(self, known: Known) -> None:
        """Tells of sets whose file is not what it was when it was opened. Answers stay right: they are checked."""
        followed = {source.current for source in self._sources if isinstance(source, FollowedSet)}
        for each in known.sets:
            try:
                state = each.file_state()
            except SetError:
                continue  # closed, which the lookups tell
            if state == "changed":
                self._tell_of(each, "set-changed", f"{shown(each.path)}: was written to while it was open")
            elif state != "same" and each not in followed:
                what = "was replaced by another file" if state == "replaced" else "is no longer there"
                self._tell_of(
                    each, f"set-{state}", f"{shown(each.path)}: {what}; generation {each.generation} stays in use"
                )

    def _tell_of(self, each: HashSet, kind: str, text: str) -> None:
        """Once for each set, as long as it is open."""
        told = self._told_of.setdefault(each, set())
        if kind not in told:
            told.add(kind)
            self._tell(HealthEvent(kind, text, {}))

    def _event(self, once: str, kind: str, text: str, **counts: int) -> None:
        if once in self._told:
            return
        self._told.add(once)
        self._tell(HealthEvent(kind, text, counts))

    def _tell(self, event: HealthEvent) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:
            # What a caller's function does must not cost an outcome: a match may be on its way.
            logging.getLogger("hashsieve").exception("on_event failed for %s: %s", event.kind, event.text)

    def _summary(self, started: str, wall_seconds: float, cpu_seconds: float, complete: bool) -> Summary:
        c = self.counters
        return Summary(
            seen=c.seen, matched=c.matched, no_match=c.no_match, not_examined=c.not_examined, changed=c.changed,
            gone=c.gone, errors=c.errors, special=c.special, known_good=c.known_good, undecided=c.undecided,
            suppressed=c.suppressed, bytes_read=c.bytes_read, cache_hits=c.cache_hits, cpu_seconds=cpu_seconds,
            wall_seconds=wall_seconds, started=started, ended=_now(), complete=complete, incomplete=c.incomplete,
            not_examined_reasons=dict(c.reasons), specials=dict(c.specials), gates=dict(c.gates),
            expired_sets=tuple(each.path for each in self.sets if each.expired),
        )  # fmt: skip


class _Run:
    """One scan of some roots: feeds the native pipeline, and turns what it tells into counted, named outcomes.

    The pipeline counts what is on no list by itself. Everything it tells about -- hits, files that moved, errors -- is
    decided here, by the same code that examines single files.
    """

    def __init__(self, scanner: Scanner, known: Known, tell_all: bool) -> None:
        self.scanner = scanner
        self.known = known
        self.tell_all = tell_all
        self.counters = scanner.counters
        self.mounts = scanner._mounts if scanner._mounts is not None else scanner._mount_table()
        self.visited = _scan.Visited()
        self.by_identity: dict[tuple[int, int], _Examined] = {}
        self.waiting: dict[tuple[int, int], list[_scan.PipeEvent]] = {}
        self.later: list[bytes] = []  # found on the way, still to be walked: by real path
        self.put_off: set[bytes] = set()
        self.apart: list[
            tuple[bytes, bytes]
        ] = []  # path, and as it is shown: still to be read, by threads of their own
        self.feed: _scan.Feed
        self.followed: set[tuple[bytes, bytes]] = set()  # links from one such mount into another

    def outcomes(self, roots: Sequence[bytes]) -> Generator[Outcome, None, None]:
        """Every outcome of every root, counted before it is yielded."""
        for root in roots:
            yield from self._root(root)
        while self.later or self.apart:
            while self.later:
                yield from self._root(self.later.pop(0))
            yield from self._read_apart()

    # ---- roots ---------------------------------------------------------------------------------------------------

    def _root(self, given: bytes) -> Generator[Outcome, None, None]:
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
        if reason is not None and self._is_apart(reason):
            self.apart.append((absolute, path))
        elif reason is not None:
            yield self._count(Outcome(OutcomeKind.NOT_EXAMINED, path, reason), root=True)
        elif facts is not None and facts.is_directory():
            skip = self.mounts.skips_below(real)
            with _scan.Walker(real, skip=skip, visited=self.visited, os=self.scanner._os) as walker:
                yield from self._pump(_scan.Feed(walker), (real, path))
        elif facts is not None and (refused := _not_to_open(facts)) is not None:
            yield from self._named(path, refused)
        else:
            yield from self._pump(_scan.Feed(files=[(real, -1)]), (real, path))

    # ---- mounts that may never answer ------------------------------------------------------------------------------

    def _is_apart(self, reason: str) -> bool:
        return reason.startswith(FUSE) or (self.scanner._network and reason.startswith(NETWORK))

    def _read_apart(self) -> Generator[Outcome, None, None]:
        """Everything that was put off, all mounts at once: a dead one costs its patience, not the others' time."""
        results: Queue[tuple[apart.Root, object]] = Queue(apart.RESULTS_AHEAD_COUNT)
        mounts: dict[bytes, Apart[_Examined]] = {}
        try:
            while True:
                yield from self._hand_out(mounts, results)
                busy = [each.go_on() for each in mounts.values()]
                try:
                    root, told = results.get(timeout=_STRETCH_SECONDS) if any(busy) else results.get_nowait()
                except Empty:
                    if not any(busy) and not self.apart:
                        return
                else:
                    yield from self._told_apart(root, told)
                self.scanner._check_stop()
        except StoppedError:
            # A listed digest that was computed is a match, whoever asked to stop.
            for root, told in apart.finish(list(mounts.values()), results):
                yield from self._told_apart(root, told)
            raise
        finally:
            # A forked child has none of the threads, and the lock of the queue may be held for ever.
            if os.getpid() == self.scanner._pid:
                for _ in apart.finish(list(mounts.values()), results):
                    pass

    def _hand_out(
        self, mounts: dict[bytes, Apart[_Examined]], results: Queue[tuple[apart.Root, object]]
    ) -> Generator[Outcome, None, None]:
        """Gives every path that was put off to the thread of its mount."""
        while self.apart:
            path, shown_as = self.apart.pop(0)
            point, path = self._point_of(path)
            scanner = self.scanner
            if point not in mounts:
                mounts[point] = Apart(
                    point, self.mounts, partial(scanner._examine_apart, self.known), _is_match, self._is_apart, results,
                    stop=scanner._stop, patience_seconds=scanner._patience_seconds, os_table=scanner._os,
                )  # fmt: skip
            try:
                mounts[point].add(apart.Root(path, shown_as))
            except (RuntimeError, MemoryError, OSError) as problem:
                yield self._problem(shown_as, f"open: no thread can be started for this mount: {problem}")

    def _point_of(self, path: bytes) -> tuple[bytes, bytes]:
        """The mount point that *path* leads to, and the path, as far as this is known without touching the mount."""
        try:
            real, _ = self.mounts.resolve(path)
        except OSError:
            real = path
        mount = self.mounts.of(real)
        return (mount.mount_point if mount is not None else b"/"), path

    def _told_apart(self, root: apart.Root, told: object) -> Generator[Outcome, None, None]:
        """What came from the thread of a mount."""

        def name(path: bytes | None) -> bytes:
            if path is None or root.real is None:
                return root.shown
            return _renamed(path, (root.real, root.shown))

        if isinstance(told, apart.Examined):
            yield from self._named(name(told.path), told.result)
        elif isinstance(told, apart.Left):
            yield self._count(Outcome(OutcomeKind.NOT_EXAMINED, name(told.path), told.reason), root=told.whole)
        elif isinstance(told, apart.Failed):
            yield self._problem(name(told.path), told.reason)
        elif isinstance(told, apart.Elsewhere):
            if (told.path, root.shown) in self.followed:
                yield self._problem(root.shown, f"open: ELOOP {os.strerror(errno.ELOOP)}")
                return
            self.followed.add((told.path, root.shown))
            self.apart.append((told.path, root.shown))
        elif isinstance(told, apart.Seen):
            self._seen(name(told.path))
        elif isinstance(told, _scan.WalkItem):
            yield from self._walked(told.event, told.detail, told.errno, told.path, name(told.path))
        elif isinstance(told, BaseException):
            raise told

    def _seen(self, path: bytes) -> None:
        self.scanner._event(f"visited:{path!r}", "already-visited", f"{shown(path)}: was entered by another way")

    # ---- the pipeline --------------------------------------------------------------------------------------------

    def _pump(self, feed: _scan.Feed, rename: tuple[bytes, bytes] | None) -> Generator[Outcome, None, None]:
        self.feed = feed
        pumps: list[_scan.Pump] = []
        try:
            for _ in range(self.scanner.jobs):
                pumps.append(self.scanner._new_pump(feed, self.tell_all, self.known))
            for events in self._run_one(pumps[0]) if len(pumps) == 1 else self._run_many(pumps):
                # All of them, even when a stop was asked for: a listed digest that was computed is a match.
                stopped = None
                for event in events:
                    try:
                        yield from self._event(event, _renamed(event.path, rename))
                    except StoppedError as problem:
                        stopped = problem
                if stopped is not None:
                    raise stopped
                yield from self._settle_waiting(rename, last=False)
            yield from self._settle_waiting(rename, last=True)
        finally:
            # A forked child has none of the threads that may be inside a pump.
            if os.getpid() == self.scanner._pid:
                for pump in pumps:
                    pump.close()

    def _take_counters(self, now: dict[str, int], before: dict[str, int]) -> None:
        """Adds what a pump has counted since it was asked last."""
        c = self.counters
        c.no_match += now["no_match"] - before.get("no_match", 0)
        c.known_good += now["known_good"] - before.get("known_good", 0)
        c.undecided += now["undecided"] - before.get("undecided", 0)
        c.bytes_read += now["bytes_read"] - before.get("bytes_read", 0)
        for name, gate in (("gated_empty", "empty"), ("gated_size", "known-sizes")):
            c.gates[gate] = c.gates.get(gate, 0) + now[name] - before.get(name, 0)

    def _run_one(self, pump: _scan.Pump) -> Iterator[list[_scan.PipeEvent]]:
        """Runs a pump in this thread, in stretches short enough for signals and progress."""
        counted: dict[str, int] = {}
        scarce_since: float | None = None
        while True:
            status, events = pump.run(_STRETCH_SECONDS)
            now = pump.counters()
            self._take_counters(now, counted)
            counted = now
            yield events
            if status == _scan.DONE:
                return
            self.scanner._check_stop()
            scarce_since = self._wait_for_descriptors(status, scarce_since)

    def _wait_for_descriptors(self, status: int, since: float | None) -> float | None:
        """Waits a moment when no descriptor was free. Nothing is dropped: the pipeline holds the file it could not
        open."""
        if status >= 0:
            return None
        now = time.monotonic()
        if since is not None and now - since > _DESCRIPTOR_PATIENCE_SECONDS:
            raise ScanError(
                f"no file descriptor became free in {_DESCRIPTOR_PATIENCE_SECONDS:.0f} s: {os.strerror(-status)}"
            )
        self.scanner._event("descriptors", "descriptors-scarce", "no file descriptor is free; waiting for one")
        time.sleep(0.01)
        return since if since is not None else now

    def _run_many(self, pumps: list[_scan.Pump]) -> Iterator[list[_scan.PipeEvent]]:
        """Runs each pump in a thread of its own; their events come here through a bounded queue."""
        queue: Queue[_Stretch] = Queue(2 * len(pumps))
        ended = threading.Event()

        def work(pump: _scan.Pump) -> None:
            scarce_since: float | None = None
            stretch = _Stretch(pump)
            while not (stretch.last or ended.is_set()):
                try:
                    status, events = pump.run(_STRETCH_SECONDS)
                    last = status in (_scan.DONE, _scan.STOPPED)
                    stretch = _Stretch(pump, events, pump.counters(), last)
                    if not last:
                        scarce_since = self._wait_for_descriptors(status, scarce_since)
                except BaseException as problem:
                    stretch = _Stretch(pump, problem=problem, last=True)
                while not ended.is_set():
                    try:
                        queue.put(stretch, timeout=0.1)
                        break
                    except Full:
                        continue

        threads: list[threading.Thread] = []
        running, counted = len(pumps), {id(pump): dict[str, int]() for pump in pumps}
        try:
            for pump in pumps:
                thread = threading.Thread(target=work, args=(pump,), name="hashsieve-reader", daemon=True)
                try:
                    thread.start()
                except RuntimeError as problem:
                    raise ScanError(
                        f"no thread can be started for {len(pumps)} jobs: {problem}; ask for fewer"
                    ) from None
                threads.append(thread)
            while running:
                self.scanner._check_process()
                try:
                    stretch = queue.get(timeout=0.1)
                except Empty:
                    continue
                if stretch.problem is not None:
                    raise stretch.problem
                self._take_counters(stretch.counters, counted[id(stretch.pump)])
                counted[id(stretch.pump)] = stretch.counters
                running -= stretch.last
                yield stretch.events
            self.scanner._check_stop()
        finally:
            ended.set()
            if os.getpid() == self.scanner._pid:
                for thread in threads:
                    thread.join()

    # ---- events --------------------------------------------------------------------------------------------------

    def _event(self, event: _scan.PipeEvent, path: bytes) -> Generator[Outcome, None, None]:
        kind = event.event
        if kind == _scan.WALK:
            yield from self._walked(event.walk_event, event.detail, event.errno_, event.path, path)
        elif kind == _scan.NO_MATCH:
            # Counted by the pipeline already; told because the caller wants every outcome.
            yield Outcome(OutcomeKind.NO_MATCH, path, size_bytes=event.before.size_bytes, digests=event.digests or {})
        elif kind in (_scan.HIT, _scan.MOVED):
            yield from self._decide(event, path)
        elif kind == _scan.LINKED:
            yield from self._linked(event, path, last=False)
        elif kind == _scan.PIPE_GONE:
            yield self._count(Outcome(OutcomeKind.GONE, path))
        elif kind == _scan.PIPE_SPECIAL and event.detail == "directory":
            yield from self._became_directory(event.path)
        elif kind == _scan.PIPE_SPECIAL:
            self._count_special(event.detail or "other")
        elif kind == _scan.PIPE_ERROR:
            examined = _Examined(OutcomeKind.ERROR, _errno_reason(event.detail, event.errno_), stat=event.before)
            if event.linked:
                self._remember(event, examined)
            yield from self._named(path, examined)
        else:
            examined = _Examined(OutcomeKind.NOT_EXAMINED, _REASONS[kind], stat=event.before)
            if event.linked:
                self._remember(event, examined)
            yield from self._named(path, examined)

    def _walked(
        self, what: int, detail: str | None, number: int, real: bytes, path: bytes
    ) -> Generator[Outcome, None, None]:
        """What a walk tells beside files."""
        if what == _scan.SPECIAL:
            self._count_special(detail or "other")
        elif what == _scan.GONE:
            yield self._count(Outcome(OutcomeKind.GONE, path))
        elif what == _scan.ERROR:
            yield self._problem(path, _errno_reason(detail, number))
        elif detail == _scan.ALREADY_VISITED:
            self.scanner._event(f"visited:{path!r}", "already-visited", f"{shown(path)}: was entered by another way")
        elif detail is not None and self._is_apart(detail):
            self.apart.append((real, path))
        else:
            yield self._count(Outcome(OutcomeKind.NOT_EXAMINED, path, detail))
            if detail is not None and detail.startswith(PSEUDO):
                yield from self._inside(real, path)

    def _inside(self, real: bytes, path: bytes) -> Generator[Outcome, None, None]:
        """Mounts that lie in a kernel interface, where no walk comes by: what they hold is examined all the same."""
        for point, reason in self.mounts.directly_inside(real):
            shown_as = _renamed(point, (real, path))
            if reason is None:
                self.later.append(point)
            elif reason.startswith(PSEUDO):
                yield from self._inside(point, shown_as)
            elif self._is_apart(reason):
                self.apart.append((point, shown_as))
            else:
                yield self._count(Outcome(OutcomeKind.NOT_EXAMINED, shown_as, reason))

    def _became_directory(self, path: bytes) -> Generator[Outcome, None, None]:
        """Listed as a file, and a directory by now: it is walked as one, once."""
        if path in self.put_off:
            yield self._count(Outcome(OutcomeKind.CHANGED, path, "a file and a directory by turns"))
        else:
            self.put_off.add(path)
            self.later.append(path)

    def _decide(self, event: _scan.PipeEvent, path: bytes) -> Generator[Outcome, None, None]:
        """A hit, or a file that moved: the read that the pipeline made counts as the first."""
        file = event.file
        assert file is not None
        read = ReadResult(event.digests, event.bytes_read, event.settled, event.after)
        first = FirstRead(event.before, read, self.known)
        examined = self.scanner._examine_opened(lambda: file, first)
        if event.linked:
            self._remember(event, examined)
        yield from self._named(path, examined)

    def _remember(self, event: _scan.PipeEvent, examined: _Examined) -> None:
        if len(self.by_identity) < _IDENTITY_LIMIT_COUNT:
            self.by_identity[_identity(event.before)] = examined

    def _linked(self, event: _scan.PipeEvent, path: bytes, last: bool) -> Generator[Outcome, None, None]:
        """Another name of a file: the result of the first name, once there is one."""
        known = self.by_identity.get(_identity(event.before))
        # Only while the file is what it was then: it may have been written between two of its names.
        if known is not None and known.stat is not None and known.stat.same_signature(event.before):
            yield from self._named(path, replace(known, bytes_read=0))
            return
        state = self.feed.link_state(event.before)
        if state > _scan.LINK_ASK:
            self.counters.known_good += state == _scan.LINK_KNOWN_GOOD
            self.counters.undecided += state == _scan.LINK_UNDECIDED
            yield from self._named(path, _Examined(OutcomeKind.NO_MATCH, stat=event.before))
        elif not last:
            # Still being read, or its event is on the way.
            self.waiting.setdefault(_identity(event.before), []).append(event)
        else:
            open_path = _scan.open_path
            examined = self.scanner._examine_opened(
                lambda: open_path(event.path, policy=self.scanner._policy, os=self.scanner._os)
            )
            yield from self._named(path, examined)

    def _settle_waiting(self, rename: tuple[bytes, bytes] | None, *, last: bool) -> Generator[Outcome, None, None]:
        waiting, self.waiting = self.waiting, {}
        for identity, events in waiting.items():
            # One of its names tells whether the others can be told: a file may have very many.
            if not last and identity not in self.by_identity and self._still_read(events[0]):
                self.waiting[identity] = events
                continue
            for event in events:
                yield from self._linked(event, _renamed(event.path, rename), last)

    def _still_read(self, event: _scan.PipeEvent) -> bool:
        return self.feed.link_state(event.before) in (_scan.LINK_READING, _scan.LINK_ASK)

    def _named(self, path: bytes, examined: _Examined) -> Generator[Outcome, None, None]:
        self.counters.bytes_read += examined.bytes_read
        if examined.gate is not None:
            self.counters.gates[examined.gate] = self.counters.gates.get(examined.gate, 0) + 1
        if examined.special is not None:
            self._count_special(examined.special)
            return
        ruling = examined.verdict.ruling if examined.verdict is not None else Ruling.NOTHING
        self.counters.known_good += ruling is Ruling.KNOWN_GOOD
        self.counters.undecided += ruling is Ruling.UNDECIDED
        self.counters.suppressed += ruling is Ruling.SUPPRESSED
        outcome = self._count(self.scanner._name(path, examined))
        if self.tell_all or outcome.kind is not OutcomeKind.NO_MATCH:
            yield outcome

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


def _is_match(examined: _Examined) -> bool:
    return examined.kind is OutcomeKind.MATCH


def _any_apart(table: MountTable) -> bool:
    """Is there a mount that may never answer?"""
    reasons = (table.reason_at(point) for point in table.by_point)
    return any(reason is not None and not reason.startswith(PSEUDO) for reason in reasons)


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


@dataclass(frozen=True, slots=True)
class _Stretch:
    """What one pump did since it was heard of last."""

    pump: _scan.Pump
    events: list[_scan.PipeEvent] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    last: bool = False
    problem: BaseException | None = None


def _sources(sets: KnownSet | Iterable[KnownSet]) -> tuple[KnownSet, ...]:
    sources = (sets,) if isinstance(sets, HashSet | FollowedSet) else tuple(sets)
    if not sources:
        raise UsageError("a scanner needs at least one hash set")
    return sources


def _currents(sources: Iterable[KnownSet]) -> tuple[HashSet, ...]:
    return tuple(source.current if isinstance(source, FollowedSet) else source for source in sources)


def _sole_ruling(each: HashSet) -> int:
    """What every hit in this set means, where all its listings mean the same and none can change what others mean."""
    roles = {role for role, count in each.role_counts.items() if count}
    if roles == {Role.KNOWN_GOOD}:
        return _scan.KNOWN_GOOD
    return _scan.UNDECIDED if roles == {Role.UNDECIDED} else _scan.ASK


def _identity(facts: FileStat) -> tuple[int, int]:
    return facts.dev, facts.ino


def _renamed(path: bytes, rename: tuple[bytes, bytes] | None) -> bytes:
    """*path* with the root as the caller wrote it, where that led over a link."""
    if rename is None:
        return path
    real, given = rename
    return given.rstrip(b"/") + path[len(real.rstrip(b"/")) :] if path != real else given


def _errno_reason(operation: str | None, number: int) -> str:
    return f"{operation}: {errno.errorcode.get(number, number)} {os.strerror(number)}"


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
