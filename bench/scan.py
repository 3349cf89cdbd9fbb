"""Question: what does a whole scan cost beside today's tools, on the same tree, in the same run?

Without options: the tree of ``--tree`` with a warm page cache, by hashdeep, md5sum, sha1sum, sha256sum, openssl, b3sum,
clamscan, a loop over hashlib, and by ``hashsieve scan`` with sets of one and of several kinds. Whole processes, pinned
to one core; CPU seconds are user and system time of the process and its children, from ``wait4``. Start-up, the same
command on an empty directory, is printed and subtracted. Runs of all commands are interleaved; printed are median and
least of the rounds, and the ratios that were promised, by medians. A tool that is not installed is left out with a
note.

Other questions, each with an option of its own: ``--home`` (few large files), ``--small`` (many small ones), ``--gate``
(the known-sizes gate), ``--threads``, ``--memory``, ``--cold`` (needs root). Raw numbers go to ``scan.json``, the plot
to ``scan.png``, in ``bench/runs/<date>-<machine>/`` or ``--out``; a section replaces the one of an earlier run and
leaves the others.

    python bench/scan.py --tree /usr --rounds 5
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ROOT / "engine"
MIB = 1 << 20


# ---- measuring ---------------------------------------------------------------------------------------------------


@dataclass
class Job:
    """A command to measure. ``command(directory)`` gives its words. *once*: so slow that one round has to do."""

    name: str
    command: Callable[[str], Sequence[str]]
    environment: dict[str, str] = field(default_factory=dict)
    needs: str = ""
    once: bool = False
    good_codes: tuple[int, ...] = (0,)
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    start_cpu: list[float] = field(default_factory=list)
    output: str = ""

    @property
    def net(self) -> float:
        """Median of CPU seconds without start-up."""
        return statistics.median(self.cpu) - statistics.median(self.start_cpu)

    @property
    def least(self) -> float:
        """Least CPU seconds without start-up."""
        return min(self.cpu) - min(self.start_cpu)

    def to_json(self) -> dict[str, Any]:
        """Everything measured."""
        return {
            "command": list(self.command("TREE")), "environment": self.environment, "cpu_seconds": self.cpu,
            "wall_seconds": self.wall, "start_up_cpu_seconds": self.start_cpu, "net_cpu_seconds_median": self.net,
            "net_cpu_seconds_least": self.least, "output": self.output,
        }  # fmt: skip


def run(job: Job, directory: str, core: int | None) -> tuple[float, float, str]:
    """CPU and wall seconds of one run, and its last line. RuntimeError when it ends in another way than it should."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(job.command(directory)),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, "LC_ALL": "C", "PYTHONPATH": str(ENGINE), **job.environment},
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(max(0, out.seek(0, os.SEEK_END) - 4000))
        last_line = out.read().decode(errors="replace").removesuffix("\n").rpartition("\n")[2]
        if process.returncode not in job.good_codes:
            err.seek(0)
            raise RuntimeError(f"{job.name}: exit code {process.returncode}: {err.read(2000).decode(errors='replace')}")
    return used.ru_utime + used.ru_stime, wall, last_line


def measure(jobs: list[Job], tree: str, rounds: int, core: int | None) -> list[Job]:
    """Runs all jobs that are installed in every round; those that ran."""
    there = []
    for job in jobs:
        if job.needs and not shutil.which(job.needs):
            print(f"left out: {job.name}: {job.needs} is not installed")
        else:
            there.append(job)
    with tempfile.TemporaryDirectory() as empty:
        for number in range(rounds):
            for job in there:
                if job.once and number:
                    continue
                cpu, wall, job.output = run(job, tree, core)
                job.cpu.append(cpu)
                job.wall.append(wall)
                job.start_cpu.append(run(job, empty, core)[0])
            print(f"round {number + 1} of {rounds} done", file=sys.stderr)
    return there


