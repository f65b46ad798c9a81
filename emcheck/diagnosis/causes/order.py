"""Submodules applied, or undone, in the wrong order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np
import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer
from emcheck.checks.calling import call, call_inverse
from emcheck.diagnosis.consequences import FORWARD, INVERSE
from emcheck.diagnosis.evidence.jacobians import Maps
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import MECHANISM, Fit, hypothesis
from emcheck.guard import foreign

_MOST = 4


def parts(layer: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the outermost invertible submodules by name, two to ``_MOST`` of the same parent."""
    for name, module in [("", layer), *layer.named_modules()]:
        found = [
            (f"{name}.{n}".lstrip("."), child)
            for n, child in module.named_children()
            if callable(getattr(child, "inverse", None))
        ]
        if len(found) == 1:
            continue
        nested = [c for c in module.children() if isinstance(c, nn.ModuleList)]
        for group in nested:
            found = [
                (str(n), child)
                for n, child in group.named_children()
                if callable(getattr(child, "inverse", None))
            ]
        if 2 <= len(found) <= _MOST:
            return found
    return []


@hypothesis(
    "inverse_in_forward_order",
    rank=MECHANISM - 3,
    when=("inverse_undoes_forward", "forward_undoes_inverse", "inverse_backward_error"),
    explains=INVERSE,
)
def inverse_order(evidence: Evidence) -> Iterator[Fit]:
    """The inverse does not apply the submodules' inverses in the reverse order of forward."""
    orders = []
    for case in evidence.spread[:3]:
        trial = evidence.trial(case)
        layers = parts(trial.layer)
        if len(layers) < 2:
            return
        z, _ = call(copy_layer(trial.layer), trial.x.clone())
        got, _ = call_inverse(copy_layer(trial.layer), z.clone())
        forward = _order(layers, trial.x, z, inverse=False)
        backward = _order(layers, z, got, inverse=True)
        if forward is None or backward is None or backward == forward[::-1]:
            return
        orders.append((forward, backward))
    if len(orders) >= 2 and len(set(orders)) == 1:
        forward, backward = orders[0]
        names = [name for name, _ in layers]
        told = " then ".join(f"`{names[i]}`" for i in backward)
        due = " then ".join(f"`{names[i]}`" for i in forward[::-1])
        yield Fit(
            "inverse_in_forward_order",
            f"The inverse undoes {told}, where {due} is due"
            f"{': the forward order' if backward == forward else ''}.",
            f"inverse(z) equals the submodules' inverses in that order in {len(orders)} of "
            f"{len(orders)} cases",
        )


def _order(
    layers: list[tuple[str, nn.Module]], given: Tensor, got: Tensor, inverse: bool
) -> tuple[int, ...] | None:
    """Return the order of submodules that gives exactly ``got``, bit for bit, or None."""
    run = call_inverse if inverse else call
    for order in permutations(range(len(layers))):
        value = given.clone()
        try:
            for index in order:
                value, _ = run(copy_layer(layers[index][1]), value)
        except foreign():  # the submodules do not fit together in this order
            continue
        if value.shape == got.shape and torch.equal(value, got):
            return order
    return None


@hypothesis(
    "submodules_in_other_order",
    rank=MECHANISM - 3,
    when=("forward_matches_definition", "jacobian_matches_definition"),
    explains=FORWARD | INVERSE,
)
def forward_order(evidence: Evidence) -> Iterator[Fit]:
    """Forward applies its submodules in another order than the definition."""
    orders = []
    for m in evidence.maps:
        layers = parts(evidence.trial(m.case).layer)
        if len(layers) < 2 or m.D is None:
            return
        got, due = _product_order(evidence, m, layers)
        if got is None or due is None or got == due:
            return
        orders.append((got, due))
    if len(orders) >= 2 and len(set(orders)) == 1:
        got, due = orders[0]
        told, right = (" then ".join(f"`{layers[i][0]}`" for i in o) for o in (got, due))
        yield Fit(
            "submodules_in_other_order",
            f"Forward applies {told}; the definition is {right}.",
            f"products of the submodules' Jacobians in these orders equal J_forward and the "
            f"definition's in {len(orders)} of {len(orders)} cases",
        )


def _product_order(
    evidence: Evidence, m: Maps, layers: list[tuple[str, nn.Module]]
) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    matrices = []
    for _, part in layers:
        layer, n = copy_layer(part).double(), m.x.size
        basis = torch.eye(n, dtype=torch.float64).reshape(n, *m.case.event)
        zero = call(layer, torch.zeros_like(basis[:1]))[0]
        matrices.append((call(layer, basis)[0] - zero).numpy().reshape(n, -1).T)
    found: list[tuple[int, ...] | None] = [None, None]
    for order in permutations(range(len(matrices))):
        total = np.eye(m.x.size)
        for index in order:
            total = matrices[index] @ total
        for position, wanted in enumerate((m.F, m.D)):
            if found[position] is None and wanted is not None and m.close(total, wanted):
                found[position] = order
    return found[0], found[1]
