"""What a report was made with: versions and the date, for files that are kept."""

from __future__ import annotations

import platform
import time
from importlib import metadata


def provenance() -> dict[str, str]:
    """Return versions (emcheck, Python, torch, numpy, scipy) and the date without loading torch."""
    versions = {name: metadata.version(name) for name in ("emcheck", "torch", "numpy", "scipy")}
    python = platform.python_version()
    return {"python": python, **versions, "date": time.strftime("%Y-%m-%d")}
