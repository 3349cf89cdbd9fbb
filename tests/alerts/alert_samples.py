"""One delivery of every type, with the file names that break things."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from alert_cases import Disk, Machine, all_lines, match_of

from hashsieve.alerts.deliver import delivery_of
from hashsieve.alerts.merge import Recorder
from hashsieve.alerts.sinks import Delivery

HOSTILE = (
    b"plain.jpg",
    b"new\nline\r\nCEF:0|x|y",
    b"quo\"te's \\\" ]=",
    b"pi|pe = \\| a=b",
    "r\u202egpj.exe".encode(),
    b"bad \xff\xfe\x80 utf-8",
    b"tab\tbell\x07\x1b[31mred",
    b"<13>1 2026 [x@1 y=\"z\"] {\"a\":1}",
    "\U0001f4a5 e\u0301 \u2028".encode(),
)  # fmt: skip
KINDS = ("md5", "sha1", "sha256")


@cache
def samples() -> tuple[Delivery, ...]:
    """Made by the recorder itself, once."""
    with TemporaryDirectory() as name:
        root = Path(name)
        folder = os.fsencode(root / "files")
        os.mkdir(folder)
        for each in HOSTILE:
            with open(folder + b"/" + each.replace(b"/", b"_"), "wb") as file:
                file.write(b"x")
        machine = Machine()
        with Recorder(root / "j", environment=machine, storage=Disk(), own_lines=2) as recorder:
            for number, each in enumerate(HOSTILE):
                path = folder + b"/" + each
                recorder.add(match_of(path, b"c%d" % number, kinds=KINDS, ref=f"r|{number}=\n"))
            recorder.add(
                match_of("/test", b"t", role="test", test=True, kinds=("md5",)),
                process={"pid": 5, "executable": "/usr/bin/cp", "user": "ada"},
            )
            for number in range(4):
                recorder.add(match_of(folder + b"/copy %d" % number, b"c1", kinds=KINDS, ref="r|1=\n"))
            recorder.add(match_of("/only-blake3", b"b", kinds=("md5",)))
            recorder.heartbeat(sets=[{"root": "ab" * 32, "generation": 3}], coverage={"seen": 10})
            recorder.withdraw(lambda digests: digests["md5"] == match_of("/", b"c2").digests["md5"])
            recorder.flush()
            moment = "2026-05-28T20:26:40.000Z"
            broken = {"what": "bytes", "text": "3 bytes that are no record", "segment": "s", "offset": 1, "length": 3}
            span = {"first": moment, "last": moment, "overflow": False, "paths": []}
            recorder.journal.append(
                ("damage", {"time": moment, "count": 1, "breaks": [broken]}),
                ("full", {"time": moment, "reason": "full = | ]"}),
                ("space", {"time": moment, "count": 4, **span}),
            )
            before = [delivery_of(line) for line in all_lines(root / "j") if line.type != "segment"]
            recorder._fold()
            after = [delivery_of(line) for line in all_lines(root / "j") if line.type != "segment"]
    folds = [each for each in after if each.type == "fold"]
    # One fold of alerts, one of those with several ids, one of the journal's own records.
    chosen = [folds[0], max(folds, key=lambda each: len(each.record["ids"])), folds[-1]]
    return (*before, *chosen, after[-1])
