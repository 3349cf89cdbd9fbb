"""What does a whole scan cost beside today's tools, on the same tree, in the same run?

Every command runs pinned to one core with the page cache warm, in turn with all the others; CPU seconds are user +
system of the process and its children. Start-up of ours is the same command on an empty directory, subtracted. The
median of the rounds is printed with its ratio to ours' peer and what is promised for it. A tool that is not installed
is skipped with a note.

Usage: python bench/scan.py [--tree PATH] [--rounds N] [--home DIR --home-scale F] [--small DIR] [--save DIR]
Raw figures go to SAVE/scan.json (default bench/runs/<date>-<machine>), with a plot where matplotlib is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

OURS = [sys.executable, "-m", "hashsieve"]
ABSENT = {"md5": 32, "sha1": 40, "sha256": 64}


def cpu_seconds(command: list[str], environment: dict[str, str] | None = None, core: int = 0) -> float:
    """User and system seconds of *command* and all it starts, pinned to one core."""
    pid = os.fork()
    if pid == 0:
        os.sched_setaffinity(0, {core})
        nowhere = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(nowhere, fd)
        os.execvpe(command[0], command, {**os.environ, **(environment or {})})
    _, status, use = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1, 123):  # 1: a match, or names nobody may read; 123: so xargs
        raise RuntimeError(f"{command[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return use.ru_utime + use.ru_stime


def make_set(work: Path, name: str, *kinds: str) -> str:
    """A set that needs just these kinds; nothing on the machine has its digests."""
    parts = []
    for kind in kinds:
        listing = work / f"{name}-{kind}.txt"
        listing.write_text(f"{random.Random(kind).randbytes(ABSENT[kind] // 2).hex()}\n")
        parts.append(str(listing))
    compiled = work / f"{name}.hset"
    for part in parts:
        extra = ["--digest", "sha256"] if part.endswith("sha256.txt") else []
        target = work / f"{Path(part).stem}.hset" if len(parts) > 1 else compiled
        subprocess.run([*OURS, "compile", "-o", str(target), "--role", "known-bad", *extra, part], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
    return str(compiled)


def piped(tool: str) -> list[str]:
    """A peer that digests every file of a tree, fed by find."""
    return ["sh", "-c", f'find "$0" -xdev -type f -print0 | xargs -0 {tool}']


def contenders(work: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Name to command and environment; the tree comes last."""
    sets = {kind: make_set(work, kind, kind) for kind in ABSENT}
    known = ["-s", sets["md5"]]
    one = work / "one-line.txt"
    one.write_text("%%%% HASHDEEP-1.0\n%%%% size,md5,filename\n1,00000000000000000000000000000001,x\n")
    all_of_them: dict[str, tuple[list[str], dict[str, str]]] = {
        "hashsieve md5": ([*OURS, "scan", *known], {}),
        "hashsieve sha1": ([*OURS, "scan", "-s", sets["sha1"]], {}),
        "hashsieve sha256": ([*OURS, "scan", "-s", sets["sha256"]], {}),
        "hashsieve sha256 avx2": ([*OURS, "scan", "-s", sets["sha256"]], {"HASHSIEVE_KERNEL": "sha256:avx2-x8"}),
        "hashsieve md5+sha1": ([*OURS, "scan", *known, "-s", sets["sha1"]], {}),
        "hashsieve md5, three sets": ([*OURS, "scan", *known, *known, *known], {}),
        "hashdeep -c md5": (["hashdeep", "-j0", "-c", "md5", "-r", "-m", "-k", str(one)], {}),
        "md5sum": (piped("md5sum"), {}),
        "sha1sum": (piped("sha1sum"), {}),
        "sha256sum": (piped("sha256sum"), {}),
        "openssl dgst -sha256": (piped("openssl dgst -sha256"), {}),
        "b3sum": (piped("b3sum --num-threads 1"), {}),
    }
    tools = {"hashdeep -c md5": "hashdeep", "b3sum": "b3sum", "openssl dgst -sha256": "openssl"}
    for name, tool in tools.items():
        if shutil.which(tool) is None:
            print(f"{name}: not installed, left out")
            del all_of_them[name]
    return all_of_them


PROMISES = [
    ("hashsieve md5", "hashdeep -c md5", 0.15),
    ("hashsieve md5", "md5sum", 0.30),
    ("hashsieve md5", "b3sum", 0.80),
    ("hashsieve sha1", "sha1sum", 0.28),
    ("hashsieve sha256", "sha256sum", 0.16),
    ("hashsieve sha256", "openssl dgst -sha256", 0.65),
    ("hashsieve sha256 avx2", "sha256sum", 0.35),
    ("hashsieve md5, three sets", "hashsieve md5", 1.15),
]


