"""Each part of the checks of state and gradients notices what is wrong there alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from emcheck.checks import CHECKS, Case, Subject, run_check
from emcheck.checks.trial import Trial
from emcheck.flows import Chain
from emcheck.layers import ActNorm2d, AffineCoupling2d, Conv1x1
from emcheck.oracle import as_extended
from emcheck.result import Verdict
from tests.judgements import Row, Spoilt, known, mixing, off, off_if
from tests.wrong_layers import Gate, Mixing, ModeDependent

FAIL, PASS, NOTE, UNSUPPORTED = Verdict.FAIL, Verdict.PASS, Verdict.NOTE, Verdict.UNSUPPORTED
U64 = 2.0**-53


def _subject(build: Callable[[Case], nn.Module]) -> Callable[[], Subject]:
    return lambda: Subject("made", build)


class Shifted(Mixing):
    """Shifted by a number that is in no state_dict, in one output."""

    def __init__(self, by: float, output: int) -> None:
        super().__init__(2)
        self.by, self.output = by, output

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = super().forward(x)
        return (z + self.by, logdet) if self.output == 0 else (z, logdet + self.by)


class CopiedAs(Mixing):
    """Becomes another layer when it is copied, or pickled."""

    def __init__(self, copied: float = 0.0, pickled: float = 0.0) -> None:
        super().__init__(2)
        self.by, self.copied, self.pickled = 0.0, copied, pickled

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = super().forward(x)
        return z + self.by, logdet

    def __deepcopy__(self, memo: Any) -> CopiedAs:
        other = CopiedAs(self.copied, self.pickled)
        other.to(self.weight.dtype).load_state_dict(self.state_dict())
        other.by = self.by + self.copied
        return other

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.by = self.by + self.pickled


class Caching(Mixing):
    """Keeps its matrix in one mode."""

    def __init__(self, training: bool) -> None:
        super().__init__(2)
        self.mode, self.kept = training, None

    def apply(self, matrix: Tensor, x: Tensor) -> Tensor:  # type: ignore[override]
        if matrix is self.weight and self.training == self.mode:
            if self.kept is None:
                self.kept = matrix.detach().clone()
            return super().apply(self.kept, x)
        return super().apply(matrix, x)


class Rooted(Mixing):
    """Refuses parameters other than its own; one of them asks for no gradient."""

    def __init__(self, frozen: bool) -> None:
        super().__init__(2)
        self.other = nn.Parameter(torch.ones(2), requires_grad=not frozen)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not bool((self.other == 1).all()):
            raise RuntimeError("moved")
        return super().forward(x)


class LastBit(nn.Module):
    """A scale whose result changes in the last bit once it has been called."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = ActNorm2d(2)
        self.calls = 0

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        z, logdet = self.layer(x)
        return (z * (1 + 2 * U64) if self.calls > 1 else z), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer.inverse(z)


def _last_bit() -> Subject:
    return replace(known(LastBit(), ActNorm2d(2)), unwrap=lambda layer: layer.layer)  # type: ignore


