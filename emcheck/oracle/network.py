"""Definitions of coupling layers: their network in NumPy, with running error analysis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from emcheck.bounds import ELEMENTARY, Arithmetic, Measure, compare, too_ill
from emcheck.contract import Event
from emcheck.oracle.definition import Definition, Running
from emcheck.oracle.matrices import ConvFactor
from emcheck.oracle.precision import Array


@dataclass(frozen=True)
class Network:
    """Zero-padded convolutions with biases and ReLU between them."""

    factors: tuple[ConvFactor, ...]
    biases: tuple[Array, ...]

    def running(self, x: Array, error: Array, arithmetic: Arithmetic) -> tuple[Array, Array]:
        """Return value and error bound: ``e <- |W| (e + g |a|) + g |b|``; ReLU does not change it.

        ``g = gamma_{m+1}`` for sums of ``m`` products and a bias.
        """
        for l, (factor, bias) in enumerate(zip(self.factors, self.biases, strict=True)):
            if l:
                x = np.maximum(x, 0)
            absolute, b, m = factor.absolute(), bias[None, :, None, None], factor.nonzeros()
            gamma, floor = arithmetic.gamma(m + 1), (m + 1) * arithmetic.tiny
            error = absolute.apply(error + gamma * np.abs(x)) + gamma * np.abs(b) + floor
            x = factor.apply(x) + b
        return x, error

    def tangent(self, x: Array, v: Array) -> Array:
        """Return the derivative at one sample ``x (1, C, H, W)`` along ``v (K, C, H, W)``."""
        for l, (factor, bias) in enumerate(zip(self.factors, self.biases, strict=True)):
            if l:
                v, x = v * (x > 0), np.maximum(x, 0)
            v, x = factor.apply(v), factor.apply(x) + bias[None, :, None, None]
        return v


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
    ``h`` moves by at most ``e``; ``roundings`` is the error of a computed ``log g``, in ``u``.
    """

    offset: float
    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]  # of g, at g
    value_error: Callable[[Array, Array], Array]
    log: Callable[[Array], Array]
    log_error: Callable[[Array, Array], Array]
    roundings: float


#: ``sigmoid(h + 2)`` of the affine coupling, ``exp(h)`` of the split prior.
SIGMOID = Gate(
    2.0, sigmoid, lambda g: g * (1 - g), gate_error, log_sigmoid, log_gate_error, ELEMENTARY
)
EXPONENTIAL = Gate(
    0.0,
    np.exp,
    lambda g: g,
    lambda h, error: np.exp(h) * np.expm1(error),
    lambda h: h,
    lambda h, error: error,
    0.0,
)


@dataclass(frozen=True)
class Gated:
    """The network's output at one input: shift ``t``, gate ``g`` and bounds of their errors.

    ``h`` is the gate's argument; for an additive coupling it is infinite and ``g = 1`` exactly.
    """

    t: Array
    t_error: Array
    h: Array
    h_error: Array
    g: Array
    g_error: Array


