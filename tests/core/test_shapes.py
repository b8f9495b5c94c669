"""Shape rules and inference: cost, cached results, invalid samples."""

import pickle
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet import DimensionError, InputError
from combinet.core.shape_inference import ShapeInference
from combinet.shapes import fixed
from helpers.errors import raises
from helpers.models import params_of

DEPTHS = (4, 8, 16, 32, 64)


class Visits:
    """Counts the calls of shape rules, including those answered from the cache."""

    def __init__(self) -> None:
        self.count = 0

    def of(self, function: Callable[..., Any], *args: Any) -> tuple[Any, int]:
        """Returns the function's result and the number of calls that it made."""
        before = self.count
        return function(*args), self.count - before


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> Iterator[Visits]:
    counter, ask = Visits(), ShapeInference.__call__

    def counted(self: ShapeInference, *args: Any) -> Any:
        counter.count += 1
        return ask(self, *args)

    monkeypatch.setattr(ShapeInference, "__call__", counted)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(2 * limit)  # counting needs additional stack frames
    yield counter
    sys.setrecursionlimit(limit)


def known() -> Any:
    return cb.Linear(3, 3)


def inferred() -> Any:
    return cb.Linear(3)


# Each entry wraps a model from 3 to 3 columns in one more level, with layers made by `make`.
NESTS: dict[str, Callable[[Any, Any], Any]] = {
    "residual": lambda model, make: cb.residual(model >> make()),
    "add": lambda model, make: model + make(),
    "add-right": lambda model, make: make() + model,
    "concatenate": lambda model, make: cb.residual((model | make()) >> cb.Linear(3)),
    "concatenate-right": lambda model, make: cb.with_array((make() | model) >> cb.Linear(3)),
    "highway": lambda model, make: cb.highway(model, make()),
    "gated": lambda model, make: cb.gated(make(), model),
    "with_array": lambda model, make: cb.with_array(model >> make()),
    "with_array-right": lambda model, make: cb.with_array(make() >> model),
    "with_getitem": lambda model, make: (
        cb.tuplify(cb.noop(), model) >> cb.with_getitem(0, make()) >> cb.tuple_getitem(1)
    ),
    "bidirectional": lambda model, make: (
        cb.with_padded(cb.bidirectional(cb.with_array(model), cb.with_array(make())))
        >> cb.with_array(cb.Linear(3))
    ),
    "u-net": lambda model, make: make() >> (cb.noop() | model) >> cb.Linear(3),
    "without-dims": lambda model, make: cb.residual(cb.relu() >> model),
}


def nested(name: str, make: Any, depth: int) -> Any:
    model = cb.relu() if name == "without-dims" else known()
    for _ in range(depth):
        model = NESTS[name](model, make)
    return model


@pytest.mark.parametrize("make", [known, inferred])
@pytest.mark.parametrize("name", NESTS)
def test_cost_of_composing_and_resizing_is_linear_in_depth(
    name: str, make: Any, visits: Visits
) -> None:
    for depth in DEPTHS:
        model, composing = visits.of(nested, name, make, depth)
        layers = len(list(model.walk()))
        assert composing <= 8 * layers
        resizable = model if name != "without-dims" else known() >> model
        model = cb.with_array(known()) >> nested(name, make, depth)
        assert visits.of(model.maybe_get_dim, "nO")[1] <= 15 * layers
        assert visits.of(model.initialize)[1] <= 20 * layers
        assert visits.of(resizable.resize_output, 4)[1] <= 80 * layers
        assert visits.of(resizable.resize_input, 5)[1] <= 80 * layers


@pytest.mark.parametrize("name", ["residual", "u-net", "with_array-right", "add-right"])
def test_cost_of_inference_from_both_ends_is_linear_in_depth(name: str, visits: Visits) -> None:
    for depth in DEPTHS:
        model = cb.Linear(3, 3) >> nested(name, inferred, depth) >> cb.Linear() >> cb.LayerNorm(4)
        assert visits.of(model.initialize)[1] <= 20 * len(list(model.walk()))
        assert None not in [size for node in model.walk() for size in node.dims.values()]


