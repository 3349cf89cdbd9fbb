"""Every command: its exit codes, its JSON lines key by key, and what it says about bad input."""

import gzip
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess

import pytest

from hashsieve.hashset.testfile import TEST_DIGESTS, TEST_TEXT
from hashsieve.lists import FORMATS
from helpers import digest, record

BAD = b"listed content\n"
HEX = r"[0-9a-f]{64}"


@pytest.fixture
def bad_list(tmp_path):
    path = tmp_path / "bad.txt"
    path.write_text(hashlib.md5(BAD).hexdigest() + "\n")
    return path


@pytest.fixture
def known(make_set):
    return make_set(record(BAD, "md5", "sha1", category="1", ref="17", size_bytes=15))


# ---------------------------------------------------------------- compile


def test_compile_prints_one_object_with_what_was_made(cli, tmp_path):
    lines = [hashlib.md5(b"%d" % i).hexdigest() for i in range(100)] + ["not a digest", hashlib.md5(b"").hexdigest()]
    (tmp_path / "one.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "two.txt").write_text(hashlib.sha1(BAD).hexdigest() + "\n")
    out = tmp_path / "known.hset"
    done = cli(
        "compile", "--json", "-o", out, "--role", "known-bad", "--source", "us", "--generation", "7",
        tmp_path / "one.txt", tmp_path / "two.txt",
    )  # fmt: skip
    assert done.code == 0, done
    (line,) = done.lines
    assert re.fullmatch(HEX, line.pop("root"))
    assert [set(each) for each in line["lists"]] == [
        {"path", "format", "role", "source", "taken", "refused", "dropped"}
    ] * 2
    assert [
        (each["taken"], sum(each["refused"].values()), sum(each["dropped"].values())) for each in line["lists"]
    ] == [
        (100, 1, 1),
        (1, 0, 0),
    ]
    assert {each["source"] for each in line["lists"]} == {"us"}
    del line["lists"]
    assert [each["content"] for each in line.pop("trivial")] == [f"the single byte {ord(c):#04x}" for c in "0123456789"]
    assert line == {
        "event": "compiled",
        "path": str(out),
        "generation": 7,
        "entries": 101,
        "conflicts": 0,
        "digests": {"md5": 100, "sha1": 1},
    }


def test_compile_in_little_memory_and_with_several_jobs_gives_the_same_bytes(cli, tmp_path):
    (tmp_path / "list.txt").write_text("".join(hashlib.md5(b"%d" % i).hexdigest() + "\n" for i in range(5000)))
    how = [[], ["--memory", "16", "--jobs", "1"], ["--memory", "64", "--jobs", "3"]]
    made = set()
    for number, options in enumerate(how):
        done = cli("compile", "-o", tmp_path / f"{number}.hset", "--role", "known-bad", *options, tmp_path / "list.txt")
        assert done.code == 0, done
        made.add((tmp_path / f"{number}.hset").read_bytes())
    assert len(made) == 1


@pytest.mark.parametrize("options", [["--memory", "1"], ["--jobs", "0"]])
def test_compile_refuses_limits_that_cannot_be(cli, tmp_path, options):
    (tmp_path / "list.txt").write_text(hashlib.md5(BAD).hexdigest() + "\n")
    out = tmp_path / "known.hset"
    done = cli("compile", "-o", out, "--role", "known-bad", *options, tmp_path / "list.txt")
    assert done.code == 2, done
    assert not out.exists()


def test_compile_says_in_words_what_was_taken_and_left_out(cli, tmp_path):
    lines = [hashlib.md5(b"%d" % i).hexdigest() for i in range(100)] + ["not a digest"]
    (tmp_path / "one.txt").write_text("\n".join(lines) + "\n")
    done = cli("compile", "-o", tmp_path / "x.hset", "--role", "known-bad", tmp_path / "one.txt")
    assert done.code == 0
    assert "100 records taken; left out: 1 " in done.text
    assert "100 entries (100 md5), 0 conflicts" in done.text


def test_equal_records_in_another_order_give_an_equal_root(cli, tmp_path):
    lines = [hashlib.md5(b"%d" % i).hexdigest() for i in range(50)]
    roots = set()
    for number, order in enumerate((lines, lines[::-1])):
        path = tmp_path / f"{number}" / "list.txt"
        path.parent.mkdir()
        path.write_text("\n".join(order) + "\n")
        done = cli("compile", "--json", "-o", tmp_path / f"{number}.hset", "--role", "known-bad", path)
        roots.add(done.lines[0]["root"])
    assert len(roots) == 1


def cut_vics(tmp_path):
    path = tmp_path / "cut.json"
    path.write_text('{"odata.metadata": "x", "value": [{"MD5": "' + "ab" * 16)
    return path


BAD_INPUT = {
    "missing list": (lambda at: at / "none.txt", "cannot be opened"),
    "a directory": (lambda at: at, "is a directory"),
    "empty list": (lambda at: wrote(at, ""), ""),
    "only comments": (lambda at: wrote(at, "# nothing\n"), "no entry"),
    "too many bad lines": (lambda at: wrote(at, "bad line\n" * 50 + ("ab" * 16 + "\n") * 60), ""),
    "a cut list": (cut_vics, ""),
    "a pipe": (lambda at: fifo(at), "not a regular file"),
    "of unknown format": (lambda at: wrote(at, "The quick brown fox\n" * 20), ""),
}


def wrote(at, text):
    (at / "list.txt").write_text(text)
    return at / "list.txt"


def fifo(at):
    os.mkfifo(at / "list")
    return at / "list"


@pytest.mark.parametrize("what", BAD_INPUT)
def test_a_list_that_cannot_be_imported_ends_with_2_and_publishes_nothing(cli, tmp_path, what):
    make, text = BAD_INPUT[what]
    lists = tmp_path / "lists"
    lists.mkdir()
    given = make(lists)
    out = tmp_path / "out/known.hset"
    out.parent.mkdir()
    out.write_bytes(b"what was there before")
    done = cli("compile", "-o", out, "--role", "known-bad", given, timeout=30)
    assert done.code == 2, done
    assert str(given) in done.err
    assert text in done.err
    assert "Traceback" not in done.err
    assert out.read_bytes() == b"what was there before"
    assert os.listdir(out.parent) == ["known.hset"]


def test_one_bad_list_among_good_ones_publishes_nothing(cli, tmp_path, bad_list):
    done = cli("compile", "-o", tmp_path / "x.hset", "--role", "known-bad", bad_list, tmp_path / "none")
    assert done.code == 2
    assert not (tmp_path / "x.hset").exists()


def test_columns_and_a_profile_of_ones_own_are_given_by_option(cli, tmp_path):
    table = tmp_path / "table.csv.gz"
    rows = "".join(f"{grade};{hashlib.md5(b'%d' % n).hexdigest()};{n}\n" for n, grade in enumerate("ABC", 1))
    table.write_bytes(gzip.compress(("Grade;Hash of the file, in hex;Bytes\n" + rows).encode()))
    (tmp_path / "grades").write_text("A = known-bad\nB = known-good\n")
    out = tmp_path / "known.hset"
    done = cli(
        "compile", "--json", "-o", out, "--profile", tmp_path / "grades",
        "--map", "md5=Hash of the file, in hex,size=3,category=Grade", table,
    )  # fmt: skip
    assert done.code == 0, done
    (each,) = done.lines[0]["lists"]
    assert (each["format"], each["role"], each["taken"], each["refused"]) == ("csv", "by-category", 3, {})
    done = cli("lookup", "--json", "-s", out, *[hashlib.md5(b"%d" % n).hexdigest() for n in (1, 2, 3)])
    roles = [[entry["listings"][0]["role"] for entry in line["entries"]] for line in done.lines]
    assert roles == [["known-bad"], ["known-good"], ["undecided"]]


@pytest.mark.parametrize("value", ["md5", "md5=", "=x", "md5=a,md5=b", "sha512=a"])
def test_a_map_that_makes_no_sense_ends_with_2(cli, tmp_path, bad_list, value):
    done = cli("compile", "-o", tmp_path / "x.hset", "--role", "known-bad", "--map", value, bad_list)
    assert (done.code, "--map" in done.err) == (2, True)
    assert not (tmp_path / "x.hset").exists()


def test_a_digest_of_the_empty_file_in_a_list_makes_no_match(cli, tmp_path):
    kinds = ("md5", "sha1", "sha256")
    lists = []
    for kind in kinds:
        (tmp_path / f"{kind}.txt").write_text(
            f"{hashlib.new(kind).hexdigest()}\n{hashlib.new(kind, BAD).hexdigest()}\n"
        )
        lists.append(tmp_path / f"{kind}.txt")
    done = cli("compile", "-o", tmp_path / "x.hset", "--role", "known-bad", "--digest", "sha256", lists[2])
    assert (done.code, "1 empty-file" in done.text) == (0, True)
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(50):
        (tree / str(number)).touch()
    (tree / "bad").write_bytes(BAD)
    done = cli("scan", "--json", "-s", tmp_path / "x.hset", tree)
    assert [os.path.basename(line["path"]) for line in done.lines if line["event"] == "match"] == ["bad"]
    done = cli("compile", "--json", "-o", tmp_path / "y.hset", "--role", "known-bad", *lists[:2])
    assert [each["dropped"] for each in done.lines[0]["lists"]] == [{"empty-file": 1}] * 2


def test_under_strict_one_bad_line_refuses_the_list(cli, tmp_path, bad_list):
    bad_list.write_text(bad_list.read_text() * 200 + "no digest\n")
    assert cli("compile", "-o", tmp_path / "x.hset", "--role", "known-bad", bad_list).code == 0
    done = cli("compile", "-o", tmp_path / "y.hset", "--role", "known-bad", "--strict", bad_list)
    assert done.code == 2
    assert not (tmp_path / "y.hset").exists()


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--role", "evil"],
        ["--role", "known-bad", "--digest", "crc32"],
        ["--role", "known-bad", "--format", "none"],
        ["--role", "known-bad", "--generation", "-1"],
        ["--role", "known-bad", "--valid-until", "tomorrow"],
        ["--role", "known-bad", "--sizes", "perhaps"],
        ["--role", "known-bad", "--bits-per-entry", "1"],
        ["--role", "known-bad", "--no-such-option"],
    ],
    ids=" ".join,
)
def test_options_that_make_no_sense_end_with_2(cli, tmp_path, bad_list, options):
    done = cli("compile", "-o", tmp_path / "x.hset", *options, bad_list)
    assert done.code == 2, done
    assert "Traceback" not in done.err
    assert os.listdir(tmp_path) == ["bad.txt"]


