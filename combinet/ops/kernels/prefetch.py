"""Prefetching: requests memory before it is needed."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

AHEAD = 16  # rows: about as many as a core processes while it waits for one
_LINES = 4  # of the cache, 64 bytes each; the processor itself prefetches the lines that follow


def _prefetch(typing: Any, table: Any, row: Any) -> Any:
    """Starts loading the first cache lines of a row of a table.

    The processor cannot predict rows in random order, so a loop over them would wait for each row
    in turn. This calls LLVM's `prefetch`, for reading and for all levels of the cache. A prefetch
    changes no values and never fails.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        array = context.make_array(table)(context, builder, arguments[0])
        start = [arguments[1], context.get_constant(types.intp, 0)]
        pointer = cgutils.get_item_pointer(context, builder, table, array, start)
        pointer = builder.bitcast(pointer, cgutils.voidptr_t)
        number = ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, shape, "llvm.prefetch.p0")
        for line in range(_LINES):
            place = builder.gep(pointer, [ir.Constant(ir.IntType(64), 64 * line)])
            builder.call(function, [place, number(0), number(3), number(1)])

    return types.void(table, types.intp), generate


prefetch: Any = intrinsic(_prefetch)
