"""Inputs that are files: kept results, checkpoints, archives of images, targets to write to."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from emcheck._internal.files import require_writable, write_file
from emcheck._internal.seal import sealed
from emcheck.batch.case import MatrixCase
from emcheck.batch.store import read_records
from studies.density.archives import load_cifar10
from studies.density.checkpoint import PARTS, read_checkpoint, write_checkpoint
from studies.pages.load import read_properties
from tests.campaign.core import Input

_LINES = 6


def _matrix_line(number: int, verdict: str = "PASS", ratio: object = 0.5) -> str:
    case = MatrixCase("Conv1x1", (2, 2, 3), "float64", number)
    result = {"check": "inverse_undoes_forward", "verdict": verdict, "ratio": ratio}
    results = [{**result, "threshold": 1.0}]
    return sealed({**asdict(case), "seconds": 1.0, "results": results}).strip()


def _matrix(spoil: Callable[[bytes], bytes], at: int) -> Callable[[Path], object]:
    """A kept file with one line spoilt: what is told, and how many lines are still used."""

    def run(folder: Path) -> str:
        lines = [_matrix_line(n).encode() for n in range(_LINES)]
        lines[at] = spoil(lines[at])
        path = folder / "a.jsonl"
        path.write_bytes(b"\n".join(lines) + b"\n")
        records, broken = read_records([path])
        return f"{len(records)} used; {'; '.join(broken)}"

    return run


_SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "torn": lambda line: line[: len(line) // 2],
    "empty object": lambda line: b"{}",
    "a list": lambda line: b"[]",
    "a number": lambda line: b"3",
    "no text": lambda line: b"\xff\xfe" + line,
    "a verdict that is none": lambda line: line.replace(b"PASS", b"GOOD"),
    "a PASS over its threshold": lambda line: line.replace(b"0.5", b"1e9"),
    "nested too deeply": lambda line: b"[" * 100_000,
}


def _bit(share: float) -> Callable[[bytes], bytes]:
    def spoil(line: bytes) -> bytes:
        at = int(share * len(line))
        return line[:at] + bytes([line[at] ^ 4]) + line[at + 1 :]

    return spoil


_SPOILT |= {f"a bit at {share:.2f}": _bit(share) for share in np.linspace(0, 0.99, 12)}


def _checkpoint(spoil: Callable[[bytearray], bytes]) -> Callable[[Path], object]:
    def run(folder: Path) -> str:
        path = folder / "checkpoint.pt"
        weight = torch.arange(500, dtype=torch.float32)
        write_checkpoint(path, {**dict.fromkeys(PARTS, 0), "flow": {"w": weight}})
        path.write_bytes(spoil(bytearray(path.read_bytes())))
        read_checkpoint(path)
        return "read"

    return run


def _flipped(share: float) -> Callable[[bytearray], bytes]:
    def spoil(content: bytearray) -> bytes:
        start = content.index(torch.arange(500, dtype=torch.float32).numpy().tobytes())
        content[start + int(2000 * share)] ^= 1
        return bytes(content)

    return spoil


def _pickled(value: object) -> bytes:
    return pickle.dumps(value, protocol=2)


def _batches(content: object, names: tuple[str, ...] = ()) -> dict[str, bytes]:
    usual = {b"data": np.zeros((4, 3072), np.uint8)}
    files = {f"data_batch_{n}": _pickled(usual) for n in range(1, 6)}
    files["test_batch"] = _pickled(usual)
    return files | {name: content if isinstance(content, bytes) else _pickled(content)
                    for name in names or ("data_batch_3",)}  # fmt: skip


class _Runs:
    """A pickle that would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


def _archived(files: dict[str, bytes], form: str) -> Callable[[Path], object]:
    def run(folder: Path) -> str:
        root = folder / f"cifar.{form}"
        if form == "folder":
            root.mkdir()
            for name, content in files.items():
                (root / name).write_bytes(content)
        elif form == "zip":
            with zipfile.ZipFile(root, "w") as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
        else:
            with tarfile.open(root, "w:gz") as archive:
                for name, content in files.items():
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        data = load_cifar10(root)
        return f"{len(data.test)} read"

    return run


