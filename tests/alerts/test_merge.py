"""From matches to records: one alert for what is new, counts for what is known, never over the cap, nothing dropped."""

import errno

import pytest
from alert_cases import NOON_NS, Disk, Machine, all_lines, match_of, records

from hashsieve.alerts.journal import verify
from hashsieve.alerts.merge import Recorder, expand_ranges, folded_ids, ranges_text
from hashsieve.alerts.record import Recipe
from hashsieve.errors import UsageError
from hashsieve.model import HealthEvent

DAY = 86_400


@pytest.fixture
def machine():
    return Machine()


def ids_in(directory):
    """Every id of a match that the journal still knows: lines of their own, and those that folds stand for."""
    found = [r["id"] for r in records(directory, "alert", "update")]
    for fold in records(directory, "fold"):
        found += folded_ids(fold)
    return found


def test_the_first_match_is_an_alert_and_the_next_ones_update_its_count(tmp_path, machine):
    with Recorder(tmp_path / "j", environment=machine, storage=Disk(), own_lines=3) as recorder:
        states = [recorder.add(match_of(f"/home/ada/{n}.jpg")) for n in range(10)]
    assert [s.state for s in states] == ["stored"] * 3 + ["counted"] * 7
    (alert,) = records(tmp_path / "j", "alert")
    assert states[0].id == alert["id"]
    assert {s.id for s in states[3:]} == {alert["id"]}
    updates = records(tmp_path / "j", "update")
    assert {u["of"] for u in updates} == {alert["id"]}
    assert [u["count"] for u in updates] == [1, 1, 7]
    assert [u["total"] for u in updates] == [2, 3, 10]
    assert [p["path"] for p in updates[-1]["paths"]] == [f"/home/ada/{n}.jpg" for n in (3, 4, 5)]


def test_merging_goes_on_over_a_restart(tmp_path, machine):
    for _ in range(3):
        with Recorder(tmp_path / "j", environment=machine, storage=Disk(), own_lines=2) as recorder:
            recorder.add(match_of("/a"))
            recorder.add(match_of("/b"))
    assert len(records(tmp_path / "j", "alert")) == 1
    assert records(tmp_path / "j", "update")[-1]["total"] == 6


def test_other_content_and_other_lists_are_alerts_of_their_own(tmp_path, machine):
    with Recorder(tmp_path / "j", environment=machine, storage=Disk()) as recorder:
        recorder.add(match_of("/a"))
        recorder.add(match_of("/a", b"BAD TOO"))
        recorder.add(match_of("/a", source="another custodian"))
        recorder.add(match_of("/a", ref="another ref"))
    assert len(records(tmp_path / "j", "alert")) == 3
    assert len(records(tmp_path / "j", "update")) == 1


def test_a_flood_of_copies_costs_a_bounded_number_of_lines_and_others_pass_at_once(tmp_path, machine):
    with Recorder(tmp_path / "j", environment=machine, storage=Disk()) as recorder:
        copies = [match_of(f"/copies/{n}") for n in range(200)]
        for n in range(20_000):
            recorder.add(copies[n % 200])
        other = recorder.add(match_of("/other", b"OTHER"))
        assert other.state == "stored"
    lines = records(tmp_path / "j", "alert", "update")
    assert len(lines) < 60
    assert sum(r["count"] for r in lines) == 20_001


def test_counts_are_written_after_a_while_by_the_clock_that_cannot_jump(tmp_path, machine):
    with Recorder(tmp_path / "j", environment=machine, storage=Disk(), own_lines=1) as recorder:
        recorder.add(match_of("/a"))
        recorder.add(match_of("/b"))
        machine.wall += 3600 * 10**9  # set forward
        recorder.tick()
        assert records(tmp_path / "j", "update") == []
        machine.wall -= 30 * DAY * 10**9
        machine.monotonic += 61 * 10**9
        recorder.tick()
        assert [u["count"] for u in records(tmp_path / "j", "update")] == [1]


