"""Ray Train, handed machines that are already reserved, and watched while it runs.

Ray Train starts the processes, forms the process group and detects deaths. Of its own it would reserve machines by a
call that nobody can see or end, and start one more actor to give them back; the step does both (`forming.py`).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.execution.controller.controller import TrainController
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle

from cluster.session import on_this_machine

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

LOOK_SECONDS = 0.5
"""How often `look` is called."""
RESERVED = "reserved"
"""Where the placement group lies in the configuration of the training function."""


class _Machines(DefaultPlacementGroupHandle):  # type: ignore[misc]  # mypy does not follow imports of Ray
    """The machines of a worker group, as Ray Train sees them."""

    def shutdown(self) -> None:
        """They are given back by who reserved them."""


class ReservedWorkerGroup(WorkerGroup):  # type: ignore[misc]  # mypy does not follow imports of Ray
    """A worker group on machines that are reserved."""

    def _create_placement_group(self, *_: Any) -> _Machines:
        return _Machines(self._train_run_context.train_loop_config[RESERVED])


class ReservedController(TrainController):  # type: ignore[misc]  # mypy does not follow imports of Ray
    """Ray Train's controller of a worker group, on machines that are reserved."""

    worker_group_cls = ReservedWorkerGroup


class _ReservedTrainer(TorchTrainer):  # type: ignore[misc]  # mypy does not follow imports of Ray
    """Ray Train's trainer; calls `look` while it waits, and ends its controller where that raises."""

    look: Callable[[], None]

    def _create_default_callbacks(self) -> list[Any]:
        return [
            one for one in super()._create_default_callbacks() if not isinstance(one, PlacementGroupCleanerCallback)
        ]

    def _initialize_and_run_controller(self, **settings: Any) -> Any:
        on_controller = ray.remote(
            num_cpus=0,
            scheduling_strategy=on_this_machine(),
            runtime_env={"env_vars": get_env_vars_to_propagate()},
        )
        controller = on_controller(ReservedController).remote(**settings)
        try:
            run = controller.run.remote()
            while not ray.wait([run], timeout=LOOK_SECONDS)[0]:
                self.look()
            ray.get(run)
            return ray.get(controller.get_result.remote())
        finally:
            ray.kill(controller)  # also where `look` raised: its ranks end with their machines


def run_worker_group(
    enter_rank: Callable[[dict[str, Any]], None],
    config: Mapping[str, Any],
    each: Mapping[str, float],
    machines: PlacementGroup,
    *,
    name: str,
    collective_timeout: timedelta,
    look: Callable[[], None],
) -> Exception | None:
    """Start a rank on each bundle of `machines` and wait for their end; returns the error that ended them, or None.

    Each rank calls `enter_rank` with `config`. `each` are the resources of one rank. Collectives wait for
    `collective_timeout` (Ray's own is half an hour). `look` is called twice a second; what it raises ends the ranks and
    is raised here.
    """
    with tempfile.TemporaryDirectory(prefix="neo-gang-") as folder:
        trainer = _ReservedTrainer(
            enter_rank,
            train_loop_config={**config, RESERVED: machines},
            scaling_config=ScalingConfig(
                num_workers=len(machines.bundle_specs), use_gpu="GPU" in each, resources_per_worker=dict(each)
            ),
            torch_config=TorchConfig(timeout_s=math.ceil(collective_timeout.total_seconds())),
            run_config=RunConfig(
                name=name,
                storage_path=folder,
                failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),
            ),
        )
        trainer.look = look
        ended_by: Exception | None = None
        try:
            trainer.fit()
        except (TrainingFailedError, RayError) as death:
            ended_by = death
        return ended_by