class CouplingDefinition(Definition):
    """``z1 = x1``, ``z2 = (x2 + t(x1)) g(x1)`` with a gate of the network, or ``g = 1``.

    Networks with a gate return ``(t, h)`` stacked over channels, those without one ``t`` alone.
    """

    def __init__(
        self, layers: Sequence[tuple[Array, Array]], event: Event, gate: Gate | None
    ) -> None:
        factors, biases = zip(*[(ConvFactor(w), b) for w, b in layers], strict=True)
        self.network = Network(factors, biases)
        self.event = event
        self.gate = gate
        self.split = event[0] // 2

    def _halves(self, x: Array) -> tuple[Array, Array]:
        return x[:, : self.split], x[:, self.split :]

    def _gated(self, x1: Array, e1: Array, arithmetic: Arithmetic) -> Gated:
        """Return shift and gate at ``x1`` with error ``e1``."""
        t, t_error = self.network.running(x1, e1, arithmetic)
        if self.gate is None:
            zero, one = np.zeros_like(t), np.ones_like(t)
            return Gated(t, t_error, one * np.inf, zero, one, zero)
        n = t.shape[1] // 2
        h = t[:, n:] + self.gate.offset
        h_error = t_error[:, n:] + (arithmetic.u * np.abs(h) if self.gate.offset else 0.0)
        # The gate and the product add roundings relative to g, or underflow.
        g = self.gate.value(h)
        g_error = self.gate.value_error(h, h_error)
        g_error = g_error + (ELEMENTARY + 1) * arithmetic.u * g + arithmetic.tiny
        return Gated(t[:, :n], t_error[:, :n], h, h_error, g, g_error)

    def _exactly_gated(self, x: Array, arithmetic: Arithmetic) -> Gated:
        """Return shift and gate at an ``x`` without error."""
        x1, _ = self._halves(x)
        return self._gated(x1, np.zeros_like(x1), arithmetic)

    def _value(self, x: Array, at: Gated) -> Array:
        x1, x2 = self._halves(x)
        return np.concatenate([x1, (x2 + at.t) * at.g], axis=1)

    def running(self, x: Array, error: Array, arithmetic: Arithmetic) -> Running:
        e1, _ = self._halves(error)
        x1, _ = self._halves(x)
        return self._running(x, error, self._gated(x1, e1, arithmetic), arithmetic)

    def _running(self, x: Array, error: Array, at: Gated, arithmetic: Arithmetic) -> Running:
        u = arithmetic.u
        (_, x2), (e1, e2) = self._halves(x), self._halves(error)
        moved = np.abs(x2 + at.t)
        total = e2 + at.t_error + u * moved
        error2 = (at.g + at.g_error) * total + moved * at.g_error + arithmetic.tiny
        logdet, logdet_error = np.zeros(len(x)), np.zeros(len(x))
        if self.gate is not None:
            terms = self.gate.log(at.h)
            bound = self.gate.log_error(at.h, at.h_error) + (
                self.gate.roundings * u + arithmetic.gamma(terms[0].size)
            ) * np.abs(terms)
            logdet, logdet_error = terms.sum(axis=(1, 2, 3)), bound.sum(axis=(1, 2, 3))
        bound = np.concatenate([e1, error2], axis=1)
        return Running(self._value(x, at), bound, logdet, logdet_error)

    def tangent(self, x: Array, v: Array) -> Array:
        (x1, x2), (v1, v2) = self._halves(x), self._halves(v)
        at = self._exactly_gated(x, Arithmetic(0.0, 0.0))
        d = self.network.tangent(x1, v1)
        if self.gate is None:
            return np.concatenate([v1, v2 + d], axis=1)
        n, g = at.t.shape[1], at.g
        w2 = (v2 + d[:, :n]) * g + (x2 + at.t) * self.gate.slope(g) * d[:, n:]
        return np.concatenate([v1, w2], axis=1)

    def local_residual(self, xh: Array, z: Array, arithmetic: Arithmetic) -> Array:
        """``|f(xh) - z|`` for ``xh2 = z2 / g - t``: the gate's error, the quotient's and t's."""
        return self._residual(xh, self._exactly_gated(xh, arithmetic), arithmetic)

    def _residual(self, xh: Array, at: Gated, arithmetic: Arithmetic) -> Array:
        x1, x2 = self._halves(xh)
        error = at.g * (at.t_error + arithmetic.u * np.abs(x2) + arithmetic.tiny)
        error2 = np.abs(x2 + at.t) * at.g_error + error
        return np.concatenate([np.zeros_like(x1), error2], axis=1)

    def backward_error(self, z: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        at = self._exactly_gated(xh, arithmetic)
        residual = self._residual(xh, at, arithmetic)
        return _measure(self._value(xh, at), z, residual, at, arithmetic)

    def round_trip_error(self, x: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        bound, at = self._both_ways(x, arithmetic)
        bound[:, self.split :] /= at.g
        return _measure(xh, x, bound, at, arithmetic)

    def return_trip_error(self, z: Array, xh: Array, zh: Array, arithmetic: Arithmetic) -> Measure:
        bound, at = self._both_ways(xh, arithmetic)
        return _measure(zh, z, bound, at, arithmetic)

    def _both_ways(self, x: Array, arithmetic: Arithmetic) -> tuple[Array, Gated]:
        """Return the errors of forward and inverse at ``x``, both in the latent."""
        at = self._exactly_gated(x, arithmetic)
        there = self._running(x, np.zeros_like(x), at, arithmetic).error
        return there + self._residual(x, at, arithmetic), at


def _measure(
    got: Array, expected: Array, bound: Array, at: Gated, arithmetic: Arithmetic
) -> Measure:
    """Compare; the inverse divides by the gate, so the condition number is its reciprocal."""
    with np.errstate(divide="ignore"):
        condition = float((1 / at.g).max(initial=1.0))
    return compare(got, expected, bound, "RUN", condition, too_ill(condition, arithmetic.u))
