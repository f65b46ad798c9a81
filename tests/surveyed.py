"""The surveyed layers of other libraries, adapted, with inputs and outputs to compare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from emcheck._internal.randomness import seeded
from emcheck.adapters import Adapted, NotALayer, adapt
from emcheck.adapters.conventions import by_signature
from studies.survey import LIBRARIES, Entry, entries

#: What the libraries warn of when they are built or called.
QUIET = [
    pytest.mark.filterwarnings("ignore:torch.lu is deprecated:UserWarning"),
    pytest.mark.filterwarnings("ignore:torch.triangular_solve is deprecated:UserWarning"),
    pytest.mark.filterwarnings("ignore:Using non-full backward hooks:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning"),
    pytest.mark.filterwarnings("ignore:Computing _log_abs_det_jacobian:UserWarning"),
]

libraries = pytest.mark.parametrize("library", LIBRARIES)

#: Those that an adapter of emcheck takes as they are; the others are called by convention.
with_adapters = pytest.mark.parametrize(
    "library", ["normflows", "nflows", "FrEIA", "zuko", "torch.distributions", "pyro"]
)


def listed(library: str) -> tuple[Entry, ...]:
    package = library.partition(".")[0]
    pytest.importorskip(package, reason=f"{package} is not installed: the extra `survey`")
    return entries(library)


def draw(layer: nn.Module, entry: Entry, batch: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    sample = layer.sample if isinstance(layer, Adapted) else None
    if sample is not None:
        return sample(batch, entry.event, generator)
    return torch.randn((batch, *entry.event), generator=generator, dtype=torch.float64)


def unconditional(library: str) -> Iterator[Entry]:
    """The layers that take data alone: no conditional ones, no densities."""
    return (entry for entry in listed(library) if entry.context is None and not entry.density)


def as_layer(entry: Entry, generator: torch.Generator | None = None) -> nn.Module:
    """An entry in the form of the contract."""
    built = entry.build(generator)
    try:
        return adapt(built)
    except NotALayer:
        assert isinstance(built, nn.Module)
        return by_signature(built)


def adapted(library: str) -> Iterator[tuple[Entry, nn.Module, Tensor]]:
    """Adapted entries in float64, warmed up, with an input of the domain."""
    for entry in unconditional(library):
        layer = as_layer(entry).double()
        if isinstance(layer, Adapted):
            layer.warm_up(draw(layer, entry, batch=5, seed=1))
        yield entry, layer, draw(layer, entry)


def outputs(layer: nn.Module, x: Tensor) -> list[Any]:
    """Image and log-det, those of the inverse at the image, and what was raised instead."""
    found: list[Any] = []
    try:
        with seeded(5):  # some draw random numbers in a call
            found += layer(x.clone())
        with seeded(6):
            found += layer.inverse(found[0].detach().clone())  # type: ignore[operator]
    except (NotImplementedError, RuntimeError, ValueError) as error:
        found.append(str(error))
    return found


def same(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(p, q) if isinstance(p, Tensor) else p == q for p, q in zip(a, b, strict=True)
    )
