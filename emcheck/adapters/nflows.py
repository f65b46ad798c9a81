"""Transforms of nflows as layers of the contract."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from emcheck.adapters.core import Adapted, Logdet, Sampler, class_name, lacking
from emcheck.adapters.domains import Interval, Within

#: Domain and image of single transforms; None is the whole line.
_DOMAINS: dict[str, tuple[Interval, Interval]] = {
    "Sigmoid": (None, (0.0, 1.0)),
    "Tanh": (None, (-1.0, 1.0)),
    "CauchyCDF": (None, (0.0, 1.0)),
}

#: Transforms that map an interval to itself where they have no tails.
_ON_THE_UNIT = (
    "PiecewiseLinear",
    "PiecewiseQuadratic",
    "PiecewiseCubic",
    "PiecewiseRationalQuadratic",
    "MaskedPiecewise",
)

#: Transforms that only reorder entries and so keep any interval.
_MOVES = ("Permutation", "RandomPermutation", "ReversePermutation", "SqueezeTransform")


class NflowsLayer(Adapted):
    """A transform without context, with both directions as the library has them."""

    first_batch = frozenset({("nflows.transforms.normalization", "ActNorm")})

    def __init__(self, layer: nn.Module, name: str) -> None:
        lacks = frozenset() if _has_inverse(layer) else frozenset({"inverse"})
        super().__init__(name, lacks)
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor, Logdet]:
        from nflows.transforms import InverseNotAvailable

        try:
            z, logdet = self.layer(x)
        except (InverseNotAvailable, NotImplementedError) as error:
            raise lacking(self, "forward", error) from error
        return z, logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Logdet | None]:
        from nflows.transforms import InverseNotAvailable

        try:
            x, logdet = self.layer.inverse(z)  # type: ignore[operator]
        except (InverseNotAvailable, NotImplementedError) as error:
            raise lacking(self, "inverse", error) from error
        return x, logdet

    @property
    def sample(self) -> Sampler | None:
        interval = _spaces(self.layer)[0]
        return None if interval is None else Within(*interval)


def conditional(layer: Any) -> Any:
    """Return the transform of a flow, whose calls take ``context``; a transform unchanged."""
    from nflows.flows.base import Flow

    return layer._transform if isinstance(layer, Flow) else layer


def adapt(layer: Any) -> Adapted:
    """Return an adapter for a transform, or for the transform of a flow.

    Raises:
        ValueError: any other object of nflows.
    """
    from nflows.flows.base import Flow
    from nflows.transforms import Transform

    name = class_name(layer)
    if isinstance(layer, Flow):
        layer = layer._transform
    if not isinstance(layer, Transform):
        raise ValueError(f"expected a transform or flow of nflows, got {name}")
    return NflowsLayer(layer, name)


def _has_inverse(layer: nn.Module) -> bool:
    """Whether the class has an inverse of its own; a composition only if all parts have."""
    parts = getattr(layer, "_transforms", None)
    if parts is not None:
        return all(map(_has_inverse, parts))
    base = next((c for c in type(layer).__mro__ if c.__name__ == "Transform"), None)
    return base is None or type(layer).inverse is not base.inverse  # type: ignore[attr-defined]


def _spaces(layer: Any) -> tuple[Interval, Interval]:
    """Return domain and image of a transform, the same interval for every entry."""
    for cls in type(layer).__mro__:
        if cls.__name__ in _DOMAINS:
            return _DOMAINS[cls.__name__]
        if cls.__name__ == "InverseTransform":
            domain, image = _spaces(layer._transform)
            return image, domain
        if cls.__name__.startswith(_ON_THE_UNIT) and not hasattr(layer, "_transforms"):
            unit = None if getattr(layer, "tails", None) is not None else (0.0, 1.0)
            return unit, unit
    parts = list(getattr(layer, "_transforms", ()))
    return _first(parts, 0), _first(parts[::-1], 1)


def _first(parts: list[Any], side: int) -> Interval:
    """Return the interval of the first part that does more than reorder entries."""
    for part in parts:
        if type(part).__name__ not in _MOVES:
            return _spaces(part)[side]
    return None
