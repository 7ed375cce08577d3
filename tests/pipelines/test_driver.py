"""The driver of a submitted run executes what the submission asks for. On a real cluster: runs/test_submissions.py."""

import pytest

import pipelines.driver
from cluster.site import load_site
from pipelines.driver import drive
from pipelines.exits import ExitCode
from pipelines.runs.run import Run
from pipelines.runs.submissions import Submissions
from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.local_graph import run_graph_locally


def frozen(site: NeoSite) -> Run:
    """A run whose last step is not committed."""
    name = site.neo("run", f"{TOYS}:data", "--json").json["run"]
    (site.artifact_folder("rows") / "manifest.json").unlink()
    return Run(site.store, name)


@pytest.mark.parametrize("allows", [True, False])
def test_allow_rollback_travels_with_the_submission_to_every_step(
    site: NeoSite, monkeypatch: pytest.MonkeyPatch, allows: bool
) -> None:
    seen = {}

    def run_graph(specs, edges, site, on_event, stop):
        seen.update({name: spec.allows_rollback for name, spec in specs.items()})
        return run_graph_locally(specs, edges, site, on_event, stop)

    monkeypatch.setattr(pipelines.driver, "machines", lambda: run_graph)
    run = frozen(site)
    submission = Submissions(run).begin(load_site(site.file), allows_rollback=allows)
    assert drive(run, submission.number) == ExitCode.DONE
    assert seen == {"rows": allows}
    record = site.store.read_json(f"{run.folder}/submissions/1.json")
    assert ("allows_rollback" in record) == allows, "without the flag, the record is as it always was"
