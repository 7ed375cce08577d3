"""Sites: where a run executes. Owns the store, the tracker, the cluster, and the resources of each step.

Nothing here is part of an artifact's identity: the same pipeline makes the same artifacts on any site. A site is a TOML
file, shipped in `cluster/sites/` or a user's own. It holds no secrets: the store and the tracker read theirs from the
environment. Imports no Ray, because planning reads sites.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from cluster.placement import DriverResources, Placed
from stages.contract import PROFILE_PHASE, GangLayout
from stages.surfaces.credentials import has_credentials, without_credentials

SHIPPED = Path(__file__).with_name("sites")
TEMPLATES = ("example_cluster",)
"""Shipped files that name machines which nobody has: to be copied and filled in."""
DEFAULT_SITE = "embedded"
LOCAL_ADDRESS = "local"
"""Address that stands for a Ray on this machine, started for one run and ended with it."""


LEAST_SILENT_SECONDS = 600.0
"""Least `max_silent_seconds` of a site: a store that does not answer is tried twice, three minutes each."""

VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of an environment variable."""
NO_CREDENTIALS = (
    "it holds a password or a token, and is recorded and shown; keys of object stores stand in the environment"
)
EVENT_ADDRESS = re.compile(r'(?i:https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?(/[!"$->@-~]*)?')
"""Address to which events can be sent: without blanks, and without a user's name or key."""
MAX_PORT = 65535
SECRET_FIELDS = ("headers", "cookies", "verify")
"""Fields of `[ray]` that hold names of variables. A value in their place may be a secret and is never shown."""


