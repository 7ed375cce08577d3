"""Download the pictures of a URL table.

Reads  a source  a table of URLs and captions in any form (stages/origins/tables/), with any further columns
       RawPairs  pairs of other tables that this one is added to, if any: their parts are taken over by reference
Makes  RawPairs  parts: pairs.tar of {key}.jpg, {key}.json, {key}.txt in table order, and samples.parquet, a row for
                 each URL with its verdict, its picture's digest, size and offset in the tar, and the further columns;
                 rows of a part with one URL share its picture, which is asked for once and stored once; before the
                 parts, the table as it was read (stages/origins/row_parts.py)

Parts are fixed stretches of the table. The same responses give the same bytes, in whatever order they arrive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from pydantic import Field

from stages.artifacts.kinds import RawPairs
from stages.contract import PROFILE_PHASE, Part, PartDraft, PinnedSource, StageContext, StageError, conduct, stage
from stages.download.extended import (
    added_parts,
    check_other_source,
    check_same_rule,
    num_rows_before,
    taken_parts,
)
from stages.download.fetch_rows import RowsToFetch, fetch_rows
from stages.download.picture_recipe import FetchRecipe
from stages.download.raw_pairs import RESERVED_COLUMNS
from stages.download.rewritten import rewrite_pairs
from stages.download.url_rows import EXPECTED_HASH, NAMING_COLUMNS, read_url_rows
from stages.formats.losses import MAX_SHARE_LOST, check_losses
from stages.origins.columns import listed_names
from stages.origins.files import hosts_of
from stages.origins.row_files import WantedRows, first_rows
from stages.origins.row_parts import ROW_PHASES, PartRowReader, PartRows, tabulate
from stages.origins.scores import ScoreFields, not_a_score, score_columns
from stages.origins.table_recipe import TableRecipe
from stages.profiles.example_pictures import PairPictures, images_of_parts
from stages.profiles.pictures import ProfileSubject, draw_profile, keep_profile
from stages.takedowns.tombstones import Tombstones

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.origins.routes import Routes


IMG2DATASET_NAMES: Final[Mapping[str, str]] = {
    "url_list": "the table is `source`",
    "url_col": 'name the column in columns, as columns={"url": "URL"}',
    "caption_col": 'name the column in columns, as columns={"caption": "TEXT"}',
    "image_size": "img2dataset's image_size is `resize_px` here",
    "resize_only_if_bigger": "smaller pictures are never resized",
    "encode_quality": "img2dataset's encode_quality is `jpeg_quality` here",
    "skip_reencode": "ordinary JPEGs keep their bytes wherever they are not resized",
    "number_sample_per_shard": "img2dataset's number_sample_per_shard is `num_urls_per_part` here",
    "timeout": "`deadline_seconds` is the time for a whole answer, not for each piece of it",
    "retries": "`num_tries` counts the first try, too",
    "thread_count": "many requests share a thread; `max_requests_per_host` bounds those at one host",
    "processes_count": "the site says how many parts are worked on at once",
    "save_additional_columns": "all columns of the table are carried along",
    "compute_hash": "the sha256 of each picture is always in the table",
    "max_image_area": "img2dataset's max_image_area is `max_pixels_px` here",
    "min_image_size": "`filter_pairs` judges by it, as `min_side_px`",
    "max_aspect_ratio": "`filter_pairs` judges by it, as `max_aspect`",
    "disallowed_header_directives": "`opt_outs` are the ways to forbid a use that are respected",
    "user_agent_token": "requests say who asks, and opt-outs for that name count",
    "enable_wandb": "MLflow shows each run",
    "incremental_mode": "what was made is never made again, whatever was broken off",
}
"""Options of img2dataset to what is said to those who type them."""


class DownloadPairsRecipe(TableRecipe, FetchRecipe):
    """Which URL table is downloaded, under which limits, and how pictures are kept."""

    names_elsewhere: ClassVar[Mapping[str, str]] = IMG2DATASET_NAMES

    num_urls_per_part: int = Field(default=10_000, ge=1, le=100_000)
    """Rows of the table in one part, which is the unit of work that is repeated when a worker dies. A part of 10,000
    takes minutes and about a gigabyte of scratch; 390 million rows are 39,000 parts."""
    verify_hash: str | None = None
    """Column of the URL table with the md5, sha1, sha256 or sha512 in hex digits that each picture has as it is sent,
    such as "sha256"; rows whose bytes have another fail as `hash_mismatch`. It is carried along as `expected_hash`.
    None verifies nothing."""
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Share of the rows that may be lost for one reason before the step fails; 1 takes anything."""

    @property
    def wanted(self) -> WantedRows:
        """What is wanted of the table."""
        hashes = {} if self.verify_hash is None else {EXPECTED_HASH: self.verify_hash}
        return WantedRows(
            num_rows_per_part=self.num_urls_per_part,
            text=(*NAMING_COLUMNS, *hashes),
            naming=NAMING_COLUMNS,
            mapping={**self.columns, **hashes},
            options=self.table_options,
            reserved=RESERVED_COLUMNS,
        )


