"""JAX's switch for 64-bit numbers, without loading JAX."""

from __future__ import annotations

import os
import sys
from typing import Any


def jax_flag() -> bool:
    """Whether JAX computes in float64 by default; JAX is not loaded to find out."""
    jax: Any = sys.modules.get("jax")
    config = getattr(jax, "config", None)  # None while it is being loaded
    if config is None or not hasattr(config, "jax_enable_x64"):
        return os.environ.get("JAX_ENABLE_X64", "0").lower() in ("1", "true", "yes", "on")
    return bool(config.jax_enable_x64)


def set_jax_flag(wide: bool) -> None:
    jax: Any = sys.modules.get("jax")
    if jax is not None:
        jax.config.update("jax_enable_x64", wide)
