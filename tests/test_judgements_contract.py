"""Each part of each check of the contract notices a layer that is wrong in that part alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from emcheck.checks import CHECKS, Case, Subject, run_check
from emcheck.layers import ActNorm2d, Conv1x1, PermuteChannels, Squeeze2d
from emcheck.result import Verdict
from tests.judgements import (
    Row,
    Spoilt,
    gate,
    is_channels_last,
    is_transposed,
    known,
    mixing,
    off,
    off_if,
)
from tests.wrong_layers import Mixing, Scale

FAIL, PASS, NOTE, UNSUPPORTED = Verdict.FAIL, Verdict.PASS, Verdict.NOTE, Verdict.UNSUPPORTED


def _on_batch(x: Tensor) -> bool:
    return len(x) > 1


LAYOUTS = [
    Row("memory_layouts_agree", mixing, PASS),
    Row("memory_layouts_agree", lambda: mixing(off_if(is_transposed, 1.0)), FAIL, "transposed"),
    Row(
        "memory_layouts_agree",
        lambda: mixing(off_if(is_channels_last, 0.0, 1.0)),
        FAIL,
        "the log-det of channels_last",
    ),
    Row(
        "memory_layouts_agree",
        lambda: mixing(off_if(is_channels_last, 0.0, 1.0)),
        FAIL,
        "the log-det of channels_last",
        event=(2, 2, 3, 4),
    ),
    Row(
        "memory_layouts_agree",
        lambda: mixing(None, off_if(is_channels_last, 1.0)),
        FAIL,
        "inverse: channels_last",
    ),
    *(
        Row("memory_layouts_agree", lambda w=when, v=value: mixing(off_if(w, *v)), FAIL, word,
            lacks=("inverse",))
        for when, value, word in (
            (is_transposed, (1.0, 0.0), "transposed differs"),
            (is_channels_last, (0.0, 1.0), "the log-det of channels_last"),
        )
    ),
    Row("memory_layouts_agree", lambda: mixing(None, off(1.0)), PASS, lacks=("inverse",)),
    Row("memory_layouts_agree", lambda: Mixing(2), PASS, event=(2,)),
    Row("memory_layouts_agree", lambda: Mixing(2), PASS, event=(2, 5)),
]  # fmt: skip


def _fixed_batch(x: Tensor, value: Tensor, logdet: Tensor) -> tuple[Tensor, Tensor]:
    return value, logdet if len(x) else logdet.new_zeros(1)


def _flat_if_empty(x: Tensor, value: Tensor, logdet: Tensor) -> tuple[Tensor, Tensor]:
    return value if len(x) else value.reshape(0, 4), logdet


EMPTY = [
    Row("empty_batch", lambda: Conv1x1(2), PASS),
    Row("empty_batch", lambda: Spoilt(Conv1x1(2), None, _fixed_batch), FAIL, "(1,)", own=True),
    Row("empty_batch", lambda: Spoilt(Conv1x1(2), None, _fixed_batch), NOTE, "(1,)"),
    Row("empty_batch", lambda: Spoilt(Conv1x1(2), None, _fixed_batch), PASS, lacks=("inverse",)),
    Row("empty_batch", lambda: Spoilt(Conv1x1(2), _flat_if_empty), NOTE, "(0, 4)"),
]  # fmt: skip


class Rephrased(nn.Module):
    """A layer whose errors are raised as something else, in one direction."""

    def __init__(
        self, error: Callable[[], Exception] | None, inverse: bool = False, only: int = 0
    ) -> None:
        super().__init__()
        self.layer = Conv1x1(2, generator=torch.Generator().manual_seed(0))
        self.error, self.inverts, self.only = error, inverse, only

    def _run(self, call: Callable[[Tensor], Any], x: Tensor, here: bool) -> Any:
        try:
            return call(x)
        except ValueError:
            if not here or (self.only and x.dim() != self.only):
                raise
            if self.error is None:
                return x, x.new_zeros(len(x))
            raise self.error() from None

    def forward(self, x: Tensor) -> Any:
        return self._run(self.layer, x, not self.inverts)

    def inverse(self, z: Tensor) -> Any:
        return self._run(self.layer.inverse, z, self.inverts)


class Vectors(nn.Module):
    """The identity of vectors with clear errors."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.dim() != 2 or x.shape[1] != 3 or not x.is_floating_point():
            raise ValueError(f"expected (B, 3), got {tuple(x.shape)} {x.dtype}")
        return x.clone(), x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward(z)


