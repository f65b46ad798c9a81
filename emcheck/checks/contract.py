"""Contract: shapes, batches, purity and determinism."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emcheck.adapters.conventions import Conventional
from emcheck.bounds import Measure
from emcheck.checks.calling import call, call_inverse, is_per_sample, per_sample, with_logdet
from emcheck.checks.case import Case, Subject
from emcheck.checks.core import (
    OUTSIDE,
    Unsupported,
    agree_tensors,
    check,
    identical,
    ill_conditioned,
    worst,
    yes,
)
from emcheck.checks.trial import Trial
from emcheck.guard import foreign
from emcheck.known import Clause
from emcheck.oracle import as_extended
from emcheck.oracle.precision import Array


def several(case: Case, subject: Subject) -> Case:
    """Return the case with at least two samples, of ordinary size."""
    return replace(case, batch=max(case.batch, 2), scale="unit")


@check("contract", Clause.ROWS, adapt=several, couples=True)
def rows_are_independent(trial: Trial) -> Measure:
    """Row i depends neither on the rest of the batch nor on its order (clause 5)."""
    if trial.subject.coupled:
        return yes(False, trial.subject.coupled)
    if not trial.subject.is_defined and not bool(trial.forward[0].isfinite().all()):
        return ill_conditioned("AGREE", detail=OUTSIDE)
    (z, logdet), x = trial.forward, trial.x
    of_z, of_logdet = trial.forward_bound(x)
    order = torch.randperm(len(x), generator=trial.case.generator(11))
    permuted, permuted_logdet = call(trial.layer, x[order])
    measures = [
        agree_tensors(permuted, z[order], of_z[order.cpu().numpy()]),
        agree_tensors(permuted_logdet, logdet[order], of_logdet[order.cpu().numpy()]),
    ]
    for n in range(len(x)):
        alone, alone_logdet = call(trial.layer, x[n : n + 1])
        measures.append(agree_tensors(alone[0], z[n], of_z[n], f"row {n} alone differs"))
        told = f"the log-det of row {n} alone differs"
        measures.append(agree_tensors(alone_logdet[0], logdet[n], of_logdet[n], told))
    if trial.has("inverse"):
        measures += _rows_of_inverse(trial)
    if trial.case.style == "trained" and MANY * x[0].numel() <= MOST_NUMBERS:
        measures += _rows_among_many(trial, of_z, of_logdet)
    return worst(*measures)


#: Samples of a batch that is not cut evenly into parts of up to 64, and its numbers at most.
MANY, MOST_NUMBERS = 67, 1 << 15


def _rows_among_many(trial: Trial, of_z: Array, of_logdet: Array) -> list[Measure]:
    """The same rows again and again: a layer may work in parts. One that refuses is no finding."""
    (z, logdet), x = trial.forward, trial.x
    rows = np.arange(MANY) % len(x)
    try:
        many, many_logdet = call(trial.layer, x[rows])
        back = call_inverse(trial.layer, z[rows])[0] if trial.has("inverse") else None
    except foreign():
        return []
    told = f"rows differ in a batch of {MANY}"
    measures = [
        agree_tensors(many, z[rows], of_z[rows], told),
        agree_tensors(many_logdet, logdet[rows], of_logdet[rows], f"log-dets of {told}"),
    ]
    if back is not None:
        xh = trial.back[0]
        of_x = trial.inverse_bound(xh, z)[rows]
        measures.append(agree_tensors(back, xh[rows], of_x, f"the inverse's {told}"))
    return measures


def _rows_of_inverse(trial: Trial) -> list[Measure]:
    z, (xh, _) = trial.forward[0], trial.back
    of_x, measures = trial.inverse_bound(xh, z), []
    for n in range(len(z)):
        back, _ = call_inverse(trial.layer, z[n : n + 1])
        told = f"row {n} alone inverts differently"
        measures.append(agree_tensors(back[0], xh[n], of_x[n], told))
    return measures


@check("contract", Clause.SHAPES)
def shapes_and_dtypes(trial: Trial) -> Measure:
    """``z`` is ``(B, *event_out)``; it and the log-det have the dtype and device of the input."""
    layer, x, strict = trial.layer, trial.x, trial.subject.own
    logdets: dict[str, Any] = {}
    with torch.no_grad():
        z, logdets["logdet"] = layer(x.clone())
        found: dict[str, Any] = {"z": z}
        if trial.has("inverse"):
            answer = layer.inverse(z.clone())  # type: ignore[operator]
            found["x"], back = answer if strict else with_logdet(answer)
            if trial.has("inverse_logdet"):
                logdets["inverse logdet"] = back
    for name, value in (found | logdets).items():
        if name in logdets and not strict and (value is None or isinstance(value, int | float)):
            continue  # a house rule: logdet_per_sample
        if not isinstance(value, Tensor):
            return yes(False, f"{name}: expected a tensor, got {type(value).__name__}")
        if (value.dtype, value.device) != (x.dtype, x.device):
            got = f"{value.dtype} on {value.device}"
            return yes(False, f"{name}: expected {x.dtype} on {x.device}, got {got}")
    xh = found.get("x", x)
    same = z.numel() == x.numel() or trial.subject.keeps_entries
    if not strict and not same and z.dim() > 0 and len(z) == len(x):
        m, n = z[0].numel(), x[0].numel()
        raise Unsupported(f"the map goes from {n} to {m} dimensions: it has no determinant")
    if z.dim() == 0 or len(z) != len(x) or z.numel() != x.numel() or xh.shape != x.shape:
        return yes(False, f"shapes {tuple(x.shape)} -> {tuple(z.shape)} -> {tuple(xh.shape)}")
    for name, value in logdets.items():
        if not is_per_sample(value, len(x)):
            shape = tuple(value.shape)
            return yes(False, f"{name}: expected shape ({len(x)},), got {shape}")
    call(layer, x)  # it raises for a log-det of a wrong type
    return _one_like_two(trial, z, logdets["logdet"]) if len(x) == 1 and not strict else yes(True)


def _one_like_two(trial: Trial, z: Tensor, logdet: Any) -> Measure:
    """Judge whether the outputs of one sample have as many dimensions as those of two."""
    with torch.no_grad():
        of_two = trial.layer(torch.cat([trial.x, trial.sample(72)]))
    for name, one, two in zip(("z", "logdet"), (z, logdet), of_two, strict=True):
        if isinstance(one, Tensor) and isinstance(two, Tensor) and one.dim() != two.dim():
            told = f"{name} has shape {tuple(one.shape)} for one sample, {tuple(two.shape)} for two"
            return yes(False, told)
    return yes(True)


@check("contract", Clause.LOGDET_SHAPE, house=True)
def logdet_per_sample(trial: Trial) -> Measure:
    """``logdet (B,)``: one entry for each sample, in both directions (clause 2)."""
    with torch.no_grad():
        z, logdet = trial.layer(trial.x.clone())
        found = {"logdet": logdet}
        if trial.has("inverse_logdet"):
            found["inverse logdet"] = trial.layer.inverse(z.clone())[1]  # type: ignore[operator]
    wanted = (len(trial.x),)
    for name, value in found.items():
        if not isinstance(value, Tensor):
            return yes(False, f"{name}: expected shape {wanted}, got {type(value).__name__}")
        if tuple(value.shape) != wanted:
            told = f"{name}: expected shape {wanted}, got {tuple(value.shape)}"
            if tuple(value.shape) == (*wanted, 1):
                told += f"; added to a {wanted} it gives {wanted * 2}, one number for each pair"
            return yes(False, told)
    return yes(True)


@check("contract", Clause.PURITY)
def calls_are_pure(trial: Trial) -> Measure:
    """A call changes neither its input nor a parameter or buffer (clause 6).

    If a buffer changes but no output does, as for a count or a scratch tensor, it is a note.
    """
    # The latent first: other layers compute it.
    inputs = {"inverse": trial.latent if trial.has("inverse") else trial.x, "forward": trial.x}
    layer = trial.new_layer()
    before = {name: value.clone() for name, value in _state(layer).items()}
    for name, method in directions(trial, layer):
        given = inputs[name].clone()
        kept = given.clone()
        with torch.no_grad():
            method(given)
        if not identical(given, kept):
            return yes(False, f"{name} changed its input in place")
        for key, value in _state(layer).items():
            if key not in before or not identical(value, before[key]):
                unread = _is_unread(trial, layer) and key not in dict(layer.named_parameters())
                told = f"{name} changed {key}" + (", which changes no output" if unread else "")
                return yes(False, told, note=unread)
    return yes(True)


def _is_unread(trial: Trial, used: nn.Module) -> bool:
    """Whether a used layer and an unused one give the same outputs, bit for bit."""
    fresh = [*call(trial.new_layer(), trial.x)]
    again = [*call(used, trial.x)]
    if trial.has("inverse"):
        fresh += call_inverse(trial.new_layer(), trial.latent)
        again += call_inverse(used, trial.latent)
    return all(map(identical, fresh, again))


def _state(layer: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of the state_dict; extra state may be anything."""
    return {name: v for name, v in layer.state_dict().items() if isinstance(v, Tensor)}


