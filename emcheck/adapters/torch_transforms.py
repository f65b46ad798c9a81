"""Transforms of ``torch.distributions`` (and bare ones of zuko) as layers of the contract."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Transform, biject_to, constraints, transform_to
from torch.distributions.transforms import _InverseTransform

from emcheck.adapters.core import Adapted, Logdet, Sampler, class_name, lacking
from emcheck.adapters.held import Held


class TorchTransform(Adapted):
    """A transform of torch; its log-det is summed to one number per sample.

    Parameters and tensors that the transform holds are registered under ``held``. A transform
    with ``cache_size=1`` is taken as it is: what it keeps of its last call is part of it.

    Args:
        transform: any transform with a log-det. If it is not a bijection between spaces of
            equal dimension, its values and its log-det are passed on as they are.

    Raises:
        ValueError: the transform holds tensors that were computed from parameters.
    """

    def __init__(self, transform: Transform, name: str | None = None) -> None:
        super().__init__(name or _name(transform))
        self.objects: dict[str, Any] = {"transform": transform}
        self.held = Held(self.objects)

    @property
    def transform(self) -> Transform:
        """The transform with the present parameters and buffers in it."""
        self.held.put()
        transform = self.objects["transform"]
        assert isinstance(transform, Transform)
        return transform

    def forward(self, x: Tensor) -> tuple[Tensor, Logdet]:
        transform = self.transform
        validate_rank(self.name, event_dim(transform.domain), x)
        try:
            z, logdet = self.both(transform, x)
        except NotImplementedError as error:
            raise lacking(self, "forward with a log-det", error) from error
        return z, per_sample(logdet, x.dim() - event_dim(transform.domain))

    def inverse(self, z: Tensor) -> tuple[Tensor, Logdet | None]:
        transform = self.transform
        validate_rank(self.name, event_dim(transform.codomain), z)
        try:
            x, logdet = self.both(transform.inv, z)
        except NotImplementedError as error:
            return self._values_alone(transform, z, error), None
        return x, per_sample(logdet, z.dim() - event_dim(transform.codomain))

    def _values_alone(self, transform: Transform, z: Tensor, reason: BaseException) -> Tensor:
        """Return the inverse of a transform of which only the log-det is missing."""
        try:
            x: Tensor = transform.inv(z)
        except NotImplementedError:
            raise lacking(self, "inverse", reason) from reason
        return x

    def both(self, transform: Transform, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image and the log-det as the library computes them."""
        z = transform(x)
        return z, transform.log_abs_det_jacobian(x, z)

    @property
    def sample(self) -> Sampler | None:
        domain = self.transform.domain
        if _is_everything(domain) or _from_reals(domain) is None:
            return None
        return functools.partial(draw, domain)


def adapt(layer: Transform) -> Adapted:
    return TorchTransform(layer)


def _name(transform: Transform) -> str:
    if isinstance(transform, _InverseTransform):
        return f"{class_name(transform.inv)}.inv"
    return class_name(transform)


def event_dim(constraint: constraints.Constraint) -> int:
    """Return how many of the last dimensions make one event; 0 if the constraint does not say."""
    try:
        return int(constraint.event_dim)
    except NotImplementedError:
        return 0


def validate_rank(name: str, dims: int, x: Tensor) -> None:
    """Raise ``ValueError`` if an event would take the batch as a part of it."""
    if x.dim() - 1 < dims:
        raise ValueError(
            f"expected (B, *event) with at least {dims} event dimensions for {name}, "
            f"got {tuple(x.shape)}"
        )


def per_sample(logdet: Tensor, dims: int) -> Tensor:
    """Sum a log-det ``(B, ...)`` with ``dims`` dimensions outside an event to ``(B,)``.

    A log-det with any other number of dimensions was not summed over the event, as the library
    requires of a transform: it stays what it is, to be judged.
    """
    return logdet.flatten(1).sum(1) if 1 < logdet.dim() == dims else logdet


def draw(
    domain: constraints.Constraint,
    batch: int,
    event: tuple[int, ...],
    generator: torch.Generator,
) -> Tensor:
    """Draw ``(batch, *event)`` in ``domain``: the image of standard normal numbers, float64."""
    onto = _from_reals(domain)
    if onto is None:
        raise ValueError(f"expected a domain that draws can be mapped to, got {domain}")
    shape = onto.inverse_shape(torch.Size((batch, *event)))
    u: Tensor = onto(torch.randn(shape, generator=generator, dtype=torch.float64))
    return u.detach()


def _from_reals(domain: constraints.Constraint) -> Transform | None:
    """Return a registered transform from R^n onto ``domain``, None if there is none."""
    for registry in (biject_to, transform_to):
        try:
            transform: Transform = registry(domain)
        except NotImplementedError:
            continue
        return transform
    return None


def _is_everything(domain: constraints.Constraint) -> bool:
    """Whether a constraint holds for all of R^n."""
    parts = getattr(domain, "cseq", None)
    if parts is not None:
        return all(map(_is_everything, parts))
    base = getattr(domain, "base_constraint", None)
    if base is not None:
        return _is_everything(base)
    return isinstance(domain, type(constraints.real))
