"""Squeeze: space to channels."""

from __future__ import annotations

import torch
from torch import Tensor

from emcheck.contract import InvertibleLayer, validate_images, validate_positive


class Squeeze2d(InvertibleLayer):
    """``(C, H, W) -> (f^2 C, H/f, W/f)``: each ``f x f`` block of pixels becomes channels.

    Output channel ``c f^2 + a f + b`` at ``(i, j)`` is input channel ``c`` at
    ``(i f + a, j f + b)``.

    Log-det: 0.

    Cost: one copy.

    Reference: Dinh, Sohl-Dickstein, Bengio, Density estimation using Real NVP, 2016,
    arXiv 1605.08803, section 3.6.

    Args:
        factor: ``f``, at least 1, must divide H and W.
        generator: not used; every layer takes it.

    Raises:
        ValueError: input that is not ``(B, C, H, W)``, or sizes that ``f`` does not divide.

    >>> import torch
    >>> Squeeze2d()(torch.arange(4.0).reshape(1, 1, 2, 2))[0].flatten()
    tensor([0., 1., 2., 3.])
    """

    def __init__(self, factor: int = 2, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.factor = validate_positive("factor", factor)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.log_det(x)
        # Not pixel_unshuffle, which returns an empty batch in the shape of its input.
        (B, C, H, W), f = x.shape, self.factor
        blocks = x.reshape(B, C, H // f, f, W // f, f).permute(0, 1, 3, 5, 2, 4)
        return blocks.reshape(B, C * f * f, H // f, W // f), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        validate_images(z, None)
        if z.shape[1] % self.factor**2:
            wanted = f"(B, C, H, W) with C a multiple of {self.factor**2}"
            raise ValueError(f"expected {wanted}, got {tuple(z.shape)}")
        (B, C, H, W), f = z.shape, self.factor
        blocks = z.reshape(B, C // f**2, f, f, H, W).permute(0, 1, 4, 2, 5, 3)
        return blocks.reshape(B, C // f**2, H * f, W * f), z.new_zeros(B)

    def log_det(self, x: Tensor) -> Tensor:
        validate_images(x, None)
        if x.shape[2] % self.factor or x.shape[3] % self.factor:
            wanted = f"(B, C, H, W) with H and W multiples of {self.factor}"
            raise ValueError(f"expected {wanted}, got {tuple(x.shape)}")
        return x.new_zeros(x.shape[0])
