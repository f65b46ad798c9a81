"""CIFAR-10 and ImageNet 32x32 from a folder or archive that the user has."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from emcheck.experiments.regions import Data
from emcheck.oracle.precision import Array
from emcheck.randomness import stream

#: Images that are kept back from training for validation.
VALIDATION = 5000

#: What the readers of broken files raise.
_BROKEN = (
    *(ValueError, KeyError, TypeError, IndexError, AttributeError),
    *(EOFError, zlib.error, zipfile.BadZipFile, pickle.UnpicklingError),
)

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
    """stem -> ending and content of every wanted file, at any depth."""
    try:
        if root.is_dir():
            files = [path for path in sorted(root.rglob("*")) if path.is_file()]
            return {p.stem: (p.suffix, p.read_bytes()) for p in files if p.stem in wanted}
        if tarfile.is_tarfile(root):
            with tarfile.open(root) as archive:
                return _of_tar(archive, wanted)
        if zipfile.is_zipfile(root):
            with zipfile.ZipFile(root) as archive:
                paths = {PurePosixPath(name): name for name in archive.namelist()}
                return {
                    path.stem: (path.suffix, archive.read(name))
                    for path, name in paths.items()
                    if path.stem in wanted
                }
    except (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise ValueError(f"{root}: expected a folder or archive, got {error}") from None
    raise ValueError(f"{root}: expected a folder, a .tar.gz or a .zip")


def _of_tar(archive: tarfile.TarFile, wanted: set[str]) -> dict[str, tuple[str, bytes]]:
    found = {}
    for member in archive:
        path = PurePosixPath(member.name)
        stream = archive.extractfile(member) if path.stem in wanted else None
        if stream is not None:
            found[path.stem] = path.suffix, stream.read()
    return found


def _images(root: Path, name: str, ending: str, content: bytes) -> Array:
    try:
        if ending == ".bin":  # one label, then three planes
            data = np.frombuffer(content, np.uint8).reshape(-1, 3073)[:, 1:]
        elif ending == ".npz":
            data = np.load(io.BytesIO(content), allow_pickle=False)["data"]
        else:
            held = _Plain(io.BytesIO(content), encoding="bytes").load()
            data = held.get(b"data", held.get("data"))
        return np.asarray(data, np.uint8).reshape(-1, 3, 32, 32)
    except _BROKEN as error:
        raise ValueError(f"{root}: expected 32x32 images in {name}, got {error}") from None


class _Plain(pickle.Unpickler):
    """Arrays of NumPy and nothing else: a pickle can run any code."""

    _ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "_frombuffer", "scalar"})

    def find_class(self, module: str, name: str) -> Any:
        known = module.split(".")[0] == "numpy" and name in self._ALLOWED
        if not known and (module, name) != ("_codecs", "encode"):
            raise pickle.UnpicklingError(f"{module}.{name} where an array was expected")
        return super().find_class(module, name)
