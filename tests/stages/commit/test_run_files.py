"""What parts, ranks and step bodies print is kept, bounded, beside their attempt; what prints nothing costs nothing."""

import os
import subprocess
import time
from pathlib import Path

import pytest

import stages.commit.run_files
from cluster.site import Site
from pipelines.runs.log import kept_output, read_output, steps_with_output
from pipelines.runs.run import Run
from stages.commit.attempt import AttemptId
from stages.commit.run_files import KEPT_BYTES, RunFiles, output_kept
from stages.store.store import Store
from tests.cluster.toy_run import ToyRun
from tests.worlds.printing_world import PrintRecipe, print_parts, print_ranks

WAYS = ("print of", "stderr of", "logged by", "warned by", "C library of", "child of")


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return RunFiles(Store(tmp_path / "store"), AttemptId("run", 1), "step")


def printed(store: Store, step: str, work: str = "") -> dict[str, str]:
    run = Run(store, "run")
    return read_output(run, 1, step, kept_output(run, 1, step, work))


def test_what_the_process_and_its_children_write_is_kept_in_order_and_passed_on(
    files: RunFiles, capfd: pytest.CaptureFixture[str]
) -> None:
    with output_kept(files, "write/000"):
        os.write(1, b"one\n")
        subprocess.run(["sh", "-c", "echo two >&2"], check=True)
        os.write(2, "drei: \u00fc\n".encode())
    os.write(1, b"after\n")
    assert printed(files.store, "step") == {"write/000.0": "one\ntwo\ndrei: \u00fc\n"}
    assert capfd.readouterr().out == "one\ntwo\ndrei: \u00fc\nafter\n"


def test_of_much_output_the_beginning_and_the_end_are_kept(files: RunFiles) -> None:
    with output_kept(files, "rank0"):
        for number in range(10_000):
            os.write(1, f"line {number}\n".encode())
    (text,) = printed(files.store, "step").values()
    assert text.startswith("line 0\n") and text.endswith("line 9999\n")
    assert len(text) < 2 * KEPT_BYTES + 100 and "bytes are left out here]" in text


def test_nothing_is_written_for_what_prints_nothing(files: RunFiles) -> None:
    with output_kept(files, "write/000"):
        pass
    assert list(files.store.keys("")) == []


def test_a_failure_tells_what_was_printed_before_it(files: RunFiles) -> None:
    with pytest.raises(ValueError) as caught, output_kept(files, "write/000"):
        os.write(2, b"the last words")
        raise ValueError("broken")
    assert caught.value.__notes__ == ["It printed:\nthe last words"]
    assert str(caught.value) == "broken"
    assert printed(files.store, "step") == {"write/000.0": "the last words"}


def test_long_work_is_kept_as_it_goes_and_its_file_stays_small(
    files: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages.commit.run_files, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(stages.commit.run_files, "MAX_FILE_BYTES", 10)
    with output_kept(files, "rank0"):
        os.write(1, b"first, and longer than the file may be\n")
        while not printed(files.store, "step"):
            time.sleep(0.01)
        os.write(1, b"second\n")
    assert "".join(printed(files.store, "step").values()) == "first, and longer than the file may be\nsecond\n"


def test_a_store_that_takes_nothing_does_not_disturb_the_work(files: RunFiles, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    with output_kept(files, "write/000"):
        os.write(1, b"lost")


@pytest.mark.long
def test_on_ray_it_is_kept_of_parts_ranks_and_bodies(tmp_path: Path, ray_site: Site) -> None:
    steps = [print_parts.bind("parts", PrintRecipe()), print_ranks.bind("ranks", PrintRecipe())]
    run = ToyRun(ray_site, tmp_path, steps)
    assert {outcome.ending for outcome in run.carry_out().values()} == {"committed"}
    assert steps_with_output(Run(run.store, "run"), 1) == ["parts", "ranks"]
    of_parts, of_rank = printed(run.store, "parts"), printed(run.store, "ranks", "rank0")
    assert set(of_parts) == {"step.0", "write/loud.0"}
    assert "before the parts" in of_parts["step.0"]
    assert all(f"{way} loud" in of_parts["write/loud.0"] for way in WAYS)
    assert all(f"{way} rank 0" in "".join(of_rank.values()) for way in WAYS)


def test_on_ray_a_failed_part_shows_its_output_with_its_failure(tmp_path: Path, ray_site: Site) -> None:
    run = ToyRun(ray_site, tmp_path, [print_parts.bind("parts", PrintRecipe(failing_part="loud"))])
    outcome = run.carry_out()["parts"]
    assert outcome.ending == "failed"
    assert outcome.reason == "step 'parts': part write/loud failed: ValueError: cannot do this part"
    assert "It printed:" in outcome.details and all(f"{way} loud" in outcome.details for way in WAYS)
