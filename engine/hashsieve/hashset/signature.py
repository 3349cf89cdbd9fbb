"""Signatures: Ed25519 (RFC 8032) over the 32 bytes of a set's root, kept in its root page.

The root covers every byte of the set, so whoever trusts the key knows that this is the set its custodian made. A set
may carry several signatures, and a reader may trust several keys: one that fits is enough, so keys can be changed
without a day on which nothing opens. The root does not cover the signatures: a set may be signed after it was made.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from ..errors import Path, SetDamagedError, SetFormatError, SetSignatureError, UsageError, shown
from .keys import KEY_BYTES, KeyKind, KeySource, read_public_keys, secret_of
from .publish import AtomicFile

__all__ = ["SignKey", "Signatures", "check_signatures", "fits", "root_page", "sign_set", "signer", "trusted_of"]

PAGE_BYTES = 4096
MAGIC = b"\x89HSET\r\n\x1a"
ROOT_MAGIC = b"HSETROOT"
MAX_SIGNATURES = 8
SIGNATURE_BYTES = 64

Signatures = Sequence[tuple[bytes, bytes]]
"""(public key, signature) as they stand in a root page."""


class SignKey:
    """A custodian's secret Ed25519 key. ``public`` is the 32 bytes that readers trust."""

    def __init__(self, secret: bytes | bytearray) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key: Any = Ed25519PrivateKey.from_private_bytes(bytes(secret))
        self.public: bytes = self._key.public_key().public_bytes_raw()

    @classmethod
    def load(cls, source: KeySource) -> SignKey:
        """From a key source; KeySourceError when there is none."""
        with secret_of(source, KeyKind.SIGN) as secret:
            return cls(secret)

    def sign(self, root: bytes) -> bytes:
        """The signature of a root: 64 bytes, the same at every call."""
        if len(root) != 32:
            raise UsageError(f"a root has 32 bytes, not {len(root)}")
        signature: bytes = self._key.sign(root)
        return signature

    def __repr__(self) -> str:
        return f"<SignKey {self.public.hex()}>"

    def __reduce__(self) -> Any:
        raise TypeError("a sign key cannot be pickled or copied")


def signer(keys: Iterable[SignKey]) -> Callable[[bytes], bytes]:
    """What ``SetWriter(sign=...)`` takes: root -> all signatures as they stand in a root page, 96 bytes each."""
    held = {key.public: key for key in keys}
    if not 1 <= len(held) <= MAX_SIGNATURES:
        raise UsageError(f"a set carries 1 to {MAX_SIGNATURES} signatures, not {len(held)}")
    return lambda root: b"".join(public + held[public].sign(root) for public in sorted(held))


def root_page(root: bytes, signatures: bytes = b"") -> bytes:
    """The last page of a set. *signatures*: what a :func:`signer` returned for this root."""
    count, rest = divmod(len(signatures), KEY_BYTES + SIGNATURE_BYTES)
    if rest or count > MAX_SIGNATURES:
        raise UsageError(f"signatures take 96 bytes each, at most {MAX_SIGNATURES} of them")
    page = ROOT_MAGIC + root + count.to_bytes(4, "little") + bytes(4) + signatures
    return page + bytes(PAGE_BYTES - len(page))


def fits(root: bytes, public: bytes, signature: bytes) -> bool:
    """Is this the signature of the root by the secret key of this public one?"""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, root)
    except (InvalidSignature, ValueError):
        return False
    return True


def trusted_of(trusted_keys: Path | Iterable[bytes]) -> tuple[bytes, ...]:
    """Public keys as bytes: given as such, or as the path of a file of them."""
    if isinstance(trusted_keys, str | bytes | os.PathLike):
        return read_public_keys(trusted_keys)
    keys = tuple(trusted_keys)
    for key in keys:
        if not isinstance(key, bytes) or len(key) != KEY_BYTES:
            raise UsageError(f"a public key has {KEY_BYTES} bytes")
    if not keys:
        raise UsageError("name at least one trusted key")
    return keys


def check_signatures(path: Path, root: bytes, signatures: Signatures, trusted: Iterable[bytes]) -> bytes:
    """The trusted key whose valid signature the set carries; SetSignatureError when there is none."""
    wanted = set(trusted)
    if not signatures:
        raise SetSignatureError(f"{shown(path)}: is not signed, and a signature is required")
    ours = [(public, signature) for public, signature in signatures if public in wanted]
    for public, signature in ours:
        if fits(root, public, signature):
            return public
    if ours:
        raise SetSignatureError(f"{shown(path)}: the signature of a trusted key does not fit; get the set again")
    raise SetSignatureError(
        f"{shown(path)}: is signed by {', '.join(public.hex() for public, _ in signatures)}, and none of these is "
        "trusted"
    )


