"""Red-black successive over-relaxation of Laplace's equation in 2D and 3D.

The two colours of a checkerboard are stored apart, so that a half sweep reads and writes contiguous
memory. Item x of a line gets number (x + 1) // 2 in its colour. A colour is a tuple

    field    float32, framed by items that never change
    blocks   uint64, for each BLOCK items in a line with an unknown: twice the number of the first,
             plus 1 if the left neighbour of an item has the item's own number, else the right one
    weights  (blocks, BLOCK) float32, 1 over the sum of the weights of an item's neighbours; 0
             where the item is known
    starts   (layers, lines + 1) int64, where the blocks of each line of a layer start, and where
             the last ones end; a layer is a plane in 3D, and a single line in 2D

The inner loop is written in LLVM's vector instructions. In a plain loop, numba would test at every
block whether the arrays overlap, and would not vectorise the search for the largest residual.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

BLOCK = 8  # items per vector instruction, the width of most processors
# lines of a layer that fit into the L2 cache; must exceed the number of half sweeps at a time
STRIP = 64


@njit(cache=True)
def omegas(radius: float, count: int) -> Any:
    """Relaxation of each of `count` half sweeps, Chebyshev accelerated (Numerical Recipes, 20.5.1).

    `radius` is a guess of the spectral radius of Jacobi's iteration: a guess that is too high costs
    few sweeps, one that is too low costs many.
    """
    series = np.ones(count, np.float32)
    for half in range(1, count):
        before = 0.5 if half == 1 else 0.25 * series[half - 1]
        series[half] = 1 / (1 - radius**2 * before)
    return series


@njit(cache=True)
def line_width(length: int) -> int:
    """Items of one colour in a line, with a block more for the neighbours of the last item."""
    return (length // 2 + 2 + 2 * BLOCK - 1) // BLOCK * BLOCK


@njit(cache=True)
def equations(inverse: Any, colour: int, margin: int) -> Any:
    """The blocks, weights and starts of a colour.

    Parameters
    ----------
    inverse : (layers + 2, lines + 2 `margin`, width) float32, the framed weights.
    colour : parity, 0 or 1, of layer + line where right neighbours have an item's own number.
    """
    layers, lines, width = inverse.shape
    blocks = np.empty(inverse.size // BLOCK, np.uint64)
    weights = np.empty((inverse.size // BLOCK, BLOCK), np.float32)
    starts = np.empty((layers - 2, lines - 2 * margin + 1), np.int64)
    count = 0
    for layer in range(1, layers - 1):
        for line in range(margin, lines - margin):
            starts[layer - 1, line - margin] = count
            for first in range(0, width, BLOCK):
                holds_unknown = False
                for item in range(first, first + BLOCK):
                    holds_unknown |= inverse[layer, line, item] > 0
                if holds_unknown:
                    number = (layer * lines + line) * width + first
                    blocks[count] = 2 * number + ((layer + line + colour) & 1)
                    weights[count] = inverse[layer, line, first : first + BLOCK]
                    count += 1
        starts[layer - 1, -1] = count
    return blocks[:count].copy(), weights[:count].copy(), starts


@njit(cache=True)
def sweep(red: Any, black: Any, steps: Any, omegas: Any) -> Any:
    """Do a half sweep for each of `omegas`, red first; return the largest residual of the last two.

    A half sweep follows its predecessor one layer behind, and one line behind in a strip of lines.
    The result is that of successive half sweeps, but the data stay in the processor's cache.

    Parameters
    ----------
    red, black : colours.
    steps : tuple of uint64, the distance in the field to the neighbours in other lines and layers.
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
def _relax(  # type: ignore[no-untyped-def]
    typing_context, own, other, blocks, weights, start, end, steps, omega, largest
):
    """Half a sweep over blocks `start` to `end` of one colour.

    change = weight * (sum of the neighbours) - item, and item += omega * change where the weight is
    not 0. `largest`, (BLOCK,) float32, is raised to the largest change at each place in a block.
    """
    arguments = (own, other, blocks, weights, start, end, steps, omega, largest)
    return types.void(*arguments), _generate


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
        """Sum of the neighbours at these distances to both sides."""
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
