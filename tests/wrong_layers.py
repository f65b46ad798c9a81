"""Small wrong layers of unknown make, one for each cause that the diagnosis must name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def pixels(x: Tensor) -> int:
    return x[0, 0].numel()


class Mixing(nn.Module):
    """``W`` at every pixel of an event of any rank; correct, and varied by what it overrides."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(channels).roll(1, 0) + 0.3 * torch.eye(channels))

    def apply(self, matrix: Tensor, x: Tensor) -> Tensor:  # type: ignore[override]
        return torch.einsum("oc,bc...->bo...", matrix, x)

    def total(self, x: Tensor) -> Tensor:
        return (pixels(x) * torch.linalg.slogdet(self.weight)[1]).expand(len(x))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.apply(self.weight, x), self.total(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.apply(torch.linalg.inv(self.weight), z), -self.total(z)


class Gate(nn.Module):
    """``z2 = x2 exp(s(x1))``: correct, and its log-det depends on x."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.half = channels // 2
        self.weight = nn.Parameter(0.5 * torch.eye(self.half))

    def scale(self, x: Tensor) -> Tensor:
        return torch.tanh(torch.einsum("oc,bc...->bo...", self.weight, x[:, : self.half]))

    def total(self, x: Tensor) -> Tensor:
        return self.scale(x).flatten(1).sum(dim=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.cat([x[:, : self.half], x[:, self.half :] * self.scale(x).exp()], dim=1)
        return z, self.total(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([z[:, : self.half], z[:, self.half :] * (-self.scale(z)).exp()], dim=1)
        return x, -self.total(x)


class Scale(nn.Module):
    """``s x + b`` per channel."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, channels))
        self.bias = nn.Parameter(torch.linspace(-1.0, 1.0, channels))

    def like(self, v: Tensor, x: Tensor) -> Tensor:
        return v.reshape(-1, *[1] * (x.dim() - 2))

    def total(self, x: Tensor) -> Tensor:
        return (pixels(x) * self.scale.abs().log().sum()).expand(len(x))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.like(self.scale, x) + self.like(self.bias, x), self.total(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return (z - self.like(self.bias, z)) / self.like(self.scale, z), -self.total(z)


class Times(nn.Module):
    """A layer whose log-dets are multiplied by ``factor(x)`` in both directions."""

    def __init__(self, layer: nn.Module, factor: Callable[[Tensor], float]) -> None:
        super().__init__()
        self.layer, self.factor = layer, factor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.layer(x)
        return z, logdet * self.factor(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.layer.inverse(z)  # type: ignore[operator]
        return x, logdet * self.factor(z)


class InverseSign(Mixing):
    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return super().inverse(z)[0], self.total(z)


class Summed(Gate):
    def total(self, x: Tensor) -> Tensor:
        return self.scale(x).sum().expand(len(x))


class Averaged(Gate):
    def total(self, x: Tensor) -> Tensor:
        return (self.scale(x).sum() / len(x)).expand(len(x))


class AtTheLatent(nn.Module):
    """A scaled coupling after a mixing layer, whose inverse takes the log-det at z."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Mixing(4), Gate(4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, first = self.first(x)
        z, second = self.second(y)
        return z, first + second

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = self.first.inverse(self.second.inverse(z)[0])[0]
        return x, -self.forward(z)[1]


class Pair(nn.Module):
    """Two layers; correct, and varied below."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Mixing(), Scale()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, first = self.first(x)
        z, second = self.second(y)
        return z, first + second

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        y, second = self.second.inverse(z)
        x, first = self.first.inverse(y)
        return x, first + second


class SecondMissing(Pair):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, first = self.first(x)
        return self.second(y)[0], first

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        y, _ = self.second.inverse(z)
        return self.first.inverse(y)


class FirstTwice(Pair):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, total = super().forward(x)
        return z, total + self.first.total(x)


class ForwardOrder(Pair):
    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        y, first = self.first.inverse(z)
        x, second = self.second.inverse(y)
        return x, first + second


class ScaleForgotten(Scale):
    """``s exp(a) x``: the log-det knows only one of the two parameters."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__(channels)
        self.log_gain = nn.Parameter(torch.linspace(-0.3, 0.6, channels))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = super().forward(x)
        return z * self.like(self.log_gain.exp(), x), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return super().inverse(z / self.like(self.log_gain.exp(), z))


class StaleInverse(Mixing):
    def __init__(self) -> None:
        super().__init__()
        self.kept: Tensor | None = None

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        if self.kept is None:
            self.kept = torch.linalg.inv(self.weight.detach())
        return self.apply(self.kept.to(z), z), -self.total(z)


class SingleInverse(Mixing):
    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = self.apply(torch.linalg.inv(self.weight.float()), z.float())
        return x.to(z.dtype), -self.total(z)


class SingleLogdet(Mixing):
    def total(self, x: Tensor) -> Tensor:
        return (pixels(x) * torch.linalg.slogdet(self.weight.float())[1]).to(x).expand(len(x))


class SquaresOnly(Mixing):
    def total(self, x: Tensor) -> Tensor:
        return (x.shape[2] ** 2 * torch.linalg.slogdet(self.weight)[1]).expand(len(x))


class OneChannelOnly(Mixing):
    def total(self, x: Tensor) -> Tensor:
        return (pixels(x) * self.weight[0, 0].abs().log()).expand(len(x))


class OddOnly(Mixing):
    def total(self, x: Tensor) -> Tensor:
        counted = x[0, 0, ::2].shape[0] * 2 - 1, x[0, 0, 0, ::2].shape[0] * 2 - 1
        return (counted[0] * counted[1] * torch.linalg.slogdet(self.weight)[1]).expand(len(x))


class ShiftForThree(nn.Module):
    """A circular depthwise convolution with k = 5 whose inverse moves the centre by 1."""

    def __init__(self, channels: int = 2, k: int = 5) -> None:
        super().__init__()
        self.k = k
        self.weight = nn.Parameter(torch.full((channels, 1, k, k), 0.02))
        self.weight.data[:, :, k // 2, k // 2] = 1.0

    def spectrum(self, x: Tensor) -> Tensor:
        r = self.k // 2
        delta = torch.zeros_like(x[:1])
        delta[:, :, 0, 0] = 1.0
        padded = F.pad(delta, (r, r, r, r), mode="circular")
        return torch.fft.fft2(F.conv2d(padded, self.weight, groups=x.shape[1]))

    def total(self, x: Tensor) -> Tensor:
        return self.spectrum(x).abs().log().sum().expand(len(x))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.fft.ifft2(torch.fft.fft2(x) * self.spectrum(x)).real, self.total(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.fft.ifft2(torch.fft.fft2(z) / self.spectrum(z)).real
        return x.roll((self.k // 2 - 1, self.k // 2 - 1), (2, 3)), -self.total(z)


class PermutationKept(Mixing):
    """``z = (W x)[p]`` with a cycle of three channels, undone by ``p`` once more."""

    def __init__(self) -> None:
        super().__init__()
        self.order = [1, 2, 0]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(x)[0][:, self.order], self.total(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return super().inverse(z[:, self.order])


class TransposedInverse(Mixing):
    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.apply(self.weight.T, z), -self.total(z)


class InitializesFromInverse(Scale):
    def __init__(self, channels: int = 3) -> None:
        super().__init__(channels)
        self.register_buffer("ready", torch.tensor(False))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        if not self.get_buffer("ready"):
            self._set(z)
        return super().inverse(z)

    def _set(self, v: Tensor) -> None:
        with torch.no_grad():
            self.scale.copy_(1 / v.transpose(0, 1).flatten(1).std(dim=1))
            self.get_buffer("ready").fill_(True)


class InitializesInEval(InitializesFromInverse):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.get_buffer("ready"):
            self._set(x)
        return Scale.forward(self, x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return Scale.inverse(self, z)


class InPlace(Scale):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x += self.like(self.bias, x)
        return x, torch.zeros(len(x)).to(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z - self.like(self.bias, z), torch.zeros(len(z)).to(z)


class Stabilised(Scale):
    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = (z - self.like(self.bias, z)) / (self.like(self.scale, z) + 1e-5)
        return x, -self.total(z)


class ShiftAdded(Scale):
    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return (z + self.like(self.bias, z)) / self.like(self.scale, z), -self.total(z)


class BiasKept(Mixing):
    """``W x + b`` at every pixel, of which only ``W`` is undone."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([0.2, -0.4, 0.3]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = super().forward(x)
        return z + self.bias.reshape(-1, *[1] * (x.dim() - 2)), logdet


class StoppedEarly(Mixing):
    """``W = I + N`` undone by six steps of ``x + (z - W x)``."""

    def __init__(self) -> None:
        super().__init__()
        self.weight.data.copy_(torch.eye(3) + 0.1 * torch.eye(3).roll(1, 0))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = z
        for _ in range(6):
            x = x + (z - self.apply(self.weight, x))
        return x, -self.total(z)


class ZeroLogdet(Mixing):
    def total(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x))


class NoAbsolute(Mixing):
    def __init__(self) -> None:
        super().__init__(4)  # a cycle of four is odd: the determinant is negative

    def total(self, x: Tensor) -> Tensor:
        return (pixels(x) * torch.logdet(self.weight)).expand(len(x))


class DetachedLogdet(Mixing):
    def total(self, x: Tensor) -> Tensor:
        return super().total(x).detach()


class InputDetached(Gate):
    def total(self, x: Tensor) -> Tensor:
        return super().total(x.detach())


class Unused(Mixing):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3))


