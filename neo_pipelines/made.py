"""One artifact, read: what it is, what it was made of, its files, its samples or rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from neo_pipelines.items import RowItem, SampleItem
from neo_pipelines.steps import TrainingStep, batch_of
from pipelines.exits import BadCommandError
from pipelines.outside.copies import copy_artifact
from pipelines.outside.held_files import HeldFile, held_files, in_words
from pipelines.preview.packed_rows import model_of_rows
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import Rows
from stages.formats.packed_rows.rows import RowReader
from stages.formats.sample_sources import SampleArtifact, SampleSource, open_source
from stages.formats.samples import Sample

if TYPE_CHECKING:
    from neo_model.inputs.batch import Batch


class Made:
    """A committed artifact. `artifact` is what the stages themselves read."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact

    def __repr__(self) -> str:
        return f"Made({in_words(self.artifact)})"

    @property
    def kind(self) -> str:
        """Its kind, such as `Rows`."""
        return self.artifact.head.kind

    @property
    def stage(self) -> str:
        """The stage that made it."""
        return self.artifact.stage

    @property
    def fingerprint(self) -> str:
        """Its fingerprint, 64 hex digits."""
        return self.artifact.fingerprint

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe that it was made by, defaults included."""
        return dict(self.artifact.head.recipe)

    @property
    def items(self) -> dict[str, int]:
        """How its items ended: `kept`, then each reason with the number of items that were dropped or failed for it."""
        items = self.artifact.head.items
        return {"kept": items.kept, **items.dropped, **items.failed}

    @property
    def inputs(self) -> dict[str, Made]:
        """What it was made of, by the names under which its stage read them."""
        return {name: Made(self.artifact.input(name, Artifact)) for name, _ in self.artifact.inputs()}

    def files(self, *patterns: str) -> Iterator[HeldFile]:
        """Its files, or those whose path matches a pattern, as `neo files` lists them."""
        return held_files(self.artifact, patterns or ("*",))

    def copy_to(self, folder: str | Path, *patterns: str) -> Path:
        """Copy it into a folder as `neo get` does: of a model the folder that loads. Returns the folder."""
        copy_artifact(
            self.artifact,
            Path(folder),
            patterns=patterns,
            how="copy",
            progress=lambda _: nullcontext(bool),
        )
        return Path(folder)

    def samples(self) -> Iterator[SampleItem]:
        """Its kept samples, in table order, a part in memory at a time. Pictures are read when they are asked for.

        Raises `BadCommandError` for a kind without samples.
        """
        source = self._source
        for part in source.num_kept:
            for sample in source.samples(part):
                yield _item(source, sample, part)

    @property
    def num_rows(self) -> int:
        """Packed rows in it."""
        return self._reader.num_rows

    def row(self, number: int) -> RowItem:
        """One packed row, by one range read. Raises `IndexError` where there is none, `DamagedRowError`."""
        from neo_model.inputs.conversation import special_ids

        return RowItem.of(self._reader.read(number), self._tokenizer, special_ids(self._tokenizer).image_context)

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[RowItem]:
        """The packed rows from `start` to before `stop`."""
        return map(self.row, range(start, self.num_rows if stop is None else min(stop, self.num_rows)))

    def batch(self, numbers: Sequence[int]) -> Batch:
        """Packed rows as one batch, which a model takes: `model(batch)` is the sum of its losses."""
        return batch_of(self._rows, numbers)

    def step(self, number: int, *, rows_per_step: int | None = None, seed: int = 0) -> TrainingStep:
        """Optimizer step `number`, counted from 1: of a training, the one that it took.

        Of packed rows, the step that a training of `rows_per_step` and `seed` would take over them. Raises `StageError`
        where there is no such step.
        """
        if rows_per_step is None:
            return TrainingStep.taken(self.artifact, number)
        return TrainingStep.over(self._rows, number, rows_per_step=rows_per_step, seed=seed)

    @cached_property
    def _source(self) -> SampleSource:
        kinds = {kind.kind: kind for kind in _sample_kinds()}
        if self.kind not in kinds:
            raise BadCommandError(f"{in_words(self.artifact)} holds no samples; {', '.join(kinds)} do", then="neo list")
        return open_source(self.artifact.as_kind(kinds[self.kind]))

    @cached_property
    def _rows(self) -> Rows:
        if self.kind != Rows.kind:
            raise BadCommandError(f"{in_words(self.artifact)} holds no packed rows", then="neo list")
        return self.artifact.as_kind(Rows)

    @cached_property
    def _reader(self) -> RowReader:
        return RowReader(self._rows)

    @cached_property
    def _tokenizer(self) -> Any:
        from stages.formats.tokenizer import tokenizer_of

        return tokenizer_of(model_of_rows(self._rows))


def _sample_kinds() -> Iterator[type[SampleArtifact]]:
    """The kinds that hold samples."""
    yield from get_args(SampleArtifact)


def _item(source: SampleSource, sample: Sample, part: str) -> SampleItem:
    def read_images() -> list[bytes]:
        pictures, clips = source.pictures, source.clips
        images = [pictures.image_of(pair.image) for pair in sample.pictures] if pictures else []
        frames = [clips.frames.images_of(clip.frames) for clip in sample.clips] if clips else []
        return [*images, *(frame for of_clip in frames for frame in of_clip)]

    num_images = len(sample.pictures) + sample.num_frames
    return SampleItem(sample.sample_id.hex(), part, sample.text, num_images, read_images)
