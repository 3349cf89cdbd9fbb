"""The oldest CPU that is promised: it imports, digests, probes and scans, and nothing newer is run by accident.

The emulated runs need no numpy: its own wheel does not run on such a CPU.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hashsieve
from helpers import ENGINE, digest, record

BAD = b"listed content\n"
# Core 2 (2006 to 2010), and the first x86-64 of 2003: nothing beyond SSE2.
CPUS = ["core2duo", "qemu64,-sse3,-ssse3,-cx16"]
KINDS = ("md5", "sha1", "sha256", "blake3")

only_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="this machine is no x86-64")
every_cpu = pytest.mark.parametrize("cpu", CPUS)


@pytest.fixture
def emulator() -> str:
    found = shutil.which("qemu-x86_64")
    if not found:
        pytest.skip("no qemu-x86_64")
    return found


def emulated(emulator: str, cpu: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [emulator, "-cpu", cpu, sys.executable, *map(str, arguments)],
        env={"PYTHONPATH": ENGINE, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


EVERYTHING = """
import hashlib, json, sys
sys.modules["numpy"] = None  # importing it fails
import hashsieve
from hashsieve import HashSet, Scanner
from hashsieve._cpu import features
from hashsieve._lookup import sha256_once
from hashsieve._scan import Lanes, kernels
from hashsieve.errors import KernelError

tree, *sets = sys.argv[1:]

def end(data, order):
    return data[len(data) // 64 * 64 :] + b"\\x80" + bytes(-(len(data) + 9) % 64) + (8 * len(data)).to_bytes(8, order)

run, refused = 0, 0
for kernel in kernels():
    kind, name = kernel["kind"], kernel["name"]
    if kernel["state"] in ("no cpu", "not built"):
        try:
            Lanes([kind], {kind: name})
        except KernelError as problem:
            refused += kernel["state"] == "no cpu" and "this CPU cannot run" in str(problem)
        continue
    for length in (0, 1, 55, 56, 64, 119, 120, 1000):
        lanes = Lanes([kind], {kind: name})
        for slot in range(24):
            data = bytes((slot + n) % 256 for n in range(length))
            lanes.start(slot)
            lanes.feed(slot, data[: length // 64 * 64] + end(data, "little" if kind == "md5" else "big"))
        while lanes.step():
            pass
        for slot in range(24):
            data = bytes((slot + n) % 256 for n in range(length))
            assert lanes.digest(slot) == {kind: hashlib.new(kind, data).digest()}, (kind, name, length)
    run += 1
assert sha256_once(b"abc") == hashlib.sha256(b"abc").digest()

found = {}
for path in sets:
    with HashSet.open(path) as known:
        (kind,) = known.shapes[0]
        wrong = bytes(range(kind.size_bytes))
        may = bytearray(1)
        assert known.find(kind, wrong) is None
        for entry in known:
            known.file.probe_into(kind.code, entry.digests[kind], may)
            assert may == b"\\1" and known.find(kind, entry.digests[kind])
        with Scanner(known) as scanner:
            *outcomes, summary = scanner.scan(tree)
        paths = sorted(outcome.path.decode() for outcome in outcomes)
        found[kind.value] = [paths, summary.seen, summary.matched, summary.incomplete]
print(json.dumps({"features": features(), "run": run, "refused": refused, "found": found}))
"""


@only_x86
@every_cpu
def test_an_old_cpu_imports_digests_probes_and_scans(emulator, make_set, tmp_path, cpu):
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(60):
        (tree / str(number)).write_bytes(b"%d" % number * number * 20)
    (tree / "bad").write_bytes(BAD)
    sets = [make_set(record(BAD, kind), record(b"absent", kind)) for kind in KINDS]
    done = emulated(emulator, cpu, "-c", EVERYTHING, tree, *sets)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert not {"avx2", "sha-ni"} & set(result["features"])
    assert result["run"] >= 3
    assert result["found"] == {kind: [[str(tree / "bad")], 61, 1, 0] for kind in KINDS}
    if any(each["state"] != "not built" for each in hashsieve._scan.kernels() if each["name"].startswith("avx2")):
        assert result["refused"] > 3  # AVX2 and SHA kernels, each with its reason


@only_x86
@every_cpu
def test_an_old_cpu_runs_the_command_line(emulator, make_set, tmp_path, cpu):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "bad").write_bytes(BAD)
    (tmp_path / "list").write_text(digest("md5", BAD).hex() + "\n")
    compiled = tmp_path / "known.hset"
    command = ("-m", "hashsieve")
    arguments = ("compile", "-o", compiled, "--role", "known-bad", "--digest", "md5", tmp_path / "list")
    done = emulated(emulator, cpu, *command, *arguments)
    assert done.returncode == 0, done.stderr
    done = emulated(emulator, cpu, *command, "scan", "--json", "-s", compiled, tmp_path / "tree")
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["start", "match", "summary"]
    done = emulated(emulator, cpu, *command, "cpu")
    assert done.returncode == 0
    assert "lacks avx2" in done.stdout or "not built" in done.stdout


@only_x86
def test_the_emulator_refuses_what_the_cpu_lacks(emulator, tmp_path):
    """Else the tests above would prove nothing."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    source = 'int main(void) { __asm__ volatile("vpaddd %%ymm0, %%ymm0, %%ymm0" ::: "xmm0"); return 0; }\n'
    (tmp_path / "wide.c").write_text(source)
    subprocess.run(["cc", "wide.c", "-o", "wide"], cwd=tmp_path, check=True)
    for cpu in CPUS:
        done = subprocess.run([emulator, "-cpu", cpu, tmp_path / "wide"], capture_output=True, check=False)
        assert done.returncode < 0, cpu


NAMED_FOR_IT = re.compile(r"avx2|shani|armsha|neon")
WIDE = re.compile(
    r"%[yz]mm|^v[a-z]|^sha(1|256)|^(pshufb|palignr|pext|pdep|mulx|popcnt|crc32|pinsrd|pinsrq|ptest|pblendw)\b"
)


@only_x86
def test_instructions_beyond_the_baseline_stand_only_in_functions_named_for_them():
    """In the modules as they were built, whatever the flags of the build were."""
    if not shutil.which("objdump"):
        pytest.skip("no objdump")
    modules = sorted(Path(ENGINE, "hashsieve").glob("*.so"))
    assert modules
    named = set()
    for module in modules:
        command = ["objdump", "-d", "--no-show-raw-insn", str(module)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        function = ""
        for line in text.splitlines():
            if line.endswith(">:"):
                function = line[line.index("<") + 1 : -2]
                continue
            _, _, instruction = line.partition("\t")
            if not WIDE.search(instruction):
                continue
            if not NAMED_FOR_IT.search(function):
                pytest.fail(f"{module.name}: {function}: {instruction}")
            named.add(function)
    if any(each["state"] != "not built" for each in hashsieve._scan.kernels() if each["name"].startswith("avx2")):
        assert len(named) > 5
