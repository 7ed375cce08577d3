"""On which machines of a cluster work runs, and what is asked of Ray for it. Imports no Ray: planning reads sites.

The one place where resources of a site become Ray's: options of tasks, bundles of placement groups, a job's entrypoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

LabelName = Annotated[
    str, StringConstraints(pattern=r"^([A-Za-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")
]
LabelChoice = Annotated[str, StringConstraints(pattern=r"^!?(in\([A-Za-z0-9_., -]+\)|[A-Za-z0-9][A-Za-z0-9_.-]*)$")]
ACCELERATOR = "accelerator_type:"
"""Begins Ray's resource of a type of accelerator, of which each machine that has one holds 1."""
ACCELERATOR_SHARE = 0.001
"""What work takes of that resource, as Ray does: enough to be placed there, and room for all."""


class Placement(BaseModel):
    """On which machines of a cluster work may run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    labels: Mapping[LabelName, LabelChoice] = Field(default_factory=dict)
    """Label of a machine to the value that it must have, as Ray selects: `spot`, `!spot` for any other, `in(a, b)` for
    one of several. Machines without the label are left out."""
    resources: Mapping[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Custom resource of Ray to the amount that is taken of it while the work runs."""
    accelerator: str = ""
    """Type of accelerator that the machine must have, by Ray's name for it: `H200`, `A100`. Empty means any or none."""

    def allows(self, machine: Mapping[str, str]) -> bool:
        """Whether a machine with these labels may be taken, as Ray decides."""
        return all(name in machine and _selects(choice, machine[name]) for name, choice in self.labels.items())

    def label_words(self) -> str:
        """`neo-group=train`: what is asked of a machine's labels; '' for nothing."""
        return ", ".join(f"{name}={choice}" for name, choice in self.labels.items())


class Placed(Placement):
    """Resources of one piece of work, a part or a rank, and where it may run."""

    cpus: float = Field(default=1.0, gt=0)
    """CPUs of one piece of work."""
    gpus: float = Field(default=0.0, ge=0)
    """GPUs of one piece of work."""
    memory_bytes: int | None = Field(default=None, gt=0)
    """Memory that Ray reserves for one piece of work, in bytes; None reserves none."""

    def amounts(self) -> dict[str, float]:
        """What Ray reserves for one piece of work, by the names under which it lists what a machine has; none is 0."""
        amounts = {"CPU": self.cpus, "GPU": self.gpus, "memory": float(self.memory_bytes or 0), **self.resources}
        if self.accelerator:
            amounts[f"{ACCELERATOR}{self.accelerator}"] = ACCELERATOR_SHARE
        return {name: amount for name, amount in amounts.items() if amount}

    def task_options(self) -> dict[str, Any]:
        """What is asked of Ray for one piece of work, as options of a Ray task."""
        return {
            "num_cpus": self.cpus,
            "num_gpus": self.gpus or None,
            "memory": self.memory_bytes,
            "label_selector": dict(self.labels) or None,
            "resources": dict(self.resources) or None,
            "accelerator_type": self.accelerator or None,
        }


class DriverResources(Placement):
    """Resources of the driver of a submitted run, and of its steps, which run beside it."""

    accelerator: Literal[""] = ""
    """Drivers ask for no accelerator."""
    cpus: float = Field(default=0.0, ge=0)
    """CPUs that the driver's job reserves. With neither CPUs, memory, labels nor resources it runs on the head."""
    memory_bytes: int | None = Field(default=None, gt=0)
    """Memory that the driver's job reserves, in bytes, for itself and the steps that state none; None reserves none."""
    step_memory_bytes: int | None = Field(default=None, gt=0)
    """Memory that each step reserves on the driver's machine while it runs, in bytes, so that steps wait for one
    another rather than exhaust it; None reserves none."""

    def job_options(self) -> dict[str, Any]:
        """What is asked of Ray for the driver's job, as arguments of `JobSubmissionClient.submit_job`."""
        asked = {
            "entrypoint_num_cpus": self.cpus,
            "entrypoint_memory": self.memory_bytes,
            "entrypoint_resources": dict(self.resources),
            "entrypoint_label_selector": dict(self.labels),
        }
        return {name: amount for name, amount in asked.items() if amount}


def _selects(choice: str, value: str) -> bool:
    wanted = choice.removeprefix("!")
    values = wanted[3:-1].replace(" ", "").split(",") if wanted.startswith("in(") else [wanted]
    return (value in values) != choice.startswith("!")
