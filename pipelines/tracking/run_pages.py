"""The pages of one run in MLflow: one for the run, one below it for each step.

Everything here may be done twice: pages are found by the tag `neo.page` before they are made, so that a message whose
answer was lost, or a rebuild into an empty server, ends in the same pages. What goes onto one page goes in few calls,
since a slow server takes seconds for each.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pipelines.lineage.graph import lineage_of
from pipelines.planning.request import FrozenStep, Request
from pipelines.runs.outbox import Message
from pipelines.runs.run import Run
from pipelines.tracking import page_contents as pages
from pipelines.tracking.plots import draw_curves
from stages.artifacts.artifact import Artifact
from stages.artifacts.manifest import Manifest, read_manifest
from stages.contract import CheckpointCommitted, Event, NumbersReported, PictureKept, StepEnded, StepStarted

if TYPE_CHECKING:
    from mlflow import MlflowClient

PICTURES_FOLDER = "pictures"
"""Of a page's files: what was drawn while its step ran."""
MAX_METRICS_PER_CALL = 800
MAX_PARAMETERS_PER_CALL = MAX_TAGS_PER_CALL = 100
"""MLflow takes 1,000 things a call, of which 100 parameters and 100 tags."""
MAX_TAG_CHARACTERS = 7900
"""MLflow cuts tags at 8,000."""
METRIC_NAME_GAP = re.compile(r"[^\w\-./: ]")
"""What MLflow takes in no name of a metric; a stage of the user's may report any."""
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
RUN_STATUS = {
    "done": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "superseded": "KILLED",
    "killed": "KILLED",
}
STEP_STATUS = {
    "committed": "FINISHED",
    "reused": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "superseded": "KILLED",
}