class SiteError(ValueError):
    """A site file cannot be used; the message names the file, the key and a remedy."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class RaySettings(_Table):
    """The Ray cluster that executes a run."""

    address: str = LOCAL_ADDRESS
    """Address of a running cluster (`auto`, `host:6379`), or `local` to start Ray on this machine."""
    jobs: str = ""
    """Dashboard of the cluster, to which `neo submit` sends runs (`http://head:8265`); empty means `address`."""
    num_cpus: int | None = Field(default=None, ge=1)
    """CPUs that a local Ray schedules; None means those of this machine."""
    headers: Mapping[str, VariableName] = Field(default_factory=dict)
    """HTTP header to the name of the environment variable that holds its value, where `neo submit` is typed: what a
    login before the dashboard asks for. Values stand in no file."""
    cookies: Mapping[str, VariableName] = Field(default_factory=dict)
    """Cookie to the name of the environment variable that holds its value, as for `headers`."""
    verify: VariableName | Literal[""] = ""
    """Name of the environment variable that holds the path of the certificates by which the dashboard's own is checked;
    empty means the usual authorities."""

    @field_validator("address", "jobs")
    @classmethod
    def _is_no_ray_client(cls, address: str) -> str:
        if address.startswith("ray://"):
            raise ValueError(
                "Ray Client is not supported, as a run would end with the machine it is typed on. Name the cluster's "
                "dashboard as [ray] jobs (http://HEAD:8265) and type `neo submit`"
            )
        if has_credentials(address):
            raise ValueError(NO_CREDENTIALS)
        return address


class PartResources(Placed):
    """Resources of the work on one part."""

    cpus: float = Field(default=1.0, gt=0)
    gpus: float = Field(default=0.0, ge=0)
    memory_bytes: int | None = Field(default=None, gt=0)
    """Memory that Ray reserves for one part, in bytes; None reserves none."""
    max_parallel: int | None = Field(default=None, ge=1)
    """Most parts of a phase that run at once; None fills the CPUs of the cluster."""
    max_failed_parts: float = Field(default=0.0, ge=0, lt=1)
    """Largest share of the parts that a phase has to make which may fail while the others are still made: 0.01. The
    step then fails with the rest done, and the next run makes only what failed. With 0 no part begins after one failed.
    """


class GangResources(GangLayout, Placed):
    """Layout of a worker group (gang) of training ranks, and the resources of each rank."""

    model_config = _Table.model_config

    max_ranks: int | None = Field(default=None, ge=1)
    """Most ranks, where a site says `num_ranks = [8, 16]`: the gang forms with what there is, at least the first
    number, and grows when more machines come. None: exactly `num_ranks`."""
    grow_after_seconds: float = Field(default=600.0, ge=0)
    """How long a gang trains before it ends at a checkpoint and forms again because there is room for more ranks."""
    cpus: float = Field(default=1.0, gt=0)
    """CPUs of one rank, which are also its torch threads."""
    gpus: int = Field(default=0, ge=0, le=1)
    """GPUs of one rank: with 1, ranks communicate over NCCL; with 0, over gloo."""
    gpu: str = ""
    """Type of GPU, such as `H200`, which `neo estimate` reads; empty means unknown. Ranks are placed by `accelerator`.
    """
    memory_bytes: int | None = Field(default=None, gt=0)
    """Memory that Ray reserves for one rank, in bytes; None reserves none."""

    @model_validator(mode="before")
    @classmethod
    def _read_least_and_most(cls, values: Any) -> Any:
        """`num_ranks = [8, 16]` states both numbers, and `num_ranks = 8` overrides both."""
        stated = values.get("num_ranks") if isinstance(values, Mapping) else None
        if isinstance(stated, list | tuple):
            if len(stated) != 2:
                raise ValueError(f"num_ranks = {list(stated)}: write one number, or least and most as in [8, 16]")
            return {**values, "num_ranks": stated[0], "max_ranks": stated[1]}
        return values if stated is None else {"max_ranks": None, **values}

    @model_validator(mode="after")
    def _check_most(self) -> GangResources:
        if self.max_ranks is not None and self.max_ranks < self.num_ranks:
            raise ValueError(f"num_ranks = [{self.num_ranks}, {self.max_ranks}]: the most are fewer than the least")
        return self

    @model_validator(mode="after")
    def _check_sequence_ranks(self) -> GangResources:
        """Not of a table alone: `num_ranks` may stand in another. A plan asks `why_not_grouped` of all together."""
        return self

    @model_validator(mode="after")
    def _check_silence(self) -> GangResources:
        if self.max_silent_seconds < LEAST_SILENT_SECONDS:
            raise ValueError(
                f"max_silent_seconds = {self.max_silent_seconds:g}: steps may wait for a checkpoint through the "
                f"store's retries, which last up to three minutes, twice; write at least {LEAST_SILENT_SECONDS:g}"
            )
        return self

    def why_not_grouped(self) -> str:
        """Why ranks cannot share rows as stated, with the least and with the most ranks; '' if they can."""
        most = self.max_ranks or self.num_ranks
        if self.num_ranks % self.sequence_ranks == 0 == most % self.sequence_ranks:
            return ""
        stated = self.num_ranks if self.max_ranks is None else f"[{self.num_ranks}, {self.max_ranks}]"
        return (
            f"num_ranks = {stated} with sequence_ranks = {self.sequence_ranks}: ranks share rows in groups of "
            f"{self.sequence_ranks}, so write multiples of {self.sequence_ranks}"
        )

    def of_size(self, num_ranks: int) -> GangResources:
        """The same for exactly this number of ranks."""
        return self.model_copy(update={"num_ranks": num_ranks, "max_ranks": None})

    @property
    def layout(self) -> GangLayout:
        """The layout alone, as a rank is given it."""
        return GangLayout(**{name: getattr(self, name) for name in GangLayout.model_fields})


TableT = TypeVar("TableT", bound=BaseModel)


class Resources(_Table):
    """Resources of a step: of its parts, and of its gang if it has one."""

    parts: PartResources = PartResources()
    gang: GangResources = GangResources()
    phases: Mapping[str, PartResources] = Field(default_factory=dict)
    """Overrides of `parts` for the parts of one phase, by its name: `pack_rows` plans in more memory than it writes."""

    def adjusted(self, by: Resources) -> Resources:
        """These resources, overridden by every field that `by` states."""
        phases = {**self.phases, **by.phases}
        for name in self.phases.keys() & by.phases.keys():
            phases[name] = _adjusted(self.phases[name], by.phases[name])
        return Resources(parts=_adjusted(self.parts, by.parts), gang=_adjusted(self.gang, by.gang), phases=phases)

    def of_phase(self, phase: str) -> PartResources:
        """Resources of the parts of one phase. Drawing what a stage did takes no GPU, unless a site says so."""
        base = self.parts.model_copy(update={"gpus": 0}) if phase == PROFILE_PHASE else self.parts
        return _adjusted(base, self.phases[phase]) if phase in self.phases else base


class Site(_Table):
    """Machines and services on which runs execute."""

    name: str
    store: str
    """Store of artifacts: `s3://bucket/prefix`, `gs://`, `az://`, or a folder. A relative folder lies under
    `$NEO_HOME`, or under the current folder if that is not set."""
    single_writer: bool = False
    """Accept a store without conditional writes, which is refused otherwise. Then at most one command at a time may
    write to it, and nothing checks that."""
    mlflow: str = ""
    """Tracking URI of MLflow; empty means a SQLite file in the store's folder."""
    openlineage: str = ""
    """Address to which `neo disclose --openlineage --post` sends run events, such as `http://host:5000`; empty for
    none."""
    code: Literal["local", "image", "wheel"] = "image"
    """How our packages reach the machines of a cluster. `local`: they see this folder. `image`: their container image
    holds them. `wheel`: the run uploads them, and the image holds only their dependencies."""
    secrets: tuple[str, ...] = ()
    """Names of environment variables that the cluster's machines must have, such as the store's key. A run is refused
    if one is missing. Values are never sent."""
    indexes: Literal["none", "samples", "texts"] = "none"
    """What a run makes of the samples that it has committed, once it is done. `samples`: the indexes of `neo index`.
    `texts`: those by their words as well. They are derived, and change no artifact."""
    refused_networks: tuple[IPvAnyNetwork, ...] = ()
    """Networks that no download of this site asks, beside all that are not public: `198.51.100.0/24`. For public
    addresses that lead into a company."""
    ray: RaySettings = RaySettings()
    parts: PartResources = PartResources()
    gang: GangResources = GangResources()
    driver: DriverResources = DriverResources()
    """Resources of the driver and the steps of a submitted run."""
    sources: Mapping[str, str] = Field(default_factory=dict)
    """Source name to the folder or URL below which its pinned files lie for this site's machines, in place of what
    `sources.toml` says. A relative folder is below the site file's."""
    stages: Mapping[str, Resources] = Field(default_factory=dict)
    """Overrides of `parts` and `gang`, and of `parts` by phase, by name of the stage."""
    steps: Mapping[str, Resources] = Field(default_factory=dict)
    """Overrides of the stage's resources, by name of the step."""

    @field_validator("openlineage")
    @classmethod
    def _takes_events(cls, address: str) -> str:
        found = EVENT_ADDRESS.fullmatch(address)
        if address and (found is None or int(found["port"] or 0) > MAX_PORT):
            raise ValueError("an address of events is http:// or https://, a host, and a port or path if need be")
        return address

    @field_validator("store", "sources")
    @classmethod
    def _holds_no_credentials(cls, value: Any) -> Any:
        if any(map(has_credentials, [value] if isinstance(value, str) else value.values())):
            raise ValueError(NO_CREDENTIALS)
        return value

    @property
    def is_embedded(self) -> bool:
        """Whether Ray is started for the run on this machine."""
        return self.ray.address == LOCAL_ADDRESS

    def seen_from_inside(self) -> Site:
        """This site as a driver that is a job of its cluster sees it: Ray is running, and the job brought the code."""
        return self.model_copy(
            update={"ray": self.ray.model_copy(update={"address": "auto", "jobs": ""}), "code": "image"}
        )

    def resources(self, *, stage: str, step: str) -> Resources:
        """Resources of one step."""
        resources = Resources(parts=self.parts, gang=self.gang)
        for adjustment in (self.stages.get(stage), self.steps.get(step)):
            resources = resources if adjustment is None else resources.adjusted(adjustment)
        return resources

    def num_local_cpus(self) -> int:
        """CPUs that a local Ray schedules: those of this machine, and at least what the largest gang or part needs."""
        if self.ray.num_cpus is not None:
            return self.ray.num_cpus
        base = Resources(parts=self.parts, gang=self.gang)
        largest = [base, *(base.adjusted(by) for by in (*self.stages.values(), *self.steps.values()))]
        parts = [part.cpus for one in largest for part in (one.parts, *map(one.of_phase, one.phases))]
        needed = max(*parts, *(one.gang.num_ranks * one.gang.cpus for one in largest))
        return max(len(os.sched_getaffinity(0)), math.ceil(needed))


