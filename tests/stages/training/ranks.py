"""A function in every rank of a gloo group, without a stage around it."""

import multiprocessing
import socket
import traceback
from collections.abc import Callable
from typing import Any


def run_ranks(function: Callable[..., Any], *arguments: Any, num_ranks: int = 2) -> list[Any]:
    """What `function(rank, *arguments)` returns on each rank; raises RuntimeError with the traceback of a failure."""
    context = multiprocessing.get_context("forkserver")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        meeting_point = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    pipes = [context.Pipe(duplex=False) for _ in range(num_ranks)]
    processes = [
        context.Process(target=_enter, args=(rank, num_ranks, meeting_point, pipes[rank][1], function, arguments))
        for rank in range(num_ranks)
    ]
    for process in processes:
        process.start()
    for _, sender in pipes:
        sender.close()
    outcomes = [_received(receiver) for receiver, _ in pipes]
    for process in processes:
        process.join()
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            raise RuntimeError(outcome.text)
    return outcomes


class Failed:
    def __init__(self, text: str) -> None:
        self.text = text


def _received(receiver) -> Any:
    try:
        return receiver.recv()
    except EOFError:
        return Failed("a rank died without a word")


def _enter(rank: int, num_ranks: int, meeting_point: str, sender, function, arguments) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting_point, rank=rank, world_size=num_ranks)
    try:
        sender.send(function(rank, *arguments))
        dist.destroy_process_group()
    except Exception:
        sender.send(Failed(traceback.format_exc()))
