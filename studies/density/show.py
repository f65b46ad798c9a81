"""What training shows: a bar with bits per dimension, a log, a table, a picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import TimeRemainingColumn
from rich.table import Table

from emcheck._internal.files import write_file
from emcheck._internal.progress import Bar, Output
from emcheck._internal.randomness import stream
from emcheck.guard import one_line
from emcheck.oracle.precision import Array
from studies.density.cell import Cell
from studies.density.checkpoint import read_checkpoint
from studies.density.regions import quantise
from studies.density.training import Training

#: Weight of the newest loss in what the bar shows.
_SMOOTH = 0.05


class TrainingProgress(Bar):
    """A bar with bits per dimension and time left."""

    def __init__(self, training: Training) -> None:
        leads = training.group.leads
        super().__init__("steps", training.cell.steps, TimeRemainingColumn(), shown=leads)
        self._bits: float | None = None

    def step(self, training: Training, bits: float) -> None:
        before = bits if self._bits is None else self._bits
        self._bits = before + _SMOOTH * (bits - before)
        self.update(completed=training.step_number, description=f"{self._bits:.3f} bits/dim")


def write_log(path: Path, training: Training) -> None:
    """All rows so far as CSV; one column for the worst condition of a mixing layer."""
    rows = [
        {**row, "conditions": max(row.get("conditions", []), default=None)} for row in training.rows
    ]
    frame = pd.DataFrame(rows).rename(columns={"conditions": "worst_condition"})
    write_file(path, frame.to_csv(index=False).encode())


def render_outcome(record: dict[str, Any], console: Console | None = None) -> None:
    """The figures of one trained cell in at most 80 columns."""
    fidelity = record["fidelity"]
    rows = [
        ("parameters", f"{record['parameters']:,} (couplings of width {record['width']})"),
        ("training", f"{record['steps']:,} steps in {record['train_seconds']:.1f} s"),
        ("best validation", f"after {record['best_step']:,} steps"),
        ("test bits/dim", f"{record['test']:.4f} ± {record['test_error']:.4f} (over patches)"),
        ("importance-weighted", f"{record['test_weighted']:.4f}"),
        ("round trip of images", f"{fidelity['image']:.2g} grey levels at most"),
        ("pixels that change", f"{fidelity['changed']:.2%}"),
        (
            "latents that are lost",
            f"{fidelity['lost']:.2%} ({fidelity['lost_float64']:.2%} in float64)",
        ),
        ("sampling", f"{record['sample_seconds'] * 1e3:.3f} ms per image"),
        ("worst condition", f"{max(record['rows'][-1].get('conditions') or [float('nan')]):.3g}"),
    ]
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows:
        table.add_row(name, value)
    (console or Output()).print(table)


def write_samples(
    checkpoint: Path, count: int, temperature: float, seed: int, scale: int, out: Path
) -> Path:
    """Draw images with the best averaged weights of a checkpoint; one picture, enlarged."""
    state = read_checkpoint(checkpoint)
    try:
        cell, shape, bins = Cell.from_json(state["cell"]), tuple(state["shape"]), state["bins"]
        flow = cell.build(shape)
        flow.load_state_dict(state["best"])
    except (KeyError, TypeError, RuntimeError) as error:
        reason = one_line(error, 120)
        raise ValueError(f"{checkpoint}: expected a checkpoint of a flow, got {reason}") from None
    values = quantise(flow.sample(count, stream("drawn", seed), temperature), bins)
    write_file(out, picture(values, bins, scale))
    return out


def picture(values: Array, bins: int, scale: int = 4, columns: int = 8) -> bytes:
    """Images ``(N, C, H, W)`` side by side with a margin of one pixel, as PNG."""
    from PIL import Image

    N, C, H, W = values.shape
    columns = min(columns, N)
    rows = -(-N // columns)
    sheet = np.full((C, rows * (H + 1) + 1, columns * (W + 1) + 1), 255, np.uint8)
    bright = (values.astype(np.float64) * 255 / (bins - 1)).round().astype(np.uint8)
    for n, image in enumerate(bright):
        top, left = n // columns * (H + 1) + 1, n % columns * (W + 1) + 1
        sheet[:, top : top + H, left : left + W] = image
    large = sheet.repeat(scale, axis=1).repeat(scale, axis=2).transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(large if C == 3 else large[..., 0]).save(buffer, format="PNG")
    return buffer.getvalue()
