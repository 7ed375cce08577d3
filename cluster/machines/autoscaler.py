"""What may be known of a cluster's autoscaler: whether there is one, what it could start, and what it is asked for.

Ray says none of that in one place. A cluster without an autoscaler runs the same monitor process, which then gives each
node a type of its own, `node_` and the node's id; a real one knows the types of its configuration.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import ray

STATUS_KEY: Final = "__autoscaling_status"
"""Key under which the monitor of the older autoscaler keeps its report, every five seconds."""
MIRRORED_TYPE: Final = re.compile(r"node_[0-9a-f]{56}")
"""Type of a node where no autoscaler starts any."""
COUNTED: Final = frozenset({"CPU", "GPU", "memory"})
"""Resources that every type of node states; others, and labels, a machine may get as it starts."""
NO_LIMIT: Final = -1
"""Count of a node type without a limit."""


def has_autoscaler() -> bool | None:
    """Whether machines may come by themselves; None while the cluster has not said."""
    from ray.autoscaler.v2.sdk import get_cluster_resource_state
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.experimental.internal_kv import _internal_kv_get, internal_kv_get_gcs_client

    if _node_types() is not None:
        return True
    if is_autoscaler_v2(fetch_from_server=True):
        states = get_cluster_resource_state(internal_kv_get_gcs_client()).node_states
        return any(state.ray_node_type_name for state in states)
    status = _internal_kv_get(STATUS_KEY)
    report = json.loads(status).get("autoscaler_report") if status else None
    if report is None:
        return None
    types = {*(report["active_nodes"] or ()), *(report["idle_nodes"] or ()), *(report["pending_launches"] or ())}
    return any(not MIRRORED_TYPE.fullmatch(name) for name in types)


def could_start(wanted: Mapping[str, float]) -> bool | None:
    """Whether a node type could hold these CPUs, GPUs and memory; None where the types are not known here."""
    types = _node_types()
    counted = {name: amount for name, amount in wanted.items() if name in COUNTED}
    return None if types is None else any(_holds(kind, counted) for kind in types)


def request_bundles(bundles: Sequence[Mapping[str, float]]) -> None:
    """Ask the autoscaler for room for all of these at once, whatever it was asked before; none takes that back.

    Ray keeps the request of a cluster until the next one, also when nobody is left who made it: `shared_demand.py`.
    """
    from ray.autoscaler.sdk import request_resources

    request_resources(bundles=[dict(bundle) for bundle in bundles])


def _node_types() -> list[Mapping[str, float]] | None:
    """Resources of each type of node that may be started, where the cluster's operator has told Ray; else None."""
    config: Any = ray._private.state.state.get_cluster_config()
    if config is None or not config.node_group_configs:
        return None
    return [dict(group.resources) for group in config.node_group_configs if group.max_count != 0]


def _holds(kind: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    return all(kind.get(name, 0) >= amount or kind.get(name) == NO_LIMIT for name, amount in wanted.items())