def test_an_output_that_cannot_be_written_ends_with_2(cli, tmp_path, bad_list):
    (tmp_path / "locked").mkdir(0o500)
    directory = tmp_path / "directory"
    directory.mkdir()
    outputs = ["locked/x.hset", "none/x.hset", "directory", "bad.txt", "bad.txt/x.hset"]
    for out in outputs:
        done = cli("compile", "-o", tmp_path / out, "--role", "known-bad", bad_list, unprivileged=True)
        assert done.code == 2, (out, done)
        assert str(tmp_path / out) in done.err
        assert "Traceback" not in done.err
    assert bad_list.read_text() == hashlib.md5(BAD).hexdigest() + "\n"
    assert sorted(os.listdir(tmp_path)) == ["bad.txt", "directory", "locked"]
    assert os.listdir(directory) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_device_as_output_is_refused_and_stays_a_device(cli, bad_list):
    done = cli("compile", "-o", "/dev/full", "--role", "known-bad", bad_list)
    assert done.code == 2
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_a_full_disk_ends_with_2_and_leaves_the_old_set(cli, make_set, tmp_path):
    (tmp_path / "m").mkdir()
    with open(tmp_path / "big.txt", "w") as file:
        for i in range(50_000):
            file.write(hashlib.md5(b"%d" % i).hexdigest() + "\n")
    code = """
import os, shutil, sys
from hashsieve.cli import main
at = sys.argv[1] + "/m"
shutil.copy(sys.argv[2], at + "/known.hset")
code = main(["compile", "-o", at + "/known.hset", "--role", "known-bad", sys.argv[1] + "/big.txt"])
print(code, os.listdir(at), main(["verify", at + "/known.hset"]))
"""
    start = [
        "unshare",
        "-Urm",
        "sh",
        "-c",
        'mount -t tmpfs -o size=256k none "$1/m" && shift && exec "$@"',
        "sh",
        tmp_path,
    ]
    done = cli.python(code, tmp_path, make_set(BAD), start=start)
    if "unshare" in done.err or "mount:" in done.err:
        pytest.skip(f"no mounts in a user namespace here: {done.err.strip()}")
    assert done.text.splitlines()[-1] == "2 ['known.hset'] 0", done
    assert "No space left" in done.err


