"""Files that a training goes on from."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from emcheck._internal.files import write_file
from emcheck.guard import one_line

#: What every checkpoint holds.
PARTS = frozenset(
    {"cell", "shape", "bins", "step", "seconds", "first", "rows"}
    | {"flow", "averaged", "best", "best_step", "optimiser"}
)


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values under a temporary name, then rename it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_file(path, buffer.getvalue(), durable=True)


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The content of a checkpoint; only tensors and plain values are read.

    Raises:
        ValueError: a missing or broken file.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            torn = parts.testzip()  # the checksum of every part: flipped bits are other weights
        if torn is not None:
            raise ValueError(f"a part whose checksum is wrong ({torn})")
        state = torch.load(path, map_location=device, weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile):  # torch goes on about its versions
        raise ValueError(f"{path}: expected a checkpoint, got something else") from None
    except (OSError, RuntimeError, EOFError, LookupError, ValueError) as error:
        raise ValueError(f"{path}: expected a checkpoint, got {one_line(error, 120)}") from None
    if not isinstance(state, dict) or not state.keys() >= PARTS:
        raise ValueError(f"{path}: expected a checkpoint, got a file without its parts")
    return state
