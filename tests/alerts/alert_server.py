"""A receiver on this machine that behaves as badly as it is told to."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behave = Callable[["Request"], None]


class Request:
    """One request; a behaviour answers it, or does not."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.handler = handler
        self.body = body
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.path = handler.path

    @property
    def records(self) -> list[dict[str, Any]]:
        found = json.loads(self.body)
        return found if isinstance(found, list) else [found]

    def answer(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        self.handler.send_response(status)
        self.handler.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        if "content_type" not in headers:
            self.handler.send_header("content-type", "application/json")
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self.handler.connection.shutdown(socket.SHUT_RDWR)
        self.handler.close_connection = True


class Receiver:
    """``received`` holds every record that was taken, in order, repetitions too."""

    def __init__(self, behave: Behave | None = None) -> None:
        self.behave: Behave = behave or self.take
        self.received: list[dict[str, Any]] = []
        self.requests: list[Request] = []
        self.mutex = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = Request(self, self.rfile.read(int(self.headers.get("content-length", "0"))))
                with outer.mutex:
                    outer.requests.append(request)
                with contextlib.suppress(OSError):
                    outer.behave(request)

            def log_message(self, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def keep(self, request: Request) -> None:
        with self.mutex:
            self.received.extend(request.records)

    def take(self, request: Request) -> None:
        self.keep(request)
        request.answer(200)

    @property
    def ids(self) -> list[str]:
        with self.mutex:
            return [record["id"] for record in self.received]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def troublesome(receiver: Receiver, chance: random.Random) -> Behave:
    """Cuts before and after taking, delays, refuses for a while, takes a part, loses the answer."""

    def behave(request: Request) -> None:
        with receiver.mutex:
            kind = chance.choice(
                ["take"] * 5 + ["cut", "keep-cut", "delay", "503", "429", "500", "part", "garbage", "page"]
            )
            part = chance.random()
        if kind == "take":
            receiver.take(request)
        elif kind == "cut":
            request.cut()
        elif kind == "keep-cut":
            receiver.keep(request)
            request.cut()
        elif kind == "delay":
            time.sleep(0.03)
            receiver.take(request)
        elif kind == "503":
            request.answer(503)
        elif kind == "429":
            request.answer(429, retry_after="0")
        elif kind == "500":
            receiver.keep(request)
            request.answer(500)
        elif kind == "part":
            records = request.records
            chosen = records[: int(len(records) * part)]
            with receiver.mutex:
                receiver.received.extend(chosen)
            request.answer(207, json.dumps({"accepted": [each["id"] for each in chosen]}).encode())
        elif kind == "garbage":
            request.handler.wfile.write(b"\x00\xffgarbage\r\n\r\n")
            request.cut()
        elif kind == "page":
            request.answer(200, b"<html>please log in</html>", content_type="text/html")

    return behave


@contextlib.contextmanager
def receiving(behave: Behave | None = None) -> Iterator[Receiver]:
    """A receiver for the time of the block."""
    receiver = Receiver(behave)
    try:
        yield receiver
    finally:
        receiver.close()