class RunPages:
    """The pages of one run: its own and those of its steps."""

    def __init__(self, client: MlflowClient, run: Run, experiment: str, known: dict[str, str]) -> None:
        self._client = client
        self._run = run
        self._experiment = experiment
        self._known = known

    @property
    def request(self) -> Request:
        return self._run.request

    def begin(self, message: Message) -> None:
        """An attempt began: the run's page exists and says that it runs."""
        page = self._page("", message.at_seconds)
        self._client.update_run(page, status="RUNNING")
        tags = {"neo.attempt": str(message.attempt), "neo.outcome": "running"}
        self._log(page, tags=tags | {"mlflow.note.content": self._run_note("running")})

    def take(self, message: Message) -> None:
        """What happened, in order; the numbers of one step go out together."""
        numbers: dict[str, list[NumbersReported]] = {}
        for event in message.events:
            if isinstance(event, NumbersReported):
                numbers.setdefault(event.step, []).append(event)
        for step, reports in numbers.items():
            self._log(
                self._page(step, reports[0].at_seconds), metrics=[one for report in reports for one in _metrics(report)]
            )
        for step, odd in message.oddities.items():
            tags = {f"neo.not_finite.{name}": at for name, at in odd.items()}
            self._log(self._page(step, message.at_seconds), tags=tags)
        for event in message.events:
            self._take_event(event, message.attempt)

    def end(self, message: Message) -> None:
        """An attempt ended: no page of the run says any longer that it runs, unless a later attempt is at work."""
        if self._is_overtaken("", message.attempt):
            return
        status = RUN_STATUS[message.outcome]
        for step in self.request.steps:
            found = self._find(f"{self.request.run}/{step.name}")
            if found is None:
                continue
            tags: dict[str, str] = {}
            if self._client.get_run(found).info.status == "RUNNING":
                self._client.set_terminated(found, status, _milliseconds(message.at_seconds))
                tags["neo.outcome"] = message.outcome
            manifest = self._manifest(step)
            if manifest is not None:
                tags["mlflow.note.content"] = pages.step_note(self.request, step, manifest, self._link)
            self._log(found, tags=tags)
        page = self._page("", message.at_seconds)
        self._say_outcome(
            page, message.outcome, message.reason, {"mlflow.note.content": self._run_note(message.outcome)}
        )
        self._log_target(page)
        self._client.set_terminated(page, status, _milliseconds(message.at_seconds))

    def _is_overtaken(self, step: str, attempt: int) -> bool:
        """Whether a page belongs to a later attempt, so that the end of this one says nothing about it."""
        page = self._find(f"{self.request.run}/{step}" if step else self.request.run)
        return page is not None and int(self._client.get_run(page).data.tags.get("neo.attempt", 0)) > attempt

    def _log_target(self, page: str) -> None:
        """The lineage of what the run was for, onto the run's own page."""
        target = self.request.step(self.request.targets[0])
        if self._manifest(target) is not None:
            with tempfile.TemporaryDirectory(prefix="neo-page-") as folder:
                lineage = lineage_of(self._run.store, target.stage, target.fingerprint)
                pages.lineage_picture(lineage, Path(folder) / "lineage.png")
                self._client.log_artifacts(page, folder)

    def _take_event(self, event: Event, attempt: int) -> None:
        match event:
            case StepStarted():
                page = self._page(event.step, event.at_seconds)
                self._client.update_run(page, status="RUNNING")
                self._log(page, tags={"neo.outcome": "running", "neo.attempt": str(attempt)})
            case CheckpointCommitted():
                page = self._page(event.step, event.at_seconds)
                self._log(page, tags={"neo.checkpoint_step": str(event.at_step)})
                self._draw_losses(page, event.step)
            case PictureKept():
                self._show(event)
            case StepEnded():
                is_made = event.outcome in ("committed", "reused")
                if is_made or not self._is_overtaken(event.step, attempt):
                    self._end_step(event)
            case _:
                pass

    def _show(self, event: PictureKept) -> None:
        """A picture of training, under a name that sorts by steps; one that is gone from the store is left out."""
        data = self._run.store.read(event.key)
        if data is not None:
            self._log_picture(self._page(event.step, event.at_seconds), f"{event.name}-{event.at_step:08d}.png", data)

    def _draw_losses(self, page: str, step: str) -> None:
        """The losses so far, on training rows and on held-out ones, as curves: those of all attempts."""
        known = self._client.get_run(page).data.metrics
        names = sorted((name for name in known if pages.is_loss(name)), key=pages.order_of_losses)
        if not names:
            return
        curves: dict[str, list[tuple[int, float]]] = {}
        for name in names:
            history = sorted(self._client.get_metric_history(page, name), key=lambda metric: metric.timestamp)
            curves[name] = sorted({metric.step: metric.value for metric in history}.items())
        self._log_picture(page, "losses.png", draw_curves(curves, f"{self.request.run}, {step}: nats per token weight"))

    def _log_picture(self, page: str, name: str, data: bytes) -> None:
        with tempfile.TemporaryDirectory(prefix="neo-page-") as folder:
            path = Path(folder) / name
            path.write_bytes(data)
            self._client.log_artifact(page, str(path), PICTURES_FOLDER)

    def _end_step(self, event: StepEnded) -> None:
        page = self._page(event.step, event.at_seconds)
        self._draw_losses(page, event.step)
        step = self.request.step(event.step)
        manifest = self._manifest(step)
        if event.outcome in ("committed", "reused") and manifest is not None:
            self._describe(page, step, manifest, event.at_seconds)
        self._say_outcome(page, event.outcome, event.reason)
        self._client.set_terminated(page, STEP_STATUS[event.outcome], _milliseconds(event.at_seconds))

    def _describe(self, page: str, step: FrozenStep, manifest: Manifest, at_seconds: float) -> None:
        """Everything that a committed artifact says, onto the page of its step.

        MLflow lets no parameter change, and `--use` may bind another artifact to a page: only new ones are set.
        """
        artifact = Artifact(self._run.store, manifest)
        known = self._client.get_run(page)
        read = self._log_inputs(page, manifest, known)
        made_of = read[0] if read else None
        evaluated = pages.evaluation_metrics(artifact)
        numbers = NumbersReported(step=step.name, numbers=pages.counts(manifest), at_seconds=at_seconds)
        results = NumbersReported(step=step.name, numbers=evaluated, at_seconds=at_seconds)
        note = pages.step_note(self.request, step, manifest, self._link)
        recipe = pages.parameters(manifest.recipe)
        self._log(
            page,
            tags={**pages.step_tags(manifest), "neo.folder": self._place(artifact), "mlflow.note.content": note},
            parameters={name: value for name, value in recipe.items() if name not in known.data.params},
            metrics=[*_metrics(numbers), *_metrics(results, made_of, page)],
        )
        if evaluated:
            self._log(self._page("", at_seconds), metrics=_metrics(results))
        if pages.is_model(manifest):
            self._log_model(page, step, artifact, known)
        with tempfile.TemporaryDirectory(prefix="neo-page-") as folder:
            pages.write_files(artifact, Path(folder))
            self._client.log_artifacts(page, folder)

    def _log_inputs(self, page: str, manifest: Manifest, known: Any) -> list[str]:
        """Data that was read or made, as data sets; models that were read, as the logged models they are: their ids."""
        from mlflow.entities import LoggedModelInput

        datasets = [] if pages.is_model(manifest) else [self._dataset(manifest, "made")]
        models: list[str] = []
        for name, item in manifest.inputs.items():
            parent = read_manifest(self._run.store, item.stage, item.fingerprint)
            if parent is None:
                continue
            model = self._logged_model(parent.fingerprint) if pages.is_model(parent) else None
            if model is not None:
                models.append(str(model.model_id))
            else:
                datasets.append(self._dataset(parent, f"read as {name}"))
        there = {model.model_id for model in known.inputs.model_inputs}
        new = [LoggedModelInput(model) for model in dict.fromkeys(models) if model not in there]
        if datasets or new:
            self._client.log_inputs(page, datasets=datasets, models=new)
        return models

    def _dataset(self, manifest: Manifest, context: str) -> Any:
        """The same data set at both ends, so that MLflow can join the page that made it to those that read it."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(**pages.dataset(manifest, self._run.store))
        return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])

    def _log_model(self, page: str, step: FrozenStep, artifact: Artifact, known: Any) -> None:
        """Log the model, by reference to the store, as what the page made."""
        from mlflow.entities import LoggedModelOutput

        tags = {**pages.step_tags(artifact.manifest), "neo.folder": self._place(artifact)}
        model = self._logged_model(artifact.fingerprint) or self._client.create_logged_model(
            self._experiment,
            name=f"{self.request.pipeline}-{step.name}",
            source_run_id=page,
            tags=tags,
            params=pages.parameters(artifact.manifest.recipe),
            model_type=artifact.manifest.kind,
        )
        if model.status != "READY":
            self._register(model, artifact.manifest, tags)
        if model.model_id not in {output.model_id for output in known.outputs.model_outputs}:
            self._client.log_outputs(page, [LoggedModelOutput(model.model_id, 0)])

    def _register(self, model: Any, manifest: Manifest, tags: dict[str, str]) -> None:
        """Its manifest, and a version of `<pipeline>-<step>`. READY is said last: what is not, was left half told."""
        name = str(model.name)
        with tempfile.TemporaryDirectory(prefix="neo-page-") as folder:
            (Path(folder) / "manifest.json").write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
            self._client.log_model_artifacts(model.model_id, folder)
        if not self._client.search_registered_models(f"name = '{name}'"):
            self._client.create_registered_model(name, tags={"neo.pipeline": self.request.pipeline})
        source = f"models:/{model.model_id}"
        if source not in {version.source for version in self._client.search_model_versions(f"name = '{name}'")}:
            self._client.create_model_version(
                name, source, model.source_run_id, tags, model_id=model.model_id, await_creation_for=0
            )
        self._client.finalize_logged_model(model.model_id, "READY")

    def _logged_model(self, fingerprint: str) -> Any:
        """The model of an artifact, or None. Of several, made by two commands at once, the oldest counts."""
        found = self._client.search_logged_models(
            [self._experiment],
            filter_string=f"tags.`neo.fingerprint` = '{fingerprint}'",
            order_by=[{"field_name": "creation_timestamp", "ascending": True}],
            max_results=1,
        )
        return found[0] if found else None

    def _place(self, artifact: Artifact) -> str:
        return f"{self._run.store.url}/{artifact.folder}"

    def _log(
        self,
        page: str,
        *,
        tags: Mapping[str, str] = NOTHING,
        parameters: Mapping[str, str] = NOTHING,
        metrics: Sequence[Any] = (),
    ) -> None:
        """Put all this onto a page in as few calls as MLflow's limits allow; nothing costs none."""
        from mlflow.entities import Param, RunTag

        some_metrics = _batches(metrics, MAX_METRICS_PER_CALL)
        some_params = _batches([Param(*item) for item in parameters.items()], MAX_PARAMETERS_PER_CALL)
        some_tags = _batches(
            [RunTag(name, text[:MAX_TAG_CHARACTERS]) for name, text in tags.items()], MAX_TAGS_PER_CALL
        )
        for now in zip_longest(some_metrics, some_params, some_tags, fillvalue=()):
            self._client.log_batch(page, *now)

    def _say_outcome(self, page: str, outcome: str, reason: str, tags: Mapping[str, str] = NOTHING) -> None:
        """How it ended, and why if there is a why; what an earlier attempt said is gone."""
        self._log(page, tags={**tags, "neo.outcome": outcome} | ({"neo.reason": reason} if reason else {}))
        if not reason and "neo.reason" in self._client.get_run(page).data.tags:
            self._client.delete_tag(page, "neo.reason")

    def _page(self, step: str, at_seconds: float) -> str:
        """The id of the run's page (`step` '') or of a step's; made where it is missing."""
        key = f"{self.request.run}/{step}" if step else self.request.run
        found = self._find(key)
        if found is not None:
            return found
        tags = {"neo.page": key, "neo.run": self.request.run, "neo.pipeline": self.request.pipeline}
        if step:
            tags |= {"neo.step": step, "mlflow.parentRunId": self._page("", at_seconds)}
            tags |= {"neo.fingerprint": self.request.step(step).fingerprint}
        self._client.create_run(
            self._experiment,
            start_time=_milliseconds(at_seconds),
            tags=tags,
            run_name=step or self.request.run,
        )
        return str(self._find(key))

    def _find(self, key: str) -> str | None:
        """The page of that key. Of several, made by two commands at once, the oldest stays and the others go."""
        if key not in self._known:
            found = self._client.search_runs(
                [self._experiment],
                filter_string=f"tags.`neo.page` = '{key}'",
                order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            )
            for duplicate in found[1:]:
                self._client.set_tag(duplicate.info.run_id, "neo.duplicate_of", found[0].info.run_id)
                self._client.delete_run(duplicate.info.run_id)
            if not found:
                return None
            self._known[key] = found[0].info.run_id
        return self._known[key]

    def _link(self, step: str) -> str:
        found = self._find(f"{self.request.run}/{step}")
        return f"[{step}](#/experiments/{self._experiment}/runs/{found})" if found else step

    def _run_note(self, outcome: str) -> str:
        return pages.run_note(self.request, outcome, self._link)

    def _manifest(self, step: FrozenStep) -> Manifest | None:
        return read_manifest(self._run.store, step.stage, step.fingerprint)


def _metrics(report: NumbersReported, model: str | None = None, page: str | None = None) -> list[Any]:
    """Numbers as MLflow keeps them; of an evaluation, also for the model that was evaluated."""
    from mlflow.entities import Metric

    at, step = _milliseconds(report.at_seconds), report.at_step or 0
    return [
        Metric(METRIC_NAME_GAP.sub("_", name), number, at, step, model_id=model, run_id=page)
        for name, number in report.numbers.items()
    ]


def _batches(things: Sequence[Any], most: int) -> list[Sequence[Any]]:
    return [things[first : first + most] for first in range(0, len(things), most)]


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
