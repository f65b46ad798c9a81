"""Correct layers raise no alarm: this project's, hidden as a stranger's would be, and others'.

One seed in an ordinary run, twenty with ``--hypothesis-profile=deep``.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import settings
from torch import nn

from emcheck import check_layer
from emcheck.contract import Event
from emcheck.specs import REGISTRY, SPECS
from properties.portions import portion
from studies.survey.entries import entries
from tests.hidden import Hidden

SEEDS = 20 if settings.get_current_profile_name() == "deep" else 1

#: Layers of released libraries that hold the contract, whatever the seed.
OTHERS = (
    ("normflows", "ActNorm image"),
    ("normflows", "Invertible1x1Conv LU"),
    ("normflows", "LULinearPermute"),
    ("normflows", "MaskedAffineFlow"),
    ("nflows", "LULinear"),
    ("nflows", "QRLinear"),
    ("nflows", "OneByOneConvolution"),
    ("nflows", "AffineCouplingTransform"),
    ("nflows", "HouseholderSequence"),
    ("zuko", "RotationTransform"),
    ("torch.distributions", "TanhTransform"),
)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("name", portion(REGISTRY, 7))
def test_own_layers_hidden_and_not(name: str, seed: int) -> None:
    def build(event: Event) -> nn.Module:
        return SPECS[REGISTRY[name]].new(event, {}, torch.Generator().manual_seed(seed))

    hidden = check_layer(lambda: Hidden(build((4, 6, 4))), (4, 6, 4), seed=100 * seed)
    assert hidden.ok, str(hidden)
    if SEEDS > 1:  # test_checks.py has every check on every layer as it is
        plain = check_layer(build((4, 4, 6)), (4, 4, 6), seed=100 * seed)
        assert plain.ok, str(plain)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize(("library", "name"), OTHERS)
def test_layers_of_other_libraries(library: str, name: str, seed: int) -> None:
    pytest.importorskip(library.split(".")[0], reason=f"{library} is not installed")
    found = [entry for entry in entries(library) if entry.name.startswith(name)]
    assert found, f"{library} has no entry {name}"
    entry = found[0]
    report = check_layer(lambda: entry.build(None), entry.event, seed=100 * seed)
    assert report.ok, str(report)
