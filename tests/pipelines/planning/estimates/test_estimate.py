"""`neo estimate` says what training takes before anything is made, and names what it does not know."""

import json
import shlex
from pathlib import Path

import pytest

from neo_model.costs.gpus import gpu_named
from pipelines.planning.estimates.assumptions import Assumptions
from pipelines.planning.estimates.expected_sizes import ExpectedRows
from pipelines.planning.estimates.step_costs import fullest_micro_batch, rows_work
from stages.formats.packed_rows.rows import RowReader
from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.expected_pipeline import ROWS
from tests.worlds.training_world import SmallWorld

SMALL = f"{Path(__file__).parents[2] / 'expected_pipeline.py'}:small"
QWEN3_8B = {
    "model_type": "qwen3", "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
    "intermediate_size": 12_288, "vocab_size": 151_936, "num_hidden_layers": 36, "rope_theta": 1e6,
    "tie_word_embeddings": False,
}  # fmt: skip
LARGE = (
    "--set", "prebuffer.num_prebuffer_layers=6", "--set", "prebuffer.patch_hidden=1024",
    "--set", "prebuffer.precision=bf16", "--set", "mid.precision=bf16",
    "--set", "pretrain_rows.max_row_tokens=16384", "--set", "mid_rows.max_row_tokens=16384",
)  # fmt: skip


@pytest.fixture
def llm(tmp_path: Path) -> str:
    (tmp_path / "qwen").mkdir()
    (tmp_path / "qwen" / "config.json").write_text(json.dumps(QWEN3_8B))
    return str(tmp_path / "qwen")


def test_every_training_step_of_a_recipe_is_estimated_before_anything_is_made(site: NeoSite) -> None:
    told = site.neo("estimate", "tiny")
    assert told.code == 0 and told.last_line.startswith("Next: neo run tiny")
    assert all(f"{step} (" in told.out for step in ("prebuffer", "mid", "chat")) and "base_llm (" not in told.out
    assert "supervised_share=0.3, fill=0.98" in told.out and "GPUs of no named type" in told.out
    steps = site.neo("estimate", "tiny", "--json").json["steps"]
    assert [one["step"] for one in steps] == ["prebuffer", "mid", "chat"]
    assert steps[0]["num_frozen"] > 0 and steps[1]["num_frozen"] == 0 and steps[0]["days"] is None
    assert not (site.folder / "store" / "artifacts").exists()


def test_the_paper_s_9b_has_its_sizes_and_its_days(site: NeoSite, llm: str) -> None:
    asked = ("estimate", "tiny", "--until", "mid", "--llm", llm, *LARGE, "--json")
    told = site.neo(*asked, "--gpu", "H200").json
    prebuffer, mid = told["steps"]
    assert prebuffer["num_parameters"] == pytest.approx(10.246e9, rel=1e-3)
    assert prebuffer["num_trainable"] == pytest.approx(2.056e9, rel=1e-3)
    assert mid["num_trainable"] == mid["num_parameters"]
    assert mid["flops"] / mid["num_tokens"] == pytest.approx(6 * 9e9, rel=0.15)
    assert prebuffer["flops"] / prebuffer["num_tokens"] < 5 * 9e9
    rate = 989e12 * told["assumed"]["mfu"]
    assert mid["days"] == pytest.approx(mid["flops"] / rate / 86_400)
    slower = site.neo(*asked, "--gpu", "A100", "--assume", "mfu=0.2").json["steps"][1]
    assert slower["days"] > 6 * mid["days"]
    assert {one["zero_stage"]: bool(one["refused"]) for one in mid["layouts"]} == {
        0: True,
        1: False,
        2: False,
        3: False,
    }


def test_less_than_everything_is_less_to_hold_and_to_compute(site: NeoSite, llm: str) -> None:
    """Adapters, and the last layers alone; what the model has not is refused."""

    def mid(*settings: str) -> dict:
        words = [word for setting in settings for word in ("--set", f"mid.{setting}")]
        asked = ("estimate", "tiny", "--until", "mid", "--llm", llm, *LARGE, *words, "--gpu", "H200", "--json")
        return site.neo(*asked).json["steps"][1]

    whole, adapted, top = mid(), mid("lora_rank=16"), mid("trained_top_layers=4")
    layouts = [one["layouts"][2]["memory_bytes"] for one in (whole, adapted, top)]
    assert adapted["num_parameters"] - whole["num_parameters"] == adapted["num_trainable"] < 0.01 * 10e9
    assert adapted["num_frozen"] == whole["num_parameters"] and top["num_trainable"] < 1e9
    assert 0.6 < adapted["flops"] / whole["flops"] < 0.75, "no gradients of frozen weights"
    assert top["flops"] < 0.5 * whole["flops"], "and nothing below the lowest layer that trains"
    assert layouts[0]["masters"] > 50 * layouts[1]["masters"] and layouts[0]["masters"] > 10 * layouts[2]["masters"]
    assert layouts[0]["activations"] > layouts[1]["activations"] > 3 * layouts[2]["activations"]
    told = site.neo("estimate", "tiny", "--until", "mid", "--llm", llm, *LARGE, "--set", "mid.trained_top_layers=99")
    assert told.code == 2 and "trained_top_layers = 99: the model has 42 layers" in told.err


