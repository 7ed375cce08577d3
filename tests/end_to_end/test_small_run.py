"""The whole pipeline as a person runs it: real Ray, real DeepSpeed, real HTTP, real MLflow, real signals.

One undisturbed run, looked at from all sides; and one that is killed with SIGKILL in the middle of the download, of
packing and of training, and must come to the same end.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RECIPE = f"{Path(__file__).with_name('small.py')}:small"
SETTINGS = ("--set", "pairs.num_urls_per_part=60", "--set", "pretrain_rows.num_rows_per_part=4")
STEPS = {
    "pairs", "kept", "text", "talks", "base_llm", "pretrain_mix", "pretrain_rows", "prebuffer", "merged", "mid_mix",
    "mid_rows", "mid", "chat_mix", "chat_rows", "chat", "heldout_pairs", "questions", "heldout_mix", "heldout_rows",
    "evaluate", "export",
}  # fmt: skip
WAIT_SECONDS = 600
pytestmark = pytest.mark.timeout(3 * WAIT_SECONDS)


class Home:
    """A folder in which a person types commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "neo-store"
        self.num_started = 0

    def start(self, *words: str) -> subprocess.Popen[str]:
        self.num_started += 1
        command = [sys.executable, "-m", "pipelines.cli", *words]
        environment = {**os.environ, "NEO_HOME": str(self.folder)}
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def neo(self, *words: str, code: int = 0) -> str:
        process = self.start(*words)
        output, _ = process.communicate(timeout=2 * WAIT_SECONDS)
        assert process.returncode == code, output
        return output

    def ask(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.neo(*words, "--json", code=code))

    def run(self) -> str:
        return self.neo("run", RECIPE, *SETTINGS)

    def records(self, stage: str = "*", phase: str = "*") -> dict[Path, bytes]:
        """Every record that makes a part or a checkpoint true."""
        return {path: path.read_bytes() for path in self.store.glob(f"artifacts/{stage}/*/records/{phase}/*.json")}

    def kill_once(self, reached: Callable[[], bool]) -> dict[Path, bytes]:
        """Start the run, kill its driver as soon as `reached`, and return the records that were there then."""
        process = self.start("run", RECIPE, *SETTINGS)
        deadline = time.monotonic() + WAIT_SECONDS
        while not reached():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "the run never came so far"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(3)  # what the driver started dies with it; only then is the count final
        return self.records()

    def contents(self) -> dict[str, str]:
        """Step to the content digest of its artifact."""
        shown = {step: self.ask("show", f"small/{step}") for step in STEPS}
        return {step: document["content"] for step, document in shown.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("undisturbed"))
    home.run()
    return home


def test_every_step_is_made_and_every_item_accounted_for(undisturbed: Home) -> None:
    plan = undisturbed.ask("plan", RECIPE, *SETTINGS)
    assert {step["name"] for step in plan["steps"]} == STEPS
    assert {step["action"] for step in plan["steps"]} == {"reuse"}
    pairs = undisturbed.ask("show", "small/pairs")["items"]
    assert pairs["entered"] == 240
    assert pairs["kept"] + sum(pairs["dropped"].values()) + sum(pairs["failed"].values()) == 240
    assert pairs["failed"]["not_found"] > 0


def test_a_second_run_makes_nothing_and_starts_no_ray(undisturbed: Home) -> None:
    before = undisturbed.records()
    output = undisturbed.run()
    assert "Nothing to make" in output
    assert undisturbed.records() == before


def test_the_evaluation_has_the_promised_metrics(undisturbed: Home) -> None:
    metrics = undisturbed.ask("show", "small/evaluate")["metrics"]
    kinds = ("colour", "shape", "position", "count", "word")
    promised = {"accuracy", "accuracy_low", "accuracy_high", "accuracy_blind"}
    promised |= {f"accuracy_{kind}" for kind in kinds} | {f"accuracy_blind_{kind}" for kind in kinds}
    assert promised <= set(metrics)
    assert metrics["num_questions"] == 30


def test_a_changed_filter_remakes_what_depends_on_it_and_nothing_before(undisturbed: Home) -> None:
    plan = undisturbed.ask("plan", RECIPE, *SETTINGS, "--set", "kept.min_side_px=100")
    actions = {step["name"]: step["action"] for step in plan["steps"]}
    untouched = {"pairs", "text", "base_llm", "heldout_pairs", "questions", "heldout_mix", "heldout_rows"}
    assert {step for step, action in actions.items() if action == "reuse"} == untouched
    changes = {step["name"]: step["changes"] for step in plan["steps"]}
    assert changes["kept"] == [{"field": "min_side_px", "before": "64", "after": "100"}]


