"""A layer whose log-det is a random estimate: its values are judged apart from the estimate."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from emcheck.adapters.core import Adapted, Logdet


class Estimated(Adapted):
    """``layer`` with 0 for its log-det; ``estimate`` draws the log-det itself.

    Args:
        layer: ``forward(x) -> (z, estimate)``, ``inverse(z)``.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(getattr(layer, "name", type(layer).__name__))
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor, Logdet]:
        return self._silent(self.layer(x), x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Logdet | None]:
        return self._silent(self.layer.inverse(z), z)  # type: ignore[operator]

    def estimate(self, value: Tensor, inverse: bool = False) -> Any:
        """Draw the log-det of either direction once, as the layer returns it."""
        call = self.layer.inverse if inverse else self.layer
        answer = call(value)  # type: ignore[operator]
        return answer[1] if isinstance(answer, list | tuple) and len(answer) == 2 else None

    def _silent(self, answer: Any, given: Tensor) -> Any:
        if isinstance(answer, list | tuple) and len(answer) == 2:
            return answer[0], given.new_zeros(len(given))
        return answer
