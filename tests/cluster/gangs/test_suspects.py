"""Machines that failed are avoided for a while, and only where the others hold the gang."""

from typing import Any

import pytest

from cluster.failure import Failure
from cluster.gangs import suspects as suspecting
from cluster.gangs.forming import GangDemand
from cluster.gangs.suspects import AVOIDED_SECONDS, NODE_ID_LABEL, SuspectMachines
from cluster.placement import Placement
from cluster.site import GangResources
from stages.store.errors import DiskFullError, StoreUnavailableError
from tests.cluster.gangs.test_growth import Clock

MACHINES = {node: {"CPU": 16.0, "GPU": 8.0} for node in ("a1", "b2", "c3")}


@pytest.fixture(autouse=True)
def three_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    def allowed(placement: Placement) -> list[dict[str, float]]:
        return [amounts for node, amounts in MACHINES.items() if placement.allows({NODE_ID_LABEL: node, "zone": "x"})]

    monkeypatch.setattr(suspecting, "whole_machines", allowed)


def ranks(number: int, **changes: Any) -> GangResources:
    return GangResources(num_ranks=number, gpus=1, **changes)


def test_a_machine_is_avoided_an_hour_for_each_failure() -> None:
    clock = Clock()
    suspects = SuspectMachines(clock)
    assert suspects.around(ranks(16), 16) == ranks(16)
    suspects.blame("b2")
    assert suspects.around(ranks(16), 16).labels == {NODE_ID_LABEL: "!in(b2)"}
    clock.now_seconds = AVOIDED_SECONDS
    assert suspects.around(ranks(16), 16).labels == {}
    suspects.blame("b2")
    clock.now_seconds += 1.5 * AVOIDED_SECONDS
    assert suspects.around(ranks(16), 16).labels == {NODE_ID_LABEL: "!in(b2)"}, "twice as long the second time"


def test_machines_are_used_again_where_the_others_do_not_hold_the_gang() -> None:
    clock = Clock()
    suspects = SuspectMachines(clock)
    for node in ("c3", "a1"):
        suspects.blame(node)
        clock.now_seconds += 1
    assert suspects.around(ranks(8), 8).labels == {NODE_ID_LABEL: "!in(c3, a1)"}
    assert suspects.around(ranks(16), 16).labels == {NODE_ID_LABEL: "!in(a1)"}, "that which failed longer ago is taken"
    assert suspects.around(ranks(24), 24).labels == {}


@pytest.mark.parametrize(
    ("error", "num_ranks", "is_borne"),
    [
        (RuntimeError("CUDA error: unspecified launch failure"), 24, True),
        (ConnectionRefusedError("nobody is there"), 24, True),
        (DiskFullError("the local disk is full"), 16, True),
        (DiskFullError("the local disk is full"), 24, False),
        (StoreUnavailableError("the store does not answer"), 8, False),
        (MemoryError(), 8, False),
        (ValueError("rank one cannot count"), 8, False),
    ],
)
def test_a_fault_that_stays_is_borne_where_other_machines_hold_the_gang(
    error: Exception, num_ranks: int, is_borne: bool
) -> None:
    failure = Failure.of(error, "step 'train': rank 3 of 16", "b2")
    assert SuspectMachines(Clock()).bears(failure, ranks(num_ranks), num_ranks) is is_borne


def test_the_labels_of_the_site_stay() -> None:
    suspects = SuspectMachines(Clock())
    suspects.blame("a1")
    assert suspects.around(ranks(8, labels={"zone": "x"}), 8).labels == {"zone": "x", NODE_ID_LABEL: "!in(a1)"}
    named = ranks(8, labels={NODE_ID_LABEL: "in(a1, b2)"})
    assert suspects.around(named, 8) == named, "a site that names machines decides itself"


def test_a_gang_that_may_be_smaller_forms_without_the_machine() -> None:
    demand = GangDemand("train", "train-1-", ranks([16, 24]), rows_per_step=96)
    demand.suspects.blame("a1")
    assert demand.placement().labels == {NODE_ID_LABEL: "!in(a1)"}
    assert demand.words() == "16 to 24 ranks of 1 CPU and 1 GPU"
