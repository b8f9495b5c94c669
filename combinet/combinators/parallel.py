"""with_threads: a layer that processes parts of a batch in several threads."""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from combinet.batches.levels import concatenate_batches
from combinet.batches.ragged import Ragged
from combinet.core.model import A, B, Model
from combinet.core.run import Run
from combinet.core.shape_rules import delegates
from combinet.errors import InputError, describe
from combinet.ops.blas.threads import run_concurrently
from combinet.types import Ints1d


def with_threads(layer: Model[A, B], threads: int | None = None) -> Model[A, B]:
    """Cuts a batch into shards and runs the layer on each shard in a separate thread.

    The input is a list, a Ragged or an array. Its items are sequences. The items of an array
    without known lengths are its rows. The layer must treat each item independently. The output is
    a list, a Ragged or an array with one item for each item of the input, or one row for each row.
    With a single item, or on a GPU, the layer runs once on the whole batch.

    Threads help if a pass takes some milliseconds and consists of long steps, as in a transformer.
    They do not help an LSTM, which computes a small product for each word. Meanwhile BLAS uses one
    thread in the whole process, to avoid oversubscribing the CPU. This needs threadpoolctl, which
    the extra `numba` installs. Without it, set OPENBLAS_NUM_THREADS=1.

    Each shard has its own generator for dropout masks, and is a separate batch for `BatchNorm`.
    With more than two threads the order in which gradients are added, and so their last digits, can
    differ from run to run.

    Args:
        layer: Layer to wrap.
        threads: Number of shards, which get similar numbers of rows. By default the number of
            processors that the process can use.

    Raises:
        InputError: If `threads` is below 1. A pass raises it if the input or the output is not as
            described above.

    Example:
        >>> import numpy as np
        >>> from combinet import TransformerEncoder, with_flatten
        >>> layer = with_flatten(TransformerEncoder(8, heads=2, depth=1)).initialize()
        >>> docs = [np.ones((3, 8), "float32"), np.ones((2, 8), "float32")]
        >>> [Y.shape for Y in with_threads(layer).predict(docs)]
        [(3, 8), (2, 8)]
    """
    if threads is not None and threads < 1:
        raise InputError(f"with_threads expected at least 1 for threads, got {threads}")
    attrs = {"threads": threads}
    return Model("with_threads", _with_threads, layers=[layer], attrs=attrs, widths=delegates)


def _with_threads(model: Model[Any, Any], X: Any, run: Run) -> Any:
    layer, ops, wants_dX = model.layers[0], run.ops, run.wants_dX
    sizes = _sizes(model, X, run)
    shards = min(ops.threads(model.attrs["threads"]), len(sizes))
    if shards < 2:
        return run(layer, X, wants_dX)
    items = _cuts(sizes, shards)
    # An array of sequences is cut between sequences, never inside one.
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
        return None if gradients[0] is None else concatenate_batches(gradients)

    return concatenate_batches(outputs), backprop


def _sizes(model: Model[Any, Any], X: Any, run: Run) -> Ints1d:
    """Returns the number of rows of each item, as an estimate of its work."""
    if isinstance(X, Ragged):
        return X.lengths  # of a Ragged of Ragged, the numbers of its sequences
    if isinstance(X, list):
        known = all(hasattr(x, "__len__") and getattr(x, "ndim", 1) for x in X)
        return np.fromiter(map(len, X), "int64", len(X)) if known else np.ones(len(X), "int64")
    if hasattr(X, "dtype") and X.ndim:
        return np.ones(len(X), "int64") if run.lengths is None else run.lengths_of(X)
    raise InputError(f"{model.name} expected a list, Ragged or an array, got {describe(X)}")


def _cuts(sizes: Ints1d, shards: int) -> list[int]:
    """Returns where to cut two or more items, so that all shards get similar work."""
    work = sizes + 1  # an item without rows takes some time too
    ends = np.cumsum(work)
    inner = np.searchsorted(ends - work / 2, np.arange(1, shards) / shards * ends[-1])
    return sorted({0, *inner.tolist(), len(sizes)})


def _runs(run: Run, lengths: Sequence[Ints1d | None]) -> list[Run]:
    """Returns a run for each shard, with the lengths of its sequences."""
    passes = [run.with_lengths(each) for each in lengths]
    if run.train:  # predictions draw nothing, so their generator must not advance
        for each, seed in zip(passes, run.rng.integers(2**63, size=len(passes)), strict=True):
            each.rng = np.random.default_rng(seed)
    return passes


def _ends(model: Model[Any, Any], outputs: Any, items: list[int], rows: list[int]) -> list[int]:
    """Returns where the shards of the output end: at `items` or at `rows`."""
    known = all(isinstance(Y, list | Ragged) or getattr(Y, "ndim", 0) for Y in outputs)
    ends = [0, *accumulate(map(len, outputs))] if known else []
    if ends not in (items, rows):
        raise InputError(
            f"{model.name} expected its layer to return a list, Ragged or an array with "
            f"{items[1]} items or {rows[1]} rows, got {describe(outputs[0])}"
        )
    return ends


def _split(batch: Any, ends: list[int]) -> list[Any]:
    return [batch[start:stop] for start, stop in pairwise(ends)]
