"""One record of a VICS document, decoded to the few members that are needed.

Members that can identify people or cases (Series, Tags, Comments, MediaFiles, Exifs and all others) are not named
here, so the decoder steps over them and they never become objects. Writers disagree on types: numbers come as strings,
absent values as null, zero or not at all; they disagree on the case of names too. Digests in MediaFiles, Exifs and
``ParentMD5`` are repeats or belong to other files.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "MEMBERS",
    "NO_JSON",
    "AlternativeHash",
    "Media",
    "decode_alternatives",
    "decode_loose",
    "decode_media",
    "decode_odd_names",
]

NO_JSON = msgspec.Raw()
"""The value of a member that is absent."""

MEMBERS = (
    "MediaID",
    "DateUpdated",
    "Category",
    "MD5",
    "SHA1",
    "SHA256",
    "MediaSize",
    "AlternativeHashes",
    "PhotoDNA",
    "PDNA",
)
"""Names of the members that are looked at, in the order in which the native reader numbers them."""

Loose = int | float | str | None
"""A number as writers give it."""


class Media(msgspec.Struct, gc=False):
    """A media record."""

    media_id: Loose = msgspec.field(name="MediaID", default=None)
    category: Loose = msgspec.field(name="Category", default=None)
    md5: str | None = msgspec.field(name="MD5", default=None)
    sha1: str | None = msgspec.field(name="SHA1", default=None)
    sha256: str | None = msgspec.field(name="SHA256", default=None)
    size: Loose = msgspec.field(name="MediaSize", default=None)
    alternatives: msgspec.Raw = msgspec.field(name="AlternativeHashes", default=NO_JSON)


class AlternativeHash(msgspec.Struct, gc=False):
    """A further digest of a media record, of any kind: PhotoDNA in version 1, SHA-256 from some writers."""

    name: str | None = msgspec.field(name="HashName", default=None)
    value: str | None = msgspec.field(name="HashValue", default=None)


decode_media = msgspec.json.Decoder(Media).decode
decode_loose = msgspec.json.Decoder(Loose).decode
decode_alternatives = msgspec.json.Decoder(list[AlternativeHash] | None).decode

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None).decode
_encode = msgspec.json.Encoder().encode
_KNOWN = {name.lower(): name for name in (*MEMBERS, "HashName", "HashValue")}


def decode_odd_names(raw: bytes) -> Media:
    """The record *raw*, whose names are spelled in another case or with escapes. The last of equal names counts."""
    members = _renamed(_decode_members(raw))
    alternatives = members.get("AlternativeHashes")
    if alternatives is not None:
        try:
            objects = _decode_objects(alternatives)
        except msgspec.DecodeError:
            pass  # the reader says what is wrong with it
        else:
            members["AlternativeHashes"] = msgspec.Raw(_encode(objects and [_renamed(each) for each in objects]))
    return decode_media(_encode(members))


def _renamed(members: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """The known *members* under their usual names."""
    return {_KNOWN[name.lower()]: value for name, value in members.items() if name.lower() in _KNOWN}
