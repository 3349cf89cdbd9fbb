"""Rounds of SIGKILL at any moment while alerts are written and delivered to a server that misbehaves.

Afterwards what the server has, by id, is what the journal acknowledged; ids increase; nothing altered is accepted.
``python tests/alerts/kill_rounds.py [--rounds N] [--seed S]``; a test runs the same with fewer rounds.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from alert_server import receiving, troublesome

import hashsieve
from hashsieve.alerts.deliver import Backoff, Deliverer
from hashsieve.alerts.formats import find_format
from hashsieve.alerts.journal import JournalReader, verify
from hashsieve.alerts.sinks.webhook import WebhookSink

HERE = Path(__file__).resolve().parent
SECRET = b"a secret of the journal of these rounds"
HOOK = b"whsec_" + b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

_WRITER = f"""
import sys, time
sys.path[:0] = [sys.argv[2]]
from alert_cases import match_of
from hashsieve.alerts.merge import Recorder
start = int(sys.argv[3])
with Recorder(sys.argv[1], key={SECRET!r}, cap_bytes=8 << 20, segment_bytes=64 << 10) as recorder:
    n = start
    while True:
        n += 1
        found = recorder.add(match_of("/files/%d" % n, b"content %d" % n))
        sys.stdout.write(found.id + chr(10))
        sys.stdout.flush()
        time.sleep(0.01)
"""

_DELIVERER = f"""
import sys
sys.path[:0] = [sys.argv[2]]
from hashsieve.alerts.deliver import Backoff, Deliverer
from hashsieve.alerts.formats import find_format
from hashsieve.alerts.sinks.webhook import WebhookSink
sink = WebhookSink("hook", sys.argv[3], find_format("native"), [{HOOK!r}], batch_count=5, read_seconds=2.0)
with Deliverer(sys.argv[1], [sink], poll_seconds=0.02, make_backoff=lambda: Backoff(0.05, 0.2),
               per_second=1000.0) as deliverer:
    deliverer.start()
    import time
    while True:
        time.sleep(1)
"""


def run(rounds: int, seed: int, directory: Path | None = None) -> int:
    """Runs that many rounds; the number of alerts that were acknowledged and arrived."""
    chance = random.Random(seed)
    root = directory or Path(tempfile.mkdtemp(prefix="kills-"))
    journal = root / "journal"
    environment = dict(os.environ, PYTHONPATH=str(Path(hashsieve.__file__).parents[1]))
    acknowledged: list[str] = []
    with receiving() as server:
        server.behave = troublesome(server, chance)

        def start(code: str, *arguments: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-c", code, str(journal), str(HERE), *arguments]
            return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

        for number in range(rounds):
            writer = start(_WRITER, str(number * 100_000))
            assert writer.stdout is not None
            first = writer.stdout.readline()  # the journal is there then
            assert first, "the writer did not start"
            deliverer = start(_DELIVERER, server.url)
            time.sleep(chance.uniform(0.0, 0.4))
            for victim in chance.sample([writer, deliverer], 2):
                victim.send_signal(signal.SIGKILL)
                time.sleep(chance.choice([0.0, 0.02]))
            # What was printed in full was acknowledged.
            printed = first + writer.stdout.read()
            acknowledged += printed[: printed.rfind(b"\n") + 1].decode().split()
            for each in (writer, deliverer):
                each.wait()
                assert each.stdout is not None
                each.stdout.close()
            report = verify(journal, key=SECRET)
            assert report.intact, report.breaks
            assert report.unproved == 0
        # All that is left goes out; then the two sides agree.
        sink = WebhookSink("hook", server.url, find_format("native"), [HOOK], batch_count=5, read_seconds=2.0)
        with Deliverer(journal, [sink], make_backoff=lambda: Backoff(0.02, 0.1), per_second=5000.0) as last:
            assert last.run(1200), [worker.progress for worker in last.workers]
            assert all(not worker.cursor.parked for worker in last.workers)
        arrived = set(server.ids)
        lines = {line.record["id"]: line for line in JournalReader(journal).lines() if line.type == "alert"}
        assert acknowledged == sorted(set(acknowledged)), "ids do not strictly increase"
        assert set(acknowledged) <= arrived, "an acknowledged alert did not arrive"
        assert arrived == set(lines), "what arrived is not what the journal holds"
        assert len(lines) - len(acknowledged) <= rounds, "more than one alert a kill was not acknowledged"
        for record in server.received:
            line = lines[record["id"]]
            assert record["chain"]["value"] == line.mac
            expected = line.record
            assert all(record[name] == value for name, value in expected.items() if name != "group"), "altered"
        check_signatures(server.requests)
    return len(acknowledged)


def check_signatures(requests: list) -> None:
    """Every request was signed as an independent reader expects."""
    try:
        from standardwebhooks.webhooks import Webhook
    except ImportError:
        return
    hook = Webhook(HOOK.decode())
    for request in requests:
        hook.verify(request.body, request.headers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options = parser.parse_args()
    count = run(options.rounds, options.seed)
    print(
        f"{options.rounds} rounds of kills, {count} alerts acknowledged and arrived, none lost or altered, promised 200"
    )


if __name__ == "__main__":
    main()
