"""Definitions of layers with a gated network, in NumPy, with running error analysis."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emcheck.bounds import ELEMENTARY, Arithmetic, Measure, compare, too_ill
from emcheck.contract import Event
from emcheck.oracle.definition import Definition, Running
from emcheck.oracle.gates import Gate
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


class GatedDefinition(Definition):
    """``(x + t) g`` where entries move, with a shift and a gate (or ``g = 1``) from a network.

    Networks with a gate return ``(t, h)`` stacked over channels, those without one ``t`` alone. A
    subclass says which entries the network sees and which move.
    """

    def __init__(self, network: Network, event: Event, gate: Gate | None) -> None:
        self.network = network
        self.event = event
        self.gate = gate

    @abstractmethod
    def seen(self, x: Array) -> Array:
        """Return what the network sees of ``x``."""

    @abstractmethod
    def moved(self, x: Array) -> Array:
        """Return what moves of ``x``, in the shape of ``t``."""

    @abstractmethod
    def joined(self, x: Array, moved: Array) -> Array:
        """Return ``x`` with ``moved`` in place of what moves."""

    def _gated(self, seen: Array, error: Array, arithmetic: Arithmetic) -> Gated:
        """Return shift and gate where the network sees ``seen`` with an error."""
        t, t_error = self.network.running(seen, error, arithmetic)
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

    def at(self, x: Array, arithmetic: Arithmetic) -> Gated:
        """Return shift and gate at an ``x`` without error."""
        seen = self.seen(x)
        return self._gated(seen, np.zeros_like(seen), arithmetic)

    def _value(self, x: Array, at: Gated) -> Array:
        return self.joined(x, (self.moved(x) + at.t) * at.g)

    def running(self, x: Array, error: Array, arithmetic: Arithmetic) -> Running:
        at = self._gated(self.seen(x), self.seen(error), arithmetic)
        return self._running(x, error, at, arithmetic)

    def _running(self, x: Array, error: Array, at: Gated, arithmetic: Arithmetic) -> Running:
        u = arithmetic.u
        size = np.abs(self.moved(x) + at.t)
        total = self.moved(error) + at.t_error + u * size
        moved = (at.g + at.g_error) * total + size * at.g_error + arithmetic.tiny
        logdet, logdet_error = np.zeros(len(x)), np.zeros(len(x))
        if self.gate is not None:
            terms = self.gate.log(at.h)
            bound = self.gate.log_error(at.h, at.h_error)
            bound = bound + self.gate.roundings * u * self.gate.log_size(at.h)
            bound = bound + arithmetic.gamma(terms[0].size) * np.abs(terms)
            logdet, logdet_error = terms.sum(axis=(1, 2, 3)), bound.sum(axis=(1, 2, 3))
        return Running(self._value(x, at), self.joined(error, moved), logdet, logdet_error)

    def tangent(self, x: Array, v: Array) -> Array:
        at = self.at(x, Arithmetic(0.0, 0.0))
        d = self.network.tangent(self.seen(x), self.seen(v))
        if self.gate is None:
            return self.joined(v, self.moved(v) + d)
        n, g = at.t.shape[1], at.g
        slope = (self.moved(x) + at.t) * self.gate.slope(g)
        return self.joined(v, (self.moved(v) + d[:, :n]) * g + slope * d[:, n:])

    def local_residual(self, xh: Array, z: Array, arithmetic: Arithmetic) -> Array:
        """``|f(xh) - z|`` for ``xh = z / g - t``: the gate's error, the quotient's and t's."""
        return self._residual(xh, self.at(xh, arithmetic), arithmetic)

    def _residual(self, xh: Array, at: Gated, arithmetic: Arithmetic) -> Array:
        x = self.moved(xh)
        error = at.g * (at.t_error + arithmetic.u * np.abs(x) + arithmetic.tiny)
        return self.joined(np.zeros_like(xh), np.abs(x + at.t) * at.g_error + error)

    def backward_error(self, z: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        at = self.at(xh, arithmetic)
        residual = self._residual(xh, at, arithmetic)
        return measure(self._value(xh, at), z, residual, at, arithmetic)

    def return_trip_error(self, z: Array, xh: Array, zh: Array, arithmetic: Arithmetic) -> Measure:
        bound, at = self.both_ways(xh, arithmetic)
        return measure(zh, z, bound, at, arithmetic)

    def both_ways(self, x: Array, arithmetic: Arithmetic) -> tuple[Array, Gated]:
        """Return the errors of forward and inverse at ``x``, both in the latent."""
        at = self.at(x, arithmetic)
        there = self._running(x, np.zeros_like(x), at, arithmetic).error
        return there + self._residual(x, at, arithmetic), at


def measure(
    got: Array, expected: Array, bound: Array, at: Gated, arithmetic: Arithmetic
) -> Measure:
    """Compare; the inverse divides by the gate, so the condition number is its reciprocal."""
    with np.errstate(divide="ignore"):
        condition = float((1 / at.g).max(initial=1.0))
    return compare(got, expected, bound, "RUN", condition, too_ill(condition, arithmetic.u))


class CouplingDefinition(GatedDefinition):
    """``z1 = x1``, ``z2 = (x2 + t(x1)) g(x1)`` with a gate of the network, or ``g = 1``."""

    def __init__(
        self, layers: Sequence[tuple[Array, Array]], event: Event, gate: Gate | None
    ) -> None:
        factors, biases = zip(*[(ConvFactor(w), b) for w, b in layers], strict=True)
        super().__init__(Network(factors, biases), event, gate)
        self.split = event[0] // 2

    def seen(self, x: Array) -> Array:
        return x[:, : self.split]

    def moved(self, x: Array) -> Array:
        return x[:, self.split :]

    def joined(self, x: Array, moved: Array) -> Array:
        return np.concatenate([x[:, : self.split], moved], axis=1)

    def round_trip_error(self, x: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        bound, at = self.both_ways(x, arithmetic)
        bound[:, self.split :] /= at.g
        return measure(xh, x, bound, at, arithmetic)