def test_a_clock_set_back_thirty_days_changes_nothing_about_order(tmp_path, machine):
    with Recorder(tmp_path / "j", environment=machine, storage=Disk()) as recorder:
        first = recorder.add(match_of("/a", b"one"))
        machine.wall -= 30 * DAY * 10**9
        second = recorder.add(match_of("/b", b"two"))
    assert first.id < second.id
    alerts = records(tmp_path / "j", "alert")
    assert alerts[0]["time"] > alerts[1]["time"]
    assert alerts[0]["monotonic_ns"] <= alerts[1]["monotonic_ns"]
    assert verify(tmp_path / "j").intact


def test_many_alerts_under_a_small_cap_stay_below_it_and_no_id_is_dropped(tmp_path, machine):
    cap, segment = 2 << 20, 256 << 10
    acknowledged = {}
    disk = Disk()
    with Recorder(
        tmp_path / "j", environment=machine, storage=disk, cap_bytes=cap, segment_bytes=segment, own_lines=10**9
    ) as recorder:
        matches = [match_of(f"/offline/{n}", b"content %d" % (n % 100)) for n in range(100)]
        for n in range(5_000):
            machine.pass_seconds(1)
            found = recorder.add(matches[n % 100])
            acknowledged[n] = found.id
            if n % 200 == 0:
                size = sum(p.stat().st_size for p in (tmp_path / "j").glob("alerts-*"))
                assert size <= cap + segment + (64 << 10)
        assert not recorder.full
    assert set(acknowledged.values()) <= set(ids_in(tmp_path / "j"))
    folds = records(tmp_path / "j", "fold")
    assert folds
    for fold in folds:
        assert fold["count"] >= 1 or fold["ids"]
        assert fold["first"] <= fold["last"]
        assert fold["subject"].startswith("type:") or fold["digests"]
        assert len(fold["paths"]) <= 3
    counted = sum(r["count"] for r in records(tmp_path / "j", "alert", "update", "fold") if "digests" in r)
    assert counted == 5_000
    assert verify(tmp_path / "j").intact
    # And the start after it knows the totals.
    with Recorder(tmp_path / "j", environment=machine, storage=disk, cap_bytes=cap, segment_bytes=segment) as recorder:
        recorder.add(matches[0])
        recorder.flush()
    assert max(r["total"] for r in records(tmp_path / "j", "update")) == 51


def test_context_goes_before_records_do(tmp_path, machine):
    (tmp_path / "files").mkdir()
    for n in range(30):
        (tmp_path / "files" / f"{n}").write_bytes(b"x" * n)
    with Recorder(
        tmp_path / "j", environment=machine, storage=Disk(), cap_bytes=256 << 10, segment_bytes=64 << 10
    ) as recorder:
        for n in range(150):
            recorder.add(match_of(tmp_path / "files" / str(n % 30), b"content %d" % n))
    alerts = records(tmp_path / "j", "alert")
    assert records(tmp_path / "j", "fold")
    assert alerts[-1]["omitted"]
    for each in [*alerts, *records(tmp_path / "j", "fold")]:
        if not str(each["subject"]).startswith("type:"):
            assert each["digests"]
            assert each["id"]


def test_what_is_delivered_is_taken_away_first_when_space_runs_short(tmp_path, machine):
    done = [0]
    with Recorder(
        tmp_path / "j", environment=machine, storage=Disk(), cap_bytes=256 << 10, segment_bytes=32 << 10,
        delivered=lambda: done[0],
    ) as recorder:  # fmt: skip
        for n in range(400):
            recorder.add(match_of(f"/x/{n}", b"content %d" % n))
            done[0] = recorder.journal.seq
        assert not recorder.full
    assert records(tmp_path / "j", "fold") == []
    assert records(tmp_path / "j", "purge")
    assert verify(tmp_path / "j").intact


