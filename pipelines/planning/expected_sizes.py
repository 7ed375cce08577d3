"""Sizes of what a plan will make, before it is made: from what is committed, from recipes, or from a folder at hand.

Owns how the configuration of a model is found behind a training step, and what is known of the rows it will read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from neo_model.config import ConfigError, NeoConfig
from neo_model.costs.flops import Work
from pipelines.exits import BadCommandError, RefusedError
from pipelines.planning.plan import Plan
from pipelines.planning.request import FrozenStep
from stages.artifacts.artifact import Artifact, open_artifact
from stages.artifacts.kinds import Rows
from stages.artifacts.manifest import find_file
from stages.formats.rows import RowReader
from stages.pack_rows import PackRowsRecipe
from stages.store.store import Store
from stages.train_prebuffer import TrainPrebufferRecipe

CONFIG_FILE: Final = "config.json"
NUM_ROWS_LOOKED_AT: Final = 64
"""Rows, spread evenly, whose work is read where rows are committed: each may lie in another part."""
UNKNOWN_IDS: Final = {"image_start_id": 0, "image_context_id": 1, "image_end_id": 2}
"""The ids of the image tokens change no size."""


@runtime_checkable
class TellsExpectedConfig(Protocol):
    """A recipe that tells `config.json` of the language model it will make."""

    def expected_config(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class ExpectedRows:
    """What a training step will read in one of its spans."""

    row_tokens: int
    """How many tokens a row can hold."""
    measured: Work | None
    """The mean row, where rows are committed."""


@dataclass(frozen=True)
class ExpectedSizes:
    """A plan seen with the store that holds some of it, and perhaps a language model's folder at hand."""

    plan: Plan
    store: Store
    llm: Path | None = None
    """A folder with a Qwen3's `config.json`, or that file, in place of the plan's language model."""

    def config(self, name: str) -> NeoConfig:
        """The configuration of the model that a training step trains. Raises `CommandError` where none can be told."""
        step = self.plan.request.step(name)
        recipe = self.plan.request.load_step(name)[1]
        if isinstance(recipe, TrainPrebufferRecipe):
            return self._joined(recipe, step.inputs["llm"].step)
        return self._config_of_model(step.inputs["start"].step)

    def rows(self, name: str) -> list[ExpectedRows]:
        """What a training step reads, in order."""
        edges = self.plan.request.step(name).inputs
        wanted = sorted((edge for edge in edges if edge.startswith("rows.")), key=lambda edge: int(edge.split(".")[1]))
        return [self._rows(edges[edge].step) for edge in wanted]

    def _config_of_model(self, name: str) -> NeoConfig:
        """Of a step that makes a whole model: committed, merged from parts that can be told, or tuned from one."""
        if (released := self._committed(name, CONFIG_FILE)) is not None:
            return self._read(name, lambda: NeoConfig.from_released(released))
        inputs = self.plan.request.step(name).inputs
        if "start" in inputs:
            return self._config_of_model(inputs["start"].step)
        if {"prebuffer", "llm"} <= set(inputs):
            recipe = self.plan.request.load_step(inputs["prebuffer"].step)[1]
            if isinstance(recipe, TrainPrebufferRecipe):
                return self._joined(recipe, inputs["llm"].step)
        raise self._unknown(name)

    def _joined(self, recipe: TrainPrebufferRecipe, llm: str) -> NeoConfig:
        depth, width = recipe.num_prebuffer_layers, recipe.patch_hidden
        qwen3 = self._qwen3(llm)
        return self._read(
            llm,
            lambda: NeoConfig.from_qwen3(qwen3, num_prebuffer_layers=depth, patch_hidden=width, **UNKNOWN_IDS),
        )

    def _qwen3(self, name: str) -> Mapping[str, Any]:
        """`config.json` of a language model: at hand, committed, or foreseen by its recipe."""
        if self.llm is not None:
            return _read_config(self.llm)
        if (committed := self._committed(name, CONFIG_FILE)) is not None:
            return committed
        recipe = self.plan.request.load_step(name)[1]
        if isinstance(recipe, TellsExpectedConfig):
            return recipe.expected_config()
        raise self._unknown(name)

    def _committed(self, name: str, file: str) -> dict[str, Any] | None:
        """A JSON file of a step's artifact, if that is committed."""
        artifact = self._artifact(name)
        entry = find_file(artifact.manifest, file) if artifact else None
        found: dict[str, Any] | None = json.loads(artifact.read(entry)) if artifact and entry else None
        return found

    def _artifact(self, name: str) -> Artifact | None:
        step = self.plan.request.step(name)
        return open_artifact(self.store, step.stage, step.fingerprint, Artifact) if self._is_made(step) else None

    def _is_made(self, step: FrozenStep) -> bool:
        return step.name in self.plan.manifests and self.plan.decision(step.name).action == "reuse"

    def _rows(self, name: str) -> ExpectedRows:
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
            f"step {name!r} ({step.stage}) is not made, and its recipe does not tell the sizes of what it will make; "
            "make it first, or name a language model's folder with --llm",
            then=f"neo run {self.plan.request.request} --until {name}",
        )

    def _read(self, name: str, read: Any) -> NeoConfig:
        try:
            config: NeoConfig = read()
        except ConfigError as error:
            raise BadCommandError(
                f"the model of step {name!r} is none that NEO can grow on: {error}", then="neo list"
            ) from error
        return config


def _read_config(path: Path) -> dict[str, Any]:
    file = path / CONFIG_FILE if path.is_dir() else path
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadCommandError(f"--llm {path}: {error}", then="neo estimate --help") from error
    if not isinstance(found, dict):
        raise BadCommandError(f"--llm {path}: {file.name} is no JSON object", then="neo estimate --help")
    return found


def _mean_work(reader: RowReader) -> Work:
    """The mean of some rows, evenly spread."""
    num_rows = reader.num_rows
    chosen = list(_spread(num_rows, min(num_rows, NUM_ROWS_LOOKED_AT)))
    works = [reader.work(row) for row in chosen]
    totals = {name: sum(getattr(work, name) for work in works) for name in Work.__dataclass_fields__}
    return Work(**{name: round(total / len(works)) for name, total in totals.items()})


def _spread(num_rows: int, num_wanted: int) -> Iterator[int]:
    return (row * num_rows // num_wanted for row in range(num_wanted))
