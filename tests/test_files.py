"""Files are written whole or not at all, and nothing that is somebody else's is lost."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from emcheck._internal.files import FileError, growing, require_writable, write_all, write_file
from studies.density.archives import _bytes
from studies.density.checkpoint import PARTS, read_checkpoint, write_checkpoint
from studies.pages.csv import csv_bytes


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_of_a_user_beside_the_target_stay(tmp_path: Path) -> None:
    (tmp_path / "report.json.part").write_text("mine")
    write_file(tmp_path / "report.json", b"new", durable=True)
    assert (tmp_path / "report.json").read_bytes() == b"new"
    assert (tmp_path / "report.json.part").read_text() == "mine"
    assert names(tmp_path) == ["report.json", "report.json.part"]


def test_the_mode_of_a_file_is_kept_and_a_new_one_has_the_usual(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.write_text("old")
    before.chmod(0o640)
    write_all(tmp_path, {"before": b"new", "deep/after": b"new"})
    (tmp_path / "plain").touch()
    usual = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert stat.S_IMODE(before.stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "deep" / "after").stat().st_mode) == usual


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_a_link_is_neither_followed_nor_replaced(tmp_path: Path, target: str) -> None:
    (tmp_path / "there").write_text("theirs")
    (tmp_path / "link").symlink_to(tmp_path / target)
    with pytest.raises(FileError, match=r"a link to .*: name that file"):
        write_file(tmp_path / "link", b"new")
    with pytest.raises(FileError, match="a link to"):
        require_writable(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "theirs"


def test_all_or_none(tmp_path: Path) -> None:
    (tmp_path / "first").write_text("old")
    (tmp_path / "second").mkdir()
    with pytest.raises(FileError, match="a folder of that name"):
        write_all(tmp_path, {"first": b"new", "second": b"new"})
    assert (tmp_path / "first").read_text() == "old"
    assert names(tmp_path) == ["first", "second"]


def test_a_device_and_a_pipe_are_written_straight(tmp_path: Path) -> None:
    write_file(Path(os.devnull), b"gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    pipe, heard = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
    reader.start()
    write_file(pipe, b"through")
    reader.join()
    assert heard == [b"through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_the_longest_name_that_a_folder_takes(tmp_path: Path) -> None:
    name = "x" * 255
    write_file(tmp_path / name, b"new")
    assert (tmp_path / name).read_bytes() == b"new"


def test_a_target_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="a folder of that name"):
        require_writable(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="expected a file to write, got"):
        require_writable(tmp_path / "file" / "below")
    require_writable(tmp_path / "new" / "one")
    assert names(tmp_path / "new") == []


def test_what_grows_takes_its_name_at_the_end_and_has_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("old")
    with growing(path) as file:
        file.write(b"one\n")
        with pytest.raises(ValueError, match="another process that writes it"), growing(path):
            pass
        assert path.read_text() == "old"
    assert path.read_text() == "one\n"

    def torn() -> None:
        with growing(path) as file:
            file.write(b"two\n")
            raise KeyError

    with pytest.raises(KeyError):
        torn()
    assert path.read_text() == "one\n"
    assert (tmp_path / ".lines.part").read_text() == "two\n"


def test_a_flipped_bit_in_a_checkpoint_is_found(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    weights = torch.arange(1000, dtype=torch.float32)
    write_checkpoint(path, {**dict.fromkeys(PARTS, 0), "flow": {"weight": weights}})
    assert torch.equal(read_checkpoint(path)["flow"]["weight"], weights)
    whole = path.read_bytes()
    start = whole.index(weights.numpy().tobytes())
    for place in range(start, start + 4000, 397):
        spoilt = bytearray(whole)
        spoilt[place] ^= 4
        path.write_bytes(spoilt)
        with pytest.raises(ValueError, match="expected a checkpoint, got") as caught:
            read_checkpoint(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (np.array([0.5, 1.0]), "float64 instead of 8 bits"),
        (np.array([np.nan]), "float64 instead of 8 bits"),
        (np.array([-1, 3]), "from -1 to 3 instead of 0 to 255"),
        (np.array([0, 256]), "from 0 to 256 instead of 0 to 255"),
        (np.array(["a"]), "instead of 8 bits"),
    ],
)
def test_images_of_other_numbers_are_not_cast(data: np.ndarray, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        _bytes(data)
    assert _bytes(np.array([0, 255])).dtype == np.uint8


def test_no_text_begins_a_formula() -> None:
    frame = pd.DataFrame({"layer": ["=1+1", "-", "-0.5", "@x", "Conv"], "n": [1.0, -2, 3, 4, 5]})
    lines = csv_bytes(frame).decode().splitlines()
    assert lines == ["layer,n", "'=1+1,1", "-,-2", "-0.5,3", "'@x,4", "Conv,5"]


@pytest.mark.system
def test_without_a_folder_for_numba_the_layers_work(tmp_path: Path) -> None:
    code = (
        "import numba.core.caching as c; c.CacheImpl._locator_classes = []\n"
        "import torch, emcheck\n"
        "from emcheck.layers import Conv1x1QR\n"
        "layer, x = Conv1x1QR(3).double(), torch.ones(2, 3, 4, 4).double()\n"
        "print(float((layer.inverse(layer(x)[0])[0] - x).abs().max().detach()) < 1e-12)\n"
        "from emcheck.layers import EmergingConv2d\n"
        "layer = EmergingConv2d(3).double()\n"
        "layer.inverse(layer(x)[0])\n"
    )
    pytest.importorskip("numba", reason="Numba is not installed")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.stdout == "True\n", done.stderr
    assert done.stderr.count("Numba finds no folder that it can write") == 1