def table(jobs: Sequence[Job]) -> None:
    """Prints what was measured."""
    print(f"{'CPU seconds, one core':44}{'net median':>12}{'least':>9}{'start-up':>10}{'wall':>9}")
    for job in jobs:
        start = statistics.median(job.start_cpu)
        print(f"{job.name:44}{job.net:12.3f}{job.least:9.3f}{start:10.3f}{statistics.median(job.wall):9.3f}")


@dataclass
class Promises:
    """Promised bounds and what came of them."""

    kept: list[dict[str, Any]] = field(default_factory=list)

    def at_most(self, what: str, value: float, limit: float, unit: str = "") -> None:
        """A value that may not exceed *limit*."""
        self._note(what, value, "<=", limit, value <= limit, unit)

    def at_least(self, what: str, value: float, limit: float, unit: str = "") -> None:
        """A value that must reach *limit*."""
        self._note(what, value, ">=", limit, value >= limit, unit)

    def _note(self, what: str, value: float, sign: str, limit: float, good: bool, unit: str) -> None:
        self.kept.append({"what": what, "value": value, "promised": f"{sign} {limit:.6g}{unit}", "kept": good})
        print(f"  {'pass' if good else 'FAIL'}  {what}: {value:.3f}{unit} (promised {sign} {limit:.3g}{unit})")


# ---- what is measured --------------------------------------------------------------------------------------------


def xargs(tool: str) -> Callable[[str], list[str]]:
    """``find | xargs`` over the regular files of one file system."""
    return lambda tree: ["sh", "-c", f'find "$1" -xdev -type f -print0 | xargs -0 -r {tool} >/dev/null', "sh", tree]


HASHLIB_LOOP = """
import hashlib, os, sys
for directory, _, names in os.walk(sys.argv[1]):
    for name in names:
        path = os.path.join(directory, name)
        if not os.path.islink(path) and os.path.isfile(path):
            with open(path, "rb") as file:
                hashlib.file_digest(file, "md5")
"""


def scan_job(name: str, sets: Sequence[str], *options: str, kernels: str = "") -> Job:
    """The command line of ours."""
    command = [
        sys.executable,
        "-m",
        "hashsieve",
        "scan",
        "--json",
        *(w for path in sets for w in ("-s", path)),
        *options,
    ]
    return Job(name, lambda tree: [*command, tree], {"HASHSIEVE_KERNEL": kernels} if kernels else {})


class Workshop:
    """Sets, lists and trees in a directory that goes away at the end."""

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)
        self.made: dict[str, str] = {}

    def compile(self, name: str, lines: Iterator[str], *options: str) -> str:
        """A set of the list with these lines."""
        if name not in self.made:
            listing, path = self.directory / f"{name}.txt", str(self.directory / f"{name}.hset")
            with open(listing, "w") as file:
                file.writelines(lines)
            command = [
                sys.executable,
                "-m",
                "hashsieve",
                "compile",
                "-o",
                path,
                "--role",
                "known-bad",
                *options,
                str(listing),
            ]
            subprocess.run(
                command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ENGINE)}
            )
            self.made[name] = path
        return self.made[name]

    def digests(self, kind: str, count: int, seed: int = 1) -> str:
        """A set of *count* random digests of one kind."""
        length = hashlib.new(kind).digest_size
        source = random.Random(f"{kind} {seed}")
        lines = (f"{source.randbytes(length).hex()}\n" for _ in range(count))
        return self.compile(f"{kind}-{count}-{seed}", lines, "--digest", kind)

    def sized(self, name: str, sizes: Iterator[int]) -> str:
        """A set of random MD5 digests with trusted sizes."""
        source = random.Random(name)

        def lines() -> Iterator[str]:
            yield "%%%% HASHDEEP-1.0\n%%%% size,md5,filename\n"
            for number, size in enumerate(sizes):
                yield f"{size},{source.randbytes(16).hex()},{number}\n"

        return self.compile(name, lines(), "--sizes", "trusted")

    def bare_loop(self) -> str:
        """The C loop over the same system calls."""
        program = self.directory / "bare_loop"
        if not program.exists():
            source = ROOT / "bench" / "native" / "bare_loop.c"
            subprocess.run(["cc", "-std=c11", "-O2", str(source), "-o", str(program)], check=True)
        return str(program)

    def bare_job(self, mode: str, what: str) -> Job:
        """A run of that loop."""
        program = self.bare_loop()
        return Job(f"C loop: {what}", lambda tree: [program, mode, tree])

    @contextlib.contextmanager
    def tree(self, name: str, fill: Callable[[Path], None]) -> Iterator[str]:
        """A directory filled by *fill*, removed afterwards."""
        path = self.directory / name
        path.mkdir()
        try:
            fill(path)
            yield str(path)
        finally:
            shutil.rmtree(path)


