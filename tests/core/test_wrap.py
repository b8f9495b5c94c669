"""wrap: objects that follow the Model API as layers. Affine must compute what Linear computes."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet import DeviceError, DimensionError, FormatError, InputError, StateError
from helpers.errors import raises
from helpers.models import params_of, train
from helpers.objects import Affine, Doubled, linear_like

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 5))
TARGET = RNG.normal(size=(6, 2))


def around(middle: Any) -> Any:
    """A model with layers before and behind."""
    return (cb.Linear(3, 5) >> middle >> cb.relu() >> cb.Linear(2)).initialize(
        X, TARGET, rng=1, dtype="float64"
    )


def pair() -> tuple[Any, Any, Affine]:
    """Two models that compute the same: one with an object, one with a Linear in its place."""
    obj = Affine(4, 3)
    return around(obj), around(linear_like(obj)), obj


# -- passes --------------------------------------------------------------------------------------


def test_object_in_a_chain_computes_what_linear_computes() -> None:
    model, like, _ = pair()
    Y, backprop = model.begin_update(X)
    Y_like, backprop_like = like.begin_update(X)
    np.testing.assert_allclose(Y, Y_like, rtol=1e-12)
    np.testing.assert_allclose(backprop(Y), backprop_like(Y_like), rtol=1e-12)
    np.testing.assert_allclose(model.predict(X), like.predict(X), rtol=1e-12)


@pytest.mark.parametrize("together", [True, False], ids=["backprop", "finish_update"])
@pytest.mark.parametrize("sgd", [
    lambda: cb.Adam(0.01, grad_clip=0), lambda: cb.SGD(lambda t: 0.1 / (1 + t), grad_clip=0),
    lambda: cb.Lookahead(cb.Adam(0.01, grad_clip=0), k=2),
    lambda: cb.Adafactor(0.01, grad_clip=0),
], ids=["Adam", "SGD", "Lookahead", "Adafactor"])  # fmt: skip
def test_object_is_updated_as_linear_is(sgd: Callable[[], Any], together: bool) -> None:
    (model, like, obj), optimizer, optimizer_like = pair(), sgd(), sgd()
    train(model, X, TARGET, optimizer, 5, together)
    train(like, X, TARGET, optimizer_like, 5, together)
    assert optimizer.step == optimizer_like.step == 5
    np.testing.assert_allclose(obj.W, like[1].get_param("W"), rtol=1e-9)
    np.testing.assert_allclose(obj.b, like[1].get_param("b"), rtol=1e-9)


def test_begin_update_receives_the_dropout_rate_and_a_prediction_none() -> None:
    obj = Affine(5, 5)
    model = cb.residual(obj)
    model.begin_update(X, drop=0.25)
    model.predict(X)
    assert obj.calls == ["begin_update 0.25", "begin_update 0.0"]


def test_predict_of_the_object_is_used_for_predictions() -> None:
    class Other(Affine):
        def predict(self, X: Any) -> Any:
            return X @ self.W.T + self.b + 1

    obj = Other(4, 5)
    model = cb.wrap(obj) >> cb.noop()
    np.testing.assert_allclose(model.predict(X), model.begin_update(X)[0] + 1)


def test_object_without_finish_update_is_updated_in_its_backprop() -> None:
    class Old:
        def __init__(self) -> None:
            self.w = np.array([2.0])

        def begin_update(self, X: Any, drop: float = 0.0) -> Any:
            def backprop(dY: Any, sgd: Any = None) -> Any:
                if sgd is not None:
                    self.w, _ = sgd(("old", "w"), self.w, np.array([(dY * X).sum()]))
                return dY * self.w

            return X * self.w, backprop

    obj = Old()
    model = cb.with_threads(cb.wrap(obj), 2) >> cb.noop()
    ones = np.ones((2, 1))
    _, backprop = model.begin_update(ones[:1])
    backprop(ones[:1], cb.SGD(0.5, grad_clip=0))
    assert obj.w == 1.5
    _, backprop = model.begin_update(ones)
    backprop(ones)
    with raises(StateError, "old", "Old.finish_update"):
        model.finish_update(cb.SGD(0.5))


def test_object_without_state_needs_no_other_method() -> None:
    model = around(Doubled())
    train(model, X, TARGET, cb.SGD(0.01), together=False)
    loaded = around(Doubled()).from_bytes(model.to_bytes())
    assert np.array_equal(loaded.predict(X), model.predict(X))


@pytest.mark.parametrize("make", [
    lambda obj: obj >> cb.relu(), lambda obj: cb.relu() >> obj, lambda obj: obj | cb.relu(),
    lambda obj: cb.relu() | obj, lambda obj: obj + cb.relu(), cb.residual, cb.with_cpu,
    lambda obj: cb.clone(obj, 2), cb.with_nvtx_range, lambda obj: cb.highway(obj, obj),
], ids=[">>", "r>>", "|", "r|", "+", "residual", "cpu", "clone", "nvtx", "two"])  # fmt: skip
def test_combinators_wrap_objects(make: Callable[[Any], Any]) -> None:
    obj = Affine(5, 5)
    model, like = make(obj), make(linear_like(obj))
    np.testing.assert_allclose(model.predict(X), like.predict(X), rtol=1e-12)


def test_the_same_object_in_two_places_is_one_layer() -> None:
    obj = Affine(5, 5)
    model = cb.residual(obj) >> obj
    assert model[0][0] is model[1] is cb.wrap(obj)
    layer = linear_like(obj)
    like = cb.residual(layer) >> layer
    target = RNG.normal(size=(6, 5))
    sgd, sgd_like = cb.Adam(0.01, grad_clip=0), cb.Adam(0.01, grad_clip=0)
    for each, optimizer in ((model, sgd), (like, sgd_like)):
        Y, backprop = each.begin_update(X)
        backprop(Y - target, optimizer)
    np.testing.assert_allclose(obj.W, layer.get_param("W"), rtol=1e-12)
    assert obj.calls.count("finish_update") == 1


def test_passes_can_be_interleaved_and_run_in_threads() -> None:
    model, _, obj = pair()
    first, second = model.begin_update(X), model.begin_update(2 * X)
    expected = second[1](TARGET), first[1](TARGET)
    total = obj.dW
    results: dict[int, Any] = {}
    obj.dW = np.zeros_like(obj.dW)

    def work(i: int) -> None:
        results[i] = model.begin_update((2 - i) * X)[1](TARGET)

    threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
    for thread in threads:
        thread.start()
        thread.join()
    assert np.array_equal(results[0], expected[0])
    assert np.array_equal(results[1], expected[1])
    np.testing.assert_allclose(obj.dW, total, rtol=1e-12)


# -- sizes ---------------------------------------------------------------------------------------


def test_sizes_come_from_the_object_or_the_arguments() -> None:
    class Sized(Doubled):
        def get_dim(self, name: str) -> int:
            if name == "nI":
                raise KeyError(name)
            return 3

    layer = cb.wrap(Affine(4, 3))
    assert (layer.get_dim("nO"), layer.get_dim("nI")) == (4, 3)
    assert cb.wrap(Sized()).maybe_get_dim("nO") == 3
    assert cb.wrap(Doubled(), nI=2, nO=5).get_dim("nO") == 5
    with raises(DimensionError, "affine", "nI=3", 7):
        cb.wrap(Affine(4, 3), nI=7)
    with raises(DimensionError, "affine"):
        cb.Linear(2) >> Affine(4, 3)


def test_initialize_reaches_the_object_once_with_its_own_input() -> None:
    obj = Affine(4)
    model = around(obj)
    assert obj.W.shape == (4, 3)
    assert obj.calls.count("initialize") == 1
    assert model[1].get_dim("nI") == 3
    assert model[3].get_dim("nI") == 4


def test_resizing_reaches_the_object() -> None:
    obj = Affine(4, 3)
    model = (cb.Linear(3, 5) >> obj).initialize(dtype="float64")
    before = model.predict(X)
    model.resize_output(6)
    assert obj.W.shape == (6, 3)
    assert np.array_equal(model.predict(X), np.hstack([before, np.zeros((6, 2))]))
    (obj >> cb.noop()).resize_input(2)
    assert obj.W.shape == (6, 2)


def test_object_without_resize_output_is_named_when_it_is_needed() -> None:
    model = cb.relu() >> cb.wrap(Doubled(), nI=3, nO=3)
    with raises(StateError, "doubled", "Doubled.resize_output"):
        model.resize_output(4)
    assert model.get_dim("nO") == 3


# -- weights -------------------------------------------------------------------------------------


def test_use_params_reaches_the_object_by_its_own_keys() -> None:
    (model, like, obj), sgd, sgd_like = pair(), cb.Adam(0.1, grad_clip=0), cb.Adam(0.1, grad_clip=0)
    train(model, X, TARGET, sgd)
    train(like, X, TARGET, sgd_like)
    trained = obj.W
    with model.use_params(sgd.averages), like.use_params(sgd_like.averages):
        np.testing.assert_allclose(model.predict(X), like.predict(X), rtol=1e-9)
        assert not np.array_equal(obj.W, trained)
    assert obj.W is trained
    with model.use_params({("affine", "W"): np.zeros((4, 3))}):
        assert not obj.W.any()


def test_copy_has_an_object_of_its_own() -> None:
    model, _, obj = pair()
    copy = model.copy()
    train(copy, X, TARGET, cb.SGD(0.1))
    assert copy[1].attrs["object"] is not obj
    assert not np.array_equal(copy[1].attrs["object"].W, obj.W)
    assert cb.wrap(copy[1].attrs["object"]) is copy[1]


# -- saving --------------------------------------------------------------------------------------


def test_bytes_of_the_object_travel_in_the_file(tmp_path: Any) -> None:
    model, _, _ = pair()
    train(model, X, TARGET, cb.Adam(0.01))
    model.to_disk(tmp_path / "model.bin")
    loaded = around(Affine(4)).from_disk(tmp_path / "model.bin")
    assert np.array_equal(loaded.predict(X), model.predict(X))


def test_training_resumes_exactly() -> None:
    model, _, obj = pair()
    sgd = cb.Adam(lambda t: 0.01 / (1 + t))
    train(model, X, TARGET, sgd)
    data, state = model.to_bytes(), sgd.to_bytes(model)
    train(model, X, TARGET, sgd)
    other = Affine(4)
    resumed = around(other).from_bytes(data)
    again = cb.Adam(lambda t: 0.01 / (1 + t)).from_bytes(state, resumed)
    train(resumed, X, TARGET, again)
    assert np.array_equal(other.W, obj.W)
    assert np.array_equal(resumed.predict(X), model.predict(X))
    key = ("affine", "W")
    assert np.array_equal(again.averages[key], sgd.averages[key])


def test_object_that_saves_to_files_only(tmp_path: Any) -> None:
    class OnDisk(Doubled):
        def __init__(self, text: str) -> None:
            self.text = text

        def to_disk(self, path: Any, **exclude: bool) -> None:
            path = tmp_path.__class__(path)
            (path / "inner").mkdir(parents=True)
            (path / "inner" / "a.txt").write_text(self.text)
            (path / "b.txt").write_text("b")

        def from_disk(self, path: Any, **exclude: bool) -> None:
            assert (tmp_path.__class__(path) / "b.txt").read_text() == "b"
            self.text = (tmp_path.__class__(path) / "inner" / "a.txt").read_text()

    data = (cb.relu() >> OnDisk("words")).to_bytes()
    other = OnDisk("")
    (cb.relu() >> other).from_bytes(data)
    assert other.text == "words"


def test_exclusions_reach_the_object_or_leave_it_out() -> None:
    model, _, obj = pair()
    kept = obj.W
    with raises(FormatError, "chain >> affine", "Affine.from_bytes", "KeyError"):
        model.from_bytes(model.to_bytes(params=False), params=False)
    assert np.array_equal(obj.W, kept)
    kept = obj.W
    model.from_bytes(model.to_bytes(objects=False), objects=False)
    assert obj.W is kept
    with raises(FormatError, "chain >> affine", "object"):
        model.from_bytes(model.to_bytes(objects=False))


def test_object_with_state_but_without_to_bytes_is_named_when_it_is_saved() -> None:
    class Scale(Doubled):
        def __init__(self) -> None:
            self.scale = 3.0

    model = cb.relu() >> Scale()
    with raises(FormatError, "scale", "Scale.to_bytes", "objects=False"):
        model.to_bytes()
    assert model.to_bytes(objects=False)


def test_error_in_from_bytes_leaves_all_objects_and_weights_unchanged() -> None:
    class Broken(Affine):
        def from_bytes(self, data: bytes, **exclude: bool) -> None:
            self.W = None
            raise ValueError("torn")

    model = around(Affine(4)) >> Affine(2, 2)
    first, last = Affine(4), Broken(2, 2)
    other = around(first) >> cb.wrap(last, name="affine")
    train(other, X, TARGET, cb.SGD(0.01))
    before, W = params_of(other), first.W
    with raises(FormatError, "Broken.from_bytes", "ValueError: torn"):
        other.from_bytes(model.to_bytes())
    assert np.array_equal(first.W, W)
    assert all(np.array_equal(value, before[name]) for name, value in params_of(other).items())


def test_object_in_the_settings_of_a_layer_is_saved_and_copied() -> None:
    def forward(model: Any, X: Any, run: Any) -> Any:
        return X * model.attrs["scaler"].W[0, 0], lambda dY: dY * model.attrs["scaler"].W[0, 0]

    def layer() -> Any:
        return cb.Model("scaled", forward, attrs={"scaler": Affine(1, 1)})

    model, loaded = layer(), layer()
    model.attrs["scaler"].W = np.array([[5.0]])
    assert loaded.from_bytes(model.to_bytes()).predict(X)[0, 0] == 5 * X[0, 0]
    copy = model.copy()
    copy.attrs["scaler"].W[:] = 1
    assert model.attrs["scaler"].W == 5


# -- devices -------------------------------------------------------------------------------------


def test_object_moves_with_the_model(strict: Any) -> None:
    model, _, obj = pair()
    before = model.predict(X)
    model.to_gpu(1)
    Y = model.predict(model.ops.asarray(X))
    np.testing.assert_allclose(Y.get(), before, rtol=1e-12)
    model.to_cpu()
    assert obj.calls[-1] == "to_cpu"
    assert "to_gpu 1" in obj.calls
    np.testing.assert_allclose(model.predict(X), before, rtol=1e-12)


def test_object_without_to_gpu_stays_with_the_model_where_they_are(strict: Any) -> None:
    obj = Doubled()
    obj.__dict__["scale"] = 2
    model = around(obj)
    with raises(DeviceError, "doubled", "Doubled.to_gpu", "with_cpu"):
        model.to_gpu()
    assert {layer.ops.device for layer in model.walk()} == {-1}
    pinned = around(cb.with_cpu(cb.wrap(obj)))
    before = pinned.predict(X)
    pinned.to_gpu()
    np.testing.assert_allclose(pinned.predict(pinned.ops.asarray(X)).get(), before)


# -- broken promises -----------------------------------------------------------------------------


class Liar(Doubled):
    """Doubled with another begin_update."""

    def __init__(self, begin: Callable[[Any], Any]) -> None:
        self.begin = begin

    def begin_update(self, X: Any, drop: float = 0.0) -> Any:
        return self.begin(X)


def changes(batch: Any) -> Any:
    batch[0, 0] += 1
    return batch


@pytest.mark.parametrize(("begin", "words"), [
    (lambda X: X, ["begin_update", "(Y, backprop)", "float64 array (6, 3)"]),
    (lambda X: (X, 3), ["(Y, backprop)", "tuple of 2"]),
    (lambda X: [X, lambda dY: dY], ["(Y, backprop)", "list of 2"]),
    (lambda X: (changes(X), lambda dY: dY), ["begin_update", "X unchanged"]),
])  # fmt: skip
def test_broken_promise_of_begin_update_is_named(begin: Any, words: list[str]) -> None:
    model = (cb.Linear(3, 5) >> cb.residual(Liar(begin))).initialize(dtype="float64")
    with raises(InputError, "liar", "Liar.begin_update", *words, "chain >> residual >> liar"):
        model.begin_update(X)


@pytest.mark.parametrize(("backprop", "error", "words"), [
    (lambda dY: dY[:, :2], DimensionError, ["dX like X", "(6, 3)", "(6, 2)"]),
    (lambda dY: "gradient", InputError, ["dX like X", "str"]),
    (lambda dY: changes(dY), InputError, ["dY unchanged"]),
    (lambda dY: dY > 0, InputError, ["dX like X", "bool array (6, 3)"]),
])  # fmt: skip
def test_broken_promise_of_backprop_is_named(backprop: Any, error: Any, words: list[str]) -> None:
    model = (cb.Linear(3, 5) >> cb.residual(Liar(lambda X: (X, backprop)))).initialize(
        dtype="float64"
    )
    Y, callback = model.begin_update(X)
    with raises(error, "Liar.begin_update", *words, "chain >> residual >> liar"):
        callback(np.ones_like(Y))


def test_promises_about_numbers_are_not_checked_without_data_validation() -> None:
    layer = cb.wrap(Liar(lambda X: (changes(X), lambda dY: dY)))
    with cb.data_validation(False):
        layer.begin_update(X.copy())


def test_no_gradient_of_the_input_is_allowed() -> None:
    Y, backprop = (Liar(lambda X: (X, lambda dY: None)) >> cb.relu()).begin_update(X)
    assert backprop(Y) is None


@pytest.mark.parametrize("value", [3, Affine, "text", object()])
def test_wrap_refuses_what_does_not_follow_the_model_api(value: Any) -> None:
    with raises(InputError, "wrap", "begin_update(X, drop=0.0)"):
        cb.wrap(value)


def test_wrap_returns_models_unchanged_and_refuses_a_second_name() -> None:
    layer, obj = cb.relu(), Doubled()
    assert cb.wrap(layer) is layer
    named = cb.wrap(obj, name="twice")
    assert named.name == "twice"
    assert cb.wrap(obj) is named
    with raises(InputError, "twice", "thrice"):
        cb.wrap(obj, name="thrice")
