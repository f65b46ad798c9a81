"""Bad input and bad parameters: NaN, empty batches, wrong shapes, singularities."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from emcheck._internal.copying import copy_layer
from emcheck.checks.calling import call, call_inverse
from emcheck.checks.core import identical
from emcheck.diagnosis.evidence.attempt import attempt
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import SEEN, Fit, hypothesis
from emcheck.guard import foreign


@hypothesis(
    "nan_swallowed",
    "non_finite_batch_skipped",
    rank=SEEN,
    when=("nan_stays_in_its_sample",),
    explains=frozenset({"nan_stays_in_its_sample", "vmap_agrees", "compiled_agrees"}),
)
def nan_handling(evidence: Evidence) -> Iterator[Fit]:
    """A direction returns a batch with a NaN unchanged, or replaces the NaN by a number."""
    trial = evidence.trial()
    z, _ = call(copy_layer(trial.layer), trial.x)
    for name, run, given in (("forward", call, trial.x), ("inverse", call_inverse, z)):
        bad = given.clone()
        bad[(0, *[-1] * (bad.dim() - 1))] = math.nan
        out, _ = run(copy_layer(trial.layer), bad)
        plain, _ = run(copy_layer(trial.layer), given)
        if identical(out, bad) and not identical(plain, given):
            yield Fit(
                "non_finite_batch_skipped",
                f"{name.capitalize()} returns a batch with a NaN unchanged, every sample of it.",
                f"with one NaN in sample 0, all {len(given)} samples come back as they went in",
            )
        elif not bool(out[0].isnan().any()):
            value = out[(0, *[-1] * (out.dim() - 1))]
            yield Fit(
                "nan_swallowed",
                f"{name.capitalize()} replaces NaN by a number.",
                f"with a NaN in the last entry of sample 0, that entry comes back as "
                f"{float(value):.6g}",
            )


@hypothesis(
    "empty_batch_shape", rank=SEEN, when=("empty_batch",), explains=frozenset({"empty_batch"})
)
def empty(evidence: Evidence) -> Iterator[Fit]:
    """The latent or the log-det of an empty batch has the wrong shape."""
    trial = evidence.trial()
    z, _ = call(copy_layer(trial.layer), trial.x)
    out, logdet = call(copy_layer(trial.layer), trial.x[:0])
    wanted = (0, *z.shape[1:])
    if tuple(out.shape) != wanted or tuple(logdet.shape) != (0,):
        kept = " as it went in" if out.shape == trial.x[:0].shape else ""
        yield Fit(
            "empty_batch_shape",
            f"An empty batch comes back{kept} with the wrong shape.",
            f"expected {wanted} and (0,), got {tuple(out.shape)} and {tuple(logdet.shape)}",
        )


@hypothesis(
    "validates_by_assert", "dtype_promoted", rank=SEEN, when=("errors_are_clear",),
    explains=frozenset({"errors_are_clear"}),
)  # fmt: skip
def errors(evidence: Evidence) -> Iterator[Fit]:
    """Input is validated by ``assert``, or input of another dtype is promoted, not refused."""
    trial = evidence.trial()
    layer = trial.layer
    try:
        layer(trial.x[0])
    except AssertionError as error:
        text = "Input is validated by assert: gone under -O, an AssertionError otherwise."
        yield Fit(
            "validates_by_assert", text, f"a sample without batch raises AssertionError {error}"
        )
        return
    except foreign():  # any other error is not this cause
        pass
    answer = attempt(lambda: call(layer, trial.x.float()))
    if answer is None or not any(p.dtype == trial.x.dtype for p in layer.parameters()):
        return  # refused, as it should be, or no parameter has a conflicting dtype
    z, _ = answer
    yield Fit(
        "dtype_promoted",
        "Input of another dtype is accepted and promoted instead of refused.",
        f"float32 input to float64 parameters gives {str(z.dtype).removeprefix('torch.')}",
    )


@hypothesis(
    "singularity_clamped",
    "nan_at_singularity",
    rank=SEEN,
    when=("singular_parameters_are_named",),
    explains=frozenset({"singular_parameters_are_named", "extreme_parameters"}),
)
def singular(evidence: Evidence) -> Iterator[Fit]:
    """At a singular parameter the log-det is finite: the layer clamps it, or its values are NaN."""
    spec, trial = evidence.subject.spec, evidence.trial()
    if spec is None or spec.make_singular is None:
        return
    layer = trial.new_layer()
    with torch.no_grad():
        spec.make_singular(evidence.subject.unwrap(layer))
    z, logdet = call(layer, trial.x)
    if not bool(logdet.isfinite().all()):
        return
    if bool(z.isnan().any()):
        yield Fit(
            "nan_at_singularity",
            "A zero parameter gives NaN instead of an error: a division by its length.",
            f"{int(z.isnan().sum())} of {z.numel()} entries of z are NaN, the log-det is "
            f"{float(logdet[0]):.6g}",
        )
    else:
        yield Fit(
            "singularity_clamped",
            "A singular parameter is clamped: a finite log-det, and an inverse that inverts "
            "nothing.",
            f"got log-det {float(logdet[0]):.6g} where -inf or an error is due",
        )
