"""The pages of one run in MLflow: a page for the run, and a page below it for each step.

Owns which message changes which page. Every change is idempotent, since a message may be delivered twice. Calls to
MLflow are in `client.py`, the page of a committed step in `committed_step.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from pipelines.planning.request import FrozenStep, Request
from pipelines.runs.outbox import Message
from pipelines.runs.run import Run
from pipelines.tracking import page_contents
from pipelines.tracking.client import NOTHING, ROUTE, PageClient, to_metrics
from pipelines.tracking.committed_step import CommittedSteps
from pipelines.tracking.plots import draw_curves
from pipelines.tracking.run_contents import step_origin_tags
from pipelines.tracking.run_summary import RunSummary
from stages.artifacts.head import ManifestHead, read_head
from stages.contract import CheckpointCommitted, Event, NumbersReported, PictureKept, StepEnded, StepStarted
from stages.store.errors import DamagedFileError, MissingRecordError, TornRecordError
from stages.surfaces.markdown import escaped

DAMAGE_TAG = "neo.damaged"
"""Tag of a step's page that lacks something, since a file of its artifact is missing or damaged."""
PICTURES_FOLDER = "pictures"
"""The folder, among the files of a page, of pictures that were drawn while its step ran."""
RUN_STATUS = {
    "done": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "superseded": "KILLED",
    "killed": "KILLED",
}
"""MLflow's status of a run's page, by the outcome of its last attempt."""
STEP_STATUS = {
    "committed": "FINISHED",
    "reused": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "superseded": "KILLED",
}
"""MLflow's status of a step's page, by the step's outcome."""


def draw_losses(pages: PageClient, page: str, title: str) -> None:
    """Plot the losses of all attempts so far, on training rows and on held-out rows, and add the plot to a page."""
    known = pages.read(page).data.metrics
    names = sorted(filter(page_contents.is_loss, known), key=page_contents.order_of_losses)
    if names:
        curves = {name: pages.history(page, name) for name in names}
        log_picture(pages, page, "losses.png", draw_curves(curves, title))


def log_picture(pages: PageClient, page: str, name: str, data: bytes) -> None:
    """Add a picture to a page; one of the same name is replaced."""
    pages.log_files(page, lambda folder: (folder / name).write_bytes(data), PICTURES_FOLDER)


