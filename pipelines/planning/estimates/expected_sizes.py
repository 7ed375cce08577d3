"""Expected sizes: the model configuration and the rows that a training step will use, before they are made.

Owns where they come from: committed artifacts, else recipes, else a language model's folder (`--llm`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from neo_model.config import NeoConfig
from neo_model.config_fields import ConfigError
from neo_model.costs.flops import Work
from pipelines.exits import BadCommandError, RefusedError
from pipelines.planning.plan import Plan
from pipelines.planning.request import FrozenStep
from stages.artifacts.artifact import Artifact, open_artifact
from stages.artifacts.kinds import Rows
from stages.formats.packed_rows.rows import RowReader
from stages.pack_rows import PackRowsRecipe
from stages.store.store import Store
from stages.train_prebuffer import TrainPrebufferRecipe

CONFIG_FILE: Final = "config.json"
NUM_MEASURED_ROWS: Final = 64
"""Committed rows, evenly spread, whose work is measured: few, since each may need another part of the store."""
PLACEHOLDER_IDS: Final = {"image_start_id": 0, "image_context_id": 1, "image_end_id": 2}
"""Ids of the image tokens in a configuration that is used for its sizes alone; they change none."""


@runtime_checkable
class HasExpectedConfig(Protocol):
    """A recipe that knows `config.json` of the language model that its stage will make."""

    def expected_config(self) -> dict[str, Any] | None:
        """The content of `config.json`; None where the recipe does not say which model it is."""
        ...


@runtime_checkable
class HasExpectedCheckpoint(Protocol):
    """A recipe that knows `config.json` of the checkpoint that its stage will take over."""

    def expected_released(self) -> dict[str, Any] | None:
        """The content of `config.json` in the released form; None where the recipe does not say which size it is."""
        ...


@dataclass(frozen=True)
class ExpectedRows:
    """Sizes of the packed rows that a training step will read in one of its spans."""

    row_tokens: int
    """Capacity of a row, in tokens."""
    measured: Work | None
    """Work of the mean row; None if the rows are not committed."""


@dataclass(frozen=True)
class ExpectedSizes:
    """Expected sizes of the steps of a plan, some of which are committed in the store."""

    plan: Plan
    store: Store
    llm: Path | None = None
    """A folder with a Qwen3's `config.json`, or that file, used instead of the plan's language model."""

    def config(self, name: str) -> NeoConfig:
        """The configuration of the model that a training step trains. Raises `CommandError` if it is not known."""
        step = self.plan.request.step(name)
        recipe = self.plan.request.load_step(name)[1]
        if isinstance(recipe, TrainPrebufferRecipe):
            return self._joined(recipe, step.inputs["llm"].step)
        return self._config_of_model(step.inputs["start"].step)

    def rows(self, name: str) -> list[ExpectedRows]:
        """The rows that a training step reads, one entry for each input `rows.<n>`, by n."""
        edges = self.plan.request.step(name).inputs
        wanted = sorted((edge for edge in edges if edge.startswith("rows.")), key=lambda edge: int(edge.split(".")[1]))
        return [self._rows(edges[edge].step) for edge in wanted]

    def _config_of_model(self, name: str) -> NeoConfig:
        """The configuration of a whole model: committed, merged from pre-buffer and LLM, or tuned from one."""
        if (released := self._committed(name, CONFIG_FILE)) is not None:
            return self._read(name, lambda: NeoConfig.from_released(released))
        taken_over = self.plan.request.load_step(name)[1]
        expected = taken_over.expected_released() if isinstance(taken_over, HasExpectedCheckpoint) else None
        if expected is not None:
            return self._read(name, lambda: NeoConfig.from_released(expected))
        inputs = self.plan.request.step(name).inputs
        if "start" in inputs:
            return self._config_of_model(inputs["start"].step)
        if {"prebuffer", "llm"} <= set(inputs):
            recipe = self.plan.request.load_step(inputs["prebuffer"].step)[1]
            if isinstance(recipe, TrainPrebufferRecipe):
                return self._joined(recipe, inputs["llm"].step)
        raise self._unknown(name)

    def _joined(self, recipe: TrainPrebufferRecipe, llm: str) -> NeoConfig:
        """The configuration of a pre-buffer with these layers, before the language model that step `llm` makes."""
        depth, width = recipe.num_prebuffer_layers, recipe.patch_hidden
        qwen3 = self._qwen3(llm)
        return self._read(
            llm,
            lambda: NeoConfig.from_qwen3(qwen3, num_prebuffer_layers=depth, patch_hidden=width, **PLACEHOLDER_IDS),
        )

    def _qwen3(self, name: str) -> Mapping[str, Any]:
        """`config.json` of a language model: from `--llm`, else committed, else as its recipe expects it."""
        if self.llm is not None:
            return _read_config(self.llm)
        if (committed := self._committed(name, CONFIG_FILE)) is not None:
            return committed
        recipe = self.plan.request.load_step(name)[1]
        expected = recipe.expected_config() if isinstance(recipe, HasExpectedConfig) else None
        if expected is None:
            raise self._unknown(name)
        return expected

    def _committed(self, name: str, file: str) -> dict[str, Any] | None:
        """A JSON file of a step's artifact; None if the step is not committed or has no such file."""
        artifact = self._artifact(name)
        entry = artifact.find_file(file) if artifact else None
        document: dict[str, Any] | None = artifact.read_json(entry) if artifact and entry else None
        return document

    def _artifact(self, name: str) -> Artifact | None:
        """The artifact that the plan reuses for a step, or None."""
        step = self.plan.request.step(name)
        return open_artifact(self.store, step.stage, step.fingerprint, Artifact) if self._is_made(step) else None

    def _is_made(self, step: FrozenStep) -> bool:
        return step.name in self.plan.manifests and self.plan.decision(step.name).action == "reuse"

    def _rows(self, name: str) -> ExpectedRows:
        """Sizes of the rows that step `name` makes. Raises `RefusedError` if they are not known."""
        step = self.plan.request.step(name)
        if self._is_made(step):
            reader = RowReader(open_artifact(self.store, step.stage, step.fingerprint, Rows))
            return ExpectedRows(reader.row_tokens, _mean_work(reader))
        recipe = self.plan.request.load_step(name)[1]
        if isinstance(recipe, PackRowsRecipe):
            return ExpectedRows(recipe.max_row_tokens, None)
        raise self._unknown(name)

    def _unknown(self, name: str) -> RefusedError:
        step = self.plan.request.step(name)
        return RefusedError(
            f"step {name!r} ({step.stage}) is not made, and its recipe does not say what sizes its artifact will have; "
            "make it first, say in its recipe which published model it is (published=...), or name a language model's "
            "folder with --llm",
            then=f"neo run {self.plan.request.request} --until {name}",
        )

    def _read(self, name: str, read: Callable[[], NeoConfig]) -> NeoConfig:
        """What `read` returns. Raises `BadCommandError` if the model of step `name` is no supported Qwen3."""
        try:
            return read()
        except ConfigError as error:
            raise BadCommandError(
                f"the model of step {name!r} is none that NEO can grow on: {error}", then="neo list"
            ) from error


def _read_config(path: Path) -> dict[str, Any]:
    """`config.json` in a folder, or the file itself. Raises `BadCommandError` if it is no JSON object."""
    file = path / CONFIG_FILE if path.is_dir() else path
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadCommandError(f"--llm {path}: {error}", then="neo estimate --help") from error
    if not isinstance(config, dict):
        raise BadCommandError(f"--llm {path}: {file.name} is no JSON object", then="neo estimate --help")
    return config


def _mean_work(reader: RowReader) -> Work:
    """The mean work of up to `NUM_MEASURED_ROWS` rows, evenly spread."""
    num_rows = reader.num_rows
    chosen = list(_spread(num_rows, min(num_rows, NUM_MEASURED_ROWS)))
    works = [reader.work(row) for row in chosen]
    totals = {name: sum(getattr(work, name) for work in works) for name in Work.__dataclass_fields__}
    return Work(**{name: round(total / len(works)) for name, total in totals.items()})


def _spread(num_rows: int, num_wanted: int) -> Iterator[int]:
    """Numbers of evenly spread rows: 0, 3, 6 for 3 of 10."""
    return (row * num_rows // num_wanted for row in range(num_wanted))
