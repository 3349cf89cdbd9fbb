"""Lists of structured formats damaged at random give records or typed errors; see fuzz_structured.py for more of it."""

from __future__ import annotations

import random
from pathlib import Path

import fuzz_structured as fuzz
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashsieve.lists import FORMATS, detect
from hashsieve.model import Role


def test_every_structured_format_is_fuzzed() -> None:
    assert set(fuzz.LISTS) <= {info.name for info in FORMATS}
    for name, content in fuzz.LISTS.items():
        assert detect(content(), "list").format == name


@pytest.mark.parametrize("name", fuzz.LISTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rng=st.randoms(use_true_random=False), forced=st.booleans())
def test_damage_gives_records_or_a_typed_error(tmp_path: Path, name: str, rng: random.Random, forced: bool) -> None:
    role = None if name.startswith(("vics", "ncmec", "nsrl")) else Role.KNOWN_BAD
    content = fuzz.damage(fuzz.LISTS[name](), rng)
    fuzz.outcome(tmp_path / "list", content, name if forced else None, role)


@pytest.mark.parametrize("name", fuzz.LISTS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(min_size=1, max_size=300), st.text(min_size=1, max_size=100).map(str.encode)))
def test_any_content_gives_records_or_a_typed_error(tmp_path: Path, name: str, content: bytes) -> None:
    role = None if name.startswith(("vics", "ncmec", "nsrl")) else Role.KNOWN_BAD
    fuzz.outcome(tmp_path / "list", content, name, role)