@pytest.mark.parametrize("name", ["residual", "u-net", "with_array-right"])
def test_cost_of_inference_by_a_pass_is_linear_in_depth(name: str, visits: Visits) -> None:
    X = np.ones((2, 3), "float32")
    for depth in DEPTHS[:4]:  # a pass needs more of Python's stack
        model = cb.layerize(_same) >> nested(name, inferred, depth)
        assert visits.of(model.initialize, X)[1] <= 40 * len(list(model.walk()))


def _same(X: Any) -> Any:
    return X, lambda dY: dY


@pytest.mark.parametrize("symbol", [">>", "|", "+"])
@pytest.mark.parametrize("make", [known, inferred, cb.relu])
@pytest.mark.parametrize("right", [False, True])
def test_composing_layers_one_at_a_time_takes_linear_time(
    symbol: str, make: Any, right: bool, visits: Visits
) -> None:
    compose = {">>": cb.chain, "|": cb.concatenate, "+": cb.add}[symbol]
    began = time.process_time()
    model = make()
    for _ in range(2000):
        model = compose(make(), model) if right else compose(model, make())
    assert visits.count <= 20 * 2000
    limit = 1 if sys.gettrace() is None else 5  # coverage tracing is slower
    assert time.process_time() - began < limit
    if symbol != "+":
        assert len(model.layers) == 2001


def test_paths_take_linear_time_in_the_number_of_children() -> None:
    model = cb.chain(*[cb.relu() for _ in range(20_000)])
    assert list(model.paths())[:2] == ["chain", "chain >> relu[0]"]
    assert len(model.paths()) == 20_001


def test_repr_of_a_deep_model_does_not_exceed_the_stack() -> None:
    model: Any = cb.relu()
    for _ in range(3000):
        model = model + cb.relu()
    assert len(repr(model).splitlines()) == 6001


# -- cached results are never stale ----------------------------------------------------------------


def test_set_dim_affects_the_next_composition() -> None:
    inner = cb.Linear()
    model = cb.residual(cb.relu() >> inner)
    inner.set_dim("nO", 4)
    with raises(DimensionError, "linear", "nO=4"):
        model >> cb.Linear(2, 5)
    inner.dims["nI"] = 4
    model >> cb.Linear(2, 4)


def test_resize_affects_the_next_composition() -> None:
    model = (cb.Linear(4, 3) >> cb.relu()).initialize()
    model.resize_output(6)
    model >> cb.Linear(2, 6)
    with raises(DimensionError, "nO=6"):
        model >> cb.Linear(2, 4)


def test_changed_window_size_affects_the_next_composition() -> None:
    window = cb.expand_window(1)
    model = cb.Linear(2, 3) >> window
    window.attrs["window_size"] = 2
    model >> cb.Linear(1, 10)
    with raises(DimensionError, "expand_window", 5):
        model >> cb.Linear(1, 6)


def test_copies_and_pickles_have_independent_caches() -> None:
    model = cb.residual(cb.Linear(3, 3) >> cb.relu()).initialize()
    for twin in (model.copy(), pickle.loads(pickle.dumps(model))):
        twin.resize_output(4)
        twin >> cb.Linear(1, 4)
        model >> cb.Linear(1, 3)
        with raises(DimensionError, "linear", "nI=4"):
            twin >> cb.Linear(1, 3)


def test_width_of_a_shared_layer_applies_in_all_places() -> None:
    shared = cb.Linear(4)
    model = cb.Linear(5, 3) >> shared
    with raises(DimensionError, "linear", "nI=5"):
        model >> cb.Linear(7, 4) >> shared


def test_shared_block_without_dims_may_have_different_widths() -> None:
    block = cb.residual(cb.relu())
    model = cb.Linear(3, 2) >> block >> cb.Linear(5, 3) >> block
    with raises(DimensionError, "linear", "nO=5", 3):
        model >> cb.Linear(1, 3)
    model >> cb.Linear(1, 5)


