"""Vector instructions for Numba: what its loops cannot express is emitted as LLVM IR.

``LANES`` numbers of one dtype fill a vector register. Every intrinsic is compiled into the
loop that calls it: blocks of channels of substitution, convolution and correlation, square
transposes of ``LANES x LANES`` numbers from and to separate rows, copies and atomics.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

I64 = ir.IntType(64)
_I32 = ir.IntType(32)

#: Output channels whose sums are held in registers at once.
BLOCK = 6


def _register_bytes() -> int:
    """Return the size of the widest vector register of this CPU, in bytes."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx2") else 16


#: Numbers in one vector, by item size.
LANES = {4: _register_bytes() // 4, 8: _register_bytes() // 8}


class Memory:
    """Access to unaligned vectors and scalars of an array, by index of the first element."""

    def __init__(self, context: Any, builder: Any, kind: types.Array, value: Any) -> None:
        self.builder = builder
        self.data = context.make_array(kind)(context, builder, value).data
        self.size = kind.dtype.bitwidth // 8
        self.lanes = LANES[self.size]
        self.scalar = self.data.type.pointee
        self.vector = ir.VectorType(self.scalar, self.lanes)

    def at(self, index: Any) -> Any:
        return self.builder.gep(self.data, [index])

    def load(self, index: Any) -> Any:
        return self.builder.load(self.at(index))

    def load_vector(self, index: Any) -> Any:
        pointer = self.builder.bitcast(self.at(index), self.vector.as_pointer())
        return self.builder.load(pointer, align=self.size)

    def store_vector(self, value: Any, index: Any) -> None:
        pointer = self.builder.bitcast(self.at(index), self.vector.as_pointer())
        self.builder.store(value, pointer, align=self.size)

    def splat(self, index: Any) -> Any:
        """Return one number in every lane."""
        return spread(self.builder, self.load(index), self.lanes)


def spread(builder: Any, value: Any, lanes: int) -> Any:
    """One number in every lane of a vector."""
    vector = ir.VectorType(value.type, lanes)
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, value, _I32(0))
    return builder.shuffle_vector(one, undefined, places([0] * lanes))


def places(lanes: list[int]) -> ir.Constant:
    """Return the third operand of a shuffle."""
    return ir.Constant(ir.VectorType(_I32, len(lanes)), [_I32(lane) for lane in lanes])


def fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a b + c`` with one rounding, for vectors (the builder's own takes only scalars)."""
    name = f"llvm.fma.v{a.type.count}{'f32' if a.type.element == ir.FloatType() else 'f64'}"
    kind = ir.FunctionType(a.type, [a.type] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, (a, b, c))


def _substitution(vectors: int) -> Any:
    """Return the intrinsic that substitutes in so many adjacent vectors of pixels at once."""

    def substitute(
        typing: Any,
        buffer: Any,
        base: Any,
        stride: Any,
        offsets: Any,
        first: Any,
        weights: Any,
        at: Any,
        channels: Any,
        done: Any,
        count: Any,
        divide: Any,
        low: Any,
        high: Any,
    ) -> Any:
        i64 = types.int64
        signature = types.void(
            buffer, i64, i64, offsets, i64, weights, i64, i64, i64, i64, types.boolean, i64, i64
        )

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            buf = Memory(context, builder, sig.args[0], args[0])
            offs = Memory(context, builder, sig.args[3], args[3])
            w = Memory(context, builder, sig.args[5], args[5])
            _, base, stride, _, first, _, at, channels, done, count, divide, low, high = args
            taps = context.make_array(sig.args[3])(context, builder, args[3]).nitems
            lane = ir.Constant(ir.VectorType(I64, buf.lanes), [I64(l) for l in range(buf.lanes)])
            after = builder.icmp_signed(">=", lane, spread(builder, low, buf.lanes))
            before = builder.icmp_signed("<", lane, spread(builder, high, buf.lanes))
            keep = builder.and_(after, before)
            zero = ir.Constant(buf.vector, [ir.Constant(buf.scalar, 0.0)] * buf.lanes)
            start = builder.add(base, builder.mul(done, stride))
            place = cgutils.alloca_once_value(builder, at)
            each = range(vectors)
            sums = [[cgutils.alloca_once(builder, buf.vector) for _ in each] for _ in range(BLOCK)]
            answer = [cgutils.alloca_once(builder, buf.vector) for _ in each]

            def row(k: int, v: int) -> Any:
                moved = builder.add(start, builder.mul(I64(k), stride))
                return builder.add(moved, I64(v * buf.lanes)) if v else moved

            def minus(weight: Any, xs: list[Any], k: int) -> None:
                """``sums[k] -= weight x`` with one rounding, in every vector."""
                factor = w.splat(weight)
                for x, total in zip(xs, sums[k], strict=True):
                    left = fma(builder, factor, builder.fneg(x), builder.load(total))
                    builder.store(left, total)

            def take(source: Any, inputs: Any, K: int) -> None:
                """Subtract the first ``inputs`` channels of the pixels, ``K`` weights each."""
                with cgutils.for_range(builder, inputs) as loop:
                    here = builder.load(place)
                    begin = builder.add(source, builder.mul(loop.index, stride))
                    xs = [buf.load_vector(builder.add(begin, I64(v * buf.lanes))) for v in each]
                    for k in range(K):
                        minus(builder.add(here, I64(k)), xs, k)
                    builder.store(builder.add(here, I64(K)), place)

            def solve(K: int) -> None:
                for k in range(K):
                    for v in each:
                        builder.store(buf.load_vector(row(k, v)), sums[k][v])
                with cgutils.for_range_slice(builder, first, taps, I64(1), inc=True) as (tap, _):
                    take(builder.add(base, offs.load(tap)), channels, K)
                take(base, done, K)
                triangle = builder.load(place)
                for k in range(K):
                    d = w.splat(builder.add(triangle, I64(K * K + k)))
                    totals = [builder.load(total) for total in sums[k]]
                    with builder.if_else(divide) as (then, otherwise):
                        with then:
                            for total, found in zip(totals, answer, strict=True):
                                builder.store(builder.fdiv(total, d), found)
                        with otherwise:
                            for total, found in zip(totals, answer, strict=True):
                                builder.store(builder.fmul(total, d), found)
                    xs = [builder.select(keep, builder.load(found), zero) for found in answer]
                    for v, x in zip(each, xs, strict=True):
                        buf.store_vector(x, row(k, v))
                    for m in range(k + 1, K):
                        minus(builder.add(triangle, I64(k * K + m)), xs, m)

            for K in range(1, BLOCK + 1):
                with builder.if_then(builder.icmp_signed("==", count, I64(K))):
                    solve(K)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(substitute)


#: Solve ``count <= BLOCK`` output channels of one vector of pixels in place.
#:
#: ``buffer[base + o stride]`` holds ``z[o]`` and becomes ``x[o]`` for ``o`` from ``done`` on;
#: earlier pixels lie at ``offsets[first:]`` from there. ``weights[at:]`` begins at tap ``first``,
#: ordered (tap, input, output), then the centre tap's inputs before ``done``, its triangle by
#: columns and its diagonal (divisors, or reciprocals unless ``divide``). Lanes outside
#: ``[low, high)`` become zero.
substitute_block = _substitution(1)

#: The same for two adjacent vectors, whose chains of products are independent of each other.
substitute_pair = _substitution(2)


@intrinsic
def convolve_block(
    typing: Any,
    buffer: Any,
    base: Any,
    stride: Any,
    offsets: Any,
    weights: Any,
    at: Any,
    channels: Any,
    done: Any,
    count: Any,
    bias: Any,
    target: Any,
    place: Any,
    apart: Any,
) -> Any:
    """Convolve ``count <= BLOCK`` output channels, from ``done`` on, of two vectors of pixels.

    ``target[place + o stride] = bias[o] + sum w x[c]`` over the taps and inputs ``c``, where
    ``buffer[base + offsets[tap] + c stride]`` holds ``x[c]`` and ``weights[at:]`` are ordered (tap,
    input, output); the second pixel lies ``apart`` from the first in both. One pixel alone could
    not keep the multipliers busy: it has fewer sums than a product takes cycles.
    """
    i64 = types.int64
    signature = types.void(
        buffer, i64, i64, offsets, weights, i64, i64, i64, i64, bias, target, i64, i64
    )

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        buf, offs, w = (Memory(context, builder, sig.args[n], args[n]) for n in (0, 3, 4))
        constant, out = (Memory(context, builder, sig.args[n], args[n]) for n in (9, 10))
        _, base, stride, _, _, at, channels, done, count, _, _, place, apart = args
        taps = context.make_array(sig.args[3])(context, builder, args[3]).nitems
        here = cgutils.alloca_once_value(builder, at)
        sums = [[cgutils.alloca_once(builder, buf.vector) for _ in range(BLOCK)] for _ in "ab"]

        def take(source: Any, K: int) -> None:
            """Add all channels of two pixels at one tap, ``K`` weights each."""
            with cgutils.for_range(builder, channels) as loop:
                weight = builder.load(here)
                one = builder.add(source, builder.mul(loop.index, stride))
                x = [buf.load_vector(one), buf.load_vector(builder.add(one, apart))]
                for k in range(K):
                    factor = w.splat(builder.add(weight, I64(k)))
                    for value, row in zip(x, sums, strict=True):
                        builder.store(fma(builder, factor, value, builder.load(row[k])), row[k])
                builder.store(builder.add(weight, I64(K)), here)

        def convolve(K: int) -> None:
            for k in range(K):
                for row in sums:
                    builder.store(constant.splat(builder.add(done, I64(k))), row[k])
            with cgutils.for_range(builder, taps) as loop:
                take(builder.add(base, offs.load(loop.index)), K)
            start = builder.add(place, builder.mul(done, stride))
            for k in range(K):
                first = builder.add(start, builder.mul(I64(k), stride))
                out.store_vector(builder.load(sums[0][k]), first)
                out.store_vector(builder.load(sums[1][k]), builder.add(first, apart))

        for K in range(1, BLOCK + 1):
            with builder.if_then(builder.icmp_signed("==", count, I64(K))):
                convolve(K)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def copy_run(typing: Any, source: Any, at: Any, target: Any, place: Any, count: Any) -> Any:
    """Copy ``source[at:at + count]`` to ``target[place:place + count]``, faster than a loop."""
    i64 = types.int64
    signature = types.void(source, i64, target, i64, i64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        src = Memory(context, builder, sig.args[0], args[0])
        dst = Memory(context, builder, sig.args[2], args[2])
        begin, end = src.at(args[1]), dst.at(args[3])
        cgutils.raw_memcpy(builder, end, begin, args[4], I64(src.size))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def subtract_number(typing: Any, buffer: Any, at: Any, numbers: Any, index: Any) -> Any:
    """``buffer[at:at + LANES] -= numbers[index]``."""
    signature = types.void(buffer, types.int64, numbers, types.int64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        buf, constants = (Memory(context, builder, sig.args[n], args[n]) for n in (0, 2))
        value = builder.fsub(buf.load_vector(args[1]), constants.splat(args[3]))
        buf.store_vector(value, args[1])
        return context.get_dummy_value()

    return signature, generate


#: Inputs and outputs whose products ``correlate_block`` sums in registers at once.
INPUTS, OUTPUTS = 4, 3


@intrinsic
def correlate_block(
    typing: Any,
    left: Any,
    at: Any,
    right: Any,
    place: Any,
    stride: Any,
    pixel: Any,
    row: Any,
    H: Any,
    W: Any,
    inputs: Any,
    outputs: Any,
    total: Any,
    first: Any,
    width: Any,
) -> Any:
    """Sum, over lanes, ``H`` rows and ``W`` pixels, products of two blocks of channels.

    ``total[first + c width + o] += sum left[at + p + c stride] right[place + p + o stride]`` for
    ``c < inputs``, 1 or ``INPUTS``, and ``o < outputs``, 1 or ``OUTPUTS``; pixels lie ``pixel`` and
    rows ``row`` apart.
    """
    i64 = types.int64
    signature = types.void(
        left, i64, right, i64, i64, i64, i64, i64, i64, i64, i64, total, i64, i64
    )

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x, g, out = (Memory(context, builder, sig.args[n], args[n]) for n in (0, 2, 11))
        _, at, _, place, stride, pixel, row, H, W, inputs, outputs, _, first, width = args
        zero = ir.Constant(x.vector, [ir.Constant(x.scalar, 0.0)] * x.lanes)
        sums = [cgutils.alloca_once(builder, x.vector) for _ in range(INPUTS * OUTPUTS)]

        def correlate(inputs: int, outputs: int) -> None:
            cells = [(c, o) for c in range(inputs) for o in range(outputs)]
            for c, o in cells:
                builder.store(zero, sums[c * outputs + o])
            with cgutils.for_range(builder, H) as rows, cgutils.for_range(builder, W) as columns:
                moved = builder.mul(rows.index, row)
                moved = builder.add(moved, builder.mul(columns.index, pixel))
                here, there = builder.add(at, moved), builder.add(place, moved)

                def load(source: Memory, start: Any, n: int) -> Any:
                    return source.load_vector(builder.add(start, builder.mul(I64(n), stride)))

                right = [load(g, there, o) for o in range(outputs)]
                for c in range(inputs):
                    left = load(x, here, c)
                    for o in range(outputs):
                        cell = sums[c * outputs + o]
                        builder.store(fma(builder, left, right[o], builder.load(cell)), cell)
            for c, o in cells:
                index = builder.add(first, builder.add(builder.mul(I64(c), width), I64(o)))
                value = _added(builder, builder.load(sums[c * outputs + o]), x.lanes)
                builder.store(builder.fadd(out.load(index), value), out.at(index))

        for c in (1, INPUTS):
            for o in (1, OUTPUTS):
                wanted = builder.and_(
                    builder.icmp_signed("==", inputs, I64(c)),
                    builder.icmp_signed("==", outputs, I64(o)),
                )
                with builder.if_then(wanted):
                    correlate(c, o)
        return context.get_dummy_value()

    return signature, generate


def _added(builder: Any, vector: Any, lanes: int) -> Any:
    """Return the sum of all lanes, halves first."""
    while lanes > 1:
        lanes //= 2
        undefined = ir.Constant(vector.type, ir.Undefined)
        lower = builder.shuffle_vector(vector, undefined, places(list(range(lanes))))
        upper = builder.shuffle_vector(vector, undefined, places(list(range(lanes, 2 * lanes))))
        vector = builder.fadd(lower, upper)
    return builder.extract_element(vector, I64(0))


def _transposed(builder: Any, rows: list[Any], lanes: int) -> list[Any]:
    """Transpose by Eklundh's method: log2(lanes) rounds that exchange blocks of two rows."""
    distance = 1
    while distance < lanes:
        upper = [j if not j & distance else lanes + j - distance for j in range(lanes)]
        lower = [j + distance if not j & distance else lanes + j for j in range(lanes)]
        moved = list(rows)
        for i in range(lanes):
            if not i & distance:
                a, b = rows[i], rows[i + distance]
                moved[i] = builder.shuffle_vector(a, b, places(upper))
                moved[i + distance] = builder.shuffle_vector(a, b, places(lower))
        rows, distance = moved, 2 * distance
    return rows


@intrinsic
def transpose_in(
    typing: Any, source: Any, starts: Any, start: Any, buffer: Any, where: Any, n: Any, shift: Any
) -> Any:
    """``buffer[where[n + q] + shift + lane] = source[starts[lane] + start + q]``."""
    signature = types.void(source, starts, types.int64, buffer, where, types.int64, types.int64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        src = Memory(context, builder, sig.args[0], args[0])
        begin = Memory(context, builder, sig.args[1], args[1])
        dst = Memory(context, builder, sig.args[3], args[3])
        table = Memory(context, builder, sig.args[4], args[4])
        rows = [src.load_vector(builder.add(begin.load(I64(l)), args[2])) for l in range(src.lanes)]
        for q, column in enumerate(_transposed(builder, rows, src.lanes)):
            place = table.load(builder.add(args[5], I64(q)))
            dst.store_vector(column, builder.add(place, args[6]))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def transpose_out(
    typing: Any, buffer: Any, where: Any, n: Any, shift: Any, target: Any, starts: Any, start: Any
) -> Any:
    """``target[starts[lane] + start + q] = buffer[where[n + q] + shift + lane]``."""
    signature = types.void(buffer, where, types.int64, types.int64, target, starts, types.int64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        src = Memory(context, builder, sig.args[0], args[0])
        table = Memory(context, builder, sig.args[1], args[1])
        dst = Memory(context, builder, sig.args[4], args[4])
        begin = Memory(context, builder, sig.args[5], args[5])
        columns = []
        for q in range(src.lanes):
            place = table.load(builder.add(args[2], I64(q)))
            columns.append(src.load_vector(builder.add(place, args[3])))
        for l, row in enumerate(_transposed(builder, columns, src.lanes)):
            dst.store_vector(row, builder.add(begin.load(I64(l)), args[6]))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def take_next(typing: Any, counter: Any) -> Any:
    """Return ``counter[0]`` and increase it by one, atomically."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, I64(1), "monotonic")

    return types.int64(counter), generate


@intrinsic
def publish(typing: Any, progress: Any, index: Any, value: Any) -> Any:
    """Set ``progress[index] = value``; who sees it also sees everything written before."""
    signature = types.void(progress, types.int64, types.int64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = Memory(context, builder, sig.args[0], args[0]).at(args[1])
        builder.store_atomic(args[2], place, "release", 8)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def wait_for(typing: Any, progress: Any, index: Any, value: Any) -> Any:
    """Wait until ``progress[index] >= value``; what was written before that can then be read."""
    signature = types.void(progress, types.int64, types.int64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = Memory(context, builder, sig.args[0], args[0]).at(args[1])
        look = builder.append_basic_block("look")
        go_on = builder.append_basic_block("go_on")
        builder.branch(look)
        builder.position_at_end(look)
        seen = builder.load_atomic(place, "acquire", 8)
        builder.cbranch(builder.icmp_signed(">=", seen, args[2]), go_on, look)
        builder.position_at_end(go_on)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def as_pointer(typing: Any, address: Any) -> Any:
    """Return an address as a void pointer."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate
