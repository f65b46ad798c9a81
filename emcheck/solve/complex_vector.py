"""Vector instructions for complex numbers: a vector of real parts, then one of imaginary ones.

Intrinsics for Numba in the manner of ``vector.py``; memory outside holds the two parts of a
number side by side, as torch and NumPy do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from emcheck.solve.vector import I64, Memory, fma, places, spread

#: Right-hand sides whose sums are held in registers at once.
WIDTH = 4


@intrinsic
def subtract_products(
    typing: Any,
    target: Any,
    at: Any,
    source: Any,
    begin: Any,
    step: Any,
    factor: Any,
    first: Any,
    pace: Any,
    count: Any,
) -> Any:
    """``target[at, m] -= sum_j factor[first + j pace] source[begin + j step, m]``, m < WIDTH."""
    i64 = types.int64
    signature = types.void(target, i64, source, i64, i64, factor, i64, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        dst = Memory(context, builder, sig.args[0], args[0])
        src = Memory(context, builder, sig.args[2], args[2])
        fac = Memory(context, builder, sig.args[5], args[5])
        _, at, _, begin, step, _, first, pace, count = args
        places_of = [I64(part * dst.lanes) for part in range(2 * WIDTH)]
        sums = [cgutils.alloca_once(builder, dst.vector) for _ in places_of]
        for total, place in zip(sums, places_of, strict=True):
            builder.store(dst.load_vector(builder.add(at, place)), total)
        with cgutils.for_range(builder, count) as loop:
            f = builder.add(first, builder.mul(loop.index, pace))
            here = builder.add(begin, builder.mul(loop.index, step))
            a, b = fac.load_vector(f), fac.load_vector(builder.add(f, I64(dst.lanes)))
            minus_a, minus_b = builder.fneg(a), builder.fneg(b)
            for m in range(WIDTH):
                re, im = sums[2 * m], sums[2 * m + 1]
                x = src.load_vector(builder.add(here, places_of[2 * m]))
                y = src.load_vector(builder.add(here, places_of[2 * m + 1]))
                for weight, value, total in (
                    (minus_a, x, re),
                    (minus_a, y, im),
                    (b, y, re),
                    (minus_b, x, im),
                ):
                    builder.store(fma(builder, weight, value, builder.load(total)), total)
        for total, place in zip(sums, places_of, strict=True):
            dst.store_vector(builder.load(total), builder.add(at, place))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def divide_complex(typing: Any, target: Any, at: Any, count: Any, by: Any, first: Any) -> Any:
    """``target[at, m] /= p`` for m < count, with ``by[first]`` = ``s, Re 1/(p s), Im 1/(p s)``.

    The factor ``s`` near ``1/|p|`` comes first, so that no product leaves the range.
    """
    i64 = types.int64
    signature = types.void(target, i64, i64, by, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        dst = Memory(context, builder, sig.args[0], args[0])
        divisor = Memory(context, builder, sig.args[3], args[3])
        _, at, count, _, first = args
        L = dst.lanes
        s, c, d = (divisor.load_vector(builder.add(first, I64(k * L))) for k in range(3))
        with cgutils.for_range(builder, count) as loop:
            here = builder.add(at, builder.mul(loop.index, I64(2 * L)))
            there = builder.add(here, I64(L))
            re = builder.fmul(dst.load_vector(here), s)
            im = builder.fmul(dst.load_vector(there), s)
            crossed = builder.fneg(builder.fmul(im, d))
            dst.store_vector(fma(builder, re, c, crossed), here)
            dst.store_vector(fma(builder, re, d, builder.fmul(im, c)), there)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def merge_row(
    typing: Any, source: Any, at: Any, target: Any, place: Any, order: Any, first: Any, wanted: Any
) -> Any:
    """Copy ``2 WIDTH`` vectors in the lanes ``l`` with ``order[first + l] = wanted``."""
    i64 = types.int64
    signature = types.void(source, i64, target, i64, order, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        src = Memory(context, builder, sig.args[0], args[0])
        dst = Memory(context, builder, sig.args[2], args[2])
        rows = Memory(context, builder, sig.args[4], args[4])
        _, at, _, place, _, first, wanted = args
        indices = ir.VectorType(I64, src.lanes).as_pointer()
        chosen = builder.load(builder.bitcast(rows.at(first), indices), align=8)
        mask = builder.icmp_signed("==", chosen, spread(builder, wanted, src.lanes))
        for m in range(2 * WIDTH):
            here = builder.add(place, I64(m * src.lanes))
            new = src.load_vector(builder.add(at, I64(m * src.lanes)))
            dst.store_vector(builder.select(mask, new, dst.load_vector(here)), here)
        return context.get_dummy_value()

    return signature, generate


def _reordered(source: Any, target: Any, order: Callable[[int], list[int]]) -> Any:
    """Build ``(source, from, target, to)``, which copies two vectors in the order ``order(L)``."""
    signature = types.void(source, types.int64, target, types.int64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        src = Memory(context, builder, sig.args[0], args[0])
        dst = Memory(context, builder, sig.args[2], args[2])
        L = src.lanes
        a, b = (src.load_vector(builder.add(args[1], I64(k * L))) for k in range(2))
        numbers = order(L)
        for half in range(2):
            chosen = builder.shuffle_vector(a, b, places(numbers[half * L : (half + 1) * L]))
            dst.store_vector(chosen, builder.add(args[3], I64(half * L)))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def take_complex(typing: Any, source: Any, index: Any, target: Any, at: Any) -> Any:
    """Move one vector of complex numbers from ``source[index:]`` in pairs to ``target[at:]``."""
    return _reordered(
        source, target, lambda L: [2 * l + part for part in range(2) for l in range(L)]
    )


@intrinsic
def put_complex(typing: Any, source: Any, at: Any, target: Any, index: Any) -> Any:
    """Move one vector of complex numbers from ``source[at:]`` to ``target[index:]`` in pairs."""
    return _reordered(source, target, lambda L: [l // 2 + L * (l % 2) for l in range(2 * L)])
