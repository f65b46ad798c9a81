"""torch's convolution, padding modes and dilation, against its definition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from emcheck.doctor import bounds
from emcheck.doctor.bounds import COMPONENTWISE, Array
from emcheck.doctor.case import Case


@dataclass(frozen=True)
class Shape:
    """The sizes of a case: ``x`` is ``(B, C, H, W)``, ``w`` is ``(C, C, k, k)``, dilation ``D``."""

    B: int
    C: int
    H: int
    W: int
    k: int
    D: int = 1

    def __str__(self) -> str:
        return f"{self.B}x{self.C}x{self.H}x{self.W} k={self.k} D={self.D}"

    @property
    def reach(self) -> int:
        return (self.k - 1) // 2 * self.D


SHAPES = (
    Shape(2, 3, 8, 8, 3),
    Shape(1, 1, 5, 7, 5),
    Shape(3, 4, 9, 6, 3, D=2),
    Shape(2, 2, 13, 7, 3, D=3),
    Shape(8, 12, 16, 16, 3),
    Shape(2, 6, 8, 9, 7),
    Shape(2, 5, 4, 4, 1),
    Shape(2, 48, 8, 8, 3),
)


def _taps(shape: Shape, wide: Array) -> Iterator[tuple[int, int, Array]]:
    """Yield each tap ``(a, b)`` with the window of the padded image that it multiplies."""
    for a, b in np.ndindex(shape.k, shape.k):
        i, j = a * shape.D, b * shape.D
        yield a, b, wide[..., i : i + shape.H, j : j + shape.W]


def _definition(shape: Shape, x: Array, w: Array, mode: str) -> Array:
    """``z[o,i,j] = sum_{c,a,b} w[o,c,a,b] x[c, i+(a-r)D, j+(b-r)D]`` in extended precision."""
    margin = (shape.reach, shape.reach)
    wide = np.pad(x.astype(np.longdouble), ((0, 0), (0, 0), margin, margin), mode=mode)  # type: ignore[call-overload]
    z = sum(
        np.einsum("oc,bchw->bohw", w[:, :, a, b].astype(np.longdouble), window)
        for a, b, window in _taps(shape, wide)
    )
    return np.asarray(z)


def _gradients(shape: Shape, x: Array, w: Array, g: Array) -> tuple[Array, Array]:
    """The gradients of ``sum(g z)`` for zero padding with respect to x and w, by definition."""
    r = shape.reach
    margin = ((0, 0), (0, 0), (r, r), (r, r))
    wide = np.pad(x.astype(np.longdouble), margin)
    gx, gw = np.zeros_like(wide), np.zeros(w.shape, np.longdouble)
    for a, b, window in _taps(shape, gx):
        window += np.einsum("oc,bohw->bchw", w[:, :, a, b].astype(np.longdouble), g)
    for a, b, window in _taps(shape, wide):
        gw[:, :, a, b] = np.einsum("bohw,bchw->oc", g, window)
    return gx[..., r : r + shape.H, r : r + shape.W], gw


def _forward(shape: Shape, dtype: str, x: Array, w: Array) -> Iterator[Case]:
    """Compare both padding modes in both memory layouts."""
    u, terms = bounds.unit_roundoff(dtype), shape.C * shape.k**2
    for mode, torch_mode in (("constant", "constant"), ("wrap", "circular")):
        true = _definition(shape, x, w, mode)
        absolute = _definition(shape, np.abs(x), np.abs(w), mode)
        for layout in (torch.contiguous_format, torch.channels_last):
            image = torch.tensor(x).contiguous(memory_format=layout)
            weight = torch.tensor(w).contiguous(memory_format=layout)
            padded = F.pad(image, (shape.reach,) * 4, mode=torch_mode)
            z = F.conv2d(padded, weight, dilation=shape.D).numpy()
            ratio = bounds.sum_ratio(z, true, absolute, terms, u)
            yield Case(f"{torch_mode} {shape} {dtype} {layout}", ratio, COMPONENTWISE)


def _backward(shape: Shape, dtype: str, x: Array, w: Array) -> Iterator[Case]:
    """Compare the convolution's own zero padding and its gradients."""
    g = np.roll(x, 1, axis=-1)
    image, weight = (torch.tensor(array, requires_grad=True) for array in (x, w))
    z = F.conv2d(image, weight, padding=shape.reach, dilation=shape.D)
    found = (z.detach(), *torch.autograd.grad(z, (image, weight), torch.tensor(g)))
    ax, aw, ag = np.abs(x), np.abs(w), np.abs(g)
    true = (_definition(shape, x, w, "constant"), *_gradients(shape, x, w, g))
    absolute = (_definition(shape, ax, aw, "constant"), *_gradients(shape, ax, aw, ag))
    terms = (shape.C * shape.k**2, shape.C * shape.k**2, shape.B * shape.H * shape.W)
    u = bounds.unit_roundoff(dtype)
    for index, label in enumerate(("padding", "grad x", "grad w")):
        output = found[index].numpy()
        ratio = bounds.sum_ratio(output, true[index], absolute[index], terms[index], u)
        yield Case(f"{label} {shape} {dtype}", ratio, COMPONENTWISE)


def conv() -> Iterator[Case]:
    """conv2d in float32 and float64: zero and circular padding, dilation, layout, gradients."""
    for shape in SHAPES:
        generator = np.random.default_rng(shape.H)
        x = generator.standard_normal((shape.B, shape.C, shape.H, shape.W))
        w = generator.standard_normal((shape.C, shape.C, shape.k, shape.k))
        for dtype in ("float64", "float32"):
            yield from _forward(shape, dtype, x.astype(dtype), w.astype(dtype))
            yield from _backward(shape, dtype, x.astype(dtype), w.astype(dtype))
