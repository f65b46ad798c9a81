"""A child process that waits for another job of the same module."""

from __future__ import annotations

from emcheck.isolated.process import Child


class Spare:
    """At most one idle child, kept for the next job of the same module.

    Registered layers share one, since they belong to this project.
    """

    def __init__(self) -> None:
        self._child: Child | None = None
        self._module = ""

    def take(self, target: str) -> Child:
        """Return the waiting child if it fits the target's module, else a new one."""
        child, self._child = self._child, None
        if child is not None and self._module == _module(target) and not child.closed:
            return child
        if child is not None:
            child.close()
        return Child()

    def keep(self, target: str, child: Child) -> None:
        self._child, self._module = child, _module(target)

    def close(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None


def _module(target: str) -> str:
    module, colon, _ = target.partition(":")
    return module if colon else ""
