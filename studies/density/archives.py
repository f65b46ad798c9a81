"""CIFAR-10 and ImageNet 32x32 from a folder or archive that the user has."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from emcheck._internal.randomness import stream
from emcheck.guard import one_line
from emcheck.oracle.precision import Array
from studies.density.regions import Data

#: Images that are kept back from training for validation.
VALIDATION = 5000

#: Bytes of one file of a data set: several times the largest that there is.
_MOST = 2**31

_CIFAR = {
    "train": tuple(f"data_batch_{n}" for n in range(1, 6)),
    "test": ("test_batch",),
}
_IMAGENET = {
    "train": tuple(f"train_data_batch_{n}" for n in range(1, 11)),
    "test": ("val_data",),
}


def load_cifar10(root: Path) -> Data:
    """CIFAR-10 in its Python or binary version: a folder, ``.tar.gz`` or ``.zip``.

    Raises:
        ValueError: a missing or broken file.
    """
    return _load("cifar10", root, _CIFAR)


def load_imagenet32(root: Path) -> Data:
    """ImageNet 32x32 as pickled or ``.npz`` batches: a folder, ``.tar.gz`` or ``.zip``.

    Raises:
        ValueError: a missing or broken file.
    """
    return _load("imagenet32", root, _IMAGENET)


def _load(name: str, root: Path, wanted: dict[str, tuple[str, ...]]) -> Data:
    names = [file for files in wanted.values() for file in files]
    found = _members(root, set(names))
    missing = [file for file in names if file not in found]
    if missing:
        raise ValueError(f"{root}: expected the files of {name}, got none named {missing[0]}")
    images = {
        split: np.concatenate([_images(root, file, *found[file]) for file in files])
        for split, files in wanted.items()
    }
    order = torch.randperm(len(images["train"]), generator=stream("split", name, 0)).numpy()
    held = min(VALIDATION, len(order) // 10)
    train, valid = images["train"][order[held:]], images["train"][order[:held]]
    return Data(name, 256, (3, 32, 32), list(train), valid, images["test"])


def _members(root: Path, wanted: set[str]) -> dict[str, tuple[str, bytes]]:
    """stem -> ending and content of every wanted file, at any depth.

    Raises:
        ValueError: no folder and no archive, a broken one, a file twice or of a monstrous size.
    """
    found: dict[str, tuple[str, bytes]] = {}
    try:
        for name, size, read in _entries(root):
            path = PurePosixPath(name)
            if path.stem not in wanted:
                continue
            if path.stem in found:
                raise ValueError(f"two files named {path.stem}")
            if size > _MOST:
                raise ValueError(f"{size} bytes in {path.name}")
            found[path.stem] = path.suffix, read()
    except Exception as error:  # readers of broken archives raise whatever they like
        told = one_line(error, 120)
        raise ValueError(f"{root}: expected a folder or archive of images, got {told}") from None
    return found


def _entries(root: Path) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Name, size and reader of every file of a folder or archive; links lead nowhere."""
    if root.is_dir():
        for path in sorted(root.rglob("*")):
            if path.is_file():
                yield path.as_posix(), path.stat().st_size, path.read_bytes
    elif not root.exists():
        raise ValueError("nothing of that name")
    elif tarfile.is_tarfile(root):
        with tarfile.open(root) as archive:
            for member in archive:
                if member.isfile():
                    yield member.name, member.size, partial(_of_tar, archive, member)
    elif zipfile.is_zipfile(root):
        with zipfile.ZipFile(root) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    yield entry.filename, entry.file_size, partial(archive.read, entry)
    else:
        raise ValueError("another kind of file (a folder, .tar.gz or .zip)")


def _of_tar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return b"" if stream is None else stream.read()


def _images(root: Path, name: str, ending: str, content: bytes) -> Array:
    try:
        if ending == ".bin":  # one label, then three planes
            data = np.frombuffer(content, np.uint8).reshape(-1, 3073)[:, 1:]
        elif ending == ".npz":
            data = np.load(io.BytesIO(content), allow_pickle=False)["data"]
        else:
            held = _Plain(io.BytesIO(content), encoding="bytes").load()
            data = held.get(b"data", held.get("data"))
        images = _bytes(np.asarray(data)).reshape(-1, 3, 32, 32)
        if not len(images):
            raise ValueError("none")
        return images
    except Exception as error:  # readers of broken files raise whatever they like
        told = one_line(error, 120)
        raise ValueError(f"{root}: expected 32x32 images in {name}, got {told}") from None


def _bytes(data: Array) -> Array:
    """Values as 8 bits, if they are whole numbers from 0 to 255 already.

    Raises:
        ValueError: other numbers, which a cast would change silently.
    """
    if data.dtype == np.uint8:
        return data
    if data.dtype.kind not in "iu":
        raise ValueError(f"values of {data.dtype} instead of 8 bits")
    if data.size and not (data.min() >= 0 and data.max() <= 255):
        raise ValueError(f"values from {data.min()} to {data.max()} instead of 0 to 255")
    return data.astype(np.uint8)


class _Plain(pickle.Unpickler):
    """Arrays of NumPy and nothing else: a pickle can run any code."""

    _ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "_frombuffer", "scalar"})

    def find_class(self, module: str, name: str) -> Any:
        known = module.split(".")[0] == "numpy" and name in self._ALLOWED
        if not known and (module, name) != ("_codecs", "encode"):
            raise pickle.UnpicklingError(f"{module}.{name} where an array was expected")
        return super().find_class(module, name)
