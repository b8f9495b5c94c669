"""Subclasses of Model that define methods of the Model API themselves."""

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet import DimensionError, FormatError, InputError, StateError
from helpers.errors import raises
from helpers.models import params_of, train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 5))
TARGET = RNG.normal(size=(6, 2))
PARAMS = {
    "W": cb.Param(("nO", "nI"), cb.glorot_uniform),
    "b": cb.Param(("nO",), cb.zeros),
}


class Affine(cb.Model[Any, Any]):
    """Linear, by a begin_update of its own."""

    def __init__(self, nO: int | None = None, nI: int | None = None) -> None:
        super().__init__("linear", dims={"nO": nO, "nI": nI}, params=PARAMS)

    def begin_update(self, X: Any, drop: float = 0.0) -> Any:  # type: ignore[override]
        W, b = self.get_param("W"), self.get_param("b")

        def backprop(dY: Any, sgd: Any = None) -> Any:
            self.inc_grad("W", dY.T @ X)
            self.inc_grad("b", dY.sum(axis=0))
            if sgd is not None:
                self.finish_update(sgd)
            return dY @ W

        return X @ W.T + b, backprop


class Forward(cb.Model[Any, Any]):
    """Linear, by a method `forward`."""

    def __init__(self, nO: int | None = None, nI: int | None = None) -> None:
        super().__init__("linear", dims={"nO": nO, "nI": nI}, params=PARAMS)

    def forward(self, X: Any, run: Any) -> Any:
        W, b = run.params(self, "W", "b")

        def backprop(dY: Any) -> Any:
            run.inc_grad(self, W=dY.T @ X, b=dY.sum(axis=0))
            return dY @ W

        return X @ W.T + b, backprop


class Outer(cb.Model[Any, Any]):
    """A chain of its sublayers, by a begin_update that calls theirs."""

    def __init__(self, *layers: Any) -> None:
        from combinet.shapes import chained

        super().__init__("chain", layers=layers, widths=chained)

    def begin_update(self, X: Any, drop: float = 0.0) -> Any:  # type: ignore[override]
        callbacks = []
        for layer in self.layers:
            X, callback = layer.begin_update(X, drop)
            callbacks.append(callback)

        def backprop(dY: Any, sgd: Any = None) -> Any:
            for callback in reversed(callbacks):
                dY = callback(dY)
            if sgd is not None:
                self.finish_update(sgd)
            return dY

        return X, backprop


class Extended(Affine):
    """Affine, with the other methods, each of which calls super()."""

    def __init__(self, nO: int | None = None, nI: int | None = None) -> None:
        super().__init__(nO, nI)
        self.calls: list[str] = []

    def predict(self, X: Any) -> Any:
        self.calls.append("predict")
        return super().predict(X)

    def finish_update(self, sgd: Any) -> None:
        self.calls.append("finish_update")
        super().finish_update(sgd)

    @contextmanager
    def use_params(self, params: Any) -> Any:
        self.calls.append("use_params")
        with super().use_params(params):
            yield

    def initialize(self, X: Any = None, Y: Any = None, **options: Any) -> Any:
        self.calls.append("initialize")
        return super().initialize(X, Y, **options)

    def to_bytes(self, **exclude: bool) -> bytes:
        self.calls.append("to_bytes")
        return super().to_bytes(**exclude)

    def from_bytes(self, data: bytes, **exclude: bool) -> Any:
        self.calls.append("from_bytes")
        return super().from_bytes(data, **exclude)

    def to_gpu(self, device_num: int = 0) -> Any:
        self.calls.append("to_gpu")
        return super().to_gpu(device_num)

    def to_cpu(self) -> Any:
        self.calls.append("to_cpu")
        return super().to_cpu()

    def resize_input(self, new_size: int) -> Any:
        self.calls.append("resize_input")
        return super().resize_input(new_size)

    def resize_output(self, new_size: int) -> Any:
        self.calls.append("resize_output")
        return super().resize_output(new_size)


def whole(make: Callable[..., Any], nested: Callable[..., Any] = cb.chain) -> Any:
    """The same model, made of Linear or of a subclass."""
    return nested(make(3), nested(cb.relu(), make(4)), cb.Softmax(2)).initialize(
        X, TARGET, rng=1, dtype="float64"
    )


def assert_same_weights(model: Any, like: Any) -> None:
    ours, expected = params_of(model).values(), params_of(like).values()
    for value, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-9)


MAKERS = [Affine, Forward, Extended]


@pytest.mark.parametrize("together", [True, False], ids=["backprop", "finish_update"])
@pytest.mark.parametrize("nested", [cb.chain, Outer])
@pytest.mark.parametrize("make", MAKERS)
def test_subclass_trains_as_linear_does(make: Any, nested: Any, together: bool) -> None:
    model, like = whole(make, nested), whole(cb.Linear)
    assert_same_weights(model, like)
    # Each finish_update of an Extended clips its own gradients, so it is compared without.
    clip = 0.0 if make is Extended else 0.1
    sgd, sgd_like = (cb.Adam(lambda t: 0.1 / (1 + t), grad_clip=clip) for _ in range(2))
    train(model, X, TARGET, sgd, 5, together)
    train(like, X, TARGET, sgd_like, 5, together)
    assert sgd.step == sgd_like.step == 5
    assert_same_weights(model, like)
    np.testing.assert_allclose(model.predict(X), like.predict(X), rtol=1e-9)


