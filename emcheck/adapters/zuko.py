"""Transforms, lazy transforms and flows of zuko as layers of the contract."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Transform
from torch.distributions.transforms import _InverseTransform

from emcheck.adapters.core import Adapted, Sampler, class_name, lacking_by_design
from emcheck.adapters.domains import Within
from emcheck.adapters.torch_transforms import TorchTransform

#: What transforms lack according to their documentation: bisection, an adaptive integrator.
BY_DESIGN = {
    "MonotonicTransform": frozenset({"exact_inverse"}),
    "FreeFormJacobianTransform": frozenset({"exact_inverse", "exact_logdet"}),
}


class ZukoTransform(TorchTransform):
    """A transform of zuko, by ``call_and_ladj``: one pass for the image and the log-det.

    A bare one keeps what it computed from the given tensors; ``widest`` is their dtype.
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__(transform)
        kept = [b.dtype for b in self.held.buffers() if b.is_floating_point()]
        self.widest = min(kept, key=lambda dtype: dtype.itemsize, default=None)
        self.lacks = lacking_by_design(map(type, _parts(transform)), BY_DESIGN)

    def both(self, transform: Transform, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = transform.call_and_ladj(x)  # type: ignore[attr-defined]
        return z, logdet


class ZukoLazy(ZukoTransform):
    """A lazy transform, or the transform of a flow, made anew for every call without context.

    Args:
        layer: the module; its parameters are those of the result.
        interval: the interval assumed for every feature, if the transform does not say.
    """

    def __init__(self, layer: nn.Module, name: str, interval: tuple[float, float] | None) -> None:
        used = (part for transform in _made_by(layer) for part in _parts(transform))
        Adapted.__init__(self, name, lacking_by_design(map(type, used), BY_DESIGN))
        self.layer = layer
        self.interval = interval

    @property
    def transform(self) -> Transform:
        transform = self.layer()
        assert isinstance(transform, Transform)
        return transform

    @property
    def sample(self) -> Sampler | None:
        return super().sample if self.interval is None else Within(*self.interval)


class ZukoConditional(nn.Module):
    """A lazy transform, or the transform of a flow, made anew for the context of every call."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(context).call_and_ladj(x)
        return z, logdet

    def inverse(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.layer(context).inv.call_and_ladj(z)
        return x, logdet


def conditional(layer: Any) -> Any:
    """Return a flow or lazy transform as a module whose calls take ``context``."""
    from zuko.lazy import Flow, LazyTransform

    if isinstance(layer, Flow):
        layer = layer.transform
    return ZukoConditional(layer) if isinstance(layer, LazyTransform) else layer


def adapt(layer: Any) -> Adapted:
    """Return an adapter for a transform, a lazy transform or a flow.

    Raises:
        ValueError: any other object of zuko.
    """
    if isinstance(layer, Transform):
        return ZukoTransform(layer)
    from zuko.flows.spline import NCSF
    from zuko.lazy import Flow, LazyTransform

    if isinstance(layer, Flow):
        interval = (-math.pi, math.pi) if isinstance(layer, NCSF) else None
        return ZukoLazy(layer.transform, class_name(layer), interval)
    if isinstance(layer, LazyTransform):
        return ZukoLazy(layer, class_name(layer), None)
    raise ValueError(f"expected a transform or flow of zuko, got {class_name(layer)}")


def _parts(transform: Transform) -> Iterator[Transform]:
    """Yield a transform and the parts that it is made of, as far as they are stored."""
    yield transform
    inner = [*getattr(transform, "transforms", ()), getattr(transform, "base", None)]
    if isinstance(transform, _InverseTransform):
        inner.append(transform.inv)
    for part in inner:
        if isinstance(part, Transform):
            yield from _parts(part)


def _made_by(layer: nn.Module) -> Iterator[Transform]:
    """Yield the transforms that a lazy one applies; elementwise ones at parameters 0."""
    yield layer()
    for module in layer.modules():
        univariate: Any = getattr(module, "univariate", None)
        if univariate is not None:
            shapes: Any = module.shapes
            yield univariate(*map(torch.zeros, shapes))