def test_where_even_folded_lines_do_not_fit_matches_are_remembered_and_counted(tmp_path, machine):
    told = []
    options = {"environment": machine, "storage": Disk(), "cap_bytes": 256 << 10, "segment_bytes": 32 << 10}
    done = [0]
    with Recorder(tmp_path / "j", on_event=told.append, delivered=lambda: done[0], **options) as recorder:
        stored, left = [], []
        for n in range(1200):
            machine.pass_seconds(1)
            found = recorder.add(match_of(f"/many/{n}", b"content %d" % n))
            (stored if found.state == "stored" else left).append((n, found.id))
        assert left
        assert recorder.full
        assert recorder.must_rescan.count == len(left)
        assert "journal-full" in {event.kind for event in told}
        assert not recorder.must_rescan.overflow
        assert set(recorder.must_rescan.paths) == {b"/many/%d" % n for n, _ in left}
    assert {i for _, i in stored} <= set(ids_in(tmp_path / "j"))
    size = sum(p.stat().st_size for p in (tmp_path / "j").glob("alerts-*"))
    assert size <= (256 << 10) + (32 << 10) + (64 << 10)
    # It is known after a restart, and told once there is space.
    with Recorder(tmp_path / "j", delivered=lambda: done[0], **options) as recorder:
        assert recorder.must_rescan.count == len(left)
        done[0] = recorder.journal.seq
        machine.pass_seconds(120)
        assert recorder.add(match_of("/after", b"after")).state == "stored"
        (space,) = records(tmp_path / "j", "space")
        assert space["count"] == len(left)
        recorder.rescanned()
    with Recorder(tmp_path / "j", **options) as recorder:
        assert recorder.must_rescan.count == 0
        recorder.add(match_of("/again", b"again"))
    assert len(records(tmp_path / "j", "space")) == 1
    assert verify(tmp_path / "j").intact


def test_a_full_disk_never_stops_the_one_who_scans(tmp_path, machine):
    disk = Disk()
    with Recorder(tmp_path / "j", environment=machine, storage=disk, reserve_bytes=64 << 10) as recorder:
        recorder.add(match_of("/a", b"a"))
        disk.free_bytes = 0
        states = [recorder.add(match_of(f"/b/{n}", b"b%d" % n)).state for n in range(300)]
        assert states[0] == "stored"
        assert states[-1] == "must-rescan"
        assert recorder.must_rescan.count == states.count("must-rescan")
        disk.free_bytes = 8 << 20
        assert recorder.add(match_of("/c", b"c")).state == "stored"
        assert not recorder.full
    kept = {r["path"] for r in records(tmp_path / "j", "alert")}
    assert kept == {"/a", "/c"} | {f"/b/{n}" for n, s in enumerate(states) if s == "stored"}
    assert records(tmp_path / "j", "space")[0]["count"] == states.count("must-rescan")
    assert verify(tmp_path / "j").intact


def test_a_disk_that_fails_altogether_never_stops_the_one_who_scans(tmp_path, machine):
    disk = Disk()
    with Recorder(tmp_path / "j", environment=machine, storage=disk) as recorder:
        disk.rule = lambda call, what, size: errno.EIO if call in ("write", "sync", "create") else None
        assert recorder.add(match_of("/a")).state == "must-rescan"
        assert recorder.must_rescan.paths == (b"/a",)
        disk.rule = None
        assert recorder.add(match_of("/a")).state == "stored"


def test_a_damaged_list_of_what_must_be_scanned_again_means_everything(tmp_path, machine):
    told = []
    Recorder(tmp_path / "j", environment=machine, storage=Disk()).close()
    (tmp_path / "j" / "rescan").write_bytes(b"{garbage" + bytes(65_000))
    with Recorder(tmp_path / "j", environment=machine, storage=Disk(), on_event=told.append) as recorder:
        assert recorder.must_rescan.overflow
        assert [event.kind for event in told] == ["rescan-list-damaged"]


def test_a_trusted_set_withdraws_what_still_waits(tmp_path, machine):
    done = [0]
    with Recorder(tmp_path / "j", environment=machine, storage=Disk(), delivered=lambda: done[0]) as recorder:
        sent = recorder.add(match_of("/sent", b"sent"))
        done[0] = recorder.journal.seq
        waits = recorder.add(match_of("/waits", b"waits"))
        recorder.add(match_of("/stays", b"stays"))
        trusted = {match_of("/x", content).digests["md5"] for content in (b"sent", b"waits")}
        assert recorder.withdraw(lambda digests: digests["md5"] in trusted) == 1
        assert recorder.withdraw(lambda digests: digests["md5"] in trusted) == 0
        (withdrawn,) = records(tmp_path / "j", "withdraw")
        assert withdrawn["of"] == waits.id
        # Listed again as known-bad, it is an alert again.
        assert recorder.add(match_of("/waits", b"waits")).id not in (waits.id, sent.id)
    assert len(records(tmp_path / "j", "alert")) == 4


