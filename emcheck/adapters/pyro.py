"""Transforms of Pyro, conditional ones with a context, as layers of the contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.distributions import Transform
from torch.distributions.transforms import _InverseTransform

from emcheck.adapters.core import Adapted, class_name, lacking, lacking_by_design
from emcheck.adapters.torch_transforms import TorchTransform, event_dim, per_sample

_NO_INVERSE = frozenset({"inverse"})
_SERIES = frozenset({"exact_inverse", "exact_logdet"})

#: What transforms lack according to their documentation: some invert only their last output, which
#: they remember; some sum only the first terms of a series.
BY_DESIGN = {
    "ConditionedPlanar": _NO_INVERSE,
    "ConditionalPlanar": _NO_INVERSE,
    "ConditionedRadial": _NO_INVERSE,
    "ConditionalRadial": _NO_INVERSE,
    "Sylvester": _NO_INVERSE,
    "BlockAutoregressive": _NO_INVERSE,
    "NeuralAutoregressive": _NO_INVERSE,
    "ConditionalNeuralAutoregressive": _NO_INVERSE,
    "Polynomial": _NO_INVERSE,
    "ConditionedMatrixExponential": _SERIES,
    "ConditionalMatrixExponential": _SERIES,
}


class PyroTransform(TorchTransform):
    """A transform of Pyro, which keeps its last input and output and recognises them by identity.

    Every call passes a new tensor, so that the inverse has to compute, and results kept from other
    parameters do not come back (Pyro asks for ``clear_cache`` after a step).
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__(transform)
        self.lacks = lacking_by_design(map(type, parts_of(transform)), BY_DESIGN)

    def both(self, transform: Transform, x: Tensor) -> tuple[Tensor, Tensor]:
        return both(transform, x)

    def _values_alone(self, transform: Transform, z: Tensor, reason: BaseException) -> Tensor:
        if isinstance(reason.__cause__, KeyError):  # there are no values either
            raise lacking(self, "inverse", reason) from reason
        return super()._values_alone(transform, z, reason)


class PyroConditional(nn.Module):
    """A conditional transform, conditioned anew on the context of every call."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.lacks = lacking_by_design(map(type, parts_of(layer)), BY_DESIGN)

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        transform = self.layer.condition(context)  # type: ignore[operator]
        z, logdet = both(transform, x)
        return z, per_sample(logdet, x.dim() - event_dim(transform.domain))

    def inverse(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        transform = self.layer.condition(context)  # type: ignore[operator]
        x, logdet = both(transform.inv, z)
        return x, per_sample(logdet, z.dim() - event_dim(transform.codomain))


def both(transform: Transform, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the image and the log-det of a tensor that no cache has seen.

    Raises:
        NotImplementedError: the inverse is that of the last output alone.
    """
    mine = x.clone()
    try:
        z = transform(mine)
    except KeyError as error:
        if "intermediates cache" not in str(error):
            raise
        raise NotImplementedError("only the last output is taken back") from error
    logdet = transform.log_abs_det_jacobian(mine, z)
    if event_dim(transform.domain) == 0 and logdet.dim() <= z.dim():
        # One number for each entry; distributions broadcast those that are alike for all samples.
        logdet = logdet.expand(z.shape)
    return z, logdet


def conditional(layer: Any) -> Any:
    """Return a conditional transform as a module whose calls take ``context``."""
    from pyro.distributions.conditional import ConditionalTransformModule

    return PyroConditional(layer) if isinstance(layer, ConditionalTransformModule) else layer


def adapt(layer: Any) -> Adapted:
    """Return an adapter for a transform of Pyro.

    Raises:
        ValueError: a conditional transform without its context, or no transform at all.
    """
    if isinstance(layer, Transform):
        return PyroTransform(layer)
    name = class_name(layer)
    if hasattr(layer, "condition"):
        raise ValueError(f"expected context=(n,) for {name}, a conditional transform, got none")
    raise ValueError(f"expected a transform of pyro, got {name}")


def parts_of(layer: Any) -> Iterator[Any]:
    """Yield a transform and the parts that it is made of."""
    yield layer
    inner: Iterable[Any] = [
        *(getattr(layer, "parts", None) or ()),
        *(getattr(layer, "transforms", None) or ()),
        getattr(layer, "base_transform", None),
        getattr(layer, "_transform", None),
    ]
    if isinstance(layer, _InverseTransform):
        inner = [*inner, layer.inv]
    for part in inner:
        if isinstance(part, Transform) or hasattr(part, "condition"):
            yield from parts_of(part)
