"""What a good set answers, to hold a damaged copy of it against: right, or a typed refusal, never anything else."""

import random

import numpy as np
from set_bytes import NAMES, WIDTHS, sample_records

from hashsieve.errors import HashsieveError
from hashsieve.hashset.compile import SetWriter
from hashsieve.hashset.hashset import HashSet
from hashsieve.model import Listing, Record, Role


class WrongAnswerError(AssertionError):
    """A set said something that is not so."""


class Truth:
    """A small set: its bytes, and its answers about members and others."""

    def __init__(self, path, rows):
        writer = SetWriter(generation=3)
        for digests, size, source, ref in rows:
            writer.add(Record(digests, size, Listing(source, Role.KNOWN_BAD, None, ref)))
        writer.write(path)
        with open(path, "rb") as file:
            self.data = file.read()
        rng = random.Random(7)
        self.asked = {}
        for code, kind in NAMES.items():
            digests = [row[0][kind] for row in rows if kind in row[0]]
            digests += [rng.randbytes(WIDTHS[code]) for _ in range(200)]
            digests += [bytes(WIDTHS[code]), b"\xff" * WIDTHS[code]]
            rng.shuffle(digests)
            self.asked[kind] = digests
        with HashSet.open(path) as known:
            self.kinds = known.kinds
            self.first = {kind: self.batch(known, kind) for kind in self.asked}
            self.found = {kind: [known.find(kind, d) for d in digests] for kind, digests in self.asked.items()}
            self.entries = [known.entry(n) for n in range(len(known) + 1)]

    def batch(self, known, kind):
        packed = np.frombuffer(b"".join(self.asked[kind]), np.uint8)
        return known.lookup(packed.reshape(len(self.asked[kind]), -1), kind).tolist()

    def hold_against(self, known, rng=None, share=1.0):
        """Asks everything, or a share of it; returns how many questions were refused. Raises where one is wrong."""
        rng = rng or random.Random(1)
        refused = 0

        def ask(question, expected, *what):
            nonlocal refused
            try:
                answer = question()
            except HashsieveError:
                refused += 1
            else:
                if answer != expected:
                    raise WrongAnswerError(f"{what}: {answer!r} instead of {expected!r}")

        for kind, digests in self.asked.items():
            ask(lambda kind=kind: self.batch(known, kind), self.first[kind], "batch", kind)
            for digest, expected in zip(digests, self.found[kind], strict=True):
                if rng.random() < share:
                    ask(lambda kind=kind, digest=digest: known.find(kind, digest), expected, "find", kind, digest.hex())
        for number, expected in enumerate(self.entries):
            if rng.random() < share:
                ask(lambda number=number: known.entry(number), expected, "entry", number)
        return refused

    def open_and_hold_against(self, path, rng=None, share=1.0):
        """The same for a file: True when it was opened."""
        try:
            known = HashSet.open(path)
        except HashsieveError:
            return False
        with known:
            self.hold_against(known, rng, share)
        return True


def make_truths(folder):
    """One set of every feature, one of a single kind whose table stores no entry numbers, one of a single record."""
    return [
        Truth(folder / "mixed.hset", sample_records(300)),
        Truth(folder / "md5.hset", sample_records(900, 2, ("md5",))),
        Truth(folder / "one.hset", sample_records(1, 3, ("sha256",))),
    ]
