"""What one check says of one small layer that is wrong in one place, for tables of verdicts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from emcheck.checks import CHECKS, Case, Subject, run_check
from emcheck.result import Result, Verdict
from emcheck.specs.core import spec_of
from tests.wrong_layers import Gate, Mixing

#: What a direction answers: a value and a log-det, or whatever a wrong layer returns.
Pair = tuple[Tensor, Tensor]
Change = Callable[[Tensor, Tensor, Tensor], Any]


class Spoilt(nn.Module):
    """A layer whose answers are changed on the way out: ``(input, value, logdet) -> answer``."""

    def __init__(
        self, layer: nn.Module, forward: Change | None = None, inverse: Change | None = None
    ) -> None:
        super().__init__()
        self.layer = layer
        self._changes = forward, inverse

    def forward(self, x: Tensor) -> Any:
        answer, change = self.layer(x), self._changes[0]
        return answer if change is None else change(x, *answer)

    def inverse(self, z: Tensor) -> Any:
        answer, change = self.layer.inverse(z), self._changes[1]  # type: ignore[operator]
        return answer if change is None else change(z, *answer)


def mixing(forward: Change | None = None, inverse: Change | None = None) -> Spoilt:
    """A 1x1 convolution of two channels, spoilt."""
    return Spoilt(Mixing(2), forward, inverse)


def gate(forward: Change | None = None, inverse: Change | None = None) -> Spoilt:
    """A coupling of two channels, whose log-det depends on x, spoilt."""
    return Spoilt(Gate(2), forward, inverse)


def off(of_value: float = 0.0, of_logdet: float = 0.0) -> Change:
    """Adds to the value and to the log-det."""
    return lambda given, value, logdet: (value + of_value, logdet + of_logdet)


def off_if(when: Callable[[Tensor], bool], of_value: float = 0.0, of_logdet: float = 0.0) -> Change:
    """The same for some inputs only."""

    def change(given: Tensor, value: Tensor, logdet: Tensor) -> Pair:
        return (value + of_value, logdet + of_logdet) if when(given) else (value, logdet)

    return change


@dataclass(frozen=True)
class Row:
    """A check, a layer (or subject), the verdict that it deserves and a word of the detail."""

    check: str
    build: Callable[[], nn.Module | Subject]
    verdict: Verdict
    word: str = ""
    event: tuple[int, ...] = (2, 3, 4)
    lacks: tuple[str, ...] = ()
    own: bool = False
    case: dict[str, Any] = field(default_factory=dict)

    def judge(self) -> Result:
        made = self.build()
        subject = made if isinstance(made, Subject) else Subject.of_layer(made)
        lacks = dict.fromkeys(self.lacks, "it has none")
        subject = replace(subject, lacks={**subject.lacks, **lacks}, own=self.own or subject.own)
        case = replace(Case(self.event, batch=3), **self.case)
        return run_check(CHECKS[self.check], subject, case)

    def __str__(self) -> str:
        return f"{self.check}-{self.verdict.name}-{self.word or 'as is'}"


def known(layer: nn.Module, described: nn.Module) -> Subject:
    """A layer that is judged by the spec of another, which has its parameters and its event."""
    return Subject(
        type(layer).__name__,
        lambda case: copy.deepcopy(layer),
        spec_of(described),
        own=True,
        unwrap=_innermost,
        any_channels=False,
        any_size=False,
    )


def _innermost(layer: nn.Module) -> nn.Module:
    return layer.layer if isinstance(layer, Spoilt) else layer  # type: ignore[return-value]


def is_transposed(x: Tensor) -> bool:
    return x.transpose(-1, -2).is_contiguous() and not x.is_contiguous()


def is_channels_last(x: Tensor) -> bool:
    kind = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
    return x.dim() in (4, 5) and x.is_contiguous(memory_format=kind) and not x.is_contiguous()
