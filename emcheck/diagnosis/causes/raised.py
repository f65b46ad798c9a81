"""Causes of an exception that many checks meet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer
from emcheck.checks.calling import call, call_inverse
from emcheck.diagnosis.consequences import ANY
from emcheck.diagnosis.evidence.attempt import attempt
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import SEEN, Fit, hypothesis
from emcheck.guard import foreign, one_line

#: How the detail of a result says that a layer raised an exception.
_RAISED = re.compile(r"(?:(forward|inverse) )?raised (\w+): (.*)")


@hypothesis("tensor_left_behind", "cast_inside", rank=SEEN - 4, when=ANY, explains=ANY)
def other_dtype(evidence: Evidence) -> Iterator[Fit]:
    """The layer works in float32 but raises in float64: a plain tensor or a cast stays float32."""
    problem = _problem(evidence, torch.float64)
    if not problem or _problem(evidence, torch.float32):
        return
    told = f"in float32 every call answers, in float64: {problem}"
    behind = [name for name, _, _ in _left_behind(evidence.trial().layer)]
    if behind and not _problem(evidence, torch.float64, repair=True):
        names = " and ".join(f"`{name}`" for name in behind)
        yield Fit(
            "tensor_left_behind",
            f"{names} is a plain tensor, neither a parameter nor a buffer: `.double()` and "
            "`.to()` do not see it, so that it stays float32.",
            f"{told}; with {names} converted by hand it answers",
        )
        return
    yield Fit(
        "cast_inside",
        "A value is made in float32 inside the layer, whatever the input (`.float()`, or a new "
        "tensor without a dtype): float64 input is refused. If the layer is meant for float32 "
        "alone, say `dtypes=[torch.float32]`.",
        told,
    )


def _problem(evidence: Evidence, dtype: torch.dtype, repair: bool = False) -> str:
    """Return the message of the first direction that raises in a dtype, empty if none does."""
    trial = evidence.trial(replace(evidence.base, dtype=dtype))
    layer = trial.layer
    if repair:
        for _, tensor, put in _left_behind(layer):
            put(tensor.to(dtype))
    try:
        z, _ = call(layer, trial.x)
        if trial.has("inverse"):
            call_inverse(layer, z)
    except foreign() as error:  # this is what the test looks for
        return one_line(error, most=120)
    return ""


Place = tuple[str, Tensor, Callable[[Tensor], None]]


def _left_behind(layer: nn.Module) -> Iterator[Place]:
    """Yield tensors that are neither parameters nor buffers, and a function to replace each."""
    for prefix, module in layer.named_modules():
        for name, value in list(vars(module).items()):
            if not name.startswith("_"):
                yield from _within(f"{prefix}.{name}".lstrip("."), value, vars(module), name)


def _within(path: str, value: Any, owner: Any, key: Any) -> Iterator[Place]:
    if isinstance(value, Tensor) and value.is_floating_point():

        def put(tensor: Tensor) -> None:
            owner[key] = tensor

        yield path, value, put
    elif isinstance(value, dict):
        for inner, held in list(value.items()):
            yield from _within(path, held, value, inner)
    elif isinstance(value, list):
        for number, held in enumerate(value):
            yield from _within(path, held, value, number)


@hypothesis("needs_forward_first", rank=SEEN - 3, when=ANY, explains=ANY)
def needs_forward_first(evidence: Evidence) -> Iterator[Fit]:
    """The inverse needs, or depends on, what the last forward call left behind."""
    trial = evidence.trial()
    if not trial.has("inverse"):
        return
    x, other, z = trial.x, trial.sample(68), call(copy_layer(trial.layer), trial.x)[0]
    alone = attempt(lambda: call_inverse(copy_layer(trial.layer), z)[0])
    after, names = _after(trial.layer, x, z)
    after_other, _ = _after(trial.layer, other, z)
    again, _ = _after(trial.layer, x, z)
    if after is None or again is None or not evidence.alike(after, again):
        return  # random numbers drawn in a first call are no trace of the data
    told = ", ".join(f"`{name}`" for name in names)
    where = f" (attribute {told})" if names else ""
    if alone is None:
        yield Fit(
            "needs_forward_first",
            f"The inverse needs what an earlier forward call left behind{where}: on a layer that "
            "forward was never called on it raises.",
            "after a call of forward the same latent is inverted; without one, "
            f"{_why(trial.layer, z)}",
        )
    elif after_other is not None and not evidence.alike(after, after_other) and names:
        off = float((after - after_other).abs().max())
        yield Fit(
            "needs_forward_first",
            f"The inverse depends on the last forward call{where}: a latent of another call is "
            "inverted with what that one left behind.",
            f"the same latent after forward of two batches comes back {off:.3g} apart",
        )


def _after(layer: nn.Module, x: Tensor, z: Tensor) -> tuple[Tensor | None, list[str]]:
    """Return the inverse of ``z`` after a forward call, and the attributes that the call set."""
    used = copy_layer(layer)
    before = {id(value) for module in used.modules() for value in vars(module).values()}
    if attempt(lambda: call(used, x)) is None:
        return None, []
    names = [
        f"{prefix}.{name}".lstrip(".")
        for prefix, module in used.named_modules()
        for name, value in vars(module).items()
        if not name.startswith("_") and isinstance(value, Tensor) and id(value) not in before
    ]
    answer = attempt(lambda: call_inverse(used, z)[0])
    return answer, names


def _why(layer: nn.Module, z: Tensor) -> str:
    try:
        call_inverse(copy_layer(layer), z)
    except foreign() as error:  # this is what the test looks for
        return f"it raises {type(error).__name__}: {one_line(error, most=100)}"
    return "it answers"


@hypothesis("batch_of_one", rank=SEEN - 3, when=ANY, explains=ANY)
def batch_of_one(evidence: Evidence) -> Iterator[Fit]:
    """A batch of one sample loses its batch dimension or is refused, while three samples work."""
    if evidence.subject.unstarted is not None and evidence.failing == {"first_batch_is_safe"}:
        return
    for dtype in (torch.float64, torch.float32):
        trial = evidence.trial(replace(evidence.base, dtype=dtype))
        several = attempt(partial(call, copy_layer(trial.layer), trial.x))
        if several is not None:
            break
    else:
        return
    z, one = several[0], trial.x[:1]
    if z.numel() != trial.x.numel():
        return  # entries are lost in any batch
    back = trial.has("inverse")
    try:
        with torch.no_grad():
            alone, of_one = copy_layer(trial.layer)(one.clone())
            of_all = copy_layer(trial.layer)(trial.x.clone())[1]
        shape = tuple(alone.shape)
        dims = [getattr(value, "dim", int)() for value in (of_one, of_all)]
        if dims[0] < dims[1]:
            shape = (*shape, "log-det of shape", tuple(of_one.shape))
        if back and shape == (1, *z.shape[1:]):
            of_three = attempt(lambda: call_inverse(copy_layer(trial.layer), z))
            if of_three is None or of_three[0].shape != trial.x.shape:
                return  # wrong for any batch
            shape = tuple(call_inverse(copy_layer(trial.layer), z[:1])[0].shape)
            wanted = tuple(one.shape)
        else:
            wanted = (1, *z.shape[1:])
        told = f"got shape {shape}, expected {wanted}"
        fine = shape == wanted
    except foreign() as error:  # this is what the test looks for
        if "more than 1 value per channel" in str(error):
            return  # statistics of one sample, as of torch's batch normalisation
        fine, told = False, f"it raises {type(error).__name__}: {one_line(error, most=100)}"
    if not fine:
        yield Fit(
            "batch_of_one",
            "A batch of one sample is treated otherwise: its batch dimension is lost "
            "(`squeeze()` without a dimension).",
            f"for three samples all is well, for one {told}",
        )


#: Messages about a selection without entries, and what they mean.
_EMPTY = re.compile(r"empty|numel|zero.(element|size)|no elements|reduction dim|size 0", re.I)
_EMPTY_TOLD = (
    " (an empty selection, where no entry lies inside the region that the code expects some in)."
)


@hypothesis("raises_for_some_data", rank=SEEN + 2, when=ANY)
def raises_for_some_data(evidence: Evidence) -> Iterator[Fit]:
    """A call raises for some samples and succeeds for others, at the same parameters."""
    found = [f for f in evidence.findings if _RAISED.match(f.result.detail) and not f.case.wide]
    if not found or evidence.subject.is_defined:
        return
    trial, answers, said = evidence.trial(replace(found[0].case, batch=1)), 0, ""
    for number in range(32):
        x = trial.sample(200 + number)
        try:
            z, _ = call(copy_layer(trial.layer), x)
            if trial.has("inverse"):
                call_inverse(copy_layer(trial.layer), z)
            answers += 1
        except foreign() as error:  # this is what the test looks for
            said = f"{type(error).__name__}: {one_line(error, most=100)}"
    if said and answers:
        yield Fit(
            "raises_for_some_data",
            f"A call raises for some data and answers for others: {said}"
            + (_EMPTY_TOLD if _EMPTY.search(said) else "."),
            f"{32 - answers} of 32 single samples raise, {answers} do not",
            frozenset(f.check for f in evidence.findings if _RAISED.match(f.result.detail)),
        )


@hypothesis("raises_on_wide_data", rank=SEEN - 2, when=ANY, explains=ANY)
def raises_on_wide_data(evidence: Evidence) -> Iterator[Fit]:
    """A direction raises on wide data only."""
    wide = [f for f in evidence.findings if f.case.wide and _RAISED.match(f.result.detail)]
    if not wide or any(
        _RAISED.match(f.result.detail) and not f.case.wide for f in evidence.findings
    ):
        return
    detail = wide[0].result.detail
    trial = evidence.trial(replace(wide[0].case, batch=1))
    yield Fit(
        "raises_on_wide_data",
        f"On wide data the layer {detail}: no entry of the batch lies inside the region that "
        "the code expects some in (an empty selection in the tails).",
        f"{wide[0].case}: the smallest entry in absolute value is "
        f"{float(trial.x.abs().min()):.3g}; ordinary data are taken",
    )
