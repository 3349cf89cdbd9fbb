"""Flips single bits of set files, before they are opened and while they are: python tests/format/flip_bits.py

Each flip is followed by every question there is: answers must be right or refused with a typed error. Flips are spread
evenly over header, sections, page list and root page, so that small sections get their share.
"""

import argparse
import os
import random
import struct
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import set_bytes as sb
from set_truth import make_truths

from hashsieve.errors import HashsieveError
from hashsieve.hashset.hashset import HashSet


def places(data):
    """(name, first byte, length) of everything a set is made of."""
    list_offset, list_bytes = struct.unpack_from("<QQ", data, sb.LIST_OFFSET)
    yield "header", 0, sb.PAGE
    for section in sb.sections_of(data):
        yield f"section {section.id:#x}", section.offset, sb.pages_of(section.length) * sb.PAGE
    yield "page list", list_offset, sb.pages_of(list_bytes) * sb.PAGE
    yield "root page", len(data) - sb.PAGE, sb.PAGE


def flip(file, at, bit):
    (byte,) = os.pread(file.fileno(), 1, at)
    os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), at)


def flip_bits(folder, count, seed=1, share=1.0):
    """What came of the flips, by name: how often the set was refused when opened, a question refused, nothing noticed.

    Raises WrongAnswerError where a set says what is not so. *share* of the questions are asked, batches always.
    """
    rng = random.Random(seed)
    came = Counter()
    truths = make_truths(folder)
    path = folder / "flipped.hset"
    for number in range(count):
        truth = truths[number % len(truths)]
        where = list(places(truth.data))
        _, start, length = where[number // len(truths) % len(where)]
        at, bit = start + rng.randrange(length), rng.randrange(8)
        path.unlink(missing_ok=True)
        path.write_bytes(truth.data)
        with open(path, "r+b", buffering=0) as file:
            if number // len(truths) // len(where) % 2:
                with HashSet.open(path, load=rng.sample(list(truth.kinds), rng.randint(0, len(truth.kinds)))) as known:
                    truth.hold_against(known, rng, share / 20)
                    flip(file, at, bit)
                    try:
                        known.load(truth.kinds)
                    except HashsieveError:
                        came["refused to load"] += 1
                        continue
                    came["questions refused" if truth.hold_against(known, rng, share) else "no question touched"] += 1
            else:
                flip(file, at, bit)
                try:
                    known = HashSet.open(path)
                except HashsieveError:
                    came["refused to open"] += 1
                    continue
                with known:
                    came["questions refused" if truth.hold_against(known, rng, share) else "no question touched"] += 1
                    try:
                        known.verify()
                    except HashsieveError:
                        continue
                    raise AssertionError(f"a flip of bit {bit} of byte {at} was not found by verify")
    return came


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--flips", type=int, default=5000)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        came = flip_bits(Path(folder), given.flips, given.seed)
    told = ", ".join(f"{count:,} {name}" for name, count in came.most_common())
    print(f"{given.flips:,} single-bit flips with seed {given.seed}: no wrong answer ({told})")


if __name__ == "__main__":
    main()
