"""Lines of digests: split, decoded and answered like a plain reading of the same text."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hashsieve._lookup import DigestLines

WIDTHS = (16, 20, 32)
BEFORE = {16: b"<16 ", 20: b"", 32: b"<"}
AFTER = {16: b">\n", 20: b"\n", 32: b" \n"}

hexadecimal = st.sampled_from(WIDTHS).flatmap(lambda width: st.binary(min_size=width, max_size=width)).map(bytes.hex)
cased = st.tuples(hexadecimal, st.integers(0, 2)).map(lambda pair: [str, str.upper, str.title][pair[1]](pair[0]))
spaces = st.text(alphabet=" \t\r", max_size=3)
digest_line = st.tuples(spaces, cased, spaces).map("".join).map(str.encode)
other_line = st.one_of(
    st.binary(max_size=70).map(lambda raw: raw.replace(b"\n", b"")),
    cased.map(lambda text: text[:-1].encode()),
    cased.map(lambda text: (text[:5] + "g" + text[6:]).encode()),
    cased.map(lambda text: b"md5:" + text.encode()),
)
lines = st.lists(st.one_of(digest_line, other_line), max_size=30)


def read(line):
    """None for a blank line, bytes for a digest, text for anything else: the plain way."""
    text = line.strip(b" \t\r")
    if not text:
        return None
    if len(text) in (32, 40, 64) and re.fullmatch(rb"[0-9a-fA-F]+", text):
        return bytes.fromhex(text.decode())
    return text.decode("latin-1")


def answers(text, last, room, listed):
    """What the native side tells, as (kind of line, content) pairs, and what it left."""
    told, start = [], 0
    while True:
        stretch = DigestLines(text[start:], last, room)
        hits, per_width = {}, {}
        for width in WIDTHS:
            packed = bytes(stretch.digests_of(width))
            per_width[width] = [packed[at : at + width] for at in range(0, len(packed), width)]
            hits[width] = bytearray(digest in listed for digest in per_width[width])
        while True:
            misses, line = stretch.answer(BEFORE, AFTER, hits)
            told += [("miss", row) for row in misses.splitlines(keepends=True)]
            if line is None:
                break
            _, place, what = line
            if place >= 0:
                assert per_width[len(what)][place] == what
            told.append(("hit" if place >= 0 else "other", what))
        start += stretch.consumed
        if not len(stretch) or start == len(text):
            return told, text[start:]


@given(lines, st.booleans(), st.integers(1, 40), st.booleans(), st.randoms())
@example([b""], True, 1, True, None)
@example([b"0" * 32, b"0" * 32], True, 1, False, None)
def test_every_line_is_answered_in_order(given_lines, ended, room, last, rng):
    text = b"\n".join(given_lines) + (b"\n" if ended else b"")
    whole, rest = text.split(b"\n")[:-1], text.split(b"\n")[-1]
    if last and rest:
        whole, rest = [*whole, rest], b""
    plain = [each for each in map(read, whole) if each is not None]
    digests = [each for each in plain if isinstance(each, bytes)]
    listed = set(rng.sample(digests, len(digests) // 3)) if rng else set()
    wanted = []
    for each in plain:
        if isinstance(each, str):
            wanted.append(("other", each.encode("latin-1")))
        elif each in listed:
            wanted.append(("hit", each))
        else:
            wanted.append(("miss", BEFORE[len(each)] + each.hex().encode() + AFTER[len(each)]))
    told, left = answers(text, last, room, listed)
    assert told == wanted
    assert left == rest


def test_line_numbers_count_blank_lines_too():
    stretch = DigestLines(b"\n\n" + b"a" * 32 + b"\n\nx\n", True)
    none = {width: bytearray(1) for width in WIDTHS}
    assert stretch.answer(BEFORE, AFTER, none) == (b"<16 " + b"a" * 32 + b">\n", (4, -1, b"x"))
    assert stretch.answer(BEFORE, AFTER, none) == (b"", None)


def test_flags_that_are_too_few_are_refused():
    stretch = DigestLines(b"a" * 32 + b"\n" + b"b" * 32, True)
    assert len(stretch.digests_of(16)) == 32
    with pytest.raises(ValueError, match="flag"):
        stretch.answer(BEFORE, AFTER, {16: bytearray(1), 20: bytearray(), 32: bytearray()})
