"""What all runs on one cluster ask its autoscaler for, added up.

Ray keeps one request of `request_resources` for a whole cluster: the last one replaces those of all others, and stays
when its maker is gone. So each run keeps a record of its own demand in Ray's key-value store, and any run that asks
makes the request of all of them. The records of runs whose Ray job has ended, in whatever way, are removed on the way;
Ray itself says which, so no clock and no expiry decides it. Where the last run of a cluster is killed, its request
stands until the next run begins a phase there.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import ray
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_list, _internal_kv_put

from cluster.machines.autoscaler import request_bundles

NAMESPACE: Final = b"neo_demands"
"""Where the records lie, in the key-value store of the cluster's GCS."""
MAX_ROUNDS: Final = 10
"""How often the request is made again because another run's record changed meanwhile."""

Demand: TypeAlias = tuple[Mapping[str, float], int]
"""Resources of one part, and the number of parts."""


class SharedDemand:
    """The demand of one run, among those of the other runs on the cluster."""

    def __init__(self) -> None:
        self._key = b""

    def state(self, demands: Sequence[Demand]) -> None:
        """Ask for room for all of these at once, beside what other runs ask for; none takes this run's demand back."""
        if not self._key:
            self._key = f"{ray.get_runtime_context().get_job_id()}/{uuid.uuid4().hex}".encode()
        if wanted := [(dict(each), number) for each, number in demands if number]:
            _internal_kv_put(self._key, json.dumps(wanted).encode(), overwrite=True, namespace=NAMESPACE)
        else:
            _internal_kv_del(self._key, namespace=NAMESPACE)
        _ask(_living())

    def refresh(self) -> None:
        """Take back what runs that were killed had asked for, and ask again for the rest. Nothing where none asked."""
        if _records():
            _ask(_living())


def _ask(wanted: dict[bytes, list[Demand]]) -> None:
    """Make the request of all runs; made again until no record changed while it was made.

    So the last request that reaches Ray is that of the newest records, whichever run made it.
    """
    for _ in range(MAX_ROUNDS):
        request_bundles([each for demands in wanted.values() for each, number in demands for _ in range(number)])
        asked, wanted = wanted, _living()
        if asked == wanted:
            return


def _living() -> dict[bytes, list[Demand]]:
    """The demands of the runs whose Ray job lives, by their keys; the records of others are removed."""
    records = _records()
    if not records:
        return {}
    over = {job["JobID"] for job in ray._private.state.jobs() if job["IsDead"]}
    living = {}
    for key, record in records.items():
        if key.partition(b"/")[0].decode() in over:
            _internal_kv_del(key, namespace=NAMESPACE)
        else:
            living[key] = [(each, number) for each, number in json.loads(record)]
    return living


def _records() -> dict[bytes, bytes]:
    """What each run asks for, by its key: the id of its Ray job and a number of its own."""
    found = {key: _internal_kv_get(key, namespace=NAMESPACE) for key in _internal_kv_list(b"", namespace=NAMESPACE)}
    return {key: record for key, record in sorted(found.items()) if record is not None}
