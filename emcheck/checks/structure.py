"""Structure: properties of the Jacobian and of the map beyond single values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emcheck.bounds import Arithmetic, Measure, compare, numerically_singular
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.case import Case, Subject
from emcheck.checks.core import Unsupported, agree, agree_tensors, check, identical, worst, yes
from emcheck.checks.trial import Trial
from emcheck.guard import foreign
from emcheck.known import Clause
from emcheck.oracle import as_extended, singular_extremes
from emcheck.oracle.precision import EXTENDED, Array
from emcheck.specs.core import Trait, options_of

_U64 = Arithmetic.of(torch.float64)


def _float64(case: Case, subject: Subject) -> Case:
    return replace(case, dtype=torch.float64, scale="unit")


@check("structure", Clause.DEFINITION, "order", adapt=_float64)
def jacobian_is_triangular(trial: Trial) -> Measure:
    """The Jacobian is lower triangular in the declared order, exactly."""
    spec = trial.subject.spec
    assert spec is not None
    assert spec.order is not None
    order = spec.order(trial.subject.unwrap(trial.layer), trial.case.event)
    J = trial.jacobian(trial.x[0])[np.ix_(order, order)]
    above = np.argwhere(np.triu(J, 1) != 0)
    where = f"nonzero above the diagonal at {above[0].tolist()}" if len(above) else ""
    return yes(not len(above), where)


@check("structure", Clause.DEFINITION, Trait.LINEAR, "definition", adapt=_float64)
def jacobian_matches_definition(trial: Trial) -> Measure:
    """The Jacobian equals the matrix of the index formula and is nonzero exactly on its support."""
    definition = trial.definition
    assert definition is not None
    J = trial.jacobian(trial.x[0])
    basis = np.eye(J.shape[1], dtype=EXTENDED).reshape(-1, *trial.case.event)
    run = definition.running(basis, np.zeros_like(basis), _U64)
    bound = np.broadcast_to(run.error, run.value.shape).reshape(len(basis), -1).T
    matrix = getattr(definition, "matrix", None)
    expected = definition.jacobian(as_extended(trial.x[:1])) if matrix is None else matrix
    bound = bound + definition.jacobian_uncertainty(as_extended(trial.x[:1]))
    return compare(J, expected, bound, "AGREE")


@check("structure", Clause.DEFINITION, Trait.PERIODIC, adapt=_float64)
def jacobian_is_block_circulant(trial: Trial) -> Measure:
    """Shifting the input pixel shifts the output pixel, modulo the image size."""
    C, H, W = trial.case.event
    J = trial.jacobian(trial.x[0]).reshape(-1, H, W, C, H, W)
    basis = torch.eye(C * H * W, dtype=torch.float64).reshape(-1, C, H, W)
    bound = trial.forward_bound(basis)[0].max()
    measures = []
    for axis in (0, 1):
        shifted = np.roll(J, 1, axis=(1 + axis, 4 + axis))
        measures.append(agree(shifted, J, bound))
    return worst(*measures)


@check("structure", Clause.DEFINITION, Trait.PERIODIC)
def shift_is_cyclic(trial: Trial) -> Measure:
    """``f(roll(x)) = roll(f(x))`` for a periodic layer."""
    shifted = call(trial.layer, trial.x.roll((1, 2), (2, 3)))[0]
    expected = trial.forward[0].roll((1, 2), (2, 3))
    bound = trial.forward_bound(trial.x)[0]
    return agree_tensors(shifted, expected, bound)


def _room_to_move(case: Case, subject: Subject) -> Case:
    return subject.clip(case, 2, 3)


@check("structure", Clause.DEFINITION, Trait.EQUIVARIANT, adapt=_room_to_move)
def shift_moves_the_latent(trial: Trial) -> Measure:
    """A shifted image gives the shifted latent, away from the border."""
    k, D = (int(_options(trial).get(key, 1)) for key in ("kernel_size", "dilation"))
    margin = (k // 2) * D * 2 + 1  # a pair of convolutions reaches twice as far
    C, H, W = trial.case.event
    event = (C, H + 2 * margin + 1, W + 2 * margin + 1)
    wide = Trial(trial.subject, replace(trial.case, event=event))
    canvas = trial.x.new_zeros(len(trial.x), *event)
    first, second = canvas.clone(), canvas.clone()
    first[:, :, margin : margin + H, margin : margin + W] = trial.x
    second[:, :, margin + 1 : margin + 1 + H, margin + 1 : margin + 1 + W] = trial.x
    z1, z2 = call(wide.layer, first)[0], call(wide.layer, second)[0]
    bound = wide.forward_bound(first)[0]
    return agree_tensors(z1[:, :, :-1, :-1], z2[:, :, 1:, 1:], bound[:, :, :-1, :-1])


@check("structure", Clause.DEFINITION, Trait.LINEAR)
def map_is_affine(trial: Trial) -> Measure:
    """``f(2x + y) - f(0) = 2 (f(x) - f(0)) + (f(y) - f(0))``, on inputs that add exactly."""
    unit = 2.0**-8 * trial.case.magnitude
    x, y = ((trial.sample(purpose) / unit).round() * unit for purpose in (2, 6))
    points = (2 * x + y, x, y, torch.zeros_like(x))
    values = [as_extended(call(trial.layer, point)[0]) for point in points]
    limits = [trial.forward_bound(point)[0] for point in points]
    left, right = values[0], 2 * values[1] + values[2] - 2 * values[3]
    bound = limits[0] + 2 * limits[1] + limits[2] + 2 * limits[3]
    return compare(left, right, bound, "AGREE")


@check("structure", Clause.DEFINITION, Trait.REVERSIBLE)
def reversed_is_flipped(trial: Trial) -> Measure:
    """The reversed layer equals flip, layer with flipped weights, flip (space and channels)."""
    own = _options(trial)
    options = {**own, "reverse": not own.get("reverse", False)}
    other = Trial(trial.subject, replace(trial.case, options=options)).new_layer()
    weights = zip(_kernels(trial.layer), _kernels(other), strict=True)
    for mine, theirs in weights:
        theirs.data.copy_(mine.data.flip(0, 1, 2, 3))
    z, _ = call(other, trial.x.flip(1, 2, 3))
    xh, _ = call_inverse(other, trial.latent.flip(1, 2, 3))
    mine_back, _ = call_inverse(trial.layer, trial.latent)
    forward = agree_tensors(z.flip(1, 2, 3), trial.forward[0], trial.forward_bound(trial.x)[0])
    limit = trial.inverse_bound(mine_back, trial.latent)
    backward = agree_tensors(xh.flip(1, 2, 3), mine_back, limit)
    return worst(forward, backward)


def _options(trial: Trial) -> dict[str, Any]:
    """Return the options of the layer: a case that names none has those of the layer given."""
    return {**options_of(trial.layer), **trial.case.options}


def _kernels(layer: nn.Module) -> list[Tensor]:
    return [parameter for parameter in layer.parameters() if parameter.dim() == 4]


@check("structure", Clause.DEFINITION, Trait.COMPOSED)
def chain_adds_up(trial: Trial) -> Measure:
    """A chain applies its layers in order, inverts them in reverse and adds the log-dets."""
    layers = list(trial.subject.unwrap(trial.layer).get_submodule("layers").children())
    y, total = trial.x, torch.zeros(len(trial.x)).to(trial.x)
    for layer in layers:
        y, logdet = call(layer, y)
        total = total + logdet
    z_bound, logdet_bound = trial.forward_bound(trial.x)
    forward = agree_tensors(trial.forward[0], y, z_bound)
    added = agree_tensors(trial.forward[1], total, logdet_bound)
    back, subtracted = _undo(layers, trial.forward[0])
    xh, logdet_back = trial.back
    values = yes(identical(xh, back), "the inverse is not the layers' in reverse order")
    size = trial.arithmetic.u * len(layers) * np.abs(as_extended(total)) + logdet_bound
    return worst(forward, added, values, agree(as_extended(logdet_back), subtracted, size))


def _undo(layers: list[nn.Module], z: Tensor) -> tuple[Tensor, Array]:
    total: Array = np.zeros(len(z))
    for layer in reversed(layers):
        z, logdet = call_inverse(layer, z)
        total = total + as_extended(logdet)
    return z, total


#: Points whose Jacobians are formed, and halvings of the line between two of them.
_POINTS, _HALVINGS = 24, 40


def _many_points(case: Case, subject: Subject) -> Case:
    small = replace(_float64(case, subject), batch=_POINTS)
    return small if subject.doubles else replace(small, dtype=case.dtype)


@check("structure", Clause.INVERSE, adapt=_many_points)
def map_does_not_fold(trial: Trial) -> Measure:
    """The determinant keeps its sign on a connected domain: the map is one to one (clause 4).

    Two points of opposite signs are brought together by halving. If forward is continuous between
    them, it folds there, and no inverse can undo it; if it jumps, the check is UNSUPPORTED.
    """
    if not trial.subject.anywhere or trial.x[0].numel() > _MOST_OF_FOLD:
        raise Unsupported("the domain is not known to be connected, or is too large")
    half = _POINTS // 2
    x = torch.cat([trial.x[:half], 4 * trial.x[half:]])
    try:
        steep = max(_steepness(trial, one) for one in x)
    except foreign():  # wide data are refused: other checks report that
        x = trial.x[:half]
        steep = max(_steepness(trial, one) for one in x)
    signs = [_orientation(trial, one, steep) for one in x]
    if not (1 in signs and -1 in signs):
        return yes(True)
    up, down = x[signs.index(1)], x[signs.index(-1)]
    for _ in range(_HALVINGS):
        middle = (up + down) / 2
        sign = _orientation(trial, middle, steep)
        if sign == 0:
            break
        up, down = (middle, down) if sign == 1 else (up, middle)
    (a, b), far = call(trial.layer, torch.stack([up, down]))[0], float((up - down).norm())
    if not float((a - b).norm()) <= _STEEP * steep * (far + float(up.norm()) * _U64.u):
        raise Unsupported("forward jumps where the sign of its determinant changes")
    return yes(False, "the determinant changes its sign where forward is continuous: it folds")


#: Dimensions up to which so many Jacobians are formed.
_MOST_OF_FOLD = 64

#: A map this many times steeper than at any sampled point is taken to jump.
_STEEP = 64.0


def _steepness(trial: Trial, x: Tensor) -> float:
    J = trial.jacobian(x)
    return singular_extremes(J)[0] if np.isfinite(J).all() else 0.0


def _orientation(trial: Trial, x: Tensor, steep: float) -> int:
    """Return the sign of the determinant at one sample; 0 where it is not known.

    ``steep`` is the largest slope of the map: slopes that vanish beside it have no known sign.
    """
    J = trial.jacobian(x)
    if not np.isfinite(J).all():
        return 0
    smallest = singular_extremes(J)[1]
    if numerically_singular(steep, smallest, len(J), trial.jacobian_arithmetic(x)):
        return 0
    return int(np.linalg.slogdet(J)[0])
