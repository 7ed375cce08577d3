"""The fields of KubeRay's resources that our manifests use, by KubeRay version, and whether a manifest keeps to them.

`kuberay_fields.tsv` holds one line for each field: kind, path, type, the first version that has it, whether it must be
given, and its allowed values. It is written from KubeRay's own definitions by

    python -m tests.cluster.kuberay FOLDER      # FOLDER/VERSION.rayclusters.yaml and FOLDER/VERSION.rayjobs.yaml

for all fields that our manifests use and all that must stand beside them. `NEO_KUBERAY_CRDS=FOLDER` lets the tests
compare the file with the definitions again.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "cluster" / "ray"
TABLE = Path(__file__).with_name("kuberay_fields.tsv")
VERSIONS = ("1.5.0", "1.5.1", "1.6.0", "1.7.0")
"""Versions whose definitions the table covers, oldest first."""
DEFINITIONS = {"RayCluster": "rayclusters", "RayJob": "rayjobs"}
CLUSTER_OF_A_JOB = "spec.rayClusterSpec"
"""Where a RayJob holds what a RayCluster has as its `spec`. The table has these fields once, as a RayCluster's."""
TYPES = {"string": str, "boolean": bool, "integer": int, "object": dict, "map": dict, "array": list}
QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kMGTPE]|[KMGTPE]i)?")


@dataclass(frozen=True)
class KubeField:
    """One field of a resource: its path, `[]` for the items of a list and `{}` for the values of a map."""

    kind: str
    path: str
    type: str
    """`string`, `boolean`, `integer`, `number`, `object`, `map`, `array` or `quantity` (`500m`, `16Gi`)."""
    since: str
    """First version of `VERSIONS` that has it."""
    is_required: bool = False
    allowed: tuple[str, ...] = ()
    """The allowed values; empty allows all."""

    def line(self) -> str:
        cells = self.kind, self.path, self.type, self.since, "required" if self.is_required else "", *self.allowed
        return "\t".join(cells).rstrip()


def load_fields() -> list[KubeField]:
    """The fields of the table."""
    fields = []
    for line in TABLE.read_text().splitlines():
        kind, path, kind_of_value, since, *rest = line.split("\t")
        fields.append(KubeField(kind, path, kind_of_value, since, rest[:1] == ["required"], tuple(rest[1:])))
    return fields


def faults(document: dict[str, Any], version: str) -> list[str]:
    """What KubeRay of this version would refuse in a resource, or drop from it: one sentence each."""
    known = {_path_in(document["kind"], field): field for field in load_fields()}
    return list(_faults(document["spec"], "spec", known, VERSIONS.index(version)))


def _path_in(kind: str, field: KubeField) -> str:
    """Path of a field in a resource of this kind; '' if it has no such field."""
    if field.kind == kind:
        return field.path
    return field.path.replace("spec", CLUSTER_OF_A_JOB, 1) if kind == "RayJob" else ""


def _faults(value: Any, path: str, known: dict[str, KubeField], version: int) -> Iterator[str]:
    field = known.get(path)
    if field is None or not _has(field, version):
        yield f"{path} is not known" + (f" before {field.since}" if field else "")
        return
    if not _fits(value, field):
        yield f"{path} is {value!r}, not {' or '.join(field.allowed) or field.type}"
        return
    if isinstance(value, dict):
        below = [path + ".{}"] * len(value) if field.type == "map" else [f"{path}.{name}" for name in value]
        for inner, inner_path in zip(value.values(), below, strict=True):
            yield from _faults(inner, inner_path, known, version)
        for needed_path, needed in known.items():
            parent, _, name = needed_path.rpartition(".")
            if needed.is_required and parent == path and name not in value and _has(needed, version):
                yield f"{needed_path} is missing"
    elif isinstance(value, list):
        for inner in value:
            yield from _faults(inner, path + "[]", known, version)


def _has(field: KubeField, version: int) -> bool:
    return VERSIONS.index(field.since) <= version


def _fits(value: Any, field: KubeField) -> bool:
    if field.allowed:
        return value in field.allowed
    if field.type == "quantity":
        return isinstance(value, int | str) and QUANTITY.fullmatch(str(value)) is not None
    if field.type == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is TYPES[field.type]


def used_paths() -> set[tuple[str, str]]:
    """Kind and path of each field that our manifests use, maps as far as their values."""
    texts = [(MANIFESTS / name).read_text() for name in ("cluster.yaml", "job.yaml")]
    found = set()
    for document in (document for text in texts for document in yaml.safe_load_all(text)):
        kind = document["kind"]
        for path in _paths(document["spec"], "spec") if kind in DEFINITIONS else ():
            is_below = path.startswith(f"{CLUSTER_OF_A_JOB}.")
            found.add(("RayCluster", path.replace(CLUSTER_OF_A_JOB, "spec", 1)) if is_below else (kind, path))
    return found


def _paths(value: Any, path: str) -> Iterator[str]:
    yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _paths(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner, f"{path}[]")


def fields_in(folder: Path) -> list[KubeField]:
    """The fields that our manifests use and those that must stand beside them, from KubeRay's definitions."""
    found: dict[tuple[str, str], KubeField] = {}
    used = used_paths()
    for version in VERSIONS:
        for kind, name in DEFINITIONS.items():
            text = (folder / f"{version}.{name}.yaml").read_text()
            definition = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            schema = next(one for one in definition["spec"]["versions"] if one["name"] == "v1")
            spec = schema["schema"]["openAPIV3Schema"]["properties"]["spec"]
            for field in _fields(kind, "spec", spec, version, used):
                found.setdefault((kind, field.path), field)
    return sorted(found.values(), key=lambda field: (field.kind, field.path))


def _fields(
    kind: str,
    path: str,
    schema: dict[str, Any],
    version: str,
    used: set[tuple[str, str]],
    is_required: bool = False,
) -> Iterator[KubeField]:
    inner = schema.get("additionalProperties")
    is_quantity = schema.get("x-kubernetes-int-or-string", False)
    type_ = "quantity" if is_quantity else "map" if isinstance(inner, dict) else schema["type"]
    yield KubeField(kind, path, type_, version, is_required, tuple(schema.get("enum", ())))
    if isinstance(inner, dict):
        yield from _fields(kind, path + ".{}", inner, version, used)
    for name, below in schema.get("properties", {}).items():
        required = path != CLUSTER_OF_A_JOB and name in schema.get("required", ())
        if (kind, f"{path}.{name}") in used or (required and (kind, path) in used):
            yield from _fields(kind, f"{path}.{name}", below, version, used, required)
    if "items" in schema:
        yield from _fields(kind, path + "[]", schema["items"], version, used)


if __name__ == "__main__":
    TABLE.write_text("".join(field.line() + "\n" for field in fields_in(Path(sys.argv[1]))))
