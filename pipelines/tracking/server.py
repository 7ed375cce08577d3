"""A tracking server that takes messages: MLflow behind an address, or a SQLite file.

Owns the connection, the experiment of each pipeline, and what is a fault of the server's and what of the message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.runs.outbox import Message
from pipelines.runs.run import Run
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
"""To be in the environment first: no request takes long, and none that may have been applied is sent again unseen.
A message that failed is delivered again later, and then looks for what is there."""
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Lets the pages open on runs and models, not on traces of language models."""
REFUSALS = {"BAD_REQUEST", "INVALID_PARAMETER_VALUE"}
"""MLflow's words for what is wrong with a request itself."""


class Tracker:
    """A tracking server, or a SQLite file, that takes messages."""

    def __init__(self, uri: str) -> None:
        """Connects; makes a SQLite file where there is none. Takes seconds: mlflow is imported here."""
        import mlflow

        self.uri = uri
        with one_process_at_a_time(uri):
            mlflow.set_tracking_uri(uri)
            self._client: MlflowClient = mlflow.MlflowClient(uri, registry_uri=uri)
            self._client.search_experiments(max_results=1)
        self._experiments: dict[str, str] = {}
        self._pages: dict[str, str] = {}

    def deliver(self, run: Run, message: Message) -> None:
        """Put what a message says on the pages of its run. Raises whatever MLflow raises; may be done again."""
        page = RunPages(self._client, run, self.experiment(run.request.pipeline), self._pages)
        match message.kind:
            case "attempt_started":
                page.begin(message)
            case "events":
                page.take(message)
            case "attempt_ended":
                page.end(message)

    def forget_pages(self) -> None:
        """Look for everything anew from now on."""
        self._experiments.clear()
        self._pages.clear()

    def check_writable(self) -> None:
        """Write something and take it back: an experiment that stays deleted. Raises whatever MLflow raises."""
        tried = self.experiment("neo-doctor")
        self._client.set_experiment_tag(tried, "neo.tried", "yes")
        self._client.delete_experiment(tried)

    def experiment(self, name: str) -> str:
        """The id of a pipeline's experiment; made, or brought back if it was deleted."""
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            if found is None:
                self._experiments[name] = self._client.create_experiment(
                    name, artifact_location=self._location(name), tags=EXPERIMENT_TAGS
                )
            else:
                if found.lifecycle_stage == "deleted":
                    self._client.restore_experiment(found.experiment_id)
                self._experiments[name] = found.experiment_id
        return self._experiments[name]

    def _location(self, experiment: str) -> str | None:
        """Where pages keep their files: beside a SQLite file; a server decides for itself."""
        path = sqlite_path(self.uri)
        return None if path is None else (path.parent / "mlflow-files" / experiment).as_uri()


def is_refusal(error: Exception) -> bool:
    """Whether MLflow finds fault with what it was asked, not with itself."""
    return getattr(error, "error_code", "") in REFUSALS
