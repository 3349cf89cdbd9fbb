"""STIX 2.1: a bundle with a sighting, the file that was seen, and the machine that saw it.

What was sighted is the custodian's list entry. It is named by an id made from list and reference, and not sent along:
an indicator with its pattern would hand the list on. What is no sighting is a note about the machine.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from ..sinks import Delivery
from .common import NAMESPACE, Facts, clean, facts_of, without_nothing

__all__ = ["make"]

_SCO_NAMESPACE = uuid.UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")  # of the standard, for cyber-observable objects
_HASHES = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256"}
_MAX_COUNT = 999_999_999


def _id(kind: str, *parts: str) -> str:
    """The same for the same parts; with the version that the standard wants where nothing is observed."""
    made = uuid.uuid5(NAMESPACE, chr(0).join((kind, *parts)))
    return f"{kind}--{uuid.UUID(bytes=made.bytes, version=4)}"


def _sco_id(kind: str, contributing: dict[str, Any]) -> str:
    text = json.dumps(contributing, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{kind}--{uuid.uuid5(_SCO_NAMESPACE, text)}"


def make(delivery: Delivery) -> dict[str, Any]:
    """One bundle."""
    facts = facts_of(delivery)
    common = {"spec_version": "2.1", "created": facts.time, "modified": facts.time}
    name = clean(facts.host.get("name") or "unknown machine")
    machine = {
        "type": "identity", "id": _id("identity", name), **common, "name": name, "identity_class": "system",
    }  # fmt: skip
    objects: list[dict[str, Any]] = [machine]
    if facts.is_finding and facts.digests and facts.about != "withdraw":
        objects += _sighting(facts, common, str(machine["id"]))
    else:
        objects.append(
            {
                "type": "note", "id": _id("note", facts.id), **common, "abstract": facts.title,
                "content": facts.message, "object_refs": [machine["id"]], "labels": _labels(facts),
                "external_references": [{"source_name": "hashsieve", "external_id": facts.id}],
            }
        )  # fmt: skip
    bundle: dict[str, Any] = without_nothing({"type": "bundle", "id": _id("bundle", facts.id), "objects": objects})
    return bundle


def _labels(facts: Facts) -> list[str]:
    return [facts.about.replace("_", "-")] + (["test"] if facts.test else [])


def _sighting(facts: Facts, common: dict[str, Any], machine: str) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = []
    hashes = {_HASHES[kind]: digest for kind, digest in facts.digests.items() if kind in _HASHES}
    if not hashes:
        hashes = {f"x_{kind}": digest for kind, digest in facts.digests.items()}
    file: dict[str, Any] = {
        "type": "file", "spec_version": "2.1", "hashes": hashes, "size": facts.size, "name": facts.name,
    }  # fmt: skip
    contributing: dict[str, Any] = {"hashes": _one_hash(hashes)}
    if facts.name:
        contributing["name"] = facts.name
    if facts.directory:
        directory: dict[str, Any] = {"type": "directory", "spec_version": "2.1", "path": facts.directory}
        directory["id"] = _sco_id("directory", {"path": facts.directory})
        objects.append(directory)
        file["parent_directory_ref"] = contributing["parent_directory_ref"] = directory["id"]
    file["id"] = _sco_id("file", contributing)
    first = str(facts.record.get("first") or facts.time)
    last = str(facts.record.get("last") or facts.time)
    number = max(1, min(facts.count, _MAX_COUNT))
    seen = {
        "type": "observed-data", "id": _id("observed-data", facts.id), **common, "first_observed": first,
        "last_observed": last, "number_observed": number, "object_refs": [file["id"]],
    }  # fmt: skip
    seen["object_refs"] = [file["id"], *(each["id"] for each in objects)]
    sighting = {
        "type": "sighting", "id": _id("sighting", facts.id), **common,
        "sighting_of_ref": _id(
            "indicator", *(facts.sources[:1] or ["unknown"]), *(facts.refs[:1] or [facts.subject_id])
        ),
        "observed_data_refs": [seen["id"]], "where_sighted_refs": [machine], "first_seen": first, "last_seen": last,
        "count": number, "confidence": 95, "description": facts.message, "labels": _labels(facts),
        "external_references": [
            {"source_name": "hashsieve", "external_id": facts.id},
            *({"source_name": clean(each["source"]), "external_id": clean(each["ref"])}
              for each in facts.listings[:20] if each.get("ref")),
        ],
    }  # fmt: skip
    return [*objects, file, seen, sighting]


def _one_hash(hashes: dict[str, str]) -> dict[str, str]:
    """The hash that the standard makes ids of: the first there is of this order."""
    for name in ("MD5", "SHA-1", "SHA-256"):
        if name in hashes:
            return {name: hashes[name]}
    return dict(sorted(hashes.items())[:1])
