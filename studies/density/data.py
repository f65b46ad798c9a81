"""The data sets: patches of images inside installed packages, or of an archive one has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from emcheck._internal.extras import extra_named
from emcheck.oracle.precision import Array
from studies.density.archives import load_cifar10, load_imagenet32
from studies.density.regions import Data, of_images, of_photographs
from studies.images import load_image

#: Natural photographs; the last two are in scikit-learn (CC BY 2.0: danielbuechele, vultilion).
PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")

#: What the text says of each set.
ABOUT: Mapping[str, str] = {
    "galaxies": "the Hubble deep field (NASA), three channels",
    "photographs": (
        "astronaut, coffee, chelsea and rocket of scikit-image; china (danielbuechele, CC BY 2.0) "
        "and flower (vultilion, CC BY 2.0) of scikit-learn, three channels"
    ),
    "faces": (
        "the 100 faces of scikit-image's lfw_subset, grey, rounded to 8 bits, 25x25 cropped to "
        "24x24, because 25 cannot be squeezed"
    ),
    "digits": "scikit-learn's 1,797 digits of 8x8 with 17 levels",
    "cifar10": "CIFAR-10, of the user's folder or archive",
    "imagenet32": (
        "ImageNet 32x32, of the user's folder or archive, in the release of batches; bits per "
        "dimension on it are not those of the older release of single images"
    ),
}


def load(name: str, size: int = 16, root: Path | None = None) -> Data:
    """A data set by name.

    Args:
        name: one of :data:`DATA_SETS`.
        size: side of a patch of ``galaxies`` and ``photographs``; the others have their own.
        root: folder or archive of ``cifar10`` and ``imagenet32``.

    Raises:
        ValueError: an unknown name, a size that the images do not have, a missing or broken
            archive, or a package without its images.
    """
    if name not in DATA_SETS:
        raise ValueError(f"expected a data set among {', '.join(DATA_SETS)}, got {name!r}")
    return DATA_SETS[name](size, root)


def _galaxies(size: int, root: Path | None) -> Data:
    image = load_image("hubble_deep_field").transpose(2, 0, 1)
    return of_photographs("galaxies", [image], _fitting(size, [image]))


def _photographs(size: int, root: Path | None) -> Data:
    images = [load_image(name) for name in PHOTOGRAPHS] + _sklearn_images()
    turned = [image.transpose(2, 0, 1) for image in images]
    return of_photographs("photographs", turned, _fitting(size, turned))


def _fitting(size: int, images: list[Array]) -> int:
    most = min(int(0.1 * image.shape[2]) for image in images)
    if not 2 <= size <= most:
        raise ValueError(f"expected a patch size from 2 to {most}, got {size}")
    return size


def _faces(size: int, root: Path | None) -> Data:
    from skimage.data import lfw_subset

    faces = np.rint(np.asarray(lfw_subset())[:100] * 255).astype(np.uint8)
    return of_images("faces", faces[:, None, :24, :24], 256, mirror=True)


def _digits(size: int, root: Path | None) -> Data:
    images = _sklearn().load_digits().images.astype(np.uint8)
    return of_images("digits", images[:, None], 17, mirror=False)


def _sklearn_images() -> list[Array]:
    return list(_sklearn().load_sample_images().images)


def _sklearn():  # type: ignore[no-untyped-def]
    with extra_named():
        from sklearn import datasets
    return datasets


def _cifar10(size: int, root: Path | None) -> Data:
    return load_cifar10(_given("cifar10", root))


def _imagenet32(size: int, root: Path | None) -> Data:
    return load_imagenet32(_given("imagenet32", root))


def _given(name: str, root: Path | None) -> Path:
    if root is None:
        raise ValueError(f"expected --root with the folder or archive of {name}, got none")
    return root


#: name -> loader of ``(size, root)``.
DATA_SETS: Mapping[str, Callable[[int, Path | None], Data]] = {
    "galaxies": _galaxies,
    "photographs": _photographs,
    "faces": _faces,
    "digits": _digits,
    "cifar10": _cifar10,
    "imagenet32": _imagenet32,
}
