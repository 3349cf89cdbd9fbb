"""What a file's digests come to: matches and what confirms them, trust, good and undecided listings, damaged sets."""

import errno
import os
from itertools import product

import pytest

from hashsieve import HashSet, Scanner
from hashsieve.errors import SetError, StoppedError, UsageError
from hashsieve.hashset.testfile import TEST_TEXT
from hashsieve.scan import reading
from helpers import digest, record, scan

BAD = b"listed content\n"
OTHER = bytes(20)  # a SHA-1 that no file here has


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "x").write_bytes(BAD)
    return tmp_path


def ruling(sets, tree, **options):
    """The outcome of the one file of a tree, and the counts beside it."""
    with Scanner(sets, **options) as scanner:
        found = scan(scanner, tree)
    s = found.summary
    return found.of(tree / "x"), {"good": s.known_good, "undecided": s.undecided, "suppressed": s.suppressed}


# ---------------------------------------------------------------- confirmation


def test_a_match_is_confirmed_by_all_kinds_its_entry_knows(open_set, tree):
    known = open_set(record(BAD, "md5", "sha1", "sha256", "blake3"))
    with Scanner(known) as scanner:
        assert len(scanner.plan) == 1
        found = scan(scanner, tree)
    match = found.of(tree / "x").match
    assert match.confirmed_by == ("md5", "sha1", "sha256", "blake3")
    assert match.contradicted_by == ()
    assert match.digests == {kind: digest(kind, BAD) for kind in match.confirmed_by}
    assert found.summary.bytes_read == 2 * len(BAD)


def test_a_match_by_the_planned_kinds_alone_needs_no_second_read(open_set, tree):
    with Scanner(open_set(BAD)) as scanner:
        assert scan(scanner, tree).summary.bytes_read == len(BAD)


def test_a_match_names_its_set_its_listings_and_the_file(open_set, tree):
    known = open_set(
        record(BAD, source="one", category="1", ref="17", size_bytes=15), record(BAD, source="two"), generation=9
    )
    outcome, _ = ruling(known, tree)
    match = outcome.match
    assert (match.set_root, match.set_path, match.generation) == (known.root, known.path, 9)
    assert {(listing.source, listing.ref) for entry in match.entries for listing in entry.listings} == {
        ("one", "17"),
        ("two", None),
    }
    facts = (tree / "x").stat()
    assert (match.identity.volume, match.identity.file_id) == (facts.st_dev, facts.st_ino)
    assert (match.path, match.size_bytes, match.test) == (bytes(tree / "x"), len(BAD), False)


def test_a_confirming_read_that_fails_takes_nothing_from_the_match(open_set, faults, tree):
    known = open_set(record(BAD, "md5", "sha1"))
    faults.fail("pread", errno.EIO, name=b"x", first=3)  # the first read takes two calls: the content, and the end
    with Scanner(known, os_table=faults.capsule) as scanner:
        planned = scanner.plan
        match = scan(scanner, tree).of(tree / "x").match
    assert match.confirmed_by == planned
    assert len(planned) == 1
    assert set(match.digests) == set(planned)


@pytest.mark.parametrize("problem", [OSError(errno.EIO, "no"), MemoryError(), ValueError("no"), StoppedError("no")])
def test_a_confirming_read_that_breaks_takes_nothing_from_the_match(open_set, monkeypatch, tree, problem):
    known = open_set(record(BAD, "md5", "sha1"))
    made, calls = reading.hashers, []

    def hashers(kinds):
        calls.append(kinds)
        if len(calls) == 1:  # the first read is made by the pipeline
            raise problem
        return made(kinds)

    monkeypatch.setattr(reading, "hashers", hashers)
    outcome, _ = ruling(known, tree)
    assert outcome.kind == "match"
    assert len(outcome.match.confirmed_by) == 1


def test_a_confirming_read_that_finds_other_content_takes_nothing_from_the_match(open_set, monkeypatch, tree):
    known = open_set(record(BAD, "md5", "sha1"))
    made, calls = reading.hashers, []

    def hashers(kinds):
        calls.append(kinds)
        if len(calls) == 1:
            (tree / "x").write_bytes(b"other by now")
        return made(kinds)

    monkeypatch.setattr(reading, "hashers", hashers)
    outcome, _ = ruling(known, tree)
    assert len(outcome.match.confirmed_by) == len(outcome.match.digests) == 1
    assert outcome.match.contradicted_by == ()


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_match_that_was_found_while_the_scan_was_stopped_is_told(open_set, monkeypatch, tree, jobs):
    known = open_set(record(BAD, "md5", "sha1"))
    (tree / "y").write_bytes(b"never reached")
    made, calls = reading.hashers, []
    with Scanner(known, jobs=jobs) as scanner:

        def hashers(kinds):
            calls.append(kinds)
            if len(kinds) == 2:
                scanner.stop()
            return made(kinds)

        monkeypatch.setattr(reading, "hashers", hashers)
        *outcomes, summary = scanner.scan(tree / "x", tree / "y")
    assert [outcome.kind for outcome in outcomes] == ["match"]
    assert not summary.complete
    assert summary.matched == 1


