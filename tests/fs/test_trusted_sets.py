"""A trusted set beats every other: whatever else lists a file, in whichever set, order and kind of digest."""

import itertools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "format"))
import set_maker

from hashsieve import HashSet, OutcomeKind, Scanner
from helpers import digest, scan

CONTENT = b"a file that several lists name"
KEY = bytes(range(32))


def make(path, role, *kinds, key=None, **other):
    digests = {kind: digest(kind, CONTENT) for kind in kinds} | other
    path.write_bytes(set_maker.make([(digests, None, (role, role, None), None)], key=key))
    return path


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("trusted_kinds", [("md5",), ("sha256",), ("sha1", "blake3")], ids=",".join)
def test_a_trusted_set_beats_every_other(tmp_path, trusted_kinds, sealed):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(CONTENT)
    key = KEY if sealed else None
    others = [make(tmp_path / role, role, "md5") for role in ("known-bad", "undecided", "known-good", "test")]
    trusted = make(tmp_path / "trusted", "trusted", *trusted_kinds, key=key)
    for count in range(1, 5):
        for chosen in itertools.islice(itertools.combinations(others, count), 6):
            if not {"known-bad", "test"} & {path.name for path in chosen}:
                continue
            for order in ([*chosen, trusted], [trusted, *chosen]):
                opened = [HashSet.open(path, load=(), seal_key=lambda: KEY) for path in order]
                with Scanner(opened) as scanner:
                    done = scan(scanner, tree)
                    assert (done.summary.matched, done.summary.suppressed) == (0, 1)
                    assert scanner.examine(tree / "file").kind is OutcomeKind.NO_MATCH
                    assert scanner.examine_bytes(CONTENT).kind is OutcomeKind.NO_MATCH
                with Scanner([each for each in opened if Path(each.path).name != "trusted"]) as scanner:
                    assert scan(scanner, tree).summary.matched == 1
                for each in opened:
                    each.close()


@pytest.mark.parametrize("sealed", [False, True])
def test_a_trusted_entry_of_another_file_with_the_same_md5_does_not_speak(tmp_path, sealed):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(CONTENT)
    bad = make(tmp_path / "bad", "known-bad", "md5")
    trusted = make(tmp_path / "trusted", "trusted", "md5", key=KEY if sealed else None, sha1=bytes(20))
    with (
        HashSet.open(bad, load=()) as one,
        HashSet.open(trusted, load=(), seal_key=lambda: KEY) as other,
        Scanner([one, other]) as scanner,
    ):
        assert scan(scanner, tree).summary.matched == 1
        assert scanner.examine_bytes(CONTENT).kind is OutcomeKind.MATCH
