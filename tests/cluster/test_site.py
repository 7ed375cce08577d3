"""Sites: found by name or path, refused with the key and a suggestion, resolved for one step."""

from pathlib import Path

import pytest

from cluster.site import SiteError, load_site, shipped_sites
from stages.contract import GangLayout


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEO_SITE", raising=False)
    monkeypatch.delenv("NEO_HOME", raising=False)


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_the_default_keeps_everything_under_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    site = load_site()
    assert site.name == "embedded"
    assert site.is_embedded
    assert site.store == str(tmp_path / "neo-store")
    assert site.mlflow == f"sqlite:///{tmp_path}/neo-store/mlflow.db"


def test_neo_home_and_neo_site_choose_place_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NEO_SITE", str(write(tmp_path, 'store = "kept"\n')))
    site = load_site()
    assert (site.name, site.store) == ("mine", str(tmp_path / "home" / "kept"))
    assert load_site("embedded").name == "embedded"


def test_every_shipped_site_loads() -> None:
    assert shipped_sites() == ["embedded", "example_cluster"]
    for name in shipped_sites():
        assert load_site(name).name == name


def test_the_embedded_site_trains_on_two_ranks_and_partitions_more_when_all_trains() -> None:
    site = load_site("embedded")
    prebuffer = site.resources(stage="train_prebuffer", step="prebuffer").gang
    tune = site.resources(stage="tune_end_to_end", step="chat").gang
    assert prebuffer.layout == GangLayout(num_ranks=2, zero_stage=2)
    assert tune.layout == GangLayout(num_ranks=2, zero_stage=3)
    assert site.num_local_cpus() >= 2


def test_a_step_may_differ_from_its_stage_and_its_stage_from_the_rest(tmp_path: Path) -> None:
    site = load_site(
        write(
            tmp_path,
            """
            store = "s"
            [parts]
            cpus = 2
            max_parallel = 8
            [stages.download_pairs.parts]
            cpus = 0.5
            [steps.big_download]
            parts = { max_parallel = 64 }
            gang = { num_ranks = 4, cpus = 1.5 }
            """,
        )
    )
    plain = site.resources(stage="filter_pairs", step="kept").parts
    stage = site.resources(stage="download_pairs", step="pairs").parts
    step = site.resources(stage="download_pairs", step="big_download").parts
    assert [(one.cpus, one.max_parallel) for one in (plain, stage, step)] == [(2.0, 8), (0.5, 8), (0.5, 64)]
    assert site.num_local_cpus() >= 6


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('store = "s"\nmlfow = "x"', r"there is no key 'mlfow'; did you mean 'mlflow'"),
        ('store = "s"\n[gang]\nzero_stag = 2', r"\[gang\] has no key 'zero_stag'; did you mean 'zero_stage'"),
        (
            'store = "s"\n[stages.evaluate.parts]\ncpu = 2',
            r"\[stages.evaluate.parts\] has no key 'cpu'; did you mean 'cpus'",
        ),
        ('store = "s"\n[gang]\nzero_stage = 4', r"gang.zero_stage = 4"),
        ('store = "s"\n[steps.a.gang]\nnum_ranks = 0', r"steps.a.gang.num_ranks = 0"),
        ("[ray]\n", r"store is missing"),
        ('store = "s3://bucket"', r"mlflow is empty, and s3://bucket is no folder"),
        ("store = ", r"Invalid value"),
    ],
)
def test_a_faulty_file_is_refused_with_its_key(tmp_path: Path, text: str, complaint: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SiteError, match=complaint) as caught:
        load_site(path)
    assert str(path) in str(caught.value)


def test_a_site_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(SiteError, match=r"no site 'embeded'; did you mean 'embedded'.*'example_cluster'"):
        load_site("embeded")
    with pytest.raises(SiteError, match=r"nowhere\.toml"):
        load_site("nowhere.toml")
