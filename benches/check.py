"""The check before the timing: one sample of the batch against the layer's definition.

It is matrix-free and in extended precision, whatever the size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benches.workbench import Subject
from emcheck.bounds import Arithmetic, Measure
from emcheck.contract import Event
from emcheck.oracle import Definition, as_extended
from emcheck.result import excess
from emcheck.specs.core import Trait, spec_of


def measure(subject: Subject, operation: str, output: object, arithmetic: Arithmetic) -> Measure:
    """Return error over bound of what an operation returned, at the last sample of the batch."""
    definition, x = subject.definition, as_extended(subject.x[-1:])
    if operation == "log_det":
        assert isinstance(output, Tensor)
        return definition.logdet_error(x, as_extended(output[-1:]), arithmetic)
    assert isinstance(output, tuple)
    if operation == "forward":
        return definition.forward_error(x, as_extended(output[0][-1:]), arithmetic)
    return inverse_error(subject.layer, definition, subject.z, output[0], arithmetic)


def inverse_error(
    layer: nn.Module, definition: Definition, z: Tensor, xh: Tensor, arithmetic: Arithmetic
) -> Measure:
    """Return the backward error of ``xh`` as the inverse of ``z``, last sample, matrix-free.

    That of a composition is the worst of its parts: with ``y_L = z`` and ``y_{l-1}`` the inverse of
    part ``l`` at ``y_l``, part ``l`` is measured at ``(y_l, y_{l-1})``. For the first part ``y_0``
    is what the composition itself returned, so that anything it does besides its parts is measured
    too. The whole batch is inverted, because matrix products round differently with its size.
    """
    spec = spec_of(layer)
    if spec is None or Trait.COMPOSED not in spec.traits:
        return definition.backward_error(as_extended(z[-1:]), as_extended(xh[-1:]), arithmetic)
    parts = list(layer.get_submodule("layers").children())
    with torch.no_grad():
        values = _undone(parts, z)
    values[0] = xh
    measures = []
    for part, before, after in zip(parts, values, values[1:], strict=False):
        own = _define(part, before)
        measures.append(inverse_error(part, own, after, before, arithmetic))
    return max(measures, key=lambda measure: excess(measure.ratio, measure.threshold))


def _define(part: nn.Module, x: Tensor) -> Definition:
    spec = spec_of(part)
    if spec is None:
        raise ValueError(f"expected parts with a definition, got {type(part).__name__}")
    _, C, H, W = x.shape
    event: Event = C, H, W
    return spec.define(part, event)


def _undone(parts: list[nn.Module], z: Tensor) -> list[Tensor]:
    """Return ``y_0, ..., y_L`` with ``y_L = z``, from the parts' own inverses, last part first."""
    values = [z]
    for part in reversed(parts):
        values.append(part.inverse(values[-1])[0])  # type: ignore[operator]
    return values[::-1]
