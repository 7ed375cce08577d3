"""Import pairs that people have already: pictures with their captions, in the forms in which other tools leave them.

Reads  files      img2dataset folders, WebDataset tars, Parquet with the bytes of pictures, or folders of pictures, from
                  the recipe's source
Makes  RawPairs   parts: pairs.tar and samples.parquet in the layout of a download, a row for each item of the source
                  with its verdict, and `reference`, what a conversation would call its picture

Pictures are judged by the code that judges downloads. Of a source that another tool downloaded, the rows that failed
are taken over with their reasons. A tar that is cut off gives the pairs before the cut and a failed item for the rest.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from pydantic import Field

from stages.artifacts.kinds import RawPairs
from stages.contract import PROFILE_PHASE, Part, PartDraft, Source, StageContext, conduct, stage
from stages.download.picture_recipe import PictureRecipe
from stages.download.rewritten import rewrite_pairs
from stages.download.spool import Spool
from stages.formats.losses import MAX_SHARE_LOST, check_losses
from stages.importing.captions import CaptionFrom, PairRule
from stages.importing.forms import Form, guess_form
from stages.importing.imported_pairs import write_pairs
from stages.importing.intake import Intake
from stages.importing.parts import FileIndex, ImportTask, IndexTask, import_parts, parts_to_index
from stages.importing.read_part import SourceReader
from stages.profiles.example_pictures import PairPictures, images_of_parts
from stages.profiles.pictures import ProfileSubject, draw_profile, keep_profile
from stages.store.store import Store
from stages.takedowns.tombstones import Tombstones

INDEX_PHASE = "index"
"""The phase that reads the layout of Parquet files and of very large tars."""


class ImportPairsRecipe(PictureRecipe):
    """Which pairs are imported, where their parts stand, and how pictures are kept."""

    source: Source
    """The files that hold the pairs."""
    form: Form | None = None
    """How the files hold them; None guesses it from the names of the files, and each part's record says what it was."""
    columns: dict[Literal["image", "caption", "url"], str] = Field(default_factory=dict)
    """Our names `image`, `caption` and `url` to those of the source: a column of a table, a field of the JSON or an
    ending of the members in a tar (`{"caption": "blip"}`, `{"image": "1.jpg"}`). What is not named is guessed."""
    captions: CaptionFrom = "beside"
    """Where captions come from: `beside` the picture (a column, a text, a field), its `file_name`, or `none`, which
    leaves them empty, for pictures that conversations refer to."""
    num_pairs_per_part: int = Field(default=10_000, ge=1, le=1_000_000)
    """Pictures of a folder, or rows of Parquet at least, in one part, which is the unit of work that is repeated when a
    worker dies. A tar is one part."""
    max_tar_bytes: int = Field(default=4 * 2**30, ge=1)
    """Largest tar that is read as one part, in bytes. A larger one is indexed first and read in stretches of this size,
    unless it is compressed or the members of its samples lie apart."""

    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Share of the items that may be lost for one reason before the step fails; 1 takes anything."""

    @property
    def pair_rule(self) -> PairRule:
        """The fields that say where the parts of a pair stand."""
        return PairRule(captions=self.captions, columns={str(name): theirs for name, theirs in self.columns.items()})


def index_part(part: Part, draft: PartDraft, reader: SourceReader, max_tar_bytes: int) -> None:
    """Find the row groups of a Parquet file or the stretches of a large tar."""
    draft.fact(**reader.index(IndexTask.of(part).file, max_tar_bytes).dump())


def import_part(
    part: Part,
    draft: PartDraft,
    *,
    reader: SourceReader,
    form: Form,
    recipe: ImportPairsRecipe,
    store: Store,
    num_parts: int,
) -> None:
    """Import the pairs of one of `num_parts` parts."""
    task = ImportTask.of(part)
    spool_path = draft.scratch / "spool"
    with Spool(spool_path) as spool:
        intake = Intake(recipe, spool, draft.progress)
        pairs, carried = reader.read(task, intake)
    samples = write_pairs(
        pairs,
        carried,
        draft,
        source=recipe.source.name,
        spool=spool_path,
        number=task.number,
        tombstones=Tombstones(store, recipe.taken_down),
    )
    draft.fact(form=form)
    draft.annotate(unexplained=intake.remarks)
    keep_profile(draft, samples, part.name, num_parts)


@stage(number=2, recipe=ImportPairsRecipe, makes=RawPairs, accepts=(1,), phases=(INDEX_PHASE, "import", PROFILE_PHASE))
def import_pairs(recipe: ImportPairsRecipe, *, ctx: StageContext) -> None:
    """Index the files that need it, then import the pairs: a part for each tar, group of rows or range of paths."""
    if rewrite_pairs(ctx, recipe, None, "import"):
        return
    pinned = ctx.pinned(recipe.source)
    form = recipe.form or guess_form([file.path for file in pinned.files])
    reader = SourceReader(place=pinned.place, rule=recipe.pair_rule)
    indexing = parts_to_index(form, pinned.files, recipe.max_tar_bytes)
    indexes: dict[str, FileIndex] = {}
    if indexing:
        indexer = partial(index_part, reader=reader, max_tar_bytes=recipe.max_tar_bytes)
        for part, record in zip(indexing, ctx.spread(indexer, over=indexing, phase=INDEX_PHASE), strict=True):
            indexes[IndexTask.of(part).file.path] = FileIndex.of(record)
    parts = import_parts(form, pinned.files, indexes, recipe.num_pairs_per_part)
    work = partial(import_part, reader=reader, form=form, recipe=recipe, store=ctx.store, num_parts=len(parts))
    records = ctx.spread(work, over=parts, phase="import")
    subject = ProfileSubject(title=f"import_pairs of {recipe.source.name}", items="items")
    draw_profile(ctx, records, subject, PairPictures(images_of_parts(ctx.store, records)))
    check_losses(records, recipe.max_share_lost, items="items")
