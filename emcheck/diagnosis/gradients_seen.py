"""Gradients of the four outputs of a layer: what autograd says, what differences say."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from emcheck.bounds import FINITE_DIFFERENCE, FINITE_DIFFERENCE_STEPS
from emcheck.checks.calling import call, forward_of, inverse_of
from emcheck.checks.trial import Trial
from emcheck.diagnosis.attempt import attempts

if TYPE_CHECKING:
    from emcheck.diagnosis.evidence import Evidence

#: Which check judges the gradient of which output.
CHECK_OF = {
    "latent": "gradient_of_latent",
    "logdet": "gradient_of_logdet",
    "inverse": "gradient_of_inverse",
    "inverse logdet": "gradient_of_inverse_logdet",
}


@dataclass(frozen=True)
class Slope:
    """The derivative of one output along a random direction of the input or a parameter.

    ``got`` is by autograd, ``true`` by central differences, ``bound`` what they may differ
    by; ``missing`` says that the gradient is exactly zero or does not exist, ``cut`` that the
    output does not require a gradient at all.
    """

    output: str
    tensor: str
    got: float
    true: float
    bound: float
    missing: bool
    cut: bool

    @property
    def off(self) -> bool:
        return math.isfinite(self.true) and not abs(self.got - self.true) <= self.bound


def slopes(evidence: Evidence) -> tuple[Slope, ...]:
    """All outputs by all tensors, at a small float64 case."""
    case = evidence.subject.clip(replace(evidence.base, batch=2), 3, 3)
    groups = attempts([partial(_of_output, evidence.trial(case), output) for output in CHECK_OF])
    return tuple(slope for group in groups for slope in group)


def _of_output(trial: Trial, output: str) -> list[Slope]:
    layer = copy.deepcopy(trial.layer)
    position = 0 if output in ("latent", "inverse") else 1
    backwards = output.startswith("inverse")
    x = (call(copy.deepcopy(layer), trial.sample(3))[0] if backwards else trial.x).clone()
    run: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]
    run = inverse_of if backwards else forward_of
    generator = trial.case.generator(60)
    with torch.no_grad():
        out = run(layer, x.clone())[position]
    weight = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out)
    size = float((weight * out).abs().sum() + weight.abs().sum() * x[0].numel())

    def scalar() -> Tensor:
        return (weight * run(layer, x)[position]).sum()

    tensors = {"the input": x, **dict(layer.named_parameters())}
    with torch.enable_grad():
        wanted = {name: t for name, t in tensors.items() if name == "the input" or t.requires_grad}
        x.requires_grad_(True)
        value = scalar()
        gradients: tuple[Tensor | None, ...] = (None,) * len(wanted)
        if value.requires_grad:
            gradients = torch.autograd.grad(value, list(wanted.values()), allow_unused=True)
        x.requires_grad_(False)
    found = []
    for (name, tensor), gradient in zip(wanted.items(), gradients, strict=True):
        v = torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor)
        got = 0.0 if gradient is None else float((gradient * v).sum())
        true, bound = _difference(scalar, tensor, v, got, size)
        missing = gradient is None or not bool(gradient.any())
        found.append(Slope(output, name, got, true, bound, missing, not value.requires_grad))
    return found


def _difference(
    scalar: Callable[[], Tensor], tensor: Tensor, v: Tensor, got: float, size: float
) -> tuple[float, float]:
    """The central difference that comes closest to ``got``, and what it may err by."""
    base, best = tensor.detach().clone(), float("nan")
    with torch.no_grad():
        for step in FINITE_DIFFERENCE_STEPS:
            tensor.data.copy_(base + step * v)
            up = float(scalar())
            tensor.data.copy_(base - step * v)
            slope = (up - float(scalar())) / (2 * step)
            if not abs(best - got) <= abs(slope - got):
                best = slope
        tensor.data.copy_(base)
    return best, FINITE_DIFFERENCE * (size + abs(got))
