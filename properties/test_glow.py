"""The multi-scale flow with every mixing layer: checked like a layer, and as a density."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch import Tensor, nn

import emcheck
from emcheck import bounds
from emcheck.checks import CHECKS, Case, Subject, run_check
from emcheck.checks.density import total_mass
from emcheck.contract import Event
from emcheck.flows import Glow
from emcheck.flows.mixing import MIXINGS
from emcheck.layers import ActNorm2d, EmergingConv2d
from emcheck.oracle import condition_number, explicit_jacobian
from emcheck.oracle.precision import as_extended
from emcheck.result import Verdict
from emcheck.solve.forward import for_convolution
from emcheck.specs import REGISTRY, SPECS
from emcheck.specs.parameter_styles import move_parameters
from properties.portions import portion

#: Two levels of one step: 4x2x4 -> split -> 2x1x2 channels of 8; every part occurs.
EVENT, LEVELS = (2, 4, 4), 2

#: What the flow must do for training and sampling to mean anything.
CORE = (
    "inverse_undoes_forward",
    "forward_undoes_inverse",
    "logdet_matches_jacobian",
    "inverse_logdet_matches_jacobian",
    "logdets_cancel",
    "gradient_of_latent",
    "gradient_of_logdet",
    "gradient_of_inverse",
    "gradient_of_inverse_logdet",
    "no_dead_parameter",
    "rows_are_independent",
    "calls_are_pure",
)


#: A network of rows before the own one is never used where the second level has one row.
EVENTS = {"1x1+macow": (1, 8, 8)}


def moved(mixing: str, seed: int, event: Event = EVENT, **options: object) -> Glow:
    """A flow in float64 whose layers have all left their initial values."""
    flow = Glow(event, LEVELS, 1, mixing, 4, seed=seed, **options).double()  # type: ignore[arg-type]
    move_all(flow, seed)
    return flow


def move_all(flow: Glow, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for level in flow.levels:
        for layer in level.layers:
            move_parameters(layer, "trained", generator)
    for layer in (*flow.splits, flow.top):
        move_parameters(layer, "trained", generator)


def images(batch: int, seed: int) -> Tensor:
    return torch.randn(
        batch, *EVENT, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


@pytest.mark.parametrize("mixing", portion(MIXINGS, 9, ["1x1+emerging"]))
def test_is_a_conforming_layer(mixing: str) -> None:
    """Every check of the kit, away from initial values, in both precisions."""
    event = EVENTS.get(mixing, EVENT)
    flow = moved(mixing, 1, event).float()
    report = emcheck.check_layer(flow, event, examples=1, time_limit=60.0, report_limit=300.0)
    assert report.ok, str(report)
    judged = {r.check for r in report.results if r.verdict is Verdict.PASS}
    assert judged >= set(CORE), set(CORE) - judged


@pytest.mark.parametrize("mixing", portion(MIXINGS, 4, ["1x1+emerging"]))
@settings(max_examples=4)  # of five checks each
@given(seed=st.integers(0, 2**32 - 1), batch=st.integers(1, 3))
def test_round_trip_and_logdets(mixing: str, seed: int, batch: int) -> None:
    """Each layer moved by its own rule, which is further than a random step would go."""
    flow = moved(mixing, seed)
    subject = Subject.of_layer(flow)
    for name in CORE[:5]:
        result = run_check(CHECKS[name], subject, Case(EVENT, batch=batch, seed=seed))
        assert result.verdict in (Verdict.PASS, Verdict.ILL_CONDITIONED), result


@pytest.mark.parametrize("mixing", portion(MIXINGS, 4, ["1x1+emerging"]))
def test_density_integrates_to_one(mixing: str) -> None:
    """On 1x2x2: after the squeeze a coupling is affine in half of four dimensions."""
    flow = Glow((1, 2, 2), 1, 1, mixing, 4, seed=2).double()
    move_all(flow, 3)
    centre = flow.inverse(torch.zeros(1, 4, dtype=torch.float64))[0].detach()
    J = explicit_jacobian(flow, centre[0])
    assert condition_number(J) < 1 / bounds.QUADRATURE
    assert total_mass(flow, centre, J, 9.0, 0.6) == pytest.approx(1, abs=bounds.QUADRATURE)


@pytest.mark.parametrize("mixing", MIXINGS)
def test_recomputed_gradients(mixing: str) -> None:
    """The same loss and the same gradients, with activations recovered by the inverse."""
    kept = moved(mixing, 5)
    again = copy.deepcopy(kept)
    again.recompute = True
    found = []
    for flow in (kept, again):
        x = images(3, 6).requires_grad_(True)
        loss = -flow.log_prob(x).mean()
        loss.backward()
        found.append((loss.detach(), [x.grad, *(p.grad for p in flow.parameters())]))
    n, kappa = images(1, 6).numel(), condition_number(explicit_jacobian(kept, images(1, 6)[0]))
    unit = bounds.dense_logdet(n, kappa, 1, 0.0, bounds.Arithmetic.of(torch.float64))
    # Not bit for bit: a product of matrices may round by where its operands lie in memory.
    (kept_loss, _), (recomputed_loss, _) = found
    assert (kept_loss - recomputed_loss).abs() <= 10 * unit * kept_loss.abs()
    for ordinary, recomputed in zip(found[0][1], found[1][1], strict=True):
        assert ordinary is not None
        assert recomputed is not None
        size = ordinary.norm() + found[0][1][0].norm()  # type: ignore[union-attr]
        assert (ordinary - recomputed).norm() <= 10 * unit * size


def test_recomputing_keeps_less() -> None:
    """Of a level's activations only the last one is kept."""

    def kept(flow: Glow) -> int:
        sizes: list[int] = []
        owned = {p.untyped_storage().data_ptr() for p in flow.parameters()}

        def pack(t: Tensor) -> Tensor:
            if t.untyped_storage().data_ptr() not in owned:
                sizes.append(t.numel())
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            flow.log_prob(torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
        return sum(sizes)

    ordinary, less = (
        kept(Glow((3, 8, 8), 2, 8, "1x1+emerging", 16, recompute=r, seed=0)) for r in (False, True)
    )
    assert less * 8 < ordinary


@pytest.mark.parametrize(
    "mixing", ["1x1+emerging", "1x1+raster", "1x1+corner", "1x1+exponential", "1x1+macow"]
)
def test_starts_as_the_1x1_flow(mixing: str) -> None:
    """Bit for bit: the identity added nothing, not even a rounding error."""
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    plain = Glow((3, 8, 8), 2, 2, "1x1", 8, seed=7)
    more = Glow((3, 8, 8), 2, 2, mixing, 8, identity=True, seed=7)
    plain.initialize(x)
    more.initialize(x)
    for a, b in zip(plain(x), more(x), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(plain.bits_per_dim(x), more.bits_per_dim(x))
    z = plain(x)[0]
    assert torch.equal(plain.inverse(z)[0], more.inverse(z)[0])


def test_starts_as_the_1x1_flow_but_for_the_rounding_of_transforms() -> None:
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    plain, more = (
        Glow((3, 8, 8), 2, 2, mixing, 8, identity=True, seed=7).double()
        for mixing in ("1x1", "1x1+orthogonal")
    )
    for flow in (plain, more):
        flow.initialize(x)
    unit = 2.0**-53 * x[0].numel() * condition_number(explicit_jacobian(plain, x[0]))
    z, other = plain(x)[0].detach(), more(x)[0].detach()
    assert float((z - other).norm()) <= 10 * unit * float(z.norm())


def test_initialization_standardises_every_actnorm() -> None:
    """In turn, each with what the ones before it have become."""
    x = 5 + 3 * torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    flow = Glow((3, 8, 8), 2, 2, "1x1+emerging", 8, seed=0)
    flow.initialize(x)
    left: list[Tensor] = []
    for part in flow.modules():
        if isinstance(part, ActNorm2d) and part is not flow.top:
            part.register_forward_hook(lambda module, args, out: left.append(out[0].detach()))
    flow(x)
    assert len(left) == 4
    for z in left:
        assert float(z.mean(dim=(0, 2, 3)).abs().max()) < 1e-4
        torch.testing.assert_close(z.var(dim=(0, 2, 3), correction=0), torch.ones(z.shape[1]))


def test_temperature_zero_is_the_mode_and_samples_are_seeded() -> None:
    flow = moved("1x1+emerging", 3).float()

    def drawn(temperature: float) -> Tensor:
        return flow.sample(3, torch.Generator().manual_seed(5), temperature)

    assert torch.equal(drawn(1.0), drawn(1.0))
    assert torch.equal(drawn(0.0)[0], drawn(0.0)[1])
    assert not torch.equal(drawn(0.5), drawn(1.0))


def test_bits_per_dim_of_a_known_density() -> None:
    """Standard normal latents of the identity: by SciPy, and 0 bits for a sure thing."""
    flow = Glow((1, 2, 2), 1, 1, "reversed", 2, seed=0).double()
    with torch.no_grad():  # the coupling halves at first: sigmoid(2) on two of four numbers
        x = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        z = x.reshape(5, 4).numpy()[:, ::-1].copy()
        gate = 1 / (1 + np.exp(-2.0))
        z[:, 2:] *= gate
        nats = norm.logpdf(z).sum(axis=1) + 2 * np.log(gate)
        found = flow.bits_per_dim(x, 256).numpy()
    np.testing.assert_allclose(found, 8 - nats / (4 * np.log(2)), rtol=1e-12)


@pytest.mark.parametrize("channels", [8, 12])
def test_the_layout_for_convolution_changes_no_value(channels: int) -> None:
    """Above the sizes that Hypothesis draws: channels last, against the definition."""
    layer = EmergingConv2d(channels, generator=torch.Generator().manual_seed(0))
    move_parameters(layer, "trained", torch.Generator().manual_seed(1))
    side = int((2**14 / channels / 8) ** 0.5) + 2
    x = torch.randn(8, channels, side, side - 1, generator=torch.Generator().manual_seed(2))
    assert for_convolution(x).stride() != x.stride()
    x.requires_grad_(True)
    z, logdet = layer(x)
    definition = SPECS[type(layer)].define(layer, tuple(x.shape[1:]))
    arithmetic = bounds.Arithmetic.of(torch.float32)
    running = definition.running(as_extended(x), np.zeros(x.shape), arithmetic)
    assert bounds.ratio(as_extended(z) - running.value, running.error) <= 1
    back = layer.inverse(z)[0]
    assert bounds.ratio(as_extended(back) - as_extended(x), np.full(x.shape, 1e-3)) <= 1
    g = torch.randn(z.shape, generator=torch.Generator().manual_seed(3))
    (narrow,) = torch.autograd.grad((g * z).sum(), x)
    wide = copy.deepcopy(layer).double()
    x64 = x.detach().double().requires_grad_(True)
    assert for_convolution(x64) is x64
    (expected,) = torch.autograd.grad((g.double() * wide(x64)[0]).sum(), x64)
    size = arithmetic.gamma(8 * channels) * float(expected.abs().max())
    assert float((narrow.double() - expected).abs().max()) <= 10 * size
    assert logdet.shape == (8,)


class _SplitForgotten(Glow):
    """The log-density of what leaves at the split lacks its scale, in both directions."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = super().forward(x)
        return z, logdet - self._lost(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = super().inverse(z)
        return x, logdet + self._lost(x)

    def _lost(self, x: Tensor) -> Tensor:
        return self.splits[0].log_det(self.levels[0](x)[0])  # type: ignore[operator]


@pytest.mark.exhaustive
def test_a_forgotten_split_prior_is_seen() -> None:
    """Where the two log-dets still cancel, so that the usual test passes."""
    flow = _SplitForgotten(EVENT, LEVELS, 1, "plu", 4, seed=0)
    move_all(flow, 1)
    report = emcheck.check_layer(flow, EVENT, examples=1)
    failed = {result.check for result in report.failures}
    assert {"logdet_matches_jacobian", "inverse_logdet_matches_jacobian"} <= failed
    assert "logdets_cancel" not in failed
    assert "the log-det of `splits.0` is missing" in report.explanations[0].text


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Glow((3, 6, 8), 2), "multiples of 4"),
        (lambda: Glow((3, 8), 1), r"\(C, H, W\)"),
        (lambda: Glow((3, 8, 8), 2, 1, "3x3"), "expected a mixing among reversed"),
        (lambda: Glow((3, 8, 8), 0), "levels"),
        (lambda: Glow((3, 8, 8), 1, 0), "depth"),
        (lambda: Glow((1, 2, 2), 1)(torch.zeros(1, 1, 4, 4)), r"expected \(B, 1, 2, 2\)"),
        (lambda: Glow((1, 2, 2), 1).inverse(torch.zeros(1, 5)), r"expected \(B, 4\)"),
        (lambda: Glow((1, 2, 2), 1).inverse(torch.zeros(1, 4).double()), "float32"),
    ],
)
def test_refusals(make: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()  # type: ignore[operator]


def test_every_part_of_a_flow_is_a_registered_layer() -> None:
    """So that each is checked by itself as well."""
    for mixing in MIXINGS:
        flow = Glow(EVENT, LEVELS, 1, mixing, 4, seed=0)
        parts: list[nn.Module] = [layer for level in flow.levels for layer in level.layers]
        for part in [*parts, *flow.splits, flow.top]:
            assert type(part).__name__ in REGISTRY
