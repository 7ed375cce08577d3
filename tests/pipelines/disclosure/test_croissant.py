"""Croissant documents are accepted by the makers of Croissant, whose loader reads the rows of a copy by them."""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.disclosure.croissant import CONFORMS_TO, context
from tests.pipelines.conftest import NeoSite


def test_the_document_is_accepted_and_its_files_are_those_of_a_copy(web: NeoSite, tmp_path: Path) -> None:
    mlc = pytest.importorskip("mlcroissant")
    assert web.neo("get", "web/pairs", str(tmp_path / "copy")).code == 0
    path = tmp_path / "copy" / "croissant.json"
    assert web.neo("disclose", "web/pairs", "--croissant", "--to", str(path)).code == 0
    dataset = mlc.Dataset(jsonld=str(path))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors and all("is recommended" in one for one in issues.warnings)
    document = json.loads(path.read_text())
    files = [one for one in document["distribution"] if one["@type"] == "cr:FileObject"]
    assert len(files) == 6 and document["conformsTo"] == CONFORMS_TO
    for file in files:
        data = (tmp_path / "copy" / file["contentUrl"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file["sha256"] and file["contentSize"] == f"{len(data)} B"
    (rows,) = document["recordSet"]
    types = {field["@id"].removeprefix("rows/"): field["dataType"] for field in rows["field"]}
    assert types["url"] == "sc:Text" and types["image_size_bytes"] == "sc:Integer"
    (includes,) = next(one["includes"] for one in document["distribution"] if one["@type"] == "cr:FileSet")
    assert len([*(tmp_path / "copy").glob(includes)]) == 6
    loaded = {(row["rows/url"].decode(), row["rows/verdict"].decode()) for row in dataset.records("rows")}
    read = [pq.read_table(tmp_path / "copy" / file["contentUrl"], columns=["url", "verdict"]) for file in files]
    assert loaded == {(row["url"], row["verdict"]) for table in read for row in table.to_pylist()}


def test_the_context_is_that_of_the_format() -> None:
    rdf = pytest.importorskip("mlcroissant._src.core.rdf")
    import mlcroissant as mlc
    from mlcroissant._src.core.context import CroissantVersion

    theirs = rdf.make_context(mlc.Context(conforms_to=CroissantVersion(CONFORMS_TO)))
    assert {name: context().get(name) for name in theirs} == theirs


def test_what_has_no_tables_is_no_data_set(web: NeoSite) -> None:
    assert "is no data set" in web.neo("disclose", "web/weights", "--croissant").err