def test_what_does_not_fit_is_said_with_what_would_and_is_not_proposed(site: NeoSite, llm: str) -> None:
    with site.file.open("a") as file:
        file.write('[gang]\nnum_ranks = 8\nzero_stage = 1\ngpus = 1\ngpu = "A100"\nmemory_bytes = 1000000000\n')
    asked = ("estimate", "tiny", "--until", "mid", "--llm", llm, *LARGE, "--price", "2.5")
    told = site.neo(*asked)
    assert told.code == 0 and "too large   " in told.out and "of a A100, of which 90% may be filled" in told.out
    assert "under [steps.mid.gang] of the site: " in told.out and "more than the 0.9 that the site reserves" in told.out
    again = shlex.split(told.last_line.removeprefix("Next: ").partition("   (")[0])
    assert again[:3] == ["neo", "estimate", "tiny"] and told.last_line.endswith("(once the site says so)")
    assert ["--llm", llm] == again[again.index("--llm") :][:2], "what decides the sizes is said again"
    document = site.neo(*asked, "--json").json
    mid = document["steps"][1]
    assert not mid["fits"] and mid["peak_bytes"] > 0.9 * 80e9
    assert mid["price"] == pytest.approx(mid["days"] * 24 * 8 * 2.5)
    with site.file.open("a") as file:
        for step in document["steps"]:
            file.write("\n".join([f"[steps.{step['step']}.gang]", *step["remedy"].split(", ")]) + "\n")
    mended = site.neo(*asked, "--json").json
    assert all(step["fits"] and not step["remedy"] for step in mended["steps"])
    assert mended["next"].startswith("neo run tiny")
    assert mended["steps"][1]["recomputed_flops"] == pytest.approx(mid["flops"] / 3, rel=0.05)
    assert mended["steps"][1]["days"] > mid["days"]


def test_rows_that_are_made_are_measured(site: NeoSite, tmp_path: Path) -> None:
    world = SmallWorld(site.store, tmp_path)
    world.make(ROWS)
    told = site.neo("estimate", SMALL)
    assert "as measured in the rows" in told.out and "fill=" not in told.out
    (step,) = site.neo("estimate", SMALL, "--json").json["steps"]
    reader = RowReader(world.open(ROWS))
    mean = sum(reader.work(row).num_tokens for row in range(reader.num_rows)) / reader.num_rows
    assert step["rows_are_measured"] and step["num_rows"] == 48
    assert step["num_tokens"] == pytest.approx(48 * mean, abs=24)


def test_memory_is_that_of_the_longest_rows_full_and_of_all_rows_of_a_micro_batch() -> None:
    short, long = ExpectedRows(row_tokens=1024, measured=None), ExpectedRows(row_tokens=4096, measured=None)
    works = [rows_work(rows, Assumptions(fill=0.5)) for rows in (short, long)]
    assert fullest_micro_batch([short, long], works, 1).num_tokens == 4096
    assert fullest_micro_batch([long, short], works[::-1], 3).num_tokens == 3 * 4096


def test_an_estimate_counts_the_micro_rows_of_the_site(site: NeoSite) -> None:
    def activations() -> int:
        steps = site.neo("estimate", "tiny", "--until", "prebuffer", "--json").json["steps"]
        return steps[0]["layouts"][1]["memory_bytes"]["activations"]

    one = activations()
    with site.file.open("a") as file:
        file.write("[gang]\nmicro_rows = 2\n")
    assert activations() == pytest.approx(2 * one, rel=0.1)


