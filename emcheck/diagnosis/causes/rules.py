"""Wrong hand-written derivative or batching rules, and branches taken only under compilation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer
from emcheck.checks.calling import call, call_inverse, forward_of, inverse_of
from emcheck.checks.trial import Trial
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import SEEN, SYMPTOM, Fit, hypothesis
from emcheck.oracle.precision import Array

Run = Callable[[Tensor], tuple[Tensor, Tensor]]

_DIRECTIONS: tuple[tuple[str, Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]], ...] = (
    ("forward", forward_of),
    ("inverse", inverse_of),
)


@hypothesis(
    "forward_mode_rule_wrong",
    rank=SEEN + 6,
    when=("jvp_agrees",),
    explains=frozenset({"jvp_agrees"}),
)
def forward_mode(evidence: Evidence) -> Iterator[Fit]:
    """The forward-mode rule is wrong: ``jvp`` differs from the reverse-mode Jacobian."""
    case = evidence.case_of("jvp_agrees")
    small = replace(evidence.subject.clip(case, 3, 3), dtype=torch.float64, scale="unit", batch=1)
    trial = evidence.trial(small)
    z, _ = call(copy_layer(trial.layer), trial.x)
    for (name, run), given in zip(_DIRECTIONS, (trial.x, z), strict=True):
        J = trial.jacobian(given[0], inverse=name == "inverse")
        pushed = _forward_mode(trial, run, given)
        unequal = np.abs(pushed - J) > evidence.unit * np.abs(J).max()
        if not unequal.any():
            continue
        i, j = np.argwhere(unequal)[0]
        yield Fit(
            "forward_mode_rule_wrong",
            f"The forward-mode derivative (jvp) of {name} is wrong; the backward one is right.",
            f"{int(unequal.sum())} of {J.size} entries of the Jacobian differ; the first: "
            f"forward mode {pushed[i, j]:.6g}, backward mode {J[i, j]:.6g}",
        )


def _forward_mode(
    trial: Trial, run: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]], given: Tensor
) -> Array:
    columns = []
    for j in range(given.numel()):
        v = torch.zeros_like(given).reshape(-1)
        v[j] = 1.0
        layer = copy_layer(trial.layer)
        _, dz = torch.func.jvp(
            lambda x, layer=layer: run(layer, x)[0], (given,), (v.reshape(given.shape),)
        )  # type: ignore[misc]
        columns.append(dz.detach().numpy().reshape(-1))
    return np.stack(columns, axis=1)


@hypothesis(
    "vmap_mixes_samples", rank=SEEN + 6, when=("vmap_agrees",), explains=frozenset({"vmap_agrees"})
)
def vmap_mixes(evidence: Evidence) -> Iterator[Fit]:
    """Under ``vmap`` the right results are returned for the wrong samples."""
    trial = evidence.trial(replace(evidence.base, batch=3))
    stack = torch.stack([trial.x, trial.sample(9)])
    for name, run in (("forward", call), ("inverse", call_inverse)):
        with torch.no_grad():
            f = copy_layer(trial.layer)
            method = f if name == "forward" else f.inverse
            got = torch.func.vmap(lambda v, method=method: method(v)[0])(stack)
        expected = torch.stack([run(copy_layer(trial.layer), part)[0] for part in stack])
        flat = got.reshape(6, -1), expected.reshape(6, -1)
        if evidence.alike(*flat):
            continue
        order = _places(evidence, *flat)
        if order is not None:
            yield Fit(
                "vmap_mixes_samples",
                f"Under vmap the results of {name} are those of other samples: the batching rule "
                "mixes up two batch dimensions.",
                f"2 x 3 samples come back in the order {order}, each with the right value",
            )


def _places(evidence: Evidence, got: Tensor, expected: Tensor) -> list[int] | None:
    """Return which expected sample is at each place, or None if they are no permutation."""
    equal = np.array([[evidence.alike(a, b) for b in expected] for a in got])
    if not (equal.sum(axis=1) == 1).all() or not (equal.sum(axis=0) == 1).all():
        return None
    return [int(n) for n in equal.argmax(axis=1)]


@hypothesis("branch_under_compile", rank=SYMPTOM, when=("compiled_agrees",))
def branch_under_compile(evidence: Evidence) -> Iterator[Fit]:
    """Graph capture alone (no code generation) changes the result: the layer branches on it."""
    case = evidence.case_of("compiled_agrees")
    trial = evidence.trial(replace(evidence.subject.clip(case, 3, 3), batch=2, dtype=torch.float64))
    z, _ = call(copy_layer(trial.layer), trial.x)
    even = case.seed % 2 == 0
    name, run, given = ("forward", call, trial.x) if even else ("inverse", call_inverse, z)
    plain = run(copy_layer(trial.layer), given)
    layer = copy_layer(trial.layer)
    method = layer if even else layer.inverse
    torch._dynamo.reset()
    with torch.no_grad():
        got = torch.compile(cast(Run, method), backend="eager", dynamic=False)(given)
    torch._dynamo.reset()
    for what, a, b in zip(("value", "log-det"), got, plain, strict=True):
        if not evidence.alike(a.double(), b.double()):
            worst = int((a - b).abs().reshape(-1).argmax())
            yield Fit(
                "branch_under_compile",
                f"Under torch.compile {name} takes another branch, which gives another {what}.",
                f"compiled {float(a.reshape(-1)[worst]):.6g}, eager "
                f"{float(b.reshape(-1)[worst]):.6g} by the same operations, with capture alone",
            )
            return
