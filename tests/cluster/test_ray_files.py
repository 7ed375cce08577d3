"""What is shipped for Kubernetes and Slurm, held to what can be known without them: the fields of KubeRay's resources,
our own command line and site files, and the versions that are installed."""

import copy
import os
import re
import shlex
import signal
import stat
import subprocess
import time
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ray._private import ray_constants

from cluster.placement import DriverResources, Placement
from cluster.site import SHIPPED, Site, load_site
from pipelines.cli import app
from pipelines.exits import ExitCode
from tests.cluster.image_constraints import CONSTRAINTS
from tests.cluster.kuberay import VERSIONS, faults, fields_in, load_fields

FOLDER = Path(__file__).parents[2] / "cluster" / "ray"
ROOT = FOLDER.parents[1]
GIB = 1024**3
LEAST_KUBERAY = "1.6.0"
RAY_MEMORY_SHARE = 0.7
"""Of a container's memory, what Ray hands out as `memory`; the rest is for its object store."""


def documents(name: str) -> dict[str, dict[str, Any]]:
    """Kind to document."""
    found = list(yaml.safe_load_all((FOLDER / name).read_text()))
    return {document["kind"]: document for document in found}


@pytest.fixture(scope="module")
def ray_cluster() -> dict[str, Any]:
    return documents("cluster.yaml")["RayCluster"]


@pytest.fixture(scope="module")
def ray_job() -> dict[str, Any]:
    return documents("job.yaml")["RayJob"]


@pytest.mark.parametrize("version_of_kuberay", [one for one in VERSIONS if one >= LEAST_KUBERAY])
def test_the_manifests_keep_to_the_fields_of_each_kuberay_that_they_name(
    ray_cluster: dict, ray_job: dict, version_of_kuberay: str
) -> None:
    assert ray_cluster["apiVersion"] == ray_job["apiVersion"] == "ray.io/v1"
    assert faults(ray_cluster, version_of_kuberay) == faults(ray_job, version_of_kuberay) == []


def test_the_manifests_name_the_least_kuberay_that_knows_all_their_fields(ray_cluster: dict, ray_job: dict) -> None:
    for name in ("cluster.yaml", "job.yaml"):
        assert f"for KubeRay {LEAST_KUBERAY.removesuffix('.0')} or later" in (FOLDER / name).read_text()
    assert faults(ray_cluster, "1.5.1") == ["spec.authOptions.secretName is not known before 1.6.0"]
    assert faults(ray_job, "1.5.0") == ["spec.rayClusterSpec.authOptions is not known before 1.5.1"]


