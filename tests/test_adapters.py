"""Every surveyed layer through its adapter: the library's values, copies, dtypes, pickles."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Transform

from emcheck._internal.randomness import seeded
from emcheck.adapters import Adapted, adapt
from tests.surveyed import (
    QUIET,
    adapted,
    draw,
    listed,
    outputs,
    same,
    unconditional,
    with_adapters,
)

pytestmark = QUIET

#: Entries without an inverse, a log-det or either, and what the exception says then.
LACKING = {
    "normflows Planar tanh": "normflows.Planar has no inverse: This flow has no algebraic inverse.",
    "normflows Radial": "normflows.Radial has no inverse: This flow has no algebraic inverse.",
    "normflows BatchNorm": "normflows.BatchNorm has no inverse: "
    "This flow has no algebraic inverse.",
    "nflows BatchNorm training mode": "nflows.BatchNorm has no inverse: Batch norm inverse is only "
    "available in eval mode, not in training mode.",
    "torch.distributions CumulativeDistributionTransform Gamma": "torch."
    "CumulativeDistributionTransform has no inverse",
    "torch.distributions LowerCholeskyTransform": "torch.LowerCholeskyTransform has no forward "
    "with a log-det",
}

#: Entries whose own call fails with the versions installed, in one direction.
BROKEN = (
    *("NaiveLinear", "SqueezeTransform factor 3", "LULinear cached in eval mode"),
    *("AffineAutoregressive", "AffineAutoregressive stable", "SplineAutoregressive quadratic"),
)

#: Entries whose inverse moves running statistics, which forward takes.
RUNNING = ("pyro BatchNorm",)

#: What the adapter of Pyro says of a transform that takes its last output back alone.
LAST = ("has no inverse: only the last output is taken back", "has no inverse")

#: Entries with a parameter that requires a gradient and is not used.
UNUSED = ("HouseholderPerm fixed",)

#: Entries with several tensors on a side, for which the adapter chooses the arrangement; those
#: of transforms that hold modules and are none, whose own tensors cannot be converted.
SEVERAL = ("Split", "Merge", "AffineCoupling pair", "MultiscaleFlow", "Concat", "two outputs",
           "AffineCoupling inverse", "ComposeTransform planar")  # fmt: skip


def direct(library: str, layer: Any, x: Tensor, inverse: bool) -> Any:
    """The library's own call, written without the adapters."""
    if library == "FrEIA":
        value, logdet = layer([x], rev=inverse, jac=True)
        return (value if isinstance(value, Tensor) else value[0]), logdet
    if library == "zuko":
        made = layer if isinstance(layer, Transform) else layer()
        transform = getattr(made, "transform", made)
        return (transform.inv if inverse else transform).call_and_ladj(x)
    if library in ("torch.distributions", "pyro"):
        transform = layer.inv if inverse else layer
        z = transform(x)
        logdet = transform.log_abs_det_jacobian(x, z)
        elementwise = library == "pyro" and transform.domain.event_dim == 0
        return z, logdet.expand(z.shape) if elementwise else logdet
    if type(layer).__name__ == "NormalizingFlow":
        return (layer.inverse_and_log_det if inverse else layer.forward_and_log_det)(x)
    if type(layer).__name__ == "SimpleRealNVP":
        layer = layer._transform
    return (layer.inverse if inverse else layer)(x)