@pytest.mark.parametrize("make", MAKERS)
def test_subclass_alone(make: Any) -> None:
    model = make(2).initialize(X, rng=1, dtype="float64")
    like = cb.Linear(2).initialize(X, rng=1, dtype="float64")
    assert_same_weights(model, like)
    for together in (True, False):
        train(model, X, TARGET, cb.SGD(0.1, grad_clip=0), 3, together)
        train(like, X, TARGET, cb.SGD(0.1, grad_clip=0), 3, together)
    assert_same_weights(model, like)
    loaded = make(2).from_bytes(model.to_bytes())
    assert np.array_equal(loaded.predict(X), model(X))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("around", [
    cb.residual, lambda m: m | cb.noop(), lambda m: m + cb.noop(), cb.checkpointed, cb.with_cpu,
    lambda m: m ** 2, lambda m: cb.with_threads(m, 2), lambda m: cb.highway(m, m),
    lambda m: cb.gated(m, cb.relu()), lambda m: cb.with_nvtx_range(m),
])  # fmt: skip
def test_subclass_in_a_combinator(make: Any, around: Any) -> None:
    def result(layer: Any) -> list[Any]:
        model = around(layer).initialize(X, rng=1, dtype="float64")
        Y, backprop = model.begin_update(X, drop=0.5, rng=2)
        dX = backprop(Y)
        grads = [node.get_grad(name) for node in model.walk() for name in node.param_names]
        return [Y, dX, *grads, model.predict(X)]

    for value, expected in zip(result(make(5)), result(cb.Linear(5)), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-9)


def test_own_methods_are_called_by_an_outer_model(strict: Any) -> None:
    layer = Extended(3)
    model = (cb.Linear(3, 5) >> cb.residual(layer)).initialize(X, dtype="float64")
    assert layer.calls[0] == "initialize"
    assert "initialize" not in layer.calls[1:]
    layer.calls.clear()
    model.predict(X)
    train(model >> cb.Linear(2, 3).initialize(dtype="float64"), X, TARGET, cb.Adam(0.1), 1)
    with model.use_params(model.averages):
        pass
    assert layer.calls == ["predict", "finish_update", "use_params"]
    layer.calls.clear()
    model.from_bytes(model.to_bytes())
    # Loading saves the old state first, for the case of an error.
    assert layer.calls == ["to_bytes", "to_bytes", "from_bytes"]
    layer.calls.clear()
    model.resize_output(4)
    assert layer.calls == ["resize_input", "resize_output"]
    model.to_gpu()
    model.to_cpu()
    assert layer.calls[2:] == ["to_gpu", "to_cpu"]
    assert model.predict(X).shape == (6, 4)


def test_topmost_layer_answers_for_those_below() -> None:
    class Loud(Outer):
        def to_bytes(self, **exclude: bool) -> bytes:
            return b"loud" + super().to_bytes(**exclude)

        def from_bytes(self, data: bytes, **exclude: bool) -> Any:
            return super().from_bytes(data[4:], **exclude)

    def make() -> Any:
        return (Loud(cb.Linear(3, 5), Extended(2, 3)) >> cb.noop()).initialize(dtype="float64")

    model, loaded = make(), make()
    train(model, X, TARGET, cb.SGD(0.1))
    assert np.array_equal(loaded.from_bytes(model.to_bytes()).predict(X), model.predict(X))
    assert b"loud" in model.to_bytes()


def test_fields_of_a_subclass_are_copied_and_pickled() -> None:
    model = Fields(cb.Linear(2, 5)).initialize(dtype="float64")
    copy = (model >> cb.noop()).copy()[0]
    copy.table[0] = 9
    assert model.table[0] == 1
    assert copy.inner is copy.layers[0] is not model.inner
    assert copy.predict(X)[0, 0] == 9 * model.predict(X)[0, 0]


class Fields(cb.Model[Any, Any]):
    """A layer with arrays and a sublayer as attributes."""

    def __init__(self, inner: Any) -> None:
        super().__init__(layers=[inner])
        self.table, self.inner = np.ones(1), inner

    def begin_update(self, X: Any, drop: float = 0.0) -> Any:  # type: ignore[override]
        Y, backprop = self.inner.begin_update(X, drop)
        table = self.table.copy()
        return Y * table, lambda dY, sgd=None: backprop(dY * table, sgd)


