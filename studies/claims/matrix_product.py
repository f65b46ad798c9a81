"""Claim a: a convolution is a matrix product, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import nn

from emcheck._internal.randomness import stream
from emcheck.bounds import THRESHOLDS, Arithmetic, Measure, compare, dense_logdet
from emcheck.contract import Event, InvertibleLayer
from emcheck.layers import AutoregressiveConv2d, Conv1x1, EmergingConv2d, PeriodicConv2d
from emcheck.oracle import masked, slogdet, to_numpy
from emcheck.oracle.logdets import FourierLogdet
from emcheck.oracle.precision import Array, matmul
from studies.claims.core import Claim, Evidence, Fact, Row, rounding
from studies.pages.patterns import pixel_major

#: ``w[o, c, a, b]`` to the matrix: weight, event, dilation, whether circular.
Formula = Callable[[Array, Event, int, bool], Array]

#: Channels, height and width of the pictures.
PICTURED: Event = (2, 4, 4)

_EVENTS: tuple[Event, ...] = ((2, 4, 5), (3, 3, 2))
_DOUBLE = Arithmetic.of(torch.float64)


def formula(weight: Array, event: Event, dilation: int, circular: bool) -> Array:
    """``M[(o,i,j),(c,i',j')] = w[o, c, (i'-i)/D + r, (j'-j)/D + r]``, pair of pixels by pair.

    0 where an offset is no multiple of the dilation ``D`` or outside of the kernel; in a
    circular convolution the sum over all offsets that are equal modulo the size.
    """
    C, H, W = event
    r = weight.shape[-1] // 2
    M = np.zeros((weight.shape[0], H, W, C, H, W), dtype=weight.dtype)
    for i, j, p, q in np.ndindex(H, W, H, W):
        for a in _taps(p - i, dilation, r, H if circular else 0):
            for b in _taps(q - j, dilation, r, W if circular else 0):
                M[:, i, j, :, p, q] += weight[:, :, a, b]
    return M.reshape(-1, C * H * W)


def _taps(offset: int, dilation: int, r: int, period: int) -> list[int]:
    """The indices ``a`` of a kernel that look ``offset`` pixels ahead."""
    ahead = [(a, (a - r) * dilation) for a in range(2 * r + 1)]
    return [a for a, d in ahead if (d - offset) % period == 0] if period else [
        a for a, d in ahead if d == offset
    ]  # fmt: skip


def _transposed(weight: Array, event: Event, dilation: int, circular: bool) -> Array:
    """The formula with the kernel turned round: a convolution and not a cross-correlation."""
    return formula(weight[:, :, ::-1, ::-1], event, dilation, circular)


def _layers() -> Iterator[tuple[str, InvertibleLayer, Event, str]]:
    """Name, layer, event and the declared triangle: lower, upper or none."""

    def draw(*key: object) -> torch.Generator:
        return stream("claim a", *key)

    for event in _EVENTS:
        C = event[0]
        yield "1x1", Conv1x1(C, generator=draw("1x1", C)), event, ""
        for k in (1, 3, 5):
            for D in (1, 2):
                for mask in ("square", "raster"):
                    for reverse in (False, True):
                        generator = draw(mask, C, k, D, reverse)
                        layer = AutoregressiveConv2d(C, k, mask, reverse, D, generator=generator)
                        name = f"{mask}, reversed" if reverse else mask
                        yield name, layer, event, "upper" if reverse else "lower"
                yield (
                    "emerging",
                    EmergingConv2d(C, k, D, generator=draw("pair", C, k, D)),
                    event,
                    "",
                )
            yield "periodic", PeriodicConv2d(C, k, generator=draw("periodic", C, k)), event, ""


def _moved(layer: nn.Module, *key: object) -> nn.Module:
    """In float64, every number far from its initial value; the bias stays 0."""
    layer = layer.double()
    generator = stream("claim a, values", *key)
    for name, parameter in layer.named_parameters():
        if name != "bias":
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.data += 0.5 * noise / parameter[0, 0].numel()  # the more taps, the smaller
    return layer


def _matrix(layer: nn.Module, event: Event, rule: Formula) -> tuple[Array, Array]:
    """The matrix by the formula, and what its entries may differ by in a basis image's product."""
    if isinstance(layer, EmergingConv2d):
        first, second = (_single(part, event, rule) for part in (layer.first, layer.second))
        absolute = matmul(np.abs(second), np.abs(first))
        most = int((first != 0).sum(1).max() + (second != 0).sum(1).max())
        return matmul(second, first), _DOUBLE.gamma(most) * absolute
    exact = _single(layer, event, rule)
    if isinstance(layer, PeriodicConv2d):
        logdet = FourierLogdet(to_numpy(layer, "weight"), event[1], event[2])
        return exact, np.full(
            exact.shape, THRESHOLDS["T5"] * _DOUBLE.u * logdet.levels * logdet.norm
        )
    if isinstance(layer, Conv1x1):
        return exact, _DOUBLE.gamma(event[0]) * np.abs(exact)
    return exact, np.zeros_like(exact)  # one product and zeros: nothing is rounded


