"""Every form, of every type of record, with hostile names, through validators that others wrote."""

import base64
import json
import re
import uuid
from functools import cache
from pathlib import Path

import pytest
from alert_samples import HOSTILE, samples

from hashsieve.alerts.formats import FORMATS, find_format
from hashsieve.alerts.formats.syslog import message
from hashsieve.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = samples()
of_every_type = pytest.mark.parametrize(
    "delivery", SAMPLES, ids=[f"{number}-{each.type}" for number, each in enumerate(SAMPLES)]
)


def made(name, delivery):
    return json.loads(find_format(name).render(delivery))


def test_there_is_a_sample_of_every_type():
    assert {each.type for each in SAMPLES} == {
        "alert", "update", "fold", "withdraw", "heartbeat", "damage", "full", "space", "compact",
    }  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
@of_every_type
def test_a_rendered_alert_is_one_line_of_utf8_without_control_characters(name, delivery):
    raw = find_format(name).render(delivery)
    text = raw.decode("utf-8")
    assert all(c >= " " for c in text)
    assert "\u202e" not in text
    assert delivery.id in text
    assert find_format(name).render(delivery) == raw


def test_an_unknown_format_is_refused():
    with pytest.raises(UsageError, match="native, ocsf, ecs, cef, stix, case"):
        find_format("xml")


# Native


