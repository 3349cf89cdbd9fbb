"""``hashsieve lookup``: are these digests listed?"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from ..errors import UsageError, shown
from . import output, silence_stdout
from .options import JsonOption, Opening, SetsOption, opens_sets

if TYPE_CHECKING:
    from .._lookup import DigestLines
    from ..hashset.hashset import HashSet
    from ..scan.verdict import Hit

_BY_LENGTH = {32: ("md5",), 40: ("sha1",), 64: ("sha256", "blake3")}
_CHUNK_BYTES = 1 << 20  # of standard input at once: some 30,000 digests
_LINE_LIMIT_BYTES = 4096  # a longer line is no digest, whatever it is
_BROKEN_SHOWN_COUNT = 20


@opens_sets
def command(
    sets: SetsOption,
    digests: Annotated[
        list[str],
        typer.Argument(
            metavar="DIGEST...", help="Hex digests, also as KIND:HEX; - reads them from standard input, a line each."
        ),
    ],
    opening: Opening,
    json: JsonOption = False,
) -> int:
    """Look digests up. Exit code 1 when anything known-bad was found."""

    with contextlib.ExitStack() as stack:
        desk = _Desk([stack.enter_context(opening.open(path)) for path in sets], json)
        try:
            for text in digests:
                if text != "-":
                    desk.answer(*_parse(text, desk.sets))
                elif sys.stdin is None:
                    raise UsageError("there is no standard input to read digests from")
                else:
                    desk.answer_lines(sys.stdin.buffer)
        except output.ClosedPipe:
            if not desk.found_bad:
                raise
            # Nobody reads any more, but what was found is still in the exit code.
            silence_stdout()
        return desk.exit_code()


class _Desk:
    """Answers digests, one by one or by the stretch, in the order they come."""

    def __init__(self, sets: Sequence[HashSet], as_json: bool) -> None:
        self.sets, self.as_json = sets, as_json
        self.found_bad = False
        self.broken_count = 0
        # A miss reads the same for every digest of a length, but for the digest.
        self._before: dict[int, bytes] = {}
        self._after: dict[int, bytes] = {}
        for digits, kinds in _BY_LENGTH.items():
            placeholder = bytes(digits // 2)
            kind = next((kind for kind in kinds if any(kind in each.kinds for each in sets)), kinds[0])
            text = self._text(kind, placeholder, "nothing", ())
            before, after = text.split(placeholder.hex())
            self._before[digits // 2], self._after[digits // 2] = before.encode(), after.encode()

    def exit_code(self) -> int:
        """1 after anything known-bad, 2 where a line could not be read, else 0."""
        if self.broken_count > _BROKEN_SHOWN_COUNT:
            output.note(f"hashsieve: standard input: {self.broken_count} lines are not digests; the first are above")
        return 1 if self.found_bad else 2 if self.broken_count else 0

    def answer(self, kind: str, digest: bytes) -> None:
        """One digest, with all its entries."""
        from ..scan.verdict import Ruling, judge, look_up

        hits, failures = look_up(self.sets, {kind: digest})
        for _, problem in failures:
            raise problem
        ruling = judge(hits, {kind: digest}).ruling
        self.found_bad |= ruling is Ruling.KNOWN_BAD
        text = self._text(kind, digest, ruling.value, hits)
        (output.block(text.encode()) if self.as_json else output.say(text.rstrip("\n")))

    def _text(self, kind: str, digest: bytes, ruling: str, hits: Sequence[Hit]) -> str:
        if not self.as_json:
            told = output.describe([hit.entry for hit in hits]) if hits else "not listed"
            return f"{digest.hex()}  {kind}  {told}\n"
        entries = [output.entry_json(hit.entry) | {"set": hit.set.root.hex()} for hit in hits]
        answer = {"digest": digest.hex(), "kind": kind, "known": bool(hits), "ruling": ruling, "entries": entries}
        return output.json_line(answer)

    def answer_lines(self, source: BinaryIO) -> None:
        """A digest on every line of *source*. What came is answered before more is waited for; memory is constant."""
        from .._lookup import DigestLines

        rest, line_number, last = b"", 0, False
        while not last:
            # Not more than there is now: whoever writes a line and waits gets the answer.
            came: bytes = source.read1(_CHUNK_BYTES)  # type: ignore[attr-defined]
            last = not came
            text = rest + came
            while text and len(lines := DigestLines(text, last)):
                self._answer(lines, line_number)
                line_number += len(lines)
                text = text[lines.consumed :]
            rest = text
            if len(rest) > _LINE_LIMIT_BYTES:
                line_number += 1
                self._broken(line_number, rest[:100])
                while (came := source.readline(_CHUNK_BYTES)) and not came.endswith(b"\n"):
                    pass
                rest = b""

    def _answer(self, lines: DigestLines, lines_before: int) -> None:
        hits: dict[int, bytearray] = {}
        for digits, kinds in _BY_LENGTH.items():
            digests = lines.digests_of(digits // 2)
            hits[digits // 2] = flags = bytearray(len(digests) // (digits // 2))
            for kind in kinds:
                for each in self.sets:
                    each.mark_listed(kind, digests, flags)
        while True:
            misses, line = lines.answer(self._before, self._after, hits)
            if misses:
                output.block(misses)
            if line is None:
                return
            number, place, what = line
            if place >= 0:
                self.answer(_kind_of(what, self.sets), what)
                continue
            try:
                kind, digest = _parse(what.decode("ascii"), self.sets)
            except ValueError:  # UsageError is one too
                self._broken(lines_before + number + 1, what)
            else:
                self.answer(kind, digest)

    def _broken(self, line_number: int, text: bytes) -> None:
        self.broken_count += 1
        if self.broken_count <= _BROKEN_SHOWN_COUNT:
            output.note(
                f"hashsieve: standard input, line {line_number}: {shown(text[:100])!r} is not a hex digest "
                "(32, 40 or 64 digits, alone or as KIND:HEX); left out"
            )


def _parse(text: str, sets: Sequence[HashSet]) -> tuple[str, bytes]:
    """Kind and bytes of a digest as typed; 64 hex digits without a kind: whichever of both the sets have or know."""
    name, colon, rest = text.rpartition(":")
    hexadecimal = rest.strip()
    kinds = _BY_LENGTH.get(len(hexadecimal), ())
    try:
        digest = bytes.fromhex(hexadecimal)
        if len(digest) * 2 != len(hexadecimal):
            raise ValueError
    except ValueError:
        raise UsageError(f"{shown(text[:100])!r} is not a hex digest") from None
    if not kinds:
        raise UsageError(
            f"{shown(text[:100])!r} has {len(hexadecimal)} hex digits; MD5 has 32, SHA-1 40, SHA-256 and BLAKE3 64"
        )
    if colon:
        kind = name.strip().lower().replace("-", "")
        if kind not in kinds:
            raise UsageError(f"{shown(name[:100])!r} is not a digest kind of {len(hexadecimal)} hex digits")
        return kind, digest
    return _kind_of(digest, sets), digest


def _kind_of(digest: bytes, sets: Sequence[HashSet]) -> str:
    kinds = _BY_LENGTH[2 * len(digest)]
    if len(kinds) == 1:
        return kinds[0]
    for kind in kinds:
        if any(each.find(kind, digest) for each in sets):
            return kind
    return next((kind for kind in kinds if any(kind in each.kinds for each in sets)), kinds[0])
