"""Definitions of coupling layers: their network in NumPy, with running error analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emcheck.bounds import ELEMENTARY, Arithmetic, Measure, difference, ratio, too_ill
from emcheck.layer import Event
from emcheck.oracle.definition import Definition, Running
from emcheck.oracle.matrices import ConvFactor
from emcheck.oracle.precision import Array


@dataclass(frozen=True)
class Network:
    """Zero-padded convolutions with biases and ReLU between them."""

    factors: tuple[ConvFactor, ...]
    biases: tuple[Array, ...]

    def running(self, x: Array, error: Array, arithmetic: Arithmetic) -> tuple[Array, Array]:
        """Value and error bound: ``e <- |W| e + gamma_{m+1} (|W||a| + |b|)``, ReLU keeps it."""
        for l, (factor, bias) in enumerate(zip(self.factors, self.biases, strict=True)):
            if l:
                x = np.maximum(x, 0)
            absolute, b, m = factor.absolute(), bias[None, :, None, None], factor.nonzeros()
            size = absolute.apply(np.abs(x)) + np.abs(b)
            floor = (m + 1) * arithmetic.tiny
            error = absolute.apply(error) + arithmetic.gamma(m + 1) * size + floor
            x = factor.apply(x) + b
        return x, error

    def tangent(self, x: Array, v: Array) -> Array:
        """The derivative at one sample ``x (1, C, H, W)`` along ``v (K, C, H, W)``."""
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
    """Largest change of ``sigmoid(h)`` while ``h`` moves by at most ``error``; no first order."""
    g = sigmoid(h)
    moved = np.maximum(sigmoid(h + error) - g, g - sigmoid(h - error))
    return np.maximum(moved, g * (1 - g) * np.minimum(error, 1))


def log_gate_error(h: Array, error: Array) -> Array:
    """Largest change of ``log sigmoid(h)``, which is concave: downwards."""
    moved = log_sigmoid(h) - log_sigmoid(h - error)
    return np.maximum(moved, (1 - sigmoid(h)) * np.minimum(error, 1))


class CouplingDefinition(Definition):
    """``z1 = x1``, ``z2 = (x2 + t(x1)) g(x1)`` with ``g = sigmoid(h + 2)`` or ``g = 1``.

    ``affine`` networks give ``(t, h)`` stacked over channels, additive ones ``t`` alone.
    """

    def __init__(self, layers: Sequence[tuple[Array, Array]], event: Event, affine: bool) -> None:
        factors, biases = zip(*[(ConvFactor(w), b) for w, b in layers], strict=True)
        self.network = Network(factors, biases)
        self.event = event
        self.affine = affine
        self.split = event[0] // 2

    def _halves(self, x: Array) -> tuple[Array, Array]:
        return x[:, : self.split], x[:, self.split :]

    def _shift_and_gate(
        self, x1: Array, e1: Array, arithmetic: Arithmetic
    ) -> tuple[Array, Array, Array, Array]:
        """``t``, its error, ``h + 2``, its error; the latter two are zero if additive."""
        out, error = self.network.running(x1, e1, arithmetic)
        if not self.affine:
            return out, error, np.full_like(out, np.inf), np.zeros_like(out)
        n = out.shape[1] // 2
        h = out[:, n:] + 2
        return out[:, :n], error[:, :n], h, error[:, n:] + arithmetic.u * np.abs(h)

    def running(self, x: Array, error: Array, arithmetic: Arithmetic) -> Running:
        u = arithmetic.u
        x1, x2 = self._halves(x)
        e1, e2 = self._halves(error)
        t, et, h, eh = self._shift_and_gate(x1, e1, arithmetic)
        g, eg = np.ones_like(t), np.zeros_like(t)
        if self.affine:  # the gate and the product add roundings relative to g
            g = sigmoid(h)
            eg = gate_error(h, eh) + (ELEMENTARY + 1) * u * g
        total = e2 + et + u * np.abs(x2 + t)
        z2, error2 = (x2 + t) * g, (g + eg) * total + np.abs(x2 + t) * eg + arithmetic.tiny
        logdet, logdet_error = np.zeros(len(x)), np.zeros(len(x))
        if self.affine:
            terms = log_sigmoid(h)
            bound = log_gate_error(h, eh) + (
                ELEMENTARY * u + arithmetic.gamma(terms[0].size)
            ) * np.abs(terms)
            logdet, logdet_error = terms.sum(axis=(1, 2, 3)), bound.sum(axis=(1, 2, 3))
        value = np.concatenate([x1, z2], axis=1)
        return Running(value, np.concatenate([e1, error2], axis=1), logdet, logdet_error)

    def tangent(self, x: Array, v: Array) -> Array:
        (x1, x2), (v1, v2) = self._halves(x), self._halves(v)
        t, _, h, _ = self._shift_and_gate(x1, np.zeros_like(x1), Arithmetic(0.0, 0.0))
        d = self.network.tangent(x1, v1)
        if not self.affine:
            return np.concatenate([v1, v2 + d], axis=1)
        n, g = t.shape[1], sigmoid(h)
        w2 = (v2 + d[:, :n]) * g + (x2 + t) * g * (1 - g) * d[:, n:]
        return np.concatenate([v1, w2], axis=1)

    def local_residual(self, xh: Array, z: Array, arithmetic: Arithmetic) -> Array:
        """``|f(xh) - z|`` for ``xh2 = z2 / g - t``: the gate's error, the quotient's and t's."""
        x1, x2 = self._halves(xh)
        t, et, h, eh = self._shift_and_gate(x1, np.zeros_like(x1), arithmetic)
        g, eg = np.ones_like(t), np.zeros_like(t)
        if self.affine:
            g = sigmoid(h)
            eg = gate_error(h, eh) + (ELEMENTARY + 1) * arithmetic.u * g
        error = g * (et + arithmetic.u * np.abs(x2) + arithmetic.tiny)
        return np.concatenate([np.zeros_like(x1), np.abs(x2 + t) * eg + error], axis=1)

    def _measure(self, error: Array, bound: Array, g: Array, arithmetic: Arithmetic) -> Measure:
        """A small gate divides: its reciprocal is the condition number."""
        with np.errstate(divide="ignore"):
            condition = float((1 / g).max(initial=1.0))
        return Measure(ratio(error, bound), "RUN", condition, too_ill(condition, arithmetic.u))

    def _gate(self, x: Array) -> Array:
        x1, _ = self._halves(x)
        t, _, h, _ = self._shift_and_gate(x1, np.zeros_like(x1), Arithmetic(0.0, 0.0))
        return sigmoid(h) if self.affine else np.ones_like(t)

    def backward_error(self, z: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        error = difference(self.value(xh), z)
        bound = self.local_residual(xh, z, arithmetic)
        return self._measure(error, bound, self._gate(xh), arithmetic)

    def round_trip_error(self, x: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        g = self._gate(x)
        bound = self.running(x, np.zeros_like(x), arithmetic).error
        bound = bound + self.local_residual(x, self.value(x), arithmetic)
        bound[:, self.split :] /= g
        return self._measure(difference(xh, x), bound, g, arithmetic)

    def return_trip_error(self, z: Array, xh: Array, zh: Array, arithmetic: Arithmetic) -> Measure:
        bound = self.running(xh, np.zeros_like(xh), arithmetic).error
        bound = bound + self.local_residual(xh, z, arithmetic)
        return self._measure(difference(zh, z), bound, self._gate(xh), arithmetic)
