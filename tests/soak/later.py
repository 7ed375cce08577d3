"""What is still to happen to a run because of earlier troubles."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Later:
    """Acts that become due; the owner calls `catch_up` again and again."""

    later: list[tuple[float, Callable[[], object]]] = field(default_factory=list, kw_only=True)
    """Times by the monotonic clock, and what is then done."""

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        self.later.append((time.monotonic() + seconds, act))

    def catch_up(self) -> None:
        """Do what is due."""
        now_seconds = time.monotonic()
        due = [act for at, act in self.later if at <= now_seconds]
        self.later = [(at, act) for at, act in self.later if at > now_seconds]
        for act in due:
            act()
