"""What an alert says, and what it never says."""

import datetime
import json
import os

import pytest
from alert_cases import NOON_NS, Machine, match_of

from hashsieve.alerts.environment import Environment, utc
from hashsieve.alerts.record import CONTEXT, Recipe, WorkingHours, make_record, subject_of, without_context
from hashsieve.errors import UsageError
from hashsieve.platform import host
from hashsieve.platform.mounts import MountTable, parse_mountinfo


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "album"
    folder.mkdir()
    for n in range(5):
        (folder / f"neighbour {n}").write_bytes(b"SECRET CONTENT %d" % n)
    (folder / "sub").mkdir()
    (folder / "link").symlink_to("neighbour 1")
    (folder / "found.jpg").write_bytes(b"BAD")
    return folder


def record_of(path, environment=None, recipe=None, **options):
    return make_record(
        match_of(path, **options.pop("match", {})), environment or Machine(), recipe or Recipe(), found_by="scan",
        **options,
    )  # fmt: skip


def test_it_says_who_where_when_and_how(folder):
    record = record_of(folder / "found.jpg", process={"pid": 7, "executable": "/usr/bin/curl"}, feed="fanotify")
    assert record["time"] == utc(NOON_NS) == "2026-05-28T20:26:40.000Z"
    assert record["offset_minutes"] == 120
    assert record["monotonic_ns"] == 5_000_000_000
    assert record["boot_id"] == "0d9bd1b7-boot"
    assert record["path"] == str(folder / "found.jpg")
    assert record["size"] == 3
    assert record["digests"] == {"md5": "f1b68d66337a81cfa0d2076171cba2a8", "sha1": match_of("/").digests["sha1"].hex()}
    assert record["confirmed_by"] == ["md5", "sha1"]
    assert record["set"] == {"root": bytes(range(32)).hex(), "generation": 7}
    assert record["entries"][0]["listings"] == [
        {"source": "custodian", "role": "known-bad", "category": "1", "ref": "ref-1"}
    ]
    assert (record["found_by"], record["feed"]) == ("scan", "fanotify")
    assert record["process"] == {"pid": 7, "executable": "/usr/bin/curl"}
    facts = (folder / "found.jpg").stat()
    assert record["file"]["file_id"] == facts.st_ino
    assert record["file"]["mtime_ns"] == facts.st_mtime_ns
    assert record["owner"]["uid"] == os.getuid()
    assert record["users"] == ["ada"]
    assert record["host"]["name"] == "laptop-7"
    assert record["network"] == {"state": "offline", "company": "off"}
    assert record["power"] == {"source": "battery", "percent": 3}
    assert record["hours"] == "unknown"
    assert record["test"] is False


def test_neighbours_are_names_sizes_and_times_and_never_content(folder):
    record = record_of(folder / "found.jpg")
    assert [each["name"] for each in record["neighbours"]["files"]] == [f"neighbour {n}" for n in range(5)]
    assert record["neighbours"]["files"][0]["size"] == len(b"SECRET CONTENT 0")
    assert record["neighbours"]["total"] == 5
    assert "SECRET" not in json.dumps(record)
    assert all("digests" not in each for each in record["neighbours"]["files"])


def test_no_file_is_opened_for_an_alert(folder, monkeypatch):
    opened = []

    def watch(event, arguments):
        if event == "open" and str(folder) in os.fsdecode(arguments[0] if not isinstance(arguments[0], int) else b""):
            opened.append(arguments[0])

    import sys

    sys.addaudithook(watch)
    record_of(folder / "found.jpg", environment=Environment())
    assert opened == []


def test_of_many_neighbours_those_nearest_in_time_are_named(folder):
    for n in range(300):
        (folder / f"far {n:03}").write_bytes(b"")
        os.utime(folder / f"far {n:03}", (1000 + n, 1000 + n))
    record = record_of(folder / "found.jpg")
    names = [each["name"] for each in record["neighbours"]["files"]]
    assert len(names) == 200
    assert names == sorted(names)
    assert {f"neighbour {n}" for n in range(5)} < set(names)
    assert "far 000" not in names
    assert record["neighbours"]["total"] == 305


def test_digests_of_neighbours_come_from_the_cache_alone(folder):
    recipe = Recipe(cached_digests=lambda path, facts: {"md5": bytes(16)} if path.endswith(b"3") else None)
    files = record_of(folder / "found.jpg", recipe=recipe)["neighbours"]["files"]
    assert [each.get("digests") for each in files] == [None, None, None, {"md5": "00" * 16}, None]


@pytest.mark.parametrize(
    "name", [b"new\nline", b"quo\"te's", b"pi|pe", "r\u202eight".encode(), b"bad \xff\xfe utf-8", b"back\\slash = [x]"]
)
def test_hostile_names_are_exact_and_shown_harmlessly(tmp_path, name):
    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "wb"):
        pass
    record = json.loads(json.dumps(record_of(path)))
    if "path_b64" in record:
        import base64

        assert base64.b64decode(record["path_b64"]) == path
    else:
        assert record["path"].encode() == path
    assert record["display"].isprintable()
    assert record["file"]["state"] == "there"


