"""Whole flows side by side: a training step and sampling, mixing against mixing."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from emcheck.flows import Glow
from emcheck.flows.mixing import MIXINGS
from studies.contests.contest import Call, Contest
from studies.grown import grown

#: The size at which the emerging flow must cost at most 1.3 times the 1x1 flow.
SHAPE, LEVELS, DEPTH, WIDTH, BATCH = (3, 16, 16), 2, 4, 64, 64

#: A step is long, starts hundreds of small operations and varies by a tenth from one to the next:
#: the median of five varies by half of that, which is as much as what is measured.
ROUNDS = 21


def training_steps(device: str = "cpu") -> Contest:
    """Loss, gradients and one step of Adamax, the batch drawn before."""
    calls = {name: _step(flow, device) for name, flow in _flows(device)}
    for peer in _peers():
        calls["normflows"] = _step(peer.to(device), device, peer.forward_kld)
    return Contest("training step", BATCH, SHAPE, calls, ROUNDS, device)


def sampling(device: str = "cpu") -> Contest:
    """A batch of images from the prior, latents drawn in the call."""
    calls: dict[str, Call] = {name: _draw(flow) for name, flow in _flows(device)}
    for peer in _peers():
        calls["normflows"] = functools.partial(peer.to(device).sample, BATCH)
    return Contest("sampling", BATCH, SHAPE, calls, ROUNDS, device)


def kept_for_backward() -> dict[str, float]:
    """What each flow keeps between forward and backward of a step, in sizes of its batch.

    Storages that autograd saves are counted once, parameters not at all.
    """
    found = {name: _kept(flow, flow.bits_per_dim) for name, flow in _flows("cpu")}
    for peer in _peers():
        found["normflows"] = _kept(peer, peer.forward_kld)
    return found


def _kept(flow: nn.Module, loss: Callable[[Tensor], Tensor]) -> float:
    x = _images()
    own = {p.untyped_storage().data_ptr() for p in flow.parameters()}
    saved: dict[int, Tensor] = {}  # holds them, so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss(x)
    held = (t.untyped_storage().nbytes() for address, t in saved.items() if address not in own)
    return sum(held) / x.untyped_storage().nbytes()


def _flows(device: str) -> Iterator[tuple[str, Glow]]:
    for name in MIXINGS:
        yield name, _flow(name, device)


def _images() -> torch.Tensor:
    return torch.rand(BATCH, *SHAPE, generator=torch.Generator().manual_seed(0))


def _flow(mixing: str, device: str) -> Glow:
    flow = Glow(SHAPE, LEVELS, DEPTH, mixing, WIDTH, seed=0)
    flow.initialize(_images())
    return grown(flow).to(device)


def _peers() -> Iterator[Any]:
    """The same architecture of normflows, if it is installed: squeeze, steps, split of half."""
    try:
        import normflows as nf
    except ImportError:
        return
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls what torch has deprecated
        torch.manual_seed(0)
        flow = _normflows(nf)
        flow.forward_kld(_images())  # its actnorm starts from the first batch
    yield flow


def _normflows(nf: Any) -> Any:
    (channels, side, _), bases, levels, merges = SHAPE, [], [], []
    for level in range(LEVELS):  # the last level is the first of the data
        scale = 2 ** (LEVELS - level)
        steps = [
            nf.flows.GlowBlock(channels * 2 ** (LEVELS + 1 - level), WIDTH) for _ in range(DEPTH)
        ]
        levels.append([*steps, nf.flows.Squeeze()])
        last = level == 0
        left = channels * 2 ** (LEVELS + 1 - level) // (1 if last else 2)
        bases.append(nf.distributions.DiagGaussian((left, side // scale, side // scale)))
        if level > 0:
            merges.append(nf.flows.Merge())
    return nf.MultiscaleFlow(bases, levels, merges, class_cond=False)


def _step(
    flow: nn.Module, device: str, loss: Callable[[Tensor], Tensor] | None = None
) -> Callable[[], object]:
    x = _images().to(device)
    optimiser = torch.optim.Adamax(flow.parameters(), lr=1e-3, foreach=True)
    loss = loss or (lambda x: flow.bits_per_dim(x).mean())  # type: ignore[operator]

    def step() -> None:
        with torch.enable_grad():
            optimiser.zero_grad(set_to_none=True)
            loss(x).backward()
            optimiser.step()

    return step


def _draw(flow: Glow) -> Callable[[], object]:
    return lambda: flow.sample(BATCH, torch.Generator().manual_seed(1))
