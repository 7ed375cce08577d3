"""The model registry, as a user of MLflow meets it: versions load, answer, and say how good they are."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.tracking import model_files
from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.tracking.pages_dump import pages_dump
from tests.worlds.model_folders import write_neo

PIPELINE = """
from stages.contract import Source
from stages.export import ExportRecipe, export
from stages.import_checkpoint import ImportCheckpointRecipe, import_checkpoint


def released():
    neo = import_checkpoint.bind("neo", ImportCheckpointRecipe(source=Source("neo")))
    return export.bind("export", ExportRecipe(), neo)
"""


def uri(site: NeoSite) -> str:
    return f"sqlite:///{site.folder}/mlflow.db"


@pytest.fixture
def registered(tracked: NeoSite) -> NeoSite:
    """A site on which a released NEO was imported and exported."""
    write_neo(tracked.folder / "neo")
    (tracked.folder / "mine.py").write_text(PIPELINE)
    (tracked.folder / "sources.toml").write_text('[neo]\nuri = "neo"\n')
    return tracked


def run(site: NeoSite) -> Any:
    import mlflow

    said = site.neo("run", f"{site.folder}/mine.py:released")
    assert said.code == 0, said
    mlflow.set_tracking_uri(uri(site))
    mlflow.set_registry_uri(uri(site))
    return mlflow.MlflowClient(uri(site), registry_uri=uri(site))


def answers(model: Any, folder: Path) -> list[str]:
    Image.new("RGB", (64, 64), (200, 0, 0)).save(folder / "red.png")
    rows = [
        {"question": "What colour is it?", "picture_path": str(folder / "red.png")},
        {"question": "And without a picture?"},
    ]
    found: list[str] = model.predict(rows)
    return found


def test_an_export_alone_is_registered_and_its_version_loads_and_answers(registered: NeoSite) -> None:
    import mlflow

    client = run(registered)
    (model,) = client.search_registered_models()
    assert model.name == "released-export"
    (version,) = client.search_model_versions("name = 'released-export'")
    assert "`neo trace export/" in version.description and version.tags["neo.kind"] == "ExportedCheckpoint"
    folder = Path(mlflow.artifacts.download_artifacts("models:/released-export/latest"))
    assert {"MLmodel", "config.json", "neo_model.json", "head.json", "README.md"} <= {
        one.name for one in folder.iterdir()
    }
    assert list(folder.glob("*.safetensors"))
    loaded = mlflow.pyfunc.load_model("models:/released-export/1")
    found = answers(loaded, registered.folder)
    assert len(found) == 2 and all(isinstance(answer, str) for answer in found)
    with pytest.raises(Exception, match="question"):
        loaded.predict([{"picture_path": "red.png"}])


def test_weights_beyond_the_limit_stay_in_the_store_and_are_loaded_from_there(
    registered: NeoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setattr(model_files, "MAX_COPIED_BYTES", 10)
    run(registered)
    folder = Path(mlflow.artifacts.download_artifacts("models:/released-export/latest"))
    assert not list(folder.glob("*.safetensors"))
    known = json.loads((folder / "neo_model.json").read_text())
    assert known["weights"] == "in the store" and known["store"] == registered.store.url
    assert len(answers(mlflow.pyfunc.load_model(str(folder)), registered.folder)) == 2
    (folder / "neo_model.json").write_text(json.dumps({**known, "content": "0" * 64}))
    with pytest.raises(Exception, match="has other content than the model that was logged"):
        mlflow.pyfunc.load_model(str(folder))


def test_the_best_version_is_the_one_with_the_highest_score_however_often_it_is_told(tracked: NeoSite) -> None:
    import mlflow

    assert tracked.neo("run", f"{TOYS}:scored").code == 0
    client = mlflow.MlflowClient(uri(tracked), registry_uri=uri(tracked))
    assert [model.name for model in client.search_registered_models()] == ["scored-weights"]
    assert tracked.neo("run", f"{TOYS}:scored", "--set", "weights.width=8").code == 0
    before = pages_dump(uri(tracked))
    assert tracked.neo("mirror").code == 0
    assert pages_dump(uri(tracked)) == before
    first, second = sorted(client.search_model_versions("name = 'scored-weights'"), key=lambda one: int(one.version))
    assert (first.tags["neo.score.evaluate"], second.tags["neo.score.evaluate"]) == ("0.95", "0.95")
    assert client.get_model_version_by_alias("scored-weights", "best").version == first.version
    assert client.get_registered_model("scored-weights").latest_versions[0].version == second.version
    scores = client.get_logged_model(first.source.removeprefix("models:/")).metrics
    assert {one.key: one.value for one in scores}["accuracy"] == 0.95