@pytest.fixture(scope="module")
def schema():
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    found = json.loads((ROOT / "docs" / "format" / "alert.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


@of_every_type
def test_native_follows_the_published_schema(schema, delivery):
    found = made("native", delivery)
    assert [f"{each.json_path}: {each.message}" for each in schema.iter_errors(found)] == []
    assert found["chain"]["seq"] == found["seq"]


def test_the_schema_refuses_what_is_none(schema):
    found = made("native", SAMPLES[0])
    for change in ({"id": "1"}, {"type": "other"}, {"digests": {"md5": "xyz"}}, {"chain": None}, {"time": "noon"}):
        assert not schema.is_valid(found | change)
    assert not schema.is_valid({name: value for name, value in found.items() if name != "digests"})


def test_names_come_through_exactly():
    alerts = [each for each in SAMPLES if each.type == "alert"][: len(HOSTILE)]
    for name, delivery in zip(HOSTILE, alerts, strict=True):
        found = made("native", delivery)
        raw = base64.b64decode(found["path_b64"]) if "path_b64" in found else found["path"].encode()
        assert raw.endswith(b"/files/" + name)


# OCSF


@cache
def ocsf_validator(ocsf, jsonschema, version, class_uid, *profiles):
    source = ocsf.OcsfJsonSchemaEmbedded(ocsf.get_ocsf_schema(version))
    name = {2004: "detection_finding", 0: "base_event"}[class_uid]
    return jsonschema.Draft202012Validator(source.get_class_schema(name, list(profiles)))


@of_every_type
def test_ocsf_follows_its_schema(delivery):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    ocsf = pytest.importorskip("ocsf_json_schema", reason="ocsf-json-schema is not installed")
    found = made("ocsf", delivery)
    check = ocsf_validator(
        ocsf, jsonschema, found["metadata"]["version"], found["class_uid"], *found["metadata"]["profiles"]
    )
    assert [f"{x.json_path}: {x.message}" for x in check.iter_errors(found)] == []


@of_every_type
def test_ocsf_findings_are_read_by_an_independent_model(delivery):
    models = pytest.importorskip(
        "py_ocsf_models.events.findings.detection_finding", reason="py-ocsf-models is not installed"
    )
    found = made("ocsf", delivery)
    if found["class_uid"] != 2004:
        assert found["type_uid"] == 99
        return
    finding = models.DetectionFinding(**found)
    assert finding.type_uid == 200400 + found["activity_id"]
    assert finding.finding_info.uid == (delivery.record.get("of") or delivery.id)
    if delivery.type == "alert":
        # The model knows no file in an evidence; the schema above holds it.
        hashes = {x["algorithm_id"]: x["value"] for x in found["evidences"][0]["file"]["hashes"]}
        digests = delivery.record["digests"]
        assert hashes == {{"md5": 1, "sha1": 2, "sha256": 3}[kind]: value for kind, value in digests.items()}
        assert finding.severity_id == (1 if delivery.record["test"] else 5)


# ECS: names and types as in the field list of ECS 8 (generated/csv/fields.csv of elastic/ecs)

ECS_FIELDS = {
    "@timestamp": "date", "message": "text", "tags": "keyword[]", "ecs.version": "keyword",
    "event.kind": ("alert", "event"), "event.category": "keyword[]", "event.type": "keyword[]",
    "event.action": "keyword", "event.id": "keyword", "event.sequence": "long", "event.module": "keyword",
    "event.dataset": "keyword", "event.provider": "keyword", "event.severity": "long", "event.risk_score": "float",
    "event.created": "date", "event.reason": "keyword", "event.start": "date", "event.end": "date",
    "agent.type": "keyword", "agent.version": "keyword", "host.name": "keyword", "host.hostname": "keyword",
    "host.boot.id": "keyword", "host.os.kernel": "keyword", "host.os.name": "keyword", "host.architecture": "keyword",
    "related.hash": "keyword[]", "related.hosts": "keyword[]", "related.user": "keyword[]",
    "file.path": "keyword", "file.name": "keyword", "file.directory": "keyword", "file.extension": "keyword",
    "file.size": "long", "file.type": ("file",), "file.inode": "keyword", "file.mtime": "date", "file.ctime": "date",
    "file.mode": "keyword", "file.owner": "keyword", "file.uid": "keyword", "file.hash.md5": "keyword",
    "file.hash.sha1": "keyword", "file.hash.sha256": "keyword", "rule.name": "keyword", "rule.id": "keyword",
    "rule.ruleset": "keyword", "rule.version": "keyword", "rule.category": "keyword", "threat.feed.name": "keyword",
    "threat.indicator.type": ("file",), "threat.indicator.provider": "keyword", "process.pid": "long",
    "process.executable": "keyword",
}  # fmt: skip
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
CATEGORIES = {"file", "host"}  # of the allowed values, those used


def leaves(found, before=""):
    for name, value in found.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{before}{name}.")
        else:
            yield before + name, value


@of_every_type
def test_ecs_has_published_fields_of_their_types_and_one_space_of_our_own(delivery):
    found = made("ecs", delivery)
    own = found.pop("hashsieve")
    assert own["chain"]["seq"] == delivery.seq
    for name, value in leaves(found):
        kind = ECS_FIELDS[name]
        if isinstance(kind, tuple):
            assert value in kind, name
        elif kind == "date":
            assert DATE.match(value), name
        elif kind == "long":
            assert type(value) is int, name
        elif kind == "float":
            assert type(value) is float, name
        elif kind == "keyword[]":
            assert isinstance(value, list), name
            assert all(isinstance(each, str) for each in value), name
        else:
            assert isinstance(value, str), name
    assert set(found["event"]["category"]) <= CATEGORIES
    assert found["event"]["type"] == ["info"]


# CEF


def cef_of(text):
    """A reader made from the rules of escaping alone."""
    parts = re.split(r"(?<!\\)(?:\\\\)*\|", text, maxsplit=7)
    assert parts[0] == "CEF:0"
    fields = {}
    for found in re.finditer(r"(\w+)=((?:\\.|[^\\=])*?)(?=\s\w+=|$)", parts[7]):
        fields[found[1]] = re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r"}.get(m[1], m[1]), found[2])
    return parts, fields


@of_every_type
def test_cef_is_read_by_an_independent_parser(delivery):
    pycef = pytest.importorskip("pycef", reason="pycef is not installed")
    text = find_format("cef").render(delivery).decode()
    found = pycef.parse(text)
    assert found is not None
    assert (found["DeviceVendor"], found["DeviceProduct"], found["CEFVersion"]) == ("hashsieve", "hashsieve", "0")
    assert found["externalId"] == delivery.id
    assert 0 <= int(found["Severity"]) <= 10
    digests = delivery.record.get("digests") or {}
    if digests:
        assert found["fileHash"] in digests.values()
        assert found["MD5"] == digests["md5"]
    _, fields = cef_of(text)
    if delivery.type == "alert" and "path_b64" not in delivery.record:
        path = delivery.record["path"].replace("\r", "").replace("\n", "")
        if path.isprintable():
            assert fields["filePath"] == delivery.record["path"]


# Syslog


@pytest.mark.parametrize("name", ["native", "cef"])
@of_every_type
def test_syslog_messages_are_read_by_an_independent_parser(name, delivery):
    syslog = pytest.importorskip("syslog_rfc5424_parser", reason="syslog-rfc5424-parser is not installed")
    raw = message(delivery, find_format(name))
    assert b"\n" not in raw
    found = syslog.SyslogMessage.parse(raw.decode("utf-8"))
    assert found.appname == "hashsieve"
    assert found.facility.value == 13
    assert found.hostname == ("laptop-7" if "host" in delivery.record else "-")
    data = found.sd["hashsieve@32473"]
    assert data["id"] == delivery.id
    assert data["chain"] == f"{delivery.record['chain']['seq']}:{delivery.record['chain']['value']}"
    for kind, digest in (delivery.record.get("digests") or {}).items():
        assert data[kind] == digest
    assert found.msg.lstrip("\ufeff") == find_format(name).render(delivery).decode()


# STIX


@of_every_type
def test_stix_is_valid_and_complete(delivery):
    validator = pytest.importorskip("stix2validator", reason="stix2-validator is not installed")
    found = made("stix", delivery)
    results = validator.validate_instance(found, validator.ValidationOptions(version="2.1"))
    assert [str(each) for each in results.errors] == []
    assert [str(each) for each in results.warnings] == []
    kinds = [each["type"] for each in found["objects"]]
    if delivery.type in ("alert", "update"):
        assert kinds.count("sighting") == 1
        sighting = next(each for each in found["objects"] if each["type"] == "sighting")
        assert sighting["sighting_of_ref"].startswith("indicator--")
        assert sighting["observed_data_refs"] == [
            each["id"] for each in found["objects"] if each["type"] == "observed-data"
        ]
    assert "indicator" not in kinds  # its pattern would hand the list on


def test_the_id_of_a_file_in_stix_is_the_one_the_standard_makes():
    """Checked by hand for a name and a hash: UUIDv5 over the contributing properties as canonical JSON."""
    delivery = SAMPLES[0]
    file = next(each for each in made("stix", delivery)["objects"] if each["type"] == "file")
    text = (
        '{"hashes":{"MD5":"' + delivery.record["digests"]["md5"] + '"},"name":"plain.jpg","parent_directory_ref":"'
        + file["parent_directory_ref"] + '"}'
    )  # fmt: skip
    assert file["id"] == "file--" + str(uuid.uuid5(uuid.UUID("00abedb4-aa42-466c-9c01-fed23315a9b7"), text))


# CASE/UCO


def test_case_conforms_to_its_ontology(tmp_path):
    pytest.importorskip("case_utils", reason="case-utils is large and not installed; pip install '.[validators]'")
    import subprocess
    import sys

    names = []
    for number, delivery in enumerate(SAMPLES):
        path = tmp_path / f"{number}.jsonld"
        path.write_bytes(find_format("case").render(delivery))
        names.append(str(path))
    command = [sys.executable, "-m", "case_utils.case_validate", *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@of_every_type
def test_case_names_everything_it_refers_to(delivery):
    found = made("case", delivery)
    defined, used = set(), set()

    def walk(value, top):
        if isinstance(value, dict):
            if "@id" in value:
                (defined if len(value) > 1 else used).add(value["@id"])
            for each in value.values():
                walk(each, False)
        elif isinstance(value, list):
            for each in value:
                walk(each, top)

    walk(found["@graph"], True)
    assert used <= defined
    prefixes = set(found["@context"])
    for text in re.findall(r'"((?:case|uco|kb|xsd)[a-z-]*):', json.dumps(found["@graph"])):
        assert text in prefixes
    if delivery.type == "alert":
        file = next(each for each in found["@graph"] if each["@type"] == "uco-observable:File")
        content = next(x for x in file["uco-core:hasFacet"] if x["@type"] == "uco-observable:ContentDataFacet")
        hashes = {x["uco-types:hashMethod"]: x["uco-types:hashValue"]["@value"] for x in content["uco-observable:hash"]}
        assert hashes["MD5"] == delivery.record["digests"]["md5"].upper()