def test_an_md5_match_that_sha1_contradicts_is_a_match_and_says_so(open_set, tree):
    known = open_set(record(BAD, "md5", sha1=OTHER))
    outcome, _ = ruling(known, tree, digests=["md5"])
    assert outcome.match.confirmed_by == ("md5",)
    assert outcome.match.contradicted_by == ("sha1",)
    assert outcome.match.digests["sha1"] == digest("sha1", BAD)


def test_an_entry_that_agrees_in_everything_speaks_before_one_that_is_contradicted(open_set, tree):
    agreeing = open_set(record(BAD, "md5", "sha1", source="agreeing"))
    doubtful = open_set(record(BAD, "md5", source="doubtful", sha1=OTHER))
    for sets in ([agreeing, doubtful], [doubtful, agreeing]):
        outcome, _ = ruling(sets, tree, digests=["md5"])
        assert outcome.match.set_root == agreeing.root
        assert outcome.match.confirmed_by == ("md5", "sha1")
        assert len(outcome.match.entries) == 2


# ---------------------------------------------------------------- roles


ROLES = ["known-bad", "known-good", "trusted", "undecided"]


@pytest.mark.parametrize(("one", "two"), list(product(ROLES, ROLES)))
@pytest.mark.parametrize("apart", [False, True], ids=["one set", "two sets"])
def test_precedence_of_two_roles_in_one_set_or_two(open_set, tree, one, two, apart):
    records = [record(BAD, role=one, source="one"), record(BAD, role=two, source="two")]
    sets = [open_set(each) for each in records] if apart else [open_set(*records)]
    outcome, counts = ruling(sets, tree)
    roles = {one, two}
    if roles >= {"trusted", "known-bad"}:
        expected = "no_match", "suppressed"
    elif "known-bad" in roles:
        expected = "match", None
    elif "trusted" in roles:
        expected = "no_match", "good"
    elif "undecided" in roles:
        expected = "no_match", "undecided"
    else:
        expected = "no_match", "good"
    assert outcome.kind == expected[0]
    assert counts == {"good": 0, "undecided": 0, "suppressed": 0} | ({expected[1]: 1} if expected[1] else {})


def test_a_trusted_entry_that_is_contradicted_suppresses_nothing(open_set, tree):
    known = open_set(record(BAD), record(BAD, "md5", role="trusted", source="t", sha1=OTHER))
    outcome, counts = ruling(known, tree, digests=["md5"])
    assert outcome.kind == "match"
    assert counts["suppressed"] == 0


def test_a_trusted_entry_that_agrees_in_everything_suppresses(open_set, tree):
    known = open_set(record(BAD), record(BAD, "md5", "sha1", role="trusted", source="t"))
    outcome, counts = ruling(known, tree, digests=["md5"])
    assert (outcome.kind, counts["suppressed"]) == ("no_match", 1)


def test_the_published_test_file_is_a_match_with_role_test_in_every_set(open_set, tmp_path):
    (tmp_path / "x").write_bytes(TEST_TEXT)
    for known in (open_set(BAD), open_set(record(BAD, "sha256", "blake3"))):
        outcome, _ = ruling(known, tmp_path)
        assert outcome.match.test
        assert [x.role for entry in outcome.match.entries for x in entry.listings] == ["test"]


def test_a_listing_with_role_test_beside_a_real_one_is_not_only_a_test(open_set, tree):
    outcome, _ = ruling(open_set(record(BAD, role="test"), record(BAD, source="real")), tree)
    assert outcome.kind == "match"
    assert not outcome.match.test


# ---------------------------------------------------------------- empty content


