"""Keys: from a descriptor, a file of its owner's, the environment or a callable; anything else is refused and why."""

import os
import stat
import subprocess
import sys

import pytest

from hashsieve.errors import KeySourceError, OutputError, UsageError
from hashsieve.hashset.keys import KeyKind, generate, read_public_keys, secret_of
from hashsieve.hashset.seal import SealKey, seal_keys_of
from hashsieve.hashset.signature import SignKey
from helpers import ENGINE

SECRET = bytes(range(50, 82))
SEAL_TEXT = b"hashsieve seal key 1\n%s\n" % SECRET.hex().encode()


def read(source, kind=KeyKind.SEAL):
    with secret_of(source, kind) as secret:
        return bytes(secret)


def put(path, text, mode=0o600):
    path.write_bytes(text)
    path.chmod(mode)
    return f"file:{path}"


def through_pipe(text):
    reading, writing = os.pipe()
    os.write(writing, text)
    os.close(writing)
    return reading


def test_every_source_gives_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("A_KEY", SEAL_TEXT.decode().replace("\n", " "))
    fd = through_pipe(SEAL_TEXT)
    try:
        sources = (put(tmp_path / "k", SEAL_TEXT), "env:A_KEY", f"fd:{fd}", lambda: SEAL_TEXT, lambda: SECRET)
        assert [read(source) for source in sources] == [SECRET] * 5
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    "text",
    [
        SEAL_TEXT.rstrip(),
        SEAL_TEXT.replace(b"\n", b"\r\n"),
        b"# made for the laptops\n\n" + SEAL_TEXT,
        SEAL_TEXT.replace(SECRET.hex().encode(), SECRET.hex().upper().encode()),
    ],
)
def test_forms_of_the_text(tmp_path, text):
    assert read(put(tmp_path / "k", text)) == SECRET


def test_the_secret_is_overwritten_after_use():
    with secret_of(lambda: SECRET, KeyKind.SEAL) as secret:
        assert secret == SECRET
    assert secret == bytes(32)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o606, 0o644, 0o611, 0o777])
def test_a_file_open_to_others_is_refused(tmp_path, mode):
    with pytest.raises(KeySourceError, match=r"open to others \(mode [0-7]{3}\); close it with chmod 600"):
        read(put(tmp_path / "k", SEAL_TEXT, mode))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path):
    source = put(tmp_path / "k", SEAL_TEXT)
    os.chown(tmp_path / "k", 12345, -1)
    with pytest.raises(KeySourceError, match="belongs to user 12345"):
        read(source)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (SEAL_TEXT[:-12], "not whole: 53 of 64 digits"),
        (SEAL_TEXT[:21], "not whole: 0 of 64"),
        (SEAL_TEXT + b"77\n", "not whole"),
        (SEAL_TEXT.replace(b"3", b"g"), "hexadecimal"),
        (SEAL_TEXT.replace(b"seal", b"sign"), "holds a sign key, and a seal key is needed"),
        (SEAL_TEXT.replace(b"key 1", b"key 2"), "newer form"),
        (b"ed25519:" + SECRET.hex().encode(), "holds a public key"),
        (SECRET, "is not a seal key"),
        (SECRET.hex().encode(), "is not a seal key"),
        (b"hashsieve seal key 1\n" + b"0" * 64, "zeros only"),
        (b"x" * 5000, "more than 4096 bytes"),
        (b"\xff\xfe\x00", "is not a seal key"),
    ],
)
def test_what_is_no_seal_key_is_refused_and_never_repeated(tmp_path, monkeypatch, text, words):
    fd = through_pipe(text)
    try:
        for source in (put(tmp_path / "k", text), f"fd:{fd}", lambda: text + (b" " if len(text) == 32 else b"")):
            with pytest.raises(KeySourceError, match=words) as caught:
                read(source)
            for secret in (SECRET.hex(), SECRET.hex()[:20], str(SECRET)):
                assert secret not in str(caught.value)
    finally:
        os.close(fd)


def test_sources_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo, 0o600)
    link.symlink_to(tmp_path / "nowhere")
    reading, writing = os.pipe()
    os.close(writing)
    os.close(reading)
    only_writing = os.open(tmp_path / "w", os.O_WRONLY | os.O_CREAT)
    cases = [
        ("env:NO_SUCH_KEY", "no such environment variable"),
        (f"file:{tmp_path}/nothing", "cannot be opened"),
        (f"file:{link}", "cannot be opened"),
        (f"file:{tmp_path}", "not a regular file"),
        (f"file:{fifo}", "not a regular file"),
        ("file:a\0b", "cannot be opened"),
        (f"fd:{reading}", "not open"),
        (f"fd:{only_writing}", "not open for reading"),
        ("fd:99999999999999999999", "not an open descriptor"),
    ]
    for source, words in cases:
        with pytest.raises(KeySourceError, match=words):
            read(source)
    os.close(only_writing)
    with pytest.raises(KeySourceError, match="returned str"):
        read(lambda: "text")


def test_a_descriptor_that_would_wait_is_told_from_one_at_its_end():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        with pytest.raises(KeySourceError, match="blocking"):
            read(f"fd:{reading}")
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("typed", [SECRET.hex(), "hex:" + SECRET.hex(), "fd:", "fd:x", "fd:-1", "file:", "env:", ""])
def test_a_key_itself_is_no_source_and_is_not_repeated(typed):
    with pytest.raises(UsageError) as caught:
        read(typed)
    assert SECRET.hex() not in str(caught.value)