def test_fixed_width_is_checked_and_cannot_be_resized() -> None:
    def forward(model: Any, X: Any, run: Any) -> Any:
        return X[:, :2], lambda dY: np.pad(dY, ((0, 0), (0, 1)))

    model: Any = cb.Model("first_two", forward, dims={"nI": 3, "nO": 2}, widths=fixed)
    with raises(DimensionError, "first_two", "nO=2", "linear", 4):
        model >> cb.Linear(1, 4)
    with raises(DimensionError, "first_two", "nI=3"):
        model.resize_input(5)


# -- invalid samples -------------------------------------------------------------------------------

untyped: Any = cb  # without types: pyright would reject some of these
ROWS = np.ones((2, 3), "float32")
REFUSED = {
    "list for array": (lambda: cb.Linear(4, 3) >> cb.relu(), [ROWS], InputError, "linear"),
    "ids for floats": (lambda: cb.Linear(4, 3) >> cb.relu(), np.ones((2, 3), int), InputError,
        "linear"),
    "floats for ids": (lambda: cb.Embed(4, 9) >> cb.Linear(2), ROWS, InputError, "embed"),
    "too wide": (lambda: cb.Linear(4, 3) >> cb.relu(), np.ones((2, 5), "float32"), DimensionError,
        "linear"),
    "too many axes": (lambda: cb.residual(cb.Linear(3, 3)), np.ones((2, 2, 3), "float32"),
        InputError, "residual >> linear"),
    "array for list": (lambda: cb.with_flatten(cb.Linear(4, 3)), ROWS, InputError,
        "with_flatten"),
    "ids in a list": (lambda: cb.with_array(cb.Linear(4, 3)), [np.ones((2, 3), int)], InputError,
        "with_array >> linear"),
    "array for Ragged": (lambda: cb.reduce_sum(), ROWS, InputError, "reduce_sum"),
    "array for Padded": (lambda: cb.bidirectional(cb.noop()), ROWS, InputError, "bidirectional"),
    "no tuple": (lambda: cb.with_getitem(1, cb.Linear(4, 3)), ROWS, InputError, "with_getitem"),
    "ids in a tuple": (lambda: cb.with_getitem(1, cb.Linear(4, 3)), (ROWS, ROWS.astype(int)),
        InputError, "with_getitem >> linear"),
    "in second branch": (lambda: untyped.relu() | untyped.Embed(2, 9), ROWS, InputError, "embed"),
    "in the middle": (lambda: untyped.Linear(4, 3) >> untyped.list2ragged(), ROWS, InputError,
        "list2ragged"),
    "in sparse input": (lambda: cb.SparseLinear(2, 10), (np.ones(3, int), np.ones(3, int),
        np.array([1, 2])), InputError, "sparse_linear"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "X", "error", "path"), REFUSED.values(), ids=REFUSED)
def test_invalid_sample_fails_and_changes_nothing(make: Any, X: Any, error: Any, path: str) -> None:
    model = make()
    dims = [dict(node.dims) for node in model.walk()]
    with pytest.raises(error, match=f"{path}'$"):
        model.initialize(X)
    assert [dict(node.dims) for node in model.walk()] == dims
    assert not params_of(model)


@pytest.mark.parametrize("make", [lambda rows: rows, lambda rows: [*rows.reshape(50, 2, 3)]])
def test_initialize_checks_only_the_first_item_if_dims_are_known(make: Any) -> None:
    seen = []
    layer = cb.layerize(lambda X: (seen.append(len(X)), (X, lambda dY: dY))[1])
    model = layer >> cb.with_array(cb.Linear(4, 3))
    model.initialize(make(np.ones((100, 3))))
    assert seen == [1]


def test_layer_without_a_shape_rule_can_be_shared_in_a_chain() -> None:
    opaque = cb.Model("opaque", lambda model, X, run: (X, lambda dY: dY))
    model = opaque >> cb.relu() >> cb.Linear(2, 3) >> opaque >> cb.relu() >> cb.Linear(4, 2)
    assert (model.get_dim("nO"), model.layers[2].get_dim("nI")) == (4, 3)
