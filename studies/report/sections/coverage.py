"""Real images, and what was not measured (in words)."""

from __future__ import annotations

from collections.abc import Iterable

from studies.pages.fields import OPERATIONS
from studies.pages.markdown import code, csv_link, error_ratio, fold, number, plural, table
from studies.pages.tidy import records
from studies.report.frames import Frames
from studies.report.timings import CELL_KEYS

_DEVICES = {"cuda": "CUDA", "mps": "MPS (Apple GPU)"}


def images(frames: Frames) -> str:
    """Round trips and log-dets on real image patches."""
    title = "### Real images"
    if frames.images is None:
        return f"{title}\n\nNot run: the input holds no result on real images."
    rows = [
        [
            code(row["source"]),
            code(row["layer"]),
            row["dtype"],
            f"{row['patches']} of {row['shape']}",
            row["verdict"] if row["verdict"] == "PASS" else f"**{row['verdict']}**",
            number(row["round_trip_error"]),
            error_ratio(row["round_trip_ratio"], row["threshold"], ""),
            number(row["bits_per_dim_logdet"], 3),
            error_ratio(row["logdet_error_ratio"], row["threshold"], ""),
        ]
        for row in records(frames.images)
    ]
    head = ["image", "layer", "dtype", "patches", "verdict"]
    head += ["largest round-trip error", "its ratio", "log-det, bits per dimension", "its ratio"]
    intro = (
        "Patches of photographs, 8 bits and dequantised, forward and back. The log-det is its mean "
        "contribution in bits per dimension. " + csv_link("images")
    )
    return "\n\n".join([title, intro, fold("Image by image", table(head, rows, left=5))])


def gaps(frames: Frames) -> str:
    """What this report says nothing about, in words."""
    lines = [*_missing_parts(frames), *_devices(frames), *_profiles(frames)]
    lines += [*_layers(frames), *_cells(frames), *_unjudged(frames)]
    if not lines:
        lines = ["Nothing that the inputs name is missing."]
    return "\n".join(["## What was not measured", "", *(f"- {line}" for line in lines)])


def _missing_parts(frames: Frames) -> list[str]:
    lines = []
    if frames.timings is None:
        lines.append("Times: there is no benchmark file among the inputs (`pytest benches`).")
    if frames.checks is None:
        lines.append("Checks: there are no check results among the inputs (`pytest properties`).")
    if frames.kills is None:
        lines.append("Faults: none was seeded, so no check is proven by a failure.")
    if frames.canaries is None:
        lines.append("Canaries: none ran, so the installation itself is untested.")
    if frames.images is None:
        lines.append("Real images: no layer ran on one.")
    return lines


def _devices(frames: Frames) -> list[str]:
    """Devices that no file has times of, and why."""
    measured = {row["device"] for file in frames.files for row in file.rows}
    absent: dict[str, list[str]] = {}
    idle: dict[str, list[str]] = {}
    for file in frames.files:
        for device in set(file.machine["absent_devices"]) - measured:
            absent.setdefault(_DEVICES.get(device, device), []).append(file.name)
        for device in set(file.machine["devices"]) - measured:
            idle.setdefault(_DEVICES.get(device, device), []).append(file.name)
    return [
        *(
            f"{known}: unmeasured: no {known} device on the machine of {', '.join(names)}."
            for known, names in sorted(absent.items())
        ),
        *(
            f"{known}: present on the machine of {', '.join(names)}, but nothing was timed."
            for known, names in sorted(idle.items())
        ),
    ]


def _profiles(frames: Frames) -> list[str]:
    return [
        f"{file.name} comes from the quick profile: not every size is there in every batch."
        for file in frames.files
        if file.machine["profile"] == "quick"
    ]


def _layers(frames: Frames) -> list[str]:
    if frames.timings is None or frames.checks is None:
        return []
    timed, checked = set(frames.timings["layer"]), set(frames.checks["layer"])
    lines = []
    if checked - timed:
        lines.append(f"Checked but not timed: {_names(checked - timed)}.")
    if timed - checked:
        lines.append(f"Timed but not among the checked layers: {_names(timed - checked)}.")
    return lines


def _names(values: Iterable[str]) -> str:
    return ", ".join(code(value) for value in sorted(values))


def _cells(frames: Frames) -> list[str]:
    """Cells that lack an operation or a machine."""
    if frames.cells is None or frames.timings is None:
        return []
    lines = []
    for operation in OPERATIONS:
        absent = frames.cells[frames.cells[f"{operation}_median"].isna()]
        if len(absent):
            count = f"{len(absent)} of {plural(len(frames.cells), 'cell')}"
            lines.append(f"{operation}: no time in {count} ({_names(set(absent['layer']))}).")
    distinct = len(frames.cells[CELL_KEYS].drop_duplicates())
    for machine, group in frames.cells.groupby("machine", sort=True):
        if len(group) < distinct:
            lines.append(f"Machine {machine}: {distinct - len(group)} of {distinct} cells.")
    none = int((frames.timings["interval"] == "not available (no round data)").sum())
    if none:
        total = plural(len(frames.timings), "time")
        lines.append(f"Intervals: not available for {none} of {total}, which lack round data.")
    return lines


def _unjudged(frames: Frames) -> list[str]:
    if frames.checks is None:
        return []
    lines = []
    for verdict in ("NOT RUN", "UNSUPPORTED", "ILL-CONDITIONED"):
        rows = frames.checks[frames.checks["verdict"] == verdict]
        if len(rows):
            which = _names(set(rows["check"]))
            lines.append(f"{verdict}: {plural(len(rows), 'result')} of the checks {which}.")
    return lines
