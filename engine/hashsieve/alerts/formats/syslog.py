"""RFC 5424 messages: what sinks of that kind put around an alert in another form."""

from __future__ import annotations

from ..sinks import Delivery
from . import Format
from .common import clean, facts_of

__all__ = ["SD_ID", "message"]

SD_ID = "hashsieve@32473"  # 32473 is the enterprise number for use where there is none (RFC 5612)
_SEVERITY = (6, 4, 2)


def _ascii(text: object, limit: int) -> str:
    """Printable US-ASCII without spaces, as header fields are; ``-`` where nothing is left."""
    return "".join(c if "!" <= c <= "~" else "?" for c in clean(text))[:limit] or "-"


def _param(text: object) -> str:
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in clean(text))
    return shown.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def message(delivery: Delivery, format: Format, facility: int = 13) -> bytes:
    """One message; the alert itself in *format* is its text."""
    facts = facts_of(delivery)
    priority = facility * 8 + _SEVERITY[facts.severity]
    host = _ascii(facts.host.get("name") or "-", 255)
    params: list[tuple[str, object]] = [
        ("id", facts.id), ("type", facts.about), ("test", str(facts.test).lower()), ("count", facts.count),
    ]  # fmt: skip
    params += [(kind, digest) for kind, digest in facts.digests.items()]
    if facts.display:
        params.append(("path", facts.display[:2048]))
    if facts.chain:
        params.append(("chain", f"{facts.chain['seq']}:{facts.chain['value']}"))
    data = " ".join(f'{name}="{_param(value)}"' for name, value in params)
    head = f"<{priority}>1 {facts.time or '-'} {host} hashsieve - {_ascii(facts.about, 32)} [{SD_ID} {data}] "
    return head.encode("utf-8") + b"\xef\xbb\xbf" + format.render(delivery)
