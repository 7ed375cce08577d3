"""`neo gc` beside runs, in processes of their own: a run loses nothing that it needs, and a killed gc is continued."""

import signal
import time

import pytest

from tests.pipelines.conftest import TOYS, NeoSite, Said, site, type_  # noqa: F401
from tests.pipelines.garbage.stores import DATA, OTHER, artifacts, check_nothing_looks_whole, made_by, two_runs

pytestmark = pytest.mark.kill
SLOWLY = ("--set", "pairs.pause_seconds=0.5", "--set", "weights.pause_seconds=0.3")
COLLECT = ("gc", "--delete", "--grace", "0")
PATIENCE_SECONDS = 300


def said(process) -> Said:
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    return Said(process.returncode, out, err)


def test_a_run_beside_collections_loses_nothing(site: NeoSite) -> None:  # noqa: F811
    """Collections without grace, from before the run begins until it ends; a second run forks off meanwhile."""
    two_runs(site)
    running = site.start("run", f"{TOYS}:whole", *SLOWLY)
    collections, other = 0, None
    while running.poll() is None:
        done = said(site.start(*COLLECT))
        assert done.code == 0, done.out + done.err
        collections += 1
        if collections == 2:
            other = site.start("run", f"{TOYS}:whole", *SLOWLY, "--set", "weights.seed=1")
    ended = said(running)
    assert ended.code == 0, ended.out + ended.err
    assert other is not None and said(other).code == 0
    assert collections > 2
    for name in ("whole/evaluate", "data/rows"):
        assert site.neo("audit", name, "--level", "full").code == 0


def test_a_forgotten_run_that_is_typed_again_beside_its_deletion_is_whole(site: NeoSite) -> None:  # noqa: F811
    """Whichever comes first: the run finds everything, or is refused and makes it again at the next try."""
    old, _ = two_runs(site)
    for pause in (0.0, 0.4, 0.8, 1.2, 1.6):
        collecting = site.start(*COLLECT, "--forget", old)
        time.sleep(pause)
        first = said(site.start("run", DATA))
        ended = said(collecting)
        assert ended.code in (0, 3), ended.out + ended.err
        check_nothing_looks_whole(site.store)
        assert said(site.start(*COLLECT)).code == 0
        again = first if first.code == 0 else said(site.start("run", DATA))
        assert again.code == 0, first.out + first.err + again.out + again.err
        assert site.neo("audit", "data/rows", "--level", "full").code == 0
        assert made_by(site.store, old) <= artifacts(site.store)
        assert said(site.start("run", DATA, *OTHER)).code == 0


@pytest.mark.parametrize("occurrence", [1, 2, 5, 12, 20, 30])
def test_a_killed_collection_is_ended_by_the_next(occurrence: int, site: NeoSite) -> None:  # noqa: F811
    old, new = two_runs(site)
    fault = {"NEO_FAULT": f"gc.deleted:after@{occurrence}=kill", "NEO_LOST_AFTER_SECONDS": "3"}
    killed = said(site.start(*COLLECT, "--forget", old, **fault))
    assert killed.code == -signal.SIGKILL, killed.out + killed.err
    check_nothing_looks_whole(site.store)
    ended = said(site.start(*COLLECT))
    assert ended.code == 0, ended.out + ended.err
    assert artifacts(site.store) == made_by(site.store, new)
    assert site.neo("audit", "data/rows", "--level", "full").code == 0
