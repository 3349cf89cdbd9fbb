"""The command line with keys: keygen, signing, and the options of wherever sets are opened."""

import os
import random
import stat
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "format"))
import set_maker

from hashsieve.hashset.seal import SealKey
from helpers import digest

CONTENT = b"the listed file"


@pytest.fixture
def tree(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "listed").write_bytes(CONTENT)
    (tree / "other").write_bytes(b"something else")
    return tree


@pytest.fixture
def keys(cli, tmp_path):
    for kind in ("sign", "seal"):
        assert cli("keygen", kind, "-o", tmp_path / kind).code == 0
    return tmp_path


def secret_of_file(path):
    return bytes.fromhex(path.read_text().split()[-1])


@pytest.fixture
def sealed(keys, tmp_path):
    rng = random.Random(1)
    records = [({"md5": rng.randbytes(16)}, None, ("s", "known-bad", None), None) for _ in range(50)]
    records.append(({"md5": digest("md5", CONTENT), "sha1": digest("sha1", CONTENT)}, len(CONTENT),
                    ("s", "known-bad", "cat"), b"case 1"))  # fmt: skip
    path = tmp_path / "sealed.hset"
    key = secret_of_file(keys / "seal")
    path.write_bytes(set_maker.make(records, key=key, generation=5, valid_until=1_700_000_000))
    return path


def test_keygen_writes_what_it_says_and_nothing_twice(cli, tmp_path):
    made = cli("keygen", "sign", "-o", tmp_path / "k")
    assert made.code == 0
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    public = (tmp_path / "k.pub").read_text().split()[-1]
    assert public.startswith("ed25519:")
    assert public in made.text
    secret = (tmp_path / "k").read_text().split()[-1]
    assert secret not in made.text + made.err
    before = (tmp_path / "k").read_bytes()
    again = cli("keygen", "sign", "-o", tmp_path / "k")
    assert (again.code, again.out) == (2, b"")
    assert "never overwritten" in again.err
    assert (tmp_path / "k").read_bytes() == before
    assert cli("keygen", "other", "-o", tmp_path / "o").code == 2
    assert not (tmp_path / "o").exists()


def test_a_set_signed_when_it_is_compiled_is_asked_for_by_its_public_key(cli, keys, tree, tmp_path):
    (tmp_path / "list.txt").write_text(digest("md5", CONTENT).hex() + "\n")
    compiled = tmp_path / "known.hset"
    options = ["compile", "-o", compiled, "--role", "known-bad", tmp_path / "list.txt"]
    assert cli(*options).code == 0
    required = ["--require-signature", keys / "sign.pub"]
    for command in (["info", compiled], ["lookup", "-s", compiled, "0" * 32], ["scan", "-s", compiled, tree]):
        refused = cli(*command, *required)
        assert (refused.code, "is not signed" in refused.err) == (2, True), command
    assert cli(*options, "--sign-key", f"file:{keys}/sign").code == 0
    facts = cli("info", compiled, "--json", *required).lines[0]["signature"]
    public = (keys / "sign.pub").read_text().split("ed25519:")[-1].strip()
    assert facts == {"trusted": public, "keys": [{"key": public, "valid": True}]}
    assert f"valid, ed25519:{public}, trusted" in cli("info", compiled, *required).text
    assert cli("verify", compiled, *required).code == 0
    assert cli("lookup", "-s", compiled, *required, digest("md5", CONTENT).hex()).code == 1
    cli("keygen", "sign", "-o", tmp_path / "theirs")
    other = cli("scan", "-s", compiled, "--require-signature", tmp_path / "theirs.pub", tree)
    assert (other.code, other.out) == (2, b"")
    assert "none of these is trusted" in other.err


@pytest.mark.parametrize("source", ["file", "env", "fd"])
def test_a_sealed_set_is_used_with_its_key_from_everywhere(cli, keys, sealed, tree, source, tmp_path):
    text = (keys / "seal").read_bytes()
    given, environment, fd = f"file:{keys}/seal", {}, None
    if source == "env":
        given, environment = "env:THE_KEY", {"THE_KEY": text.decode()}
    every_command = (
        (["verify", sealed], 0),
        (["scan", "--json", "-s", sealed, tree], 1),
        (["lookup", "-s", sealed, digest("md5", CONTENT).hex()], 1),
    )
    for command, code in every_command if source == "file" else every_command[1:2]:
        if source == "fd":
            fd, writing = os.pipe()
            os.write(writing, text)
            os.close(writing)
            process = cli.start(*command, "--seal-key", f"fd:{fd}", pass_fds=[fd])
            _, err = process.communicate(timeout=60)
            os.close(fd)
            assert process.returncode == code, err
        else:
            result = cli(*command, "--seal-key", given, env=environment)
            assert result.code == code, result.err
            if "--json" in command:
                match = result.events("match")[0]
                assert match["confirmed_by"] == ["md5", "sha1"]
                assert match["entries"] == [
                    {
                        "digests": {},
                        "size": len(CONTENT),
                        "listings": [{"source": "s", "role": "known-bad", "category": "cat", "ref": "case 1"}],
                    }
                ]
                assert match["digests"]["md5"] == digest("md5", CONTENT).hex()