class RunPages:
    """The pages of one run: its own and those of its steps."""

    def __init__(self, pages: PageClient, run: Run) -> None:
        self._pages = pages
        self._run = run
        self._summary = RunSummary(pages, run)

    @property
    def request(self) -> Request:
        """The frozen plan of the run."""
        return self._run.request

    def begin(self, message: Message) -> None:
        """Show on the run's page that an attempt runs; creates the page if it is missing."""
        page = self._page("", message.at_seconds)
        self._pages.set_running(page)
        tags = {"neo.attempt": str(message.attempt), "neo.outcome": "running"}
        tags |= self._summary.begin(page, message.attempt)
        self._pages.log(page, tags=tags | self._summary.note("running", message.attempt, self._link))

    def add_events(self, message: Message) -> None:
        """Change the pages by the events of a message, in order; the metrics of one step are sent in one call."""
        reports: defaultdict[str, list[NumbersReported]] = defaultdict(list)
        for event in message.events:
            if isinstance(event, NumbersReported):
                reports[event.step].append(event)
        for step, of_step in reports.items():
            metrics = [
                one for report in of_step for one in to_metrics(report.numbers, report.at_seconds, report.at_step)
            ]
            self._pages.log(self._page(step, of_step[0].at_seconds), metrics=metrics)
        for step, numbers in message.non_finite.items():
            tags = {f"neo.not_finite.{name}": words for name, words in numbers.items()}
            self._pages.log(self._page(step, message.at_seconds), tags=tags)
        for event in message.events:
            self._add_event(event, message.attempt)

    def end(self, message: Message) -> None:
        """Show an attempt as ended: no page of the run stays running, unless a later attempt runs."""
        if self._is_superseded("", message.attempt):
            return
        for step in self.request.steps:
            self._end_with_run(step, message)
        page = self._page("", message.at_seconds)
        note = self._summary.note(message.outcome, message.attempt, self._link)
        self._log_outcome(page, message.outcome, message.reason, note)
        self._summary.end(page, message)
        self._pages.set_ended(page, RUN_STATUS[message.outcome], message.at_seconds)
        self._summary.log_report(page)

    def _end_with_run(self, step: FrozenStep, message: Message) -> None:
        """End the page of a step that is still shown as running, and write its note again, now that all pages exist."""
        page = self._pages.find(self._key(step.name))
        if page is None:
            return
        tags: dict[str, str] = {}
        if self._pages.read(page).info.status == "RUNNING":
            self._pages.set_ended(page, RUN_STATUS[message.outcome], message.at_seconds)
            tags["neo.outcome"] = message.outcome
        if (head := self._head(step)) is not None:
            tags["mlflow.note.content"] = page_contents.step_note(self.request, step, head, self._link)
        self._pages.log(page, tags=tags)

    def _is_superseded(self, step: str, attempt: int) -> bool:
        """Whether a later attempt has begun the step, or the run (`step` ''); an earlier one must not end its page."""
        page = self._pages.find(self._key(step))
        return page is not None and int(self._pages.read(page).data.tags.get("neo.attempt", 0)) > attempt

    def _add_event(self, event: Event, attempt: int) -> None:
        """Change the page of a step by one event; metrics are added by `add_events`."""
        match event:
            case StepStarted():
                page = self._page(event.step, event.at_seconds)
                self._pages.set_running(page)
                tags = step_origin_tags(self._summary.origin_tags(attempt))
                self._pages.log(page, tags={"neo.outcome": "running", "neo.attempt": str(attempt), **tags})
            case CheckpointCommitted():
                page = self._page(event.step, event.at_seconds)
                self._pages.log(page, tags={"neo.checkpoint_step": str(event.at_step)})
                self._draw_losses(page, event.step)
            case PictureKept():
                self._log_kept_picture(event)
            case StepEnded():
                is_made = event.outcome in ("committed", "reused")
                if is_made or not self._is_superseded(event.step, attempt):
                    self._end_step(event)
            case _:
                pass

    def _log_kept_picture(self, event: PictureKept) -> None:
        """Add a picture of training, named so that names sort by step. Does nothing if the store no longer holds it."""
        data = self._run.store.read(event.key)
        if data is not None:
            page = self._page(event.step, event.at_seconds)
            log_picture(self._pages, page, f"{event.name}-{event.at_step:08d}.png", data)

    def _draw_losses(self, page: str, step: str) -> None:
        draw_losses(self._pages, page, f"{self.request.run}, {step}: nats per token weight")

    def _end_step(self, event: StepEnded) -> None:
        """Fill and end the page of a step; the metrics of an evaluation also go onto the run's page."""
        page = self._page(event.step, event.at_seconds)
        self._draw_losses(page, event.step)
        step = self.request.step(event.step)
        head = self._head(step)
        if event.outcome in ("committed", "reused") and head is not None:
            note = page_contents.step_note(self.request, step, head, self._link)
            committed = CommittedSteps(self._pages, self.request, self._run.store)
            try:
                evaluated = committed.describe(page, step, head, note, event.at_seconds)
            except (DamagedFileError, MissingRecordError, TornRecordError) as error:  # the page ends all the same
                self._pages.log(page, tags={DAMAGE_TAG: str(error)})
                evaluated = {}
            if evaluated:
                metrics = to_metrics(evaluated, event.at_seconds, None)
                self._pages.log(self._page("", event.at_seconds), metrics=metrics)
        self._log_outcome(page, event.outcome, event.reason)
        self._pages.set_ended(page, STEP_STATUS[event.outcome], event.at_seconds)

    def _log_outcome(self, page: str, outcome: str, reason: str, tags: Mapping[str, str] = NOTHING) -> None:
        """Log the outcome, and the reason if there is one; else the reason of an earlier attempt is deleted."""
        self._pages.log(page, tags={**tags, "neo.outcome": outcome} | ({"neo.reason": reason} if reason else {}))
        if not reason and "neo.reason" in self._pages.read(page).data.tags:
            self._pages.mlflow.delete_tag(page, "neo.reason")

    def _key(self, step: str) -> str:
        """The key of the run's page (`step` '') or of a step's."""
        return f"{self.request.run}/{step}" if step else self.request.run

    def _page(self, step: str, at_seconds: float) -> str:
        """The id of the run's page (`step` '') or of a step's; created where it is missing."""
        page = self._pages.find(self._key(step))
        if page is not None:
            return page
        tags = {"neo.run": self.request.run, "neo.pipeline": self.request.pipeline}
        if step:
            tags |= {"neo.step": step, "mlflow.parentRunId": self._page("", at_seconds)}
            tags |= {"neo.fingerprint": self.request.step(step).fingerprint}
        return self._pages.create(self._key(step), step or self.request.run, tags, at_seconds)

    def _link(self, step: str) -> str:
        """A link to a step's page, or its name where it has no page yet."""
        page = self._pages.find(self._key(step))
        name = escaped(step)
        return f"[{name}]({ROUTE.format(experiment=self._pages.experiment, page=page)})" if page else name

    def _head(self, step: FrozenStep) -> ManifestHead | None:
        return read_head(self._run.store, step.stage, step.fingerprint)
