"""One subject in one case, with everything that several checks need computed once."""

from __future__ import annotations

import copy
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from emcheck import bounds
from emcheck.bounds import THRESHOLDS, Arithmetic
from emcheck.checks.case import Case, Subject
from emcheck.oracle import Definition, as_extended, explicit_jacobian
from emcheck.oracle.precision import Array
from emcheck.styles import move_parameters

_U64 = Arithmetic.of(torch.float64)


class Trial:
    """A built layer with its input, its definition and its Jacobians.

    Layers returned by ``layer`` and ``fresh_copy`` belong to the trial; nothing outside it is
    touched. ``x`` is ``(B, C, H, W)`` in the dtype of the case.
    """

    def __init__(self, subject: Subject, case: Case) -> None:
        self.subject = subject
        self.case = case
        self.arithmetic = Arithmetic.of(case.dtype, case.device)

    def new_layer(self, purpose: int = 1, style: str | None = None) -> nn.Module:
        """A layer built for the case and moved to a style with its own random numbers."""
        case = self.case
        layer = self.subject.build(case).to(device=case.device, dtype=case.dtype)
        self.move(layer, purpose, style)
        return layer

    def move(self, layer: nn.Module, purpose: int, style: str | None = None) -> None:
        """Move the parameters of ``layer`` to a style, in place."""
        style, spec = style or self.case.style, self.subject.spec
        generator = self.case.generator(purpose)
        if spec is None:
            move_parameters(layer, style, generator)
        elif spec.move is not None and style != "initial":
            spec.move(self.subject.unwrap(layer), style, generator)

    @cached_property
    def layer(self) -> nn.Module:
        return self.new_layer()

    @cached_property
    def layer64(self) -> nn.Module:
        """The same layer with its parameters converted to float64."""
        return copy.deepcopy(self.new_layer()).double()

    def sample(self, purpose: int = 2, batch: int | None = None) -> Tensor:
        """Standard normal data of the case's magnitude, ``(B, C, H, W)``."""
        case = self.case
        shape = (case.batch if batch is None else batch, *case.event)
        x = torch.randn(shape, generator=case.generator(purpose), dtype=torch.float64)
        return (x * case.magnitude).to(device=case.device, dtype=case.dtype)

    @cached_property
    def x(self) -> Tensor:
        return self.sample()

    @cached_property
    def latent(self) -> Tensor:
        """A latent to invert: normal numbers for known layers, else the image of other data."""
        # On a copy, so that a layer which keeps its last pair cannot recognise the latent.
        image = call(copy.deepcopy(self.layer), self.sample(3))[0]
        if self.subject.spec is None:
            return image
        z = torch.randn(image.shape, generator=self.case.generator(4), dtype=torch.float64)
        return (z * self.case.magnitude).to(image)

    @cached_property
    def forward(self) -> tuple[Tensor, Tensor]:
        return call(self.layer, self.x)

    @cached_property
    def back(self) -> tuple[Tensor, Tensor]:
        """The inverse of the forward image."""
        return call_inverse(self.layer, self.forward[0])

    @cached_property
    def definition(self) -> Definition | None:
        return self.define(self.layer)

    def define(self, layer: nn.Module, case: Case | None = None) -> Definition | None:
        """The definition at the present parameters of ``layer``."""
        spec = self.subject.spec
        if spec is None:
            return None
        return spec.define(self.subject.unwrap(layer), (case or self.case).event)

    def jacobian(self, x: Tensor, inverse: bool = False) -> Array:
        """The explicit Jacobian at one sample ``x (C, H, W)``, float64."""
        f = self.layer64.inverse if inverse else self.layer64.forward
        return explicit_jacobian(f, x.double())  # type: ignore[arg-type]

    def forward_bound(self, x: Tensor) -> tuple[Array, Array]:
        """What a correct ``forward(x)`` may err by: z entry by entry, and log-det ``(B,)``."""
        if self.definition is not None:
            X = as_extended(x)
            run = self.definition.running(X, np.zeros_like(X), self.arithmetic)
            return np.broadcast_to(run.error, run.value.shape), run.logdet_error
        z, logdet = call(self.layer, x)
        errors, of_logdet = [], []
        for n in range(len(x)):
            J = self.jacobian(x[n])
            size = np.abs(J) @ _flat(x[n]) + _flat(z[n])
            errors.append(THRESHOLDS["T8"] * self.arithmetic.u * size)
            of_logdet.append(
                self.jacobian_logdet_bound(J, float(np.ravel(_flat(logdet))[n % logdet.numel()]))
            )
        return np.reshape(errors, z.shape), np.array(of_logdet)

    def jacobian_logdet_bound(self, J: Array, logdet: float) -> float:
        """Rule T9 with its threshold, for one sample."""
        kappa = condition_number(J)
        return THRESHOLDS["T9"] * bounds.dense_logdet(len(J), kappa, 1, logdet, self.arithmetic)

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
                size = np.abs(J) @ _flat(xh[n]) + _flat(z[n])
                size = size * THRESHOLDS["T8"] * self.arithmetic.u
            errors.append(np.abs(inverse_matrix(J)) @ size)
        bound = np.reshape(errors, xh.shape)
        return np.where(bound <= torch.finfo(xh.dtype).max, bound, np.inf)


def call(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """``layer(x)`` without gradients."""
    with torch.no_grad():
        z, logdet = layer(x)
    return z, logdet


def call_inverse(layer: nn.Module, z: Tensor) -> tuple[Tensor, Tensor]:
    """``layer.inverse(z)`` without gradients."""
    with torch.no_grad():
        x, logdet = layer.inverse(z)  # type: ignore[operator]
    return x, logdet


def _flat(x: Tensor) -> Array:
    return np.abs(np.asarray(as_extended(x), dtype=np.float64).reshape(-1))


def condition_number(J: Array) -> float:
    """2-norm condition number; infinite if singular or not finite."""
    return float(np.linalg.cond(J)) if np.isfinite(J).all() else np.inf


def inverse_matrix(J: Array) -> Array:
    """``J^-1``, infinite if singular."""
    try:
        return np.asarray(np.linalg.inv(J))
    except np.linalg.LinAlgError:
        return np.full_like(J, np.inf)
