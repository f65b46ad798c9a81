"""Repairs to try if a self-test fails, the gentlest first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from emcheck.doctor.canary import Canary
from emcheck.doctor.process import Conditions, run
from emcheck.doctor.self_tests import ADVICE, REGISTRY

#: Seconds for one attempt, whatever the self-test's own time limit: normally it takes two to
#: four, on a busy machine several times that, and an attempt may hang as the self-test did.
PATIENCE = 30.0

#: With OMP_NUM_THREADS alone another variable could still ask for more threads.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Repair:
    """A repair: one line for the user, and the conditions in which a fresh process would start."""

    sentence: str
    conditions: Conditions


def repaired(canary: Canary, conditions: Conditions) -> Canary:
    """Return ``canary`` with the first repair that makes it pass in a fresh process, or advice."""
    for repair in candidates(conditions):
        if run(canary.name, repair.conditions, PATIENCE).ok:
            return replace(canary, repair=repair.sentence, repaired=True)
    advice = "no repair found: " + ADVICE[REGISTRY[canary.name].capability]
    return replace(canary, repair=advice, repaired=False)


def candidates(conditions: Conditions) -> Iterator[Repair]:
    """Yield repairs: threads by the environment and not by a call; no MKL_DYNAMIC; one thread.

    A thread state taken over from the caller, and ``setup``, stand for what a program did
    after its start. Every repair leaves them out, and its sentence says so.
    """
    environment, undo = dict(conditions.environment), _undone(conditions)
    count = _threads(conditions)
    if undo:
        environment["OMP_NUM_THREADS"] = count
        sentence = f"choose the threads by OMP_NUM_THREADS={count} in the environment, {undo}"
        yield Repair(sentence, Conditions(dict(environment)))
    if environment.pop("MKL_DYNAMIC", None) is not None:
        sentence = "unset MKL_DYNAMIC in the environment"
        if undo:
            sentence += f", choose the threads there by OMP_NUM_THREADS={count}, {undo}"
        yield Repair(sentence, Conditions(dict(environment)))
    settings = " ".join(f"{name}={value}" for name, value in _ONE_THREAD.items())
    sentence = f"work with one thread: {settings} in the environment" + (undo and f", {undo}")
    yield Repair(sentence, Conditions({**conditions.environment, **_ONE_THREAD}))


def _undone(conditions: Conditions) -> str:
    """Return, in words, what a repair leaves out; empty if there is nothing to leave out."""
    if conditions.setup is not None and "set_num_threads" not in conditions.setup:
        return "and leave out the setup code"
    if conditions.setup is None and conditions.threads is None:
        return ""
    return "not by torch.set_num_threads"


def _threads(conditions: Conditions) -> str:
    """The thread count in use: the caller's, else the environment's, else one per core."""
    if conditions.threads is not None:
        return str(conditions.threads.count)
    return conditions.environment.get("OMP_NUM_THREADS", str(os.cpu_count() or 1))
