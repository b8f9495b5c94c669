"""Sparse updates of the table rows in a batch, against PyTorch and against dense updates."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats
from helpers.errors import raises
from helpers.models import params_of
from helpers.optimizers import state_of

NV, NO = 30, 4


def table(nV: int = NV, *, dtype: str = "float64") -> Any:
    return cb.Embed(NO, nV).initialize(rng=0, dtype=dtype)


def batches(n: int, size: int = 6) -> Any:
    rng = np.random.default_rng(1)
    return [(rng.integers(0, NV, size), rng.normal(size=(size, NO))) for _ in range(n)]


def step(model: Any, ids: Any, dY: Any, sgd: Any) -> None:
    _, backprop = model.begin_update(ids)
    backprop(dY, sgd)


@pytest.mark.parametrize("ops", [cb.NumpyOps(), cb.NumbaOps()], ids=repr)
def test_sparse_adam_matches_pytorch(ops: Any) -> None:
    torch: Any = pytest.importorskip("torch")
    model = table()._move(ops)
    E = torch.nn.Parameter(torch.tensor(model.get_param("E").copy()))
    # PyTorch adds eps to a different root: the difference vanishes if eps is so small.
    twin = torch.optim.SparseAdam([E], lr=0.01, betas=(0.9, 0.99), eps=1e-30)
    sgd = cb.Adam(0.01, beta2=0.99, eps=1e-30, grad_clip=0, sparse=True)
    for ids, dY in batches(50):
        step(model, ids, dY, sgd)
        twin.zero_grad()
        rows = torch.nn.functional.embedding(torch.tensor(ids), E, sparse=True)
        rows.backward(torch.tensor(dY))
        twin.step()
        np.testing.assert_allclose(model.get_param("E"), E.detach(), rtol=1e-9, atol=1e-12)


OPTIMIZERS = [
    lambda **o: cb.SGD(0.1, **o),
    lambda **o: cb.SGD(0.1, momentum=0.9, **o),
    lambda **o: cb.Adam(0.01, L2=0.1, **o),
    lambda **o: cb.Adam(0.01, L2=0.1, L2_is_weight_decay=False, grad_clip=0.1, **o),
    lambda **o: cb.Adam(0.01, grad_noise=0.1, rng=0, **o),
    lambda **o: cb.RAdam(0.01, **o),
    lambda **o: cb.Lion(0.01, **o),
]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_sparse_update_of_all_rows_matches_the_dense_update(make: Any) -> None:
    sparse, whole = table(), table()
    sgds = make(sparse=True), make()
    for i in range(12):
        ids = np.random.default_rng(i).permutation(NV)
        for model, sgd in zip((sparse, whole), sgds, strict=True):
            step(model, ids, floats(NV, NO, seed=i), sgd)
    np.testing.assert_allclose(sparse.get_param("E"), whole.get_param("E"), rtol=1e-9, atol=1e-12)
    means = [model.averages[model.id, "E"] for model in (sparse, whole)]
    np.testing.assert_allclose(*means, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_rows_outside_the_batch_do_not_change(make: Any) -> None:
    model, sgd = table(), make(sparse=True)
    step(model, np.arange(NV), floats(NV, NO), sgd)
    others = np.setdiff1d(np.arange(NV), [3, 7])

    def arrays() -> list[Any]:
        state = state_of(sgd, model)["embed.E"].values()
        return [*state, model.averages[model.id, "E"], model.get_param("E")]

    kept = arrays()
    before, named = [array[others].copy() for array in kept], kept[-1][[3, 7]].copy()
    step(model, np.array([7, 3, 7]), floats(3, NO), sgd)
    kept = arrays()
    for array, expected in zip(kept, before, strict=True):
        np.testing.assert_array_equal(array[others], expected)
    assert (kept[-1][[3, 7]] != named).all()


def test_several_passes_and_other_layers_match_the_dense_update() -> None:
    tagger = cb.Embed(NO, NV) >> cb.Linear(2)
    models = [tagger.copy().initialize(rng=0, dtype="float64") for _ in range(2)]
    sgds = cb.SGD(0.1, grad_clip=0.5, sparse=True), cb.SGD(0.1, grad_clip=0.5)
    for i in range(5):
        for model, sgd in zip(models, sgds, strict=True):
            for j, ids in enumerate(([1, 2, 2], [9, 1])):
                Y, backprop = model.begin_update(np.array(ids))
                backprop(floats(*Y.shape, seed=i + j))
            model.finish_update(sgd)
    found, expected = map(params_of, models)
    for path, W in expected.items():
        np.testing.assert_allclose(found[path], W, rtol=1e-9, err_msg=path)


def test_table_that_also_has_a_dense_gradient_gets_a_dense_update() -> None:
    embed = cb.Embed(NO, NV)
    models = [(embed >> cb.unembed(embed)).copy().initialize(rng=0, dtype="float64")
              for _ in range(2)]  # fmt: skip
    for i in range(3):
        for model, sgd in zip(models, (cb.SGD(0.1, sparse=True), cb.SGD(0.1)), strict=True):
            step(model, np.array([1, 5]), floats(2, NV, seed=i), sgd)
    found, expected = (model.layers[0].get_param("E") for model in models)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("options", [{}, {"grad_noise": 0.1, "rng": 0},
                                     {"L2": 0.1, "L2_is_weight_decay": False}])  # fmt: skip
def test_update_clears_the_gradient(sparse: bool, options: Any) -> None:
    model, sgd = table(), cb.SGD(0.1, sparse=sparse, **options)
    step(model, np.array([1, 2]), floats(2, NO), sgd)
    _, backprop = model.begin_update(np.array([5]))
    backprop(np.ones((1, NO)))
    gradient = model.get_grad("E")
    assert (gradient[5] == 1).all()
    assert not np.delete(gradient, 5, axis=0).any()


class Counting(cb.NumpyOps):
    """Records the number of weights in each operation of an update."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def adam(self, W: Any, *args: Any, **options: Any) -> None:
        self.sizes.append(W.size)
        super().adam(W, *args, **options)

    def average(self, mean: Any, *args: Any, **options: Any) -> None:
        self.sizes.append(mean.size)
        super().average(mean, *args, **options)

    def sum_squares(self, X: Any) -> Any:
        self.sizes.append(X.size)
        return super().sum_squares(X)


