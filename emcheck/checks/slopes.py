"""One output of a layer as a function along directions of its input and its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from emcheck._internal.parts import PART, dot, normal_parts, parts, root_mean_square
from emcheck.checks.differences import Difference, central_difference, noise

#: ``output(layer, x)`` is one of the four outputs of a layer, ``(B, ...)``.
Output = Callable[[nn.Module, Tensor], Tensor]

#: The name of the input among those of the tensors.
INPUT = "x"


@dataclass(frozen=True)
class Slopes:
    """A weighted sum of an output, and its derivatives along one direction for each tensor.

    Every evaluation uses a new tensor, and a layer that was never called or answers as if it never
    was: a layer with a memory cannot answer from it.

    Args:
        fresh: a new copy of the layer at the parameters of the case.
        output: the output to differentiate.
        x: the input, ``(B, *event)``; samples with an output that is not finite are left out.
        weight: the weights of the entries of the output.
        directions: by name, as large as what they move.
        gradients: by autograd along these directions; 0 where the graph leads nowhere.
        missing: names of the tensors whose gradient is absent or 0 in every entry.
        size: the sum of the absolute values of the terms.
        attached: whether the output has a graph at all.
        called: the layer that the gradients come from, at the parameters of the case.
    """

    fresh: Callable[[], nn.Module]
    output: Output
    x: Tensor
    weight: Tensor
    directions: dict[str, Tensor]
    gradients: dict[str, float]
    missing: frozenset[str]
    size: float
    attached: bool
    called: nn.Module

    @classmethod
    def of(
        cls, fresh: Callable[[], nn.Module], output: Output, x: Tensor, generator: torch.Generator
    ) -> Slopes | None:
        """Evaluate the output and its gradients; None if no sample has a finite output."""
        with torch.no_grad():
            out = output(fresh(), x.clone())
        if len(out) == len(x):
            finite = out.isfinite().reshape(len(out), -1).all(dim=1)
            x, out = x[finite], out[finite]
        if not len(x) or not bool(out.isfinite().all()):
            return None
        layer = fresh()
        parameters = {n: p for n, p in layer.named_parameters() if p.requires_grad and p.numel()}
        given = x.detach().clone().requires_grad_(True)
        tensors: dict[str, Tensor] = {INPUT: given, **parameters}
        weight = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out)
        with torch.enable_grad():
            value = (weight * output(layer, given.clone())).sum()
        found: list[Tensor | None] = [None] * len(tensors)
        if value.requires_grad:
            found = list(torch.autograd.grad(value, list(tensors.values()), allow_unused=True))
        directions, gradients, missing = {}, {}, set()
        for at, (name, tensor) in enumerate(tensors.items()):
            directions[name] = _direction(tensor, generator)
            gradient, found[at] = found[at], None  # all together are as large as the layer
            gradients[name] = 0.0 if gradient is None else dot(gradient, directions[name])
            if gradient is None or not bool(gradient.any()):
                missing.add(name)
        n = x[0].numel()  # sums inside a log-det have n terms
        size = float((weight * out).abs().sum() + weight.abs().sum() * n)
        told, attached = frozenset(missing), value.requires_grad
        x = x.detach()
        return cls(fresh, output, x, weight, directions, gradients, told, size, attached, layer)

    @property
    def names(self) -> list[str]:
        return list(self.directions)

    @property
    def u(self) -> float:
        """The rounding unit of the output as it is returned."""
        return torch.finfo(self.weight.dtype).eps / 2

    @property
    def precision(self) -> float:
        """How much coarser the output is than float64; 1 for float64."""
        return float(math.sqrt(2 * self.u / torch.finfo(torch.float64).eps))

    def gradient(self, names: Sequence[str]) -> float:
        """Return the slope along ``names`` by autograd; a missing gradient counts as 0."""
        return sum(self.gradients[name] for name in names)

    def difference(self, names: Sequence[str]) -> Difference:
        """Return the same slope by central differences."""
        return central_difference(lambda step: self._at(names, step), self.size, self.u)

    def noise(self, names: Sequence[str], step: float) -> float:
        """Return how much the values scatter along these directions."""
        return noise(lambda moved: self._at(names, moved), step)

    def _at(self, names: Sequence[str], step: float) -> float:
        if self._used is None:
            return self._value(self.fresh(), None, names, step)
        return self._value(self._used, self.called, names, step)

    @cached_property
    def _used(self) -> nn.Module | None:
        """A layer for all evaluations, if a used layer answers like an unused one; else None.

        Copying is slow; a layer with a memory does not pass this test and is copied each time.
        """
        used, fresh, step = self.called, self.fresh(), 2.0**-8
        of_used = self._value(used, fresh, self.names, step)
        for name in self.names:
            if name != INPUT:
                used.get_parameter(name).data.copy_(fresh.get_parameter(name))
        return fresh if self._value(fresh, used, self.names, step) == of_used else None

    def _value(
        self, layer: nn.Module, base: nn.Module | None, names: Sequence[str], step: float
    ) -> float:
        """Return the sum with ``layer`` moved from the parameters of ``base``, or from its own."""
        x = self.x.clone()
        with torch.no_grad():
            for name in self.names:
                tensor = x if name == INPUT else layer.get_parameter(name)
                if base is not None and name != INPUT:
                    tensor.copy_(base.get_parameter(name))
                if name in names:
                    for part, direction in parts(tensor, self.directions[name]):
                        part.add_((step * direction).to(part))
            return float((self.weight * self.output(layer, x)).sum())


def _direction(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Draw normal numbers as large as the entries of ``tensor`` (1 where they are all 0)."""
    dtype = torch.float64 if tensor.numel() <= PART else torch.float32  # exact in either
    direction = torch.empty(tensor.shape, dtype=dtype)
    for part, drawn in normal_parts(direction, generator):
        part.copy_(drawn)
    size = root_mean_square(tensor)
    return direction.to(tensor.device).mul_(max(size, 2.0**-4) if size else 1.0)
