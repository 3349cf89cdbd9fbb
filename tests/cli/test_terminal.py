"""What reaches a terminal, a pipe, a full device or nobody: readable, harmless, and with an exit code that holds."""

import contextlib
import os
import pty
import subprocess
import sys
import threading

import pytest

from helpers import digest

BAD = b"listed content\n"


@pytest.fixture
def known(make_set):
    return make_set(BAD)


@pytest.fixture
def many(tmp_path):
    """A tree with more matches than a pipe holds lines."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "original").write_bytes(BAD)
    for i in range(2000):
        os.link(tree / "original", tree / f"{i}")
    return tree


def tricky(tree):
    """Files whose names play tricks on terminals."""
    names = [b"good\rMATCH", b"\x1b[2J\x1b[31m", "\u202egpj.exe".encode(), b"\xed\xa0\x80", b"\xff", b"a\x9bb", b"\x07"]
    tree.mkdir()
    for name in names:
        path = os.path.join(os.fsencode(tree), name)
        with open(path, "wb") as file:
            file.write(BAD)
    return len(names)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "cp1252", "latin-1:strict"])
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_tricky_names_are_escaped_in_every_encoding(cli, known, tmp_path, encoding, form):
    count = tricky(tmp_path / "tree")
    done = cli("scan", *form, "-s", known, tmp_path / "tree", env={"PYTHONIOENCODING": encoding})
    assert done.code == 1, done
    text = done.out.decode(encoding.partition(":")[0])
    lines = text.split("\n")
    assert sum(line.startswith(("MATCH", '{"event":"match"')) for line in lines) == count
    assert all(character.isprintable() for line in lines for character in line)
    if form:
        assert len(done.events("match")) == count


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_messages_about_tricky_paths_are_escaped(cli, known, tmp_path, encoding):
    environment = {"PYTHONIOENCODING": encoding}
    path = os.fsencode(tmp_path) + b"/\x1b[31m\r\xff\xe2\x80\xae"
    for arguments in (
        ["info", path],
        ["verify", path],
        ["lookup", "-s", path, "ab" * 16],
        ["lookup", "-s", known, b"\x1b[31m"],
        ["scan", "-s", path, tmp_path],
        ["compile", "-o", tmp_path / "x", "--role", "known-bad", path],
        ["compile", "-o", path + b"/x", "--role", "known-bad", known],
        ["scan", b"--\x1b[31m", tmp_path],
        [b"\x1b[31m\xff"],
    ):
        done = cli(*arguments, env=environment)
        assert done.code == 2, (arguments, done)
        assert done.err
        assert all(character.isprintable() for line in done.err.split("\n") for character in line), done.err
        assert "Traceback" not in done.err


# ---------------------------------------------------------------- pipes that close


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("jobs", ["1", "3"])
def test_a_reader_that_has_seen_enough_of_a_scan_ends_it_quietly_and_the_code_still_says_match(
    cli, known, many, form, jobs
):
    process = cli.start("scan", *form, "--jobs", jobs, "-s", known, many)
    process.stdout.readline()
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(30) == 1
    assert process.stderr.read() == b""
    process.stderr.close()


def closed_pipe():
    """The writing end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


COMMANDS = [
    "scan",
    "scan --json",
    "lookup",
    "lookup --json",
    "info",
    "info --json",
    "lists",
    "compile",
    "compile --json",
]
COMMANDS += ["verify", "--version", "--version --verbose", "--help"]


def arguments_of(command, known, tmp_path):
    (tmp_path / "plain").write_bytes(b"x")
    (tmp_path / "list.txt").write_text(digest("md5", BAD).hex() + "\n")
    name, *options = command.split()
    return {
        "scan": ["scan", *options, "-s", known, tmp_path / "plain"],
        "lookup": ["lookup", *options, "-s", known, "ab" * 16],
        "info": ["info", *options, known],
        "verify": ["verify", known],
        "compile": ["compile", *options, "-o", tmp_path / "out.hset", "--role", "known-bad", tmp_path / "list.txt"],
    }.get(name, [name, *options])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_that_nobody_reads_is_neither_clean_nor_a_match(cli, known, tmp_path, command):
    writer = closed_pipe()
    process = cli.start(*arguments_of(command, known, tmp_path), stdout=writer)
    os.close(writer)
    _, error = process.communicate(timeout=30)
    assert process.returncode in (2, 3), error
    assert b"Traceback" not in error
    assert b"Exception ignored" not in error


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_device_as_output_is_an_error_that_is_told(cli, known, tmp_path, command):
    with open("/dev/full", "wb") as full:
        process = cli.start(*arguments_of(command, known, tmp_path), stdout=full)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 2, error
    assert b"No space left on device" in error
    assert b"Exception ignored" not in error


