"""The statement of an artifact is read by in-toto's own message types, and names what it is about by true digests."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stages.artifacts.manifest import manifest_key
from tests.pipelines.conftest import NeoSite

json_format = pytest.importorskip("google.protobuf.json_format")
pytest.importorskip("in_toto_attestation")


def parsed(document: dict[str, Any]) -> tuple[Any, Any]:
    """The statement and its predicate as in-toto's messages, which refuse unknown fields and other types."""
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.v1.statement_pb2 import Statement

    return json_format.ParseDict(document, Statement()), json_format.ParseDict(document["predicate"], Provenance())


def test_a_statement_is_what_in_toto_reads(site: NeoSite, copy: Path) -> None:
    document = site.neo("disclose", "data/rows", "--slsa").json
    statement, predicate = parsed(document)
    assert statement.type == "https://in-toto.io/Statement/v1"
    assert statement.predicate_type == "https://slsa.dev/provenance/v1"
    assert (
        predicate.run_details.metadata.started_on.ToSeconds() <= predicate.run_details.metadata.finished_on.ToSeconds()
    )
    (subject,) = document["subject"]
    assert (
        hashlib.sha256((site.folder / "store" / subject["name"]).read_bytes()).hexdigest()
        == subject["digest"]["sha256"]
    )
    verified = site.neo("verify", str(copy), "--json").json
    assert subject["annotations"]["merkleRoot"] == verified["root"]
    definition = document["predicate"]["buildDefinition"]
    assert (
        definition["externalParameters"]["stage"] == "pack_toys" and definition["internalParameters"]["step"] == "rows"
    )
    (read,) = definition["resolvedDependencies"]
    manifest = (site.folder / "store" / read["uri"].removeprefix("urn:neo-pipelines:")).read_bytes()
    assert hashlib.sha256(manifest).hexdigest() == read["digest"]["sha256"]
    assert document["predicate"]["runDetails"]["metadata"]["invocationId"].endswith("-1")


def test_what_is_lost_of_the_history_is_left_out(site: NeoSite, copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(site.folder / "store" / "runs")
    artifact = site.neo("show", "data/rows", "--json").json
    said = site.neo("disclose", "data/rows", "--slsa", "--to", str(tmp_path / "a" / "slsa.json"), "--json")
    assert said.code == 0, said.err
    document = json.loads((tmp_path / "a" / "slsa.json").read_text())
    parsed(document)
    assert [*document["predicate"]["runDetails"]["metadata"]] == ["invocationId"]
    assert document["subject"][0]["name"] == manifest_key(artifact["stage"], artifact["fingerprint"])
