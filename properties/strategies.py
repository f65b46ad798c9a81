"""What Hypothesis draws: the structure of a case and a seed, never array elements."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from emcheck.checks import Case
from emcheck.contract import InvertibleLayer
from emcheck.specs import spec_for

#: Trained-like and mixed-sign parameters most often: faults hide at initial values.
STYLES = ("trained", "mixed", "initial", "trained", "mixed", "ill")

MOST_CHANNELS = 5
MOST_PIXELS = 7


@st.composite
def cases(draw: st.DrawFn, layer_class: type[InvertibleLayer], device: str = "cpu") -> Case:
    """A case for a registered layer on a device, from what its spec says."""
    spec = spec_for(layer_class)
    options = {name: draw(st.sampled_from(values)) for name, values in spec.options.items()}
    multiple = spec.multiple(options)
    blocks = st.integers(1, max(1, MOST_PIXELS // multiple))
    return Case(
        event=(
            draw(st.integers(spec.min_channels, MOST_CHANNELS)),
            draw(blocks) * multiple,
            draw(blocks) * multiple,
        ),
        batch=draw(st.integers(1, 3)),
        dtype=draw(st.sampled_from([torch.float64, torch.float32])),
        device=device,
        style=draw(st.sampled_from(STYLES)),
        seed=draw(st.integers(0, 2**32 - 1)),
        options=options,
    )