def sign_set(path: Path, keys: Iterable[SignKey], *, output: Path | None = None) -> bytes:
    """Signs a finished set: publishes it anew, under *output* or its own name, with these signatures added to those it
    has. Returns its root, which stays as it was.

    Every page is checked on the way, so that no damaged copy is signed. A sealed set is signed without its seal key.
    """
    try:
        source = open(path, "rb")  # noqa: SIM115 -- closed below
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise SetFormatError(f"{shown(path)}: cannot be opened: {reason}") from None
    with source:
        made_of = _Layout(path, source)
        made = signer(keys)(made_of.root)
        step = KEY_BYTES + SIGNATURE_BYTES
        held = {each[:KEY_BYTES]: each for part in (made_of.signatures, made) for each in _cut(part, step)}
        if len(held) > MAX_SIGNATURES:
            raise UsageError(f"{shown(path)}: would carry {len(held)} signatures, and {MAX_SIGNATURES} are the most")
        with AtomicFile(path if output is None else output) as target, target.problems():
            for page in made_of.pages():
                _write_all(target.file, page)
            _write_all(target.file, root_page(made_of.root, b"".join(held[public] for public in sorted(held))))
            target.publish()
    return made_of.root


def _cut(data: bytes, step: int) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


def _write_all(file: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


class _Layout:
    """As much of a set file as it takes to check and copy it (docs/format/hset.md, sections 2, 3 and 12)."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.file_bytes = os.fstat(file.fileno()).st_size
        self.header = file.read(PAGE_BYTES)
        if len(self.header) < PAGE_BYTES or self.header[:8] != MAGIC or self.file_bytes < 2 * PAGE_BYTES:
            raise SetFormatError(f"{shown(path)}: not a hash set")
        length, self.set_id = int.from_bytes(self.header[24:32], "little"), self.header[48:64]
        count, offset, list_bytes = (
            int.from_bytes(self.header[a:b], "little") for a, b in ((84, 88), (96, 104), (104, 112))
        )
        if (
            length != self.file_bytes or length % PAGE_BYTES or count > 99 or offset % PAGE_BYTES
            or not PAGE_BYTES <= offset <= length - PAGE_BYTES or list_bytes != (offset // PAGE_BYTES - 1) * 16
            or offset + list_bytes > length - PAGE_BYTES
        ):  # fmt: skip
            raise SetFormatError(f"{shown(path)}: the lengths in the header do not fit the file")
        self.list_offset = offset
        file.seek(offset)
        self.hashes = file.read(list_bytes)
        behind = file.read(length - PAGE_BYTES - offset - list_bytes)
        file.seek(length - PAGE_BYTES)
        last = file.read(PAGE_BYTES)
        self.root = hashlib.sha256(self.header + self.hashes).digest()
        if len(self.hashes) != list_bytes or last[:8] != ROOT_MAGIC or last[8:40] != self.root:
            raise SetDamagedError(f"{shown(path)}: header and page list do not agree with the root; it is not signed")
        signatures = int.from_bytes(last[40:44], "little")
        self.signatures = last[48 : 48 + 96 * signatures]
        if any(behind) or signatures > MAX_SIGNATURES or last != root_page(self.root, self.signatures):
            raise SetDamagedError(f"{shown(path)}: the bytes behind the page list are not in order")
        lines = [self.header[120 + 40 * n : 160 + 40 * n] for n in range(count)]
        self.sections = [
            (
                int.from_bytes(x[8:16], "little") // PAGE_BYTES,
                -(-int.from_bytes(x[16:24], "little") // PAGE_BYTES),
                x[:4],
            )
            for x in lines
        ]

    def pages(self) -> Iterator[bytes]:
        """The whole file but its last page, in order, checked."""
        yield self.header
        next_page = 1
        for first, count, section in self.sections:
            if first != next_page or first + count > self.list_offset // PAGE_BYTES:
                raise SetFormatError(f"{shown(self.path)}: a section lies outside of its place")
            self.file.seek(first * PAGE_BYTES)
            for number in range(first, first + count):
                page = self.file.read(PAGE_BYTES)
                text = self.set_id + section + number.to_bytes(8, "little") + page
                if hashlib.sha256(text).digest()[:16] != self.hashes[(number - 1) * 16 : number * 16]:
                    raise SetDamagedError(f"{shown(self.path)}: page {number} is damaged; it is not signed")
                yield page
            next_page = first + count
        if next_page != self.list_offset // PAGE_BYTES:
            raise SetFormatError(f"{shown(self.path)}: pages lie outside of every section")
        yield self.hashes + bytes(self.file_bytes - PAGE_BYTES - self.list_offset - len(self.hashes))
