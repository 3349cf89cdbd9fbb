"""Fixtures of all rooms: sets made from given content, the command line as a process, a faulty system."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hashsieve import HashSet, Record
from hashsieve.hashset.compile import SetWriter
from helpers import CommandLine, record


@pytest.fixture
def cli() -> CommandLine:
    return CommandLine()


@pytest.fixture
def make_set(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """``make_set(record, ...)`` writes a set of these records (bytes stand for an MD5 known-bad) and gives its path."""

    def make(*records: Record | bytes, generation: int = 1) -> str:
        path = tmp_path_factory.mktemp("set") / "known.hset"
        writer = SetWriter(generation=generation)
        for each in records:
            writer.add(record(each) if isinstance(each, bytes) else each)
        writer.write(path)
        return str(path)

    return make


@pytest.fixture
def open_set(make_set: Callable[..., str]) -> Any:
    """``open_set(record, ...)``: the same, opened; closed at the end of the test."""
    opened: list[HashSet] = []

    def make(*records: Record | bytes, os_table: object = None, **options: Any) -> HashSet:
        opened.append(HashSet.open(make_set(*records, **options), os_table=os_table))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def faults() -> Any:
    """A system that misbehaves on request; see tests/native/hashsieve_faults.pyi."""
    module = pytest.importorskip("hashsieve_faults", reason="built without HASHSIEVE_TEST_MODULES=1")
    return module.Faults()
