"""Faults of state: what is saved, copied, compiled, or depends on the mode."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from emcheck.faults.core import Faulty, fault
from emcheck.layers import ActNorm2d, AdditiveCoupling2d, Conv1x1, Conv1x1PLU


@fault(
    "state_dict_restores",
    Conv1x1PLU,
    "Random permutations kept as plain tensors: a checkpoint loaded into a new process meets "
    "another permutation.",
    case={"event": (4, 3, 4)},
    cause="not_in_state_dict",
)
class PermutationNotSaved(Conv1x1PLU):
    """P is drawn anew in every constructor call and is not in the state_dict."""

    def __init__(self, channels: int, **options: Any) -> None:
        super().__init__(channels, **options)
        index = self.permutation
        del self.permutation
        self.register_buffer("permutation", index, persistent=False)


@fault(
    "copies_and_pickles_agree",
    Conv1x1,
    "Activations given as a lambda: saving the whole model, or sending it to a worker, fails.",
    raises=True,
    cause="cannot_be_pickled",
)
class HoldsALambda(Faulty[Conv1x1]):
    """A lambda in an attribute cannot be pickled."""

    def __init__(self, layer: Conv1x1) -> None:
        super().__init__(layer)
        self.activation = lambda z: z


@fault(
    "copies_and_pickles_agree",
    Conv1x1,
    "State hooks that shrink checkpoints by saving weights in half precision.",
    cause="state_rounded",
)
class PicklesInHalfPrecision(Faulty[Conv1x1]):
    """Pickling rounds the weight to 16 bits, and so does ``deepcopy``."""

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = self.__dict__.copy()
        inner = Conv1x1(self.layer.channels).to(self.layer.weight)
        inner.weight.data.copy_(self.layer.weight.data.half())
        state["_modules"] = {"layer": inner}
        return state


@fault(
    "train_and_eval_agree",
    AdditiveCoupling2d,
    "Dropout's old convention: activations scaled at evaluation to make up for what training "
    "drops, though nothing is dropped any more.",
    cause="mode_dependent",
)
class ScaledAtEvaluation(Faulty[AdditiveCoupling2d]):
    """In eval mode the shift is multiplied by 0.9, in both directions."""

    def _correction(self, x: Tensor) -> Tensor:
        """Return what is missing from the shift, zero in training mode."""
        x1 = x[:, : self.layer.split]
        share = 0.0 if self.training else 0.1
        return torch.cat([torch.zeros_like(x1), share * self.layer.network(x1)], dim=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        return z - self._correction(x), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.layer.inverse(z)
        return x + self._correction(z), logdet


@fault(
    "compiled_agrees",
    Conv1x1,
    "The inverse was never compiled by its author: only training was slow.",
    cause="branch_under_compile",
)
class CompiledInverse(Faulty[Conv1x1]):
    """Under compilation the inverse uses the transpose, right only for the orthogonal start."""

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.layer.inverse(z)
        if torch.compiler.is_compiling():
            x = torch.einsum("oc,bohw->bchw", self.layer.weight, z)
        return x, logdet


@fault(
    "compiled_agrees",
    Conv1x1,
    "Branches that replace what a compiler could not trace once, and were never compared.",
    cause="branch_under_compile",
)
class CompiledShortcut(Faulty[Conv1x1]):
    """Under compilation the log-det is that of the diagonal alone."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        if torch.compiler.is_compiling():
            diagonal = torch.diagonal(self.layer.weight).abs().log().sum()
            logdet = (x.shape[2] * x.shape[3] * diagonal).expand(len(x))
        return z, logdet


@fault(
    "parameters_are_separate",
    ActNorm2d,
    "Two parameters made of one tensor of zeros or ones: an optimiser moves both with each.",
    cause="shared_storage",
)
class SharesStorage(Faulty[ActNorm2d]):
    """Scale and bias share the same memory."""

    def __init__(self, layer: ActNorm2d) -> None:
        super().__init__(layer)
        layer.bias = nn.Parameter(layer.scale.data)


@fault(
    "training_steps_repeat",
    ActNorm2d,
    "Running averages without detach: the second training step raises, or memory grows.",
    cause="keeps_graph",
)
class KeepsItsGraph(Faulty[ActNorm2d]):
    """A running mean of the latents keeps the graph of every batch."""

    def __init__(self, layer: ActNorm2d) -> None:
        super().__init__(layer)
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer.forward(x)
        if not self.training:
            return z, logdet
        self.mean = 0.9 * self.mean.to(x) + (0.1 * z.mean() if x.numel() else 0.0)
        return z, logdet + 0 * self.mean


@fault(
    "first_batch_is_safe",
    ActNorm2d,
    "Initialisation with the sample deviation: a first batch of one sample makes it NaN.",
    cause="start_from_one_sample",
)
class StartsFromOneSample(ActNorm2d):
    """``initialize`` divides by n - 1, which is 0 for a single number."""

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        wide = x.transpose(0, 1).flatten(1)
        mean, count = wide.mean(dim=1), wide.shape[1]
        squares = (wide - mean[:, None]).square().sum(dim=1)
        deviation = (squares / (count - 1)).sqrt() + 1e-6
        self.scale.copy_(1 / deviation)
        self.bias.copy_(-mean / deviation)


@fault(
    "map_does_not_fold",
    ActNorm2d,
    "Planar and radial flows whose constraint is wrong by a square: two points, one image.",
    cause="folds",
)
class Folds(Faulty[ActNorm2d]):
    """Negative entries of x are mirrored."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer.forward(x.abs())


@fault(
    "settings_are_kept",
    Conv1x1,
    "A layer that needs float64 inside and changes the default dtype instead of naming it: what "
    "the program makes afterwards is float64 as well.",
    cause="changes_settings",
)
class ChangesTheDefaultDtype(Faulty[Conv1x1]):
    """Forward sets the default dtype to float64 and does not restore it."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        torch.set_default_dtype(torch.float64)
        return self.layer(x)
