"""A run of a user's own pipeline whose download lost one of ten rows to a server error; the server answers all now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.pipelines.conftest import NeoSite
from tests.worlds.flaky_web import FlakyWeb, flaky_web

PIPELINE = """
from stages.contract import Source
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.filter_pairs import FilterPairsRecipe, filter_pairs


def own():
    recipe = DownloadPairsRecipe(
        source=Source("urls"), allow_hosts=("127.0.0.1",), num_tries=1, deadline_seconds=8, num_urls_per_part=10
    )
    return filter_pairs.bind("kept", FilterPairsRecipe(), download_pairs.bind("pairs", recipe))
"""


@contextmanager
def lossy_download(site: NeoSite, folder: Path) -> Iterator[tuple[FlakyWeb, str]]:
    """The server, and the pipeline as it is typed, once it has run: 40 rows in four parts."""
    (folder / "sources.toml").write_text('[urls]\nuri = "urls.parquet"\n')
    (folder / "pipeline.py").write_text(PIPELINE)
    site.file.write_text(f'store = "{folder / "store"}"\nmlflow = "http://127.0.0.1:9"\n')
    with flaky_web({3: "server_error"}) as web:
        web.table(folder / "urls.parquet", 40)
        pipeline = f"{folder / 'pipeline.py'}:own"
        told = site.neo("run", pipeline)
        assert told.code == 0, told
        web.mend()
        yield web, pipeline
