"""Everything the project promises, at full size: one line per promise with its figure.

Not part of CI: it takes about half an hour, wants some GB of memory and disk, and is worth reading only on a machine
that is not busy. ``python bench/prove.py [--quick] [--save DIR]``; the lines are also written to SAVE/prove.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def run(*command: str) -> str:
    """Standard output of a command of ours; what it printed is shown when it fails."""
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"FAILED ({done.returncode}): {(done.stdout + done.stderr).strip().splitlines()[-1:]}"
    return done.stdout.strip()


def matches_of_a_real_tree(quick: bool, save: Path) -> list[str]:
    """Exactly the files whose hashlib digest is listed."""
    kinds = ("md5",) if quick else ("md5", "sha1", "sha256")
    return [
        f"a scan matches exactly the listed files: {run('bench/scan_check.py', '/usr', '--kind', kind)}"
        for kind in kinds
    ]


def lookups(quick: bool, save: Path) -> list[str]:
    """Absent and present keys, opening and memory, at 1, 10 and 100 million entries."""
    out = run("bench/lookup.py", "--no-save", *(["--entries", "1000000", "--rounds", "3"] if quick else []))
    lines, at = [], ""
    for line in out.splitlines():
        at = line.partition(" against ")[2].partition(", CPU")[0] or at
        if "promised" in line or "FAILED" in line:
            lines.append(f"lookups at {at} entries: {' '.join(line.split())}")
    return lines


def damage(quick: bool, save: Path) -> list[str]:
    """No damaged set file gives a wrong answer or leaves the exception tree."""
    out = run("tests/format/fuzz_set_damage.py", "--seconds", "10" if quick else "120", "--seed", "7")
    flips = run("tests/format/flip_bits.py", "--flips", "300" if quick else "5000")
    return [f"damaged sets: {each.splitlines()[-1] if each else 'no output'}" for each in (out, flips)]


def every_size(quick: bool, save: Path) -> list[str]:
    """Members of sets of every size, found by a process that did not build them."""
    return [] if quick else [f"sets of every size: {run('tests/model/every_size.py')}"]


def large_set(quick: bool, save: Path) -> list[str]:
    """A set whose offsets need more than 32 bits."""
    return [f"large sets: {run('bench/large_set.py', *(['--entries', '1000000'] if quick else []))}"]


def replacements(quick: bool, save: Path) -> list[str]:
    """A followed set, replaced under threads that look up."""
    out = run("tests/format/replace_sets.py", "--replacements", "20" if quick else "200")
    return [f"replaced sets: {out}"]


def lists(quick: bool, save: Path) -> list[str]:
    """Rows of hash lists a second."""
    how = ["--rows", "200000", "--rounds", "3"] if quick else ["--rows", "3000000", "--out", str(save)]
    out = run("bench/lists.py", *how)
    return [f"lists: {line.strip()}" for line in out.splitlines() if "promised" in line or "FAILED" in line]


def vics_lists(quick: bool, save: Path) -> list[str]:
    """A VICS document of 2 GB in one line: speed of its reader, memory of its compilation."""
    how = ["--records", "200000" if quick else "5000000", "--rounds", "3", "--compile"]
    out = run("bench/lists_json.py", *how, *([] if quick else ["--out", str(save)]))
    return [f"lists: {line.strip()}" for line in out.splitlines() if "promised" in line or "FAILED" in line]


def damaged_lists(quick: bool, save: Path) -> list[str]:
    """No damaged list makes a reader do anything but read or refuse it."""
    out = run("tests/format/fuzz_lists.py", "--seconds", "2" if quick else "120", "--seed", "7")
    return [f"damaged lists: {line.strip()}" for line in out.splitlines() or ["no output"]]


def deltas(quick: bool, save: Path) -> list[str]:
    """Chains of deltas, kills in the middle of applying, and time and memory of applying at full size."""
    out = [
        run("tests/model/delta_chain.py", "--deltas", "50", "--entries", "300" if quick else "5000"),
        run("tests/unit/apply_kills.py", "--kills", "5" if quick else "50"),
    ]
    out += run("bench/delta.py", "--entries", "100000" if quick else "100000000", "--no-save").splitlines()
    return [f"deltas: {line}" for line in out]


def scans(quick: bool, save: Path) -> list[str]:
    """Whole scans beside peers, and the other questions about scans."""
    how = ["--small", "--rounds", "1"] if quick else ["--all", "--rounds", "5", "--home-scale", "0.25"]
    out = run("bench/scan.py", *how, "--out", str(save))
    return [f"scan: {line.strip()}" for line in out.splitlines() if "promised" in line or "FAILED" in line]


def kernels(quick: bool, save: Path) -> list[str]:
    """Digest kernels beside hashlib."""
    out = run("bench/digest.py", *(["--rounds", "3"] if quick else []), "--out", str(save))
    return [f"kernels: {line.strip()}" for line in out.splitlines() if "promised" in line or "FAILED" in line]


def compiling(quick: bool, save: Path) -> list[str]:
    """Sets of 100 million entries in bounded memory, and one brought up to date."""
    lines = []
    for case, entries, memory in (("md5", 100_000_000, 512), ("pair", 20_000_000, 512), ("apply", 100_000_000, 128)):
        count = entries // 100 if quick else entries
        saved = str(save / f"compile-{case}.json")
        out = run("bench/compile.py", "--case", case, "--entries", str(count), "--memory", str(memory), "--json", saved)
        lines.extend(line for line in out.splitlines() if "promised" in line or "FAILED" in line)
    return lines


def killed_builders(quick: bool, save: Path) -> list[str]:
    """The live name holds the old or the new complete set, whenever a builder dies."""
    return [f"killed builders: {run('bench/kill.py', '--times', '6' if quick else '50')}"]


def portable(quick: bool, save: Path) -> list[str]:
    """The whole suite on a build without any kernel but the portable one."""
    if quick:
        return []
    done = subprocess.run(["tests/portable.sh"], cwd=ROOT, capture_output=True, text=True, check=False,
                          env={**os.environ, "BIN": str(Path(sys.executable).parent)})  # fmt: skip
    last = (done.stdout.strip().splitlines() or ["no output"])[-1]
    return [f"portable build: {'' if done.returncode == 0 else 'FAILED: '}{last}"]


def journals(quick: bool, save: Path) -> list[str]:
    """Alerts: durable soon, found when damaged, delivered through kills."""
    lines = []
    for name, command in (
        ("an alert is durable", ("bench/journal.py", str(save), "--count", "300" if quick else "2000")),
        ("damaged journals", ("tests/alerts/damage_journals.py", "--cases", "50" if quick else "1000", "--seed", "7")),
        ("kills while alerts are written and delivered",
         ("tests/alerts/kill_rounds.py", "--rounds", "5" if quick else "200", "--seed", "7")),
    ):  # fmt: skip
        out = run(*command)
        lines.append(f"{name}: {out.splitlines()[-1] if out else 'no output'}")
    floods = run("tests/alerts/flood.py", *(["--alerts", "5000"] if quick else []))
    return lines + [f"a flood of alerts: {line}" for line in floods.splitlines()]


def memory(quick: bool, save: Path) -> list[str]:
    """Private memory of a scan."""
    code = """
