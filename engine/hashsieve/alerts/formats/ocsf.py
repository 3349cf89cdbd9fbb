"""OCSF 1.5 (schema.ocsf.io): Detection Finding (2004) for files, and for a damaged or full journal; Base Event else.

``finding_info.uid`` is the id of the first alert of its subject, so that updates and withdrawals join it.
"""

from __future__ import annotations

from typing import Any

from ..sinks import Delivery
from .common import Facts, clean, facts_of, milliseconds, without_nothing

__all__ = ["make"]

_VERSION = "1.5.0"
_ALGORITHMS = {"md5": (1, "MD5"), "sha1": (2, "SHA-1"), "sha256": (3, "SHA-256")}
_SEVERITY = ((1, "Informational"), (3, "Medium"), (5, "Critical"))
_ACTIVITY = {"alert": (1, "Create"), "update": (2, "Update"), "fold": (2, "Update"), "withdraw": (3, "Close")}
_OS = {"Windows": (100, "Windows"), "Linux": (200, "Linux"), "Darwin": (300, "macOS")}


def make(delivery: Delivery) -> dict[str, Any]:
    """One event."""
    facts = facts_of(delivery)
    finding = facts.is_finding or facts.about in ("damage", "full")
    severity_id, severity = _SEVERITY[facts.severity]
    event: dict[str, Any] = {
        "time": facts.time_ms, "severity_id": severity_id, "severity": severity, "message": facts.message,
        "timezone_offset": facts.record.get("offset_minutes"), "count": facts.count,
        "metadata": {
            "version": _VERSION, "uid": facts.id, "sequence": facts.seq, "log_name": "hashsieve alerts",
            "product": {"name": "hashsieve", "vendor_name": "hashsieve", "version": facts.engine},
            "profiles": ["host", "security_control"] if finding else ["host"],
            "labels": ["test"] if facts.test else [],
        },
        "device": _device(facts),
        "unmapped": _unmapped(facts),
    }  # fmt: skip
    if not finding:
        event |= {
            "class_uid": 0, "class_name": "Base Event", "category_uid": 0, "category_name": "Uncategorized",
            "activity_id": 99, "activity_name": facts.title, "type_uid": 99,
        }  # fmt: skip
        return _pruned(event)
    activity_id, activity = _ACTIVITY.get(facts.about, (1, "Create"))
    event |= {
        "class_uid": 2004, "class_name": "Detection Finding", "category_uid": 2, "category_name": "Findings",
        "activity_id": activity_id, "activity_name": activity, "type_uid": 200400 + activity_id,
        "is_alert": not facts.test and facts.about != "withdraw",
        "action_id": 3, "action": "Observed", "disposition_id": 15, "disposition": "Detected",
        "status_id": 4 if facts.about == "withdraw" else 1,
        "status": "Resolved" if facts.about == "withdraw" else "New",
        "confidence_id": 3, "confidence": "High",
        "finding_info": {
            "uid": facts.subject_id, "title": facts.title, "desc": facts.message, "created_time": facts.time_ms,
            "first_seen_time": milliseconds(facts.record.get("first") or facts.time),
            "last_seen_time": milliseconds(facts.record.get("last") or facts.time),
            "types": facts.categories, "data_sources": facts.sources,
            "analytic": {
                "type_id": 1, "type": "Rule", "name": "known-file list", "uid": facts.set.get("root") or "hashsieve",
            },
        },
    }  # fmt: skip
    if facts.digests:
        event["evidences"] = [{"file": _file(facts)} | _process(facts)]
        event["observables"] = _observables(facts)
    return _pruned(event)


def _pruned(event: dict[str, Any]) -> dict[str, Any]:
    pruned: dict[str, Any] = without_nothing(event)
    return pruned


def _device(facts: Facts) -> dict[str, Any]:
    name = clean(facts.host.get("name") or "unknown")
    device: dict[str, Any] = {"hostname": name, "type_id": 0, "type": "Unknown"}
    if facts.host.get("system"):
        type_id, type_ = _OS.get(str(facts.host["system"]), (0, "Unknown"))
        device["os"] = {
            "name": clean(facts.host["system"]), "type_id": type_id, "type": type_,
            "kernel_release": clean(facts.host.get("release") or ""),
        }  # fmt: skip
    if facts.record.get("boot_id"):
        device["boot_uid"] = str(facts.record["boot_id"])
    return device


def _file(facts: Facts) -> dict[str, Any]:
    file: dict[str, Any] = {
        "name": facts.name or "unknown", "type_id": 1, "type": "Regular File", "path": facts.path,
        "size": facts.size, "hashes": _hashes(facts), "parent_folder": facts.directory,
    }  # fmt: skip
    if isinstance(facts.file.get("mtime_ns"), int):
        file["modified_time"] = facts.file["mtime_ns"] // 1_000_000
    if facts.file.get("file_id") is not None:
        file["uid"] = f"{facts.file.get('volume')}:{facts.file['file_id']}"
    if facts.owner:
        file["owner"] = {
            "uid": str(facts.owner.get("uid")), "name": clean(facts.owner["name"]) if facts.owner.get("name") else None
        }  # fmt: skip
    return file


def _hashes(facts: Facts) -> list[dict[str, Any]]:
    hashes = []
    for kind, digest in facts.digests.items():
        algorithm_id, algorithm = _ALGORITHMS.get(kind, (99, kind.upper()))
        hashes.append({"algorithm_id": algorithm_id, "algorithm": algorithm, "value": digest})
    return hashes


def _process(facts: Facts) -> dict[str, Any]:
    if facts.process.get("pid") is None:
        return {}
    process: dict[str, Any] = {"pid": facts.process["pid"]}
    if facts.process.get("executable"):
        path = clean(facts.process["executable"])
        process["name"] = path.rpartition("/")[2]
        process["file"] = {"name": path.rpartition("/")[2] or path, "path": path, "type_id": 1}
    if facts.process.get("user"):
        process["user"] = {"name": clean(facts.process["user"])}
    return {"process": process}


def _observables(facts: Facts) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": "evidences.file.hashes", "type_id": 8, "type": "Hash", "value": digest}
        for digest in facts.digests.values()
    ]
    if facts.name:
        found.append({"name": "evidences.file.name", "type_id": 7, "type": "File Name", "value": facts.name})
    if facts.host.get("name"):
        found.append({"name": "device.hostname", "type_id": 1, "type": "Hostname", "value": clean(facts.host["name"])})
    return found


def _unmapped(facts: Facts) -> dict[str, Any]:
    names = (
        "type", "path_b64", "display", "paths", "ids", "total", "found_by", "feed", "confirmed_by", "contradicted_by",
        "entries", "set", "volume", "origin", "network", "power", "hours", "users", "neighbours", "omitted", "first",
        "last", "breaks", "head", "sets", "coverage", "health", "must_rescan", "reason", "chain", "subject",
    )  # fmt: skip
    return {name: facts.record[name] for name in names if name in facts.record} | {"id": facts.id}
