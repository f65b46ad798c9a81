"""The images of the density experiment: disjoint regions, exact noise, archives, baselines."""

from __future__ import annotations

import io
import math
import pickle
import tarfile
import zipfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emcheck._internal.randomness import stream
from studies.density.baselines import gaussian_bits, png_bits
from studies.density.data import DATA_SETS, load
from studies.density.nearest import nearest_patches
from studies.density.regions import (
    Data,
    bands,
    dequantise,
    of_images,
    quantise,
)
from studies.images import tiles

BUNDLED = ("galaxies", "photographs", "faces", "digits")


@given(width=st.integers(80, 400), size=st.integers(2, 8))
def test_bands_share_no_pixel_and_keep_a_patch_apart(width: int, size: int) -> None:
    columns = np.broadcast_to(np.arange(width), (1, 9, width))
    cut = [band[0, 0] for band in bands(columns, size)]
    for left, right in combinations(cut, 2):
        assert right.min() - left.max() > size
    assert cut[0].min() == 0
    assert cut[2].max() == width - 1


def test_tiles_are_disjoint_and_in_order() -> None:
    region = np.arange(2 * 7 * 9).reshape(2, 7, 9)
    found = tiles(region, 3)
    assert found.shape == (6, 2, 3, 3)
    assert len(np.unique(found)) == found.size
    assert np.array_equal(found[4], region[:, 3:6, 3:6])


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets(name: str) -> None:
    data = load(name)
    C, H, W = data.shape
    assert H % 4 == 0
    assert W % 4 == 0
    for patches in (data.valid, data.test, data.draw(5, stream(0))):
        assert patches.shape[1:] == (C, H, W)
        assert patches.dtype == np.uint8
        assert patches.max() < data.bins
    assert min(len(data.valid), len(data.test)) >= 15
    assert np.array_equal(data.draw(9, stream(1)), load(name).draw(9, stream(1)))


@pytest.mark.parametrize("name", ["faces", "digits"])
def test_no_small_image_is_in_two_splits(name: str) -> None:
    data = load(name)
    splits = [{image.tobytes() for image in part} for part in (data.train, data.valid, data.test)]
    assert all(not a & b for a, b in combinations(splits, 2))


def test_every_place_and_its_mirror_image_is_drawn() -> None:
    region = np.arange(4 * 5, dtype=np.uint8).reshape(1, 4, 5)
    other = np.arange(100, 112, dtype=np.uint8).reshape(1, 3, 4)
    data = Data("made", 256, (1, 3, 3), [region, other], region, region)
    assert data.places.tolist() == [6, 2]
    drawn = {patch.tobytes() for patch in data.draw(2000, stream(0))}
    wanted = {
        patch.tobytes()
        for image in (region, other)
        for i in range(image.shape[1] - 2)
        for j in range(image.shape[2] - 2)
        for patch in (image[:, i : i + 3, j : j + 3], image[:, i : i + 3, j : j + 3][:, :, ::-1])
    }
    assert drawn == wanted


@pytest.mark.parametrize("bins", [256, 17])
def test_noise_never_leaves_its_level(bins: int) -> None:
    values = np.tile(np.arange(bins, dtype=np.uint8), 4000).reshape(1, 1, 4000, bins)
    x = dequantise(values, bins, stream("n"))
    assert x.dtype == torch.float32
    assert np.array_equal(quantise(x, bins), values)
    noise = x.double() * bins - torch.from_numpy(values.astype(np.float64))
    assert abs(float(noise.mean()) - 0.5) < 0.01
    assert abs(float(noise.var()) - 1 / 12) < 0.01


def test_a_gaussian_fits_uniform_noise_as_well_as_it_can() -> None:
    """Its cross-entropy with uniform numbers is ``log2 sqrt(2 pi e / 12)`` above their own."""
    values = np.random.default_rng(0).integers(0, 256, (20_000, 1, 2, 2), np.uint8)
    data = of_images("noise", values, 256, mirror=False)
    assert gaussian_bits(data) == pytest.approx(
        8 + 0.5 * math.log2(2 * math.pi * math.e / 12), abs=0.02
    )


def test_a_gaussian_uses_correlations() -> None:
    """A copy of every pixel costs only the noise of the copy."""
    half = np.random.default_rng(0).integers(0, 256, (20_000, 1, 2, 1), np.uint8)
    doubled = of_images("twice", half.repeat(2, axis=3), 256, mirror=False)
    assert gaussian_bits(doubled) < 5


def test_png_of_a_sheet_pays_for_one_header() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 3, 16, 16), np.uint8)
    alone, sheet = png_bits(noise)
    assert 8 < sheet < alone
    assert png_bits(np.zeros_like(noise))[1] < 0.2


def test_the_nearest_patch_of_a_training_patch_is_itself() -> None:
    data = load("galaxies", 8)
    drawn = data.draw(3, stream(4))
    turned = np.ascontiguousarray(drawn[..., ::-1])
    found, distance = nearest_patches(data, np.concatenate([drawn, turned]))
    assert np.array_equal(found, np.concatenate([drawn, turned]))
    assert (distance < 0.5).all()


