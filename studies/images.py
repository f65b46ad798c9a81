"""Real photographs for the layers: patches of images that scikit-image carries in its wheel.

Nothing is downloaded: files are opened where the package lies, never fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
import torch
from skimage.io import imread

from emcheck.contract import validate_positive
from emcheck.oracle.precision import Array


@dataclass(frozen=True)
class Source:
    """A bundled photograph, 8 bits and three channels, public domain or CC0."""

    file: str
    what: str


_FILES = {
    "hubble_deep_field": Source("hubble_deep_field.jpg", "galaxies (NASA)"),
    "astronaut": Source("astronaut.png", "a portrait (NASA)"),
    "coffee": Source("coffee.png", "a cup of coffee"),
    "chelsea": Source("chelsea.png", "a cat"),
    "rocket": Source("rocket.jpg", "a rocket at launch (SpaceX)"),
    "retina": Source("retina.jpg", "the back of an eye"),
}

#: Steps of the noise: with 8 bits of image the sum is exact in float64 and stays below 256.
_LEVELS = 2**45

#: Names that ``load_patches`` takes.
SOURCES = tuple(_FILES)


def load_image(source: str) -> Array:
    """The whole photograph, ``(H, W, 3)`` of 8 bits.

    Raises:
        ValueError: an unknown source, or a scikit-image that lacks the file.
    """
    if source not in _FILES:
        raise ValueError(f"expected a source among {', '.join(SOURCES)}, got {source!r}")
    path = resources.files("skimage") / "data" / _FILES[source].file
    if not path.is_file():
        raise ValueError(
            f"expected a scikit-image that carries {_FILES[source].file}, got one without it"
        )
    with resources.as_file(path) as local:
        image = np.asarray(imread(local))
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"expected {source} to be (H, W, 3) of uint8, got {image.shape} of {image.dtype}"
        )
    return image


def load_patches(source: str, size: int, count: int, seed: int) -> torch.Tensor:
    """Disjoint patches, uniformly dequantised: ``x = (v + U) / 256`` with ``U`` in [0, 1).

    The image is cut into tiles of ``size x size`` and ``seed`` draws ``count`` of them.

    Reference: Theis, van den Oord, Bethge, A note on the evaluation of generative models,
    2015, arXiv 1511.01844, section 3.1 (dequantisation).

    Args:
        source: one of ``SOURCES``.
        size: side of a patch in pixels.
        count: how many patches.
        seed: of the choice of tiles and of the noise.

    Returns:
        ``(count, 3, size, size)``, float64 in [0, 1).

    Raises:
        ValueError: an unknown source, a size or count below 1, or more patches than there
            are tiles.

    >>> load_patches("chelsea", size=8, count=2, seed=0).shape
    torch.Size([2, 3, 8, 8])
    """
    validate_positive("size", size)
    validate_positive("count", count)
    every = tiles(load_image(source).transpose(2, 0, 1), size)
    if count > len(every):
        raise ValueError(
            f"expected at most the {len(every)} disjoint {size}x{size} patches of {source}, "
            f"got a count of {count}"
        )
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(every), generator=generator)[:count].numpy()
    values = torch.from_numpy(every[chosen].astype(np.float64))
    noise = torch.randint(_LEVELS, values.shape, generator=generator).double() / _LEVELS
    return (values + noise) / 256


def tiles(image: Array, size: int) -> Array:
    """All whole disjoint tiles of ``image (C, H, W)`` in raster order, ``(N, C, size, size)``."""
    C, rows, columns = image.shape[0], image.shape[1] // size, image.shape[2] // size
    whole = image[:, : rows * size, : columns * size]
    split = whole.reshape(C, rows, size, columns, size)
    return split.transpose(1, 3, 0, 2, 4).reshape(-1, C, size, size)
