"""Log-det terms of parameters, which a layer may have forgotten or doubled."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from torch import Tensor, nn

from emcheck.oracle.precision import Array


def parameter_terms(
    layer: nn.Module, x: Tensor, unwrap: Callable[[nn.Module], nn.Module]
) -> dict[str, Array]:
    """Return log-det terms ``(B,)`` by name, each for one pixel and for all pixels.

    A square matrix has ``log|det|`` and ``sum log|diagonal|``, a kernel the same of its centre
    tap; every tensor has ``sum log|p|`` and ``sum p``.
    """
    pixels = int(np.prod(x.shape[2:])) if x.dim() > 2 else 1
    found: dict[str, Array] = {}
    for name, tensor in [*layer.named_parameters(), *layer.named_buffers()]:
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        values = tensor.detach().double().cpu().numpy()
        for told, number in _natural(values):
            if np.isfinite(number):
                term = told.format(f"`{name}`")
                found[term] = np.full(len(x), number)
                if pixels > 1:
                    found[f"{pixel_letters(x.dim() - 1)} {term}"] = found[term] * pixels
    return found


def pixel_letters(rank: int) -> str:
    """Return the letters of the spatial sizes, for an event of this rank."""
    return {2: "L", 3: "H W", 4: "D H W"}.get(rank, "pixels")


def _natural(values: Array) -> Iterator[tuple[str, float]]:
    with np.errstate(all="ignore"):
        yield "sum log|{}|", float(np.log(np.abs(values)).sum())
        yield "sum {}", float(values.sum())
        if values.ndim > 2 and values.shape[0] == values.shape[1]:
            values = values[(slice(None), slice(None), *(size // 2 for size in values.shape[2:]))]
            told = "the centre tap of {}"
        else:
            told = "{}"
        if values.ndim == 2 and values.shape[0] == values.shape[1]:
            diagonal = np.abs(np.diagonal(values))
            yield f"log|det {told}|", float(np.linalg.slogdet(values)[1])
            yield f"sum log|diagonal of {told}|", float(np.log(diagonal).sum())
