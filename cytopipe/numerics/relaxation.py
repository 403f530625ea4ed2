"""Red-black successive over-relaxation of Laplace's equation, in the plane and in space.

Fields of the two colours of a checkerboard are stored apart, so that what a half sweep reads and
writes is contiguous. A colour is a tuple

    field    float32, framed by fields that never change
    blocks   uint64, of each BLOCK fields in a row with an unknown: twice the number of the first,
             plus 1 where the left neighbour of a field has the field's own number, else the right
             one has
    weights  (blocks, BLOCK) float32, 1 over the sum of the weights of a field's neighbours; 0
             where the field is known
    starts   (layers, lines + 1) int64, where the blocks of each line of a layer start and the last
             ones end; in space a layer is a plane, in the plane it is a row, which is one line

The inner loop is written as LLVM's instructions on vectors: numba tests at every block of a plain
loop whether its arrays overlap, and makes a loop that also looks for the largest residual one of
scalars.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

BLOCK = 8  # fields of a row that are worked on together; a vector of most processors
STRIP = 64  # lines of a layer, more than half sweeps at a time: what these need of it fits into L2


@njit(cache=True)
def omegas(radius: float, count: int) -> Any:
    """Relaxation of each half sweep with Chebyshev acceleration (Numerical Recipes, 20.5.1).

    Parameters
    ----------
    radius : spectral radius of Jacobi's iteration, as guessed: too high a guess costs few sweeps,
        one too low many.
    count : of half sweeps: the first is plain, the second starts the series.
    """
    series = np.ones(count, np.float32)
    for half in range(1, count):
        before = 0.5 if half == 1 else 0.25 * series[half - 1]
        series[half] = 1 / (1 - radius**2 * before)
    return series


@njit(cache=True)
def sweep(red: Any, black: Any, steps: Any, omegas: Any) -> Any:
    """A half sweep for each of `omegas`, red first; returns the largest residual in the last two.

    A half sweep follows its predecessor one layer behind, and one line behind in a strip of lines,
    which gives what one after the other gives, with all between them still in the processor's
    cache.

    Parameters
    ----------
    red, black : colours.
    steps : tuple of uint64, how far the neighbours along the other axes than the row's are.
    omegas : (half sweeps,) float32, at least two.
    """
    reds, red_blocks, red_weights, red_starts = red
    blacks, black_blocks, black_weights, black_starts = black
    layers, lines, halves = red_starts.shape[0], red_starts.shape[1] - 1, omegas.size
    largest = np.zeros((2, BLOCK), np.float32)  # before the last two half sweeps, in them
    for strip in range(0, lines + halves, STRIP):
        for ahead in range(layers + halves - 1):
            for half in range(max(0, ahead - layers + 1), min(halves, ahead + 1)):
                layer, is_last = ahead - half, int(half >= halves - 2)
                first = min(max(strip - half, 0), lines)
                last = min(max(strip + STRIP - half, 0), lines)
                if half % 2 == 0:
                    start, end = red_starts[layer, first], red_starts[layer, last]
                    _relax(
                        *(reds, blacks, red_blocks, red_weights, start, end),
                        *(steps, omegas[half], largest[is_last]),
                    )
                else:
                    start, end = black_starts[layer, first], black_starts[layer, last]
                    _relax(
                        *(blacks, reds, black_blocks, black_weights, start, end),
                        *(steps, omegas[half], largest[is_last]),
                    )
    return largest[1].max()


@intrinsic
def _relax(
    typing_context: Any,
    own: Any,
    other: Any,
    blocks: Any,
    weights: Any,
    start: Any,
    end: Any,
    steps: Any,
    omega: Any,
    largest: Any,
) -> Any:
    """Half a sweep over blocks `start` to `end` of one colour.

    For each field of a block: change = weight * (sum of its neighbours) - field;
    field += omega * change; where the weight is 0 nothing changes. `largest`, (BLOCK,) float32, is
    raised to the largest change, as a plain step makes it, of each place in a block.
    """
    given = (own, other, blocks, weights, start, end, steps, omega, largest)
    return types.void(*given), _generate


def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    vector = ir.VectorType(ir.FloatType(), BLOCK)
    start, end, steps, omega = arguments[4:8]

    def array(place: int) -> Any:
        return context.make_array(signature.args[place])(context, builder, arguments[place])

    def at(place: int, index: Any) -> Any:
        return builder.bitcast(builder.gep(array(place).data, [index]), vector.as_pointer())

    def load(place: int, index: Any) -> Any:
        return builder.load(at(place, index), align=4)

    def pair(before: Any, after: Any) -> Any:
        """Sum of the neighbours that far to both sides."""
        first_before, first_after = builder.sub(first, before), builder.add(first, after)
        return builder.fadd(load(1, first_before), load(1, first_after))

    def larger(one: Any, two: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", one, two), one, two)

    zero, number = ir.Constant(vector, None), ir.IntType(64)
    undefined, nowhere = ir.Constant(vector, ir.Undefined), ir.IntType(32)(0)
    same = ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), [0] * BLOCK)
    everywhere = builder.insert_element(undefined, omega, nowhere)
    omegas = builder.shuffle_vector(everywhere, undefined, same)
    most = cgutils.alloca_once_value(builder, load(8, number(0)))
    with cgutils.for_range_slice(builder, start, end, number(1), inc=True) as (block, _):
        code = builder.load(builder.gep(array(2).data, [block]))
        first, odd = builder.lshr(code, number(1)), builder.and_(code, number(1))
        first_step, *others = cgutils.unpack_tuple(builder, steps)
        around = pair(first_step, first_step)
        for step in others:
            around = builder.fadd(around, pair(step, step))
        around = builder.fadd(around, pair(builder.sub(number(1), odd), odd))
        weight, before = load(3, builder.mul(block, number(BLOCK))), load(0, first)
        change = builder.fsub(builder.fmul(around, weight), before)
        change = builder.select(builder.fcmp_ordered(">", weight, zero), change, zero)
        after = builder.fadd(before, builder.fmul(omegas, change))
        builder.store(after, at(0, first), align=4)
        size = larger(change, builder.fsub(zero, change))
        builder.store(larger(size, builder.load(most)), most)
    builder.store(builder.load(most), at(8, number(0)), align=4)
    return context.get_dummy_value()
