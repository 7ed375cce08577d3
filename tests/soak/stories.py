"""Told troubles, one at a time: what each costs a run of the small recipe, and how soon `neo cancel` ends it.

    python -m tests.soak.stories
    python -m tests.soak.stories lose_one_in_each_phase gang_waits

Nobody types anything in a story of a loss: the one command must end as if nothing had happened, to the last bit.
Seconds lost are counted against a run that nothing disturbed, on the same fleet in the same minutes.
"""

import argparse
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.exits import ExitCode
from tests.kill.home import Trace, comparable
from tests.kill.on_ray import Driver, RayHome
from tests.soak.fleet import Fleet
from tests.soak.scenes import CANCELLED_IN, LOSSES, Play, Scenario

NUM_RANKS = 2
"""Of each gang, each of which writes its share of a checkpoint."""
MAX_SECONDS = 1200.0
"""Longest that one story may go on."""


@contextmanager
def played(folder: Path, scenario: Scenario, golden: RayHome) -> Iterator[tuple[Play, Driver]]:
    """A fleet as the story wants it, and the run that it happens to."""
    traces = folder / "trace"
    traces.mkdir(parents=True)
    home = RayHome(folder)
    if scenario.last_step:
        golden.lend(scenario.last_step, home)
    fleet = Fleet(folder, scenario.num_nodes, {"NEO_FAULT_TRACE": str(traces), **scenario.environment})
    try:
        for num_cpus in scenario.other_nodes_cpus:
            fleet.add(num_cpus)
        home.address = fleet.address
        until = ("--until", scenario.last_step) if scenario.last_step else ()
        driver = home.start(*until, *scenario.words)
        yield Play(fleet, driver.process, traces, driver.said_in), driver
    finally:
        fleet.end()


def told(folder: Path, loss: Scenario, golden: RayHome, usual_seconds: float | None) -> float:
    """Play a loss to the end, say what it cost, and return how long the run took, in seconds."""
    began = time.monotonic()
    with played(folder, loss, golden) as (play, driver):
        loss.act(play)
        while play.is_running:
            assert time.monotonic() - began < MAX_SECONDS, f"{loss.name}: the run does not end"
            play.pause()
        said = driver.wait()
        seconds = time.monotonic() - began
        trace = Trace.read(play.traces)
    assert said.code == 0, f"{loss.name}: the command ended with {said.code}\n{said.out[-3000:]}"
    made = {step: comparable(manifest) for step, manifest in driver.home.manifests().items()}
    differ = [step for step in golden.made if made.get(step) != comparable(golden.made[step])]
    assert not differ, f"{loss.name}: these steps are not those of the undisturbed run: {differ}"
    lost = "" if usual_seconds is None else f"{seconds - usual_seconds:+7.0f} s"
    print(f"{loss.name:<28} {seconds:6.0f} s {lost:>9}  {again(trace)}; {play.what_happened}", flush=True)
    return seconds


def again(trace: Trace) -> str:
    """How much was begun more than once, in words; a checkpoint of the small recipe is one optimizer step."""
    parts = trace.times("part.files_written:before")
    begun = trace.times("checkpoint.files_written:before").total() / NUM_RANKS
    steps = math.ceil(begun - trace.times("checkpoint.recorded:after").total())
    return f"{parts.total() - len(parts)} parts and {steps} checkpoints written in vain"


def cancelled(folder: Path, state: Scenario, golden: RayHome) -> None:
    """Bring a run into a state, cancel it, and say after how many seconds it had ended."""
    with played(folder, state, golden) as (play, driver):
        state.act(play)
        began = time.monotonic()
        [run] = driver.home.runs()
        said = driver.home.neo("cancel", run.name)
        seconds = time.monotonic() - began
        ended = driver.wait()
    assert said.code == 0, f"{state.name}: cancel ended with {said.code}\n{said.out[-3000:]}"
    assert ended.code == ExitCode.INTERRUPTED, f"{state.name}: the run ended with {ended.code}\n{ended.out[-3000:]}"
    assert seconds < state.cancel_within_seconds, (
        f"{state.name}: {seconds:.0f} s, more than {state.cancel_within_seconds:.0f} s"
    )
    print(f"{state.name:<28} {seconds:6.0f} s, exit code {ended.code}; {state.act.__doc__}", flush=True)


def tell(names: list[str]) -> None:
    """Tell the stories of these names, or all; raises `AssertionError` at the first that ends otherwise."""
    folder = Path(tempfile.mkdtemp(prefix="neo-stories-"))
    try:
        golden = RayHome(folder / "golden")
        golden.folder.mkdir()
        said = golden.run()
        assert said.code == 0, said.out
        losses = [loss for loss in LOSSES if not names or loss.name in names]
        if losses:
            usual_seconds = told(folder / "undisturbed", Scenario(undisturbed), golden, None)
        for loss in losses:
            told(folder / loss.name, loss, golden, usual_seconds)
        for state in CANCELLED_IN:
            if not names or state.name in names:
                cancelled(folder / state.name, state, golden)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def undisturbed(play: Play) -> None:
    """Nothing disturbs the run."""


def main() -> None:
    known = {each.name: each.act for each in (*LOSSES, *CANCELLED_IN)}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("story", nargs="*", help="; ".join(f"{name}: {act.__doc__}" for name, act in known.items()))
    asked = parser.parse_args().story
    if unknown := sorted(set(asked) - known.keys()):
        parser.error(f"no story is called {', '.join(unknown)}; there are {', '.join(known)}")
    try:
        tell(asked)
    except AssertionError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
