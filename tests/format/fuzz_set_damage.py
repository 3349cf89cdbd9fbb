"""Damages set files at random for a while: python tests/format/fuzz_set_damage.py --seconds 60 --seed 1

Two kinds of damage, half of the rounds each:

* bytes changed, cut, moved, before the file is opened or while it is open: every answer right, or a typed refusal;
* a file changed the same way and then made consistent (page hashes and root right), as whoever makes sets could: any
  answer, but only typed refusals, and no crash.

Meant to run under AddressSanitizer too. Ends with 1 and the seed and round when something else happens; --round N
repeats one round. Round N of a seed is always the same.
"""

import argparse
import contextlib
import mmap
import os
import random
import signal
import struct
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import set_bytes as sb
from set_truth import make_truths

from hashsieve.errors import HashsieveError
from hashsieve.hashset.hashset import HashSet

NUMBERS = [
    0,
    1,
    2,
    7,
    8,
    15,
    16,
    31,
    32,
    127,
    128,
    255,
    256,
    4095,
    4096,
    65535,
    2**31,
    2**32,
    2**62,
    2**63 - 1,
    2**64 - 1,
]


def spots(data, rng):
    """An offset worth damaging: header fields, section lines, starts and ends of sections, anywhere."""
    sections = sb.sections_of(data)
    section = rng.choice(sections) if sections else sb.Section(0, 0, 0, len(data), 0, 0)
    return rng.choice(
        [
            rng.randrange(sb.SECTION_TABLE),
            rng.randrange(sb.SECTION_TABLE, sb.SECTION_TABLE + sb.LINE.size * max(len(sections), 1)),
            section.offset + rng.randrange(64),
            section.offset + max(section.length - 1 - rng.randrange(64), 0),
            section.offset + rng.randrange(max(section.length, 1)),
            rng.randrange(len(data)),
            len(data) - 1 - rng.randrange(sb.PAGE),
        ]
    ) % len(data)


def damage(data, rng):
    """*data* (a bytearray) changed in one to a few places, at times in length."""
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        at = spots(data, rng)
        match rng.randrange(9):
            case 0 | 1 | 2:
                data[at] ^= 1 << rng.randrange(8)
            case 3:
                data[at] = rng.randrange(256)
            case 4:
                at -= at % 8
                number = rng.choice([*NUMBERS, rng.getrandbits(64), len(data), len(data) + 1])
                data[at : at + 8] = (number + rng.choice([-1, 0, 0, 1])).to_bytes(9, "little", signed=True)[:8]
            case 5:
                end = min(at + rng.randrange(1, 5000), len(data))
                data[at:end] = rng.choice([bytes(end - at), b"\xff" * (end - at), rng.randbytes(end - at)])
            case 6:
                a, b = (rng.randrange(len(data) // sb.PAGE) * sb.PAGE for _ in range(2))
                data[a : a + sb.PAGE], data[b : b + sb.PAGE] = data[b : b + sb.PAGE], data[a : a + sb.PAGE]
            case 7:
                count = len(sb.sections_of(data))
                if count:
                    one, other = (
                        sb.SECTION_TABLE + rng.randrange(count) * sb.LINE.size + rng.choice([0, 8, 16, 24, 32])
                        for _ in range(2)
                    )
                    data[one : one + 8] = data[other : other + 8]
            case 8:
                if rng.random() < 0.2:
                    del data[at:]
                    if rng.random() < 0.5:
                        data.extend(bytes(-len(data) % sb.PAGE))
                elif rng.random() < 0.2:
                    data.extend(rng.randbytes(rng.choice([1, 40, sb.PAGE])))
        if len(data) < 2 * sb.PAGE:
            break
    return data


def forged(truth, path, rng):
    """A consistent file: hold it to refusals of the right type only."""
    data = damage(bytearray(truth.data), rng)
    if len(data) >= 2 * sb.PAGE:
        # The length is fixed most of the time, since it hides everything else.
        if rng.random() < 0.8:
            struct.pack_into("<Q", data, sb.FILE_BYTES, len(data))
        sb.make_consistent(data)
    path.write_bytes(data)
    with contextlib.suppress(HashsieveError), HashSet.open(path) as known:
        for kind, digests in truth.asked.items():
            with contextlib.suppress(HashsieveError):
                truth.batch(known, kind)
            for digest in rng.sample(digests, min(20, len(digests))):
                with contextlib.suppress(HashsieveError):
                    known.entries(kind, digest)
        for number in rng.sample(range(len(truth.entries)), min(20, len(truth.entries))):
            with contextlib.suppress(HashsieveError):
                known.entry(number)
        with contextlib.suppress(HashsieveError):
            known.info()
        known.verify()


def damaged(truth, path, rng):
    """Damage before or after opening: right or refused."""
    if rng.random() < 0.5:
        path.write_bytes(damage(bytearray(truth.data), rng))
        truth.open_and_hold_against(path, rng, 0.05)
        return
    path.write_bytes(truth.data)
    with HashSet.open(path, load=rng.sample(list(truth.kinds), rng.randint(0, len(truth.kinds)))) as known:
        with open(path, "r+b", buffering=0) as file:
            data = damage(bytearray(truth.data), rng)
            file.write(data)
            file.truncate(len(data))
        with contextlib.suppress(HashsieveError):
            known.load(truth.kinds)
        truth.hold_against(known, rng, 0.05)


def one_round(truths, path, seed, number):
    rng = random.Random(f"{seed} {number}")
    path.unlink(missing_ok=True)
    rng.choice([forged, damaged])(rng.choice(truths), path, rng)


def run(seed, seconds, only, reached):
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        truths = make_truths(Path(folder))
        number = 0 if only is None else only
        while True:
            struct.pack_into("<Q", reached, 0, number)
            one_round(truths, Path(folder) / "x.hset", seed, number)
            if only is not None or time.monotonic() >= end:
                return
            number += 1


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=float, default=20)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--round", type=int)
    given = arguments.parse_args()
    reached = mmap.mmap(-1, 8)  # shared: tells the round even when the child was killed by the sanitizer
    if not hasattr(os, "fork"):
        run(given.seed, given.seconds, given.round, reached)
        return 0
    child = os.fork()
    if not child:
        try:
            run(given.seed, given.seconds, given.round, reached)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except KeyboardInterrupt:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return 130
    number = struct.unpack_from("<Q", reached)[0]
    if status:
        print(f"violation (status {status}): repeat with --seed {given.seed} --round {number}", file=sys.stderr)
        return 1
    print(f"{number + 1} rounds with seed {given.seed}: every answer right or refused")
    return 0


if __name__ == "__main__":
    sys.exit(main())