def test_empty_files_never_alert_even_where_the_empty_digest_is_listed(open_set, tmp_path):
    known = open_set(record(b"", "md5", "sha1", "sha256", "blake3"), BAD)
    (tmp_path / "empty").touch()
    with Scanner(known) as scanner, open(tmp_path / "empty", "rb") as file:
        found = scan(scanner, tmp_path)
        alone = [scanner.examine(tmp_path / "empty"), scanner.examine_fd(file.fileno()), scanner.examine_bytes(b"")]
    assert found.summary.no_match == 1
    assert [outcome.kind for outcome in alone] == ["no_match"] * 3
    assert [outcome.size_bytes for outcome in alone] == [0] * 3


# ---------------------------------------------------------------- damaged sets


def test_a_hit_that_a_damaged_set_cannot_confirm_is_left_open_and_told_once(open_set, faults, tmp_path):
    for i in range(20):
        (tmp_path / f"{i}").write_bytes(BAD)
    (tmp_path / "plain").write_bytes(b"not listed")
    damaged = open_set(BAD, os_table=faults.capsule)
    faults.fail("pread", errno.EIO)
    events = []
    with Scanner(damaged, on_event=events.append) as scanner:
        found = scan(scanner, tmp_path)
        assert found.summary.not_examined_reasons == {"set-damaged": 20}
        assert found.summary.incomplete == 20
        assert found.of(tmp_path / "plain").kind == "no_match"
        assert [event.kind for event in events] == ["set-damaged"]
        assert damaged.path in events[0].text
        assert scanner.examine_bytes(BAD).reason == "set-damaged"
        faults.clear()
        assert scan(scanner, tmp_path).summary.matched == 20


def test_what_another_set_confirms_is_a_match_beside_a_damaged_one(open_set, faults, tree):
    damaged = open_set(BAD, os_table=faults.capsule)
    good = open_set(record(BAD, source="good"))
    faults.fail("pread", errno.EIO)
    events = []
    outcome, _ = ruling([damaged, good], tree, on_event=events.append)
    assert outcome.match.set_root == good.root
    assert len(events) == 1


@pytest.mark.parametrize("role", ["known-good", "undecided", "trusted"])
def test_a_good_word_of_one_set_does_not_hide_the_silence_of_a_damaged_one(open_set, faults, tree, role):
    damaged = open_set(BAD, os_table=faults.capsule)
    faults.fail("pread", errno.EIO)
    outcome, counts = ruling([damaged, open_set(record(BAD, role=role))], tree)
    assert outcome.reason == "set-damaged"
    assert set(counts.values()) == {0}


def test_damage_in_words_of_the_examination_of_bytes_is_told_too(open_set, faults):
    damaged = open_set(BAD, os_table=faults.capsule)
    faults.fail("pread", errno.EIO)
    events = []
    with Scanner(damaged, on_event=events.append) as scanner:
        scanner.examine_bytes(BAD)
    assert [event.kind for event in events] == ["set-damaged"]


def test_a_set_that_was_closed_under_a_scanner_does_not_make_files_clean(make_set, tree):
    known = HashSet.open(make_set(BAD))
    with Scanner(known) as scanner:
        assert scan(scanner, tree).summary.matched == 1
        known.close()
        with pytest.raises(SetError, match="closed"):
            scan(scanner, tree)
        assert scanner.examine(tree / "x").kind == "not_examined"


def test_a_set_file_damaged_on_disk_while_it_is_open_leaves_hits_open(open_set, tree):
    known = open_set(BAD)
    with Scanner(known) as scanner:
        with open(known.path, "r+b") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(4096)
            file.write(os.urandom(size - 4096))
        assert scan(scanner, tree).reason(tree / "x") == "set-damaged"


# ---------------------------------------------------------------- single files, descriptors, bytes


@pytest.fixture
def scanner(open_set):
    with Scanner(open_set(BAD)) as scanner:
        yield scanner


def test_examining_by_path_answers_for_everything_that_can_lie_there(scanner, tmp_path):
    (tmp_path / "bad").write_bytes(BAD)
    (tmp_path / "plain").write_bytes(b"x")
    (tmp_path / "link").symlink_to("bad")
    answers = {
        name: (scanner.examine(tmp_path / name).kind.value, scanner.examine(tmp_path / name).reason)
        for name in ("bad", "plain", "link", "none", ".", "bad/x")
    }
    assert answers == {
        "bad": ("match", None),
        "plain": ("no_match", None),
        "link": ("not_examined", "special:symlink"),
        "none": ("gone", None),
        ".": ("not_examined", "special:directory"),
        "bad/x": ("error", "stat: ENOTDIR Not a directory"),
    }
    assert scanner.examine(bytes(tmp_path / "bad")).path == bytes(tmp_path / "bad")


