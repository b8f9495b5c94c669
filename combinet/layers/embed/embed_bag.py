"""A table of vectors, of which each sequence gets the mean."""

from __future__ import annotations

from typing import Any

from combinet.batches.ragged import Ragged
from combinet.core.model import Model
from combinet.core.run import Run
from combinet.errors import InputError
from combinet.initializers import uniform
from combinet.layers.embed.embed import ids_of, table_layer
from combinet.types import Floats2d, Initializer


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
