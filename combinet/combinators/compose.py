"""Combinators that call layers one after the other, on the same input, or with a shortcut."""

import reprlib
from collections.abc import Callable, Iterable
from functools import reduce
from itertools import accumulate, pairwise
from operator import itemgetter
from typing import Any, TypeVar, overload

import numpy as np

from combinet.batches.levels import has_levels
from combinet.batches.padded import Padded, given_lengths, same_sequences
from combinet.batches.ragged import Ragged
from combinet.batches.structure import map_arrays, rebuild
from combinet.core.levels import passes_levels_on
from combinet.core.model import A, B, C, Model
from combinet.core.node import as_layer
from combinet.core.operators import DEFAULT
from combinet.core.run import Run
from combinet.core.shape_rules import chained, concatenated, one_width, parallel, preserves
from combinet.errors import DimensionError, InputError, describe
from combinet.ops.backends import get_array_ops
from combinet.ops.base import Ops
from combinet.types import Form, is_array

T = TypeVar("T")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
G = TypeVar("G")
H = TypeVar("H")
I = TypeVar("I")  # noqa: E741
J = TypeVar("J")
K = TypeVar("K")


@overload
def chain() -> Model[Any, Any]: ...
@overload
def chain(a: Model[A, B], /) -> Model[A, B]: ...
@overload
def chain(a: Model[A, B], b: Model[B, C], /) -> Model[A, C]: ...
@overload
def chain(a: Model[A, B], b: Model[B, C], c: Model[C, D], /) -> Model[A, D]: ...
@overload
def chain(a: Model[A, B], b: Model[B, C], c: Model[C, D], d: Model[D, E], /) -> Model[A, E]: ...
@overload
def chain(
    a: Model[A, B], b: Model[B, C], c: Model[C, D], d: Model[D, E], e: Model[E, F], /
) -> Model[A, F]: ...
@overload
def chain(
    a: Model[A, B], b: Model[B, C], c: Model[C, D], d: Model[D, E], e: Model[E, F],
    f: Model[F, G], /,
) -> Model[A, G]: ...  # fmt: skip
@overload
def chain(
    a: Model[A, B], b: Model[B, C], c: Model[C, D], d: Model[D, E], e: Model[E, F],
    f: Model[F, G], g: Model[G, H], /,
) -> Model[A, H]: ...  # fmt: skip
@overload
def chain(
    a: Model[A, B], b: Model[B, C], c: Model[C, D], d: Model[D, E], e: Model[E, F],
    f: Model[F, G], g: Model[G, H], h: Model[H, I], /,
) -> Model[A, I]: ...  # fmt: skip
@overload
def chain(
    a: Model[A, B], b: Model[B, C], c: Model[C, D], d: Model[D, E], e: Model[E, F],
    f: Model[F, G], g: Model[G, H], h: Model[H, I], i: Model[I, J], /,
) -> Model[A, J]: ...  # fmt: skip
@overload
def chain(
    a: Model[A, B], b: Model[B, C], c: Model[C, D], d: Model[D, E], e: Model[E, F],
    f: Model[F, G], g: Model[G, H], h: Model[H, I], i: Model[I, J], j: Model[J, K], /,
) -> Model[A, K]: ...  # fmt: skip
@overload
def chain(
    a: Model[A, Any], b: Model[Any, Any], c: Model[Any, Any], d: Model[Any, Any],
    e: Model[Any, Any], f: Model[Any, Any], g: Model[Any, Any], h: Model[Any, Any],
    i: Model[Any, Any], j: Model[Any, Any], k: Model[Any, Any], /, *rest: Model[Any, Any],
) -> Model[A, Any]: ...  # fmt: skip
def chain(*layers: Model[Any, Any]) -> Model[Any, Any]:
    """Calls layers one after the other. The operator is `>>`.

    chain(f, g, h) computes h(g(f(X))). A chain among the layers is replaced by its own layers: (f
    >> g) >> h, f >> (g >> h) and chain(f, g, h) are the same. A chain with attrs, or with a
    name other than "chain", remains one layer and keeps them: `(tagger >> decode())[0].attrs`.

    Args:
        *layers: Layers in the order of the forward pass. A chain without layers returns its input.

    Raises:
        DimensionError: If the widths of two layers do not fit together.

    Example:
        >>> from combinet import Linear, Softmax, relu
        >>> chain(Linear(4, 2), relu(), Softmax(3)).initialize()
        chain: 27 parameters
          linear   nI=2 nO=4  12
          relu
          softmax  nI=4 nO=3  15
    """
    return Model("chain", _chain, layers=layers, widths=chained, flat=True)