# ---------------------------------------------------------------- info, verify, lists


def test_info_prints_one_object_with_what_the_set_is(cli, make_set):
    path = make_set(record(BAD, "md5", "sha1", source="b"), record(b"2", source="a", role="undecided"), generation=3)
    done = cli("info", path, "--json")
    assert done.code == 0
    (line,) = done.lines
    assert re.fullmatch(HEX, line["root"])
    fpr = line["filter"]["fpr"]
    assert 0 <= fpr < 0.01
    expected = {
        "format_version": 1,
        "root": line["root"],
        "generation": 3,
        "valid_until": None,
        "entries": 2,
        "digests": {"md5": 2, "sha1": 1},
        "roles": {"known-bad": 1, "undecided": 1},
        "sources": ["a", "b"],
        "sizes": "ignored",
        "filter": {"bits_per_entry": 16, "fpr": fpr},
        "sealed": False,
        "signature": None,
    }
    assert {key: line[key] for key in expected if key != "filter"} == {
        k: v for k, v in expected.items() if k != "filter"
    }
    assert line["filter"] | expected["filter"] == line["filter"]


def test_info_in_words_names_the_root(cli, known):
    assert cli("info", known, "--json").lines[0]["root"] in cli("info", known).text


def test_the_end_of_validity_is_what_was_given(cli, tmp_path, bad_list):
    for given, told in [("2027-01-31", "2027-01-31T00:00:00Z"), ("2027-01-31T12:00:00+02:00", "2027-01-31T10:00:00Z")]:
        out = tmp_path / "x.hset"
        assert cli("compile", "-o", out, "--role", "known-bad", "--valid-until", given, bad_list).code == 0
        assert cli("info", out, "--json").lines[0]["valid_until"] == told


