"""Faults of derivative rules written by hand: forward mode and batching."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from emcheck.faults.core import Faulty, fault
from emcheck.layers import ActNorm2d, Conv1x1


class _Scaling(torch.autograd.Function):
    """``s x`` with hand-written derivatives; the forward-mode one assumes positive scales."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, scale: Tensor) -> Tensor:
        return x * scale[:, None, None]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, scale = ctx.saved_tensors
        return grad * scale[:, None, None], (grad * x).sum(dim=(0, 2, 3))

    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, dscale: Tensor | None) -> Tensor:
        x, scale = ctx.saved_tensors
        moved = torch.zeros_like(x) if dx is None else dx * scale.abs()[:, None, None]
        return moved if dscale is None else moved + x * dscale[:, None, None]


@fault(
    "jvp_agrees",
    ActNorm2d,
    "Custom autograd functions whose backward is tested and whose jvp is not.",
    case={"style": "mixed"},
    cause="forward_mode_rule_wrong",
)
class ForwardModeSign(Faulty[ActNorm2d]):
    """The forward-mode derivative multiplies by ``|s|`` instead of ``s``."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.layer.log_det(x)
        z: Tensor = _Scaling.apply(x, self.layer.scale)
        return z + self.layer.bias[:, None, None], logdet


class _Mixing(torch.autograd.Function):
    """``W x`` pixel by pixel, with a vmap rule that mixes up the two batch dimensions."""

    @staticmethod
    def forward(weight: Tensor, x: Tensor) -> Tensor:
        return torch.einsum("oc,bchw->bohw", weight, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        weight, x = ctx.saved_tensors
        grad_weight = torch.einsum("bohw,bchw->oc", grad, x)
        return grad_weight, torch.einsum("oc,bohw->bchw", weight, grad)

    @staticmethod
    def jvp(ctx: Any, dweight: Tensor | None, dx: Tensor | None) -> Tensor:
        weight, x = ctx.saved_tensors
        moved = torch.zeros_like(x)
        if dx is not None:
            moved = moved + torch.einsum("oc,bchw->bohw", weight, dx)
        if dweight is not None:
            moved = moved + torch.einsum("oc,bchw->bohw", dweight, x)
        return moved

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, int | None], weight: Tensor, x: Tensor
    ) -> tuple[Tensor, int]:
        assert in_dims[0] is None
        assert in_dims[1] is not None
        stacked = x.movedim(in_dims[1], 0)  # (N, B, C, H, W)
        N, B = stacked.shape[:2]
        z = _Mixing.apply(weight, stacked.flatten(0, 1))
        return z.reshape(B, N, *z.shape[1:]).transpose(0, 1), 0


@fault(
    "vmap_agrees",
    Conv1x1,
    "Batching rules that flatten two batch dimensions and unflatten them the other way round; "
    "every shape is right.",
    case={"batch": 3},
    cause="vmap_mixes_samples",
)
class BatchingRuleMixedUp(Faulty[Conv1x1]):
    """Under vmap the results of different samples are swapped."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.layer.log_det(x)
        z: Tensor = _Mixing.apply(self.layer.weight, x)
        return z, logdet


class _Unscaling(torch.autograd.Function):
    """``z / s`` with hand-written derivatives; the forward-mode one is that of ``s x``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, scale: Tensor) -> Tensor:
        return z / scale[:, None, None]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output, inputs[1])
        ctx.save_for_forward(output, inputs[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, scale = ctx.saved_tensors
        moved = grad / scale[:, None, None]
        return moved, -(moved * x).sum(dim=(0, 2, 3))

    @staticmethod
    def jvp(ctx: Any, dz: Tensor | None, dscale: Tensor | None) -> Tensor:
        x, scale = ctx.saved_tensors
        moved = torch.zeros_like(x) if dz is None else dz * scale[:, None, None]
        return moved if dscale is None else moved + x * dscale[:, None, None]


@fault(
    "jvp_agrees",
    ActNorm2d,
    "One hand-written rule shared by both directions of a layer.",
    cause="forward_mode_rule_wrong",
)
class ForwardModeOfTheInverse(Faulty[ActNorm2d]):
    """The inverse's forward-mode derivative multiplies by ``s`` instead of dividing."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        self.layer.inverse(z)  # validates z and refuses a zero scale
        x: Tensor = _Unscaling.apply(z - self.layer.bias[:, None, None], self.layer.scale)
        return x, -self.layer.log_det(z)