def check_scores(pinned: PinnedSource, recipe: DownloadPairsRecipe) -> None:
    """Raise `StageError` where a column named like a score holds none in the first rows, or columns do not match.

    Pairs are filtered by these columns after the download, which would then be for nothing.
    """
    import pyarrow as pa

    first = first_rows(pinned, recipe.table_options)
    if first is None:
        return
    path, batch = first
    if recipe.verify_hash is not None and recipe.verify_hash not in batch.schema.names[:-1]:
        raise StageError(
            f"verify_hash names the column {recipe.verify_hash!r}, which {path} does not have; it has "
            f"{listed_names(batch.schema.names[:-1])}"
        )
    recipe.wanted.match(batch.schema.names[:-1], path)
    renamed = {theirs: ours for ours, theirs in recipe.columns.items()}
    table = pa.Table.from_batches([batch])
    table = table.rename_columns([renamed.get(theirs, theirs) for theirs in table.column_names])
    for name, column in score_columns(table.column_names, ScoreFields()).items():
        said = not_a_score(table, column, name)
        if said is not None:
            theirs = recipe.columns.get(column, column)
            kind = "tags (UNLIKELY, UNSURE, NSFW)" if name == "nsfw_tag" else "numbers"
            raise StageError(
                f"column {theirs!r} of {path} holds {said}, and pairs are filtered by {kind} in a column {column!r}; "
                f"carry it under another name: columns={{'their_{column}': {theirs!r}}}"
            )


def download_rows(
    rows: PartRows,
    routes: Routes,
    source: str,
    recipe: DownloadPairsRecipe,
    draft: PartDraft,
    *,
    tombstones: Tombstones | None = None,
) -> pa.Table:
    """Download the rows of one part and write it; returns its sample table.

    Sample ids are hashed with the name `source`.
    """
    read = read_url_rows(rows, source, verifies=recipe.verify_hash is not None)
    wanted = RowsToFetch(read, rows.table, rows.first_row)
    return fetch_rows(wanted, routes, recipe, draft, tombstones)


def download_part(
    part: Part,
    draft: PartDraft,
    *,
    reader: PartRowReader,
    place: str,
    recipe: DownloadPairsRecipe,
    num_parts: int,
    num_before: int,
) -> None:
    """Download one of `num_parts` stretches of the URL table, whose source lies at `place`.

    Rows are numbered on behind the `num_before` of the tables that are extended.
    """
    rows = reader.read(part)
    rows = replace(rows, first_row=num_before + rows.first_row)
    with hosts_of(place) as routes:
        tombstones = Tombstones(reader.store, recipe.taken_down)
        samples = download_rows(rows, routes, recipe.source.name, recipe, draft, tombstones=tombstones)
    keep_profile(draft, samples, part.name, num_parts)


@stage(
    number=4,
    recipe=DownloadPairsRecipe,
    makes=RawPairs,
    accepts=(2, 3),
    phases=(*ROW_PHASES, "download", PROFILE_PHASE),
)
def download_pairs(recipe: DownloadPairsRecipe, extends: RawPairs | None, *, ctx: StageContext) -> None:
    """Read the URL table, then download it, a part for each stretch of rows, behind the parts of `extends`."""
    if rewrite_pairs(ctx, recipe, extends, "download"):
        return
    if extends is not None:
        check_same_rule(recipe, extends)
        check_other_source(recipe.source.name, extends)
    pinned = ctx.pinned(recipe.source)
    check_scores(pinned, recipe)
    rows = tabulate(ctx, pinned, recipe.wanted)
    before = () if extends is None else tuple(extends.each_part())
    over = rows.parts if extends is None else [*taken_parts(before), *added_parts(rows.parts, before)]
    work = partial(
        download_part,
        reader=rows.reader,
        place=pinned.place,
        recipe=recipe,
        num_parts=len(over),
        num_before=num_rows_before(before),
    )
    records = ctx.spread(work, over=over, phase="download", taken=before)
    subject = ProfileSubject(title=f"download_pairs of {recipe.source.name}", items="URLs")
    draw_profile(ctx, records, subject, PairPictures(images_of_parts(ctx.store, records)))
    check_losses(records, recipe.max_share_lost, items="URLs")
