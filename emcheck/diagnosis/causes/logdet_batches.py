"""Log-dets that mix the samples of a batch: summed, averaged, or broadcast to ``(B, B)``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from emcheck._internal.copying import copy_layer
from emcheck.bounds import BOTH_SIDES
from emcheck.checks.calling import call, call_inverse
from emcheck.diagnosis.causes.logdet_factors import SUBJECTS, WRONG
from emcheck.diagnosis.consequences import LOGDET_OF_ROWS
from emcheck.diagnosis.evidence.logdets import LogdetExample
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import MECHANISM, Fit, hypothesis
from emcheck.oracle.precision import Array


@hypothesis(
    "summed_over_batch",
    "averaged_over_batch",
    rank=MECHANISM - 1,
    when=(*WRONG, "rows_are_independent"),
    explains=LOGDET_OF_ROWS,
)
def summed(evidence: Evidence) -> Iterator[Fit]:
    """Every sample gets the sum or the mean of the log-dets of the batch."""
    for slug, reduce, told in (
        ("summed_over_batch", np.sum, "summed over the batch and given to every sample"),
        ("averaged_over_batch", np.mean, "averaged over the batch and given to every sample"),
    ):
        for examples, which in _directions(evidence):
            several = [e for e in examples if len(e.got) > 1]
            predicted = [np.full(len(e.got), reduce(e.expected)) for e in examples]
            fits = all(e.fits(p) for e, p in zip(examples, predicted, strict=True))
            if not any(e.tells(p) for e, p in zip(examples, predicted, strict=True)):
                continue
            if fits and sum(bool(e.off.any()) for e in several) >= 2:
                example = several[0]
                rows = " and ".join(f"{value:.6g}" for value in example.expected)
                yield Fit(
                    slug,
                    f"{which} is {told}.",
                    f"got {example.got[0]:.9g} for every sample, expected {rows}; "
                    f"so in {len(several)} of {len(several)} batches, and right for a batch of 1",
                )


@hypothesis(
    "broadcast_over_batch",
    rank=MECHANISM,
    when=(*WRONG, "rows_are_independent"),
    explains=LOGDET_OF_ROWS,
)
def broadcast(evidence: Evidence) -> Iterator[Fit]:
    """A ``(B, 1)`` tensor is added to a ``(B,)`` one, and the ``(B, B)`` result is then reduced."""
    for examples, which in _directions(evidence):
        alone = [e for e in examples if len(e.got) == 1]
        several = [e for e in examples if len(e.got) > 1 and e.off.all()]
        right = [e for e in examples if not e.off.any()]
        if len(several) < 2 or not alone or any(e.off.any() for e in alone):
            continue
        if len(right) > len(alone):
            continue  # right for larger batches too
        if any(np.ptp(e.got) <= e.bound.max() for e in several):
            continue  # one number for all samples: ``summed`` handles that
        for reduced, share in (
            ("averaged", lambda e: 1.0),
            ("summed", lambda e: float(len(e.got))),
        ):
            gaps = [abs(e.got.mean() - share(e) * e.expected.mean()) for e in several]
            limits = [BOTH_SIDES * share(e) * e.bound.max() for e in several]
            if all(gap <= limit for gap, limit in zip(gaps, limits, strict=True)) and all(
                _moves_as_broadcast(
                    evidence, e, examples is evidence.inverse_logdets, reduced == "summed"
                )
                for e in several
            ):
                rows = " and ".join(f"{value:.6g}" for value in several[0].expected[:2])
                yield Fit(
                    "broadcast_over_batch",
                    f"{which} mixes the samples: a (B, 1) that is added to a (B,) gives (B, B), "
                    f"which is then {reduced} over the batch.",
                    f"right for a batch of 1, and on average over {len(several)} of "
                    f"{len(several)} batches; got {several[0].got[0]:.6g}, expected {rows}",
                )
                return


def _moves_as_broadcast(
    evidence: Evidence, example: LogdetExample, inverse: bool, summed: bool
) -> bool:
    """Whether another first sample moves all log-dets as in ``f (sum_i a_i / B + b_j)``.

    ``f`` is B where they are summed, else 1. The others move by one number ``f da / B``; its own by
    that and ``f db``, where ``da + db`` is how it moves alone.
    """
    B = max(4, len(example.got))  # for two, every sum over the batch that keeps the total fits
    trial = evidence.trial(replace(example.case, batch=B))
    function = call_inverse if inverse else call
    another = evidence.trial(replace(trial.case, seed=trial.case.seed + 1))
    given, other = (t.latent if inverse else t.x for t in (trial, another))
    changed = torch.cat([other[:1], given[1:]])

    def moved(rows: slice) -> Array:
        pair = (function(copy_layer(trial.layer), v[rows])[1] for v in (changed, given))
        after, before = (v.detach().double().numpy() for v in pair)
        return np.asarray(after - before)

    together, alone = moved(slice(None)), float(moved(slice(1))[0])
    others, f = float(together[1]), B if summed else 1
    limit = 4 * BOTH_SIDES * B * example.bound.max()
    own = others + f * (alone - others * B / f)
    return bool(np.ptp(together[1:]) <= limit and abs(together[0] - own) <= limit)


def _directions(evidence: Evidence) -> Iterator[tuple[Sequence[LogdetExample], str]]:
    for examples, key in (
        (evidence.logdets, (True, False)),
        (evidence.inverse_logdets, (False, True)),
    ):
        if any(e.off.any() for e in examples):
            yield examples, SUBJECTS[key]
