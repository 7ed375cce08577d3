"""The small recipe on a fleet, run again and again for half an hour with a trouble every 20 seconds.

    python -m tests.soak.soak --minutes 30 --seed 7

The store is a bucket behind a proxy, the tracker a server. A lap ends when the run is done; its artifacts must equal
those of a run that nothing disturbed, to the last bit. Seed and story are printed: the same seed draws the same
troubles, though not at the same moments of the run.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.artifacts.manifest import Manifest
from stages.store.store import Store
from tests import s3_server as s3
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.kill.home import comparable
from tests.kill.on_ray import Driver, RayHome
from tests.pipelines.tracking.mlflow_server import MlflowServer, mlflow_server
from tests.soak.fleet import Fleet
from tests.soak.troubles import Scene, drawn

MAX_TYPED = 30
"""Times that one lap's command is typed before the soak gives up."""
LAP_SECONDS = 1800.0
"""Longest that a lap may go on once no trouble is made any more."""


@dataclass
class SoakHome(RayHome):
    """A home whose store is a bucket."""

    bucket: str = ""

    @property
    def site(self) -> Path:
        path = self.folder / "site.toml"
        path.write_text(f'store = "{self.bucket}"\nmlflow = "{self.mlflow}"\n{self.resources}')
        return path

    def committed(self) -> dict[str, bytes]:
        return {}

    def manifests(self) -> dict[str, Manifest]:
        store = Store(self.bucket)
        keys = [key for key in store.keys("artifacts/") if key.endswith("/manifest.json")]
        found = [Manifest.model_validate(store.read_json(key)) for key in keys]
        return {manifest.provenance["step"]: manifest for manifest in found}


@dataclass
class Story:
    """What happened, told as it happens."""

    began_seconds: float = field(default_factory=time.monotonic)
    counts: Counter[str] = field(default_factory=Counter)

    def tell(self, text: str) -> None:
        print(f"{time.monotonic() - self.began_seconds:7.0f} s  {text}", flush=True)


@dataclass
class Soak:
    """Everything that outlives a lap."""

    folder: Path
    troubles: random.Random
    """Draws the troubles, and nothing else, so that a seed draws the same ones whatever the run does."""
    chance: random.Random
    """Draws the rest: nodes, seconds, requests."""
    every_seconds: float
    until_seconds: float
    """By the monotonic clock: no trouble is made and no lap begins after it."""
    proxy: FaultProxy
    server: str
    tracker: MlflowServer
    story: Story
    golden: dict[str, dict[str, Any]]

    def lap(self, number: int) -> None:
        """One run from nothing to its end; raises `AssertionError` where that is not the undisturbed one."""
        home = SoakHome(
            self.folder / f"lap-{number}",
            mlflow=f"http://127.0.0.1:{self.tracker.port}",
            bucket=f"{s3.make_bucket(self.server, f'lap-{number}')}/team",
        )
        home.folder.mkdir()
        began, num_typed = time.monotonic(), 0
        fleet = Fleet(home.folder)
        try:
            while True:
                num_typed += 1
                assert num_typed <= MAX_TYPED, "the run does not come to its end"
                home.address = fleet.address
                code, fleet = self._typed(home, fleet)
                self.story.tell(f"lap {number}: the command ended with {code}{why_failed(home) * (code == 1)}")
                if code == 0:
                    break
        finally:
            fleet.end()
        made = {step: comparable(manifest) for step, manifest in home.manifests().items()}
        differ = [step for step in self.golden if made.get(step) != self.golden[step]]
        assert not differ, f"lap {number}: these steps are not those of the undisturbed run: {differ}"
        seconds = time.monotonic() - began
        self.story.tell(f"lap {number}: equal to the undisturbed run, {num_typed} times typed, {seconds:.0f} s")

    def _typed(self, home: SoakHome, fleet: Fleet) -> tuple[int, Fleet]:
        """Type the command once, with troubles until it ends; returns its exit code and the fleet of the next."""
        driver = home.start()
        after: list[Fleet] = [fleet]

        def lose_head() -> None:
            fleet.end()
            after[0] = Fleet(home.folder / f"fleet-{time.monotonic_ns()}")

        scene = Scene(fleet, self.proxy, self.tracker, self.chance, driver.process.kill, lose_head)
        self._trouble(driver, scene, lambda: after[0] is not fleet)
        self.proxy.watch = None
        return driver.process.wait(60), after[0]

    def _trouble(self, driver: Driver, scene: Scene, is_headless: Any) -> None:
        """Make trouble until the command ends, or its head is gone."""
        next_seconds = time.monotonic() + self.every_seconds * self.chance.uniform(0.5, 1.0)
        gives_up_seconds = self.until_seconds + LAP_SECONDS
        while driver.process.poll() is None:
            scene.catch_up()
            now_seconds = time.monotonic()
            assert now_seconds < gives_up_seconds, "the run does not come to its end"
            if is_headless():
                with suppress(Exception):
                    driver.process.wait(90)
                driver.process.kill()
            elif self.until_seconds > now_seconds >= next_seconds:
                trouble = drawn(self.troubles)
                self.story.counts[trouble.__name__] += 1
                self.story.tell(trouble(scene))
                next_seconds = time.monotonic() + self.every_seconds
            time.sleep(0.1)
        for at, act in list(scene.later):
            if at < time.monotonic() + 15:
                act()


def why_failed(home: SoakHome) -> str:
    """The reason of each step that failed, as the last command told it."""
    *_, told = sorted(home.folder.glob("said-*"), key=lambda path: path.stat().st_mtime)
    return "".join(f"\n           {line[:400]}" for line in told.read_text().splitlines() if ": step " in line)


def golden_run(folder: Path) -> dict[str, dict[str, Any]]:
    """What the small recipe makes on Ray when nothing disturbs it."""
    home = RayHome(folder)
    said = home.run()
    assert said.code == 0, said.out
    return {step: comparable(manifest) for step, manifest in home.manifests().items()}


def soak(minutes: float, seed: int, every_seconds: float) -> None:
    """Run laps until the time is over; raises `AssertionError` at the first that ends otherwise."""
    from pipelines.tracking.server import Tracker

    story = Story()
    story.tell(f"seed {seed}, {minutes:g} minutes, a trouble every {every_seconds:g} s")
    folder = Path(tempfile.mkdtemp(prefix="neo-soak-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        golden = golden_run(_made(folder / "golden"))
        story.tell(f"the undisturbed run has {len(golden)} steps")
        database = folder / "fresh.db"
        Tracker(f"sqlite:///{database}")
        tracker = stack.enter_context(mlflow_server(_made(folder / "tracker"), database))
        server = stack.enter_context(s3.s3_server(folder / "s3.txt"))
        proxy = stack.enter_context(fault_proxy(server))
        os.environ.update(s3.environment(proxy.address))  # of this process, and so of the nodes and their workers
        until = time.monotonic() + 60 * minutes
        troubles, chance = random.Random(seed), random.Random(f"{seed}, the rest")
        running = Soak(folder, troubles, chance, every_seconds, until, proxy, server, tracker, story, golden)
        number = 0
        while time.monotonic() < until:
            number += 1
            running.lap(number)
        counts = ", ".join(f"{name} {times}" for name, times in sorted(story.counts.items()))
        story.tell(f"{number} laps, all equal; {sum(story.counts.values())} troubles: {counts}")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--every", type=float, default=20.0, help="seconds between two troubles")
    asked = parser.parse_args()
    try:
        soak(asked.minutes, asked.seed, asked.every)
    except AssertionError as error:
        sys.exit(f"seed {asked.seed}: {error}")


if __name__ == "__main__":
    main()
