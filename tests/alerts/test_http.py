"""Sinks over HTTP: what each status means, who is believed, and where alerts and credentials may go."""

import base64
import gzip
import json
import ssl
import threading
import time
from email.utils import format_datetime

import pytest
from alert_cases import NOON_NS, Machine
from alert_server import receiving
from tls_pair import certificate  # noqa: F401 -- a fixture

from hashsieve.alerts.formats import find_format
from hashsieve.alerts.sinks import Delivery, Verdict
from hashsieve.alerts.sinks.http import Reply, check_url, judge_status, retry_after
from hashsieve.errors import UsageError

httpx = pytest.importorskip("httpx", reason="httpx is not installed; pip install '.[deliver]'")

from hashsieve.alerts.sinks.splunk import SplunkSink  # noqa: E402
from hashsieve.alerts.sinks.webhook import WebhookSink, signing_key  # noqa: E402

NATIVE = find_format("native")
BATCH = [
    Delivery(
        f"{'a' * 24}-{n:018d}", n, "alert", {"id": f"{'a' * 24}-{n:018d}", "n": n, "time": "2026-05-28T20:26:40.000Z"}
    )
    for n in (1, 2, 3)
]
IDS = [each.id for each in BATCH]
SECRET = b"whsec_" + base64.b64encode(b"k" * 24)


def hook(server, **options):
    options = {"read_seconds": 3.0, "batch_count": 3} | options
    return WebhookSink("hook", server.url, NATIVE, options.pop("secrets", ()), **options)


def answering(status, body=b"{}", **headers):
    return receiving(lambda request: request.answer(status, body, **headers))


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DONE), (202, Verdict.DONE), (204, Verdict.DONE),
        (301, Verdict.RETRY), (302, Verdict.RETRY), (303, Verdict.RETRY), (304, Verdict.RETRY),
        (400, Verdict.REFUSED), (401, Verdict.STOP), (403, Verdict.STOP), (404, Verdict.STOP), (405, Verdict.STOP),
        (407, Verdict.STOP), (408, Verdict.RETRY), (409, Verdict.RETRY), (410, Verdict.STOP),
        (413, Verdict.SMALLER), (415, Verdict.REFUSED), (422, Verdict.REFUSED), (425, Verdict.RETRY),
        (429, Verdict.RETRY), (451, Verdict.REFUSED),
        (500, Verdict.RETRY), (501, Verdict.RETRY), (502, Verdict.RETRY), (503, Verdict.RETRY), (504, Verdict.RETRY),
        (511, Verdict.RETRY), (599, Verdict.RETRY),
    ],
)  # fmt: skip
def test_every_status_has_its_meaning(status, verdict):
    with answering(status, b"" if status in (204, 304) else b"{}") as server:
        sink = hook(server)
        answer = sink.send(BATCH)
        sink.close()
    assert answer.verdict is verdict
    assert answer.accepted == (frozenset(IDS) if verdict is Verdict.DONE else frozenset())
    assert verdict is Verdict.DONE or str(status) in answer.reason


@pytest.mark.parametrize("status", [429, 503, 413, 401])
def test_hints_are_read_from_every_refusal(status):
    with answering(status, retry_after="17") as server:
        sink = hook(server)
        assert sink.send(BATCH).retry_after_seconds == 17.0
        sink.close()


