"""One case of a matrix, its settings, and how a worker runs it."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emcheck.batch.targets import left_out
from emcheck.checks import CHECKS
from emcheck.contract import Event
from emcheck.guard import one_line
from emcheck.isolated import Job, Spare, opened
from emcheck.kit import EXAMPLES, TIME_LIMIT
from emcheck.kit.target import validate_shape
from emcheck.specs import REGISTRY

#: One line of JSON: a case with its results, or with the reason why there are none.
Record = dict[str, Any]


@dataclass(frozen=True)
class MatrixCase:
    """A target at one shape, in one dtype, with one seed: this identifies its results."""

    target: str
    event: Event
    dtype: str
    seed: int

    @property
    def pair(self) -> tuple[str, Event]:
        """Target and event, which a layer either takes or refuses."""
        return self.target, self.event

    def __str__(self) -> str:
        return f"{self.target} on {shown(self.event)} {self.dtype} seed={self.seed}"

    @classmethod
    def of(cls, record: Record) -> MatrixCase:
        """Return the case of a record."""
        event = tuple(record["event"])
        return cls(record["target"], event, record["dtype"], record["seed"])


def shown(event: Event) -> str:
    """Return an event as ``4x8x6``."""
    return "x".join(map(str, event))


@dataclass(frozen=True)
class Settings:
    """How every case is checked: the options of ``check_layer``.

    Args:
        examples: cases for each check.
        time_limit: seconds for one check on one example.
        compiled: whether to compare with ``torch.compile`` too.
        checks: names of checks; if empty, all that apply.
        memory: GB that a layer may allocate; None sets no limit.

    Raises:
        ValueError: an unknown check, or less than one example.
    """

    examples: int = EXAMPLES
    time_limit: float = TIME_LIMIT
    compiled: bool = False
    checks: tuple[str, ...] = ()
    memory: float | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.checks if name not in CHECKS]
        if unknown:
            raise ValueError(f"expected the name of a check (emcheck list), got {unknown[0]!r}")
        if self.examples < 1:
            raise ValueError(f"expected examples to be 1 or more, got {self.examples}")


def every_case(
    targets: Sequence[str],
    events: Sequence[Sequence[int]],
    dtypes: Sequence[str] = ("float32", "float64"),
    seeds: Sequence[int] = (0,),
) -> tuple[list[MatrixCase], list[str]]:
    """Return the product, and a line for each registered layer and event that it does not take.

    Raises:
        ValueError: an event that is not valid, no seed, an unknown dtype, or an empty product.
    """
    known = ("float32", "float64")
    wrong = [name for name in dtypes if name not in known]
    if wrong or not seeds:
        raise ValueError(
            f"expected dtypes among {', '.join(known)} and at least one seed, "
            f"got {', '.join(dtypes)} and {len(seeds)} seeds"
        )
    chosen = [validate_shape(event) for event in events]
    pairs = dict.fromkeys((target, event) for target in targets for event in chosen)
    reasons = {pair: left_out(*pair) for pair in pairs}
    lines = [f"{name} on {shown(event)}: {why}" for (name, event), why in reasons.items() if why]
    cases = [
        MatrixCase(target, event, dtype, seed)
        for (target, event), why in reasons.items()
        if not why
        for seed in dict.fromkeys(seeds)
        for dtype in dict.fromkeys(dtypes)
    ]
    if not cases:
        raise ValueError(f"expected a shape that a target takes: {lines[0]}")
    return cases, lines


def run_batch(cases: Sequence[MatrixCase], settings: Settings) -> list[Record]:
    """Run every case on a worker, whatever the one before it raised."""
    return [run_case(case, settings) for case in cases]


@functools.cache
def _spare() -> Spare:
    """Return the process in which a worker examines cases; it imports a target once."""
    return Spare()


def run_case(case: MatrixCase, settings: Settings) -> Record:
    """Return the case with ``results``, or with ``reason`` if it could not run.

    The layer lives in a process of its own: one that never returns is killed after the time limit,
    and one that ends its process is a FAIL of the check that was running.
    """
    start = time.perf_counter()
    found: Record = {}
    job = Job(
        case.target,
        case.event,
        registered=case.target in REGISTRY,
        seed=case.seed,
        examples=settings.examples,
        time_limit=settings.time_limit,
        compiled=settings.compiled,
        dtypes=(case.dtype,),
        memory=settings.memory,
    )
    try:
        with opened(job, _spare()) as checker:
            chosen = [c for c in checker.checks if c.name in (settings.checks or CHECKS)]
            results = [result for check in chosen for result in checker.run(check)]
        found["results"] = [result.to_record() for result in results]
    except ValueError as error:
        found["reason"] = one_line(error)
    return asdict(case) | {"seconds": round(time.perf_counter() - start, 4)} | found
