"""Tables of vectors: by row number, by hashed key, and the mean of several."""

from __future__ import annotations

from typing import Any

import numpy as np

from combinet.batches.ragged import Ragged
from combinet.core.model import Model
from combinet.core.node import Param
from combinet.core.run import Run
from combinet.errors import DimensionError, InputError, describe
from combinet.initializers import uniform
from combinet.types import Floats2d, Initializer, Ints, Ints1d

_INTS = (np.dtype("int32"), np.dtype("int64"))


def Embed(
    nO: int | None = None,
    nV: int | None = None,
    *,
    column: int | None = None,
    init: Initializer = uniform(-0.1, 0.1),  # noqa: B008
) -> Model[Ints, Floats2d]:
    """The vector of each id: Y = E[X].

    X (n,) integers below nV, or (n, columns) of which `column` is taken -> Y (n, nO). Params:
    E (nV, nO). The input has no gradient: backprop returns None, and touches the rows named.
    Raises DimensionError for ids outside 0 to nV - 1 (on a GPU, where looking would mean waiting,
    they wrap around).

    Example:
        >>> import numpy as np
        >>> model = Embed(1, 3).initialize()
        >>> model.set_param("E", [[0.0], [1.0], [2.0]])
        >>> model.predict(np.array([2, 0]))
        array([[2.],
               [0.]], dtype=float32)
    """
    return table_layer("embed", _embed, "ids", nO, nV, init, column=column)


def _embed(model: Model[Any, Any], X: Ints, run: Run) -> Any:
    return gather_rows(model, ids_of(model, X, run).reshape(-1, 1), run)


def ids_of(model: Model[Any, Any], X: Ints, run: Run) -> Ints1d:
    """The ids of a layer's column as int32 or int64; DimensionError for those beyond 0 to nV - 1.

    In training they are a copy: they are read again in the backward pass and in the update, when
    X may hold others. On a GPU nobody looks how large they are.
    """
    given, nV = column_of(model, X), model.get_dim("nV")
    ids: Any = given.astype(given.dtype if given.dtype in _INTS else "int64", copy=run.train)
    # Read without a sign, those below 0 are the largest: one look at all of them is enough.
    if run.ops.name == "numpy" and ids.size and ids.view(f"u{ids.dtype.itemsize}").max() >= nV:
        raise DimensionError(
            f"{model.name} takes ids from 0 to {nV - 1}, not {given.min()} to {given.max()}"
        )
    return ids  # type: ignore[no-any-return]


def HashEmbed(
    nO: int | None = None,
    nV: int | None = None,
    *,
    seed: int = 0,
    column: int | None = None,
    init: Initializer = uniform(-0.1, 0.1),  # noqa: B008
) -> Model[Ints, Floats2d]:
    """The vector of each key: the sum of four rows of a table, chosen by hashing.

    X (n,) integers of any size, taken as 64 bits, or (n, columns) of which `column` is taken
    -> Y (n, nO). Params: E (nV, nO). Keys far more numerous than nV get vectors of their own,
    since two rarely share all four rows. Other seeds choose other rows. The input has no
    gradient. Svenstrup, Hansen and Winther 2017, arXiv:1709.03933, without weights.

    Example:
        >>> import numpy as np
        >>> model = HashEmbed(4, 100).initialize()
        >>> model.predict(np.array([2**63, 5], dtype="uint64")).shape
        (2, 4)
    """
    return table_layer("hash_embed", _hash_embed, "ids", nO, nV, init, column=column, seed=seed)


def _hash_embed(model: Model[Any, Any], X: Ints, run: Run) -> Any:
    keys: Any = column_of(model, X).astype("uint64")
    rows = run.ops.hash_rows(keys, model.attrs["seed"], model.get_dim("nV"))
    return gather_rows(model, rows, run)


def EmbedBag(
    nO: int | None = None,
    nV: int | None = None,
    *,
    column: int | None = None,
    reduce: str = "mean",
    init: Initializer = uniform(-0.1, 0.1),  # noqa: B008
) -> Model[Ragged, Floats2d]:
    """The mean of the vectors of each sequence's ids: `Embed` and `reduce_mean` in one step.

    X Ragged of (total,) integers below nV, or (total, columns) of which `column` is taken
    -> Y (sequences, nO); 0 for an empty sequence. With `reduce` "sum" it is the sum. The vectors
    of the single ids are never laid out in memory, nor are their gradients. Params: E (nV, nO).
    The input has no gradient. Known as EmbeddingBag in PyTorch. Raises DimensionError for ids
    outside 0 to nV - 1 (not on a GPU), InputError for another `reduce` or for no integers.

    Example:
        >>> import numpy as np
        >>> model = EmbedBag(1, 3).initialize()
        >>> model.set_param("E", [[0.0], [1.0], [2.0]])
        >>> model.predict(Ragged(np.array([2, 1, 0]), [2, 1])).tolist()
        [[1.5], [0.0]]
    """
    if reduce not in ("mean", "sum"):
        raise InputError(f"embed_bag takes the 'mean' or the 'sum' of vectors, not {reduce!r}")
    attrs = {"column": column, "reduce": reduce}
    return table_layer("embed_bag", _embed_bag, "ragged_ids", nO, nV, init, **attrs)


def _embed_bag(model: Model[Any, Any], X: Ragged, run: Run) -> Any:
    ids, lengths = ids_of(model, X.data, run), X.lengths
    (E,) = run.params(model, "E")
    ops, mean = run.ops, model.attrs["reduce"] == "mean"

    def backprop(dY: Floats2d) -> None:
        gradient: Any = dY * ops.mean_weights(lengths, dY.dtype) if mean else dY
        run.inc_grad_rows(model, "E", ids, gradient, lengths)

    return ops.embed_bag(E, ids, lengths, mean), backprop


def table_layer(
    name: str, forward: Any, accepts: str, nO: int | None, nV: int | None, init: Any, **attrs: Any
) -> Model[Any, Any]:
    """A layer with a table E (nV, nO), which lies in memory row by row."""
    dims, params = {"nO": nO, "nV": nV}, {"E": Param(("nV", "nO"), init, "C")}
    return Model(name, forward, dims=dims, params=params, attrs=attrs, accepts=accepts)


def column_of(model: Model[Any, Any], X: Ints) -> Ints1d:
    """The ids of the layer's `column`, or all of them where it has none."""
    column = model.attrs["column"]
    if column is None and X.ndim == 1:
        return X
    if column is None or X.ndim == 1 or not -X.shape[1] <= column < X.shape[1]:
        wanted = "ids (n,)" if column is None else f"an array with a column {column}"
        raise InputError(f"{model.name} takes {wanted}, not {describe(X)}")
    return X[:, column]


def gather_rows(model: Model[Any, Any], rows: Any, run: Run) -> Any:
    """The sum of the rows (n, k) of a layer's table E, and the backward pass."""
    (E,) = run.params(model, "E")

    def backprop(dY: Floats2d) -> None:
        run.inc_grad_rows(model, "E", rows, dY)

    return run.ops.gather_sum(E, rows), backprop
