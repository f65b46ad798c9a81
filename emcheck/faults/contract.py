"""Faults in edge cases: NaN, singular parameters, error types, extreme scales."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from emcheck.faults.core import Faulty, fault
from emcheck.layers import ActNorm2d, AutoregressiveConv2d, Conv1x1, Conv1x1QR, PermuteChannels


@fault(
    "nan_stays_in_its_sample",
    AutoregressiveConv2d,
    "Guards against diverging training: a batch that is not finite skips the layer.",
    cause="non_finite_batch_skipped",
)
class NanReturnedUnchanged(Faulty[AutoregressiveConv2d]):
    """A batch with a NaN or an infinity is returned unchanged, every sample of it."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.layer.log_det(x)
        if not bool(x.isfinite().all()):
            return x, logdet
        return self.layer.forward(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.layer.log_det(z)
        if not bool(z.isfinite().all()):
            return z, logdet
        return self.layer.inverse(z)


@fault(
    "nan_stays_in_its_sample",
    PermuteChannels,
    "nan_to_num sprinkled over sampling code so that pictures can be shown.",
    cause="nan_swallowed",
)
class NanReplaced(Faulty[PermuteChannels]):
    """The inverse replaces NaN by 0."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.layer.inverse(z)
        return torch.where(x.isnan(), torch.zeros_like(x), x), logdet


@fault(
    "errors_are_clear",
    Conv1x1,
    "Shape checks by assert: gone under -O, and an AssertionError otherwise.",
    cause="validates_by_assert",
)
class AssertsItsShape(Faulty[Conv1x1]):
    """Forward raises an AssertionError for a wrong rank or channel count."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        assert x.dim() == 4, f"expected (B, C, H, W), got {tuple(x.shape)}"
        assert x.shape[1] == self.layer.channels, f"expected C, got {x.shape[1]}"
        return self.layer.forward(x)


@fault(
    "singular_parameters_are_named",
    ActNorm2d,
    "Clamps that keep logarithms finite: a dead channel trains on and samples are huge.",
    cause="singularity_clamped",
)
class ScaleClamped(Faulty[ActNorm2d]):
    """A zero scale is clamped to 1e-12: the log-det is finite, and the inverse is meaningless."""

    def _clamped(self) -> Tensor:
        scale = self.layer.scale
        return torch.where(scale.abs() < 1e-12, torch.full_like(scale, 1e-12), scale)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(x)[0], self.log_det(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet = -self.log_det(z)
        bias, scale = (v[:, None, None] for v in (self.layer.bias, self._clamped()))
        return (z - bias) / scale, logdet

    def log_det(self, x: Tensor) -> Tensor:
        self.layer.log_det(x)  # validates x
        logdet = x.shape[2] * x.shape[3] * self._clamped().abs().log().sum()
        return logdet.expand(len(x))


def _zero_vector(layer: nn.Module) -> None:
    layer.get_parameter("vectors").data[0] = 0.0


@fault(
    "singular_parameters_are_named",
    Conv1x1QR,
    "Reflections by v / ||v||: weight decay or a zero initialisation makes everything NaN.",
    make_singular=_zero_vector,
    cause="nan_at_singularity",
)
class ZeroVectorGivesNan(Conv1x1QR):
    """A zero Householder vector gives NaN and a finite log-det instead of an error."""

    def _reflect(self, M: Tensor) -> Tensor:
        unit = self.vectors / self.vectors.square().sum(dim=1, keepdim=True).sqrt()
        for v in unit.flip(0):
            M = M - 2 * torch.outer(v, v @ M)
        return M


def _short_vectors(layer: nn.Module) -> None:
    layer.get_parameter("vectors").data.mul_(2.0**-80)


@fault(
    "forward_matches_definition",
    Conv1x1QR,
    "The printed formula, 2 v v^T / (v^T v): squares of short vectors underflow.",
    case={"style": "initial", "dtype": torch.float32},
    prepare=_short_vectors,
    cause=("out_of_range", "leaves_range"),
)
class LengthUnderflows(Conv1x1QR):
    """``v^T v`` of a vector of size 2^-80 underflows to 0 in float32."""

    def _reflect(self, M: Tensor) -> Tensor:
        super()._reflect(M)  # raises for a zero vector
        for v in self.vectors.flip(0):
            M = M - 2 * torch.outer(v, v @ M) / v.dot(v)
        return M

    def _matrix(self) -> Tensor:
        return self._reflect(self._triangle())


class _Normalised(Faulty[Conv1x1]):
    """A wrapper whose forward divides each sample by its size, and multiplies the result by it."""

    def size(self, x: Tensor) -> Tensor:
        """Return the size of each sample, ``(B, 1, 1, 1)``."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.layer.log_det(x)  # validates x
        size = self.size(x)
        z, logdet = self.layer(x / size)
        return z * size, logdet


@fault(
    "extreme_scales",
    Conv1x1,
    "Root-mean-square normalisation before a matrix product, written as it stands in papers.",
    cause=("out_of_range", "leaves_range"),
)
class SquaresOverflow(_Normalised):
    """``sqrt(mean(x^2))`` without scaling overflows for large and is 0 for denormal numbers."""

    def size(self, x: Tensor) -> Tensor:
        return x.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()


@fault(
    "errors_are_clear",
    ActNorm2d,
    "Layers that leave the checking of dtypes to torch, which promotes instead of refusing.",
    cause="dtype_promoted",
)
class DtypePromoted(ActNorm2d):
    """Input of another dtype is promoted silently; only shapes are checked."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _, logdet = super().forward(x.to(self.scale))
        return x * self.scale[:, None, None] + self.bias[:, None, None], logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return super().inverse(z.to(self.scale))

    def log_det(self, x: Any) -> Tensor:
        return super().log_det(x.to(self.scale))
