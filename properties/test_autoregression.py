"""Affine autoregressive layers: what a row sees, the work and the error of the inverse."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from emcheck.bounds import THRESHOLDS, Arithmetic
from emcheck.layers import AffineAutoregressive2d
from emcheck.layers.affine_autoregressive import Direction, sum_log_scale
from emcheck.oracle import CENTRED, AutoregressiveDefinition, as_extended, explicit_jacobian
from emcheck.specs import SPECS
from emcheck.specs.parameter_styles import move_parameters

SINGLE = Arithmetic.of(torch.float32)

#: How a direction turns the image, written once more.
TURNED = {
    "top": lambda x: x,
    "bottom": lambda x: x.flip(2),
    "left": lambda x: x.transpose(2, 3),
    "right": lambda x: x.flip(3).transpose(2, 3),
}
BACK = {**TURNED, "right": lambda x: x.transpose(2, 3).flip(3)}


def moved(
    style: str = "mixed", direction: Direction = "top", reach: int = 2
) -> AffineAutoregressive2d:
    layer = AffineAutoregressive2d(2, reach, 3, 6, direction).double()
    move_parameters(layer, style, torch.Generator().manual_seed(0))
    return layer.requires_grad_(False)


def drawn(*shape: int, seed: int = 9) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def defined(layer: AffineAutoregressive2d, x: Tensor) -> AutoregressiveDefinition:
    definition = SPECS[type(layer)].define(layer, tuple(x.shape[1:]))
    assert isinstance(definition, AutoregressiveDefinition)
    return definition


@pytest.mark.parametrize("direction", TURNED)
def test_another_direction_is_a_turn(direction: Direction) -> None:
    first, other = moved(), moved(direction=direction)
    x = drawn(2, 2, 4, 5)
    turn, back = TURNED[direction], BACK[direction]
    torch.testing.assert_close(other(x)[0], back(first(turn(x))[0]), rtol=1e-12, atol=0)
    expected = back(first.inverse(turn(x))[0])
    torch.testing.assert_close(other.inverse(x)[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reach", [1, 2, 3])
def test_a_row_sees_the_rows_before_and_a_pixel_itself(reach: int) -> None:
    J = explicit_jacobian(moved(reach=reach), drawn(2, 6, 7)).reshape(2, 6, 7, 2, 6, 7)
    i, j = 4, 3
    seen = (J[:, i, j] != 0).any(axis=(0, 1))
    expected = np.zeros((6, 7), dtype=bool)
    expected[i - reach : i, j - 1 : j + 2] = True
    expected[i, j] = True
    np.testing.assert_array_equal(seen, expected)
    np.testing.assert_array_equal(J[:, i, j, :, i, j] != 0, np.eye(2, dtype=bool))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("direction", TURNED)
def test_starts_as_the_identity_bit_for_bit(direction: Direction, dtype: torch.dtype) -> None:
    layer = AffineAutoregressive2d(3, direction=direction).to(dtype)
    x = drawn(4, 3, 5, 6).to(dtype)
    for z, logdet in (layer(x), layer.inverse(x)):
        assert torch.equal(z, x)
        assert torch.equal(logdet, torch.zeros(4, dtype=dtype))


@pytest.mark.parametrize("direction", TURNED)
def test_the_inverse_does_the_work_of_one_forward(direction: Direction) -> None:
    """Each row's network runs once, for that row alone."""
    layer, x = moved(direction=direction), drawn(2, 2, 6, 5)
    done = []
    for run in (layer.forward, layer.inverse):
        with FlopCounterMode(display=False) as counter:
            run(x)
        done.append(counter.get_total_flops())
    assert done[0] == done[1] == 2 * x.numel() * 6 * (2 * 3 + 2)


@pytest.mark.parametrize("style", ["trained", "mixed", "ill"])
def test_the_bound_of_a_round_trip_is_reached(style: str) -> None:
    """A latent that is off by the errors of both ways, with the worst signs, uses all of it.

    One that is off by a tenth more is seen.
    """
    layer, x = moved(style), drawn(1, 2, 7, 4)
    definition, X = defined(layer, x), as_extended(x)
    error, _ = definition.both_ways(X, SINGLE)
    back = np.linalg.inv(np.asarray(definition.jacobian(X), np.float64))
    z = layer(x)[0]
    size = np.asarray(error, np.float64).reshape(-1)
    worst = int((np.abs(back) @ size).argmax())
    off = torch.from_numpy(np.sign(back[worst]) * size).reshape(z.shape)
    for share in (0.9, 1.1):
        xh = as_extended(layer.inverse(z + share * off)[0])
        found = definition.round_trip_error(X, xh, SINGLE)
        assert found.ratio == pytest.approx(share, rel=1e-3)
        assert found.ok == (share < THRESHOLDS["RUN"])
        assert not found.ill_conditioned


def test_a_chaotic_inverse_is_ill_conditioned_and_not_wrong() -> None:
    """Its own error moves the arguments of gates by more than first order can follow."""
    layer, x = moved("trained"), drawn(1, 2, 9, 4)
    layer.network.weights[1].mul_(12)
    definition, X = defined(layer, x), as_extended(x)
    found = definition.round_trip_error(X, X, Arithmetic(2.0**-11, 2.0**-126))
    assert found.ill_conditioned
    assert found.ratio == 0


@pytest.mark.parametrize("bias", [-2000.0, -20000.0])
def test_a_gate_that_vanishes_is_ill_conditioned(bias: float) -> None:
    """In float64, or even in the numbers of the definition."""
    layer, x = moved("trained"), drawn(1, 2, 3, 4)
    layer.network.biases[1][2:] = bias
    X = as_extended(x)
    found = defined(layer, x).round_trip_error(X, X * np.nan, SINGLE)
    assert found.ill_conditioned
    assert found.condition == np.inf


def test_the_centred_gate_and_its_errors_against_many_digits() -> None:
    with mpmath.workdps(40):
        for h in (-40.0, -3.0, -1e-3, 0.0, 1e-3, 2.0, 30.0):
            exact = 2 / (1 + mpmath.exp(-mpmath.mpf(h)))
            value = CENTRED.value(np.longdouble(h))
            assert abs(mpmath.mpf(float(value)) - exact) <= 1e-15 * exact
            for dtype in (torch.float32, torch.float64):
                given = torch.tensor([[h]], dtype=dtype)
                log = mpmath.log(2 / (1 + mpmath.exp(-mpmath.mpf(given.item()))))
                got = mpmath.mpf(sum_log_scale(given).item())
                size = CENTRED.log_size(as_extended(given)) * Arithmetic.of(dtype).u
                assert abs(got - log) <= CENTRED.roundings * float(size[0, 0])


def test_refusals() -> None:
    with pytest.raises(ValueError, match="expected direction to be one of"):
        AffineAutoregressive2d(2, direction="middle")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected an odd breadth, got 2"):
        AffineAutoregressive2d(2, breadth=2)
    for name in ("reach", "breadth", "width"):
        with pytest.raises(ValueError, match=name):
            AffineAutoregressive2d(2, **{name: 0})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="channels"):
        AffineAutoregressive2d(0)
