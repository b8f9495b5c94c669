"""A conditional random field over a chain of labels, and the best labels that it finds.

The loss is `CRFLoss`. The layer hands on what the loss and `viterbi` need, so that training and
prediction are one and the same pass.
"""

from __future__ import annotations

from typing import Any

from combinet.batches.packed import CRFOutput, pack_scores
from combinet.batches.ragged import Ragged
from combinet.batches.structure import map_arrays
from combinet.core.inputs import INPUT_KINDS, check_dtype
from combinet.core.model import Model
from combinet.core.node import Param
from combinet.core.run import Run
from combinet.core.shape_rules import per_column
from combinet.errors import DimensionError, InputError, describe
from combinet.initializers import zeros
from combinet.types import Array, Floats2d, Initializer


def CRF(
    nO: int | None = None, *, init_T: Initializer = zeros
) -> Model[list[Floats2d] | Ragged, CRFOutput]:
    """A linear-chain conditional random field: labels' scores, and scores of what follows what.

    X list of (n_i, nO) or Ragged, each row's scores of the labels -> Y tuple (X, T, start, end).
    Params: T (nO, nO), T[i, j] for label j right after label i; start (nO,) and end (nO,) for the
    first and the last label of a sequence. The score of a sequence of labels is the sum of all
    these along it, its probability the share of exp(score) among all sequences of labels. Train
    it by `CRFLoss`; `viterbi` finds the best labels. A transition is forbidden by a very low score
    in T, such as -10,000, not by an infinite one. Its gradient is 0, so that training leaves it as
    it is, but for decay: `L2`, which `AdamW` has unless told otherwise, draws it toward 0.

    Lafferty, McCallum and Pereira 2001, "Conditional random fields"; over the scores of a BiLSTM:
    Lample et al. 2016, arXiv:1603.01360, section 2.2. Raises InputError or DimensionError if X is
    not such a batch.

    Example:
        >>> import numpy as np
        >>> from combinet import Adam, CRFLoss, Linear, viterbi, with_flatten
        >>> X = [np.eye(4, dtype="float32")]
        >>> tagger = (with_flatten(Linear(3)) >> CRF()).initialize(X)
        >>> loss, sgd = CRFLoss(names=["B", "I", "O"]), Adam(0.1)
        >>> for _ in range(10):
        ...     Y, backprop = tagger.begin_update(X)
        ...     dX = backprop(loss.get_grad(Y, [["B", "I", "O", "O"]]), sgd)
        >>> (tagger >> viterbi()).predict(X)
        [array([0, 1, 2, 2])]
    """
    ends = {"start": Param(("nI",), zeros), "end": Param(("nI",), zeros)}
    params = {"T": Param(("nI", "nI"), init_T), **ends}
    return Model("crf", _crf, dims={"nI": nO}, params=params, widths=per_column)


def _crf(model: Model[Any, Any], X: Any, run: Run) -> Any:
    _check(model, X, run)
    T, start, end = run.params(model, "T", "start", "end")

    def backprop(dY: CRFOutput) -> Any:
        dX, dT, d_start, d_end = dY
        run.inc_grad(model, T=dT, start=d_start, end=d_end)
        return dX

    # Copies: who keeps Y keeps no weights, which an update would then have to copy all.
    return (X, T.copy(), start.copy(), end.copy()), backprop


def _check(model: Model[Any, Any], X: Any, run: Run) -> None:
    arrays = [X.data] if isinstance(X, Ragged) else X if isinstance(X, list) else [X]
    nO, dtype, fits = model.dims["nI"], model.dtype, INPUT_KINDS["floats2d"].fits
    for array in arrays:
        if not isinstance(X, list | Ragged) or not fits(array, run.ops):
            raise InputError(f"crf takes a list of floats (n, nO) or Ragged, not {describe(X)}")
        check_dtype(model.name, X, array.dtype, dtype)
        if array.shape[1] != nO:
            raise DimensionError(f"crf takes scores of nO={nO} labels, not {describe(X)}")


def viterbi() -> Model[CRFOutput, list[Array]]:
    """The best labels of each sequence, given what `CRF` gives.

    X tuple (scores, T, start, end) -> Y list of (n_i,) int64, on the device of the scores; of
    ways with the same score one. Labels come in steps, so their gradient is 0: it goes behind a
    trained model, `(tagger >> viterbi()).predict(docs)`. Viterbi 1967, "Error bounds for
    convolutional codes".

    Example:
        >>> import numpy as np
        >>> T = np.array([[0.0, -5.0], [-5.0, 0.0]])  # a label rather stays
        >>> scores = [np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]])]
        >>> viterbi().predict((scores, T, np.zeros(2), np.zeros(2)))
        [array([0, 0, 0])]
    """
    return Model("viterbi", _viterbi)


def _viterbi(model: Model[Any, Any], X: CRFOutput, run: Run) -> Any:
    scores, order = pack_scores("viterbi", X)
    labels = order.unpack(run.ops.viterbi(scores, *X[1:], order.sizes)[:, None]).reshape(-1)
    Y, zeros_like = run.ops.split(labels, order.lengths), run.ops.xp.zeros_like
    return Y, lambda dY: map_arrays(X, zeros_like)
