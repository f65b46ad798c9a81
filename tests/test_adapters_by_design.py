"""What adapters declare as approximate by design, and nothing else."""

from __future__ import annotations

import pytest
import torch

from emcheck.adapters import adapt
from emcheck.checks.capabilities import CAPABILITIES
from tests.surveyed import QUIET, unconditional, with_adapters

pytestmark = QUIET

BISECTION = ("Bernstein", "BoundedBernstein", "Gaussianization", "SOS", "BPF", "GF", "NAF", "UNAF")

#: Transforms of Pyro that take their last output back alone.
LAST = ("Planar", "Radial", "Sylvester", "NeuralAutoregressive", "BlockAutoregressive",
        "Polynomial", "ComposeTransform planar")  # fmt: skip

#: library -> (start or end of a name, what the layer lacks); every other entry lacks nothing.
LACKS: dict[str, dict[str, set[str]]] = {
    "normflows": {
        "Residual": {"exact_inverse", "exact_logdet", "free_parameters"},
        "Planar tanh": {"inverse"},
        "Radial": {"inverse"},
        "BatchNorm": {"inverse"},
    },
    "FrEIA": {
        "IResNetLayer": {"exact_inverse", "exact_logdet", "free_parameters"},
        "OrthogonalTransform": {"free_parameters"},
    },
    "pyro": {
        **{name: {"inverse"} for name in LAST},
        "MatrixExponential": {"exact_inverse", "exact_logdet"},
    },
    "zuko": {
        "FFJTransform": {"exact_inverse", "exact_logdet"},
        "CNF": {"exact_inverse", "exact_logdet"},
        **{name: {"exact_inverse"} for name in BISECTION},
    },
}

#: Entries of FrEIA whose orthogonal matrix was rounded to float32 when it was built.
ROUNDED = {
    "AllInOneBlock permute_soft",
    "AllInOneBlock gin_block image",
    "OrthogonalTransform",
    "HouseholderPerm fixed",
}


@with_adapters
def test_only_what_is_approximate_is_declared(library: str) -> None:
    known = LACKS.get(library, {})
    used = set()
    for entry in unconditional(library):
        start = entry.name.removeprefix("UnconditionalTransform ")
        name = next((name for name in known if start.startswith(name)), "")
        expected = known.get(name, set()) | ({"other_sizes"} if library == "FrEIA" else set())
        lacks = getattr(adapt(entry.build(None)), "lacks", frozenset())
        assert lacks == expected, entry.name
        assert lacks <= set(CAPABILITIES), entry.name
        used.add(name)
    assert used >= set(known)


@with_adapters
def test_rounded_constants_are_declared(library: str) -> None:
    narrow = {
        entry.name
        for entry in unconditional(library)
        if getattr(adapt(entry.build(None)), "widest", None) == torch.float32
    }
    assert narrow == (ROUNDED if library == "FrEIA" else set())


def test_a_part_lacks_for_the_whole() -> None:
    """Found within sequences, graphs, inverses and compositions."""
    ff = pytest.importorskip("FrEIA.framework", reason="FrEIA is not installed")
    fm = pytest.importorskip("FrEIA.modules", reason="FrEIA is not installed")
    inn = ff.SequenceINN(4)
    inn.append(fm.ActNorm)
    inn.append(fm.OrthogonalTransform)
    layer = adapt(inn)
    assert layer.lacks == {"other_sizes", "free_parameters"}
    assert layer.widest == torch.float32


def test_a_transform_within_a_composition() -> None:
    zt = pytest.importorskip("zuko.transforms", reason="zuko is not installed")
    slow = zt.BernsteinTransform(torch.zeros(3, 4))
    whole = zt.ComposedTransform(zt.SinTransform(), zt.DependentTransform(slow, 1))
    for transform in (whole, whole.inv, zt.DependentTransform(slow, 1)):
        assert adapt(transform).lacks == {"exact_inverse"}
    assert adapt(zt.ComposedTransform(zt.SinTransform(), zt.CosTransform())).lacks == set()


def test_a_base_distribution_is_no_part_of_the_bijection() -> None:
    nf = pytest.importorskip("normflows", reason="normflows is not installed")
    base = nf.distributions.DiagGaussian(2)
    flow = nf.NormalizingFlow(base, [nf.flows.AffineConstFlow((2,))])
    layer = adapt(flow)
    assert [name for name, _ in layer.named_parameters()] == ["layer.flows.0.s", "layer.flows.0.t"]
    assert flow.q0 is base  # what was given is left as it was
    x = torch.ones(1, 2)
    assert torch.equal(layer(x)[0], flow.forward_and_log_det(x)[0])