def write_files(directory: Path, sizes: Sequence[int], a_directory: int = 500) -> None:
    """Files of these sizes, all different, in directories of *a_directory* files."""
    source = random.Random(7)
    pool = source.randbytes(8 * MIB)
    for number, size in enumerate(sizes):
        at = directory / f"{number // a_directory:04}"
        at.mkdir(exist_ok=True)
        with open(at / f"file-{number:06}.bin", "wb") as file:
            file.write(number.to_bytes(8, "little")[:size])
            left = size - 8
            while left > 0:
                start = source.randrange(len(pool) // 2)
                piece = pool[start : start + min(left, len(pool) // 2)]
                file.write(piece)
                left -= len(piece)


def home_tree(scale: float) -> Callable[[Path], None]:
    """2,000 files of 2 to 4 MB and 16 of 250 MB, times *scale*."""

    def fill(directory: Path) -> None:
        source = random.Random(3)
        sizes = [source.randrange(2_000_000, 4_000_000) for _ in range(max(1, round(2000 * scale)))]
        large = [250_000_000] * max(1, round(16 * scale))
        for number, size in enumerate(large):  # among the others, as in a home
            sizes.insert((number * len(sizes)) // len(large), size)
        write_files(directory, sizes)

    return fill


def warm(tree: str) -> None:
    """Brings the content of the tree into the page cache."""
    command = 'find "$1" -xdev -type f -print0 | xargs -0 -r cat >/dev/null 2>&1'
    subprocess.run(["sh", "-c", command, "sh", tree], check=False)


def facts_of(job: Job) -> dict[str, Any]:
    """The summary line of a scan."""
    summary: dict[str, Any] = json.loads(job.output)
    return summary


# ---- the questions -----------------------------------------------------------------------------------------------


def whole_tree(shop: Workshop, options: argparse.Namespace) -> dict[str, Any]:
    """The tree, by today's tools and by ours."""
    tree, count, rounds, core = options.tree, options.entries, options.rounds, options.core
    line = shop.directory / "one-line.txt"
    line.write_text("%%%% HASHDEEP-1.0\n%%%% size,md5,filename\n68,0123456789abcdef0123456789abcdef,x\n")
    hdb = shop.directory / "one.hdb"
    hdb.write_text("0123456789abcdef0123456789abcdef:68:Example.Known\n")
    md5, sha1, sha256 = (shop.digests(kind, count) for kind in ("md5", "sha1", "sha256"))
    more = [shop.digests("md5", count, seed) for seed in (2, 3)]
    any_code = tuple(range(256))
    peers = [
        Job(
            "hashdeep -j0 -c md5 -r -m",
            lambda tree: ["hashdeep", "-j0", "-c", "md5", "-r", "-m", "-k", str(line), tree],
            needs="hashdeep", good_codes=any_code,
        ),
        Job("find, xargs md5sum", xargs("md5sum"), needs="md5sum"),
        Job("find, xargs sha1sum", xargs("sha1sum"), needs="sha1sum"),
        Job("find, xargs sha256sum", xargs("sha256sum"), needs="sha256sum"),
        Job("find, xargs openssl dgst -sha256", xargs("openssl dgst -sha256"), needs="openssl"),
        Job("find, xargs b3sum --num-threads 1", xargs("b3sum --num-threads 1"), needs="b3sum"),
        Job("hashlib loop, md5", lambda tree: [sys.executable, "-c", HASHLIB_LOOP, tree]),
        Job(
            "clamscan, one .hdb",
            lambda tree: [
                "clamscan", "-r", "-i", "--cross-fs=no", "--scan-archive=no", "--max-filesize=4000M",
                "--max-scansize=4000M", f"--database={hdb}", tree,
            ],
            needs="clamscan", once=True, good_codes=any_code,
        ),
        shop.bare_job("read", "open, read, close"),
    ]  # fmt: skip
    ours = [
        scan_job("hashsieve scan, MD5 set", [md5]),
        scan_job("hashsieve scan, SHA-1 set", [sha1]),
        scan_job("hashsieve scan, SHA-256 set", [sha256]),
        scan_job("hashsieve scan, MD5 set and SHA-1 set", [md5, sha1]),
        scan_job("hashsieve scan, three MD5 sets", [md5, *more]),
    ]
    from hashsieve.scan.kernels import demanded_kernels

    try:
        demanded_kernels({"HASHSIEVE_KERNEL": "sha256:avx2-x8"})
    except Exception as problem:
        print(f"left out: SHA-256 with AVX2 lanes: {problem}")
    else:
        ours.append(scan_job("hashsieve scan, SHA-256 by AVX2 lanes", [sha256], kernels="sha256:avx2-x8"))
    warm(tree)
    done = measure(peers + ours, tree, rounds, core)
    table(done)
    net = {job.name: job.net for job in done}
    promises = Promises()

    def ratio(numerator: str, denominator: str, limit: float) -> None:
        if numerator in net and denominator in net:
            promises.at_most(f"{numerator} / {denominator}", net[numerator] / net[denominator], limit)

    ratio("hashsieve scan, MD5 set", "hashdeep -j0 -c md5 -r -m", 0.15)
    ratio("hashsieve scan, MD5 set", "find, xargs md5sum", 0.30)
    ratio("hashsieve scan, MD5 set", "find, xargs b3sum --num-threads 1", 0.80)
    ratio("hashsieve scan, SHA-1 set", "find, xargs sha1sum", 0.28)
    ratio("hashsieve scan, SHA-256 set", "find, xargs sha256sum", 0.16)
    ratio("hashsieve scan, SHA-256 set", "find, xargs openssl dgst -sha256", 0.65)
    ratio("hashsieve scan, SHA-256 by AVX2 lanes", "find, xargs sha256sum", 0.35)
    ratio("hashsieve scan, three MD5 sets", "hashsieve scan, MD5 set", 1.15)
    both = net["hashsieve scan, MD5 set"] + net["hashsieve scan, SHA-1 set"] - net["C loop: open, read, close"]
    promises.at_most(
        "MD5 set and SHA-1 set / (both scans minus one read)", net["hashsieve scan, MD5 set and SHA-1 set"] / both, 1
    )
    summary = facts_of(next(job for job in done if job.name == "hashsieve scan, MD5 set"))
    size = f"{summary['seen']:,} files, {summary['bytes_read'] / 1e9:.1f} GB"
    print(f"  a scan reads {size}; sets of {count:,} entries each")
    plot(done, options.out / "scan.png", f"{tree}: {size}")
    return {"tree": tree, "entries": count, "jobs": {j.name: j.to_json() for j in done}, "promises": promises.kept}


def home(shop: Workshop, options: argparse.Namespace) -> dict[str, Any]:
    """Few large files, as in a home."""
    md5 = shop.digests("md5", options.entries)
    with shop.tree("home", home_tree(options.home_scale)) as tree:
        warm(tree)
        jobs = [
            Job("find, xargs md5sum", xargs("md5sum"), needs="md5sum"),
            Job("find, xargs b3sum --num-threads 1", xargs("b3sum --num-threads 1"), needs="b3sum"),
            shop.bare_job("read", "open, read, close"),
            scan_job("hashsieve scan, MD5 set", [md5]),
        ]
        done = measure(jobs, tree, options.rounds, options.core)
    table(done)
    promises = Promises()
    net = {job.name: job.net for job in done}
    if "find, xargs md5sum" in net:
        promises.at_most("home: MD5 set / md5sum", net["hashsieve scan, MD5 set"] / net["find, xargs md5sum"], 0.30)
    return {"scale": options.home_scale, "jobs": {j.name: j.to_json() for j in done}, "promises": promises.kept}


def small(shop: Workshop, options: argparse.Namespace) -> dict[str, Any]:
    """50,000 files of 4 KiB: what is spent above the system calls."""
    count = 50_000
    md5 = shop.digests("md5", options.entries)
    with shop.tree("small", lambda directory: write_files(directory, [4096] * count)) as tree:
        warm(tree)
        names, read = shop.bare_job("names", "list"), shop.bare_job("read", "list, open, fstat, read, fstat, close")
        ours = scan_job("hashsieve scan, MD5 set", [md5])
        done = measure([names, read, ours], tree, options.rounds, options.core)
    table(done)
    loop, scan = (read.net - names.net) / count * 1e6, ours.net / count * 1e6
    print(f"  microseconds a file: scan {scan:.2f}; loop {loop:.2f}, and {names.net / count * 1e6:.2f} for listing it")
    promises = Promises()
    promises.at_most("4 KiB files: scan above the C loop without its listing", scan - loop, 2.0, " us a file")
    return {"files": count, "jobs": {j.name: j.to_json() for j in done}, "promises": promises.kept}


def gate(shop: Workshop, options: argparse.Namespace) -> dict[str, Any]:
    """The known-sizes gate: how much it lets by, and its cost where it lets nothing through."""
    source = random.Random(11)

    def log_normal(count: int) -> Iterator[int]:
        """Sizes about as pictures have them: median 150 kB, a third beyond 50 to 450 kB."""
        return (max(1, round(source.lognormvariate(11.92, 1.1))) for _ in range(count))

    none = shop.sized("sizes-none", iter(range(1 << 50, (1 << 50) + 10_000)))
    few, many = shop.sized("sizes-10k", log_normal(10_000)), shop.sized("sizes-1m", log_normal(1_000_000))
    most = shop.sized("sizes-13m", log_normal(13_000_000))
    warm(options.tree)
    jobs = [
        shop.bare_job("stat", "getdents, statx"),
        scan_job("hashsieve scan, no size is listed", [none]),
        scan_job("hashsieve scan, 10 thousand log-normal sizes", [few]),
        scan_job("hashsieve scan, 1 million log-normal sizes", [many]),
        scan_job("hashsieve scan, 13 million log-normal sizes", [most]),
        scan_job("hashsieve scan, no gate", [shop.digests("md5", options.entries)]),
    ]
    done = measure(jobs, options.tree, options.rounds, options.core)
    table(done)
    everything = facts_of(done[-1])
    shares = {}
    for job in done[1:-1]:
        summary = facts_of(job)
        files = summary["gates"]["known-sizes"] / summary["seen"]
        content = 1 - summary["bytes_read"] / everything["bytes_read"]
        shares[job.name] = {"files": files, "bytes": content}
        print(f"  {job.name}: gated {files:.1%} of files, {content:.1%} of bytes")
    promises = Promises()
    promises.at_most("all gated / C loop of getdents and statx", done[1].net / done[0].net, 1.7)
    return {
        "tree": options.tree,
        "gated": shares,
        "jobs": {j.name: j.to_json() for j in done},
        "promises": promises.kept,
    }


THREADS_WORKER = """
import json, sys, threading, time
from hashsieve import HashSet, Scanner
path, tree, scanners, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
known = HashSet.open(path)
made = [Scanner(known, jobs=jobs) for _ in range(scanners)]
def scan(scanner):
    for outcome in scanner.scan(tree):
        last = outcome
    assert last.seen == last.no_match and not last.incomplete, last
threads = [threading.Thread(target=scan, args=(scanner,)) for scanner in made]
wall, cpu = time.perf_counter(), time.process_time()
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}))
"""


def threads(shop: Workshop, options: argparse.Namespace) -> dict[str, Any]:
    """Several scanners on one set in one process, each over the whole tree; and reader threads of one scanner."""
    md5 = shop.digests("md5", options.entries)
    warm(options.tree)
    shapes = {"1 scanner": (1, 1), "2 scanners": (2, 1), "8 scanners": (8, 1), "1 scanner, 2 jobs": (1, 2)}
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in shapes}
    for _ in range(options.rounds):
        for name, (scanners, jobs) in shapes.items():
            command = [sys.executable, "-c", THREADS_WORKER, md5, options.tree, str(scanners), str(jobs)]
            done = subprocess.run(
                command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ENGINE)}
            )
            measured[name].append(json.loads(done.stdout))
    rate = {}  # trees a second
    for name, runs in measured.items():
        wall, cpu = (statistics.median(each[key] for each in runs) for key in ("wall", "cpu"))
        least = min(each["wall"] for each in runs)  # wall time also counts whoever else uses the machine
        rate[name] = shapes[name][0] / least
        print(f"{name:20} wall {wall:7.2f} s, least {least:7.2f}, CPU {cpu:7.2f} s; {rate[name]:.3f} trees a second")
    promises = Promises()
    print(f"  cores of this process: {len(os.sched_getaffinity(0))}")
    promises.at_least("throughput of 2 scanners / 1", rate["2 scanners"] / rate["1 scanner"], 1.8)
    promises.at_least("throughput of 8 scanners / 2", rate["8 scanners"] / rate["2 scanners"], 1.0)
    print(f"  1 scanner with 2 jobs / with 1: {rate['1 scanner, 2 jobs'] / rate['1 scanner']:.2f}")
    return {"tree": options.tree, "runs": measured, "promises": promises.kept}


MEMORY_WORKER = """
import json, os, re, sys
from hashsieve import HashSet, Scanner
path, tree = sys.argv[1:]
known = HashSet.open(path, load=())
with Scanner(known) as scanner:
    for outcome in scanner.scan(tree):
        last = outcome
    text = open("/proc/self/smaps_rollup").read()
    value = {name: int(re.search(rf"^{name}: +(\\d+) kB", text, re.M)[1]) * 1024 for name in ("Private_Dirty", "Rss")}
    value["filters"] = sum(known.file.filter_bytes(kind.code) for kind in scanner.plan)
    value["page_list"] = -(-os.path.getsize(path) // 4096) * 16
    value["seen"] = last.seen
print(json.dumps(value))
"""


def memory(shop: Workshop, options: argparse.Namespace) -> dict[str, Any]:
    """Private memory at the end of a scan."""
    runs = {}
    promises = Promises()
    for count in (1, options.entries):
        md5 = shop.digests("md5", count)
        command = [sys.executable, "-c", MEMORY_WORKER, md5, options.tree]
        done = subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ENGINE)})
        value = runs[str(count)] = json.loads(done.stdout)
        own = value["Private_Dirty"] - value["filters"] - value["page_list"]
        parts = ", ".join(
            f"{name} {value[name] / MIB:.1f}" for name in ("Private_Dirty", "filters", "page_list", "Rss")
        )
        print(f"{count:,} entries, {value['seen']:,} files; MiB: {parts}")
        promises.at_most(f"Private_Dirty beyond filters and page list, {count:,} entries", own / MIB, 25, " MiB")
    return {"tree": options.tree, "runs": runs, "promises": promises.kept}


