"""Delivery: what each answer means, one sink does not know of another, and everything arrives under its id."""

import json
import random
import signal
import socket
import ssl
import threading
import time

import kill_rounds
import pytest
from alert_cases import Disk, Machine, all_lines, hurt, match_of, records
from alert_server import receiving, troublesome
from tls_pair import certificate  # noqa: F401 -- a fixture

from hashsieve.alerts import cursor as cursors
from hashsieve.alerts.cursor import Cursor, delivered_up_to, highest_seen
from hashsieve.alerts.deliver import Backoff, Deliverer, Worker, retry
from hashsieve.alerts.formats import find_format
from hashsieve.alerts.merge import Recorder
from hashsieve.alerts.sinks import Answer, Verdict
from hashsieve.alerts.sinks.call import CallSink
from hashsieve.alerts.sinks.file import FileSink, StdoutSink
from hashsieve.alerts.sinks.syslog import SyslogSink
from hashsieve.errors import JournalBusyError, UsageError

NATIVE = find_format("native")
DAY = 86_400


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def journal(tmp_path, machine):
    """A directory with five alerts."""
    return alerts(tmp_path / "j", machine, 5)


def alerts(directory, machine, count, start=0):
    with Recorder(directory, environment=machine, storage=Disk()) as recorder:
        for n in range(start, start + count):
            recorder.add(match_of(f"/files/{n}", b"content %d" % n))
    return directory


class Script:
    """A sink that answers as it is told, and remembers what it was sent and when."""

    def __init__(self, *answers, name="script", batch_count=1, machine=None):
        self.name, self.batch_count = name, batch_count
        self.answers = list(answers)
        self.sent = []
        self.times = []
        self.machine = machine

    def send(self, batch):
        self.sent.append([each.id for each in batch])
        if self.machine is not None:
            self.times.append(self.machine.monotonic)
        answer = self.answers.pop(0) if self.answers else Verdict.DONE
        if callable(answer):
            answer = answer(batch)
        if isinstance(answer, Verdict):
            accepted = frozenset(each.id for each in batch) if answer is Verdict.DONE else frozenset()
            answer = Answer(answer, answer.value, accepted)
        return answer

    def close(self):
        pass


def ids(directory):
    return [r["id"] for r in records(directory, "alert")]


def work(worker, machine, seconds=DAY):
    """Lets a worker work for so long, or until nothing is left; the moments at which it did."""
    end = machine.monotonic + int(seconds * 1e9)
    steps = 0
    while machine.monotonic <= end:
        due = worker.step()
        steps += 1
        assert steps < 100_000
        if worker.idle:
            return True
        machine.monotonic = max(due, machine.monotonic)
    return False


def worker_of(directory, sink, machine, **options):
    (directory / "delivery").mkdir(mode=0o700, exist_ok=True)
    return Worker(str(directory), sink, machine, Disk(), **options)


# What each answer means


def test_everything_is_delivered_once_in_order_and_not_again_after_a_restart(journal, machine):
    sink = Script(batch_count=2)
    assert work(worker_of(journal, sink, machine), machine)
    assert [i for batch in sink.sent for i in batch] == ids(journal)
    assert max(map(len, sink.sent)) == 2
    again = Script()
    assert work(worker_of(journal, again, machine), machine)
    assert again.sent == []
    alerts(journal, machine, 2, start=5)
    assert work(worker_of(journal, again, machine), machine)
    assert [i for batch in again.sent for i in batch] == ids(journal)[5:]


def test_what_is_delivered_carries_the_chain_value_that_anchors_it(journal, machine):
    from hashsieve.alerts.journal import verify

    seen = []
    sink = CallSink("call", lambda batch: seen.extend(batch))
    assert work(worker_of(journal, sink, machine), machine)
    for record in seen:
        assert verify(journal, anchor=(record["chain"]["seq"], record["chain"]["value"])).intact
    assert not verify(journal, anchor=(seen[0]["chain"]["seq"], "0" * 64)).intact


