"""Numerical verification and benchmarks for invertible layers of normalizing flows."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emcheck.adapters import adapt as adapt
    from emcheck.densities import check_density as check_density
    from emcheck.flows import Chain as Chain
    from emcheck.flows import Inverse as Inverse
    from emcheck.kit import check_layer as check_layer
    from emcheck.kit import parametrize_with_checks as parametrize_with_checks
    from emcheck.kit import reproduce as reproduce
    from emcheck.report import Report as Report
    from emcheck.result import Result as Result
    from emcheck.result import Verdict as Verdict

__version__ = "0.2.0"

#: Public name -> its module, imported when the name is first used: importing torch takes a second.
_HOME = {
    "adapt": "adapters",
    "Chain": "flows",
    "Inverse": "flows",
    "Report": "report",
    "check_density": "densities",
    "check_layer": "kit",
    "parametrize_with_checks": "kit",
    "reproduce": "kit",
    "Result": "result",
    "Verdict": "result",
}

#: Submodules that need no import of their own after ``import emcheck``.
_MODULES = ("adapters", "bounds", "flows", "kit", "layers", "oracle", "solve")


def __getattr__(name: str) -> Any:
    if name in _HOME:
        found = getattr(import_module(f"emcheck.{_HOME[name]}"), name)
        globals()[name] = found
        return found
    if name in _MODULES:
        return import_module(f"emcheck.{name}")
    raise AttributeError(f"module 'emcheck' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})
