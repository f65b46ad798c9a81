"""One dense complex system per frequency, and its log-determinant from the same LU.

| where                                         | how                | because                    |
|-----------------------------------------------|--------------------|----------------------------|
| CPU, Numba, up to `LARGEST_IN_LANES` channels | `frequency_lanes`  | 2 to 4 times as fast       |
| otherwise, below `BATCHED_LU_LIMIT` channels  | torch's batched LU | any device, any derivative |
| otherwise                                     | one by one         | a fault of the batched LU  |

All factorise with partial pivoting. If a derivative is needed, torch does the work.
"""

from __future__ import annotations

import torch
from torch import Tensor

from emcheck.solve.choose import attempt, runs_compiled

#: Measured to this size: batch 32, 144 frequencies, 2 to 4 times as fast from 12 channels on.
LARGEST_IN_LANES = 128

#: The module of compiled code.
_LANES = "frequency_lanes"

#: From this size on, batched LU in torch can be silently wrong on the CPU (pytorch issues
#: 142815 and 141358, oneMKL builds after ``set_num_threads``); matrices are taken one by one.
BATCHED_LU_LIMIT = 150


def slogdet_frequencies(spectrum: Tensor) -> Tensor:
    """``log|det|`` of the matrices of ``spectrum (C, C, F)`` as ``(F,)``.

    Cost: ``F C^3 / 3`` complex products.
    """
    if _in_lanes(spectrum):
        nothing = spectrum.new_zeros(0, *spectrum.shape[1:])
        return attempt(
            _LANES, lambda: _by_lanes(spectrum, nothing)[1], lambda: _slogdet_by_torch(spectrum)
        )
    return _slogdet_by_torch(spectrum)


def _slogdet_by_torch(spectrum: Tensor) -> Tensor:
    matrices = spectrum.permute(2, 0, 1)
    if len(spectrum) < BATCHED_LU_LIMIT:
        return torch.linalg.slogdet(matrices).logabsdet
    return torch.stack([torch.linalg.slogdet(matrix).logabsdet for matrix in matrices])


def solve_frequencies(
    spectrum: Tensor, right: Tensor, *, overwrite: bool = False
) -> tuple[Tensor, Tensor]:
    """Solve ``spectrum (C, C, F) x = right (B, C, F)``; return ``x`` and ``log|det| (F,)``.

    Cost: ``F (C^3 / 3 + B C^2)`` complex products; with ``overwrite``, which allows to keep ``x``
    where ``right`` was, no memory for the result.

    Raises:
        ValueError: a pivot is exactly zero.
    """
    if _in_lanes(spectrum, right):
        x, logabsdet = attempt(
            _LANES,
            lambda: _by_lanes(spectrum, right if overwrite else right.clone()),
            lambda: _solve_by_torch(spectrum, right),
        )
        if bool((logabsdet == -torch.inf).any()):
            raise _singular()
        return x, logabsdet
    return _solve_by_torch(spectrum, right)


def _solve_by_torch(spectrum: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    matrices, columns = spectrum.permute(2, 0, 1), right.permute(2, 1, 0)
    if len(spectrum) < BATCHED_LU_LIMIT:
        solved, logabsdet = _by_torch(matrices, columns)
    else:
        pairs = [_by_torch(*pair) for pair in zip(matrices, columns, strict=True)]
        solved, logabsdet = (torch.stack(list(parts)) for parts in zip(*pairs, strict=True))
    return solved.permute(2, 1, 0), logabsdet


def _in_lanes(*tensors: Tensor) -> bool:
    return len(tensors[0]) <= LARGEST_IN_LANES and runs_compiled(_LANES, *tensors)


def _by_lanes(spectrum: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    from emcheck.solve import frequency_lanes  # imports Numba

    x, pivots = frequency_lanes.solve(spectrum, right)
    return x, pivots.abs().log().sum(0)


def _by_torch(matrix: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    LU, pivots, failed = torch.linalg.lu_factor_ex(matrix)
    if bool((failed > 0).any()):
        raise _singular()
    logabsdet = torch.diagonal(LU, dim1=-2, dim2=-1).abs().log().sum(dim=-1)
    return torch.linalg.lu_solve(LU, pivots, right), logabsdet


def _singular() -> ValueError:
    return ValueError("expected an invertible weight, got a singular one")
