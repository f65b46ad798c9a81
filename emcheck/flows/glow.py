"""The multi-scale flow in which the paper uses its layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from emcheck._internal.randomness import stream
from emcheck.contract import Event, InvertibleLayer, validate_images, validate_positive
from emcheck.flows.chain import Chain
from emcheck.flows.mixing import MIXINGS, start_at_identity
from emcheck.flows.recompute import recomputed
from emcheck.layers import ActNorm2d, AffineCoupling2d, SplitPrior2d, Squeeze2d


class Glow(InvertibleLayer):
    """``L`` levels of squeeze and ``D`` steps (actnorm, mixing, affine coupling), then a split.

    Half of the channels leave after every level but the last, standardised by a split prior;
    the rest is standardised by a learnt top prior, a mean and a scale per channel. So ``z``
    is a vector of ``C H W`` numbers, those of the first level first, and
    ``log p(x) = log N(z; 0, I) + logdet``.

    Log-det: the sum of the log-dets of all layers and priors.

    Cost: forward and inverse those of the layers; couplings dominate, with ``C_l`` channels at
    level ``l``, ``sum_{l=1}^L D B H W / 4^l width (9 C_l/2 + width + 9 C_l)`` multiplications.

    Reference: Kingma, Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions,
    2018, arXiv 1807.03039; Hoogeboom, van den Berg, Welling, Emerging Convolutions for
    Generative Normalizing Flows, 2019, arXiv 1901.11137, section 5.

    Args:
        shape: one sample, ``(C, H, W)`` with H and W multiples of ``2^levels``.
        levels: ``L``, at least 1.
        depth: ``D``, at least 1.
        mixing: one of :data:`emcheck.flows.mixing.MIXINGS`.
        width: hidden channels of the couplings.
        identity: whether the convolutions of the mixing start as the identity, so that
            ``1x1+emerging`` starts as ``1x1`` with the same seed, bit for bit.
        recompute: whether to train without stored activations, see :mod:`emcheck.flows.recompute`.
        seed: of the initial values.

    Raises:
        ValueError: a shape that cannot be squeezed ``levels`` times, an unknown mixing, input
            that is not ``(B, C, H, W)`` in the dtype of the parameters.

    >>> import torch
    >>> flow = Glow((1, 4, 4), levels=2, depth=1, mixing="plu", width=4, seed=0)
    >>> z, logdet = flow(torch.zeros(3, 1, 4, 4))
    >>> z.shape, logdet.shape
    (torch.Size([3, 16]), torch.Size([3]))
    """

    def __init__(
        self,
        shape: Sequence[int],
        levels: int = 2,
        depth: int = 4,
        mixing: str = "1x1",
        width: int = 64,
        *,
        identity: bool = False,
        recompute: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.shape = _validate_shape(shape, validate_positive("levels", levels))
        if mixing not in MIXINGS:
            raise ValueError(f"expected a mixing among {', '.join(MIXINGS)}, got {mixing!r}")
        self.width, self.recompute = validate_positive("width", width), recompute
        self.levels, self.splits = nn.ModuleList(), nn.ModuleList()
        C, H, W = self.shape
        for l in range(levels):
            C, H, W = 4 * C, H // 2, W // 2
            steps = [
                step
                for d in range(validate_positive("depth", depth))
                for step in _step((C, H, W), mixing, width, (seed, l, d), identity)
            ]
            self.levels.append(Chain(Squeeze2d(), *steps))
            if l + 1 < levels:
                self.splits.append(SplitPrior2d(C))
                C //= 2
        self.top = ActNorm2d(C)

    def _parts(self) -> Iterator[tuple[Chain, SplitPrior2d | None]]:
        """Yield each level with the split prior behind it; the last one has none."""
        yield from zip(self.levels, [*self.splits, None], strict=True)

    def kept(self, level: int) -> int:
        """Return the number of channels that continue after a level, at its resolution."""
        return self.splits[level].split if level < len(self.splits) else self.top.channels  # type: ignore[return-value]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self._validate(x)
        left, total = [], x.new_zeros(len(x))
        for level, split in self._parts():
            x, logdet = self._level(level, x)
            total = total + logdet
            if split is not None:
                x, logdet = split(x)
                total = total + logdet
                left.append(x[:, split.split :].flatten(1))
                x = x[:, : split.split]
        z, logdet = self.top(x)
        return torch.cat([*left, z.flatten(1)], dim=1), total + logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        *left, top = self._latents(z)
        x, total = self.top.inverse(top)
        for level, split in reversed(list(self._parts())):
            if split is not None:
                x, logdet = split.inverse(torch.cat([x, left.pop()], dim=1))
                total = total + logdet
            x, logdet = level.inverse(x)
            total = total + logdet
        return x, total

    def log_det(self, x: Tensor) -> Tensor:
        return self.forward(x)[1]

    def log_prob(self, x: Tensor) -> Tensor:
        """``log p(x) (B,)`` in nats: the standard normal log-density of z plus the log-det."""
        z, logdet = self.forward(x)
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=1) + logdet

    def bits_per_dim(self, x: Tensor, bins: int = 256) -> Tensor:
        """``-log2 P / n (B,)`` of ``n = C H W`` whole numbers that were dequantised into ``x``.

        ``x = (v + U) / bins``: the density of x is the probability of v times ``bins^n``.
        """
        n = math.prod(self.shape)
        return (n * math.log(bins) - self.log_prob(x)) / (n * math.log(2))

    def sample(self, count: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Draw ``(count, C, H, W)`` from latents with standard deviation ``temperature``."""
        n = math.prod(self.shape)
        z = torch.randn(count, n, generator=generator, dtype=torch.float64) * temperature
        with torch.no_grad():
            x: Tensor = self.inverse(z.to(self.top.scale))[0]
        return x

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Set the actnorm of every step from data: its output has mean 0 and variance 1.

        Raises:
            ValueError: an empty batch, or a channel that is constant or not finite.
        """
        self._validate(x)
        for level, split in self._parts():
            for layer in level.layers:
                if isinstance(layer, ActNorm2d):
                    layer.initialize(x)
                x = layer(x)[0]
            if split is not None:
                x = split(x)[0][:, : split.split]

    def _level(self, level: Chain, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.recompute and torch.is_grad_enabled():
            return recomputed(level.layers, x)
        z, logdet = level(x)
        return z, logdet

    def _validate(self, x: Tensor) -> None:
        validate_images(x, self.shape[0], self.top.scale)
        if tuple(x.shape[1:]) != self.shape:
            wanted = f"(B, {', '.join(map(str, self.shape))})"
            raise ValueError(f"expected {wanted}, got {tuple(x.shape)}")

    def _latents(self, z: Tensor) -> list[Tensor]:
        """Cut the latent into images: what left after each level, and the top."""
        n = math.prod(self.shape)
        if not isinstance(z, Tensor) or z.dim() != 2 or z.shape[1] != n:
            got = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
            raise ValueError(f"expected (B, {n}), got {got}")
        if z.dtype != self.top.scale.dtype:
            raise ValueError(f"expected dtype {self.top.scale.dtype}, got {z.dtype}")
        (C, H, W), found, start = self.shape, [], 0
        for split in self.splits:
            C, H, W = 4 * C, H // 2, W // 2
            kept = int(split.split)  # type: ignore[arg-type]
            size = (C - kept) * H * W
            found.append(z[:, start : start + size].reshape(-1, C - kept, H, W))
            start, C = start + size, kept
        found.append(z[:, start:].reshape(-1, 4 * C, H // 2, W // 2))
        return found


def _validate_shape(shape: Sequence[int], levels: int) -> tuple[int, int, int]:
    sizes = tuple(shape)
    if len(sizes) != 3 or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"expected a shape (C, H, W), got {sizes}")
    C, H, W = sizes
    if H % 2**levels or W % 2**levels:
        raise ValueError(f"expected H and W to be multiples of {2**levels}, got {sizes}")
    return C, H, W


def _step(
    event: Event, mixing: str, width: int, place: tuple[int, ...], identity: bool
) -> list[nn.Module]:
    def own(role: str) -> torch.Generator:
        return stream(*place, role)

    mixed = MIXINGS[mixing](event, own)
    if identity:
        for layer in mixed:
            start_at_identity(layer)
    C = event[0]
    return [ActNorm2d(C), *mixed, AffineCoupling2d(C, width, generator=own("coupling"))]
