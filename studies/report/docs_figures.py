"""The pictures of docs/layers.md: ``python -m studies.report.docs_figures [FOLDER]``.

One Jacobian for each registered layer, and more where an option changes the pattern. The
matrices are those of the definitions (``emcheck.oracle``), not of the layers' own code.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emcheck._internal.files import write_all
from emcheck.contract import Event
from emcheck.oracle.precision import Array
from emcheck.specs import REGISTRY, SPECS
from emcheck.specs.parameter_styles import move_parameters
from studies.pages.patterns import pattern_figure
from studies.pages.style import house_style, to_svg

FOLDER = Path(__file__).parent.parent.parent / "docs" / "figures"

_SEED = 0
_EVENT: Event = (2, 3, 4)


@dataclass(frozen=True)
class Picture:
    """Whose Jacobian is drawn: a layer of the registry, its options and an event."""

    layer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    event: Event = _EVENT

    def jacobian(self) -> tuple[Array, Event]:
        """``J (n, n)`` with exact zeros, at parameters like those after training; event out.

        An inverse is solved for in float64: entries below what that may err by are zero.
        """
        generator = torch.Generator().manual_seed(_SEED)
        spec = SPECS[REGISTRY[self.layer]]
        layer = spec.new(self.event, self.options, generator).double()
        move_parameters(layer, "trained", generator)
        definition = spec.define(layer, self.event)
        x = np.random.default_rng(_SEED).standard_normal((1, *self.event))
        J = np.asarray(definition.jacobian(x), dtype=np.float64)
        J[np.abs(J) <= definition.jacobian_uncertainty(x)] = 0
        return J, getattr(definition, "event_out", self.event)

    def draw(self) -> bytes:
        """The picture as SVG."""
        J, event_out = self.jacobian()
        with house_style():
            return to_svg(pattern_figure(J, self.event, event_out))


#: Sizes where the usual one says little: a squeeze needs even sides, of 3 x 4 pixels a periodic
#: convolution sees nearly all, and four groups need four channels.
_EVENTS: dict[str, Event] = {
    "Squeeze2d": (1, 4, 4),
    "PeriodicConv2d": (2, 4, 5),
    "FourCornerConv2d": (4, 3, 4),
}

#: file name -> picture; every registered layer has one under its own name.
PICTURES: dict[str, Picture] = {
    **{name: Picture(name, event=_EVENTS.get(name, _EVENT)) for name in REGISTRY},
    "AffineAutoregressive2d-right": Picture("AffineAutoregressive2d", {"direction": "right"}),
    "AutoregressiveConv2d-raster": Picture("AutoregressiveConv2d", {"mask": "raster"}),
    "AutoregressiveConv2d-reverse": Picture("AutoregressiveConv2d", {"reverse": True}),
    "Woodbury2d-separate": Picture("Woodbury2d", {"spatial": "separate"}),
    "Inverse-emerging": Picture("Inverse", {"of": "emerging"}),
}


def draw_pictures() -> dict[str, bytes]:
    """Every picture by the name of its file; the same bytes every time."""
    return {f"{name}.svg": picture.draw() for name, picture in PICTURES.items()}


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    write_all(folder, draw_pictures())
    print(folder)
