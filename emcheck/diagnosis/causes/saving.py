"""Causes in saving and copying: state that is not saved, not picklable or rounded."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer
from emcheck.checks.core import identical
from emcheck.diagnosis.causes.state import differing
from emcheck.diagnosis.consequences import ANY, GRADIENTS
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import SEEN, Fit, hypothesis
from emcheck.guard import foreign


@hypothesis(
    "not_in_state_dict",
    rank=SEEN + 1,
    when=("state_dict_restores",),
    explains=frozenset({"state_dict_restores", "nothing_goes_stale"}),
)
def not_saved(evidence: Evidence) -> Iterator[Fit]:
    """The outputs depend on a tensor or an attribute that is not in the state_dict."""
    trial = evidence.trial()
    other = evidence.trial(replace(evidence.base, seed=evidence.base.seed + 1))
    first, second = trial.layer, other.layer
    second.load_state_dict(first.state_dict())
    yield from _plain_attribute(evidence, first, second)
    for name, mine, theirs in _hidden(first, second):
        x, z = evidence.sample_pair
        before = evidence.outputs(copy_layer(first), x, z)
        apart = differing(before, evidence.outputs(copy_layer(second), x, z))
        theirs.copy_(mine)
        again = differing(before, evidence.outputs(copy_layer(second), x, z))
        if apart and not again:
            yield Fit(
                "not_in_state_dict",
                f"`{name}` is not in the state_dict: a restored layer computes something else.",
                f"with equal state_dicts the {apart[0]} differs; once `{name}` is copied too, "
                "all outputs are equal bit for bit",
            )
            return


def _plain_attribute(evidence: Evidence, first: nn.Module, second: nn.Module) -> Iterator[Fit]:
    """Yield a fit for a plain attribute that differs between two builds and changes outputs."""
    modules, (x, z) = dict(second.named_modules()), evidence.sample_pair
    before = evidence.outputs(copy_layer(first), x, z)
    apart = differing(before, evidence.outputs(copy_layer(second), x, z))
    for prefix, module in first.named_modules() if apart else ():
        for name, mine in vars(module).items():
            theirs = vars(modules[prefix]).get(name)
            plain = isinstance(mine, _PLAIN) and not name.startswith("_")
            if not plain or type(theirs) is not type(mine) or _equal(mine, theirs):
                continue
            changed = copy_layer(second)
            setattr(changed.get_submodule(prefix), name, mine)
            if not differing(before, evidence.outputs(changed, x, z)):
                key = f"{prefix}.{name}".lstrip(".")
                yield Fit(
                    "not_in_state_dict",
                    f"`{key}` is not in the state_dict: a restored layer computes something else.",
                    f"with equal state_dicts the {apart[0]} differs; once `{key}` is copied too, "
                    "all outputs are equal bit for bit",
                )
                return


#: Types of attributes that are never in a state_dict.
_PLAIN = (int, float, str, tuple, list, dict, np.ndarray)


def _equal(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, np.ndarray):
        return bool(np.array_equal(mine, theirs))
    return str(mine) == str(theirs)


def _hidden(first: nn.Module, second: nn.Module) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield the tensors outside the state_dicts of two layers that differ between them."""
    saved = set(first.state_dict())
    modules = dict(second.named_modules())
    for prefix, module in first.named_modules():
        held = {**module.__dict__, **module._buffers}
        for name, mine in held.items():
            key = f"{prefix}.{name}".lstrip(".")
            theirs = getattr(modules[prefix], name, None)
            if not isinstance(mine, Tensor) or not isinstance(theirs, Tensor) or key in saved:
                continue
            if not identical(mine, theirs):
                yield key, mine, theirs


@hypothesis(
    "cannot_be_pickled",
    "state_rounded",
    rank=SEEN,
    when=GRADIENTS | {"copies_and_pickles_agree"},
    explains=ANY,
)
def pickling(evidence: Evidence) -> Iterator[Fit]:
    """The layer cannot be pickled, or a copy's parameters are rounded to fewer digits."""
    trial = evidence.trial()
    layer = trial.layer
    try:
        copied = pickle.loads(pickle.dumps(layer))
    except foreign() as error:
        name = _unpicklable(layer)
        told = f"the attribute `{name}`" if name else "the layer"
        yield Fit(
            "cannot_be_pickled",
            f"{told.capitalize()} cannot be pickled.",
            f"pickle raised {type(error).__name__}: {' '.join(str(error).split())[:120]}",
            frozenset({"copies_and_pickles_agree"}),
        )
        return
    for told, other, checks in (
        ("copying", copy_layer(layer), None),
        ("pickling", copied, frozenset({"copies_and_pickles_agree"})),
    ):
        rounded = _rounded(layer.state_dict(), other.state_dict())
        if rounded is not None:
            name, dtype, off = rounded
            yield Fit(
                "state_rounded",
                f"Copies are rounded: {told} keeps `{name}` in {dtype}.",
                f"`{name}` of the copy equals `{name}` rounded to {dtype} in all entries, off by "
                f"up to {off:.3g}",
                checks,
            )
            return


def _rounded(
    state: dict[str, Tensor], restored: dict[str, Tensor]
) -> tuple[str, str, float] | None:
    """Return name, dtype and error of the first tensor that came back with fewer digits."""
    for name, value in state.items():
        got = restored.get(name)
        if got is None or identical(got, value) or not value.is_floating_point():
            continue
        for dtype in (torch.float16, torch.bfloat16, torch.float32):
            if identical(value.to(dtype).to(value), got):
                off = float((got - value).abs().max())
                return name, str(dtype).removeprefix("torch."), off
    return None


def _unpicklable(layer: nn.Module) -> str:
    for prefix, module in layer.named_modules():
        for name, value in module.__dict__.items():
            if name.startswith("_"):
                continue
            try:
                pickle.dumps(value)
            except foreign():  # the culprit
                return f"{prefix}.{name}".lstrip(".")
    return ""
