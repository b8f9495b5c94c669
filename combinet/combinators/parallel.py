"""A layer whose batches are shared among threads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np

from combinet.batches.ragged import Ragged
from combinet.core.model import A, B, Model
from combinet.core.run import Run
from combinet.core.shape_rules import delegates
from combinet.errors import InputError, describe
from combinet.ops.base import Ops
from combinet.ops.blas.threads import run_concurrently
from combinet.types import Ints1d


def with_threads(layer: Model[A, B], threads: int | None = None) -> Model[A, B]:
    """The layer as it is, each shard of a batch in a thread of its own, forward and backward.

    X is a list, a Ragged or an array: of sequences or, where nothing says how its rows are divided,
    of rows that know nothing of each other. It is cut into `threads` shards (by default as many as
    the process has processors) of about as many rows. What comes out is put together: it is a
    list, a Ragged or an array, with an item for each item, or a row for each row. Raises InputError
    for anything else. For a single item, and on a GPU, this is the layer itself.

    It pays where a pass takes some milliseconds and consists of long steps: in a transformer, not
    in an LSTM, which waits for a small product at each word. Meanwhile BLAS has one thread, in the
    whole process, lest its threads and these fight over the processors; that takes threadpoolctl,
    which the extra `numba` brings. Without it set OPENBLAS_NUM_THREADS=1.

    Each shard draws its masks of dropout from a generator of its own, and is a batch of its own to
    `BatchNorm`. Gradients are summed as they come: with more than two threads their order, and
    so the last digit, is left to chance.

    Example:
        >>> import numpy as np
        >>> from combinet import TransformerEncoder, with_flatten
        >>> layer = with_flatten(TransformerEncoder(8, heads=2, depth=1)).initialize()
        >>> docs = [np.ones((3, 8), "float32"), np.ones((2, 8), "float32")]
        >>> [Y.shape for Y in with_threads(layer).predict(docs)]
        [(3, 8), (2, 8)]
    """
    if threads is not None and threads < 1:
        raise InputError(f"with_threads takes a positive number of threads, not {threads}")
    attrs = {"threads": threads}
    return Model("with_threads", _with_threads, layers=[layer], attrs=attrs, widths=delegates)


def _with_threads(model: Model[Any, Any], X: Any, run: Run) -> Any:
    layer, ops, wants_dX = model.layers[0], run.ops, run.wants_dX
    sizes = _sizes(model, X, run)
    shards = min(ops.threads(model.attrs["threads"]), len(sizes))
    if shards < 2:
        return run(layer, X, wants_dX)
    items = _cuts(sizes, shards)
    of_sequences = hasattr(X, "dtype") and run.lengths is not None
    rows = [0, *np.cumsum(sizes)[np.array(items[1:]) - 1].tolist()]
    runs = _runs(run, _split(sizes, items) if of_sequences else [None] * (len(items) - 1))
    pairs = zip(runs, _split(X, rows if of_sequences else items), strict=True)
    jobs = [partial(each, layer, x, wants_dX) for each, x in pairs]
    with ops.single_threaded_blas():
        outputs, callbacks = zip(*run_concurrently(jobs), strict=True)
    ends = _ends(model, outputs, items, rows)

    def backprop(dY: Any) -> Any:
        pairs = zip(callbacks, _split(dY, ends), strict=True)
        with ops.single_threaded_blas():
            gradients = run_concurrently([partial(callback, dy) for callback, dy in pairs])
        return None if gradients[0] is None else _join(gradients, ops)

    return _join(outputs, ops), backprop


def _sizes(model: Model[Any, Any], X: Any, run: Run) -> Ints1d:
    """About how much work each item is: its rows."""
    if isinstance(X, Ragged):
        return X.lengths
    if isinstance(X, list):
        known = all(hasattr(x, "__len__") and getattr(x, "ndim", 1) for x in X)
        return np.fromiter(map(len, X), "int64", len(X)) if known else np.ones(len(X), "int64")
    if hasattr(X, "dtype") and X.ndim:
        return np.ones(len(X), "int64") if run.lengths is None else run.lengths_of(X)
    raise InputError(f"{model.name} takes a list, Ragged or an array, not {describe(X)}")


def _cuts(sizes: Ints1d, shards: int) -> list[int]:
    """Where to cut two items or more, so that each shard has one, and about as much work."""
    work = sizes + 1  # an item without rows is some work, too
    ends = np.cumsum(work)
    inner = np.searchsorted(ends - work / 2, np.arange(1, shards) / shards * ends[-1])
    return sorted({0, *inner.tolist(), len(sizes)})


def _runs(run: Run, lengths: Sequence[Ints1d | None]) -> list[Run]:
    """A pass for each shard, over sequences of these lengths."""
    passes = [run.with_lengths(each) for each in lengths]
    if run.train:  # predictions draw nothing, and leave the generator as it is
        for each, seed in zip(passes, run.rng.integers(2**63, size=len(passes)), strict=True):
            each.rng = np.random.default_rng(seed)
    return passes


def _ends(model: Model[Any, Any], outputs: Any, items: list[int], rows: list[int]) -> list[int]:
    """Where the shards of the output end: it has an item for each item or a row for each row."""
    known = all(isinstance(Y, list | Ragged) or getattr(Y, "ndim", 0) for Y in outputs)
    ends = [0, *accumulate(map(len, outputs))] if known else []
    if ends not in (items, rows):
        raise InputError(
            f"the layer in {model.name} has to give back a list, Ragged or an array, with an item "
            f"for each of {items[1]} or a row for each of {rows[1]}, not {describe(outputs[0])}"
        )
    return ends


def _split(batch: Any, ends: list[int]) -> list[Any]:
    return [batch[start:stop] for start, stop in pairwise(ends)]


def _join(shards: Sequence[Any], ops: Ops) -> Any:
    if isinstance(shards[0], list):
        return [*chain.from_iterable(shards)]
    if isinstance(shards[0], Ragged):
        data = ops.concatenate([shard.data for shard in shards])
        return Ragged.unchecked(data, np.concatenate([shard.lengths for shard in shards]))
    return ops.concatenate([*shards])
