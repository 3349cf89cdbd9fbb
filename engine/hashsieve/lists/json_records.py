"""The records of JSON lists, decoded to the few members that are needed.

Names, comments, descriptions and everything else that can identify people or cases is not named here, so the decoder
steps over it. Loaded by the readers when they read, since it needs msgspec.
"""

from __future__ import annotations

import msgspec

__all__ = ["HashlookupEntry", "MispAttribute", "MispObject", "Signal", "StixObject"]

Loose = int | float | str | bool | None


class StixObject(msgspec.Struct, gc=False):
    """An object of a STIX bundle."""

    type: str = ""
    id: str = ""
    modified: str | None = None
    revoked: Loose = None
    valid_until: str | None = None
    pattern: str | None = None
    pattern_type: str | None = None
    indicator_types: list[str] | None = None
    hashes: dict[str, Loose] | None = None
    size: Loose = None
    objects: dict[str, StixObject] | None = None


class MispAttribute(msgspec.Struct, gc=False):
    """An attribute of a MISP event or object."""

    type: str = ""
    value: Loose = None
    uuid: str | None = None
    to_ids: Loose = True
    deleted: Loose = False
    timestamp: Loose = None
    object_relation: str | None = None


class MispObject(msgspec.Struct, gc=False):
    """An object of a MISP event: attributes that belong together."""

    uuid: str | None = None
    name: str | None = None
    deleted: Loose = False
    timestamp: Loose = None
    attributes: list[MispAttribute] = msgspec.field(name="Attribute", default_factory=list)


class HashlookupEntry(msgspec.Struct, gc=False):
    """An answer of hashlookup, or a row of a report of its tools."""

    md5: str | None = msgspec.field(name="MD5", default=None)
    sha1: str | None = msgspec.field(name="SHA-1", default=None)
    sha256: str | None = msgspec.field(name="SHA-256", default=None)
    size: Loose = msgspec.field(name="FileSize", default=None)
    malicious: msgspec.Raw = msgspec.field(name="KnownMalicious", default=msgspec.Raw())
    ssdeep: Loose = msgspec.field(name="SSDEEP", default=None)
    tlsh: Loose = msgspec.field(name="TLSH", default=None)
    bare: str | None = msgspec.field(name="hash", default=None)


class Signal(msgspec.Struct, gc=False):
    """A record of StopNCII, of Tech Against Terrorism or of ThreatExchange."""

    signal_type: Loose = msgspec.field(name="signalType", default=None)
    hash_value: Loose = msgspec.field(name="hashValue", default=None)
    hash_status: Loose = msgspec.field(name="hashStatus", default=None)
    modified: Loose = msgspec.field(name="lastModtimestamp", default=None)
    algorithm: Loose = None
    hash_digest: Loose = None
    deleted: Loose = None
    updated_on: Loose = None
    id: Loose = None
    type: Loose = None
    indicator: msgspec.Raw = msgspec.Raw()
    raw_indicator: Loose = None
    last_updated: Loose = None
    should_delete: Loose = None
    status: Loose = None