class Noisy(Mixing):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = super().forward(x)
        return z + torch.rand_like(z) / 256, logdet


class ModeDependent(Scale):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = super().forward(x)
        return (z if self.training else z + 0.5), logdet


class BatchCentred(Scale):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = super().forward(x)
        return z - x.mean(dim=0, keepdim=True), logdet


class DefaultDtype(Scale):
    def total(self, x: Tensor) -> Tensor:
        return super().total(x).float()


class NanToNum(Mixing):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(x.nan_to_num())


class DensityIncluded(Scale):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = super().forward(x)
        return z, logdet - 0.5 * z.square().flatten(1).sum(dim=1)


class Inexplicable(Mixing):
    """No rule that anybody would think of."""

    def total(self, x: Tensor) -> Tensor:
        return super().total(x) + torch.sin(17 * self.weight[0, 1] + x.shape[-1] ** 0.5)


@dataclass(frozen=True)
class Wrong:
    """What the diagnosis must say first, and a word that its sentence must contain."""

    cause: str
    build: Callable[[], nn.Module]
    event: tuple[int, ...] = (3, 4, 5)
    word: str = ""

    @property
    def name(self) -> str:
        built = type(self.build()).__name__
        return f"{self.cause}-{built}-{'x'.join(map(str, self.event))}"


