"""What a trained cell is judged by; one JSON record holds all of it."""

from __future__ import annotations

import base64
import copy
import math
import statistics
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benches.timing import clock
from emcheck._internal.randomness import stream
from emcheck.flows import Glow
from emcheck.oracle.precision import Array
from studies.density.cell import live_parameters
from studies.density.evaluation import PASS, held_out_bits
from studies.density.nearest import nearest_patches
from studies.density.regions import Data, dequantise, quantise
from studies.density.training import Training

#: Samples of a record, and their temperature.
SAMPLES, TEMPERATURE = 8, 1.0

#: Latents that are drawn to see whether they come back, and how near is back.
LATENTS, RETURNED = 512, 0.01

#: Images of one timed call of ``sample``.
AT_ONCE = 64


def outcome(training: Training) -> dict[str, Any]:
    """Measure a trained cell at its best validation: likelihood, fidelity, time, samples."""
    flow, data, cell = training.best, training.data, training.cell
    single, weighted = held_out_bits(flow, data)
    record = {
        "cell": cell.to_json(),
        "width": flow.width,
        "parameters": live_parameters(flow),
        "steps": training.step_number,
        "best_step": training.best_step,
        "train_seconds": training.seconds,
        "test": float(single.mean()),
        "test_error": float(single.std() / math.sqrt(len(single))),
        "test_weighted": float(weighted.mean()),
        "shape": list(data.shape),
        "bins": data.bins,
        "fidelity": fidelity(flow, data),
        "sample_seconds": sample_seconds(flow),
        "rows": training.rows,
    }
    if cell.seed == 0:  # a report shows no others
        drawn = quantise(flow.sample(SAMPLES, stream("samples"), TEMPERATURE), data.bins)
        patches, distances = nearest_patches(data, drawn)
        record |= {"samples": encode(drawn), "nearest": encode(patches)}
        record |= {"nearest_distances": [float(distance) for distance in distances]}
    return record


@torch.no_grad()
def fidelity(flow: Glow, data: Data) -> dict[str, float]:
    """How well float32 goes there and back: on test images, and from drawn latents.

    ``image`` is the largest ``|f^-1(f(x)) - x|`` in grey levels, ``image_median`` that of the
    median pixel, ``changed`` the share of pixels whose whole number becomes another one.
    ``latent`` is the largest ``|f(f^-1(z)) - z|`` in standard deviations, ``latent_median`` of
    the median number; ``lost`` the share of drawn latents that do not come back within a
    hundredth, or are not finite on the way, and ``lost_float64`` the same in float64: where
    both are equal it is the flow that maps them too far out, not its rounding.
    """
    x = dequantise(data.test[:PASS], data.bins, stream("noise", "test", 0)).to(flow.top.scale)
    back = flow.inverse(flow(x)[0])[0]
    levels = _size((back - x) * data.bins)
    changed = quantise(back, data.bins) != quantise(x, data.bins)
    n = math.prod(data.shape)
    z = torch.randn(LATENTS, n, generator=stream("latents"), dtype=torch.float64)
    narrow, wide = _returned(flow, z), _returned(copy.deepcopy(flow).double(), z)
    return {
        "image": float(levels.max()),
        "image_median": float(levels.median()),
        "changed": float(changed.mean()),
        "latent": float(narrow.max()),
        "latent_median": float(narrow.median()),
        "lost": float((narrow.amax(dim=1) > RETURNED).double().mean()),
        "lost_float64": float((wide.amax(dim=1) > RETURNED).double().mean()),
    }


def _returned(flow: Glow, z: Tensor) -> Tensor:
    z = z.to(flow.top.scale)
    return _size(flow(flow.inverse(z)[0])[0] - z).double()


def _size(error: Tensor) -> Tensor:
    return error.abs().nan_to_num(math.inf, posinf=math.inf)


def sample_seconds(flow: Glow, rounds: int = 7) -> float:
    """Seconds per image of one call that draws 64; the median after one call to warm up."""

    def call() -> None:
        flow.sample(AT_ONCE, stream("timed"))

    call()
    now = clock(flow.top.scale.device.type)
    times = []
    for _ in range(rounds):
        start = now()
        call()
        times.append(now() - start)
    return statistics.median(times) / AT_ONCE


def encode(images: Array) -> dict[str, Any]:
    """Whole numbers as text for JSON."""
    held = np.ascontiguousarray(images, np.uint8)
    return {"shape": list(held.shape), "base64": base64.b64encode(held.tobytes()).decode()}
