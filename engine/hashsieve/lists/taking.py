"""What all readers of rows with named digests do with one row: check, leave out what nobody may list, make a record.

One rule for all of them: absent digests and placeholders for them are just absent; universal values are dropped; a row
is taken by its good digests and refused for the first bad one; a row of which nothing is left is refused as empty,
unless something was dropped from it.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Iterable
from enum import StrEnum

from hashsieve.lists.build import new_listing, new_record
from hashsieve.lists.contract import Job
from hashsieve.lists.digests import UNIVERSAL, why_bad
from hashsieve.model import DigestKind, Listing, Record, Role

__all__ = ["BATCH_RECORDS", "BY_CUSTOM", "Other", "RowTaker", "kind_called", "kind_of_width"]

BATCH_RECORDS = 2048

BY_CUSTOM = {32: DigestKind.MD5, 40: DigestKind.SHA1}
"""What digests without a name are by custom, by hex digits. 64 digits may be of several kinds."""


class Other(StrEnum):
    """What a named value is that is no digest we match; the reasons it is counted under."""

    SIMILARITY = "similarity"
    UNSUPPORTED = "unsupported-kind"


_KINDS = {
    "md5": DigestKind.MD5,
    "sha1": DigestKind.SHA1,
    "sha256": DigestKind.SHA256,
    "sha2256": DigestKind.SHA256,
    "blake3": DigestKind.BLAKE3,
}
_BEFORE = re.compile(r"^(?:file|files|hash|digest|sum|checksum|video|photo|image)+")
_BEHIND = re.compile(r"(?:hash|sum|digest|hex|value)+$")
_SIMILARITY = re.compile(r"ssdeep|tlsh|photodna|pdna|pdq|phash|ahash|dhash|tmk|sdhash|ctph|netclean|videntifier|ssvh")
_UNSUPPORTED = re.compile(
    r"md[246]|sha\d*|crc\d*|adler\d*|xxh\w*|sm3|blake2?\w*|ripemd\w*|rmd\d*|tiger\w*|whirlpool|gost\w*|ed2k|aich|tth|"
    r"(?:imp|pe|v|authenti|richpe|cd|telf|impfuzzy)hash|nt|lm|ntlm|parent\w*?(?:md5|sha\d*|hash)"
)


def kind_called(name: str) -> DigestKind | Other | None:
    """What a column, tag or type called *name* holds, in any letter case and with any punctuation: a kind of digest
    that is matched, another kind of value about a file's content, or None for anything else."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    own = _BEFORE.sub("", plain)
    core = _BEHIND.sub("", own)
    if core in _KINDS:
        return _KINDS[core]
    if any(map(_UNSUPPORTED.fullmatch, (core, own, plain))):
        return Other.UNSUPPORTED
    return Other.SIMILARITY if _SIMILARITY.search(plain) else None


def kind_of_width(digits: int, declared: DigestKind | None) -> DigestKind | None:
    """The kind of a digest of *digits* hex digits without a name, where a list may hold several kinds: by custom, and
    for 64 digits the declared one."""
    if declared is not None and digits == 2 * declared.size_bytes:
        return declared
    return BY_CUSTOM.get(digits)


class RowTaker:
    """Makes records of the rows of one reading."""

    def __init__(self, job: Job) -> None:
        self.report = job.report
        self._source = job.source
        self._role = job.options.role
        self._listing = Listing(job.source, self._role) if self._role is not None else None

    def record(
        self,
        position: str,
        row: bytes | str,
        digests: Iterable[tuple[DigestKind, bytes]],
        size_bytes: int | None = None,
        *,
        listing: Listing | None = None,
    ) -> Record | None:
        """The record of a row that names *digests* as text, or None; what is left out goes to the report."""
        taken: dict[str, bytes] = {}
        bad = ""
        dropped = False
        for kind, text in digests:
            try:
                raw = unhexlify(text)
            except ValueError:
                raw = b""
            if len(raw) != kind.size_bytes:
                reason = why_bad(text, kind.size_bytes)
                if reason is not None:
                    bad = bad if bad or reason == "empty-value" else reason
                    continue
                raw = unhexlify(text.strip())
            if raw in UNIVERSAL:
                self.report.drop(UNIVERSAL[raw])
                dropped = True
            elif taken.setdefault(kind.value, raw) != raw:
                bad = bad or "contradicting-digests"
        if not taken and not dropped:
            bad = bad or "empty-value"
        if bad:
            self.report.refuse(position, bad, row)
        if not taken:
            return None
        listing = listing or self._listing
        assert listing is not None, "no role was given for this reading"
        return new_record(taken, size_bytes, listing)

    def listing(self, role: Role | None = None, category: str | None = None, ref: str | None = None) -> Listing:
        """A listing of this source; without *role* with the role of the reading."""
        if role is None:
            role = self._role
        assert role is not None, "no role was given for this reading"
        return new_listing(self._source, role, category, ref)
