"""The journal: alerts that are on the disk, in order and tamper-evident, before anybody is told that they are.

One directory, one writer (held by a kernel lock), any number of readers that write nothing. Append-only JSON lines in
segments, a head file that names the last acknowledged record, space reserved in advance. Byte for byte:
docs/format/journal.md. :class:`Journal` writes, :class:`JournalReader` reads, :func:`verify` proves.

All methods may be called from any thread. After a fork only the parent may write.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from ..errors import JournalBusyError, JournalError, JournalFullError, Path, UsageError, shown
from ..model import HealthEvent
from ..platform.storage import FULL_ERRORS, FileLock, LockHeldError, SideSync, Storage
from .chain import Break, Chain, bad_break
from .environment import utc
from .lines import (
    HEAD_BYTES,
    KEY_OFFSET,
    MAX_LINE_BYTES,
    PAGE_BYTES,
    ZERO_CHAIN,
    Bad,
    Head,
    HeadFile,
    KeyState,
    Line,
    alert_id,
    encode_head,
    encode_key,
    encode_line,
    first_key,
    first_seq_of,
    next_key,
    read_head,
    read_segment,
    segment_name,
    segments_of,
)

__all__ = ["Journal", "JournalReader", "Report", "Segment", "Stored", "parse_anchor", "verify"]

HEAD = "head"
LOCK = "lock"
QUARANTINE = "quarantine"
QUARANTINE_BYTES = 1 << 20
# How far numbering jumps where nothing says any more how far it had come.
_JUMP = 100_000
_SYSTEM_BYTES = 16 << 10  # the last of the reserve is for records of the journal about itself
_MAX_BREAKS = 200  # in one record

Event = Callable[[HealthEvent], None]


@dataclass(frozen=True, slots=True)
class Stored:
    """A record that is on the disk."""

    seq: int
    id: str
    chain: str


@dataclass(slots=True)
class Segment:
    """What the writer knows of a segment. ``end`` is the end of its last line, ``allocated`` the length of the file."""

    name: str
    first_seq: int
    last_seq: int = 0
    last_chain: str = ""
    end: int = 0
    allocated: int = 0


class Journal:
    """The one writer of a journal directory; creates it where there is none.

    *key* is the secret handed over by whoever will verify (any length from 16 bytes): the key of the first record is
    derived from it, steps forward with every record, and only the key of the next record is kept. *on_line* sees every
    intact line at opening, in order. Damage that no earlier start has reported is set aside, recorded and told to
    *on_event*; it never stops the start. *floor_seq* is a number that others are known to have seen.
    """

    def __init__(
        self,
        directory: Path,
        *,
        key: bytes | None = None,
        cap_bytes: int = 256 << 20,
        segment_bytes: int = 4 << 20,
        reserve_bytes: int = 256 << 10,
        storage: Storage | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
        on_event: Event | None = None,
        on_line: Callable[[Line], None] | None = None,
        floor_seq: int = 0,
    ) -> None:
        if key is not None and len(key) < 16:
            raise UsageError(f"a journal key has at least 16 bytes, not {len(key)}")
        if cap_bytes < 1 << 18:
            raise UsageError(f"the cap of a journal is at least 256 KiB, not {cap_bytes} bytes")
        self.directory = os.fsdecode(directory)
        self.cap_bytes = cap_bytes
        self.segment_bytes = max(16 << 10, min(segment_bytes, cap_bytes // 8))
        self.reserve_bytes = max(2 * _SYSTEM_BYTES, min(reserve_bytes, self.segment_bytes // 2))
        self.segments: list[Segment] = []
        self.journal = ""
        self.seq = 0
        self.chain = ZERO_CHAIN
        self.tight = False
        self.breaks: tuple[Break, ...] = ()
        self._key: KeyState | None = None
        self._storage = storage or Storage()
        self._side = SideSync(self._storage)
        self._wall_ns = wall_ns
        self._on_event = on_event
        self._mutex = threading.RLock()
        self._pid = os.getpid()
        self._fd = -1
        self._head_fd = -1
        self._head_turn = 0
        self._head_good = True
        self._active: Segment | None = None
        self._lock: FileLock | None = None
        self._told: set[str] = set()
        with self._problems("cannot be opened"):
            self._claim()
        try:
            with self._problems("cannot be opened"):
                self._recover(key, on_line, floor_seq)
        except BaseException:
            self.close()
            raise

    # Opening

    @contextlib.contextmanager
    def _problems(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            text = f"{shown(self.directory)}: the journal {what}: {problem.strerror or problem}"
            if problem.errno in FULL_ERRORS:
                raise JournalFullError(f"{text}; free space or choose another place") from problem
            raise JournalError(text) from problem

    def _claim(self) -> None:
        """Nothing is touched before the lock is held, but the directory and the lock file themselves."""
        with contextlib.suppress(FileExistsError):
            os.makedirs(self.directory, mode=0o700)
        facts = os.stat(self.directory)
        if not stat.S_ISDIR(facts.st_mode):
            raise JournalError(f"{shown(self.directory)}: is not a directory; name the journal's directory")
        if os.name == "posix":
            if facts.st_mode & 0o077:
                raise JournalError(
                    f"{shown(self.directory)}: others than its owner may enter the journal's directory; "
                    f"it must have mode 0700 (chmod 700)"
                )
            if facts.st_uid != os.geteuid():
                raise JournalError(
                    f"{shown(self.directory)}: belongs to user {facts.st_uid}; the journal's directory must belong to "
                    f"the user who writes it ({os.geteuid()})"
                )
        try:
            self._lock = self._storage.lock(self._path(LOCK))
        except LockHeldError:
            raise JournalBusyError(
                f"{shown(self.directory)}: another process writes this journal; end it first, or read only"
            ) from None

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def _recover(self, secret: bytes | None, on_line: Callable[[Line], None] | None, floor_seq: int) -> None:
        stored = _load_head(self._storage, self.directory)
        head, head_wrong = stored.head, stored.wrong
        self._head_turn = stored.older
        chain = Chain()
        names = segments_of(self.directory)
        unreadable = self._read_all(chain, names, on_line)
        chain.finish(head, stored.key)
        last = chain.last
        new = head is None and last is None and not names
        if head is not None:
            self.journal = head.journal
        elif last is not None:
            self.journal = str(last.record.get("id", ""))[:24]
        if not self.journal or not all(c in "0123456789abcdef" for c in self.journal) or len(self.journal) != 24:
            self.journal = f"{self._wall_ns() // 1_000_000 & (1 << 48) - 1:012x}{secrets.token_hex(6)}"
        breaks = [each for each in chain.breaks if each.name not in chain.recorded] + unreadable
        if not new:
            breaks += [Break("head", text) for text in head_wrong]
        if last is not None:
            self.seq, self.chain = last.seq, last.mac
        if head is not None and head.seq >= self.seq:
            self.seq, self.chain = head.seq, head.chain
        # The name of a segment that lost its content, and a key, still say how far numbering had come.
        named = [seq for seq in map(first_seq_of, names) if seq <= self.seq + _JUMP]
        known_seq = max(floor_seq, *named, 0 if stored.key is None else stored.key.seq - 1)
        # A head that names records which are not there may itself be an old one.
        unproved = not new and (head is None or head.seq > (0 if last is None else last.seq))
        jump_to = max(known_seq, self.seq + _JUMP) if unproved else known_seq
        if jump_to > self.seq:
            text = f"nothing proves which records after {self.seq} there were; numbering goes on at {jump_to + 1}"
            breaks.append(Break("missing", text, seq=(last.seq if last is not None else 0) + 1, last_seq=jump_to))
            self.seq = jump_to
        if breaks and chain.torn is not None:
            # Beside other damage nobody can say that it is only a torn tail; it stays where it is, on the record.
            breaks.append(bad_break(chain.torn))
        self._start_key(secret, stored.key, keyed=(head is not None and head.keyed) or chain.keyed)
        self.breaks = tuple(chain.breaks)
        clean = head is not None and not head_wrong and head.seq == self.seq
        self._open_head(rewrite=not clean)
        self._resume(chain, bool(breaks))
        was_keyed = chain.keyed
        try:
            if self._active is None or (self._key is not None) != was_keyed:
                self._new_segment()
            self._top_up()
        except OSError as problem:
            if problem.errno not in FULL_ERRORS or new:
                raise
            # No space now; every append tries again.
            self._tell("journal-tight", f"{shown(self.directory)}: {problem.strerror or problem}", reserve_bytes=0)
        if was_keyed and self._key is None and self._active is not None and self._active.last_seq == self.seq:
            breaks.append(Break("key-lost", "the journal goes on without its key", seq=self._active.first_seq))
        if breaks:
            self._report(breaks)

    def _read_all(self, chain: Chain, names: Sequence[str], on_line: Callable[[Line], None] | None) -> list[Break]:
        unreadable = []
        for name in names:
            segment = Segment(name, first_seq_of(name))
            self.segments.append(segment)
            try:
                for line in chain.segment(name, read_segment(self._storage, self.directory, name)):
                    segment.last_seq, segment.last_chain = line.seq, line.mac
                    segment.end = line.offset + len(line.raw) + 1
                    if on_line is not None:
                        on_line(line)
                segment.allocated = os.stat(self._path(name)).st_size
            except OSError as problem:
                unreadable.append(Break("unreadable", f"cannot be read: {problem.strerror or problem}", name))
        return unreadable

    def _start_key(self, secret: bytes | None, state: KeyState | None, *, keyed: bool) -> None:
        """Brings the key to the next record. Losing it does not stop the journal; it goes on without, and says so."""
        following = self.seq + 1
        if secret is not None:
            derived, at = first_key(secret, self.journal), 1
            wrong = state is not None
            while at < following:
                if state is not None and state.seq == at:
                    wrong = state.key != derived
                derived, at = next_key(derived), at + 1
            if state is not None and state.seq == at:
                wrong = state.key != derived
            if keyed and state is not None and state.seq <= following and wrong:
                raise JournalError(
                    f"{shown(self.directory)}: the journal was made with another key; give that one, or none"
                )
            self._key = KeyState(following, derived)
        elif keyed and state is not None and state.seq <= following:
            key, at = state.key, state.seq
            while at < following:
                key, at = next_key(key), at + 1
            self._key = KeyState(following, key)
        elif keyed:
            self._tell(
                "journal-key-lost",
                f"{shown(self.directory)}: the stored key of the journal is damaged or missing; records from "
                f"{following} on carry no key",
            )

    def _open_head(self, *, rewrite: bool) -> None:
        path = self._path(HEAD)
        try:
            self._head_fd = self._storage.open(path, write=True)
        except FileNotFoundError:
            self._replace_head()
            return
        if os.fstat(self._head_fd).st_size != HEAD_BYTES:
            self._replace_head()
        elif rewrite:
            self._write_head()

    def _head_page(self, pending: Stored | None = None) -> bytes:
        key = None if self._key is None else self._key.key
        if pending is None:
            return encode_head(self.journal, self.seq, self.chain, key)
        return encode_head(self.journal, self.seq, self.chain, key, pending.seq, pending.chain)

    def _replace_head(self) -> None:
        if self._head_fd >= 0:
            os.close(self._head_fd)
            self._head_fd = -1
        page, key = self._head_page(), encode_key(self._key)
        self._storage.replace(self._path(HEAD), page + page + key + key)
        self._head_fd = self._storage.open(self._path(HEAD), write=True)

    def _put_head(self, page: bytes) -> None:
        """Over the older of both copies."""
        self._storage.write(self._head_fd, page, PAGE_BYTES * self._head_turn)
        self._head_turn ^= 1

    def _put_key(self) -> None:
        """The key of the next record takes the place of the one before, in both copies."""
        key = encode_key(self._key)
        self._storage.write(self._head_fd, key + key, KEY_OFFSET)

    def _write_head(self) -> None:
        """All of the head file as it should be, durably."""
        if not os.fstat(self._head_fd).st_nlink:
            self._replace_head()
            return
        for _ in (1, 2):
            self._put_head(self._head_page())
            self._storage.sync(self._head_fd)
        self._put_key()
        self._storage.sync(self._head_fd)

    def _resume(self, chain: Chain, damaged: bool) -> None:
        """Goes on in the last segment where it ends cleanly; a torn tail, which nobody was told of, is cut off."""
        while self.segments:
            segment = self.segments[-1]
            path = self._path(segment.name)
            if segment.last_seq == 0 and not damaged:
                # Made, but its first line never came to be.
                self._storage.unlink(path)
                self._storage.sync_directory(self.directory)
                self.segments.pop()
                continue
            if damaged or segment.last_seq != self.seq:
                return
            self._fd = self._storage.open(path, write=True)
            if chain.torn is not None:
                self._storage.truncate(self._fd, segment.end)
                self._storage.sync(self._fd)
                segment.allocated = segment.end
            self._active = segment
            return

    # Writing

    @property
    def head(self) -> tuple[int, str]:
        """Number and chain value of the last acknowledged record: what an anchor is."""
        with self._mutex:
            return self.seq, self.chain

    @property
    def next_id(self) -> str:
        """The id that the next record will have."""
        return alert_id(self.journal, self.seq + 1)

    @property
    def used_bytes(self) -> int:
        """Bytes of records in all segments, padding not counted."""
        with self._mutex:
            return sum(segment.end for segment in self.segments)

    def append(self, *records: tuple[str, Mapping[str, Any]], system: bool = False) -> list[Stored]:
        """Makes records (type and fields) durable, together; when this returns they are.

        *system*: may use the last of the reserve. :class:`JournalFullError` where there is no room by the cap, on the
        disk or in the reserve; nothing was kept then, and a later call may succeed.
        """
        with self._mutex:
            self._check_usable()
            return self._append(records, system=system)

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise JournalError(f"{shown(self.directory)}: the journal was opened before a fork; open it again")
        if self._lock is None:
            raise JournalError(f"{shown(self.directory)}: the journal is closed")

    def _append(self, records: Sequence[tuple[str, Mapping[str, Any]]], *, system: bool) -> list[Stored]:
        if not records:
            return []
        for attempt in (1, 2, 3):
            with self._problems("cannot be written"):
                self._make_active()
                data, stored, key = self._encode(records)
                self._make_room(len(data), system=system)
                if self._put(data, stored[-1]):
                    break
                if attempt == 3:
                    raise JournalError(f"{shown(self.directory)}: somebody keeps removing the journal's segments")
        segment = self._active
        assert segment is not None
        segment.end += len(data)
        self._commit(stored[-1], key)
        return stored

    def _encode(self, records: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[bytes, list[Stored], KeyState | None]:
        seq, chain, key = self.seq, self.chain, self._key
        first = seq + 1
        parts, stored = [], []
        for type_, body in records:
            seq += 1
            id_ = alert_id(self.journal, seq)
            fields = {"id": id_, **body} if seq == first else {"id": id_, "group": first, **body}
            line, chain = encode_line(seq, type_, fields, chain, None if key is None else key.key)
            if len(line) > MAX_LINE_BYTES:
                raise JournalError(f"{shown(self.directory)}: a record of {len(line)} bytes is too long")
            parts.append(line)
            stored.append(Stored(seq, id_, chain))
            if key is not None:
                key = KeyState(seq + 1, next_key(key.key))
        return b"".join(parts), stored, key

    def _put(self, data: bytes, last: Stored) -> bool:
        """Writes behind the last line; False when the segment has lost its name meanwhile and a new one is needed.

        The head that announces the records is synced at the same time, beside them: one flush instead of two. It does
        not acknowledge them yet.
        """
        segment = self._active
        assert segment is not None
        beside = written = False
        self._head_good = False
        try:
            beside = self._announce(last)
            self._storage.write(self._fd, data, segment.end)
            written = True
            self._storage.sync(self._fd)
        except BaseException:
            # Nobody may take a part of it for a record, and the next one starts at the same place.
            with contextlib.suppress(OSError):
                self._storage.write(self._fd, b"\n" * min(len(data), segment.allocated - segment.end), segment.end)
            if written:
                # After a failed sync nothing can be said about this file's pages: it is left, and a new one begun.
                with contextlib.suppress(OSError):
                    self._storage.truncate(self._fd, segment.end)
                self._leave_active()
            raise
        finally:
            if beside:
                self._head_good = self._head_synced()
        if os.fstat(self._fd).st_nlink:
            return True
        self._leave_active()
        self.segments.remove(segment)
        self._tell("journal-segment-removed", f"{shown(self._path(segment.name))}: removed while it was written")
        return False

    def _announce(self, last: Stored) -> bool:
        try:
            if self._head_fd < 0 or not os.fstat(self._head_fd).st_nlink:
                return False
            self._put_head(self._head_page(last))
        except OSError:
            return False
        self._side.start(self._head_fd)
        return True

    def _head_synced(self) -> bool:
        try:
            self._side.wait()
        except OSError:
            return False
        return True

    def _commit(self, last: Stored, key: KeyState | None) -> None:
        """The records are on the disk. What acknowledges them needs no flush of its own: it goes out with the next one,
        and until then the announcement speaks for them."""
        segment = self._active
        assert segment is not None
        self.seq, self.chain, self._key = last.seq, last.chain, key
        segment.last_seq, segment.last_chain = last.seq, last.chain
        try:
            if not self._head_good:
                self._replace_head()
                self._head_good = True
                return
            self._put_head(self._head_page())
            if key is not None:
                self._put_key()
        except OSError as problem:
            # The records themselves are on the disk, and the next start takes the head from them.
            self._head_good = False
            self._tell("journal-head", f"{shown(self._path(HEAD))}: cannot be written: {problem.strerror or problem}")

    def _leave_active(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._active = None

    def _make_active(self) -> None:
        if self._active is None:
            self._new_segment()
        elif self._active.end >= self.segment_bytes:
            # On a full disk it just grows on in its reserve.
            with contextlib.suppress(OSError, JournalFullError):
                self._new_segment()

    def _make_room(self, size: int, *, system: bool) -> None:
        segment = self._active
        assert segment is not None
        used = sum(each.end for each in self.segments)
        # Records of the journal about itself may go a little over: they are how it gets below again.
        if used + size > self.cap_bytes + (self.segment_bytes // 2 if system else 0):
            raise JournalFullError(f"{shown(self.directory)}: the journal is full: {used} of {self.cap_bytes} bytes")
        kept_back = 0 if system else _SYSTEM_BYTES
        if segment.end + size + self.reserve_bytes > segment.allocated:
            self._top_up(size)
        if segment.end + size + kept_back > segment.allocated:
            raise JournalFullError(
                f"{shown(self.directory)}: no space is left on the disk, and the reserve is used up; free space"
            )

    def _top_up(self, size: int = 0) -> None:
        """Pads the active segment so that the reserve lies behind its end, and enough for many records more."""
        segment = self._active
        assert segment is not None
        need = segment.end + size + self.reserve_bytes
        if need <= segment.allocated:
            return
        ample = max(need, min(segment.allocated + (1 << 20), self.segment_bytes + self.reserve_bytes))
        for target in (ample, need):
            try:
                self._storage.write(self._fd, b"\n" * (target - segment.allocated), segment.allocated)
                self._storage.sync(self._fd)
            except OSError as problem:
                with contextlib.suppress(OSError):
                    self._storage.truncate(self._fd, segment.allocated)
                reason = problem.strerror or str(problem)
                continue
            segment.allocated = target
            if self.tight:
                self.tight = False
                self._told.discard("journal-tight")
                self._tell("journal-space", f"{shown(self.directory)}: there is space again", again=True)
            return
        self.tight = True
        self._tell(
            "journal-tight",
            f"{shown(self.directory)}: the journal writes into its reserve: {reason}",
            reserve_bytes=max(0, segment.allocated - segment.end),
        )

    def _new_segment(self) -> None:
        """Begins a segment: its first line says what the file is and whose; it is durable before it is used."""
        body = {
            "id": alert_id(self.journal, self.seq + 1), "format": 1, "journal": self.journal,
            "keyed": self._key is not None, "time": utc(self._wall_ns()),
        }  # fmt: skip
        key = self._key
        data, mac = encode_line(self.seq + 1, "segment", body, self.chain, None if key is None else key.key)
        name = segment_name(self.seq + 1)
        path = self._path(name)
        try:
            fd = self._storage.open(path, write=True, create=True)
        except FileExistsError:
            # Left by a writer that ended before it was told; nothing in it was acknowledged, or it would be counted.
            self._storage.unlink(path)
            fd = self._storage.open(path, write=True, create=True)
        size = len(data) + self.reserve_bytes + _SYSTEM_BYTES
        try:
            self._storage.write(fd, data + b"\n" * (size - len(data)), 0)
            self._storage.sync(fd)
            self._storage.sync_directory(self.directory)
        except BaseException:
            os.close(fd)
            with contextlib.suppress(OSError):
                self._storage.unlink(path)
            raise
        old, old_fd = self._active, self._fd
        self._fd = fd
        self._active = Segment(name, self.seq + 1, end=len(data), allocated=size)
        self.segments.append(self._active)
        self._head_good = True
        self._commit(
            Stored(self.seq + 1, str(body["id"]), mac),
            None if key is None else KeyState(self.seq + 2, next_key(key.key)),
        )
        if old is not None:
            # Its padding is given back; whether that is on the disk does not matter.
            with contextlib.suppress(OSError):
                self._storage.truncate(old_fd, old.end)
                old.allocated = old.end
            os.close(old_fd)

    # What the journal says about itself

    def _tell(self, kind: str, text: str, *, again: bool = False, **counts: int) -> None:
        if kind in self._told and not again:
            return
        self._told.add(kind)
        if self._on_event is not None:
            self._on_event(HealthEvent(kind, text, counts))

    def _report(self, breaks: Sequence[Break]) -> None:
        """Sets damaged bytes aside, records every break once, and tells of it."""
        for each in breaks:
            if each.what == "bytes":
                self._set_aside(each)
        listed = [each.to_json() for each in breaks[: 20 * _MAX_BREAKS]]
        for start in range(0, len(listed), _MAX_BREAKS):
            body = {
                "time": utc(self._wall_ns()), "breaks": listed[start : start + _MAX_BREAKS], "count": len(breaks),
            }  # fmt: skip
            try:
                self._append([("damage", body)], system=True)
            except JournalError as problem:
                self._tell("journal-damage-unrecorded", str(problem))
                break
        kinds = {each.what for each in breaks}
        where = "; ".join(f"{each.segment or 'journal'}: {each.text}" for each in breaks[:5])
        more = f"; and {len(breaks) - 5} more" if len(breaks) > 5 else ""
        self._tell(
            "state-rebuilt" if kinds == {"head"} else "journal-damage",
            f"{shown(self.directory)}: {where}{more}; everything intact is kept",
            again=True,
            breaks=len(breaks),
        )

    def _set_aside(self, bad: Break) -> None:
        """A copy of damaged bytes, for whoever looks into it; the segment itself is not touched."""
        assert bad.segment is not None
        assert bad.offset is not None
        assert bad.length_bytes is not None
        folder = self._path(QUARANTINE)
        with contextlib.suppress(OSError):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            used = sum(entry.stat(follow_symlinks=False).st_size for entry in os.scandir(folder))
            size = min(bad.length_bytes, QUARANTINE_BYTES - used)
            if size <= 0:
                return
            source = self._storage.open(self._path(bad.segment))
            try:
                data = self._storage.read(source, size, bad.offset)
            finally:
                os.close(source)
            target = self._storage.open(os.path.join(folder, f"{bad.segment}-{bad.offset}"), write=True, create=True)
            try:
                self._storage.write(target, data, 0)
            finally:
                os.close(target)

    def retire(
        self,
        count: int,
        kind: str,
        facts: Mapping[str, Any],
        instead: Sequence[tuple[str, Mapping[str, Any]]] = (),
    ) -> Stored:
        """Takes the *count* oldest segments away, after a record of type *kind* that says so is durable.

        The record carries the number and chain value of the last record taken away, so that the chain of what is left
        still has a beginning that can be proved. *instead*: records that take their place, made durable together with
        it.
        """
        with self._mutex:
            self._check_usable()
            old = self.segments[:count]
            if not old or self._active in old:
                raise UsageError("only closed segments can be taken away")
            last = next((each for each in reversed(old) if each.last_seq), old[-1])
            body = {
                "time": utc(self._wall_ns()), "first_seq": old[0].first_seq, "last_seq": last.last_seq,
                "last_chain": last.last_chain, **facts,
            }  # fmt: skip
            stored = self._append([*instead, (kind, body)], system=True)[-1]
            for segment in old:
                with contextlib.suppress(FileNotFoundError), self._problems("cannot be purged"):
                    self._storage.unlink(self._path(segment.name))
                self.segments.remove(segment)
            with self._problems("cannot be purged"):
                self._storage.sync_directory(self.directory)
            return stored

    def rotate(self) -> None:
        """Closes the active segment, so that it can be retired."""
        with self._mutex, self._problems("cannot be written"):
            self._check_usable()
            self._new_segment()

    def lines(self, segment: Segment) -> Iterator[Line]:
        """The intact lines of one segment, as they stand."""
        for piece in read_segment(self._storage, self.directory, segment.name):
            if isinstance(piece, Line):
                yield piece

    def close(self) -> None:
        """Gives the journal back; further calls do nothing."""
        with self._mutex:
            self._leave_active()
            self._side.close()
            if self._head_fd >= 0:
                with contextlib.suppress(OSError):
                    self._storage.sync(self._head_fd)
                os.close(self._head_fd)
                self._head_fd = -1
            self._key = None
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _load_head(storage: Storage, directory: str) -> HeadFile:
    try:
        fd = storage.open(os.path.join(directory, HEAD))
    except OSError as problem:
        return HeadFile(None, None, (f"the head file cannot be opened: {problem.strerror or problem}",))
    try:
        return read_head(storage.read(fd, HEAD_BYTES + 1, 0))
    except OSError as problem:
        return HeadFile(None, None, (f"the head file cannot be read: {problem.strerror or problem}",))
    finally:
        os.close(fd)


def _peek_head(storage: Storage, directory: str) -> HeadFile:
    """The head while somebody may be writing it: what looks damaged is looked at again before it is believed."""
    found = _load_head(storage, directory)
    for _ in range(3):
        if not found.wrong:
            break
        time.sleep(0.005)
        found = _load_head(storage, directory)
    return found


class JournalReader:
    """Reads a journal while somebody may be writing it. Takes no lock and writes nothing."""

    def __init__(self, directory: Path, *, storage: Storage | None = None) -> None:
        self.directory = os.fsdecode(directory)
        self._storage = storage or Storage()
        self.damaged = 0

    def head(self) -> Head | None:
        """The last acknowledged record as the head file has it."""
        return _peek_head(self._storage, self.directory).head

    def segments(self) -> list[str]:
        """Names of the segments, oldest first."""
        try:
            return segments_of(self.directory)
        except OSError as problem:
            raise JournalError(
                f"{shown(self.directory)}: the journal cannot be read: {problem.strerror or problem}"
            ) from problem

    def lines(self, after: int = 0) -> Iterator[Line]:
        """Every intact line with a number above *after*, each number once; ``damaged`` counts what was passed over.

        What is not acknowledged yet may be among them: it is durable, or it will be given again.
        """
        head = self.head()
        names = self.segments()
        self.damaged = 0
        seen: set[int] = set()
        highest = 0
        tail = False
        for place, name in enumerate(names):
            following = first_seq_of(names[place + 1]) if place + 1 < len(names) else None
            if following is not None and following <= after + 1:
                continue
            try:
                for piece in read_segment(self._storage, self.directory, name):
                    self.damaged += tail
                    tail = isinstance(piece, Bad)
                    if isinstance(piece, Bad):
                        continue
                    highest = max(highest, piece.seq)
                    if piece.seq > after and piece.seq not in seen:
                        seen.add(piece.seq)
                        yield piece
            except FileNotFoundError:
                continue  # purged a moment ago, or missing, which verify tells
            except OSError:
                self.damaged += 1
        # At the very end it may be a line that is being written now, unless it was acknowledged before we came.
        self.damaged += tail and (head is None or head.seq > highest)


@dataclass(frozen=True, slots=True)
class Report:
    """What :func:`verify` found. ``intact`` is True when nothing is broken."""

    journal: str | None
    records: int
    seq: int
    chain: str
    breaks: tuple[Break, ...] = ()
    recorded: frozenset[str] = field(default_factory=frozenset)
    torn_bytes: int = 0
    unproved: int = 0
    head: Head | None = None

    @property
    def intact(self) -> bool:
        """Nothing is missing, moved, changed or unreadable."""
        return not self.breaks

    def to_json(self) -> dict[str, Any]:
        """One object for the command line."""
        return {
            "event": "verified", "intact": self.intact, "journal": self.journal, "records": self.records,
            "seq": self.seq, "chain": self.chain, "torn_bytes": self.torn_bytes, "unproved": self.unproved,
            "breaks": [each.to_json() | {"recorded": each.name in self.recorded} for each in self.breaks],
        }  # fmt: skip


def parse_anchor(text: str) -> tuple[int, str]:
    """``SEQ:CHAIN`` as a receiver keeps it."""
    seq, _, chain = text.partition(":")
    if not seq.isdecimal() or len(chain) != 64 or set(chain) - set("0123456789abcdef"):
        raise UsageError("an anchor is SEQ:CHAIN, a number and 64 hex digits, as delivered with every alert")
    return int(seq), chain


def verify(
    directory: Path,
    *,
    key: bytes | None = None,
    anchor: tuple[int, str] | None = None,
    storage: Storage | None = None,
) -> Report:
    """Proves the chain from its first record to the head, or says exactly where it does not hold. Writes nothing.

    With *key*, the secret the journal was made with, every mac is proved; without it a keyed journal is only held
    together by its own chain, and ``unproved`` counts the records. *anchor* is what a receiver was told once: number
    and chain value of a record that must be there, or must have been purged on the record.
    """
    use = storage or Storage()
    report = _verify(directory, key, anchor, use)
    for _ in range(4):
        # Somebody may have purged while it was read: what is broken then is looked at again.
        if report.intact or _peek_head(use, os.fsdecode(directory)).head == report.head:
            break
        report = _verify(directory, key, anchor, use)
    return report


def _verify(directory: Path, key: bytes | None, anchor: tuple[int, str] | None, use: Storage) -> Report:
    reader = JournalReader(directory, storage=use)
    # The head first: what is written meanwhile is then more than the head says, never less.
    stored = _peek_head(use, reader.directory)
    head = stored.head
    names = reader.segments()
    if head is None and not names:
        raise JournalError(f"{shown(reader.directory)}: there is no journal here")
    chain = Chain()
    journal = head.journal if head is not None else None
    if key is not None:
        journal = journal or _identity_of(use, reader.directory, names)
        chain.key = first_key(key, journal) if journal else None
    anchored: str | None = None
    for name in names:
        try:
            for line in chain.segment(name, read_segment(use, reader.directory, name)):
                if anchor is not None and line.seq == anchor[0]:
                    anchored = line.mac
        except OSError as problem:
            chain.breaks.append(Break("unreadable", f"cannot be read: {problem.strerror or problem}", name))
    chain.finish(head, stored.key, _peek_head(use, reader.directory).head)
    chain.breaks.extend(Break("head", text) for text in stored.wrong)
    if key is not None and not chain.keyed:
        chain.breaks.append(Break("key-lost", "a key was given, but the journal's last records were made without one"))
    if anchor is not None:
        chain.breaks.extend(_hold_against(anchor, anchored, chain))
    last = chain.last
    return Report(
        journal or chain.journal, chain.count, last.seq if last else 0, last.mac if last else ZERO_CHAIN,
        tuple(chain.breaks), frozenset(chain.recorded), chain.torn.length_bytes if chain.torn else 0,
        chain.unproved_count, head,
    )  # fmt: skip


def _identity_of(storage: Storage, directory: str, names: Sequence[str]) -> str | None:
    for name in names:
        with contextlib.suppress(OSError):
            for piece in read_segment(storage, directory, name):
                if isinstance(piece, Line):
                    return str(piece.record.get("id", ""))[:24] or None
    return None


def _hold_against(anchor: tuple[int, str], found: str | None, chain: Chain) -> list[Break]:
    seq, value = anchor
    if found == value or chain.retired.get(seq) == value:
        return []
    last_seq = chain.last.seq if chain.last is not None else 0
    if found is not None:
        return [Break("anchor", f"record {seq} is not the one that was delivered: the journal was rewritten", seq=seq)]
    if seq > last_seq:
        text = f"record {seq} was delivered, but the journal ends at {last_seq}: it was set back"
        return [Break("anchor", text, seq=seq)]
    if any(last >= seq for last in chain.retired):
        return []  # purged on the record; what follows is held by the chain
    return [Break("anchor", f"record {seq} was delivered and is missing", seq=seq)]