def test_temporary_failures_are_tried_again_never_at_once_and_ever_more_seldom(journal, machine):
    sink = Script(*[Verdict.RETRY] * 12, machine=machine, batch_count=5)
    assert work(worker_of(journal, sink, machine), machine)
    gaps = [b - a for a, b in zip(sink.times, sink.times[1:], strict=False)][:12]
    assert min(gaps) >= 0.1e9
    assert max(gaps) > 100e9
    assert max(gaps) <= 400e9
    assert {i for batch in sink.sent for i in batch} == set(ids(journal))
    assert not Cursor("x").parked


def test_a_record_that_is_refused_is_parked_after_a_few_tries_and_the_others_pass(journal, machine):
    bad = ids(journal)[1]

    def refuse(batch):
        return Answer(Verdict.REFUSED, "HTTP 400") if bad in [each.id for each in batch] else Verdict.DONE

    told = []
    sink = Script(*[refuse] * 50, batch_count=3)
    worker = worker_of(journal, sink, machine, on_event=told.append)
    assert work(worker, machine)
    assert [each.id for each in worker.cursor.parked.values()] == [bad]
    assert sum(bad in batch for batch in sink.sent) <= 5
    assert {i for batch in sink.sent for i in batch} == set(ids(journal))
    assert "alert-parked" in [event.kind for event in told]
    assert delivered_up_to(str(journal), worker.cursor.journal) < 4  # what is parked is not delivered
    # Taken back, and taken by then.
    assert retry(journal, [bad]) == 1
    again = Script()
    assert work(worker_of(journal, again, machine), machine)
    assert [i for batch in again.sent for i in batch] == [bad]
    assert retry(journal) == 0


def test_rejected_ids_are_parked_and_accepted_ones_are_not_sent_again(journal, machine):
    wanted = ids(journal)

    def answer(batch):
        sent = [each.id for each in batch]
        return Answer(
            Verdict.RETRY, "part", frozenset(i for i in sent if i != wanted[0]),
            {wanted[0]: "no"} if wanted[0] in sent else {},
        )  # fmt: skip

    sink = Script(*[answer] * 20, batch_count=5)
    worker = worker_of(journal, sink, machine)
    assert work(worker, machine)
    for each in wanted[1:]:
        assert sum(each in batch for batch in sink.sent) == 1
    assert sum(wanted[0] in batch for batch in sink.sent) == 3
    assert [each.reason for each in worker.cursor.parked.values()] == ["no"]


def test_credentials_that_are_refused_stop_the_sink_and_are_tried_seldom(journal, machine):
    told = []
    sink = Script(*[Answer(Verdict.STOP, "HTTP 401")] * 5, machine=machine)
    worker = worker_of(journal, sink, machine, on_event=told.append)
    work(worker, machine, seconds=3 * 3600)
    gaps = [b - a for a, b in zip(sink.times, sink.times[1:], strict=False)]
    assert min(gaps) >= 1700e9
    assert [event.kind for event in told].count("sink-stopped") == 1
    assert worker.cursor.parked == {}
    assert cursors.load(str(journal), "script").stopped == "HTTP 401"
    assert work(worker, machine)
    assert [event.kind for event in told][-1] == "sink-works"
    assert {i for batch in sink.sent for i in batch} == set(ids(journal))


def test_a_batch_that_is_too_large_is_sent_in_parts_and_one_record_without_its_context(journal, machine):
    seen = []

    def answer(batch):
        seen.append([each.record for each in batch])
        if len(batch) > 1 or "neighbours" in batch[0].record:
            return Verdict.SMALLER
        return Verdict.DONE

    sink = Script(*[answer] * 40, batch_count=5)
    worker = worker_of(journal, sink, machine)
    assert work(worker, machine)
    assert worker.cursor.parked == {}
    taken = [each[0]["id"] for each in seen if len(each) == 1 and "neighbours" not in each[0]]
    assert taken == ids(journal)


def test_a_hint_of_the_server_is_honoured_and_not_by_all_in_the_same_second(journal, machine):
    moments = []
    for chance in (0.0, 0.5, 0.99):
        machine.monotonic = 0
        machine.random = lambda chance=chance: chance
        sink = Script(Answer(Verdict.RETRY, "429", retry_after_seconds=100.0), machine=machine, batch_count=9)
        sink.name = f"s{int(chance * 100)}"
        assert work(worker_of(journal, sink, machine), machine)
        moments.append(sink.times[1] / 1e9)
    assert moments[0] >= 100
    assert moments == sorted(set(moments))


