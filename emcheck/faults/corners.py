"""Faults of convolutions padded on one corner, and of four of them side by side."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from emcheck.faults.core import Faulty, OtherLogdet, fault
from emcheck.layers import CornerConv2d, FourCornerConv2d
from emcheck.solve import Link, convolve_masked, invert_masked, live_weight

_LINK = Link("square", False, 1)


@fault(
    "inverse_backward_error",
    FourCornerConv2d,
    "One solver for four directions by flips; the flip behind it was left out in one of them.",
    options={"kernel_size": 3},
    case={"event": (4, 4, 5)},
    cause="flip_not_undone",
)
class FlipForgotten(Faulty[FourCornerConv2d]):
    """The inverse of the second group is not flipped back: its columns come in reverse order."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.layer.inverse(z)
        first, second, *others = [group for _, group in self.layer.groups(x)]
        return torch.cat([first, second.flip(3), *others], dim=1), logdet


@fault(
    "logdet_matches_jacobian",
    FourCornerConv2d,
    "A loop over the groups that adds the log-det of the group before the present one.",
    case={"event": (4, 4, 5)},
    cause="submodule_logdet_missing",
)
class ThreeCornersCounted(OtherLogdet[FourCornerConv2d]):
    """The log-det is that of three of the four groups."""

    def log_det(self, x: Tensor) -> Tensor:
        logdets = [part.log_det(group) for part, group in self.layer.groups(x)]
        return torch.stack(logdets[:3]).sum(dim=0)


@fault(
    "forward_matches_definition",
    FourCornerConv2d,
    "A triangle of 'outputs by inputs' where the kernel has 'inputs by outputs', in one of four "
    "copies of the code; both directions agree.",
    case={"event": (5, 3, 4)},
    cause="channels_not_flipped",
)
class TriangleReadAsUpper(Faulty[FourCornerConv2d]):
    """The first group's own tap is upper-triangular over channels, in both directions."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        return self._upper(convolve_masked, x, z), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.layer.inverse(z)
        return self._upper(invert_masked, z, x), logdet

    def _upper(
        self, run: Callable[..., tuple[Tensor, Tensor]], given: Tensor, out: Tensor
    ) -> Tensor:
        """Return ``out`` with another first group: channels are reversed, solved and reversed."""
        (part, first), *_ = self.layer.groups(given)
        weight = _embedded(part.weight.flip(0, 1))
        turned, _ = run(first.flip(1), (weight,), (_LINK,))
        return torch.cat([turned.flip(1), out[:, part.channels :]], dim=1)


@fault(
    "jacobian_is_triangular",
    CornerConv2d,
    "The order of the numbers that torch's pad takes: columns come before rows, and after before "
    "before.",
    options={"kernel_size": 3, "corner": "top-left"},
    case={"event": (2, 4, 5)},
    cause="right_only_for_option",
)
class RowsPaddedBelow(Faulty[CornerConv2d]):
    """Forward pads rows below the image, not above: a pixel sees those under it."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet, k = self.layer.log_det(x), self.layer.kernel_size
        live = live_weight(_embedded(self.layer.weight), _LINK)[:, :, :k, :k]
        return F.conv2d(F.pad(x, (k - 1, 0, 0, k - 1)), live), logdet


def _embedded(weight: Tensor) -> Tensor:
    """The kernel as the live quadrant of a square-masked one."""
    k = weight.shape[-1]
    return F.pad(weight, (0, k - 1, 0, k - 1))
