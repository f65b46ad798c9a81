"""Causes seen by one more call: log-dets in the wrong form, mixed samples, memory layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer
from emcheck.bounds import COUPLED
from emcheck.checks.calling import (
    call,
    call_inverse,
    forward_of,
    inverse_of,
    is_per_sample,
    with_logdet,
)
from emcheck.checks.core import identical
from emcheck.checks.trial import Trial
from emcheck.diagnosis.consequences import ANY, FORWARD, INVERSE, LOGDET, LOGDET_OF_ROWS, ROWS
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import SEEN, Fit, hypothesis


@hypothesis("input_changed_in_place", rank=SEEN - 2, when=("calls_are_pure",), explains=ANY)
def in_place(evidence: Evidence) -> Iterator[Fit]:
    """A direction changes its input in place."""
    trial = evidence.trial()
    z, _ = call(copy_layer(trial.layer), trial.x.clone())
    for name, run, given in (("forward", forward_of, trial.x), ("inverse", inverse_of, z)):
        used = given.clone()
        out, _ = _without_gradients(run, trial, used)
        if not identical(used, given):
            count = int((used != given).sum())
            shared = out.data_ptr() == used.data_ptr()
            yield Fit(
                "input_changed_in_place",
                f"{name.capitalize()} changes its input in place.",
                f"{count} of {given.numel()} entries of the input changed, by up to "
                f"{float((used - given).abs().max()):.3g}"
                f"{'; the result is the same memory' if shared else ''}",
            )


@hypothesis(
    "batch_statistics", rank=SEEN, when=("rows_are_independent",),
    explains=FORWARD | INVERSE | LOGDET | ROWS,
)  # fmt: skip
def batch_statistics(evidence: Evidence) -> Iterator[Fit]:
    """A sample's output depends on the rest of the batch, as with a mean or variance over it."""
    trial = evidence.trial()
    x = trial.x
    moved = x.clone()
    moved[1:] = trial.sample(67)[1:]
    for name, run in (("forward", call), ("inverse", call_inverse)):
        first, second = (run(copy_layer(trial.layer), v)[0][0] for v in (x, moved))
        again = run(copy_layer(trial.layer), x)[0][0]
        apart = float((first - second).abs().max())
        # Not relative to a condition number: the Jacobian of a sample alone may be zero.
        if apart > COUPLED * float(first.abs().max()) and identical(first, again):
            # What flips or rolls the batch commutes with one of these orders, and not with both.
            orders = [1, 0, *range(2, len(x))], [*reversed(range(len(x)))]
            images = [run(copy_layer(trial.layer), x[order])[0][order][0] for order in orders]
            turned = max(float((first - image).abs().max()) for image in images)
            same = turned <= COUPLED * float(first.abs().max())
            placed = "" if same else "; it depends on their order too"
            yield Fit(
                "batch_statistics",
                "Samples are mixed: the layer uses statistics of the batch (a mean or variance "
                "over it)."
                if same
                else "Samples are mixed: what a sample gives depends on the others and on their "
                "places in the batch (statistics in their order, a roll, a view across the batch).",
                f"with other samples beside it, the {name} image of the same sample moves by up "
                f"to {apart:.6g}{placed}",
            )
            return