def test_generated_keys_are_for_their_owner_only_and_nothing_is_overwritten(tmp_path):
    previous = os.umask(0)
    try:
        assert generate(KeyKind.SEAL, tmp_path / "seal") is None
        public = generate(KeyKind.SIGN, tmp_path / "sign")
    finally:
        os.umask(previous)
    for name, mode in (("seal", 0o600), ("sign", 0o600), ("sign.pub", 0o644)):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
    with SealKey.load(f"file:{tmp_path}/seal") as key:
        assert len(key.key_id) == 16
    sign = SignKey.load(f"file:{tmp_path}/sign")
    assert read_public_keys(tmp_path / "sign.pub") == (sign.public,)
    assert public == "ed25519:" + sign.public.hex()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for kind in KeyKind:
        for name in ("seal", "sign", "sign.pub"):
            with pytest.raises(OutputError, match="never overwritten"):
                generate(kind, tmp_path / name)
    (tmp_path / "other.pub").write_bytes(b"mine")
    with pytest.raises(OutputError, match="never overwritten"):
        generate(KeyKind.SIGN, tmp_path / "other")
    with pytest.raises(OutputError, match="nothing was written"):
        generate(KeyKind.SEAL, tmp_path / "no" / "such" / "folder")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before | {tmp_path / "other.pub": b"mine"}


def test_two_generated_keys_differ(tmp_path):
    for name in ("a", "b"):
        generate(KeyKind.SEAL, tmp_path / name)
    assert read(f"file:{tmp_path}/a") != read(f"file:{tmp_path}/b")


def test_files_of_public_keys(tmp_path):
    keys = [SignKey(bytes([n]) * 32).public for n in (1, 2, 3)]
    path = tmp_path / "trusted"
    lines = ["# ours", "", *(f"ed25519:{key.hex()} key number {n}" for n, key in enumerate(keys)), "  # end"]
    path.write_text("\n".join([*lines, lines[2]]))
    assert read_public_keys(path) == tuple(keys)
    for text, words in (
        ("", "names no public key"),
        ("# nothing\n", "names no public key"),
        ("ed25519:" + keys[0].hex()[:-1], "line 1: not a public key"),
        (f"ed25519:{keys[0].hex()}\nrsa:{keys[0].hex()}", "line 2: not a public key"),
        (keys[0].hex(), "line 1"),
        (SEAL_TEXT.decode(), "secret key"),
        (SEAL_TEXT.decode().replace("seal", "sign"), "secret key"),
    ):
        path.write_text(text)
        with pytest.raises(KeySourceError, match=words) as caught:
            read_public_keys(path)
        assert SECRET.hex() not in str(caught.value)
    path.write_text("\n".join(lines))
    path.chmod(0o666)
    with pytest.raises(KeySourceError, match="written by anybody"):
        read_public_keys(path)
    with pytest.raises(KeySourceError, match="cannot be opened"):
        read_public_keys(tmp_path / "none")


def test_keys_made_here_are_closed_and_those_of_the_caller_are_not(tmp_path):
    own = SealKey(SECRET)
    keys, made = seal_keys_of([own, put(tmp_path / "k", SEAL_TEXT)])
    assert [key.key_id for key in keys] == [own.key_id] * 2
    assert made == keys[1:]
    assert seal_keys_of(None) == ([], [])
    with pytest.raises(KeySourceError):
        seal_keys_of([lambda: SECRET, lambda: b"nothing"])


# Counts the places in memory where the key is. The hunt holds it once itself: as the pattern, made in place.
_HUNT = r"""
import gc, mmap, re, sys
from hashsieve.hashset.seal import SealKey
masked = bytes.fromhex(sys.argv[2])
key = SealKey.load("file:" + sys.argv[1])
raw, text = bytearray(20), bytearray(40)
for i in range(20):
    raw[i] = masked[i] ^ 0x5a
    for n in (0, 1):
        text[2 * i + n] = b"0123456789abcdef"[raw[i] >> (4 - 4 * n) & 15]
gc.collect()
with open("/proc/self/maps") as file:
    regions = [re.match(r"([0-9a-f]+)-([0-9a-f]+) rw.*?(\[v.*)?$", line) for line in file]
block = mmap.mmap(-1, 1 << 20)  # made after the list: it does not find itself
found = {0: set(), 1: set()}
with open("/proc/self/mem", "rb", 0) as memory:
    for region in regions:
        if not region or region[3]:
            continue
        start, end = int(region[1], 16), int(region[2], 16)
        for at in range(start, end, (1 << 20) - 64):
            memory.seek(at)
            got = memory.readinto(memoryview(block)[: min(1 << 20, end - at)])
            for n, wanted in enumerate((raw, text)):
                place = block.find(wanted, 0, got)
                while place >= 0:
                    found[n].add(at + place)
                    place = block.find(wanted, place + 1, got)
print(len(found[0]), len(found[1]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads its own memory through /proc")
def test_a_key_that_was_read_leaves_no_copy_of_its_text_in_memory(tmp_path):
    secret = os.urandom(32)
    put(tmp_path / "k", b"hashsieve seal key 1\n%s\n" % secret.hex().encode())
    masked = bytes(b ^ 0x5A for b in secret).hex()
    done = subprocess.run([sys.executable, "-c", _HUNT, tmp_path / "k", masked], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": ENGINE}, check=True)  # fmt: skip
    assert done.stdout.split() == ["1", "1"]