@pytest.mark.parametrize("closed", ["1", "2", "0", "1 2"])
def test_a_process_without_standard_streams_does_its_work(cli, known, many, closed):
    shell = f'exec {" ".join(f"{number}>&-" for number in closed.split())}; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *cli.command("scan", "--json", "-s", known, many)],
        env=cli.environment,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1, done
    assert done.out if hasattr(done, "out") else done.stdout.count(b"\n") == (0 if "1" in closed else 2003)
    assert done.stderr == b""


def test_digests_from_a_standard_input_that_is_not_there_are_a_usage_error(cli, known):
    done = subprocess.run(
        ["sh", "-c", 'exec 0<&-; exec "$@"', "sh", *cli.command("lookup", "-s", known, "-")],
        env=cli.environment,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_a_lookup_that_found_something_says_so_to_a_closed_pipe_too(cli, known):
    process = cli.start("lookup", "-s", known, "-", stdin=subprocess.PIPE)
    text = (digest("md5", BAD).hex() + "\n").encode()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(text)
        process.stdin.flush()
        assert process.stdout.readline()
        process.stdout.close()
        process.stdin.write(text * 1000)
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    assert process.wait(30) == 1
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()


# ---------------------------------------------------------------- progress, and what is imported

WHAT_IS_LOADED = """
import sys
from hashsieve.cli import main
code = main(sys.argv[1:])
heavy = {"rich", "numpy", "cryptography", "msgspec", "defusedxml", "zstandard"}
print("loaded:", *sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def on_terminal(cli, *arguments):
    """Standard output as lines, and what a terminal at standard error was sent."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", WHAT_IS_LOADED, *arguments],
        env=cli.environment | {"TERM": "xterm", "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=slave,
    )
    os.close(slave)
    seen = []

    def watch():
        with contextlib.suppress(OSError):  # how the end of a terminal shows
            while data := os.read(master, 4096):
                seen.append(data)

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, _ = process.communicate(timeout=60)
    watcher.join(30)
    os.close(master)
    return out.decode().splitlines(), b"".join(seen)


def test_on_a_terminal_a_scan_shows_its_progress_and_takes_it_away(cli, known, many):
    lines, seen = on_terminal(cli, "scan", "-s", known, many)
    assert b"scanning" in seen
    assert "rich" in lines[-1]
    assert not any("scanning" in line for line in lines)
    assert sum(line.startswith("MATCH") for line in lines) == 2001


@pytest.mark.parametrize("command", ["scan", "scan --json", "lookup --json", "info", "verify", "compile", "lists"])
def test_without_a_terminal_nothing_heavy_is_imported(cli, known, tmp_path, command):
    done = cli.python(WHAT_IS_LOADED, *arguments_of(command, known, tmp_path))
    assert done.text.splitlines()[-1].split() == ["loaded:"], done
    assert done.err == ""


def test_importing_the_package_imports_nothing_else():
    code = """
import sys
before = set(sys.modules)
import hashsieve
first = {name.partition(".")[0] for name in set(sys.modules) - before}
own = {name for name in sys.modules if name.startswith("hashsieve.")}
print(*sorted(first - set(sys.stdlib_module_names)), *sorted(own))
import hashsieve.scan.scanner, hashsieve.hashset.compile
print(*sorted({"rich", "numpy", "cryptography", "typer"} & set(sys.modules)))
"""
    from helpers import ENGINE

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": ENGINE},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "hashsieve\n\n"


def test_a_scan_by_the_api_loads_neither_numpy_nor_rich(cli, known, many):
    code = """
import sys
import hashsieve
with hashsieve.HashSet.open(sys.argv[1]) as known, hashsieve.Scanner(known, jobs=2) as scanner:
    *_, summary = scanner.scan(sys.argv[2])
    scanner.examine(sys.argv[1])
    scanner.examine_bytes(b"x")
assert summary.matched == 2001
print(*sorted({"rich", "numpy", "cryptography", "typer"} & set(sys.modules)))
"""
    done = cli.python(code, known, many)
    assert (done.code, done.out) == (0, b"\n"), done
