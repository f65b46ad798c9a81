"""Standard settings for user code, whose changes to the process are undone.

Layers are judged under the same settings whatever the caller's are (gradients on, float32 and
the CPU as defaults, no autocast); afterwards everything is as it was before.
"""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch

from emcheck.guard.raised import interrupt
from emcheck.guard.settings import SETTINGS, default_device, in_main_thread

_NUMERICAL = tuple(setting for setting in SETTINGS if setting.numerical)

#: One at a time: a second thread would find what the first has set.
_ONE = threading.RLock()


#: The surroundings in which the code of this thread runs.
_CURRENT: ContextVar[Surroundings | None] = ContextVar("surroundings", default=None)


@dataclass
class Surroundings:
    """The settings of the process while user code runs.

    Args:
        changed: names of settings that the code has changed, in order.
    """

    changed: dict[str, None] = field(default_factory=dict)
    _first: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def standard(self) -> Iterator[None]:
        """Use the standard settings inside; afterwards restore all settings but the lasting ones.

        A second thread waits for the first. Ctrl-C raises :class:`emcheck.guard.Interrupt`.
        """
        with _ONE, ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            if default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            if torch.is_inference_mode_enabled():
                stack.enter_context(torch.inference_mode(False))
            before = {setting.name: setting.read() for setting in SETTINGS}
            token = _CURRENT.set(self)
            inside = before
            try:
                inside = _standardised(before)
                yield
            finally:
                _CURRENT.reset(token)
                self._restore(before, inside)

    def _restore(self, before: dict[str, Any], inside: dict[str, Any]) -> None:
        for setting in SETTINGS:
            now = setting.read()
            if now != inside[setting.name] and not setting.quiet:
                self.changed[setting.name] = None
            if now != before[setting.name] and not setting.lasting:
                setting.write(before[setting.name])
            elif setting.lasting:
                self._first.setdefault(setting.name, before[setting.name])

    def leave(self) -> None:
        """Restore the lasting settings too: the target is done."""
        for setting in SETTINGS:
            if setting.name in self._first and setting.read() != self._first[setting.name]:
                setting.write(self._first[setting.name])
        self._first.clear()


def _standardised(before: dict[str, Any]) -> dict[str, Any]:
    """Set every setting to its standard, and return the values that they then have."""
    for setting in SETTINGS:
        now = before[setting.name]
        if setting.standard is not None and setting.standard(now) != now:
            setting.write(setting.standard(now))
    if in_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    return {setting.name: setting.read() for setting in SETTINGS}


@contextmanager
def settings_kept() -> Iterator[None]:
    """Restore the numerical settings afterwards, so that no case sees what an earlier one has set.

    Outside of any surroundings, make new ones.
    """
    here = _CURRENT.get()
    if here is None:
        with Surroundings().standard():
            yield
        return
    before = [setting.read() for setting in _NUMERICAL]
    try:
        yield
    finally:
        for setting, value in zip(_NUMERICAL, before, strict=True):
            if setting.read() != value:
                here.changed[setting.name] = None
                setting.write(value)


def changed_so_far() -> list[str]:
    """Return the names of the settings that code has changed in the present surroundings."""
    here = _CURRENT.get()
    return list(here.changed) if here is not None else []
