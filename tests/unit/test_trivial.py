"""Digests of trivial content: made from what is said of it, found in sets, and never in a list of wholly known-good."""

import pytest

from hashsieve import DigestKind, HashSet
from hashsieve.hashset.trivial import listed_trivial, trivial_digests
from helpers import digest, record


@pytest.mark.parametrize("kind", list(DigestKind))
def test_what_counts_as_trivial(kind):
    made = dict(trivial_digests(kind))
    for content, name in (
        (b"", "nothing"),
        (b"\n", "the single byte 0x0a"),
        (b"\xff", "the single byte 0xff"),
        (b"\r\n", "an empty line"),
        (bytes(512), "512 bytes of 0x00"),
        (bytes(4096), "4,096 bytes of 0x00"),
        (b"\xff" * 65536, "65,536 bytes of 0xff"),
        (bytes(1 << 20), "1,048,576 bytes of 0x00"),
        (bytes(1474560), "1,474,560 bytes of 0x00"),
        (bytes(1000), "1,000 bytes of 0x00"),
    ):
        assert made[digest(kind, content)] == name
    assert digest(kind, b"not trivial") not in made


def test_a_set_tells_which_it_lists_and_as_what(make_set):
    path = make_set(
        record(bytes(4096), "md5", "sha1"),
        record(b"x", "sha256", role="known-good"),
        record(b"y", "sha256", role="trusted"),
        record(b"z", "sha256", role="undecided"),
        record(b"z", "sha256", role="known-good", source="other"),
        b"not trivial",
    )
    with HashSet.open(path, load=()) as known:
        found = [(str(t.kind), t.digest, t.content, t.roles) for t in listed_trivial(known)]
    assert found == [
        ("md5", digest("md5", bytes(4096)), "4,096 bytes of 0x00", ("known-bad",)),
        ("sha1", digest("sha1", bytes(4096)), "4,096 bytes of 0x00", ("known-bad",)),
        ("sha256", digest("sha256", b"z"), "the single byte 0x7a", ("known-good", "undecided")),
    ]


def test_an_ordinary_set_lists_none(make_set):
    with HashSet.open(make_set(b"one", b"two")) as known:
        assert listed_trivial(known) == ()
