"""``hashsieve demo``: the whole way on this machine, with harmless material."""

from __future__ import annotations

import os
import shutil
import sysconfig
import tempfile
from importlib.resources import as_file, files
from typing import Annotated

import typer

from ..errors import OutputError, shown
from . import output, scan
from .options import Opening, opens_sets

# The text that all three bundled sample lists carry (bench/make_samples.py writes them).
PLANTED_TEXT = b"hashsieve demo: this harmless text stands in for a listed file.\n"


@opens_sets
def command(
    opening: Opening,
    path: Annotated[
        str | None, typer.Argument(metavar="[PATH]", help="Tree to scan; else Python's standard library.")
    ] = None,
    write_test_file: Annotated[
        str | None, typer.Option(metavar="PATH", help="Only write the published harmless test file there.")
    ] = None,
) -> int:
    """Compile the bundled sample lists, scan a tree with a planted harmless file, and show what comes out."""
    if write_test_file is not None:
        return _write_test_file(write_test_file)
    from ..hashset.compile import compile_lists
    from ..scan.scanner import Scanner

    tree = path if path is not None else sysconfig.get_path("stdlib")
    work = tempfile.mkdtemp(prefix="hashsieve-demo-")
    try:
        compiled = os.path.join(work, "demo.hset")
        with as_file(files("hashsieve.cli") / "samples") as samples:
            names = [os.path.join(samples, name) for name in ("vics-us.json", "hashdeep.txt", "md5sum.txt")]
            output.say("compiling the bundled sample lists: " + ", ".join(os.path.basename(name) for name in names))
            report = compile_lists(
                names, compiled, role="known-bad", source="hashsieve samples", seal=opening.first_seal_key()
            )
        output.say(f"{report.entries} entries, root {report.root.hex()}")
        planted = os.path.join(work, "planted", "holiday.txt")
        os.mkdir(os.path.dirname(planted))
        with open(planted, "wb") as file:
            file.write(PLANTED_TEXT)
        output.say(f"scanning {shown(tree)} and a planted harmless file, {shown(planted)}")
        with opening.open(compiled, load=()) as opened, Scanner(opened) as scanner:
            code = scan.run(scanner, [tree, os.path.dirname(planted)], json=False)
            found = scanner.counters.matched
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if code == 1 and found:
        output.say("the planted file was found; in a real scan this is exit code 1")
        return 0
    return code or 2


def _write_test_file(path: str) -> int:
    from ..hashset.testfile import TEST_TEXT

    try:
        with open(path, "xb") as file:
            file.write(TEST_TEXT)
    except (OSError, ValueError) as problem:
        raise OutputError(
            f"{shown(path)}: cannot be written: {getattr(problem, 'strerror', None) or problem}"
        ) from None
    output.say(f"wrote the harmless test file to {shown(path)}; every hash set answers its digests with role test")
    return 0
