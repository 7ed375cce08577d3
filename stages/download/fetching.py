"""Fetch the rows of one part with img2dataset's `Downloader`, deciding ourselves whatever it lets others decide.

It drives the threads, asks (`download_image`), and heeds X-Robots-Tag. Ours are the opener (`opener.py`), the judge
that stands where its resizer does (`picture_judge.py`), and the sink that stands where its sample writer does. It
passes errors on as text, so ours are spelled as reasons; rows it says nothing about are noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from stages.download.judge_picture import JudgedPicture, PictureJudge, PictureRule
from stages.download.opener import GuardedOpener, Patience, installed
from stages.download.reasons import Reason, RowError
from stages.origins.routes import Routes

NUM_THREADS: Final = 16
USER_AGENT_TOKEN: Final = "neo-pipelines"
OPT_OUT_DIRECTIVES: Final = ("noai", "noimageai", "noindex", "noimageindex", "none")
OPT_OUT_TEXT: Final = "Use of image disallowed by X-Robots-Tag directive"
"""What img2dataset 1.47 says of such a picture."""
MAX_REMARKS: Final = 5
SPOOL_BUFFER_BYTES: Final = 1024 * 1024

ResizedPicture = tuple[JudgedPicture | None, int | None, int | None, None, None, str | None]
"""What img2dataset expects of a resizer: picture, its width and height, those before resizing, an error."""


@dataclass(frozen=True, kw_only=True)
class FetchRule:
    """How long and how often to ask, and what is asked of the picture. All of it is identity."""

    deadline_seconds: float
    num_tries: int
    max_image_bytes: int
    picture: PictureRule


@dataclass(frozen=True, slots=True)
class FetchedPicture:
    """A picture that waits on scratch for its place in the tar."""

    offset: int
    size_bytes: int
    sha256: bytes
    width_px: int
    height_px: int
    sent_as: str


@dataclass
class Sink:
    """Takes pictures and errors in the order in which they happen to end; each row once. Close it to read the spool."""

    spool: Path
    """Holds the pictures end to end, so that memory does not grow with the part."""
    report: Callable[[int], None]
    outcomes: dict[int, FetchedPicture | Reason] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    """The first few errors that nobody foresaw."""
    failure: OSError | None = None
    """Why pictures could not be written, where that was so: the disk is full, say."""

    def __post_init__(self) -> None:
        self._file = self.spool.open("wb", buffering=SPOOL_BUFFER_BYTES)
        self._num_bytes = 0

    def __call__(self, *_: object) -> Sink:
        """img2dataset makes its writer itself: it gets this one."""
        return self

    def write(self, picture: JudgedPicture | None, key: str, _caption: str | None, meta: dict[str, Any]) -> None:
        try:
            ending = self._reason(meta["error_message"]) if picture is None else self._hold(picture)
        except OSError as error:  # img2dataset would print it and go on
            self.failure = error
            return
        self.outcomes[int(key)] = ending
        self.report(len(self.outcomes))

    def close(self) -> None:
        """Called by img2dataset, and once more by us, who listen. Raises `OSError` where writing has failed."""
        self._file.close()
        if self.failure is not None:
            raise self.failure

    def remark(self, text: str) -> None:
        if len(self.remarks) < MAX_REMARKS:
            self.remarks.append(text)

    def _hold(self, picture: JudgedPicture) -> FetchedPicture:
        data = picture.data
        held = FetchedPicture(
            offset=self._num_bytes,
            size_bytes=len(data),
            sha256=hashlib.sha256(data).digest(),
            width_px=picture.width_px,
            height_px=picture.height_px,
            sent_as=picture.sent_as,
        )
        self._num_bytes += self._file.write(data)
        return held

    def _reason(self, text: str) -> Reason:
        with contextlib.suppress(KeyError):
            return Reason.OPT_OUT if text == OPT_OUT_TEXT else Reason.spelled(text)
        self.remark(text)
        return Reason.UNEXPLAINED


def fetch(
    urls: Sequence[str], routes: Routes, rule: FetchRule, scratch: Path, report: Callable[[int], None]
) -> tuple[list[FetchedPicture | Reason], Sink]:
    """Ask for every URL; returns how each ended, in order, and the sink that holds the pictures.

    Raises `OSError` where scratch cannot hold them.
    """
    sink = Sink(spool=scratch / "spool", report=report)
    if urls:
        opener = GuardedOpener(routes, Patience(num_tries=rule.num_tries, max_body_bytes=rule.max_image_bytes))
        with installed(opener):
            _download(urls, _judged(PictureJudge(rule.picture), sink), sink, rule.deadline_seconds, scratch)
    sink.close()
    return [sink.outcomes.get(number, Reason.UNEXPLAINED) for number in range(len(urls))], sink


def _judged(judge: PictureJudge, sink: Sink) -> Callable[[BytesIO, object], ResizedPicture]:
    """The judge in the shape of a resizer."""

    def resize(stream: BytesIO, _boxes: object = None) -> ResizedPicture:
        try:
            picture = judge(stream.getvalue())
        except RowError as error:
            return None, None, None, None, None, error.reason.value
        except Exception as error:  # a picture that nobody foresaw must not stop the part
            sink.remark(f"{type(error).__name__}: {error}")
            return None, None, None, None, None, Reason.UNEXPLAINED.value
        return picture, picture.width_px, picture.height_px, None, None, None

    return resize


def _download(
    urls: Sequence[str],
    judge: Callable[[BytesIO, object], ResizedPicture],
    sink: Sink,
    deadline_seconds: float,
    scratch: Path,
) -> None:
    import pyarrow as pa

    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the internet for its newest version
    from img2dataset.downloader import Downloader

    shard = scratch / "urls.feather"
    table = pa.table({"url": pa.array(urls, pa.string())})
    with pa.ipc.new_file(str(shard), table.schema) as writer:
        writer.write_table(table)
    (scratch / "statistics").mkdir()
    downloader = Downloader(
        sample_writer_class=sink,
        resizer=judge,
        thread_count=NUM_THREADS,
        save_caption=False,
        extract_exif=False,
        output_folder=str(scratch / "statistics"),
        column_list=["url"],
        timeout=deadline_seconds,
        number_sample_per_shard=len(urls),
        oom_shard_count=1,
        compute_hash=None,
        verify_hash_type=None,
        encode_format="jpg",
        retries=0,
        user_agent_token=USER_AGENT_TOKEN,
        disallowed_header_directives=OPT_OUT_DIRECTIVES,
    )
    downloader.download_shard((0, str(shard)))
