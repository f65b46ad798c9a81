"""Training without stored activations: the inverse computes them again from the latent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def recomputed(layers: nn.Sequential | nn.ModuleList, x: Tensor) -> tuple[Tensor, Tensor]:
    """Apply ``layers`` one after the other, storing only the last of their activations.

    Backward walks the layers in reverse: ``x_l = f_l^-1(z_l)``, then ``f_l`` once more with
    gradients. Gradients equal the ordinary ones up to the error of the inverse.

    Cost: one inverse and one more forward pass during backward; memory for the activations of
    one layer instead of all.

    Reference: Gomez, Ren, Urtasun, Grosse, The Reversible Residual Network: Backpropagation
    Without Storing Activations, 2017, arXiv 1707.04585.

    Args:
        layers: invertible layers, ``forward(x) -> (z, logdet)`` and ``inverse``.
        x: ``(B, *event)``.

    Returns:
        ``z`` and the sum of the log-dets, ``(B,)``.
    """
    parameters = [p for layer in layers for p in layer.parameters() if p.requires_grad]
    z, total = _Recomputed.apply(list(layers), x, *parameters)
    return z, total


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layers: list[nn.Module], x: Tensor, *parameters: Tensor) -> Any:
        total = x.new_zeros(len(x))
        for layer in layers:
            x, logdet = layer(x)
            total = total + logdet
        ctx.layers = layers
        ctx.save_for_backward(x, *parameters)
        return x, total

    @staticmethod
    def backward(ctx: Any, of_z: Tensor, of_logdet: Tensor) -> Any:
        z, *parameters = ctx.saved_tensors
        place = {id(p): n for n, p in enumerate(_own_parameters(ctx.layers))}
        found: list[Tensor | None] = [None] * len(parameters)
        for layer in reversed(ctx.layers):
            with torch.no_grad():
                x = layer.inverse(z)[0]
            with torch.enable_grad():
                x = x.detach().requires_grad_(True)
                again, logdet = layer(x)
            own = [p for p in layer.parameters() if p.requires_grad]
            outputs = [(v, g) for v, g in ((again, of_z), (logdet, of_logdet)) if v.requires_grad]
            of_x, *gradients = torch.autograd.grad(
                [v for v, _ in outputs], [x, *own], [g for _, g in outputs], allow_unused=True
            )
            for parameter, gradient in zip(own, gradients, strict=True):
                n = place[id(parameter)]
                found[n] = gradient if found[n] is None else found[n] + gradient  # type: ignore[operator]
            z, of_z = x.detach(), torch.zeros_like(x) if of_x is None else of_x
        return None, of_z, *found


def _own_parameters(layers: list[nn.Module]) -> list[nn.Parameter]:
    return [p for layer in layers for p in layer.parameters() if p.requires_grad]