def test_passes_of_sublayers_belong_to_the_pass_of_the_outer_model() -> None:
    # Dropout draws from the generator of the outer pass; a prediction inside a pass has none.
    dropped = Outer(cb.Dropout(0.5), cb.Linear(5, 5)).initialize(dtype="float64")
    like = (cb.Dropout(0.5) >> cb.Linear(5, 5)).initialize(dtype="float64")
    like[1].set_param("W", dropped[1].get_param("W"))
    Y, _ = (dropped >> cb.noop()).begin_update(X, rng=4)
    assert np.array_equal(Y, (like >> cb.noop()).begin_update(X, rng=4)[0])
    assert np.array_equal((dropped >> cb.noop()).predict(X), like.predict(X))


def test_super_begin_update_runs_the_forward_function() -> None:
    class Doubled(cb.Model[Any, Any]):
        def begin_update(self, X: Any, drop: float = 0.0) -> Any:  # type: ignore[override]
            Y, backprop = super().begin_update(X, drop)
            return 2 * Y, lambda dY, sgd=None: backprop(2 * dY, sgd)

    model = Doubled("doubled", lambda model, X, run: (np.maximum(X, 0), lambda dY: dY * (X > 0)))
    for each in (model, cb.chain(model)):
        Y, backprop = each.begin_update(X)
        assert np.array_equal(Y, 2 * np.maximum(X, 0))
        assert np.array_equal(backprop(X), 2 * X * (X > 0))
        assert np.array_equal(each.predict(X), Y)
    with raises(StateError, "nothing", "super().begin_update"):
        Doubled("nothing").begin_update(X)


def test_updates_between_the_passes_of_checkpointed_do_not_change_its_gradients() -> None:
    def gradient(make: Any) -> Any:
        model = cb.checkpointed(make(5)).initialize(X, rng=1, dtype="float64")
        first, second = model.begin_update(X), model.begin_update(X)
        second[1](X, cb.SGD(0.5))
        return first[1](X)

    np.testing.assert_allclose(gradient(Affine), gradient(cb.Linear), rtol=1e-9)


def test_failed_initialization_leaves_a_subclass_without_weights() -> None:
    layer = Extended(3)
    with raises(InputError, "chain >> embed"):
        (layer >> cb.Embed(2, 10)).initialize(X)
    assert layer.has_dim("nI") is None
    assert layer.has_param("W") is None


def test_weights_of_two_subclasses_are_drawn_from_one_generator() -> None:
    model = (Extended(5) >> Extended(5)).initialize(X, rng=1)
    assert not np.array_equal(model[0].get_param("W"), model[1].get_param("W"))
    assert {layer.dtype.name for layer in model} == {"float32"}


# -- errors --------------------------------------------------------------------------------------


def test_model_without_a_forward_function_is_refused() -> None:
    class Empty(cb.Model[Any, Any]):
        pass

    with raises(InputError, "empty", "forward function", "begin_update"):
        Empty()


def test_subclass_that_does_not_call_super_init_is_named() -> None:
    class Incomplete(cb.Model[Any, Any]):
        def __init__(self) -> None:
            self.scale = 2

    with raises(InputError, "chain", "Incomplete", "super().__init__"):
        cb.relu() >> Incomplete()


def test_error_in_a_subclass_has_one_path() -> None:
    model = cb.relu() >> cb.residual(Outer(cb.Linear(4, 5), cb.Linear(5, 4)))
    with raises(DimensionError, "chain >> residual >> chain >> linear[0]") as caught:
        model.initialize(dtype="float64").predict(X[:, :3])
    assert [layer.name for layer in caught.value.path].count("chain") == 2


def test_wrong_gradient_of_a_sublayer_has_a_path() -> None:
    class Wrong(Affine):
        def begin_update(self, X: Any, drop: float = 0.0) -> Any:
            Y, backprop = super().begin_update(X, drop)
            return Y, lambda dY: backprop(dY)[:2]

    model = Outer(cb.residual(Wrong(5, 5))) >> cb.noop()
    Y, backprop = model.initialize(dtype="float64").begin_update(X)
    words = ["Wrong.begin_update", "dX like X", "(6, 5)", "(2, 5)"]
    with raises(DimensionError, *words, "chain >> chain >> residual >> linear"):
        backprop(Y)


def test_bytes_that_a_subclass_cannot_load() -> None:
    class Strict(Affine):
        def from_bytes(self, data: bytes, **exclude: bool) -> Any:
            raise KeyError("weights")

    model = cb.relu() >> Strict(2, 5)
    with raises(FormatError, "chain >> linear", "Strict.from_bytes", "KeyError"):
        model.from_bytes((cb.relu() >> Extended(2, 5)).initialize().to_bytes())


def test_inc_grad_names_what_is_wrong() -> None:
    layer = Affine(2, 5).initialize()
    with raises(DimensionError, "linear", "(2, 5)", "(2,)"):
        layer.inc_grad("W", np.zeros(2, "float32"))
    with raises(StateError, "linear", "E"):
        layer.inc_grad("E", np.zeros(2, "float32"))
