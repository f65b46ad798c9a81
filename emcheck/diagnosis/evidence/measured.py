"""Measurements that several hypotheses share, each made on first use."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer
from emcheck.bounds import THRESHOLDS, Arithmetic, dense_logdet
from emcheck.checks.calling import call, call_inverse
from emcheck.diagnosis.consequences import UNDONE
from emcheck.diagnosis.evidence.attempt import attempt
from emcheck.diagnosis.evidence.gradients import Slope, slopes
from emcheck.diagnosis.evidence.jacobians import Maps, measure_maps
from emcheck.diagnosis.evidence.logdets import LogdetExample, logdet_examples
from emcheck.diagnosis.evidence.scene import LARGEST, Scene
from emcheck.diagnosis.evidence.sizes import SizeVerdict, size_verdicts

#: Heights of images with pixels out of reach of the border for a kernel of size 7, 5 or 3.
_WIDE = (8, 6, 4)

OUTPUTS = ("latent", "logdet", "inverse", "inverse logdet")


class Evidence(Scene):
    """The measurements on a failing layer, each made on first use."""

    @cached_property
    def logdets(self) -> tuple[LogdetExample, ...]:
        """Log-dets of forward next to those of the explicit Jacobian."""
        return logdet_examples(self, inverse=False)

    @cached_property
    def inverse_logdets(self) -> tuple[LogdetExample, ...]:
        """The same for the inverse; empty if it returns ``x`` alone, or if only ``x`` is wrong.

        Where forward's log-det is right, and that of an inverse with wrong values is minus it at
        what the inverse returns, the values are to blame.
        """
        if not self.trial().has("inverse_logdet"):
            return ()
        found = logdet_examples(self, inverse=True)
        wrong = self.failing & set(UNDONE) and not any(e.off.any() for e in self.logdets)
        return () if wrong and all(e.fits(-e.opposite_there) for e in found) else found

    @cached_property
    def maps(self) -> tuple[Maps, ...]:
        """Jacobians of both directions, and of the definition where there is one."""
        return measure_maps(self, self.spread[:3])

    @cached_property
    def wide_maps(self) -> tuple[Maps, ...]:
        """The same for images large enough to have pixels far from the border."""
        C, *space = self.base.event
        if len(space) != 2:
            return ()
        step, C = self.subject.multiple(self.base), min(C, self.subject.fewest_channels(self.base))
        for side in _WIDE:
            event = (C, -(-side // step) * step, -(-(side + 1) // step) * step)
            if math.prod(event) <= 2 * LARGEST:
                break
        cases = [replace(self.base, event=event, seed=self.base.seed + n, batch=1) for n in (1, 2)]
        return measure_maps(self, [case for case in cases if self.accepts(case)]) or self.maps

    @cached_property
    def sizes(self) -> tuple[SizeVerdict, ...]:
        """Verdicts over a grid of image sizes."""
        return size_verdicts(self)

    @cached_property
    def slopes(self) -> tuple[Slope, ...]:
        """Gradients of the four outputs by autograd next to central differences."""
        return slopes(self)

    def outputs(self, layer: nn.Module, x: Tensor, z: Tensor) -> dict[str, Tensor]:
        """The four outputs by name; an output whose call raises is left out."""
        found: dict[str, Tensor] = {}
        for names, run, given in ((OUTPUTS[:2], call, x), (OUTPUTS[2:], call_inverse, z)):
            answer = attempt(partial(run, layer, given.clone()))
            found.update(zip(names, answer or (), strict=False))
        return found

    def alike(self, a: Tensor, b: Tensor) -> bool:
        """Whether they are equal up to rounding, relative to the largest entry (T9, normwise)."""
        size = max(float(a.abs().max()), float(b.abs().max()))
        return bool(((a - b).abs() <= self.unit * size).all())

    @cached_property
    def unit(self) -> float:
        """``n kappa u`` of the base case with the threshold of T9."""
        condition = max((m.condition for m in self.maps), default=1.0)
        n = math.prod(self.base.event)
        return THRESHOLDS["T9"] * dense_logdet(n, condition, 1, 0.0, Arithmetic.of(torch.float64))

    @cached_property
    def sample_pair(self) -> tuple[Tensor, Tensor]:
        """Data of the base case and a latent to invert."""
        trial = self.trial()
        return trial.x, call(copy_layer(trial.layer), trial.sample(3))[0]