class NoRows(Mixing):
    """Clear errors for everything but an image without rows."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.dim() != 4 or x.shape[1] != 3 or x.dtype != self.weight.dtype:
            raise ValueError(f"expected (B, 3, H, W), got {tuple(x.shape)} {x.dtype}")
        return super().forward(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        self.forward(z)
        return super().inverse(z)


def _told(text: str) -> Callable[[], Exception]:
    return lambda: ValueError(text)


ERRORS = [
    *(Row("errors_are_clear", lambda: Conv1x1(2), PASS, case={"dtype": dtype})
      for dtype in (torch.float32, torch.float64)),
    Row("errors_are_clear", lambda: PermuteChannels(2), PASS),
    Row("errors_are_clear", Vectors, PASS, event=(3,)),
    Row("errors_are_clear", NoRows, NOTE, "no rows raised nothing", event=(3, 2, 2)),
    *(
        Row("errors_are_clear", lambda e=error, i=inverse: Rephrased(e, i), NOTE, word)
        for inverse, direction in ((False, "forward"), (True, "inverse"))
        for error, word in (
            (_told("expected something else"), f"{direction} of rank 3: unclear message"),
            (_told("got this"), f"{direction} of rank 3: unclear message"),
            (_told("expected this,\ngot that"), f"{direction} of rank 3: unclear message"),
            (lambda: TypeError("expected this, got that"), f"{direction} of rank 3 raised TypeE"),
            (None, f"{direction} of rank 3 raised nothing"),
        )
    ),
    Row("errors_are_clear", lambda: Rephrased(None, only=4), NOTE, "forward of"),
    Row("errors_are_clear", lambda: Rephrased(_told("expected a, got b")), PASS),
]  # fmt: skip


def _nan_from_first(of_value: bool) -> Any:
    """What is NaN in the first sample is NaN in the others' value, or log-det, too."""

    def change(x: Tensor, value: Tensor, logdet: Tensor) -> tuple[Tensor, Tensor]:
        spoilt = (x[0] * 0).sum()
        rest = torch.cat([spoilt[None] * 0 * 0, spoilt.expand(len(x) - 1)])
        if of_value:
            return value + rest.reshape(-1, *[1] * (x.dim() - 1)), logdet
        return value, logdet + torch.nan_to_num(rest[:1]) + rest

    return change


def _swallow(x: Tensor, value: Tensor, logdet: Tensor) -> tuple[Tensor, Tensor]:
    return torch.nan_to_num(value), logdet


def _refuse(x: Tensor, value: Tensor, logdet: Tensor) -> tuple[Tensor, Tensor]:
    if bool(x.isnan().any()):
        raise RuntimeError("no NaN here")
    return value, logdet


NANS = [
    Row("nan_stays_in_its_sample", mixing, PASS),
    Row("nan_stays_in_its_sample", gate, PASS),
    Row("nan_stays_in_its_sample", lambda: mixing(_swallow), FAIL, "swallowed by forward"),
    Row("nan_stays_in_its_sample", lambda: mixing(None, _swallow), FAIL, "swallowed by inverse"),
    Row("nan_stays_in_its_sample", lambda: mixing(_nan_from_first(True)), FAIL, "another sample"),
    Row("nan_stays_in_its_sample", lambda: mixing(_nan_from_first(False)), FAIL,
        "the log-det of another sample"),
    Row("nan_stays_in_its_sample", lambda: mixing(None, _nan_from_first(True)), FAIL,
        "another sample of the inverse"),
    Row("nan_stays_in_its_sample", lambda: mixing(None, _swallow), PASS, lacks=("inverse",)),
    Row("nan_stays_in_its_sample", lambda: mixing(_refuse), UNSUPPORTED, "NaN is refused"),
    Row("nan_stays_in_its_sample", lambda: mixing(_refuse), FAIL, "RuntimeError", own=True),
]  # fmt: skip


class Singular(nn.Module):
    """A scale per channel that answers a zero scale in its own way."""

    def __init__(self, forward: Any, inverse: Any) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
        self.bias = nn.Parameter(torch.zeros(2))
        self.answers = forward, inverse

    def _answer(self, x: Tensor, answer: Any) -> tuple[Tensor, Tensor]:
        if isinstance(answer, str):
            raise ValueError(answer)
        return x, x.new_tensor(answer)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._answer(x, self.answers[0])

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self._answer(z, self.answers[1])


