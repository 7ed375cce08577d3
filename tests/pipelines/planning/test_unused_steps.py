"""A training that begins anew says how many committed steps it leaves unused, and a person is asked before."""

import os
import select
import subprocess
import sys
import time

from tests.pipelines.conftest import ROOT, TOYS, NeoSite

WHOLE, BROKEN = f"{TOYS}:whole", f"{TOYS}:broken"


def unused(site: NeoSite, *words: str) -> object:
    steps = {step["name"]: step for step in site.neo("plan", *words, "--json").json["steps"]}
    return steps["weights"]["unused"]


def test_a_finished_training_that_is_begun_anew_is_named_with_its_steps(site: NeoSite) -> None:
    assert unused(site, WHOLE) is None
    assert site.neo("run", WHOLE, "--until", "weights").code == 0
    fingerprint = site.artifact_folder("weights", "whole").name
    found = unused(site, WHOLE, "--set", "weights.num_steps=12")
    assert isinstance(found, dict) and found["num_steps"] == 6 and found["fingerprint"].startswith(fingerprint)
    said = site.neo("plan", WHOLE, "--set", "weights.num_steps=12").out
    assert f"begins at step 0; 6 committed steps of {fingerprint} are not used" in " ".join(said.split())
    assert unused(site, WHOLE) is None
    assert unused(site, WHOLE, "--set", "evaluate.kinds=[]") is None


def test_so_is_one_that_is_not_finished(site: NeoSite) -> None:
    assert site.neo("run", BROKEN).code == 1
    assert unused(site, BROKEN) is None  # it continues
    found = unused(site, BROKEN, "--set", "weights.seed=1")
    assert isinstance(found, dict) and found["num_steps"] >= 1


def answered(site: NeoSite, answer: str, *words: str) -> tuple[int, str]:
    """Type a command on a terminal and answer its question; returns exit code and what was shown."""
    ours, theirs = os.openpty()
    typed = [sys.executable, "-m", "tests.pipelines.local_graph", *words, "--site", str(site.file)]
    process = subprocess.Popen(typed, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown, is_answered, deadline = "", False, time.monotonic() + 120
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                shown += os.read(ours, 4096).decode(errors="replace")
            except OSError:  # how a terminal ends on Linux
                break
        if "at step 0? [y/N]" in shown and not is_answered:
            os.write(ours, f"{answer}\n".encode())
            is_answered = True
    os.close(ours)
    return process.wait(60), shown


def test_a_person_is_asked_and_a_script_is_not(site: NeoSite) -> None:
    words = ("run", WHOLE, "--until", "weights", "--set", "weights.num_steps=7")
    assert site.neo("run", WHOLE, "--until", "weights").code == 0
    code, shown = answered(site, "n", *words)
    assert code == 3, shown
    assert "Begin weights at step 0?" in shown and "nothing was started" in shown
    code, shown = answered(site, "y", *words)
    assert code == 0, shown
    said = site.neo("run", WHOLE, "--until", "weights", "--set", "weights.num_steps=8")
    assert said.code == 0 and "1 to make" in said.out
