"""Lines, segments, head and keys of a journal as bytes; no policy, no writing. docs/format/journal.md is the authority.

A line is one JSON object, ended by a line feed, whose last three fields are fixed in length and order: ``prev`` (the
``mac`` of the line before), ``sum`` (tells damage; needs no key) and ``mac`` (tells tampering; keyed where there is a
key, and the chain value in any case).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..platform.storage import Storage

__all__ = [
    "HEAD_BYTES",
    "KEY_OFFSET",
    "MAX_LINE_BYTES",
    "PAGE_BYTES",
    "ZERO_CHAIN",
    "Bad",
    "Head",
    "HeadFile",
    "KeyState",
    "Line",
    "alert_id",
    "encode_head",
    "encode_key",
    "encode_line",
    "first_key",
    "first_seq_of",
    "next_key",
    "read_head",
    "read_segment",
    "segment_name",
    "segments_of",
]

MAX_LINE_BYTES = 1 << 20
PAGE_BYTES = 4096
HEAD_BYTES = 4 * PAGE_BYTES
KEY_OFFSET = 2 * PAGE_BYTES
ZERO_CHAIN = "0" * 64

_TAIL = re.compile(rb',"prev":"([0-9a-f]{64})","sum":"([0-9a-f]{32})","mac":"([0-9a-f]{64})"}\Z')
_START = re.compile(rb'\{"seq":([1-9][0-9]{0,17}),"type":"([a-z-]{1,32})"[,}]')
_SEGMENT = re.compile(r"alerts-([0-9]{18})\.jsonl\Z")
_MAC_FIELD_BYTES = len(',"mac":""}') + 64
_SUM_FIELD_BYTES = len(',"sum":""') + 32


def _hash(data: bytes, key: bytes | None = None) -> str:
    from blake3 import blake3

    return (blake3(data) if key is None else blake3(data, key=key)).hexdigest()


def _derive(context: str, material: bytes) -> bytes:
    from blake3 import blake3

    return blake3(material, derive_key_context=context).digest()


def first_key(secret: bytes, journal: str) -> bytes:
    """The key of record 1 of this journal, from the secret that was handed over when it was made."""
    return _derive("hashsieve journal key 1", secret + journal.encode("ascii"))


def next_key(key: bytes) -> bytes:
    """The key of the record after; there is no way back."""
    return _derive("hashsieve journal key step 1", key)


def _head_key(key: bytes) -> bytes:
    return _derive("hashsieve journal head 1", key)


@dataclass(frozen=True, slots=True)
class Line:
    """One intact line: its own sum holds. Whether it is in its place is another question."""

    seq: int
    type: str
    segment: str
    offset: int
    raw: bytes
    prev: str
    mac: str

    @property
    def record(self) -> dict[str, Any]:
        """What the line says, without its last three fields."""
        found: dict[str, Any] = json.loads(self.raw)
        for name in ("prev", "sum", "mac"):
            del found[name]
        return found

    @property
    def group(self) -> int:
        """Number of the first line of those that were acknowledged together with this one."""
        return int(self.record.get("group", self.seq))

    def made_with(self, key: bytes | None) -> bool:
        """Was the mac made with this key (None: with no key)?"""
        return _hash(self.raw[:-_MAC_FIELD_BYTES], key) == self.mac


@dataclass(frozen=True, slots=True)
class Bad:
    """Bytes of a segment that are no intact line."""

    segment: str
    offset: int
    length_bytes: int
    why: str


def alert_id(journal: str, seq: int) -> str:
    """The stable id of a record: identity of the journal, then the number, so that text order is the order made."""
    return f"{journal}-{seq:018d}"


def encode_line(seq: int, type_: str, body: Mapping[str, Any], prev: str, key: bytes | None) -> tuple[bytes, str]:
    """The bytes of a line with its line feed, and its mac."""
    text = json.dumps({"seq": seq, "type": type_, **body}, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    data = f'{text[:-1]},"prev":"{prev}"'.encode("ascii")
    data += f',"sum":"{_hash(data)[:32]}"'.encode("ascii")
    mac = _hash(data, key)
    return data + f',"mac":"{mac}"}}\n'.encode("ascii"), mac


def parse_line(data: bytes, segment: str, offset: int) -> Line | str:
    """The line in *data* (without line feed), or why it is none."""
    start, tail = _START.match(data), _TAIL.search(data, max(0, len(data) - 300))
    if start is None or tail is None:
        return "not a whole line"
    if _hash(data[: -_MAC_FIELD_BYTES - _SUM_FIELD_BYTES])[:32].encode("ascii") != tail[2]:
        return "sum differs"
    # The last field is covered by nothing but itself where no key is at hand, so it is held against the keyless value
    # by whoever knows that the journal has no key, and against the next line's prev by everybody.
    return Line(
        int(start[1]), start[2].decode("ascii"), segment, offset, data, tail[1].decode("ascii"), tail[3].decode("ascii")
    )


def segment_name(seq: int) -> str:
    """The file name of the segment whose first line is *seq*."""
    return f"alerts-{seq:018d}.jsonl"


def segments_of(directory: str) -> list[str]:
    """Segment names in order of their first line."""
    return sorted(name for name in os.listdir(directory) if _SEGMENT.match(name))


def first_seq_of(segment: str) -> int:
    """The number that the segment's name promises for its first line."""
    found = _SEGMENT.match(segment)
    assert found is not None
    return int(found[1])


