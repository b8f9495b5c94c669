"""Methods of Ops against loops and formulas, for each CPU backend and the base class."""

import math
import statistics
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet.ops.base import Ops
from combinet.ops.erf import erf
from combinet.ops.formulas.program import Program, differentiate, trace
from combinet.ops.numba import NumbaOps
from combinet.ops.numpy import NumpyOps
from combinet.ops.update import AdamStep
from helpers.arrays import floats
from helpers.errors import raises


class BaseOps(Ops):
    """A backend that overrides nothing."""

    name = "base"
    xp = np

    def asarray(self, X: Any, dtype: Any = None) -> Any:
        return np.asarray(X, dtype=dtype)


@pytest.fixture(params=[BaseOps, NumpyOps, NumbaOps])
def ops(request: Any) -> Any:
    if request.param is NumbaOps:
        pytest.importorskip("numba")
    return request.param()


def ints(*values: int) -> Any:
    return np.array(values, dtype="int64")


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


POINTS = np.concatenate([np.linspace(-7, 7, 50_001), np.logspace(-30, 30, 601), [0.46875, 4.0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_erf_matches_the_standard_library(dtype: str) -> None:
    """The tolerance is three times the precision of the dtype."""
    for X in (POINTS.astype(dtype), -POINTS.astype(dtype)):
        expected = np.array([math.erf(x) for x in X.tolist()])
        found = erf(np, X)
        assert found.dtype == X.dtype
        assert (np.abs(found - expected) <= 3 * np.finfo(dtype).eps * np.abs(expected)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_erf_of_infinities_nan_and_zeros(dtype: str) -> None:
    found = erf(np, np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], dtype=dtype))
    np.testing.assert_array_equal(found, [1, -1, np.nan, 0, 0])
    assert np.signbit(found).tolist()[3:] == [False, True]


def test_relu_keeps_nan_and_infinity(ops: Any) -> None:
    Y = ops.relu(np.array([np.nan, np.inf, -np.inf, -1.0, 0.0, 2.0]))
    np.testing.assert_array_equal(Y, [np.nan, np.inf, 0, 0, 0, 2])
    np.testing.assert_array_equal(ops.backprop_relu(np.ones(6), Y), [0, 1, 0, 0, 0, 1])


@pytest.mark.parametrize(
    ("n", "nI", "nO"),
    [(1, 3, 2), (0, 3, 2), (20, 288, 288), (20, 200, 251), (40, 300, 300), (5000, 300, 3)],
)
def test_affine_matches_einsum_for_many_sizes(ops: Any, n: int, nI: int, nO: int) -> None:
    X, W, b = floats(n, nI), np.asfortranarray(floats(nO, nI, seed=1)), floats(nO, seed=2)
    # The bound of a sum's rounding error, whatever its order: Higham 2002, section 3.1.
    bound = (nI + 1) * np.finfo(float).eps * (np.abs(X) @ np.abs(W).T + np.abs(b))
    assert (np.abs(ops.affine(X, W, b) - (np.einsum("ni,oi->no", X, W) + b)) <= bound).all()


@pytest.mark.parametrize("lengths", [(40, 0, 30), (1, 100), (17,), (0, 0, 60)])
def test_reduce_sum_of_long_sequences_matches_numpy(ops: Any, lengths: tuple[int, ...]) -> None:
    X = floats(sum(lengths), 5)
    expected = [x.sum(axis=0) for x in np.split(X, np.cumsum(lengths)[:-1])]
    close(ops.reduce_sum(X, ints(*lengths)), np.array(expected))


def test_gelu_in_float32_is_accurate_in_its_tail() -> None:
    pytest.importorskip("numba")
    X = np.linspace(-12, 12, 4001).astype("float32")
    P = np.array([math.erfc(-x / math.sqrt(2)) / 2 for x in X.tolist()])
    density = np.exp(-(X.astype("float64") ** 2) / 2) / math.sqrt(2 * math.pi)
    Y, slope = NumbaOps().gelu(X)
    assert Y.dtype == slope.dtype == np.float32
    assert (np.abs(Y - X * P) <= 2e-6 * np.abs(X * P)).all()
    terms = P + np.abs(X) * density  # the two terms of the slope may cancel
    assert (np.abs(slope - (P + X * density)) <= 2e-6 * terms).all()
    far = np.array([np.inf, -np.inf, np.nan, 1e30, -1e30], "float32")
    Y, slope = NumbaOps().gelu(far)
    np.testing.assert_array_equal(Y, np.array([np.inf, -0.0, np.nan, 1e30, -0.0], "float32"))
    np.testing.assert_array_equal(slope, [1, 0, np.nan, 1, 0])


def test_gelu_and_its_derivative_match_their_formulas(ops: Any) -> None:
    X = np.linspace(-6, 6, 101)
    P = np.array([(1 + math.erf(x / math.sqrt(2))) / 2 for x in X])
    density = np.array([math.exp(-x * x / 2) / math.sqrt(2 * math.pi) for x in X])
    Y, slope = ops.gelu(X)
    close(Y, X * P)
    close(slope, P + X * density)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_of_extreme_scores_is_accurate_and_positive(ops: Any, dtype: str) -> None:
    X = np.array([[1e4, 0, -1e4], [1e4, 1e4, 1e4], [-1e4, -1e4, 0], [-np.inf, 0, 0]], dtype=dtype)
    Y = ops.softmax(X)
    expected = np.array([[1, 0, 0], [1 / 3] * 3, [0, 0, 1], [0, 0.5, 0.5]])
    np.testing.assert_allclose(Y, expected, rtol=0, atol=2 * np.finfo(dtype).eps)
    assert Y.min() == np.finfo(dtype).tiny  # a loss may divide by it


def test_softmax_matches_its_formula_over_the_last_axis(ops: Any) -> None:
    X = floats(2, 3, 4)
    Y = ops.softmax(X)
    for i, j in np.ndindex(2, 3):
        exps = [math.exp(x) for x in X[i, j]]
        close(Y[i, j], np.array(exps) / math.fsum(exps))


def test_layer_norm_matches_its_formula(ops: Any) -> None:
    X, G, b = floats(5, 7) * 3 + 10, floats(7, seed=1), floats(7, seed=2)
    X[4] = 2.0  # a row without variance
    Y, (N, scale, _) = ops.layer_norm(X, G, b, 1e-3)
    for i, row in enumerate(X.tolist()):
        deviation = math.sqrt(statistics.pvariance(row) + 1e-3)
        normal = (X[i] - statistics.fmean(row)) / deviation
        close(N[i], normal)
        close(Y[i], normal * G + b)
        close(scale[i], [1 / deviation])


def test_maxout_chooses_the_first_of_equal_pieces(ops: Any) -> None:
    W, b = np.array([[1.0], [5.0], [1.0], [7.0], [0.0], [6.0]]), np.array([0.0] * 5 + [1.0])
    Y, which = ops.affine_maxout(np.ones((1, 1)), W, b, 3)
    assert Y.tolist() == [[1.0, 7.0]]
    assert which.tolist() == [[0, 1]]
    assert which.dtype == np.uint8
    dZ = ops.backprop_maxout(np.array([[2.0, 3.0]]), which, 3)
    assert dZ.tolist() == [[[2.0, 0.0], [0.0, 3.0], [0.0, 0.0]]]


def test_maxout_of_a_nan_piece_is_nan(ops: Any) -> None:
    W, b = np.zeros((6, 1)), np.array([1.0, np.nan, np.nan, 3.0, 2.0, 4.0])
    assert np.isnan(ops.affine_maxout(np.ones((1, 1)), W, b, 3)[0]).all()


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint16"])
@pytest.mark.parametrize("below", [1, 50, 60_000])
@pytest.mark.parametrize("n", [0, 1, 2, 1023, 1024, 1025, 9000])
def test_unique_returns_the_sorted_distinct_ids(ops: Any, n: int, below: int, dtype: str) -> None:
    ids = np.random.default_rng(n).integers(0, below, n).astype(dtype)
    assert ops.unique([ids[: n // 3], ids[n // 3 :]]).tolist() == sorted(set(ids.tolist()))
    every = np.arange(n, dtype=dtype) * 7 % 60_000  # all ids are different
    assert ops.unique([every[::-1]]).tolist() == sorted(set(every.tolist()))


SIZE = 200_000
rates = pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
seeds = pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1])


@rates
@seeds
def test_dropout_drops_at_its_rate_and_scales_the_rest(ops: Any, rate: float, seed: int) -> None:
    mask = ops.dropout_mask((SIZE // 4, 4), rate, seed, "float64")
    dropped = int((mask == 0).sum())
    assert abs(dropped - rate * SIZE) < 4 * math.sqrt(SIZE * rate * (1 - rate))
    close(np.unique(mask), [0, 1 / (1 - rate)])


def correlation(a: Any, b: Any) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@rates
@seeds
def test_neighbours_in_a_mask_are_uncorrelated(ops: Any, rate: float, seed: int) -> None:
    mask = ops.dropout_mask((SIZE,), rate, seed, "float64")
    for lag in (1, 2, 3, 64, 96, 300):
        assert abs(correlation(mask[lag:], mask[:-lag])) < 4 / math.sqrt(SIZE)


@rates
@pytest.mark.parametrize("other", [1, 2, 2**16, 2**31])
def test_masks_of_two_seeds_are_uncorrelated(ops: Any, rate: float, other: int) -> None:
    one, two = (ops.dropout_mask((SIZE,), rate, seed, "float64") for seed in (0, other))
    assert abs(correlation(one, two)) < 4 / math.sqrt(SIZE)


def test_mask_depends_only_on_the_seed_and_the_flat_index(ops: Any) -> None:
    flat = ops.dropout_mask((60,), 0.5, 7, "float64")
    np.testing.assert_array_equal(ops.dropout_mask((3, 20), 0.5, 7, "float64").ravel(), flat)
    np.testing.assert_array_equal(ops.dropout_mask((40,), 0.5, 7, "float32"), flat[:40])
    assert ops.dropout_mask((0, 3), 0.5, 7, "float32").shape == (0, 3)


def lowbias32(x: int) -> int:
    """Computes the hash in the docstring of `dropout_mask`, with Python ints."""
    x = (x ^ x >> 16) * 0x21F0AAAD % 2**32
    x = (x ^ x >> 15) * 0xD35A2D97 % 2**32
    return x ^ x >> 15


def test_mask_matches_the_hash_of_its_indices(ops: Any) -> None:
    seed = 2**32 - 5
    bits = [lowbias32((i * 0x9E3779B9 + seed) % 2**32) for i in range(100)]
    mask = ops.dropout_mask((100,), 0.25, seed, "float64")
    close(mask, [0 if each < 2**30 else 4 / 3 for each in bits])


def mix(z: int) -> int:
    """Computes the finalizer of splitmix64 with Python ints."""
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


GOLDEN = 0x9E3779B97F4A7C15


def test_mix_gives_the_published_numbers_of_splitmix64() -> None:
    """The numbers are those of https://rosettacode.org for the seed 1234567."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [mix((1234567 + i * GOLDEN) % 2**64) for i in (1, 2, 3)] == published


KEYS = [0, 1, 2, 12345, 2**32, 2**63, 2**64 - 1]


@pytest.mark.parametrize("seed", [0, 1, 97])
@pytest.mark.parametrize("nV", [1, 7, 5000, 2**31])
def test_hash_rows_matches_its_formula(ops: Any, seed: int, nV: int) -> None:
    expected = []
    for key in KEYS:
        mixed = [mix((key + (2 * seed + pair + 1) * GOLDEN) % 2**64) for pair in (0, 1)]
        expected.append([half * nV >> 32 for m in mixed for half in (m % 2**32, m >> 32)])
    rows = ops.hash_rows(np.array(KEYS, dtype="uint64"), seed, nV)
    assert rows.tolist() == expected
    assert rows.dtype == np.int64


@pytest.mark.parametrize("stride", [1, 2**16, 2**40], ids=["1", "2**16", "2**40"])
def test_hashed_rows_are_spread_evenly(ops: Any, stride: int) -> None:
    n, nV = 100_000, 1000
    keys = np.arange(n, dtype="uint64") * np.uint64(stride)
    for column in ops.hash_rows(keys, 0, nV).T:
        counts = np.bincount(column, minlength=nV)
        assert len(counts) == nV
        chi_square = float(((counts - n / nV) ** 2).sum() / (n / nV))
        assert abs(chi_square - (nV - 1)) < 4 * math.sqrt(2 * (nV - 1))


def test_two_keys_rarely_share_all_four_rows(ops: Any) -> None:
    rows = ops.hash_rows(np.arange(20_000, dtype="uint64"), 0, 100)
    shared = len(rows) - len(np.unique(rows, axis=0))
    assert shared <= 10  # expected by chance: 20000**2 / 2 / 100**4 = 2
    same = [(rows[:, a] == rows[:, b]).mean() for a in range(4) for b in range(a)]
    assert max(abs(s - 0.01) for s in same) < 4 * math.sqrt(0.01 * 0.99 / 20_000)


def test_different_seeds_give_different_rows(ops: Any) -> None:
    keys = np.arange(20_000, dtype="uint64")
    for seed in (1, 2, 3):
        same = (ops.hash_rows(keys, 0, 100) == ops.hash_rows(keys, seed, 100)).mean()
        assert abs(same - 0.01) < 4 * math.sqrt(0.01 * 0.99 / 80_000)


def test_gather_sum_and_scatter_add_support_repeated_rows(ops: Any) -> None:
    E, rows, Y = floats(5, 3), np.array([[0, 0], [4, 0], [2, 2], [0, 4]]), floats(4, 3, seed=1)
    close(ops.gather_sum(E, rows), [sum(E[row] for row in each) for each in rows])
    expected = E.copy()
    for each, y in zip(rows, Y, strict=True):
        for row in each:
            expected[row] += y
    before = Y.copy()
    ops.scatter_add(E, rows, Y)
    close(E, expected)
    np.testing.assert_array_equal(Y, before)


def test_gather_sum_and_scatter_add_support_no_rows(ops: Any) -> None:
    E, rows = floats(5, 3), np.zeros((0, 4), dtype="int64")
    assert ops.gather_sum(E, rows).shape == (0, 3)
    before = E.copy()
    ops.scatter_add(E, rows, np.zeros((0, 3)))
    np.testing.assert_array_equal(E, before)


LENGTHS = [ints(3, 0, 1, 4), ints(0, 2, 0), ints(5), ints(0), ints()]
lengths_of_all_kinds = pytest.mark.parametrize("lengths", LENGTHS, ids=str)


def parts(X: Any, lengths: Any) -> list[Any]:
    return np.split(X, np.cumsum(lengths)[:-1]) if len(lengths) else []


@lengths_of_all_kinds
@pytest.mark.parametrize("window", [1, 2, 6])
def test_expand_window_matches_a_loop(ops: Any, lengths: Any, window: int) -> None:
    X = floats(int(lengths.sum()), 2)
    expected = []
    for part in parts(X, lengths):
        for i in range(len(part)):
            places = range(i - window, i + window + 1)
            expected.append([part[j] if 0 <= j < len(part) else [0.0, 0.0] for j in places])
    shape = (len(X), (2 * window + 1) * 2)
    close(ops.expand_window(X, window, lengths), np.reshape(np.array(expected), shape))


@lengths_of_all_kinds
@pytest.mark.parametrize("window", [1, 2, 6])
def test_backprop_expand_window_is_the_transposed_map(ops: Any, lengths: Any, window: int) -> None:
    """<dY, expand(X)> = <backprop(dY), X>, for a linear map."""
    X = floats(int(lengths.sum()), 2)
    Y = ops.expand_window(X, window, lengths)
    dY = floats(*Y.shape, seed=1)
    dX = ops.backprop_expand_window(dY, window, lengths)
    assert dX.shape == X.shape
    np.testing.assert_allclose((dX * X).sum(), (dY * Y).sum(), rtol=1e-12, atol=1e-12)


@lengths_of_all_kinds
def test_reduce_sum_matches_a_loop(ops: Any, lengths: Any) -> None:
    X = floats(int(lengths.sum()), 2)
    expected = [[math.fsum(column) for column in part.T] for part in parts(X, lengths)]
    close(ops.reduce_sum(X, lengths), np.reshape(expected, (len(lengths), 2)))


def test_reduce_max_matches_a_loop(ops: Any) -> None:
    X, lengths = -np.abs(floats(8, 2)), ints(3, 1, 4)
    X[5] = X[6]  # the first of equal values counts
    X[4] = X[7] = -100
    Y, which = ops.reduce_max(X, lengths)
    np.testing.assert_array_equal(Y, [part.max(axis=0) for part in parts(X, lengths)])
    np.testing.assert_array_equal(X[which, [0, 1]], Y)
    assert which[2].tolist() == [5, 5]


@lengths_of_all_kinds
def test_softmax_sequences_matches_the_softmax_of_each_sequence(ops: Any, lengths: Any) -> None:
    X = floats(int(lengths.sum())) * 1000
    Y = ops.softmax_sequences(X, lengths)
    assert Y.shape == X.shape
    for part, found in zip(parts(X, lengths), parts(Y, lengths), strict=True):
        exps = [math.exp(x - max(part)) for x in part]
        close(found, [e / math.fsum(exps) for e in exps])


def test_scatter_rows_writes_the_rows_that_take_rows_reads(ops: Any) -> None:
    X, slots = floats(3, 2), ints(4, 0, 2)
    padded = ops.scatter_rows(X, slots, 5, fill=-1)
    np.testing.assert_array_equal(padded, [X[1], [-1, -1], X[2], [-1, -1], X[0]])
    np.testing.assert_array_equal(ops.take_rows(padded, slots), X)
    assert ops.scatter_rows(X[:0], slots[:0], 2).tolist() == [[0, 0], [0, 0]]


@lengths_of_all_kinds
def test_split_and_repeat_rows_match_a_loop(ops: Any, lengths: Any) -> None:
    X = floats(int(lengths.sum()), 2)
    for found, part in zip(ops.split(X, lengths), parts(X, lengths), strict=True):
        np.testing.assert_array_equal(found, part)
    Y = floats(len(lengths), 2)
    expected = [y for y, n in zip(Y, lengths, strict=True) for _ in range(n)]
    np.testing.assert_array_equal(ops.repeat_rows(Y, lengths), np.reshape(expected, (-1, 2)))


LONG = 2 * 2**14 + 3  # more than two blocks of NumpyOps


def test_updates_in_blocks_match_their_formulas(ops: Any) -> None:
    W, dW, kept = (floats(LONG, seed=seed) for seed in range(3))
    velocity = 0.9 * kept + dW
    w, v = W.copy(), kept.copy()
    ops.momentum(w, dW, v, 0.1, 0.9, nesterov=False)
    close(v, velocity)
    close(w, W - 0.1 * velocity)
    ops.add_scaled(w := W.copy(), dW, -2.0)
    close(w, W - 2 * dW)
    ops.average(mean := kept.copy(), W, 0.75)
    close(mean, 0.75 * kept + 0.25 * W)
    close(ops.sum_squares(W), math.fsum(x * x for x in W.tolist()))


def test_adam_in_blocks_matches_algorithm_1(ops: Any) -> None:
    W, dW, first, second = (floats(LONG, seed=seed) for seed in range(4))
    m, v = 0.8 * first + 0.2 * dW, 0.9 * second**2 + 0.1 * dW**2
    expected = W - 0.5 * (m / (1 - 0.8**3)) / (np.sqrt(v / (1 - 0.9**3)) + 1e-3)
    second = second**2
    step = AdamStep(0.8, 0.9, scale=0.5 / (1 - 0.8**3), root=(1 - 0.9**3) ** -0.5, eps=1e-3)
    ops.adam(W, dW, [first, second], step)
    close(W, expected)
    close(first, m)
    close(second, v)


STEP = AdamStep(0.9, 0.99, 0.1 / (1 - 0.9**2), (1 - 0.99**2) ** -0.5, 1e-8)
ROWS, WIDE = np.array([[0, 3], [4, 0], [3, 3]]), ints(3, 0, 1, 4)
_Y = trace("mish", lambda x: x * np.tanh(np.log1p(np.exp(x))))
SAMPLES: dict[str, tuple[Any, ...]] = {
    "run_program": (
        Program(_Y, differentiate(_Y)), floats(9), floats(9, seed=1), floats(9, seed=2),
    ),
    "affine": (floats(200, 50) / 50, np.asfortranarray(floats(120, 50, seed=1)), floats(120)),
    "matmul": (floats(70, 50) / 50, floats(50, 320, seed=1), floats(70, 320)),
    "relu": (np.where(floats(3, 70) > 1, np.nan, floats(3, 70)),),
    "concatenate": ([floats(2, 3), floats(0, 3), floats(1, 3)],),
    "concat_checked": ([floats(2, 3), floats(0, 3), floats(1, 3)],),
    "take_rows": (floats(5, 2), ints(3, 0, 3)),
    "repeat_rows": (floats(8, 2), ints(1, 0, 2, 3, 0, 0, 1, 1)),
    "hash_rows": (np.arange(9).astype("uint64") * np.uint64(2**60 + 1), 3, 11),
    "embed_bag": (floats(9, 2), np.array([8, 0, 0, 3, 5, 5, 1, 2]), WIDE, True),
    "scatter_bags": (floats(9, 2), np.array([8, 0, 0, 3, 5, 5, 1, 2]), WIDE, floats(4, 2, seed=1)),
    "set_rows": (floats(9, 2), ints(7, 0, 3), floats(3, 2, seed=1)),
    "unique": ([ints(7, 0, 7), ROWS],),
    "gather_sum": (floats(5, 2), ROWS),
    "scatter_add": (floats(5, 2), ROWS, floats(3, 2)),
    "affine_relu": (floats(6, 4), floats(5, 4, seed=1), floats(5)),
    "affine_maxout": (floats(6, 4), floats(15, 4, seed=1), floats(15), 3),
    "backprop_maxout": (floats(4, 5), ints(*range(20)).reshape(4, 5).astype("uint8") % 3, 3),
    "layer_norm": (floats(4, 5), floats(5), floats(5, seed=1), 1e-5),
    "backprop_layer_norm": (floats(4, 5), (floats(4, 5, seed=1), floats(4, 1), floats(5))),
    "expand_window": (floats(8, 2), 2, WIDE),
    "backprop_expand_window": (floats(8, 10), 2, WIDE),
    "reduce_sum": (floats(8, 2), WIDE),
    "gelu": (floats(4, 5) * 3,),
    "gelu_value": (floats(4, 5) * 3,),
    "softmax": (floats(2, 4, 5) * 3,),
    "backprop_softmax": (floats(2, 4, 5), floats(2, 4, 5, seed=1)),
    "attention_weights": (floats(2, 3, 4, 5), 0.5, True),
    "backprop_attention_weights": (floats(2, 3, 4, 5), floats(2, 3, 4, 5, seed=1), 0.5),
    "lstm": (floats(3, 8), floats(2, 8, seed=1), (ints(1, 1, 1), False)),
    "lstm_cell": (floats(3, 8), floats(3, 8, seed=1), floats(8),
                  *(floats(3, 2, seed=i) for i in range(4))),
    "backprop_lstm": (floats(4, 2), (floats(4, 8), floats(4, 2, seed=1), floats(4, 2, seed=2),
                                     floats(2, 8, seed=3), (ints(3, 1), False))),
    "adam": (floats(9), floats(9, seed=1), (floats(9, seed=2), np.abs(floats(9, seed=3))), STEP),
    "sum_squares": (floats(9),),
    "adam_rows": (ints(4, 0, 1), floats(6, 3), floats(6, 3, seed=1),
                  [np.abs(floats(6, 3, seed=i)) for i in (2, 3)], STEP),
}  # fmt: skip
OWN = [
    (backend, name)
    for backend in (NumpyOps, NumbaOps)
    for name in sorted({name for kind in (backend, NumpyOps) for name in vars(kind)} & {*dir(Ops)})
    if callable(getattr(Ops, name))
    and not name.startswith("_")
    and name not in ("asarray", "empty", "single_threaded_blas", "threads")
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("backend", "name"), OWN)
def test_override_matches_the_base_class(backend: Any, name: str, dtype: str) -> None:
    if backend is NumbaOps:
        pytest.importorskip("numba")

    def convert(x: Any) -> Any:
        if type(x) in (list, tuple):
            return type(x)(convert(each) for each in x)
        kind = getattr(x, "dtype", np.dtype("O")).kind
        if kind == "O":
            return x
        return np.array(x, dtype=dtype if kind == "f" else x.dtype, order="K")

    def call(ops: Any) -> list[Any]:
        """Returns the results of the method, and its arguments after the call."""
        args = [convert(x) for x in SAMPLES[name]]
        return flat([getattr(ops, name)(*args), args])

    def flat(x: Any) -> list[Any]:
        return [y for each in x for y in flat(each)] if isinstance(x, list | tuple) else [x]

    near = 8 * np.finfo(dtype).eps
    for found, expected in zip(call(backend()), call(BaseOps()), strict=True):
        assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)
        if not isinstance(expected, Program | None):
            np.testing.assert_allclose(found, expected, rtol=near, atol=near)


@pytest.mark.parametrize("dtype", ["float16", "longdouble", ">f4", ">f8"])
@pytest.mark.parametrize(
    ("make", "form"),
    [
        (cb.relu, "array"),
        (cb.softmax_activation, "array"),
        (cb.expand_window, "array"),
        (lambda: cb.self_attention(1), "array"),
        (lambda: cb.self_attention(1, causal=True), "array"),
        (lambda: cb.elementwise(lambda x: x / (1 + np.exp(-x))), "array"),
        (cb.reduce_sum, "ragged"),
        (cb.reduce_mean, "ragged"),
        (cb.reduce_max, "ragged"),
        (cb.reduce_first, "ragged"),
        (lambda: cb.list2padded() >> cb.padded2list(), "list"),
    ],
)
def test_float_dtypes_without_a_kernel_are_supported(make: Any, form: str, dtype: str) -> None:
    """Compares layers without weights with float64."""

    def call(X: Any) -> list[Any]:
        batches = {"array": X, "ragged": cb.Ragged(X, [3, 2]), "list": [X[:2], X[2:]]}
        Y, backprop = make().begin_update(batches[form])
        dX = backprop([y * 2 for y in Y] if form == "list" else Y * Y)
        flat = [part for each in (Y, dX) for part in (each if form == "list" else [each])]
        return [part.data if form == "ragged" and isinstance(part, cb.Ragged) else part
                for part in flat]  # fmt: skip

    X = floats(5, 6).astype("float16")
    for found, expected in zip(call(X.astype(dtype)), call(X.astype("d")), strict=True):
        near = 16 * max(np.finfo(found.dtype).eps, np.finfo("d").eps)
        np.testing.assert_allclose(found.astype("d"), expected, rtol=near, atol=near)
    Y = cb.Ragged(X.astype(dtype), [3, 2])[::-1].data
    np.testing.assert_array_equal(Y, X[[3, 4, 0, 1, 2]])


def test_maxout_of_no_rows_is_empty(ops: Any) -> None:
    Y, which = ops.affine_maxout(np.ones((0, 4)), np.ones((6, 4)), np.ones(6), 3)
    assert Y.shape == which.shape == (0, 2)


def test_maxout_supports_at_most_256_pieces() -> None:
    model = cb.Maxout(1, 1, pieces=256).initialize()
    model.set_param("b", np.arange(256.0)[None])
    _, backprop = model.begin_update(np.zeros((1, 1), "f"))
    backprop(np.ones((1, 1), "f"))
    assert model.get_grad("b").argmax() == 255
    with raises(cb.DimensionError, "256", "257"):
        cb.Maxout(1, 1, pieces=257)
