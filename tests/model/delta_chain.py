"""A long chain of random deltas held against fresh builds.

python tests/model/delta_chain.py --deltas 50 --entries 2000
"""

import argparse
import filecmp
import os
import random
import sys
import tempfile

from hashsieve import HashSet, Listing, Record, Role, apply_delta
from hashsieve.hashset.compile import SetWriter
from hashsieve.hashset.delta import make_delta
from hashsieve.model import KINDS


def random_record(rng, pool):
    """A new record, or at times one that shares a digest, or all of them, with an earlier one."""
    kinds = rng.choice([KINDS[:1], KINDS[:2], KINDS[:3], KINDS[2:3], KINDS])
    digests = {kind.value: rng.randbytes(kind.size_bytes) for kind in kinds}
    if pool and rng.random() < 0.2:
        other = rng.choice(pool).digests
        digests = dict(other) if rng.random() < 0.5 else digests | {k: d for k, d in other.items() if k in digests}
    category = rng.choice([None, "1", "2"])
    ref = rng.choice([None, None, f"ref {rng.randrange(10**6)}"])
    listing = Listing(f"list {rng.randrange(3)}", rng.choice(list(Role)), category, ref)
    return Record(digests, rng.choice([None, rng.randrange(2**30)]), listing)


def build(path, records, generation):
    """A fresh full build."""
    writer = SetWriter(generation=generation)
    for record in records:
        writer.add(record)
    writer.write(path)


def chain(folder, *, deltas, entries, seed):
    """Makes and applies that many deltas; how many results were right, the last one also in a single call."""
    rng = random.Random(seed)
    records = []
    while len(records) < entries:
        records.append(random_record(rng, records))
    first, live, full = (os.path.join(folder, name) for name in ("first.hset", "live.hset", "full.hset"))
    build(first, records, 1)
    build(live, records, 1)
    right, paths = 0, []
    for number in range(deltas):
        changes = rng.choice([0, 1, entries // 100, entries // 10])
        gone = set(rng.sample(range(len(records)), min(changes, len(records))))
        records = [record for place, record in enumerate(records) if place not in gone]
        records += [random_record(rng, records) for _ in range(changes)]
        rng.shuffle(records)
        build(full, records, number + 2)
        paths.append(os.path.join(folder, f"{number}.hdelta"))
        with HashSet.open(live, load=()) as old, HashSet.open(full, load=()) as new:
            make_delta(old, new, paths[-1])
        apply_delta(live, paths[-1], live)
        right += filecmp.cmp(live, full, shallow=False)
    apply_delta(first, paths, first)
    return right if filecmp.cmp(first, full, shallow=False) else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deltas", type=int, default=50)
    parser.add_argument("--entries", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        right = chain(folder, deltas=options.deltas, entries=options.entries, seed=options.seed)
    print(f"{right} of {options.deltas} chained deltas gave the bytes of a fresh build")
    sys.exit(right != options.deltas)


if __name__ == "__main__":
    main()
