"""What is installed only on demand, and the line that asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


#: The package that compiles code, if it is installed, in place of plain torch.
_FAST = "numba"


class MissingExtra(ValueError):
    """Raised when a call needs something that is not installed; the message names the extra."""


@contextmanager
def extra_named() -> Iterator[None]:
    """Ask in one line for a missing module that an extra installs.

    Raises:
        MissingExtra: in place of the ``ModuleNotFoundError``; that of any other module passes.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in EXTRAS:
            raise
        told = f"expected {name}, got none: pip install 'emcheck[{EXTRAS[name]}]'"
        raise MissingExtra(told) from error


def require_suite() -> None:
    """Check that everything that ``emcheck run`` needs is installed.

    Raises:
        MissingExtra: something is not installed.
    """
    for name in (_FAST, *EXTRAS):
        if find_spec(name) is None:
            raise MissingExtra(f"expected {name}, got none: pip install 'emcheck[suite]'")
