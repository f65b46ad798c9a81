"""Contract for unusual input: memory layouts, empty and wrong input, NaN, singular parameters."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from emcheck.bounds import Measure
from emcheck.checks.calling import call, call_inverse, forward_of, inverse_of
from emcheck.checks.contract import directions, several
from emcheck.checks.core import (
    OUTSIDE,
    Unsupported,
    agree_tensors,
    check,
    ill_conditioned,
    worst,
    yes,
)
from emcheck.checks.trial import Trial
from emcheck.guard import foreign, one_line
from emcheck.known import Clause


def _layouts(x: Tensor) -> dict[str, Tensor]:
    """Return the same numbers in other memory layouts, with NaN in the gaps of the sliced one."""
    B, *event = x.shape
    gaps = x.new_full((B, *[size + 2 for size in event[:-1]], 2 * event[-1] + 2), math.nan)
    inner = [slice(1, 1 + size) for size in event[:-1]]
    sliced = gaps[(slice(None), *inner, slice(1, 1 + 2 * event[-1], 2))]
    sliced.copy_(x)
    last = (x.dim() - 2, x.dim() - 1)
    layouts = {
        "transposed": x.transpose(*last).contiguous().transpose(*last),
        "sliced": sliced,
        "expanded": x[:1].expand(B, *[-1] * len(event)),
    }
    if x.dim() == 4:
        layouts["channels_last"] = x.contiguous(memory_format=torch.channels_last)
    if x.dim() == 5:
        layouts["channels_last"] = x.contiguous(memory_format=torch.channels_last_3d)
    return layouts


@check("contract", Clause.PURITY, "torch_state")
def memory_layouts_agree(trial: Trial) -> Measure:
    """channels_last, transposed, sliced and expanded inputs give the same values."""
    of_z, of_logdet = trial.forward_bound(trial.x)
    (z, logdet), measures = trial.forward, []
    if not trial.subject.is_defined and not bool(z.isfinite().all()):
        return ill_conditioned("AGREE", detail=OUTSIDE)
    for name, laid in _layouts(trial.x).items():
        rows = _rows(name, laid)
        try:
            other, other_logdet = _as_laid(forward_of, trial, laid)
        except RuntimeError as error:
            return yes(False, f"forward refuses a {name} input: {one_line(error)}", note=True)
        measures.append(agree_tensors(other, z[rows], of_z[rows], f"{name} differs"))
        told = f"the log-det of {name} differs"
        measures.append(agree_tensors(other_logdet, logdet[rows], of_logdet[rows], told))
    if not trial.has("inverse"):
        return worst(*measures)
    xh, _ = trial.back
    of_x = trial.inverse_bound(xh, z)
    for name, laid in _layouts(z).items():
        rows = _rows(name, laid)
        try:
            back, _ = _as_laid(inverse_of, trial, laid)
        except RuntimeError as error:
            return yes(False, f"inverse refuses a {name} input: {one_line(error)}", note=True)
        measures.append(agree_tensors(back, xh[rows], of_x[rows], f"inverse: {name} differs"))
    return worst(*measures)


def _as_laid(
    method: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]], trial: Trial, laid: Tensor
) -> tuple[Tensor, Tensor]:
    """Call ``method`` with the tensor in its own memory layout; ``call`` would copy it."""
    with torch.no_grad():
        return method(trial.layer, laid)


def _rows(layout: str, laid: Tensor) -> list[int]:
    return [0] * len(laid) if layout == "expanded" else list(range(len(laid)))


@check("contract", Clause.SHAPES, house=True)
def empty_batch(trial: Trial) -> Measure:
    """An empty batch gives shapes ``(0, ...)`` and a log-det ``(0,)``."""
    z, logdet = call(trial.layer, trial.x[:0])
    shapes, wanted = [tuple(z.shape)], [(0, *trial.forward[0].shape[1:])]
    if trial.has("inverse"):
        xh, back = call_inverse(trial.layer, trial.forward[0][:0])
        shapes += [tuple(v.shape) for v in (xh, logdet, back)]
        wanted += [(0, *trial.x.shape[1:]), (0,), (0,)]
    return yes(shapes == wanted, f"expected shapes {wanted}, got {shapes}")


def _wrong_inputs(trial: Trial) -> dict[str, Tensor]:
    x = trial.x
    wrong = {
        f"rank {x.dim() - 1}": x[0],
        f"rank {x.dim() + 1}": x[None],
        "whole numbers": x.long(),
        "no channels": x[:, :0],
    }
    if x.dim() > 2:
        wrong["no rows"] = x[:, :, :0]
    if any(True for _ in trial.layer.parameters()):
        other = torch.float64 if x.dtype == torch.float32 else torch.float32
        wrong["another dtype"] = x.to(other)
        wrong["one channel more"] = torch.cat([x, x[:, :1]], dim=1)
    return wrong


@check("contract", Clause.ERRORS, house=True, adapt=several)
def errors_are_clear(trial: Trial) -> Measure:
    """Wrong rank, channels, size or dtype raise a ValueError with what was expected and got."""
    for direction, method in reversed(directions(trial, trial.layer)):
        for name, wrong in _wrong_inputs(trial).items():
            try:
                method(wrong)
            except ValueError as error:
                text = str(error)
                if "expected" in text and "got" in text and "\n" not in text:
                    continue
                return yes(False, f"{direction} of {name}: unclear message {text[:80]!r}")
            except foreign() as error:  # any other error type is the finding
                return yes(False, f"{direction} of {name} raised {type(error).__name__}")
            return yes(False, f"{direction} of {name} raised nothing")
    return yes(True)


@check("contract", Clause.ROWS, adapt=several)
def nan_stays_in_its_sample(trial: Trial) -> Measure:
    """A NaN in a sample reaches that sample's image and no other, in both directions."""
    if not trial.subject.is_defined and not bool(trial.forward[0].isfinite().all()):
        return ill_conditioned("AGREE", detail=OUTSIDE)
    of_z, of_logdet = trial.forward_bound(trial.x)
    z, logdet = _with_nan(trial, trial.x, call)
    if not bool(z[0].isnan().any()):
        return yes(False, "NaN in x was swallowed by forward")
    told = "NaN reached another sample"
    others = agree_tensors(z[1:], trial.forward[0][1:], of_z[1:], told)
    told = "NaN reached the log-det of another sample"
    rest = agree_tensors(logdet[1:], trial.forward[1][1:], of_logdet[1:], told)
    others = worst(others, rest)
    if not trial.has("inverse"):
        return others
    xh, _ = _with_nan(trial, trial.forward[0], call_inverse)
    if not bool(xh[0].isnan().any()):
        return yes(False, "NaN in z was swallowed by inverse")
    of_x = trial.inverse_bound(trial.back[0][1:], trial.forward[0][1:])
    detail = "NaN reached another sample of the inverse"
    return worst(others, agree_tensors(xh[1:], trial.back[0][1:], of_x, detail))