def _singular(forward: Any, inverse: Any) -> Callable[[], Subject]:
    return lambda: known(Singular(forward, inverse), ActNorm2d(2))


_CLEAR, _LOW, _HIGH = "expected no zero, got 0", [-math.inf] * 3, [math.inf] * 3

SINGULAR = [
    *(Row("singular_parameters_are_named", _singular(*answers), PASS)
      for answers in ((_CLEAR, _CLEAR), (_LOW, _HIGH), (_CLEAR, _HIGH))),
    *(Row("singular_parameters_are_named", _singular(*answers), FAIL, word)
      for answers, word in (
          (("got 0", _CLEAR), "forward: unclear"), (("expected no zero", _CLEAR), "forward: uncl"),
          ((_LOW, "got 0"), "inverse: unclear"), ((_LOW, "expected no zero"), "inverse: uncl"),
          (([0.0, 1.0, 2.0], _HIGH), "forward: got"), ((_LOW, [0.0, 1.0, 2.0]), "inverse: got"),
          (([-math.inf, -math.inf, 1.0], _HIGH), "forward: got"),
      )),
]  # fmt: skip


def _ordered(sign: int) -> Any:
    """Off where the first sample is larger (or smaller) than the second: alone, never.

    With either sign one of the rows below is right in the order drawn and off in the other.
    """
    return off_if(lambda x: len(x) > 1 and bool((x[0] - x[1]).sum() * sign > 0), 1.0)


ROWS = [
    Row("rows_are_independent", gate, PASS),
    Row("rows_are_independent", lambda: gate(off_if(_on_batch, 1.0)), FAIL, "alone differs"),
    Row("rows_are_independent", lambda: gate(off_if(_on_batch, 0.0, 1.0)), FAIL, "the log-det of"),
    Row("rows_are_independent", lambda: gate(None, off_if(_on_batch, 1.0)), FAIL,
        "alone inverts"),
    Row("rows_are_independent", lambda: gate(None, off_if(_on_batch, 1.0)), PASS,
        lacks=("inverse",)),
    *(Row("rows_are_independent", lambda s=sign: gate(_ordered(s)), FAIL, case={"seed": seed})
      for sign in (-1, 1) for seed in (2, 4)),
    Row("rows_are_independent", lambda: gate(off_if(_on_batch, 1.0)), FAIL, "alone differs",
        case={"batch": 1}),
    Row("rows_are_independent", lambda: gate(off_if(_on_batch, 1.0)), FAIL, "alone differs",
        case={"batch": 0}),
]  # fmt: skip


def _number(x: Tensor, value: Tensor, logdet: Tensor) -> Any:
    return value, float(logdet[0])


def _text(x: Tensor, value: Tensor, logdet: Tensor) -> Any:
    return value, "0"


def _scalar(x: Tensor, value: Tensor, logdet: Tensor) -> Any:
    return value, logdet[0]


def _reshaped(*shape: int) -> Any:
    return lambda x, value, logdet: (value.reshape(shape), logdet)


