"""Whether a call is recorded or transformed: by autograd, a functional transform, the compiler."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad


def watched(*tensors: Tensor) -> bool:
    """Whether torch must know the operation on these tensors.

    If not, compiled code is called: ``autograd.Function`` costs as much as inverting a small image.
    """
    return differentiated(*tensors) or transformed()


def differentiated(*tensors: Tensor) -> bool:
    """Whether the result needs a backward pass for gradients."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def transformed() -> bool:
    """Whether ``torch.func``, forward-mode derivatives or the compiler are active."""
    return (
        torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch.compiler.is_compiling()
    )


def batched(tensor: Tensor) -> bool:
    """Whether one tensor stands for many: ``torch.autograd.grad(..., is_grads_batched=True)``."""
    return bool(torch._C._functorch.is_legacy_batchedtensor(tensor))


def gradients_by_torch(
    function: Callable[[list[Tensor]], Sequence[Tensor]],
    inputs: Sequence[Tensor],
    wanted: Sequence[bool],
    above: Sequence[Tensor],
) -> list[Tensor | None]:
    """Gradients of ``function`` by torch's own operations, differentiable where that is asked for.

    ``above`` are the gradients of what it returns; None stands for an input that wants none.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views, so that an input at two places has a gradient of its own at each.
        views = [t.view_as(t) if need else t for t, need in zip(inputs, wanted, strict=True)]
        outputs = function(views)
        leaves = [t for t, need in zip(views, wanted, strict=True) if need]
        found = iter(
            torch.autograd.grad(outputs, leaves, above, create_graph=again, allow_unused=True)
        )
    return [next(found) if need else None for need in wanted]