def test_verify_says_intact_damaged_or_not_to_be_opened(cli, known, tmp_path):
    assert cli("verify", known).code == 0
    damaged = tmp_path / "damaged.hset"
    shutil.copy(known, damaged)
    with open(damaged, "r+b") as file:
        file.seek(5000)
        byte = file.read(1)
        file.seek(5000)
        file.write(bytes([byte[0] ^ 1]))
    done = cli("verify", damaged)
    assert done.code == 3, done
    assert str(damaged) in done.err
    (tmp_path / "other").write_bytes(b"not a set" * 1000)
    for path in (tmp_path / "none", tmp_path / "other", tmp_path):
        done = cli("verify", path)
        assert done.code == 2, done
        assert "Traceback" not in done.err


def test_lists_names_every_format(cli):
    done = cli("lists")
    assert done.code == 0
    assert [line.split()[0] for line in done.text.splitlines()] == [info.name for info in FORMATS]


# ---------------------------------------------------------------- lookup


def test_lookup_prints_an_object_for_every_digest_in_order(cli, known):
    md5, sha1, other = digest("md5", BAD).hex(), digest("sha1", BAD).hex(), "ab" * 16
    done = cli("lookup", "--json", "-s", known, md5.upper(), other, sha1, f"MD5:{md5}")
    assert done.code == 1
    assert [(line["digest"], line["kind"], line["known"], len(line["entries"])) for line in done.lines] == [
        (md5, "md5", True, 1),
        (other, "md5", False, 0),
        (sha1, "sha1", True, 1),
        (md5, "md5", True, 1),
    ]
    assert done.lines[0]["entries"][0]["listings"] == [
        {"source": "list", "role": "known-bad", "category": "1", "ref": "17"}
    ]
    assert set(done.lines[0]) >= {"digest", "kind", "known", "entries"}


def test_lookup_ends_with_1_for_known_bad_only(cli, make_set):
    good = make_set(record(BAD, role="known-good"), record(b"2", role="undecided"), record(b"3", role="trusted"))
    bad = make_set(b"3")
    for data, sets, code in [
        (BAD, [good], 0),
        (b"2", [good], 0),
        (b"3", [bad], 1),
        (b"3", [bad, good], 0),
        (b"4", [bad], 0),
    ]:
        arguments = [argument for path in sets for argument in ("-s", path)]
        done = cli("lookup", *arguments, digest("md5", data).hex())
        assert done.code == code, (data, sets, done)