@with_adapters
def test_values_are_the_librarys(library: str) -> None:
    """Values and log-dets in both directions are those of a direct call, bit for bit."""
    compared = 0
    for entry in unconditional(library):
        if any(name in entry.name for name in SEVERAL):
            continue
        own, layer = entry.build(None), adapt(entry.build(None))
        if isinstance(own, nn.Module):
            own, layer = own.double(), layer.double()
        x = draw(layer, entry)
        found = outputs(layer, x)
        for inverse in range(len(found) // 2):
            with seeded(6 if inverse else 5):
                start = (found[0].detach() if inverse else x).clone()
                value, logdet = direct(library, own, start, bool(inverse))
            if (
                library in ("zuko", "torch.distributions", "pyro")
                and logdet.shape[:1] == x.shape[:1]
            ):
                # StackTransform along its last dimension says that this is part of the event
                # and does not sum over it: log_prob of a distribution with it raises.
                summed = logdet.dim() > 1 and entry.name != "StackTransform last"
                logdet = logdet.flatten(1).sum(1) if summed else logdet
            got = found[2 * inverse : 2 * inverse + 2]
            assert same([value, logdet], got), (entry.name, inverse, value, logdet, got)
            compared += 1
        if len(found) % 2:
            expected = LACKING.get(f"{library} {entry.name}")
            last = library == "pyro" and str(found[-1]).endswith(LAST)
            known = last or entry.name in BROKEN
            assert found[-1] == expected or known, (entry.name, found[-1])
    assert compared >= 50


@with_adapters
def test_copies_share_nothing(library: str) -> None:
    """What becomes of the original's tensors is nothing to a deep copy, used before or not."""
    for entry, layer, x in adapted(library):
        if f"{library} {entry.name}" in RUNNING:
            continue
        outputs(layer, x)  # whatever is stored in a call is stored now
        copied = copy.deepcopy(layer)
        expected = outputs(copied, x)
        assert same(expected, outputs(copy.deepcopy(copied), x)), entry.name
        for tensor in (*layer.parameters(), *layer.buffers()):
            tensor.data.fill_(7)
        assert same(outputs(copied, x), expected), entry.name
        assert list(copied.state_dict()) == list(layer.state_dict()), entry.name
        kept = {p.data_ptr() for p in layer.parameters() if p.numel()}
        assert not kept & {p.data_ptr() for p in copied.parameters() if p.numel()}, entry.name


@with_adapters
def test_parameters_are_those_of_the_layer(library: str) -> None:
    """A step of every parameter of a copy moves the copy's outputs and not the original's."""
    moved = 0
    for entry, layer, x in adapted(library):
        if f"{library} {entry.name}" in RUNNING:
            continue
        before, copied = outputs(layer, x), copy.deepcopy(layer)
        if isinstance(before[0], str) and entry.name in BROKEN:
            continue
        trained = [p for p in copied.parameters() if p.requires_grad]
        for parameter in trained:
            parameter.data.mul_(1.125).add_(0.0625)
        assert same(outputs(layer, x), before), entry.name
        moves = bool(trained) and entry.name not in UNUSED
        assert moves != same(outputs(copied, x), before), entry.name
        moved += bool(trained)
    assert moved >= 8


@with_adapters
def test_everything_is_converted(library: str) -> None:
    """``double()`` and ``float()`` reach every tensor that the outputs are made of."""
    for dtype in (torch.float32, torch.float64):
        for entry in unconditional(library):
            layer = adapt(entry.build(None)).to(dtype)
            tensors = [*layer.parameters(), *layer.buffers()]
            assert all(t.dtype == dtype for t in tensors if t.is_floating_point()), entry.name
            if isinstance(layer, Adapted):
                layer.warm_up(draw(layer, entry, batch=5, seed=1).to(dtype))
            found = outputs(layer, draw(layer, entry).to(dtype))
            if isinstance(found[0], str) and entry.name in BROKEN:
                continue
            if "has no forward" not in str(found[0]):
                assert found[0].dtype == dtype, entry.name


@pytest.mark.parametrize(
    ("library", "names"),
    [("normflows", {"Planar tanh", "Radial", "BatchNorm"}), ("nflows", set()), ("zuko", set())],
)
def test_capabilities_known_without_a_call(library: str, names: set[str]) -> None:
    layers = {entry.name: adapt(entry.build(None)) for entry in unconditional(library)}
    assert {n for n, layer in layers.items() if "inverse" in getattr(layer, "lacks", ())} == names


def test_no_library_is_imported_for_nothing() -> None:
    """Adapting functions, modules and torch's transforms imports none of the peers."""
    code = (
        "import sys, torch; from torch.distributions import SigmoidTransform\n"
        "from emcheck.adapters import adapt; import studies.survey\n"
        "adapt(SigmoidTransform()); adapt(forward=lambda x: (x, 0))\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not {'normflows', 'nflows', 'FrEIA', 'zuko', 'pyro'} & loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("library", "name"),
    [("normflows", "GlowBlock"), ("nflows", "QRLinear"), ("FrEIA", "RNVPCouplingBlock TANH image"),
     ("zuko", "RotationTransform"), ("torch.distributions", "ComposeTransform of mixed event_dim")],
)  # fmt: skip
def test_pickles_agree(library: str, name: str) -> None:
    entry = next(entry for entry in listed(library) if entry.name == name)
    layer = adapt(entry.build(None)).double()
    x = draw(layer, entry)
    layer.warm_up(x)  # type: ignore[operator]
    assert same(outputs(pickle.loads(pickle.dumps(layer)), x), outputs(layer, x))
