"""ONNX export: onnxruntime matches `predict` for every case, or the export fails."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import combinet as cb
from cases import CASES, Case
from combinet.batches.structure import map_arrays
from helpers.arrays import floats, ids, keys, listed, padded, ragged, sparse
from helpers.errors import raises
from helpers.models import params_of, set_params

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime

from combinet.interop.onnx import to_arrays, to_onnx
from helpers.load_onnx import Session, check

# Cases that cannot be exported, and the layer that the error names.
NONE = {
    "layerize": "<lambda>",  # a Python function
    "map_list-of-ragged": "map_list",  # lists of batches cannot be graph inputs
    "strings2arrays": "chain",  # nor can lists of lists of words
    "viterbi": "<lambda>",  # the layerize of this case
    **{case.id: "one level" for case in CASES if case.note == "levels"},
    "wrap": "affine",  # objects of Python
    "wrap-stateless": "doubled",
}


def in_dtype(X: Any, dtype: str) -> Any:
    def cast(x: Any) -> Any:
        return x.astype(dtype) if hasattr(x, "dtype") and x.dtype.kind == "f" else x

    return map_arrays(X, cast)


def another(case: Case, X: Any) -> Any:
    """A batch with lengths that differ from those of X."""
    if case.name == "SparseLinear":
        return in_dtype(sparse(1, 0, 4), "float32")
    if isinstance(X, tuple):
        return tuple(another(case, x) for x in X)
    if isinstance(X, np.ndarray) and not X.size:
        return np.ones([n or 2 for n in X.shape], X.dtype)
    return X[1:]


def prepared(case: Case) -> tuple[Any, Any]:
    """The initialized model of a case, with noise on all weights, and its input."""
    dtype = "float64" if case.name == "StaticVectors" else "float32"  # the dtype of its table
    X = in_dtype(case.X, dtype)
    model = case.make().copy().initialize(X, dtype=dtype, rng=1)
    rng = np.random.default_rng(0)
    set_params(model, lambda W: W + rng.normal(0, 0.1, W.shape))
    return model, X


@pytest.mark.parametrize("case", [c for c in CASES if c.id not in NONE], ids=lambda case: case.id)
def test_onnxruntime_matches_predict(case: Case) -> None:
    model, X = prepared(case)
    check(model, X, another(case, X))


@pytest.mark.parametrize("case", [c for c in CASES if c.id in NONE], ids=lambda case: case.id)
def test_export_error_names_an_unsupported_layer(case: Case) -> None:
    model, X = prepared(case)
    with raises(cb.InputError, NONE[case.id]):
        to_onnx(model, X)


def test_unsupported_cases_exist() -> None:
    assert set(NONE) <= {case.id for case in CASES}


def test_custom_layer_fails_with_its_path() -> None:
    own: Any = cb.Model("my_layer", lambda model, X, run: (X, None))
    model = (cb.Linear(3, 3) >> cb.residual(own)).initialize()
    with raises(cb.InputError, "my_layer", "ONNX", "'chain >> residual >>"):
        to_onnx(model, np.ones((2, 3), "float32"))


def test_invalid_example_raises_the_error_of_the_model() -> None:
    with raises(cb.DimensionError, "linear", "nI=3"):
        to_onnx(cb.Linear(2, 3).initialize(), np.ones((2, 4), "float32"))
    with raises(cb.StateError, "weights"):
        to_onnx(cb.Linear(2, 3), np.ones((2, 3), "float32"))


# -- the interface -----------------------------------------------------------------------------


def names_and_shapes(values: Any) -> dict[str, list[Any]]:
    return {value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in values}  # fmt: skip


@pytest.mark.parametrize(
    ("X", "inputs"),
    [
        (floats(5, 3), {"X": ["X_0", 3]}),
        (floats(2, 5, 3), {"X": ["X_0", "X_1", 3]}),
        (ids(4), {"X": ["X_0"]}),
        (listed(2, 1), {"X": ["X_0", 3], "X_lengths": ["X_lengths_0"]}),
        (padded(2, 1), {"X": ["X_0", 3], "X_lengths": ["X_lengths_0"]}),
        ((floats(5, 3), ragged(2, 1)),
         {"X_0": ["X_0_0", 3], "X_1": ["X_1_0", 3], "X_1_lengths": ["X_1_lengths_0"]}),
    ],
    ids=str,
)  # fmt: skip
def test_inputs_have_names_and_dynamic_axes(X: Any, inputs: Any) -> None:
    graph = to_onnx(cb.noop(), X).graph
    assert names_and_shapes(graph.input) == inputs
    assert to_arrays(X).keys() == inputs.keys()
    assert [y.name for y in graph.output] == [name.replace("X", "Y") for name in inputs]


def test_to_arrays_keeps_the_order_of_sequences() -> None:
    X = listed(1, 3, 2)
    for batch in (X, cb.list2ragged().predict(X), cb.list2padded().predict(X)):
        found = to_arrays(batch)
        np.testing.assert_array_equal(found["X"], np.concatenate(X))
        np.testing.assert_array_equal(found["X_lengths"], [1, 3, 2])


def test_to_arrays_fails_for_unsupported_batches() -> None:
    for batch, words in ((3, "int"), ([ragged(2)], "Ragged"), ([], "empty")):
        with raises(cb.InputError, words):
            to_arrays(batch)


def test_weights_become_named_initializers_in_standard_shapes() -> None:
    embed = cb.Embed(4, 7)
    model: Any = (embed >> cb.Maxout(4, pieces=2) >> cb.unembed(embed)).initialize()
    found = {each.name: onnx.numpy_helper.to_array(each)
             for each in to_onnx(model, ids(5)).graph.initializer}  # fmt: skip
    weights = params_of(model)
    assert [name for name in found if ">>" in name] == [*weights]
    for name, W in weights.items():
        np.testing.assert_array_equal(found[name], W)


def test_export_inside_use_params_contains_the_override() -> None:
    model = cb.Linear(2, 3).initialize(rng=1)
    lent = {(model.id, "W"): np.ones((2, 3)), (model.id, "b"): np.ones(2)}
    X = floats(1, 3).astype("float32")
    with model.use_params(lent):
        session = Session(model, X)
    np.testing.assert_allclose(session(X)["Y"], [[X.sum() + 1] * 2], rtol=1e-5)


def test_saved_graph_can_be_loaded(tmp_path: Path) -> None:
    model = (cb.Linear(4, 3) >> cb.Softmax(2)).initialize(rng=1)
    X = floats(5, 3).astype("float32")
    onnx.save(to_onnx(model, X), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (Y,) = session.run(None, to_arrays(X))
    np.testing.assert_allclose(Y, model.predict(X), rtol=1e-5)


def test_tagger_from_keys_to_labels_can_be_exported() -> None:
    embed = cb.HashEmbed(8, 50, column=0) | cb.HashEmbed(8, 30, column=1)
    encode = cb.residual(cb.expand_window(1) >> cb.Maxout(16, pieces=3) >> cb.LayerNorm()) ** 2
    model: Any = cb.with_flatten(embed >> encode >> cb.Linear(5)) >> cb.CRF() >> cb.viterbi()
    docs = [keys(n) for n in (4, 1, 7)]
    model.initialize(docs, rng=1)
    check(model, docs, [keys(2), keys(9)], [keys(1)])
