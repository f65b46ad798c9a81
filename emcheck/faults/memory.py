"""Faults of memory and batches: layouts, in-place writes, noise, mixed samples."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from emcheck.faults.core import Faulty, fault
from emcheck.layers import AdditiveCoupling2d, AffineCoupling2d, Conv1x1, Squeeze2d


@fault(
    "memory_layouts_agree",
    Conv1x1,
    "`.view` in 1x1 convolutions: fails on channels_last input and on slices.",
    raises=True,
    cause="needs_contiguous",
)
class ViewsItsInput(Faulty[Conv1x1]):
    """Forward calls ``x.view``, which raises unless the memory is contiguous."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.layer.log_det(x)
        B, C, H, W = x.shape
        return (self.layer.weight @ x.view(B, C, H * W)).view(B, C, H, W), logdet


@fault(
    "memory_layouts_agree",
    Conv1x1,
    "Native kernels that read the data pointer as NCHW and check only for gaps.",
    cause="layout_misread",
)
class MisreadsChannelsLast(Faulty[Conv1x1]):
    """Dense channels_last memory is read as if it were NCHW."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
            _, C, H, W = x.shape
            x = x.as_strided(x.shape, (C * H * W, H * W, W, 1))
        return self.layer.forward(x)


@fault(
    "calls_are_pure",
    AdditiveCoupling2d,
    "In-place additions to save memory: right for the layer, wrong for whoever kept x.",
    cause="input_changed_in_place",
)
class ChangesItsInput(Faulty[AdditiveCoupling2d]):
    """Forward adds the shift to x in place."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.layer.log_det(x)
        x[:, self.layer.split :] += self.layer.network(x[:, : self.layer.split])
        return x, logdet


@fault(
    "rows_are_independent",
    AffineCoupling2d,
    "Batch normalisation inside the coupling's network; it is exactly invertible as long as "
    "the batch comes back whole.",
    cause="batch_statistics",
)
class BatchStatistics(Faulty[AffineCoupling2d]):
    """The network sees x1 minus its mean over the batch, in both directions."""

    def _centred(self, x: Tensor) -> Tensor:
        x1, x2 = x[:, : self.layer.split], x[:, self.layer.split :]
        return torch.cat([x1 - x1.mean(dim=0, keepdim=True), x2], dim=1)

    def _restored(self, z: Tensor, x: Tensor) -> Tensor:
        return torch.cat([x[:, : self.layer.split], z[:, self.layer.split :]], dim=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.layer.log_det(x)  # validates x
        z, logdet = self.layer(self._centred(x))
        return self._restored(z, x), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        self.layer.log_det(z)  # validates z
        x, logdet = self.layer.inverse(self._centred(z))
        return self._restored(x, z), logdet

    def log_det(self, x: Tensor) -> Tensor:
        return self.forward(x)[1]


@fault(
    "calls_are_deterministic",
    Conv1x1,
    "Dequantisation noise added inside the first layer instead of to the data.",
    cause="randomness_inside",
)
class AddsNoise(Faulty[Conv1x1]):
    """Forward adds uniform noise of one 8-bit step."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        return z + torch.rand_like(z) / 256, logdet


@fault(
    "empty_batch",
    Squeeze2d,
    "torch's pixel_unshuffle, which returns an empty batch in the shape of its input.",
    options={"factor": 2},
    cause="empty_batch_shape",
)
class PixelUnshuffle(Faulty[Squeeze2d]):
    """An empty batch keeps its input shape."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.layer.log_det(x)
        return F.pixel_unshuffle(x, self.layer.factor), logdet