def read_segment(storage: Storage, directory: str, segment: str, offset: int = 0) -> Iterator[Line | Bad]:
    """Every intact line of a segment and everything that is none, in order; blank lines at the end are padding.

    Works in bounded memory on any bytes. A last line without line feed counts as bad even if it is whole. An
    unreadable part is one ``Bad`` and the next part is tried, so that each error moves the position.
    """
    fd = storage.open(os.path.join(directory, segment))
    try:
        size = os.fstat(fd).st_size
        yield from _merged(_pieces(storage, fd, segment, offset, size))
    finally:
        os.close(fd)


_CHUNK_BYTES = 1 << 18


def _pieces(storage: Storage, fd: int, segment: str, offset: int, size: int) -> Iterator[Line | Bad]:
    held, held_at = b"", offset
    blanks = 0  # line feeds that lie directly before held_at, not yet known to be padding
    while offset < size:
        try:
            part = storage.read(fd, min(_CHUNK_BYTES, size - offset), offset)
        except OSError as problem:
            step = min(PAGE_BYTES, size - offset)
            yield Bad(segment, held_at - blanks, offset + step - held_at + blanks, f"unreadable: {problem.strerror}")
            offset += step
            held, held_at, blanks = b"", offset, 0
            continue
        if not part:  # shorter than it was a moment ago
            break
        offset += len(part)
        held += part
        start = 0
        while start < len(held):
            if held[start] == 10:  # a run of blank lines
                run = len(held) - start - len(held[start:].lstrip(b"\n"))
                blanks, start = blanks + run, start + run
                continue
            end = held.find(b"\n", start)
            if end < 0:
                break
            if blanks:
                yield Bad(segment, held_at + start - blanks, blanks, "blank lines between records")
                blanks = 0
            found = parse_line(held[start:end], segment, held_at + start)
            yield found if isinstance(found, Line) else Bad(segment, held_at + start, end + 1 - start, found)
            start = end + 1
        held, held_at = held[start:], held_at + start
        if len(held) > MAX_LINE_BYTES:
            yield Bad(segment, held_at - blanks, len(held) + blanks, "no end of line")
            held, held_at, blanks = b"", held_at + len(held), 0
    if held:
        yield Bad(segment, held_at - blanks, len(held) + blanks, "cut off")


def _merged(pieces: Iterator[Line | Bad]) -> Iterator[Line | Bad]:
    """Bad stretches that touch, as one."""
    bad: Bad | None = None
    for piece in pieces:
        if isinstance(piece, Bad):
            if bad is not None and bad.offset + bad.length_bytes == piece.offset:
                bad = Bad(bad.segment, bad.offset, bad.length_bytes + piece.length_bytes, bad.why)
                continue
            if bad is not None:
                yield bad
            bad = piece
            continue
        if bad is not None:
            yield bad
            bad = None
        yield piece
    if bad is not None:
        yield bad


@dataclass(frozen=True, slots=True)
class Head:
    """The last record that was acknowledged, and the last one of those that were being written then (0: none)."""

    journal: str
    seq: int
    chain: str
    keyed: bool
    mac: str
    pending_seq: int = 0
    pending_chain: str = ""
    covered: bytes = b""

    def made_with(self, key: bytes | None) -> bool:
        """Was this head written by somebody who held the key of the next record (None: no key)?"""
        return _hash(self.covered, None if key is None else _head_key(key)) == self.mac


