"""Causes that a check sees directly: folding, lost entries, kept graphs, changed settings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from emcheck._internal.copying import copy_layer, derived_tensors
from emcheck.adapters.conventions import Conventional
from emcheck.bounds import COUPLED
from emcheck.checks.calling import call, forward_of
from emcheck.checks.contract import MANY
from emcheck.diagnosis.consequences import ANY
from emcheck.diagnosis.evidence.attempt import attempt
from emcheck.diagnosis.evidence.measured import Evidence
from emcheck.diagnosis.rank import SEEN, Fit, hypothesis
from emcheck.guard.surroundings import Surroundings


@hypothesis("folds", rank=SEEN - 3, when=("map_does_not_fold",), explains=ANY)
def folds(evidence: Evidence) -> Iterator[Fit]:
    """The map folds space: the determinant of its Jacobian has both signs."""
    found = [f for f in evidence.findings if f.check == "map_does_not_fold"]
    trial = evidence.trial(found[0].case)
    more = torch.cat([trial.x, trial.sample(91, batch=32)])
    points = [scale * x for scale in (0.25, 1, 4) for x in more]
    signs = [float(torch.linalg.slogdet(torch.from_numpy(trial.jacobian(x)))[0]) for x in points]
    up, down = sum(s > 0 for s in signs), sum(s < 0 for s in signs)
    if not up or not down:
        return  # the check failed for another reason
    yield Fit(
        "folds",
        "The map folds space, so it is not one to one: the determinant of its Jacobian changes "
        "its sign between points that forward connects without a jump.",
        f"the determinant is positive at {up} and negative at {down} of {len(signs)} normal points",
    )


@hypothesis("loses_entries", rank=SEEN - 3, when=("shapes_and_dtypes",),
            explains=frozenset({"shapes_and_dtypes"}))  # fmt: skip
def loses_entries(evidence: Evidence) -> Iterator[Fit]:
    """At some sizes forward returns fewer numbers than it is given."""
    for finding in evidence.findings:
        trial = evidence.trial(finding.case)
        answer = attempt(partial(call, copy_layer(trial.layer), trial.x))
        if finding.check != "shapes_and_dtypes" or answer is None:
            continue
        went, came = trial.x.numel(), answer[0].numel()
        if came < went:
            size = "x".join(map(str, finding.case.event))
            lost = went - came
            yield Fit(
                "loses_entries",
                f"At size {size} the layer drops {lost // len(trial.x)} numbers of each sample "
                "without a word, where the size does not divide: refuse such a size.",
                f"{went // len(trial.x)} numbers go in and {came // len(trial.x)} come out",
            )
            return


@hypothesis(
    "shared_storage",
    rank=SEEN - 3,
    when=("parameters_are_separate",),
    explains=frozenset({"parameters_are_separate"}),
)
def shared_storage(evidence: Evidence) -> Iterator[Fit]:
    """Two parameters share their storage: changing one in place changes the other."""
    layer = evidence.subject.original or evidence.subject.build(evidence.base)
    named = [(n, p) for n, p in layer.named_parameters() if p.numel()]
    for name, one in named:
        for other, value in named:
            if name < other and one.untyped_storage().data_ptr() == (
                value.untyped_storage().data_ptr()
            ):
                yield Fit(
                    "shared_storage",
                    f"`{name}` and `{other}` are made of one tensor and share its storage: a "
                    "training step of one moves the other.",
                    f"both begin at the same address; {len(named)} parameters in all",
                )
                return


@hypothesis(
    "keeps_graph",
    rank=SEEN - 3,
    when=("training_steps_repeat",),
    explains=frozenset({"training_steps_repeat", "no_dead_parameter"}),
)
def keeps_graph(evidence: Evidence) -> Iterator[Fit]:
    """The layer keeps a tensor with the graph of a training call."""
    trial = evidence.trial()
    layer = trial.new_layer().train()
    before = {name for name, _ in derived_tensors(layer)}
    with torch.enable_grad():
        forward_of(layer, trial.sample(25, batch=4))
    names = [name for name, _ in derived_tensors(layer) if name not in before] or sorted(before)
    if names:
        told = " and ".join(f"`{name}`" for name in dict.fromkeys(names))
        yield Fit(
            "keeps_graph",
            f"The layer keeps {told} with the graph of the batch that it was computed from: the "
            "next training step walks back through it, which is freed by then. Use `.detach()`.",
            "two training steps in a row: the second backward raises",
        )


@hypothesis("first_sample_for_all", rank=SEEN - 2, when=("rows_are_independent",), explains=ANY)
def first_sample_for_all(evidence: Evidence) -> Iterator[Fit]:
    """The first sample of a batch, and no other, influences the rest."""
    trial = evidence.trial(replace(evidence.base, batch=4))
    x, other = trial.x, trial.sample(71)
    z, _ = call(copy_layer(trial.layer), x)
    size = float(z.abs().max())
    moved = []
    for n in range(len(x)):
        changed = x.clone()
        changed[n] = other[n]
        apart = (call(copy_layer(trial.layer), changed)[0] - z).abs().flatten(1).amax(dim=1)
        apart[n] = 0
        moved.append(float(apart.max()) / size)
    if moved[0] > COUPLED and max(moved[1:]) <= COUPLED:
        yield Fit(
            "first_sample_for_all",
            "Every sample of a batch is computed with something of the first sample (row 0): "
            "its context or statistics are used for all.",
            f"another first sample moves the others by {moved[0]:.3g} of their size, another "
            f"second, third or fourth one by {max(moved[1:]):.1g}",
        )


@hypothesis("large_batch", rank=SEEN - 2, when=("rows_are_independent",))
def large_batch(evidence: Evidence) -> Iterator[Fit]:
    """Small batches are right, and from some size on some rows of a batch are not."""
    trial = evidence.trial(replace(evidence.base, batch=MANY))

    def outputs(rows: slice) -> tuple[Tensor, Tensor]:
        z, logdet = call(copy_layer(trial.layer), trial.x[rows])
        return z.detach().flatten(1), logdet.detach().reshape(-1, 1)

    alone = [torch.cat(rows) for rows in zip(*map(outputs, map(_row, range(MANY))), strict=True)]
    for size in range(2, MANY + 1):
        for name, got, right in zip(("image", "log-det"), outputs(slice(size)), alone, strict=True):
            apart = (got - right[:size]).abs()
            if apart.max() <= COUPLED * float(right.abs().max()):
                continue
            if size > _SMALL_BATCH:
                row, entry = divmod(int(apart.argmax()), apart.shape[1])
                yield Fit(
                    "large_batch",
                    f"Batches of {size} samples, and others above {size - 1}, are not computed "
                    f"like smaller ones: some rows get a wrong {name}.",
                    f"row {row} of {size}: {float(got[row, entry]):.9g}, alone "
                    f"{float(right[row, entry]):.9g}; right in all batches of fewer samples",
                )
            return


#: Up to here a batch is no large one.
_SMALL_BATCH = 4


def _row(number: int) -> slice:
    return slice(number, number + 1)


@hypothesis("spectral_step", rank=SEEN - 2, when=("calls_are_pure",), explains=ANY)
def running_values(evidence: Evidence) -> Iterator[Fit]:
    """Spectral normalisation changes its buffers at every training call."""
    trial = evidence.trial()
    layer = trial.new_layer()
    before = {n: v.clone() for n, v in layer.named_buffers()}
    call(layer, trial.x)
    after = dict(layer.named_buffers())
    names = [n for n, v in before.items() if n in after and not torch.equal(v, after[n])]
    spectral = [n for n in names if n.endswith(("_u", "_v")) or "parametrizations" in n]
    if names and len(spectral) == len(names) and math.isfinite(float(trial.x.sum())):
        told = " and ".join(f"`{name}`" for name in names)
        yield Fit(
            "spectral_step",
            f"Spectral normalisation takes a step of its power iteration at every training call "
            f"({told}): forward and inverse use different weights. Judge and use it in eval mode.",
            f"one call in training mode changes {told}",
        )


@hypothesis("changes_settings", rank=SEEN - 9, when=ANY, explains=ANY)
def changes_settings(evidence: Evidence) -> Iterator[Fit]:
    """A call changes a setting of the whole process and does not restore it."""
    trial, inside = evidence.trial(), Surroundings()
    with inside.standard():
        trial.layer(trial.x.clone())
    names = [name for name in inside.changed if name in ("gradients", "inference mode")]
    if "settings_are_kept" in evidence.failing:
        names = list(inside.changed)
    if names:
        yield Fit(
            "changes_settings",
            f"A call changes {' and '.join(names)} for the whole process, and does not put it "
            "back: use a context manager, such as `torch.no_grad()`.",
            f"after one call of forward {names[0]} {'is' if len(names) == 1 else 'are'} another",
        )


@hypothesis(
    "argument_changed",
    "argument_ignored",
    rank=SEEN - 3,
    when=("logdet_argument_is_kept",),
    explains=frozenset({"logdet_argument_is_kept"}),
)
def argument_changed(evidence: Evidence) -> Iterator[Fit]:
    """A direction changes the log-det passed to it in place, or ignores it."""
    trial, name = evidence.trial(), evidence.subject.carried
    layer = trial.new_layer()
    if not isinstance(layer, Conventional):
        return
    for inverse, which in ((False, "forward"), (True, "the inverse")):
        value = trial.forward[0] if inverse else trial.x
        if inverse and not trial.has("inverse"):
            continue
        handed = torch.ones_like(value.flatten(1)[:, 0])
        with torch.no_grad():
            own = layer.handed(value.clone(), torch.zeros_like(handed), inverse)
            together = layer.handed(value.clone(), handed, inverse)
        if not bool((handed == 1).all()):
            yield Fit(
                "argument_changed",
                f"{which} changes its argument `{name}` in place (`{name} += ...`): the caller "
                f"still holds that tensor. Write `{name} = {name} + ...`.",
                f"handed in as 1, afterwards {float(handed[0]):.6g}",
            )
            return
        if own is not None and together is not None and torch.equal(own, together):
            yield Fit(
                "argument_ignored",
                f"{which} does not add to its argument `{name}`, it begins anew: the log-det of "
                "all layers before is lost.",
                f"the same log-det comes out, whether 0 or 1 is handed in: {float(own[0]):.6g}",
            )
            return
