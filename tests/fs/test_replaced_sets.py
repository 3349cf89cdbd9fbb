"""Sets that are damaged, cut, removed or replaced under a scanner, and what becomes of files they left undecided."""

import os
import shutil
import threading

import pytest

from hashsieve import HashSet, Scanner, follow
from hashsieve.errors import SetDamagedError, SetError, UsageError
from helpers import digest, record, scan

BAD = b"listed content\n"
OTHER = b"other listed content\n"


def ruin(path):
    """Everything behind the header overwritten in place, so that whoever has the file open sees it."""
    with open(path, "r+b", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(4096)
        file.write(os.urandom(size - 4096))


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    (root / "bad").write_bytes(BAD)
    os.link(root / "bad", root / "again")
    (root / "plain").write_bytes(b"not listed")
    return root


@pytest.fixture
def damaged(make_set):
    """A set that found its digest in the filter and can no longer confirm it."""
    known = HashSet.open(make_set(BAD))
    ruin(known.path)
    yield known
    known.close()


def outcomes_of(scanner):
    return sorted((outcome.path, outcome.kind, outcome.reason) for outcome in scanner.recheck_undecided())


# ---------------------------------------------------------------- what is done to the file


def cut(path):
    os.truncate(path, 4096)


def cut_to_nothing(path):
    os.truncate(path, 0)


def put_another_there(path):
    with open(path + ".new", "wb") as file:
        file.write(b"no set at all")
    os.replace(path + ".new", path)


@pytest.mark.parametrize(
    ("what", "kind", "answers"),
    [
        (ruin, "set-changed", False),
        (cut, "set-changed", False),
        (cut_to_nothing, "set-changed", False),
        (os.unlink, "set-gone", True),
        (put_another_there, "set-replaced", True),
    ],
)
def test_whatever_is_done_to_the_file_is_told_once_and_no_answer_is_wrong(make_set, tree, what, kind, answers):
    events = []
    with HashSet.open(make_set(BAD)) as known, Scanner(known, on_event=events.append) as scanner:
        assert scan(scanner, tree).summary.matched == 2
        assert events == []
        what(known.path)
        for _ in range(2):
            found = scan(scanner, tree)
            assert found.of(tree / "plain").kind == "no_match"
            if answers:
                assert found.paths("match") == [os.fsencode(tree / "again"), os.fsencode(tree / "bad")]
            else:
                assert found.summary.not_examined_reasons == {"set-damaged": 2}
        assert [event.kind for event in events] == ([kind] if answers else [kind, "set-damaged"])
        assert all(known.path in event.text for event in events)


@pytest.mark.parametrize(("what", "state"), [(ruin, "changed"), (os.unlink, "gone"), (put_another_there, "replaced")])
def test_a_set_tells_what_became_of_its_file(make_set, monkeypatch, tmp_path, what, state):
    path = make_set(BAD)
    monkeypatch.chdir(os.path.dirname(path))
    with HashSet.open(os.path.basename(path)) as known:
        monkeypatch.chdir(tmp_path)
        assert known.file_state() == "same"
        what(path)
        assert known.file_state() == state
    with pytest.raises(SetError, match="closed"):
        known.file_state()


# ---------------------------------------------------------------- undecided files


def test_what_a_damaged_set_left_open_is_decided_when_a_good_one_is_there(damaged, open_set, tree):
    with Scanner(damaged) as scanner:
        scan(scanner, tree)
        assert scanner.undecided_count == 2
        # Still damaged: nothing is decided, nothing is lost.
        assert {reason for _, _, reason in outcomes_of(scanner)} == {"set-damaged"}
        assert scanner.undecided_count == 2
        good = open_set(BAD)
        scanner.replace_sets(good)
        assert scanner.sets == (good,)
        assert outcomes_of(scanner) == [
            (os.fsencode(tree / "again"), "match", None),
            (os.fsencode(tree / "bad"), "match", None),
        ]
        assert scanner.undecided_count == 0
        assert outcomes_of(scanner) == []
        assert not scanner.full_pass_due


def test_a_good_set_without_the_file_makes_it_clean(damaged, open_set, tree):
    with Scanner(damaged) as scanner:
        assert scanner.examine(tree / "bad").reason == "set-damaged"
        scanner.replace_sets([open_set(OTHER)])
        assert outcomes_of(scanner) == [(os.fsencode(tree / "bad"), "no_match", None)]


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_what_was_read_then_is_a_match_even_if_the_file_is_another_by_now(damaged, open_set, tree, what):
    with Scanner(damaged) as scanner, open(tree / "bad", "rb") as file:
        assert scanner.examine_fd(file.fileno(), path=tree / "bad").reason == "set-damaged"
        os.unlink(tree / "bad")
        if what == "changed":
            (tree / "bad").write_bytes(b"harmless")
        scanner.replace_sets(open_set(record(BAD, "md5", "sha256")))
        (outcome,) = scanner.recheck_undecided()
        assert outcome.kind == "match"
        assert outcome.match.confirmed_by == ("md5",)


def test_a_match_is_confirmed_by_all_kinds_where_the_file_is_still_there(damaged, open_set, tree):
    with Scanner(damaged) as scanner:
        scanner.examine(tree / "bad")
        scanner.replace_sets(open_set(record(BAD, "md5", "sha256")))
        (outcome,) = scanner.recheck_undecided()
        assert outcome.match.confirmed_by == ("md5", "sha256")


def test_a_set_of_other_kinds_has_the_files_read_again(damaged, open_set, tree):
    with Scanner(damaged) as scanner:
        scan(scanner, tree)
        scanner.replace_sets(open_set(record(BAD, "sha1")))
        assert scanner.plan == ("sha1",)
        assert [kind for _, kind, _ in outcomes_of(scanner)] == ["match", "match"]


def test_a_file_that_was_decided_meanwhile_is_not_undecided(damaged, open_set, tree):
    with Scanner(damaged) as scanner:
        scanner.examine(tree / "bad")
        scanner.replace_sets(open_set(BAD))
        assert scanner.examine(tree / "again").kind == "match"
        assert scanner.undecided_count == 0


def test_past_the_limit_a_full_pass_is_due(damaged, open_set, tmp_path):
    events = []
    for number in range(6):
        (tmp_path / f"{number}").write_bytes(BAD)
    with Scanner(damaged, undecided_limit_count=4, on_event=events.append) as scanner:
        for _ in range(2):
            assert scan(scanner, tmp_path).summary.not_examined == 6
        assert scanner.undecided_count == 4
        assert scanner.full_pass_due
        assert [event.kind for event in events].count("undecided-overflow") == 1
        scanner.replace_sets(open_set(BAD))
        assert len(outcomes_of(scanner)) == 4
        assert scanner.full_pass_due
        assert scan(scanner, tmp_path).summary.matched == 6
        scanner.forget_undecided()
        assert not scanner.full_pass_due


def test_a_recheck_that_is_ended_early_forgets_nothing(damaged, open_set, tree):
    for number in range(5):
        (tree / f"{number}").write_bytes(BAD)
    with Scanner(damaged) as scanner:
        scan(scanner, tree)
        assert scanner.undecided_count == 7
        scanner.replace_sets(open_set(BAD))
        told = [next(scanner.recheck_undecided()).path for _ in range(7)]
        assert len(set(told)) == 7
        assert scanner.undecided_count == 0


def test_bytes_have_no_identity_to_remember(damaged):
    with Scanner(damaged) as scanner:
        assert scanner.examine_bytes(BAD).reason == "set-damaged"
        assert scanner.undecided_count == 0


# ---------------------------------------------------------------- replacing sets


def test_sets_that_cannot_be_used_leave_the_old_ones(open_set, make_set, tree):
    with Scanner(open_set(BAD)) as scanner:
        broken = HashSet.open(make_set(record(BAD, "sha256")), load=())
        ruin(broken.path)
        with pytest.raises(SetDamagedError):
            scanner.replace_sets(broken)
        with pytest.raises(UsageError):
            scanner.replace_sets([])
        broken.close()
        assert scan(scanner, tree).summary.matched == 2


def test_a_running_scan_goes_on_with_the_sets_it_began_with(open_set, tmp_path):
    for number in range(300):
        (tmp_path / f"{number:03}").write_bytes(BAD)
    with Scanner(open_set(record(BAD, "md5"))) as scanner:
        running = scanner.scan(tmp_path)
        kinds = [next(running).kind]
        scanner.replace_sets(open_set(record(OTHER, "sha256")))
        assert scanner.examine(tmp_path / "000").kind == "no_match"
        kinds += [outcome.kind for outcome in running if hasattr(outcome, "kind")]
        assert kinds == ["match"] * 300


# ---------------------------------------------------------------- followed sets


@pytest.fixture
def followed(make_set, tmp_path):
    path = tmp_path / "followed.hset"
    shutil.copy(make_set(BAD), path)
    with follow(path, poll_seconds=0) as known:
        yield known


def replace_with(path, source):
    shutil.copy(source, f"{path}.tmp")
    os.replace(f"{path}.tmp", path)


def test_a_scanner_asks_the_newest_generation_of_a_followed_set(followed, make_set, tree):
    (tree / "other").write_bytes(OTHER)
    events = []
    with Scanner(followed, on_event=events.append) as scanner:
        assert scan(scanner, tree).paths("match") == [os.fsencode(tree / "again"), os.fsencode(tree / "bad")]
        # Other kinds of digest, so another plan.
        replace_with(followed.path, make_set(record(OTHER, "sha1"), generation=2))
        assert scan(scanner, tree).paths("match") == [os.fsencode(tree / "other")]
        assert scanner.plan == ("sha1",)
        replace_with(followed.path, make_set(BAD, generation=3))
        assert scanner.examine(tree / "bad").kind == "match"
        assert scanner.examine_bytes(OTHER).kind == "no_match"
        assert scanner.sets[0].generation == 3
        assert events == []


def test_what_a_damaged_generation_left_open_the_next_one_decides(followed, make_set, tree):
    with Scanner([followed]) as scanner:
        ruin(followed.path)
        assert scan(scanner, tree).summary.not_examined_reasons == {"set-damaged": 2}
        replace_with(followed.path, make_set(BAD))
        assert [kind for _, kind, _ in outcomes_of(scanner)] == ["match", "match"]


def test_examining_from_many_threads_while_sets_are_replaced(followed, make_set, tree):
    """Each set names the file by another kind; whichever is asked, the digests must be those planned for it."""
    sources = [make_set(record(BAD, kind), generation=1) for kind in ("md5", "sha1", "sha256")]
    wrong, ended = [], threading.Event()
    with Scanner(followed) as scanner:

        def examine():
            while not ended.is_set():
                outcome = scanner.examine(tree / "bad")
                if outcome.kind != "match" or outcome.match.digests != {
                    kind: digest(kind, BAD) for kind in outcome.match.confirmed_by
                }:
                    wrong.append(outcome)

        threads = [threading.Thread(target=examine) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(30):
            replace_with(followed.path, sources[number % 3])
            assert scanner.examine(tree / "plain").kind == "no_match"
        ended.set()
        for thread in threads:
            thread.join()
    assert wrong == []