def test_purging_takes_away_what_is_old_and_delivered_and_says_so(tmp_path, machine):
    done = [0]
    options = {"environment": machine, "storage": Disk(), "cap_bytes": 8 << 20, "segment_bytes": 16 << 10}
    with Recorder(tmp_path / "j", delivered=lambda: done[0], **options) as recorder:
        for n in range(60):
            recorder.add(match_of(f"/{n}", b"%d" % n))
        assert recorder.purge(10) is None  # not old
        machine.pass_seconds(11 * DAY)
        assert recorder.purge(10) is None  # old, but not delivered
        done[0] = recorder.journal.seq // 2
        stored = recorder.purge(10)
        assert stored is not None
        left = records(tmp_path / "j", "alert")
        assert 20 < len(left) < 45
        done[0] = recorder.journal.seq
        recorder.purge(10)
        # Whole segments: what shares one with a young record stays.
        assert len({line.segment for line in all_lines(tmp_path / "j")}) == 1
        machine.pass_seconds(11 * DAY)
        done[0] = recorder.journal.seq
        recorder.purge(10)
    assert records(tmp_path / "j", "alert") == []
    assert [r["reason"] for r in records(tmp_path / "j", "purge")]
    assert verify(tmp_path / "j").intact
    with pytest.raises(UsageError), Recorder(tmp_path / "j", **options) as recorder:
        recorder.purge(-1)


def test_a_heartbeat_is_due_once_a_day_whatever_the_wall_clock_does(tmp_path, machine):
    with Recorder(tmp_path / "j", environment=machine, storage=Disk()) as recorder:
        assert recorder.heartbeat_due()
        recorder.heartbeat(
            sets=[{"root": "00", "generation": 3}], coverage={"seen": 5}, health=[HealthEvent("k", "text", {"n": 1})]
        )
        head = recorder.journal.head
        (beat,) = records(tmp_path / "j", "heartbeat")
        assert beat["head"]["seq"] == head[0] - 1
        assert beat["sets"] == [{"root": "00", "generation": 3}]
        assert beat["health"] == [{"kind": "k", "text": "text", "counts": {"n": 1}}]
        for jump in (-30, 400):
            machine.wall = NOON_NS + jump * DAY * 10**9
            assert not recorder.heartbeat_due()
        machine.monotonic += DAY * 10**9
        assert recorder.heartbeat_due()
    machine.wall = NOON_NS + 60 * 10**9
    with Recorder(tmp_path / "j", environment=machine, storage=Disk()) as recorder:
        assert not recorder.heartbeat_due()
        machine.wall = NOON_NS - 30 * DAY * 10**9
        assert recorder.heartbeat_due()  # the last one lies in the future


def test_ranges():
    assert ranges_text([]) == ""
    assert ranges_text([5, 3, 4, 9, 4]) == "3-5,9"
    assert expand_ranges("3-5,9") == [3, 4, 5, 9]
    assert expand_ranges("") == []


def test_an_alert_of_enormous_listings_still_fits_a_line(tmp_path, machine):
    from dataclasses import replace

    from hashsieve.model import Entry, Listing, Role

    huge = match_of("/" + "x" * 4000)
    entries = tuple(
        Entry(huge.digests, 3, tuple(Listing("s" * 500, Role.KNOWN_BAD, "c" * 500, f"{n}" * 100) for n in range(60)))
        for _ in range(60)
    )
    with Recorder(tmp_path / "j", environment=machine, storage=Disk(), recipe=Recipe()) as recorder:
        assert recorder.add(replace(huge, entries=entries)).state == "stored"
    (alert,) = records(tmp_path / "j", "alert")
    assert "entries" in alert["omitted"]
    assert alert["digests"]
    assert max(len(line.raw) for line in all_lines(tmp_path / "j")) < 1 << 20
