"""Saving and loading: contents, exclusions; a failed load changes nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import combinet as cb
from combinet import CombinetError, DimensionError, FormatError, StateError
from combinet.storage import file_format as fmt
from helpers.errors import raises
from helpers.models import params_of


def build(*, window: int = 1, rate: float = 0.2, classes: int | None = 4) -> Any:
    """An uninitialized model with settings, shared weights and embedding tables."""
    encode = cb.residual(cb.expand_window(window) >> cb.Maxout(6, pieces=2) >> cb.LayerNorm())
    embed = cb.Embed(6, 9)
    return cb.chain(embed, encode, encode, cb.Dropout(rate), cb.Softmax(classes))


X = np.arange(9)


def trained(seed: int = 0, dtype: str = "float32", **options: Any) -> Any:
    model = build(**options).initialize(rng=seed, dtype=dtype)
    optimizer = cb.Adam(0.05)
    for _ in range(2):
        Y, backprop = model.begin_update(X)
        backprop(Y - np.eye(9, Y.shape[1]), optimizer)
    return model


TRAINED = trained()
DATA = TRAINED.to_bytes()


def repacked(change: Callable[[Any], Any], data: bytes = DATA) -> bytes:
    """The bytes of a model after `change` edited its list of layers, with a valid checksum."""
    content = fmt.decode("model", data)
    change(content["nodes"])
    return fmt.encode("model", content)


# -- round trips -------------------------------------------------------------------------------


def test_bytes_load_into_an_uninitialized_model() -> None:
    model = build(classes=None)
    assert model.from_bytes(DATA) is model
    assert np.array_equal(model.predict(X), TRAINED.predict(X))
    assert model.to_bytes() == DATA
    assert model.get_dim("nO") == 4
    assert model.layers[1] is model.layers[2]


def test_loading_bytes_replaces_existing_weights() -> None:
    model = trained(seed=5)
    assert model.from_bytes(DATA).to_bytes() == DATA


def test_to_disk_writes_the_same_bytes_as_to_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model"
    TRAINED.to_disk(str(path))
    assert path.read_bytes() == DATA
    model = build()
    assert model.from_disk(path) is model
    assert model.to_bytes() == DATA


def test_loaded_model_continues_training() -> None:
    one, two = TRAINED.copy(), build().from_bytes(DATA)
    for model in (one, two):
        Y, backprop = model.begin_update(X, rng=np.random.default_rng(0))
        backprop(Y, cb.SGD(0.1))
    assert one.to_bytes() == two.to_bytes()


def test_uninitialized_model_saves_dims_and_settings() -> None:
    model = build(classes=None, rate=0.9).from_bytes(build(rate=0.2).to_bytes())
    assert model.get_dim("nO") == 4
    assert model.layers[3].attrs["rate"] == 0.2
    assert not params_of(model)


def test_float64_weights_load_as_float64() -> None:
    model = trained(dtype="float64")
    loaded = build().from_bytes(model.to_bytes())
    assert np.array_equal(loaded.predict(X), model.predict(X))
    assert loaded.layers[0].dtype == np.float64


def test_saved_bytes_do_not_depend_on_memory_layout() -> None:
    one, two = cb.Linear(2, 3).initialize(), cb.Linear(2, 3).initialize(rng=1)
    two.set_param("W", np.ascontiguousarray(one.get_param("W")))
    assert one.to_bytes() == two.to_bytes()


def test_layers_with_similar_names_have_distinct_paths() -> None:
    model = cb.chain(*(cb.Model(name, cb.relu().forward) for name in ("a", "a", "a[1]", "b")))
    assert [*model.paths()] == [
        "chain", "chain >> a[0]", "chain >> a[1]", "chain >> a[1][2]", "chain >> b"
    ]  # fmt: skip
    assert model.from_bytes(model.to_bytes()) is model


# -- averages ----------------------------------------------------------------------------------


def test_averages_are_saved_and_loaded() -> None:
    model = build().from_bytes(DATA)
    expected = {key[1]: value for key, value in TRAINED.averages.items()}
    assert {key[1] for key in model.averages} == set(expected)
    with TRAINED.use_params(TRAINED.averages):
        averaged = TRAINED.predict(X)
    assert not np.array_equal(averaged, TRAINED.predict(X))
    with model.use_params(model.averages):
        assert np.array_equal(model.predict(X), averaged)


def test_loading_replaces_existing_averages() -> None:
    assert trained(seed=5).from_bytes(DATA).to_bytes() == DATA


def test_loading_without_averages_restarts_them_at_the_weights() -> None:
    model = trained(seed=5).from_bytes(TRAINED.to_bytes(averages=False))
    for (_, name), average in model.averages.items():
        assert any(np.array_equal(average, w) for p, w in params_of(TRAINED).items() if name in p)


# -- exclusions --------------------------------------------------------------------------------


def test_params_can_be_excluded_from_saving() -> None:
    data = TRAINED.to_bytes(params=False)
    assert len(data) < len(DATA) / 2
    model = trained(seed=5)
    before = params_of(model)
    with raises(FormatError, "exclude"):
        model.from_bytes(data)
    model.from_bytes(data, params=False)
    assert all(np.array_equal(before[path], w) for path, w in params_of(model).items())
    assert not params_of(build().from_bytes(data))


def test_params_can_be_excluded_from_loading() -> None:
    model = trained(seed=5, rate=0.7)
    before = params_of(model)
    model.from_bytes(DATA, params=False)
    assert all(np.array_equal(before[path], w) for path, w in params_of(model).items())
    assert model.layers[3].attrs["rate"] == 0.2


def test_attrs_can_be_excluded() -> None:
    for data, exclude in ((DATA, {"attrs": False}), (TRAINED.to_bytes(attrs=False), {})):
        model = build(rate=0.7).from_bytes(data, **exclude)
        assert model.layers[3].attrs["rate"] == 0.7
        assert np.array_equal(model.predict(X), TRAINED.predict(X))


def test_averages_can_be_excluded() -> None:
    for data, exclude in ((DATA, {"averages": False}), (TRAINED.to_bytes(averages=False), {})):
        model = build().from_bytes(data, **exclude)
        assert model.averages == {}
        assert np.array_equal(model.predict(X), TRAINED.predict(X))


def test_excluded_dims_are_inferred_from_the_arrays() -> None:
    for data, exclude in ((DATA, {"dims": False}), (TRAINED.to_bytes(dims=False), {})):
        model = build(classes=None).from_bytes(data, **exclude)
        assert model.to_bytes() == DATA


def test_layer_can_be_excluded_by_its_path() -> None:
    path = "chain >> residual[1]"
    assert path in TRAINED.paths()
    data = TRAINED.to_bytes(**{path: False})
    for source in (data, DATA):
        model = trained(seed=5)
        before, after = params_of(model), params_of(TRAINED)
        model.from_bytes(source, **{path: False})
        for name, weights in params_of(model).items():
            assert np.array_equal(weights, (before if name.startswith(path) else after)[name])


@pytest.mark.parametrize("fresh", [False, True], ids=["initialized", "uninitialized"])
@pytest.mark.parametrize("saved", [{"chain >> softmax": False}, {}], ids=["body", "whole"])
def test_excluded_layer_may_have_different_dims_and_settings(saved: Any, fresh: bool) -> None:
    exclude = {"chain >> softmax": False}
    source = (cb.Relu(3, 4) >> cb.Softmax(2, temperature=2)).initialize(rng=1)
    model = cb.Relu(3, 4) >> cb.Softmax(5)
    head = {} if fresh else params_of(model.initialize().layers[1])
    model.from_bytes(source.to_bytes(**saved), **exclude)
    body, expected = params_of(model.layers[0]), params_of(source.layers[0])
    assert all(np.array_equal(body[path], weights) for path, weights in expected.items())
    assert all(
        np.array_equal(params_of(model.layers[1])[p], weights) for p, weights in head.items()
    )
    assert model.layers[1].attrs["softmax_temperature"] == 1
    assert model.initialize().get_dim("nO") == 5


@pytest.mark.parametrize("exclude", [{"weights": False}, {"chain >> relu": False}])
def test_unknown_exclusions_fail(exclude: Any) -> None:
    for call in (TRAINED.to_bytes, lambda **kw: TRAINED.from_bytes(DATA, **kw)):
        with raises(FormatError, f"'{next(iter(exclude))}'"):
            call(**exclude)


def test_exclusion_with_a_value_other_than_false_fails() -> None:
    with raises(FormatError, "params=True"):
        TRAINED.to_bytes(params=True)


# -- failures, which change nothing ------------------------------------------------------------


def put(*keys: str, value: Any) -> Callable[[Any], Any]:
    """A function that sets one entry, addressed by keys, of the last layer's record."""

    def change(nodes: Any) -> None:
        place = nodes[-1]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def cast(dtype: str) -> Callable[[Any], Any]:
    """A function that casts all parameters and averages to the dtype."""

    def change(nodes: Any) -> None:
        for node in nodes:
            for part in ("params", "averages"):
                node[part] = {name: value.astype(dtype) for name, value in node[part].items()}

    return change