@passes_levels_on
def _chain(model: Model[Any, Any], X: Any, run: Run) -> Any:
    callbacks, wants_dX = [], run.wants_dX
    for layer in model.layers:
        X, callback = run(layer, X, wants_dX)
        callbacks.append(callback)
        wants_dX = wants_dX or layer.is_trainable

    def backprop(dY: Any) -> Any:
        for callback in reversed(callbacks):
            if dY is None:  # the earlier layers have no gradient
                break
            dY = callback(dY)
        return dY

    return X, backprop


def concatenate(*layers: Model[A, B]) -> Model[A, B]:
    """Applies layers to the same input and concatenates their output columns. The operator is `|`.

    The outputs can be arrays, lists of arrays, Ragged or Padded, with equal numbers of rows. The
    gradient of the input is the sum of the layers' gradients. As in `chain`, a concatenation among
    the layers is replaced by its own layers, unless it has attrs or another name.

    Args:
        *layers: At least one layer. All layers must accept the input.

    Raises:
        InputError: If no layers are given.
        DimensionError: If the outputs of a pass differ in kind, or in an axis other than the last.

    Example:
        >>> import numpy as np
        >>> from combinet import noop
        >>> concatenate(noop(), noop()).predict(np.array([[1.0, 2.0]]))
        array([[1., 2., 1., 2.]])
    """
    if not layers:
        raise InputError("concatenate expected at least one layer, got none")
    return Model("concatenate", _concatenate, layers=layers, widths=concatenated, flat=True)


@passes_levels_on
def _concatenate(model: Model[Any, Any], X: Any, run: Run) -> Any:
    results = [run(layer, X, run.wants_dX) for layer in model.layers]
    outputs, callbacks = zip(*results, strict=True)
    widths = [_last_axis(Y) for Y in outputs]

    def backprop(dY: Any) -> Any:
        columns = [(..., slice(*ends)) for ends in pairwise(accumulate(widths, initial=0))]
        return sum_batches(
            callback(map_arrays(dY, itemgetter(own)))
            for callback, own in zip(callbacks, columns, strict=True)
        )

    return _join_columns(model, outputs, run.ops), backprop


def add(*layers: Model[A, B]) -> Model[A, B]:
    """Applies layers to the same input and adds their outputs. The operator is `+`.

    The outputs can be any batches of one kind and shape. The gradient of the input is the sum of
    the layers' gradients.

    Args:
        *layers: At least one layer. All layers must accept the input.

    Raises:
        InputError: If no layers are given.
        DimensionError: If the widths of the outputs differ, or if their kinds or shapes differ in
            a pass.

    Example:
        >>> import numpy as np
        >>> from combinet import noop
        >>> add(noop(), noop()).predict(np.array([[1.0, 2.0]]))
        array([[2., 4.]])
    """
    if not layers:
        raise InputError("add expected at least one layer, got none")
    return Model("add", _add, layers=layers, widths=parallel)


@passes_levels_on
def _add(model: Model[Any, Any], X: Any, run: Run) -> Any:
    total, callbacks = None, []
    for layer in model.layers:
        Y, callback = run(layer, X, run.wants_dX)
        if total is not None:
            _check_match(model, "add", total, Y)
        total = add_batches(total, Y)
        callbacks.append(callback)

    def backprop(dY: Any) -> Any:
        return sum_batches(callback(dY) for callback in callbacks)

    return total, backprop


def residual(layer: Model[A, A]) -> Model[A, A]:
    """Adds the input to the output of a layer: Y = X + layer(X).

    Args:
        layer: Layer whose output has the kind and shape of its input.

    Raises:
        DimensionError: If the input and the output of the layer have different widths or shapes.

    Example:
        >>> import numpy as np
        >>> from combinet import relu
        >>> residual(relu()).predict(np.array([[-1.0, 2.0]]))
        array([[-1.,  4.]])

    Source: He et al. 2016, arXiv:1512.03385, equation 1.
    """
    return Model("residual", _residual, layers=[layer], widths=one_width)


