"""The scales of couplings and their like: positive functions of a network's output, with errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from emcheck.bounds import ELEMENTARY
from emcheck.oracle.precision import EXTENDED, Array

_LOG_2 = np.log(EXTENDED(2))


def sigmoid(h: Array) -> Array:
    """``1 / (1 + exp(-h))`` without overflow."""
    e = np.exp(-np.abs(h))
    return np.where(h >= 0, 1 / (1 + e), e / (1 + e))


def log_sigmoid(h: Array) -> Array:
    """``log sigmoid(h)`` without overflow."""
    return np.asarray(np.minimum(h, 0) - np.log1p(np.exp(-np.abs(h))))


def gate_error(h: Array, error: Array) -> Array:
    """Return the largest change of ``sigmoid(h)`` while ``h`` moves by ``error``, to all orders."""
    g = sigmoid(h)
    moved = np.maximum(sigmoid(h + error) - g, g - sigmoid(h - error))
    return np.maximum(moved, g * (1 - g) * np.minimum(error, 1))


def log_gate_error(h: Array, error: Array) -> Array:
    """Return the largest change of ``log sigmoid(h)``: downwards, as it is concave."""
    moved = log_sigmoid(h) - log_sigmoid(h - error)
    return np.maximum(moved, (1 - sigmoid(h)) * np.minimum(error, 1))


@dataclass(frozen=True)
class Gate:
    """A positive function ``g(h)`` of the network's second half, with its errors.

    ``value_error(h, e)`` and ``log_error(h, e)`` bound the change of ``g`` and ``log g`` while
    ``h`` moves by at most ``e``; a computed ``log g`` errs by ``roundings`` times ``u log_size``.
    """

    offset: float
    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]  # of g, at g
    value_error: Callable[[Array, Array], Array]
    log: Callable[[Array], Array]
    log_error: Callable[[Array, Array], Array]
    log_size: Callable[[Array], Array]
    roundings: float


#: ``sigmoid(h + 2)`` of the affine coupling.
SIGMOID = Gate(
    2.0,
    sigmoid,
    lambda g: g * (1 - g),
    gate_error,
    log_sigmoid,
    log_gate_error,
    lambda h: np.abs(log_sigmoid(h)),
    ELEMENTARY,
)

#: ``exp(h)`` of the split prior, whose logarithm is not computed.
EXPONENTIAL = Gate(
    0.0,
    np.exp,
    lambda g: g,
    lambda h, error: np.exp(h) * np.expm1(error),
    lambda h: h,
    lambda h, error: error,
    np.zeros_like,
    0.0,
)

#: ``2 sigmoid(h)`` of the affine autoregressive layer. The logarithm is the sum of two terms, which
#: cancel at ``h = 0``; the sum rounds once more.
CENTRED = Gate(
    0.0,
    lambda h: 2 * sigmoid(h),
    lambda g: g * (1 - g / 2),
    lambda h, error: 2 * gate_error(h, error),
    lambda h: log_sigmoid(h) + _LOG_2,
    log_gate_error,
    lambda h: np.abs(log_sigmoid(h)) + _LOG_2,
    ELEMENTARY + 1,
)