def _single(layer: nn.Module, event: Event, rule: Formula) -> Array:
    weight = to_numpy(layer, "weight")
    if isinstance(layer, Conv1x1):
        weight = weight[:, :, None, None]
    if isinstance(layer, AutoregressiveConv2d):
        weight = masked(weight, layer.mask, layer.reverse)
    return rule(weight, event, _conv(layer, "dilation"), isinstance(layer, PeriodicConv2d))


def _wrong_side(M: Array, event: Event, triangle: str) -> int:
    """Nonzeros on the side of the diagonal that should be empty; pixels in raster order."""
    order = pixel_major(event)
    ordered = M[np.ix_(order, order)]
    side = np.triu(ordered, 1) if triangle == "lower" else np.tril(ordered, -1)
    return int((side != 0).sum()) if triangle else 0


def _conv(layer: nn.Module, name: str) -> int:
    """Kernel size or dilation; 1 where a layer has none."""
    return int(getattr(layer.first if isinstance(layer, EmergingConv2d) else layer, name, 1))


def _row(name: str, layer: InvertibleLayer, event: Event, triangle: str, rule: Formula) -> Row:
    n = int(np.prod(event))
    basis = torch.eye(n, dtype=torch.float64).reshape(n, *event)
    with torch.no_grad():
        z, logdets = layer(basis)
    pushed = z.reshape(n, n).T.numpy()
    M, allowed = _matrix(layer, event, rule)
    by_lu, condition = slogdet(np.asarray(M, np.float64))
    bound = dense_logdet(n, condition, 1, by_lu, _DOUBLE)
    entries = compare(pushed, M, allowed, "T1")
    return {
        "convolution": name,
        "kernel": _conv(layer, "kernel_size"),
        "dilation": _conv(layer, "dilation"),
        "size": "x".join(map(str, event)),
        "entries": n * n,
        "differing": int((np.abs(pushed - M) > allowed).sum()),
        "entry_ratio": entries.ratio,
        "triangle": triangle,
        "wrong_side": _wrong_side(pushed, event, triangle),
        "log_det": float(logdets[0]),
        "log_det_by_lu": by_lu,
        "log_det_ratio": compare(float(logdets[0]), by_lu, bound, "T9").ratio,
        "condition": condition,
    }


def measure(rule: Formula = formula) -> Evidence:
    """Every mask, kernel, dilation and padding: the two matrices, the triangle, the log-det."""
    rows = [
        _row(name, _moved(layer, number), event, triangle, rule)  # type: ignore[arg-type]
        for number, (name, layer, event, triangle) in enumerate(_layers())
    ]
    entries, differing = (sum(row[key] for row in rows) for key in ("entries", "differing"))
    facts = [
        Fact("entries beyond rounding between formula and basis images", differing, "==", 0),
        rounding("worst entry", Measure(max(row["entry_ratio"] for row in rows), "T1")),
        Fact("nonzeros on the wrong side of the declared triangle",
             sum(row["wrong_side"] for row in rows), "==", 0),
        rounding("closed form of the log-det against LU",
                 Measure(max(row["log_det_ratio"] for row in rows), "T9")),
    ]  # fmt: skip
    verdict = (
        f"True, exactly: in {len(rows)} convolutions all {entries:,} entries of the matrix by the "
        "index formula equal what the layer does to basis images, every masked one is triangular "
        "in its declared order, and the closed form of its log-det is the log-det of that matrix."
    )
    return Evidence(facts, verdict, {"cases": rows, "patterns": list(_patterns())})


def _patterns() -> Iterator[Row]:
    """The nonzero entries of five matrices, as text of 0 and 1 for each row ``(c, i, j)``."""
    C, generator = PICTURED[0], stream("claim a, pictures")
    event = "x".join(map(str, PICTURED))
    pictured: dict[str, InvertibleLayer] = {
        "1x1": Conv1x1(C, generator=generator),
        "square": AutoregressiveConv2d(C, generator=generator),
        "raster": AutoregressiveConv2d(C, mask="raster", generator=generator),
        "emerging": EmergingConv2d(C, generator=generator),
        "periodic": PeriodicConv2d(C, generator=generator),
    }
    for name, layer in pictured.items():
        M = _matrix(layer.double(), PICTURED, formula)[0]
        for row in (M != 0).astype(int):
            yield {"convolution": name, "event": event, "nonzero": "".join(map(str, row))}


CLAIM = Claim(
    letter="a",
    name="matrix-product",
    doubt="The convolution is rewritten as a matrix product; I did not verify that.",
    statement=(
        "A convolution is the product with the matrix M[(o,i,j),(c,i',j')] = "
        "w[o, c, i'-i+r, j'-j+r] (0 outside of the kernel); the mask makes it triangular, and "
        "the log-det is that of its diagonal."
    ),
    measure=measure,
    negations={"the kernel turned round": partial(measure, _transposed)},
)
