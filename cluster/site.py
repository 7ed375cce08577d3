"""Sites: places with machines. Where things are kept, how code gets there, what each step may use.

Nothing here is identity: the same pipeline makes the same artifacts on any site. A site is a TOML file, shipped in
`cluster/sites/` or a user's own. Secrets are never in it: the store and the tracker read theirs from the environment.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.contract import GangLayout

SHIPPED = Path(__file__).with_name("sites")
DEFAULT_SITE = "embedded"
LOCAL_ADDRESS = "local"
"""Ray on this machine, started for one run and ended with it."""


class SiteError(ValueError):
    """A site file cannot be used; the message names the file, the key and what to do."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class RaySettings(_Table):
    """Which Ray carries the work."""

    address: str = LOCAL_ADDRESS
    """`local` starts Ray on this machine; anything else is the address of a running cluster (`auto`, `host:6379`)."""
    jobs: str = ""
    """Where `neo submit` sends runs: the cluster's dashboard (`http://head:8265`); empty asks the cluster at `address`.
    """
    num_cpus: int | None = Field(default=None, ge=1)
    """CPUs that a local Ray hands out; None counts those of this machine."""


class PartResources(_Table):
    """What the work on one part may use."""

    cpus: float = Field(default=1.0, gt=0)
    gpus: float = Field(default=0.0, ge=0)
    memory_bytes: int | None = Field(default=None, gt=0)
    """Memory that Ray sets aside for one part; None does not count it."""
    max_parallel: int | None = Field(default=None, ge=1)
    """Parts under way at once; None fills the CPUs of the cluster."""


class GangResources(GangLayout):
    """How a gang of training ranks is laid out, and what each rank may use."""

    model_config = _Table.model_config

    cpus: float = Field(default=1.0, gt=0)
    """CPUs of one rank, and the threads of its arithmetic."""
    gpus: int = Field(default=0, ge=0, le=1)
    """GPUs of one rank: with one, ranks talk over NCCL, else over gloo."""
    gpu: str = ""
    """Which type of GPU that is, such as `H200`, for estimates; empty where none is named."""
    memory_bytes: int | None = Field(default=None, gt=0)
    """Memory that Ray sets aside for one rank; None does not count it."""

    @property
    def layout(self) -> GangLayout:
        """What a rank is told of all this."""
        return GangLayout(**{name: getattr(self, name) for name in GangLayout.model_fields})


TableT = TypeVar("TableT", bound=BaseModel)


class Resources(_Table):
    """What a step may use: for its parts, and for its gang if it has one."""

    parts: PartResources = PartResources()
    gang: GangResources = GangResources()

    def adjusted(self, by: Resources) -> Resources:
        """These resources, with what `by` states in their place."""
        return Resources(parts=_adjusted(self.parts, by.parts), gang=_adjusted(self.gang, by.gang))