class StaleScale(nn.Module):
    """Scales by what it saw first, with the parameters of an actnorm."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.bias = nn.Parameter(torch.ones(2)), nn.Parameter(torch.zeros(2))
        self.kept: Tensor | None = None

    def _factor(self) -> Tensor:
        if self.kept is None:
            self.kept = self.scale.detach().clone()
        return self.kept[:, None, None]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self._factor(), x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z / self._factor(), z.new_zeros(len(z))


def _unmoved() -> Subject:
    """Its spec moves nothing, so its parameters are scaled."""
    subject = known(StaleScale(), ActNorm2d(2))
    assert subject.spec is not None
    return replace(subject, spec=replace(subject.spec, move=None))


def _own(layer: nn.Module, forward: Any = None, inverse: Any = None) -> Callable[[], Subject]:
    return lambda: known(Spoilt(layer, forward, inverse), layer)


STATE = [
    Row("state_dict_restores", mixing, PASS),
    *(Row("state_dict_restores", _subject(lambda case, o=output: Shifted(case.seed, o)), FAIL,
          "loaded state_dict") for output in (0, 1)),
    Row("copies_and_pickles_agree", lambda: Mixing(2), PASS),
    Row("copies_and_pickles_agree", _subject(lambda case: CopiedAs(1.0)), NOTE, "deepcopy differs"),
    Row("copies_and_pickles_agree", _subject(lambda case: CopiedAs(0.0, 1.0)), NOTE,
        "pickle differs"),
    Row("copies_and_pickles_agree", _subject(lambda case: CopiedAs(0.0, 1.0)), FAIL,
        "pickle differs", own=True),
    Row("nothing_goes_stale", lambda: Mixing(2), PASS),
    *(Row("nothing_goes_stale", lambda t=training: Caching(t), FAIL, "before the update")
      for training in (False, True)),
    Row("nothing_goes_stale", lambda: Caching(True), PASS, lacks=("modes",)),
    Row("nothing_goes_stale", lambda: Rooted(frozen=True), PASS),
    Row("nothing_goes_stale", lambda: Rooted(frozen=False), PASS, lacks=("free_parameters",)),
    Row("nothing_goes_stale", lambda: Rooted(frozen=False), FAIL, "moved"),
    Row("nothing_goes_stale", lambda: ActNorm2d(2), PASS),
    Row("nothing_goes_stale", _own(ActNorm2d(2), off(1e-6)), FAIL),
    Row("nothing_goes_stale", _own(ActNorm2d(2), off(0.0, 1e-6)), FAIL),
    Row("nothing_goes_stale", _last_bit, FAIL, "before the update"),
    Row("nothing_goes_stale", _unmoved, FAIL, "before the update"),
    Row("train_and_eval_agree", mixing, PASS),
    Row("train_and_eval_agree", lambda: ModeDependent(2), FAIL, "train and eval"),
]  # fmt: skip


# --- compiling -----------------------------------------------------------------------------------


def _compiling(x: Tensor) -> bool:
    return torch.compiler.is_compiling()


EVEN, ODD = {"seed": 2}, {"seed": 1}
COMPILED = [
    Row("compiled_agrees", mixing, PASS, case=EVEN),
    Row("compiled_agrees", mixing, PASS, case=ODD),
    Row("compiled_agrees", lambda: mixing(off_if(_compiling, 1.0)), FAIL, case=EVEN),
    Row("compiled_agrees", lambda: mixing(off_if(_compiling, 0.0, 1.0)), FAIL, case=EVEN),
    Row("compiled_agrees", lambda: mixing(None, off_if(_compiling, 1.0)), PASS, case=EVEN),
    Row("compiled_agrees", lambda: mixing(None, off_if(_compiling, 1.0)), FAIL,
        "the compiled inverse", case=ODD),
    Row("compiled_agrees", lambda: mixing(None, off_if(_compiling, 0.0, 1.0)), FAIL,
        "its log-det", case=ODD),
    Row("compiled_agrees", lambda: mixing(None, off_if(_compiling, 0.0, 1.0)), PASS, case=ODD,
        lacks=("inverse_logdet",)),
    Row("compiled_agrees", lambda: mixing(off_if(_compiling, 1.0)), FAIL, case=ODD,
        lacks=("inverse",)),
    Row("compiled_agrees", lambda: AffineCoupling2d(2, 4), PASS, case=ODD),
    Row("compiled_agrees", lambda: Conv1x1(2), PASS, case=ODD),
]  # fmt: skip


def test_a_compiled_log_det_may_differ_by_what_the_inverse_does() -> None:
    """Of a coupling behind a rotation: more than at a point that is known exactly."""
    stream = torch.Generator().manual_seed(1)
    layer = Chain(Conv1x1(2, generator=stream), AffineCoupling2d(2, 16, generator=stream))
    check = CHECKS["compiled_agrees"]
    case = Case((2, 2, 3), batch=1, seed=1)
    subject = known(layer, layer)
    trial = Trial(subject, check.adapt(case, subject))
    of_logdet = trial.forward_bound(trial.x)[1]
    of_x = trial.inverse_bound(trial.back[0], trial.forward[0])
    assert trial.definition is not None
    run = trial.definition.running(as_extended(trial.x), of_x, trial.arithmetic)
    least, most = 2 * float(of_logdet[0]), 2 * float(run.logdet_error[0])
    assert most > 1.1 * least
    for by, verdict in ((0.95 * most, PASS), (1.1 * most, FAIL)):
        spoilt = Spoilt(layer, None, off_if(_compiling, 0.0, by))
        assert run_check(check, known(spoilt, layer), case).verdict is verdict


def test_cases_to_compile_and_to_initialise_from() -> None:
    subject = Subject.of_class("Conv1x1", Conv1x1)
    adapt = CHECKS["compiled_agrees"].adapt
    small = adapt(Case((5, 6, 7), batch=0, style="ill", scale="huge"), subject)
    assert (small.batch, small.event, small.style, small.scale) == (1, (2, 3, 3), "trained", "unit")
    assert adapt(Case((5, 6, 7), batch=3), subject).batch == 3
    enough = CHECKS["initialization_normalizes"].adapt
    assert [enough(Case((2, 1, 1), batch=b), subject).batch for b in (0, 4, 7)] == [4, 4, 7]


# --- initialising --------------------------------------------------------------------------------


def _in_channel(c: int, by: float, factor: float = 1.0, training: bool | None = None) -> Any:
    """Moves or stretches one channel of z; in one mode only, if that is given."""

    class Off(Spoilt):
        def forward(self, x: Tensor) -> Any:
            z, logdet = self.layer(x)
            if training is None or training == self.training:
                z = z.clone()
                z[:, c] = z[:, c] * factor + by
            return z, logdet

    return lambda: known(Off(ActNorm2d(2)), ActNorm2d(2))


INITIAL = [
    Row("initialization_normalizes", lambda: ActNorm2d(2), PASS),
    *(Row("initialization_normalizes", _in_channel(c, by), FAIL, "not normalised")
      for c in (0, 1) for by in (-1e-3, 1e-3)),
    *(Row("initialization_normalizes", _in_channel(c, 0.0, factor), FAIL, "not normalised")
      for c in (0, 1) for factor in (0.999, 1.001)),
    *(Row("initialization_normalizes", _in_channel(0, 1e-3, 1.0, training), FAIL)
      for training in (False, True)),
]  # fmt: skip


def test_means_and_variances_are_those_of_rounded_numbers() -> None:
    """Four times the largest error of z, and of its square; the largest entry is below zero."""
    check = CHECKS["initialization_normalizes"]
    base = known(ActNorm2d(2), ActNorm2d(2))
    case = Case((2, 2, 2), batch=4, seed=37)
    trial = Trial(base, case)
    data = 3 * trial.x + 2
    layer: Any = trial.new_layer(style="initial")
    layer.initialize(data)
    z, _ = layer(data)
    z = z.detach()
    assert -z.min() > 1.5 * z.max()
    definition = trial.define(layer)
    assert definition is not None
    zero = 0 * as_extended(data)
    error = definition.running(as_extended(data), zero, trial.arithmetic).error
    room = 4 * float(np.max(error)) * (1 + float(z.abs().max()))
    for share, verdict in ((0.9, PASS), (-0.9, PASS), (1.2, FAIL), (-1.2, FAIL)):
        subject = _in_channel(0, share * room)()
        assert run_check(check, subject, case).verdict is verdict, share


# --- gradients -----------------------------------------------------------------------------------


class Kinked(nn.Module):
    """``x`` below 0 and ``2 x`` above, on data close to the kink; values are right."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(x > 0, 2 * x, x), (x > 0).to(x).flatten(1).sum(1) * float(np.log(2))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(z > 0, z / 2, z), -(z > 0).to(z).flatten(1).sum(1) * float(np.log(2))


