"""unembed: one table for input and output, against PyTorch; inference; resizing; errors."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats, ids
from helpers.errors import raises
from helpers.models import params_of

torch = pytest.importorskip("torch")
from helpers.against_torch import F, assert_agrees  # noqa: E402


def tied(nO: int | None = 3, nV: int | None = 7) -> Any:
    embed = cb.Embed(nO, nV)
    return embed >> cb.Gelu() >> cb.unembed(embed)


def tables(model: Any) -> list[Any]:
    return [node for node in model.walk() if node.name == "embed"]


def test_scores_are_products_with_the_rows_of_the_table() -> None:
    assert_agrees(cb.unembed(cb.Embed(3, 7)), floats(5, 3), lambda X, E: X @ E.T)


def test_shared_table_receives_both_gradients() -> None:
    def reference(X: Any, E: Any, W: Any, b: Any) -> Any:
        return F.linear(F.gelu(F.linear(F.embedding(X, E), W, b)), E)

    assert_agrees(tied(), ids(9), reference)


def test_training_matches_pytorch_with_a_shared_weight() -> None:
    X, T = ids(9), ids(9)[::-1].copy()
    model = tied().initialize(dtype="float64")
    E, W, b = (torch.tensor(array, requires_grad=True) for array in params_of(model).values())
    sgd, theirs = cb.Adam(0.01, grad_clip=0), torch.optim.Adam([E, W, b], lr=0.01)
    full = model >> cb.softmax_activation()
    for _ in range(10):
        Y, backprop = full.begin_update(X)
        dY, value = cb.CategoricalCrossentropy()(Y, T)
        backprop(dY, sgd)
        scores = F.linear(F.gelu(F.linear(F.embedding(torch.tensor(X), E), W, b)), E)
        expected = F.cross_entropy(scores, torch.tensor(T))
        theirs.zero_grad()
        expected.backward()
        theirs.step()
        np.testing.assert_allclose(value, expected.item(), rtol=1e-9)
    np.testing.assert_allclose(tables(model)[0].get_param("E"), E.detach(), rtol=0, atol=1e-9)


def test_shared_table_is_allocated_copied_and_saved_once() -> None:
    model = tied().initialize()
    (embed,) = tables(model)
    assert sum(array.size for array in params_of(model).values()) == 7 * 3 + 3 * 4
    assert len(model.to_bytes()) < 7 * 3 * 4 + 3 * 4 * 4 + 1000
    twin = model.copy()
    (other,) = tables(twin)
    assert other is not embed
    assert twin.layers[0] is twin.layers[2].layers[0] is other
    loaded = tied().from_bytes(model.to_bytes())
    np.testing.assert_array_equal(loaded.predict(ids(9)), model.predict(ids(9)))


def test_model_with_separate_tables_does_not_load_a_shared_table() -> None:
    apart = cb.Embed(3, 7) >> cb.Gelu() >> cb.unembed(cb.Embed(3, 7))
    with pytest.raises(cb.FormatError):
        apart.from_bytes(tied().initialize().to_bytes())


@pytest.mark.parametrize(
    "make",
    [
        lambda embed: embed >> cb.Linear(3) >> cb.unembed(embed) >> cb.LayerNorm(7),
        lambda embed: cb.Linear(3, 2) >> cb.unembed(embed) >> cb.LayerNorm(7),
        lambda embed: cb.Linear(3, 2) >> cb.unembed(embed) >> cb.Linear(2, 7),
    ],
)
def test_table_size_is_inferred_from_the_other_layers(make: Any) -> None:
    embed = cb.Embed()
    make(embed).initialize()
    assert embed.dims == {"nO": 3, "nV": 7}
    assert embed.get_param("E").shape == (7, 3)
    assert (cb.unembed(embed).get_dim("nI"), cb.unembed(embed).get_dim("nO")) == (3, 7)


def test_widths_of_other_layers_are_inferred_from_the_table() -> None:
    model = tied().initialize()
    assert model.layers[1].dims == {"nI": 3, "nO": 3}
    assert model.get_dim("nO") == 7
    with raises(cb.DimensionError, "linear", "nO=4", "unembed", "3"):
        cb.Linear(4) >> cb.unembed(cb.Embed(3, 7))


def test_resize_output_enlarges_the_shared_vocabulary() -> None:
    model = tied().initialize(dtype="float64")
    before = model.predict(ids(9))
    assert model.resize_output(9) is model
    after = model.predict(ids(9))
    np.testing.assert_array_equal(after[:, :7], before)
    assert not after[:, 7:].any()
    assert model.predict(np.array([8])).shape == (1, 9)
    _, backprop = model.begin_update(np.array([8, 1]))
    backprop(floats(2, 9), cb.SGD(0.1))
    assert tables(model)[0].get_param("E")[7:].all()


def test_resize_to_smaller_vocabulary_or_other_width_keeps_weights() -> None:
    model = tied().initialize(dtype="float64")
    before = model.predict(ids(9, below=5))
    np.testing.assert_array_equal(model.resize_output(5).predict(ids(9, below=5)), before[:, :5])
    with raises(cb.DimensionError, "0", "4", "6"):
        model.predict(np.array([6]))
    alone = cb.unembed(cb.Embed(3, 7)).initialize(dtype="float64")
    X = floats(5, 3)
    before = alone.predict(X)
    after = alone.resize_input(4).predict(np.hstack([X, floats(5, 1, seed=1)]))
    np.testing.assert_allclose(after, before, rtol=1e-12)


def test_table_can_be_used_inside_other_layers() -> None:
    embed = cb.Embed(3, 7)
    plain = embed >> cb.unembed(embed)
    once = cb.with_flatten(cb.uniqued(embed)) >> cb.with_flatten(cb.unembed(embed))
    once.initialize(dtype="float64")
    np.testing.assert_allclose(once.predict([ids(9)])[0], plain.predict(ids(9)), rtol=1e-12)


@pytest.mark.parametrize(
    "make", [cb.HashEmbed, cb.Linear, cb.relu, lambda: cb.uniqued(cb.Embed()), lambda: "embed"]
)
def test_layers_other_than_embed_are_refused(make: Any) -> None:
    with raises(cb.InputError, "unembed"):
        cb.unembed(make())


def test_replace_node_replaces_the_table_twice_and_refuses_others() -> None:
    model, wider = tied(), cb.Embed(3, 8)
    exchanged = cb.replace_node(model, model.layers[0], wider)
    assert exchanged.layers[0] is exchanged.layers[2].layers[0] is wider
    with raises(cb.InputError, "unembed", "Embed", "hash_embed"):
        cb.replace_node(model, model.layers[0], cb.HashEmbed(3, 7))


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (ids(5), cb.InputError, "unembed ... floats ... int64"),
        (
            floats(5, 4),
            cb.DimensionError,
            "unembed ... nO=3 ... (5, 4)",
        ),
        (floats(5, 3).astype("f"), cb.InputError, "unembed ... float64 ... float32"),
    ],
)
def test_invalid_input_is_refused(X: Any, error: Any, words: str) -> None:
    with raises(error, words):
        cb.unembed(cb.Embed(3, 7)).initialize(dtype="float64").predict(X)


def test_uninitialized_table_fails() -> None:
    with raises(cb.StateError, "embed", "weights"):
        cb.unembed(cb.Embed(3, 7)).predict(floats(5, 3))
