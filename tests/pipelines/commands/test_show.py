"""`neo show` says of a filter how often each of its rules was applied, and on which column."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import skimage

from cluster.local import make
from pipelines.tracking.page_contents import _rules
from stages.contract import Source
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.import_pairs import ImportPairsRecipe, import_pairs
from tests.pipelines.conftest import NeoSite

PHOTO = Path(skimage.__file__).parent / "data/rocket.jpg"


def test_rules_that_were_applied_and_that_were_not_are_shown(site: NeoSite) -> None:
    table = {"image": [PHOTO.read_bytes()] * 3, "text": ["a rocket at night"] * 3, "NSFW": ["UNLIKELY", "NSFW", None]}
    pq.write_table(pa.table(table), site.folder / "pairs.parquet")
    raw = import_pairs.bind("pairs", ImportPairsRecipe(source=Source("mine")))
    recipe = FilterPairsRecipe(min_caption_chars=4)
    kept = make(
        filter_pairs.bind("kept", recipe, raw), site.store, sources={"mine": str(site.folder / "pairs.parquet")}
    )
    shown = site.neo("show", kept.short)
    assert shown.code == 0, shown.err
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["2", "worst_nsfw_tag", "applied", "to", "NSFW"] in lines and ["1", "worst_nsfw_tag", "null"] in lines
    assert ["3", "max_punsafe", "no", "column"] in lines
    rules = site.neo("show", kept.short, "--json").json["rules"]
    assert rules["worst_nsfw_tag"] == {"applied to NSFW": 2, "null": 1} and rules["max_punsafe"] == {"no column": 3}
    assert "| 3 | `max_pwatermark` | no column |" in "".join(_rules(kept.head))
