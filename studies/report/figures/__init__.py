"""Figures as SVG, drawn with matplotlib's object interface (no global figure list)."""

from __future__ import annotations

from matplotlib.figure import Figure

from studies.pages.style import house_style, to_svg
from studies.pages.tidy import where
from studies.report.faults import kill_matrix
from studies.report.figures.heatmaps import kill_figures, verdict_figure
from studies.report.figures.ratios import worst_ratio_figure
from studies.report.figures.solvers import solver_figure
from studies.report.figures.times import ratio_figure, time_figure
from studies.report.frames import Frames
from studies.report.timings import sweep_view
from studies.report.verdicts import share_matrix, verdict_matrix, worst_ratios


def _figures(frames: Frames) -> dict[str, Figure | None]:
    figures: dict[str, Figure | None] = {}
    if frames.checks is not None:
        figures["verdict_matrix"] = verdict_figure(
            verdict_matrix(frames.checks), share_matrix(frames.checks)
        )
        figures["worst_ratios"] = worst_ratio_figure(worst_ratios(frames.checks))
    if frames.faults is not None and frames.kills is not None:
        parts = kill_figures(kill_matrix(frames.faults), frames.kills)
        figures |= {f"kill_matrix_{family}": part for family, part in parts.items()}
    if frames.timings is not None and frames.cells is not None:
        names = frames.machine_names()
        for machine in names:
            here = where(frames.timings, {"machine": machine})
            figures[f"time_{machine}"] = time_figure(where(here, sweep_view(here)))
        view = sweep_view(frames.timings)
        figures["inverse_over_forward"] = ratio_figure(where(frames.cells, view), names)
    if frames.contests is not None:
        figures["solvers"] = solver_figure(frames.contests)
    return figures


def draw_all(frames: Frames) -> dict[str, bytes]:
    """Every figure of the report, by the name of its file."""
    with house_style():
        drawn = {name: figure for name, figure in _figures(frames).items() if figure is not None}
        return {name: to_svg(figure) for name, figure in drawn.items()}
