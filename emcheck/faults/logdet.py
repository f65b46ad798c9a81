"""Faults of a layer's own log-det: its sign, magnitude and shape."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from emcheck.contract import InvertibleLayer
from emcheck.faults.core import Faulty, fault
from emcheck.layers import (
    AffineCoupling2d,
    AutoregressiveConv2d,
    Conv1x1,
    Conv1x1PLU,
    PermuteChannels,
)


class Rescaled(Faulty[InvertibleLayer]):
    """A wrapper that scales the log-det by a wrong factor, in both directions and ``log_det``."""

    def factor(self, x: Tensor) -> float:
        """Return the wrong factor of the log-det."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        return z, logdet * self.factor(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.layer.inverse(z)
        return x, logdet * self.factor(z)

    def log_det(self, x: Tensor) -> Tensor:
        return self.layer.log_det(x) * self.factor(x)


@fault(
    "logdets_cancel",
    Conv1x1,
    "Glow reimplementations whose inverse returns the forward log-det, tested only at an "
    "orthogonal initial weight where it is 0.",
    cause="sign_flipped",
)
class InverseKeepsTheSign(Faulty[Conv1x1]):
    """``inverse`` returns log|det dz/dx| instead of its negative."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.layer.inverse(z)
        return x, -logdet


@fault(
    "logdet_matches_jacobian",
    Conv1x1,
    "1x1 convolutions ported from a dense layer for vectors, where there is one pixel.",
    cause="factor_pixels_missing",
)
class PixelsForgotten(Rescaled):
    """The factor HW is missing: log|det W| of one pixel stands for the whole image."""

    def factor(self, x: Tensor) -> float:
        return 1 / (x.shape[2] * x.shape[3])


@fault(
    "logdet_scales_with_pixels",
    AutoregressiveConv2d,
    "Convolutional flows that were only ever run on square images.",
    cause=("square_images_only", "square_only"),
)
class SquareImagesOnly(Rescaled):
    """The log-det has the factor H H instead of H W."""

    def factor(self, x: Tensor) -> float:
        return x.shape[2] / x.shape[3]


@fault(
    "density_integrates_to_one",
    Conv1x1PLU,
    "Training loops that want bits per dimension and let the layer divide already.",
    cause="per_dimension",
)
class DividedByDimensions(Rescaled):
    """The log-det is per dimension: divided by C H W."""

    def factor(self, x: Tensor) -> float:
        return 1 / x[0].numel()


@fault(
    "logdet_matches_definition",
    AffineCoupling2d,
    "Couplings whose gate got an offset later, while the log-det kept the bare output; only "
    "sampling was tested against it.",
    cause="gate_offset",
)
class GateWithoutOffset(Faulty[AffineCoupling2d]):
    """Forward's gate is sigmoid(h + 2), but its log-det is that of sigmoid(h)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, _ = self.layer(x)
        _, h = self.layer._shift_and_gate(x)
        return z, F.logsigmoid(h - 2).flatten(1).sum(dim=1)


@fault(
    "logdet_per_sample",
    Conv1x1,
    "Several published flow libraries return a number instead of one log-det per sample.",
    cause="scalar_logdet",
)
class ScalarLogdet(Faulty[Conv1x1]):
    """The log-det has no batch dimension; broadcasting hides it."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        return z, logdet.sum() / max(len(x), 1)


@fault(
    "rows_are_independent",
    AffineCoupling2d,
    "A sum without a dim argument, as is right for a mean loss and a batch of one.",
    cause="summed_over_batch",
)
class SummedOverTheBatch(Faulty[AffineCoupling2d]):
    """The log-det is summed over the batch and given to every sample."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        return z, logdet.sum().expand(len(x))


@fault(
    "shapes_and_dtypes",
    PermuteChannels,
    "Volume-preserving layers that return torch.zeros(B), whatever the input is.",
    cause="logdet_default_dtype",
)
class DefaultDtypeLogdet(Faulty[PermuteChannels]):
    """The log-det is created as float32 on the CPU, whatever the input."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, _ = self.layer(x)
        return z, torch.zeros(len(x))
