"""Causes of wrong log-det estimates, and of a flow's wrong ``log_prob`` or samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from emcheck.bounds import DEVIATIONS
from emcheck.checks.estimates import AGAIN, DRAWS, draws, slopes_of_estimates
from emcheck.checks.log_prob import SAMPLES, latents_of_samples, log_prob_of
from emcheck.diagnosis.evidence.attempt import attempt
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import SEEN, Fit, hypothesis
from emcheck.oracle import slogdet

_UNBIASED = ("logdet_is_unbiased", "inverse_logdet_is_unbiased")


@hypothesis("estimate_biased", rank=SEEN, when=_UNBIASED, explains=frozenset(_UNBIASED))
def estimate_biased(evidence: Evidence) -> Iterator[Fit]:
    """The log-det estimate is biased: its mean is a multiple of the log-det or another number."""
    inverse = "logdet_is_unbiased" not in evidence.failing
    means, errors, exact = [], [], []
    for number in range(3):
        trial = evidence.trial(replace(evidence.base, style="trained", seed=number, batch=3))
        value = trial.latent if inverse else trial.x
        found = draws(trial, value, inverse, AGAIN * DRAWS, 3)
        means.append(found.mean(axis=0))
        errors.append(found.std(axis=0, ddof=1) / math.sqrt(len(found)))
        exact.append(np.array([slogdet(trial.jacobian(one, inverse))[0] for one in value]))
    mean, error, truth = (np.concatenate(v) for v in (means, errors, exact))
    which = "the inverse" if inverse else "forward"
    n = trial.x[0].numel()
    shares = {1 / 3: "a third", 0.5: "half", 2.0: "twice", 3.0: "three times", -1.0: "minus",
              1 / n: "one part in the number of dimensions of", float(n): "n times"}  # fmt: skip
    for share, words in shares.items():
        if (np.abs(mean - share * truth) <= DEVIATIONS * error + 1e-5 * np.abs(truth)).all():
            probes = ": probe vectors need E v v^T = I" if share == 1 / 3 else ""
            told = f"is {words} what it should be{probes}"
            break
    else:
        told = "is not the log-det: a random estimate has to be right in the mean"
    yield Fit(
        "estimate_biased",
        f"The estimate of the log-det of {which} is biased: on average it {told}.",
        f"mean of {AGAIN * DRAWS} estimates {mean[0]:.4g} +- {error[0]:.1g}, expected "
        f"{truth[0]:.4g}; so on {len(mean)} samples",
    )


_GRADIENT = "gradient_of_estimate_is_unbiased"


@hypothesis("estimate_gradient", rank=SEEN, when=(_GRADIENT,), explains=frozenset({_GRADIENT}))
def estimate_gradient(evidence: Evidence) -> Iterator[Fit]:
    """The log-det estimate has no gradient, or the mean of its gradients is wrong."""
    trial = evidence.trial(replace(evidence.base, style="trained", batch=1))
    found = slopes_of_estimates(trial, DRAWS, 6)
    told = "has no gradient: it is computed under no_grad, or detached"
    if found.any():
        told = "has another gradient, on average, than the log-det"
    yield Fit(
        "estimate_gradient",
        f"The estimate of the log-det {told}.",
        f"mean derivative {found.mean():.4g} along one direction of x and parameters, "
        f"{DRAWS} draws",
    )


@hypothesis(
    "log_prob_wrong",
    rank=SEEN,
    when=("log_prob_matches_flow",),
    explains=frozenset({"log_prob_matches_flow"}),
)
def log_prob_wrong(evidence: Evidence) -> Iterator[Fit]:
    """``log_prob`` makes a known mistake, which reproduces its numbers on several draws."""
    fitting: list[set[str]] = []
    for number in range(3):
        trial = evidence.trial(replace(evidence.base, style="trained", seed=number, batch=3))
        found = attempt(partial(log_prob_of, trial))
        if found is None:
            continue
        fitting.append(set(found.mistakes()))
        numbers = f"got {found.got[0]:.9g}, expected {found.base[0] + found.logdet[0]:.9g}"
    names = sorted(set.intersection(*fitting)) if fitting else []
    for told in names[:1]:
        yield Fit(
            "log_prob_wrong",
            f"`log_prob` {told.removeprefix('log_prob ')}; it is log N(z; 0, I) + log|det dz/dx|.",
            f"so on {len(fitting)} of {len(fitting)} batches; {numbers}",
        )


@hypothesis(
    "samples_not_of_the_base",
    rank=SEEN,
    when=("samples_map_to_the_base",),
    explains=frozenset({"samples_map_to_the_base"}),
)
def samples_not_of_the_base(evidence: Evidence) -> Iterator[Fit]:
    """Samples are drawn at another temperature, or ``sample`` does not undo forward."""
    trial = evidence.trial(replace(evidence.base, style="trained"))
    found = attempt(partial(log_prob_of, trial))
    if found is None:
        return
    back = found.backwards
    z = attempt(partial(latents_of_samples, trial, back, SAMPLES, trial.case.seed + 3))
    if z is None or not np.isfinite(z).all():
        return
    deviation, mean = z.std(axis=0), z.mean(axis=0)
    limit = DEVIATIONS / math.sqrt(len(z))
    if np.ptp(deviation) <= 2 * limit and np.abs(mean).max() <= limit:
        told = f"are drawn at temperature {deviation.mean():.3g}, those of log_prob at 1"
    else:
        told = "are no standard normal numbers there: sample does not undo that map"
    yield Fit(
        "samples_not_of_the_base",
        f"Samples, mapped back by {'the inverse' if back else 'forward'}, {told}.",
        f"means {mean.min():.3g} to {mean.max():.3g}, deviations {deviation.min():.3g} to "
        f"{deviation.max():.3g} of {len(z)} samples",
    )
