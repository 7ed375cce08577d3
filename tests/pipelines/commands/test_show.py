"""`neo show` says of a filter how often each of its rules was applied; of a training its times, losses, checkpoints."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skimage

from cluster.local import make
from pipelines.tracking.page_contents import _rules
from stages.contract import Source
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.import_pairs import ImportPairsRecipe, import_pairs
from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.runs.many_runs import counted

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


def test_a_training_shows_its_times_losses_and_checkpoints(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_KEEPS_TWO", "1")
    assert site.neo("run", f"{TOYS}:whole").code == 0
    with counted(monkeypatch) as requests:
        said = site.neo("show", "whole/weights")
    assert "losses      1 at step 1, 0.1667 at step 6" in said.out
    assert re.search(r"made        \d{4}-\d\d-\d\d \d\d:\d\d, \d:\d\d long\n", said.out)
    assert [line.split()[:3] for line in said.out.splitlines() if line.startswith("step ")] == [
        ["step", "4", "11"], ["step", "6", "11"]
    ]  # fmt: skip
    assert "1 other committed, whose files were deleted since" in said.out
    assert not [one for one in requests if "/outbox/0" in one and one.startswith("read ")], "no message is read"
    made = site.neo("show", "whole/weights", "--json").json["made"]
    assert made["losses"]["first"] == {"at_step": 1, "loss": 1.0} and made["seconds"] > 0
    assert made["checkpoints"]["num_committed"] == 3 and made["checkpoints"]["num_kept"] == 2
    assert [one["outcome"] for one in made["attempts"]] == ["committed"]
    rows = site.neo("show", "whole/rows", "--json").json["made"]
    assert rows["seconds"] > 0 and rows["checkpoints"]["num_committed"] == 0 and rows["losses"]["first"] is None
