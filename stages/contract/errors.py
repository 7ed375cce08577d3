"""Why a stage ends without an artifact."""

from __future__ import annotations


class StageError(RuntimeError):
    """A stage cannot go on; the message names the thing, the value and what to do."""


class SupersededError(StageError):
    """Another attempt has made this meanwhile; nothing is lost, this attempt stops."""


class InterruptedRunError(StageError):
    """The run was asked to stop and did so after its last commit; running again continues from there."""


class NetworkDownError(StageError):
    """The network of this machine is taken to be down; another machine may be able to do the work."""
