"""Models made of models: one after the other, side by side, around."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from itertools import accumulate, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from combinet.batches.padded import Padded, given_lengths, same_sequences
from combinet.batches.ragged import Ragged
from combinet.batches.structure import map_arrays, rebuild
from combinet.core.model import A, B, C, Model
from combinet.core.operators import DEFAULT
from combinet.core.run import Run
from combinet.core.shape_rules import chained, concatenated, one_width, parallel, preserves
from combinet.errors import DimensionError, InputError, describe
from combinet.ops.backends import get_array_ops
from combinet.ops.base import Ops
from combinet.types import is_array

if TYPE_CHECKING:
    from combinet.types import Form

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
    """One layer after the other, each on the output of the last. The operator is `>>`.

    chain(f, g, h) computes h(g(f(X))). A plain chain among the layers is replaced by its own
    layers, so that (f >> g) >> h, f >> (g >> h) and chain(f, g, h) are one and the same. A chain
    with settings in `attrs`, or with another name than "chain", stays one layer and keeps them:
    `(tagger >> decode())[0].attrs`. Raises DimensionError if two layers' widths disagree.

    Example:
        >>> from combinet import Linear, Softmax, relu
        >>> chain(Linear(4, 2), relu(), Softmax(3)).initialize()
        chain: 27 parameters
          linear   nI=2 nO=4  12
          relu
          softmax  nI=4 nO=3  15
    """
    return Model("chain", _chain, layers=layers, widths=chained, flat=True)


def _chain(model: Model[Any, Any], X: Any, run: Run) -> Any:
    callbacks, wants_dX = [], run.wants_dX
    for layer in model.layers:
        X, callback = run(layer, X, wants_dX)
        callbacks.append(callback)
        wants_dX = True

    def backprop(dY: Any) -> Any:
        for callback in reversed(callbacks):
            if dY is None:  # what lies before has no gradient
                break
            dY = callback(dY)
        return dY

    return X, backprop


def concatenate(*layers: Model[A, B]) -> Model[A, B]:
    """Layers side by side on one input, outputs column beside column. The operator is `|`.

    The outputs may be arrays, lists of arrays, Ragged or Padded with the same rows. The input's
    gradient is the sum of theirs. A concatenation among the layers is replaced by its own layers,
    unless it has settings or a name of its own, as in `chain`.

    Example:
        >>> import numpy as np
        >>> from combinet import noop
        >>> concatenate(noop(), noop()).predict(np.array([[1.0, 2.0]]))
        array([[1., 2., 1., 2.]])
    """
    if not layers:
        raise InputError("concatenate takes at least one layer")
    return Model("concatenate", _concatenate, layers=layers, widths=concatenated, flat=True)


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
    """Layers side by side on one input, outputs summed. The operator is `+`.

    Example:
        >>> import numpy as np
        >>> from combinet import noop
        >>> add(noop(), noop()).predict(np.array([[1.0, 2.0]]))
        array([[2., 4.]])
    """
    if not layers:
        raise InputError("add takes at least one layer")
    return Model("add", _add, layers=layers, widths=parallel)


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
    """The layer's output plus its input: Y = X + layer(X). He et al. 2016, arXiv:1512.03385, (1).

    Example:
        >>> import numpy as np
        >>> from combinet import relu
        >>> residual(relu()).predict(np.array([[-1.0, 2.0]]))
        array([[-1.,  4.]])
    """
    return Model("residual", _residual, layers=[layer], widths=one_width)


def _residual(model: Model[Any, Any], X: Any, run: Run) -> Any:
    Y, callback = run(model.layers[0], X)
    _check_match(model, "add", X, Y)

    def backprop(dY: Any) -> Any:
        return add_batches(dY, callback(dY))

    return add_batches(X, Y), backprop


def highway(layer: Model[A, A], gate: Model[A, A]) -> Model[A, A]:
    """A residual connection with a gate: Y = G * layer(X) + (1 - G) * X, where G = gate(X).

    X, Y (n, nI) floats. The gate's output lies between 0, which lets the input pass, and 1: that
    of a sigmoid, whose bias starts below 0 in deep models. Raises DimensionError if the three
    differ in shape. Srivastava et al. 2015, arXiv:1505.00387, (3).

    Example:
        >>> import numpy as np
        >>> from combinet import Relu, Softmax
        >>> highway(Relu(), Softmax()).initialize(np.ones((2, 3), "float32"))
        highway: 24 parameters
          relu     nI=3 nO=3  12
          softmax  nI=3 nO=3  12
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
    """Two layers on one input, outputs multiplied: Y = gate(X) * layer(X).

    X floats -> Y, the shape that both give. With `Sigmoid` for the gate it is the gated linear
    unit of Dauphin et al. 2017, arXiv:1612.08083, equation 1; with others its variants of Shazeer
    2020, arXiv:2002.05202, such as the SwiGLU below. Raises DimensionError if they differ in shape.

    Example:
        >>> from combinet import Linear, Swish
        >>> gated(Linear(4, 3), Swish(4)).initialize()
        gated: 32 parameters
          linear  nI=3 nO=4  16
          swish   nI=3 nO=4  16
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
    """A chain of n copies of a layer, which share nothing. The operator is `**`.

    Copies of a layer without weights are initialized apart. n = 0 is `noop`.

    Example:
        >>> from combinet import Linear
        >>> clone(Linear(2, 2), 3).initialize()
        chain: 18 parameters
          linear  nI=2 nO=2  6
          linear  nI=2 nO=2  6
          linear  nI=2 nO=2  6
    """
    if not isinstance(n, int | np.integer) or n < 0:
        raise InputError(f"clone makes 0 copies or more, not {n!r}")
    if n == 0:
        return noop()
    copies: list[Model[Any, Any]] = [layer.copy() for _ in range(n)]
    return copies[0] if n == 1 else chain(*copies)


def noop() -> Model[Form, Form]:
    """The input as it is.

    Example:
        >>> noop().predict("anything")
        'anything'
    """
    return Model("noop", _noop, widths=preserves)


def _noop(model: Model[Any, Any], X: Any, run: Run) -> Any:
    return X, lambda dY: dY


def layerize(function: Callable[[A], tuple[B, Callable[[Any], Any]]]) -> Model[A, B]:
    """A function X -> (Y, backprop) as a layer without weights; a decorator.

    `backprop(dY)` returns dX. The layer has the function's name. The function must be pure: it
    writes neither to X nor to dY, and is called from several threads at once.

    Example:
        >>> import numpy as np
        >>> square = layerize(lambda X: (X * X, lambda dY: 2 * X * dY))
        >>> Y, backprop = square.begin_update(np.array([3.0]))
        >>> Y, backprop(np.array([1.0]))
        (array([9.]), array([6.]))
    """
    if isinstance(function, Model) or not callable(function):
        raise InputError(f"layerize takes a function X -> (Y, backprop), not {describe(function)}")
    name = getattr(function, "__name__", type(function).__name__)
    return Model(name, _layerize, attrs={"function": function})


def _layerize(model: Model[Any, Any], X: Any, run: Run) -> Any:
    return model.attrs["function"](X)


def add_batches(X: T, Y: T) -> T:
    """X + Y for batches of one form, None counting for nothing; neither is changed."""
    if X is None or Y is None:
        return Y if X is None else X
    other: Any = Y
    if isinstance(X, list | tuple):
        return rebuild(X, [add_batches(x, y) for x, y in zip(X, other, strict=True)])
    if isinstance(X, Ragged | Padded):
        return map_arrays(X, lambda data: add_batches(data, other.data))
    array: Any = X
    return get_array_ops(array).add(array, other)  # type: ignore[return-value]


def sum_batches(batches: Iterable[Any]) -> Any:
    """The sum of batches of one form; None if all are None."""
    return reduce(add_batches, batches, None)


def _check_match(
    model: Model[Any, Any], verb: str, X: Any, Y: Any, axes: slice = slice(None)
) -> None:
    """Raise DimensionError unless X and Y agree in form, sequences and, on these axes, size."""
    if _match(X, Y, axes):
        return
    words = f"{model.name} cannot {verb} {describe(X)} and {describe(Y)}"
    if isinstance(X, Ragged | Padded) and isinstance(Y, Ragged | Padded):
        words += f", of the lengths {given_lengths(X).tolist()} and {given_lengths(Y).tolist()}"
    raise DimensionError(words)


def _match(X: Any, Y: Any, axes: slice) -> bool:
    if isinstance(X, list | tuple | Ragged | Padded) and type(X) is not type(Y):
        return False
    if isinstance(X, list | tuple):
        pairs = zip(X, Y, strict=False)
        return len(X) == len(Y) and all(_match(x, y, axes) for x, y in pairs)
    if isinstance(X, Ragged | Padded):
        return same_sequences(X, Y) and _match(X.data, Y.data, axes)
    return is_array(Y) and tuple(X.shape[axes]) == tuple(Y.shape[axes])


def _last_axis(Y: Any) -> int:
    if isinstance(Y, list):
        return _last_axis(Y[0]) if Y else 0
    data = Y.data if isinstance(Y, Ragged | Padded) else Y
    return int(data.shape[-1])


def _join_columns(model: Model[Any, Any], batches: tuple[Any, ...], ops: Ops) -> Any:
    """A batch of the form of the first whose rows are the rows of all, one after the other."""
    first = batches[0]
    for other in batches[1:]:
        _check_match(model, "join", first, other, slice(-1))
    if isinstance(first, list):
        return [ops.concatenate([*arrays], axis=-1) for arrays in zip(*batches, strict=True)]
    if isinstance(first, Ragged | Padded):
        arrays = [batch.data for batch in batches]
        return map_arrays(first, lambda _: ops.concatenate(arrays, axis=-1))
    return ops.concatenate([*batches], axis=-1)


DEFAULT.update({">>": chain, "|": concatenate, "+": add, "**": clone})
