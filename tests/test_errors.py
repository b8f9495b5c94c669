"""Errors say where, what was expected and what arrived."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet import CombinetError, DimensionError, InputError, StateError

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
         "linear has nO=4, but maxout beside it has 5, in 'chain >> linear'"),
        (lambda: L(4, 3) >> cb.relu() >> cb.Softmax(2, 5),
         "linear has nO=4, but relu beside it has 5, in 'chain >> linear'"),
        (lambda: L(4, 3) >> L(2, 5),
         "linear has nO=4, but linear beside it has 5, in 'chain >> linear[0]'"),
        (lambda: cb.Embed(3, 7) >> cb.Softmax(2, 5),
         "embed has nO=3, but softmax beside it has 5, in 'chain >> embed'"),
        (lambda: cb.LayerNorm(3) >> cb.Maxout(4, 5),
         "layer_norm has nI=3, but maxout beside it has 5, in 'chain >> layer_norm'"),
        (lambda: L(4, 3) >> cb.expand_window(1) >> cb.Softmax(2, 4),
         "expand_window makes 3 columns of each, not 4, in 'chain >> expand_window'"),
        (lambda: (L(2, 3) | L(3, 3)) >> cb.Softmax(1, 4),
         "concatenate has nO=2 + 3=5, but softmax beside it has 4, in 'chain >> concatenate'"),
        (lambda: L(4, 3) | cb.Relu(2, 5),
         "relu has nI=5, but concatenate beside it has 3, in 'concatenate >> relu'"),
        (lambda: L(4, 3) + cb.Relu(2, 3),
         "relu has nO=2, but add beside it has 4, in 'add >> relu'"),
        (lambda: cb.residual(L(4, 3)),
         "residual needs one width, not 3 and 4, in 'residual'"),
        (lambda: cb.clone(cb.Relu(4, 3), 2),
         "relu has nO=4, but relu beside it has 3, in 'chain >> relu[0]'"),
        (lambda: cb.with_array(L(4, 3)) >> cb.with_flatten(cb.LayerNorm(5)),
         "linear has nO=4, but with_flatten beside it has 5, in 'chain >> with_array >> linear'"),
        (lambda: cb.with_array(cb.residual(cb.Relu(4, 4))) >> cb.with_array(cb.residual(L(3))),
         "relu has nI=4, but with_array beside it has 3, "
         "in 'chain >> with_array[0] >> residual >> relu'"),
    ],
)  # fmt: skip
def test_wrong_compositions_are_refused_when_composed(compose: Any, message: str) -> None:
    with pytest.raises(DimensionError) as caught:
        compose()
    assert str(caught.value) == message


def test_a_refused_composition_leaves_its_layers_as_they_were() -> None:
    first, last = L(), L(nO=2, nI=5)
    with pytest.raises(DimensionError):
        first >> L(4) >> last
    assert first.dims == {"nI": None, "nO": None}
    assert (L(3, 3) >> first >> last).get_dim("nO") == 2


# -- running -----------------------------------------------------------------------------------

FLOATS = "an array of floats"
ROWS = "an array of floats (n, nI)"
IDS = "an array of integers (n,) or (n, columns)"
ROWS_OF = "Ragged with floats (total, nI)"
LIST = "a list of arrays"
ANY = "a list of arrays, Ragged, Padded or an array"
R4, R8 = "Ragged of 2: float32 array (3, 3)", "Ragged of 2: float64 array (3, 3)"
LISTED = "list of 2: float32 array (2, 3)"
TURNED = cb.layerize(lambda X: (X[::-1], lambda dY: dY[::-1]))


@pytest.mark.parametrize(
    ("model", "X", "expected", "arrived"),
    [
        (L(2, 3), f4(3), ROWS, "float32 array (3,)"),
        (L(2, 3), ids(4, 3), ROWS, "int64 array (4, 3)"),
        (L(2, 3), listed(), ROWS, LISTED),
        (L(2, 3), (f4(2, 3),), ROWS, "tuple of 1: float32 array (2, 3)"),
        (L(2, 3), [[1.0, 2.0]], ROWS, "list of 1: list of 2: float"),
        (L(2, 3), ragged(), ROWS, R4),
        (L(2, 3), None, ROWS, "NoneType"),
        (L(2, 3), f4(5, 4), "nI=3 columns", "float32 array (5, 4)"),
        (L(2, 3), f4(5, 3).astype("d"), "float32", "float64 array (5, 3)"),
        (cb.Relu(2, 3), f4(5, 4), "nI=3 columns", "float32 array (5, 4)"),
        (cb.Maxout(2, 3), ids(4, 3), ROWS, "int64 array (4, 3)"),
        (cb.Softmax(2, 3), listed(), ROWS, LISTED),
        (cb.LayerNorm(3), f4(5, 4), "nI=3 columns", "float32 array (5, 4)"),
        (cb.relu(), ids(4), FLOATS, "int64 array (4,)"),
        (cb.gelu(), [1.0], FLOATS, "list of 1: float"),
        (cb.Dropout(), "text", FLOATS, "str"),
        (cb.expand_window(1), f4(2, 2, 2), ROWS, "float32 array (2, 2, 2)"),
        (cb.Embed(2, 5), f4(5, 3), IDS, "float32 array (5, 3)"),
        (cb.Embed(2, 5), [1, 2], IDS, "list of 2: int"),
        (cb.Embed(2, 5), np.array([0, 7]), "ids from 0 to 4", "0 to 7"),
        (cb.Embed(2, 5), np.array([-1, 1]), "ids from 0 to 4", "-1 to 1"),
        (cb.Embed(2, 5), ids(2, 2), "ids (n,)", "int64 array (2, 2)"),
        (cb.Embed(2, 5, column=2), ids(2, 2), "an array with a column 2", "int64 array (2, 2)"),
        (cb.HashEmbed(2, 5, column=0), ids(4), "an array with a column 0", "int64 array (4,)"),
        (cb.ParametricAttention(3), f4(5, 3), ROWS_OF, "float32 array (5, 3)"),
        (cb.ParametricAttention(3), ragged("d"), "float32", R8),
        (cb.ParametricAttention(3), ragged(width=4), "nI=3 columns",
         "Ragged of 2: float32 array (3, 4)"),
        (cb.reduce_sum(), listed(), ROWS_OF, LISTED),
        (cb.reduce_mean(), padded(), ROWS_OF, "Padded of 2: float32 array (2, 2, 3)"),
        (cb.reduce_max(), ids(3), ROWS_OF, "int64 array (3,)"),
        (cb.reduce_first(), None, ROWS_OF, "NoneType"),
        (cb.reduce_last(), f4(3), ROWS_OF, "float32 array (3,)"),
        (cb.list2ragged(), f4(5, 3), LIST, "float32 array (5, 3)"),
        (cb.list2padded(), ragged(), LIST, R4),
        (cb.list2array(), f4(5, 3), LIST, "float32 array (5, 3)"),
        (cb.ragged2list(), listed(), "Ragged", LISTED),
        (cb.padded2list(), ragged(), "Padded", R4),
        (cb.with_flatten(L(2, 3)), f4(5, 3), LIST, "float32 array (5, 3)"),
        (cb.with_flatten(L(2, 3)), ragged(), LIST, R4),
        (cb.with_array(L(2, 3)), "text", ANY, "str"),
        (cb.with_list(cb.list2array()), 3.0, ANY, "float"),
        (cb.with_ragged(cb.reduce_sum()), np.float32(2), ANY, "float32 array ()"),
        (cb.with_padded(cb.padded2list()), None, ANY, "NoneType"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused_with_what_was_expected_and_what_arrived(
    model: Any, X: Any, expected: str, arrived: str
) -> None:
    model.initialize()
    for call in (model.predict, model.begin_update):
        with pytest.raises((InputError, DimensionError)) as caught:
            call(X)
        message = str(caught.value)
        assert message.startswith(f"{model.name} takes {expected}")
        assert f"not {arrived}" in message
        assert message.endswith(f", in '{model.name}'")


@pytest.mark.parametrize(
    ("model", "X", "message"),
    [
        (cb.list2ragged(), [], "an empty list has no width"),
        (cb.list2ragged(), ["a"], "not a list with str in it"),
        (cb.list2array(), [f4(2, 3), f4(2, 2)], "float32 array (2, 3) and float32 array (2, 2)"),
        (cb.list2padded(), [f4(2), f4(2).astype("d")], "float32 array (2,) and float64 array (2,)"),
        (cb.with_flatten(cb.noop()), [1, 2], "not a list with int in it"),
        (cb.reduce_max(), cb.Ragged(f4(2, 3), [2, 0]), "number 1 is empty"),
        (cb.reduce_first(), cb.Ragged(f4(2, 3), [0, 2]), "number 0 is empty"),
        (cb.noop() | cb.list2array(), listed(), f"{LISTED} and float32 array (3, 3)"),
        (cb.noop() + cb.list2array(), listed(), f"{LISTED} and float32 array (3, 3)"),
        (cb.residual(cb.list2array()), listed(), f"{LISTED} and float32 array (3, 3)"),
        (cb.noop() + TURNED, ragged(), f"{R4} and {R4}, of the lengths [1, 2] and [2, 1]"),
        (cb.residual(TURNED), padded(), "of the lengths [2, 1] and [1, 2]"),
        (cb.noop() | TURNED, padded(), "side by side"),
        (cb.residual(cb.with_getitem(0, TURNED)), (ragged(), f4(2)), "cannot add tuple of 2"),
        (cb.with_array(cb.with_ragged(cb.reduce_sum())), ragged(),
         "give back what it takes, Ragged, not float32 array"),
        (cb.with_list(cb.list2array()), ragged(), "give back what it takes, list, not float32"),
        (cb.with_padded(cb.padded2list()), listed(), "give back what it takes, Padded, not list"),
        (cb.with_ragged(cb.reduce_sum()), f4(3, 2), "give back what it takes, Ragged, not float32"),
    ],
)  # fmt: skip
def test_batches_that_do_not_go_together_are_refused(model: Any, X: Any, message: str) -> None:
    with pytest.raises((InputError, DimensionError)) as caught:
        model.initialize().predict(X)
    assert message in str(caught.value)


def test_the_hint_for_another_dtype_is_what_helps() -> None:
    model = L(2, 3).initialize()
    X = np.ones((5, 3))
    with pytest.raises(InputError, match=r"X.astype\('float32'\)"):
        model.predict(X)
    model.predict(X.astype("float32"))
    L(2, 3).initialize(dtype="float64").predict(X)
    with pytest.raises(InputError) as caught:
        model.predict(X.astype(">f4"))
    assert "initialize" not in str(caught.value)


def test_the_message_has_the_path_through_all_layers() -> None:
    block = cb.residual(cb.LayerNorm(3) >> L(3, 3))
    model = (cb.noop() >> cb.with_flatten(cb.relu() | (cb.gelu() >> block))).initialize()
    with pytest.raises(InputError) as caught:
        model.predict(listed("d"))
    path = "chain >> with_flatten >> concatenate >> chain >> residual >> chain >> layer_norm"
    assert str(caught.value).endswith(f", in '{path}'")


def test_a_path_tells_layers_of_one_name_apart() -> None:
    bad = cb.with_array(cb.Embed(2, 5))
    model = cb.chain(cb.with_array(cb.noop()), cb.relu(), bad).initialize()
    with pytest.raises(InputError, match=r"in 'chain >> with_array\[2\] >> embed'"):
        model.predict(f4(3, 3))


def test_a_sample_of_the_wrong_kind_is_refused_with_the_path() -> None:
    mystery: Any = cb.Model("mystery", lambda model, X, run: (X, lambda dY: dY))
    model = mystery >> cb.with_flatten(L(2))
    with pytest.raises(InputError, match="in 'chain >> with_flatten'"):
        model.initialize(f4(3, 3))


def test_a_model_without_weights_says_what_to_call() -> None:
    model = cb.noop() >> L(2, 3)
    for call in (model.predict, model.begin_update):
        with pytest.raises(StateError, match=r"call initialize\(X, Y\).*in 'chain >> linear'"):
            call(f4(5, 3))


def test_a_layer_that_calls_back_in_a_prediction_is_told_so() -> None:
    def eager(model: Any, X: Any, run: Any) -> Any:
        Y, callback = run(model.layers[0], X)
        callback(Y)
        return Y, callback

    model: Any = cb.Model("eager", eager, layers=[cb.relu()])
    with pytest.raises(StateError, match="prediction"):
        model.predict(f4(2, 2))


# -- gradients ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "X", "dY", "words"),
    [
        (L(2, 3), f4(5, 3), f4(5, 3), ["float32 array (5, 2)", "not float32 array (5, 3)"]),
        (L(2, 3), f4(5, 3), f4(2), ["float32 array (5, 2)", "not float32 array (2,)"]),
        (L(2, 3), f4(5, 3), ids(5, 2), ["is a float", "not int64 array (5, 2)"]),
        (L(2, 3), f4(5, 3), [1.0], ["float32 array (5, 2)", "not list of 1: float"]),
        (L(2, 3), f4(5, 3), None, ["float32 array (5, 2)", "not NoneType"]),
        (L(2, 3), f4(5, 3), 1.0, ["float32 array (5, 2)", "not float"]),
        (cb.with_flatten(L(2, 3)), listed(), f4(3, 2), ["list of 2", "not float32 array (3, 2)"]),
        (cb.with_flatten(L(2, 3)), listed(), [f4(2, 2)], ["list of 2", "not list of 1"]),
        (cb.with_flatten(L(2, 3)), listed(), [f4(1, 2), f4(2, 2)],
         ["float32 array (2, 2)", "not float32 array (1, 2)"]),
        (cb.with_array(L(2, 3)), ragged(), f4(3, 2), ["Ragged", "not float32 array (3, 2)"]),
        (cb.with_array(L(2, 3)), ragged(), ragged(), ["float32 array (3, 2)", "(3, 3)"]),
        (cb.with_array(L(3, 3)), ragged(), cb.Ragged(f4(3, 3), [2, 1]), ["[2, 1]", "[1, 2]"]),
        (cb.with_array(L(3, 3)), padded(), ragged(), ["Padded", "not Ragged of 2"]),
    ],
)  # fmt: skip
def test_a_gradient_unlike_the_output_is_refused_and_nothing_is_collected(
    model: Any, X: Any, dY: Any, words: list[str]
) -> None:
    model.initialize()
    _, backprop = model.begin_update(X)
    with pytest.raises((InputError, DimensionError)) as caught:
        backprop(dY)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not any(slot.grad.count for slot in model.slots_by_path().values())


@pytest.mark.parametrize("result", [f4(2, 3), f4(3, 3), [f4(2), f4(2)], (f4(2),), None])
def test_a_layer_that_gives_no_pair_is_named(result: Any) -> None:
    model = L(3, 3).initialize() >> cb.Model("own", lambda model, X, run: result)
    for call in (model.predict, model.begin_update):
        with pytest.raises(InputError, match=r"own's function has .* in 'chain >> own'"):
            call(f4(2, 3))


def test_names_of_parameters_that_do_not_exist_are_said() -> None:
    def forward(model: Any, X: Any, run: Any) -> Any:
        (g,) = run.params(model, "gg" if X[0] else "g")
        return X, lambda dY: run.inc_grad(model, h=g)

    param = cb.Param(("nI",), cb.ones)
    model: Any = cb.Model("own", forward, dims={"nI": 1}, params={"g": param}).initialize()
    with pytest.raises(StateError, match=r"own has no \('gg',\), only \('g',\)"):
        model.predict(f4(1))
    with pytest.raises(StateError, match=r"own has no parameter h, only \('g',\)"):
        model.begin_update(0 * f4(1))[1](f4(1))


@pytest.mark.parametrize(
    ("param", "words"),
    [
        (f4(3), "declares its parameter g as Param"),
        (cb.Param(("nI",), 0.1), "declares its parameter g as Param"),  # type: ignore[arg-type]
        (cb.Param(("nO",), cb.ones), r"a tuple of its dims \('nI',\), .* not \('nO',\)"),
        (cb.Param("nI", cb.ones), "a tuple of its dims"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_declaration_of_a_parameter_is_refused(param: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        cb.Model("own", lambda model, X, run: X, dims={"nI": 3}, params={"g": param})


def test_a_function_among_layers_is_to_be_called() -> None:
    with pytest.raises(InputError, match=r"not function: relu\(\) makes one"):
        L(3) >> cb.relu  # type: ignore[operator]


@pytest.mark.parametrize("sgd", [0.1, None])
def test_no_optimizer_is_refused_before_anything_is_collected(sgd: Any) -> None:
    model = L(3, 3).initialize()
    Y, backprop = model.begin_update(f4(2, 3))
    with pytest.raises(InputError, match="linear is updated by an optimizer, not"):
        model.finish_update(sgd) if sgd is None else backprop(Y, sgd)
    assert not model.has_grad("W")


def test_a_pass_goes_on_when_weights_are_borrowed_at_its_update() -> None:
    model = L(3, 3).initialize()
    Y, backprop = model.begin_update(f4(2, 3))
    with (
        model.use_params({(model.id, "W"): f4(3, 3)}),
        pytest.raises(StateError, match="overridden"),
    ):
        backprop(Y, cb.SGD(0.1))
    assert not model.has_grad("W")
    backprop(Y, cb.SGD(0.1))


def test_a_layers_own_wrong_gradient_is_named() -> None:
    def forward(model: Any, X: Any, run: Any) -> Any:
        return X, lambda dY: run.inc_grad(model, W=dY)

    params = {"W": cb.Param(("nI",), cb.ones)}
    model: Any = cb.Model("mine", forward, dims={"nI": 3}, params=params).initialize()
    with pytest.raises(DimensionError, match=r"of W of mine is \(2, 3\), the parameter \(3,\)"):
        model.begin_update(f4(2, 3))[1](f4(2, 3))


# -- the errors themselves ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (cb.DimensionError, ValueError), (cb.InputError, TypeError), (cb.StateError, RuntimeError),
        (cb.FormatError, ValueError), (cb.DeviceError, RuntimeError),
    ],
)  # fmt: skip
def test_every_error_is_a_combinet_error_and_pythons_own(error: Any, builtin: Any) -> None:
    assert issubclass(error, CombinetError)
    assert issubclass(error, builtin)


def test_checks_can_be_left_out_in_a_block() -> None:
    model, X = cb.relu(), np.array([-1, 2])
    with cb.data_validation(False):
        assert model.predict(X).tolist() == [0, 2]
        with cb.data_validation(True), pytest.raises(cb.InputError, match="relu takes"):
            model.predict(X)
        assert model.predict(X).tolist() == [0, 2]
    with pytest.raises(cb.InputError, match="relu takes"):
        model.predict(X)
    with pytest.raises(ZeroDivisionError), cb.data_validation(False):
        raise ZeroDivisionError
    with pytest.raises(cb.InputError, match="relu takes"):
        model.predict(X)