def test_lookup_reads_standard_input_line_by_line(cli, known):
    md5 = digest("md5", BAD).hex()
    done = cli("lookup", "--json", "-s", known, "-", stdin=f"{'ab' * 16}\r\n\n  {md5}  \n{'cd' * 20}".encode())
    assert done.code == 1
    assert [line["digest"] for line in done.lines] == ["ab" * 16, md5, "cd" * 20]


def test_a_long_standard_input_is_answered_as_its_digests_one_by_one(cli, make_set):
    records = [record(bytes([n]), ("md5", "sha1", "sha256")[n % 3]) for n in range(30)]
    paths = make_set(*records[:20]), make_set(*records[10:])
    options = ["--json", *(argument for path in paths for argument in ("-s", path))]
    listed = [digest(("md5", "sha1", "sha256")[n % 3], bytes([n])).hex() for n in range(30)]
    few = [text for n, one in enumerate(listed) for text in (one, f"{n:032x}", f"{n:040x}", f"{n:064X}")]
    by_one = cli("lookup", *options, *few)
    assert by_one.code == 1
    # More than one stretch of input, and lines that lie across the border of two.
    times = 10_000 // len(few)
    streamed = cli("lookup", *options, "-", stdin="\r\n".join(few * times).encode())
    assert streamed.code == 1
    assert streamed.lines == by_one.lines * times
    plain = cli("lookup", *options[1:], "-", stdin="\n".join(few).encode())
    assert plain.text == cli("lookup", *options[1:], *few).text


def test_lines_that_are_no_digests_are_named_and_the_others_answered(cli, known):
    md5 = digest("md5", BAD).hex()
    text = f"MD5,name\n{'ab' * 16}\n\n{md5}\n{'ab' * 15}\nsha1:{'cd' * 20}\nmd5:{'cd' * 20}\n{md5}x"
    done = cli("lookup", "--json", "-s", known, "-", stdin=text.encode())
    assert done.code == 1
    assert [line["digest"] for line in done.lines] == ["ab" * 16, md5, "cd" * 20]
    assert re.findall(r"line ([0-9]+):", done.err) == ["1", "5", "7", "8"]
    done = cli("lookup", "-s", known, "-", stdin=("x\n" * 1000 + "ab" * 16).encode())
    assert done.code == 2
    assert done.text == f"{'ab' * 16}  md5  not listed\n"
    assert re.findall(r"line ([0-9]+):", done.err) == [str(n) for n in range(1, 21)]
    assert "1000 lines" in done.err


