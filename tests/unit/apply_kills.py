"""Kills processes that apply deltas at random moments: python tests/unit/apply_kills.py --kills 50."""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

from hashsieve import HashSet, Listing, Role
from hashsieve.hashset.compile import SetWriter
from hashsieve.hashset.delta import make_delta

CHILD = """
import sys
from hashsieve import apply_delta
print("ready", flush=True)
apply_delta(sys.argv[1], sys.argv[2:], sys.argv[1])
print("done", flush=True)
"""


def build(path, entries, generation):
    """Generation n holds the digests from n / 10 on."""
    writer = SetWriter(generation=generation)
    first = entries // 10 * generation
    writer.add_packed("md5", random.Random(1).randbytes(16 * (first + entries))[16 * first :],
                      Listing("list", Role.KNOWN_BAD))  # fmt: skip
    writer.write(path)


def start(live, deltas):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", CHILD, live, *deltas], env=environment,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    if process.stdout.readline() != "ready\n":
        raise RuntimeError(process.stderr.read())
    return process


def kill_while_applying(folder, *, kills, entries, seed):
    """What was found at the live name after each kill, and what was left beside it in the end."""
    rng = random.Random(seed)
    live, old = os.path.join(folder, "live.hset"), os.path.join(folder, "1.hset")
    contents, deltas = [], []
    for generation in (1, 2, 3):
        path = os.path.join(folder, f"{generation}.hset")
        build(path, entries, generation)
        with open(path, "rb") as file:
            contents.append(file.read())
        if generation > 1:
            deltas.append(os.path.join(folder, f"{generation}.hdelta"))
            with HashSet.open(os.path.join(folder, f"{generation - 1}.hset")) as a, HashSet.open(path) as b:
                make_delta(a, b, deltas[-1])
    known = set(os.listdir(folder)) | {"live.hset"}

    def reset():
        with open(live, "wb") as file:
            file.write(contents[0])

    reset()
    began = time.monotonic()
    process = start(live, deltas)
    began = time.monotonic()
    process.communicate()
    takes = time.monotonic() - began
    said = {"old": 0, "new": 0, "wrong": 0}
    for _ in range(kills):
        reset()
        process = start(live, deltas)
        time.sleep(rng.random() * takes)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with open(live, "rb") as file:
            now = file.read()
        said["old" if now == contents[0] else "new" if now == contents[2] else "wrong"] += 1
    reset()
    start(live, deltas).communicate()
    with open(live, "rb") as file:
        said["wrong"] += file.read() != contents[2]
    with open(old, "rb") as file:
        said["wrong"] += file.read() != contents[0]
    return said | {"left": sorted(set(os.listdir(folder)) - known)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--entries", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        said = kill_while_applying(folder, kills=options.kills, entries=options.entries, seed=options.seed)
    print(f"killed {options.kills} times while applying: {said['old']} old, {said['new']} new, {said['wrong']} wrong, "
          f"left behind: {said['left'] or 'nothing'}")  # fmt: skip
    sys.exit(bool(said["wrong"] or said["left"]))


if __name__ == "__main__":
    main()