def _kinked() -> Subject:
    near = 2.0**-18
    return Subject(
        "Kinked",
        lambda case: Kinked(),
        draw=lambda B, event, generator: torch.full((B, *event), near, dtype=torch.float64),
    )


def steeper(v: Tensor) -> Tensor:
    """The same numbers with half as much gradient again."""
    return v.detach() + 1.5 * (v - v.detach())


class Steeper(Mixing):
    """Correct values, and the inverse's gradient wrong for z, or for the weight."""

    def __init__(self, z: bool) -> None:
        super().__init__(2)
        self.of_z = z

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        weight = self.weight if self.of_z else steeper(self.weight)
        x = self.apply(torch.linalg.inv(weight), steeper(z) if self.of_z else z)
        return x, -self.total(z)


class Dead(Mixing):
    """Nothing requires a gradient although parameters do."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = super().forward(x)
        return z.detach(), logdet.detach()


class HalfDead(Gate):
    """One parameter is not used; every other is, in part."""

    def __init__(self) -> None:
        super().__init__(2)
        self.unused = nn.Parameter(torch.ones(2))


class _WrongPush(torch.autograd.Function):
    """The identity, whose forward derivative is off by a factor."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, factor: float) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.clone(), None

    @staticmethod
    def jvp(ctx: Any, pushed: Tensor, _: Any) -> Tensor:
        return pushed * ctx.factor


