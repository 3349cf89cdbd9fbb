"""``hashsieve lookup``: are these digests listed?"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError, shown
from . import output, silence_stdout
from .options import JsonOption, Opening, SetsOption, opens_sets

if TYPE_CHECKING:
    from ..hashset.hashset import HashSet
    from ..scan.verdict import Hit

_BY_LENGTH = {32: ("md5",), 40: ("sha1",), 64: ("sha256", "blake3")}


@opens_sets
def command(
    sets: SetsOption,
    digests: Annotated[
        list[str],
        typer.Argument(metavar="DIGEST...", help="Hex digests, also as KIND:HEX; - reads them from standard input."),
    ],
    opening: Opening,
    json: JsonOption = False,
) -> int:
    """Look digests up. Exit code 1 when anything known-bad was found."""
    from ..scan.verdict import Ruling, judge, look_up

    found_bad = False
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(opening.open(path)) for path in sets]
        for text in _texts(digests):
            kind, digest = _parse(text, opened)
            hits, failures = look_up(opened, {kind: digest})
            for _, problem in failures:
                raise problem
            ruling = judge(hits, {kind: digest}).ruling
            found_bad |= ruling is Ruling.KNOWN_BAD
            try:
                if json:
                    output.line(_answer(kind, digest, ruling.value, hits))
                else:
                    told = output.describe([hit.entry for hit in hits]) if hits else "not listed"
                    output.say(f"{digest.hex()}  {kind}  {told}")
            except output.ClosedPipe:
                if not found_bad:
                    raise
                # Nobody reads any more, but what was found is still in the exit code.
                silence_stdout()
                return 1
    return 1 if found_bad else 0


def _answer(kind: str, digest: bytes, ruling: str, hits: Sequence[Hit]) -> dict[str, Any]:
    entries = [output.entry_json(hit.entry) | {"set": hit.set.root.hex()} for hit in hits]
    return {"digest": digest.hex(), "kind": kind, "known": bool(hits), "ruling": ruling, "entries": entries}


def _texts(digests: Sequence[str]) -> Iterator[str]:
    for digest in digests:
        if digest != "-":
            yield digest
            continue
        if sys.stdin is None:
            raise UsageError("there is no standard input to read digests from")
        for number, raw in enumerate(sys.stdin.buffer, start=1):
            text = raw.strip()
            if not text:
                continue
            try:
                yield text.decode("ascii")
            except UnicodeDecodeError:
                raise UsageError(f"standard input, line {number}: not a hex digest") from None


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
    for kind in kinds:
        if any(each.find(kind, digest) for each in sets):
            return kind, digest
    return next((kind for kind in kinds if any(kind in each.kinds for each in sets)), kinds[0]), digest
