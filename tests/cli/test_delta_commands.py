"""``compile --base`` and ``apply``: what they print, and how they end."""

import os

import pytest

from hashsieve import HashSet, compile_lists
from helpers import digest


@pytest.fixture
def folder(tmp_path):
    """Lists and sets 1 to 3, and the deltas 1 to 2 and 2 to 3."""
    how = {"role": "known-bad", "source": "list"}
    for number in (1, 2, 3):
        lines = [digest("md5", b"%d" % n).hex() + "\n" for n in range(number, number + 10)]
        (tmp_path / f"{number}.txt").write_text("".join(lines))
        lists = [tmp_path / f"{number}.txt"]
        compile_lists(lists, tmp_path / f"{number}.hset", generation=number, **how)
        if number > 1:
            compile_lists(lists, tmp_path / f"{number}.hdelta", base=tmp_path / f"{number - 1}.hset", **how)
    return tmp_path


def root(path):
    with HashSet.open(path) as known:
        return known.root.hex()


def test_a_delta_is_compiled_and_printed_as_one_object(cli, folder):
    out = folder / "d.hdelta"
    done = cli("compile", "--json", "-o", out, "--base", folder / "1.hset", "--role", "known-bad", "--source", "list",
               folder / "2.txt")  # fmt: skip
    assert done.code == 0, done
    (said,) = done.lines
    assert said["event"] == "compiled"
    assert said["path"] == str(out)
    assert (said["root"], said["base"]) == (root(folder / "2.hset"), root(folder / "1.hset"))
    assert (said["generation"], said["entries"], said["digests"]) == (2, 10, {"md5": 10})
    assert (said["delta_rows"], said["delta_bytes"]) == (2, out.stat().st_size)
    assert said["lists"][0]["taken"] == 10
    assert out.read_bytes() == (folder / "2.hdelta").read_bytes()
    (full,) = cli("compile", "--json", "-o", folder / "x.hset", "--role", "known-bad", folder / "1.txt").lines
    assert not {"base", "delta_rows", "delta_bytes"} & set(full)


def test_a_delta_is_described_in_words(cli, folder):
    done = cli("compile", "-o", folder / "d.hdelta", "--base", folder / "1.hset", "--role", "known-bad", "--source",
               "list", folder / "2.txt")  # fmt: skip
    assert done.code == 0
    assert f"{folder / 'd.hdelta'}: a delta of 2 rows" in done.text
    assert f"base root {root(folder / '1.hset')}" in done.text
    assert f"root {root(folder / '2.hset')}, generation 2" in done.text


def test_apply_gives_the_set_and_prints_one_object(cli, folder):
    out = folder / "new.hset"
    done = cli("apply", "--json", "-o", out, folder / "1.hset", folder / "2.hdelta", folder / "3.hdelta")
    assert done.code == 0, done
    assert done.lines == [
        {
            "event": "applied",
            "path": str(out),
            "root": root(folder / "3.hset"),
            "generation": 3,
            "entries": 10,
            "base": root(folder / "1.hset"),
            "deltas": [str(folder / "2.hdelta"), str(folder / "3.hdelta")],
        }
    ]
    assert out.read_bytes() == (folder / "3.hset").read_bytes()
    done = cli("apply", "-o", folder / "1.hset", folder / "1.hset", folder / "2.hdelta")
    assert done.code == 0
    assert root(folder / "2.hset") in done.text
    assert (folder / "1.hset").read_bytes() == (folder / "2.hset").read_bytes()


@pytest.mark.parametrize(
    ("old", "deltas", "says"),
    [
        ("1.hset", ["3.hdelta"], "a delta between them is missing"),
        ("1.hset", ["2.hdelta", "2.hdelta"], "nothing to do"),
        ("2.hset", ["2.hdelta"], "nothing to do"),
        ("3.hset", ["2.hdelta"], "the delta is older"),
        ("1.hset", ["none.hdelta"], "cannot be opened"),
        ("1.hset", ["2.hset"], "does not start as a delta does"),
        ("none.hset", ["2.hdelta"], "cannot be opened"),
        ("2.hdelta", ["2.hdelta"], "2.hdelta"),
        ("1.hset", ["cut.hdelta"], "damaged or cut short"),
        ("1.hset", [], "Missing argument"),
    ],
)
def test_what_cannot_be_applied_ends_with_2_and_publishes_nothing(cli, folder, old, deltas, says):
    (folder / "cut.hdelta").write_bytes((folder / "2.hdelta").read_bytes()[:-40])
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    out = folder / "new.hset"
    done = cli("apply", "-o", out, folder / old, *(folder / each for each in deltas))
    assert done.code == 2, done
    assert says in done.err
    assert done.out == b""
    assert "Traceback" not in done.err
    if deltas:
        assert str(folder) in done.err
    assert {name: (folder / name).read_bytes() for name in os.listdir(folder)} == before


def test_a_base_that_cannot_be_used_ends_with_2(cli, folder):
    how = ["-o", folder / "d.hdelta", "--role", "known-bad", folder / "2.txt"]
    for options in (
        ["--base", folder / "none.hset"],
        ["--base", folder / "2.txt"],
        ["--base", folder / "2.hset", "--generation", "2"],
    ):
        done = cli("compile", *how, *options)
        assert done.code == 2, done
        assert not (folder / "d.hdelta").exists()
    assert "has generation 2; the new set takes a higher one" in done.err


def test_apply_takes_the_options_of_every_command_that_opens_sets(cli, folder):
    done = cli("keygen", "sign", "-o", folder / "ours.key")
    assert done.code == 0, done
    how = ["-o", folder / "new.hset", folder / "1.hset", folder / "2.hdelta"]
    for options, says in (
        (["--require-signature", folder / "ours.key.pub"], "the delta is not signed"),
        (["--min-generation", "3"], "leads to generation 2, and at least 3 is required"),
        (["--seal-key", f"file:{folder / 'none.key'}"], "none.key"),
    ):
        done = cli("apply", *options, *how)
        assert done.code == 2, done
        assert says in done.err
        assert not (folder / "new.hset").exists()
    assert cli("apply", "--min-generation", "2", "--require-valid", *how).code == 0


def test_sealed_and_signed_sets_are_brought_up_to_date_by_deltas(cli, folder):
    for kind in ("sign", "seal"):
        assert cli("keygen", kind, "-o", folder / f"{kind}.key").code == 0
    keys = ["--seal-key", f"file:{folder / 'seal.key'}", "--sign-key", f"file:{folder / 'sign.key'}"]
    how = ["--role", "known-bad", "--source", "list", *keys]
    assert cli("compile", "-o", folder / "old", *how, folder / "1.txt").code == 0
    assert cli("compile", "-o", folder / "full", "--generation", "2", *how, folder / "2.txt").code == 0
    done = cli("compile", "--json", "-o", folder / "d", "--base", folder / "old", *how, folder / "2.txt")
    assert done.code == 0, done
    assert done.lines[0]["delta_rows"] == 2
    apply = ["-o", folder / "new", "--seal-key", f"file:{folder / 'seal.key'}", folder / "old", folder / "d"]
    done = cli("apply", "--require-signature", folder / "sign.key.pub", *apply)
    assert done.code == 0, done
    assert (folder / "new").read_bytes() == (folder / "full").read_bytes()
    done = cli("apply", "-o", folder / "never", folder / "old", folder / "d")
    assert done.code == 2
    assert "sealed" in done.err
    assert not (folder / "never").exists()
