"""Sites: found by name or path, refused with the key and a suggestion, resolved for one step."""

import re
from pathlib import Path

import pytest
from ray._private.label_utils import validate_label_selector

from cluster.placement import Placement
from cluster.site import SHIPPED, GangResources, PartResources, Resources, Site, SiteError, load_site, shipped_sites
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
    assert shipped_sites() == ["embedded", "one_gpu"]
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


PLACED = """
store = "s"
[parts]
memory_bytes = 1
labels = { neo-group = "ingest" }
[driver]
cpus = 4
memory_bytes = 5
step_memory_bytes = 2
labels = { "ray.io/market-type" = "!spot" }
resources = { disk = 1 }
[stages.pack_rows.phases.plan]
memory_bytes = 7
[steps.rows]
parts = { memory_bytes = 3 }
phases = { plan = { cpus = 2 }, write = { labels = { neo-group = "in(a, b)" }, accelerator = "H200" } }
[stages.tune_end_to_end.gang]
gpus = 1
resources = { rack = 0.5 }
"""


def test_a_phase_differs_from_its_step_whichever_table_says_so(tmp_path: Path) -> None:
    rows = load_site(write(tmp_path, PLACED)).resources(stage="pack_rows", step="rows")
    plan, cut, written = (rows.of_phase(phase) for phase in ("plan", "cut", "write"))
    assert [(one.memory_bytes, one.cpus) for one in (plan, cut, written)] == [(7, 2.0), (3, 1.0), (3, 1.0)]
    assert [one.labels["neo-group"] for one in (plan, cut, written)] == ["ingest", "ingest", "in(a, b)"]
    assert written.task_options()["accelerator_type"] == "H200"
    assert plan.task_options() == {
        "num_cpus": 2.0,
        "num_gpus": None,
        "memory": 7,
        "label_selector": {"neo-group": "ingest"},
        "resources": None,
        "accelerator_type": None,
    }


def test_what_is_asked_of_ray_for_ranks_and_for_the_drivers_job(tmp_path: Path) -> None:
    site = load_site(write(tmp_path, PLACED))
    gang = site.resources(stage="tune_end_to_end", step="chat").gang
    assert gang.amounts() == {"CPU": 1.0, "GPU": 1, "rack": 0.5}
    assert gang.model_copy(update={"accelerator": "H200"}).amounts()["accelerator_type:H200"] == 0.001
    assert site.driver.job_options() == {
        "entrypoint_num_cpus": 4.0,
        "entrypoint_memory": 5,
        "entrypoint_resources": {"disk": 1.0},
        "entrypoint_label_selector": {"ray.io/market-type": "!spot"},
    }
    assert load_site("embedded").driver.job_options() == {}


@pytest.mark.parametrize(
    ("choice", "machine", "is_allowed"),
    [
        ("a", {"group": "a"}, True),
        ("a", {"group": "b"}, False),
        ("a", {}, False),
        ("!a", {"group": "b"}, True),
        ("!a", {"group": "a"}, False),
        ("in(a, b)", {"group": "b"}, True),
        ("!in(a,b)", {"group": "b"}, False),
        ("!in(a,b)", {"group": "c"}, True),
    ],
)
def test_labels_select_as_ray_selects(choice: str, machine: dict[str, str], is_allowed: bool) -> None:
    assert validate_label_selector({"group": choice}) is None
    assert Placement(labels={"group": choice}).allows(machine) is is_allowed


