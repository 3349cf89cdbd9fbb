"""Alerts on the command line: from a scan to a receiver, settings, secrets, evidence."""

import json
import os
import stat

import pytest
from alert_cases import Disk, Machine
from alert_server import receiving

from hashsieve.alerts.config import load_config, make_sinks
from hashsieve.alerts.deliver import Worker
from hashsieve.alerts.export import package_bytes
from hashsieve.alerts.secrets import key_of, read_secret
from hashsieve.cli import main
from hashsieve.errors import UsageError
from hashsieve.hashset.testfile import TEST_TEXT
from helpers import CommandLine, Result, record


@pytest.fixture
def cli(capfdbinary, monkeypatch):
    """Runs a command in this process: as a process of its own it is tested elsewhere."""

    def run(*arguments, env=None):
        with monkeypatch.context() as patch:
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            capfdbinary.readouterr()
            code = main([os.fsdecode(each) if isinstance(each, os.PathLike) else each for each in arguments])
            out, err = capfdbinary.readouterr()
        return Result(code, out, err.decode())

    return run


@pytest.fixture
def scanned(tmp_path, make_set, cli):
    """A tree with a listed file twice, the test file, and its scan into a journal."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "one").write_bytes(b"BAD")
    (tree / "two").write_bytes(b"BAD")
    (tree / "good").write_bytes(b"GOOD and SECRET")
    os.mkdir(os.fsencode(tree) + b"/bad \xff")
    with open(os.fsencode(tree) + b"/bad \xff/test\n", "wb") as file:
        file.write(TEST_TEXT)
    known = make_set(record(b"BAD", "md5", "sha1", source="custodian", ref="r1"))
    done = cli("scan", "-s", known, "--journal", tmp_path / "j", tree)
    assert done.code == 1, done.err
    return tmp_path / "j"


def listed(cli, journal, *more):
    done = cli("alerts", "list", "--journal", journal, "--json", *more)
    assert done.code == 0, done.err
    return done.lines


def settings(tmp_path, text):
    path = tmp_path / "c.toml"
    path.write_text(text)
    return path


def test_a_scan_with_a_journal_writes_alerts_that_can_be_listed(scanned, cli):
    found = listed(cli, scanned)
    assert sorted(each["type"] for each in found) == ["alert", "alert", "update"]
    real = next(each for each in found if each["type"] == "alert" and not each["test"])
    for name in ("id", "time", "path", "digests", "confirmed_by", "entries", "found_by", "test", "delivered"):
        assert name in real
    assert real["found_by"] == "scan"
    assert real["entries"][0]["listings"][0]["ref"] == "r1"
    test = next(each for each in found if each["test"])
    assert test["path_b64"]
    assert "SECRET" not in json.dumps(found)
    text = cli("alerts", "list", "--journal", scanned)
    assert "TEST ALERT" in text.text
    assert all(c.isprintable() or c == "\n" for c in text.text)


def test_the_test_file_goes_the_whole_way_through_every_sink_marked_as_a_test(scanned, cli, tmp_path):
    pytest.importorskip("httpx", reason="httpx is not installed; pip install '.[deliver]'")
    with receiving() as server, receiving(lambda r: (server.keep_text(r), r.answer(200, b'{"code":0}'))) as splunk:
        texts = []
        server.keep_text = lambda request: texts.append(request.body)
        (tmp_path / "token").write_text("t0ken\n")
        (tmp_path / "token").chmod(0o600)
        config = settings(
            tmp_path,
            f"""
            [sink.hook]
            type = "webhook"
            url = "{server.url}"
            secret = "env:HOOK_SECRET"
            [sink.ocsf]
            type = "file"
            path = "{tmp_path}/ocsf.jsonl"
            format = "ocsf"
            [sink.ecs]
            type = "file"
            path = "{tmp_path}/ecs.jsonl"
            format = "ecs"
            [sink.stix]
            type = "file"
            path = "{tmp_path}/stix.jsonl"
            format = "stix"
            [sink.case]
            type = "file"
            path = "{tmp_path}/case.jsonl"
            format = "case"
            [sink.out]
            type = "stdout"
            format = "cef"
            [sink.splunk]
            type = "splunk"
            url = "{splunk.url}"
            secret = "file:{tmp_path}/token"
            """,
        )
        done = cli(
            "alerts", "deliver", "--journal", scanned, "--config", config, env={"HOOK_SECRET": "whsec_c2VjcmV0c2VjcmV0"}
        )
        assert done.code == 0, done.err
        assert "secretsecret" not in done.text + done.err
        assert sorted(record["test"] for record in server.received) == [False, False, True]
        assert json.loads(b"[" + texts[0].replace(b"\n", b",") + b"]")[0]["event"]
    lines = done.text.splitlines()
    assert sum("cat=test" in line for line in lines if line.startswith("CEF:0")) == 1

    def written(name):
        return [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_bytes().splitlines()]

    assert sum("test" in each["metadata"].get("labels", []) for each in written("ocsf")) == 1
    assert sum("test" in each["tags"] for each in written("ecs")) == 1
    assert sum(any("test" in x.get("labels", []) for x in each["objects"]) for each in written("stix")) == 1
    assert sum(any(x.get("uco-core:tag") == ["test"] for x in each["@graph"]) for each in written("case")) == 1
    assert all(all(each["delivered"].values()) and len(each["delivered"]) == 7 for each in listed(cli, scanned))
    assert listed(cli, scanned, "--undelivered") == []


def test_verify_says_intact_damaged_and_not_there(scanned, cli, tmp_path):
    done = cli("alerts", "verify", "--journal", scanned, "--json")
    assert (done.code, done.lines[0]["intact"]) == (0, True)
    anchor = f"{done.lines[0]['seq']}:{done.lines[0]['chain']}"
    assert cli("alerts", "verify", "--journal", scanned, "--anchor", anchor).code == 0
    wrong = f"{done.lines[0]['seq']}:{'0' * 64}"
    assert cli("alerts", "verify", "--journal", scanned, "--anchor", wrong).code == 3
    assert cli("alerts", "verify", "--journal", scanned, "--anchor", "nonsense").code == 2
    segment = next(scanned.glob("alerts-*"))
    data = bytearray(segment.read_bytes())
    data[1000] ^= 1
    segment.write_bytes(data)
    done = cli("alerts", "verify", "--journal", scanned)
    assert done.code == 3
    assert f"{segment.name}, byte " in done.text
    assert cli("alerts", "list", "--journal", scanned).code == 3
    assert cli("alerts", "verify", "--journal", tmp_path / "none").code == 2


def test_a_journal_key_comes_from_a_source_and_proves_every_record(tmp_path, make_set, cli):
    (tmp_path / "file").write_bytes(b"BAD")
    (tmp_path / "key").write_text("00112233445566778899aabbccddeeff" * 2)
    (tmp_path / "key").chmod(0o600)
    key = f"file:{tmp_path / 'key'}"
    known = make_set(b"BAD")
    done = cli("scan", "-s", known, "--journal", tmp_path / "j", "--journal-key", key, tmp_path / "file")
    assert done.code == 1, done.err
    found = cli("alerts", "verify", "--journal", tmp_path / "j", "--journal-key", key, "--json").lines[0]
    assert (found["intact"], found["unproved"]) == (True, 0)
    found = cli("alerts", "verify", "--journal", tmp_path / "j", "--json").lines[0]
    assert found["unproved"] == found["records"]
    wrong = cli("alerts", "verify", "--journal", tmp_path / "j", "--journal-key", "env:OTHER", env={"OTHER": "f" * 64})
    assert wrong.code == 3


def test_a_second_scan_into_a_journal_in_use_says_so(scanned, make_set, cli, tmp_path):
    from hashsieve.alerts.journal import Journal

    with Journal(scanned):
        done = cli("scan", "-s", make_set(b"BAD"), "--journal", scanned, tmp_path / "tree")
        assert done.code == 2
        assert "another process" in done.err
        assert cli("alerts", "list", "--journal", scanned).code == 0


def test_a_trusted_set_withdraws_what_still_waits(scanned, make_set, cli, tmp_path):
    trusted = make_set(record(b"BAD", "md5", "sha1", role="trusted", source="our own"))
    done = cli("scan", "-s", trusted, "--journal", scanned, tmp_path / "tree" / "good")
    assert done.code == 0, done.err
    assert [each["type"] for each in listed(cli, scanned)].count("withdraw") == 1


def test_an_exported_package_proves_itself_and_holds_no_content(scanned, cli, tmp_path):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    alert = next(each for each in listed(cli, scanned) if each["type"] == "alert" and not each["test"])
    done = cli(
        "alerts", "export", alert["id"], "-o", tmp_path / "e.json", "--journal", scanned, "--sign-key", "env:SIGN",
        env={"SIGN": "hashsieve sign key 1 " + "7" * 64},
    )  # fmt: skip
    assert done.code == 0, done.err
    assert stat.S_IMODE((tmp_path / "e.json").stat().st_mode) == 0o600
    package = json.loads((tmp_path / "e.json").read_text())
    assert package["record"]["id"] == alert["id"]
    assert package["record"]["neighbours"]["total"] == 2
    assert [json.loads(line)["type"] for line in package["related"]] == ["update"]
    assert package["set"]["root"] == alert["set"]["root"]
    assert package["chain"]["intact"]
    assert "SECRET" not in json.dumps(package)
    # By hand: the line's own mac, and the way from it to the head.
    import blake3

    raw = package["line"].encode()
    assert blake3.blake3(raw[: raw.rindex(b',"mac":')]).hexdigest() == package["chain"]["value"]
    way = package["chain"]["to_head"]
    assert [b["previous"] for b in way[1:]] == [a["value"] for a in way[:-1]]
    assert way[-1]["value"] == package["chain"]["head"]["value"]
    signature = package["signature"]
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature["public_key"]))
    public.verify(bytes.fromhex(signature["value"]), package_bytes(package))
    assert cli("alerts", "export", alert["id"], "-o", tmp_path / "e.json", "--journal", scanned).code == 2
    for wrong in ("nonsense", alert["id"][:-1] + "9999", "f" * 24 + alert["id"][24:]):
        assert cli("alerts", "export", wrong, "-o", tmp_path / "f.json", "--journal", scanned).code == 2
    assert not (tmp_path / "f.json").exists()


def test_parked_alerts_are_listed_and_can_be_tried_again(scanned, cli, tmp_path):
    pytest.importorskip("httpx", reason="httpx is not installed; pip install '.[deliver]'")
    with receiving(lambda request: request.answer(422)) as server:
        config = settings(tmp_path, f'[sink.hook]\ntype = "webhook"\nurl = "{server.url}"\n')
        assert cli("alerts", "deliver", "--journal", scanned, "--config", config, "--for", "0.3").code == 3
        before = len(server.requests)
        # The waits between the tries pass on a clock of ours.
        machine = Machine()
        (sink,) = make_sinks(load_config(config))
        worker = Worker(str(scanned), sink, machine, Disk())
        worker.step()
        while not worker.idle:
            machine.monotonic = max(machine.monotonic, worker.step())
        sink.close()
        found = listed(cli, scanned)
        assert all(each["parked"] == {"hook": "HTTP 422"} for each in found)
        assert "HTTP 422" in cli("alerts", "list", "--journal", scanned).text
        assert len(server.requests) - before == 9  # three tries each, and then no more
        assert cli("alerts", "retry", "--journal", scanned, "--json").lines[0]["count"] == 3
        server.behave = server.take
        assert cli("alerts", "deliver", "--journal", scanned, "--config", config).code == 0
        assert set(server.ids) == {each["id"] for each in found}


def test_purge_takes_away_what_is_delivered_and_old(scanned, cli, tmp_path):
    done = cli("alerts", "purge", "--older-than", "0", "--journal", scanned, "--json")
    assert (done.code, done.lines[0]["record"]) == (0, None)  # nobody has it yet
    config = settings(tmp_path, f'[sink.f]\ntype = "file"\npath = "{tmp_path}/out"\n')
    assert cli("alerts", "deliver", "--journal", scanned, "--config", config).code == 0
    done = cli("alerts", "purge", "--older-than", "0", "--journal", scanned, "--json")
    assert done.lines[0]["record"]
    assert listed(cli, scanned) == []
    assert [each["type"] for each in listed(cli, scanned, "--all")] == ["purge"]
    assert cli("alerts", "verify", "--journal", scanned).code == 0


def test_delivering_without_a_sink_is_a_usage_error(scanned, cli):
    done = cli("alerts", "deliver", "--journal", scanned)
    assert done.code == 2
    assert "no sink" in done.err


# Settings


GOOD = """
[record]
omit = ["users", "neighbours"]
neighbours = 10
[hours]
days = [1, 7]
start = "22:00"
end = "06:00"
[network]
dns_suffixes = ["corp.example"]
[journal]
cap_mib = 10
[sink.a]
type = "syslog"
url = "tls://log.example:6514"
format = "cef"
"""


def test_settings_are_read(tmp_path):
    config = load_config(settings(tmp_path, GOOD))
    assert config.recipe.omit == {"users", "neighbours"}
    assert config.recipe.hours.days == {0, 6}
    assert config.cap_bytes == 10 << 20
    (sink,) = make_sinks(config)
    assert (sink.name, sink.batch_count) == ("a", 20)
    assert load_config(None).sinks == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("cap_mib = 10", "cap_mib = -1"), "cap_mib"),
        (("cap_mib = 10", "cap_mb = 10"), "cap_mb"),
        (("[journal]", "[diary]"), "diary"),
        (('"22:00"', '"noon"'), "hours.start"),
        (("[1, 7]", "[0]"), "hours.days"),
        (('["users", "neighbours"]', '["digests"]'), "digests"),
        (("neighbours = 10", "neighbours = 1000"), "neighbours"),
        (('"syslog"', '"pigeon"'), "sink.a.type"),
        (('"tls://log.example:6514"', '"log.example"'), "sink.a"),
        (('"cef"', '"xml"'), "xml"),
        (('format = "cef"', 'secret = "hunter2"'), "secret"),
        (('format = "cef"', "batch = 0"), "batch"),
        (('format = "cef"', 'colour = "red"'), "colour"),
        (('format = "cef"', "["), "TOML"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_their_name_and_without_secrets(tmp_path, change, expected):
    path = settings(tmp_path, GOOD.replace(*change))
    with pytest.raises(UsageError, match=expected) as caught:
        make_sinks(load_config(path))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://alerts.example/", "https://u:p@alerts.example/", "ftp://alerts.example/"])
def test_a_webhook_setting_keeps_to_https(tmp_path, url):
    path = settings(tmp_path, f'[sink.a]\ntype = "webhook"\nurl = "{url}"\n')
    with pytest.raises(UsageError, match=r"sink\.a"):
        make_sinks(load_config(path))


# Secrets


def test_secrets_come_from_a_file_of_their_owner_an_open_file_or_the_environment(tmp_path, monkeypatch):
    path = tmp_path / "secret"
    path.write_bytes(b"  hush\n")
    path.chmod(0o600)
    assert read_secret(f"file:{path}") == b"hush"
    monkeypatch.setenv("HUSH", "hush\n")
    assert read_secret("env:HUSH") == b"hush"
    with open(path, "rb") as file:
        assert read_secret(f"fd:{file.fileno()}") == b"hush"
        assert os.fstat(file.fileno())  # stays open
    path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        read_secret(f"file:{path}")


@pytest.mark.parametrize(
    "source", ["hush-hush", "file:", "pass:hush-hush", "env:NO_SUCH", "fd:999", "fd:x", "file:/none"]
)
def test_what_is_no_source_is_refused_without_being_repeated_if_it_may_be_the_secret(source):
    with pytest.raises(UsageError) as caught:
        read_secret(source)
    assert "hush-hush" not in str(caught.value)


def test_hexadecimal_digits_of_a_key_stand_for_what_they_spell():
    assert key_of(b"ab" * 32) == b"\xab" * 32
    assert key_of(b"a passphrase of some length") == b"a passphrase of some length"
    assert key_of(b"z" * 64) == b"z" * 64


def test_importing_the_package_or_recording_an_alert_loads_nothing_heavy(tmp_path):
    code = """
import sys
import hashsieve
from hashsieve.alerts.merge import Recorder
heavy = {"httpx", "numpy", "cryptography", "rich", "typer", "msgspec", "ssl"} & set(sys.modules)
with Recorder(sys.argv[1]) as recorder:
    recorder.heartbeat()
print(sorted(heavy | ({"httpx", "numpy", "cryptography", "rich", "typer", "ssl"} & set(sys.modules))))
"""
    done = CommandLine().python(code, str(tmp_path / "j"))
    assert done.text.strip() == "[]", done.err
