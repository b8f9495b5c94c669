"""Batches of several levels, such as documents of sentences of words, in layers for one level."""

from functools import wraps
from typing import Any

from combinet.batches.levels import has_levels, join_level, split_level
from combinet.core.layer import Forward, Layer

# Forward functions that accept several levels, and those that do if all their sublayers do.
_INNERMOST: set[Any] = set()
_PASSING_ON: set[Any] = set()


def innermost(forward: Forward) -> Forward:
    """Decorates a forward function for sequences, so that it accepts sequences of any depth.

    The function then receives the sequences of the innermost level as one batch: all sentences of
    all documents of a Ragged of Ragged, or of a list of lists of arrays. Its output is divided like
    the input. If it returns one row for each sequence, the output has one level less.

    Args:
        forward: Forward function for a Ragged or a list of arrays. It returns a Ragged, a list or
            an array with one item or row for each sequence.

    Example:
        >>> import numpy as np
        >>> from combinet import Model, Ragged
        >>> @innermost
        ... def count(model, X, run):
        ...     return X.lengths[:, None].astype(float), lambda dY: None
        >>> docs = Ragged(Ragged(np.zeros((6, 2)), [2, 3, 1]), [2, 1])
        >>> Model("count", count).predict(docs)
        Ragged(array([[2.],
               [3.],
               [1.]]), array([2, 1]))
    """

    @wraps(forward)
    def apply(model: Any, X: Any, run: Any) -> Any:
        if not has_levels(X):
            return forward(model, X, run)
        inner, lengths = join_level(X)
        Y, callback = apply(model, inner, run)

        def backprop(dY: Any) -> Any:
            dX = callback(join_level(dY)[0])
            return None if dX is None else split_level(dX, lengths)

        return split_level(Y, lengths), backprop

    _INNERMOST.add(apply)
    return apply


def passes_levels_on(forward: Forward) -> Forward:
    """Registers the forward function of a combinator that accepts what its sublayers accept.

    Args:
        forward: Forward function that calls each sublayer on whole batches.

    Example:
        >>> from combinet import chain, relu
        >>> takes_levels(chain(relu()))
        False
    """
    _PASSING_ON.add(forward)
    return forward


def takes_levels(layer: Layer) -> bool:
    """Returns whether a layer computes the same for each item of a batch of several levels.

    Args:
        layer: The layer, with all layers below it.

    Example:
        >>> from combinet import list2ragged, reduce_mean
        >>> takes_levels(list2ragged() >> reduce_mean())
        True
    """
    if layer.forward in _PASSING_ON:
        return bool(layer.layers) and all(map(takes_levels, layer.layers))
    return layer.forward in _INNERMOST
