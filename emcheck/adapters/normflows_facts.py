"""Facts that the classes of normflows do not tell by an interface: inverses and domains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from emcheck.adapters.core import Sampler, lacking_by_design
from emcheck.adapters.domains import Coordinates, Within

#: What parts of a flow lack according to their documentation: fixed points, power iterations.
BY_DESIGN = {
    "iResBlock": frozenset({"exact_inverse", "exact_logdet", "free_parameters"}),
    "InducedNormLinear": frozenset({"free_parameters"}),
    "InducedNormConv2d": frozenset({"free_parameters"}),
}


def lacking(layer: nn.Module) -> frozenset[str]:
    """Return what the classes of a flow and of its parts do not offer."""
    known = lacking_by_design(map(type, layer.modules()), BY_DESIGN)
    return known if has_inverse(layer) else known | {"inverse"}


def _parts(layer: nn.Module) -> list[nn.Module]:
    """Return the flows that a composition applies, in order; none for a single layer."""
    for name in ("flows", "_flows"):
        parts = getattr(layer, name, None)
        if isinstance(parts, nn.ModuleList):
            return list(parts)
    return []


def has_inverse(layer: nn.Module) -> bool:
    parts = _parts(layer)
    if parts:
        return all(map(has_inverse, parts))
    if type(layer).__name__ == "Planar":
        return getattr(layer, "act", None) == "leaky_relu"
    base = next((c for c in type(layer).__mro__ if c.__name__ == "Flow"), None)
    return base is None or type(layer).inverse is not base.inverse  # type: ignore[attr-defined]


def domain(layer: Any) -> Sampler | None:
    """Return draws from the domain of ``forward`` for the released classes; None for R^n."""
    name = type(layer).__name__
    parts = _parts(layer)
    if parts:
        return domain(parts[0])
    if name == "Reverse" and type(layer.flow).__name__ == "Logit":
        return Within(0.0, 1.0)
    if name in ("PeriodicWrap", "PeriodicShift"):
        return Coordinates(_bounds(layer.ind, layer.bound))
    spline = getattr(layer, "prqct", None) or getattr(layer, "mprqat", None)
    if spline is None:
        return None
    if spline.tails is None:
        return Within(0.0, 1.0)
    circular = dict(_circular(spline))
    return Coordinates(circular) if circular else None


def _bounds(indices: Any, bound: Any) -> dict[int, float]:
    indices = [int(i) for i in indices]
    sizes = torch.as_tensor(bound, dtype=torch.float64).expand(len(indices)).tolist()
    return dict(zip(indices, sizes, strict=True))


def _circular(spline: Any) -> Iterator[tuple[int, float]]:
    """Yield the circular coordinates of a spline layer and the bounds of their intervals."""
    if hasattr(spline, "transform_features"):
        groups = [(spline.transform_features.tolist(), spline)]
        if spline.unconditional_transform is not None:
            groups.append((spline.identity_features.tolist(), spline.unconditional_transform))
    else:
        groups = [(list(range(len(spline.tails))), spline)]
    for features, part in groups:
        every = (
            part.tails if isinstance(part.tails, (list, tuple)) else [part.tails] * len(features)
        )
        bounds = _bounds(features, part.tail_bound)
        yield from (
            (i, bounds[i]) for i, tail in zip(features, every, strict=True) if tail == "circular"
        )
