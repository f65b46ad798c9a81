"""One entry of the field survey: a layer of a library, built the same way every time."""

from __future__ import annotations

import functools
import importlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import torch

from emcheck._internal.randomness import seeded

#: A library and the module here that lists its layers.
LIBRARIES = {
    "normflows": "normflows_layers",
    "nflows": "nflows_layers",
    "FrEIA": "freia_layers",
    "zuko": "zuko_layers",
    "torch.distributions": "torch_layers",
    "pyro": "pyro_layers",
    "torchflows": "torchflows_layers",
    "flowtorch": "flowtorch_layers",
    "glasflow": "glasflow_layers",
    "normflowpy": "normflowpy_layers",
    "zflows": "zflows_layers",
}

#: The name on the package index, where it is not that of the library.
DISTRIBUTIONS = {"pyro": "pyro-ppl"}

#: The released libraries, and what is written here to show two known defects.
SURVEYED = LIBRARIES | {"replica of the paper's code": "paper"}


@dataclass(frozen=True)
class Entry:
    """A layer under survey.

    Args:
        library: one of :data:`SURVEYED`.
        name: the class and what is not default about it; unique within the library.
        build: ``build(generator)`` returns the library's object, ready for ``adapt``. Equal
            generators give equal objects; None stands for a seed made of the name. Some hold
            float64 constants: convert the result to the dtype of the input.
        event: the shape of one sample.
        note: what the library says of the layer that a verdict must be read with.
        context: the shape of the condition of each sample, for a conditional layer.
        density: whether it is a whole flow, for ``check_density``.
    """

    library: str
    name: str
    build: Callable[[torch.Generator | None], object]
    event: tuple[int, ...]
    note: str = ""
    context: tuple[int, ...] | None = None
    density: bool = False


class Listing:
    """Collects the entries of one library."""

    def __init__(self, library: str) -> None:
        self.library = library
        self.entries: list[Entry] = []

    def add(
        self,
        name: str,
        event: tuple[int, ...],
        make: Callable[[], object],
        note: str = "",
        *,
        context: tuple[int, ...] | None = None,
        density: bool = False,
    ) -> None:
        """An entry whose object ``make()`` returns, drawing from the global generators."""
        build = functools.partial(_build, make, f"{self.library} {name}")
        self.entries.append(Entry(self.library, name, build, event, note, context, density))

    def done(self) -> tuple[Entry, ...]:
        names = [entry.name for entry in self.entries]
        assert len(set(names)) == len(names), "names of entries must differ"
        return tuple(self.entries)


def entries(library: str) -> tuple[Entry, ...]:
    """The entries of one library, which is imported now.

    Raises:
        ValueError: a library that is not surveyed.
        ImportError: the library is not installed.
    """
    if library not in SURVEYED:
        raise ValueError(f"expected one of {', '.join(SURVEYED)}, got {library!r}")
    module = importlib.import_module(f"studies.survey.{SURVEYED[library]}")
    found: tuple[Entry, ...] = module.entries()
    return found


def _build(make: Callable[[], object], name: str, generator: torch.Generator | None) -> object:
    seed = zlib.crc32(name.encode())
    if generator is not None:
        seed = int(torch.randint(2**31, (), generator=generator))
    with seeded(seed):
        return make()
