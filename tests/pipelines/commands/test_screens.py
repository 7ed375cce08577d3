"""Whole screens of commands over a store that does not change, at three widths and without a terminal.

They are kept in `screens.txt`. Write it again on purpose: NEO_WRITE_SCREENS=1 python -m pytest -k screens_are_those
"""

import os
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.conftest import NOBODY, ROOT, NeoSite

KEPT = Path(__file__).with_name("screens.txt")
STORE = ROOT / "tests" / "old_store" / "tiny-892de35.tar.xz"
COMMANDS = ("list", "show tiny", "status tiny", "trace tiny/evaluate")
WIDTHS = (80, 100, 160)


@pytest.fixture
def old_site(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[NeoSite]:
    """A finished run of `tiny`, as an earlier version left it, in Greenwich; in a folder whose name is short, since
    lines break by its length."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    with tarfile.open(STORE) as tar:
        tar.extractall(site.folder, filter="data")
    with tempfile.TemporaryDirectory(prefix="neo", dir="/tmp") as folder:
        (site.folder / "neo-store").rename(Path(folder) / "store")
        site.file.write_text(f'store = "{folder}/store"\nmlflow = "{NOBODY}"\n')
        yield site


def test_screens_are_those_that_are_kept(old_site: NeoSite) -> None:
    shown = []
    for words in COMMANDS:
        for width in (*WIDTHS, None):
            said = old_site.neo(*words.split()) if width is None else old_site.on_terminal(width, *words.split())
            lines = (said.out + said.err).splitlines()
            body = [line for line in lines if "/tmp/" not in line]
            if width is not None:
                assert max(map(len, body)) <= width, (words, width)
            shown += [f"=== neo {words}, {f'{width} columns' if width else 'no terminal'}", *body, ""]
    told = "\n".join(shown)
    if os.environ.get("NEO_WRITE_SCREENS"):
        KEPT.write_text(told)
    assert told == KEPT.read_text()


def test_ids_and_numbers_are_whole_on_any_screen(old_site: NeoSite) -> None:
    """What stands in the document of `trace` stands on the screen of 80 columns, each in one piece."""
    nodes = old_site.neo("trace", "tiny/evaluate", "--json").json["nodes"]
    words = old_site.on_terminal(80, "trace", "tiny/evaluate").out.split()
    for node in nodes:
        assert node["fingerprint"][:12] in words and node["step"] in words
        assert node["at_step"] is not None or f"{node['items']['kept']:,}" in words or not node["num_entered"]


def test_nothing_but_a_path_is_wider_than_the_screen(old_site: NeoSite) -> None:
    for words in ("show tiny/evaluate", "show tiny/pairs", "estimate neo_2b --gpu H200", "plan tiny --graph", "stages"):
        for line in old_site.on_terminal(80, *words.split()).out.splitlines():
            assert len(line) <= 80 or len(line.split()) == 1 or line.startswith("Next:"), (words, line)