def measure(
    tree: str, rounds: int, work: Path, only: Callable[[str], bool] = lambda name: True
) -> dict[str, list[float]]:
    """CPU seconds of every contender in every round, ours less its start-up."""
    commands = {name: each for name, each in contenders(work).items() if only(name)}
    empty = work / "empty"
    empty.mkdir(exist_ok=True)
    cpu_seconds(["sh", "-c", 'find "$0" -xdev -type f -print0 | xargs -0 cat', tree])  # warm
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    startup: list[float] = []
    for _ in range(rounds):
        for name, (command, environment) in commands.items():
            spent = cpu_seconds([*command, tree], environment)
            if name.startswith("hashsieve"):
                start = cpu_seconds([*command, str(empty)], environment)
                startup.append(start)
                spent -= start
            seconds[name].append(spent)
    seconds["start-up of ours"] = startup
    return seconds


def report(title: str, seconds: dict[str, list[float]]) -> list[dict[str, object]]:
    """Prints medians and promised ratios; the rows."""
    print(f"\n{title}")
    middle = {name: statistics.median(each) for name, each in seconds.items()}
    for name, each in seconds.items():
        print(f"  {name:<28} {middle[name]:8.3f} s   ({min(each):.3f} to {max(each):.3f})")
    rows: list[dict[str, object]] = []
    for ours, peer, limit in PROMISES:
        if ours in middle and peer in middle:
            ratio = middle[ours] / middle[peer]
            rows.append({"ours": ours, "peer": peer, "ratio": ratio, "promised": limit, "kept": ratio <= limit})
            print(
                f"  {ours} / {peer}: {ratio:.3f}, promised at most {limit}: {'kept' if ratio <= limit else 'NOT KEPT'}"
            )
    return rows


def home_tree(where: Path, scale: float) -> str:
    """2,000 files of 2 to 4 MB and 16 of 250 MB, scaled; made-up bytes."""
    dice = random.Random(5)
    block = dice.randbytes(1 << 20)
    where.mkdir(parents=True, exist_ok=True)
    for number in range(int(2000 * scale)):
        with open(where / f"photo-{number}", "wb") as file:
            file.write((b"%08d" % number + block * 4)[: dice.randrange(2_000_000, 4_000_000)])
    for number in range(max(1, int(16 * scale))):
        with open(where / f"film-{number}", "wb") as file:
            for part in range(250):
                file.write((b"%08d %08d" % (number, part) + block)[: 1 << 20])
    return str(where)


def small_files(where: Path, work: Path, rounds: int, count: int = 50_000) -> dict[str, list[float]]:
    """CPU microseconds a 4 KiB file: ours with hashing, and the system calls alone."""
    where.mkdir(parents=True, exist_ok=True)
    dice = random.Random(6)
    for number in range(count):
        (where / f"{number}").write_bytes(dice.randbytes(4096))
    loop = work / "small_files"
    subprocess.run(["cc", "-O2", str(Path(__file__).parent / "native/small_files.c"), "-o", str(loop)], check=True)
    known = make_set(work, "small", "md5")
    empty = work / "empty"
    empty.mkdir(exist_ok=True)
    out: dict[str, list[float]] = {"hashsieve md5": [], "openat, fstat, read, fstat, close": []}
    for _ in range(rounds + 1):
        spent = cpu_seconds([*OURS, "scan", "-s", known, str(where)]) - cpu_seconds(
            [*OURS, "scan", "-s", known, str(empty)]
        )
        done = subprocess.run([str(loop), str(where)], check=True, capture_output=True, text=True).stdout.split()
        out["hashsieve md5"].append(spent / count * 1e6)
        out["openat, fstat, read, fstat, close"].append(float(done[1]) / 1e3)
    return {name: each[1:] for name, each in out.items()}


def plot(path: Path, seconds: dict[str, list[float]]) -> None:
    """Bars of the medians, where matplotlib is installed."""
    try:
        import matplotlib
    except ImportError:
        print("matplotlib is not installed: no plot")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in seconds if name != "start-up of ours"]
    figure, axes = pyplot.subplots(figsize=(9, 5))
    axes.barh(names, [statistics.median(seconds[name]) for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("CPU seconds (user + system), one core, warm cache, median")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", default="/usr")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--home-scale", type=float, default=1.0)
    parser.add_argument("--small", type=Path)
    parser.add_argument("--save", type=Path, default=Path("build/bench-scan"))
    options = parser.parse_args()
    raw: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        seconds = measure(options.tree, options.rounds, work)
        raw["tree"] = {"path": options.tree, "cpu_seconds": seconds, "promises": report(options.tree, seconds)}
        if options.home:
            tree = home_tree(options.home, options.home_scale)
            home = measure(tree, options.rounds, work, lambda name: name in ("hashsieve md5", "md5sum"))
            raw["home"] = {"scale": options.home_scale, "cpu_seconds": home, "promises": report("home-like tree", home)}
        if options.small:
            small = small_files(options.small, work, options.rounds)
            raw["small"] = small
            ours, floor = (statistics.median(each) for each in small.values())
            kept = "kept" if ours - floor <= 2 else "NOT KEPT"
            print(
                f"\n4 KiB files: {ours:.2f} us a file, system calls alone {floor:.2f}; promised at most 2 more: {kept}"
            )
    options.save.mkdir(parents=True, exist_ok=True)
    (options.save / "scan.json").write_text(json.dumps(raw, indent=1) + "\n")
    plot(options.save / "scan.png", seconds)


if __name__ == "__main__":
    main()
