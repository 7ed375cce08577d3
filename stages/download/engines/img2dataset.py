"""Fetch with img2dataset's `Downloader`; the one module that imports img2dataset or knows how it works inside.

What runs of img2dataset: its thread pool, one `urllib` request for each URL with its user agent, and its X-Robots-Tag
check. It offers no hook for the rest, so three of its collaborators are replaced: the opener behind
`urllib.request.urlopen`, the resizer and the sample writer. It also wants a table of URLs on disk and a folder for
statistics; both are written to scratch.
"""

from __future__ import annotations

import os
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from email.message import Message
from io import BytesIO
from typing import Any, Final

from stages.download.engines.interface import Deliver, FetchFailure, FetchTask
from stages.download.http.http_client import HttpClient
from stages.download.http.http_message import HttpResponse
from stages.download.manners.usage_terms import OPT_OUT_DIRECTIVES, USER_AGENT_TOKEN, UsageTerms
from stages.download.reasons import Reason, RowError

NUM_THREADS: Final = 16
OPT_OUT_MESSAGE: Final = "Use of image disallowed by X-Robots-Tag directive"
"""The error message of img2dataset 1.47 for a picture that its X-Robots-Tag check refused."""

_ONE_OPENER: Final = threading.Lock()
"""Held while our opener is installed: a process has one, so a second part in the same process waits for the first."""


def fetch(task: FetchTask, deliver: Deliver) -> None:
    """Deliver the response body or the failure of every URL; a `FetchEngine`."""
    limits = task.limits
    client = HttpClient(
        task.routes,
        num_tries=limits.num_tries,
        max_body_bytes=limits.max_body_bytes,
        allow_hosts=limits.allow_hosts,
        manners=limits.manners,
    )
    opener = _Opener(client)
    with closing(client), _installed(opener):
        _download(task, _Writer(deliver, lambda number: opener.terms.get(task.urls[number], UsageTerms())))


def _ask_for_no_version() -> None:
    """Keep a package below img2dataset from asking the internet for its newest version while it is imported."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


class _ReasonError(Exception):
    """Carries a `Reason` through img2dataset, which catches every error and passes on `str(error)`.

    A `Reason` is a `str`, so it is returned by `str()` as it is, and arrives at the writer as the value that it was:
    `str(_ReasonError(Reason.TIMEOUT)) is Reason.TIMEOUT`. Nothing is read out of text.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class _OpenedResponse:
    """A response in the shape that callers of `urlopen` expect."""

    def __init__(self, response: HttpResponse) -> None:
        self.headers: Message = response.headers
        self._body = response.body

    def __enter__(self) -> _OpenedResponse:
        return self

    def __exit__(self, *_: object) -> None:
        """The connection is closed already."""

    def read(self) -> bytes:
        """The whole body."""
        return self._body


class _Opener(urllib.request.OpenerDirector):
    """The opener that `urllib.request.urlopen` uses while a part is fetched: it asks our client."""

    def __init__(self, client: HttpClient) -> None:
        super().__init__()
        self._client = client
        self.terms: dict[str, UsageTerms] = {}
        """What was said about the use of each URL that has ended."""

    def open(
        self, fullurl: str | urllib.request.Request, data: object = None, timeout: float | None = None
    ) -> _OpenedResponse:
        """Fetch a request's URL, each try within `timeout` seconds."""
        if data is not None or timeout is None or isinstance(fullurl, str):
            raise TypeError("only GET requests with a timeout are opened here")
        terms = UsageTerms()
        self.terms[fullurl.full_url] = terms
        try:
            return _OpenedResponse(self._client.get(fullurl.full_url, fullurl.header_items(), timeout, terms=terms))
        except RowError as error:
            raise _ReasonError(error.reason) from error


class _Writer:
    """Stands where img2dataset expects its sample writer."""

    def __init__(self, deliver: Deliver, terms_of: Callable[[int], UsageTerms]) -> None:
        self._deliver = deliver
        self._terms_of = terms_of
        self._error: Exception | None = None

    def write(self, body: bytes | None, key: str, _caption: str | None, meta: dict[str, Any]) -> None:
        """Take one URL: `key` spells its index, `meta` holds the error message if there is no body."""
        if self._error is not None:
            return
        try:
            number = int(key)
            self._deliver(number, _failure(meta["error_message"]) if body is None else body, self._terms_of(number))
        except Exception as error:  # img2dataset would print it and continue
            self._error = error

    def close(self) -> None:
        """Called by img2dataset behind the last URL. Raises what `deliver` raised."""
        if self._error is not None:
            raise self._error


def _failure(message: str) -> FetchFailure:
    if isinstance(message, Reason):
        return FetchFailure(message)
    if message == OPT_OUT_MESSAGE:
        return FetchFailure(Reason.OPT_OUT)
    return FetchFailure(Reason.UNEXPLAINED, message)


def _unchanged(stream: BytesIO, _boxes: object = None) -> tuple[bytes, None, None, None, None, None]:
    """Stands where img2dataset expects its resizer: picture, two sizes, error. Pictures are judged by `deliver`."""
    return stream.getvalue(), None, None, None, None, None


@contextmanager
def _installed(opener: _Opener) -> Iterator[None]:
    """Let `urllib.request.urlopen` use this opener in the block, and the one that was there before afterwards."""
    with _ONE_OPENER:
        before = urllib.request._opener  # type: ignore[attr-defined]
        urllib.request.install_opener(opener)
        try:
            yield
        finally:
            urllib.request._opener = before  # type: ignore[attr-defined]


def _download(task: FetchTask, writer: _Writer) -> None:
    import pyarrow as pa

    _ask_for_no_version()
    from img2dataset.downloader import Downloader

    shard = task.scratch / "urls.feather"
    table = pa.table({"url": pa.array(task.urls, pa.string())})
    with pa.ipc.new_file(str(shard), table.schema) as file:
        file.write_table(table)
    (task.scratch / "statistics").mkdir()
    downloader = Downloader(
        sample_writer_class=lambda *_: writer,
        resizer=_unchanged,
        thread_count=NUM_THREADS,
        save_caption=False,
        extract_exif=False,
        output_folder=str(task.scratch / "statistics"),
        column_list=["url"],
        timeout=task.limits.deadline_seconds,
        number_sample_per_shard=len(task.urls),
        oom_shard_count=1,
        compute_hash=None,
        verify_hash_type=None,
        encode_format="jpg",
        retries=0,  # the client retries: img2dataset would not wait, nor tell which failures another try may mend
        user_agent_token=USER_AGENT_TOKEN,
        disallowed_header_directives=OPT_OUT_DIRECTIVES if "x_robots_tag" in task.limits.manners.opt_outs else (),
    )
    downloader.download_shard((0, str(shard)))