def test_a_hint_may_be_a_date_and_nonsense_is_none():
    import datetime

    def date(seconds):
        return format_datetime(datetime.datetime.fromtimestamp(NOON_NS // 10**9 + seconds, datetime.UTC), usegmt=True)

    now = NOON_NS / 1e9
    assert retry_after(date(90), now) == 90.0
    assert retry_after("5", now) == 5.0
    for nonsense in (None, "", "soon", "-5", "1e9", date(-90), date(10**7), "١٢"):
        assert retry_after(nonsense, now) is None
    assert retry_after("9" * 50, now) == 999_999_999.0


def test_each_try_has_the_same_id_and_a_signature_that_an_independent_reader_accepts(monkeypatch):
    webhooks = pytest.importorskip("standardwebhooks.webhooks", reason="standardwebhooks is not installed")
    with receiving() as server:
        sink = hook(server, batch_count=1, secrets=[b"whsec_" + base64.b64encode(b"new" * 8), SECRET])
        for _ in range(2):
            assert sink.send(BATCH[:1]).verdict is Verdict.DONE
        sink.close()
        assert [request.headers["webhook-id"] for request in server.requests] == [IDS[0]] * 2
        assert [request.headers["idempotency-key"] for request in server.requests] == [f'"{IDS[0]}"'] * 2
        for request in server.requests:
            # Keys are being changed: both the old and the new one are accepted, a third is not.
            for key in (SECRET, b"whsec_" + base64.b64encode(b"new" * 8)):
                assert webhooks.Webhook(key.decode()).verify(request.body, request.headers)["n"] == 1
            with pytest.raises(webhooks.WebhookVerificationError):
                webhooks.Webhook(base64.b64encode(b"other" * 5).decode()).verify(request.body, request.headers)
            with pytest.raises(webhooks.WebhookVerificationError):
                webhooks.Webhook(SECRET.decode()).verify(request.body + b" ", request.headers)
            assert b"k" * 24 not in request.body
            assert "secret" not in json.dumps(request.headers)


def test_a_secret_that_is_no_base64_is_refused():
    with pytest.raises(UsageError, match="base64"):
        signing_key(b"whsec_!!!")
    assert signing_key(b"plain text") == b"plain text"


def test_a_part_may_be_acknowledged_by_id():
    body = json.dumps({"accepted": [IDS[0], "foreign"], "rejected": [{"id": IDS[2], "reason": "bad"}]}).encode()
    with answering(200, body) as server:
        sink = hook(server)
        answer = sink.send(BATCH)
        sink.close()
    assert answer.verdict is Verdict.RETRY
    assert answer.accepted >= {IDS[0]}
    assert IDS[1] not in answer.accepted
    assert answer.rejected == {IDS[2]: "bad"}


@pytest.mark.parametrize("body", [b"ok", b"[]", b"{}", b"null", b'{"status":"ok"}', b"\xff", b"[" * 100_000])
def test_where_ids_are_demanded_nothing_else_acknowledges(body):
    with answering(200, body) as server:
        for acknowledge, verdict in (("status", Verdict.DONE), ("ids", Verdict.RETRY)):
            sink = hook(server, acknowledge=acknowledge)
            assert sink.send(BATCH).verdict is verdict
            sink.close()


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"<html>log in</html>", "text/html"), (b"  <!doctype html>", "text/plain"), (b"x", "text/html; charset=utf-8")],
)
def test_a_captive_portal_is_not_believed(body, kind):
    with answering(200, body, content_type=kind) as server:
        sink = hook(server)
        answer = sink.send(BATCH)
        sink.close()
    assert answer.verdict is Verdict.RETRY
    assert answer.accepted == frozenset()


def test_a_redirect_within_the_host_is_followed_and_to_another_is_not():
    with receiving() as other, receiving() as server:

        def behave(request):
            if request.path == "/hook":
                request.answer(307, location="/elsewhere")
            elif request.path == "/elsewhere":
                server.take(request)
            elif request.path == "/away":
                request.answer(308, location=other.url)
            else:
                request.answer(307, location=request.path)

        server.behave = behave
        sink = hook(server, secrets=[SECRET], headers={"authorization": "Bearer t"})
        assert sink.send(BATCH).verdict is Verdict.DONE
        sink.close()
        for path, reason in (("/away", "308"), ("/circle", "circle")):
            away = WebhookSink("away", server.url.replace("/hook", path), NATIVE, [SECRET], batch_count=3)
            answer = away.send(BATCH)
            away.close()
            assert answer.verdict is Verdict.RETRY
            assert reason in answer.reason
        assert other.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://alerts.example/",
        "ftp://x/",
        "https://",
        "https://user:pass@alerts.example/",
        "alerts.example",
        "file:///etc",
    ],
)
def test_alerts_go_over_https_only(url):
    with pytest.raises(UsageError):
        check_url(url)


def test_this_machine_and_an_explicit_wish_are_exceptions():
    assert check_url("http://127.0.0.1:8080/x")
    assert check_url("http://[::1]/x")
    assert check_url("http://alerts.example/", insecure=True)


@pytest.mark.parametrize("behaviour", ["cut", "garbage", "nothing listens", "drip"])
def test_a_connection_that_breaks_is_tried_again_later(behaviour):
    stop = threading.Event()

    def behave(request):
        if behaviour == "cut":
            request.cut()
        elif behaviour == "garbage":
            request.handler.wfile.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            request.cut()
        else:
            request.handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            while not stop.wait(0.05):
                request.handler.wfile.write(b"x")

    with receiving(behave) as server:
        sink = hook(server, total_seconds=0.4)
        if behaviour == "nothing listens":
            server.server.socket.close()
        start = time.monotonic()
        answer = sink.send(BATCH)
        stop.set()
        sink.close()
    assert answer.verdict is Verdict.RETRY
    assert answer.reason
    assert time.monotonic() - start < 10