ONES = np.ones(4, "f")
WRONG = {
    "missing-layer": lambda nodes: nodes.pop(),
    "extra-layer": lambda nodes: nodes.append(nodes[-1]),
    "different-name": put("name", value="linear"),
    "missing-name": lambda nodes: nodes[-1].pop("name"),
    "record-is-None": lambda nodes: nodes.append(None),
    "reordered-children": lambda nodes: nodes[0]["layers"].reverse(),
    "missing-parameter": lambda nodes: nodes[-1]["params"].pop("b"),
    "extra-parameter": put("params", "c", value=ONES),
    "extra-average": put("averages", "c", value=ONES),
    "extra-dim": put("dims", "nV", value=3),
    "extra-attr": put("attrs", "colour", value="red"),
    "different-shape": put("params", "W", value=np.ones((6, 4), "f")),
    "different-number-of-axes": put("params", "W", value=ONES),
    "shape-of-average": put("averages", "b", value=ONES[:3]),
    "mixed-dtypes": put("params", "b", value=np.ones(4)),
    "integers": cast("int32"),
    "float16": cast("float16"),
    "array-as-child": lambda nodes: nodes[0]["layers"].__setitem__(0, ONES),
    "child-index-out-of-range": put("layers", value=[99]),
    "list-as-parameter": put("params", "W", value=[1.0]),
    "negative-dim": put("dims", "nO", value=-4),
    "string-as-dims": put("dims", value="nO"),
    "extra-section": put("colours", value={}),
    "renamed-section": lambda nodes: nodes[1].update(parbms=nodes[1].pop("params")),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("fresh", [False, True], ids=["trained", "uninitialized"])
def test_bytes_that_do_not_fit_leave_the_model_unchanged(change: Any, fresh: bool) -> None:
    model = build() if fresh else trained(seed=5)
    before = model.to_bytes()
    with pytest.raises((FormatError, DimensionError)):
        model.from_bytes(repacked(change))
    assert model.to_bytes() == before


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: trained(classes=5), "nO=4 ... nO=5"),
        (lambda: trained(window=2), "nI=18 ... nI=30"),
        (lambda: trained(dtype="float64"), "float32 ... float64"),
        (lambda: cb.Linear(2, 3).initialize(), "'linear' ... 'chain'"),
        (
            lambda: cb.chain(*TRAINED.layers[:3]),
            "'chain' ... ['embed', 'residual', 'residual', 'dropout', 'softmax']",
        ),
        (lambda: TRAINED >> cb.relu(), "'chain' ... 'softmax', 'relu']"),
        (
            lambda: cb.chain(*TRAINED.layers[:3], cb.relu(), TRAINED.layers[4]),
            "'chain' ... 'relu' ... 'dropout'",
        ),
        (
            lambda: cb.chain(*TRAINED.layers[:2], *build().layers[1:2], *TRAINED.layers[3:]),
            "'chain >> dropout' ... 'residual'",
        ),
    ],
)
def test_bytes_of_another_model_fail_and_name_the_difference(other: Any, words: str) -> None:
    model = trained(seed=5)
    before = model.to_bytes()
    with raises(CombinetError, words):
        model.from_bytes(other().to_bytes())
    assert model.to_bytes() == before


