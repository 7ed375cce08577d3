"""Fetch pictures again that a download failed to get, and keep what it made.

Reads  RawPairs  a download, pictures collected for conversations, pairs imported from a tool that tells the URLs of its
                 failed rows (img2dataset), or a retry of these: samples.parquet of the parts that lost rows for one of
                 the reasons
Makes  RawPairs  all parts of that download, taken over by reference, and parts `retry1_00000`, ... in the layout of a
                 download (stages/download_pairs.py), a row for each row that was fetched again

Rows that are fetched again get their verdict in the new parts, once more kept, dropped or failed, and no longer count
where they failed (stages/artifacts/taken_over.py). They keep sample ids, keys and further columns, so the pairs are
those of a download in which nothing failed. Time grows with the rows that are fetched, and with the records of the
download: one is created for each of its parts. The process of the stage holds these records, and no rows.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from stages.artifacts.kinds import SAMPLES_FILE, RawPairs
from stages.artifacts.taken_over import with_superseded
from stages.contract import PROFILE_PHASE, Part, PartDraft, Source, StageContext, StageError, Store, conduct, stage
from stages.download.extended import check_same_rule, taken_parts
from stages.download.failed_rows import (
    COLLECTED,
    IMPORTED,
    REFERENCE,
    FailedRows,
    parts_to_retry,
    read_failed_rows,
    spelled_reasons,
)
from stages.download.fetch_rows import fetch_rows
from stages.download.picture_recipe import FetchRecipe
from stages.download.rewritten import rewrite_pairs
from stages.formats.losses import MAX_SHARE_LOST, check_losses
from stages.origins.files import hosts_of
from stages.profiles.example_pictures import PairPictures, images_of_parts
from stages.profiles.pictures import ProfileSubject, draw_profile, keep_profile
from stages.takedowns.tombstones import Tombstones

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stages.artifacts.records import FileEntry

RETRY = "retry_pairs"
DOWNLOADS = ("download_pairs", COLLECTED, IMPORTED, RETRY)
"""Stages whose artifacts can be retried: their failed rows have a URL that was asked for."""


class RetryPairsRecipe(FetchRecipe):
    """Which failed rows of a download are fetched again, and under which limits."""

    source: Source
    """The URL table of the download, the table of conversations whose pictures were collected, or the files that were
    imported."""
    reasons: tuple[str, ...] = spelled_reasons(["transient"])
    """Reasons of the rows that are fetched again, such as `timeout` and `server_error`; `transient` stands for all that
    another try may mend."""
    num_urls_per_part: int = Field(default=10_000, ge=1, le=100_000)
    """Most rows of one new part; it takes the failed rows of several parts of the download that follow each other."""
    verify_hash: str | None = None
    """Column of the URL table with the hash of each picture, as the download has it."""
    accept_unreachable: bool = conduct(True)
    """Whether parts are recorded of which most hosts cannot be reached, as is usual among hosts that failed before."""
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Share of all rows, those of the download included, that may be lost for one reason before the step fails; 1 takes
    anything."""

    @field_validator("reasons", mode="before")
    @classmethod
    def _spelled(cls, reasons: object) -> object:
        if isinstance(reasons, list | tuple) and all(isinstance(one, str) for one in reasons):
            return spelled_reasons(reasons)
        return reasons


def check_same_download(recipe: RetryPairsRecipe, extends: RawPairs) -> None:
    """Raise `StageError` where an artifact is no download, or pictures would be kept by another rule than its own."""
    head = extends.head
    if head.stage not in DOWNLOADS:
        raise StageError(
            f"{extends!r} was made by {head.stage}, which knows nothing of the web; retry {DOWNLOADS[0]}, {COLLECTED} "
            f"or {IMPORTED}"
        )
    theirs = RetryPairsRecipe.model_validate(
        {name: value for name, value in head.recipe.items() if name in RetryPairsRecipe.model_fields}
    )
    if theirs.source != recipe.source:
        raise StageError(
            f"{extends!r} was downloaded from source {theirs.source.name!r} ({_digest(theirs.source)}), and the retry "
            f"names {recipe.source.name!r} ({_digest(recipe.source)}); name the same"
        )
    if theirs.verify_hash != recipe.verify_hash:
        raise StageError(
            f"{extends!r} was downloaded with verify_hash = {theirs.verify_hash!r}, and the retry has "
            f"{recipe.verify_hash!r}; name the same"
        )
    check_same_rule(recipe, extends)


def retry_part(
    part: Part,
    draft: PartDraft,
    *,
    tables: Mapping[str, FileEntry],
    store: Store,
    place: str,
    recipe: RetryPairsRecipe,
    num_parts: int,
) -> None:
    """Fetch the rows of one part of `num_parts` again; the URL table lies at `place`."""
    with hosts_of(place) as routes:
        failed, wanted = read_failed_rows(part, tables, store, verifies=recipe.verify_hash is not None)
        samples = fetch_rows(wanted, routes, recipe, draft, Tombstones(store, recipe.taken_down))
    has_captions = any(row.caption for row in wanted.rows)
    if REFERENCE in wanted.table.column_names and not has_captions:  # of collected pictures; they are not counted
        samples, failed = samples.drop_columns(["caption"]), [table.drop_columns(["caption"]) for table in failed]
    keep_profile(draft, samples, part.name, num_parts, instead_of=failed)


@stage(number=1, recipe=RetryPairsRecipe, makes=RawPairs, phases=("download", PROFILE_PHASE))
def retry_pairs(recipe: RetryPairsRecipe, extends: RawPairs, *, ctx: StageContext) -> None:
    """Take over all parts of `extends`, and fetch its failed rows again in parts of their own."""
    if rewrite_pairs(ctx, recipe, extends, "download", retried=recipe.reasons):
        return
    check_same_download(recipe, extends)
    before = list(extends.each_part())
    retried = parts_to_retry(before, recipe.reasons, recipe.num_urls_per_part)
    read = {piece.part for part in retried for piece in FailedRows.of(part).pieces}
    tables = {record.part: record.file(SAMPLES_FILE) for record in before if record.part in read}
    taken = [with_superseded(record, recipe.reasons) for record in before]
    del before  # of many thousand parts, the records as they were take as much memory as those that follow from them
    over = [*taken_parts(taken), *retried]
    place = ctx.pinned(recipe.source).place
    work = partial(retry_part, tables=tables, store=ctx.store, place=place, recipe=recipe, num_parts=len(over))
    records = ctx.spread(work, over=over, phase="download", taken=taken)
    subject = ProfileSubject(title=f"retry_pairs of {extends.stage}/{extends.short}", items="URLs")
    draw_profile(ctx, records, subject, PairPictures(images_of_parts(ctx.store, records)))
    check_losses(records, recipe.max_share_lost, items="URLs")


def _digest(source: Source) -> str:
    return "not pinned" if source.digest is None else f"digest {source.digest[:12]}"
