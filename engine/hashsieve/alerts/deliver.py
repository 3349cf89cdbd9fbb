"""Delivery: every record to every sink, at least once, under a stable id, however bad the way there is.

A :class:`Worker` drives one sink. It decides by a monotonic clock and keeps its place in a cursor that is durable
before the next batch goes out. Workers know nothing of each other, and :class:`Deliverer` gives each a thread of its
own, so that a silent sink delays nobody. Reading takes no lock of the journal: an agent may go on writing meanwhile.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from ..errors import JournalBusyError, JournalError, Path, shown
from ..model import HealthEvent
from ..platform.storage import FileLock, LockHeldError, Storage
from . import cursor as cursors
from .cursor import Cursor, Parked
from .environment import Environment, utc
from .journal import HEAD, Event, JournalReader
from .lines import Line
from .merge import DELIVERED_TYPES
from .record import without_context
from .sinks import Answer, Delivery, Sink, Verdict

__all__ = ["Backoff", "Deliverer", "Progress", "Worker", "delivery_of"]

_SECOND_NS = 1_000_000_000
_MAX_PENDING = 1000  # held in memory at a time
_REFUSALS = 3  # of one record alone, before it is parked
_FAILURES = 8  # of one record alone while the sink takes others
_PAUSE_SECONDS = 0.1
_STOPPED_SECONDS = 3600.0
_MAX_HINT_SECONDS = 86_400.0

_SUBJECT_TYPES = frozenset(("alert", "update", "fold"))


@dataclass(slots=True)
class Backoff:
    """How long to wait after a failure: full jitter up to a ceiling that doubles.

    At its last step four fifths of the ceiling are fixed: with full jitter there too, of a large number of agents twice
    as many would come in the first seconds after a server is back as on average.
    """

    base_seconds: float = 2.0
    ceiling_seconds: float = 360.0
    failures: int = 0

    def next_seconds(self, chance: float) -> float:
        """The next wait; *chance* from 0 up to 1 decides within its range. Never nothing."""
        ceiling = min(self.ceiling_seconds, self.base_seconds * 2.0 ** min(self.failures, 40))
        self.failures += 1
        if ceiling >= self.ceiling_seconds:
            return ceiling * (0.8 + 0.2 * chance)
        return max(0.1, ceiling * chance)


@dataclass(slots=True)
class Progress:
    """What a worker has done since it was made."""

    delivered: int = 0
    parked: int = 0
    withdrawn: int = 0
    failures: int = 0
    waiting: int = 0
    stopped: str | None = None
    last_reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """For the command line."""
        return {
            "delivered": self.delivered, "parked": self.parked, "withdrawn": self.withdrawn, "waiting": self.waiting,
            "failures": self.failures, "stopped": self.stopped, "reason": self.last_reason,
        }  # fmt: skip


def delivery_of(line: Line) -> Delivery:
    """The record as receivers see it: its type and number, and the chain value that anchors everything before it."""
    record = line.record
    record.pop("group", None)
    record["chain"] = {"seq": line.seq, "value": line.mac, "previous": line.prev}
    return Delivery(str(record["id"]), line.seq, line.type, record)


@dataclass(slots=True)
class _Pending:
    line: Line
    refusals: int = 0
    failures: int = 0
    not_before_ns: int = 0
    small: bool = False
    passed_before: int = 0


@dataclass(slots=True)
class Worker:
    """Brings the records of one journal to one sink; :meth:`step` does what is due and says when to come again."""

    directory: str
    sink: Sink
    environment: Environment
    storage: Storage = field(default_factory=Storage)
    on_event: Event | None = None
    backoff: Backoff = field(default_factory=Backoff)
    per_second: float = 50.0
    spread_seconds: float = 0.0
    progress: Progress = field(default_factory=Progress)
    cursor: Cursor = field(init=False)
    due_ns: int = field(init=False, default=0)
    _pending: dict[int, _Pending] = field(init=False, default_factory=dict)
    _stamp: tuple[int, int] | None = field(init=False, default=None)
    _saved: str = field(init=False, default="")
    _order: list[int] = field(init=False, default_factory=list)
    _failing: set[int] = field(init=False, default_factory=set)
    _solo_until_success: bool = field(init=False, default=False)
    _successes: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.cursor = cursors.load(self.directory, self.sink.name, storage=self.storage)
        if self.cursor.damaged:
            self._tell(
                "state-rebuilt",
                f"{shown(self.directory)}: the place of sink {self.sink.name} was damaged; what is not known to be "
                f"delivered is delivered again under the same ids",
            )
        now_ns = self.environment.monotonic_ns()
        # Of many agents that start with a backlog at the same moment each picks a moment of its own.
        self.due_ns = now_ns + int(self.spread_seconds * self.environment.random() * _SECOND_NS)

    # What is to be sent

    def refill(self) -> None:
        """Reads what the journal has beyond the cursor; withdrawn alerts that were not sent are passed over."""
        reader = JournalReader(self.directory, storage=self.storage)
        head = reader.head()
        self._same_journal(head.journal if head is not None else None)
        withdrawn: dict[str, int] = {}
        order: list[int] = []
        fresh: list[Line] = []
        waiting = 0
        for line in reader.lines(self.cursor.upto):
            order.append(line.seq)
            if line.type == "withdraw":
                withdrawn[str(line.record.get("subject"))] = line.seq
            if line.type not in DELIVERED_TYPES:
                self.cursor.finish([line.seq])
            elif not self.cursor.finished(line.seq):
                waiting += 1
                if len(fresh) < _MAX_PENDING:
                    fresh.append(line)
        pending = {}
        for line in fresh:
            alert = bool(withdrawn) and line.type in _SUBJECT_TYPES
            if alert and withdrawn.get(str(line.record.get("subject")), 0) > line.seq:
                self.cursor.finish([line.seq])
                self.progress.withdrawn += 1
                waiting -= 1
                continue
            pending[line.seq] = self._pending.get(line.seq) or _Pending(line)
        self._pending = pending
        self._order = order
        self.progress.waiting = waiting
        self.cursor.advance(order)

    def _news(self) -> bool:
        """Has the head been written since the journal was read to its end? One stat, so that waiting costs nothing."""
        try:
            facts = os.stat(os.path.join(self.directory, HEAD))
            stamp = (facts.st_mtime_ns, facts.st_ino)
        except OSError:
            return True
        if self._stamp == stamp and self.progress.waiting <= len(self._pending):
            return False
        self._stamp = stamp
        return True

    def _same_journal(self, journal: str | None) -> None:
        if journal is None or self.cursor.journal == journal:
            return
        if self.cursor.journal:
            self._tell(
                "journal-replaced",
                f"{shown(self.directory)}: sink {self.sink.name} knew another journal here and starts anew",
            )
        self.cursor.upto, self.cursor.done, self.cursor.parked = 0, set(), {}
        self.cursor.journal = journal

    def _choose(self, now_ns: int) -> list[_Pending]:
        """The next batch: the oldest that are due. One that failed alone goes alone."""
        batch: list[_Pending] = []
        limit = 1 if self._solo_until_success else max(1, self.sink.batch_count)
        for each in self._pending.values():
            if each.not_before_ns > now_ns:
                continue
            if each.failures or each.refusals:
                if not batch:
                    return [each]
                continue
            batch.append(each)
            if len(batch) >= limit:
                break
        return batch

    # One step

    def step(self) -> int:
        """Sends one batch if something is due. The moment (monotonic, ns) at which to call again; never earlier."""
        now_ns = self.environment.monotonic_ns()
        if now_ns < self.due_ns:
            return self.due_ns
        if all(each.failures or each.refusals for each in self._pending.values()):
            # Nothing is left but what failed before, if anything: what has come since does not wait for it.
            if self._news():
                self.refill()
            if not self._pending:
                self._save()
                self.due_ns = now_ns
                return now_ns
        batch = self._choose(now_ns)
        if not batch:
            # Not the sink waits, but these: what comes meanwhile may go at once.
            return min(each.not_before_ns for each in self._pending.values())
        answer = self._send(batch)
        self._digest(batch, answer)
        return self.due_ns

    @property
    def idle(self) -> bool:
        """Nothing is left to send, as far as the journal was read."""
        return not self._pending and not self.progress.waiting

    def _send(self, batch: Sequence[_Pending]) -> Answer:
        deliveries = []
        for each in batch:
            delivery = delivery_of(each.line)
            if each.small:
                delivery = Delivery(delivery.id, delivery.seq, delivery.type, without_context(delivery.record))
            deliveries.append(delivery)
        try:
            return self.sink.send(deliveries)
        except Exception as problem:  # a sink of somebody else's making; one bad sink must not end the others
            return Answer(Verdict.RETRY, f"{type(problem).__name__}: {problem}")

    def _digest(self, batch: Sequence[_Pending], answer: Answer) -> None:
        by_id = {str(each.line.record["id"]): each for each in batch}
        accepted = [by_id[i] for i in answer.accepted if i in by_id]
        if answer.verdict is Verdict.DONE:
            accepted = list(batch)
        for each in accepted:
            self._finish(each)
        self.progress.delivered += len(accepted)
        self.cursor.delivered_count += len(accepted)
        for id_, reason in answer.rejected.items():
            if id_ in by_id and by_id[id_] not in accepted:
                self._refuse(by_id[id_], reason)
        refused = {by_id[i].line.seq for i in answer.rejected if i in by_id}
        left = [each for each in batch if each.line.seq in self._pending and each.line.seq not in refused]
        now_ns = self.environment.monotonic_ns()
        if accepted:
            self._succeeded()
        if not left:
            self.due_ns = now_ns + int(len(batch) / self.per_second * _SECOND_NS)
        else:
            self._failed(left, answer, now_ns)
        self._save()

    def _succeeded(self) -> None:
        if len(self._failing) > 1:
            # It was the sink or the way there, not the records that happened to be tried.
            for each in self._pending.values():
                each.failures = each.not_before_ns = 0
        self._failing.clear()
        self.backoff.failures = 0
        self._solo_until_success = False
        self._successes += 1
        if self.cursor.stopped is not None:
            self.cursor.stopped = self.progress.stopped = None
            self._tell("sink-works", f"sink {self.sink.name} takes alerts again")

    def _failed(self, left: Sequence[_Pending], answer: Answer, now_ns: int) -> None:
        self.progress.last_reason = answer.reason
        self.progress.failures += 1
        if answer.verdict is Verdict.RETRY:
            self._failing.update(each.line.seq for each in left)
            if len(left) == 1:
                self._maybe_poison(left[0], answer.reason, now_ns)
            if len(self._failing) == 1 and answer.retry_after_seconds is None:
                # So far it is this record alone: it waits, and others are tried.
                self.due_ns = now_ns + int(_PAUSE_SECONDS * _SECOND_NS)
                return
        wait = self.backoff.next_seconds(self.environment.random())
        if answer.verdict is Verdict.SMALLER:
            if len(left) > 1:
                self._solo_until_success = True
                self.backoff.failures = 0
            else:
                self._too_large(left[0], answer.reason)
        elif answer.verdict is Verdict.REFUSED:
            if len(left) > 1:
                # Which of them is not said: one by one then.
                self._solo_until_success = True
                self.backoff.failures = 0
            else:
                self._refuse(left[0], answer.reason, wait)
                wait = min(wait, 2.0)  # the others need not wait for it
                self.backoff.failures = 0
        elif answer.verdict is Verdict.STOP:
            wait = max(wait, _STOPPED_SECONDS * (0.5 + 0.5 * self.environment.random()))
            if self.cursor.stopped is None:
                self.cursor.stopped = self.progress.stopped = answer.reason
                self._tell("sink-stopped", f"sink {self.sink.name} stopped: {answer.reason}; see to it, then retry")
        elif self.backoff.failures >= 3:
            self._solo_until_success = True
        if answer.retry_after_seconds is not None:
            # Not all at the very second that was named.
            hint = min(max(0.0, answer.retry_after_seconds), _MAX_HINT_SECONDS)
            wait = max(wait, hint + self.environment.random() * min(60.0, 1.0 + 0.1 * hint))
        self.due_ns = now_ns + int(wait * _SECOND_NS)

    def _maybe_poison(self, each: _Pending, reason: str, now_ns: int) -> None:
        """A record that fails alone steps back behind the others; if those pass again and again, it is the record."""
        if not each.failures:
            each.passed_before = self._successes
        alone = Backoff(self.backoff.base_seconds, self.backoff.ceiling_seconds, each.failures)
        each.failures += 1
        each.not_before_ns = now_ns + int(alone.next_seconds(self.environment.random()) * _SECOND_NS)
        if each.failures >= _FAILURES and self._successes >= each.passed_before + 3:
            self._park(each, f"failed {each.failures} times while others passed: {reason}")

    def _too_large(self, each: _Pending, reason: str) -> None:
        if not each.small:
            each.small = True
        else:
            self._park(each, f"too large even without context: {reason}")

    def _refuse(self, each: _Pending, reason: str, wait: float = 0.0) -> None:
        each.refusals += 1
        each.not_before_ns = self.environment.monotonic_ns() + int(max(wait, 1.0) * _SECOND_NS)
        self.progress.last_reason = reason
        if each.refusals >= _REFUSALS:
            self._park(each, reason)

    def _park(self, each: _Pending, reason: str) -> None:
        id_ = str(each.line.record.get("id"))
        self.cursor.parked[each.line.seq] = Parked(id_, reason[:500], utc(self.environment.wall_ns()))
        self._finish(each)
        self.progress.parked += 1
        self._tell("alert-parked", f"sink {self.sink.name} does not take {id_}: {reason[:200]}", parked=1)

    def _finish(self, each: _Pending) -> None:
        self.cursor.finish([each.line.seq])
        self._pending.pop(each.line.seq, None)
        self.progress.waiting = max(0, self.progress.waiting - 1)

    def _save(self) -> None:
        self.cursor.advance(self._order)
        body = repr(self.cursor)
        if body == self._saved:
            return
        try:
            cursors.save(self.directory, self.cursor, storage=self.storage)
            self._saved = body
        except OSError as problem:
            # Delivered again after a restart then; better twice than not at all.
            self._tell("cursor", f"the place of sink {self.sink.name} cannot be stored: {problem.strerror or problem}")

    def _tell(self, kind: str, text: str, **counts: int) -> None:
        if self.on_event is not None:
            self.on_event(HealthEvent(kind, text, counts))


class Deliverer:
    """Drives all sinks of a journal, each in a thread of its own; one deliverer for a journal at a time.

    :meth:`run` delivers until nothing is left, or for some seconds; :meth:`start` goes on until :meth:`stop`, looking
    for news every *poll_seconds* and at each :meth:`wake`.
    """

    def __init__(
        self,
        directory: Path,
        sinks: Iterable[Sink],
        *,
        environment: Environment | None = None,
        storage: Storage | None = None,
        on_event: Event | None = None,
        spread_seconds: float = 0.0,
        poll_seconds: float = 30.0,
        make_backoff: Callable[[], Backoff] = Backoff,
        per_second: float = 50.0,
    ) -> None:
        self.directory = os.fsdecode(directory)
        self._environment = environment or Environment()
        self._poll_seconds = poll_seconds
        use = storage or Storage()
        folder = os.path.join(self.directory, cursors.FOLDER)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            self._lock: FileLock | None = use.lock(os.path.join(folder, "lock"))
        except LockHeldError:
            raise JournalBusyError(f"{shown(self.directory)}: another process delivers from this journal") from None
        except OSError as problem:
            raise JournalError(f"{shown(folder)}: cannot be used: {problem.strerror or problem}") from problem
        self._sinks = list(sinks)
        try:
            self.workers = [
                Worker(
                    self.directory, sink, self._environment, use, on_event, make_backoff(), per_second, spread_seconds
                )
                for sink in self._sinks
            ]
        except BaseException:
            self._lock.release()
            raise
        self._stop = threading.Event()
        self._wakes = [threading.Event() for _ in self.workers]
        self._threads: list[threading.Thread] = []

    def start(self, *, until_idle: bool = False) -> None:
        """Begins to deliver in the background."""
        for worker, wake in zip(self.workers, self._wakes, strict=True):
            thread = threading.Thread(
                target=self._drive, args=(worker, wake, until_idle), name=f"hashsieve-sink-{worker.sink.name}",
                daemon=True,
            )  # fmt: skip
            thread.start()
            self._threads.append(thread)

    def wake(self) -> None:
        """There is something new in the journal."""
        for each in self._wakes:
            each.set()

    def run(self, seconds: float | None = None) -> bool:
        """Delivers until nothing is left or *seconds* are over; True when nothing is left."""
        self.start(until_idle=True)
        end_ns = None if seconds is None else self._environment.monotonic_ns() + int(seconds * _SECOND_NS)
        for thread in self._threads:
            while thread.is_alive():
                if self._stop.is_set() or (end_ns is not None and self._environment.monotonic_ns() >= end_ns):
                    return False
                thread.join(0.05)
        return all(worker.idle and not worker.progress.waiting for worker in self.workers)

    def _drive(self, worker: Worker, wake: threading.Event, until_idle: bool) -> None:
        while not self._stop.is_set():
            try:
                due_ns = worker.step()
            except Exception as problem:  # nothing of this may end the delivery to others, or this one for good
                worker.progress.last_reason = f"{type(problem).__name__}: {problem}"
                worker._tell("delivery", f"sink {worker.sink.name}: {worker.progress.last_reason}")
                due_ns = self._environment.monotonic_ns() + 10 * _SECOND_NS
            if worker.idle:
                if until_idle:
                    return
                wake.wait(self._poll_seconds)
                wake.clear()
                continue
            wait = (due_ns - self._environment.monotonic_ns()) / _SECOND_NS
            if wait > 0:
                # Short waits again and again: the clock may have gone on while the machine slept.
                self._stop.wait(min(wait, 5.0))

    def ask_to_stop(self) -> None:
        """Nothing new is begun; does not wait, and may be called from a signal handler."""
        self._stop.set()
        self.wake()

    def stop(self) -> None:
        """Ends the threads; a sink that is in the middle of a call keeps its own limit of time."""
        self.ask_to_stop()
        for thread in self._threads:
            thread.join(2.0)
        self._threads.clear()

    def close(self) -> None:
        """Stops, and gives everything back."""
        self.stop()
        for sink in self._sinks:
            sink.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Deliverer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def retry(directory: Path, ids: Sequence[str] = (), *, storage: Storage | None = None) -> int:
    """Takes parked records (all, or those named) back among those to be delivered, and stopped sinks back to work."""
    use = storage or Storage()
    root = os.fsdecode(directory)
    count = 0
    try:
        lock = use.lock(os.path.join(root, cursors.FOLDER, "lock"))
    except FileNotFoundError:
        return 0
    except LockHeldError:
        raise JournalBusyError(f"{shown(root)}: another process delivers from this journal") from None
    try:
        for cursor in cursors.load_all(root, storage=use):
            chosen = [seq for seq, each in cursor.parked.items() if not ids or each.id in ids]
            for seq in chosen:
                del cursor.parked[seq]
                cursor.done.discard(seq)
            if chosen:
                # What lies between is known to be done with.
                lowest = min(chosen)
                if lowest <= cursor.upto:
                    cursor.done.update(seq for seq in range(lowest, cursor.upto + 1) if seq not in chosen)
                    cursor.upto = lowest - 1
            if chosen or cursor.stopped is not None:
                cursor.stopped = None
                cursors.save(root, cursor, storage=use)
            count += len(chosen)
    finally:
        lock.release()
    return count