def load_site(name_or_path: str | Path | None = None) -> Site:
    """Load a shipped site by name (`embedded`) or a TOML file by path; without either `$NEO_SITE`, else `embedded`.

    Raises `SiteError` for a missing site, an unknown key and an invalid value.
    """
    wanted = str(name_or_path or os.environ.get("NEO_SITE") or DEFAULT_SITE)
    path = _site_file(wanted)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SiteError(f"there is no site file {path}; known sites are {_either(shipped_sites())}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SiteError(f"site {path}: {why}") from error
    for complaint in _unknown_keys(table, Site, ()):
        raise SiteError(f"site {path}: {complaint}")
    try:
        site = Site(**{"name": path.stem, **table})
    except ValidationError as error:
        raise SiteError(f"site {path}: {_first_fault(error)}") from error
    return _with_absolute_paths(site, path)


def shipped_sites() -> list[str]:
    """Names of the sites that come with the package and can be used as they are."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml") if path.stem not in TEMPLATES)


def _site_file(wanted: str) -> Path:
    if wanted.endswith(".toml") or os.sep in wanted:
        return Path(wanted).expanduser()
    names = shipped_sites()
    if wanted in TEMPLATES:
        raise SiteError(
            f"{wanted} is a template, not a site: copy {SHIPPED / f'{wanted}.toml'} to a file of your own, fill in its "
            "addresses, and name that file"
        )
    if wanted not in names:
        raise SiteError(
            f"there is no site {wanted!r}{_suggestion(wanted, names)}; name {_either(names)} or a .toml file"
        )
    return SHIPPED / f"{wanted}.toml"


def _with_absolute_paths(site: Site, path: Path) -> Site:
    """The site with absolute folders of store and sources, and with the default tracker if it names none."""
    beside = path.parent
    places = {
        name: place if "://" in place else str((beside / Path(place).expanduser()).resolve())
        for name, place in site.sources.items()
    }
    site = site.model_copy(update={"sources": places})
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
            subject = f"[{'.'.join(where)}] has" if where else "there is"
            yield f"{subject} no key {key!r}{_suggestion(key, list(model.model_fields))}"
        elif isinstance(value, dict):
            yield from _unknown_keys_below(value, field.annotation, (*where, key))


def _unknown_keys_below(table: Mapping[str, Any], annotation: Any, where: tuple[str, ...]) -> Iterator[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _unknown_keys(table, annotation, where)
        return
    models = (kind for kind in get_args(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel))
    inner = next(models, None)
    for key, value in table.items():
        if inner is not None and isinstance(value, dict):
            yield from _unknown_keys(value, inner, (*where, key))


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    if fault["loc"][:1] == ("ray",) and fault["loc"][1] in SECRET_FIELDS:
        return f"{where} is not the name of an environment variable; values stand in the environment, never in a file"
    shown = without_credentials(repr(fault["input"]))
    return f"{where} = {shown}: {fault['msg']}" if fault["type"] != "missing" else f"{where} is missing"


def _suggestion(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"


def _either(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