def test_a_line_without_end_takes_no_memory(cli, known):
    md5 = digest("md5", BAD).hex()
    command = cli.command("lookup", "--json", "-s", known, "-")
    process = subprocess.Popen(
        ["sh", "-c", 'ulimit -v 400000; exec "$@"', "sh", *command],
        env=cli.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdin.write(f"{'ab' * 16}\n".encode())
    for _ in range(500):
        process.stdin.write(bytes(1_000_000))
    out, err = process.communicate(f"\n{md5}\n".encode(), timeout=60)
    assert [json.loads(line)["digest"] for line in out.splitlines()] == ["ab" * 16, md5], err
    assert process.returncode == 1
    assert b"line 2:" in err


def test_64_hex_digits_mean_the_kind_that_the_sets_have(cli, make_set):
    sha256, blake3 = make_set(record(BAD, "sha256")), make_set(record(BAD, "blake3"))
    for path, kind in ((sha256, "sha256"), (blake3, "blake3")):
        for data, known in ((BAD, True), (b"other", False)):
            (line,) = cli("lookup", "--json", "-s", path, digest(kind, data).hex()).lines
            assert (line["kind"], line["known"]) == (kind, known)
    arguments = ["lookup", "--json", "-s", sha256, "-s", blake3]
    for kind in ("sha256", "blake3"):
        (line,) = cli(*arguments, digest(kind, BAD).hex()).lines
        assert (line["kind"], line["known"]) == (kind, True)
    (line,) = cli(*arguments, f"blake3:{digest('sha256', BAD).hex()}").lines
    assert (line["kind"], line["known"]) == ("blake3", False)


def test_every_set_answers_the_digests_of_the_test_file(cli, known):
    done = cli("lookup", "--json", "-s", known, TEST_DIGESTS["md5"].hex())
    assert done.code == 1
    assert done.lines[0]["entries"][0]["listings"][0]["role"] == "test"


@pytest.mark.parametrize(
    "given", ["", "abc", "ab" * 15, "zz" * 16, "md5:" + "ab" * 20, "crc:" + "ab" * 16, "é" * 32, "ab " * 16, "ab" * 33]
)
def test_what_is_no_digest_ends_with_2(cli, known, given):
    done = cli("lookup", "-s", known, given)
    assert done.code == 2, done
    assert "Traceback" not in done.err
    assert cli("lookup", "-s", known, "-", stdin=given.encode()).code == (2 if given else 0)


def test_lookup_without_a_set_or_with_one_that_is_none_ends_with_2(cli, tmp_path):
    assert cli("lookup", "ab" * 16).code == 2
    assert cli("lookup", "-s", tmp_path / "none", "ab" * 16).code == 2


# ---------------------------------------------------------------- scan

START = {"event", "engine", "time", "sets", "roots", "gates", "digests"}
MATCH = {"event", "path", "size", "digests", "confirmed_by", "contradicted_by", "set", "generation", "entries"}
SUMMARY = {
    "event", "seen", "matched", "no_match", "not_examined", "changed", "gone", "errors", "special", "known_good",
    "undecided", "suppressed", "bytes_read", "cache_hits", "cpu_seconds", "wall_seconds", "started", "ended",
}  # fmt: skip
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_scan_prints_a_start_the_matches_what_was_left_open_and_a_summary(cli, known, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "bad").write_bytes(BAD)
    (tree / "plain").write_bytes(b"x")
    (tree / "link").symlink_to("bad")
    done = cli("scan", "--json", "-s", known, tree, tmp_path / "none")
    assert done.code == 1, done
    start, match, error, summary = done.lines
    assert set(start) >= START
    assert start["event"] == "start"
    assert start["roots"] == [str(tree), str(tmp_path / "none")]
    root = cli("info", known, "--json").lines[0]["root"]
    assert start["sets"] == [{"path": known, "root": root, "generation": 1}]
    assert len(start["digests"]) == 1
    assert set(match) >= MATCH
    assert "path_b64" not in match
    assert (match["event"], match["path"], match["size"]) == ("match", str(tree / "bad"), len(BAD))
    assert match["digests"] == {kind: digest(kind, BAD).hex() for kind in ("md5", "sha1")}
    assert (match["confirmed_by"], match["contradicted_by"]) == (["md5", "sha1"], [])
    assert (match["set"], match["generation"]) == (root, 1)
    assert match["entries"][0]["listings"] == [{"source": "list", "role": "known-bad", "category": "1", "ref": "17"}]
    assert error == {
        "event": "error",
        "path": str(tmp_path / "none"),
        "reason": "open: ENOENT No such file or directory",
    }
    assert set(summary) >= SUMMARY
    counts = {key: summary[key] for key in SUMMARY if isinstance(summary[key], int) and summary[key]}
    assert counts == {"seen": 3, "matched": 1, "no_match": 1, "errors": 1, "special": 1, "bytes_read": 2 * len(BAD) + 1}
    for moment in (start["time"], summary["started"], summary["ended"]):
        assert TIME.fullmatch(moment)
    assert done.out.endswith(b"\n")


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_exit_codes_of_a_scan(cli, known, tmp_path, jobs):
    (tmp_path / "plain").write_bytes(b"x")
    run = lambda *roots: cli("scan", "--jobs", jobs, "-s", known, *roots).code  # noqa: E731
    assert run(tmp_path) == 0
    assert run(tmp_path, tmp_path / "none") == 3
    (tmp_path / "bad").write_bytes(BAD)
    assert run(tmp_path) == 1
    assert run(tmp_path, tmp_path / "none") == 1
    for arguments in (
        ["scan", tmp_path],
        ["scan", "-s", known],
        ["scan", "-s", tmp_path / "none", tmp_path],
        ["scan", "-s", tmp_path / "bad", tmp_path],
        ["scan", "-s", known, "--jobs", "0", tmp_path],
        ["scan", "-s", known, "--digests", "crc32", tmp_path],
        ["frobnicate"],
        [],
    ):
        done = cli(*arguments)
        assert done.code == 2, (arguments, done)
        assert "Traceback" not in done.err


def test_further_digests_are_computed_on_request(cli, known, tmp_path):
    (tmp_path / "bad").write_bytes(BAD)
    done = cli("scan", "--json", "-s", known, "--digests", "sha256, blake3", tmp_path)
    assert {"sha256", "blake3"} <= set(done.lines[0]["digests"])
    assert done.events("match")[0]["digests"]["blake3"] == digest("blake3", BAD).hex()


def test_what_is_left_open_is_said_in_words(cli, known, tmp_path):
    done = cli("scan", "-s", known, tmp_path / "none")
    assert done.code == 3
    assert "error  " in done.text
    assert "1 names are left open: this is not a clean result" in done.text


def test_the_test_file_is_written_once_and_found_as_a_test(cli, known, tmp_path):
    path = tmp_path / "tree/test.txt"
    path.parent.mkdir()
    done = cli("demo", "--write-test-file", path)
    assert done.code == 0
    assert path.read_bytes() == TEST_TEXT
    assert len(TEST_TEXT) == 68
    assert cli("demo", "--write-test-file", path).code == 2
    assert cli("demo", "--write-test-file", tmp_path / "none/x").code == 2
    done = cli("scan", "--json", "-s", known, path.parent)
    assert done.code == 1
    assert b'"test":true' in done.out
    (match,) = done.events("match")
    assert match["test"] is True
    assert [x["role"] for entry in match["entries"] for x in entry["listings"]] == ["test"]
    assert "TEST MATCH" in cli("scan", "-s", known, path).text


def test_the_demo_shows_the_whole_way_and_leaves_nothing(cli, tmp_path):
    tree, scratch = tmp_path / "tree", tmp_path / "scratch"
    tree.mkdir()
    scratch.mkdir()
    for i in range(20):
        (tree / f"{i}").write_bytes(b"%d" % i)
    done = cli("demo", tree, env={"TMPDIR": str(scratch)})
    assert done.code == 0, done
    assert "MATCH  " in done.text
    assert "21 files seen: 1 matched" in done.text
    assert os.listdir(scratch) == []


def test_the_demo_over_a_tree_that_is_not_there_fails(cli, tmp_path):
    done = cli("demo", tmp_path / "none", env={"TMPDIR": str(tmp_path)})
    assert "1 matched" in done.text
    assert "error  " in done.text


# ---------------------------------------------------------------- the rest


def test_version_and_how_this_build_works_here(cli):
    done = cli("--version")
    assert re.fullmatch(r"hashsieve \d+\.\d+\.\d+\n", done.text)
    verbose = cli("--version", "--verbose")
    assert verbose.code == 0
    assert verbose.text.startswith(done.text)
    for word in ("python", "cpu", "kernels", "page hashes", "filter probe", "tree walk"):
        assert re.search(rf"^{word} +\S", verbose.text, re.MULTILINE), word


@pytest.mark.parametrize("command", ["compile", "apply", "info", "verify", "lists", "lookup", "scan", "demo"])
def test_every_command_explains_itself(cli, command):
    done = cli(command, "--help")
    assert done.code == 0
    assert f"hashsieve {command}" in done.text


def test_a_fault_of_ours_never_looks_like_a_match(cli):
    code = """
import sys
from hashsieve.cli import app, main
def broken(argv):
    raise RuntimeError("a fault")
app.run = broken
sys.exit(main(["lists"]))
"""
    done = cli.python(code)
    assert done.code == 2
    assert "RuntimeError: a fault" in done.err


def test_json_of_every_command_is_ascii_lines(cli, make_set, tmp_path):
    name = tmp_path / "sét‮\n.txt"
    name.write_text(hashlib.md5(BAD).hexdigest() + "\n")
    out = os.fsencode(tmp_path) + b"/\xff\n.hset"
    outputs = [
        cli("compile", "--json", "-o", out, "--role", "known-bad", "--source", "qu\u202eelle\x1b", name),
        cli("info", "--json", out),
        cli("compile", "--json", "-o", out + b".delta", "--role", "trusted", "--base", out, name),
        cli("apply", "--json", "-o", out + b".new", out, out + b".delta"),
        cli("lookup", "--json", "-s", out, digest("md5", BAD).hex()),
        cli("scan", "--json", "-s", out, tmp_path),
    ]
    for done in outputs:
        assert done.code in (0, 1), done
        assert done.out.isascii()
        for line in done.out.splitlines():
            json.loads(line)
            assert b"\\ud" not in line.lower().replace(b"\\u202e", b"")
