"""What is installed only on demand, and the line that asks for it."""

from __future__ import annotations

from importlib.util import find_spec

#: Top-level module -> the extra of emcheck that brings it.
EXTRAS = {
    "pytest": "pytest",
    "pandas": "report",
    "tabulate": "report",
    "matplotlib": "report",
    "markdown_it": "report",
    "distributed": "cluster",
    "dask": "cluster",
    "sklearn": "density",
    "skimage": "density",
    "hypothesis": "suite",
    "pytest_benchmark": "suite",
    "xdist": "suite",
}


#: Compiled code instead of plain torch, where it is installed.
_FAST = "numba"


class MissingExtra(ValueError):
    """Something that this call needs is not installed; the message names the extra."""


def asked_for(error: ModuleNotFoundError) -> MissingExtra | None:
    """The line for a module that an extra brings; None for any other module."""
    name = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(name)
    if extra is None:
        return None
    return MissingExtra(f"expected {name}, got none: pip install 'emcheck[{extra}]'")


def require_suite() -> None:
    """Everything that ``emcheck run`` needs.

    Raises:
        MissingExtra: something is not installed.
    """
    for name in (_FAST, *EXTRAS):
        if find_spec(name) is None:
            raise MissingExtra(f"expected {name}, got none: pip install 'emcheck[suite]'")
