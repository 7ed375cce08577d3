"""Weights that were made after a takedown never saw it: by the account of the store, and by a replay of every step."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.exposure.account import exposure_to
from stages.artifacts.artifact import AnyArtifact, Artifact, open_artifact
from stages.artifacts.kinds import PreBuffer, RawPairs, Rows
from stages.formats.packed_rows.rows import RowReader
from stages.formats.pairs import PairReader
from stages.store.store import Store
from stages.training.loading.step_rows import RowOrder
from tests.pipelines.conftest import NeoSite
from tests.worlds.flaky_web import flaky_web, picture

PIPELINE = """
from stages.contract import Source
from stages.dedup_pairs import DedupPairsRecipe, dedup_pairs
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from tests.worlds.training_world import LlmRecipe, make_llm


def trained():
    pairs = DownloadPairsRecipe(source=Source("urls"), allow_hosts=("127.0.0.1",), num_tries=1, num_urls_per_part=10)
    kept = filter_pairs.bind("kept", FilterPairsRecipe(), download_pairs.bind("pairs", pairs))
    llm = make_llm.bind("llm", LlmRecipe())
    draw = mix_samples.bind("draw", MixRecipe(shares={"pairs": 1}), {"pairs": kept})
    recipe = PackRowsRecipe(max_row_tokens=128, min_pixels_px=1024, max_pixels_px=9216, num_rows_per_part=4)
    rows = pack_rows.bind("rows", recipe, draw, llm)
    steps = TrainPrebufferRecipe(
        num_steps=8, rows_per_step=2, num_prebuffer_layers=1, patch_hidden=16, peak_learning_rate=1e-3,
        num_warmup_steps=1, precision="fp32", checkpoint_every_steps=4,
    )
    return train_prebuffer.bind("prebuffer", steps, [rows], llm)
"""


@pytest.fixture
def site_with_urls(site: NeoSite, tmp_path: Path) -> Iterator[NeoSite]:
    (tmp_path / "sources.toml").write_text('[urls]\nuri = "urls.parquet"\n')
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    site.file.write_text(f'store = "{tmp_path / "store"}"\nmlflow = "http://127.0.0.1:9"\n')
    with flaky_web({}) as web:
        web.table(tmp_path / "urls.parquet", 40)
        yield site


def made(site: NeoSite, step: str, kind: type[AnyArtifact]) -> AnyArtifact:
    shown = site.neo("show", f"trained/{step}", "--json").json
    return open_artifact(site.store, shown["stage"], shown["fingerprint"], kind)


def replayed(trained: PreBuffer) -> Counter[bytes]:
    """How often the steps of a training read each sample, by the order in which the training itself deals rows."""
    recipe, reader = trained.head.recipe, RowReader(trained.input("rows.0", Rows))
    order = RowOrder.of(reader, rows_per_step=recipe["rows_per_step"], seed=recipe["seed"])
    dealt = [row for step in range(recipe["num_steps"]) for row in order.rows_of_step(step)]
    return Counter(sample_id for row in dealt for sample_id, *_ in reader.documents(row))


def bytes_of(store: Store, artifact: Artifact) -> bytes:
    """All files of all parts, one after the other."""
    return b"".join(store.read(entry.key) or b"" for record in artifact.manifest.parts for entry in record.files)


def number_of(row: dict[str, Any]) -> int:
    """The number of the picture of a row, by its URL."""
    return int(row["url"][-10:-4])


@pytest.mark.long
def test_weights_made_after_a_takedown_never_saw_it(site_with_urls: NeoSite, tmp_path: Path) -> None:
    site, pipeline = site_with_urls, f"{tmp_path / 'pipeline.py'}:trained"
    told = site.neo("run", pipeline)
    assert told.code == 0, told
    before, seen = made(site, "prebuffer", PreBuffer), replayed(made(site, "prebuffer", PreBuffer))
    pairs = PairReader(made(site, "pairs", RawPairs))
    rows = [row for part in range(4) for row in pairs.table(f"{part:05d}").to_pylist()]
    gone = [row for row in rows if row["sample_id"] in seen][:3]
    first, second, third = gone
    listed = tmp_path / "list.txt"
    digest = hashlib.sha256(picture(number_of(second))).hexdigest()
    listed.write_text(f"{first['url']}\n{digest}\n{third['sample_id'].hex()}\n")
    shown = site.neo("takedown", str(listed), "--json").json
    assert shown["holders"][0]["num_samples"] == 3 and shown["models"] == [before.head.short]
    recorded = site.neo("takedown", str(listed), "--record", "--json").json
    assert recorded["plan"] == [f"neo plan {pipeline}"]
    plan = site.neo("plan", pipeline, "--json").json
    actions = {step["name"]: step["action"] for step in plan["steps"]}
    assert actions == {"llm": "reuse", **dict.fromkeys(("pairs", "kept", "draw", "rows", "prebuffer"), "make")}
    told = site.neo("run", pipeline)
    assert told.code == 0, told

    after = made(site, "prebuffer", PreBuffer)
    again = replayed(after)
    assert after.fingerprint != before.fingerprint and sum(again.values()) > 0
    ids = {row["sample_id"] for row in gone}
    assert ids <= seen.keys() and not ids & again.keys()
    for weights, dealt in ((before, seen), (after, again)):
        account = exposure_to(site.store, weights.head.short, ids)
        assert account.times == sum(dealt[one] for one in ids) and not account.doubts, account
        assert [one.short.partition("/")[0] for one in account.not_known] == ["make_llm"], "it came from elsewhere"
        of_all = exposure_to(site.store, weights.head.short, [row["sample_id"] for row in rows])
        assert of_all.times_by_sample == dealt and of_all.times == sum(dealt.values())
    packed_before, packed = (bytes_of(site.store, one.input("rows.0", Rows)) for one in (before, after))
    for row in gone:
        assert picture(number_of(row)) in packed_before and picture(number_of(row)) not in packed