def directions(trial: Trial, layer: nn.Module) -> list[tuple[str, Callable[[Tensor], Any]]]:
    """Return the calls that the layer has, by name."""
    found: list[tuple[str, Callable[[Tensor], Any]]] = [("forward", layer)]
    if trial.has("inverse"):  # first: a layer that sets itself in a call must not do so in forward
        found.insert(0, ("inverse", layer.inverse))  # type: ignore[arg-type]
    return found


@check("contract", Clause.PURITY, "carried")
def logdet_argument_is_kept(trial: Trial) -> Measure:
    """A log-det that is passed in is added to and is not changed itself (clause 6)."""
    layer, found = trial.layer, []
    if not isinstance(layer, Conventional) or not layer.taken.convention.carried:
        raise Unsupported("no log-det is handed in")
    for direction, value in (("forward", trial.x), ("inverse", trial.forward[0])):
        if direction == "inverse" and not trial.has("inverse"):
            continue
        handed = torch.linspace(1, 2, len(value), dtype=value.dtype, device=value.device)
        kept, inverse = handed.clone(), direction == "inverse"
        with torch.no_grad():
            own = layer.handed(value.clone(), torch.zeros_like(handed), inverse)
            together = layer.handed(value.clone(), handed, inverse)
        if not identical(handed, kept):
            told = f"{direction} changes its argument `{trial.subject.carried}` in place"
            return yes(False, f"{told}: the caller still holds it")
        if own is None or together is None or not is_per_sample(own, len(value)):
            continue  # another check reports that there is no log-det
        own, together = (per_sample(one, value, direction) for one in (own, together))
        unit = 2 * trial.arithmetic.u * (as_extended(own.abs()) + 2 * as_extended(kept))
        told = f"{direction} does not add to its argument `{trial.subject.carried}`"
        found.append(agree_tensors(together, own + kept, unit, told))
    return worst(*found) if found else yes(True)


@check("contract", Clause.PURITY)
def calls_are_deterministic(trial: Trial) -> Measure:
    """The same input gives the same output, bit for bit, in both directions (clause 6)."""
    first, again = [*trial.forward], [*call(trial.layer, trial.x)]
    if trial.has("inverse"):
        first += trial.back
        again += call_inverse(trial.layer, trial.forward[0])
    same = all(map(identical, again, first))
    return yes(same, "two calls with the same input differ")