def test_one_record_that_always_fails_does_not_hold_the_others_and_is_parked_in_the_end(journal, machine):
    poison = ids(journal)[0]
    more = [0]

    def answer(batch):
        return Answer(Verdict.RETRY, "HTTP 500") if poison in [each.id for each in batch] else Verdict.DONE

    sink = Script(*[answer] * 200, batch_count=2)
    worker = worker_of(journal, sink, machine)
    for _ in range(40):
        work(worker, machine, seconds=3600)
        more[0] += 1
        alerts(journal, machine, 1, start=100 + more[0])
        if worker.cursor.parked:
            break
    assert [each.id for each in worker.cursor.parked.values()] == [poison]
    assert {i for batch in sink.sent for i in batch} >= set(ids(journal)[:-1])


def test_an_outage_parks_nothing_however_long_it_lasts(tmp_path, machine):
    directory = alerts(tmp_path / "one", machine, 1)
    sink = Script(*[Verdict.RETRY] * 60)
    worker = worker_of(directory, sink, machine)
    assert work(worker, machine, seconds=10 * DAY)
    assert worker.cursor.parked == {}
    assert sink.sent[-1] == ids(directory)


def test_a_sink_that_raises_is_a_sink_that_failed(journal, machine):
    def raises(batch):
        raise RuntimeError("bug")

    sink = Script(raises, raises)
    assert work(worker_of(journal, sink, machine), machine)
    assert {i for batch in sink.sent for i in batch} == set(ids(journal))


def test_withdrawn_alerts_are_not_sent_but_the_withdrawal_is(tmp_path, machine):
    directory = tmp_path / "j"
    with Recorder(directory, environment=machine, storage=Disk()) as recorder:
        recorder.add(match_of("/a", b"a"))
        withdrawn = recorder.add(match_of("/b", b"b")).id
        recorder.withdraw(lambda digests: digests["md5"] == match_of("/", b"b").digests["md5"])
    sink = Script()
    worker = worker_of(directory, sink, machine)
    assert work(worker, machine)
    sent = [i for batch in sink.sent for i in batch]
    assert withdrawn not in sent
    assert len(sent) == 2
    assert worker.progress.withdrawn == 1


# Clocks


@pytest.mark.parametrize("jump_days", [-30, 30, 26_000])
def test_a_wall_clock_that_jumps_changes_no_wait(journal, machine, jump_days):
    sink = Script(*[Verdict.RETRY] * 3, machine=machine)
    worker = worker_of(journal, sink, machine)
    worker.step()
    machine.wall += jump_days * DAY * 10**9
    due = worker.step()
    assert due - machine.monotonic < 10e9
    assert work(worker, machine, seconds=3600)


def test_after_eight_hours_asleep_what_is_due_is_done_at_once(journal, machine):
    sink = Script(*[Verdict.RETRY] * 6, machine=machine)
    worker = worker_of(journal, sink, machine)
    for _ in range(4):
        worker.step()
        machine.monotonic = worker.due_ns
    machine.monotonic += 8 * 3600 * 10**9
    before = len(sink.sent)
    worker.step()
    assert len(sink.sent) == before + 1


def coming_back(agents, seed, minutes_out):
    """Moments (s after the server is back) at which each agent first reaches it."""
    chance = random.Random(seed)
    moments = []
    for _ in range(agents):
        backoff = Backoff()
        at = chance.random()  # all lose the server within the same second
        while at < minutes_out * 60:
            at += backoff.next_seconds(chance.random())
        moments.append(at - minutes_out * 60)
    return moments


