"""One record of a VICS document, decoded to the few members that are needed.

Members that can identify people or cases (Series, Tags, Comments, MediaFiles, Exifs and all others) are not named
here, so the decoder steps over them and they never become objects. Writers disagree on types: numbers come as strings,
absent values as null, zero or not at all. Digests in MediaFiles, Exifs and ``ParentMD5`` are repeats or belong to
other files.
"""

from __future__ import annotations

import msgspec

__all__ = ["NO_JSON", "AlternativeHash", "Media", "decode_alternatives", "decode_media"]

NO_JSON = msgspec.Raw()
"""The value of a member that is absent."""

Loose = int | float | str | None
"""A number as writers give it."""


class Media(msgspec.Struct, gc=False):
    """A media record, or a small case with its media records still undecoded in ``cases_media``."""

    media_id: Loose = msgspec.field(name="MediaID", default=None)
    category: Loose = msgspec.field(name="Category", default=None)
    md5: str | None = msgspec.field(name="MD5", default=None)
    sha1: str | None = msgspec.field(name="SHA1", default=None)
    sha256: str | None = msgspec.field(name="SHA256", default=None)
    size: Loose = msgspec.field(name="MediaSize", default=None)
    alternatives: msgspec.Raw = msgspec.field(name="AlternativeHashes", default=NO_JSON)
    cases_media: list[msgspec.Raw] | None = msgspec.field(name="Media", default=None)


class AlternativeHash(msgspec.Struct, gc=False):
    """A further digest of a media record, of any kind: PhotoDNA in version 1, SHA-256 from some writers."""

    name: str | None = msgspec.field(name="HashName", default=None)
    value: str | None = msgspec.field(name="HashValue", default=None)


decode_media = msgspec.json.Decoder(Media).decode
decode_alternatives = msgspec.json.Decoder(list[AlternativeHash] | None).decode
