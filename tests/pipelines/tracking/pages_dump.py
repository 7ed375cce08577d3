"""Everything a tracker shows, in a form that two trackers can be compared by: no ids and no times of the server."""

import hashlib
import re
import tempfile
from pathlib import Path
from typing import Any

DEFAULT_EXPERIMENT = "Default"
VERSIONS_TAG = "mlflow.modelVersions"
"""Set by a server and not by a SQLite file; versions are compared by themselves."""


def pages_dump(uri: str) -> dict[str, Any]:
    """Experiments with their pages and models, and registered versions, by the names that we give."""
    import mlflow

    client = mlflow.MlflowClient(uri, registry_uri=uri)
    experiments = [one for one in client.search_experiments() if one.name != DEFAULT_EXPERIMENT]
    pages = {one.name: _pages(client, one.experiment_id) for one in experiments}
    names = {page["id"]: name for found in pages.values() for name, page in found.items()}
    models = {
        model.model_id: f"{model.name} {model.tags['neo.fingerprint'][:12]}"
        for one in experiments
        for model in client.search_logged_models([one.experiment_id])
    }
    return {
        "experiments": {one.name: dict(one.tags) for one in experiments},
        "pages": {
            experiment: {name: _page(client, page["run"], names, models) for name, page in found.items()}
            for experiment, found in pages.items()
        },
        "models": {name: _model(client, model, names) for model, name in models.items()},
        "versions": {
            registered.name: sorted(
                (names[version.run_id], models[version.source.removeprefix("models:/")], sorted(version.tags.items()))
                for version in client.search_model_versions(f"name = '{registered.name}'")
            )
            for registered in client.search_registered_models()
        },
    }


def _pages(client: Any, experiment: str) -> dict[str, dict[str, Any]]:
    found = client.search_runs([experiment])
    pages = {run.data.tags["neo.page"]: {"id": run.info.run_id, "run": run} for run in found}
    assert len(pages) == len(found), f"a page is there twice: {[run.data.tags['neo.page'] for run in found]}"
    return dict(sorted(pages.items()))


def _page(client: Any, run: Any, names: dict[str, str], models: dict[str, str]) -> dict[str, Any]:
    run = client.get_run(run.info.run_id)
    tags = {name: _plain(text, names | models) for name, text in run.data.tags.items()}
    return {
        "status": run.info.status,
        "times": (run.info.start_time, run.info.end_time),
        "tags": tags,
        "params": run.data.params,
        "metrics": {
            name: sorted((m.step, m.timestamp, m.value) for m in client.get_metric_history(run.info.run_id, name))
            for name in run.data.metrics
        },
        "datasets": sorted((d.dataset.name, d.dataset.digest, d.tags[0].value) for d in run.inputs.dataset_inputs),
        "models_read": sorted(models[model.model_id] for model in run.inputs.model_inputs),
        "models_made": sorted(models[model.model_id] for model in run.outputs.model_outputs),
        "files": _files(client, run.info.run_id),
    }


def _model(client: Any, model: str, names: dict[str, str]) -> dict[str, Any]:
    found = client.get_logged_model(model)
    return {
        "status": str(found.status),
        "page": names[found.source_run_id],
        "tags": {name: text for name, text in found.tags.items() if name != VERSIONS_TAG},
        "params": dict(found.params),
        "metrics": sorted((m.key, m.value, names[m.run_id]) for m in found.metrics or ()),
        "files": sorted(item.path for item in client.list_logged_model_artifacts(model)),
    }


def _files(client: Any, run_id: str) -> dict[str, str]:
    """Name to sha256 of the files of a page."""
    with tempfile.TemporaryDirectory() as folder:
        for item in client.list_artifacts(run_id):
            client.download_artifacts(run_id, item.path, folder)
        files = (path for path in Path(folder).rglob("*") if path.is_file())
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)
        }


def _plain(text: str, names: dict[str, str]) -> str:
    for run_id, name in names.items():
        text = text.replace(run_id, name)
    return re.sub(r"experiments/\d+", "experiments/NUMBER", text)
