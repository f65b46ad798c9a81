"""Parameter styles: the states of a layer in which it is tested.

``initial`` leaves a layer as built, ``trained`` moves it to values like those after training,
``optimised`` adds a few steps of an optimiser with weight decay, ``mixed`` also gives the
diagonal both signs and unequal sizes, ``ill`` makes it ill-conditioned in float32 without
making it singular. Faults hide at initial values, where most log-dets are zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer
from emcheck._internal.parts import normal_parts, root_mean_square
from emcheck.specs.core import spec_of

STYLES = ("initial", "trained", "mixed", "ill", "optimised")

#: Half-width in log10 of the singular values, by style.
_SPREAD = {"trained": 0.15, "mixed": 0.4, "ill": 4.0}

#: Size of off-diagonal entries, relative to the size up to which substitution does not grow.
_COUPLING = {"trained": 0.25, "mixed": 0.5, "ill": 6.0}


def set_parameter(layer: nn.Module, name: str, value: Tensor) -> None:
    """Overwrite the parameter or buffer ``name`` in place, in its own dtype and device."""
    owner, _, leaf = name.rpartition(".")
    target = getattr(layer.get_submodule(owner), leaf)
    target.data.copy_(value)


def scale_parameters(*names: str) -> Callable[[nn.Module, float], None]:
    """Return a rescaling for a spec, which multiplies the named parameters by the factor."""

    def rescale(layer: nn.Module, factor: float) -> None:
        for name in names:
            layer.get_parameter(name).data.mul_(factor)

    return rescale


def normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard normal numbers in the shape of ``like``, in float64."""
    return torch.randn(like.shape, generator=generator, dtype=torch.float64)


def random_signs(n: int, style: str, generator: torch.Generator) -> Tensor:
    """Draw ``(n,)`` of +-1; all +1 unless the style is mixed or ill."""
    signs = torch.randint(0, 2, (n,), generator=generator).double() * 2 - 1
    return signs if style in ("mixed", "ill") else torch.ones(n, dtype=torch.float64)


def random_log_sizes(n: int, style: str, generator: torch.Generator) -> Tensor:
    """Draw natural logarithms ``(n,)`` of sizes, evenly over the style's range."""
    width = _SPREAD[style] * 2.302585092994046
    return (2 * torch.rand(n, generator=generator, dtype=torch.float64) - 1) * width


def random_diagonal(n: int, style: str, generator: torch.Generator) -> Tensor:
    """Draw a diagonal ``(n,)`` with the signs and sizes of the style."""
    signs = random_signs(n, style, generator)
    return signs * random_log_sizes(n, style, generator).exp()


def off_diagonal(like: Tensor, terms: int, style: str, generator: torch.Generator) -> Tensor:
    """Draw entries shaped like ``like`` whose absolute sum over ``terms`` is about the style's."""
    return normal(like, generator) * (_COUPLING[style] / max(terms, 1))


def random_matrix(like: Tensor, style: str, generator: torch.Generator) -> Tensor:
    """Draw a matrix ``(n, n)`` with random singular vectors and the style's singular values."""
    n = like.shape[-1]
    left, right = (torch.linalg.qr(normal(like, generator)).Q for _ in range(2))
    return left * random_diagonal(n, style, generator) @ right


def move_parameters(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    """Move a layer to a style by its spec, or by a random step if the spec does not say how."""
    if style == "initial":
        return
    spec = spec_of(layer)
    if spec is not None and spec.move is not None:
        spec.move(layer, style, generator)
    else:
        step_parameters(layer, style, generator)


def step_parameters(layer: nn.Module, style: str, generator: torch.Generator) -> None:
    """Move every trainable parameter by a random step; buffers stay as they are.

    The step is an eighth (trained) of the parameter's own size (root mean square, at least 0.8):
    far enough from initial values to show what hides there, near enough to stay invertible.
    ``mixed`` and ``ill`` step further, and first give every entry a random sign, because nothing
    keeps an unconstrained parameter on its side of zero.
    """
    for parameter in layer.parameters():
        if not (parameter.requires_grad and parameter.is_floating_point() and parameter.numel()):
            continue
        size = max(root_mean_square(parameter), 0.8)
        for part, drawn in normal_parts(parameter.data, generator):
            if style in ("mixed", "ill"):
                signs = torch.randint(0, 2, part.shape, generator=generator) * 2 - 1
                part.mul_(signs.to(part))
            part.add_((drawn * size * _COUPLING[style] / 2).to(part))


#: Steps, step size and decay of ``optimise``: parameters move by about a tenth of their size.
_STEPS, _RATE, _DECAY = 4, 0.02, 0.1


def optimise(
    layer: nn.Module, forward: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]], x: Tensor
) -> None:
    """Take a few steps of maximum likelihood with weight decay, in place; buffers stay as they are.

    ``p <- (1 - rate decay) p - rate g / rms(g)`` for the loss ``sum(z^2) / 2 - logdet``. A
    parameter whose gradient is missing or not finite only decays, as with any optimiser. The steps
    are taken on a copy, so that ``layer`` has only new parameters and no new caches; a layer that
    cannot be differentiated only decays, and the checks on gradients say why.

    Args:
        layer: the layer whose parameters are moved.
        forward: ``(layer, x (B, *event))`` to ``(z, logdet (B,))``, with gradients.
        x: the data.
    """
    student = copy_layer(layer)
    for _ in range(_STEPS):
        parameters = [p for p in student.parameters() if p.requires_grad and p.is_floating_point()]
        for parameter, gradient in zip(
            parameters, _likelihood_gradients(student, forward, x, parameters), strict=True
        ):
            parameter.data.mul_(1 - _RATE * _DECAY)
            size = math.nan if gradient is None else root_mean_square(gradient)
            if gradient is not None and math.isfinite(size):
                least = torch.finfo(gradient.dtype).tiny
                parameter.data.sub_(gradient.mul_(_RATE).div_(max(size, least)))
    for mine, moved in zip(layer.parameters(), student.parameters(), strict=True):
        mine.data.copy_(moved.data)


def _likelihood_gradients(
    layer: nn.Module,
    forward: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]],
    x: Tensor,
    parameters: list[nn.Parameter],
) -> tuple[Tensor | None, ...]:
    """Return gradients of ``sum(z^2) / 2 - logdet``, None where there is none."""
    nothing = (None,) * len(parameters)
    try:
        z, logdet = forward(layer, x)
        loss = z.square().sum() / 2 - logdet.sum()
        if not loss.requires_grad or not parameters:
            return nothing
        return torch.autograd.grad(loss, parameters, allow_unused=True)
    except RuntimeError:  # no gradients through this layer
        return nothing
