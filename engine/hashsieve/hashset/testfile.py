"""The published harmless test file: 68 bytes of text that every hash set answers, with role ``test``.

An operator writes it somewhere on a machine and sees the whole way work, from file to alert inbox, without any listed
content. Opening a set looks its digests up first, so that a set that cannot answer is noticed before it is trusted.
"""

from __future__ import annotations

from ..model import DigestKind, Listing, Role

__all__ = ["TEST_DIGESTS", "TEST_LISTING", "TEST_TEXT"]

TEST_TEXT = b"HASHSIEVE-HARMLESS-TEST-FILE: made to be found, holds nothing else.\n"

# Written down, not computed at run time: they are part of the file format (docs/format/hset.md), and a hash function
# that went wrong must not move them.
TEST_DIGESTS: dict[DigestKind, bytes] = {
    DigestKind.MD5: bytes.fromhex("0b3be58aabf872fb602c24e5d2bf662a"),
    DigestKind.SHA1: bytes.fromhex("7bee0d19b65a80329ceb96a4b297dcfbdf46b60a"),
    DigestKind.SHA256: bytes.fromhex("431fe5f4c2f78928dbc1d6ed726f4dbe41ab85dd59df4c85c17c57db86729ea4"),
    DigestKind.BLAKE3: bytes.fromhex("766fccbae4accc59f7e65f381ff3657746d946c7425a69219fea8c54ffafbf97"),
}

TEST_LISTING = Listing(source="hashsieve test file", role=Role.TEST)
