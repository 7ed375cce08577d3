"""What the tests of `neo look` at artifacts share."""

from pathlib import Path

import pytest

from tests.pipelines.conftest import NeoSite


@pytest.fixture
def looked(site: NeoSite, store_folder: Path, monkeypatch: pytest.MonkeyPatch) -> NeoSite:
    """A site with the store of the module, `store_folder`, on a terminal of 80 columns."""
    site.file.write_text(f'store = "{store_folder}"\nmlflow = "http://127.0.0.1:9"\n')
    monkeypatch.setenv("COLUMNS", "80")
    return site