@hypothesis(
    "scalar_logdet",
    "logdet_wrong_shape",
    "logdet_default_dtype",
    rank=SEEN,
    when=("shapes_and_dtypes", "logdet_per_sample"),
    explains=LOGDET_OF_ROWS | {"shapes_and_dtypes", "logdet_per_sample"},
)
def logdet_form(evidence: Evidence) -> Iterator[Fit]:
    """The log-det is one number for the whole batch, or has the wrong shape, dtype or device."""
    trial = evidence.trial()
    with torch.no_grad():
        answer = copy_layer(trial.layer)(trial.x)
        if not isinstance(answer, tuple | list):
            return
        z, answers = answer[0], {"forward": copy_layer(trial.layer)(trial.x)[1]}
        if trial.has("inverse_logdet"):
            inverse = copy_layer(trial.layer).inverse(z)  # type: ignore[operator]
            answers["inverse"] = with_logdet(inverse)[1]
    accepted = not evidence.subject.own and "logdet_per_sample" not in evidence.failing
    if accepted:
        # One number for all samples is accepted here: only another shape or dtype is a fault.
        answers = {
            name: value
            for name, value in answers.items()
            if isinstance(value, Tensor)
            and (value.dtype != trial.x.dtype or not is_per_sample(value, len(trial.x)))
        }
    B = len(trial.x)
    for name, logdet in answers.items():
        if logdet is None:
            text = f"{name.capitalize()} returns no log-det: None."
            yield Fit("logdet_wrong_shape", text, f"expected shape ({B},), got None")
        elif accepted and isinstance(logdet, Tensor) and logdet.dtype != trial.x.dtype:
            yield _default_dtype(name, trial.x, logdet)
        elif not isinstance(logdet, Tensor) or logdet.dim() == 0:
            kind = "0-d tensor" if isinstance(logdet, Tensor) else type(logdet).__name__
            text = f"{name.capitalize()} returns one log-det for the whole batch, a {kind}."
            yield Fit("scalar_logdet", text, f"expected shape ({B},), got {_shape(logdet)}")
        elif tuple(logdet.shape) != (B,):
            text = f"The log-det of {name} has the wrong shape: it is not summed to one number "
            text += "for each sample."
            yield Fit("logdet_wrong_shape", text, f"expected ({B},), got {_shape(logdet)}")
        elif logdet.dtype != trial.x.dtype or logdet.device != trial.x.device:
            yield _default_dtype(name, trial.x, logdet)


def _default_dtype(name: str, x: Tensor, logdet: Tensor) -> Fit:
    return Fit(
        "logdet_default_dtype",
        f"The log-det of {name} is created as {_short(logdet)}, whatever the input.",
        f"input {_short(x)}, log-det {_short(logdet)}",
        ANY,
    )


def _shape(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else repr(value)


def _short(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} on {value.device}"


def _strided(x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the same numbers in other memory layouts, those without gaps first."""
    if x.dim() == 4:
        yield "channels_last", x.contiguous(memory_format=torch.channels_last)
    if x.dim() > 2:
        yield "transposed", x.transpose(-1, -2).contiguous().transpose(-1, -2)
    gaps = torch.zeros((*x.shape[:-1], 2 * x.shape[-1]), dtype=x.dtype, device=x.device)
    gaps[..., ::2] = x
    yield "sliced", gaps[..., ::2]


@hypothesis(
    "needs_contiguous",
    "layout_misread",
    rank=SEEN,
    when=("memory_layouts_agree",),
    explains=frozenset({"memory_layouts_agree", "vmap_agrees"}),
)
def layouts(evidence: Evidence) -> Iterator[Fit]:
    """Input with other strides raises an error, or is read as if it were contiguous."""
    trial = evidence.trial()
    z, _ = call(copy_layer(trial.layer), trial.x)
    for name, run, given in (("forward", forward_of, trial.x), ("inverse", inverse_of, z)):
        plain, _ = _without_gradients(run, trial, given.clone())
        for layout, strided in _strided(given):
            try:
                got, _ = _without_gradients(run, trial, strided)
            except RuntimeError as error:
                yield Fit(
                    "needs_contiguous",
                    f"{name.capitalize()} needs contiguous memory: `.view` where `.reshape` is "
                    "due.",
                    f"{layout} input, strides {strided.stride()}, raises "
                    f"{' '.join(str(error).split())[:60]!r}; made contiguous it passes",
                )
                break
            flat = torch.as_strided(strided, given.shape, given.contiguous().stride())
            read, _ = _without_gradients(run, trial, flat.clone())
            if not evidence.alike(got, plain) and evidence.alike(got, read):
                yield Fit(
                    "layout_misread",
                    f"{name.capitalize()} reads memory as if it were contiguous, whatever the "
                    "strides.",
                    f"{layout} input gives what its memory read in order gives, off by up to "
                    f"{float((got - plain).abs().max()):.3g}",
                )
                break


def _without_gradients(
    run: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]], trial: Trial, given: Tensor
) -> tuple[Tensor, Tensor]:
    """Call ``run`` without gradients on a copy of the layer, with ``given`` itself."""
    with torch.no_grad():
        return run(copy_layer(trial.layer), given)
