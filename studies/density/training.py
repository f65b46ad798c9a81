"""Maximum likelihood as in the paper: Adamax, warm-up, averaged weights, dequantised images.

Batches and noise depend on the seed and the number of the step alone, and a checkpoint holds
everything else; so a run that was killed goes on to the same numbers, bit for bit on one thread.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from benches.timing import clock
from emcheck._internal.randomness import stream
from emcheck.flows import Glow
from emcheck.oracle.precision import Array
from studies.density.cell import Cell
from studies.density.checkpoint import read_checkpoint, write_checkpoint
from studies.density.conditioning import mixing_conditions
from studies.density.evaluation import evaluate
from studies.density.parallel import ALONE, Group
from studies.density.regions import Data, dequantise

#: Patches that set the actnorms.
INITIAL = 256

#: A run that is this many uniform codes above its first step has diverged.
HOPELESS = 2.0

#: The conditions of the mixing layers are measured in every such log, and in the last.
_CONDITIONS_EVERY = 4

Row = dict[str, Any]


class Diverged(ValueError):
    """The loss is not finite, or far above where it began."""


class _Loss(nn.Module):
    """Mean bits per dimension as a forward pass, which DistributedDataParallel can wrap."""

    def __init__(self, flow: Glow, bins: int) -> None:
        super().__init__()
        self.flow, self.bins = flow, bins

    def forward(self, x: Tensor) -> Tensor:
        return self.flow.bits_per_dim(x, self.bins).mean()


class Training:
    """A flow, its averaged weights and its optimiser at one step of a cell.

    ``best`` are the averaged weights of the log with the least validation loss: on a small data
    set training goes on to learn it by heart.

    Args:
        cell: what to train.
        data: its images.
        group: the processes that share each batch; one alone by default.

    Raises:
        ValueError: a batch that the processes cannot share.
    """

    def __init__(self, cell: Cell, data: Data, group: Group = ALONE) -> None:
        self.cell, self.data, self.group = cell, data, group
        group.validate(cell.batch)
        self.flow = cell.build(data.shape).to(group.device)
        self.flow.initialize(self._batch("initial", 0, INITIAL).to(group.device))
        self.averaged = copy.deepcopy(self.flow)
        self.best, self.best_step = copy.deepcopy(self.flow), 0
        self.loss = group.wrap(_Loss(self.flow, data.bins))
        self.optimiser = torch.optim.Adamax(self.flow.parameters(), lr=cell.rate, foreach=True)
        self.step_number, self.seconds, self.first = 0, 0.0, math.nan
        self.rows: list[Row] = []
        self._recent: list[float] = []
        self._now = clock(group.device.type)

    def _batch(self, role: str, number: int, size: int) -> Tensor:
        generator = stream(role, self.cell.data, self.cell.seed, number)
        return dequantise(self.data.draw(size, generator), self.data.bins, generator)

    def step(self) -> float:
        """One step of the optimiser; the mean bits per dimension of its batch.

        Raises:
            Diverged: with the step and the value.
        """
        start, cell = self._now(), self.cell
        x = self._batch("batch", self.step_number, cell.batch)
        x = self.group.share(x).to(self.group.device)
        for group in self.optimiser.param_groups:
            group["lr"] = cell.rate_at(self.step_number)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(x)
        loss.backward()
        bits = self.group.mean(loss.detach())
        self._watch(bits)
        self.optimiser.step()
        self._average()
        self.step_number += 1
        self.seconds += self._now() - start
        self._recent.append(bits)
        return bits

    def _watch(self, bits: float) -> None:
        if self.step_number == 0:
            self.first = bits
        most = self.first + HOPELESS * math.log2(self.data.bins)
        if not bits <= most:  # NaN as well
            raise Diverged(
                f"diverged at step {self.step_number}: expected at most {most:.2f} bits/dim, "
                f"got {bits:.4g}; a smaller --rate or a longer --warmup may help"
            )

    @torch.no_grad()
    def _average(self) -> None:
        """Averaged weights, over fewer steps at the start (``(1 + t) / (10 + t)``)."""
        decay = min(self.cell.average, (1 + self.step_number) / (10 + self.step_number))
        update = get_ema_multi_avg_fn(decay)
        update(list(self.averaged.parameters()), list(self.flow.parameters()), self.step_number)

    def log(self) -> Row:
        """A row of the log: training and validation bits per dimension, and conditions.

        Raises:
            Diverged: validation is not finite.
        """
        number, least = len(self.rows), min((row["valid"] for row in self.rows), default=math.inf)
        row: Row = {
            "step": self.step_number,
            "train": sum(self._recent) / len(self._recent) if self._recent else math.nan,
            "valid": self.evaluate(self.data.valid, "valid"),
            "seconds": self.seconds,
        }
        if number % _CONDITIONS_EVERY == 0 or self.step_number == self.cell.steps:
            row["conditions"] = mixing_conditions(self.averaged)
        if not math.isfinite(row["valid"]):
            raise Diverged(
                f"diverged at step {self.step_number}: expected a finite validation, "
                f"got {row['valid']}; a smaller --rate or a longer --warmup may help"
            )
        if row["valid"] < least:
            self.best, self.best_step = copy.deepcopy(self.averaged), self.step_number
        self._recent = []
        self.rows.append(row)
        return row

    def evaluate(self, values: Array, role: str) -> float:
        """Mean bits per dimension of the averaged weights, the same noise each time."""
        return float(evaluate(self.averaged, values, self.data.bins, role).mean())

    def state(self) -> dict[str, Any]:
        return {
            "cell": self.cell.to_json(),
            "shape": list(self.data.shape),
            "bins": self.data.bins,
            "step": self.step_number,
            "seconds": self.seconds,
            "first": self.first,
            "rows": self.rows,
            "flow": self.flow.state_dict(),
            "averaged": self.averaged.state_dict(),
            "best": self.best.state_dict(),
            "best_step": self.best_step,
            "optimiser": self.optimiser.state_dict(),
        }

    def save(self, path: Path) -> None:
        """Write a checkpoint under a temporary name, then rename it."""
        write_checkpoint(path, self.state())

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same cell.

        Raises:
            ValueError: a broken checkpoint, or one of another cell, naming what differs.
        """
        state = read_checkpoint(path, self.group.device)
        if differs := self.cell.differs_from(state["cell"]):
            raise ValueError(
                f"{path}: expected a checkpoint with {differs}; choose another --out or delete it"
            )
        self.flow.load_state_dict(state["flow"])
        self.averaged.load_state_dict(state["averaged"])
        self.best.load_state_dict(state["best"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step_number, self.rows = state["step"], state["rows"]
        self.seconds, self.first = state["seconds"], state["first"]
        self.best_step = state["best_step"]


def train(
    training: Training,
    checkpoint: Path | None,
    on_step: Callable[[Training, float], None] = lambda training, bits: None,
    on_log: Callable[[Training, Row], None] = lambda training, row: None,
) -> None:
    """Train to the last step of the cell, from its checkpoint where there is one.

    Raises:
        Diverged: the last checkpoint before is kept.
    """
    cell = training.cell
    if checkpoint is not None and training.group.agree(checkpoint.exists()):
        training.load(checkpoint)
    if not training.rows:
        on_log(training, training.log())
    while training.step_number < cell.steps:
        on_step(training, training.step())
        done = training.step_number
        if len(training.rows) <= done * cell.logs // cell.steps:
            on_log(training, training.log())
            if checkpoint is not None and training.group.leads:
                training.save(checkpoint)