def _with_nan(
    trial: Trial, given: Tensor, method: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Call ``method`` on ``given`` with one NaN in the last channel of the first sample."""
    spoilt = given.clone()
    spoilt[(0, -1, *[0] * (given.dim() - 2))] = math.nan
    try:
        return method(trial.layer, spoilt)
    except foreign() as error:
        if trial.subject.own:
            raise
        told = f"{type(error).__name__}: {one_line(error, most=80)}"
        raise Unsupported(f"NaN is refused: {told}") from error


@check("contract", Clause.ERRORS, "make_singular")
def singular_parameters_are_named(trial: Trial) -> Measure:
    """A structurally singular parameter gives a clear error or an infinite log-det (clause 8)."""
    if trial.subject.estimated:
        raise Unsupported("the log-det is a random estimate")
    layer = trial.new_layer()
    spec = trial.subject.spec
    assert spec is not None
    assert spec.make_singular is not None
    with torch.no_grad():
        spec.make_singular(trial.subject.unwrap(layer))
    return worst(
        _names_singularity(lambda: call(layer, trial.x), "forward", -math.inf),
        _names_singularity(lambda: call_inverse(layer, trial.latent), "inverse", math.inf),
    )


def _names_singularity(
    run: Callable[[], tuple[Tensor, Tensor]], name: str, limit: float
) -> Measure:
    try:
        _, logdet = run()
    except ValueError as error:
        text = str(error)
        return yes("expected" in text and "got" in text, f"{name}: unclear message {text[:80]!r}")
    return yes(
        bool((logdet.abs() == math.inf).all()), f"{name}: got {logdet.tolist()[:2]} of {limit}"
    )
