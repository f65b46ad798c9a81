"""Layers with millions of parameters: memory follows the layer, and no right one is accused."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from emcheck._internal.parts import PART, dot, normal_parts, parts, root_mean_square
from emcheck.checks import CHECKS, Case, run_check
from emcheck.kit.target import make_subject
from emcheck.result import Verdict

#: A coupling whose network has about WIDTH^2 parameters; its Jacobian shows none of its width.
COUPLING = """
import torch
from torch import nn

class Wide(nn.Module):
    def __init__(self, width):
        super().__init__()
        layers = nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()
        self.net = nn.Sequential(*layers, nn.Linear(width, 2))

    def forward(self, x):
        a, b = x.chunk(2, 1)
        return torch.cat([a, b + self.net(a)], 1), x.new_zeros(len(x))

    def inverse(self, z):
        a, b = z.chunk(2, 1)
        return torch.cat([a, b - self.net(a)], 1), z.new_zeros(len(z))
"""

#: Prints how many times its own size (float32) a layer takes at the peak of two checks.
MEMORY = f"""
import resource, sys
{COUPLING}
from emcheck.checks import CHECKS, Case, run_check
from emcheck.kit.target import make_subject

def run(width):
    for check in ("gradient_of_latent", "calls_are_pure"):
        subject = make_subject(lambda: Wide(width), (4,), None, None, None)
        result = run_check(CHECKS[check], subject, Case((4,), style="optimised"))
        assert result.verdict.name == "PASS", result
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

torch.set_num_threads(1)
before = run(8)
print((run(2048) - before) / (2048 * 2048 * 4 / 2**20))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is in KiB only on Linux")
def test_memory_follows_the_layer() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 10


@pytest.mark.parametrize("seed", range(3))
def test_a_wide_hidden_layer_is_not_accused(seed: int) -> None:
    """Its sums have as many terms as the layer is wide, and cancel."""
    known: dict[str, type[nn.Module]] = {}
    exec(COUPLING, known)
    subject = make_subject(lambda: known["Wide"](3000), (4,), None, None, None)
    result = run_check(CHECKS["vmap_agrees"], subject, Case((4,), seed=seed))
    assert result.verdict is Verdict.PASS, result


def test_parts_are_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 5, PART // 3, generator=generator, dtype=torch.float64)
    assert sum(len(x) for x, _ in parts(a, b)) == a.numel()
    assert dot(a, b) == pytest.approx(float((a * b).sum()), rel=1e-9)
    assert root_mean_square(a) == pytest.approx(float(a.square().mean().sqrt()), rel=1e-12)
    for part, drawn in normal_parts(a, generator):
        part.copy_(drawn)
    assert abs(float(a.mean())) < 0.01
    assert float(a.std()) == pytest.approx(1, abs=0.01)
    assert torch.linalg.matrix_rank(a) == 5
    assert root_mean_square(torch.zeros(0, 3)) == 0
    (strided,) = next(parts(a.T))
    assert strided.shape == a.T.shape
