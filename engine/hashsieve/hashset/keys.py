"""Where keys come from, and the files they are kept in.

A *source* is ``fd:N``, ``file:PATH``, ``env:NAME``, or a callable that returns bytes; never the key itself, which would
show in the list of processes. A key file is text::

    hashsieve seal key 1
    64 hexadecimal digits

with ``sign`` instead of ``seal`` for a sign key, so that one is not taken for the other; lines that start with ``#``
are passed over, and any white space may stand for the line break, so that the same text fits into an environment
variable. A callable may return the 32 bytes themselves instead.

Public keys are lines of ``ed25519:`` and 64 digits; whatever follows white space on such a line is a remark.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator

from ..errors import KeySourceError, OutputError, Path, UsageError, shown

__all__ = ["KeyKind", "KeySource", "generate", "read_public_keys", "secret_of"]

KeySource = str | Callable[[], bytes]

KEY_BYTES = 32
PUBLIC_PREFIX = "ed25519:"
_MAX_SECRET_BYTES = 4096
_MAX_PUBLIC_BYTES = 1 << 20
_DIGITS = b"0123456789abcdef0123456789ABCDEF"
_FORMS = "fd:N, file:PATH or env:NAME"


class KeyKind(enum.StrEnum):
    """What a secret key is for."""

    SIGN = "sign"
    SEAL = "seal"

    @property
    def head(self) -> list[bytes]:
        """The words that a key of this kind begins with."""
        return [b"hashsieve", str(self).encode(), b"key", b"1"]


@contextlib.contextmanager
def secret_of(source: KeySource, kind: KeyKind) -> Iterator[bytearray]:
    """The 32 bytes of a key of this kind, for the time of the block; then they are overwritten.

    Raises KeySourceError, which names the source and never what was found there.
    """
    text = bytearray()
    secret = bytearray(KEY_BYTES)
    try:
        if callable(source):
            where = "the key callable"
            given = source()
            if not isinstance(given, bytes | bytearray | memoryview):
                raise KeySourceError(f"{where} returned {type(given).__name__}, not bytes")
            text = bytearray(given)
            if len(text) == KEY_BYTES:
                for i in range(KEY_BYTES):
                    secret[i] = text[i]
            else:
                _decode(text, kind, where, secret)
        else:
            where = shown(str(source))
            text = _read(str(source), kind)
            _decode(text, kind, where, secret)
        if not any(secret):
            raise KeySourceError(f"{where}: holds a key of zeros only, which is no key")
        yield secret
    finally:
        text[:] = bytes(len(text))
        secret[:] = bytes(KEY_BYTES)


def _read(source: str, kind: KeyKind) -> bytearray:
    form, colon, rest = source.partition(":")
    if not colon or form not in ("fd", "file", "env") or not rest:
        # What was typed may be the key itself: it is not repeated.
        raise UsageError(f"a {kind} key is named by {_FORMS}; a key itself is never an argument")
    if form == "env":
        value = os.environ.get(rest)
        if value is None:
            raise KeySourceError(f"{shown(source)}: there is no such environment variable")
        return bytearray(os.fsencode(value))
    if form == "fd":
        if not rest.isdecimal() or not rest.isascii():
            raise UsageError(f"{shown(source)}: a descriptor is a number, such as fd:3")
        return _read_fd(int(rest), shown(source), _MAX_SECRET_BYTES)
    return _read_file(rest, shown(source), _MAX_SECRET_BYTES, _refuse_open_to_others)


def _read_fd(fd: int, where: str, limit_bytes: int) -> bytearray:
    out = bytearray()
    block = bytearray(limit_bytes + 1)
    try:
        while len(out) <= limit_bytes:
            try:
                got = os.readv(fd, [block]) if hasattr(os, "readv") else _read_into(fd, block)
            except BlockingIOError:
                raise KeySourceError(f"{where}: has nothing to read yet; give a blocking descriptor") from None
            if not got:
                break
            out += memoryview(block)[:got]
    except OverflowError:
        raise KeySourceError(f"{where}: is not an open descriptor") from None
    except OSError as problem:
        if problem.errno == errno.EBADF:
            raise KeySourceError(f"{where}: is not open for reading; the caller has to pass it on") from None
        raise KeySourceError(f"{where}: cannot be read: {problem.strerror}") from None
    finally:
        block[:] = bytes(len(block))
    if len(out) > limit_bytes:
        out[:] = bytes(len(out))
        raise KeySourceError(f"{where}: holds more than {limit_bytes} bytes, which is no key")
    return out


def _read_into(fd: int, block: bytearray) -> int:
    got = os.read(fd, len(block))
    block[: len(got)] = got
    return len(got)


def _read_file(path: Path, where: str, limit_bytes: int, check: Callable[[os.stat_result, str], None]) -> bytearray:
    try:
        # Non-blocking, so that a FIFO without a writer does not hold everything up before it is refused.
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise KeySourceError(f"{where}: cannot be opened: {reason}") from None
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            raise KeySourceError(f"{where}: is not a regular file")
        check(facts, where)
        return _read_fd(fd, where, limit_bytes)
    finally:
        os.close(fd)


def _refuse_open_to_others(facts: os.stat_result, where: str) -> None:
    if os.name != "posix":  # who may read it is not in the mode there; docs/threat-model.md
        return
    if facts.st_uid != os.geteuid():
        raise KeySourceError(f"{where}: belongs to user {facts.st_uid}, not to the user of this process; copy it")
    if facts.st_mode & 0o077:
        raise KeySourceError(
            f"{where}: is open to others (mode {stat.S_IMODE(facts.st_mode):03o}); close it with chmod 600"
        )


def _refuse_written_by_others(facts: os.stat_result, where: str) -> None:
    if os.name == "posix" and facts.st_mode & 0o002:
        raise KeySourceError(f"{where}: can be written by anybody, who could add a key; close it with chmod o-w")


def _spans(text: bytearray) -> list[tuple[int, int]]:
    """Where the words are, lines of remarks passed over. No copy is made of what may be a key."""
    spans: list[tuple[int, int]] = []
    start, remark, new_line = -1, False, True
    for at, byte in enumerate(text):
        if byte in b" \t\r\n\v\f":
            if start >= 0:
                spans.append((start, at))
                start = -1
            if byte == 10:
                remark, new_line = False, True
        else:
            remark = remark or (new_line and byte == 35)
            new_line = False
            if start < 0 and not remark:
                start = at
    return [*spans, (start, len(text))] if start >= 0 else spans


def _head_of(text: bytearray, spans: list[tuple[int, int]]) -> list[bytes]:
    """The first words, cut to less than any key."""
    return [bytes(text[start : min(end, start + 10)]) for start, end in spans[:4]]


def _decode(text: bytearray, kind: KeyKind, where: str, secret: bytearray) -> None:
    how = f"expected what `hashsieve keygen {kind}` writes"
    if len(text) > _MAX_SECRET_BYTES:
        raise KeySourceError(f"{where}: holds more than {_MAX_SECRET_BYTES} bytes, which is no key")
    spans = _spans(text)
    if not spans:
        raise KeySourceError(f"{where}: is empty; {how}")
    head = _head_of(text, spans)
    for other in KeyKind:
        if other is not kind and head == other.head:
            raise KeySourceError(f"{where}: holds a {other} key, and a {kind} key is needed")
    if head[0].startswith(PUBLIC_PREFIX.encode()):
        raise KeySourceError(f"{where}: holds a public key, and a secret {kind} key is needed")
    if head[:3] == kind.head[:3] and head[3:] not in ([], kind.head[3:]):
        raise KeySourceError(f"{where}: holds a {kind} key of a newer form; install a newer hashsieve")
    if head != kind.head:
        raise KeySourceError(f"{where}: is not a {kind} key; {how}")
    start, end = spans[4] if len(spans) > 4 else (0, 0)
    if len(spans) != 5 or end - start != 2 * KEY_BYTES:
        raise KeySourceError(f"{where}: the {kind} key is not whole: {end - start} of {2 * KEY_BYTES} digits; {how}")
    for i in range(KEY_BYTES):
        high, low = (_DIGITS.find(text[start + 2 * i + n]) for n in (0, 1))
        if high < 0 or low < 0:
            raise KeySourceError(f"{where}: the {kind} key holds something else than hexadecimal digits; {how}")
        secret[i] = (high % 16) << 4 | low % 16


def read_public_keys(path: Path) -> tuple[bytes, ...]:
    """The public keys of a file, 32 bytes each, in its order: lines of ``ed25519:`` and 64 hexadecimal digits.

    Blank lines and lines that start with ``#`` are passed over. Raises KeySourceError when there is anything else in
    it, no key at all, or when anybody could write it.
    """
    where = shown(path)
    text = _read_file(path, where, _MAX_PUBLIC_BYTES, _refuse_written_by_others)
    if _head_of(text, _spans(text)) in (KeyKind.SIGN.head, KeyKind.SEAL.head):
        text[:] = bytes(len(text))
        raise KeySourceError(f"{where}: holds a secret key; name the file with the public one, which ends in .pub")
    keys: list[bytes] = []
    for number, line in enumerate(text.split(b"\n"), start=1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        word = words[0].decode("ascii", "replace")
        try:
            if not word.startswith(PUBLIC_PREFIX):
                raise ValueError
            key = bytes.fromhex(word[len(PUBLIC_PREFIX) :])
            if len(key) != KEY_BYTES or len(word) != len(PUBLIC_PREFIX) + 2 * KEY_BYTES:
                raise ValueError
        except ValueError:
            raise KeySourceError(
                f"{where}, line {number}: not a public key; expected {PUBLIC_PREFIX} and {2 * KEY_BYTES} hexadecimal "
                "digits"
            ) from None
        if key not in keys:
            keys.append(key)
    if not keys:
        raise KeySourceError(f"{where}: names no public key")
    return tuple(keys)


def generate(kind: KeyKind, path: Path) -> str | None:
    """Makes a new key and writes it to *path*, readable by its owner only. Nothing is ever overwritten.

    For a sign key the public key is written beside it under the same name with ``.pub``; the result is that key as
    text, else None. Raises OutputError; what was begun is then removed.
    """
    name = os.fsdecode(path)
    secret = bytearray(secrets.token_bytes(KEY_BYTES))
    public = None
    files = [(name, b"hashsieve %s key 1\n%s\n" % (str(kind).encode(), secret.hex().encode()), 0o600)]
    if kind is KeyKind.SIGN:
        from .signature import SignKey

        public = PUBLIC_PREFIX + SignKey(secret).public.hex()
        text = f"# hashsieve: public key of a sign key, for --require-signature\n{public}\n"
        files.append((name + ".pub", text.encode(), 0o644))
    made: list[str] = []
    try:
        for each, content, mode in files:
            _write_new(each, content, mode, made)
    except BaseException as problem:
        for each in made:
            with contextlib.suppress(OSError):
                os.unlink(each)
        if isinstance(problem, OSError | ValueError):
            reason = getattr(problem, "strerror", None) or str(problem)
            text = "exists already, and a key is never overwritten" if isinstance(problem, FileExistsError) else reason
            raise OutputError(f"{shown(each)}: {text}; nothing was written") from None
        raise
    finally:
        secret[:] = bytes(KEY_BYTES)
    return public


def _write_new(path: str, content: bytes, mode: int, made: list[str]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    fd = os.open(path, flags, mode)
    made.append(path)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    if os.name == "posix":
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
