"""``adapt``: functions, bound methods, transforms with parameters, lists of tensors, errors."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Beta, Normal, Uniform
from torch.distributions import transforms as tt

from emcheck.adapters import Adapted, adapt
from emcheck.layers import ActNorm2d

X = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5]], dtype=torch.float64)


class Scale(nn.Module):
    """``z = exp(s) x`` with methods of other names than the contract's."""

    def __init__(self) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.tensor([0.5, -0.25, 1.0]))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.s.exp(), self.s.sum().expand(len(x))

    def decode(self, z: Tensor) -> Tensor:
        return z * (-self.s).exp()

    def power(self, n: int, x: Tensor) -> Tensor:
        return x * (n * self.s).exp()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.s.exp()


class Holder:
    """No module itself, but what its methods do depends on a module and on a tensor."""

    def __init__(self) -> None:
        self.inner = Scale()
        self.shift = torch.tensor([1.0, 2.0, 3.0])

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.inner.encode(x)
        return z + self.shift, logdet


FORMS: dict[str, Callable[[], nn.Module]] = {
    "bound methods": lambda: adapt(forward=(m := Scale()).encode, inverse=m.decode),
    "partial": lambda: adapt(
        forward=functools.partial((m := Scale()).power, 2),
        inverse=functools.partial(m.power, -2),
        log_det=functools.partial(lambda m, x: 2 * m.s.sum(), m),
    ),
    "layer and functions": lambda: adapt(
        Scale(), forward=lambda m, x: m.encode(x), inverse=lambda m, z: m.decode(z)
    ),
    "layer and its own functions": lambda: adapt(
        Scale(), forward=Scale.forward, inverse=Scale.decode, log_det=lambda m, x: m.s.sum()
    ),
    "modules": lambda: adapt(forward=Scale(), log_det=lambda x: 0.0),
    "methods of a plain object": lambda: adapt(forward=Holder().encode),
    "transform": lambda: adapt(
        tt.AffineTransform(0.5, nn.Parameter(torch.tensor([2.0, 3.0, 4.0])))
    ),
    "transform within a composition": lambda: adapt(
        tt.ComposeTransform([tt.ExpTransform(), tt.PowerTransform(nn.Parameter(torch.ones(3)))])
    ),
    "distribution that broadcasts": lambda: adapt(
        tt.CumulativeDistributionTransform(
            Normal(nn.Parameter(torch.tensor(0.1)), torch.tensor([1.0, 2.0, 0.5]))
        )
    ),
    "inverse of a transform": lambda: adapt(
        tt.ComposeTransform([tt.AffineTransform(0.0, nn.Parameter(torch.ones(3) * 2)).inv]).inv
    ),
}


@pytest.fixture(params=FORMS)
def layer(request: pytest.FixtureRequest) -> nn.Module:
    return FORMS[request.param]()


def values(layer: nn.Module) -> list[Any]:
    z, logdet = layer(X)
    found = [z, torch.as_tensor(logdet)]
    if "inverse" not in layer.lacks:
        found.append(layer.inverse(X.abs() / 3)[0])
    return [value.detach().double().clone() for value in found]


def test_a_copy_acts_on_its_own_parameters(layer: nn.Module) -> None:
    """The classical trap: a copied function that still acts on the module of the original."""
    layer = layer.double()
    before, copied = values(layer), copy.deepcopy(layer)
    assert {id(p) for p in layer.parameters()}.isdisjoint(id(p) for p in copied.parameters())
    for parameter in copied.parameters():
        parameter.data.mul_(1.5)
    assert all(map(torch.equal, values(layer), before))
    assert not torch.equal(values(copied)[0], before[0])
    for parameter in layer.parameters():
        parameter.data.mul_(1.5)
    assert all(map(torch.equal, values(layer), values(copied)))


def test_parameters_are_seen_converted_and_trained(layer: nn.Module) -> None:
    parameters = dict(layer.named_parameters())
    assert parameters
    assert layer(X.float())[0].dtype == torch.float32
    assert layer.double()(X)[0].dtype == torch.float64
    z, logdet = layer(X)
    (z.square().sum() + torch.as_tensor(logdet).sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())


def test_state_and_functional_calls_reach_the_values(layer: nn.Module) -> None:
    layer = layer.double()
    other = copy.deepcopy(layer)
    for parameter in other.parameters():
        parameter.data.mul_(0.75)
    expected, before = values(other), values(layer)
    called = torch.func.functional_call(layer, other.state_dict(), X)
    assert torch.equal(called[0], expected[0])
    assert all(map(torch.equal, values(layer), before))
    layer.load_state_dict(other.state_dict())
    assert all(map(torch.equal, values(layer), expected))


def test_copies_of_copies_and_of_used_layers(layer: nn.Module) -> None:
    """A call with gradients stores what ``copy.deepcopy`` refuses; the copy works all the same."""
    expected = values(layer.double())
    layer(X)
    twice = copy.deepcopy(copy.deepcopy(layer))
    assert all(map(torch.equal, values(twice), expected))