SHAPES = [
    Row("shapes_and_dtypes", mixing, PASS),
    Row("shapes_and_dtypes", lambda: mixing(_number), PASS),
    Row("shapes_and_dtypes", lambda: mixing(_number), FAIL, "logdet: expected a tensor", own=True),
    Row("shapes_and_dtypes", lambda: mixing(_text), FAIL, "logdet: expected a tensor, got str"),
    Row("shapes_and_dtypes", lambda: mixing(None, _text), FAIL, "inverse logdet: expected"),
    Row("shapes_and_dtypes", lambda: mixing(None, _text), PASS, lacks=("inverse_logdet",)),
    Row("shapes_and_dtypes", lambda: mixing(lambda x, v, l: (v, l.float())), FAIL,
        "logdet: expected torch.float64"),
    Row("shapes_and_dtypes", lambda: mixing(None, lambda x, v, l: (v.float(), l)), FAIL,
        "x: expected torch.float64"),
    Row("shapes_and_dtypes", lambda: Spoilt(Scale(2), lambda x, v, l: (v[:, :1], l)), UNSUPPORTED,
        "from 24 to 12 dimensions", lacks=("inverse",)),
    Row("shapes_and_dtypes", lambda: Spoilt(Scale(2), lambda x, v, l: (v[:, :1], l)), FAIL,
        "shapes", lacks=("inverse",), own=True),
    Row("shapes_and_dtypes", lambda: mixing(_reshaped(6, 1, 3, 4)), FAIL, "shapes",
        lacks=("inverse",)),
    Row("shapes_and_dtypes", lambda: mixing(lambda x, v, l: (v[:1], l)), FAIL, "shapes",
        lacks=("inverse",)),
    Row("shapes_and_dtypes", lambda: mixing(None, _reshaped(3, 2, 4, 3)), FAIL, "shapes"),
    Row("shapes_and_dtypes", lambda: mixing(_reshaped(3, 8, 3, 1)), PASS, lacks=("inverse",)),
    Row("logdet_per_sample", mixing, PASS),
    Row("logdet_per_sample", lambda: mixing(_number), NOTE, "logdet: expected shape (3,), got flo"),
    Row("logdet_per_sample", lambda: mixing(_scalar), NOTE, "logdet: expected shape (3,), got ()"),
    Row("logdet_per_sample", lambda: mixing(_scalar), FAIL, "got ()", own=True),
    Row("logdet_per_sample", lambda: mixing(None, _scalar), NOTE, "inverse logdet: expected"),
    Row("logdet_per_sample", lambda: mixing(None, _scalar), PASS, lacks=("inverse_logdet",)),
]  # fmt: skip


def _in_place(x: Tensor, value: Tensor, logdet: Tensor) -> tuple[Tensor, Tensor]:
    x.add_(1)
    return value, logdet


class Counting(Mixing):
    """Counts its calls in a buffer, which may be there from the start."""

    def __init__(self, there: bool, inverse: bool = False) -> None:
        super().__init__(2)
        self.inverts = inverse
        if there:
            self.register_buffer("calls", torch.zeros(()))

    def _count(self) -> None:
        if not hasattr(self, "calls"):
            self.register_buffer("calls", torch.zeros(()))
        self.calls += 1

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.inverts:
            self._count()
        return super().forward(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        if self.inverts:
            self._count()
        return super().inverse(z)


def _noise(of_value: float, of_logdet: float) -> Any:
    """Different at every call, from a stream of its own."""
    stream = torch.Generator().manual_seed(0)

    def change(x: Tensor, value: Tensor, logdet: Tensor) -> tuple[Tensor, Tensor]:
        drawn = float(torch.rand((), generator=stream))
        return value + of_value * drawn, logdet + of_logdet * drawn

    return change


PURE = [
    Row("calls_are_pure", mixing, PASS),
    Row("calls_are_pure", lambda: Squeeze2d(), PASS, event=(1, 2, 2)),
    Row("calls_are_pure", lambda: mixing(_in_place), FAIL, "forward changed its input"),
    Row("calls_are_pure", lambda: mixing(None, _in_place), FAIL, "inverse changed its input"),
    *(Row("calls_are_pure", lambda t=there, i=inverse: Counting(t, i), NOTE, word)
      for there in (False, True)
      for inverse, word in ((False, "forward changed calls, which changes no output"),
                            (True, "inverse changed calls, which changes no output"))),
    Row("calls_are_deterministic", mixing, PASS),
    *(Row("calls_are_deterministic", lambda v=values: mixing(_noise(*v)), FAIL, "two calls")
      for values in ((1.0, 0.0), (0.0, 1.0))),
    *(Row("calls_are_deterministic", lambda v=values: mixing(None, _noise(*v)), FAIL, "two calls")
      for values in ((1.0, 0.0), (0.0, 1.0))),
    Row("calls_are_deterministic", lambda: mixing(None, _noise(1.0, 1.0)), PASS,
        lacks=("inverse",)),
]  # fmt: skip

TABLE = [*LAYOUTS, *EMPTY, *ERRORS, *NANS, *SINGULAR, *ROWS, *SHAPES, *PURE]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_verdict(row: Row) -> None:
    result = row.judge()
    assert result.verdict is row.verdict, result
    assert row.word in result.detail


def test_rows_that_are_known_to_be_coupled_fail_with_that_explanation() -> None:
    subject = replace(Subject.of_layer(Mixing(2)), coupled="rows depend on each other")
    result = run_check(CHECKS["rows_are_independent"], subject, Case((2, 3, 4)))
    assert (result.verdict, result.detail) == (FAIL, "rows depend on each other")