def test_a_file_that_has_gone_or_was_replaced_is_said_to_be(tmp_path):
    assert record_of(tmp_path / "gone")["file"] == {"volume": 1, "file_id": 2, "state": "gone"}
    path = tmp_path / "file"
    path.write_bytes(b"BAD")
    match = match_of(path)
    (tmp_path / "other").write_bytes(b"GOOD")
    (tmp_path / "other").rename(path)
    record = make_record(match, Machine(), Recipe(), found_by="scan")
    assert record["file"]["state"] == "replaced"
    assert record["owner"] is None
    assert "mtime_ns" not in record["file"]


def test_fields_may_be_left_out_by_choice(folder):
    record = record_of(folder / "found.jpg", recipe=Recipe(omit=frozenset({"users", "neighbours", "owner"})))
    assert not {"users", "neighbours", "owner"} & set(record)
    assert "ada" not in json.dumps(record)
    assert "omitted" not in record
    with pytest.raises(UsageError, match="digests"):
        Recipe(omit=frozenset({"digests"}))


def test_short_of_space_neighbours_go_first_and_then_all_context(folder):
    assert record_of(folder / "found.jpg", detail=1)["omitted"] == ["neighbours"]
    record = record_of(folder / "found.jpg", detail=0)
    assert record["omitted"] == [name for name in CONTEXT if name != "host"]
    assert set(CONTEXT) & set(record) == {"host"}
    assert {"time", "path", "digests", "size", "entries", "file"} <= set(record)
    full = record_of(folder / "found.jpg")
    stripped = without_context(full)
    assert set(CONTEXT) & set(stripped) == {"host"}
    assert stripped["digests"] == full["digests"]


def test_a_fact_that_cannot_be_had_costs_that_fact_alone(folder):
    class Broken(Machine):
        def power(self):
            raise OSError("no")

        def folder(self, path):
            raise PermissionError("no")

    record = record_of(folder / "found.jpg", environment=Broken())
    assert record["power"] is None
    assert record["neighbours"] is None
    assert record["users"] == ["ada"]


def test_the_subject_is_content_and_who_lists_it():
    assert subject_of(match_of("/a")) == subject_of(match_of("/b", ref="other"))
    assert subject_of(match_of("/a")) != subject_of(match_of("/a", b"other"))
    assert subject_of(match_of("/a")) != subject_of(match_of("/a", source="other"))
    assert subject_of(match_of("/a")) != subject_of(match_of("/a", role="test"))


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2026-05-28 10:00", True),  # a Thursday
        ("2026-05-28 07:59", False),
        ("2026-05-28 18:00", False),
        ("2026-05-30 10:00", False),
    ],
)
def test_working_hours_are_local(moment, inside):
    local = datetime.datetime.fromisoformat(moment).replace(tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    assert WorkingHours().contains(int(local.timestamp()) * 10**9, 120) is inside


def test_working_hours_may_run_over_midnight():
    night = WorkingHours(frozenset({4}), 22 * 60, 6 * 60)  # the night that begins on Friday

    def at(text):
        return int(datetime.datetime.fromisoformat(text + "+00:00").timestamp()) * 10**9

    assert night.contains(at("2026-05-29 23:00"), 0)
    assert night.contains(at("2026-05-30 05:00"), 0)
    assert not night.contains(at("2026-05-29 05:00"), 0)
    assert not night.contains(at("2026-05-30 23:00"), 0)


# Facts of the machine


def supplies(tmp_path, **devices):
    for name, facts in devices.items():
        (tmp_path / name).mkdir()
        for key, value in facts.items():
            (tmp_path / name / key).write_text(value + "\n")
    return str(tmp_path)


BATTERY = {"type": "Battery", "scope": "System", "status": "Discharging", "capacity": "41"}
MAINS_ON, MAINS_OFF = {"type": "Mains", "online": "1"}, {"type": "Mains", "online": "0"}


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ({}, {"source": "unknown"}),
        ({"AC": MAINS_ON, "BAT0": BATTERY | {"status": "Charging"}}, {"source": "mains", "percent": 41}),
        ({"AC": MAINS_OFF, "C1AB": BATTERY}, {"source": "battery", "percent": 41}),
        ({"hidpp_0": BATTERY | {"scope": "Device"}}, {"source": "unknown"}),
        ({"BAT0": BATTERY, "BAT1": BATTERY | {"capacity": "59"}}, {"source": "battery", "percent": 50}),
        ({"BAT0": BATTERY | {"capacity": "?"}}, {"source": "battery"}),
        ({"AC": {"type": "Mains", "online": "?"}, "BAT0": BATTERY | {"status": "Unknown"}},
         {"source": "unknown", "percent": 41}),
    ],
)  # fmt: skip
def test_power_counts_batteries_of_the_system_only(tmp_path, devices, expected):
    assert host.power_facts(supplies(tmp_path, **devices)) == expected


