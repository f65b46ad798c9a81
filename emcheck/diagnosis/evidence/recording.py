"""What the submodules of a layer return while the layer is called."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from emcheck.adapters import unadapted
from emcheck.oracle.precision import Array

#: Methods of a submodule whose second result is its log-det.
_METHODS = ("forward", "inverse")


class Recorder:
    """Records the log-dets that submodules return; it changes the layer, which must be a copy.

    The methods ``forward`` and ``inverse`` of each submodule are wrapped on the instance, so
    that calls that bypass ``__call__`` are recorded too.
    """

    def __init__(self, layer: nn.Module, batch: int) -> None:
        self.batch = batch
        self.calls: list[tuple[str, str, Array]] = []
        whole = unadapted(layer)
        for name, module in layer.named_modules():
            if name and module is not whole:  # not the layer itself inside its adapter
                for method in _METHODS:
                    self._wrap(module, name, method)

    def _wrap(self, module: nn.Module, name: str, method: str) -> None:
        original = getattr(module, method, None)
        if not callable(original):
            return

        def noted(*args: Any, **kwargs: Any) -> Any:
            answer = original(*args, **kwargs)
            self._note(name, method, answer)
            return answer

        object.__setattr__(module, method, noted)

    def _note(self, name: str, method: str, answer: Any) -> None:
        if not isinstance(answer, tuple) or len(answer) != 2:
            return
        value, logdet = answer
        if not isinstance(value, Tensor):
            return
        if isinstance(logdet, Tensor):
            numbers = logdet.detach().double().cpu().numpy()
        elif isinstance(logdet, int | float):
            numbers = np.array(float(logdet))
        else:
            return
        if numbers.size in (1, self.batch):
            self.calls.append((name, method, np.broadcast_to(numbers.reshape(-1), (self.batch,))))

    def terms(self) -> dict[str, Array]:
        """Return log-dets ``(B,)`` by name; further calls of a submodule count if they differ."""
        found: dict[str, Array] = {}
        for name, method, numbers in self.calls:
            what = "the log-det" if method == "forward" else "the inverse log-det"
            key, count = f"{what} of `{name}`", 1
            while key in found and not np.array_equal(found[key], numbers):
                count += 1
                key = f"{what} of `{name}` (call {count})"
            found.setdefault(key, numbers)
        return found
