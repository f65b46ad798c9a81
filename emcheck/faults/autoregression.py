"""Faults of affine autoregressive layers: what a row sees, and in which order rows are undone."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.nn import functional as F

from emcheck.faults.core import Faulty, OtherLogdet, fault
from emcheck.layers import AffineAutoregressive2d
from emcheck.layers.affine_autoregressive import scale, sum_log_scale


@fault(
    "jacobian_is_triangular",
    AffineAutoregressive2d,
    "A causal convolution made by padding, as for a whole sequence that predicts its next entry, "
    "without the shift by one.",
    options={"direction": "top", "breadth": 3},
    case={"event": (2, 4, 5), "style": "mixed"},
    cause="wrong_in_one_direction",
)
class SeesItsOwnRow(AffineAutoregressive2d):
    """In forward, the network sees rows up to the own one, and the log-det does not know."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        rows = self._turned(x)
        seen = F.pad(rows, (0, 0, self.reach - 1, 0))
        t, h = self.network(seen).chunk(2, dim=1)
        return self._turned_back((rows + t) * scale(h)), sum_log_scale(h)


@fault(
    "inverse_backward_error",
    AffineAutoregressive2d,
    "Sampling code written for the first of four directions, with the loop over rows from the top.",
    options={"direction": "bottom"},
    case={"event": (2, 4, 5)},
    cause="order_differs",
)
class UndoneFromTheTop(Faulty[AffineAutoregressive2d]):
    """The inverse runs from the first row to the last one, whatever the direction is."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        other = copy.copy(self.layer)
        other.direction = "top"
        return other.inverse(z)


@fault(
    "inverse_undoes_forward",
    AffineAutoregressive2d,
    "A sampler that starts its buffer from the latent's first row instead of an empty image.",
    options={"direction": "top"},
    case={"event": (2, 4, 5)},
    cause="border_differs",
)
class FirstRowRepeated(AffineAutoregressive2d):
    """In the inverse, the rows before the first one are copies of the latent's, not zero."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        before = self._turned(z)[:, :, :1]
        padded = torch.cat([before] * self.reach, dim=2)
        t, h = self.network(padded).chunk(2, dim=1)
        x, logdet = super().inverse(z)
        return torch.cat([before / scale(h) - t, x[:, :, 1:]], dim=2), logdet


@fault(
    "inverse_logdet_matches_jacobian",
    AffineAutoregressive2d,
    "A loop over rows that begins with the second one, as the first has nothing to see; it has the "
    "network's bias.",
    options={"direction": "left"},
    case={"event": (2, 4, 5)},
    cause="entries_left_out",
)
class FirstRowNotCounted(OtherLogdet[AffineAutoregressive2d]):
    """The log-det leaves out the first row, or column, in both directions."""

    def log_det(self, x: Tensor) -> Tensor:
        _, h = self.layer._shift_and_gate(self.layer._turned(x))
        return sum_log_scale(h[:, :, 1:])


@fault(
    "logdet_matches_definition",
    AffineAutoregressive2d,
    "Networks that return the scale minus 1, as its logarithm is nearly that at the start.",
    case={"event": (2, 4, 5)},
    cause="series_cut_short",
)
class ScalesSummed(OtherLogdet[AffineAutoregressive2d]):
    """The log-det is the sum of ``s - 1``, not of ``log s``, in both directions."""

    def log_det(self, x: Tensor) -> Tensor:
        _, h = self.layer._shift_and_gate(self.layer._turned(x))
        return (scale(h) - 1).flatten(1).sum(dim=1)
