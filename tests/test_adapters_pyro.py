"""Pyro's transforms: no cache fakes an inverse, contexts, compositions; and three mended kinds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import transforms as tt

import emcheck
from emcheck.adapters import adapt


@pytest.fixture
def T() -> Any:
    return pytest.importorskip("pyro.distributions.transforms", reason="pyro-ppl is not installed")


def test_the_inverse_is_not_remembered(T: Any) -> None:
    """The very tensor that forward has returned is not taken back from a cache."""
    layer = adapt(T.planar(3))
    z, _ = layer(torch.randn(2, 3, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(NotImplementedError, match="only the last output is taken back"):
        layer.inverse(z)  # type: ignore[operator]


def test_a_step_shows_at_the_same_tensor(T: Any) -> None:
    layer = adapt(T.planar(3))
    x = torch.ones(2, 3)
    before = layer(x)[0].detach()
    for parameter in layer.parameters():
        parameter.data.add_(0.5)
    assert not torch.equal(layer(x)[0].detach(), before)


def test_compositions_of_torch_are_called_as_pyros(T: Any) -> None:
    whole = tt.ComposeTransform([T.planar(3), T.permute(3)])
    for transform in (whole, whole.inv, T.planar(3).inv):
        assert type(adapt(transform)).__name__ == "PyroTransform"
    assert adapt(whole).lacks == {"inverse"}
    assert type(adapt(tt.ExpTransform())).__name__ == "TorchTransform"


def test_a_conditional_transform_needs_its_context(T: Any) -> None:
    make = lambda: T.conditional_householder(3, 2, [4])  # noqa: E731
    with pytest.raises(
        ValueError, match=r"^expected context=\(n,\) for pyro.ConditionalHouseholder"
    ):
        adapt(make())
    report = emcheck.check_layer(make, (3,), context=(2,), examples=2)
    assert report.ok, str(report)


class Renamed(nn.Module):
    """Catches what torch raises, and raises an exception of its own."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        try:
            assert bool((x == x).all())
        except RuntimeError as error:
            raise LookupError("in a step of the flow") from error
        return 2 * x, x.new_full((len(x),), x[0].numel() * 0.6931471805599453)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z / 2, z.new_full((len(z),), -z[0].numel() * 0.6931471805599453)


def test_vmap_that_is_refused_by_another_name_is_no_failure() -> None:
    report = emcheck.check_layer(Renamed(), (3,))
    found = {r.verdict.name for r in report.results if r.check == "vmap_agrees"}
    assert found == {"UNSUPPORTED"}


class Refusing(nn.Module):
    """Uniform on the unit square; other points are refused by an exception of its own."""

    def log_prob(self, x: Tensor) -> Tensor:
        if bool(((x < 0) | (x > 1)).any()):
            raise LookupError("outside of the domain")
        return 0 * x.sum(1)

    def sample(self, n: int) -> Tensor:
        return torch.rand(n, 2)


def test_a_density_that_refuses_points_is_not_wrong() -> None:
    report = emcheck.check_density(Refusing(), (2,))
    assert not report.failures, str(report)


class DrawnLate(nn.Module):
    """A permutation that is drawn in the first call of either direction."""

    order: Tensor | None = None

    def drawn(self, x: Tensor) -> Tensor:
        if self.order is None:
            self.order = torch.randperm(x.shape[1])
        return self.order

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, self.drawn(x)], x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z[:, torch.argsort(self.drawn(z))], z.new_zeros(len(z))


def test_what_is_drawn_at_random_is_no_trace_of_the_data() -> None:
    report = emcheck.check_layer(DrawnLate(), (5,))
    assert not report.ok
    assert "needs_forward_first" not in {e.cause for e in report.explanations}