@passes_levels_on
def _residual(model: Model[Any, Any], X: Any, run: Run) -> Any:
    Y, callback = run(model.layers[0], X)
    _check_match(model, "add", X, Y)

    def backprop(dY: Any) -> Any:
        return add_batches(dY, callback(dY))

    return add_batches(X, Y), backprop


def highway(layer: Model[A, A], gate: Model[A, A]) -> Model[A, A]:
    """Mixes a layer's output with its input: Y = G * layer(X) + (1 - G) * X, where G = gate(X).

    The input and the output are arrays of floats (n, nI).

    Args:
        layer: Layer whose output has the shape of its input.
        gate: Layer with outputs between 0, which keeps the input, and 1, which replaces it. Usually
            a sigmoid. Start its bias below 0 in deep models.

    Raises:
        DimensionError: If the input and the two outputs have different widths or shapes.

    Example:
        >>> import numpy as np
        >>> from combinet import Relu, Softmax
        >>> highway(Relu(), Softmax()).initialize(np.ones((2, 3), "float32"))
        highway: 24 parameters
          relu     nI=3 nO=3  12
          softmax  nI=3 nO=3  12

    Source: Srivastava et al. 2015, arXiv:1505.00387, equation 3.
    """
    return Model("highway", _highway, layers=[layer, gate], accepts="floats", widths=one_width)


def _highway(model: Model[Any, Any], X: Any, run: Run) -> Any:
    layer, gate = model.layers
    H, callback = run(layer, X)
    G, gate_callback = run(gate, X)
    _check_match(model, "add", X, H)
    _check_match(model, "add", X, G)

    def backprop(dY: Any) -> Any:
        inner = add_batches(callback(dY * G), gate_callback(dY * (H - X)))
        return add_batches(dY * (1 - G), inner)

    return G * H + (1 - G) * X, backprop


def gated(layer: Model[A, B], gate: Model[A, B]) -> Model[A, B]:
    """Applies two layers to the same input and multiplies their outputs: Y = gate(X) * layer(X).

    The input is an array of floats, the output an array with the shape of both outputs. With
    `Sigmoid` as the gate this is the gated linear unit of Dauphin et al. With other gates it is one
    of the variants of Shazeer, such as SwiGLU in the example.

    Args:
        layer: Layer whose output is gated.
        gate: Layer whose output is the factor. The two outputs must have the same shape.

    Raises:
        DimensionError: If the two outputs have different widths or shapes.

    Example:
        >>> from combinet import Linear, Swish
        >>> gated(Linear(4, 3), Swish(4)).initialize()
        gated: 32 parameters
          linear  nI=3 nO=4  16
          swish   nI=3 nO=4  16

    Source: Dauphin et al. 2017, arXiv:1612.08083, equation 1; Shazeer 2020, arXiv:2002.05202.
    """
    return Model("gated", _gated, layers=[layer, gate], accepts="floats", widths=parallel)


def _gated(model: Model[Any, Any], X: Any, run: Run) -> Any:
    layer, gate = model.layers
    H, callback = run(layer, X)
    G, gate_callback = run(gate, X)
    _check_match(model, "multiply", H, G)

    def backprop(dY: Any) -> Any:
        return add_batches(callback(dY * G), gate_callback(dY * H))

    return G * H, backprop


def clone(layer: Model[A, A], n: int) -> Model[A, A]:
    """Returns a chain of independent copies of a layer. The operator is `**`.

    If the layer has no weights yet, each copy gets different initial weights.

    Args:
        layer: Layer to copy.
        n: Number of copies. One copy is returned without a chain, and 0 copies are `noop`.

    Raises:
        InputError: If `n` is not an int of at least 0.
        DimensionError: If the layer has different input and output widths.

    Example:
        >>> from combinet import Linear
        >>> clone(Linear(2, 2), 3).initialize()
        chain: 18 parameters
          linear  nI=2 nO=2  6
          linear  nI=2 nO=2  6
          linear  nI=2 nO=2  6
    """
    if not isinstance(n, int | np.integer) or n < 0:
        raise InputError(f"clone expected an int of at least 0 as n, got {n!r}")
    if n == 0:
        return noop()
    layer = as_layer("clone", layer)
    copies: list[Model[Any, Any]] = [layer.copy() for _ in range(n)]
    return copies[0] if n == 1 else chain(*copies)


def noop() -> Model[Form, Form]:
    """Returns the input unchanged.

    Example:
        >>> noop().predict("anything")
        'anything'
    """
    return Model("noop", _noop, widths=preserves)