def test_a_held_out_picture_is_examined_on_and_never_trained_on(undisturbed: Home) -> None:
    told = undisturbed.ask("where", "http://toy.invalid/7/heldout/000000.jpg")
    said = {sighting["step"]: sighting["said"] for sighting in told["sightings"]}
    assert all(said[step].startswith("it was examined on, and not trained on") for step in ("mid", "chat"))
    assert not any("took it" in words for words in said.values())
    [folder] = undisturbed.store.glob("runs/small-*/pictures/*")
    assert {path.name.partition(".")[0] for path in folder.iterdir()} == {"mid", "chat"}


def test_only_what_should_train_has_moved(undisturbed: Home) -> None:
    from safetensors.numpy import load_file

    [folder] = undisturbed.store.glob("artifacts/train_prebuffer/*")
    facts = json.loads((folder / "manifest.json").read_text())["parts"][-1]["facts"]
    assert facts["unmoved"] == []
    assert facts["num_trained_tensors"] > 0
    [before] = undisturbed.store.glob("artifacts/train_toy_llm/*/attempts/*/*/*/model/model.safetensors")
    [after] = undisturbed.store.glob("artifacts/merge_post_llm/*/attempts/*/*/*/model/*.safetensors")
    merged = load_file(after)
    for name, frozen in load_file(before).items():
        assert (merged[_key_in_neo(name)] == frozen).all(), name


def _key_in_neo(name: str) -> str:
    """Where a tensor of the language model stands behind a pre-Buffer of two layers."""
    shifted = re.sub(r"layers\.(\d+)", lambda found: f"layers.{int(found[1]) + 2}", name)
    return f"language_model.{shifted}"


def test_a_url_is_followed_forward_and_a_refused_one_has_its_reason(undisturbed: Home) -> None:
    import pyarrow.parquet as pq

    rows = [
        row
        for path in sorted(undisturbed.store.glob("artifacts/download_pairs/*/attempts/*/*/*/samples.parquet"))
        for row in pq.read_table(path, columns=["url", "verdict", "reason"]).to_pylist()
    ]
    kept = [row["url"] for row in rows if row["verdict"] == "kept"]
    traces = (undisturbed.neo("trace", "--url", url) for url in kept)
    trace = next(trace for trace in traces if re.search(r"^chat .* took it", trace, re.MULTILINE))
    assert {"pairs", "kept", "talks", "chat_mix", "chat_rows", "evaluate", "export"} <= {
        line.split(" ", 1)[0] for line in trace.splitlines()
    }
    missing = next(row["url"] for row in rows if row["reason"] == "not_found")
    assert "failed (not_found)" in undisturbed.neo("trace", "--url", missing)


def test_the_chain_is_whole_until_a_bit_is_flipped(undisturbed: Home) -> None:
    assert "audit" in undisturbed.neo("trace", "small/evaluate")
    undisturbed.neo("audit", "small/evaluate")
    victim = next(undisturbed.store.glob("artifacts/pack_rows/*/attempts/*/*/*/rows.tar"))
    whole = victim.read_bytes()
    victim.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    try:
        assert victim.parent.name in undisturbed.neo("audit", "small/evaluate", code=1)
    finally:
        victim.write_bytes(whole)


@pytest.mark.kill
def test_killed_in_download_packing_and_training_it_comes_to_the_same_end(undisturbed: Home, tmp_path: Path) -> None:
    home = Home(tmp_path)
    seen = home.kill_once(lambda: bool(home.records("download_pairs")))
    seen |= home.kill_once(lambda: bool(home.records("pack_rows", "measure")))
    seen |= home.kill_once(lambda: bool(home.records("train_prebuffer", "steps")))
    plan = {step["name"]: step["action"] for step in home.ask("plan", RECIPE, *SETTINGS)["steps"]}
    assert plan["prebuffer"] == "continue"
    home.run()
    ended = home.records()
    assert {path: ended[path] for path in seen} == seen, "a committed part was made again"
    assert home.contents() == undisturbed.contents()
