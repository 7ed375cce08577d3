"""Data sets on pages: MLflow itself makes their sources of what the pages say, and loads them."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.tracking.datasets import outside_dataset, resolvable

PLACES = {
    "file:///data/pairs": ("local", "uri"),
    "/data/pairs": ("local", "uri"),
    "s3://bucket/pairs": ("s3", "uri"),
    "gs://bucket/pairs": ("gs", "uri"),
    "https://example.org/pairs.parquet": ("http", "url"),
}


def source_of(fields: dict[str, str]) -> Any:
    import mlflow.data
    from mlflow.entities import Dataset

    return mlflow.data.get_source(Dataset(**fields))


def outside(uri: str, **more: Any) -> dict[str, str]:
    return outside_dataset("pairs", {"uri": [uri], "place": "", "digest": "0" * 64, "num_files": 1, **more})


@pytest.mark.parametrize("address", PLACES)
def test_mlflow_makes_a_source_of_each_place_that_it_reads(address: str) -> None:
    source_type, field = PLACES[address]
    assert resolvable(address) == (source_type, {field: address})
    source = source_of(outside(address))
    assert getattr(source, field) == address


def test_a_hub_is_named_by_repository_commit_and_files() -> None:
    source = source_of(outside("hf://datasets/owner/talks@0123abcd/data/*.parquet"))
    assert (source.path, source.revision, source.data_files) == ("owner/talks", "0123abcd", "data/*.parquet")
    assert resolvable("hf://datasets/owner/talks", "89ab") == (
        "hugging_face",
        {"path": "owner/talks", "revision": "89ab"},
    )


@pytest.mark.parametrize("address", ["toy:urls.jsonl?seed=7", "az://container/pairs"])
def test_a_place_that_mlflow_cannot_read_is_described(address: str) -> None:
    assert source_of(outside(address)).to_dict() == {"tags": {"uri": address}}


def test_a_source_of_files_is_loaded_by_mlflow(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text("{}")
    assert Path(source_of(outside((tmp_path / "pairs.jsonl").as_uri())).load()).read_text() == "{}"
