"""A client for the pages of one MLflow experiment: finds or creates a page by key, and changes it in few calls.

Owns how a page (an MLflow run) is found, and MLflow's limits; `page_contents.py` has what a page says. A page is
searched for by its tag `neo.page` before it is created, so a message that is delivered twice changes nothing. Calls
are batched, since a slow server takes seconds for each.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from stages.surfaces.visible import visible

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric
    from mlflow.entities import Run as MlflowRun

MAX_METRICS_PER_CALL = 800
MAX_PARAMETERS_PER_CALL = MAX_TAGS_PER_CALL = 100
"""MLflow accepts 1,000 values in a call, among them 100 parameters and 100 tags."""
MAX_TAG_CHARACTERS = 7900
"""MLflow cuts tags at 8,000 characters."""
METRIC_NAME_GAP = re.compile(r"[^\w\-./: ]")
"""Characters that MLflow refuses in the name of a metric; a user's stage may report any name."""
ROUTE: Final = "#/experiments/{experiment}/runs/{page}?workflowType=machine_learning"
"""Where MLflow's site shows a page. Without the mode in its address, MLflow 3 shows an experiment as one on traces of
language models, whatever kind its tags name."""
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
"""An empty mapping, as the default of tags and parameters."""


class PageClient:
    """The pages of one experiment. Each method raises what MLflow raises, and may be called again."""

    def __init__(self, mlflow: MlflowClient, experiment: str, known: dict[str, str]) -> None:
        """`known` is a cache of page ids by key, which all runs of a tracker share; it is filled as pages are found."""
        self.mlflow = mlflow
        self.experiment = experiment
        self._known = known

    def find(self, key: str) -> str | None:
        """The id of the page with this key, or None.

        Two commands at once may have created it twice: the oldest stays, and the others are tagged and deleted.
        """
        if key not in self._known:
            pages = self.mlflow.search_runs(
                [self.experiment],
                filter_string=f"tags.`neo.page` = '{key}'",
                order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            )
            for duplicate in pages[1:]:
                self.mlflow.set_tag(duplicate.info.run_id, "neo.duplicate_of", pages[0].info.run_id)
                self.mlflow.delete_run(duplicate.info.run_id)
            if not pages:
                return None
            self._known[key] = pages[0].info.run_id
        return self._known[key]

    def create(self, key: str, title: str, tags: Mapping[str, str], at_seconds: float) -> str:
        """Create a page that was not found; returns its id, or the id of an older page that another command created."""
        self.mlflow.create_run(
            self.experiment, start_time=milliseconds(at_seconds), tags={"neo.page": key, **tags}, run_name=title
        )
        return str(self.find(key))

    def read(self, page: str) -> MlflowRun:
        """The page with tags, parameters, latest metrics and inputs; without files and the history of metrics."""
        return self.mlflow.get_run(page)

    def history(self, page: str, metric: str) -> list[tuple[int, float]]:
        """(step, value) of a metric by rising step. Of two reports of one step, as after a resume, the later counts."""
        reports = sorted(self.mlflow.get_metric_history(page, metric), key=lambda report: report.timestamp)
        return sorted({report.step: report.value for report in reports}.items())

    def log(
        self,
        page: str,
        *,
        tags: Mapping[str, str] = NOTHING,
        parameters: Mapping[str, str] = NOTHING,
        metrics: Sequence[Metric] = (),
    ) -> None:
        """Add tags, parameters and metrics to a page, in as few calls as MLflow allows; none if all are empty."""
        from mlflow.entities import Param, RunTag

        all_params = [Param(name, visible(text)) for name, text in parameters.items()]
        all_tags = [RunTag(name, visible(text)[:MAX_TAG_CHARACTERS]) for name, text in tags.items()]
        calls = zip_longest(
            _batches(metrics, MAX_METRICS_PER_CALL),
            _batches(all_params, MAX_PARAMETERS_PER_CALL),
            _batches(all_tags, MAX_TAGS_PER_CALL),
            fillvalue=(),
        )
        for batch in calls:
            self.mlflow.log_batch(page, *batch)

    def log_files(self, page: str, write: Callable[[Path], object], folder: str | None = None) -> None:
        """Upload to a page, under `folder`, the files that `write` leaves in a temporary folder."""
        with tempfile.TemporaryDirectory(prefix="neo-page-") as written:
            write(Path(written))
            self.mlflow.log_artifacts(page, written, folder)

    def set_running(self, page: str) -> None:
        """Show a page as running."""
        self.mlflow.update_run(page, status="RUNNING")

    def set_ended(self, page: str, status: str, at_seconds: float) -> None:
        """Show a page as ended with one of MLflow's statuses."""
        self.mlflow.set_terminated(page, status, milliseconds(at_seconds))


def to_metrics(
    numbers: Mapping[str, float],
    at_seconds: float,
    at_step: int | None,
    *,
    model: str | None = None,
    page: str | None = None,
) -> list[Metric]:
    """Numbers as MLflow metrics, at step 0 if `at_step` is None; with `model`, also of that logged model."""
    from mlflow.entities import Metric

    return [
        Metric(
            METRIC_NAME_GAP.sub("_", name), number, milliseconds(at_seconds), at_step or 0, model_id=model, run_id=page
        )
        for name, number in numbers.items()
    ]


def dataset_input(fields: Mapping[str, str], context: str) -> DatasetInput:
    """A data set of these fields, and what it is to the page that it is logged on."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return DatasetInput(Dataset(**fields), [InputTag("mlflow.data.context", context)])


def milliseconds(seconds: float) -> int:
    """A time in milliseconds, as MLflow has it."""
    return round(seconds * 1000)


def _batches(values: Sequence[Any], most: int) -> list[Sequence[Any]]:
    return [values[first : first + most] for first in range(0, len(values), most)]
