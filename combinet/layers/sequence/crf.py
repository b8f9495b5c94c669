"""A linear-chain conditional random field, and the search for the best labels.

The loss is `CRFLoss`. The layer returns everything that the loss and `viterbi` need, so training
and prediction compute the same.
"""

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
    """Linear-chain conditional random field: adds transition scores to the scores of labels.

    The input is a list of arrays (n_i, nO) or Ragged: the scores of the labels for each row. The
    output is the tuple (X, T, start, end). T[i, j] is the score of label j right after label i;
    start (nO,) and end (nO,) are the scores of the first and the last label of a sequence. They are
    weights; start and end are initially 0.

    The score of a sequence of labels is the sum of these scores along the sequence. Its probability
    is exp(score) divided by the sum over all sequences of labels. `CRFLoss` trains the layer, and
    `viterbi` finds the best labels.

    To forbid a transition, set its score in T to a very low number such as -10,000, not to
    -infinity. Its gradient is then 0, so only weight decay changes it: `L2`, which `AdamW` uses by
    default, moves it toward 0.

    Args:
        nO: Number of labels. Inferred from the previous layer or from a sample if None.
        init_T: Initializer of the transition scores T (nO, nO). `zeros` by default.

    Raises:
        InputError: If X is not such a batch of floats in the dtype of the weights.
        DimensionError: If X does not have nO columns.

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

    Source: Lafferty, McCallum and Pereira 2001, "Conditional random fields"; Lample et al. 2016,
    arXiv:1603.01360, section 2.2, for the scores of a BiLSTM.
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

    # Copies: if Y held views of the weights, an update would have to copy all weights.
    return (X, T.copy(), start.copy(), end.copy()), backprop


def _check(model: Model[Any, Any], X: Any, run: Run) -> None:
    arrays = [X.data] if isinstance(X, Ragged) else X if isinstance(X, list) else [X]
    nO, dtype, fits = model.dims["nI"], model.dtype, INPUT_KINDS["floats2d"].fits
    for array in arrays:
        if not isinstance(X, list | Ragged) or not fits(array, run.ops):
            raise InputError(f"crf expected a list of floats (n, nO) or Ragged, got {describe(X)}")
        check_dtype(model.name, X, array.dtype, dtype)
        if array.shape[1] != nO:
            raise DimensionError(f"crf expected scores of nO={nO} labels, got {describe(X)}")


def viterbi() -> Model[CRFOutput, list[Array]]:
    """Returns the best labels of each sequence, from the output of `CRF`.

    The input is a tuple (scores, T, start, end). The output is a list of int64 arrays (n_i,) on the
    device of the scores. If several sequences of labels have the same score, the result is one of
    them. Labels do not change continuously, so the gradient is 0. Append this layer to a trained
    model: `(tagger >> viterbi()).predict(docs)`.

    Raises:
        InputError: If X is not such a tuple.

    Example:
        >>> import numpy as np
        >>> T = np.array([[0.0, -5.0], [-5.0, 0.0]])  # changing the label costs 5
        >>> scores = [np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]])]
        >>> viterbi().predict((scores, T, np.zeros(2), np.zeros(2)))
        [array([0, 0, 0])]

    Source: Viterbi 1967, "Error bounds for convolutional codes".
    """
    return Model("viterbi", _viterbi)


def _viterbi(model: Model[Any, Any], X: CRFOutput, run: Run) -> Any:
    scores, order = pack_scores("viterbi", X)
    labels = order.unpack(run.ops.viterbi(scores, *X[1:], order.sizes)[:, None]).reshape(-1)
    Y, zeros_like = run.ops.split(labels, order.lengths), run.ops.xp.zeros_like
    return Y, lambda dY: map_arrays(X, zeros_like)
