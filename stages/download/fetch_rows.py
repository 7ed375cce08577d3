"""Fetches the rows of one part of a URL table and writes it, whether they are asked for the first time or again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.contract import PartDraft
from stages.download.engines.interface import FetchTask
from stages.download.fetching import ENGINES, fetch_part
from stages.download.manners.usage_terms import UsageTerms
from stages.download.part_health import check_downloader, check_network
from stages.download.picture_recipe import FetchRecipe
from stages.download.raw_pairs import without_taken_down, write_raw_pairs
from stages.download.reasons import Reason
from stages.download.spool import SpooledPicture
from stages.download.url_rows import UrlRow
from stages.formats.sample_table import ItemReason
from stages.takedowns.tombstones import Tombstones

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.origins.routes import Routes


@dataclass(frozen=True)
class RowsToFetch:
    """The rows of one part of a URL table."""

    rows: Sequence[UrlRow]
    table: pa.Table
    """Parallel to `rows`, with the columns that are carried along."""
    first_row: int | Sequence[int]
    """Number of the first row in the whole table; that of each row, where they do not follow each other."""


def fetch_rows(
    wanted: RowsToFetch, routes: Routes, recipe: FetchRecipe, draft: PartDraft, tombstones: Tombstones | None = None
) -> pa.Table:
    """Fetch the pictures of the rows of one part and write it; returns its sample table.

    What is to be forgotten is not asked for, and not kept where only its bytes tell. Raises `NetworkDownError` and
    `StageError` where nothing is to be recorded.
    """
    # Before anything is asked for, no row has a picture yet: a reason of any kind stands in the place of one.
    unasked = [row.refusal or Reason.UNEXPLAINED for row in wanted.rows]
    read, _, table = without_taken_down(wanted.rows, unasked, wanted.table, tombstones)
    asked = [row.address for row in read if row.address is not None]
    num_refused = len(read) - len(asked)
    task = FetchTask(
        urls=[address.url for address in asked], routes=routes, limits=recipe.limits, scratch=draft.scratch
    )
    fetched = fetch_part(
        task,
        recipe.picture_rule,
        lambda num_ended: draft.progress(num_refused + num_ended),
        ENGINES[recipe.engine],
        [row.expected for row in read if row.address is not None],
    )
    check_network([address.host for address in asked], fetched.outcomes, accept_unreachable=recipe.accept_unreachable)
    check_downloader(fetched.outcomes, fetched.remarks)
    of_asked = iter(fetched.outcomes)
    ended: list[SpooledPicture | ItemReason] = [next(of_asked) if row.refusal is None else row.refusal for row in read]
    terms_of_asked = iter(fetched.terms)
    terms = [next(terms_of_asked) if row.refusal is None else UsageTerms() for row in read]
    read, outcomes, table = without_taken_down(read, ended, table, tombstones)
    samples = write_raw_pairs(
        read, outcomes, table, draft, spool=fetched.spool, first_row=wanted.first_row, terms=terms
    )
    draft.annotate(num_asked=fetched.num_asked, unexplained=fetched.remarks, asked_on=fetched.asked_on)
    return samples
