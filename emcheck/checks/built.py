"""One subject in one case: its layers and data; what several checks share is built once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from emcheck._internal.copying import copy_layer
from emcheck.adapters import Adapted
from emcheck.bounds import Arithmetic
from emcheck.checks.calling import Pair, call, call_inverse, forward_of
from emcheck.checks.case import Case, Subject
from emcheck.oracle import (
    Definition,
)
from emcheck.specs.parameter_styles import move_parameters, optimise, step_parameters

T = TypeVar("T")

#: A layer with at most this many parameters is kept for the next check of its case. A larger one is
#: rebuilt, so that memory grows with one layer and not with their number.
MOST_KEPT = 200_000


class Built:
    """A built layer with its input and its definition.

    Layers returned by ``layer`` and ``new_layer`` belong to the trial; nothing outside it changes.
    ``x`` is ``(B, *event)`` in the dtype of the case.
    """

    def __init__(self, subject: Subject, case: Case) -> None:
        self.subject = subject
        self.case = case
        self.arithmetic = Arithmetic.of(case.dtype, case.device)
        if isinstance(subject.original, Adapted):
            self.arithmetic = self.arithmetic.coarser(subject.original.units)

    @cached_property
    def _case_name(self) -> str:
        return str(self.case)

    def has(self, capability: str) -> bool:
        """Whether the layer offers a capability, as far as is known."""
        return capability not in self.subject.lacks and capability not in self.subject.broken

    @property
    def is_large(self) -> bool:
        """Whether a second copy of the layer, or of its gradients, is worth avoiding."""
        return self.subject.parameter_count > MOST_KEPT

    def new_layer(self, purpose: int = 1, style: str | None = None) -> nn.Module:
        """Return a layer built for the case and moved to a style; ``purpose`` seeds its draws."""
        if self.subject.memo is None or self.is_large:
            return self._built(purpose, style)
        key = ("layer", purpose, style)
        return copy_layer(self._remembered(key, lambda: self._built(purpose, style)))

    def _remembered(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """Return what several checks of one case share, made once; it must not be changed."""
        memo = self.subject.memo
        if memo is None:
            return make()
        full = (self._case_name, *key)
        if full not in memo:
            memo[full] = make()
        found: T = memo[full]
        return found

    def _built(self, purpose: int, style: str | None) -> nn.Module:
        case = self.case
        layer = self.subject.build(case).to(device=case.device, dtype=case.dtype)
        self.move(layer, purpose, style)
        return layer

    def move(self, layer: nn.Module, purpose: int, style: str | None = None) -> None:
        """Move the parameters of ``layer`` to a style, in place."""
        style, spec = style or self.case.style, self.subject.spec
        if not self.has("free_parameters"):
            return
        generator = self.case.generator(purpose)
        moved = "trained" if style == "optimised" else style
        if spec is None:
            move_parameters(layer, moved, generator)
        elif style != "initial":
            inner = self.subject.unwrap(layer)
            if spec.move is not None:
                spec.move(inner, moved, generator)
            else:
                step_parameters(inner, moved, generator)
        if style == "optimised":
            optimise(layer, forward_of, self.sample(40 + purpose, batch=8))

    @cached_property
    def layer(self) -> nn.Module:
        return self.new_layer()

    def unstarted(self) -> nn.Module | None:
        """Return a layer as constructed if its first batch would set it, else None."""
        if self.subject.unstarted is None:
            return None
        case = self.case
        return self.subject.unstarted(case).to(device=case.device, dtype=case.dtype)

    @cached_property
    def layer64(self) -> nn.Module:
        """The same layer with its parameters converted to float64.

        A layer that does not answer in float64 stays as it is: another result reports that. A large
        layer that is already in float64 is not built twice.
        """
        if self.is_large and self.case.dtype == torch.float64:
            return self.layer
        layer = self.new_layer()
        return layer.double() if self.subject.doubles else layer

    @property
    def widest(self) -> torch.dtype:
        """The dtype in which Jacobians are formed."""
        return torch.float64 if self.subject.doubles else self.case.dtype

    def sample(self, purpose: int = 2, batch: int | None = None) -> Tensor:
        """Draw data of the case's magnitude, ``(B, *event)``: standard normal or by the user."""
        case = self.case
        B = case.batch if batch is None else batch
        generator = case.generator(purpose)
        if self.subject.draw is None:
            x = torch.randn((B, *case.event), generator=generator, dtype=torch.float64)
        else:
            x = self.subject.draw(B, case.event, generator)
        if self.subject.tail and case.magnitude != 1:  # a context is not scaled: it stays as drawn
            widths = torch.full(x.shape[1:], case.magnitude, dtype=x.dtype)
            widths[-self.subject.tail :] = 1
            return (x * widths).to(device=case.device, dtype=case.dtype)
        return (x * case.magnitude).to(device=case.device, dtype=case.dtype)

    @cached_property
    def x(self) -> Tensor:
        return self.sample()

    @cached_property
    def latent(self) -> Tensor:
        """A latent to invert: normal numbers if the layer has a spec, else an image of data."""
        # On a copy, so that a layer that keeps its last pair cannot recognise the latent.
        image = self._remembered(("image",), lambda: call(self.new_layer(), self.preimage)[0])
        if self.subject.spec is None:
            return image.clone()
        z = torch.randn(image.shape, generator=self.case.generator(4), dtype=torch.float64)
        return (z * self.case.magnitude).to(image)

    @cached_property
    def preimage(self) -> Tensor:
        """The data whose image is the latent, for layers without a spec."""
        return self.sample(3)

    @cached_property
    def forward(self) -> Pair:
        return call(self.layer, self.x)

    @cached_property
    def back(self) -> Pair:
        """The inverse of the forward image."""
        return call_inverse(self.layer, self.forward[0])

    @cached_property
    def definition(self) -> Definition | None:
        return self.define(self.layer)

    def define(self, layer: nn.Module, case: Case | None = None) -> Definition | None:
        """Return the definition at the present parameters of ``layer``."""
        return self.subject.define(layer, (case or self.case).event)

    def reference(self, x: Tensor) -> Pair:
        """Return ``forward(x)`` of the same layer in float64, for what float32 cannot show."""
        return call(self.layer64, x.to(self.widest))

    @cached_property
    def terms(self) -> int:
        """The number of terms in the longest sum over a matrix or kernel of the layer."""
        kernels = [p for p in self.layer.parameters() if p.dim() > 1 and p.numel()]
        return max((max(len(p), p.numel() // len(p)) for p in kernels), default=1)
