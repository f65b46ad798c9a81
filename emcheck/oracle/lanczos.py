"""Log-det and singular values of a large Jacobian from random probes, without the matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emcheck.oracle.precision import Array

#: Probes side by side, and Lanczos steps of each.
PROBES, STEPS = 16, 40

#: The rule is repeated with this many steps fewer: the difference shows the truncation.
_FEWER = 8


@dataclass(frozen=True)
class Probed:
    """``log|det J|`` with its uncertainty, and the extreme singular values that were seen.

    ``deviation`` is the standard deviation of the mean over the probes; ``truncation`` the
    change by the last Lanczos steps. ``largest`` is a lower bound of the largest singular
    value, ``smallest`` an upper bound of the smallest.
    """

    logdet: float
    deviation: float
    truncation: float
    largest: float
    smallest: float


def probe_jacobian(f: Callable[[Tensor], Tensor], x: Tensor, generator: torch.Generator) -> Probed:
    """Return ``log|det J| = tr log(J^T J) / 2`` at one sample ``x (*event)`` by stochastic Lanczos.

    ``f`` maps ``(B, *event)`` to ``z``, float64, row by row. Each probe is a vector of random signs
    that starts on its own copy of ``x`` in one batch: ``v^T log(A) v`` by Gauss quadrature from
    ``STEPS`` Lanczos steps on ``A = J^T J``, orthogonalised fully.

    Cost: ``STEPS`` forward and reverse derivatives of a batch of ``PROBES``, and
    ``STEPS^2 PROBES n`` multiplications.

    Reference: Ubaru, Chen, Saad, Fast Estimation of tr(f(A)) via Stochastic Lanczos Quadrature,
    SIAM J. Matrix Anal. Appl. 2017.
    """
    n = x.numel()
    X = x.detach().double().expand(PROBES, *x.shape).contiguous()
    signs = torch.randint(0, 2, (PROBES, n), generator=generator).to(X) * 2 - 1
    alphas, betas = _lanczos(lambda v: _squared(f, X, v), signs / n**0.5)
    full = [_quadrature(alphas[:, p], betas[:, p], n) for p in range(PROBES)]
    fewer = [_quadrature(alphas[:-_FEWER, p], betas[:-_FEWER, p], n) for p in range(PROBES)]
    values = np.array([value for value, _, _ in full])
    return Probed(
        logdet=float(values.mean()),
        deviation=float(values.std(ddof=1) / np.sqrt(PROBES)),
        truncation=float(np.abs(values - [value for value, _, _ in fewer]).mean()),
        largest=max(top for _, top, _ in full),
        smallest=min(bottom for _, _, bottom in full),
    )


def _squared(f: Callable[[Tensor], Tensor], X: Tensor, v: Tensor) -> Tensor:
    """Return ``J^T J v`` for each row of ``v (P, n)``."""
    _, pushed = torch.func.jvp(f, (X,), (v.reshape(X.shape),))  # type: ignore[misc]
    leaf = X.clone().requires_grad_(True)
    with torch.enable_grad():
        z = f(leaf.clone())
    (pulled,) = torch.autograd.grad(z, leaf, pushed.detach())
    return pulled.reshape(v.shape)


def _lanczos(operator: Callable[[Tensor], Tensor], start: Tensor) -> tuple[Array, Array]:
    """Return diagonals ``(m, P)`` and off-diagonals of a tridiagonal matrix for each row."""
    basis, alphas, betas = [start], [], []
    for _ in range(min(STEPS, start.shape[1])):
        w = operator(basis[-1])
        alphas.append((w * basis[-1]).sum(dim=1))
        for _ in range(2):  # once is not enough where Ritz values have converged
            for q in basis:
                w = w - (w * q).sum(dim=1, keepdim=True) * q
        size = w.norm(dim=1)
        betas.append(size)
        tiny = torch.finfo(w.dtype).tiny
        basis.append(w / size.clamp(min=tiny)[:, None])
    return torch.stack(alphas).cpu().numpy(), torch.stack(betas).cpu().numpy()


def _quadrature(alpha: Array, beta: Array, n: int) -> tuple[float, float, float]:
    """Return ``n sum_k tau_k^2 log(theta_k) / 2`` and the extreme ``sqrt(theta_k)``.

    The matrix is cut where an off-diagonal entry has vanished: the Krylov space is complete.
    """
    gone = np.flatnonzero(beta[:-1] <= np.finfo(float).eps * np.abs(alpha).max())
    m = int(gone[0]) + 1 if len(gone) else len(alpha)
    T = np.diag(alpha[:m]) + np.diag(beta[: m - 1], 1) + np.diag(beta[: m - 1], -1)
    theta, vectors = np.linalg.eigh(T)
    kept = theta > 0
    logs = np.log(theta, where=kept, out=np.full_like(theta, -np.inf))
    value = float(n * (vectors[0] ** 2 * logs).sum() / 2)
    top, bottom = float(np.sqrt(theta.max())), float(np.sqrt(max(theta.min(), 0.0)))
    return value, top, bottom
