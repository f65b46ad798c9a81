"""Several gradients in one backward pass are those of as many passes."""

from __future__ import annotations

import pytest
import torch

from emcheck.specs import SPECS

VECTORS = 3


@pytest.mark.parametrize("batch", [3, 16])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("cls", SPECS, ids=lambda cls: cls.__name__)
def test_batched_gradients_are_those_row_by_row(cls: type, direction: str, batch: int) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = SPECS[cls].new((4, 8, 8), {}, generator).double()
    inputs = [torch.randn(batch, 4, 8, 8, generator=generator).double().requires_grad_()]
    value = getattr(layer, direction)(inputs[0])[0]
    inputs += [p for p in layer.parameters() if p.requires_grad]
    above = torch.randn(VECTORS, *value.shape, generator=generator).double()

    def gradients(vector: torch.Tensor, batched: bool) -> list[torch.Tensor]:
        found = torch.autograd.grad(
            value, inputs, vector, True, is_grads_batched=batched, allow_unused=True
        )
        return [gradient for gradient in found if gradient is not None]

    together = gradients(above, True)
    alone = zip(*(gradients(vector, False) for vector in above), strict=True)
    for got, rows in zip(together, alone, strict=True):
        assert not got.requires_grad
        torch.testing.assert_close(got, torch.stack(rows), rtol=1e-10, atol=1e-10)