def test_a_gang_of_eight_to_sixteen_ranks_is_estimated_with_both(site: NeoSite) -> None:
    """Twice the ranks halve the days and the slices of ZeRO; what every rank holds whole stays."""
    with site.file.open("a") as file:
        file.write('[gang]\nnum_ranks = [8, 16]\nzero_stage = 1\ngpus = 1\ngpu = "H200"\n')
    asked = ("estimate", "tiny", "--until", "prebuffer", "--set", "prebuffer.rows_per_step=16")
    (least,) = site.neo(*asked, "--json").json["steps"]
    most = least["with_max_ranks"]
    assert (least["num_ranks"], most["num_ranks"]) == (8, 16)
    assert most["days"] == pytest.approx(least["days"] / 2)
    assert most["peak_bytes"] < least["peak_bytes"]
    told = site.neo(*asked).out
    assert all(words in told for words in ("on 8 H200", "on 16 H200", "GiB a rank of 8", "GiB a rank of 16"))
    site.file.write_text(site.file.read_text().replace("[8, 16]", "8"))
    (only,) = site.neo(*asked, "--json").json["steps"]
    assert only == {**least, "with_max_ranks": None}


def test_ranks_that_share_rows_are_estimated_with_what_they_hold_and_send(site: NeoSite, llm: str) -> None:
    """Rows of 36,864 tokens and a 9B: a quarter of the activations, for a few percent of the time."""
    rows = ("--set", "mid_rows.max_row_tokens=36864", "--set", "mid.rows_per_step=8")
    asked = ("estimate", "tiny", "--until", "mid", "--llm", llm, *LARGE, *rows)

    def mid(table: str) -> tuple[dict, str]:
        plain = site.file.read_text()
        site.file.write_text(f'{plain}\n[gang]\nnum_ranks = 8\nzero_stage = 3\ngpus = 1\ngpu = "A100"\n{table}\n')
        try:
            return site.neo(*asked, "--json").json["steps"][1], site.neo(*asked).out
        finally:
            site.file.write_text(plain)

    alone, said_alone = mid("activation_checkpointing = true")
    shared, said = mid("activation_checkpointing = true\nsequence_ranks = 4")
    memory = [one["layouts"][3]["with_checkpointing_bytes"] for one in (alone, shared)]
    assert 0.25 < memory[1]["activations"] / memory[0]["activations"] < 0.33
    assert all(memory[0][name] == memory[1][name] for name in ("weights", "masters", "moments", "gradients"))
    assert alone["exchanged_bytes"] == 0 and shared["exchanged_bytes"] > 10e9
    assert alone["days"] < shared["days"] < 1.1 * alone["days"] and shared["flops"] == alone["flops"]
    assert "4 ranks hold a row together, 2 rows side by side; each sends" in " ".join(said.split())
    assert "link_gb_per_second=200" in said and "sharing " not in said_alone
    refused, _ = mid("sequence_ranks = 2\n[steps.mid.gang]\nnum_ranks = 48\nsequence_ranks = 24")
    assert "cannot be dealt to 24 ranks alike; it can to 1, 2, 4, 8, 16, 32" in refused["layouts"][3]["refused"]


def test_places_that_stay_empty_count_as_days_and_are_said(site: NeoSite) -> None:
    """16 rows take two passes on 8 ranks as on 12, which halve nothing and cost half as much again."""
    with site.file.open("a") as file:
        file.write('[gang]\nnum_ranks = [8, 12]\ngpus = 1\ngpu = "H200"\n')
    asked = ("estimate", "tiny", "--until", "prebuffer", "--set", "prebuffer.rows_per_step=16")
    (least,) = site.neo(*asked, "--json").json["steps"]
    most = least["with_max_ranks"]
    assert (least["idle_share"], most["idle_share"]) == (0, pytest.approx(1 / 3))
    assert most["days"] == pytest.approx(least["days"])
    assert not [one["refused"] for one in most["layouts"] if one["refused"]]
    told = " ".join(site.neo(*asked).out.split())
    assert "leave 33% of the places empty that 12 ranks x 1 rows x 2 passes have; 8 ranks would take as many" in told


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((f"{TOYS}:data",), 2, "no training step"),
        (("tiny", "--gpu", "H2O"), 2, "known are A100"),
        (("tiny", "--assume", "mfu=2"), 2, "at most 1"),
        (("tiny", "--assume", "speed=2"), 2, "assumed are mfu"),
        (("tiny", "--assume", "mfu=fast"), 2, "is not a number"),
        (("tiny", "--llm", "/nowhere"), 2, "/nowhere"),
        ((SMALL,), 3, "make it first"),
    ],
)
def test_what_cannot_be_estimated_is_said(site: NeoSite, words: tuple[str, ...], code: int, said: str) -> None:
    told = site.neo("estimate", *words)
    assert told.code == code and said in told.err and told.last_line.startswith("Next: neo ")


