"""Indexing a model by position, slice and path; composition keeps names and settings."""

import copy
import pickle

import numpy as np
import pytest

from combinet import (
    Dropout,
    Linear,
    Model,
    Relu,
    Softmax,
    add,
    chain,
    clone,
    concatenate,
    noop,
    relu,
    remove_node,
    replace_node,
    residual,
)
from combinet.errors import DimensionError, InputError

X = np.arange(6, dtype="float32").reshape(2, 3)


def shape(model: Model) -> tuple:
    """The structure of a model: names and children."""
    return model.name, *map(shape, model)


@pytest.fixture
def model() -> Model:
    return Linear(4, 3) >> relu() >> residual(Linear(4, 4)) >> Softmax(2, 4)


def test_index_by_position(model: Model) -> None:
    assert [model[i] for i in range(4)] == [model[i - 4] for i in range(4)] == [*model.layers]
    assert model[np.int64(2)][0] is model.layers[2].layers[0]
    for index in (4, -5):
        with pytest.raises(IndexError, match=r"chain.*4|4.*chain"):
            model[index]
    with pytest.raises(IndexError, match="relu"):
        relu()[0]


def test_length_iteration_and_truth_value(model: Model) -> None:
    assert len(model) == 4
    assert [*model] == [*model.layers]
    assert [*reversed(model)] == [*reversed(model.layers)]
    first, *rest = model
    assert first is model[0]
    assert len(rest) == 3
    assert len(relu()) == 0
    assert [*relu()] == []
    assert relu()  # true although it has no layers
    assert len(concatenate(relu(), noop(), relu())) == 3
    assert len(residual(relu())) == 1


def test_slice_is_a_chain_that_shares_the_layers(model: Model) -> None:
    model.initialize()
    part = model[1:3]
    assert shape(part) == ("chain", ("relu",), ("residual", ("linear",)))
    assert [*part] == [*model.layers[1:3]]
    hidden = model[:1].predict(X)
    np.testing.assert_array_equal(model[1:].predict(hidden), model.predict(X))
    Y, backprop = part.begin_update(hidden)
    backprop(Y)
    assert model["residual"][0].has_grad("W")
    assert len(model[4:]) == 0
    assert model[4:].predict(X) is X
    assert [*model[::2]] == [model[0], model[2]]


def test_slice_has_the_default_name_and_no_settings() -> None:
    model = relu() >> Dropout(0.5) >> relu()
    model.name, model.attrs["labels"] = "tagger", ["a"]
    assert model[:2].name == "chain"
    assert model[:2].attrs == {}
    model[:2].attrs["labels"] = ["b"]
    assert model.attrs == {"labels": ["a"]}


def test_slicing_fails_for_unequal_widths_and_for_other_combinators(model: Model) -> None:
    with pytest.raises(DimensionError, match="chain"):
        model[::-1]
    for other in (concatenate(relu(), relu()), add(relu(), relu()), residual(relu()), relu()):
        with pytest.raises(InputError, match="slice"):
            other[:1]


def test_index_by_path_or_name(model: Model) -> None:
    for path, layer in model.paths().items():
        assert model[path] is layer
    assert model["softmax"] is model[3]
    assert model["chain >> residual >> linear"] is model[2][0]
    assert model["chain"] is model
    twins = Relu(2) >> Relu(2)
    assert twins["chain >> relu[1]"] is twins[1]
    shared = relu()
    assert (shared >> residual(shared))["relu"] is shared  # one layer used in two places


def test_unknown_or_ambiguous_path_fails(model: Model) -> None:
    with pytest.raises(KeyError, match="chain >> softmax"):
        model["chain >> softmx"]
    with pytest.raises(KeyError, match=r"2 layers.*chain >> linear.*chain >> residual >> linear"):
        model["linear"]
    with pytest.raises(KeyError, match="relu"):
        relu()["nothing like it"]
    for index in (1.0, None, (0, 1)):
        with pytest.raises(InputError, match="chain"):
            model[index]


def test_in_operator_accepts_layers_paths_and_unique_names(model: Model) -> None:
    assert model[2] in model
    assert model[2][0] not in model
    assert "softmax" in model
    assert "chain >> residual >> linear" in model
    assert "linear" not in model  # two layers have that name
    assert "gelu" not in model


