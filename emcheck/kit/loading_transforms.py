"""What torch loads at first, outside of any time limit."""

from __future__ import annotations

import torch

from emcheck.oracle.jacobian import FEW


def load_transforms(own: bool, dimensions: int) -> None:
    """Let torch load what the checks need of its transforms; ``jvp`` takes seconds at first.

    A time limit that strikes within an import leaves half a module behind.
    """
    x = torch.ones(2)
    torch.func.vmap(torch.sin)(x)
    if own:
        torch.func.jvp(torch.sin, (x,), (x,))
    if not own and dimensions <= FEW:
        return
    leaf = x.clone().requires_grad_(True)
    torch.autograd.grad(leaf.sin(), leaf, torch.eye(2), is_grads_batched=True)
