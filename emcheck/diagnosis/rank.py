"""The search for causes after a FAIL: hypotheses are tried on fresh evidence and ranked."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from emcheck._internal.randomness import seed_torch
from emcheck.checks import CHECKS, Subject
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.evidence.scene import Finding
from emcheck.guard import TimeLimit, foreign, one_line, raised_in, time_limit
from emcheck.guard.surroundings import settings_kept
from emcheck.result import Explanation


@dataclass(frozen=True)
class Fit:
    """What a hypothesis says when it fits.

    Args:
        cause: one of the slugs that the hypothesis declares.
        text: one sentence for the author of the layer.
        evidence: one line with the numbers.
        checks: the checks it explains; None for all that the hypothesis declares.
    """

    cause: str
    text: str
    evidence: str
    checks: frozenset[str] | None = None


Test = Callable[[Evidence], Iterable[Fit]]


@dataclass(frozen=True)
class Hypothesis:
    """A test of one or several related causes.

    Args:
        slugs: the causes it can name.
        rank: the lower, the more specific; decides between causes that explain equally much.
        when: checks of which at least one must have failed for the test to be run.
        explains: checks whose failure follows from the cause.
        test: yields the causes that fit.
        ends_search: whether the search stops once it fits, since calls hang.
    """

    slugs: tuple[str, ...]
    rank: int
    when: frozenset[str]
    explains: frozenset[str]
    test: Test
    ends_search: bool = False


HYPOTHESES: list[Hypothesis] = []

#: Ranks: seen directly; a mechanism that fits all numbers; where it is right; a symptom.
SEEN, MECHANISM, WHERE, SYMPTOM = 0, 10, 20, 30


def hypothesis(
    *slugs: str,
    rank: int,
    when: Iterable[str],
    explains: frozenset[str] | None = None,
    ends_search: bool = False,
) -> Callable[[Test], Test]:
    """Register a test; ``explains`` is ``when`` if not given.

    Raises:
        ValueError: a slug is taken, or a check does not exist.
    """

    def register(test: Test) -> Test:
        taken = {slug for known in HYPOTHESES for slug in known.slugs} & set(slugs)
        if taken:
            raise ValueError(f"expected new causes, got {sorted(taken)} twice")
        triggers = when if isinstance(when, frozenset) else frozenset(when)
        covers = triggers if explains is None else explains
        unknown = (triggers | covers) - set(CHECKS)
        if unknown:
            raise ValueError(f"expected names of checks, got {sorted(unknown)}")
        HYPOTHESES.append(Hypothesis(slugs, rank, triggers, covers, test, ends_search))
        return test

    return register


def known_causes() -> tuple[str, ...]:
    """Return every cause that can be named."""
    return tuple(slug for known in HYPOTHESES for slug in known.slugs)


def diagnose(subject: Subject, findings: Sequence[Finding]) -> tuple[Explanation, ...]:
    """Return the explanations that fit, best first; see :func:`search`."""
    return search(subject, findings)[0]


def search(
    subject: Subject, findings: Sequence[Finding], seconds: float | None = None
) -> tuple[tuple[Explanation, ...], bool]:
    """Return the explanations that fit, best first, and whether no hypothesis ran out of time.

    Those that explain more of the failing checks come first, then the more specific ones. The
    layer is only built anew or copied, and torch's global generator is restored.

    Args:
        subject: the layer that failed.
        findings: its FAILs.
        seconds: the limit of one hypothesis; the search stops after two that exceed it, or
            once a cause is named that makes calls hang. None: no limit.
    """
    evidence = Evidence(subject, findings)
    if not evidence.failing:
        return (), True
    found: list[tuple[int, int, int, Explanation]] = []
    late = 0
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), np.errstate(all="ignore"):
        seed_torch(0)
        warnings.simplefilter("ignore")
        for order, known in sorted(enumerate(HYPOTHESES), key=lambda entry: entry[1].rank):
            if not known.when & evidence.failing:
                continue
            if late >= _MOST_LATE:
                break
            fits = _guarded(known, evidence, seconds)
            late += fits is None
            for fit in fits or ():
                covered = (known.explains if fit.checks is None else fit.checks) & evidence.failing
                if covered:
                    told = Explanation(fit.cause, fit.text, fit.evidence, tuple(sorted(covered)))
                    found.append((-len(covered), known.rank, order, told))
            if fits and known.ends_search:
                break
    found.sort(key=lambda entry: entry[:3])
    kept = [entry for entry in found if _adds(entry, found[0])]
    return tuple(entry[3] for entry in kept), not late


def _adds(
    entry: tuple[int, int, int, Explanation], best: tuple[int, int, int, Explanation]
) -> bool:
    """Whether an explanation is as direct as the best one, or explains further checks."""
    more = set(entry[3].checks) - set(best[3].checks)
    return bool(more) or entry[1] // _TIER <= best[1] // _TIER


#: How many ranks one kind has: seen directly, a mechanism, where, a symptom.
_TIER = 10


#: Hypotheses that may run out of time before the search stops.
_MOST_LATE = 2


#: Raise the exceptions of this package's own code instead of logging them; tests set it.
STRICT = False


def _guarded(known: Hypothesis, evidence: Evidence, seconds: float | None) -> list[Fit] | None:
    """Return what the test yields, or None if it ran out of time.

    If the layer raises, the cause does not fit. An exception of this package is its own
    fault: it is logged, and the other causes are tried.
    """
    try:
        with settings_kept(), time_limit(seconds) if seconds else nullcontext():
            return list(known.test(evidence))
    except TimeLimit:
        return None
    except foreign() as error:
        if raised_in(error, Path(__file__).parent):
            if STRICT:
                raise
            told = f"{type(error).__name__}: {one_line(error)}"
            logging.getLogger("emcheck").warning("explanation failed: %s: %s", known.slugs[0], told)
        return []