def test_loading_parameters_of_width_0_fails() -> None:
    data = cb.Linear(2, 3).initialize().to_bytes(dims=False)
    empty = {"W": np.ones((0, 3), "f"), "b": ONES[:0]}
    model = cb.Linear()
    with raises(DimensionError, "nO=0"):
        model.from_bytes(repacked(put("params", value=empty), data))
    assert model.maybe_get_dim("nI") is None


def settings_of(model: Any, **attrs: Any) -> Any:
    """The bytes of a model with the settings of its first child replaced."""
    return repacked(lambda nodes: nodes[1].update(attrs=attrs), model.to_bytes(params=False))


@pytest.mark.parametrize(
    ("make", "attrs"),
    [
        (lambda: cb.Dropout(0), {"rate": "zzz"}),
        (lambda: cb.Dropout(0.5), {"rate": [0.1]}),
        (lambda: cb.layerize(lambda X: (X, lambda dY: dY)), {"function": 3}),
        (lambda: cb.tuple_getitem(1), {"idx": True}),
        (lambda: cb.MultiSoftmax([1, 1], 2), {"nOs": ["a", "b"]}),
        (lambda: cb.MultiSoftmax([1, 1], 2), {"nOs": np.ones(2, "int32")}),
        *[(cb.expand_window, {"window_size": size}) for size in (-1, 1.5, None, 2)],
    ],
)
def test_invalid_settings_leave_the_model_unchanged(make: Any, attrs: Any) -> None:
    model = make() >> cb.Linear(2, 3 if "window_size" in attrs else 2)
    before = model.layers[0].attrs, model.to_bytes()
    with pytest.raises((FormatError, DimensionError)):
        model.from_bytes(settings_of(model, **attrs), params=False)
    assert (model.layers[0].attrs, model.to_bytes()) == before


