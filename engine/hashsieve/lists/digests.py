"""From the text of a digest to its bytes: checks with a reason, and the values no list may carry.

The key of everything downstream is the raw digest and its kind, never text, so letter case ends here.
"""

from __future__ import annotations

from binascii import unhexlify

from hashsieve.model import KINDS

__all__ = ["FOREIGN_EMPTY", "HEX_WIDTHS", "MAX_SIZE_BYTES", "PLACEHOLDERS", "UNIVERSAL", "size_of", "why_bad"]

MAX_SIZE_BYTES = (1 << 62) - 1
"""Largest size of a file that a record can hold; a larger one in a list is not known."""

HEX_WIDTHS = frozenset(2 * kind.size_bytes for kind in KINDS)
"""Lengths in hex digits of the kinds that are matched: 32, 40, 64. A length does not tell the kind."""

UNSUPPORTED_WIDTHS = frozenset((8, 16, 48, 56, 96, 128))
"""Lengths in hex digits of checksums and digests that are not matched: CRC-32, XXH64, Tiger, SHA-224, -384, -512."""

PLACEHOLDERS = frozenset((b"", b'""', b"''", b"-", b"null", b"none", b"n/a", b"na", b"nan", b"(null)", b"nil"))
"""What tools write, in lower case, where there is no digest."""

EMPTY = {
    "md5": bytes.fromhex("d41d8cd98f00b204e9800998ecf8427e"),
    "sha1": bytes.fromhex("da39a3ee5e6b4b0d3255bfef95601890afd80709"),
    "sha256": bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    "blake3": bytes.fromhex("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
}
"""The digest of empty input by kind. Real lists contain it; matching it would alert on every empty file."""

FOREIGN_EMPTY = {
    bytes.fromhex("31d6cfe0d16ae931b73c59d7e0c089c0"): "MD4",
    bytes.fromhex("99aa06d3014798d86001c324468d497f"): "XXH128",
    bytes.fromhex("9c1185a5c5e9fc54612808977ee8f548b2258d31"): "RIPEMD-160",
    bytes.fromhex("a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"): "SHA3-256",
    bytes.fromhex("1ab21d8355cfa17f8e61194831e81a8f22bec8c728fefb747ed035eb5082aa2b"): "SM3",
    bytes.fromhex("0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"): "BLAKE2b-256",
}
"""Digests of empty input by kinds that share a length with ours. One of them in a list of bare digests gives away that
the list is of that kind: its digests would be loaded and never match anything."""


def _universal() -> dict[bytes, str]:
    values = dict.fromkeys(EMPTY.values(), "empty-file")
    for kind in KINDS:
        values[bytes(kind.size_bytes)] = "all-zero"
        values[b"\xff" * kind.size_bytes] = "all-one"
    return values


UNIVERSAL = _universal()
"""Digests that are dropped wherever they stand, with the reason the report counts them under."""


def why_bad(text: bytes, size_bytes: int) -> str | None:
    """Why *text* is not the hex form of a digest of *size_bytes*, or None if it is. Surrounding blanks do not count."""
    text = text.strip()
    if text.lower() in PLACEHOLDERS:
        return "empty-value"
    try:
        raw = unhexlify(text)
    except ValueError:
        # An odd number of hex digits is not decodable either, but the length is what is wrong with it.
        return "wrong-length" if is_hex(text) else "not-hex"
    return None if len(raw) == size_bytes else "wrong-length"


def is_hex(text: bytes) -> bool:
    """Whether *text* is one or more hex digits and nothing else."""
    return bool(text) and not text.translate(None, b"0123456789abcdefABCDEF")


def size_of(text: bytes) -> int | None:
    """The size in bytes that *text* gives in decimal digits, or None if it gives none. 0 is no size: a row that is left
    after the digests of empty input were dropped has the digest of something."""
    if not text.isdigit() or len(text) > 19:
        return None
    size = int(text)
    return size if 0 < size <= MAX_SIZE_BYTES else None