def test_refusals_of_sealed_sets_name_what_to_do_and_no_key(cli, keys, sealed, tree, tmp_path):
    cli("keygen", "seal", "-o", tmp_path / "other")
    secret = secret_of_file(keys / "seal").hex()
    (tmp_path / "open").write_bytes((keys / "seal").read_bytes())
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "empty").touch(0o600)
    for given, words in (
        ([], "is sealed; pass --seal-key"),
        (["--seal-key", f"file:{tmp_path}/other"], f"it names the key {SealKey(bytes.fromhex(secret)).key_id.hex()}"),
        (["--seal-key", f"file:{keys}/sign"], "holds a sign key, and a seal key is needed"),
        (["--seal-key", f"file:{tmp_path}/open"], "open to others (mode 644)"),
        (["--seal-key", f"file:{tmp_path}/empty"], "is empty"),
        (["--seal-key", "env:NOT_THERE"], "no such environment variable"),
        (["--seal-key", "fd:77"], "not open"),
        (["--seal-key", secret], "a key itself is never an argument"),
    ):  # fmt: skip
        every_command = (
            ["info", sealed],
            ["scan", "-s", sealed, tree],
            ["verify", sealed],
            ["lookup", "-s", sealed, "0"],
        )
        for command in every_command[: 1 if given else 4]:
            refused = cli(*command, *given)
            assert refused.code == 2, (command, given)
            assert words in refused.err
            assert refused.out == b""
            assert secret not in refused.err
    both = cli("info", "--json", sealed, "--seal-key", f"file:{tmp_path}/other", "--seal-key", f"file:{keys}/seal")
    assert both.code == 0
    assert both.lines[0]["sealed"] is True


def test_generations_and_the_end_of_validity(cli, keys, sealed, tree):
    key = ["--seal-key", f"file:{keys}/seal"]
    assert cli("info", sealed, *key, "--min-generation", "5").code == 0
    refused = cli("scan", "-s", sealed, *key, "--min-generation", "6", tree)
    assert (refused.code, "is generation 5, and at least 6" in refused.err) == (2, True)
    refused = cli("scan", "-s", sealed, *key, "--require-valid", tree)
    assert (refused.code, "was valid until 2023-11-14T22:13:20Z" in refused.err) == (2, True)
    assert cli("info", "--json", sealed, *key).lines[0]["expired"] is True
    assert "PASSED" in cli("info", sealed, *key).text
    assert cli("scan", "--json", "-s", sealed, *key, tree).summary["expired_sets"] == [str(sealed)]
    assert f"{sealed}: its end of validity has passed" in cli("scan", "-s", sealed, *key, tree / "other").text


def test_trivial_content_on_a_list_is_told(cli, tmp_path):
    (tmp_path / "list.txt").write_text(f"{digest('md5', bytes(512)).hex()}\n{digest('md5', b'q').hex()}\n{'1' * 32}\n")
    done = cli("compile", "--json", "-o", tmp_path / "k", "--role", "known-bad", tmp_path / "list.txt")
    assert done.code == 0
    assert [(each["content"], each["roles"]) for each in done.lines[0]["trivial"]] == [
        ("the single byte 0x71", ["known-bad"]),
        ("512 bytes of 0x00", ["known-bad"]),
    ]
    assert done.err.count("will be found everywhere") == 2


def test_a_set_is_sealed_when_it_is_compiled(cli, keys, tree, tmp_path):
    (tmp_path / "list.txt").write_text(digest("md5", CONTENT).hex() + "\n")
    done = cli("compile", "-o", tmp_path / "k", "--role", "known-bad", "--seal-key", f"file:{keys}/seal",
               "--sign-key", f"file:{keys}/sign", tmp_path / "list.txt")  # fmt: skip
    assert done.code == 0, done.err
    found = cli("scan", "-s", tmp_path / "k", "--seal-key", f"file:{keys}/seal",
                "--require-signature", keys / "sign.pub", tree)  # fmt: skip
    assert found.code == 1, found.err
    assert digest("md5", CONTENT) not in (tmp_path / "k").read_bytes()