import re, sys, tempfile, os, json
from hashsieve import HashSet, Scanner
from hashsieve.hashset.compile import SetWriter
from hashsieve.model import Listing, Role
path = os.path.join(tempfile.mkdtemp(), "known.hset")
writer = SetWriter()
writer.add_packed("md5", os.urandom(16_000_000), Listing("made up", Role.KNOWN_BAD))
writer.write(path)
del writer
def private():
    with open("/proc/self/smaps_rollup") as file:
        return int(re.search(r"Private_Dirty: *([0-9]+)", file.read())[1]) * 1024
with HashSet.open(path, load=()) as known, Scanner(known) as scanner:
    *_, summary = scanner.scan("/usr")
    own = known.filter_bytes("md5") + known.page_count * 16
    print(json.dumps([summary.seen, private(), own]))
"""
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    if child.returncode:
        return [f"memory: FAILED: {child.stderr.strip().splitlines()[-1:]}"]
    seen, private, own = json.loads(child.stdout)
    return [
        f"memory of a scan of {seen:,} files: {private / 2**20:.1f} MiB private, filter and page list {own / 2**20:.1f}"
    ]


def seals(quick: bool, save: Path) -> list[str]:
    """What a sealed set costs a key more."""
    out = run("bench/seal.py", *(["--rounds", "3"] if quick else ["--entries", "10000000"]))
    return [f"sealed sets: {line}" for line in out.splitlines() if "promised" in line or "FAILED" in line]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="scaled down, to see that it runs")
    parser.add_argument("--save", type=Path, default=ROOT / "build" / "prove")
    options = parser.parse_args()
    options.save.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for check in (
        matches_of_a_real_tree,
        lookups,
        damage,
        lists,
        vics_lists,
        damaged_lists,
        journals,
        every_size,
        large_set,
        replacements,
        deltas,
        memory,
        compiling,
        killed_builders,
        seals,
        kernels,
        scans,
        portable,
    ):
        for line in check(options.quick, options.save):
            print(line, flush=True)
            lines.append(line)
    (options.save / "prove.txt").write_text("\n".join(lines) + "\n")
    failed = sum(any(word in line for word in ("FAIL", "difference")) for line in lines)
    print(f"{len(lines) - failed} of {len(lines)} promises kept")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
