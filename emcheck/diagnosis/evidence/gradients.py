"""Gradients of the four outputs of a layer, by autograd and by differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn

from emcheck.bounds import DIFFERENCE_SPREAD, FINITE_DIFFERENCE
from emcheck.checks.calling import forward_of, inverse_of
from emcheck.checks.differences import Quality
from emcheck.checks.slopes import INPUT, Slopes
from emcheck.checks.trial import Trial
from emcheck.diagnosis.evidence.attempt import attempts
from emcheck.diagnosis.evidence.scene import Scene

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

    ``got`` is by autograd, ``true`` by central differences, ``bound`` the most by which they may
    differ; ``missing`` says that the gradient is exactly 0 or does not exist, ``cut`` that the
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


def slopes(scene: Scene) -> tuple[Slope, ...]:
    """Return the slope of every output for every tensor, in a small float64 case."""
    case = scene.subject.clip(replace(scene.base, batch=2), 3, 3)
    groups = attempts([partial(_of_output, scene.trial(case), output) for output in CHECK_OF])
    return tuple(slope for group in groups for slope in group)


def _of_output(trial: Trial, output: str) -> list[Slope]:
    position = 0 if output in ("latent", "inverse") else 1
    backwards = output.startswith("inverse")
    x = trial.latent if backwards else trial.x
    run: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]
    run = inverse_of if backwards else forward_of
    found = Slopes.of(
        trial.new_layer, lambda layer, x: run(layer, x)[position], x, trial.case.generator(60)
    )
    if found is None or found.weight.dtype != x.dtype:
        return []  # nothing finite to judge, or rounded: that is another cause
    slopes = []
    for name in found.names:
        got, true = found.gradient([name]), found.difference([name])
        missing = name in found.missing
        bound = FINITE_DIFFERENCE * (found.size + abs(got)) * found.precision
        bound += DIFFERENCE_SPREAD * true.spread
        told = "the input" if name == INPUT else name
        value = true.value if true.quality is Quality.GOOD else math.nan
        slopes.append(Slope(output, told, got, value, bound, missing, not found.attached))
    return slopes