def most_in_ten_seconds(moments):
    """The fullest bin of 10 s, and the mean over all of them."""
    bins = [0] * (int(max(moments)) // 10 + 1)
    for each in moments:
        bins[int(each) // 10] += 1
    return max(bins), sum(bins) / len(bins)


@pytest.mark.parametrize("minutes_out", [10, 45, 600])
def test_a_thousand_agents_that_come_back_at_once_are_spread_over_minutes(minutes_out):
    moments = coming_back(1000, 1, minutes_out)
    assert max(moments) >= 300
    most, mean = most_in_ten_seconds(moments)
    assert most <= 2 * mean, (most, mean)


def test_a_thousand_agents_that_start_at_once_with_a_backlog_are_spread_over_minutes(tmp_path, machine):
    chance = random.Random(5)
    machine.random = chance.random
    (tmp_path / "j" / "delivery").mkdir(parents=True, mode=0o700)
    moments = []
    for _ in range(1000):
        worker = Worker(str(tmp_path / "j"), Script(), machine, Disk(), spread_seconds=300.0)
        moments.append((worker.due_ns - machine.monotonic) / 1e9)
    most, mean = most_in_ten_seconds(moments)
    assert most <= 2 * mean, (most, mean)
    assert 290 < max(moments) <= 300


def test_a_backlog_is_drained_in_small_batches_at_a_bounded_rate(tmp_path, machine):
    directory = alerts(tmp_path / "j", machine, 200)
    sink = Script(batch_count=20, machine=machine)
    assert work(worker_of(directory, sink, machine), machine)
    assert max(map(len, sink.sent)) <= 20
    assert (sink.times[-1] - sink.times[0]) / 1e9 >= (200 - 20) / 50 - 0.01


def test_full_jitter_covers_its_whole_range():
    backoff = Backoff(failures=3)
    assert backoff.next_seconds(0.0) == 0.1
    backoff = Backoff(failures=3)
    assert backoff.next_seconds(1.0) == 16.0


# The place of a sink


@pytest.mark.parametrize("kind", ["zeros", "nothing", "half", "gone", "garbage"])
def test_a_damaged_place_means_repetition_and_never_loss(journal, machine, kind):
    sink = Script(batch_count=2)
    worker = worker_of(journal, sink, machine)
    assert work(worker, machine)
    path = journal / "delivery" / "script.json"
    data = path.read_bytes()
    if kind == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {"zeros": bytes(len(data)), "nothing": b"", "half": data[: len(data) // 2], "garbage": b"{}"}[kind]
        )
    alerts(journal, machine, 1, start=9)
    told = []
    again = Script()
    assert work(worker_of(journal, again, machine, on_event=told.append), machine)
    sent = [i for batch in again.sent for i in batch]
    assert sent[-1] == ids(journal)[-1]
    assert len(sent) == len(set(sent))
    if kind != "gone":
        assert [event.kind for event in told] == ["state-rebuilt"]


def test_acknowledgements_out_of_order_remove_the_right_ones_over_restarts(tmp_path, machine):
    directory = alerts(tmp_path / "j", machine, 5)
    wanted = ids(directory)
    first = Script(*[lambda batch: Answer(Verdict.RETRY, "part", frozenset({wanted[3], wanted[1]}))], batch_count=5)
    worker = worker_of(directory, first, machine)
    worker.step()
    alerts(directory, machine, 5, start=5)
    second = Script(batch_count=3)
    assert work(worker_of(directory, second, machine), machine)
    sent = [i for batch in second.sent for i in batch]
    everything = ids(directory)
    assert len(everything) == 10
    assert sent == [i for i in everything if i not in (wanted[1], wanted[3])]


def test_another_journal_in_the_same_place_starts_from_its_beginning(journal, machine):
    import shutil

    sink = Script()
    assert work(worker_of(journal, sink, machine), machine)
    for path in journal.glob("alerts-*"):
        path.unlink()
    (journal / "head").unlink()
    floor = highest_seen(str(journal))
    assert floor >= 6
    with Recorder(journal, environment=machine, storage=Disk(), floor_seq=floor) as recorder:
        new = recorder.add(match_of("/new", b"new"))
    assert int(new.id[25:]) > floor
    assert work(worker_of(journal, sink, machine), machine)
    assert sink.sent[-1] == [new.id]
    shutil.rmtree(journal)


def test_damage_in_the_journal_costs_what_was_hit_alone(journal, machine):
    wanted = ids(journal)
    lines = [line for line in all_lines(journal) if line.type == "alert"]
    hurt(journal / lines[2].segment, lines[2].offset + 50, b"\0\0\0")
    sink = Script()
    assert work(worker_of(journal, sink, machine), machine)
    assert [i for batch in sink.sent for i in batch] == [i for i in wanted if i != wanted[2]]


def test_two_deliverers_do_not_share_a_journal(journal):
    with Deliverer(journal, [Script()]), pytest.raises(JournalBusyError):
        Deliverer(journal, [Script(name="other")])
    Deliverer(journal, [Script()]).close()


def test_a_backlog_larger_than_what_is_held_in_memory_is_delivered_to_its_end(tmp_path, machine, monkeypatch):
    monkeypatch.setattr("hashsieve.alerts.deliver._MAX_PENDING", 4)
    directory = alerts(tmp_path / "j", machine, 15)
    sink = Script(batch_count=3)
    with Deliverer(directory, [sink], per_second=1e6) as deliverer:
        assert deliverer.run(60)
    assert [i for batch in sink.sent for i in batch] == ids(directory)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x" * 80, "-a"])
def test_names_of_sinks_cannot_leave_their_folder(journal, machine, name):
    with pytest.raises(UsageError):
        worker_of(journal, Script(name=name), machine)


# Sinks in threads


def test_a_silent_sink_delays_no_other(journal):
    silence = threading.Event()

    class Silent(Script):
        def send(self, batch):
            silence.wait(20)
            return super().send(batch)

    arrived = threading.Event()

    def receive(batch):
        if len(batch):
            arrived.set()

    silent = Silent(name="silent")
    with Deliverer(journal, [silent, CallSink("quick", receive)]) as deliverer:
        deliverer.start()
        assert arrived.wait(10)
        assert silent.sent == []
        silence.set()


def test_a_new_alert_goes_out_when_the_deliverer_is_woken(tmp_path, machine):
    directory = alerts(tmp_path / "j", machine, 1)
    seen = []
    two = threading.Event()

    def receive(batch):
        seen.extend(each["id"] for each in batch)
        if len(seen) >= 2:
            two.set()

    with Deliverer(directory, [CallSink("call", receive)], poll_seconds=60.0) as deliverer:
        deliverer.start()
        with Recorder(directory, environment=machine) as recorder:
            recorder.add(match_of("/late", b"late"))
            end = time.monotonic() + 10
            while not two.wait(0.05) and time.monotonic() < end:
                deliverer.wake()
    assert seen == ids(directory)


def test_a_callable_may_take_a_part_or_raise(journal, machine):
    seen, state = [], {"calls": 0}

    def receive(batch):
        state["calls"] += 1
        if state["calls"] == 1:
            raise OSError("not now")
        seen.append(batch[0]["id"])
        return [batch[0]["id"]]

    assert work(worker_of(journal, CallSink("call", receive), machine), machine)
    assert seen == ids(journal)


def test_files_get_a_line_for_each_alert_and_are_for_their_owner_only(journal, machine, tmp_path):
    path = tmp_path / "out.jsonl"
    assert work(worker_of(journal, FileSink("file", str(path), NATIVE), machine), machine)
    assert [json.loads(line)["id"] for line in path.read_bytes().splitlines()] == ids(journal)
    assert path.stat().st_mode & 0o777 == 0o600
    link = tmp_path / "link"
    link.symlink_to(path)
    assert FileSink("file", str(link), NATIVE).send([]).verdict is Verdict.RETRY
    assert FileSink("file", str(tmp_path), NATIVE).send([]).verdict is Verdict.RETRY


def test_standard_output_is_a_sink(journal, machine, capfdbinary):
    assert work(worker_of(journal, StdoutSink("out", NATIVE), machine), machine)
    assert [json.loads(line)["id"] for line in capfdbinary.readouterr().out.splitlines()] == ids(journal)


# Syslog


class SyslogServer:
    """Takes connections, reads frames by octet counting, and ends as told."""

    def __init__(self, end="close", context=None):
        self.messages, self.end, self.context = [], end, context
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.held = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            try:
                if self.context is not None:
                    connection = self.context.wrap_socket(connection, server_side=True)
                self.serve(connection)
            except OSError:
                connection.close()

    def serve(self, connection):
        if self.end == "reset":
            connection.recv(10)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
            return
        data = b""
        while part := connection.recv(65536):
            data += part
        while data:
            size, _, rest = data.partition(b" ")
            self.messages.append(rest[: int(size)])
            data = rest[int(size) :]
        if self.end == "close":
            connection.close()
        else:
            self.held.append(connection)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(5)
        for each in self.held:
            each.close()


@pytest.mark.parametrize("end", ["close", "stay"])
def test_syslog_over_tcp_counts_octets_and_waits_for_the_end(journal, machine, end):
    server = SyslogServer(end)
    try:
        sink = SyslogSink("log", "127.0.0.1", server.port, NATIVE, tls=False, close_seconds=0.2 if end == "stay" else 5)
        assert work(worker_of(journal, sink, machine), machine)
        found = [json.loads(each.partition(b"\xef\xbb\xbf")[2])["id"] for each in server.messages]
        assert found == ids(journal)
        assert all(each.startswith(b"<106>1 20") for each in server.messages)
    finally:
        server.close()


def test_syslog_that_is_cut_is_not_delivered(journal, machine):
    server = SyslogServer("reset")
    try:
        sink = SyslogSink("log", "127.0.0.1", server.port, NATIVE, tls=False)
        worker = worker_of(journal, sink, machine)
        worker.step()
        assert worker.progress.delivered == 0
        assert worker.progress.failures == 1
    finally:
        server.close()


def test_syslog_over_tls_checks_who_it_talks_to(journal, machine, certificate):  # noqa: F811
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = SyslogServer("close", context)
    try:
        stranger = worker_of(journal, SyslogSink("a", "127.0.0.1", server.port, NATIVE), machine)
        stranger.step()
        assert stranger.progress.delivered == 0
        assert "CERTIFICATE_VERIFY_FAILED" in stranger.progress.last_reason
        known = SyslogSink("b", "127.0.0.1", server.port, NATIVE, ca_file=certificate)
        assert work(worker_of(journal, known, machine), machine)
        assert len(server.messages) == 5
    finally:
        server.close()


# Kills


def test_nothing_acknowledged_is_lost_when_writer_and_deliverer_are_killed_again_and_again(tmp_path):
    pytest.importorskip("httpx", reason="httpx is not installed; pip install '.[deliver]'")
    assert kill_rounds.run(10, seed=11, directory=tmp_path) > 0


def test_a_stop_signal_ends_a_delivery_within_seconds(tmp_path, machine, cli):
    pytest.importorskip("httpx", reason="httpx is not installed; pip install '.[deliver]'")
    directory = alerts(tmp_path / "j", machine, 3)

    with receiving(lambda request: time.sleep(1.5)) as server:
        config = tmp_path / "c.toml"
        config.write_text(f'[sink.s]\ntype = "webhook"\nurl = "{server.url}"\n')
        child = cli.start("alerts", "deliver", "--journal", directory, "--config", config, "--for", "60")
        end = time.monotonic() + 20
        while not server.requests and time.monotonic() < end:
            time.sleep(0.02)
        assert server.requests
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=20)
    assert child.returncode == 143, err
    assert records(directory, "alert")


def test_random_trouble_delivers_everything(tmp_path, machine):
    pytest.importorskip("httpx", reason="httpx is not installed; pip install '.[deliver]'")
    from hashsieve.alerts.sinks.webhook import WebhookSink

    directory = alerts(tmp_path / "j", machine, 60)
    with receiving() as server:
        server.behave = troublesome(server, random.Random(3))
        sink = WebhookSink("hook", server.url, NATIVE, batch_count=7, read_seconds=2.0, environment=machine)
        worker = worker_of(directory, sink, machine)
        assert work(worker, machine, seconds=30 * DAY)
        sink.close()
        assert set(server.ids) == set(ids(directory))
    assert worker.cursor.parked == {}
