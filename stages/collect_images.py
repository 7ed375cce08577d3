"""Collect the pictures that a table of conversations refers to, each once.

Reads  a table    conversations in any form that `read_conversations` reads, from the recipe's source; its pictures are
                  web addresses, paths, `data:` URIs or bytes in the table
       files      pictures in folders and in tars, from the recipe's source of images, if paths are referred to
Makes  RawPairs   parts: pairs.tar and samples.parquet in the layout of a download, with empty captions; a row for each
                  different reference, with `reference`, the name by which `read_conversations` finds the picture

Videos are passed over; the frames of a video that is given as a list of pictures are pictures. Pictures are judged by
the code that judges downloads. A picture that is not there is a failed row, and a path that leads outside the source is
never opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pydantic import Field

from stages.artifacts.kinds import RawPairs
from stages.artifacts.records import FileEntry, PartRecord
from stages.collecting.collect_part import (
    CollectTask,
    collected_pairs,
    owned_names,
    take_files,
    take_held,
    web_references,
)
from stages.collecting.distinct import NameSlots, OwnedFacts, find_distinct, owned_file
from stages.collecting.image_names import list_images, parts_of_images
from stages.collecting.listing import ListedFacts, TablePieces, TableReader, list_references
from stages.collecting.slots import slot_ranges
from stages.contract import PROFILE_PHASE, Part, PartDraft, Source, StageContext, StageError, conduct, stage
from stages.download.engines.interface import FetchTask
from stages.download.fetching import ENGINES, fetch_part
from stages.download.manners.usage_terms import UsageTerms
from stages.download.part_health import check_downloader, check_network
from stages.download.picture_recipe import FetchRecipe
from stages.download.rewritten import rewrite_pairs
from stages.download.spool import Spool
from stages.formats.losses import MAX_SHARE_LOST, check_losses
from stages.importing.imported_pairs import write_pairs
from stages.importing.intake import Intake, Outcome
from stages.origins.files import hosts_of
from stages.origins.pieces import pieces_of
from stages.origins.row_files import groups_of
from stages.origins.tables.formats import TableOptions
from stages.profiles.example_pictures import PairPictures, images_of_parts
from stages.profiles.pictures import ProfileSubject, draw_profile, keep_profile
from stages.store.store import Store
from stages.takedowns.tombstones import Tombstones

GROUP_BYTES = 64 * 1024 * 1024
"""Bytes of small files of a table that are read in one part, at least."""


class CollectImagesRecipe(FetchRecipe):
    """Which pictures are collected, where they lie, and how they are kept."""

    source: Source
    """The table of conversations."""
    images: Source | None = None
    """The folder or tars that hold the pictures which the table refers to by paths; None where it refers to none."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our names `image`, `images` and `messages` to those of the table's columns, where it has other names."""
    path_prefix: str = ""
    """Beginning of the paths in the table that the source of images does not have, such as `/data/coco/`."""
    num_images_per_part: int = Field(default=1000, ge=1, le=100_000)
    """Different references in one part, at most; the unit of work that is repeated when a worker dies."""
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Share of the references that may be lost for one reason before the step fails; 1 takes anything."""


def collect_part(
    part: Part,
    draft: PartDraft,
    *,
    recipe: CollectImagesRecipe,
    reader: TableReader,
    image_place: str | None,
    store: Store,
    num_parts: int,
) -> None:
    """Get the pictures of one of `num_parts` parts, and write them."""
    task = CollectTask.of(part)
    rows = owned_names(task, store)
    tombstones = Tombstones(store, recipe.taken_down)
    web = web_references(rows, tombstones)
    outcomes: dict[int, Outcome] = dict(web.refused)
    with hosts_of(reader.place) as routes:
        asking = FetchTask(
            urls=[address.url for _, address in web.addresses],
            routes=routes,
            limits=recipe.limits,
            scratch=draft.scratch,
        )
        fetched = fetch_part(asking, recipe.picture_rule, draft.progress, ENGINES[recipe.engine])
    check_network(
        [address.host for _, address in web.addresses], fetched.outcomes, accept_unreachable=recipe.accept_unreachable
    )
    check_downloader(fetched.outcomes, fetched.remarks)
    outcomes |= {number: fetched.outcomes[place] for place, (number, _) in enumerate(web.addresses)}
    with Spool(fetched.spool, is_continued=True) as spool:
        intake = Intake(recipe, spool, lambda num_taken: draft.progress(len(web.addresses) + num_taken))
        outcomes |= take_files(rows, image_place, intake)
        outcomes |= take_held(rows, reader, task.pieces, intake)
    images = recipe.source if recipe.images is None else recipe.images
    pairs = collected_pairs(rows, outcomes, recipe.source.name, images.name)
    said = {number: fetched.terms[place] for place, (number, _) in enumerate(web.addresses)}
    terms = [said.get(number, UsageTerms()) for number in range(len(rows))]
    samples = write_pairs(
        pairs,
        None,
        draft,
        source=recipe.source.name,
        spool=fetched.spool,
        number=task.number,
        tombstones=tombstones,
        terms=terms,
    )
    keep_profile(draft, samples.drop_columns(["caption"]), part.name, num_parts)  # all are empty
    remarks = [*fetched.remarks, *intake.remarks]
    draft.annotate(num_asked=fetched.num_asked, unexplained=remarks, asked_on=fetched.asked_on)


def collecting_parts(tables: Sequence[Part], distinct: Sequence[PartRecord], num_images_per_part: int) -> list[Part]:
    """The parts that get pictures: ranges of the names that each part of the table is the first to refer to."""
    parts: list[Part] = []
    for table in tables:
        pieces = TablePieces.of(table)
        owned: list[FileEntry] = []
        num_owned = 0
        for record in distinct:
            of_table = OwnedFacts.of(record).num_owned.get(pieces.number, 0)
            if of_table:
                num_owned += of_table
                owned.append(record.file(owned_file(pieces.number)))
        for first in range(0, num_owned, num_images_per_part):
            until = min(first + num_images_per_part, num_owned)
            task = CollectTask(number=len(parts), pieces=pieces.pieces, owned=owned, first=first, until=until)
            parts.append(Part(name=f"{len(parts):05d}", task=task.dump(), num_items=until - first))
    return parts


@stage(
    number=3,
    recipe=CollectImagesRecipe,
    makes=RawPairs,
    accepts=(1, 2),
    phases=("references", "images", "distinct", "collect", PROFILE_PHASE),
)
def collect_images(recipe: CollectImagesRecipe, *, ctx: StageContext) -> None:
    """List references and pictures, bring equal names together, then get each picture once."""
    if rewrite_pairs(ctx, recipe, None, "collect"):
        return
    table = ctx.pinned(recipe.source)
    images = None if recipe.images is None else ctx.pinned(recipe.images)
    reader = TableReader(place=table.place, columns=recipe.columns)
    groups = groups_of(pieces_of(table, TableOptions()), GROUP_BYTES)
    tables = [
        Part(name=f"table_{number:05d}", task=TablePieces(number=number, pieces=group).dump())
        for number, group in enumerate(groups)
    ]
    listed = ctx.spread(partial(list_references, reader=reader), over=tables, phase="references")
    num_names = sum(ListedFacts.of(record).num_names for record in listed)
    if not num_names:
        raise StageError(
            f"no row of source {table.name!r} refers to a picture; of conversations without pictures, none need to be "
            "collected. Where a column of another name refers to them, say columns={'images': '...'}"
        )
    shown = None
    if images is not None:
        work = partial(list_images, place=images.place)
        shown = ctx.spread(work, over=parts_of_images(images), phase="images")
    over = [
        Part(name=f"names_{number:05d}", task=NameSlots(slots=slots).dump())
        for number, slots in enumerate(slot_ranges(num_names))
    ]
    finding = partial(find_distinct, store=ctx.store, listed=listed, images=shown, prefix=recipe.path_prefix)
    distinct = ctx.spread(finding, over=over, phase="distinct")
    parts = collecting_parts(tables, distinct, recipe.num_images_per_part)
    getting = partial(
        collect_part,
        recipe=recipe,
        reader=reader,
        image_place=None if images is None else images.place,
        store=ctx.store,
        num_parts=len(parts),
    )
    records = ctx.spread(getting, over=parts, phase="collect")
    subject = ProfileSubject(title=f"collect_images of {recipe.source.name}", items="references")
    draw_profile(ctx, records, subject, PairPictures(images_of_parts(ctx.store, records)))
    check_losses(records, recipe.max_share_lost, items="references")