ROUTES = (
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
)
ROUTES_6 = "0" * 32 + " 00 " + "0" * 32 + " 00 fe800000000000000000000000000001 00000400 1 0 {} eth0\n"


@pytest.mark.parametrize(
    ("routes", "routes_6", "resolv", "rule", "expected"),
    [
        ("", "", "", None, ("offline", "unknown")),
        (ROUTES, "", "", None, ("online", "unknown")),
        (ROUTES.replace("0102000A\t0003", "0102000A\t0002"), "", "", None, ("offline", "unknown")),
        ("", ROUTES_6.format("00000003"), "", None, ("online", "unknown")),
        ("", ROUTES_6.format("00200200"), "", None, ("offline", "unknown")),
        (ROUTES, "", "search corp.example.\n", host.NetworkRule(("example",)), ("online", "on")),
        (ROUTES, "", "search notexample\n", host.NetworkRule(("example",)), ("online", "off")),
        (ROUTES, "", "", host.NetworkRule(gateways=("10.0.2.1",)), ("online", "on")),
        ("", "", "search corp.example\n", host.NetworkRule(("corp.example",)), ("offline", "off")),
    ],
)
def test_the_network_is_told_from_routes_and_settings_alone(tmp_path, routes, routes_6, resolv, rule, expected):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "route").write_text(routes)
    (tmp_path / "net" / "ipv6_route").write_text(routes_6)
    (tmp_path / "resolv.conf").write_text(resolv)
    facts = host.network_facts(rule, proc=str(tmp_path), resolv=str(tmp_path / "resolv.conf"))
    assert (facts["state"], facts["company"]) == expected


def test_users_are_read_from_utmp_and_logind(tmp_path):
    def entry(kind, name):
        return kind.to_bytes(2, "little") + bytes(42) + name.ljust(32, b"\0") + bytes(308)

    (tmp_path / "utmp").write_bytes(
        entry(7, b"ada") + entry(8, b"gone") + entry(2, b"reboot") + entry(7, b"bob") + b"x"
    )
    (tmp_path / "systemd" / "users").mkdir(parents=True)
    (tmp_path / "systemd" / "users" / "1002").write_text("# private\nNAME=eve\nSTATE=active\n")
    assert host.logged_in_users(str(tmp_path)) == ["ada", "bob", "eve"]
    assert host.logged_in_users(str(tmp_path / "nothing")) == []


@pytest.mark.parametrize(
    ("device", "removable", "expected"),
    [
        ("devices/pci/nvme0/block/nvme0n1", "0", "fixed"),
        ("devices/pci/usb1/1-1/block/sda", "0", "removable"),
        ("devices/pci/mmc/block/mmcblk0", "1", "removable"),
    ],
)
def test_the_volume_is_told_by_the_disk_a_partition_lies_on(tmp_path, device, removable, expected):
    disk = tmp_path / device
    (disk / "part1").mkdir(parents=True)
    (disk / "device").mkdir()
    (disk / "removable").write_text(removable + "\n")
    (disk / "device" / "serial").write_text("SN 123  \n")
    (tmp_path / "dev" / "block").mkdir(parents=True)
    (tmp_path / "dev" / "block" / "8:1").symlink_to(disk / "part1")
    table = MountTable(
        parse_mountinfo(b"36 35 8:1 / /data rw - ext4 /dev/sda1 rw\n37 35 0:50 / /net rw - nfs4 h:/x rw\n")
    )
    facts = host.volume_facts(b"/data/file", 0, mounts=table, sys_root=str(tmp_path))
    assert facts == {"kind": expected, "type": "ext4", "source": "/dev/sda1", "serial": "SN 123"}
    assert host.volume_facts(b"/net/file", 0, mounts=table, sys_root=str(tmp_path))["kind"] == "network"
    assert host.volume_facts(b"/data", 0, mounts=MountTable(()), sys_root=str(tmp_path)) == {"kind": "unknown"}


def test_hints_of_a_download_are_read_from_attributes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"")
    try:
        os.setxattr(path, "user.xdg.origin.url", b"https://example.org/a\xff")
    except OSError as problem:
        pytest.skip(f"no extended attributes here: {problem}")
    assert host.origin_hints(os.fsencode(path)) == {"user.xdg.origin.url": "https://example.org/a\\xff"}
    assert host.origin_hints(b"/nowhere") == {}


def test_this_machine_answers():
    here = Environment()
    assert here.host()["name"]
    assert here.network()["state"] in ("online", "offline", "unknown")
    assert here.power()["source"] in ("mains", "battery", "unknown")
    assert here.monotonic_ns() <= here.monotonic_ns()
    assert abs(here.offset_minutes(here.wall_ns())) <= 15 * 60
    assert host.process_facts(os.getpid())["executable"]
    assert host.process_facts(2**30) == {"pid": 2**30}


@pytest.mark.parametrize("wall_ns", [0, -1, NOON_NS, 4_070_908_800 * 10**9, 10**22])
def test_any_clock_gives_a_time(wall_ns):
    assert len(utc(wall_ns)) == 24
