"""What is shipped for Kubernetes and Slurm, held to what can be known without them: the fields of KubeRay's resources,
our own command line and site files, and the versions that are installed."""

import copy
import os
import re
import shlex
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

from cluster.site import Site, load_site
from pipelines.cli import app

FOLDER = Path(__file__).parents[2] / "cluster" / "ray"
ROOT = FOLDER.parents[1]
GIB = 1024**3
RAY_MEMORY_SHARE = 0.7
"""Of a container's memory, what Ray hands out as `memory`; the rest is for its object store."""

POD = {
    "metadata?": ...,
    "spec": {
        "containers": [
            {
                "name": str,
                "image": str,
                "resources": {"requests": ..., "limits": ...},
                "ports?": [{"name": str, "containerPort": int}],
                "env?": [{"name": str, "valueFrom": {"secretKeyRef": {"name": str, "key": str}}}],
                "volumeMounts?": [{"name": str, "mountPath": str}],
            }
        ],
        "volumes?": [{"name": str, "emptyDir?": ..., "configMap?": {"name": str}}],
        "nodeSelector?": ...,
        "tolerations?": [{"key": str, "operator": str, "effect": str}],
        "terminationGracePeriodSeconds?": int,
    },
}
CLUSTER = {
    "rayVersion": str,
    "enableInTreeAutoscaling": bool,
    "autoscalerOptions": {"idleTimeoutSeconds": int, "resources": ...},
    "authOptions": {"mode": str, "secretName": str},
    "headGroupSpec": {"rayStartParams": ..., "template": POD},
    "workerGroupSpecs": [
        {"groupName": str, "minReplicas": int, "maxReplicas": int, "rayStartParams": ..., "template": POD}
    ],
}
JOB = {
    "entrypoint": str,
    "submissionMode": str,
    "backoffLimit": int,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "runtimeEnvYAML": str,
    "rayClusterSpec": CLUSTER,
}
"""The fields of ray.io/v1 that we use, under the names that its types have; `?` marks those that may be left out."""


def check_shape(value: Any, shape: Any, where: str) -> None:
    if shape is ...:
        return
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        wanted = {name.rstrip("?"): inner for name, inner in shape.items()}
        assert not value.keys() - wanted.keys(), f"{where}: unknown {value.keys() - wanted.keys()}"
        missing = {name for name in shape if not name.endswith("?")} - value.keys()
        assert not missing, f"{where}: missing {missing}"
        for name, inner in value.items():
            check_shape(inner, wanted[name], f"{where}.{name}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for number, inner in enumerate(value):
            check_shape(inner, shape[0], f"{where}[{number}]")
    else:
        assert type(value) is shape, f"{where} is {value!r}"


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


def test_the_manifests_have_the_fields_that_kuberay_knows(ray_cluster: dict, ray_job: dict) -> None:
    assert ray_cluster["apiVersion"] == ray_job["apiVersion"] == "ray.io/v1"
    check_shape(ray_cluster["spec"], CLUSTER, "RayCluster.spec")
    check_shape(ray_job["spec"], JOB, "RayJob.spec")
    with pytest.raises(AssertionError, match="unknown"):
        check_shape({**ray_job["spec"], "entryPoint": "neo"}, JOB, "RayJob.spec")


def test_both_clusters_are_the_same_but_for_the_site_file(ray_cluster: dict, ray_job: dict) -> None:
    standing, of_a_job = ray_cluster["spec"], copy.deepcopy(ray_job["spec"]["rayClusterSpec"])
    pod = of_a_job["headGroupSpec"]["template"]["spec"]
    (mount,) = pod["containers"][0].pop("volumeMounts")
    (volume,) = pod.pop("volumes")
    assert mount == {"name": volume["name"], "mountPath": "/etc/neo"}
    assert volume["configMap"]["name"] == documents("job.yaml")["ConfigMap"]["metadata"]["name"]
    assert of_a_job == standing


def test_the_versions_are_those_that_are_installed(ray_cluster: dict) -> None:
    assert ray_cluster["spec"]["rayVersion"] == version("ray")
    image = ray_cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"]
    assert image.endswith(f":{version('neo-pipelines')}")
    container = (FOLDER / "Containerfile").read_text()
    assert f"torch=={version('torch').partition('+')[0]}" in container
    assert re.search(r"^FROM \S+/python:3\.11", container, re.MULTILINE)


def test_the_image_gets_every_folder_that_the_package_is_made_of() -> None:
    copied = set(re.findall(r"^COPY (?:.* )?(\w+) \w+$", (FOLDER / "Containerfile").read_text(), re.MULTILINE))
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert copied == {pattern.rstrip("*") for pattern in wanted}


def test_secrets_are_named_and_never_given(ray_cluster: dict, ray_job: dict, example: Site) -> None:
    for name in ("cluster.yaml", "job.yaml"):
        assert "Secret" not in documents(name)
    groups = [ray_cluster["spec"]["headGroupSpec"], *ray_cluster["spec"]["workerGroupSpecs"]]
    for group in groups:
        named = {entry["name"] for entry in group["template"]["spec"]["containers"][0]["env"]}
        assert named == set(example.secrets)
    assert ray_cluster["spec"]["authOptions"] == {"mode": "token", "secretName": "neo-ray-token"}


def test_the_entrypoint_is_a_command_that_ours_understands(ray_job: dict) -> None:
    program, *words = shlex.split(ray_job["spec"]["entrypoint"])
    assert program == "neo"
    name, parameters = understood(words)
    assert name == "run" and parameters["pipeline"] == "tiny" and parameters["site"] == "/etc/neo/site.toml"
    assert yaml.safe_load(ray_job["spec"]["runtimeEnvYAML"]) == {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "120"}}


