"""Waiting is told once for each change, and its end once."""

from cluster.machines.wait import MachineWait
from stages.contract import Event, MachinesAwaited


def test_a_change_is_told_once_and_the_end_only_after_a_beginning() -> None:
    posted: list[Event] = []
    wait = MachineWait("mid", posted.append)
    wait.over()
    for has in ("4 GPUs", "4 GPUs", "6 GPUs"):
        wait.tell("8 ranks of 1 GPU", has)
    wait.over()
    wait.over()
    assert all(isinstance(event, MachinesAwaited) and event.step == "mid" for event in posted)
    assert [(event.asked, event.has) for event in posted if isinstance(event, MachinesAwaited)] == [
        ("8 ranks of 1 GPU", "4 GPUs"), ("8 ranks of 1 GPU", "6 GPUs"), ("", "")
    ]  # fmt: skip
