"""Names move to what is committed, and not where they point already."""

from pipelines.running.names import point_name
from pipelines.runs.run import all_runs
from tests.pipelines.conftest import TOYS, NeoSite

DATA = f"{TOYS}:data"


def num_refs(site: NeoSite) -> int:
    return len(list(site.store.keys("refs/data/rows/")))


def test_a_name_that_points_there_already_is_not_set_again(site: NeoSite) -> None:
    site.neo("run", DATA)
    (run,) = all_runs(site.store)
    before = num_refs(site)
    point_name(site.store, run.request, "rows", run.name)
    point_name(site.store, run.request, "rows", run.name, is_new=True)
    assert num_refs(site) == before == 1


def test_a_new_manifest_under_the_same_fingerprint_moves_the_name(site: NeoSite) -> None:
    site.neo("run", DATA)
    (run,) = all_runs(site.store)
    path = site.artifact_folder("rows") / "manifest.json"
    path.write_text(path.read_text() + "\n")
    point_name(site.store, run.request, "rows", run.name, is_new=True)
    assert num_refs(site) == 2
