"""The training patch that is nearest to a sample, among all places of the training regions."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from emcheck.oracle.precision import Array
from studies.density.regions import Data


@torch.no_grad()
def nearest_patches(data: Data, samples: Array) -> tuple[Array, Array]:
    """Patches ``(N, C, H, W)`` and their root-mean-square distances in grey levels, ``(N,)``.

    ``||s - p||^2 = ||s||^2 - 2 <s, p> + ||p||^2`` at every place is two correlations. Mirrored
    patches count too where training saw them.

    Cost: ``places C H W`` multiplications for each sample.
    """
    C, H, W = data.shape
    kernels = torch.from_numpy(samples.astype(np.float32))
    if data.mirror:
        kernels = torch.cat([kernels, kernels.flip(3)])
    best = np.full(len(kernels), np.inf)
    found = np.zeros((len(kernels), C, H, W), np.uint8)
    own = kernels.square().sum(dim=(1, 2, 3))
    for region in data.train:
        x = torch.from_numpy(np.ascontiguousarray(region).astype(np.float32))[None]
        squares = F.conv2d(x.square().double(), x.new_ones(1, C, H, W).double())
        inner = F.conv2d(x, kernels).double()
        distance = (squares - 2 * inner + own.double()[:, None, None])[0].flatten(1)
        least, place = distance.min(dim=1)
        for n in np.flatnonzero(least.numpy() < best):
            row, column = divmod(int(place[n]), region.shape[2] - W + 1)
            best[n], found[n] = least[n], region[:, row : row + H, column : column + W]
    if data.mirror:
        turned = best[len(samples) :] < best[: len(samples)]
        mirrored = found[len(samples) :, :, :, ::-1]
        found = np.where(turned[:, None, None, None], mirrored, found[: len(samples)])
        best = np.minimum(best[len(samples) :], best[: len(samples)])
    return found, np.sqrt(np.maximum(best, 0) / (C * H * W))
