"""Download the pictures of a URL table.

Reads  a URL table  Parquet with `url`, `caption` and any further columns, from the recipe's origin
Makes  RawPairs     parts: pairs.tar of {key}.jpg, {key}.json, {key}.txt in table order, and samples.parquet, a row for
                    each URL with its verdict, its picture's digest, size and offset in the tar, and the further columns

Parts are fixed slices of the table. The same responses give the same bytes, in whatever order they arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from stages.artifacts.kinds import RawPairs
from stages.contract import Part, PartDraft, Recipe, StageContext, StageError, stage
from stages.download.engines.img2dataset import ResizeMode
from stages.download.engines.interface import FetchLimits, FetchTask
from stages.download.fetching import RowOutcome, fetch_part
from stages.download.judge_picture import PictureRule
from stages.download.raw_pairs import write_raw_pairs
from stages.download.reasons import Reason
from stages.download.url_rows import read_url_rows, url_fields
from stages.origins.origin import Split, reachable, read_url_table, source_name
from stages.origins.slices import RowSlice, slice_rows
from stages.toy_world.world import ToyWorld

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.origins.routes import Routes

MAX_SHARE_UNREACHABLE = 0.8
"""Share of a part's hosts that may be unreachable before the network of this machine is taken to be down."""
MIN_HOSTS_TO_JUDGE_NETWORK = 20
"""Hosts that a part must have asked before that share is looked at."""
MAX_SHARE_UNEXPLAINED = 0.05
"""Share of a part's URLs that may fail in the downloader itself."""
MIN_UNEXPLAINED = 5
"""URLs that may fail in the downloader itself, however small the part is."""
UNREACHABLE = frozenset({Reason.DNS_ERROR, Reason.CONNECT_ERROR})


class DownloadPairsRecipe(Recipe):
    """Which URL table is downloaded, under which limits, and how pictures are kept."""

    origin: ToyWorld
    """The origin whose URL table is read, and which says how its hosts are reached."""
    split: Split = "train"
    """The split of the origin whose table is read."""
    num_urls_per_part: int = Field(default=1000, ge=1, le=100_000)
    """Rows of the table in one part, which is the unit of work that is repeated when a worker dies."""
    deadline_seconds: float = Field(default=10.0, gt=0)
    """Time for one try, from resolving the name to the last byte, redirects included."""
    num_tries: int = Field(default=2, ge=1)
    """Tries for a URL whose failure another try may mend, the first one included."""
    max_image_bytes: int = Field(default=20_000_000, ge=1)
    """Largest response body in bytes, as sent and after decompression."""
    max_pixels_px: int = Field(default=64_000_000, ge=1)
    """Largest width times height, read from the picture's header; nothing larger is decoded."""
    animated: Literal["first_frame", "drop"] = "first_frame"
    """Whether an animated picture becomes its first frame or is dropped."""
    resize_mode: ResizeMode = "no"
    """Resize mode of img2dataset. `no` keeps the bytes of ordinary JPEGs as they are."""
    resize_px: int = Field(default=1024, ge=1)
    """Longest or shortest side after resizing, in pixels, depending on the mode; smaller pictures are not resized."""
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    """JPEG quality of pictures that are re-encoded: other formats, CMYK JPEGs and resized pictures."""

    @property
    def limits(self) -> FetchLimits:
        """The fields that a fetching engine is given."""
        return FetchLimits(
            deadline_seconds=self.deadline_seconds,
            num_tries=self.num_tries,
            max_body_bytes=self.max_image_bytes,
        )

    @property
    def picture_rule(self) -> PictureRule:
        """The fields that decide what becomes of a response body."""
        return PictureRule(
            max_pixels_px=self.max_pixels_px,
            animated=self.animated,
            resize_mode=self.resize_mode,
            resize_px=self.resize_px,
            jpeg_quality=self.jpeg_quality,
        )


def check_network(hosts: Sequence[str], outcomes: Sequence[RowOutcome]) -> None:
    """Raise `StageError` if the network of this machine is down, before its URLs are recorded as lost.

    `hosts` and `outcomes` are about the same URLs, one by one. Hosts are counted, not URLs, because one dead host may
    fill a whole part.
    """
    answered = {host for host, outcome in zip(hosts, outcomes, strict=True) if outcome not in UNREACHABLE}
    num_hosts = len(set(hosts))
    num_silent = num_hosts - len(answered)
    if num_hosts >= MIN_HOSTS_TO_JUDGE_NETWORK and num_silent > MAX_SHARE_UNREACHABLE * num_hosts:
        raise StageError(
            f"{num_silent} of {num_hosts} hosts could not be reached at all, so the network of this machine is taken "
            "to be down and nothing was recorded; check it, then run the command again"
        )


def check_downloader(outcomes: Sequence[RowOutcome], remarks: Sequence[str]) -> None:
    """Raise `StageError` if the downloader itself fails at more than a few rare pictures."""
    num_unexplained = outcomes.count(Reason.UNEXPLAINED)
    if num_unexplained > max(MIN_UNEXPLAINED, MAX_SHARE_UNEXPLAINED * len(outcomes)):
        raise StageError(
            f"{num_unexplained} of {len(outcomes)} URLs failed in the downloader itself, so nothing was recorded; "
            f"its errors: {'; '.join(remarks) or 'none'}"
        )


def download_rows(table: pa.Table, part: Part, routes: Routes, recipe: DownloadPairsRecipe, draft: PartDraft) -> None:
    """Download the rows of `table`, the slice that `part` names, and write the part."""
    here = RowSlice.of(part)
    rows = read_url_rows(table, source_name("urls", recipe.split), here.repeats)
    asked = [row.address for row in rows if row.address is not None]
    num_refused = len(rows) - len(asked)
    task = FetchTask(
        urls=[address.url for address in asked], routes=routes, limits=recipe.limits, scratch=draft.scratch
    )
    fetched = fetch_part(task, recipe.picture_rule, lambda num_ended: draft.progress(num_refused + num_ended))
    check_network([address.host for address in asked], fetched.outcomes)
    check_downloader(fetched.outcomes, fetched.remarks)
    of_asked = iter(fetched.outcomes)
    outcomes = [next(of_asked) if row.refusal is None else row.refusal for row in rows]
    write_raw_pairs(rows, outcomes, table, draft, spool=fetched.spool, first_row=here.start)
    draft.annotate(num_asked=len(asked), unexplained=fetched.remarks)


def download_part(part: Part, draft: PartDraft, recipe: DownloadPairsRecipe) -> None:
    """Download one slice of the URL table."""
    here = RowSlice.of(part)
    table = read_url_table(recipe.origin, recipe.split, here.start, here.stop)
    with reachable() as routes:
        download_rows(table, part, routes, recipe, draft)


@stage(number=1, recipe=DownloadPairsRecipe, makes=RawPairs)
def download_pairs(recipe: DownloadPairsRecipe, *, ctx: StageContext) -> None:
    """Download the URL table of the recipe's origin, a part for each slice of rows."""
    parts = slice_rows(url_fields(read_url_table(recipe.origin, recipe.split)), recipe.num_urls_per_part)
    ctx.spread(partial(download_part, recipe=recipe), over=parts, phase="download")