def _times(factor: Callable[[Tensor], float], layer: type[nn.Module] = Mixing) -> nn.Module:
    return Times(layer(), factor)


WRONG = (
    Wrong("sign_flipped", InverseSign, word="inverse"),
    Wrong("sign_flipped", lambda: _times(lambda x: -1.0)),
    Wrong("sign_flipped", lambda: Times(Mixing(5), lambda x: -1.0), (5,)),
    Wrong("factor_pixels_missing", lambda: _times(lambda x: 1 / pixels(x)), word="H W"),
    Wrong("factor_pixels_missing", lambda: _times(lambda x: 1 / pixels(x)), (3, 7), "factor L"),
    Wrong("factor_pixels_missing", lambda: _times(lambda x: 1 / pixels(x)), (3, 2, 3, 4), "D H W"),
    Wrong("factor_pixels_extra", lambda: _times(lambda x: float(pixels(x))), word="H W"),
    Wrong("factor_channels_missing", lambda: _times(lambda x: 1 / x.shape[1]), word="factor C"),
    Wrong("factor_channels_extra", lambda: _times(lambda x: x.shape[1]), word="factor C"),
    Wrong("factor_batch_missing", lambda: _times(lambda x: 1 / len(x)), word="batch"),
    Wrong("factor_batch_extra", lambda: _times(lambda x: len(x), Gate), (4, 3, 5), "factor B"),
    Wrong("factor_two_missing", lambda: _times(lambda x: 0.5), word="factor 2"),
    Wrong("factor_two_extra", lambda: _times(lambda x: 2.0), word="factor 2"),
    Wrong("factor_two_extra", lambda: _times(lambda x: -2.0), word="sign is wrong"),
    Wrong("factor_of_squeeze_missing", lambda: _times(lambda x: 0.25), word="squeeze"),
    Wrong("factor_of_squeeze_extra", lambda: _times(lambda x: 4.0), word="squeeze"),
    Wrong("pixels_of_one_size", lambda: _times(lambda x: 24 / pixels(x)), word="24 pixels"),
    Wrong("factor_width_missing", lambda: _times(lambda x: 1 / x.shape[3]), word="factor W"),
    Wrong("factor_height_extra", lambda: _times(lambda x: x.shape[2]), word="factor H"),
    Wrong("per_dimension", lambda: _times(lambda x: 1 / x[0].numel()), word="C H W"),
    Wrong("per_dimension", lambda: Times(Mixing(5), lambda x: 1 / x[0].numel()), (5,), "D"),
    Wrong("logarithm_to_base_two", lambda: _times(lambda x: 1.4426950408889634)),
    Wrong("summed_over_batch", Summed, (4, 3, 5)),
    Wrong("averaged_over_batch", Averaged, (4, 3, 5)),
    Wrong("submodule_logdet_missing", SecondMissing, word="`second`"),
    Wrong("submodule_logdet_doubled", FirstTwice, word="`first` is counted once too often"),
    Wrong("parameter_logdet_missing", ScaleForgotten, word="`log_gain`"),
    Wrong("logdet_at_latent", AtTheLatent, (4, 3, 5)),
    Wrong("logdet_zero", ZeroLogdet),
    Wrong("density_in_logdet", DensityIncluded, word="without its constant"),
    Wrong("log_without_abs", NoAbsolute, (4, 3, 5), word="`weight`"),
    Wrong("stale_cache", StaleInverse, word="inverse"),
    Wrong("computed_in_float32", SingleInverse, word="inverse"),
    Wrong("computed_in_float32", SingleLogdet, word="log"),
    Wrong("square_images_only", SquaresOnly),
    Wrong("one_channel_only", OneChannelOnly),
    Wrong("odd_sizes_only", OddOnly),
    Wrong("rolled", ShiftForThree, (2, 6, 7), "(1, 1)"),
    Wrong("permutation_not_inverted", PermutationKept, word="transpose"),
    Wrong("transpose_as_inverse", TransposedInverse),
    Wrong("inverse_in_forward_order", ForwardOrder, word="`first` then `second`"),
    Wrong("initialises_from_inverse", InitializesFromInverse),
    Wrong("initialises_in_eval", InitializesInEval),
    Wrong("input_changed_in_place", InPlace),
    Wrong("stabiliser_in_denominator", Stabilised, word="1e-05"),
    Wrong("affine_not_undone", ShiftAdded, word="adds the shift"),
    Wrong("bias_not_undone", BiasKept),
    Wrong("iteration_stopped_early", StoppedEarly, word="7 step"),
    Wrong("logdet_detached", DetachedLogdet),
    Wrong("input_detached", InputDetached, (4, 3, 5)),
    Wrong("unused_parameter", Unused, word="`bias`"),
    Wrong("randomness_inside", Noisy, word="latent"),
    Wrong("mode_dependent", ModeDependent),
    Wrong("batch_statistics", BatchCentred),
    Wrong("logdet_default_dtype", DefaultDtype, word="float32"),
    Wrong("nan_swallowed", NanToNum),
)