def cold(shop: Workshop, options: argparse.Namespace) -> dict[str, Any]:
    """Wall time with none of the files in the page cache, against ``cat`` of the same."""
    if not os.access("/proc/sys/vm/drop_caches", os.W_OK):
        print("left out: cold: the page cache can only be dropped by root")
        return {}
    md5 = shop.digests("md5", options.entries)
    jobs = [Job("find, xargs cat", xargs("cat")), scan_job("hashsieve scan, MD5 set", [md5])]
    with shop.tree("cold", home_tree(options.home_scale)) as tree, tempfile.TemporaryDirectory() as empty:
        os.sync()
        for number in range(options.rounds):
            for job in jobs if number % 2 else jobs[::-1]:
                Path("/proc/sys/vm/drop_caches").write_text("3")
                run(job, empty, None)  # the programs themselves are warm
                cpu, wall, job.output = run(job, tree, None)
                job.cpu.append(cpu)
                job.wall.append(wall)
                job.start_cpu.append(0.0)
    table(jobs)
    cat, scan = (statistics.median(job.wall) for job in jobs)
    promises = Promises()
    promises.at_most("home, cold: wall of MD5 scan / cat", scan / cat, 1.15)
    print(f"  by the least of both: {min(jobs[1].wall) / min(jobs[0].wall):.3f}")
    return {"scale": options.home_scale, "jobs": {j.name: j.to_json() for j in jobs}, "promises": promises.kept}


