"""The contract of an invertible layer, and the validation of its arguments.

A layer maps data ``x`` to latent ``z`` and back, and returns the log-determinant of the
Jacobian of the direction that was called. Everything a layer promises is one of the eight
clauses in the class docstring; every clause is a check in :mod:`emcheck.checks`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

#: The shape of one sample: ``(D,)``, ``(C, L)``, ``(C, H, W)`` or ``(C, D, H, W)``.
Event = tuple[int, ...]


class InvertibleLayer(nn.Module, ABC):
    """An invertible map ``z = f(x)`` between image tensors.

    1. ``forward`` maps data to latent, ``(B, *event)`` to ``(B, *event_out)``, same dtype
       and device.
    2. ``logdet`` has shape ``(B,)``, in the dtype and on the device of the input.
    3. ``forward`` returns ``log|det dz/dx|``, ``inverse`` returns ``log|det dx/dz|``.
    4. ``inverse`` undoes ``forward`` and ``forward`` undoes ``inverse``.
    5. Rows of a batch are independent.
    6. Calls are pure; initialisation from data is an explicit call, ``initialize(x)``.
    7. Gradients are right for both outputs, in both directions.
    8. Wrong input raises ``ValueError`` naming what was expected and what came.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map data ``x (B, C, H, W)`` to latent ``z`` and ``log|det dz/dx| (B,)``."""

    @abstractmethod
    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map latent ``z`` to data ``x (B, C, H, W)`` and ``log|det dx/dz| (B,)``."""

    @abstractmethod
    def log_det(self, x: Tensor) -> Tensor:
        """``log|det dz/dx| (B,)`` alone, without computing ``z`` where the layer allows it."""


def validate_images(x: Tensor, channels: int | None, like: Tensor | None = None) -> None:
    """Raise ``ValueError`` unless ``x`` is ``(B, channels, H, W)`` with ``H, W >= 1``.

    ``channels=None`` accepts any number of channels from 1; ``like`` is a parameter whose
    dtype and device the input must share.
    """
    wanted = f"(B, {'C' if channels is None else channels}, H, W)"
    if not isinstance(x, Tensor):
        raise ValueError(f"expected a tensor {wanted}, got {type(x).__name__}")
    shape = tuple(x.shape)
    if x.dim() != 4 or (channels is not None and shape[1] != channels) or 0 in shape[1:]:
        raise ValueError(f"expected {wanted} with C, H, W >= 1, got {shape}")
    if not x.is_floating_point():
        raise ValueError(f"expected a floating-point tensor {wanted}, got dtype {x.dtype}")
    if like is not None and x.dtype != like.dtype:
        raise ValueError(f"expected dtype {like.dtype} as the parameters, got {x.dtype}")
    if like is not None and x.device != like.device:
        raise ValueError(f"expected device {like.device} as the parameters, got {x.device}")


def validate_positive(name: str, value: int, least: int = 1) -> int:
    """Return ``value`` if it is a whole number of at least ``least``, else raise ``ValueError``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"expected {name} to be a whole number >= {least}, got {value!r}")
    return value


def validate_kernel_size(value: int) -> int:
    """Return ``value`` if it is an odd kernel size of at least 1, else raise ``ValueError``."""
    if validate_positive("kernel_size", value) % 2 == 0:
        raise ValueError(f"expected an odd kernel_size, got {value}")
    return value


def refuse_zero(values: Tensor, what: str) -> None:
    """Raise ``ValueError`` naming the first zero of ``values``: the layer is singular there."""
    values = values.detach()
    if not bool(values.all()):
        index = (values == 0).nonzero()[0].tolist()
        raise ValueError(
            f"expected a nonzero {what}, got 0 at index {index}: the layer is singular"
        )
