"""The MLflow tracker that messages are delivered to: a server at an address, or a SQLite file.

Owns the connection, the experiment of each pipeline, and which errors mean that MLflow rejects a message for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.runs.outbox import Message
from pipelines.runs.run import Run
from pipelines.tracking.client import ROUTE, PageClient
from pipelines.tracking.run_pages import RunPages
from pipelines.tracking.sqlite import one_process_at_a_time, sqlite_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}
"""Environment variables that are set before MLflow is imported. Requests time out after 10 s, and MLflow retries none:
a request whose answer was lost would be applied twice. Our own retry searches for the page first."""
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Tags that make MLflow open an experiment on its runs and models, not on traces of language models."""
REJECTIONS = {"BAD_REQUEST", "INVALID_PARAMETER_VALUE"}
"""MLflow's error codes for a request that fails again however often it is retried."""


class Tracker:
    """A connection to a tracking server or a SQLite file."""

    def __init__(self, uri: str) -> None:
        """Connect, and create a SQLite file where there is none. Takes seconds: mlflow is imported here."""
        import mlflow

        self.uri = uri
        with one_process_at_a_time(uri):
            mlflow.set_tracking_uri(uri)
            self._client: MlflowClient = mlflow.MlflowClient(uri, registry_uri=uri)
            self._client.search_experiments(max_results=1)
        self._experiments: dict[str, str] = {}
        self._pages: dict[str, str] = {}

    def deliver(self, run: Run, message: Message) -> None:
        """Change the pages of a run as a message says. May be called again. Raises what MLflow raises."""
        pages = RunPages(PageClient(self._client, self.experiment(run.request.pipeline), self._pages), run)
        match message.kind:
            case "attempt_started":
                pages.begin(message)
            case "events":
                pages.add_events(message)
            case "attempt_ended":
                pages.end(message)

    def forget_pages(self) -> None:
        """Empty the cache of ids of experiments and pages; each is then searched for again."""
        self._experiments.clear()
        self._pages.clear()

    def route(self, run: Run) -> str:
        """Where the site of the tracker shows a run, below its address; '' where nothing of it was delivered here."""
        experiment, page = self._experiments.get(run.request.pipeline), self._pages.get(run.name)
        return ROUTE.format(experiment=experiment, page=page) if experiment and page else ""

    def check_writable(self) -> None:
        """Check that the tracker accepts writes, with a test experiment that is deleted. Raises what MLflow raises."""
        tried = self.experiment("neo-doctor")
        self._client.set_experiment_tag(tried, "neo.tried", "yes")
        self._client.delete_experiment(tried)

    def experiment(self, name: str) -> str:
        """The id of a pipeline's experiment; created if missing, restored if deleted."""
        if name not in self._experiments:
            existing = self._client.get_experiment_by_name(name)
            if existing is None:
                self._experiments[name] = self._client.create_experiment(
                    name, artifact_location=self._location(name), tags=EXPERIMENT_TAGS
                )
            else:
                if existing.lifecycle_stage == "deleted":
                    self._client.restore_experiment(existing.experiment_id)
                self._experiments[name] = existing.experiment_id
        return self._experiments[name]

    def _location(self, experiment: str) -> str | None:
        """Where pages keep their files: beside a SQLite file; a server decides for itself."""
        path = sqlite_path(self.uri)
        return None if path is None else (path.parent / "mlflow-files" / experiment).as_uri()


def is_rejection(error: Exception) -> bool:
    """Whether MLflow rejects the request itself, and a retry would fail again."""
    return getattr(error, "error_code", "") in REJECTIONS
