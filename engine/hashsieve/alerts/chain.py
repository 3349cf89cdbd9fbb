"""Holding the lines of a journal against each other: what is missing, moved, changed or unreadable, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .lines import ZERO_CHAIN, Bad, Head, KeyState, Line, first_seq_of, next_key

__all__ = ["Break", "Chain", "bad_break"]


@dataclass(frozen=True, slots=True)
class Break:
    """One place where the chain does not hold. ``seq`` .. ``last_seq`` are the records it is about, where known."""

    what: str
    text: str
    segment: str | None = None
    offset: int | None = None
    length_bytes: int | None = None
    seq: int | None = None
    last_seq: int | None = None

    @property
    def name(self) -> str:
        """The same for the same break at every start, so that it is reported once."""
        if self.what in ("missing", "key-lost"):  # the same wherever it is noticed
            return f"{self.what}:{self.seq}:{self.last_seq}"
        place = (self.segment, self.offset, self.length_bytes, self.seq, self.last_seq)
        return ":".join([self.what, *("" if part is None else str(part) for part in place)])

    def to_json(self) -> dict[str, Any]:
        """For the journal and the command line; fields that say nothing are left out."""
        pairs = {
            "what": self.what, "text": self.text, "segment": self.segment, "offset": self.offset,
            "length": self.length_bytes, "seq": self.seq, "last_seq": self.last_seq,
        }  # fmt: skip
        return {name: value for name, value in pairs.items() if value is not None}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Break:
        """What :meth:`to_json` wrote."""
        return cls(
            str(found.get("what")), str(found.get("text")), found.get("segment"), found.get("offset"),
            found.get("length"), found.get("seq"), found.get("last_seq"),
        )  # fmt: skip


def _behind(head: Head, last: Line) -> bool:
    """Does the head know less than a writer that was cut short would have left?"""
    return head.seq < last.seq and last.group != head.seq + 1


def bad_break(bad: Bad) -> Break:
    """A stretch of bytes as a break."""
    text = f"{bad.length_bytes} bytes that are no record: {bad.why}"
    return Break("bytes", text, bad.segment, bad.offset, bad.length_bytes)


@dataclass(slots=True)
class Chain:
    """Takes every piece of every segment in order and collects breaks.

    ``key`` is the key of record 1 where the secret is at hand; without it a keyed line can only be held against its
    neighbours.
    """

    key: bytes | None = None
    breaks: list[Break] = field(default_factory=list)
    torn: Bad | None = None
    last: Line | None = None
    count: int = 0
    unproved_count: int = 0
    keyed: bool = False
    journal: str | None = None
    recorded: set[str] = field(default_factory=set)
    retired: dict[int, str] = field(default_factory=dict)
    _lowest: Line | None = None
    _jumps: dict[int, Line] = field(default_factory=dict)
    _at: Line | None = None
    _key_seq: int = 1
    _tail: Bad | None = None
    _seen: set[int] = field(default_factory=set)

    def segment(self, name: str, pieces: Iterable[Line | Bad]) -> Iterator[Line]:
        """Follows one segment; gives its intact lines, each number once."""
        self._settle_tail()
        fresh = True
        for piece in pieces:
            self._settle_tail()
            if isinstance(piece, Bad):
                self._tail = piece
                continue
            if fresh and piece.offset == 0 and piece.seq != first_seq_of(name):
                self._break("order", f"the segment starts with record {piece.seq}, not as its name says", piece)
            fresh = False
            if self._take(piece):
                yield piece

    def _settle_tail(self) -> None:
        """A bad stretch that something follows is damage; only the very last one may be a torn tail."""
        if self._tail is not None:
            bad, self._tail = self._tail, None
            self.breaks.append(bad_break(bad))

    def _break(self, what: str, text: str, line: Line, seq: int | None = None, last_seq: int | None = None) -> None:
        self.breaks.append(
            Break(what, text, line.segment, line.offset, None, line.seq if seq is None else seq, last_seq)
        )

    def _take(self, line: Line) -> bool:
        before = self._at
        if line.seq in self._seen:
            self._break("order", f"record {line.seq} is there more than once", line)
            return False
        self._seen.add(line.seq)
        self.count += 1
        if self._lowest is None or line.seq < self._lowest.seq:
            self._lowest = line
        if before is None:
            pass
        elif line.seq == before.seq + 1:
            if line.prev != before.mac:
                self._break("chain", f"record {line.seq} does not follow from record {before.seq} as it stands", line)
        elif line.seq > before.seq:
            # What was jumped over may stand elsewhere; that is known at the end.
            self._jumps[line.seq] = line
        else:
            self._break("order", f"record {line.seq} stands behind record {before.seq}", line)
        self._at = line
        if self.last is None or line.seq > self.last.seq:
            self.last = line
        self._read_system(line)
        self._check_mac(line)
        return True

    def _follows(self, tail: Bad, last_seq: int) -> bool:
        """Does that bad stretch stand where the record after the last one would?"""
        at = self._at
        if at is not None and tail.segment == at.segment:
            return at.seq == last_seq and tail.offset == at.offset + len(at.raw) + 1
        return tail.offset == 0 and first_seq_of(tail.segment) == last_seq + 1

    def _find_missing(self) -> None:
        before = None
        for seq in sorted(self._seen):
            if before is not None and seq > before + 1:
                line = self._jumps.get(seq)
                if line is not None:
                    self._gap(before + 1, seq - 1, line)
                else:
                    text = f"records {before + 1} to {seq - 1} are missing"
                    self.breaks.append(Break("missing", text, seq=before + 1, last_seq=seq - 1))
            before = seq

    def _gap(self, first: int, last: int, line: Line) -> None:
        missing = f"record {first} is" if first == last else f"records {first} to {last} are"
        self._break("missing", f"{missing} missing", line, first, last)

    def _read_system(self, line: Line) -> None:
        """What lines of the journal about itself say to whoever follows the chain."""
        if line.type not in ("segment", "damage", "purge", "compact"):
            return
        record = line.record
        if line.type == "segment":
            self.journal = self.journal or str(record.get("journal"))
            if self.keyed and not record.get("keyed"):
                self._break("key-lost", f"from record {line.seq} on the journal has no key any more", line)
            self.keyed = bool(record.get("keyed"))
        elif line.type == "damage":
            self.recorded.update(Break.from_json(each).name for each in record.get("breaks", ()))
        else:
            self.retired[int(record.get("last_seq", 0))] = str(record.get("last_chain"))

    def _check_mac(self, line: Line) -> None:
        if not self.keyed:
            if not line.made_with(None):
                self._break("mac", f"the mac of record {line.seq} is not that of its bytes", line)
            return
        if self.key is None or line.seq < self._key_seq:
            self.unproved_count += 1
            return
        while self._key_seq < line.seq:
            self.key = next_key(self.key)
            self._key_seq += 1
        if not line.made_with(self.key):
            self._break("mac", f"the mac of record {line.seq} was not made with the journal's key", line)

    def finish(self, head: Head | None, state: KeyState | None = None, later: Head | None = None) -> None:
        """The two ends: what stands before the first line and behind the last one; *state* is the stored key.

        *head* was read before the lines, *later* after them, where somebody may have written meanwhile.
        """
        last_seq = self.last.seq if self.last is not None else 0
        tail, self._tail = self._tail, None
        if tail is not None:
            # Nothing acknowledged is missing: the bytes are what a killed writer left, or were never a record.
            if head is not None and head.seq <= last_seq and self._follows(tail, last_seq):
                self.torn = tail
            else:
                self.breaks.append(bad_break(tail))
        self._find_missing()
        first = self._lowest
        if first is not None:
            if first.seq == 1:
                if first.prev != ZERO_CHAIN:
                    self._break("chain", "record 1 does not start a chain", first)
            elif self.retired.get(first.seq - 1) != first.prev:
                self._gap(1, first.seq - 1, first)
        if head is None:
            return
        if head.seq > last_seq:
            text = f"records {last_seq + 1} to {head.seq} were acknowledged and are missing"
            self.breaks.append(Break("missing", text, seq=last_seq + 1, last_seq=head.seq))
        elif self.last is not None and head.seq == last_seq and head.chain != self.last.mac:
            self._break("head", f"the head names another record {head.seq} than there is", self.last)
        elif self.last is not None and _behind(head, self.last) and (later is None or _behind(later, self.last)):
            self.breaks.append(
                Break("head", f"the head names record {head.seq} as the last one; there are records up to {last_seq}",
                      seq=head.seq)
            )  # fmt: skip
        elif self.last is not None and last_seq == head.pending_seq and head.pending_chain != self.last.mac:
            self._break("head", f"the head names another record {last_seq} than there is", self.last)
        self._check_head_mac(head, state)

    def _check_head_mac(self, head: Head, state: KeyState | None) -> None:
        problem = Break("head", "the mac of the head does not hold", seq=head.seq)
        if not head.keyed:
            if not head.made_with(None):
                self.breaks.append(problem)
            elif self.keyed:
                self.breaks.append(Break("key-lost", "the journal has a key, but its head has none", seq=head.seq))
            return
        if state is not None and state.seq > head.seq + 1 and state.seq > head.pending_seq + 1:
            text = f"the key is that of record {state.seq}: records up to {state.seq - 1} were made"
            self.breaks.append(Break("head", text, seq=head.seq))
        if self.key is None:
            return
        key, at = self.key, self._key_seq
        if at > head.seq + 1:
            return
        while at <= head.seq:
            if state is not None and state.seq == at and state.key != key:
                self.breaks.append(Break("head", f"the stored key is not that of record {at}", seq=at))
            key = next_key(key)
            at += 1
        if not head.made_with(key):
            self.breaks.append(problem)
        if state is not None and state.seq == at and state.key != key:
            self.breaks.append(Break("head", f"the stored key is not that of record {at}", seq=at))
