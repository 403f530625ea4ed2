"""The inner loop of `cytopipe.numerics.laplace` in whole vectors of the processor.

Written as LLVM's instructions on vectors: numba tests at every block of a plain loop whether its
arrays overlap, and makes a loop that also looks for the largest residual one of scalars.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

BLOCK = 8  # fields of a line that are worked on together; a vector of most processors


@intrinsic
def relax(
    typing_context: Any,
    own: Any,
    other: Any,
    blocks: Any,
    weights: Any,
    start: Any,
    end: Any,
    line: Any,
    plane: Any,
    omega: Any,
    largest: Any,
) -> Any:
    """Half a sweep over blocks `start` to `end` of one colour.

    For each field of a block: change = weight * (sum of its six neighbours) - field;
    field += omega * change; where the weight is 0 nothing changes.

    Parameters
    ----------
    own, other : float32, fields of the colour that is relaxed, and of that of its neighbours.
    blocks : uint64, twice the number of each block's first field, plus 1 where the left neighbour
        of a field has the field's own number, else the right one has.
    weights : (blocks, BLOCK) float32.
    start, end : int64.
    line, plane : uint64, steps to the neighbours of the two other axes.
    omega : float32.
    largest : (BLOCK,) float32, raised to the largest change, as a plain step makes it, of each
        place in a block.
    """
    given = (own, other, blocks, weights, start, end, line, plane, omega, largest)
    return types.void(*given), _generate


def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    vector = ir.VectorType(ir.FloatType(), BLOCK)
    start, end, line, plane, omega = arguments[4:9]

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
    most = cgutils.alloca_once_value(builder, load(9, number(0)))
    with cgutils.for_range_slice(builder, start, end, number(1), inc=True) as (block, _):
        code = builder.load(builder.gep(array(2).data, [block]))
        first, odd = builder.lshr(code, number(1)), builder.and_(code, number(1))
        around = builder.fadd(pair(plane, plane), pair(line, line))
        around = builder.fadd(around, pair(builder.sub(number(1), odd), odd))
        weight, before = load(3, builder.mul(block, number(BLOCK))), load(0, first)
        change = builder.fsub(builder.fmul(around, weight), before)
        change = builder.select(builder.fcmp_ordered(">", weight, zero), change, zero)
        after = builder.fadd(before, builder.fmul(omegas, change))
        builder.store(after, at(0, first), align=4)
        size = larger(change, builder.fsub(zero, change))
        builder.store(larger(size, builder.load(most)), most)
    builder.store(builder.load(most), at(9, number(0)), align=4)
    return context.get_dummy_value()
