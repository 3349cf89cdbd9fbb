"""Native seal key: fingerprints for sealed sets, and keys derived from it. Source: ext/hashsieve/_seal.pyx,
ext/core/hs_hmac.c.

A fingerprint is HMAC-SHA-256 under the seal key over the kind code and the digest, cut to 16 bytes. The key lies in
memory of its own that is not swapped out and not dumped where the system can be asked for that, and is wiped by
``close`` and at the end of the object; it is in no repr, and cannot be pickled.

Threads: any number at once; ``close`` is for when none is inside. Forks: usable in both processes.
"""

from typing import Final, final

from typing_extensions import Buffer

SEAL_KEY_BYTES: Final[int]
FINGERPRINT_BYTES: Final[int]

@final
class Seal:
    """A seal key made ready, in memory that is wiped when it is closed."""

    key_id: bytes
    """16 bytes by which a set names the key it was sealed with; says nothing about the key."""

    def __init__(self, secret: Buffer) -> None:
        """``secret``: 32 bytes, not kept. KeySourceError for any other length."""

    def close(self) -> None:
        """Wipes the key. Sets that were opened with it keep their own copy until they are closed. Closing twice is
        fine."""

    @property
    def closed(self) -> bool: ...
    def fingerprints(self, kind: int, digests: Buffer) -> bytes:
        """16 bytes for each of the packed digests of kind code ``kind`` (1 to 4). The GIL is released."""

    def derive(self, text: Buffer) -> bytes:
        """HMAC-SHA-256 of a text that starts with a label: 32 bytes. No digest starts like a label does."""

    def pin(self) -> object:
        """A capsule named ``hashsieve.hs_seal`` for another native module; the key cannot be closed until ``unpin``."""

    def unpin(self) -> None:
        """Ends one ``pin``; its capsule must not be used any more."""

def hmac_sha256(key: Buffer, text: Buffer, portable: bool = False) -> bytes:
    """Tests: HMAC-SHA-256 by the native code, with a key of any length."""

def kernels() -> list[tuple[str, bool]]:
    """Tests and benches: fingerprint kernels that run here, the portable one first: (name, chosen for batches)."""

def fingerprints_by(kernel: str, key: Buffer, code: int, digests: Buffer, width: int) -> bytes:
    """Tests and benches: fingerprints by one kernel, of packed digests of any width from 1 to 54."""
