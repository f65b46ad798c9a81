"""The self-tests by name, each with the capability that it guards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from emcheck.doctor.canary import Canary


@dataclass(frozen=True)
class Entry:
    """The place of a self-test (``module:function`` in ``canaries``), and what it guards."""

    function: str
    capability: str


#: name -> entry. The order is that of the report.
REGISTRY = {
    "numpy_linalg": Entry("reference:numpy_linalg", "numpy"),
    "scipy_lu": Entry("reference:scipy_lu", "scipy"),
    "matmul": Entry("matmul:matmul", "matmul"),
    "single_lu": Entry("single:single_lu", "single_lu"),
    "triangular": Entry("single:triangular", "triangular"),
    "qr": Entry("single:qr", "qr"),
    "batched_slogdet": Entry("batched:batched_slogdet", "batched_lu"),
    "batched_solve": Entry("batched:batched_solve", "batched_lu"),
    "batched_complex": Entry("batched:batched_complex", "batched_lu"),
    "batched_gradient": Entry("batched:batched_gradient", "batched_lu"),
    "fft": Entry("fft:fft", "fft"),
    "conv": Entry("conv:conv", "conv"),
}

NAMES = tuple(REGISTRY)

CAPABILITIES = tuple(dict.fromkeys(entry.capability for entry in REGISTRY.values()))

#: What to do if no repair works.
ADVICE = {
    "numpy": "do not trust any oracle here: install another build of numpy",
    "scipy": "do not trust any oracle here: install another build of scipy",
    "matmul": "do not judge anything here: install another build of the faulty library",
    "single_lu": "do not use torch's LU, solve or inv: work with NumPy, matrix by matrix",
    "triangular": "do not use torch's solve_triangular: substitute row by row",
    "qr": "do not use torch's QR: work with NumPy, matrix by matrix",
    "batched_lu": "do not use batched LU, solve or inv: work matrix by matrix",
    "fft": "do not judge periodic layers here: install another build of torch",
    "conv": "do not judge convolutions here: install another build of torch",
}


def trusted(canaries: Iterable[Canary]) -> frozenset[str]:
    """Return the capabilities whose self-tests all ran and are ok.

    >>> canary = Canary("qr", True, 0.2, 10.0, 1.5, "")
    >>> sorted(trusted([canary]))
    ['qr']
    """
    ok = {canary.name for canary in canaries if canary.ok}
    lost = {entry.capability for name, entry in REGISTRY.items() if name not in ok}
    return frozenset(CAPABILITIES) - lost
