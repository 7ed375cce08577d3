"""The paper's own numbers stand in the shipped pipelines, and an estimate answers for them without a GPU or network."""

from collections.abc import Mapping

import pytest

from cluster.site import SHIPPED
from pipelines.planning.catalog import find_pipeline
from pipelines.recipes import _paper as paper
from tests.pipelines.conftest import NeoSite

TABLE_5 = {
    "prebuffer": (190_000, 8e-4, 2_000, 0.05),
    "mid": (50_000, 4e-5, 200, 0.1),
    "chat": (6_000, 5e-5, 200, 0.0),
}
"""Step to optimizer steps, peak learning rate, warm-up and floor."""
TRAINED = {"neo_2b": (0.865e9, 2.585e9), "neo_9b": (2.056e9, 10.246e9)}
TRAINED |= {"neo_ov_2b": TRAINED["neo_2b"], "neo_ov_9b": TRAINED["neo_9b"]}
"""Parameters that pre-training trains, and all of them."""


def test_the_sources_add_up_to_the_papers_samples() -> None:
    assert sum(paper.PRETRAIN.values()) == 345_000_000
    assert sum(paper.MID.values()) == pytest.approx(1.0)
    with_pictures = 0.7 * paper.NUM_DRAWN["pretrain"]
    assert with_pictures == pytest.approx(340e6, rel=0.01), "one pass over 345 million"
    assert 0.7 * paper.NUM_DRAWN["mid"] == pytest.approx(42e6, rel=0.01)
    assert paper.NUM_DRAWN["chat"] == pytest.approx(paper.NUM_INSTRUCTIONS, rel=0.03)


@pytest.mark.parametrize("name", ["neo_2b", "neo_9b"])
def test_the_trainings_are_those_of_table_5(name: str) -> None:
    steps = find_pipeline(name).steps
    for step, (num_steps, rate, warmup, floor) in TABLE_5.items():
        recipe = steps[step].recipe
        found = (recipe.num_steps, recipe.peak_learning_rate, recipe.num_warmup_steps, recipe.floor_ratio)
        assert found == (num_steps, rate, warmup, floor)
        assert (recipe.betas, recipe.eps, recipe.weight_decay, recipe.precision) == ((0.9, 0.999), 1e-8, 0.01, "bf16")
    for mix in ("pretrain_mix", "mid_mix"):
        shares = steps[mix].recipe.shares
        assert shares["text"] / sum(shares.values()) == pytest.approx(0.3)
    sides = {name: steps[f"{name}_rows"].recipe for name in ("pretrain", "mid", "chat")}
    assert [recipe.max_pixels_px for recipe in sides.values()] == [1024**2, 2048**2, 2048**2]
    assert all(recipe.min_pixels_px == 256**2 for recipe in sides.values())


@pytest.mark.parametrize("name", TRAINED)
def test_an_estimate_answers_for_the_paper(site: NeoSite, name: str) -> None:
    told = site.neo("estimate", name, "--gpu", "H200", "--json")
    assert told.code == 0, told
    steps = {step["step"]: step for step in told.json["steps"]}
    trained, all_of_it = TRAINED[name]
    assert steps["prebuffer"]["num_trainable"] == pytest.approx(trained, rel=0.002)
    assert steps["prebuffer"]["num_parameters"] == pytest.approx(all_of_it, rel=0.002)
    assert steps["mid"]["num_trainable"] == steps["mid"]["num_parameters"]


def test_the_tuning_of_a_released_2b_fits_a_gpu_of_40_gb(site: NeoSite) -> None:
    told = site.type_(["estimate", "tune_released", "--site", "one_gpu", "--json"])
    assert told.code == 0, told
    (step,) = told.json["steps"]
    assert step["num_trainable"] == pytest.approx(2.585e9, rel=0.002)
    assert step["peak_bytes"] < 0.9 * 40e9 and step["fits"], step["peak_bytes"]
    assert 70 * 2**30 < step["host_bytes"] < 80 * 2**30


def test_with_adapters_a_released_2b_needs_no_optimizer_on_the_host(site: NeoSite) -> None:
    use_shipped(site, "one_gpu", but={"offload_optimizer = true": ""})
    told = site.neo("estimate", "tune_released", "--set", "tuned.lora_rank=16", "--json")
    assert told.code == 0, told
    (step,) = told.json["steps"]
    assert step["fits"] and step["num_trainable"] < 0.02 * step["num_parameters"]
    assert step["host_bytes"] < 12 * 2**30 and told.json["next"].startswith("neo run tune_released")


@pytest.mark.parametrize("name", ["neo_9b", "neo_ov_9b"])
def test_the_example_cluster_holds_the_largest_models(site: NeoSite, name: str) -> None:
    use_shipped(site, "example_cluster")
    told = site.neo("estimate", name, "--json")
    assert told.code == 0, told
    assert [step["step"] for step in told.json["steps"] if not step["fits"]] == []
    assert {step["gpu"] for step in told.json["steps"]} == {"H200"}
    assert told.json["next"].startswith(f"neo run {name}")


def use_shipped(site: NeoSite, name: str, but: Mapping[str, str] = {}) -> None:
    """Let the site be a shipped one, with changes, on a store of the test's own."""
    text = (SHIPPED / f"{name}.toml").read_text()
    for old, new in but.items():
        assert old in text
        text = text.replace(old, new)
    elsewhere = ("store =", "mlflow =", "secrets =")
    kept = [line for line in text.splitlines() if not line.startswith(elsewhere)]
    site.file.write_text("\n".join([f'store = "{site.folder / "store"}"', *kept]))
