"""The machine a measurement was taken on: versions, threads, chips, commit; no names or paths."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from emcheck._internal.checkout import ROOT

#: Every kind of device that the suite knows, the host first.
DEVICES = ("cpu", "cuda", "mps")

#: Files that the suite itself writes, which do not make a working tree dirty.
_WRITTEN = ":(exclude)reports"


def describe_machine() -> dict[str, Any]:
    """Return what a reader needs to compare two measurements, as JSON types.

    ``commit`` and ``dirty`` are None outside a git checkout or before its first commit; ``gpu`` and
    ``tf32`` are None without a CUDA device.
    """
    devices = present_devices()
    cuda = "cuda" in devices
    head = commit(ROOT) if ROOT else None
    changes = _git(ROOT, "status", "--porcelain", "--", ".", _WRITTEN) if ROOT else None
    return {
        "torch": torch.__version__,
        "numpy": metadata.version("numpy"),
        "scipy": metadata.version("scipy"),
        "python": platform.python_version(),
        "system": platform.system(),
        "threads": torch.get_num_threads(),
        "cpu": cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "tf32": _tf32() if cuda else None,
        "commit": head,
        "dirty": bool(changes) if head and changes is not None else None,
        "devices": list(devices),
        "absent_devices": [device for device in DEVICES if device not in devices],
    }


def present_devices() -> tuple[str, ...]:
    """Return the devices of this machine that torch can use, the CPU always among them."""
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    return tuple(device for device in DEVICES if present[device])


def cores() -> int:
    """Return the number of cores that this process may use, at most eight: workers load torch."""
    affinity = getattr(os, "sched_getaffinity", None)
    return min(8, len(affinity(0)) if affinity else os.cpu_count() or 1)


def cpu_name() -> str:
    """Return the name of the processor, or its architecture if the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    if platform.system() == "Darwin":
        name = _output("sysctl", "-n", "machdep.cpu.brand_string")
        if name:
            return name
    return platform.processor() or platform.machine() or "unknown"


def _tf32() -> bool:
    """Whether float32 products on CUDA may be rounded to TF32."""
    return bool(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32)


def commit(root: Path) -> str | None:
    """Return the commit of a checkout, None if there is none."""
    return _git(root, "rev-parse", "--verify", "HEAD") or None


def _git(root: Path, *arguments: str) -> str | None:
    return _output("git", "-C", str(root), *arguments)


def _output(*command: str) -> str | None:
    """Return the standard output of a command, stripped; None if it is missing, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