@pytest.mark.parametrize("nV", [100, 1_000_000])
def test_cost_of_a_step_does_not_depend_on_the_table_size(nV: int) -> None:
    ops = Counting()
    model, sgd = table(nV)._move(ops), cb.Adam(0.01, sparse=True)
    for _ in range(2):
        step(model, np.array([1, 50]), floats(2, NO), sgd)
    assert ops.sizes == [2 * NO] * 6


def test_adafactor_and_lookahead_refuse_sparse_updates() -> None:
    with raises(cb.InputError, "Adafactor"):
        cb.Adafactor(0.1, sparse=True)
    with raises(cb.InputError, "Lookahead"):
        cb.Lookahead(cb.Adam(0.1, sparse=True))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("when", ["before the backward pass", "before the update"])
@pytest.mark.parametrize(
    ("make", "X"),
    [
        (cb.Embed, np.array([0, 1])),
        (partial(cb.Embed, column=1), np.array([[3, 0], [3, 1]])),
        (cb.EmbedBag, cb.Ragged(np.array([0, 1]), [1, 1])),
    ],
)
def test_ids_may_be_overwritten_after_the_forward_pass(
    make: Any, X: Any, when: str, sparse: bool
) -> None:
    model, sgd = make(2, 6).initialize(rng=0), cb.SGD(1.0, grad_clip=0, sparse=sparse)
    X = copy.deepcopy(X)
    before = model.get_param("E").copy()
    _, backprop = model.begin_update(X)
    buffer = X.data if isinstance(X, cb.Ragged) else X
    if when == "before the backward pass":
        buffer[...] = 4
    backprop(np.ones((2, 2), "f"))
    buffer[...] = 5
    model.finish_update(sgd)
    expected = before - np.array([1, 1, 0, 0, 0, 0], "f")[:, None]
    np.testing.assert_array_equal(model.get_param("E"), expected)
    _, backprop = model.begin_update(X)
    backprop(np.ones((2, 2), "f"), sgd)  # both ids are 5 now
    expected[5] -= 2
    np.testing.assert_array_equal(model.get_param("E"), expected)


def test_ids_may_have_another_dtype_in_each_pass() -> None:
    model = table()
    before = model.get_param("E").copy()
    for dtype in ("int64", "uint64", ">i4"):
        _, backprop = model.begin_update(np.array([1], dtype))
        backprop(np.ones((1, NO)))
    model.finish_update(cb.SGD(1.0, grad_clip=0, sparse=True))
    before[1] -= 3
    np.testing.assert_array_equal(model.get_param("E"), before)


def test_inc_grad_rows_accepts_signed_and_unsigned_ids() -> None:
    model = table()
    run, before = cb.Run(model.ops, np.random.default_rng(0)), model.get_param("E").copy()
    for dtype in ("int64", "uint64"):
        run.inc_grad_rows(model, "E", np.array([1, 2], dtype)[:, None], np.ones((2, NO)))
    model.finish_update(cb.SGD(0.1, grad_clip=0, sparse=True))
    before[[1, 2]] -= 0.1 * 2
    np.testing.assert_allclose(model.get_param("E"), before, rtol=1e-12)
