"""One output of a layer as a function along directions of its input and its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from emcheck.checks.differences import Difference, central_difference, noise

#: ``output(layer, x)`` is one of the four outputs of a layer, ``(B, ...)``.
Output = Callable[[nn.Module, Tensor], Tensor]

#: The input among the names of tensors.
INPUT = "x"


@dataclass(frozen=True)
class Slopes:
    """A weighted sum of an output, and its derivatives along one direction for each tensor.

    Every evaluation has a tensor that was never seen, and a layer that was never called or one
    that answers as if it never was: a layer with a memory cannot answer from it.

    Args:
        fresh: a new copy of the layer at the parameters of the case.
        output: which output.
        x: the input, ``(B, *event)``; samples with an output that is not finite are left out.
        weight: of the entries of the output.
        directions: by name; as large as what they move.
        gradients: by autograd; None where the graph does not lead to a tensor.
        size: the summed absolute values that the sum is made of.
        attached: whether the output has a graph at all.
    """

    fresh: Callable[[], nn.Module]
    output: Output
    x: Tensor
    weight: Tensor
    directions: dict[str, Tensor]
    gradients: dict[str, Tensor | None]
    size: float
    attached: bool

    @classmethod
    def of(
        cls, fresh: Callable[[], nn.Module], output: Output, x: Tensor, generator: torch.Generator
    ) -> Slopes | None:
        """None where no sample has a finite output."""
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
        found: Sequence[Tensor | None] = [None] * len(tensors)
        if value.requires_grad:
            found = torch.autograd.grad(value, list(tensors.values()), allow_unused=True)
        directions = {name: _direction(t, generator) for name, t in tensors.items()}
        n = x[0].numel()  # sums inside a log-det have n terms
        size = float((weight * out).abs().sum() + weight.abs().sum() * n)
        gradients = dict(zip(tensors, found, strict=True))
        return cls(
            fresh, output, x.detach(), weight, directions, gradients, size, value.requires_grad
        )

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
        """Along the directions of ``names``, by autograd; a missing gradient counts as zero."""
        total = 0.0
        for name in names:
            gradient = self.gradients[name]
            if gradient is not None:
                total += float((gradient.double() * self.directions[name].double()).sum())
        return total

    def difference(self, names: Sequence[str]) -> Difference:
        """The same by central differences."""
        return central_difference(lambda step: self._at(names, step), self.size, self.u)

    def noise(self, names: Sequence[str], step: float) -> float:
        """How much the values scatter along these directions, whatever their size."""
        return noise(lambda moved: self._at(names, moved), step)

    def _at(self, names: Sequence[str], step: float) -> float:
        return self._value(self._used or self.fresh(), names, step)

    @cached_property
    def _used(self) -> nn.Module | None:
        """One layer for all evaluations, where one that was called answers like one that was not.

        Copying is what costs; a layer with a memory does not pass this, and is copied.
        """
        layer, names = self.fresh(), self.names
        self._value(layer, names, 0.0)
        step = 2.0**-8
        same = self._value(layer, names, step) == self._value(self.fresh(), names, step)
        return layer if same else None

    def _value(self, layer: nn.Module, names: Sequence[str], step: float) -> float:
        x = self.x.clone()
        moved = {n: x if n == INPUT else layer.get_parameter(n) for n in names}
        with torch.no_grad():
            kept = {name: tensor.clone() for name, tensor in moved.items()}
            for name, tensor in moved.items():
                tensor.add_((step * self.directions[name]).to(tensor))
            try:
                return float((self.weight * self.output(layer, x)).sum())
            finally:
                for name, tensor in moved.items():
                    tensor.copy_(kept[name])


def _direction(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Normal numbers as large as the entries of ``tensor`` are (1 where they are all 0)."""
    v = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
    size = float(tensor.detach().double().square().mean().sqrt())
    return v.to(tensor.device) * (max(size, 2.0**-4) if size else 1.0)
