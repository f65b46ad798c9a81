"""All tidy frames of one report; a part whose input is missing is None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from studies.contests.counted import count_frame
from studies.contests.report import bar_frame, contest_frame
from studies.density.report.load import Density
from studies.pages.load import BenchmarkFile, Contests, Properties
from studies.pages.schema import Record
from studies.report.faults import fault_frame, kill_matrix, kill_table
from studies.report.timings import (
    TIDY_COLUMNS,
    cell_frame,
    growth_frame,
    side_by_side,
    timing_frame,
)
from studies.report.verdicts import check_frame, counts, verdict_matrix, worst_ratios


@dataclass(frozen=True)
class Frames:
    """What the report stands on: the inputs and the frames made of them."""

    files: list[BenchmarkFile] = field(default_factory=list)
    origins: list[Record] = field(default_factory=list)
    timings: pd.DataFrame | None = None
    cells: pd.DataFrame | None = None
    growth: pd.DataFrame | None = None
    checks: pd.DataFrame | None = None
    faults: pd.DataFrame | None = None
    kills: pd.DataFrame | None = None
    images: pd.DataFrame | None = None
    canaries: pd.DataFrame | None = None
    contests: pd.DataFrame | None = None
    bars: pd.DataFrame | None = None
    counted: pd.DataFrame | None = None
    sweeps: Mapping[str, Density] = field(default_factory=dict)
    survey: pd.DataFrame | None = None
    claims: pd.DataFrame | None = None

    def machine_names(self) -> dict[str, str]:
        """Letter -> name of every machine that was timed, in the order of the letters."""
        if self.timings is None:
            return {}
        pairs = self.timings[["machine", "machine_name"]].drop_duplicates()
        return dict(zip(pairs["machine"], pairs["machine_name"], strict=True))


def build(
    files: Sequence[BenchmarkFile],
    properties: Properties | None,
    contests: Contests | None = None,
    sweeps: Mapping[str, Density] | None = None,
    survey: pd.DataFrame | None = None,
    claims: pd.DataFrame | None = None,
    origins: Sequence[Record] = (),
) -> Frames:
    """The frames of the inputs that are there."""
    known = properties or Properties()
    timings = timing_frame(files) if files else None
    growth = growth_frame(timings) if timings is not None else None
    checks, faults = known.of("check"), known.of("fault")
    images = pd.DataFrame(known.of("image")) if known.of("image") else None
    if images is not None:
        images["shape"] = ["x".join(map(str, shape)) for shape in images["shape"]]
        images = images.sort_values(["source", "layer", "dtype"], ignore_index=True)
    seeded = fault_frame(faults) if faults else None
    raced = pd.DataFrame(contests.rows) if contests is not None else None
    timed = contest_frame(raced) if raced is not None else None
    return Frames(
        files=list(files),
        origins=list(origins),
        timings=timings,
        cells=cell_frame(timings) if timings is not None else None,
        growth=growth if growth is not None and len(growth) else None,
        checks=check_frame(checks) if checks else None,
        faults=seeded,
        kills=kill_table(seeded) if seeded is not None else None,
        images=images,
        canaries=pd.DataFrame(known.of("canary")) if known.of("canary") else None,
        contests=timed,
        bars=bar_frame(raced) if raced is not None else None,
        counted=count_frame(timed) if timed is not None else None,
        sweeps=sweeps or {},
        survey=survey,
        claims=claims,
    )


def csv_tables(frames: Frames) -> dict[str, pd.DataFrame]:
    """Every table of the report, by the name of its CSV file."""
    tables: dict[str, pd.DataFrame] = {"provenance": pd.DataFrame(frames.origins)}
    if frames.canaries is not None:
        tables["self_tests"] = frames.canaries
    if frames.checks is not None:
        tables["checks"] = frames.checks
        tables["verdicts_by_family"] = counts(frames.checks, "family")
        tables["verdicts_by_layer"] = counts(frames.checks, "layer")
        tables["verdict_matrix"] = verdict_matrix(frames.checks)
        tables["worst_ratios"] = worst_ratios(frames.checks)
    if frames.faults is not None and frames.kills is not None:
        tables["faults"] = frames.kills
        tables["kill_matrix"] = kill_matrix(frames.faults)
        tables["fault_results"] = frames.faults
    if frames.timings is not None and frames.cells is not None:
        tables["times"] = frames.timings[TIDY_COLUMNS]
        tables["times_by_cell"] = side_by_side(frames.cells)
    if frames.growth is not None:
        tables["growth"] = frames.growth
    if frames.images is not None:
        tables["images"] = frames.images
    if frames.contests is not None and frames.bars is not None:
        tables["contests"] = frames.contests
        tables["bars"] = frames.bars
    if frames.counted is not None and len(frames.counted):
        tables["counted"] = frames.counted
    if frames.survey is not None:
        tables["survey"] = frames.survey
    if frames.claims is not None:
        tables["claims"] = frames.claims
    return tables
