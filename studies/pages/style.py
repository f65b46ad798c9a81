"""How every figure looks, and how it becomes the same bytes every time."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

#: Line style, marker and colour of an operation: each of the three alone tells them apart.
#: The colours are from Okabe and Ito's palette for colour-blind readers.
OPERATION_STYLES: dict[str, dict[str, Any]] = {
    "forward": {"ls": "-", "marker": "o", "color": "#0072B2", "mfc": "#0072B2"},
    "inverse": {"ls": "--", "marker": "s", "color": "#D55E00", "mfc": "#D55E00"},
    "log_det": {"ls": ":", "marker": "^", "color": "#000000", "mfc": "#FFFFFF"},
}

_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "emcheck",
    "svg.fonttype": "none",  # words as words: a third of the size, and they can be searched
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "errorbar.capsize": 0,
    "grid.linewidth": 0.4,
    "grid.color": "#CCCCCC",
}


#: Digits beyond a hundredth of a point (six are written), names of groups, turns by nothing,
#: indentation, groups that are left empty, and space in paths: half of a file.
_UNSEEN = [
    (re.compile(pattern), kept)
    for pattern, kept in (
        (rb"(\d\.\d\d)\d{3,}", rb"\1"),
        (rb' id="[A-Za-z0-9.]+_\d+"', b""),
        (rb' transform="rotate\(-?0 [^"]*\)"', b""),
        (rb"\n +", b"\n"),
        (rb"<g/>\n", b""),
        (rb"<g>\n</g>\n", b""),
        (rb" ?\n([LCQ]) ", rb"\1"),
        (rb' \n"', b'"'),
    )
]


@contextmanager
def house_style() -> Iterator[None]:
    """matplotlib's defaults plus ours, whatever the user's own settings; undone at the end."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def plain_ticks(axis: Axis, subs: Sequence[float] = (1.0, 2.0, 5.0)) -> None:
    """Label a logarithmic axis at ``subs`` times each power of ten, with plain numbers."""
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def to_svg(figure: Figure) -> bytes:
    """The figure as SVG, without a date and without what nobody sees."""
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None}
    figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.08, metadata=metadata)
    drawn = buffer.getvalue()
    for pattern, kept in _UNSEEN:
        drawn = pattern.sub(kept, drawn)
    return _with_classes(drawn)


def _with_classes(drawn: bytes) -> bytes:
    """Write a style that occurs more than once only once, as a class."""
    counted = Counter(re.findall(rb' style="([^"]*)"', drawn))
    styles = [style for style, times in counted.items() if times > 1]
    for n, style in enumerate(styles):
        drawn = drawn.replace(b' style="%s"' % style, b' class="s%d"' % n)
    rules = b"".join(b".s%d{%s}" % (n, style) for n, style in enumerate(styles))
    return drawn.replace(b"</style>", rules + b"</style>", 1)


def size_name(height: int, width: int) -> str:
    """``16²`` for a square image, else ``16x8``."""
    return f"{height}²" if height == width else f"{height}x{width}"
