"""``adapt``: what is refused and how, and layers with several tensors on a side."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import transforms as tt

from emcheck.adapters import adapt

NET = nn.Linear(3, 3)
MATRIX = torch.eye(3)


def through_a_global(x: Tensor) -> Tensor:
    return NET(x)


def through_another_function(x: Tensor) -> Tensor:
    return through_a_global(x)


def with_a_default(x: Tensor, *, net: nn.Module = NET) -> Tensor:
    return net(x)


def in_a_closure(thing: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: thing(x) if callable(thing) else x @ thing


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "nothing": (lambda: adapt(), "got NoneType: adapt(layer, forward=..., inverse=...) takes"),
    "a class": (lambda: adapt(nn.Linear), "expected a layer, got the class Linear: call it first"),
    "a module without inverse": (
        lambda: adapt(NET),
        "expected a layer of normflows, nflows, FrEIA, zuko, Pyro or torch.distributions, or a "
        "module with forward and inverse, got Linear: adapt(layer, forward=..., inverse=...) takes "
        "anything else",
    ),
    "a number": (lambda: adapt(3), "got int: adapt(layer, forward=..., inverse=...) takes"),
    "no forward": (
        lambda: adapt(inverse=abs, log_det=abs),
        "expected forward=, got only inverse= and log_det=",
    ),
    "no function": (lambda: adapt(forward=MATRIX), "expected forward to be a function, got Tensor"),
    "a class as function": (
        lambda: adapt(forward=abs, inverse=nn.ReLU),
        "expected inverse to be a function, got ReLU",
    ),
    "functions of no module": (
        lambda: adapt(MATRIX, forward=abs),
        "expected a module for the functions to take first, got Tensor",
    ),
    "a closure over a module": (
        lambda: adapt(forward=in_a_closure(NET)),
        "expected functions of their arguments alone, got forward with thing (Linear) from "
        "outside: adapt(layer, forward=lambda layer, x: ...) hands the module in",
    ),
    "a closure over a tensor": (
        lambda: adapt(forward=abs, inverse=in_a_closure(MATRIX)),
        "got inverse with thing (Tensor) from outside",
    ),
    "a closure over a list": (
        lambda: adapt(forward=in_a_closure([abs, NET])),
        "got forward with thing.1 (Linear) from outside",
    ),
    "a closure over a closure": (
        lambda: adapt(forward=in_a_closure(in_a_closure(NET))),
        "got forward with thing (Linear) from outside",
    ),
    "a decorated closure": (
        lambda: adapt(forward=torch.no_grad()(in_a_closure(NET))),
        "got forward with thing (Linear) from outside",
    ),
    "a partial of a closure": (
        lambda: adapt(forward=functools.partial(in_a_closure(NET))),
        "got forward with thing (Linear) from outside",
    ),
    "a global": (
        lambda: adapt(forward=through_a_global),
        "got forward with NET (Linear) from outside",
    ),
    "a global behind a function": (
        lambda: adapt(nn.Identity(), forward=lambda m, x: through_another_function(x)),
        "got forward with NET (Linear) from outside",
    ),
    "a global in an inner function": (
        lambda: adapt(forward=lambda x: (lambda y: NET(y))(x)),
        "got forward with NET (Linear) from outside",
    ),
    "a default": (lambda: adapt(forward=with_a_default), "got forward with net (Linear) from"),
    "a method of a tensor": (
        lambda: adapt(forward=MATRIX.matmul),
        "expected tensors that can be replaced, got a method of one: forward",
    ),
    "a transform of computed tensors": (
        lambda: adapt(tt.AffineTransform(0.0, nn.Parameter(MATRIX).exp())),
        "expected tensors that are given, got transform.scale, computed from a parameter when the "
        "object was made: hold it in a module that makes the object at every call",
    ),
    "a transform over a closure": (
        lambda: adapt(_with_attribute(tt.ExpTransform(), in_a_closure(NET))),
        "got transform with thing (Linear) from outside",
    ),
}


def _with_attribute(transform: tt.Transform, value: object) -> tt.Transform:
    transform.function = value  # type: ignore[attr-defined]
    return transform


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str) -> None:
    attempt, message = REFUSED[what]
    with pytest.raises(ValueError) as caught:
        attempt()
    assert message in str(caught.value)
    assert "expected" in str(caught.value)
    assert "got" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_closures_over_plain_values_are_fine() -> None:
    factor, order = 2.0, torch.tensor([2, 0, 1])
    layer = adapt(forward=lambda x: (factor * x[:, order], 0.0))
    assert torch.equal(copy.deepcopy(layer)(MATRIX)[0], 2 * MATRIX[:, order])


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: x, "expected forward to return (z, logdet), or log_det=, got z alone"),
        (lambda x: None, "expected forward to return z or (z, logdet), got NoneType"),
        (lambda x: (x, x, x), "z or (z, logdet), got tuple of Tensor, Tensor, Tensor"),
        (lambda x: (x, "0"), "z or (z, logdet), got tuple of Tensor, str"),
        (lambda x: (), "z or (z, logdet), got tuple of nothing"),
    ],
)
def test_wrong_returns_are_named(forward: Callable[[Tensor], object], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        adapt(forward=forward)(MATRIX)
    assert message in str(caught.value)
    with pytest.raises(ValueError, match=r"^expected log_det to return a tensor or a number"):
        adapt(forward=lambda x: x, log_det=lambda x: "0")(MATRIX)
    with pytest.raises(ValueError, match=r"^expected inverse to return x or"):
        adapt(forward=lambda x: x, inverse=lambda z: None).inverse(MATRIX)  # type: ignore[operator]


def test_parts_of_normflows_stand_side_by_side() -> None:
    nf = pytest.importorskip("normflows", reason="normflows is not installed").flows
    x = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    for mode, dim in (("channel", 1), ("channel_inv", 1), ("checkerboard", 3)):
        split, merge = adapt(nf.Split(mode)), adapt(nf.Merge(mode))
        parts, _ = nf.Split(mode)(x)
        assert torch.equal(split(x)[0], torch.cat(parts, dim=dim))
        assert torch.equal(merge(split(x)[0])[0], x)
        assert torch.equal(split.inverse(split(x)[0])[0], x)  # type: ignore[operator]
        assert torch.equal(merge.inverse(x)[0], split(x)[0])  # type: ignore[operator]


def test_several_tensors_of_freia_are_flattened() -> None:
    fm = pytest.importorskip("FrEIA.modules", reason="FrEIA is not installed")
    x = torch.arange(60.0).reshape(2, 5, 2, 3)
    split = fm.Split([(5, 2, 3)], section_sizes=[1, 4])
    parts, _ = split([x])
    z, logdet = adapt(split)(x)
    assert logdet == 0
    assert torch.equal(z, torch.cat([part.flatten(1) for part in parts], dim=1))
    assert torch.equal(adapt(split).inverse(z)[0], x)  # type: ignore[operator]
    concat = adapt(fm.Concat([(1, 2, 3), (4, 2, 3)]))
    assert torch.equal(concat(z)[0], x)
    assert torch.equal(concat.inverse(x)[0], z)  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"^expected 1 tensors from FrEIA.Split, got 3$"):
        adapt(fm.Split([(5, 2, 3)], section_sizes=2))(x)


def test_what_the_libraries_offer_beside_bijections_is_refused() -> None:
    normflows = pytest.importorskip("normflows", reason="normflows is not installed")
    nflows = pytest.importorskip("nflows.nn.nets", reason="nflows is not installed")
    fm = pytest.importorskip("FrEIA.modules", reason="FrEIA is not installed")
    zuko = pytest.importorskip("zuko", reason="zuko is not installed")
    flows = normflows.flows
    proposal = normflows.distributions.DiagGaussianProposal((2,), 0.1)
    target = normflows.distributions.TwoMoons()
    refused: dict[object, str] = {
        flows.MetropolisHastings(target, proposal, 1): "expected a bijection, got "
        "normflows.MetropolisHastings, which draws at random",
        flows.CCAffineConst(3, 2): "expected an unconditional flow, got normflows.CCAffineConst, "
        "which needs y",
        normflows.nets.MLP([2, 2]): "expected a flow of normflows, got normflows.MLP",
        nflows.MLP((2,), (2,), [2]): "expected a transform or flow of nflows, got nflows.MLP",
        fm.RNVPCouplingBlock([(4,)], dims_c=[(2,)], subnet_constructor=nn.Linear): "expected an "
        "unconditional module, got FrEIA.RNVPCouplingBlock with dims_c: adapt(layer, "
        "forward=lambda layer, x: ...) can pass a condition that layer stores",
        zuko.nn.MLP(2, 2): "expected a transform or flow of zuko, got zuko.MLP",
    }
    for layer, message in refused.items():
        with pytest.raises(ValueError) as caught:
            adapt(layer)
        assert str(caught.value) == message
