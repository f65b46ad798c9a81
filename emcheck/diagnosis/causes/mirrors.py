"""Stale copies of parameters, and caches that keep numbers rounded before a conversion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer, derived_tensors
from emcheck.checks.calling import call, call_inverse
from emcheck.diagnosis.causes.logdet_factors import WRONG
from emcheck.diagnosis.causes.state import differing
from emcheck.diagnosis.consequences import ANY, INVERSE, LOGDET, UNDONE
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import SEEN, Fit, hypothesis


@hypothesis("derived_once", rank=SEEN - 7, when=ANY, explains=ANY)
def derived_once(evidence: Evidence) -> Iterator[Fit]:
    """``__init__`` kept a tensor computed from a parameter: forward ignores the parameter."""
    fresh = evidence.subject.build(replace(evidence.base, style="initial"))
    names = list(dict.fromkeys(name for name, _ in derived_tensors(fresh)))
    if not names:
        return
    dtype = next((p.dtype for p in fresh.parameters() if p.is_floating_point()), torch.float32)
    x = evidence.trial(replace(evidence.base, dtype=torch.float32)).x.to(dtype)
    frozen = [
        name
        for name, parameter in fresh.named_parameters()
        if parameter.is_floating_point() and parameter.numel() and not _moves_any(fresh, name, x)
    ]
    if frozen:
        told, parameters = (" and ".join(f"`{n}`" for n in found) for found in (names, frozen))
        yield Fit(
            "derived_once",
            f"{told} was computed from {parameters} once, in `__init__`, and kept with its "
            "graph: training the parameter does not move it, and the layer cannot be copied.",
            f"moving {parameters} changes no bit of forward",
        )


def _moves_any(layer: nn.Module, name: str, x: Tensor) -> bool:
    """Whether changing one parameter changes an output of forward."""
    return _changes(layer, name, x, 0) or _changes(layer, name, x, 1)


@hypothesis("mirror_not_refreshed", rank=SEEN - 2, when=UNDONE, explains=INVERSE | LOGDET)
def mirror_not_refreshed(evidence: Evidence) -> Iterator[Fit]:
    """The inverse ignores a parameter that forward uses, and uses a stale copy of it instead."""
    trial = evidence.trial(replace(evidence.base, style="initial"))
    x = trial.x
    z, _ = call(copy_layer(trial.layer), x)
    back, _ = call_inverse(copy_layer(trial.layer), z)
    size = float(x.abs().max())
    if back.shape != x.shape or not bool((back - x).abs().max() <= 2.0**-12 * size):
        return  # wrong from the beginning
    ignored = [
        name
        for name, _ in trial.layer.named_parameters()
        if _moves(trial.layer, name, x, inverse=False)
        and not _moves(trial.layer, name, z, inverse=True)
    ]
    kept = [name for name in _kept(trial.layer) if _moves(trial.layer, name, z, inverse=True)]
    if ignored and kept:
        names, mirrors = (" and ".join(f"`{n}`" for n in found) for found in (ignored, kept))
        yield Fit(
            "mirror_not_refreshed",
            f"The inverse does not follow {names}: it computes with {mirrors}, which was made "
            "from it once and is not refreshed when it is trained (stale).",
            f"at initial values the round trip is right; moving {names} changes forward and no "
            f"bit of the inverse, moving {mirrors} changes the inverse",
        )


def _kept(layer: nn.Module) -> list[str]:
    """Names of floating-point tensors that are not parameters: buffers and plain attributes."""
    names = [name for name, value in layer.named_buffers() if value.is_floating_point()]
    for prefix, module in layer.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and value.is_floating_point():
                names.append(f"{prefix}.{name}".lstrip("."))
    return names


def _moves(layer: nn.Module, name: str, given: Tensor, inverse: bool) -> bool:
    """Whether changing one tensor of a layer changes the values that a direction returns."""
    run = call_inverse if inverse else call
    moved = copy_layer(layer)
    owner, _, leaf = name.rpartition(".")
    tensor: Tensor = getattr(moved.get_submodule(owner), leaf)
    tensor.data.mul_(1.25).add_(0.125)
    return not torch.equal(run(moved, given)[0], run(copy_layer(layer), given)[0])


@hypothesis(
    "cache_survives_conversion",
    rank=SEEN + 1,
    when=("nothing_goes_stale",),
    explains=frozenset({"nothing_goes_stale"}),
)
def cache_survives_conversion(evidence: Evidence) -> Iterator[Fit]:
    """A cache survives ``.double()``: a layer that was used in float32 keeps rounded numbers."""
    trial = evidence.trial(replace(evidence.base, dtype=torch.float32))
    used, unused = trial.layer, trial.new_layer()
    call(used, trial.x)
    if trial.has("inverse"):
        call_inverse(used, trial.latent)
    used, unused = copy_layer(used).double(), unused.double()
    x = trial.x.double()
    z = call(copy_layer(unused), x)[0]
    got, expected = (evidence.outputs(layer, x, z) for layer in (used, unused))
    apart = differing(got, expected)
    if apart:
        off = float((got[apart[0]] - expected[apart[0]]).abs().max())
        kept = [
            f"{prefix}.{name}".lstrip(".")
            for prefix, module in used.named_modules()
            for name, value in vars(module).items()
            if isinstance(value, Tensor) and not name.startswith("_")
        ]
        where = f" (`{kept[0]}`)" if kept else ""
        yield Fit(
            "cache_survives_conversion",
            f"A cache{where} survives `.double()`: a layer that was used in float32 and then "
            "converted goes on with numbers rounded to float32.",
            f"the {apart[0]} differs by up to {off:.3g} from that of a layer that was never used",
        )


@hypothesis("logdet_not_refreshed", rank=SEEN - 2, when=WRONG, explains=LOGDET)
def logdet_not_refreshed(evidence: Evidence) -> Iterator[Fit]:
    """The log-det ignores a parameter that the values use, and uses a stale copy of it instead."""
    trial = evidence.trial(replace(evidence.base, style="initial"))
    x, layer = trial.x, trial.layer
    values = [n for n, _ in layer.named_parameters() if _changes(layer, n, x, 0)]
    ignored = [n for n in values if not _changes(layer, n, x, 1)]
    kept = [n for n in _kept(layer) if _changes(layer, n, x, 1) and not _changes(layer, n, x, 0)]
    if ignored and kept:
        names, mirrors = (" and ".join(f"`{n}`" for n in found) for found in (ignored, kept))
        yield Fit(
            "logdet_not_refreshed",
            f"The log-det does not follow {names}: it is taken from {mirrors}, which was made "
            "from it once, in the constructor, and is not refreshed when it is trained (stale).",
            f"moving {names} changes z and no bit of the log-det, moving {mirrors} the log-det",
        )


def _changes(layer: nn.Module, name: str, x: Tensor, output: int) -> bool:
    """Whether changing one tensor changes z (0) or the log-det (1)."""
    moved = copy_layer(layer)
    owner, _, leaf = name.rpartition(".")
    tensor: Tensor = getattr(moved.get_submodule(owner), leaf)
    tensor.data.mul_(1.25).add_(0.125)
    return not torch.equal(call(moved, x)[output], call(copy_layer(layer), x)[output])
