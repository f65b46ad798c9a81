"""The surveyed layers: domains, warm-up, and that they are the same every time."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.distributions import Transform

from emcheck.adapters import Adapted, adapt
from studies.survey import LIBRARIES, entries
from tests.surveyed import (
    QUIET,
    adapted,
    as_layer,
    draw,
    libraries,
    listed,
    outputs,
    same,
    unconditional,
    with_adapters,
)

pytestmark = QUIET

#: Entries whose domain torch cannot check: it concatenates answers of different ranks.
UNCHECKED = ("CatTransform of mixed event_dim",)

#: Entries that return NaN for some data: a finding of the survey.
NOT_FINITE = ("Radial in one dimension", "Radial", "RealNVP svd")


@libraries
def test_draws_lie_in_the_domain(library: str) -> None:
    """Draws are float64, of the shape, reproducible, and mapped to finite numbers."""
    for entry, layer, x in adapted(library):
        assert (x.dtype, x.shape) == (torch.float64, (3, *entry.event)), entry.name
        assert torch.equal(x, draw(layer, entry)), entry.name
        own = entry.build(None)
        if isinstance(own, Transform) and entry.name not in UNCHECKED:
            assert own.domain.check(x).all(), entry.name
        for value in outputs(layer, draw(layer, entry, batch=64))[:2]:
            finite = isinstance(value, str) or torch.as_tensor(value).isfinite().all()
            assert finite or entry.name in NOT_FINITE, entry.name


@pytest.mark.parametrize(
    ("library", "name", "bounds"),
    [
        ("normflows", "PeriodicShift", {0: math.pi, 2: math.pi}),
        ("normflows", "PeriodicWrap", {1: 2, 3: 2}),
        ("normflows", "CircularCoupledRationalQuadraticSpline bound 1", {0: 1, 3: 1}),
        ("normflows", "CircularAutoregressiveRationalQuadraticSpline bound 1", {1: 1, 2: 1}),
        ("nflows", "CauchyCDF", {}),
        ("nflows", "Tanh", {}),
        ("zuko", "NCSF", {0: math.pi, 1: math.pi, 2: math.pi}),
        ("zuko", "MAF", {}),
    ],
)
def test_draws_are_bounded_where_they_must_be(
    library: str, name: str, bounds: dict[int, float]
) -> None:
    """Bounded coordinates use most of their interval, the others are normal numbers."""
    entry = next(entry for entry in listed(library) if entry.name == name)
    largest = draw(adapt(entry.build(None)), entry, batch=2000).abs().flatten(0, -2).amax(dim=0)
    for i, size in enumerate(largest.tolist()):
        assert 0.9 * bounds[i] < size < bounds[i] if i in bounds else 3 < size < 6


@with_adapters
def test_warm_up_sets_what_sets_itself(library: str) -> None:
    """ActNorm layers have unit variance after it and do not move again; others do not move."""
    for entry in unconditional(library):
        layer = as_layer(entry).double().eval()
        if not isinstance(layer, Adapted):
            continue
        before = copy.deepcopy(layer.state_dict())
        modes = [module.training for module in layer.modules()]
        x = 3 * draw(layer, entry, batch=32)
        layer.warm_up(x if layer.sample is None else x / 3)
        assert [module.training for module in layer.modules()] == modes, entry.name
        sets_itself = any("ActNorm" in type(module).__name__ for module in layer.modules())
        after = copy.deepcopy(layer.state_dict())
        changed = not same(list(before.values()), list(after.values()))
        assert changed == sets_itself, entry.name
        if entry.name.startswith("ActNorm"):
            z = layer(x)[0].detach().transpose(0, 1).flatten(1)
            assert torch.allclose(z.var(dim=1), torch.ones(len(z)).double(), rtol=1e-4), entry.name
        if sets_itself:
            outputs(layer.train(), 5 * x + 1)
            assert same(list(layer.state_dict().values()), list(after.values())), entry.name


@libraries
def test_entries_are_reproducible(library: str) -> None:
    """Equal generators give equal layers; the global generators are left as they were."""
    for entry in [*unconditional(library)][:12]:
        state = torch.get_rng_state()
        first, second = (
            as_layer(entry, torch.Generator().manual_seed(3)).state_dict() for _ in range(2)
        )
        assert torch.equal(torch.get_rng_state(), state), entry.name
        assert same(list(first.values()), list(second.values())), entry.name
        assert 1 <= len(entry.event) <= 3, entry.name
        assert 1 <= torch.Size(entry.event).numel() <= 80, entry.name


def test_every_library_has_a_survey() -> None:
    counts = {library: len(listed(library)) for library in LIBRARIES}
    assert len(counts) >= 10
    assert min(counts.values()) >= 14, counts
    assert sum(counts.values()) >= 350, counts
    with pytest.raises(ValueError, match=r"^expected one of normflows, .*, got 'glow'$"):
        entries("glow")
