"""Definitions of layers that only move entries: squeeze and channel permutation."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from emcheck.bounds import Arithmetic, Measure, compare
from emcheck.contract import Event
from emcheck.oracle.definition import Definition, Running
from emcheck.oracle.precision import EXTENDED, Array


class PermutationDefinition(Definition):
    """``z[n] = x[index[n]]`` over flattened events: exact, log-det 0."""

    linear = True

    def __init__(self, index: Array, event: Event, event_out: Event) -> None:
        self.index = index
        self.event = event
        self.event_out = event_out

    def running(self, x: Array, error: Array, arithmetic: Arithmetic) -> Running:
        zero = np.zeros(len(x))
        return Running(self._move(x), self._move(error), zero, zero)

    def tangent(self, x: Array, v: Array) -> Array:
        return self._move(v)

    def _move(self, x: Array) -> Array:
        return x.reshape(len(x), -1)[:, self.index].reshape(len(x), *self.event_out)

    @cached_property
    def matrix(self) -> Array:
        return np.eye(len(self.index), dtype=EXTENDED)[self.index]

    def local_residual(self, xh: Array, z: Array, arithmetic: Arithmetic) -> Array:
        return np.zeros_like(z)

    def forward_error(self, x: Array, z: Array, arithmetic: Arithmetic) -> Measure:
        return _exact(z, self._move(x))

    def backward_error(self, z: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        return _exact(self._move(xh), z)

    def round_trip_error(self, x: Array, xh: Array, arithmetic: Arithmetic) -> Measure:
        return _exact(xh, x)

    def return_trip_error(self, z: Array, xh: Array, zh: Array, arithmetic: Arithmetic) -> Measure:
        return _exact(zh, z)

    def logdet_error(self, x: Array, logdet: Array, arithmetic: Arithmetic) -> Measure:
        return _exact(logdet, np.zeros(len(x)))


def _exact(got: Array, expected: Array) -> Measure:
    return compare(got, expected, 0.0, "EXACT", 1.0)
