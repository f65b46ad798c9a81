"""Flows of normflows as layers of the contract."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from emcheck.adapters.core import Adapted, Logdet, Sampler, class_name, lacking
from emcheck.adapters.normflows_facts import BY_DESIGN as BY_DESIGN
from emcheck.adapters.normflows_facts import domain
from emcheck.adapters.normflows_facts import lacking as lacks_of

#: Layers that draw their output at random.
_STOCHASTIC = ("MetropolisHastings", "HamiltonianMonteCarlo")


class NormflowsLayer(Adapted):
    """A flow with ``forward`` and ``inverse`` as the library has them."""

    first_batch = frozenset(
        {("normflows.flows", "ActNorm"), ("normflows.nets.lipschitz", "InducedNormConv2d")}
    )

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(class_name(layer), lacks_of(layer))
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor, Logdet]:
        try:
            z, logdet = self.layer(self.split(x, inverse=False))
        except NotImplementedError as error:
            raise lacking(self, "forward", error) from error
        return self.join(z), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Logdet | None]:
        try:
            x, logdet = self.layer.inverse(self.split(z, inverse=True))  # type: ignore[operator]
        except NotImplementedError as error:
            raise lacking(self, "inverse", error) from error
        return self.join(x), logdet

    def split(self, value: Tensor, inverse: bool) -> Any:
        """Return the input in the form that the library takes."""
        return value

    def join(self, value: Any) -> Tensor:
        """Return the library's output as one tensor."""
        assert isinstance(value, Tensor)
        return value

    @property
    def sample(self) -> Sampler | None:
        return domain(self.layer)


class TwoParts(NormflowsLayer):
    """A flow with a list of two tensors on a side, joined to one tensor here.

    The parts are joined along the channels, or along the last axis for a checkerboard; with an
    odd number of channels the part that ``torch.chunk`` makes first is the larger one.

    Args:
        split: which inputs are two tensors, of ``"forward"`` and ``"inverse"``.
    """

    def __init__(self, layer: nn.Module, split: frozenset[str]) -> None:
        super().__init__(layer)
        self.two = split
        self.mode = str(getattr(layer, "mode", "channel"))

    @property
    def dim(self) -> int:
        return -1 if "checkerboard" in self.mode else 1

    def split(self, value: Tensor, inverse: bool) -> Any:
        if ("inverse" if inverse else "forward") not in self.two:
            return value
        size = value.shape[self.dim]
        smaller, larger = size // 2, size - size // 2
        first = smaller if self.mode == "channel_inv" else larger
        return list(value.split([first, size - first], dim=self.dim))

    def join(self, value: Any) -> Tensor:
        return torch.cat(list(value), dim=self.dim) if isinstance(value, (list, tuple)) else value


class WholeFlow(NormflowsLayer):
    """A ``NormalizingFlow``: latent to data by ``forward_and_log_det``, and back.

    The base distribution is left out: its parameters are not part of the bijection.
    """

    def __init__(self, layer: nn.Module) -> None:
        bare = copy.copy(layer)
        bare._modules = {name: m for name, m in layer._modules.items() if name not in ("q0", "p")}
        super().__init__(bare)

    def forward(self, x: Tensor) -> tuple[Tensor, Logdet]:
        try:
            z, logdet = self.layer.forward_and_log_det(x)  # type: ignore[operator]
        except NotImplementedError as error:
            raise lacking(self, "forward", error) from error
        return z, logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Logdet | None]:
        try:
            x, logdet = self.layer.inverse_and_log_det(z)  # type: ignore[operator]
        except NotImplementedError as error:
            raise lacking(self, "inverse", error) from error
        return x, logdet


class MultiscaleLayer(NormflowsLayer):
    """A ``MultiscaleFlow`` from data ``x`` to its latents, flattened into one ``(B, n)``.

    Raises:
        ValueError: a base distribution that does not say the shape of its latent.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(layer)
        bases: Sequence[Any] = layer.q0  # type: ignore[assignment]
        without = [type(base).__name__ for base in bases if not hasattr(base, "shape")]
        if without:
            raise ValueError(f"expected base distributions with a shape, got {without[0]}")
        self.shapes = [tuple(base.shape) for base in bases]

    def forward(self, x: Tensor) -> tuple[Tensor, Logdet]:
        latents, logdet = self.layer.inverse_and_log_det(x)  # type: ignore[operator]
        return torch.cat([latent.flatten(1) for latent in latents], dim=1), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Logdet | None]:
        parts = z.split([math.prod(shape) for shape in self.shapes], dim=1)
        latents = [p.reshape(len(z), *s) for p, s in zip(parts, self.shapes, strict=True)]
        x, logdet = self.layer.forward_and_log_det(latents)  # type: ignore[operator]
        return x, logdet


def adapt(layer: Any) -> Adapted:
    """Return an adapter for a flow or a whole flow of normflows.

    Raises:
        ValueError: a stochastic or conditional layer, or no flow at all.
    """
    from normflows import core, flows

    name = class_name(layer)
    if isinstance(layer, core.MultiscaleFlow):
        return MultiscaleLayer(layer)
    if isinstance(layer, core.NormalizingFlow):
        return WholeFlow(layer)
    if not isinstance(layer, flows.Flow):
        raise ValueError(f"expected a flow of normflows, got {name}")
    if type(layer).__name__ in _STOCHASTIC:
        raise ValueError(f"expected a bijection, got {name}, which draws at random")
    _, *more = inspect.signature(layer.forward).parameters.values()
    needed = [parameter.name for parameter in more if parameter.default is parameter.empty]
    if needed:
        raise ValueError(f"expected an unconditional flow, got {name}, which needs {needed[0]}")
    if isinstance(layer, flows.Merge):
        return TwoParts(layer, frozenset({"forward"}))
    if isinstance(layer, flows.Split):
        return TwoParts(layer, frozenset({"inverse"}))
    if isinstance(layer, flows.AffineCoupling):
        return TwoParts(layer, frozenset({"forward", "inverse"}))
    return NormflowsLayer(layer)
