"""Names in a site that nothing has are refused before anything is spent; so is a Ray that nothing was tested with."""

from pathlib import Path

import pytest

import pipelines.planning.site_checks
from cluster.versions import ray_refusal
from pipelines.planning.stage_catalog import shipped_stages
from tests.pipelines.conftest import TOYS, NeoSite

DATA = f"{TOYS}:data"
OWN = """
from stages.artifacts.kinds import KeptPairs
from stages.contract import Part, Recipe, stage

class OwnRecipe(Recipe):
    word: str = "mine"

def write_part(part, draft):
    draft.path("word.txt").write_text("word")

@stage(number=1, recipe=OwnRecipe, makes=KeptPairs{phases})
def own(recipe, *, ctx):
    ctx.spread(write_part, over=[Part(name="0", num_items=0)], phase="write")

def mine():
    return own.bind("first", OwnRecipe())
"""


def refused(site: NeoSite, table: str, pipeline: str = "tiny") -> str:
    """What `neo plan` and `neo run` say of a site with this table; '' if they go on."""
    plain = site.file.read_text()
    site.file.write_text(f"{plain}\n{table}\n")
    try:
        planned, run = site.neo("plan", pipeline), site.neo("run", pipeline) if pipeline != "tiny" else None
    finally:
        site.file.write_text(plain)
    assert planned.code in (0, 2) and (run is None or (run.code, run.err) == (planned.code, planned.err))
    return planned.err if planned.code else ""


def test_a_phase_that_its_stage_does_not_have_is_refused_with_those_that_it_has(site: NeoSite) -> None:
    said = refused(site, "[stages.pack_rows.phases.plam]\ncpus = 2")
    assert "[stages.pack_rows.phases.plam] names no phase of pack_rows (did you mean 'plan'?)" in said
    assert "its phases are: measure, plan, write" in said
    assert "[steps.pretrain_rows.phases.wriet] names no phase of pack_rows" in refused(
        site, "[steps.pretrain_rows.phases.wriet]\ncpus = 2"
    )
    assert "tune_end_to_end; it makes no parts" in refused(site, "[stages.tune_end_to_end.phases.train]\ncpus = 2")
    assert not refused(site, "[stages.pack_rows.phases.plan]\ncpus = 2\n[steps.of_another_pipeline.parts]\ncpus = 2")


def test_a_stage_that_there_is_not_is_refused_and_one_that_this_pipeline_does_not_use_is_not(site: NeoSite) -> None:
    said = refused(site, "[stages.pack_row.parts]\ncpus = 2")
    assert "[stages.pack_row] names no stage (did you mean 'pack_rows'?)" in said
    assert not refused(site, "[stages.cut_clips.parts]\ncpus = 2")


def test_ranks_that_cannot_share_rows_are_refused_by_the_step_whose_tables_say_so_together(site: NeoSite) -> None:
    tables = "[stages.tune_end_to_end.gang]\nsequence_ranks = 4\n[steps.{}.gang]\nnum_ranks = {}"
    said = refused(site, tables.format("mid", 6))
    assert "step mid: num_ranks = 6 with sequence_ranks = 4: ranks share rows in groups of 4" in said
    assert not refused(site, "[stages.tune_end_to_end.gang]\nsequence_ranks = 2\nnum_ranks = 4")
    trained = "[stages.train_prebuffer.gang]\nnum_ranks = 4\n[stages.tune_end_to_end.gang]\nnum_ranks = 8"
    assert not refused(site, f"[gang]\nsequence_ranks = 4\n{trained}"), "steps without ranks are not asked"


def test_a_stage_of_another_pipeline_is_said_to_change_nothing_here(site: NeoSite) -> None:
    site.file.write_text(f"{site.file.read_text()}\n[stages.own.parts]\ncpus = 2\n[stages.audit.parts]\ncpus = 2\n")
    for command in ("plan", "run"):
        said = site.neo(command, DATA)
        assert said.code == 0, said
        assert "[stages.audit]" not in said.out
        assert "[stages.own] names no stage of this package or of data, and changes nothing here." in " ".join(
            said.out.split()
        )


def test_phases_of_a_stage_of_ones_own_are_checked_where_it_declares_them(site: NeoSite, tmp_path: Path) -> None:
    file, table = tmp_path / "mine.py", "[stages.own.phases.wrte]\ncpus = 1"
    file.write_text(OWN.format(phases=""))
    assert not refused(site, table, f"{file}:mine")
    file.write_text(OWN.format(phases=', phases=("write",)'))
    assert "names no phase of own (did you mean 'write'?)" in refused(site, table, f"{file}:mine")
    file.write_text(OWN.format(phases=', phases=("read",)'))
    failed = site.neo("run", f"{file}:mine")
    assert failed.code == 1 and "works in phase 'write', which it does not declare" in failed.out + failed.err


def test_every_stage_of_ours_declares_its_phases() -> None:
    assert [name for name, stage in shipped_stages().items() if stage.phases is None] == []


def test_a_ray_that_nothing_was_tested_with_is_refused_before_anything_is_written(
    site: NeoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.planning.site_checks, "ray_refusal", lambda: ray_refusal("2.58.1"))
    said = site.neo("run", DATA)
    assert said.code == 3 and "Ray is 2.58.1 here; neo-pipelines runs on Ray 2.59.0 or later, below 2.61" in said.err
    assert not list(site.folder.glob("store/runs/*"))
