"""Times are taken at weights of the size that training leaves."""

from __future__ import annotations

import pytest
import torch

from emcheck.flows import Glow
from emcheck.layers import Conv1x1, ExponentialConv2d
from emcheck.layers.exponential import norm_bound
from studies.density import step_time
from studies.density.cell import Cell
from studies.grown import NORM, grown


@pytest.mark.parametrize("start", ["drawn", "identity"])
def test_an_exponential_gets_the_norm_of_a_trained_one(start: str) -> None:
    flow = Glow((3, 8, 8), 1, 2, "1x1+exponential", 4, seed=0)
    found = [part for part in flow.modules() if isinstance(part, ExponentialConv2d)]
    if start == "identity":
        for part in found:
            torch.nn.init.zeros_(part.weight)
    assert grown(flow) is flow
    assert len(found) == 2
    assert [norm_bound(part.weight) for part in found] == pytest.approx([NORM, NORM])
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert flow.bits_per_dim(x, 256).isfinite().all()


def test_other_layers_stay_as_they_are() -> None:
    layer = Conv1x1(4, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    grown(layer)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_a_ratio_of_steps_is_taken_there(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(step_time, "ROUNDS", 2)
    monkeypatch.setattr(step_time, "grown", lambda flow: seen.append(flow) or grown(flow))
    cell = Cell("digits", "1x1+exponential", 1, 0, "time", width=4, batch=4)
    found = step_time.step_ratio(cell)
    assert found["low"] <= found["ratio"] <= found["high"]
    counts = [sum(isinstance(p, ExponentialConv2d) for p in flow.modules()) for flow in seen]
    assert counts == [0, 2]