# ---- reporting ---------------------------------------------------------------------------------------------------


def plot(jobs: Sequence[Job], path: Path, title: str) -> None:
    """Bars of CPU seconds, ours in another colour."""
    try:
        import matplotlib
    except ImportError:
        print("no plot: matplotlib is not installed")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    ordered = sorted(jobs, key=lambda job: -job.net)
    figure, axes = pyplot.subplots(figsize=(9, 0.42 * len(ordered) + 1.2), layout="constrained")
    colours = ["#1f6f8b" if job.name.startswith("hashsieve") else "#b5b5b5" for job in ordered]
    bars = axes.barh([job.name for job in ordered], [job.net for job in ordered], color=colours)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.margins(x=0.08)
    axes.set_xlabel("CPU seconds (user and system, one core, warm cache, start-up subtracted)")
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    print(f"  plot: {path}")


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
        if found:
            return {"cpu": found[1], "cores": os.cpu_count(), "system": platform.platform(), "load": os.getloadavg()}
    return {
        "cpu": platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "load": os.getloadavg(),
    }


def default_out() -> Path:
    """``bench/runs/<date>-<machine>``."""
    name = re.sub(r"[^a-z0-9]+", "-", str(machine()["cpu"]).lower()).strip("-") or "machine"
    return ROOT / "bench" / "runs" / f"{datetime.date.today().isoformat()}-{name}"


