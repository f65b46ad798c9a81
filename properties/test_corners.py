"""One-corner convolutions are square-masked ones of another size, and flips of each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from emcheck.layers import AutoregressiveConv2d, CornerConv2d, FourCornerConv2d
from emcheck.layers.corner import CORNERS
from emcheck.specs.parameter_styles import move_parameters


def moved(layer: CornerConv2d | FourCornerConv2d, seed: int = 0) -> None:
    layer.double()
    move_parameters(layer, "mixed", torch.Generator().manual_seed(seed))


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4])
def test_is_a_square_mask_of_twice_the_size(kernel_size: int) -> None:
    corner = CornerConv2d(3, kernel_size)
    moved(corner)
    square = AutoregressiveConv2d(3, 2 * kernel_size - 1).double()
    square.weight.data.normal_()  # what is masked does not matter
    square.weight.data[:, :, :kernel_size, :kernel_size] = corner.weight.data
    x = drawn(2, 3, 5, 4)
    for mine, theirs in ((corner(x), square(x)), (corner.inverse(x), square.inverse(x))):
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("corner", CORNERS)
def test_another_corner_is_a_flip(corner: str) -> None:
    first, other = CornerConv2d(3), CornerConv2d(3, corner=corner)  # type: ignore[arg-type]
    moved(first)
    other.double().weight.data.copy_(first.weight.data)
    axes = {"top": (), "bottom": (2,)}[corner.split("-")[0]]
    axes += {"left": (), "right": (3,)}[corner.split("-")[1]]
    x = drawn(2, 3, 4, 5)
    assert torch.equal(other(x)[0], first(x.flip(axes))[0].flip(axes))
    assert torch.equal(other.inverse(x)[0], first.inverse(x.flip(axes))[0].flip(axes))


def test_a_pixel_sees_towards_the_padded_corner_only() -> None:
    x = torch.zeros(1, 1, 5, 6, dtype=torch.float64)
    x[0, 0, 2, 3] = 1
    reached = {
        "top-left": (slice(2, 4), slice(3, 5)),
        "top-right": (slice(2, 4), slice(2, 4)),
        "bottom-left": (slice(1, 3), slice(3, 5)),
        "bottom-right": (slice(1, 3), slice(2, 4)),
    }
    for corner, (rows, columns) in reached.items():
        layer = CornerConv2d(1, 2, corner).double()  # type: ignore[arg-type]
        layer.weight.data.fill_(1.0)
        expected = torch.zeros(5, 6, dtype=torch.float64)
        expected[rows, columns] = 1
        assert torch.equal(layer(x)[0][0, 0], expected), corner


def test_groups_are_as_even_as_possible() -> None:
    for channels in range(1, 14):
        layer = FourCornerConv2d(channels)
        sizes = [part.channels for part, _ in layer.groups(torch.ones(1, channels, 2, 2))]
        assert sum(sizes) == channels
        assert sizes == sorted(sizes, reverse=True)
        assert len(sizes) == min(channels, 4)
        assert max(sizes) - min(sizes) <= 1
        assert [part.corner for part in layer.parts] == list(CORNERS)[: len(sizes)]


def test_groups_do_not_mix() -> None:
    layer = FourCornerConv2d(6)
    moved(layer)
    x = drawn(1, 6, 3, 4)
    y = x.clone()
    y[:, 2:4] += 1  # the second group
    changed = (layer(x)[0] != layer(y)[0]).any(dim=3).any(dim=2)[0]
    assert changed.tolist() == [False, False, True, True, False, False]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="expected corner to be one of"):
        CornerConv2d(2, 3, "middle")  # type: ignore[arg-type]
    for layer in (CornerConv2d, FourCornerConv2d):
        with pytest.raises(ValueError, match="kernel_size"):
            layer(2, 0)
        with pytest.raises(ValueError, match="channels"):
            layer(0)