@dataclass(frozen=True, slots=True)
class KeyState:
    """The key of record ``seq``, the next one to be made."""

    seq: int
    key: bytes


def _page(text: str) -> bytes:
    return text.encode("ascii").ljust(PAGE_BYTES - 1) + b"\n"


def encode_head(
    journal: str, seq: int, chain: str, key: bytes | None, pending_seq: int = 0, pending_chain: str = ""
) -> bytes:
    """One page of the head file; *key* is that of the record after *seq*."""
    body = {
        "journal": journal, "seq": seq, "chain": chain, "keyed": key is not None,
        "pending": [pending_seq, pending_chain],
    }  # fmt: skip
    text = json.dumps(body, separators=(",", ":"))[:-1]
    mac = _hash(text.encode("ascii"), None if key is None else _head_key(key))
    text += f',"mac":"{mac}"'
    return _page(f'{text},"sum":"{_hash(text.encode("ascii"))[:32]}"}}')


def encode_key(state: KeyState | None) -> bytes:
    """One page of the head file for the key of the next record; blank where there is none."""
    if state is None:
        return _page("")
    text = f'{{"seq":{state.seq},"key":"{state.key.hex()}"'
    return _page(f'{text},"sum":"{_hash(text.encode("ascii"))[:32]}"}}')


_HEAD = re.compile(
    rb'(?P<covered>\{"journal":"(?P<journal>[0-9a-f]{24})","seq":(?P<seq>[0-9]{1,18}),"chain":"(?P<chain>[0-9a-f]{64})"'
    rb',"keyed":(?P<keyed>true|false),"pending":\[(?P<pseq>[0-9]{1,18}),"(?P<pchain>[0-9a-f]*)"\])'
    rb',"mac":"(?P<mac>[0-9a-f]{64})","sum":"(?P<sum>[0-9a-f]{32})"\} *\n\Z'
)
_KEY = re.compile(rb'(\{"seq":([0-9]{1,18}),"key":"([0-9a-f]{64})"),"sum":"([0-9a-f]{32})"\} *\n\Z')
_SUM_TAIL_BYTES = len(',"sum":""}') + 32


def _parse_head(page: bytes) -> Head | None:
    found = _HEAD.match(page)
    if found is None or _hash(page.rstrip()[:-_SUM_TAIL_BYTES])[:32].encode("ascii") != found["sum"]:
        return None
    return Head(
        found["journal"].decode("ascii"), int(found["seq"]), found["chain"].decode("ascii"),
        found["keyed"] == b"true", found["mac"].decode("ascii"), int(found["pseq"]), found["pchain"].decode("ascii"),
        found["covered"],
    )  # fmt: skip


def _parse_key(page: bytes) -> KeyState | None:
    found = _KEY.match(page)
    if found is None or _hash(found[1])[:32].encode("ascii") != found[4]:
        return None
    return KeyState(int(found[2]), bytes.fromhex(found[3].decode("ascii")))


@dataclass(frozen=True, slots=True)
class HeadFile:
    """What a head file says: its newest good copies, what is wrong with it, and which copy is to be written next."""

    head: Head | None
    key: KeyState | None
    wrong: tuple[str, ...] = ()
    older: int = 0


def read_head(data: bytes) -> HeadFile:
    """Reads the four pages of a head file; any bytes are taken."""
    pages = [data[start : start + PAGE_BYTES] for start in range(0, HEAD_BYTES, PAGE_BYTES)]
    heads = [_parse_head(page) for page in pages[:2]]
    keys = [_parse_key(page) for page in pages[2:]]
    wrong = [f"head copy {number} is damaged" for number, head in enumerate(heads, 1) if head is None]
    newest = max(
        (head for head in heads if head is not None), key=lambda head: (head.seq, head.pending_seq), default=None
    )
    if len(data) > HEAD_BYTES:
        wrong.append("the head file is too long")
    keyed = newest is not None and newest.keyed
    for number, page in enumerate(pages[2:]):
        if (keys[number] is None) if keyed else (page != encode_key(None)):
            wrong.append(f"key copy {number + 1} is damaged")
    key = max((key for key in keys if key is not None), key=lambda key: key.seq, default=None)
    older = 1 if newest is not None and heads[0] is newest else 0
    return HeadFile(newest, key, tuple(wrong), older)
