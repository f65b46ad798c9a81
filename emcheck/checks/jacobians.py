"""The Jacobians of a layer: from its graph, its library, differences or probes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from emcheck import bounds
from emcheck.adapters import Adapted
from emcheck.bounds import MOST_EXPLICIT, Arithmetic
from emcheck.checks.built import Built
from emcheck.checks.calling import Pair, call, call_inverse, forward_of, inverse_of
from emcheck.checks.unsupported import Unsupported
from emcheck.oracle import (
    Differences,
    Probed,
    explicit_jacobian,
    jacobian_by_differences,
    probe_jacobian,
    singular_extremes,
)
from emcheck.oracle.precision import Array
from emcheck.oracle.spectrum import inverse_matrix


class WithJacobians(Built):
    """A built layer with its Jacobians and their accuracy."""

    def jacobian(self, x: Tensor, inverse: bool = False) -> Array:
        """Return the explicit Jacobian at one sample ``x (*event)``, ``(n, n)`` in float64.

        ``_of_inverse`` says how that of an inverse is formed. A layer whose calls have no
        derivatives has it by differences, see ``jacobian_arithmetic``.

        Raises:
            Unsupported: a map between spaces of different dimension, or one too large.
        """
        if x.numel() > MOST_EXPLICIT:
            raise Unsupported(f"an explicit Jacobian of {x.numel()} dimensions is too large")
        key = ("J", inverse, x.detach().cpu().numpy().tobytes())
        return self._remembered(key, lambda: self._explicit(x, inverse))

    def _explicit(self, x: Tensor, inverse: bool) -> Array:
        if inverse:
            return self._of_inverse(x)
        J = self._by_layer(x, inverse=False)
        if J.shape[0] != J.shape[1]:
            m, n = J.shape
            raise Unsupported(f"the map goes from {n} to {m} dimensions: it has no determinant")
        return J

    def _by_layer(self, x: Tensor, inverse: bool) -> Array:
        """Return the Jacobian by the layer's library, by differences or by torch's autograd."""
        layer, wide = self.layer64, x.to(self.widest)
        if isinstance(layer, Adapted):
            J = layer.jacobian(wide, inverse)
            if J is not None:
                return J
            if layer.by_differences:
                return self._by_differences(wide, inverse).J
        call = inverse_of if inverse else forward_of
        return explicit_jacobian(lambda one: call(layer, one.clone()), wide)

    def _by_differences(self, x: Tensor, inverse: bool) -> Differences:
        direction = call_inverse if inverse else call

        def values(moved: Array) -> Array:
            found = direction(self.layer64, torch.from_numpy(moved).to(self.widest))[0]
            return np.asarray(found.double().numpy()).reshape(len(moved), -1)

        key = ("D", inverse, x.detach().cpu().numpy().tobytes())
        return self._remembered(
            key, lambda: jacobian_by_differences(values, x.double().cpu().numpy())
        )

    def jacobian_arithmetic(self, x: Tensor, inverse: bool = False) -> Arithmetic:
        """Return the arithmetic in which the Jacobian at ``x (*event)`` is known.

        It is that of the layer; coarser if the Jacobian is by differences, by their error.
        """
        if not isinstance(self.subject.original, Adapted):  # a layer of torch has a graph
            moved = inverse and self._has_no_graph and self._undone(x) is None
            # Central differences with a step of eps^(1/3) err by eps^(2/3).
            off = 16 * torch.finfo(self.widest).eps ** (-1 / 3)
            return self.arithmetic.coarser(off) if moved else self.arithmetic
        layer = self.layer64
        if not isinstance(layer, Adapted) or not layer.by_differences:
            return self.arithmetic
        wide = x.to(self.widest)
        at = call_inverse(layer, wide[None])[0][0] if inverse else wide
        off = self._by_differences(at, inverse=False).error
        if inverse:
            off = max(off, self._by_differences(wide, inverse=True).error)
        return self.arithmetic.coarser(max(1.0, off / self.arithmetic.u))

    def _of_inverse(self, z: Tensor) -> Array:
        """Return ``dx/dz``; without a definition, by autograd only if nothing better works.

        Where forward maps ``inverse(z)`` back to ``z``, the Jacobian of the inverse is the inverse
        of forward's, whatever graph the inverse has. An inverse that does not undo forward is
        differentiated, or, without a graph, moved along every axis.
        """
        if self.subject.is_defined and not self.subject.lacks:
            return self.by_autograd(z)
        xh = self._undone(z)
        if xh is not None:
            return inverse_matrix(self.jacobian(xh))
        return self._by_columns(z) if self._has_no_graph else self.by_autograd(z)

    def _undone(self, z: Tensor) -> Tensor | None:
        """Return ``inverse(z)`` where forward maps it back to ``z``, else None."""
        wide = z.to(self.widest)[None]
        xh = call_inverse(self.layer64, wide)[0]
        back = call(self.new_layer().to(self.widest), xh)[0]
        off = (back - wide).norm()
        return xh[0] if bool(off <= bounds.INVERTED * float(wide.norm())) else None

    @property
    def _has_no_graph(self) -> bool:
        """Whether the inverse has neither a graph nor a library that differentiates it."""
        layer = self.layer64
        differences = isinstance(layer, Adapted) and layer.by_differences
        return not differences and not self.has("inverse_gradient")

    def by_autograd(self, given: Tensor, inverse: bool = True) -> Array:
        """Return ``dx/dz`` or ``dz/dx`` from the graph of a call, right or wrong."""
        return self._by_layer(given, inverse)

    def _by_columns(self, z: Tensor) -> Array:
        """Return central differences of the inverse along every axis, ``(n, n)``."""
        flat = z.to(self.widest).reshape(-1)
        step = flat.abs().clamp(min=1.0) * torch.finfo(self.widest).eps ** (1 / 3)
        up, down = flat + step.diag(), flat - step.diag()
        rows = torch.cat([up, down]).reshape(-1, *z.shape)
        moved = call_inverse(self.layer64, rows)[0].double().reshape(2, len(flat), -1)
        columns = (moved[0] - moved[1]) / (up - down).diagonal()[:, None]
        return np.asarray(columns.T.numpy(), dtype=np.float64)

    def judgeable(self, x: Tensor, z: Tensor, inverse: bool = False) -> tuple[float, bool]:
        """Return the condition at one sample ``(*event)``, and whether it is too ill to judge.

        Besides ``s_max / s_min`` of the Jacobian it counts how much a relative change of the output
        moves the input, ``|z| / (s_min |x|)``: an output that saturates is badly conditioned even
        where all singular values are equally small.
        """
        largest, smallest = self.singular_extremes(x, inverse)
        size_of_x, size_of_z = (float(v.double().norm()) for v in (x, z))
        kappa = largest / smallest if smallest > 0 else math.inf
        if not self.subject.is_defined and smallest > 0 and size_of_x > 0:
            kappa = max(kappa, size_of_z / (smallest * size_of_x))
        kappa = math.inf if math.isnan(kappa) else kappa
        return kappa, bounds.too_ill(kappa, self.jacobian_arithmetic(x, inverse).u)

    def probed(self, x: Tensor, inverse: bool = False) -> Probed:
        """Probe the Jacobian at one sample that is too large for an explicit one."""
        f: Callable[[nn.Module, Tensor], Pair] = inverse_of if inverse else forward_of
        layer = self.layer64
        key = ("probes", inverse, x.detach().cpu().numpy().tobytes())

        def run() -> Probed:
            return probe_jacobian(lambda one: f(layer, one)[0], x, self.case.generator(80))

        return self._remembered(key, run)

    def singular_extremes(self, x: Tensor, inverse: bool = False) -> tuple[float, float]:
        """Return ``(s_max, s_min)`` of the Jacobian at one sample, from probes if it is large."""
        if x.numel() <= MOST_EXPLICIT:
            return singular_extremes(self.jacobian(x, inverse))
        found = self.probed(x, inverse)
        return found.largest, bounds.RITZ_SHARE * found.smallest