def test_examining_a_descriptor_leaves_its_offset_and_itself_alone(scanner, tmp_path):
    (tmp_path / "x").write_bytes(BAD)
    fd = os.open(tmp_path / "x", os.O_RDONLY)
    try:
        os.lseek(fd, 7, os.SEEK_SET)
        outcome = scanner.examine_fd(fd, path=tmp_path / "x")
        assert (outcome.kind, outcome.path) == ("match", bytes(tmp_path / "x"))
        assert os.lseek(fd, 0, os.SEEK_CUR) == 7
    finally:
        os.close(fd)


def test_examining_a_descriptor_of_a_deleted_file_works(scanner, tmp_path):
    (tmp_path / "x").write_bytes(BAD)
    with open(tmp_path / "x", "rb") as file:
        (tmp_path / "x").unlink()
        assert scanner.examine_fd(file.fileno()).kind == "match"


def test_a_descriptor_that_cannot_be_read_is_an_error(scanner, tmp_path):
    (tmp_path / "x").write_bytes(BAD)
    fd = os.open(tmp_path / "x", os.O_WRONLY)
    try:
        outcome = scanner.examine_fd(fd)
    finally:
        os.close(fd)
    assert outcome.reason.startswith("read: EBADF")
    assert scanner.examine_fd(fd).reason.startswith("stat: EBADF")
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        assert scanner.examine_fd(directory).reason == "special:directory"
    finally:
        os.close(directory)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda data: memoryview(data).cast("H")])
def test_bytes_in_memory_are_examined_without_a_copy_of_them_elsewhere(open_set, wrap):
    data = BAD + b"."
    with Scanner(open_set(data)) as scanner:
        outcome = scanner.examine_bytes(wrap(data), path="where it came from")
    assert outcome.match.digests["md5"] == digest("md5", data)
    assert (outcome.path, outcome.size_bytes) == (b"where it came from", len(data))


def test_bytes_are_confirmed_by_all_kinds_of_the_entry(open_set):
    with Scanner(open_set(record(BAD, "md5", "sha256"))) as scanner:
        assert scanner.examine_bytes(BAD).match.confirmed_by == ("md5", "sha256")
        assert scanner.examine_bytes(b"other").kind == "no_match"


# ---------------------------------------------------------------- misuse


def test_a_scanner_refuses_what_makes_no_sense(open_set, tmp_path):
    known = open_set(BAD)
    for arguments, options in [(([],), {}), ((known,), {"jobs": 0}), ((known,), {"digests": ["crc32"]})]:
        with pytest.raises(UsageError):
            Scanner(*arguments, **options)
    with Scanner(known) as scanner:
        with pytest.raises(UsageError):
            scanner.scan()
        running = scanner.scan(tmp_path)
        next(running)
        # Its summary was the last of it, so the next one may begin; two at once may not.
        slow = scanner.scan(tmp_path, tmp_path)
        (tmp_path / "x").write_bytes(BAD)
        next(slow)
        with pytest.raises(UsageError, match="scanning already"):
            next(scanner.scan(tmp_path))
        slow.close()
        assert scan(scanner, tmp_path).summary.matched == 1
    with pytest.raises(UsageError, match="closed"):
        scanner.examine(tmp_path)


def test_a_set_that_was_closed_before_is_refused(make_set):
    known = HashSet.open(make_set(BAD))
    known.close()
    with pytest.raises(SetError):
        Scanner(known)


@pytest.mark.parametrize("becomes_listed", [True, False])
def test_a_file_written_between_two_of_its_names_is_judged_by_what_it_holds_now(open_set, tmp_path, becomes_listed):
    before, after = (b"harmless then\n", BAD) if becomes_listed else (BAD, b"harmless now, of another size\n")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "a").write_bytes(before)
    os.link(tmp_path / "one" / "a", tmp_path / "two" / "b")
    os.link(tmp_path / "one" / "a", tmp_path / "two" / "c")
    told = {}
    with Scanner(open_set(BAD)) as scanner:
        for outcome in scanner.scan(tmp_path / "one", tmp_path / "two", every=True):
            if hasattr(outcome, "path"):
                told[os.path.basename(outcome.path)] = outcome.kind
                (tmp_path / "one" / "a").write_bytes(after)
    changed = "match" if becomes_listed else "no_match"
    assert told == {b"a": "no_match" if becomes_listed else "match", b"b": changed, b"c": changed}
