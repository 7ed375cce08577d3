"""img2dataset as an engine: values in, values out, and nothing of it left behind in the process."""

import ast
import urllib.request
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from stages.download.engines import img2dataset
from stages.download.engines.interface import FetchFailure, FetchLimits, FetchTask
from stages.download.reasons import Reason

ROOT = Path(__file__).parents[4]
LIMITS = FetchLimits(deadline_seconds=10.0, num_tries=1, max_body_bytes=100_000)


def delivered(web: Any, urls: list[str], scratch: Path) -> dict[int, bytes | FetchFailure]:
    scratch.mkdir(exist_ok=True)
    found: dict[int, bytes | FetchFailure] = {}
    task = FetchTask(urls=urls, routes=web.routes, limits=LIMITS, scratch=scratch)
    img2dataset.fetch(task, lambda number, end, _: found.__setitem__(number, end))
    return found


@pytest.fixture
def urls(web: Any, http_answer: Callable[..., bytes]) -> list[str]:
    return [
        web.says("/body", http_answer(b"any bytes")),
        web.says("/missing", http_answer(b"", status="404 Not Found")),
        web.says("/forbidden", http_answer(b"any bytes", "X-Robots-Tag: noai")),
        web.says("/body", http_answer(b"any bytes")),
    ]


def test_every_url_is_delivered_by_its_index_with_its_body_or_its_reason(
    web: Any, urls: list[str], tmp_path: Path
) -> None:
    assert delivered(web, urls, tmp_path / "scratch") == {
        0: b"any bytes",
        1: FetchFailure(Reason.NOT_FOUND),
        2: FetchFailure(Reason.OPT_OUT),
        3: b"any bytes",
    }


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_passes_through_the_text_of_an_error_as_the_value_that_it_is(reason: Reason) -> None:
    """What img2dataset does to an error: `str(error)`."""
    message = str(img2dataset._ReasonError(reason))
    assert message is reason
    assert img2dataset._failure(message) == FetchFailure(reason)


def test_an_error_that_is_no_reason_is_unexplained_and_keeps_its_words(
    web: Any, urls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("not_found")  # words that spell a reason are words all the same

    monkeypatch.setattr(img2dataset.HttpClient, "get", broken)
    found = delivered(web, urls[:1], tmp_path / "scratch")
    assert found == {0: FetchFailure(Reason.UNEXPLAINED, "not_found")}


def test_an_error_of_the_caller_is_raised_after_the_part(web: Any, urls: list[str], tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    task = FetchTask(urls=urls, routes=web.routes, limits=LIMITS, scratch=tmp_path)
    with pytest.raises(OSError, match="No space left"):
        img2dataset.fetch(task, full)


@pytest.mark.parametrize("raises", [False, True])
def test_the_opener_of_the_process_is_the_one_from_before(
    web: Any, urls: list[str], tmp_path: Path, raises: bool
) -> None:
    before = urllib.request._opener
    during: list[object] = []

    def look(*_: object) -> None:
        during.append(urllib.request._opener)
        if raises:
            raise OSError

    task = FetchTask(urls=urls, routes=web.routes, limits=LIMITS, scratch=tmp_path)
    try:
        img2dataset.fetch(task, look)
    except OSError:
        assert raises
    assert isinstance(during[0], img2dataset._Opener)
    assert urllib.request._opener is before


def test_a_second_part_in_the_process_waits_until_the_first_has_ended(
    web: Any, urls: list[str], tmp_path: Path
) -> None:
    """Both would else install an opener, and one would be asked for the URLs of the other, by its routes."""
    openers: list[object] = []
    second = Thread(target=lambda: openers.append(delivered(web, urls[:1], tmp_path / "second")))

    def start_second(*_: object) -> None:
        openers.append(urllib.request._opener)
        if not second.ident:
            second.start()
            second.join(0.5)

    img2dataset.fetch(FetchTask(urls=urls, routes=web.routes, limits=LIMITS, scratch=tmp_path), start_second)
    second.join()
    *of_first, of_second = openers
    assert len(of_first) == len(urls) and len(set(of_first)) == 1
    assert of_second == {0: b"any bytes"}


def test_only_this_module_imports_img2dataset() -> None:
    importers = set()
    for path in ROOT.glob("*/**/*.py"):
        if path.relative_to(ROOT).parts[0] in ("neo_model", "stages", "cluster", "pipelines"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if any(name.partition(".")[0] == "img2dataset" for name in names):
                    importers.add(path.relative_to(ROOT).as_posix())
    assert importers == {"stages/download/engines/img2dataset.py"}
