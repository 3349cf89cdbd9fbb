"""CASE/UCO 1.x (caseontology.org), JSON-LD: the file with its facets, and the action by which it was found."""

from __future__ import annotations

import uuid
from typing import Any

from ..sinks import Delivery
from .common import NAMESPACE, Facts, clean, facts_of, iso_of_ns

__all__ = ["make"]

_CONTEXT = {
    "case-investigation": "https://ontology.caseontology.org/case/investigation/",
    "kb": "urn:hashsieve:",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "uco-action": "https://ontology.unifiedcyberontology.org/uco/action/",
    "uco-core": "https://ontology.unifiedcyberontology.org/uco/core/",
    "uco-observable": "https://ontology.unifiedcyberontology.org/uco/observable/",
    "uco-tool": "https://ontology.unifiedcyberontology.org/uco/tool/",
    "uco-types": "https://ontology.unifiedcyberontology.org/uco/types/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
_METHODS = {"md5": "MD5", "sha1": "SHA1", "sha256": "SHA256"}


def _iri(kind: str, *parts: str) -> str:
    return f"kb:{kind}-{uuid.uuid5(NAMESPACE, chr(0).join((kind, *parts)))}"


def _typed(kind: str, value: object) -> dict[str, str]:
    return {"@type": f"xsd:{kind}", "@value": clean(value)}


def _integer(value: object) -> dict[str, str]:
    return _typed("integer", value)


def make(delivery: Delivery) -> dict[str, Any]:
    """One graph."""
    facts = facts_of(delivery)
    tool: dict[str, Any] = {
        "@id": _iri("tool", facts.engine), "@type": "uco-tool:Tool", "uco-core:name": "hashsieve",
        "uco-tool:version": facts.engine,
    }  # fmt: skip
    action: dict[str, Any] = {
        "@id": _iri("action", facts.id),
        "@type": "case-investigation:InvestigativeAction" if facts.is_finding else "uco-action:Action",
        "uco-core:name": facts.title, "uco-core:description": facts.message,
        "uco-core:externalReference": [
            {
                "@id": _iri("reference", facts.id), "@type": "uco-core:ExternalReference",
                "uco-core:externalIdentifier": facts.id, "uco-core:definingContext": "hashsieve alert id",
            }
        ],
        "uco-action:instrument": {"@id": tool["@id"]},
    }  # fmt: skip
    if facts.time:
        action["uco-action:startTime"] = action["uco-action:endTime"] = _typed("dateTime", facts.time)
    if facts.test:
        action["uco-core:tag"] = ["test"]
    graph = [tool, action]
    if facts.digests:
        file = _file(facts)
        graph.append(file)
        action["uco-action:object"] = [{"@id": file["@id"]}]
        action["uco-action:result"] = [{"@id": file["@id"]}]
    if facts.host.get("name"):
        device = {
            "@id": _iri("device", clean(facts.host["name"])), "@type": "uco-observable:Device",
            "uco-core:name": clean(facts.host["name"]),
        }  # fmt: skip
        graph.append(device)
        action["uco-action:environment"] = {"@id": device["@id"]}
    return {"@context": _CONTEXT, "@graph": graph}


def _file(facts: Facts) -> dict[str, Any]:
    name: dict[str, Any] = {"@id": _iri("file-facet", facts.id), "@type": "uco-observable:FileFacet"}
    if facts.name is not None:
        name["uco-observable:fileName"] = facts.name
    if facts.path is not None:
        name["uco-observable:filePath"] = facts.path
    if facts.size is not None:
        name["uco-observable:sizeInBytes"] = _integer(facts.size)
    modified = iso_of_ns(facts.file.get("mtime_ns"))
    if modified is not None:
        name["uco-observable:modifiedTime"] = _typed("dateTime", modified)
    content: dict[str, Any] = {
        "@id": _iri("content-facet", facts.id), "@type": "uco-observable:ContentDataFacet",
        "uco-observable:hash": [_hash(facts, kind, digest) for kind, digest in facts.digests.items()],
    }  # fmt: skip
    if facts.size is not None:
        content["uco-observable:sizeInBytes"] = _integer(facts.size)
    return {
        "@id": _iri("file", facts.id), "@type": "uco-observable:File", "uco-core:hasFacet": [name, content],
    }  # fmt: skip


def _hash(facts: Facts, kind: str, digest: str) -> dict[str, Any]:
    return {
        "@id": _iri("hash", facts.id, kind), "@type": "uco-types:Hash",
        "uco-types:hashMethod": _METHODS.get(kind, kind.upper()),
        "uco-types:hashValue": {"@type": "xsd:hexBinary", "@value": digest.upper()},
    }  # fmt: skip
