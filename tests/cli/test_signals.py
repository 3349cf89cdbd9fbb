"""Ctrl-C and SIGTERM anywhere: a soon and orderly end with the documented exit code, and nothing half done left
behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BAD = b"listed content\n"
SOON_SECONDS = 5  # promised is one; two loaded cores get some more
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks at the process in /proc")


def wait_until(condition, process):
    end = time.monotonic() + 30
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "the process did not come to the point"
        time.sleep(0.005)


def has_open(process, path):
    try:
        return str(path) in {os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir()}
    except FileNotFoundError:
        return False


def has_handlers(process):
    """SIGTERM is caught, which Python does not do by itself."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def ended_soon(process):
    """Exit code, standard output and error; the end must be near."""
    began = time.monotonic()
    out, error = process.communicate(timeout=60)
    assert time.monotonic() - began < SOON_SECONDS
    assert b"Traceback" not in error
    assert b"Exception ignored" not in error
    return process.returncode, out, error


@pytest.fixture
def endless(tmp_path):
    """A file that takes an hour to read, beside a listed one."""
    path = tmp_path / "tree/endless"
    path.parent.mkdir()
    (path.parent / "bad").write_bytes(BAD)
    with open(path, "wb") as file:
        try:
            file.truncate(1 << 40)
        except OSError as problem:
            pytest.skip(f"no file of this size here: {problem}")
    return path


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("jobs", ["1", "3"])
def test_a_signal_ends_a_scan_in_the_middle_of_a_file_and_the_summary_says_so(cli, make_set, endless, number, jobs):
    process = cli.start("scan", "--json", "--jobs", jobs, "-s", make_set(b"other"), endless.parent)
    wait_until(lambda: has_open(process, endless), process)
    process.send_signal(number)
    code, out, _ = ended_soon(process)
    assert code == CODES[number]
    assert b'"event":"summary"' in out.splitlines()[-1]
    assert b'"complete":false' in out.splitlines()[-1]


@pytest.mark.parametrize("number", CODES)
def test_a_match_found_before_the_signal_was_told_and_the_code_is_that_of_the_signal(cli, make_set, endless, number):
    process = cli.start("scan", "-s", make_set(BAD), endless.parent / "bad", endless)
    assert process.stdout.readline().startswith(b"MATCH")
    process.send_signal(number)
    code, out, _ = ended_soon(process)
    assert code == CODES[number]
    assert b"stopped before the end" in out


@pytest.mark.parametrize("delay", [0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_a_signal_while_the_command_is_still_starting_ends_it_too(cli, make_set, endless, delay):
    process = cli.start("scan", "-s", make_set(b"other"), endless)
    wait_until(lambda: has_handlers(process), process)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    assert ended_soon(process)[0] == 130


def test_five_interrupts_in_a_row_change_nothing_about_the_orderly_end(cli, make_set, endless):
    process = cli.start("scan", "--jobs", "2", "-s", make_set(b"other"), endless)
    wait_until(lambda: has_open(process, endless), process)
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    code, out, _ = ended_soon(process)
    assert code == 130
    assert b"stopped before the end" in out


@pytest.fixture
def big_list(tmp_path):
    """A list that takes seconds to read."""
    path = tmp_path / "lists/big.txt"
    path.parent.mkdir()
    text = os.urandom(16 * 100_000).hex()
    block = "".join(text[i : i + 32] + "\n" for i in range(0, len(text), 32))
    with open(path, "w") as file:
        for _ in range(20):
            file.write(block)
    return path


@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_a_list_is_read_publishes_nothing(cli, tmp_path, big_list, number):
    out = tmp_path / "out/known.hset"
    out.parent.mkdir()
    out.write_bytes(b"what was there before")
    process = cli.start("compile", "-o", out, "--role", "known-bad", big_list)
    wait_until(lambda: has_open(process, big_list), process)
    time.sleep(0.1)
    process.send_signal(number)
    code, _, error = ended_soon(process)
    assert code == CODES[number]
    assert b"nothing was published" in error
    assert out.read_bytes() == b"what was there before"
    assert os.listdir(out.parent) == ["known.hset"]


# The command as it is, but for a list of ten million digests that needs no reading.
SORTING = """
import os, sys
from hashsieve.hashset import compile as module
from hashsieve.model import Listing, Role
take = module._take

def take_many(path, options, writer, progress):
    for _ in range(10):
        writer.add_packed("md5", os.urandom(16_000_000), Listing("many", Role.KNOWN_BAD))
    return take(path, options, writer, progress)

module._take = take_many
write = module.SetWriter.write

def told(self, *arguments, **options):
    os.write(1, b"building\\n")
    return write(self, *arguments, **options)

module.SetWriter.write = told
sys.argv[0] = "hashsieve"
from hashsieve.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGINT, 5)])
@pytest.mark.parametrize("delay", [0.05, 0.8])
def test_a_signal_while_a_set_is_built_leaves_no_trace(cli, tmp_path, number, times, delay):
    (tmp_path / "list.txt").write_text("ab" * 16 + "\n")
    out = tmp_path / "out/known.hset"
    out.parent.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", SORTING, "compile", "-o", out, "--role", "known-bad", tmp_path / "list.txt"],
        env=cli.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"building\n"
    time.sleep(delay)
    for _ in range(times):
        process.send_signal(number)
        if times > 1:
            time.sleep(0.05)
    code, _, error = ended_soon(process)
    assert code == CODES[number], error
    assert os.listdir(out.parent) == []


def test_a_signal_to_the_demo_takes_its_scratch_directory_away(cli, tmp_path, endless):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    cli.environment["TMPDIR"] = str(scratch)
    process = cli.start("demo", endless.parent)
    wait_until(lambda: has_open(process, endless), process)
    process.send_signal(signal.SIGINT)
    assert ended_soon(process)[0] == 130
    assert os.listdir(scratch) == []
