"""The parts of a flow, if it keeps them: the map to its base and the density of the base."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emcheck.bounds import LOGDET_KNOWN, Arithmetic, Measure, compare
from emcheck.checks.core import ill_conditioned, worst
from emcheck.checks.log_prob import mistakes
from emcheck.checks.unsupported import Unsupported
from emcheck.densities.flow import Flow
from emcheck.guard import foreign, one_line
from emcheck.oracle import jacobian_by_differences, slogdet
from emcheck.oracle.precision import Array

#: ``x (B, *event) -> (z, logdet)``, and ``z -> log-density`` with one or more entries a row.
Map = Callable[[Tensor], tuple[Tensor, Any]]
Base = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Parts:
    """The map of a flow to its base, and the density there.

    Args:
        flow: the flow whose parts they are.
        to_base: ``x (B, *event) -> (z, logdet)`` as the library has them.
        base: the log-density of ``z``, with entries that are summed to one for each row.
    """

    flow: Flow
    to_base: Map
    base: Base

    def latent(self, x: Array) -> Array:
        """Return ``z (B, n)`` for flat ``x (B, n)``."""
        return np.asarray(self._mapped(x)[0].detach().double().reshape(len(x), -1).numpy())

    def terms(self, x: Array) -> tuple[Array, Array]:
        """Return the log-density of the base at the image of flat ``x (B, n)``, and the log-det."""
        z, logdet = self._mapped(x)
        with torch.no_grad():
            return _per_row(self.base(z), len(x)), _per_row(logdet, len(x))

    def logdet(self, x: Array) -> tuple[float, float]:
        """Return ``log|det dz/dx|`` at one flat ``x (n,)``, and its uncertainty.

        The Jacobian is by differences: no formula is trusted.
        """
        found = jacobian_by_differences(self.latent, x)
        if found.J.shape[0] != found.J.shape[1] or not np.isfinite(found.J).all():
            return np.nan, np.inf
        logdet, condition = slogdet(found.J)
        return logdet, len(x) * condition * found.error

    def _mapped(self, x: Array) -> tuple[Tensor, Any]:
        event = torch.from_numpy(np.ascontiguousarray(x)).reshape(len(x), *self.flow.shape)
        with torch.no_grad():
            return self.to_base(event.to(self.flow.dtype))


def parts_of(flow: Flow) -> Parts | None:
    """Return the parts of a flow, None if they cannot be reached.

    It may be of nflows, normflows or zuko, a ``TransformedDistribution``, or name them alike.
    """
    target = flow.target
    for names, make in _KINDS.items():
        if all(hasattr(target, name) for name in names):
            return Parts(flow, *make(flow, target))
    return None


def sum_of_parts(parts: Parts, x: Array, got: Array) -> Measure:
    """Compare ``log_prob``, ``got (B,)``, at flat ``x (B, n)`` with base plus log-det.

    Raises:
        Unsupported: the parts do not answer, or are not those of ``log_prob``.
    """
    try:
        base, own = parts.terms(x)
        exact, off = (np.array(found) for found in zip(*map(parts.logdet, x), strict=True))
    except foreign() as error:  # a class may use the names for something else
        raise Unsupported(f"base and map to it do not answer: {one_line(error)}") from error
    share = max(np.sqrt(Arithmetic.of(parts.flow.dtype).u), parts.flow.accuracy)
    bound = off + share * (1 + np.abs(base) + np.abs(exact))
    known = np.isfinite(base) & np.isfinite(exact) & (bound <= LOGDET_KNOWN)
    if not known.any():
        return ill_conditioned("FD", detail="the differences say nothing of the map to the base")
    got, base, exact, own, bound = (row[known] for row in (got, base, exact, own, bound))
    told = _told(got, base, exact, own, bound, x.shape[1])
    judged = zip(got, base + exact, bound, strict=True)
    return worst(*(compare(g, expected, limit, "FD", detail=told) for g, expected, limit in judged))


def _told(got: Array, base: Array, exact: Array, own: Array, bound: Array, size: int) -> str:
    """Return what is wrong if the numbers of all samples agree on it; empty if nothing is.

    Raises:
        Unsupported: the parts found by name do not make up ``log_prob`` in any known way.
    """
    if bool((np.abs(got - base - exact) <= bound).all()):
        return ""
    if bool((np.abs(got - base - own) <= bound).all()):
        return "the log-det of the transforms is not that of their Jacobian"
    if bool((np.abs(exact) > 4 * bound).all()):
        for told, wrong in mistakes(base, exact, size).items():
            if bool((np.abs(got - wrong) <= bound).all()):
                return told
    raise Unsupported("base and map to it, by their names, do not make up log_prob")


def _of_distribution(flow: Flow, target: Any) -> tuple[Map, Base]:
    """``torch.distributions.TransformedDistribution``, that of Pyro included."""

    def to_base(x: Tensor) -> tuple[Tensor, Any]:
        logdet: Any = torch.zeros(len(x), dtype=x.dtype)
        for transform in reversed(target.transforms):
            before = transform.inv(x)
            logdet = logdet - _summed(transform.log_abs_det_jacobian(before, x), len(x))
            x = before
        return x, logdet

    return to_base, target.base_dist.log_prob


def _of_zuko(flow: Flow, target: Any) -> tuple[Map, Base]:
    return target.transform.call_and_ladj, target.base.log_prob


def _of_nflows(flow: Flow, target: Any) -> tuple[Map, Base]:
    def context(rows: int) -> Any:
        given = flow.repeated(rows)
        return target._embedding_net(given) if given is not None else None

    def to_base(x: Tensor) -> tuple[Tensor, Any]:
        z, logdet = target._transform(x, context=context(len(x)))
        return z, logdet

    return to_base, lambda z: target._distribution.log_prob(z, context=context(len(z)))


def _of_normflows(flow: Flow, target: Any) -> tuple[Map, Base]:
    def given(rows: int) -> dict[str, Any]:
        context = flow.repeated(rows)
        return {} if context is None else {"context": context}

    def to_base(x: Tensor) -> tuple[Tensor, Any]:
        logdet: Any = 0.0
        for layer in reversed(target.flows):
            x, change = layer.inverse(x, **given(len(x)))
            logdet = logdet + change
        return x, logdet

    return to_base, lambda z: target.q0.log_prob(z, **given(len(z)))


#: Attributes in which a flow keeps its parts, and the function that makes the parts of them.
_KINDS: dict[tuple[str, ...], Callable[[Flow, Any], tuple[Map, Base]]] = {
    ("base_dist", "transforms"): _of_distribution,
    ("transform", "base"): _of_zuko,
    ("_transform", "_distribution", "_embedding_net"): _of_nflows,
    ("flows", "q0"): _of_normflows,
}


def _summed(values: Tensor, rows: int) -> Tensor:
    return values if values.dim() < 2 else values.reshape(rows, -1).sum(1)


def _per_row(values: Any, rows: int) -> Array:
    """Return one number for each row, the sum of its entries."""
    if not isinstance(values, Tensor) or values.dim() == 0:
        return np.full(rows, float(values))
    return np.asarray(_summed(values.detach(), rows).double().expand(rows).numpy())