@pytest.mark.parametrize("name", ["example_cluster", "embedded", "mine"])
def test_a_site_that_was_written_down_as_it_states_itself_gives_the_same_resources(tmp_path: Path, name: str) -> None:
    site = load_site(write(tmp_path, PLACED) if name == "mine" else SHIPPED / f"{name}.toml")
    again = Site.model_validate(site.model_dump(mode="json", exclude_unset=True))
    assert again == site
    for stage in ("download_pairs", "pack_rows", "tune_end_to_end", "evaluate"):
        for phase in ("plan", "write"):
            first, second = (one.resources(stage=stage, step="rows") for one in (site, again))
            assert (first.gang, first.of_phase(phase)) == (second.gang, second.of_phase(phase))


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
        ('store = "s"\n[parts]\nlabels = {group = "-a"}', r"parts.labels.group = '-a'"),
        ('store = "s"\n[parts.resources]\ntape = 0', r"parts.resources.tape = 0"),
        ('store = "s"\n[driver]\nmemory = 1', r"\[driver\] has no key 'memory'; did you mean 'memory_bytes'"),
        ('store = "s"\n[stages.a.phases.plan]\nmemory = 1', r"\[stages.a.phases.plan\] has no key 'memory'"),
        (
            'store = "s"\n[ray]\naddress = "ray://head:10001"',
            r"ray.address = .*Ray Client is not supported.*neo submit",
        ),
        ('store = "s"\n[ray]\njobs = "ray://head:10001"', r"ray.jobs = .*Ray Client is not supported"),
        ('store = "s3://bucket"', r"mlflow is empty, and s3://bucket is no folder"),
        ("store = ", r"Invalid value"),
    ],
)
def test_a_faulty_file_is_refused_with_its_key(tmp_path: Path, text: str, complaint: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SiteError, match=complaint) as caught:
        load_site(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("line", ['headers = {X = "Bearer 123"}', 'cookies = {sid = "12 3"}', 'verify = "12/3"'])
def test_a_secret_in_the_place_of_a_name_is_refused_and_not_shown(tmp_path: Path, line: str) -> None:
    with pytest.raises(SiteError, match=r"ray\.(headers|cookies|verify).* is not the name of an env") as refused:
        load_site(write(tmp_path, f'store = "s"\n[ray]\n{line}'))
    assert "3" not in str(refused.value).replace(str(tmp_path), "")


def test_the_example_of_a_cluster_is_a_template_and_no_site() -> None:
    with pytest.raises(SiteError, match=r"example_cluster is a template, not a site: copy .*example_cluster\.toml"):
        load_site("example_cluster")


def test_a_site_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(SiteError, match=r"no site 'embeded'; did you mean 'embedded'.*'one_gpu'"):
        load_site("embeded")
    with pytest.raises(SiteError, match=r"nowhere\.toml"):
        load_site("nowhere.toml")


def test_a_gang_may_state_the_least_and_the_most_of_its_ranks(tmp_path: Path) -> None:
    path = tmp_path / "elastic.toml"
    path.write_text('store = "s"\n[gang]\nnum_ranks = [8, 16]\n[steps.small.gang]\nnum_ranks = 4\n')
    site = load_site(path)
    gang, small = (site.resources(stage="train", step=step).gang for step in ("large", "small"))
    assert (gang.num_ranks, gang.max_ranks, gang.layout.num_ranks) == (8, 16, 8)
    assert (small.num_ranks, small.max_ranks) == (4, None)
    assert (gang.of_size(12).num_ranks, gang.of_size(12).max_ranks) == (12, None)
    assert GangResources.model_validate(gang.model_dump()) == gang


@pytest.mark.parametrize(
    ("stated", "message"),
    [("[16, 8]", "the most are fewer than the least"), ("[8]", "write one number, or least and most"), ("[0, 8]", "0")],
)
def test_a_pair_that_cannot_be_is_refused(tmp_path: Path, stated: str, message: str) -> None:
    path = tmp_path / "elastic.toml"
    path.write_text(f'store = "s"\n[gang]\nnum_ranks = {stated}\n')
    with pytest.raises(SiteError, match=re.escape(message)):
        load_site(path)


def test_ranks_share_rows_in_groups_as_all_tables_say_together(tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_text('store = "s"\n[gang]\nnum_ranks = [8, 16]\n[steps.long.gang]\nsequence_ranks = 4\n')
    gang = load_site(path).resources(stage="train", step="long").gang
    assert (gang.sequence_ranks, gang.layout.num_groups, gang.of_size(16).layout.num_groups) == (4, 2, 4)
    assert gang.why_not_grouped() == ""
    for stated, words in (([8, 14], r"[8, 14]"), ([6, 16], "[6, 16]"), (6, "6")):
        why = GangResources(num_ranks=stated, sequence_ranks=4).why_not_grouped()
        assert why.startswith(f"num_ranks = {words} with sequence_ranks = 4: ") and "multiples of 4" in why


def test_timeouts_of_a_gang_are_set_against_each_other(tmp_path: Path) -> None:
    assert GangResources().layout.collective_timeout.total_seconds() == 4020, "after the watchdog's 3600"
    assert GangResources(max_silent_seconds=7200).layout.collective_timeout.total_seconds() > 7200 * 1.05
    assert GangResources(collective_timeout_seconds=3780).layout.collective_timeout.total_seconds() == 3780
    with pytest.raises(ValueError, match=r"collective_timeout_seconds = 1800 .* max_silent_seconds = 3600 .*\(3780\)"):
        GangResources(collective_timeout_seconds=1800)
    with pytest.raises(ValueError, match="max_silent_seconds = 60: .* three minutes, twice; write at least 600"):
        GangResources(max_silent_seconds=60)


def test_drawing_takes_no_gpu_unless_a_site_says_so() -> None:
    given = Resources(parts=PartResources(gpus=1, cpus=4))
    assert (given.of_phase("score").gpus, given.of_phase("profile").gpus, given.of_phase("profile").cpus) == (1, 0, 4)
    said = given.adjusted(Resources(phases={"profile": PartResources(gpus=0.5)}))
    assert said.of_phase("profile").gpus == 0.5


@pytest.mark.parametrize("address", ["", "http://localhost:5000", "HTTPS://[::1]:80/a/", "https://a_b.example.org/x@y"])
def test_an_address_of_events_is_taken(tmp_path: Path, address: str) -> None:
    assert load_site(write(tmp_path, f'store = "s"\nopenlineage = "{address}"\n')).openlineage == address


@pytest.mark.parametrize(
    "address", ["localhost", "localhost:5000", "http://a b", "http://a/b c", "ftp://a", "http://", "http://a:x",
                "http://a:70000", "http://me:key@a", "http://a?b", "http://a/b#c"],
)  # fmt: skip
def test_an_address_that_takes_no_events_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(SiteError, match="mine.toml: openlineage = .*is http:// or https://, a host"):
        load_site(write(tmp_path, f'store = "s"\nopenlineage = "{address}"\n'))


@pytest.mark.parametrize(
    "line",
    [
        'store = "s3://key:hunter2@bucket/neo"',
        '[sources]\ntalks = "https://me:hunter2@host/talks.json"',
    ],
)
def test_an_address_with_a_password_is_refused_and_not_shown(tmp_path: Path, line: str) -> None:
    (tmp_path / "lab.toml").write_text(("" if line.startswith("store") else 'store = "/tmp/s"\n') + line + "\n")
    with pytest.raises(SiteError, match="it holds a password or a token") as refused:
        load_site(tmp_path / "lab.toml")
    assert "hunter2" not in str(refused.value)
