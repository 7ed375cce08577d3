"""The stories themselves: machines that go, fill up or come late, and the states in which a run is cancelled."""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.drain import drain
from tests.kill.home import Trace
from tests.soak.fleet import NUM_NODES, Fleet, FleetNode
from tests.soak.later import Later
from tests.soak.troubles import NOTICE_SECONDS

COMES_AFTER_SECONDS = 5.0
"""Between the loss of a machine and the coming of another."""
WAIT_SECONDS = 300.0
"""Longest wait for a moment of the run."""
SLOW_PARTS = {"NEO_FAULT": "part.files_written:before=sleep", "NEO_FAULT_SECONDS": "10"}
"""The first part of each worker takes ten seconds more."""
TRAINS = "prebuffer"
"""The step that stories of training begin with."""
LONG_TRAINING = ("--set", f"{TRAINS}.num_steps=2000")
"""Words of a run whose training does not end before something has happened to it."""


@dataclass
class Play(Later):
    """A run under way on a fleet, what it has passed, and what is still to happen to it."""

    fleet: Fleet
    process: subprocess.Popen[bytes]
    traces: Path
    said_in: Path
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def what_happened(self) -> str:
        """In words: `7 machines lost, 2 notices given`."""
        return ", ".join(f"{times} {what}" for what, times in self.counts.items()) or "nothing happened to it"

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def pause(self) -> None:
        """Let some time pass, and do what is due."""
        time.sleep(0.1)
        self.catch_up()

    def pause_for(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.pause()

    def wait_until(self, happened: Callable[[], object]) -> None:
        """Raises `AssertionError` if the run ends before, or it takes too long."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not happened():
            assert self.is_running, self.said_in.read_text()[-3000:]
            assert time.monotonic() < deadline, "the moment never came"
            self.pause()

    def passed(self, edge: str) -> list[str]:
        """Keys with which an edge of a fault point was passed anywhere on the fleet."""
        return list(Trace.read(self.traces).times(edge))

    def says(self, words: str) -> bool:
        return words in self.said_in.read_text()

    def new_phases(self) -> Iterator[str]:
        """Each phase of parts as it begins, until the run ends."""
        seen: set[str] = set()
        while self.is_running:
            new = [key for key in self.passed("phase.listed:after") if key not in seen]
            seen.update(new)
            yield from new
            self.pause()

    def first_at_work(self, within_seconds: float = 3.0) -> FleetNode | None:
        """A machine that works, as soon as there is one; None if there is none for a while."""
        deadline = time.monotonic() + within_seconds
        while time.monotonic() < deadline and self.is_running:
            if busy := self.fleet.at_work():
                return busy[0]
            self.pause()
        return None

    def lose(self, node: FleetNode) -> None:
        """The machine is gone; another comes soon if too few are left."""
        self.count("machines lost")
        self.fleet.lose(node)
        self.after(COMES_AFTER_SECONDS, self.replace)

    def replace(self) -> None:
        if len(self.fleet.nodes) < NUM_NODES:
            self.fleet.add()

    def give_notice(self, node: FleetNode) -> None:
        """The machine is told that it goes, another comes at once, and it goes when its time is over."""
        self.count("notices given")
        drain(self.fleet.address, node.handle.node_id, NOTICE_SECONDS)
        self.fleet.add()
        self.after(NOTICE_SECONDS, lambda: self.fleet.lose(node))

    def trainings(self) -> list[str]:
        """Folders of the artifacts whose checkpoint of step 2 is committed."""
        keys = self.passed("checkpoint.recorded:after")
        return [key.partition("/records/")[0] for key in keys if key.endswith("/steps/000002.json")]


@dataclass(frozen=True)
class Scenario:
    """A story and the fleet that it begins with. `act` returns when nothing is left to do to the run."""

    act: Callable[[Play], None]
    num_nodes: int = NUM_NODES
    other_nodes_cpus: tuple[int, ...] = ()
    """CPUs of each further machine."""
    last_step: str = ""
    """The run makes this step alone, from what it reads; empty means the whole pipeline."""
    words: tuple[str, ...] = ()
    """Further words of the run's command."""
    environment: Mapping[str, str] = field(default_factory=dict)
    cancel_within_seconds: float = 60.0
    """Time in which a cancelled run must have ended; a part or an optimizer step under way ends first."""

    @property
    def name(self) -> str:
        return self.act.__name__


def lose_one_in_each_phase(play: Play) -> None:
    """A machine at work is lost in each phase of parts, and another comes five seconds later."""
    for _ in play.new_phases():
        if node := play.first_at_work():
            play.lose(node)


def lose_one_in_each_training(play: Play) -> None:
    """A machine with ranks is lost after the second checkpoint of each training, and another comes."""
    in_each_training(play, play.lose)


def notice_in_each_training(play: Play) -> None:
    """A machine with ranks is told after the second checkpoint of each training that it goes in 30 seconds."""
    in_each_training(play, play.give_notice)


def in_each_training(play: Play, act: Callable[[FleetNode], None]) -> None:
    """Do something to a machine at work once in each training, after its second checkpoint."""
    seen: set[str] = set()
    while play.is_running:
        for folder in play.trainings():
            if folder not in seen and (node := play.first_at_work()):
                seen.add(folder)
                act(node)
        play.pause()


def notice_in_a_phase(play: Play) -> None:
    """Two machines at work are told, one after the other, that they go in 30 seconds."""
    for _ in range(2):
        if node := play.first_at_work(WAIT_SECONDS):
            play.give_notice(node)
        play.pause_for(5)


def full_disk(play: Play) -> None:
    """The disk of one machine is full from the beginning to the end."""
    if disk := play.fleet.nodes[0].disk:
        disk.leave(4096)
        play.count("full disks")


def two_lost_one_comes_back(play: Play) -> None:
    """Two of three machines are lost in the first phase; one comes back after half a minute."""
    next(play.new_phases(), None)
    for node in play.fleet.nodes[:2]:
        play.fleet.lose(node)
        play.count("machines lost")
    play.after(30, play.fleet.add)


def gang_larger_than_the_cluster(play: Play) -> None:
    """There is one machine of one CPU; another comes when a gang of two ranks waits."""
    play.wait_until(lambda: play.says("ranks of 1 CPU"))
    play.count("gangs waited")
    play.fleet.add()


def parts_under_way(play: Play) -> None:
    """Parts run that take ten seconds each; they end first."""
    play.wait_until(lambda: play.passed("part.files_written:before"))


def parts_wait(play: Play) -> None:
    """There is no machine at all; parts wait for one."""
    play.wait_until(lambda: play.says("waits since"))


def gang_waits(play: Play) -> None:
    """There is one machine of one CPU, and a gang of two ranks waits for another."""
    play.wait_until(lambda: play.says("ranks of 1 CPU"))


def gang_trains(play: Play) -> None:
    """A gang trains; it commits a checkpoint first."""
    play.wait_until(lambda: play.passed("checkpoint.recorded:after"))


def gang_has_notice(play: Play) -> None:
    """A gang trains, and its machine was told two seconds ago that it goes in 30 seconds."""
    gang_trains(play)
    play.give_notice(play.first_at_work() or play.fleet.nodes[0])
    play.pause_for(2)


def gang_lost_a_machine(play: Play) -> None:
    """A gang's machine was lost two seconds ago, and it forms again."""
    gang_trains(play)
    play.lose(play.first_at_work() or play.fleet.nodes[0])
    play.pause_for(2)


def two_disks_full(play: Play) -> None:
    """The disks of two machines of three are full, and parts go from one to the other."""
    for node in play.fleet.nodes[1:]:
        if node.disk:
            node.disk.leave(4096)
            play.count("full disks")
    next(play.new_phases(), None)


LOSSES = (
    Scenario(lose_one_in_each_phase),
    Scenario(lose_one_in_each_training),
    Scenario(notice_in_a_phase),
    Scenario(notice_in_each_training),
    Scenario(full_disk),
    Scenario(two_lost_one_comes_back),
    Scenario(gang_larger_than_the_cluster, num_nodes=0, other_nodes_cpus=(1,)),
)
"""What a run survives without anybody."""

CANCELLED_IN = (
    Scenario(parts_under_way, environment=SLOW_PARTS),
    Scenario(parts_wait, num_nodes=0),
    Scenario(two_disks_full),
    Scenario(gang_waits, num_nodes=0, other_nodes_cpus=(1,), last_step=TRAINS),
    Scenario(gang_trains, last_step=TRAINS, words=LONG_TRAINING),
    Scenario(gang_has_notice, last_step=TRAINS, words=LONG_TRAINING),
    Scenario(gang_lost_a_machine, last_step=TRAINS, words=LONG_TRAINING),
)
"""States in which a run is cancelled."""