def _noop(model: Model[Any, Any], X: Any, run: Run) -> Any:
    return X, lambda dY: dY


def layerize(function: Callable[[A], tuple[B, Callable[[Any], Any]]]) -> Model[A, B]:
    """Makes a layer without weights from a function X -> (Y, backprop). Also works as a decorator.

    The layer has the name of the function.

    Args:
        function: Function that returns the output and a callback, `backprop(dY) -> dX`. It must be
            pure: it must not write to X or dY, and several threads may call it at once.

    Raises:
        InputError: If `function` is not a function.

    Example:
        >>> import numpy as np
        >>> square = layerize(lambda X: (X * X, lambda dY: 2 * X * dY))
        >>> Y, backprop = square.begin_update(np.array([3.0]))
        >>> Y, backprop(np.array([1.0]))
        (array([9.]), array([6.]))
    """
    if isinstance(function, Model) or not callable(function):
        raise InputError(f"layerize expected f(X) -> (Y, backprop), got {describe(function)}")
    name = getattr(function, "__name__", type(function).__name__)
    return Model(name, _layerize, attrs={"function": function})


def _layerize(model: Model[Any, Any], X: Any, run: Run) -> Any:
    return model.attrs["function"](X)


def add_batches(X: T, Y: T) -> T:
    """Returns X + Y for batches of one kind, without changing them. None counts as zero."""
    if X is None or Y is None:
        return Y if X is None else X
    other: Any = Y
    if is_array(X):
        return get_array_ops(X).add(X, other)  # type: ignore[return-value]
    if isinstance(X, list | tuple):
        return rebuild(X, [add_batches(x, y) for x, y in zip(X, other, strict=True)])
    if isinstance(X, Ragged):
        return Ragged.unchecked(add_batches(X.data, other.data), X.lengths)  # type: ignore[return-value]
    return map_arrays(X, lambda data: add_batches(data, other.data))


def sum_batches(batches: Iterable[T | None]) -> T | None:
    """Returns the sum of batches of one kind, or None if all are None."""
    return reduce(add_batches, batches, None)


def _check_match(
    model: Model[Any, Any], verb: str, X: Any, Y: Any, axes: slice = slice(None)
) -> None:
    """Raises DimensionError if X and Y differ in kind, sequences or, on these axes, size."""
    if _match(X, Y, axes):
        return
    words = f"{model.name} expected matching batches to {verb}, got {describe(X)} and {describe(Y)}"
    if isinstance(X, Ragged | Padded) and isinstance(Y, Ragged | Padded):
        lengths = [reprlib.repr(given_lengths(each).tolist()) for each in (X, Y)]
        words += f", with lengths {' and '.join(lengths)}"
    raise DimensionError(words)


def _match(X: Any, Y: Any, axes: slice) -> bool:
    if is_array(X):
        return is_array(Y) and X.shape[axes] == Y.shape[axes]
    if type(X) is not type(Y):
        return False
    if isinstance(X, list | tuple):
        pairs = zip(X, Y, strict=False)
        return len(X) == len(Y) and all(_match(x, y, axes) for x, y in pairs)
    return same_sequences(X, Y) and _match(X.data, Y.data, axes)


def _last_axis(Y: Any) -> int:
    if isinstance(Y, list):
        return (
            next((width for y in Y if (width := _last_axis(y))), 0)
            if has_levels(Y)
            else (_last_axis(Y[0]) if Y else 0)
        )
    data = Y.rows if isinstance(Y, Ragged) else Y.data if isinstance(Y, Padded) else Y
    return int(data.shape[-1])


def _join_columns(model: Model[Any, Any], batches: tuple[Any, ...], ops: Ops) -> Any:
    """Returns a batch like the first one, with the columns of all batches."""
    first = batches[0]
    for other in batches[1:]:
        _check_match(model, "join", first, other, slice(-1))
    if isinstance(first, list):
        return [_join_columns(model, items, ops) for items in zip(*batches, strict=True)]
    if isinstance(first, Ragged | Padded):
        arrays = [batch.rows if isinstance(batch, Ragged) else batch.data for batch in batches]
        return map_arrays(first, lambda _: ops.concatenate(arrays, axis=-1))
    return ops.concatenate([*batches], axis=-1)


DEFAULT.update({">>": chain, "|": concatenate, "+": add, "**": clone})
