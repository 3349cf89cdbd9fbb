"""Feeds every list reader with damaged lists for a while: python tests/format/fuzz_lists.py --seconds 120 --seed 1

Each round takes a list of one format, changes it (bytes, pieces of other lists, cuts, repetitions, wrappers), and reads
it as that format and by detection. Anything may come of it but an exception that is not ours, a record that cannot be,
or memory over the bound. ``--format NAME`` fuzzes one reader; ``--coverage`` lets atheris guide the changes, where it
is installed. Ends with 1, the seed and the round when something else happens; --round N repeats one round.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import lzma
import random
import resource
import sys
import tempfile
import time
import traceback
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from format_fixtures import FIXTURES
from fuzz_structured import LISTS as STRUCTURED
from list_files import md5, medium, sha1, sha256, vics

from hashsieve.errors import HashsieveError
from hashsieve.lists import FORMATS, ListOptions, read_list
from hashsieve.model import DigestKind, Role

MEMORY_BOUND_BYTES = 512 << 20
PIECES = [
    b"", b"\0", b'"', b"'", b",", b";", b"\t", b":", b"|", b"\n", b"\r", b"\r\n", b"#", b"\\", b" ", b"=", b"\xff",
    b"(", b") = ", b"{", b"}", b"[", b"]", b"<", b">", b"&", b"%%%%", b"-1", b"9" * 25, b"1e999", b"null", b"true",
    b"\xef\xbb\xbf", b"\xff\xfe", b"PK\x03\x04", b"\x1f\x8b", b"d41d8cd98f00b204e9800998ecf8427e", b"a" * 70_000,
    b'"' * 999, b"[" * 999, b"\n" * 999, b" offset 0-1", b"<!ENTITY a '", b"ATTACH DATABASE ", md5(7).encode(),
    sha1(7).encode(), sha256(7).encode(),
]  # fmt: skip


def seeds() -> dict[str, list[bytes]]:
    """Lists to begin with, by format; every format has at least those of the others."""
    found: dict[str, list[bytes]] = {info.name: [] for info in FORMATS}
    for fixture in FIXTURES:
        found[fixture.format].append(fixture.content)
    found["vics"].append(json.dumps(vics([medium(number, SHA1=sha1(number)) for number in range(4)])).encode())
    for name, content in STRUCTURED.items():
        found[name].append(content())
    found["hashdeep"].append(f"%%%% HASHDEEP-1.0\n%%%% size,md5,filename\n## \n5,{md5(1)},a\n6,{md5(2)},b\n".encode())
    found["digest-lines"].append("".join(f"{md5(number)}  name\n" for number in range(9)).encode())
    every = [content for contents in found.values() for content in contents]
    return {name: contents or every for name, contents in found.items()}


def wrapped(content: bytes, rng: random.Random) -> bytes:
    """*content* in a wrapper, one time in six."""
    way = rng.randrange(24)
    if way == 0:
        return gzip.compress(content)
    if way == 1:
        return lzma.compress(content)
    if way == 2:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("README.txt", "Hello.\n")
            archive.writestr("list", content)
        return buffer.getvalue()
    return content.decode("latin-1").encode("utf-16") if way == 3 else content


def damaged(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """*content* changed in a few places."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 9))):
        at = rng.randrange(len(data) + 1)
        way = rng.randrange(6)
        if way == 0:
            data[at : at + rng.choice((0, 1, 2, 40))] = rng.choice(PIECES)
        elif way == 1 and data:
            data[at % len(data)] = rng.randrange(256)
        elif way == 2:
            del data[at : at + rng.choice((1, 2, 16, 300))]
        elif way == 3:
            other = rng.choice(others)
            first = rng.randrange(len(other) + 1)
            data[at:at] = other[first : first + rng.choice((5, 60, 400))]
        elif way == 4:
            data[at:at] = data[at : at + 80] * rng.choice((2, 30))
        else:
            del data[at:]
    return bytes(data)


def check(path: Path, options: ListOptions) -> None:
    """Read the list at *path*; raises for anything that must not be."""
    try:
        for record in read_list(path, options):
            assert record.digests or (record.op == "remove" and record.listing.ref), record
            for kind, raw in record.digests.items():
                assert len(raw) == DigestKind(kind).size_bytes, record
            assert record.size_bytes is None or 0 <= record.size_bytes < 2**62, record
            assert record.listing.role in Role, record
    except HashsieveError:
        pass
    used_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    assert used_bytes < MEMORY_BOUND_BYTES, f"{used_bytes} bytes of memory"


def try_one(path: Path, name: str, content: bytes) -> None:
    """Read *content* in all ways."""
    path.write_bytes(content)
    for options in (
        ListOptions(role=Role.KNOWN_BAD, format=name),
        ListOptions(role=Role.KNOWN_BAD, digest=DigestKind.SHA256),
        ListOptions(),
    ):
        check(path, options)


def guided(names: list[str], seconds: float, seed: int, folder: Path) -> None:
    """Let atheris change the lists. Does not return: atheris ends the process."""
    import atheris

    for name, contents in seeds().items():
        for number, content in enumerate(contents):
            if name in names:
                (folder / f"{name}-{number}").write_bytes(bytes([names.index(name)]) + content)
    atheris.instrument_all()
    path = folder.parent / "list"
    atheris.Setup(
        [sys.argv[0], f"-max_total_time={int(seconds)}", f"-seed={seed}", "-max_len=20000", str(folder)],
        lambda data: try_one(path, names[data[0] % len(names)] if data else names[0], data[1:]),
    )
    atheris.Fuzz()


def main() -> int:
    """Fuzz for the time given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="for each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--format", choices=[info.name for info in FORMATS])
    parser.add_argument("--round", type=int)
    parser.add_argument("--coverage", action="store_true")
    arguments = parser.parse_args()
    names = [arguments.format] if arguments.format else [info.name for info in FORMATS]
    contents = seeds()
    others = [content for each in contents.values() for content in each]
    with tempfile.TemporaryDirectory() as folder:
        if arguments.coverage:
            corpus = Path(folder) / "corpus"
            corpus.mkdir()
            guided(names, arguments.seconds * len(names), arguments.seed, corpus)
        for name in names:
            stop = time.monotonic() + arguments.seconds
            number = arguments.round or 0
            while time.monotonic() < stop:
                rng = random.Random(f"{arguments.seed} {name} {number}")
                content = wrapped(damaged(rng.choice(contents[name]), others, rng), rng)
                try:
                    try_one(Path(folder) / "list", name, content)
                except Exception:
                    traceback.print_exc()
                    print(f"FAILED: --format {name} --seed {arguments.seed} --round {number}")
                    return 1
                number += 1
                if arguments.round is not None:
                    break
            print(f"{name}: {number} damaged lists, only errors of ours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
