"""Kernels of the set core: each equals its oracle."""

import hashlib
import random
import sys
from pathlib import Path

import pytest

from hashsieve._build import sort_rows_once
from hashsieve._lookup import page_hashes, probe_agrees, sha256_once

sys.path.insert(0, str(Path(__file__).parents[1] / "format"))
from set_bytes import PAGE, block_bits, page_hash

BOUNDARIES = [n + d for n in (512, 1024, 4096, 8192, 65536, 1 << 20) for d in (-65, -64, -1, 0, 1, 8, 55, 56, 63, 64)]


@pytest.mark.parametrize("portable", [False, True], ids=["chosen kernel", "portable kernel"])
def test_sha256_equals_that_of_the_standard_library(portable):
    data = random.Random(1).randbytes(max(BOUNDARIES) + 64)
    for length in [*range(301), *BOUNDARIES]:
        start = length % 17  # unaligned input
        piece = memoryview(data)[start : start + length]
        assert sha256_once(piece, portable) == hashlib.sha256(piece).digest(), length


@pytest.mark.parametrize("features", [0, *(1 << bit for bit in range(10)), 0xFFFFFFFF])
def test_any_number_of_pages_hashed_together_equals_each_by_itself(features):
    rng = random.Random(features)
    set_id, pages = rng.randbytes(16), rng.randbytes(50 * PAGE)
    first = 2**40 - 7  # page numbers of more than 32 bits
    alone = [page_hash(set_id, 0x401, first + n, pages[n * PAGE : (n + 1) * PAGE]) for n in range(50)]
    for count in [*range(1, 28), 49, 50]:
        assert page_hashes(set_id, 0x401, first, pages[: count * PAGE], features) == b"".join(alone[:count])


@pytest.mark.parametrize("width", [12, 13, 16, 20, 32, 64])
@pytest.mark.parametrize("block_count", [1, 2, 3, 64, 1000, 65537])
def test_probe_kernels_agree_with_each_other_and_with_the_definition(block_count, width):
    rng = random.Random(block_count * 100 + width)
    blocks = bytearray(rng.randbytes(block_count * 32))
    for n in range(0, len(blocks), 3):
        blocks[n] |= rng.getrandbits(8) | rng.getrandbits(8)
    digests = [rng.randbytes(width) for _ in range(500)] + [bytes(width), b"\xff" * width]
    for digest in digests[::2]:
        block, bits = block_bits(digest, block_count)
        for n, byte in enumerate(bits):
            blocks[block * 32 + n] |= byte
    for count in [*range(1, 20), 63, 64, 65, 127, 128, 129, len(digests)]:
        chosen, portable = probe_agrees(blocks, b"".join(digests[:count]), width)
        assert chosen == portable
        for digest, answer in zip(digests, portable, strict=False):
            block, bits = block_bits(digest, block_count)
            there = blocks[block * 32 : block * 32 + 32]
            assert answer == all(byte & have == byte for byte, have in zip(bits, there, strict=True))


def rows_of(name, count, width, rng):
    match name:
        case "random":
            return [rng.randbytes(width) for _ in range(count)]
        case "equal":
            return [b"\x07" * width] * count
        case "two values":
            return [rng.choice([bytes(width), b"\xff" * width]) for _ in range(count)]
        case "rising":
            return [n.to_bytes(width, "big") if width > 1 else bytes([n % 256]) for n in range(count)]
        case "falling":
            return rows_of("rising", count, width, rng)[::-1]
        case "long common prefixes":
            return [bytes(rng.randrange(width + 1)).ljust(width, b"\x01") for _ in range(count)]
        case "last byte":
            return [bytes(width - 1) + rng.randbytes(1) for _ in range(count)]
        case "few bytes":
            return [bytes(rng.choice(b"\x00\x01\xff") for _ in range(width)) for _ in range(count)]
    raise AssertionError(name)


NAMES = ["random", "equal", "two values", "rising", "falling", "long common prefixes", "last byte", "few bytes"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("width", "key_bytes"),
    [(1, 1), (2, 1), (8, 8), (9, 8), (16, 8), (16, 16), (24, 24), (40, 16), (136, 112), (256, 256)],
)
def test_the_native_sort_equals_sorted(name, width, key_bytes):
    rng = random.Random(width)
    for count in (0, 1, 2, 23, 24, 25, 26, 255, 1000, 4000):
        if name == "long common prefixes" and count > 1000:
            continue
        rows = rows_of(name, count, width, rng)
        packed = bytearray(b"".join(rows))
        sort_rows_once(packed, width, key_bytes)
        got = [bytes(packed[n : n + width]) for n in range(0, len(packed), width)]
        assert [row[:key_bytes] for row in got] == sorted(row[:key_bytes] for row in rows)
        assert sorted(got) == sorted(rows)


def test_arguments_that_do_not_fit_are_refused():
    for width, key_bytes in ((0, 0), (257, 1), (4, 5), (3, 1)):
        with pytest.raises(ValueError):
            sort_rows_once(bytearray(8), width, key_bytes)
    for blocks, digests, width in ((31, 16, 16), (0, 16, 16), (32, 0, 16), (32, 11, 11)):
        with pytest.raises(ValueError):
            probe_agrees(bytes(blocks), bytes(digests), width)
