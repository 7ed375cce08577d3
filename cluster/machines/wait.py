"""Saying that the work of a step waits for machines: once for each change, and when the waiting is over."""

from __future__ import annotations

from dataclasses import dataclass

from stages.contract import MachinesAwaited, Post

JOINING_SECONDS = 60.0
"""How long the machines of a cluster may take to join one after the other, before work that is larger than any
of them is refused. On a Ray of our own none will join."""


@dataclass
class MachineWait:
    """Says what a step waits for, once for each change."""

    step: str
    post: Post
    said: tuple[str, str] = ("", "")

    def tell(self, asked: str, has: str) -> None:
        if (asked, has) != self.said:
            self.said = (asked, has)
            self.post(MachinesAwaited(step=self.step, asked=asked, has=has))

    def over(self) -> None:
        """The step no longer waits."""
        if self.said[0]:
            self.tell("", "")