@pytest.mark.parametrize(("own", "rate"), [(None, 0.5), (0.5, None), (0.5, 0), (0, 0.5)])
def test_valid_settings_are_loaded(own: Any, rate: Any) -> None:
    model = cb.Dropout(own) >> cb.Linear(2, 2)
    model.from_bytes(settings_of(model, rate=rate))
    assert model.layers[0].attrs == {"rate": rate}


def test_loading_a_window_size_that_contradicts_weights_fails() -> None:
    model = (cb.expand_window(1) >> cb.Linear(2, 3)).initialize()
    before = model.to_bytes()
    with raises(DimensionError, "expand_window"):
        model.from_bytes((cb.expand_window(2) >> cb.Linear(2)).to_bytes(), params=False)
    assert model.to_bytes() == before


def test_loading_fails_if_different_layers_are_shared() -> None:
    a, b = cb.Linear(2, 2), cb.Linear(2, 2)
    one, two = cb.chain(a, b, a).initialize(), cb.chain(b, a, a).initialize()
    with raises(FormatError, "'chain'", "shares"):
        two.from_bytes(one.to_bytes())


@pytest.mark.parametrize(
    "data",
    [b"", b"another format", msgpack.packb({"nodes": []}), DATA[:-1], DATA[:-6], DATA + b"x",
     DATA[:100], "text", None, cb.Adam().to_bytes(TRAINED)],
)  # fmt: skip
def test_loading_invalid_bytes_fails(data: Any) -> None:
    model = trained(seed=5)
    before = model.to_bytes()
    with pytest.raises(FormatError):
        model.from_bytes(data)
    assert model.to_bytes() == before


def test_loading_inside_use_params_fails() -> None:
    model = trained(seed=5)
    with model.use_params(model.averages), raises(StateError, "use_params"):
        model.from_bytes(DATA)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_corrupt_data_with_a_valid_checksum_never_loads_partially(data: Any) -> None:
    body = bytearray(DATA[:-5])
    words = [i for i in range(len(body)) if 32 <= body[i] < 127]  # the positions of names and sizes
    for _ in range(data.draw(st.integers(1, 2))):
        body[data.draw(st.sampled_from(words))] = data.draw(st.integers(0, 255))
    model = build()
    before = model.to_bytes()
    try:
        model.from_bytes(bytes(body) + fmt._checksum(bytes(body)))
    except CombinetError:
        assert model.to_bytes() == before
    else:
        assert len(params_of(model)) in (0, len(params_of(TRAINED)))


# -- files -------------------------------------------------------------------------------------


def test_failed_from_disk_leaves_the_model_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(DATA[:-20])
    model = trained(seed=5)
    before = model.to_bytes()
    with pytest.raises(FormatError):
        model.from_disk(path)
    with pytest.raises(FileNotFoundError):
        model.from_disk(tmp_path / "nowhere")
    assert model.to_bytes() == before