def test_the_nearest_patch_of_anything_is_no_farther_than_any_tile() -> None:
    data = load("digits")
    sample = np.random.default_rng(0).integers(0, 17, (1, 1, 8, 8), np.uint8)
    found, distance = nearest_patches(data, sample)
    every = np.stack(data.train).astype(float) - sample[0]
    assert distance[0] == pytest.approx(np.sqrt(np.square(every).mean(axis=(1, 2, 3))).min())
    assert found.tobytes() in {image.tobytes() for image in data.train}


def cifar_batch(seed: int, count: int = 30) -> bytes:
    data = np.random.default_rng(seed).integers(0, 256, (count, 3072), np.uint8)
    return pickle.dumps({b"data": data, b"labels": [0] * count})


def _cifar(folder: Path) -> Path:
    root = folder / "cifar-10-batches-py"
    root.mkdir()
    for n in range(1, 6):
        (root / f"data_batch_{n}").write_bytes(cifar_batch(n))
    (root / "test_batch").write_bytes(cifar_batch(9))
    return root


def test_cifar_from_folder_tar_and_zip_is_the_same(tmp_path: Path) -> None:
    root = _cifar(tmp_path)
    tar, archive = tmp_path / "c.tar.gz", tmp_path / "c.zip"
    with tarfile.open(tar, "w:gz") as file:
        file.add(root, root.name)
    with zipfile.ZipFile(archive, "w") as file:
        for path in root.iterdir():
            file.write(path, f"{root.name}/{path.name}")
    found = [load("cifar10", root=path) for path in (root, tmp_path, tar, archive)]
    for data in found:
        assert (len(data.train), len(data.valid), len(data.test)) == (135, 15, 30)
        assert np.array_equal(np.stack(data.train), np.stack(found[0].train))
        assert np.array_equal(data.test, found[0].test)


def test_cifar_in_its_binary_version(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 3073), np.uint8)
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        (tmp_path / f"{name}.bin").write_bytes(images.tobytes())
    data = load("cifar10", root=tmp_path)
    assert np.array_equal(data.test.reshape(20, -1), images[:, 1:])


def test_imagenet32_as_npz(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 3072), np.uint8)
    for name in (*(f"train_data_batch_{n}" for n in range(1, 11)), "val_data"):
        buffer = io.BytesIO()
        np.savez(buffer, data=images, labels=np.zeros(12))
        (tmp_path / f"{name}.npz").write_bytes(buffer.getvalue())
    data = load("imagenet32", root=tmp_path)
    assert (len(data.train), len(data.valid), len(data.test)) == (108, 12, 12)


class _Evil:
    def __reduce__(self) -> object:
        return eval, ("1/0",)


def test_a_pickle_that_is_more_than_arrays_is_refused(tmp_path: Path) -> None:
    root = _cifar(tmp_path)
    (root / "test_batch").write_bytes(pickle.dumps({b"data": _Evil()}))
    with pytest.raises(ValueError, match=r"test_batch, got builtins\.eval where an array"):
        load("cifar10", root=root)


@pytest.mark.parametrize(
    ("name", "size", "root", "told"),
    [
        ("lsun", 16, None, "expected a data set among galaxies"),
        ("cifar10", 16, None, "expected --root with the folder or archive of cifar10, got none"),
        ("galaxies", 1, None, "expected a patch size from 2 to 100, got 1"),
        ("photographs", 64, None, "expected a patch size from 2 to 45, got 64"),
    ],
)
def test_refusals(name: str, size: int, root: Path | None, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        load(name, size, root)


@pytest.mark.parametrize("name", ["cifar10", "imagenet32"])
def test_an_archive_that_is_missing_broken_or_empty(name: str, tmp_path: Path) -> None:
    broken, empty = tmp_path / "x.tar.gz", tmp_path / "empty"
    broken.write_bytes(b"no archive")
    empty.mkdir()
    for root, told in (
        (tmp_path / "absent", "expected a folder"),
        (broken, "expected a folder"),
        (empty, f"expected the files of {name}, got none named"),
    ):
        with pytest.raises(ValueError, match=told):
            load(name, root=root)


def test_truncated_archives_are_one_line(tmp_path: Path) -> None:
    root = _cifar(tmp_path)
    tar = tmp_path / "c.tar.gz"
    with tarfile.open(tar, "w:gz") as file:
        file.add(root, root.name)
    tar.write_bytes(tar.read_bytes()[:-20000])
    with pytest.raises(ValueError, match="archive of images, got Compressed file ended"):
        load("cifar10", root=tar)
    (root / "test_batch").write_bytes(cifar_batch(9)[:500])
    with pytest.raises(ValueError, match="expected 32x32 images in test_batch, got"):
        load("cifar10", root=root)
    (root / "test_batch").write_bytes(pickle.dumps({b"labels": [1]}))
    with pytest.raises(ValueError, match="expected 32x32 images in test_batch, got"):
        load("cifar10", root=root)


def test_a_truncated_npz_is_one_line(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, data=np.zeros((12, 3072), np.uint8))
    for name in (*(f"train_data_batch_{n}" for n in range(1, 11)), "val_data"):
        (tmp_path / f"{name}.npz").write_bytes(buffer.getvalue()[:-40])
    with pytest.raises(ValueError, match="expected 32x32 images in train_data_batch_1, got"):
        load("imagenet32", root=tmp_path)


def test_every_set_is_described() -> None:
    from studies.density.data import ABOUT

    assert set(ABOUT) == set(DATA_SETS)
