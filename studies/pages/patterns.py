"""The nonzero pattern of a Jacobian, pixel by pixel."""

from __future__ import annotations

import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from emcheck.contract import Event
from emcheck.oracle.precision import Array

_SQUARE = 0.12  # inches an entry
_INK = "#1A1A1A"

#: Grey and width of the lines between entries, between pixels and between rows of pixels.
_ENTRY, _PIXEL, _ROW = ("#EEEEEE", 0.4), ("#AAAAAA", 0.6), ("#555555", 0.9)


def pixel_major(event: Event) -> Array:
    """Indices of the flattened event ``(C, H, W)``: pixels in raster order, channels inside."""
    C, H, W = event
    return np.arange(C * H * W).reshape(C, H, W).transpose(1, 2, 0).reshape(-1)


def draw_pattern(axes: Axes, matrix: Array, event: Event, event_out: Event | None = None) -> None:
    """Dark squares where ``|matrix| > 0``, outputs downwards and inputs to the right.

    Pixels ``(i,j)`` are named on the left and on top, channels below and on the right. Lines
    separate the blocks of two pixels; darker ones separate the rows of the image.

    Args:
        axes: drawn on; its limits and ticks are set.
        matrix: ``(n_out, n_in)`` in the order ``(c, i, j)`` of a flattened event.
        event: ``(C, H, W)`` of the input.
        event_out: that of the output, if it differs.

    Raises:
        ValueError: a matrix of another size than the events.
    """
    event_out = event if event_out is None else event_out
    wanted = int(np.prod(event_out)), int(np.prod(event))
    if matrix.shape != wanted:
        raise ValueError(
            f"expected a matrix {wanted} for {event_out} by {event}, got {matrix.shape}"
        )
    nonzero = np.abs(matrix[np.ix_(pixel_major(event_out), pixel_major(event))]) > 0
    axes.set_xlim(0, wanted[1])
    axes.set_ylim(wanted[0], 0)
    axes.set_aspect("equal")
    _lines(axes, event, vertical=True)
    _lines(axes, event_out, vertical=False)
    _fill(axes, nonzero)
    _name_pixels(axes, event_out, event)
    _name_channels(axes, event_out, event)


def pattern_figure(matrix: Array, event: Event, event_out: Event | None = None) -> Figure:
    """One pattern, sized by its entries."""
    rows, columns = matrix.shape
    figure = Figure(figsize=(_SQUARE * columns, _SQUARE * rows))
    draw_pattern(figure.add_axes((0.0, 0.0, 1.0, 1.0)), matrix, event, event_out)
    return figure


def _lines(axes: Axes, event: Event, *, vertical: bool) -> None:
    C, H, W = event
    kinds: dict[tuple[str, float], list[int]] = {_ENTRY: [], _PIXEL: [], _ROW: []}
    for place in range(1, C * H * W):
        kinds[_ENTRY if place % C else _PIXEL if place % (C * W) else _ROW].append(place)
    end = axes.get_ylim()[0] if vertical else axes.get_xlim()[1]
    for (color, width), places in kinds.items():
        draw = axes.vlines if vertical else axes.hlines
        draw(places, 0, end, colors=color, linewidths=width, zorder=1)


def _fill(axes: Axes, nonzero: Array) -> None:
    """Squares as one path, a little inside their cells so that lines stay visible."""
    corners = np.array([(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9), (0.1, 0.1)])
    squares = [Path(corners + np.array((x, y)), closed=True) for y, x in np.argwhere(nonzero)]
    if squares:
        whole = Path.make_compound_path(*squares)
        axes.add_patch(PathPatch(whole, facecolor=_INK, linewidth=0, zorder=2))


def _name_pixels(axes: Axes, event_out: Event, event: Event) -> None:
    for axis, (C, H, W) in ((axes.yaxis, event_out), (axes.xaxis, event)):
        names = [f"({i},{j})" for i, j in itertools.product(range(H), range(W))]
        axis.set_ticks([C * (p + 0.5) for p in range(H * W)], names, size=6)
    axes.tick_params(axis="x", rotation=90)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("input pixel (i,j)", size=7)
    axes.set_ylabel("output pixel (i,j)", size=7)


def _name_channels(axes: Axes, event_out: Event, event: Event) -> None:
    """The channel of every row on the right and of every column below."""
    right, below = axes.secondary_yaxis("right"), axes.secondary_xaxis("bottom")
    for axis, (C, H, W) in ((right.yaxis, event_out), (below.xaxis, event)):
        places = [n + 0.5 for n in range(C * H * W)]
        axis.set_ticks(places, [str(n % C) for n in range(C * H * W)], size=5)
        axis.set_tick_params(length=0, pad=2)
        axis.set_label_text("channel", size=6)
