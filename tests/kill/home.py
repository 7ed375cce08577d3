"""A folder with a store of its own, in which commands are typed that may die at a fault point."""

import json
import shutil
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from stages.artifacts.manifest import Manifest
from tests.kill.driver import Said, neo
from tests.kill.small import WORDS

NOBODY = "http://127.0.0.1:9"
"""A tracker that does not answer: cases that are not about tracking need none."""


@dataclass(frozen=True)
class Trace:
    """Which edges of fault points one command passed, and with what: `part.recorded:after`, then a key or nothing."""

    passed: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, folder: Path) -> "Trace":
        lines = (line for path in sorted(folder.glob("*.txt")) for line in path.read_text().splitlines())
        return cls(tuple((line.partition(" ")[0], line.partition(" ")[2]) for line in lines))

    def __add__(self, other: "Trace") -> "Trace":
        return Trace(self.passed + other.passed)

    def times(self, edge: str, within: str = "") -> Counter[str]:
        """How often an edge was passed with each key under a folder."""
        return Counter(about for passed, about in self.passed if passed == edge and within in about)


@dataclass(frozen=True)
class Typed:
    """A command that was typed: what it said, what it passed, and the keys of the records that it left behind."""

    said: Said
    trace: Trace
    records: frozenset[str]


@dataclass
class Home:
    """Typing here keeps the trace of every command."""

    folder: Path
    mlflow: str = NOBODY
    resources: str = ""
    """Of the site file, what comes after store and tracker."""
    commands: list[Typed] = field(default_factory=list)
    num_typed: int = 0

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def trace(self) -> Trace:
        """Of all commands, in order."""
        return sum((typed.trace for typed in self.commands), Trace())

    def place(self) -> tuple[Path, Path]:
        """Where the next command leaves its trace, and where it says what it says."""
        self.num_typed += 1
        trace_in = self.folder / "traces" / str(self.num_typed)
        trace_in.mkdir(parents=True)
        return trace_in, self.folder / f"said-{self.num_typed}.txt"

    @property
    def site(self) -> Path:
        """The site file, as things are now."""
        path = self.folder / "site.toml"
        path.write_text(f'store = "{self.store}"\nmlflow = "{self.mlflow}"\n{self.resources}')
        return path

    def neo(self, *words: str, fault: str = "") -> Said:
        """Type a command; `fault` is what `NEO_FAULT` asks for."""
        trace_in, said_in = self.place()
        environment = {"NEO_FAULT_TRACE": str(trace_in), **({"NEO_FAULT": fault} if fault else {})}
        return self.keep(neo([*words, "--site", str(self.site)], environment, said_in), trace_in)

    def keep(self, said: Said, trace_in: Path) -> Said:
        """Note what a command did that has ended."""
        records = frozenset(key for key in self.committed() if "/records/" in key)
        self.commands.append(Typed(said, Trace.read(trace_in), records))
        return said

    def run(self, *words: str, fault: str = "") -> Said:
        """Type `neo run` of the small recipe."""
        return self.neo("run", *WORDS, *words, fault=fault)

    def manifests(self) -> dict[str, Manifest]:
        """Step to manifest of what is committed, as the manifests themselves tell it."""
        found = (
            Manifest.model_validate_json(path.read_bytes()) for path in self.store.glob("artifacts/*/*/manifest.json")
        )
        return {manifest.provenance["step"]: manifest for manifest in found}

    def runs(self) -> list[Path]:
        return sorted(self.store.glob("runs/*"))

    def committed(self) -> dict[str, bytes]:
        """Every object that makes something true, by its key."""
        kinds = ("records/**/*.json", "manifest.json", "inputs.json", "phases/*/parts.json")
        paths = [path for kind in kinds for path in self.store.glob(f"artifacts/*/*/{kind}")]
        paths += [*self.store.glob("runs/*/plan.json"), *self.store.glob("runs/*/attempts/*.json")]
        paths += [*self.store.glob("runs/*/outbox/*.json"), *self.store.glob("refs/**/*.json")]
        return {path.relative_to(self.store).as_posix(): path.read_bytes() for path in paths}


@dataclass
class Golden(Home):
    """A home whose run nothing disturbed."""

    @cached_property
    def made(self) -> dict[str, Manifest]:
        return self.manifests()

    def folder_of(self, step: str) -> str:
        """Where the artifact of a step lies, as a key."""
        manifest = self.made[step]
        return f"artifacts/{manifest.stage}/{manifest.fingerprint[:12]}"

    def num_passes(self, edge: str, step: str) -> int:
        """How often the run passed an edge while it made one step: it makes one after the other."""
        folder, passed = self.folder_of(step), self.trace.passed
        first = passed.index(("inputs.recorded:before", f"{folder}/inputs.json"))
        last = passed.index(("artifact.head_written:after", f"{folder}/head.json"))
        return sum(found == edge for found, _ in passed[first : last + 1])

    def lend(self, step: str, home: Home) -> None:
        """Copy what a step reads, and what that was made of, into another store: the steps before it are committed."""
        by_folder = {self.folder_of(name): name for name in self.made}
        for item in self.made[step].inputs.values():
            source = f"artifacts/{item.stage}/{item.fingerprint[:12]}"
            if not (home.store / source).exists():
                shutil.copytree(self.store / source, home.store / source)
                self.lend(by_folder[source], home)


def comparable(manifest: Manifest) -> dict[str, Any]:
    """What two runs that made the same must agree on: all but who made it, when and in which private place."""
    raw = json.loads(manifest.model_dump_json(exclude={"provenance"}))
    for part in raw["parts"]:
        del part["made_by"]
        if part["phase"] == "steps":
            del part["part"]
        for entry in part["files"]:
            del entry["key"]
    return raw
