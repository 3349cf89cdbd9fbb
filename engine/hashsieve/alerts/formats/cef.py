"""CEF 0 (ArcSight Common Event Format): one line of text. ``|`` and ``\\`` are escaped in the header, ``=``, ``\\`` and
line ends in the extension; what else would break a line or play tricks on a reader is shown escaped."""

from __future__ import annotations

from ..sinks import Delivery
from .common import clean, facts_of

__all__ = ["make"]

_SEVERITY = (2, 5, 9)


def _header(text: str) -> str:
    return _shown(text).replace("\\", "\\\\").replace("|", "\\|")


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _value(text: object) -> str:
    value = clean(text).replace("\\", "\\\\").replace("=", "\\=").replace("\r", "\\r").replace("\n", "\\n")
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii").replace("\\", "\\\\") for c in value
    )


def make(delivery: Delivery) -> str:
    """One line."""
    facts = facts_of(delivery)
    fields: list[tuple[str, object]] = [
        ("rt", facts.time_ms), ("externalId", facts.id), ("cat", "test" if facts.test else facts.about),
        ("cnt", facts.count), ("dvchost", facts.host.get("name")), ("dhost", facts.host.get("name")),
        ("fname", facts.name), ("filePath", facts.path), ("fsize", facts.size),
        ("duser", facts.owner.get("name")), ("dproc", facts.process.get("executable")),
        ("dpid", facts.process.get("pid")), ("act", "detected"), ("msg", facts.message),
    ]  # fmt: skip
    # One hash has a field of its own; the others go where there is room.
    strongest = next((kind for kind in ("sha256", "blake3", "sha1", "md5") if kind in facts.digests), None)
    if strongest is not None:
        fields.append(("fileHash", facts.digests[strongest]))
    labelled: list[tuple[str, object]] = [
        (label, facts.digests.get(kind)) for kind, label in (("md5", "MD5"), ("sha1", "SHA-1"), ("sha256", "SHA-256"))
    ]
    labelled += [
        ("lists", ", ".join(facts.sources)),
        ("references", ", ".join(facts.refs)),
        ("set root", facts.set.get("root")),
    ]
    chain = f"{facts.chain['seq']}:{facts.chain['value']}" if facts.chain else None
    for number, (label, value) in enumerate(labelled, 1):
        if value:
            fields += [(f"cs{number}Label", label), (f"cs{number}", value)]
    if chain:
        fields += [("flexString1Label", "chain"), ("flexString1", chain)]
    if facts.path_b64:
        fields += [("flexString2Label", "path in base64"), ("flexString2", facts.path_b64)]
    extension = " ".join(f"{name}={_value(value)}" for name, value in fields if value not in (None, ""))
    return (
        f"CEF:0|hashsieve|hashsieve|{_header(facts.engine)}|{_header(facts.about)}|{_header(facts.title)}|"
        f"{_SEVERITY[facts.severity]}|{extension}"
    )
