"""Draws what a stage did, in its last phase: a funnel, charts and contact sheets, from the profiles of all parts.

Makes of phase `profile`, outside of the artifact's content: `funnel.png`; `charts.png`; `sheet_kept.png`,
`sheet_dropped.png` and `sheet_failed.png`; and `profile.json`, the numbers behind them.

The numbers were gathered by each part as it was made (`keep_profile`), so no table is read again: one small file a
part, 256 of them at a time, and one stored picture for each cell of a sheet. Time grows with the parts, memory does
not. Under one version of Pillow the same profiles give the same bytes. What cannot be drawn is left out and told by a
warning: a drawing never fails its stage.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from stages.artifacts.profiles import PICTURES_PART, profile_keys
from stages.artifacts.records import ItemBalance, PartRecord, total
from stages.artifacts.taken_over import superseded_reasons
from stages.contract import (
    PROFILE_PHASE,
    InterruptedRunError,
    Part,
    PartDraft,
    StageContext,
    SupersededError,
)
from stages.drawing.charts import Histogram, Panel, RankedNames, chart_picture
from stages.drawing.funnel import funnel_picture
from stages.drawing.palette import COLOURS, DROPPED, FAILED, KEPT, share
from stages.drawing.sheets import SheetBand, SheetCell, sheet_picture
from stages.profiles.example_pictures import PictureReader
from stages.profiles.measures import MEASURES, NAMES
from stages.profiles.profile import Example, Profile, profile_of
from stages.store.errors import StoreError
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

NUMBERS_FILE: Final = "profile.json"
PARTS_AT_ONCE: Final = 256
"""Profiles of parts that are read and in memory at a time."""
MAX_BANDS: Final = 24
"""Reasons that a sheet shows, the most frequent ones first."""
MANY_BANDS: Final = 8
"""Reasons above which each shows half as many items."""
NUM_NAMES_SHOWN: Final = 15
DEFAULT_MEASURE: Final = "similarity"


@dataclass(frozen=True, kw_only=True)
class ProfileSubject:
    """What pictures are about. Pickles."""

    title: str
    """Stage and what it worked on, such as `filter_pairs of download_pairs/0123456789ab`."""
    items: str
    """What the items are called, such as `pairs`."""
    limits: Mapping[str, Sequence[tuple[str, float]]] = field(default_factory=dict)
    """Measure to the fields of the recipe that limit it, with their numbers."""
    measure_of: Mapping[str, str] = field(default_factory=dict)
    """Reason to the measure whose value its examples show; others show their similarity, if they have one."""
    text_lines: int = 2
    """Lines of text below a picture; with more than two, cells are wide."""


def keep_profile(
    draft: PartDraft,
    table: pa.Table,
    part: str,
    num_parts: int,
    *,
    better_rows: Sequence[int | None] | None = None,
    captions_before: pa.ChunkedArray | None = None,
    instead_of: Sequence[pa.Table] = (),
) -> None:
    """Gather the profile of one part from its rows, as `profile_of` takes them. Never fails the part.

    `instead_of` are the same items as they ended before, in other parts that count them too: they are subtracted, so
    that the profiles of all parts together count each item once.
    """
    try:
        profile = profile_of(
            table, part=part, num_parts=num_parts, better_rows=better_rows, captions_before=captions_before
        )
        for before in instead_of:
            profile.subtract(profile_of(before, part=part, num_parts=num_parts))
        draft.keep_profile(profile.dump())
    except Exception:  # for people alone: the part is as good without it
        logger.warning("part %s has no profile", part, exc_info=True)


def draw_profile(
    ctx: StageContext,
    records: Sequence[PartRecord],
    subject: ProfileSubject,
    picture_of: PictureReader | None = None,
    better_of: PictureReader | None = None,
) -> None:
    """Draw what the parts of a phase did, by their profiles.

    `picture_of` reads the picture of an example, and `better_of` that of the better one which it repeats. Raises
    nothing but what ends the attempt itself.
    """
    task = DrawingTask(
        store=ctx.store,
        keys=profile_keys(records),
        superseded={one.part: reasons for one in records if (reasons := superseded_reasons(one))},
        items=total(record.items for record in records),
        subject=subject,
        picture_of=picture_of,
        better_of=better_of,
    )
    try:
        ctx.spread(task.draw_part, over=[Part(name=PICTURES_PART)], phase=PROFILE_PHASE)
    except (InterruptedRunError, SupersededError):
        raise
    except Exception:  # such as a worker that was lost each time: the artifact is as good without pictures
        logger.warning("what %s did is not drawn", subject.title, exc_info=True)


@dataclass(frozen=True, kw_only=True)
class DrawingTask:
    """The work of the one part of phase `profile`. Pickles."""

    store: Store
    keys: Sequence[str]
    """Keys of the profiles of the parts."""
    superseded: Mapping[str, Collection[str]]
    """Part to the reasons of rows that a later part has the verdict of, and subtracts."""
    items: ItemBalance
    subject: ProfileSubject
    picture_of: PictureReader | None
    better_of: PictureReader | None

    def draw_part(self, _: Part, draft: PartDraft) -> None:
        """Draw all pictures; one that fails is left out, and the record says why."""
        profile = Profile()
        for read in self._profiles():
            read.leave_out(self.superseded)
            profile.add(read)
        profile.settle()
        draft.path(NUMBERS_FILE).write_bytes(profile.dump())
        failures: dict[str, str] = {}
        for name, draw in self._pictures(profile).items():
            try:
                picture = draw()
                if picture is not None:
                    draft.path(name).write_bytes(picture)
            except Exception as error:
                logger.warning("%s of %s is not drawn", name, self.subject.title, exc_info=True)
                failures[name] = f"{type(error).__name__}: {error}"
        if failures:
            draft.annotate(not_drawn=failures)

    def _profiles(self) -> Iterator[Profile]:
        """The profiles that there are. Parts that an earlier release made have none."""
        for first in range(0, len(self.keys), PARTS_AT_ONCE):
            for data in self.store.read_many(self.keys[first : first + PARTS_AT_ONCE]):
                try:
                    yield Profile.parse(data or b"")
                except ValueError:
                    continue

    def _pictures(self, profile: Profile) -> dict[str, Callable[[], bytes | None]]:
        sheets = {f"sheet_{role}.png": partial(self._sheet, profile, role) for role in COLOURS}
        return {"funnel.png": self._funnel, "charts.png": partial(self._charts, profile), **sheets}

    def _funnel(self) -> bytes | None:
        items = self.items
        note = f"{items.total:,} {self.subject.items} in {len(self.keys):,} parts"
        return funnel_picture(items.kept, items.dropped, items.failed, self.subject.title, note)

    def _charts(self, profile: Profile) -> bytes | None:
        chosen = [*self._histograms(profile), *self._names(profile)]
        if not chosen:
            return None
        return chart_picture(chosen, self.subject.title, self._coverage(profile))

    def _coverage(self, profile: Profile) -> str:
        items = self.items
        told = f"{items.total:,} {self.subject.items}: {items.kept:,} kept, "
        told += f"{items.num_dropped:,} dropped, {items.num_failed:,} failed"
        missing = len(self.keys) - profile.num_parts
        return f"{told}; without {missing:,} of {len(self.keys):,} parts, which were not counted" if missing else told

    def _histograms(self, profile: Profile) -> Iterator[Panel]:
        for measure in MEASURES:
            if measure.name in profile.bins:
                rows = profile.bins[measure.name]
                yield Histogram(
                    title=measure.title,
                    edges=measure.edges,
                    counts={role: [rows[role][one] for one in range(len(measure.edges) + 1)] for role in rows},
                    ticks=measure.tick_labels,
                    limits=self.subject.limits.get(measure.name, ()),
                    num_without=profile.num_without[measure.name],
                )

    def _names(self, profile: Profile) -> Iterator[Panel]:
        for kind, title in NAMES.items():
            if names := profile.names.get(kind):
                shown = profile.top_names(kind, NUM_NAMES_SHOWN)
                rest = sum(counts.total() for counts in names.values()) - sum(n.total() for _, n in shown)
                yield RankedNames(
                    title=title,
                    rows=shown,
                    num_others=rest + profile.num_others[kind],
                    num_without=profile.num_without[kind],
                    is_least=profile.num_parts > 1 and profile.num_others[kind] > 0,
                )

    def _sheet(self, profile: Profile, role: str) -> bytes | None:
        numbers = {KEPT: {"": self.items.kept}, DROPPED: self.items.dropped, FAILED: self.items.failed}[role]
        ordered = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
        shown = [(reason, number) for reason, number in ordered if profile.examples.get(reason)][:MAX_BANDS]
        if not shown:
            return None
        bands = []
        for reason, number in shown:
            examples = profile.examples[reason]
            cells = examples[: len(examples) // 2 + 1] if len(shown) > MANY_BANDS else examples
            by_part = sorted(range(len(cells)), key=lambda number: cells[number].part)
            drawn = {number: self._cell(cells[number]) for number in by_part}
            shown_cells = [drawn[number] for number in range(len(cells))]
            beside = "; on the right the better ones" if any(cell.better for cell in shown_cells) else ""
            bands.append(
                SheetBand(
                    heading=reason or KEPT,
                    about=f"{number:,} of {self.items.total:,}, {share(number, self.items.total)}{beside}",
                    cells=shown_cells,
                    is_wide=self.subject.text_lines > 2 or any(cell.better for cell in shown_cells),
                    text_lines=self.subject.text_lines,
                )
            )
        left_out = len([number for _, number in ordered if number]) - len(shown)
        note = "a random sample, the same in every run" + (f"; {left_out} rarer reasons left out" if left_out else "")
        return sheet_picture(bands, role, f"{self.subject.title}: {role} {self.subject.items}", note)

    def _cell(self, example: Example) -> SheetCell:
        size = "" if example.size is None else f"{example.size[0]} x {example.size[1]} px"
        measure = self.subject.measure_of.get(example.reason, DEFAULT_MEASURE)
        value = f"{measure} {example.values[measure]:g}" if measure in example.values else ""
        before = f"before: {example.before}" if example.before and self.subject.text_lines > 2 else ""
        notes = tuple(filter(None, [size, value, before]))
        try:
            picture = self.picture_of(example) if self.picture_of is not None else None
            better = self.better_of(example) if self.better_of is not None else None
        except (StoreError, ValueError, KeyError) as error:
            return SheetCell(None, example.text or example.url, notes, f"not shown: {error}")
        if example.size is None and example.url:  # the address is what failed, or was refused
            return SheetCell(picture, example.url, tuple(filter(None, [example.text, value])))
        return SheetCell(picture, example.text or example.url, notes, better=better)
