"""Error messages name the layer's path, the expected value and the actual value."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet import CombinetError, DimensionError, InputError, StateError
from helpers.errors import raises
from helpers.models import has_gradients

L = cb.Linear


def f4(*shape: int) -> Any:
    return np.ones(shape, "f")


def ragged(dtype: str = "f", width: int = 3) -> Any:
    return cb.Ragged(np.ones((3, width), dtype), [1, 2])


def padded() -> Any:
    return cb.list2padded().predict(listed())


def listed(dtype: str = "f") -> Any:
    return [np.ones((2, 3), dtype), np.ones((1, 3), dtype)]


def ids(*shape: int) -> Any:
    return np.arange(int(np.prod(shape))).reshape(shape)


# -- composing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compose", "message"),
    [
        (lambda: L(4, 3) >> cb.Maxout(2, 5),
         "nO=4 ... 5 ... 'chain >> linear'"),
        (lambda: L(4, 3) >> cb.relu() >> cb.Softmax(2, 5),
         "nO=4 ... 5 ... 'chain >> linear'"),
        (lambda: L(4, 3) >> L(2, 5),
         "nO=4 ... 5 ... 'chain >> linear[0]'"),
        (lambda: cb.Embed(3, 7) >> cb.Softmax(2, 5),
         "nO=3 ... 5 ... 'chain >> embed'"),
        (lambda: cb.LayerNorm(3) >> cb.Maxout(4, 5),
         "nI=3 ... 5 ... 'chain >> layer_norm'"),
        (lambda: L(4, 3) >> cb.expand_window(1) >> cb.Softmax(2, 4),
         "3 ... 4 ... 'chain >> expand_window'"),
        (lambda: (L(2, 3) | L(3, 3)) >> cb.Softmax(1, 4),
         "5 ... 4 ... 'chain >> concatenate'"),
        (lambda: L(4, 3) | cb.Relu(2, 5),
         "nI=5 ... 3 ... 'concatenate >> relu'"),
        (lambda: L(4, 3) + cb.Relu(2, 3),
         "nO=2 ... 4 ... 'add >> relu'"),
        (lambda: cb.residual(L(4, 3)),
         "3 ... 4 ... 'residual'"),
        (lambda: cb.clone(cb.Relu(4, 3), 2),
         "nO=4 ... 3 ... 'chain >> relu[0]'"),
        (lambda: cb.with_array(L(4, 3)) >> cb.with_flatten(cb.LayerNorm(5)),
         "nO=4 ... 5 ... 'chain >> with_array >> linear'"),
        (lambda: cb.with_array(cb.residual(cb.Relu(4, 4))) >> cb.with_array(cb.residual(L(3))),
         "nI=4 ... 3 ... 'chain >> with_array[0] >> residual >> relu'"),
    ],
)  # fmt: skip
def test_composing_layers_with_unequal_widths_fails(compose: Any, message: str) -> None:
    with raises(DimensionError, message):
        compose()


def test_failed_composition_leaves_its_layers_unchanged() -> None:
    first, last = L(), L(nO=2, nI=5)
    with pytest.raises(DimensionError):
        first >> L(4) >> last
    assert first.dims == {"nI": None, "nO": None}
    assert (L(3, 3) >> first >> last).get_dim("nO") == 2


# -- running -----------------------------------------------------------------------------------

R4, R8 = "Ragged ... float32 ... (3, 3)", "Ragged ... float64 ... (3, 3)"
LISTED = "list ... float32 ... (2, 3)"
TURNED = cb.layerize(lambda X: (X[::-1], lambda dY: dY[::-1]))


@pytest.mark.parametrize(
    ("model", "X", "expected", "arrived"),
    [
        (L(2, 3), f4(3), "floats", "float32 ... (3,)"),
        (L(2, 3), ids(4, 3), "floats", "int64 ... (4, 3)"),
        (L(2, 3), listed(), "floats", LISTED),
        (L(2, 3), (f4(2, 3),), "floats", "tuple ... float32 ... (2, 3)"),
        (L(2, 3), [[1.0, 2.0]], "floats", "list ... float"),
        (L(2, 3), ragged(), "floats", R4),
        (L(2, 3), None, "floats", "NoneType"),
        (L(2, 3), f4(5, 4), "nI=3", "float32 ... (5, 4)"),
        (L(2, 3), f4(5, 3).astype("d"), "float32", "float64 ... (5, 3)"),
        (cb.Relu(2, 3), f4(5, 4), "nI=3", "float32 ... (5, 4)"),
        (cb.Maxout(2, 3), ids(4, 3), "floats", "int64 ... (4, 3)"),
        (cb.Softmax(2, 3), listed(), "floats", LISTED),
        (cb.LayerNorm(3), f4(5, 4), "nI=3", "float32 ... (5, 4)"),
        (cb.relu(), ids(4), "floats", "int64 ... (4,)"),
        (cb.gelu(), [1.0], "floats", "list ... float"),
        (cb.Dropout(), "text", "floats", "str"),
        (cb.expand_window(1), f4(2, 2, 2), "floats", "float32 ... (2, 2, 2)"),
        (cb.Embed(2, 5), f4(5, 3), "integers", "float32 ... (5, 3)"),
        (cb.Embed(2, 5), [1, 2], "integers", "list ... int"),
        (cb.Embed(2, 5), np.array([0, 7]), "4", "7"),
        (cb.Embed(2, 5), np.array([-1, 1]), "4", "-1"),
        (cb.Embed(2, 5), ids(2, 2), "(n,)", "int64 ... (2, 2)"),
        (cb.Embed(2, 5, column=2), ids(2, 2), "2", "int64 ... (2, 2)"),
        (cb.HashEmbed(2, 5, column=0), ids(4), "0", "int64 ... (4,)"),
        (cb.ParametricAttention(3), f4(5, 3), "Ragged", "float32 ... (5, 3)"),
        (cb.ParametricAttention(3), ragged("d"), "float32", R8),
        (cb.ParametricAttention(3), ragged(width=4), "nI=3",
         "Ragged ... float32 ... (3, 4)"),
        (cb.reduce_sum(), listed(), "Ragged", LISTED),
        (cb.reduce_mean(), padded(), "Ragged", "Padded ... float32 ... (2, 2, 3)"),
        (cb.reduce_max(), ids(3), "Ragged", "int64 ... (3,)"),
        (cb.reduce_first(), None, "Ragged", "NoneType"),
        (cb.reduce_last(), f4(3), "Ragged", "float32 ... (3,)"),
        (cb.list2ragged(), f4(5, 3), "list", "float32 ... (5, 3)"),
        (cb.list2padded(), ragged(), "list", R4),
        (cb.list2array(), f4(5, 3), "list", "float32 ... (5, 3)"),
        (cb.ragged2list(), listed(), "Ragged", LISTED),
        (cb.padded2list(), ragged(), "Padded", R4),
        (cb.with_flatten(L(2, 3)), f4(5, 3), "list", "float32 ... (5, 3)"),
        (cb.with_flatten(L(2, 3)), ragged(), "list", R4),
        (cb.with_array(L(2, 3)), "text", "Padded", "str"),
        (cb.with_list(cb.list2array()), 3.0, "Padded", "float"),
        (cb.with_ragged(cb.reduce_sum()), np.float32(2), "Padded", "float32 ... ()"),
        (cb.with_padded(cb.padded2list()), None, "Padded", "NoneType"),
    ],
)  # fmt: skip
def test_wrong_input_error_names_expected_and_actual_input(
    model: Any, X: Any, expected: str, arrived: str
) -> None:
    model.initialize()
    for call in (model.predict, model.begin_update):
        with raises((InputError, DimensionError), f"'{model.name}'", expected, arrived):
            call(X)


@pytest.mark.parametrize(
    ("model", "X", "message"),
    [
        (cb.list2ragged(), [], "empty"),
        (cb.list2ragged(), ["a"], "str"),
        (cb.list2array(), [f4(2, 3), f4(2, 2)], "(2, 3) ... (2, 2)"),
        (cb.list2padded(), [f4(2), f4(2).astype("d")], "float32 ... float64"),
        (cb.with_flatten(cb.noop()), [1, 2], "int"),
        (cb.reduce_max(), cb.Ragged(f4(2, 3), [2, 0]), "1 ... empty"),
        (cb.reduce_first(), cb.Ragged(f4(2, 3), [0, 2]), "0 ... empty"),
        (cb.noop() | cb.list2array(), listed(), f"{LISTED} ... (3, 3)"),
        (cb.noop() + cb.list2array(), listed(), f"{LISTED} ... (3, 3)"),
        (cb.residual(cb.list2array()), listed(), f"{LISTED} ... (3, 3)"),
        (cb.noop() + TURNED, ragged(), "[1, 2] ... [2, 1]"),
        (cb.residual(TURNED), padded(), "[2, 1] ... [1, 2]"),
        (cb.noop() | TURNED, padded(), "concatenate"),
        (cb.residual(cb.with_getitem(0, TURNED)), (ragged(), f4(2)), "tuple"),
        (cb.with_array(cb.with_ragged(cb.reduce_sum())), ragged(),
         "Ragged ... float32"),
        (cb.with_list(cb.list2array()), ragged(), "list ... float32"),
        (cb.with_padded(cb.padded2list()), listed(), "Padded ... list"),
        (cb.with_ragged(cb.reduce_sum()), f4(3, 2), "Ragged ... float32"),
    ],
)  # fmt: skip
def test_incompatible_batches_fail(model: Any, X: Any, message: str) -> None:
    with raises((InputError, DimensionError), message):
        model.initialize().predict(X)


def test_dtype_error_suggests_a_conversion_that_works() -> None:
    model = L(2, 3).initialize()
    X = np.ones((5, 3))
    with raises(InputError, "X.astype('float32')"):
        model.predict(X)
    model.predict(X.astype("float32"))
    L(2, 3).initialize(dtype="float64").predict(X)
    with pytest.raises(InputError) as caught:
        model.predict(X.astype(">f4"))
    assert "initialize" not in str(caught.value)


def test_error_names_the_path_through_all_layers() -> None:
    block = cb.residual(cb.LayerNorm(3) >> L(3, 3))
    model = (cb.noop() >> cb.with_flatten(cb.relu() | (cb.gelu() >> block))).initialize()
    path = "chain >> with_flatten >> concatenate >> chain >> residual >> chain >> layer_norm"
    with raises(InputError, f"'{path}'"):
        model.predict(listed("d"))


def test_error_path_numbers_layers_with_the_same_name() -> None:
    bad = cb.with_array(cb.Embed(2, 5))
    model = cb.chain(cb.with_array(cb.noop()), cb.relu(), bad).initialize()
    with raises(InputError, "'chain >> with_array[2] >> embed'"):
        model.predict(f4(3, 3))


def test_sample_of_wrong_type_fails_with_the_path() -> None:
    mystery: Any = cb.Model("mystery", lambda model, X, run: (X, lambda dY: dY))
    model = mystery >> cb.with_flatten(L(2))
    with raises(InputError, "'chain >> with_flatten'"):
        model.initialize(f4(3, 3))


def test_uninitialized_model_error_suggests_initialize() -> None:
    model = cb.noop() >> L(2, 3)
    for call in (model.predict, model.begin_update):
        with raises(StateError, "initialize(X, Y)", "'chain >> linear'"):
            call(f4(5, 3))


def test_calling_backprop_during_predict_fails() -> None:
    def eager(model: Any, X: Any, run: Any) -> Any:
        Y, callback = run(model.layers[0], X)
        callback(Y)
        return Y, callback

    model: Any = cb.Model("eager", eager, layers=[cb.relu()])
    with raises(StateError, "prediction"):
        model.predict(f4(2, 2))


# -- gradients ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "X", "dY", "words"),
    [
        (L(2, 3), f4(5, 3), f4(5, 3), ["(5, 2)", "(5, 3)"]),
        (L(2, 3), f4(5, 3), f4(2), ["(5, 2)", "(2,)"]),
        (L(2, 3), f4(5, 3), ids(5, 2), ["float", "int64", "(5, 2)"]),
        (L(2, 3), f4(5, 3), [1.0], ["(5, 2)", "list"]),
        (L(2, 3), f4(5, 3), None, ["(5, 2)", "NoneType"]),
        (L(2, 3), f4(5, 3), 1.0, ["(5, 2)", "float"]),
        (cb.with_flatten(L(2, 3)), listed(), f4(3, 2), ["list", "(3, 2)"]),
        (cb.with_flatten(L(2, 3)), listed(), [f4(2, 2)], ["list", "2", "1"]),
        (cb.with_flatten(L(2, 3)), listed(), [f4(1, 2), f4(2, 2)],
         ["(2, 2)", "(1, 2)"]),
        (cb.with_array(L(2, 3)), ragged(), f4(3, 2), ["Ragged", "(3, 2)"]),
        (cb.with_array(L(2, 3)), ragged(), ragged(), ["(3, 2)", "(3, 3)"]),
        (cb.with_array(L(3, 3)), ragged(), cb.Ragged(f4(3, 3), [2, 1]), ["[2, 1]", "[1, 2]"]),
        (cb.with_array(L(3, 3)), padded(), ragged(), ["Padded", "Ragged"]),
    ],
)  # fmt: skip
def test_gradient_unlike_the_output_fails_and_adds_no_gradients(
    model: Any, X: Any, dY: Any, words: list[str]
) -> None:
    model.initialize()
    _, backprop = model.begin_update(X)
    with raises((InputError, DimensionError), *words):
        backprop(dY)
    assert not has_gradients(model)


@pytest.mark.parametrize("result", [f4(2, 3), f4(3, 3), [f4(2), f4(2)], (f4(2),), None])
def test_forward_function_must_return_output_and_backprop(result: Any) -> None:
    model = L(3, 3).initialize() >> cb.Model("own", lambda model, X, run: result)
    for call in (model.predict, model.begin_update):
        with raises(InputError, "'chain >> own'"):
            call(f4(2, 3))


def test_unknown_parameter_names_in_a_forward_function_fail() -> None:
    def forward(model: Any, X: Any, run: Any) -> Any:
        (g,) = run.params(model, "gg" if X[0] else "g")
        return X, lambda dY: run.inc_grad(model, h=g)

    param = cb.Param(("nI",), cb.ones)
    model: Any = cb.Model("own", forward, dims={"nI": 1}, params={"g": param}).initialize()
    with raises(StateError, "own", "'gg'", "'g'"):
        model.predict(f4(1))
    with raises(StateError, "own", "h", "'g'"):
        model.begin_update(0 * f4(1))[1](f4(1))


@pytest.mark.parametrize(
    ("param", "words"),
    [
        (f4(3), "Param ... g"),
        (cb.Param(("nI",), 0.1), "Param ... g"),  # type: ignore[arg-type]
        (cb.Param(("nO",), cb.ones), "('nI',) ... ('nO',)"),
        (cb.Param("nI", cb.ones), "dims"),  # type: ignore[arg-type]
    ],
)
def test_invalid_parameter_declaration_fails(param: Any, words: str) -> None:
    with raises(InputError, words):
        cb.Model("own", lambda model, X, run: X, dims={"nI": 3}, params={"g": param})


def test_composing_an_uncalled_layer_function_fails() -> None:
    with raises(InputError, "function", "relu()"):
        L(3) >> cb.relu  # type: ignore[operator]


@pytest.mark.parametrize("sgd", [0.1, None])
def test_invalid_optimizer_fails_and_adds_no_gradients(sgd: Any) -> None:
    model = L(3, 3).initialize()
    Y, backprop = model.begin_update(f4(2, 3))
    with raises(InputError, "linear", "optimizer"):
        model.finish_update(sgd) if sgd is None else backprop(Y, sgd)
    assert not model.has_grad("W")


def test_update_inside_use_params_fails_and_works_afterwards() -> None:
    model = L(3, 3).initialize()
    Y, backprop = model.begin_update(f4(2, 3))
    with model.use_params({(model.id, "W"): f4(3, 3)}), raises(StateError, "use_params"):
        backprop(Y, cb.SGD(0.1))
    assert not model.has_grad("W")
    backprop(Y, cb.SGD(0.1))


def test_parameter_gradient_of_wrong_shape_fails() -> None:
    def forward(model: Any, X: Any, run: Any) -> Any:
        return X, lambda dY: run.inc_grad(model, W=dY)

    params = {"W": cb.Param(("nI",), cb.ones)}
    model: Any = cb.Model("mine", forward, dims={"nI": 3}, params=params).initialize()
    with raises(DimensionError, "W", "mine", "(2, 3)", "(3,)"):
        model.begin_update(f4(2, 3))[1](f4(2, 3))


# -- the error types ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (cb.DimensionError, ValueError), (cb.InputError, TypeError), (cb.StateError, RuntimeError),
        (cb.FormatError, ValueError), (cb.DeviceError, RuntimeError),
    ],
)  # fmt: skip
def test_error_types_inherit_from_combinet_error_and_a_builtin(error: Any, builtin: Any) -> None:
    assert issubclass(error, CombinetError)
    assert issubclass(error, builtin)


def test_data_validation_turns_input_checks_off_within_a_block() -> None:
    model, X = cb.relu(), np.array([-1, 2])
    with cb.data_validation(False):
        assert model.predict(X).tolist() == [0, 2]
        with cb.data_validation(True), raises(cb.InputError, "relu"):
            model.predict(X)
        assert model.predict(X).tolist() == [0, 2]
    with raises(cb.InputError, "relu"):
        model.predict(X)
    with pytest.raises(ZeroDivisionError), cb.data_validation(False):
        raise ZeroDivisionError
    with raises(cb.InputError, "relu"):
        model.predict(X)