def test_a_transform_keeps_its_cache_but_not_in_a_copy() -> None:
    """``cache_size=1`` fakes an inverse; the object is taken as it is, its copies are fresh."""
    scale = nn.Parameter(torch.ones(3, dtype=torch.float64) * 3)
    transform = tt.ComposeTransform(
        [tt.AffineTransform(0.0, scale, cache_size=1), tt.TanhTransform(cache_size=1)]
    )
    layer = adapt(transform)
    z, _ = layer(X)
    assert layer.inverse(z)[0] is X  # type: ignore[operator]
    copied = copy.deepcopy(layer)
    back = copied.inverse(z)[0]  # type: ignore[operator]
    assert back is not X
    assert torch.allclose(back, X)


def test_an_inverse_within_a_transform_is_copied() -> None:
    """torch drops the base of an inverse when it copies one."""
    inner = tt.AffineTransform(1.0, torch.tensor([2.0, 4.0, 8.0]).double())
    nested = tt.IndependentTransform(tt.ComposeTransform([tt.ExpTransform(), inner.inv]), 1).inv
    layer = adapt(nested)
    expected = layer(X + 2)
    copied = copy.deepcopy(layer)
    assert torch.equal(copied(X + 2)[0], expected[0])
    assert torch.equal(copied(X + 2)[1], expected[1])
    inner.scale.mul_(2)  # the original's
    assert torch.equal(copied(X + 2)[0], expected[0])
    assert not torch.equal(layer(X + 2)[0], expected[0])


def test_constants_that_were_broadcast_can_be_loaded() -> None:
    """What torch expands to the batch shape shares memory; it is held as numbers of its own."""
    layer = adapt(tt.CumulativeDistributionTransform(Normal(torch.zeros(3), 1.0)))
    other = adapt(tt.CumulativeDistributionTransform(Normal(torch.ones(3), 2.0)))
    layer.load_state_dict(other.state_dict())
    assert all(map(torch.equal, values(layer), values(other)))


def test_log_dets_are_summed_to_one_per_sample() -> None:
    x = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    elementwise, rows = tt.TanhTransform(), tt.IndependentTransform(tt.TanhTransform(), 1)
    whole = elementwise.log_abs_det_jacobian(x, x.tanh())
    assert torch.equal(adapt(elementwise)(x)[1], whole.flatten(1).sum(1))
    assert torch.equal(adapt(rows)(x)[1], whole.sum(-1).sum(-1))
    reshaped = adapt(tt.ReshapeTransform(torch.Size((2, 3)), torch.Size((6,))))
    assert reshaped(x)[1].shape == reshaped.inverse(reshaped(x)[0])[1].shape == (4,)


def test_an_event_larger_than_the_input_is_an_error() -> None:
    layer = adapt(tt.IndependentTransform(tt.TanhTransform(), 2))
    message = r"^expected \(B, \*event\) with at least 2 event dimensions .*, got \(2, 3\)$"
    with pytest.raises(ValueError, match=message):
        layer(X)
    with pytest.raises(ValueError, match=message):
        layer.inverse(X.sigmoid())


@pytest.mark.parametrize(
    ("transform", "event"),
    [
        (tt.SigmoidTransform().inv, (2, 3)),
        (tt.PowerTransform(torch.tensor(2.0)), (4,)),
        (tt.CumulativeDistributionTransform(Uniform(-1.0, 3.0)), (4,)),
        (tt.CumulativeDistributionTransform(Beta(2.0, 3.0)), (2,)),
        (tt.StickBreakingTransform().inv, (5,)),
        (tt.CorrCholeskyTransform().inv, (3, 3)),
        (tt.LowerCholeskyTransform().inv, (3, 3)),
    ],
    ids=repr,
)
def test_draws_fit_the_constraint(transform: tt.Transform, event: tuple[int, ...]) -> None:
    sample = adapt(transform).sample
    x = sample(7, event, torch.Generator().manual_seed(0))
    assert (x.shape, x.dtype) == ((7, *event), torch.float64)
    assert transform.domain.check(x).all()
    assert torch.equal(x, sample(7, event, torch.Generator().manual_seed(0)))
    assert not torch.equal(x, sample(7, event, torch.Generator().manual_seed(1)))


def test_no_sample_where_everything_is_allowed() -> None:
    both = tt.CatTransform([tt.ExpTransform(), tt.TanhTransform()], dim=1, lengths=[1, 2])
    for transform in (tt.ExpTransform(), both, tt.IndependentTransform(both, 1)):
        assert adapt(transform).sample is None


def test_functions_return_one_thing_or_two() -> None:
    alone = adapt(forward=lambda x: 2 * x, log_det=lambda x: 3.0)
    assert alone(X)[1] == 3.0
    assert alone.lacks == {"inverse"}
    with pytest.raises(NotImplementedError, match=r"^<lambda> has no inverse: none was given$"):
        alone.inverse(X)
    both = adapt(forward=lambda x: (2 * x, 1), inverse=lambda z: (z / 2, -1))
    assert both.inverse(X)[1] == -1
    assert not both.lacks
    values_only = adapt(forward=lambda x: (2 * x, 1), inverse=lambda z: z / 2)
    assert values_only.inverse(X)[1] is None


def test_known_modules_are_returned_as_they_are() -> None:
    own, known = ActNorm2d(3), adapt(tt.TanhTransform())
    assert adapt(own) is own
    assert adapt(known) is known
    assert isinstance(known, Adapted)
    assert known.name == "torch.TanhTransform"
    assert adapt(tt.TanhTransform().inv).name == "torch.TanhTransform.inv"
