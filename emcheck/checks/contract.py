"""Contract: shapes, batches, memory, purity and errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from emcheck.bounds import Measure
from emcheck.checks.case import Case, Subject
from emcheck.checks.core import agree_tensors, check, identical, worst, yes
from emcheck.checks.trial import Trial, call, call_inverse


def _several(case: Case, subject: Subject) -> Case:
    return replace(case, batch=max(case.batch, 2), scale="unit")


@check("contract", adapt=_several)
def rows_are_independent(trial: Trial) -> Measure:
    """Row i does not depend on the rest of the batch, nor on its order (clause 5)."""
    (z, logdet), x = trial.forward, trial.x
    of_z, of_logdet = trial.forward_bound(x)
    order = torch.randperm(len(x), generator=trial.case.generator(11))
    permuted, permuted_logdet = call(trial.layer, x[order])
    measures = [agree_tensors(permuted, z[order], of_z[order.numpy()])]
    if logdet.dim():
        same = agree_tensors(permuted_logdet, logdet[order], of_logdet[order.numpy()])
        measures.append(same)
    xh, _ = trial.back
    of_x = trial.inverse_bound(xh, z)
    for n in range(len(x)):
        alone, alone_logdet = call(trial.layer, x[n : n + 1])
        measures.append(agree_tensors(alone[0], z[n], of_z[n], f"row {n} alone differs"))
        measures.append(
            agree_tensors(
                alone_logdet.reshape(-1)[0], logdet.reshape(-1)[n % logdet.numel()], of_logdet[n]
            )
        )
        back, _ = call_inverse(trial.layer, z[n : n + 1])
        measures.append(
            agree_tensors(back[0], xh[n], of_x[n], f"row {n} alone inverts differently")
        )
    return worst(*measures)


@check("contract")
def shapes_and_dtypes(trial: Trial) -> Measure:
    """``z (B, *event_out)`` and ``logdet (B,)`` in the dtype and on the device of the input."""
    (z, logdet), (xh, back), x = trial.forward, trial.back, trial.x
    for name, value in (("z", z), ("logdet", logdet), ("x", xh), ("inverse logdet", back)):
        if not isinstance(value, Tensor):
            return yes(False, f"{name}: expected a tensor, got {type(value).__name__}")
        if (value.dtype, value.device) != (x.dtype, x.device):
            got = f"{value.dtype} on {value.device}"
            return yes(False, f"{name}: expected {x.dtype} on {x.device}, got {got}")
    if len(z) != len(x) or z.numel() != x.numel() or xh.shape != x.shape:
        return yes(False, f"shapes {tuple(x.shape)} -> {tuple(z.shape)} -> {tuple(xh.shape)}")
    wanted = (len(x),)
    for name, value in (("logdet", logdet), ("inverse logdet", back)):
        if tuple(value.shape) != wanted:
            return yes(False, f"{name}: expected shape {wanted}, got {tuple(value.shape)}")
    return yes(True)


@check("contract")
def calls_are_pure(trial: Trial) -> Measure:
    """Neither the input nor a parameter or buffer is changed by a call (clause 6)."""
    layer = trial.new_layer()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    for name, method in _directions(layer):
        given = trial.x.clone() if name == "forward" else trial.latent.clone()
        kept = given.clone()
        with torch.no_grad():
            method(given)
        if not identical(given, kept):
            return yes(False, f"{name} changed its input in place")
        for key, value in layer.state_dict().items():
            if key not in before or not identical(value, before[key]):
                return yes(False, f"{name} changed {key}")
    return yes(True)


def _directions(layer: torch.nn.Module) -> list[tuple[str, Callable[[Tensor], object]]]:
    return [("inverse", layer.inverse), ("forward", layer)]  # type: ignore[list-item]


@check("contract")
def calls_are_deterministic(trial: Trial) -> Measure:
    """The same input gives the same output, bit for bit, in both directions (clause 6)."""
    again, back_again = call(trial.layer, trial.x), call_inverse(trial.layer, trial.forward[0])
    same = all(map(identical, (*again, *back_again), (*trial.forward, *trial.back)))
    return yes(same, "two calls with the same input differ")


def _layouts(x: Tensor) -> dict[str, Tensor]:
    """The same numbers in other memory layouts, with NaN in the gaps of the sliced one."""
    B, C, H, W = x.shape
    gaps = x.new_full((B, C + 1, H + 2, 2 * W), math.nan)
    sliced = gaps[:, 1:, 1 : 1 + H, ::2]
    sliced.copy_(x)
    return {
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "transposed": x.transpose(2, 3).contiguous().transpose(2, 3),
        "sliced": sliced,
        "expanded": x[:1].expand(B, -1, -1, -1),
    }


@check("contract")
def memory_layouts_agree(trial: Trial) -> Measure:
    """channels_last, transposed, sliced and expanded inputs give the same values."""
    of_z, of_logdet = trial.forward_bound(trial.x)
    xh, _ = trial.back
    of_x = trial.inverse_bound(xh, trial.forward[0])
    measures = []
    for name, laid in _layouts(trial.x).items():
        rows = [0] * len(trial.x) if name == "expanded" else list(range(len(trial.x)))
        z, logdet = call(trial.layer, laid)
        measures.append(agree_tensors(z, trial.forward[0][rows], of_z[rows], f"{name} differs"))
        if logdet.dim():
            measures.append(agree_tensors(logdet, trial.forward[1][rows], of_logdet[rows], name))
    for name, laid in _layouts(trial.forward[0]).items():
        rows = [0] * len(trial.x) if name == "expanded" else list(range(len(trial.x)))
        back, _ = call_inverse(trial.layer, laid)
        measures.append(agree_tensors(back, xh[rows], of_x[rows], f"inverse: {name} differs"))
    return worst(*measures)


@check("contract", house=True)
def empty_batch(trial: Trial) -> Measure:
    """A batch of none gives shapes ``(0, ...)`` and a log-det ``(0,)``."""
    z, logdet = call(trial.layer, trial.x[:0])
    xh, back = call_inverse(trial.layer, trial.forward[0][:0])
    shapes = [tuple(v.shape) for v in (z, xh, logdet, back)]
    wanted = [(0, *trial.forward[0].shape[1:]), (0, *trial.x.shape[1:]), (0,), (0,)]
    return yes(shapes == wanted, f"expected shapes {wanted}, got {shapes}")


def _wrong_inputs(trial: Trial) -> dict[str, Tensor]:
    x = trial.x
    wrong = {
        "rank 3": x[0],
        "rank 5": x[None],
        "whole numbers": x.long(),
        "no rows": x[:, :, :0],
        "no channels": x[:, :0],
    }
    if any(True for _ in trial.layer.parameters()):
        other = torch.float64 if x.dtype == torch.float32 else torch.float32
        wrong["another dtype"] = x.to(other)
        wrong["one channel more"] = torch.cat([x, x[:, :1]], dim=1)
    return wrong


@check("contract", house=True, adapt=_several)
def errors_are_clear(trial: Trial) -> Measure:
    """Wrong rank, channels, size or dtype raise ValueError with what was expected and got."""
    for direction, method in (("forward", trial.layer), ("inverse", trial.layer.inverse)):
        for name, wrong in _wrong_inputs(trial).items():
            try:
                method(wrong)  # type: ignore[operator]
            except ValueError as error:
                text = str(error)
                if "expected" in text and "got" in text and "\n" not in text:
                    continue
                return yes(False, f"{direction} of {name}: unclear message {text[:80]!r}")
            except Exception as error:  # any other error type is the finding
                return yes(False, f"{direction} of {name} raised {type(error).__name__}")
            return yes(False, f"{direction} of {name} raised nothing")
    return yes(True)


@check("contract", adapt=_several)
def nan_stays_in_its_sample(trial: Trial) -> Measure:
    """NaN in a sample reaches that sample's image and no other, in both directions."""
    of_z, of_logdet = trial.forward_bound(trial.x)
    x = trial.x.clone()
    x[0, -1, 0, 0] = math.nan
    z, logdet = call(trial.layer, x)
    if not bool(z[0].isnan().any()):
        return yes(False, "NaN in x was swallowed by forward")
    others = agree_tensors(z[1:], trial.forward[0][1:], of_z[1:], "NaN reached another sample")
    if logdet.dim():
        rest = agree_tensors(logdet[1:], trial.forward[1][1:], of_logdet[1:], "NaN in a log-det")
        others = worst(others, rest)
    latent = trial.forward[0].clone()
    latent[0, -1, 0, 0] = math.nan
    xh, _ = call_inverse(trial.layer, latent)
    if not bool(xh[0].isnan().any()):
        return yes(False, "NaN in z was swallowed by inverse")
    of_x = trial.inverse_bound(trial.back[0][1:], trial.forward[0][1:])
    detail = "NaN reached another sample of the inverse"
    return worst(others, agree_tensors(xh[1:], trial.back[0][1:], of_x, detail))


@check("contract", "make_singular")
def singular_parameters_are_named(trial: Trial) -> Measure:
    """A structurally singular parameter raises a clear error or gives -inf (clause 8)."""
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