QUESTIONS: dict[str, Callable[[Workshop, argparse.Namespace], dict[str, Any]]] = {
    "tree": whole_tree, "home": home, "small": small, "gate": gate, "threads": threads, "memory": memory, "cold": cold,
}  # fmt: skip


def main() -> int:
    """Asks the chosen questions; exit code 1 when a promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, question in QUESTIONS.items():
        if name != "tree":
            parser.add_argument(f"--{name}", action="store_true", help=question.__doc__)
    parser.add_argument("--all", action="store_true", help="every question")
    parser.add_argument("--tree", default="/usr", help="the tree to scan (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved runs of each command (%(default)s)")
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries of each set (%(default)s)")
    parser.add_argument("--home-scale", type=float, default=1.0, help="size of the home-like tree; 1 needs 10 GB")
    parser.add_argument("--scratch", default=tempfile.gettempdir(), help="where sets and trees are made (%(default)s)")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="core to pin to (%(default)s)")
    parser.add_argument("--out", type=Path, default=None, help="where results go")
    options = parser.parse_args()
    options.out = options.out or default_out()
    options.out.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(ENGINE))
    results = options.out / "scan.json"
    asked = [name for name in QUESTIONS if options.all or (name != "tree" and getattr(options, name))] or ["tree"]
    good = True
    for name in asked:
        print(f"\n{name}: {QUESTIONS[name].__doc__}")
        with tempfile.TemporaryDirectory(dir=options.scratch, prefix="hashsieve-bench-") as directory:
            found = QUESTIONS[name](Workshop(directory), options)
        if found:
            known = json.loads(results.read_text()) if results.exists() else {}
            known[name] = {"machine": machine(), "rounds": options.rounds, **found}
            results.write_text(json.dumps(known, indent=1) + "\n")
            good &= all(each["kept"] for each in found["promises"])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