def understood(words: list[str]) -> tuple[str, dict[str, Any]]:
    """Which command these words are, and its parameters, without carrying it out."""
    group = typer.main.get_command(app)
    context = group.make_context("neo", list(words))
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    return name, {**context.params, **command.make_context(name, rest, parent=context).params}


@pytest.fixture(scope="module")
def example() -> Site:
    return load_site("example_cluster")


def test_the_site_in_the_job_is_the_example_seen_from_inside(example: Site, tmp_path: Path) -> None:
    path = tmp_path / "example_cluster.toml"
    path.write_text(documents("job.yaml")["ConfigMap"]["data"]["site.toml"])
    inside = load_site(path)
    assert inside == example.model_copy(update={"ray": inside.ray})
    assert inside.ray.address == "auto" and not inside.is_embedded


def test_the_example_site_fits_on_the_cluster(example: Site, ray_cluster: dict) -> None:
    """Each part and each rank fits on a machine of its group, and all that run at once fit on the group."""
    ingest, train = (group_size(group) for group in ray_cluster["spec"]["workerGroupSpecs"])
    download = example.resources(stage="download_pairs", step="pairs").parts
    evaluate = example.resources(stage="evaluate", step="evaluate").parts
    gang = example.gang
    on_one = min(ingest["cpus"] / download.cpus, RAY_MEMORY_SHARE * ingest["memory_bytes"] / download.memory_bytes)
    assert download.max_parallel <= int(on_one) * ingest["machines"]
    ranks_on_one = min(train["gpus"], train["cpus"] / gang.cpus)
    assert gang.num_ranks <= int(ranks_on_one) * train["machines"]
    assert evaluate.max_parallel <= int(min(train["gpus"] / evaluate.gpus, train["cpus"] / evaluate.cpus)) * 2


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
    "srun": 'echo srun "$@" >> "$SAID"',
    "ray": "exit 0",
    "openssl": "echo 0123456789abcdef",
    "neo": "trap 'echo stopping >> \"$SAID\"; sleep 0.3; exit 75' TERM\n"
    'echo neo "$@" "$RAY_ADDRESS" "$RAY_AUTH_TOKEN" >> "$SAID"\n'
    'if [ "$2" = quick ]; then exit 1; fi\nfor _ in $(seq 600); do sleep 0.1; done',
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
    job["USER"] = "me"
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
    assert sum(line.startswith("srun") for line in lines) == 2
    assert any("--nodelist=one ray start" in line and "--head" in line for line in lines)
    assert any("--nodelist=two ray start" in line and "--address=one:6379" in line for line in lines)
    assert "neo run tiny --site my.toml one:6379 0123456789abcdef" in lines
    assert lines[-2:] == ["stopping", "requeue 7"]
    assert understood(["run", "tiny", "--site", "my.toml"])[0] == "run"


def test_the_slurm_script_ends_as_the_run_does_and_requeues_no_failure(slurm) -> None:
    environment, said = slurm
    assert subprocess.run([FOLDER / "slurm.sh", "quick"], env=environment, check=False, timeout=120).returncode == 1
    assert "requeue" not in said.read_text()


def test_the_slurm_script_is_bash_and_asks_for_a_warning_before_the_end() -> None:
    subprocess.run(["bash", "-n", FOLDER / "slurm.sh"], check=True)
    assert "#SBATCH --signal=B:TERM@" in (FOLDER / "slurm.sh").read_text()
