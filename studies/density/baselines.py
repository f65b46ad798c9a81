"""What a flow must beat: a fitted Gaussian, and a lossless image format."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from scipy.linalg import cho_factor, solve_triangular

from emcheck._internal.randomness import stream
from emcheck.oracle.precision import Array
from studies.density.regions import Data, dequantise

#: Training patches that the Gaussian is fitted to.
FITTED = 50_000

#: Share of the identity's scale that is added to the covariance.
RIDGE = 1e-6


def gaussian_bits(data: Data, role: str = "test") -> float:
    """Mean bits per dimension of a Gaussian with full covariance, dequantised alike.

    Mean and covariance are estimated from ``FITTED`` drawn training patches; the covariance is
    shrunk to its diagonal by the share, 0 among them, that validates best.
    """
    generator = stream("gaussian", data.name)
    fit = _flat(dequantise(data.draw(FITTED, generator), data.bins, generator))
    mean, covariance = fit.mean(axis=0), np.cov(fit, rowvar=False)
    covariance += RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    valid = _flat(dequantise(data.valid, data.bins, stream("noise", "valid", 0)))
    test = _flat(dequantise(getattr(data, role), data.bins, stream("noise", role, 0)))
    diagonal = np.diag(np.diag(covariance))
    shrunk = [share * diagonal + (1 - share) * covariance for share in (0.0, 0.01, 0.03, 0.1, 0.3)]
    best = min(shrunk, key=lambda one: _bits(valid, mean, one, data.bins))
    return _bits(test, mean, best, data.bins)


def _flat(x: torch.Tensor) -> Array:
    return x.flatten(1).double().numpy()


def _bits(x: Array, mean: Array, covariance: Array, bins: int) -> float:
    factor, _ = cho_factor(covariance, lower=True)
    whitened = solve_triangular(factor, (x - mean).T, lower=True)
    n = x.shape[1]
    logdet = 2 * np.log(np.diag(factor)).sum()
    nats = 0.5 * (n * math.log(2 * math.pi) + logdet + np.square(whitened).sum(axis=0))
    return float((nats.mean() + n * math.log(bins)) / (n * math.log(2)))


def png_bits(patches: Array) -> tuple[float, float]:
    """Bits per dimension of lossless PNG: each patch a file, and all of them one sheet.

    A file of its own pays for its header at every patch; the sheet pays once, and its
    filters see neighbours that do not belong together at every border.
    """
    alone = sum(_png_bytes(patch) for patch in patches)
    sheet = np.concatenate(list(patches), axis=1)  # one below the other
    return 8 * alone / patches.size, 8 * _png_bytes(sheet) / patches.size


def _png_bytes(patch: Array) -> int:
    """The size of ``(C, H, W)`` as PNG at the highest compression."""
    from PIL import Image

    buffer = io.BytesIO()
    channels = patch.transpose(1, 2, 0)
    image = Image.fromarray(np.ascontiguousarray(channels if len(patch) == 3 else channels[..., 0]))
    image.save(buffer, format="PNG", optimize=True, compress_level=9)
    return len(buffer.getvalue())


def baselines(data: Data) -> dict[str, float]:
    """The rows of the table that are no flows."""
    alone, sheet = png_bits(data.test)
    return {
        "gaussian": gaussian_bits(data),
        "png_each": alone,
        "png_sheet": sheet,
        "uniform": math.log2(data.bins),
    }
