"""Images cut into regions, and patches drawn from them: nothing of one split is in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from emcheck._internal.randomness import stream
from emcheck.oracle.precision import Array
from studies.images import tiles

#: Shares of an image's width, or of the images, for training, validation and test.
SHARES = (0.70, 0.15, 0.15)

#: Levels of the dequantisation noise: with 8 bits of image, 24 bits are exact in float32.
_NOISE = 2**15


@dataclass(frozen=True)
class Data:
    """Whole numbers ``0 .. bins - 1``: regions to draw from, patches to validate and test on.

    Args:
        name: of the data set.
        bins: the number of levels.
        shape: of one patch, ``(C, H, W)``.
        train: regions ``(C, h, w)`` of at least the size of a patch, uint8.
        valid: patches ``(N, C, H, W)``, uint8.
        test: the same, of other regions.
        mirror: whether a patch and its mirror image are equally likely.
    """

    name: str
    bins: int
    shape: tuple[int, int, int]
    train: Sequence[Array] = field(repr=False)
    valid: Array = field(repr=False)
    test: Array = field(repr=False)
    mirror: bool = True

    @property
    def places(self) -> Array:
        """How many patches each training region holds, at any offset."""
        _, H, W = self.shape
        return np.array([(r.shape[1] - H + 1) * (r.shape[2] - W + 1) for r in self.train])

    def draw(self, count: int, generator: torch.Generator) -> Array:
        """Training patches ``(count, C, H, W)``, every place equally likely."""
        ends = np.cumsum(self.places)
        picks = torch.randint(int(ends[-1]), (count,), generator=generator).numpy()
        flips = torch.randint(2, (count,), generator=generator).numpy() * self.mirror
        return np.stack([self._at(pick, flip, ends) for pick, flip in zip(picks, flips)])  # noqa: B905

    def _at(self, place: int, flip: int, ends: Array) -> Array:
        n = int(np.searchsorted(ends, place, side="right"))
        _, H, W = self.shape
        region = self.train[n]
        row, column = divmod(int(place - (ends[n - 1] if n else 0)), region.shape[2] - W + 1)
        patch = region[:, row : row + H, column : column + W]
        return patch[:, :, ::-1] if flip else patch


def dequantise(values: Array, bins: int, generator: torch.Generator) -> Tensor:
    """``x = (v + U) / bins`` in float32 with ``U`` uniform on a grid of 2^-15.

    With 256 bins nothing is rounded; with others ``x`` is, and stays in its level.

    Reference: Theis, van den Oord, Bethge, A note on the evaluation of generative models,
    2015, arXiv 1511.01844, section 3.1.
    """
    noise = torch.randint(_NOISE, values.shape, generator=generator)
    whole = torch.from_numpy(np.ascontiguousarray(values)).float()
    return (whole + (noise.float() + 0.5) / _NOISE) / bins


def quantise(x: Tensor, bins: int) -> Array:
    """The whole numbers that ``x`` lies in, clipped to the levels."""
    levels = torch.floor(x.double() * bins).nan_to_num(0.0).clamp(0, bins - 1)
    return levels.to(torch.uint8).cpu().numpy()


def bands(image: Array, size: int) -> tuple[Array, Array, Array]:
    """Train, validation and test bands of an image ``(C, H, W)``, left to right.

    One patch's width between two bands belongs to neither.
    """
    width = image.shape[2]
    ends = np.cumsum([0, *(round(share * width) for share in SHARES)])
    ends[-1] = width
    cut = [image[:, :, a + (size if a else 0) : b] for a, b in pairwise(ends)]
    return cut[0], cut[1], cut[2]


def of_photographs(name: str, images: Sequence[Array], size: int) -> Data:
    """Bands of large images: training anywhere in its band, the others on disjoint tiles."""
    cut = [bands(image, size) for image in images]
    valid = np.concatenate([tiles(band[1], size) for band in cut])
    test = np.concatenate([tiles(band[2], size) for band in cut])
    shape = (images[0].shape[0], size, size)
    return Data(name, 256, shape, [band[0] for band in cut], valid, test)


def of_images(name: str, images: Array, bins: int, mirror: bool, seed: int = 0) -> Data:
    """Small images ``(N, C, H, W)``, each a region: which split it is in, ``seed`` draws."""
    order = torch.randperm(len(images), generator=stream("split", name, seed)).numpy()
    first, second = (round(sum(SHARES[:n]) * len(images)) for n in (1, 2))
    train, valid, test = np.split(images[order], [first, second])
    return Data(name, bins, images.shape[1:], list(train), valid, test, mirror)
