"""Elastic Common Schema 8: an alert about a file; what has no field there is kept below ``hashsieve``."""

from __future__ import annotations

from typing import Any

from ..sinks import Delivery
from .common import Facts, clean, facts_of, iso_of_ns, without_nothing

__all__ = ["make"]

_VERSION = "8.11.0"
_SEVERITY = ((10, 0.0), (40, 47.0), (90, 99.0))


def make(delivery: Delivery) -> dict[str, Any]:
    """One document, nested."""
    facts = facts_of(delivery)
    severity, risk = _SEVERITY[facts.severity]
    document: dict[str, Any] = {
        "@timestamp": facts.time,
        "ecs": {"version": _VERSION},
        "message": facts.message,
        "tags": ["hashsieve"] + (["test"] if facts.test else []),
        "event": {
            "kind": "alert" if facts.is_finding and facts.about != "withdraw" else "event",
            "category": ["file"] if facts.is_finding else ["host"], "type": ["info"],
            "action": f"known-file-{facts.about}",
            "id": facts.id, "sequence": facts.seq, "module": "hashsieve", "dataset": "hashsieve.alerts",
            "provider": "hashsieve", "severity": severity, "risk_score": risk, "created": facts.time,
            "reason": facts.title, "start": facts.record.get("first"), "end": facts.record.get("last"),
        },
        "agent": {"type": "hashsieve", "version": facts.engine},
        "host": _host(facts),
        "related": {"hash": sorted(facts.digests.values()), "hosts": [clean(facts.host["name"])]
                    if facts.host.get("name") else [], "user": [clean(u) for u in facts.record.get("users") or []]},
        "hashsieve": _own(facts),
    }  # fmt: skip
    if facts.digests:
        document["file"] = _file(facts)
        document["rule"] = {
            "name": "known-file list", "id": facts.set.get("root"), "ruleset": ", ".join(facts.sources),
            "version": str(facts.set["generation"]) if "generation" in facts.set else None,
            "category": ", ".join(facts.categories),
        }  # fmt: skip
    if facts.sources:
        indicator = {"type": "file", "provider": ", ".join(facts.sources)}
        document["threat"] = {"feed": {"name": facts.sources[0]}, "indicator": indicator}
    if facts.process.get("pid") is not None:
        document["process"] = {
            "pid": facts.process["pid"],
            "executable": clean(facts.process["executable"]) if facts.process.get("executable") else None,
        }
    pruned: dict[str, Any] = without_nothing(document)
    return pruned


def _host(facts: Facts) -> dict[str, Any]:
    host: dict[str, Any] = {
        "boot": {"id": facts.record.get("boot_id")},
        "os": {"kernel": facts.host.get("release"), "name": facts.host.get("system")},
        "architecture": facts.host.get("machine"),
    }
    if facts.host.get("name"):
        host |= {"name": clean(facts.host["name"]), "hostname": clean(facts.host["name"])}
    return host


def _file(facts: Facts) -> dict[str, Any]:
    name = facts.name or ""
    stem, dot, extension = name.rpartition(".")
    mode = facts.file.get("mode")
    return {
        "path": facts.path, "name": facts.name, "directory": facts.directory,
        "extension": extension if dot and stem else None, "size": facts.size, "type": "file",
        "inode": str(facts.file["file_id"]) if "file_id" in facts.file else None,
        "mtime": iso_of_ns(facts.file.get("mtime_ns")), "ctime": iso_of_ns(facts.file.get("ctime_ns")),
        "mode": f"{mode:04o}" if isinstance(mode, int) else None,
        "owner": clean(facts.owner["name"]) if facts.owner.get("name") else None,
        "uid": str(facts.owner["uid"]) if "uid" in facts.owner else None,
        "hash": {kind: facts.digests[kind] for kind in ("md5", "sha1", "sha256") if kind in facts.digests},
    }  # fmt: skip


def _own(facts: Facts) -> dict[str, Any]:
    named = ("host", "owner", "process", "time", "path", "size", "file", "id", "seq")
    return {name: value for name, value in facts.record.items() if name not in named} | {"file": facts.file}
