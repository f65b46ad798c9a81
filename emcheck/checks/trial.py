"""One subject in one case, with everything that several checks need computed once."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from emcheck import bounds
from emcheck._internal.copying import copy_layer
from emcheck.adapters import Adapted
from emcheck.bounds import MOST_EXPLICIT, THRESHOLDS, Arithmetic
from emcheck.checks.calling import Pair, call, call_inverse, forward_of, inverse_of
from emcheck.checks.case import Case, Subject
from emcheck.checks.unsupported import Unsupported
from emcheck.oracle import (
    Definition,
    Differences,
    Probed,
    as_extended,
    explicit_jacobian,
    jacobian_by_differences,
    probe_jacobian,
    singular_extremes,
)
from emcheck.oracle.precision import Array
from emcheck.specs.parameter_styles import move_parameters, optimise, step_parameters

T = TypeVar("T")

#: Parameters up to which the layer of a case is kept for the next check; a larger one is built
#: anew, so that memory follows one layer and not their number.
MOST_KEPT = 200_000


class Trial:
    """A built layer with its input, its definition and its Jacobians.

    Layers returned by ``layer`` and ``new_layer`` belong to the trial; nothing outside it is
    touched. ``x`` is ``(B, *event)`` in the dtype of the case.
    """

    def __init__(self, subject: Subject, case: Case) -> None:
        self.subject = subject
        self.case = case
        self.arithmetic = Arithmetic.of(case.dtype, case.device)
        if isinstance(subject.original, Adapted):
            self.arithmetic = self.arithmetic.coarser(subject.original.units)

    def has(self, capability: str) -> bool:
        """Whether the layer offers a capability, as far as is known."""
        return capability not in self.subject.lacks and capability not in self.subject.broken

    @property
    def is_large(self) -> bool:
        """Whether a second copy of the layer, or of its gradients, is worth avoiding."""
        return self.subject.parameter_count > MOST_KEPT

    def new_layer(self, purpose: int = 1, style: str | None = None) -> nn.Module:
        """A layer built for the case and moved to a style with its own random numbers."""
        if self.subject.memo is None or self.is_large:
            return self._built(purpose, style)
        key = ("layer", purpose, style)
        return copy_layer(self._remembered(key, lambda: self._built(purpose, style)))

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
        elif style != "initial":
            inner = self.subject.unwrap(layer)
            if spec.move is not None:
                spec.move(inner, moved, generator)
            else:
                step_parameters(inner, moved, generator)
        if style == "optimised":
            optimise(layer, forward_of, self.sample(40 + purpose, batch=8))

    @cached_property
    def layer(self) -> nn.Module:
        return self.new_layer()

    @cached_property
    def layer64(self) -> nn.Module:
        """The same layer with its parameters converted to float64.

        One that does not answer in float64 stays as it is: that is another result's finding.
        A large one that is in float64 already is not built twice.
        """
        if self.is_large and self.case.dtype == torch.float64:
            return self.layer
        layer = self.new_layer()
        return layer.double() if self.subject.doubles else layer

    @property
    def widest(self) -> torch.dtype:
        """The dtype in which Jacobians are formed."""
        return torch.float64 if self.subject.doubles else self.case.dtype

    def sample(self, purpose: int = 2, batch: int | None = None) -> Tensor:
        """Data of the case's magnitude, ``(B, *event)``: standard normal, or drawn by the user."""
        case = self.case
        B = case.batch if batch is None else batch
        generator = case.generator(purpose)
        if self.subject.draw is None:
            x = torch.randn((B, *case.event), generator=generator, dtype=torch.float64)
        else:
            x = self.subject.draw(B, case.event, generator)
        if self.subject.tail and case.magnitude != 1:  # a context is no data: it stays as drawn
            widths = torch.full(x.shape[1:], case.magnitude, dtype=x.dtype)
            widths[-self.subject.tail :] = 1
            return (x * widths).to(device=case.device, dtype=case.dtype)
        return (x * case.magnitude).to(device=case.device, dtype=case.dtype)

    @cached_property
    def x(self) -> Tensor:
        return self.sample()

    @cached_property
    def latent(self) -> Tensor:
        """A latent to invert: normal numbers for known layers, else the image of other data."""
        # On a copy, so that a layer which keeps its last pair cannot recognise the latent.
        image = self._remembered(("image",), lambda: call(self.new_layer(), self.preimage)[0])
        if self.subject.spec is None:
            return image.clone()
        z = torch.randn(image.shape, generator=self.case.generator(4), dtype=torch.float64)
        return (z * self.case.magnitude).to(image)

    @cached_property
    def preimage(self) -> Tensor:
        """The data of which the latent is the image, for layers of unknown make."""
        return self.sample(3)

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

    def jacobian(self, x: Tensor, inverse: bool = False) -> Array:
        """The explicit Jacobian at one sample ``x (*event)``, ``(n, n)`` in float64.

        That of an inverse without gradients is the inverse of the forward one. Where calls
        know no derivatives it is by differences, see ``jacobian_arithmetic``.

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
        """By the means of the library that a layer is written in; by autograd if that is torch."""
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
        """The arithmetic in which the Jacobian at ``x (*event)`` is known.

        That of the layer; coarser where the Jacobian is by differences, by what they may be off.
        """
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
        """``dx/dz``, by autograd only where nothing better is to be had.

        Where forward maps ``inverse(z)`` back to ``z``, the Jacobian of the inverse is the
        inverse of forward's, whatever graph the inverse has. An inverse that does not undo
        forward is differentiated, or, without a graph, moved along every axis.
        """
        if self.subject.is_defined and not self.subject.lacks:
            return self.by_autograd(z)
        layer, wide = self.layer64, z.to(self.widest)[None]
        xh = call_inverse(layer, wide)[0]
        back = call(self.new_layer().to(self.widest), xh)[0]
        size = float(wide.norm())
        if bool((back - wide).norm() <= bounds.INVERTED * size):
            return inverse_matrix(self.jacobian(xh[0]))
        differences = isinstance(layer, Adapted) and layer.by_differences
        if differences or self.has("inverse_gradient"):
            return self.by_autograd(z)
        return self._by_columns(z)

    def by_autograd(self, z: Tensor) -> Array:
        """``dx/dz`` as the graph of the inverse has it, right or wrong."""
        return self._by_layer(z, inverse=True)

    def _by_columns(self, z: Tensor) -> Array:
        """Central differences of the inverse along every axis, ``(n, n)``."""
        flat = z.to(self.widest).reshape(-1)
        step = flat.abs().clamp(min=1.0) * torch.finfo(self.widest).eps ** (1 / 3)
        up, down = flat + step.diag(), flat - step.diag()
        rows = torch.cat([up, down]).reshape(-1, *z.shape)
        moved = call_inverse(self.layer64, rows)[0].double().reshape(2, len(flat), -1)
        columns = (moved[0] - moved[1]) / (up - down).diagonal()[:, None]
        return np.asarray(columns.T.numpy(), dtype=np.float64)

    def reference(self, x: Tensor) -> Pair:
        """``forward(x)`` of the same layer in float64, for what float32 cannot show."""
        return call(self.layer64, x.to(self.widest))

    def judgeable(self, x: Tensor, z: Tensor, inverse: bool = False) -> tuple[float, bool]:
        """The condition of one sample ``(*event)``, and whether it is too ill to be judged.

        Besides ``s_max / s_min`` of the Jacobian it counts how much a relative change of the
        output moves the input, ``|z| / (s_min |x|)``: an output that saturates is badly
        conditioned even where all singular values are equally small.
        """
        largest, smallest = self.singular_extremes(x, inverse)
        size_of_x, size_of_z = (float(v.double().norm()) for v in (x, z))
        kappa = largest / smallest if smallest > 0 else math.inf
        if not self.subject.is_defined and smallest > 0 and size_of_x > 0:
            kappa = max(kappa, size_of_z / (smallest * size_of_x))
        kappa = math.inf if math.isnan(kappa) else kappa
        return kappa, bounds.too_ill(kappa, self.jacobian_arithmetic(x, inverse).u)

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

    @cached_property
    def terms(self) -> int:
        """The length of the longest sum that a matrix or kernel of the layer is summed in."""
        kernels = [p for p in self.layer.parameters() if p.dim() > 1 and p.numel()]
        return max((max(len(p), p.numel() // len(p)) for p in kernels), default=1)

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
            kappa, ill = self.judgeable(x[n], z[n])
            parts = J, as_extended(x[n]), as_extended(z[n])
            errors.append(bounds.jacobian_forward(*parts, u, self.terms))
            unit = self.jacobian_logdet_unit(len(J), kappa, float(logdet[n]))
            of_logdet.append(math.inf if ill else unit)
        return np.reshape(errors, z.shape), np.array(of_logdet)

    def jacobian_logdet_unit(self, n: int, kappa: float, logdet: float) -> float:
        """Rule T9 with its threshold for ``n`` dimensions and a condition number."""
        return THRESHOLDS["T9"] * bounds.dense_logdet(n, kappa, 1, logdet, self.arithmetic)

    def inverse_bound(self, xh: Tensor, z: Tensor) -> Array:
        """What a correct ``inverse(z)`` near ``xh`` may err by, entry by entry.

        Infinite where that is beyond the largest number: a gate or scale has vanished.
        """
        errors = []
        for n in range(len(z)):
            if self.definition is None and not self._can_bound(xh[n], z[n]):
                errors.append(np.full(xh[n].shape, np.inf).reshape(-1))
                continue
            X, Z = as_extended(xh[n : n + 1]), as_extended(z[n : n + 1])
            if self.definition is not None:
                J = np.asarray(self.definition.jacobian(X), dtype=np.float64)
                residual = self.definition.local_residual(X, Z, self.arithmetic)
                size = np.asarray(np.broadcast_to(residual, Z.shape), np.float64).reshape(-1)
            else:
                J = self.jacobian(xh[n])
                size = bounds.jacobian_forward(J, X, Z, self.arithmetic, self.terms)
            errors.append(np.abs(inverse_matrix(J)) @ size)
        bound = np.reshape(
            np.stack([np.asarray(e, np.float64).reshape(-1) for e in errors])
            if errors
            else np.zeros(0),
            xh.shape,
        )
        bound = bound + self.inverse_accuracy
        return np.where(bound <= torch.finfo(xh.dtype).max, bound, np.inf)

    @cached_property
    def inverse_accuracy(self) -> float:
        """What an inverse of finite accuracy may differ by in an entry, 0 for an exact one.

        The sample that needs most steps may decide for its batch, so a sample alone stops
        elsewhere: as far from the truth as samples alone are, a few times over.
        """
        if self.has("exact_inverse"):
            return 0.0
        layer, x, z = self.new_layer(), self.x, self.forward[0]
        alone = torch.cat([call_inverse(layer, row)[0] for row in z.split(1)]) if len(z) else x
        declared = self.subject.tolerance
        stated = 0.0 if declared is None or callable(declared) else declared
        stated *= bounds.TOLERANCES_OFF * (1 + float(x.abs().max())) if len(x) else 0.0
        off = float((alone - x).abs().max()) if len(x) else 0.0
        return bounds.LAST_STEPS * off + stated if math.isfinite(off) else math.inf

    def _can_bound(self, xh: Tensor, z: Tensor) -> bool:
        """Whether the Jacobian at ``xh`` says anything of what the inverse may err by."""
        finite = bool(xh.isfinite().all()) and bool(z.isfinite().all())
        return finite and not self.judgeable(xh, z)[1]


def inverse_matrix(J: Array) -> Array:
    """``J^-1``, infinite if singular."""
    try:
        return np.asarray(np.linalg.inv(J))
    except np.linalg.LinAlgError:
        return np.full_like(J, np.inf)
