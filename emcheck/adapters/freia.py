"""Modules, sequences and graphs of FrEIA as layers of the contract."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from emcheck.adapters.core import (
    Adapted,
    Logdet,
    class_name,
    lacking,
    lacking_by_design,
)
from emcheck.guard import one_line

Shape = tuple[int, ...]

#: What modules lack according to their documentation; all are built for the sizes of their inputs.
BY_DESIGN = {
    "InvertibleModule": frozenset({"other_sizes"}),
    "IResNetLayer": frozenset({"exact_inverse", "exact_logdet", "free_parameters"}),
    "OrthogonalTransform": frozenset({"free_parameters"}),
}


class FreiaLayer(Adapted):
    """A module of FrEIA: lists of tensors in and out, ``rev=True`` for the inverse.

    A side with one tensor keeps its shape. Several tensors on a side are flattened and put
    next to each other, ``(B, n)``, in the library's order.

    Args:
        layer: the module.
        inputs, outputs: the shapes on either side, without the batch; used only if several.
    """

    first_batch = frozenset({("FrEIA.modules", "ActNorm")})

    def __init__(self, layer: nn.Module, inputs: list[Shape], outputs: list[Shape]) -> None:
        lacks = lacking_by_design(map(type, layer.modules()), BY_DESIGN)
        super().__init__(class_name(layer), lacks)
        self.layer = layer
        self.inputs = inputs
        self.outputs = outputs
        if any(map(_is_rounded, layer.modules())):
            self.widest = torch.float32

    def forward(self, x: Tensor) -> tuple[Tensor, Logdet]:
        try:
            outputs, logdet = self.layer(_split(x, self.inputs), rev=False, jac=True)
        except NotImplementedError as error:
            raise lacking(self, "forward", error) from error
        return self._join(outputs, len(self.outputs)), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Logdet | None]:
        try:
            inputs, logdet = self.layer(_split(z, self.outputs), rev=True, jac=True)
        except NotImplementedError as error:
            raise lacking(self, "inverse", error) from error
        return self._join(inputs, len(self.inputs)), logdet

    def _join(self, value: Any, count: int) -> Tensor:
        parts = [value] if isinstance(value, Tensor) else list(value)
        if len(parts) != count:
            raise ValueError(f"expected {count} tensors from {self.name}, got {len(parts)}")
        return parts[0] if count == 1 else torch.cat([part.flatten(1) for part in parts], dim=1)


def adapt(layer: Any) -> Adapted:
    """Return an adapter for a module, a ``SequenceINN`` or a ``GraphINN``.

    Raises:
        ValueError: a conditional module, no module of FrEIA, or one that does not know the shapes
            of its outputs.
    """
    from FrEIA.modules import InvertibleModule

    name = class_name(layer)
    if not isinstance(layer, InvertibleModule):
        raise ValueError(f"expected a module of FrEIA, got {name}")
    if layer.dims_c or any(c is not None for c in getattr(layer, "conditions", ())):
        raise ValueError(
            f"expected an unconditional module, got {name} with dims_c: "
            "adapt(layer, forward=lambda layer, x: ...) can pass a condition that layer stores"
        )
    inputs = _shapes(layer.dims_in)
    return FreiaLayer(layer, inputs, _output_shapes(layer, inputs))


def _is_rounded(module: Any) -> bool:
    """Whether an orthogonal matrix was computed and rounded to float32 when it was built."""
    name = type(module).__name__
    if name == "AllInOneBlock":
        matrix = getattr(module, "w_perm", None)  # None where it is computed from reflections
        return matrix is not None and not bool(((matrix == 0) | (matrix == 1)).all())
    return name == "OrthogonalTransform" or (name == "HouseholderPerm" and bool(module.fixed))


def _output_shapes(layer: Any, inputs: list[Shape]) -> list[Shape]:
    if hasattr(layer, "global_out_shapes"):
        return _shapes(layer.global_out_shapes)
    if hasattr(layer, "shapes"):
        return [tuple(layer.shapes[-1])]
    try:
        return _shapes(layer.output_dims(inputs))
    except Exception as error:  # upsampling stores the shape of its output as that of its input
        if len(inputs) == 1:
            return [()]
        name, got = class_name(layer), one_line(error)
        raise ValueError(f"expected output_dims of {name} to give shapes, got {got}") from error


def _shapes(dims: Sequence[Any]) -> list[Shape]:
    """Return a list of shapes; some modules store their only shape without a list."""
    if all(isinstance(size, int) for size in dims):
        return [tuple(dims)]
    return [tuple(shape) for shape in dims]


def _split(value: Tensor, shapes: list[Shape]) -> list[Tensor]:
    if len(shapes) == 1:
        return [value]
    parts = value.split([math.prod(shape) for shape in shapes], dim=1)
    return [part.reshape(len(value), *s) for part, s in zip(parts, shapes, strict=True)]
