"""The picture of a Jacobian: every nonzero entry is a square in its place, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch

from studies.pages.patterns import draw_pattern, pixel_major

EVENT = (2, 3, 4)


def _drawn(matrix: np.ndarray, *events: tuple[int, ...]) -> tuple[Axes, set[tuple[int, int]]]:
    """The axes and the cells ``(row, column)`` that are dark."""
    axes = Figure().add_axes((0, 0, 1, 1))
    draw_pattern(axes, matrix, *events)
    squares = [
        square
        for patch in axes.patches
        if isinstance(patch, PathPatch)
        for square in patch.get_path().to_polygons()
    ]
    corners = [square.min(axis=0) for square in squares]
    assert all(len(square) == 5 for square in squares)
    return axes, {(int(y), int(x)) for x, y in corners}


def test_pixels_come_first_and_channels_inside() -> None:
    n = int(np.prod(EVENT))
    order = pixel_major(EVENT)
    assert [int(k) for k in order[:4]] == [0, 12, 1, 13]
    for output, source in ((0, 0), (13, 5), (n - 1, 2)):
        matrix = np.zeros((n, n))
        matrix[output, source] = -1e-300
        place = int(np.argmax(order == output)), int(np.argmax(order == source))
        assert _drawn(matrix, EVENT)[1] == {place}


def test_every_nonzero_entry_is_drawn() -> None:
    matrix = np.random.default_rng(0).integers(0, 2, (24, 24)).astype(float)
    order = pixel_major(EVENT)
    cells = np.argwhere(matrix[np.ix_(order, order)])
    assert _drawn(matrix, EVENT)[1] == {(int(y), int(x)) for y, x in cells}


def test_pixels_and_channels_are_named() -> None:
    axes, _ = _drawn(np.eye(16), (1, 4, 4), (4, 2, 2))
    assert [t.get_text() for t in axes.get_xticklabels()][:3] == ["(0,0)", "(0,1)", "(0,2)"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["(0,0)", "(0,1)", "(1,0)", "(1,1)"]
    right, below = axes.child_axes
    assert [t.get_text() for t in right.get_yticklabels()] == ["0", "1", "2", "3"] * 4
    assert [t.get_text() for t in below.get_xticklabels()] == ["0"] * 16


def test_a_matrix_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a matrix \(24, 24\)"):
        _drawn(np.eye(12), EVENT)
