"""What looks like a list of file digests and is none: recognised, and refused with the reason.

Filters that only approximate a list, similarity digests, checksums that anybody can forge, accelerators, and Python
pickles, which run code when they are loaded. A format asked for by name is read as that, whatever this says.
"""

from __future__ import annotations

import re
import struct

from hashsieve.errors import ListFormatError
from hashsieve.lists.keyed_lines import share_of_rows

__all__ = ["refuse_binary", "refuse_text"]

_BLOOM = struct.Struct("<QQdQQQ")
_MAX_BLOOM_HASHES = 200
_IDX2_BYTES = 32768
_SFV_ROW = re.compile(rb".*\S[ \t]+[0-9A-Fa-f]{8}$")
_TLSH_ROW = re.compile(rb"(?:T1)?[0-9A-F]{70}(?:[\s,;]|$)")


def refuse_binary(sample: bytes, name: str) -> None:
    """Raise :class:`ListFormatError` if the unpacked *sample* of the file *name* is of a kind that is never read."""
    _refuse_bloom(sample)
    if len(sample) == _IDX2_BYTES and _is_idx2(sample):
        raise ListFormatError("a Sleuth Kit .idx2 only speeds up an .idx and holds no digests; read the .idx")
    if sample[:1] == b"\x80" and sample[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        raise ListFormatError(
            "a Python pickle runs code when it is loaded and is never read; export its values as text"
        )


def refuse_text(sample: bytes, name: str) -> None:
    """The same for a *sample* that is text, decoded."""
    if sample.startswith(b"ssdeep,1."):
        raise ListFormatError("ssdeep digests tell similarity and match no file exactly (similarity)")
    tlsh, rows = share_of_rows(sample, _TLSH_ROW)
    if tlsh and 2 * tlsh >= rows:
        raise ListFormatError("TLSH digests tell similarity and match no file exactly (similarity)")
    if name.lower().endswith(".sfv") or sample.lstrip().startswith(b";"):
        lines = b"\n".join(line for line in sample.split(b"\n") if not line.startswith(b";"))
        checksums, rows = share_of_rows(lines, _SFV_ROW)
        if checksums and 2 * checksums >= rows:
            raise ListFormatError("SFV holds CRC-32, which is no cryptographic digest: anybody can make a file to it")


def _refuse_bloom(sample: bytes) -> None:
    """A DCSO bloom filter: flags, n, p, k, m, N, all of 8 bytes, then bits. Refused whether its header is sound or not;
    nothing is allocated by what it says."""
    if len(sample) < _BLOOM.size:
        return
    flags, capacity, rate, hashes, bits, count = _BLOOM.unpack_from(sample)
    if flags != 1 or not 0 < capacity < 1 << 50:
        return
    sound = 0.0 < rate < 1.0 and 0 < hashes <= _MAX_BLOOM_HASHES and 0 < bits < 1 << 60 and count < 1 << 50
    if sound or hashes > _MAX_BLOOM_HASHES:
        what = f"n={capacity} p={rate:g} k={hashes} m={bits} N={count}" if sound else "its header makes no sense"
        raise ListFormatError(
            f"a DCSO bloom filter ({what}) is approximate: digests cannot be had from it, and its hits are guesses"
        )


def _is_idx2(sample: bytes) -> bool:
    """4096 offsets in the byte order of the machine that wrote them, all ones where there is none."""
    for order in "<>":
        offsets = [each for each in struct.unpack(f"{order}4096Q", sample) if each != (1 << 64) - 1]
        if all(each < 1 << 48 for each in offsets) and offsets == sorted(offsets):
            return True
    return False
