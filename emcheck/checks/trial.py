"""One subject in one case, with everything that several checks need computed once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from emcheck import bounds
from emcheck.bounds import MOST_EXPLICIT, THRESHOLDS, Arithmetic
from emcheck.checks.calling import Pair, call, call_inverse, forward_of, inverse_of
from emcheck.checks.case import Case, Subject
from emcheck.checks.unsupported import Unsupported
from emcheck.oracle import (
    Definition,
    Probed,
    as_extended,
    condition_number,
    explicit_jacobian,
    probe_jacobian,
    singular_extremes,
)
from emcheck.oracle.precision import Array
from emcheck.styles import move_parameters, optimise

T = TypeVar("T")


class Trial:
    """A built layer with its input, its definition and its Jacobians.

    Layers returned by ``layer`` and ``new_layer`` belong to the trial; nothing outside it is
    touched. ``x`` is ``(B, *event)`` in the dtype of the case.
    """

    def __init__(self, subject: Subject, case: Case) -> None:
        self.subject = subject
        self.case = case
        self.arithmetic = Arithmetic.of(case.dtype, case.device)

    def has(self, capability: str) -> bool:
        """Whether the layer offers a capability, as far as is known."""
        return capability not in self.subject.lacks and capability not in self.subject.broken

    def new_layer(self, purpose: int = 1, style: str | None = None) -> nn.Module:
        """A layer built for the case and moved to a style with its own random numbers."""
        if self.subject.memo is None:
            return self._built(purpose, style)
        key = ("layer", purpose, style)
        return copy.deepcopy(self._remembered(key, lambda: self._built(purpose, style)))

    def _remembered(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """What several checks of one case share, made once; only copies are given away."""
        memo = self.subject.memo
        if memo is None:
            return make()
        full = (str(self.case), *key)
        if full not in memo:
            memo[full] = make()
        found: T = memo[full]
        return found

    def _built(self, purpose: int, style: str | None) -> nn.Module:
        case = self.case
        layer = self.subject.build(case).to(device=case.device, dtype=case.dtype)
        self.move(layer, purpose, style)
        return layer

    def move(self, layer: nn.Module, purpose: int, style: str | None = None) -> None:
        """Move the parameters of ``layer`` to a style, in place."""
        style, spec = style or self.case.style, self.subject.spec
        if not self.has("free_parameters"):
            return
        generator = self.case.generator(purpose)
        moved = "trained" if style == "optimised" else style
        if spec is None:
            move_parameters(layer, moved, generator)
        elif spec.move is not None and style != "initial":
            spec.move(self.subject.unwrap(layer), moved, generator)
        if style == "optimised":
            optimise(layer, forward_of, self.sample(40 + purpose, batch=8))

    @cached_property
    def layer(self) -> nn.Module:
        return self.new_layer()

    @cached_property
    def layer64(self) -> nn.Module:
        """The same layer with its parameters converted to float64."""
        return self.new_layer().double()

    def sample(self, purpose: int = 2, batch: int | None = None) -> Tensor:
        """Data of the case's magnitude, ``(B, *event)``: standard normal, or drawn by the user."""
        case = self.case
        B = case.batch if batch is None else batch
        generator = case.generator(purpose)
        if self.subject.draw is None:
            x = torch.randn((B, *case.event), generator=generator, dtype=torch.float64)
        else:
            x = self.subject.draw(B, case.event, generator)
        return (x * case.magnitude).to(device=case.device, dtype=case.dtype)

    @cached_property
    def x(self) -> Tensor:
        return self.sample()

    @cached_property
    def latent(self) -> Tensor:
        """A latent to invert: normal numbers for known layers, else the image of other data."""
        # On a copy, so that a layer which keeps its last pair cannot recognise the latent.
        image = self._remembered(("image",), lambda: call(self.new_layer(), self.sample(3))[0])
        if self.subject.spec is None:
            return image.clone()
        z = torch.randn(image.shape, generator=self.case.generator(4), dtype=torch.float64)
        return (z * self.case.magnitude).to(image)

    @cached_property
    def forward(self) -> Pair:
        return call(self.layer, self.x)

    @cached_property
    def back(self) -> Pair:
        """The inverse of the forward image."""
        return call_inverse(self.layer, self.forward[0])

    @cached_property
    def definition(self) -> Definition | None:
        return self.define(self.layer)

    def define(self, layer: nn.Module, case: Case | None = None) -> Definition | None:
        """The definition at the present parameters of ``layer``."""
        return self.subject.define(layer, (case or self.case).event)

    @cached_property
    def _inverse_has_gradient(self) -> bool:
        """Whether autograd sees through the inverse; one under ``no_grad`` it does not."""
        z = self.latent[:1].double().requires_grad_(True)
        try:
            return inverse_of(self.layer64, z)[0].requires_grad
        except Exception:  # it does not answer in float64: another check says so
            return False

    def jacobian(self, x: Tensor, inverse: bool = False) -> Array:
        """The explicit Jacobian at one sample ``x (*event)``, ``(n, n)`` in float64.

        That of an inverse without gradients is the inverse of the forward one.

        Raises:
            Unsupported: a map between spaces of different dimension, or one too large.
        """
        if x.numel() > MOST_EXPLICIT:
            raise Unsupported(f"an explicit Jacobian of {x.numel()} dimensions is too large")
        key = ("J", inverse, x.detach().cpu().numpy().tobytes())
        return self._remembered(key, lambda: self._explicit(x, inverse))

    def _explicit(self, x: Tensor, inverse: bool) -> Array:
        if inverse and not self._inverse_has_gradient:
            xh, _ = call_inverse(self.layer, x[None])
            return inverse_matrix(self._explicit(xh[0], inverse=False))
        f: Callable[[nn.Module, Tensor], Pair] = inverse_of if inverse else forward_of
        J = explicit_jacobian(lambda one: f(self.layer64, one), x.double())
        if J.shape[0] != J.shape[1]:
            m, n = J.shape
            raise Unsupported(f"the map goes from {n} to {m} dimensions: it has no determinant")
        return J

    def probed(self, x: Tensor, inverse: bool = False) -> Probed:
        """What random probes say of the Jacobian at one sample too large for an explicit one."""
        f: Callable[[nn.Module, Tensor], Pair] = inverse_of if inverse else forward_of
        layer = self.layer64
        key = ("probes", inverse, x.detach().cpu().numpy().tobytes())

        def run() -> Probed:
            return probe_jacobian(lambda one: f(layer, one)[0], x, self.case.generator(80))

        return self._remembered(key, run)

    def singular_extremes(self, x: Tensor, inverse: bool = False) -> tuple[float, float]:
        """``(s_max, s_min)`` of the Jacobian at one sample; from probes where it is large."""
        if x.numel() <= MOST_EXPLICIT:
            return singular_extremes(self.jacobian(x, inverse))
        found = self.probed(x, inverse)
        return found.largest, bounds.RITZ_SHARE * found.smallest

    def forward_bound(self, x: Tensor) -> tuple[Array, Array]:
        """What a correct ``forward(x)`` may err by: z entry by entry, and log-det ``(B,)``."""
        if self.definition is not None:
            X = as_extended(x)
            run = self.definition.running(X, np.zeros_like(X), self.arithmetic)
            return np.broadcast_to(run.error, run.value.shape), run.logdet_error
        z, logdet = call(self.layer, x)
        errors, of_logdet, u = [], [], self.arithmetic
        for n in range(len(x)):
            J = self.jacobian(x[n])
            errors.append(bounds.jacobian_forward(J, as_extended(x[n]), as_extended(z[n]), u))
            of_logdet.append(self.jacobian_logdet_bound(J, float(logdet[n])))
        return np.reshape(errors, z.shape), np.array(of_logdet)

    def jacobian_logdet_bound(self, J: Array, logdet: float) -> float:
        """Rule T9 with its threshold, for one sample."""
        return self.jacobian_logdet_unit(len(J), condition_number(J), logdet)

    def jacobian_logdet_unit(self, n: int, kappa: float, logdet: float) -> float:
        """Rule T9 with its threshold for ``n`` dimensions and a condition number."""
        return THRESHOLDS["T9"] * bounds.dense_logdet(n, kappa, 1, logdet, self.arithmetic)

    def inverse_bound(self, xh: Tensor, z: Tensor) -> Array:
        """What a correct ``inverse(z)`` near ``xh`` may err by, entry by entry.

        Infinite where that is beyond the largest number: a gate or scale has vanished.
        """
        errors = []
        for n in range(len(z)):
            X, Z = as_extended(xh[n : n + 1]), as_extended(z[n : n + 1])
            if self.definition is not None:
                J = np.asarray(self.definition.jacobian(X), dtype=np.float64)
                residual = self.definition.local_residual(X, Z, self.arithmetic)
                size = np.asarray(np.broadcast_to(residual, Z.shape), np.float64).reshape(-1)
            else:
                J = self.jacobian(xh[n])
                size = bounds.jacobian_forward(J, X, Z, self.arithmetic)
            errors.append(np.abs(inverse_matrix(J)) @ size)
        bound = np.reshape(errors, xh.shape)
        return np.where(bound <= torch.finfo(xh.dtype).max, bound, np.inf)


def inverse_matrix(J: Array) -> Array:
    """``J^-1``, infinite if singular."""
    try:
        return np.asarray(np.linalg.inv(J))
    except np.linalg.LinAlgError:
        return np.full_like(J, np.inf)