class WrongPush(Mixing):
    """A matrix with both signs, whose forward derivative is off in one direction."""

    def __init__(self, forward: float = 0.0, inverse: float = 0.0) -> None:
        super().__init__(2)
        self.weight.data.copy_(torch.tensor([[-3.0, 1.0], [-0.25, 0.25]]))
        self.by = forward, inverse

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = super().forward(x)
        return _WrongPush.apply(z, 1 + self.by[0]), logdet

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = super().inverse(z)
        return _WrongPush.apply(x, 1 + self.by[1]), logdet


def _mapped(x: Tensor) -> bool:
    return bool(torch._C._functorch.is_batchedtensor(x))


def _mapped_by_sign(sign: int) -> Any:
    """Off under vmap, where the data of the batch sum to this sign."""

    def change(x: Tensor, value: Tensor, logdet: Tensor) -> tuple[Tensor, Tensor]:
        if not _mapped(x):
            return value, logdet
        return value + (x.sum() * sign > 0).to(x), logdet

    return change


GRADIENTS = [
    *(Row(f"gradient_of_{what}", _kinked, PASS, event=(3,)) for what in ("latent", "logdet")),
    Row("gradient_of_inverse", lambda: Mixing(2), PASS),
    Row("gradient_of_inverse", lambda: Steeper(True), FAIL, "gradient for z"),
    Row("gradient_of_inverse", lambda: Steeper(False), FAIL, "gradient for weight"),
    Row("gradient_of_inverse", lambda: Steeper(False), PASS, lacks=("free_parameters",)),
    Row("gradient_of_inverse", lambda: Mixing(2).requires_grad_(False), PASS),
    Row("no_dead_parameter", lambda: Gate(2), PASS),
    Row("no_dead_parameter", lambda: Dead(2), FAIL, "ever reaches weight"),
    Row("no_dead_parameter", HalfDead, FAIL, "ever reaches unused"),
    Row("no_dead_parameter", lambda: Conv1x1(1), UNSUPPORTED, "one channel", event=(1, 2, 2)),
    Row("no_dead_parameter", lambda: Mixing(1), PASS, event=(1, 2, 2)),
    Row("no_dead_parameter", lambda: Conv1x1(2), PASS),
    Row("jvp_agrees", lambda: WrongPush(), PASS),
    Row("jvp_agrees", lambda: WrongPush(1e-6), FAIL, "the forward derivative"),
    Row("jvp_agrees", lambda: WrongPush(0.0, 1e-6), FAIL, "the inverse's derivative"),
    *(Row("jvp_agrees", lambda: WrongPush(0.0, 1e-6), PASS, lacks=(name,))
      for name in ("inverse_gradient", "exact_inverse")),
    Row("vmap_agrees", mixing, PASS),
    Row("vmap_agrees", lambda: mixing(off_if(_mapped, 1.0)), FAIL),
    Row("vmap_agrees", lambda: mixing(off_if(_mapped, 0.0, 1.0)), FAIL),
    Row("vmap_agrees", lambda: mixing(None, off_if(_mapped, 1.0)), FAIL),
    Row("vmap_agrees", lambda: mixing(None, off_if(_mapped, 1.0)), PASS, lacks=("inverse",)),
    *(Row("vmap_agrees", lambda s=sign: mixing(_mapped_by_sign(s)), FAIL, case={"seed": 0})
      for sign in (-1, 1)),
]  # fmt: skip


def test_pushed_vectors_agree_within_ten_of_their_bound() -> None:
    """u n (max |J| |v| + max |J v|); each maximum, minimum and sign matters by 40 % here."""
    check = CHECKS["jvp_agrees"]
    case = Case((2, 1, 1), batch=1, seed=4)
    # As one of our own: of a stranger's, what shrinks with the precision is excused.
    right = replace(Subject.of_layer(WrongPush()), own=True)
    trial = Trial(right, check.adapt(case, right))
    v = trial.sample(9, batch=1).numpy().reshape(-1)
    W = trial.layer.weight.detach().numpy()  # type: ignore[operator]
    scale = U64 * 2 * ((np.abs(W) @ np.abs(v)).max() + np.abs(W @ v).max())
    exact = np.abs(W @ v).max()
    for share, verdict in ((0.8, PASS), (1.25, FAIL)):
        wrong = WrongPush(share * 10 * scale / exact)
        subject = replace(Subject.of_layer(wrong), own=True)
        result = run_check(check, subject, case)
        assert result.verdict is verdict, result
        assert result.ratio == pytest.approx(10 * share, rel=0.15)


TABLE = [*STATE, *COMPILED, *INITIAL, *GRADIENTS]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_verdict(row: Row) -> None:
    result = row.judge()
    assert result.verdict is row.verdict, result
    assert row.word in result.detail
