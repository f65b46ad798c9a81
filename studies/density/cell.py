"""One training: what is trained on what, for how long, from which seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from torch import nn

from emcheck.flows import Glow
from emcheck.flows.mixing import MIXINGS
from emcheck.layers import AutoregressiveConv2d, Conv1x1PLU, Conv1x1QR, CornerConv2d
from emcheck.solve import live_taps

#: The control experiments of the 1x1 flow against the emerging flow.
CONTROLS = ("", "parameters", "time")

#: What the two controls match.
RIVAL = "1x1+emerging"


@dataclass(frozen=True)
class Cell:
    """A training, reproducible from these fields alone.

    Args:
        data: name of the data set.
        mixing: of the flow.
        depth: steps in each level.
        seed: of the initial weights, of the batches and of the noise.
        control: ``"parameters"``: the couplings have the width at which there are about as many
            parameters as in the emerging flow of this width, at least as many; ``"time"``:
            ``steps`` was chosen to take as long as the emerging flow takes; else empty.
        levels: of the flow.
        width: hidden channels of the couplings, before a control widens them.
        size: side of a patch.
        batch: patches of one step, over all processes.
        steps: of the optimiser.
        warmup: steps until the learning rate has grown to ``rate``.
        rate: learning rate of Adamax; ten times the paper's, whose couplings are sixteen times
            as wide and whose trainings are hundreds of times as long.
        average: decay of the averaged weights.
        logs: how often in a run the validation is logged and the state is saved.
        identity: whether the convolutions of the mixing start as the identity.
        recompute: train without kept activations.
        budget: 0 keeps the learning rate after the warm-up. Else it falls to zero along a
            cosine over all ``steps``, and this is the number of steps of the emerging flow that
            the cell is compared with.
    """

    data: str
    mixing: str
    depth: int = 4
    seed: int = 0
    control: str = ""
    levels: int = 2
    width: int = 32
    size: int = 16
    batch: int = 64
    steps: int = 1200
    warmup: int = 120
    rate: float = 1e-2
    average: float = 0.998
    logs: int = 20
    identity: bool = True
    recompute: bool = False
    budget: int = 0

    def __post_init__(self) -> None:
        if self.mixing not in MIXINGS:
            raise ValueError(f"expected a mixing among {', '.join(MIXINGS)}, got {self.mixing!r}")
        if self.control not in CONTROLS:
            raise ValueError(f"expected a control among {CONTROLS}, got {self.control!r}")
        for name in ("depth", "levels", "width", "size", "batch", "steps", "logs"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} to be at least 1, got {getattr(self, name)}")
        if self.budget < 0:
            raise ValueError(f"expected budget to be at least 0, got {self.budget}")
        if not self.rate > 0 or not 0 <= self.average < 1 or self.warmup < 0:
            raise ValueError(
                "expected rate > 0, 0 <= average < 1 and warmup >= 0, "
                f"got {self.rate}, {self.average} and {self.warmup}"
            )

    @property
    def name(self) -> str:
        """A file's name: what differs between the cells of a sweep."""
        variant = f"{self.mixing}={self.control}" if self.control else self.mixing
        budget = f"-budget{self.budget}" if self.budget else ""
        return f"{self.data}-depth{self.depth}-{variant}{budget}-seed{self.seed}"

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0: warm-up, then constant or a cosine."""
        rate = self.rate * min(1.0, (step + 1) / max(self.warmup, 1))
        return rate * (1 + math.cos(math.pi * step / self.steps)) / 2 if self.budget else rate

    def build(self, shape: tuple[int, int, int]) -> Glow:
        """The flow at its initial values, before the data have set the actnorms."""
        width = matched_width(self, shape) if self.control == "parameters" else self.width
        return self._flow(shape, self.mixing, width)

    def _flow(self, shape: tuple[int, int, int], mixing: str, width: int) -> Glow:
        return Glow(
            shape,
            self.levels,
            self.depth,
            mixing,
            width,
            identity=self.identity,
            recompute=self.recompute,
            seed=self.seed,
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def differs_from(self, record: Mapping[str, Any]) -> str:
        """``"steps = 3, got 4"`` for the first setting that a kept record has otherwise."""
        kept = Cell.from_json(record).to_json()
        pairs = ((name, value, kept[name]) for name, value in self.to_json().items())
        return next(
            (f"{name} = {own!r}, got {held!r}" for name, own, held in pairs if own != held), ""
        )

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Cell:
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in record.items() if name in known})


def live_parameters(flow: nn.Module) -> int:
    """Trainable numbers that matter: masked taps and unused triangles do not count."""
    total = sum(p.numel() for p in flow.parameters() if p.requires_grad)
    for part in flow.modules():
        if isinstance(
            part, Conv1x1PLU | Conv1x1QR
        ):  # of each triangle, what is on the diagonal too
            unused = part.channels * (part.channels + 1) // 2
            total -= unused * (2 if isinstance(part, Conv1x1PLU) else 1)
        elif isinstance(part, AutoregressiveConv2d):
            live = live_taps(part.channels, part.kernel_size, part.mask, part.reverse)
            total -= int((~live).sum())
        elif isinstance(part, CornerConv2d):
            total -= part.channels * (part.channels - 1) // 2  # above the triangle of one tap
    return total


def matched_width(cell: Cell, shape: tuple[int, int, int]) -> int:
    """The least width with which a flow has at least the parameters of its emerging rival.

    It is less than ``cell.width`` for a mixing that has more parameters than the rival's.
    """
    rival = replace(cell, mixing=RIVAL, control="")
    wanted = live_parameters(rival._flow(shape, RIVAL, cell.width))
    width = 1
    while live_parameters(cell._flow(shape, cell.mixing, width)) < wanted:
        width += 1
    return width