def test_a_misspelled_missing_or_mistyped_field_is_a_fault(ray_cluster: dict, ray_job: dict) -> None:
    job, cluster = copy.deepcopy(ray_job), copy.deepcopy(ray_cluster)
    job["spec"]["entryPoint"] = job["spec"].pop("entrypoint")
    job["spec"]["backoffLimit"] = "10"
    assert faults(job, "1.7.0") == ["spec.backoffLimit is '10', not integer", "spec.entryPoint is not known"]
    cluster["spec"]["authOptions"]["mode"] = "none"
    train = cluster["spec"]["workerGroupSpecs"][-1]
    del train["groupName"]
    train["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = "a lot"
    assert sorted(faults(cluster, "1.7.0")) == [
        "spec.authOptions.mode is 'none', not disabled or token",
        "spec.workerGroupSpecs[].groupName is missing",
        "spec.workerGroupSpecs[].template.spec.containers[].resources.limits.{} is 'a lot', not quantity",
    ]


@pytest.mark.skipif("NEO_KUBERAY_CRDS" not in os.environ, reason="needs KubeRay's own definitions")
def test_the_fields_are_those_of_kuberays_own_definitions() -> None:
    assert fields_in(Path(os.environ["NEO_KUBERAY_CRDS"])) == load_fields()


def test_pods_may_drain_within_their_grace_and_tolerate_no_machine_that_goes(ray_cluster: dict) -> None:
    """Ray's drain ends before Kubernetes kills the pod, and no pod asks to stay where others are moved away."""
    for group in (ray_cluster["spec"]["headGroupSpec"], *ray_cluster["spec"]["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        drain_seconds = float(values(pod)["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        assert drain_seconds > ray_constants.RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S
        assert drain_seconds + 30 <= pod["terminationGracePeriodSeconds"]
        assert all(toleration["key"] == "nvidia.com/gpu" for toleration in pod.get("tolerations", ()))


def values(pod: dict[str, Any]) -> dict[str, str]:
    """The variables of a pod whose values stand in the manifest."""
    return {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"] if "value" in entry}


def test_a_head_that_goes_asks_its_drivers_to_stop_and_waits_for_them(ray_cluster: dict, tmp_path: Path) -> None:
    """The hook itself, on a process that looks like a driver and takes a moment to commit."""
    program = tmp_path / "neo"
    program.write_text(
        "#!/usr/bin/env bash\ntrap 'sleep 0.5; echo committed > \"$3\"; exit 75' TERM\nwhile :; do sleep 0.1; done\n"
    )
    program.chmod(0o755)
    mark = f"neo-of-{tmp_path.name}-{os.getpid()}"  # the hook's own pattern would find the runs of this machine
    hook = ray_cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]
    assert hook["command"][-1].count("'[n]eo run|[p]ipelines[.]driver'") == 2
    words = [word.replace("[n]eo run|[p]ipelines[.]driver", f"[n]{mark[1:]}") for word in hook["command"]]
    driver = subprocess.Popen(["bash", program, mark, "run", tmp_path / "said"])
    time.sleep(0.5)
    subprocess.run(words, check=True, timeout=60)
    assert driver.wait(timeout=10) == 75
    assert (tmp_path / "said").read_text() == "committed\n"


def test_both_clusters_are_the_same_but_for_the_site_file(ray_cluster: dict, ray_job: dict) -> None:
    standing, of_a_job = ray_cluster["spec"], copy.deepcopy(ray_job["spec"]["rayClusterSpec"])
    pod = of_a_job["headGroupSpec"]["template"]["spec"]
    (mount,) = pod["containers"][0].pop("volumeMounts")
    (volume,) = pod.pop("volumes")
    assert mount == {"name": volume["name"], "mountPath": "/etc/neo"}
    assert volume["configMap"]["name"] == documents("job.yaml")["ConfigMap"]["metadata"]["name"]
    drivers, *groups = standing["workerGroupSpecs"]
    assert drivers["groupName"] == "driver", "in a cluster of its own, a run's driver is on the head"
    assert of_a_job == {**standing, "workerGroupSpecs": groups}


def test_the_versions_are_those_that_are_installed(ray_cluster: dict) -> None:
    assert ray_cluster["spec"]["rayVersion"] == version("ray")
    image = ray_cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"]
    assert image.endswith(f":{version('neo-pipelines')}")
    container = (FOLDER / "Containerfile").read_text()
    assert f"torch=={version('torch').partition('+')[0]}" in container
    assert re.search(r"^FROM \S+/python:3\.11", container, re.MULTILINE)


def test_the_image_pins_every_package_within_the_range_that_ours_allows() -> None:
    lines = [line for line in CONSTRAINTS.read_text().splitlines() if not line.startswith("#")]
    pinned = dict(line.split("==") for line in lines)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for wanted in map(Requirement, project["dependencies"]):
        name = canonicalize_name(wanted.name)
        assert name in pinned and pinned[name] in wanted.specifier, f"{wanted}: make constraints"
    assert len(pinned) > 2 * len(project["dependencies"]), "what those packages need is pinned too"
    assert pinned["torch"] in (FOLDER / "Containerfile").read_text()
    assert "--constraint cluster/ray/constraints.txt ." in (FOLDER / "Containerfile").read_text()


def test_the_image_gets_every_folder_that_the_package_is_made_of() -> None:
    copied = set(re.findall(r"^COPY (?:.* )?(\w+) \w+$", (FOLDER / "Containerfile").read_text(), re.MULTILINE))
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert copied == {pattern.rstrip("*") for pattern in wanted}


def test_secrets_are_named_and_never_given(ray_cluster: dict, ray_job: dict, example: Site) -> None:
    for name in ("cluster.yaml", "job.yaml"):
        assert "Secret" not in documents(name)
    groups = [ray_cluster["spec"]["headGroupSpec"], *ray_cluster["spec"]["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        by_reference = {entry["name"] for entry in pod["containers"][0]["env"]} - values(pod).keys()
        assert by_reference == set(example.secrets)
        assert values(pod).keys() == {"AWS_REGION", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"}
    assert ray_cluster["spec"]["authOptions"] == {"mode": "token", "secretName": "neo-ray-token"}


def test_the_entrypoint_is_a_command_that_ours_understands(ray_job: dict) -> None:
    _, command, *_ = (words.strip() for words in ray_job["spec"]["entrypoint"].split(";"))
    program, *words = shlex.split(command)
    assert program == "neo"
    name, parameters = understood(words)
    assert name == "run" and parameters["pipeline"] == "tiny" and parameters["site"] == "/etc/neo/site.toml"
    assert yaml.safe_load(ray_job["spec"]["runtimeEnvYAML"]) == {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "120"}}


@pytest.mark.parametrize(("code", "seen"), [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (75, 75), (137, 137)])
def test_only_what_a_retry_can_help_fails_in_the_eyes_of_kuberay(
    ray_job: dict, tmp_path: Path, code: int, seen: int
) -> None:
    assert {0, 1, 2, 3, 4, 5, 75} == {int(one) for one in ExitCode}
    assert as_ray_starts_it(ray_job, tmp_path, f"exit {code}").wait(timeout=10) == seen


def test_a_stop_reaches_the_run_and_its_exit_code_comes_back(ray_job: dict, tmp_path: Path) -> None:
    """Ray sends SIGTERM to the shell and to all below it, and waits for them."""
    job = as_ray_starts_it(ray_job, tmp_path, "trap 'exit 75' TERM; touch up; while :; do sleep 0.05; done")
    while not (tmp_path / "up").exists():
        time.sleep(0.02)
    os.killpg(job.pid, signal.SIGTERM)
    assert job.wait(timeout=10) == 75


def as_ray_starts_it(ray_job: dict, folder: Path, body: str) -> subprocess.Popen:
    """The entrypoint with a stand-in for `neo`, in a shell and a session of its own."""
    (folder / "neo").write_text(f"#!/usr/bin/env bash\n{body}\n")
    (folder / "neo").chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    entrypoint = ray_job["spec"]["entrypoint"]
    return subprocess.Popen(entrypoint, shell=True, cwd=folder, env=environment, start_new_session=True)


def understood(words: list[str]) -> tuple[str, dict[str, Any]]:
    """Which command these words are, and its parameters, without carrying it out."""
    group = typer.main.get_command(app)
    context = group.make_context("neo", list(words))
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    return name, {**context.params, **command.make_context(name, rest, parent=context).params}


@pytest.fixture(scope="module")
def example() -> Site:
    return load_site(SHIPPED / "example_cluster.toml")


def test_the_site_in_the_job_is_the_example_seen_from_inside(example: Site, tmp_path: Path) -> None:
    path = tmp_path / "example_cluster.toml"
    path.write_text(documents("job.yaml")["ConfigMap"]["data"]["site.toml"])
    inside = load_site(path)
    assert inside == example.model_copy(update={"ray": inside.ray, "driver": DriverResources()})
    assert inside.ray.address == "auto" and not inside.is_embedded


def test_the_example_site_fits_on_the_cluster(example: Site, ray_cluster: dict) -> None:
    """Each part and each rank fits on a machine of its group, and all that run at once fit on the group."""
    drivers, ingest, train = (group_size(group) for group in ray_cluster["spec"]["workerGroupSpecs"])
    assert example.driver.cpus <= drivers["cpus"]
    assert example.driver.memory_bytes <= RAY_MEMORY_SHARE * drivers["memory_bytes"]
    download = example.resources(stage="download_pairs", step="pairs").parts
    evaluate = example.resources(stage="evaluate", step="evaluate").parts
    gang = example.gang
    on_one = min(ingest["cpus"] / download.cpus, RAY_MEMORY_SHARE * ingest["memory_bytes"] / download.memory_bytes)
    assert download.max_parallel <= int(on_one) * ingest["machines"]
    ranks_on_one = min(train["gpus"], train["cpus"] / gang.cpus)
    assert gang.num_ranks <= int(ranks_on_one) * train["machines"]
    assert evaluate.max_parallel <= int(min(train["gpus"] / evaluate.gpus, train["cpus"] / evaluate.cpus)) * 2


def test_each_kind_of_work_selects_the_machines_of_one_group_and_pods_carry_its_label(
    example: Site, ray_cluster: dict
) -> None:
    named = {group["groupName"]: group["labels"] for group in ray_cluster["spec"]["workerGroupSpecs"]}
    pack = example.resources(stage="pack_rows", step="rows")
    work: dict[str, tuple[Placement, ...]] = {
        "driver": (example.driver,),
        "ingest": (pack.parts, pack.of_phase("plan"), example.resources(stage="download_pairs", step="pairs").parts),
        "train": (example.gang, example.resources(stage="evaluate", step="evaluate").parts),
    }
    assert {group: [one.labels for one in placed] for group, placed in work.items()} == {
        group: [labels] * len(work[group]) for group, labels in named.items()
    }
    assert ray_cluster["spec"]["autoscalerOptions"]["version"] == "v2"


def group_size(group: dict[str, Any]) -> dict[str, float]:
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    return {
        "machines": group["maxReplicas"],
        "cpus": float(limits["cpu"]),
        "gpus": float(limits.get("nvidia.com/gpu", 0)),
        "memory_bytes": float(limits["memory"].removesuffix("Gi")) * GIB,
    }


STAND_INS = {
    "scontrol": 'if [ "$1" = show ]; then printf "one\\ntwo\\n"; else echo "$@" >> "$SAID"; fi',
    "srun": 'echo srun "$@" >> "$SAID"\n[ -n "$HEAD_DIES" ] || exec sleep 60',
    "ray": 'exit "${HEAD_IS_SILENT:-0}"',
    "openssl": "echo 0123456789abcdef",
    "neo": "trap 'echo stopping >> \"$SAID\"; sleep 0.3; exit 75' TERM\n"
    'echo neo "$@" "$RAY_ADDRESS" "$RAY_AUTH_TOKEN" >> "$SAID"\n'
    'if [ "$2" = quick ]; then exit 1; fi\nif [ "$2" = deaf ]; then trap "" TERM; fi\n'
    "for _ in $(seq 600); do sleep 0.1; done",
}
"""Slurm's programs and ours, as far as the script can tell."""


@pytest.fixture
def slurm(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """An environment in which the script believes to be a job of two machines, and what was said in it."""
    for name, body in STAND_INS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_CPUS_PER_TASK": "96", "SLURM_GPUS_ON_NODE": "8"}
    job |= {"USER": "me", "HEAD_DIES": ""}
    return os.environ | job | {"NEO_VENV": str(tmp_path), "SAID": str(tmp_path / "said")}, tmp_path / "said"


def test_the_slurm_script_starts_ray_everywhere_and_requeues_what_was_interrupted(slurm) -> None:
    environment, said = slurm
    script = subprocess.Popen([FOLDER / "slurm.sh", "tiny", "--site", "my.toml"], env=environment)
    # All three start in the background: any of them may be the last to begin.
    while not said.exists() or (said.read_text().count("srun "), said.read_text().count("neo run tiny")) != (2, 1):
        assert script.poll() is None
        time.sleep(0.02)
    script.terminate()
    assert script.wait(timeout=120) == 75
    lines = said.read_text().splitlines()
    steps = [line for line in lines if line.startswith("srun")]
    assert len(steps) == 2 and all("--cpus-per-task=96 " in step for step in steps)
    assert any("--nodelist=one ray start" in line and "--head" in line for line in lines)
    assert any("--nodelist=two ray start" in line and "--address=one:6379" in line for line in lines)
    assert "neo run tiny --site my.toml one:6379 0123456789abcdef" in lines
    assert lines[-2:] == ["stopping", "requeue 7"]
    assert understood(["run", "tiny", "--site", "my.toml"])[0] == "run"


def test_the_slurm_script_ends_as_the_run_does_and_requeues_no_failure(slurm) -> None:
    environment, said = slurm
    assert subprocess.run([FOLDER / "slurm.sh", "quick"], env=environment, check=False, timeout=120).returncode == 1
    assert "requeue" not in said.read_text()


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ({"HEAD_IS_SILENT": "1", "NEO_HEAD_SECONDS": "2"}, r"Ray on one does not answer at one:6379 after [2-9] s"),
        ({"HEAD_IS_SILENT": "1", "HEAD_DIES": "yes"}, r"Ray on one does not answer at one:6379 after [01] s"),
    ],
)
def test_a_head_that_does_not_come_up_or_dies_ends_the_slurm_job_in_words(slurm, trouble, words) -> None:
    environment, said = slurm
    command = [FOLDER / "slurm.sh", "tiny"]
    ended = subprocess.run(command, env=environment | trouble, check=False, timeout=120, capture_output=True, text=True)
    assert ended.returncode == 1
    assert re.search(words, ended.stderr)
    assert "neo run" not in said.read_text() and "requeue" not in said.read_text()


def test_a_notice_before_the_run_begins_or_that_it_does_not_heed_requeues_the_job_too(slurm) -> None:
    environment, said = slurm
    early = subprocess.Popen([FOLDER / "slurm.sh", "tiny"], env=environment | {"HEAD_IS_SILENT": "1"})
    wait_for_line(said, "srun")
    early.terminate()
    assert early.wait(timeout=120) == 75
    assert "requeue 7" in said.read_text() and "neo run" not in said.read_text()
    said.unlink()
    deaf = subprocess.Popen([FOLDER / "slurm.sh", "deaf"], env=environment | {"NEO_STOP_SECONDS": "1"})
    wait_for_line(said, "neo run deaf")
    deaf.terminate()
    assert deaf.wait(timeout=120) == 75
    assert "requeue 7" in said.read_text().splitlines()


def wait_for_line(said: Path, beginning: str) -> None:
    while not said.exists() or not any(line.startswith(beginning) for line in said.read_text().splitlines()):
        time.sleep(0.02)


def test_the_slurm_script_is_bash_and_asks_for_a_warning_before_the_end() -> None:
    subprocess.run(["bash", "-n", FOLDER / "slurm.sh"], check=True)
    assert "#SBATCH --signal=B:TERM@" in (FOLDER / "slurm.sh").read_text()