# -- composition keeps settings ----------------------------------------------------------------


def tagger(**attrs: object) -> Model:
    model = Linear(2, 3) >> relu()
    model.attrs.update(attrs)
    return model


@pytest.mark.parametrize(
    "compose",
    [
        lambda model: model >> relu() >> noop(),
        lambda model: model >> (relu() >> noop()),
        lambda model: chain(model, relu(), noop()),
    ],
)
def test_chain_with_settings_is_not_flattened(compose: object) -> None:
    model = tagger(labels=["a", "b"])
    composed = compose(model)
    assert composed[0] is model
    assert composed[0].attrs == {"labels": ["a", "b"]}
    assert shape(composed) == ("chain", ("chain", ("linear",), ("relu",)), ("relu",), ("noop",))
    assert shape(noop() >> composed)[:2] == ("chain", ("noop",))
    assert (noop() >> composed)[1] is model


def test_renamed_chain_is_not_flattened() -> None:
    model = tagger()
    model.name = "tagger"
    composed = noop() >> model >> noop()
    assert composed["tagger"] is composed["chain >> tagger"] is model
    assert [layer.name for layer in composed] == ["noop", "tagger", "noop"]


def test_chain_subclass_or_chain_with_dims_is_not_flattened() -> None:
    class Tagger(Model):
        pass

    forward = chain().forward
    for model in (
        Tagger("chain", forward, layers=[relu()]),
        Model("chain", forward, layers=[relu()], dims={"nO": 2}),
    ):
        assert (noop() >> model)[1] is model


def test_plain_chains_compose_associatively() -> None:
    f, g, h = Linear(2, 3), relu(), Softmax(2, 2)
    left, right = ((f >> g) >> h).initialize(), (f >> (g >> h)).initialize()
    assert shape(left) == shape(right) == ("chain", ("linear",), ("relu",), ("softmax",))
    assert [*left] == [*right]
    assert left.to_bytes() == right.to_bytes()


def test_concatenation_with_settings_is_not_flattened() -> None:
    both = relu() | noop()
    assert len(both | relu()) == 3
    both.attrs["columns"] = 2
    assert (both | relu())[0] is both
    assert (relu() | both)[1].attrs == {"columns": 2}
    X = np.array([[-1.0, 2.0]])
    np.testing.assert_array_equal((both | relu()).predict(X), [[0, 2, -1, 2, 0, 2]])


def test_copies_keep_settings() -> None:
    model = tagger(labels=["a"])
    square = Linear(3, 3) >> relu()
    square.attrs["labels"] = ["a"]
    for copied in (clone(square, 3), copy.deepcopy(square >> square)):
        assert all(layer.attrs == {"labels": ["a"]} for layer in copied)
        assert copied[0].attrs["labels"] is not square.attrs["labels"]
    assert clone(square, 1).attrs == {"labels": ["a"]}
    restored = pickle.loads(pickle.dumps((model >> noop()).initialize()))
    assert restored[0].attrs == {"labels": ["a"]}


def test_settings_are_saved_and_loaded() -> None:
    saved = (tagger(labels=["a", "b"]) >> Softmax(2)).initialize()
    loaded = tagger(labels=["?"]) >> Softmax(2)
    loaded.from_bytes(saved.to_bytes())
    assert loaded[0].attrs == {"labels": ["a", "b"]}
    np.testing.assert_array_equal(loaded.predict(X), saved.predict(X))


def test_tree_edits_keep_settings() -> None:
    model = tagger(labels=["a"])
    composed = model >> Dropout() >> noop()
    assert remove_node(composed, composed["dropout"])[0] is model
    edited = replace_node(composed, model["relu"], relu() >> noop())
    assert edited[0] is not model
    assert edited[0].attrs == {"labels": ["a"]}
    assert [layer.name for layer in edited[0]] == ["linear", "relu", "noop"]
    named = Linear(2, 2) >> relu()
    named.name = "named"
    assert replace_node(composed, composed["dropout"], named)[1] is named
    plain = replace_node(composed, composed["dropout"], relu() >> relu())
    assert [layer.name for layer in plain] == ["chain", "relu", "relu", "noop"]