def test_an_endless_answer_is_read_to_a_limit_only():
    def behave(request):
        request.handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n" + b"x" * 200_000)

    with receiving(behave) as server:
        sink = hook(server)
        assert sink.send(BATCH).verdict is Verdict.DONE
        sink.close()


def test_a_compressed_answer_is_read_to_a_limit_only():
    bomb = gzip.compress(b"0" * 50_000_000)
    with answering(200, bomb, content_encoding="gzip") as server:
        sink = hook(server)
        assert sink.send(BATCH).verdict is Verdict.DONE
        sink.close()


def test_a_certificate_that_nobody_vouches_for_gets_nothing(certificate):  # noqa: F811
    with receiving() as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
        url = server.url.replace("http:", "https:")
        stranger = WebhookSink("a", url, NATIVE, [SECRET], batch_count=3)
        answer = stranger.send(BATCH)
        stranger.close()
        assert answer.verdict is Verdict.RETRY
        assert "CERTIFICATE_VERIFY_FAILED" in answer.reason
        assert server.requests == []
        known = WebhookSink("b", url, NATIVE, [SECRET], batch_count=3, ca_file=certificate)
        assert known.send(BATCH).verdict is Verdict.DONE
        known.close()
        assert len(server.requests) == 1


def test_text_forms_are_sent_one_by_one():
    with pytest.raises(UsageError, match="one by one"):
        WebhookSink("x", "https://a.example/", find_format("cef"), batch_count=2)


# Splunk


def collector(server, **options):
    return SplunkSink("hec", server.url.replace("/hook", ""), NATIVE, b"token-1", environment=Machine(), **options)


def test_splunk_gets_events_and_its_token():
    with answering(200, b'{"text":"Success","code":0}') as server:
        sink = collector(server)
        assert sink.send(BATCH).verdict is Verdict.DONE
        sink.close()
        (request,) = server.requests
    assert request.path == "/services/collector/event"
    assert request.headers["authorization"] == "Splunk token-1"
    events = [json.loads(line) for line in request.body.split(b"\n")]
    assert [each["event"]["id"] for each in events] == IDS
    assert [each["fields"]["alert_id"] for each in events] == IDS
    assert events[0]["time"] == 1_780_000_000.0
    assert b"token-1" not in request.body


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, b"ok", Verdict.RETRY), (200, b"<html>", Verdict.RETRY), (200, b'{"code":5}', Verdict.RETRY),
        (403, b'{"text":"Invalid token","code":4}', Verdict.STOP), (401, b'{"code":2}', Verdict.STOP),
        (503, b'{"text":"Server is busy","code":9}', Verdict.RETRY), (400, b'{"code":6}', Verdict.REFUSED),
        (413, b"", Verdict.SMALLER), (404, b"", Verdict.STOP),
    ],
)  # fmt: skip
def test_splunk_answers_have_their_meaning(status, body, verdict):
    with answering(status, body) as server:
        sink = collector(server)
        assert sink.send(BATCH).verdict is verdict
        sink.close()


@pytest.mark.parametrize("acknowledged", [True, False])
def test_splunk_indexers_may_have_to_acknowledge(acknowledged):
    asked = []

    def behave(request):
        if request.path.endswith("/ack"):
            asked.append(json.loads(request.body))
            request.answer(200, json.dumps({"acks": {"7": acknowledged and len(asked) > 1}}).encode())
        else:
            request.answer(200, b'{"code":0,"ackId":7}')

    with receiving(behave) as server:
        sink = collector(server, indexer_ack=True, ack_seconds=2.0 if acknowledged else 0.3)
        assert sink.send(BATCH).verdict is (Verdict.DONE if acknowledged else Verdict.RETRY)
        sink.close()
        channels = {request.headers["x-splunk-request-channel"] for request in server.requests}
    assert asked[0] == {"acks": [7]}
    assert len(channels) == 1


def test_a_problem_without_an_answer_is_temporary():
    assert judge_status(Reply(problem="no route"), 0.0).verdict is Verdict.RETRY