_CONTENTS: dict[str, object] = {
    "half of a pickle": _pickled({b"data": np.zeros((4, 3072), np.uint8)})[:900],
    "no bytes": b"",
    "text": b"hello",
    "a pickle that runs code": _Runs(),
    "real numbers": {b"data": np.zeros((4, 3072))},
    "NaN": {b"data": np.full((4, 3072), np.nan)},
    "negative numbers": {b"data": np.full((4, 3072), -1)},
    "numbers above 255": {b"data": np.full((4, 3072), 256)},
    "another size": {b"data": np.zeros((4, 3000), np.uint8)},
    "no images": {b"data": np.zeros((0, 3072), np.uint8)},
    "no data": {b"labels": [1]},
    "a list": [1, 2, 3],
    "None": {b"data": None},
    "nested lists": {b"data": [[1], [2, 3]]},
}

_REPORT_LINES = (
    "", "{", "[]", "3", "null", '{"kind": 3}', '{"kind": "other"}', "[" * 5000, '"text"',
    '{"kind": "result"}', "{}", "\x00",
)  # fmt: skip


def inputs() -> Iterator[Input]:
    """All of them."""
    for name, spoil in _SPOILT.items():
        for at in range(0, _LINES, 2):
            told = rf"^{_LINES - 1} used; .*a\.jsonl, line {at + 1}: expected a result, got"
            yield Input("kept result", f"{name}, line {at + 1}", _matrix(spoil, at), told)
    for share in np.linspace(0, 0.99, 12):
        found = "expected a checkpoint, got a part whose checksum is wrong"
        yield Input("checkpoint", f"a bit at {share:.2f}", _checkpoint(_flipped(share)), found)
    for share in (0, 0.01, 0.3, 0.6, 0.9, 0.999):
        torn = _torn(share)
        yield Input("checkpoint", f"torn at {share}", _checkpoint(torn), "expected a checkpoint")
    for form in ("folder", "zip", "tar.gz"):
        for name, content in _CONTENTS.items():
            told = "expected 32x32 images in data_batch_3, got"
            yield Input("archive", f"{form}: {name}", _archived(_batches(content), form), told)
        fewer = {k: v for k, v in _batches(b"").items() if k != "test_batch"}
        missing = "expected the files of cifar10, got none named|expected 32x32"
        yield Input("archive", f"{form}: one is missing", _archived(fewer, form), missing)
    for name, prepare, told in _TARGETS:
        yield Input("target file", name, prepare, told)
    for text in _REPORT_LINES:
        yield Input("report line", repr(text)[:30], _parsed(text), "expected|^0 records")


def _torn(share: float) -> Callable[[bytearray], bytes]:
    return lambda content: bytes(content[: int(len(content) * share)])


def _parsed(text: str) -> Callable[[Path], object]:
    def run(folder: Path) -> str:
        path = folder / "properties.jsonl"
        path.write_text(text + "\n", encoding="utf-8")
        return f"{len(read_properties(path).results)} records"

    return run


def _to(prepare: Callable[[Path], Path]) -> Callable[[Path], object]:
    def run(folder: Path) -> str:
        path = prepare(folder)
        require_writable(path)
        write_file(path, b"new")
        return "written"

    return run


def _linked(folder: Path) -> Path:
    (folder / "there").write_text("theirs")
    (folder / "link").symlink_to(folder / "there")
    return folder / "link"


def _below_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "below"


_TARGETS: tuple[tuple[str, Callable[[Path], object], str], ...] = (
    ("a folder", _to(lambda folder: folder), "a folder of that name"),
    ("below a file", _to(_below_a_file), "expected a file to write"),
    ("a link", _to(_linked), "a link to"),
    ("a device", _to(lambda folder: Path(os.devnull)), "^written"),
    ("a long name", _to(lambda folder: folder / ("x" * 255)), "^written"),
    ("a name that is too long", _to(lambda folder: folder / ("x" * 256)), "expected a file"),
    ("a new folder", _to(lambda folder: folder / "a" / "b" / "c"), "^written"),
    ("a name with a line break", _to(lambda folder: folder / "a\nb"), "^written"),
)
