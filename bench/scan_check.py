"""Question: on a large real tree, are the matched files exactly those whose digest, by hashlib, is on the list?

Walks the tree with os.walk, computes digests with hashlib, puts the digests of a random choice of files on a list,
compiles it, scans with the command line, and compares paths, counters and exit code. Prints one line; exit code 1 on
any difference.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import random
import stat
import subprocess
import sys
import tempfile
from pathlib import Path


def regular_files(root: bytes) -> list[bytes]:
    """Every regular file below *root* on its own file system, links not followed."""
    device = os.lstat(root).st_dev
    found = []
    for directory, subdirectories, names in os.walk(root):
        subdirectories[:] = [
            name for name in subdirectories if os.lstat(os.path.join(directory, name)).st_dev == device
        ]
        for name in names:
            path = os.path.join(directory, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                found.append(path)
    return found


def digest(path: bytes, kind: str) -> str:
    """Hex digest of a file, by hashlib."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def check(root: str, listed_count: int, kind: str, seed: int) -> str:
    """Runs the comparison; the line to print. AssertionError on any difference."""
    files = regular_files(os.fsencode(root))
    digests = {path: digest(path, kind) for path in files}
    empty = hashlib.new(kind).hexdigest()
    candidates = sorted({d for d in digests.values() if d != empty})
    listed = set(random.Random(seed).sample(candidates, min(listed_count, len(candidates))))
    expected = {path for path, d in digests.items() if d in listed}
    with tempfile.TemporaryDirectory() as work:
        listing = Path(work, "list.txt")
        listing.write_text("".join(f"{d}\n" for d in sorted(listed)))
        command = [sys.executable, "-m", "hashsieve"]
        compiled = str(Path(work, "known.hset"))
        subprocess.run([*command, "compile", "-o", compiled, "--role", "known-bad", "--digest", kind, str(listing)],
        check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        scan = subprocess.run([*command, "scan", "--json", "-s", compiled, root], stdout=subprocess.PIPE, check=False)
    lines = [json.loads(line) for line in scan.stdout.splitlines()]
    summary = lines[-1]
    matched = {
        base64.b64decode(e["path_b64"]) if "path_b64" in e else e["path"].encode()
        for e in lines
        if e["event"] == "match"
    }
    assert scan.returncode == (1 if expected else 0), scan.returncode
    assert matched == expected, (len(matched - expected), len(expected - matched))
    parts = ("matched", "no_match", "not_examined", "changed", "gone", "errors")
    assert summary["seen"] == sum(summary[part] for part in parts) == len(files), (summary, len(files))
    return (
        f"{len(files):,} files, {len(listed):,} {kind} digests listed: "
        f"{len(matched):,} matched, exactly those of hashlib; "
        f"counters add up; exit code {scan.returncode}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", default="/usr")
    parser.add_argument("--listed", type=int, default=1000)
    parser.add_argument("--kind", default="md5", choices=("md5", "sha1", "sha256"))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        print(check(options.root, options.listed, options.kind, options.seed))
    except AssertionError as problem:
        sys.exit(f"difference: {problem}")
