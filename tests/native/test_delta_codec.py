"""The native codec of delta rows: what goes in comes out, in pieces of any size, and nonsense is refused."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashsieve._delta import Decoder, encode

WIDTHS = {1: 16, 2: 20, 4: 32, 8: 32}
CLASSES = 5


def width_of(shape, sealed):
    return sum(16 if sealed else width for bit, width in WIDTHS.items() if shape & bit)


def pack(shape, digests, size, number, cancel, ref):
    """A row of the builder's form. *size* and *ref* may be None."""
    row = bytes([shape]) + digests + struct.pack(">QIB", 0 if size is None else size + 1, number, 2 * cancel)
    return row + struct.pack("<H", 0 if ref is None else len(ref) + 1) + (ref or b"")


@st.composite
def some_rows(draw):
    """(sealed, shape, rows in order)."""
    sealed, shape = draw(st.booleans()), draw(st.integers(1, 15))
    width = width_of(shape, sealed)
    digest = st.sampled_from([bytes(width), b"\xff" * width, bytes(width - 1) + b"\1"]) | st.binary(
        min_size=width, max_size=width
    )
    size = st.none() | st.sampled_from([0, 1, 127, 128, 2**32, 2**62 - 1])
    ref = st.none() | st.binary(max_size=5) | st.just(bytes(4096))
    keys = draw(st.sets(st.tuples(digest, size, st.integers(0, CLASSES - 1), ref), max_size=12))
    order = sorted(keys, key=lambda k: (k[0], -1 if k[1] is None else k[1], k[2], k[3] is not None, k[3] or b""))
    return sealed, shape, [(*key, draw(st.booleans())) for key in order]


def decode(shape, digests, tails, sealed, pieces, classes=CLASSES):
    """Feeds pieces of the lengths that *pieces* gives in turn."""
    decoder, out = Decoder(shape, [10 * n for n in range(classes)], sealed), b""
    waiting, rest = [b"", b""], [digests, tails]
    while any(waiting) or any(rest):
        for n in range(2):
            step = next(pieces)
            waiting[n] += rest[n][:step]
            rest[n] = rest[n][step:]
        rows, left, right = decoder.feed(waiting[0], waiting[1], not rest[1])
        if not rows and not any(rest):
            raise ValueError("stuck")
        out += rows
        waiting = [waiting[0][left:], waiting[1][right:]]
    return out, decoder


@settings(max_examples=200, deadline=None)
@given(some_rows(), st.lists(st.integers(1, 70), min_size=1, max_size=5))
def test_rows_come_back_in_pieces_of_any_size(given_rows, steps):
    sealed, shape, rows = given_rows
    packed = b"".join(pack(shape, digests, size, number, cancel, ref) for digests, size, number, ref, cancel in rows)
    coded = encode(packed, list(range(CLASSES)), sealed)
    if not rows:
        assert coded == []
        return
    ((coded_shape, digests, tails, adds, cancels),) = coded
    assert (coded_shape, digests) == (shape, b"".join(row[0] for row in rows))
    assert (adds, cancels) == (sum(not row[4] for row in rows), sum(row[4] for row in rows))

    def pieces():
        while True:
            yield from steps

    out, decoder = decode(shape, digests, tails, sealed, pieces())
    assert out == b"".join(
        pack(shape, digests, size, 10 * number, cancel, ref) for digests, size, number, ref, cancel in rows
    )
    assert (decoder.add_count, decoder.cancel_count) == (adds, cancels)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 15), st.booleans(), st.binary(max_size=300), st.binary(max_size=300))
def test_whatever_is_fed_gives_rows_in_order_or_a_refusal(shape, sealed, digests, tails):
    width = width_of(shape, sealed)

    def all_at_once():
        while True:
            yield 1000

    try:
        out, _ = decode(shape, digests, tails, sealed, all_at_once())
    except ValueError:
        return
    last, at = None, 0
    while at < len(out):
        size, number = struct.unpack_from(">QI", out, at + 1 + width)
        (ref,) = struct.unpack_from("<H", out, at + 1 + width + 13)
        end = at + 1 + width + 15 + max(ref - 1, 0)
        place = out[at + 1 : at + 1 + width], size, number, ref > 0, out[at + 1 + width + 15 : end]
        assert last is None or last < place
        assert number % 10 == 0
        assert number < 10 * CLASSES
        last, at = place, end


def test_rows_of_several_shapes_are_told_apart():
    rows = [pack(shape, bytes(width_of(shape, False)), None, 0, False, None) for shape in (1, 1, 2, 15)]
    assert [(shape, adds) for shape, _, _, adds, _ in encode(b"".join(rows), [0])] == [(1, 2), (2, 1), (15, 1)]


@pytest.mark.parametrize(
    "rows",
    [
        b"\x00",
        b"\x10" + bytes(100),
        b"\x01" + bytes(30),
        pack(1, bytes(16), None, 1, False, None),
        pack(1, bytes(16), None, 0, False, b"abc")[:-1],
        b"\x01" + bytes(16 + 12) + b"\x01\0\0",
    ],
    ids=["no shape", "unknown shape", "cut", "class", "id cut", "op"],
)
def test_rows_that_are_none_are_refused(rows):
    with pytest.raises(ValueError):
        encode(rows, [0])


def test_arguments_that_do_not_fit_are_refused():
    for shape in (0, 16):
        with pytest.raises(ValueError):
            Decoder(shape, [])
    with pytest.raises(OverflowError):
        Decoder(1, [2**32])
