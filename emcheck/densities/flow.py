"""Anything with ``log_prob`` and ``sample``, called with flat arrays."""

from __future__ import annotations

import contextlib
import copy
import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer
from emcheck._internal.randomness import seed_torch
from emcheck.adapters import lacks_by_design
from emcheck.bounds import INEXACT_LOG_PROB
from emcheck.checks.unsupported import Unsupported
from emcheck.densities.sampler import Sampler
from emcheck.densities.support import Box
from emcheck.guard import foreign, one_line
from emcheck.oracle.precision import Array


class Flow:
    """A density on ``shape``, at one context or at none.

    Args:
        flow: a module or distribution with ``log_prob`` and ``sample``, or a module that returns
            such a distribution when it is called (zuko).
        shape: the shape of one sample.
        context: ``(*context)`` for all samples, or None.
        support: the box outside of which the density is 0; None where ``log_prob`` says so itself.

    Raises:
        ValueError: it has no ``log_prob``, it has one only of the samples drawn last, or its
            samples have another shape; one line.
    """

    def __init__(
        self,
        flow: Any,
        shape: tuple[int, ...],
        context: Tensor | None = None,
        support: Box | None = None,
    ) -> None:
        self.name = type(flow).__name__
        self.shape, self.size = shape, math.prod(shape)
        self.module: Any = copy_layer(flow).double() if isinstance(flow, nn.Module) else flow
        self.context = None if context is None else _like(context)
        self.target = self._target()
        self._sampler = self._new_sampler()
        if self._sampler.call is None and self._sampler.others:
            raise ValueError(f"expected samples of shape {shape}, got {self._sampler.others[0]}")
        #: The flow in its own dtype.
        self._given = Flow._as_given(flow, shape, context) if isinstance(flow, nn.Module) else self
        # If the base draws float32 whatever its parameters, the flow as given draws.
        self._sampler = self._sampler if self._sampler.call else self._given._sampler
        self._require_log_prob()
        self.dtype = self._dtype()
        self.support = support
        #: Whether a support was given, or looked for among the samples.
        self.is_located = support is not None

    @classmethod
    def _as_given(cls, flow: nn.Module, shape: tuple[int, ...], context: Tensor | None) -> Flow:
        """Return the flow in its own dtype, for calls of ``sample`` and of ``log_prob``."""
        given = cls.__new__(cls)
        given.shape, given.size = shape, math.prod(shape)
        given.module = copy_layer(flow)
        held = next((p.dtype for p in flow.parameters() if p.is_floating_point()), torch.float32)
        floating = context is not None and context.is_floating_point()
        given.context = context.to(held) if context is not None and floating else context
        given.target = given._target()
        given._sampler = given._new_sampler()
        return given

    def _new_sampler(self) -> Sampler:
        takes = self.target is self.module
        return Sampler(self.target, self.shape, self.context if takes else None, self.repeated)

    def log_prob_as_drawn(self, seed: int) -> Any:
        """Return ``log_prob`` of three samples of the flow as given, with nothing in between."""
        given = self._given
        if given._sampler.call is None:
            raise Unsupported("no call of sample answers in the dtype of the parameters")
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            seed_torch(seed)
            drawn = given._sampler.call(3)
            x = drawn[0] if isinstance(drawn, tuple) else drawn
            same = tuple(x.shape) == (3, *self.shape)  # a view is another tensor for a cache
            return given._log_prob(x if same else x.reshape(3, *self.shape))

    def _require_log_prob(self) -> None:
        """Refuse a ``log_prob`` that knows only the tensor which ``sample`` has just returned.

        Raises:
            ValueError: it answers for that tensor and for no copy of it.
        """
        if self._given._sampler.call is None:
            return
        x = torch.from_numpy(self.sample(3, 0)).reshape(3, *self.shape)
        for dtype in (torch.float64, torch.float32):
            try:
                self._log_prob(x.to(dtype))
            except foreign() as error:
                told = (
                    f"expected log_prob(x) for any x, got {type(error).__name__} for x that sample"
                )
                continue
            return
        try:
            self.log_prob_as_drawn(0)
        except foreign():  # for these too: the checks say so
            return
        raise ValueError(f"{told} has not just returned: log_prob reads a cache")

    def _target(self) -> Any:
        """Return the object with ``log_prob``: the flow, or what it returns when it is called."""
        if callable(getattr(self.module, "log_prob", None)):
            return self.module
        given = () if self.context is None else (self.context,)
        try:
            made = self.module(*given) if callable(self.module) else None
        except TypeError:  # a layer, whose forward wants data
            made = None
        if made is None or not callable(getattr(made, "log_prob", None)):
            raise ValueError(f"expected a flow with log_prob and sample, got {self.name}")
        return made

    def _dtype(self) -> torch.dtype:
        """Return float64, or float32 if the flow does not answer in float64."""
        some = torch.zeros(2, self.size, dtype=torch.float64)
        if self._sampler.call is not None:  # zeros may lie outside the support
            some = torch.from_numpy(self.sample(2, 0))
        for dtype in (torch.float64, torch.float32):
            try:
                self._log_prob(some.reshape(2, *self.shape).to(dtype))
            except (RuntimeError, TypeError):
                continue
            except foreign():
                break
            return dtype
        return torch.float64

    def _log_prob(self, x: Tensor) -> Tensor:
        context = self.repeated(len(x))
        return self.target.log_prob(x) if context is None else self.target.log_prob(x, context)

    def repeated(self, rows: int) -> Tensor | None:
        """Return the context for so many rows if calls of ``target`` take one, else None."""
        if self.context is None or self.target is not self.module:
            return None
        return self.context.expand(rows, *self.context.shape)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return ``(B,)`` for flat ``x (B, n)``, with gradients; each row at the same context.

        Raises:
            ValueError: another shape comes back.
        """
        found = self._log_prob(x.reshape(len(x), *self.shape).to(self.dtype))
        if not isinstance(found, Tensor) or tuple(found.shape) not in ((len(x),), (len(x), 1)):
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"log_prob: expected ({len(x)},), got {got}")
        return found.reshape(len(x))

    def log_density(self, x: Array) -> Array:
        """``log_prob`` of flat ``x (B, n)`` without gradients, some thousand rows at a time."""
        several = np.array_split(x, max(1, len(x) // 4096))
        with torch.no_grad():
            return np.concatenate(
                [self.log_prob(torch.from_numpy(rows)).double().numpy() for rows in several]
            )

    def log_density_anywhere(self, x: Array) -> Array:
        """Return the same at points that may lie outside the support, where it is ``-inf``.

        Raises:
            Unsupported: ``log_prob`` refuses such points, and does not say which.
        """
        inside = np.ones(len(x), dtype=bool) if self.support is None else self.support.holds(x)
        if isinstance(self.target, torch.distributions.Distribution):
            rows = torch.from_numpy(x).reshape(len(x), *self.shape).to(self.dtype)
            with contextlib.suppress(NotImplementedError, AttributeError):
                held = self.target.support.check(rows)  # type: ignore[union-attr]
                inside &= held.reshape(len(x), -1).all(dim=1).numpy()
        found = np.full(len(x), -np.inf)
        try:
            if inside.any():
                found[inside] = self.log_density(x[inside])
        except foreign() as error:  # by an exception of its own, often
            told = one_line(error)
            raise Unsupported(f"log_prob refuses points beside the samples: {told}") from error
        return found

    def within(self, support: Box) -> Flow:
        """The same flow, 0 outside of a box."""
        boxed = copy.copy(self)
        boxed.support = support
        return boxed

    @cached_property
    def accuracy(self) -> float:
        """The relative error that its log-density has by design; 0 for a closed form."""
        lacks = lacks_by_design(self.module, self.target)
        return INEXACT_LOG_PROB if lacks & {"exact_inverse", "exact_logdet"} else 0.0

    @cached_property
    def is_random(self) -> bool:
        """Whether two calls at the same samples differ: the log-det is an estimate."""
        x = self.sample(4, 0)
        return not np.array_equal(self.log_density(x), self.log_density(x), equal_nan=True)

    @property
    def has_temperature(self) -> bool:
        """Whether ``sample`` takes a temperature."""
        return self._sampler.has_temperature

    def sample(self, count: int, seed: int, temperature: float = 1.0) -> Array:
        """Draw ``(count, n)`` in float64, from torch's global generator at its own seed.

        Another temperature is allowed only if ``has_temperature`` holds.

        Raises:
            ValueError: no call of ``sample`` answers.
        """
        if self._sampler.call is None:
            raise ValueError(f"expected sample(n) or sample((n,)) of {self.name} to answer")
        drawn = self._sampler.draw(count, seed, temperature)
        if drawn is None:
            raise ValueError(
                f"sample of {self.name} gave no samples at temperature {temperature:g}"
            )
        return drawn


def _like(context: Tensor) -> Tensor:
    return context.double() if context.is_floating_point() else context
