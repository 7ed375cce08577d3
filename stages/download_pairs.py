"""Download the pictures of a URL table.

Reads  a URL table  Parquet with `url`, `caption` and any further columns, from the recipe's origin
Makes  RawPairs     parts: pairs.tar of {key}.jpg, {key}.json, {key}.txt in table order, and samples.parquet, a row for
                    each URL with its verdict, the digest, size and place of its picture, and the further columns

Parts are fixed slices of the table. The same answers give the same bytes, whatever the threads did.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from stages.artifacts.kinds import RawPairs
from stages.contract import Part, PartDraft, Recipe, StageContext, StageError, stage
from stages.download.fetching import FetchedPicture, FetchRule, fetch
from stages.download.judge_picture import PictureRule, ResizeMode
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
MIN_HOSTS_TO_JUDGE_NETWORK = 20
MAX_SHARE_UNEXPLAINED = 0.05
MIN_UNEXPLAINED = 5
UNREACHABLE = frozenset({Reason.DNS_ERROR, Reason.CONNECT_ERROR})


class DownloadPairsRecipe(Recipe):
    origin: ToyWorld
    """Whose URL table, and how its hosts are reached."""
    split: Split = "train"
    """Which of its tables."""
    num_urls_per_part: int = Field(default=1000, ge=1, le=100_000)
    """Rows of the table in one part: what is done again when a worker dies."""
    deadline_seconds: float = Field(default=10.0, gt=0)
    """For one try, from the name to the last byte, redirects included."""
    num_tries: int = Field(default=2, ge=1)
    """Where another try may help."""
    max_image_bytes: int = Field(default=20_000_000, ge=1)
    """Longest body, as sent and as unpacked."""
    max_pixels_px: int = Field(default=64_000_000, ge=1)
    """Width times height, read from the header; nothing larger is decoded."""
    animated: Literal["first_frame", "drop"] = "first_frame"
    """What becomes of a picture that moves."""
    resize_mode: ResizeMode = "no"
    """img2dataset's modes. `no` keeps the bytes of ordinary JPEGs as they are."""
    resize_px: int = Field(default=1024, ge=1)
    """Longest or shortest side after resizing, as the mode has it; smaller pictures stay as they are."""
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    """Of pictures that are written anew: what is no JPEG, four inks, resized ones."""

    @property
    def fetch_rule(self) -> FetchRule:
        picture = PictureRule(
            max_pixels_px=self.max_pixels_px,
            animated=self.animated,
            resize_mode=self.resize_mode,
            resize_px=self.resize_px,
            jpeg_quality=self.jpeg_quality,
        )
        return FetchRule(
            deadline_seconds=self.deadline_seconds,
            num_tries=self.num_tries,
            max_image_bytes=self.max_image_bytes,
            picture=picture,
        )


def check_network(hosts: Sequence[str], endings: Sequence[FetchedPicture | Reason]) -> None:
    """Raise `StageError` where it is our network that fails: a part must not record its URLs as lost for that.

    `hosts` and `endings` are about the same URLs. Hosts are counted, because one dead host may fill a whole part.
    """
    answered = {host for host, ending in zip(hosts, endings, strict=True) if ending not in UNREACHABLE}
    num_hosts = len(set(hosts))
    num_silent = num_hosts - len(answered)
    if num_hosts >= MIN_HOSTS_TO_JUDGE_NETWORK and num_silent > MAX_SHARE_UNREACHABLE * num_hosts:
        raise StageError(
            f"{num_silent} of {num_hosts} hosts could not be reached at all, so the network of this machine is taken "
            "to be down and nothing was recorded; check it, then run the command again"
        )


def check_downloader(endings: Sequence[FetchedPicture | Reason], remarks: Sequence[str]) -> None:
    """Raise `StageError` where the downloader itself fails, and not at a rare picture only."""
    num_unexplained = endings.count(Reason.UNEXPLAINED)
    if num_unexplained > max(MIN_UNEXPLAINED, MAX_SHARE_UNEXPLAINED * len(endings)):
        raise StageError(
            f"{num_unexplained} of {len(endings)} URLs failed in the downloader itself, so nothing was recorded; "
            f"it said: {'; '.join(remarks) or 'nothing'}"
        )


def download_rows(table: pa.Table, part: Part, routes: Routes, recipe: DownloadPairsRecipe, draft: PartDraft) -> None:
    """Ask for the rows of `table`, the slice that `part` names, and write what came of each."""
    here = RowSlice.of(part)
    rows = read_url_rows(table, source_name("urls", recipe.split), here.repeats)
    asked = [row.address for row in rows if row.address is not None]
    num_refused = len(rows) - len(asked)
    urls, hosts = [address.url for address in asked], [address.host for address in asked]
    fetched, sink = fetch(urls, routes, recipe.fetch_rule, draft.scratch, lambda n: draft.progress(num_refused + n))
    check_network(hosts, fetched)
    check_downloader(fetched, sink.remarks)
    coming = iter(fetched)
    endings = [next(coming) if row.refusal is None else row.refusal for row in rows]
    write_raw_pairs(rows, endings, table, draft, spool=sink.spool, first_row=here.start)
    draft.annotate(num_asked=len(asked), unexplained=sink.remarks)


def download_part(part: Part, draft: PartDraft, recipe: DownloadPairsRecipe) -> None:
    """Download one slice of the URL table."""
    here = RowSlice.of(part)
    table = read_url_table(recipe.origin, recipe.split, here.start, here.stop)
    with reachable() as routes:
        download_rows(table, part, routes, recipe, draft)


@stage(number=1, recipe=DownloadPairsRecipe, makes=RawPairs)
def download_pairs(recipe: DownloadPairsRecipe, *, ctx: StageContext) -> None:
    parts = slice_rows(url_fields(read_url_table(recipe.origin, recipe.split)), recipe.num_urls_per_part)
    ctx.spread(partial(download_part, recipe=recipe), over=parts, phase="download")
