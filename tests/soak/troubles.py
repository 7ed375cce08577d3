"""What goes wrong in a soak: each trouble by its name, what it does, and how it passes."""

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

from tests.cluster.drain import drain
from tests.fault_proxy import FaultProxy, storm
from tests.pipelines.tracking.mlflow_server import MlflowServer
from tests.soak.fleet import NUM_NODES, Fleet, FleetNode, send, send_to_all
from tests.soak.later import Later

NOTICE_SECONDS = 30.0
"""Between a notice of preemption and the end of the node: Ray's own default."""


@dataclass
class Scene(Later):
    """What a trouble can lay hands on, and what is still to happen because of earlier ones."""

    fleet: Fleet
    proxy: FaultProxy
    tracker: MlflowServer
    chance: random.Random
    kill_driver: Callable[[], None]
    lose_head: Callable[[], None]

    def forget(self, node: FleetNode) -> None:
        """The node goes, and another comes some seconds later."""
        self.fleet.lose(node)
        self.after(self.chance.uniform(3, 10), lambda: replace(self))


Trouble = Callable[[Scene], str]
"""Makes trouble; returns what it did, for the story."""


def replace(scene: Scene) -> None:
    """Add a node where one is missing."""
    if len(scene.fleet.nodes) < NUM_NODES:
        scene.fleet.add()


def kill_worker(scene: Scene) -> str:
    """A worker is killed, as by the kernel when memory runs out."""
    node = scene.fleet.chosen(scene.chance)
    workers = node.workers()
    if not workers:
        return f"nobody works on {node.name}"
    pid = scene.chance.choice(workers)
    send(pid, signal.SIGKILL)
    return f"killed a worker of {node.name}"


def stop_worker(scene: Scene) -> str:
    """A worker stands still, as behind a file server that hangs."""
    node, seconds = scene.fleet.chosen(scene.chance), scene.chance.uniform(3, 12)
    workers = node.workers()
    if not workers:
        return f"nobody works on {node.name}"
    pid = scene.chance.choice(workers)
    send(pid, signal.SIGSTOP)
    scene.after(seconds, lambda: send(pid, signal.SIGCONT))
    return f"stopped a worker of {node.name} for {seconds:.0f} s"


def slow_node(scene: Scene) -> str:
    """All workers of a node run a third of the time, for ten seconds."""
    node = scene.fleet.chosen(scene.chance)
    for beat in range(20):
        scene.after(0.5 * beat, lambda: send_to_all(node, signal.SIGSTOP))
        scene.after(0.5 * beat + 0.35, lambda: send_to_all(node, signal.SIGCONT))
    return f"slowed {node.name} for 10 s"


def lose_node(scene: Scene) -> str:
    """A machine goes without a word."""
    node = scene.fleet.chosen(scene.chance)
    scene.forget(node)
    return f"lost {node.name}"


def drain_node(scene: Scene) -> str:
    """A machine is taken away after a notice."""
    node = scene.fleet.chosen(scene.chance)
    drain(scene.fleet.address, node.handle.node_id, NOTICE_SECONDS)
    scene.after(NOTICE_SECONDS, lambda: scene.forget(node))
    return f"told {node.name} that it goes in {NOTICE_SECONDS:.0f} s"


def fill_disk(scene: Scene) -> str:
    """The disk of a machine is full for ten seconds."""
    node = scene.fleet.chosen(scene.chance)
    if node.disk is None:
        return "no small disk may be mounted here: nothing done"
    disk = node.disk
    disk.leave(4096)
    scene.after(10, disk.free)
    return f"filled the disk of {node.name} for 10 s"


def store_storm(scene: Scene) -> str:
    """One request in eight to the store fails or loses its answer, for ten seconds."""
    scene.proxy.watch = storm(scene.proxy, scene.chance)

    def calm() -> None:
        scene.proxy.watch = None

    scene.after(10, calm)
    return "a storm before the store for 10 s"


def wipe_tracker(scene: Scene) -> str:
    """Somebody sets the MLflow server up anew."""
    scene.tracker.wipe()
    return "wiped the tracker"


def kill_driver(scene: Scene) -> str:
    """The driver is killed; the same command is typed again."""
    scene.kill_driver()
    return "killed the driver"


def lose_head(scene: Scene) -> str:
    """The head and all nodes are gone; the same command is typed again on a new cluster."""
    scene.lose_head()
    return "lost the head"


TROUBLES: dict[Trouble, int] = {
    kill_worker: 4,
    stop_worker: 3,
    slow_node: 2,
    lose_node: 3,
    drain_node: 3,
    fill_disk: 2,
    store_storm: 3,
    wipe_tracker: 1,
    kill_driver: 2,
    lose_head: 1,
}
"""Each trouble and its weight."""


def drawn(chance: random.Random) -> Trouble:
    """The next trouble."""
    return chance.choices(list(TROUBLES), weights=list(TROUBLES.values()))[0]
