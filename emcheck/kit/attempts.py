"""Calls of a layer that may raise anything or never return."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from emcheck.checks import Case, Subject
from emcheck.checks.calling import with_logdet
from emcheck.checks.trial import Trial
from emcheck.guard import TimeLimit, foreign, one_line, time_limit
from emcheck.guard.surroundings import settings_kept


def attempt(run: Callable[[], Any], seconds: float) -> tuple[Any, str]:
    """Return the answer of ``run``, or None and one line that says why there is none."""
    try:
        with settings_kept(), warnings.catch_warnings(), time_limit(seconds):
            warnings.simplefilter("ignore")
            return run(), ""
    except TimeLimit:
        return None, f"did not return within {seconds:g} s"
    except foreign() as error:  # a layer may raise anything, and that is the answer
        return None, f"raised {type(error).__name__}: {one_line(error)}"


def answer_of_inverse(subject: Subject, case: Case, seconds: float) -> Any:
    """Return what the inverse returns, or the exception that it raises; None if it is late."""
    trial = Trial(subject, case)
    try:
        with settings_kept(), warnings.catch_warnings(), torch.no_grad(), time_limit(seconds):
            warnings.simplefilter("ignore")
            return with_logdet(trial.layer.inverse(trial.latent))  # type: ignore[operator]
    except TimeLimit:
        return None
    except foreign() as error:  # a layer may raise anything, and that is the answer
        return error
