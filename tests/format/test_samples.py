"""Lists made by real tools, and the bundled ones.

The folder of samples is named by HASHSIEVE_SAMPLES, or lies beside the checkout in ``shared/samples``. Its
``expect.tsv`` gives for each sample the options and the number of distinct digests by kind, or ``error``.
"""

from __future__ import annotations

import hashlib
import os
import runpy
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from list_files import BAD, read

from hashsieve.errors import ListError
from hashsieve.lists import ListOptions
from hashsieve.model import DigestKind, Record, Role

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(os.environ.get("HASHSIEVE_SAMPLES") or ROOT.parent / "shared" / "samples")
BUNDLED = ROOT / "engine" / "hashsieve" / "cli" / "samples"
PLANTED = b"hashsieve demo: this harmless text stands in for a listed file.\n"


def expected_rows() -> Iterator[tuple[str, str, str]]:
    """Sample, options and outcome of every row."""
    table = SAMPLES / "expect.tsv"
    if not table.is_file():
        return
    for line in table.read_text(encoding="utf-8").splitlines():
        sample, *rest = line.split("\t")
        if len(rest) == 2 and not sample.startswith("#"):
            yield sample, rest[0], rest[1]


def parsed(options: str) -> ListOptions:
    """The options of a row, written as on the command line."""
    words = options.split()
    values = dict(zip(words[::2], words[1::2], strict=True))
    assert set(values) <= {"--role", "--digest"}
    return ListOptions(
        role=Role(values["--role"]) if "--role" in values else None,
        digest=DigestKind(values["--digest"]) if "--digest" in values else None,
    )


def distinct(records: list[Record]) -> str:
    """The number of distinct digests by kind, as the table writes it."""
    digests: dict[str, set[bytes]] = defaultdict(set)
    for record in records:
        for kind, raw in record.digests.items():
            digests[kind].add(raw)
    return ",".join(f"{kind}={len(digests[kind])}" for kind in DigestKind if digests[kind])


def outcome(path: Path, options: ListOptions) -> str:
    """What the table should say about a sample."""
    try:
        return distinct(read(path, options)[0])
    except ListError:
        return "error"


def test_samples_give_what_their_table_says() -> None:
    rows = list(expected_rows())
    if not rows:
        reason = f"no samples: {SAMPLES} does not hold expect.tsv; name the folder with HASHSIEVE_SAMPLES"
        print(reason)
        pytest.skip(reason)
    got = {sample: outcome(SAMPLES / sample, parsed(options)) for sample, options, _ in rows}
    assert got == {sample: expected for sample, _, expected in rows}
    families = {sample.partition("/")[0] for sample in got}
    assert families >= {"b3sum", "coreutils", "hashdeep", "md5deep", "plain", "vics", "wrappers"}


@pytest.mark.parametrize("name", ["vics-us.json", "hashdeep.txt", "md5sum.txt"])
def test_bundled_lists_are_read_without_a_problem_and_name_the_planted_text(name: str) -> None:
    options = ListOptions(strict=True) if name.startswith("vics") else ListOptions(role=BAD.role, strict=True)
    records, report = read(BUNDLED / name, options)
    planted = [record for record in records if record.digests["md5"] == hashlib.md5(PLANTED).digest()]
    assert [record.listing.role for record in planted] == [Role.KNOWN_BAD]
    assert len(records) > 10
    assert not report.dropped


def test_the_bundled_vics_list_has_all_categories() -> None:
    records, _ = read(BUNDLED / "vics-us.json", ListOptions())
    assert {record.listing.category for record in records} == set("012345")
    assert {record.listing.role for record in records} == {Role.KNOWN_BAD, Role.KNOWN_GOOD, Role.UNDECIDED}


def test_bundled_lists_are_what_their_script_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = ROOT / "bench" / "make_samples.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path)])
    runpy.run_path(str(script), run_name="__main__")
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in BUNDLED.iterdir()}