@pytest.mark.parametrize(
    ("device", "name"),
    [("NVIDIA A100-SXM4-40GB", "A100 40GB"), ("NVIDIA A100-SXM4-80GB", "A100"), ("NVIDIA A100 80GB PCIe", "A100"),
     ("NVIDIA H100 80GB HBM3", "H100"), ("NVIDIA H100 NVL", "H100 NVL")],
)  # fmt: skip
def test_a_gpu_is_found_by_the_name_that_it_reports(device: str, name: str) -> None:
    found = gpu_named(device)
    assert found is not None and found.name == name


def test_a_moving_average_and_an_early_step_are_counted(site: NeoSite) -> None:
    asked = ("estimate", "tiny", "--until", "prebuffer")
    (plain,) = site.neo(*asked, "--json").json["steps"]
    kept = (*asked, "--set", "prebuffer.ema_decay=0.999", "--set", "prebuffer.hand_out=10")
    (averaged,) = site.neo(*kept, "--json").json["steps"]
    assert (plain["num_steps"] > averaged["num_steps"]) and averaged["num_steps"] == 10
    for before, after in zip(plain["layouts"], averaged["layouts"], strict=True):
        assert before["memory_bytes"]["ema"] == 0 < after["memory_bytes"]["ema"] == after["memory_bytes"]["moments"] / 2
        assert after["memory_bytes"]["peak"] == before["memory_bytes"]["peak"] + after["memory_bytes"]["ema"]
    assert "for the average of its weights" in site.neo(*kept).out


def test_a_fork_counts_the_steps_that_remain(site: NeoSite) -> None:
    """Of a training of 6 steps: 4 after its step 4, of the rows that these read; none where a state is handed out."""
    pipeline = f"{TOYS}:trained"
    longer = ("--set", "weights.num_steps=8", "--price", "2")
    assert site.neo("estimate", pipeline, "--from", "weights@4", *longer).code == 3, "nothing was trained yet"
    assert site.neo("run", pipeline).code == 0
    with site.file.open("a") as file:
        file.write('[steps.weights.gang]\nnum_ranks = 1\nzero_stage = 1\ngpus = 1\ngpu = "H200"\n')

    def asked(*words: str) -> dict:
        (step,) = site.neo("estimate", pipeline, *words, "--json").json["steps"]
        return step

    whole, left = asked(*longer), asked("--from", "weights@4", *longer)
    assert [(one["first_step"], one["num_steps"], one["num_rows"]) for one in (whole, left)] == [(0, 8, 32), (4, 4, 16)]
    for field in ("num_tokens", "flops", "days", "price"):
        assert left[field] == pytest.approx(whole[field] / 2), field
    assert left["peak_bytes"] == whole["peak_bytes"]
    said = site.neo("estimate", pipeline, "--from", "weights@4", *longer)
    assert "4 steps after step 4, 16 rows" in said.out
    assert "--from weights=train_prebuffer/" in said.last_line and said.last_line.startswith("Next: neo run")
    end = asked("--from", "weights@6", *longer)
    assert (end["num_steps"], end["num_rows"]) == (2, 8), "also from the end"
    none = asked("--from", "weights@4", "--set", "weights.hand_out=4", *longer)
    assert (none["num_steps"], none["days"], none["recomputed_flops"]) == (0, 0, 0) and none["peak_bytes"] > 0


def test_a_contrastive_loss_is_counted_and_ranks_that_share_rows_refuse_it(site: NeoSite, llm: str) -> None:
    asked = ("estimate", "tiny", "--until", "mid", "--llm", llm, *LARGE, "--gpu", "H200")
    plain = site.neo(*asked, "--json").json["steps"][1]
    told = site.neo(*asked, "--set", "mid.contrastive_weight=0.1")
    assert "of them at most, to compare pictures with captions" in told.out
    mid = site.neo(*asked, "--set", "mid.contrastive_weight=0.1", "--json").json["steps"][1]
    assert plain["contrastive_flops"] == 0
    assert mid["contrastive_flops"] == pytest.approx(mid["flops"] - plain["flops"])
    # Three tenths of the tokens once more, forward and backward; of two rows on one rank a pass forward before.
    assert mid["flops"] / plain["flops"] == pytest.approx(1.3 * (1 + 1 / 3), rel=0.05)
    assert mid["num_tokens"] == plain["num_tokens"], "a caption is read twice, and learned once"
    assert mid["layouts"][2]["memory_bytes"]["activations"] > plain["layouts"][2]["memory_bytes"]["activations"]