class Site(_Table):
    """A place with machines."""

    name: str
    store: str
    """A folder (absolute, or under `$NEO_HOME`, else under the current folder), or `s3://bucket/prefix`, `gs://`,
    `az://`."""
    single_writer: bool = False
    """Never more than one command at a time writes to this store. Only to be said of a store that heeds no conditional
    writes, which is refused otherwise; nothing checks it."""
    mlflow: str = ""
    """Tracking URI of MLflow; empty keeps a SQLite file in the store's folder."""
    code: Literal["local", "image", "wheel"] = "image"
    """How our package gets to the machines of a cluster: they see this folder, their image holds it, or it is sent
    along with the run, what it depends on being in their image."""
    secrets: tuple[str, ...] = ()
    """Names of environment variables that the cluster's machines must have, such as the store's key: a run is refused
    where one is missing. Names alone are ever sent."""
    ray: RaySettings = RaySettings()
    parts: PartResources = PartResources()
    gang: GangResources = GangResources()
    stages: Mapping[str, Resources] = Field(default_factory=dict)
    """By name of the stage: what differs from `parts` and `gang`."""
    steps: Mapping[str, Resources] = Field(default_factory=dict)
    """By name of the step: what differs from its stage's."""

    @property
    def is_embedded(self) -> bool:
        """Whether Ray lives and dies with the run."""
        return self.ray.address == LOCAL_ADDRESS

    def seen_from_inside(self) -> Site:
        """This site for a driver that is a job of its cluster: Ray is there, and the code came with the job."""
        return self.model_copy(
            update={"ray": self.ray.model_copy(update={"address": "auto", "jobs": ""}), "code": "image"}
        )

    def resources(self, *, stage: str, step: str) -> Resources:
        """What one step may use."""
        found = Resources(parts=self.parts, gang=self.gang)
        for adjustment in (self.stages.get(stage), self.steps.get(step)):
            found = found if adjustment is None else found.adjusted(adjustment)
        return found

    def num_local_cpus(self) -> int:
        """CPUs that a local Ray is to hand out: those of this machine, and never fewer than one gang needs."""
        if self.ray.num_cpus is not None:
            return self.ray.num_cpus
        base = Resources(parts=self.parts, gang=self.gang)
        largest = [base, *(base.adjusted(by) for by in (*self.stages.values(), *self.steps.values()))]
        needed = max(max(one.parts.cpus, one.gang.num_ranks * one.gang.cpus) for one in largest)
        return max(len(os.sched_getaffinity(0)), int(-(-needed // 1)))


def load_site(name_or_path: str | Path | None = None) -> Site:
    """The site of a name (`embedded`) or a TOML file; without one, that of `NEO_SITE`, else the embedded one.

    Raises `SiteError` for a site that does not exist, a key that is not known and a value that does not fit.
    """
    wanted = str(name_or_path or os.environ.get("NEO_SITE") or DEFAULT_SITE)
    path = _site_file(wanted)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SiteError(f"site {path}: {error}") from error
    for complaint in _unknown_keys(table, Site, ()):
        raise SiteError(f"site {path}: {complaint}")
    try:
        site = Site(**{"name": path.stem, **table})
    except ValidationError as error:
        raise SiteError(f"site {path}: {_first_fault(error)}") from error
    return _with_places(site, path)


def shipped_sites() -> list[str]:
    """Names of the sites that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def _site_file(wanted: str) -> Path:
    if wanted.endswith(".toml") or os.sep in wanted:
        return Path(wanted).expanduser()
    names = shipped_sites()
    if wanted not in names:
        raise SiteError(
            f"there is no site {wanted!r}{_suggestion(wanted, names)}; name {_either(names)} or a .toml file"
        )
    return SHIPPED / f"{wanted}.toml"


def _with_places(site: Site, path: Path) -> Site:
    """The site with its folders made absolute, and the tracker's place filled in."""
    if "://" in site.store:
        if not site.mlflow:
            raise SiteError(
                f"site {path}: mlflow is empty, and {site.store} is no folder for its SQLite file; name a server"
            )
        return site
    home = Path(os.environ.get("NEO_HOME") or Path.cwd()).expanduser()
    store = str((home / Path(site.store).expanduser()).resolve())
    return site.model_copy(update={"store": store, "mlflow": site.mlflow or f"sqlite:///{store}/mlflow.db"})


def _adjusted(base: TableT, by: TableT) -> TableT:
    return base.model_copy(update={name: getattr(by, name) for name in by.model_fields_set})


def _unknown_keys(table: Mapping[str, Any], model: type[BaseModel], where: tuple[str, ...]) -> Iterator[str]:
    """A sentence for each key, at any depth, that the model does not have."""
    for key, value in table.items():
        field = model.model_fields.get(key)
        if field is None:
            place = f"[{'.'.join(where)}] has" if where else "there is"
            yield f"{place} no key {key!r}{_suggestion(key, list(model.model_fields))}"
        elif isinstance(value, dict):
            yield from _unknown_keys_below(value, field.annotation, (*where, key))


def _unknown_keys_below(table: Mapping[str, Any], annotation: Any, where: tuple[str, ...]) -> Iterator[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _unknown_keys(table, annotation, where)
        return
    inner = next(
        (kind for kind in get_args(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)), None
    )
    for key, value in table.items():
        if inner is not None and isinstance(value, dict):
            yield from _unknown_keys(value, inner, (*where, key))


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where} = {fault['input']!r}: {fault['msg']}" if fault["type"] != "missing" else f"{where} is missing"


def _suggestion(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"


def _either(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
