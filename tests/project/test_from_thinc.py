"""docs/from-thinc.md matches the installed Thinc and combinet's exports and behaviour."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import combinet as cb
from helpers.commands import ROOT

DOC = ROOT / "docs" / "from-thinc.md"
MISSING = "not in combinet"


class Row(NamedTuple):
    name: str
    counterpart: str
    differs: str


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _rows(text: str) -> list[Row]:
    cells = [_cells(line) for line in text.splitlines() if line[:3] == "| `"]
    return [Row(name.strip("`"), ours.strip("`"), differs) for name, ours, differs in cells]


TEXT = DOC.read_text(encoding="utf8")
SECTIONS = {part.split("\n", 1)[0]: part for part in TEXT.split("\n## ")[1:]}
FACTS = ("Behaviour", "Composition", "Defaults, settings and parameters", "Empty batches")
METHODS = _rows(SECTIONS["Methods and attributes of Model"])
OLD = _rows(SECTIONS["Names of Thinc in 2017"])
NAMES = [
    row
    for title, text in SECTIONS.items()
    if title not in (*FACTS, "Errors", "Methods and attributes of Model", "Names of Thinc in 2017")
    for row in _rows(text)
]

# -- tables of names ---------------------------------------------------------------------------


def test_tables_are_parsed_completely() -> None:
    tables = [text for title, text in SECTIONS.items() if title not in (*FACTS, "Errors")]
    lines = [line for text in tables for line in text.splitlines() if line.startswith("|")]
    heads = [line for line in lines if line.startswith(("|---", "| Thinc |"))]
    assert len(NAMES) + len(METHODS) + len(OLD) == len(lines) - len(heads)
    assert len(NAMES) > 100
    assert len(METHODS) > 40
    assert len(OLD) > 5


def test_rows_are_exactly_the_public_names_of_thinc() -> None:
    api = pytest.importorskip("thinc.api")
    names = [row.name for row in NAMES]
    assert sorted(names) == sorted(set(api.__all__))


def test_rows_are_exactly_the_attributes_of_thincs_model() -> None:
    api = pytest.importorskip("thinc.api")
    names = [row.name for row in METHODS]
    assert names == [f"Model.{name}" for name in sorted(dir(api.Model)) if name[0] != "_"]


@pytest.mark.parametrize("row", [*NAMES, *OLD], ids=lambda row: row.name)
def test_counterpart_exists(row: Row) -> None:
    if row.counterpart == MISSING:
        assert row.differs.endswith("."), "a name that is missing has a reason"
        assert not hasattr(cb, row.name), "the row is out of date"
    else:
        found: Any = cb
        for part in row.counterpart.split("."):
            found = getattr(found, part)
        assert row.counterpart.split(".")[0] in cb.__all__
        same = row.name == row.counterpart or row in OLD
        assert same or not hasattr(cb, row.name), "the row is out of date"


@pytest.mark.parametrize("row", METHODS, ids=lambda row: row.name)
def test_counterpart_of_a_method_exists(row: Row) -> None:
    model = cb.Linear(2, 3)
    owner, _, name = row.counterpart.partition(".")
    if row.counterpart == MISSING:
        assert row.differs.endswith(".")
    elif owner == "Model":
        assert hasattr(model, name)
    else:
        assert owner in cb.__all__
        assert not name or hasattr(getattr(cb, owner), name)
    if row.name != row.counterpart:
        assert not hasattr(model, row.name.partition(".")[2]), "the row is out of date"


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`combinet\.(\w+)\.(\w+)`", TEXT))))
def test_names_in_other_modules_exist(name: tuple[str, str]) -> None:
    assert hasattr(importlib.import_module(f"combinet.{name[0]}"), name[1])


def _parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    "row",
    [row for row in [*NAMES, *METHODS] if row.name == row.counterpart and not row.differs],
    ids=lambda row: row.name,
)
def test_arguments_match_if_the_row_names_no_difference(row: Row) -> None:
    found: list[Any] = [pytest.importorskip("thinc.api"), cb]
    for part in row.name.split("."):
        found = [getattr(owner, part, None) for owner in found]
    theirs, ours = found
    if callable(theirs):
        assert _parameters(theirs) <= _parameters(ours)


# -- tables of behaviour: each row runs the same code in both libraries ------------------------

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
NO_ROWS = X[:0]


def _library(name: str) -> Any:
    return cb if name == "combinet" else pytest.importorskip("thinc.api")


def _linear(lib: Any, nO: int = 2, nI: int = 3) -> Any:
    return lib.Linear(nO, nI).initialize()


def _error(call: Callable[[], Any]) -> str:
    """Returns the name of the error that the call raises, or "no error"."""
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return "no error"


def _operators(lib: Any, defined: bool) -> list[str]:
    """Returns which of three operators work, with or without a block that defines `@`."""
    calls = {
        ">>": lambda: _linear(lib) >> lib.Linear(2),
        "|": lambda: _linear(lib) | _linear(lib),
        "@": lambda: _linear(lib) @ lib.Linear(2),
    }
    with contextlib.ExitStack() as stack:
        if defined:
            stack.enter_context(lib.Model.define_operators({"@": lib.chain}))
        return [name for name, call in calls.items() if _error(call) == "no error"]


def _after_an_error(lib: Any) -> bool:
    """Whether a redefined operator keeps its meaning after an error in its block."""
    with pytest.raises(ZeroDivisionError), lib.Model.define_operators({">>": lib.concatenate}):
        raise ZeroDivisionError
    try:
        return len((lib.Linear(2) >> lib.Linear(2)).initialize(X).predict(X)[0]) == 4
    finally:
        if lib is not cb:
            lib.Model._context_operators.set({})


def _trained(lib: Any) -> Any:
    """An updated layer, the array of its weights, and a copy from before the update."""
    layer = _linear(lib)
    W = layer.get_param("W")
    before = W.copy()
    layer.begin_update(X)[1](np.ones((4, 2), "float32"))
    layer.finish_update(lib.Adam(0.1))
    return layer, W, before


def _clipped(lib: Any) -> bool:
    """Whether gradient clipping limits the norm over all parameters instead of each one."""
    layer = _linear(lib)
    old = {name: layer.get_param(name).copy() for name in "Wb"}
    layer.begin_update(X)[1](np.full((4, 2), 100, "float32"))
    layer.finish_update(lib.SGD(1.0, use_averages=False))
    norms = [np.linalg.norm(layer.get_param(name) - old[name]) for name in "Wb"]
    return bool(np.isclose(np.hypot(*norms), 1.0, rtol=1e-4))


def _is_train(lib: Any) -> list[bool]:
    """The values of the training flag in begin_update and in predict."""
    seen: list[bool] = []

    def theirs(model: Any, X: Any, is_train: bool) -> Any:
        seen.append(is_train)
        return X, lambda dY: dY

    def ours(model: Any, X: Any, run: Any) -> Any:
        seen.append(run.train)
        return X, lambda dY: dY

    model = lib.Model("layer", ours if lib is cb else theirs)
    model.begin_update(X)
    model.predict(X)
    return seen


def _zeros(lib: Any) -> bool:
    drop = {"drop": 0.5} if lib is cb else {}
    Y, _ = lib.Dropout().begin_update(np.ones((100, 10), "float32"), **drop)
    return bool((Y == 0).any())


def _twice(lib: Any) -> bool:
    layer = _linear(lib)
    W = layer.get_param("W").copy()
    return np.array_equal(layer.initialize().get_param("W"), W)


def _same_weights(lib: Any) -> bool:
    return np.array_equal(_linear(lib).get_param("W"), _linear(lib).get_param("W"))


def _dtype(lib: Any) -> str:
    layer = _linear(lib)
    layer.set_param("W", np.ones((2, 3)))
    return str(layer.get_param("W").dtype)


def _crossentropy(lib: Any) -> list[float]:
    Y = np.array([[0.25, 0.75]], "float32")
    dY, value = lib.CategoricalCrossentropy()(Y, np.array([0]))
    return [*np.round(dY[0], 4).tolist(), round(float(value), 4)]


def _squares(lib: Any) -> float:
    return float(lib.L2Distance()(np.ones((4, 2), "float32"), np.zeros((4, 2), "float32"))[1])


def _window(lib: Any) -> list[Any]:
    layer = lib.with_array(lib.expand_window(1))
    return [Y.tolist() for Y in layer.predict([np.ones((1, 1), "f"), np.full((1, 1), 2, "f")])]


def _returned(call: Any) -> bool:
    return call() is not None


def _nested(lib: Any, combine: str) -> list[int]:
    """The numbers of layers of an inner and an outer combination after composition."""
    combine = getattr(lib, combine)
    inner = combine(lib.Linear(2), lib.Linear(2))
    outer = combine(inner, lib.Linear(2))
    return [len(inner.layers), len(outer.layers)]


def _cloned(lib: Any, n: int) -> bool:
    layer = lib.Linear(3, 3)
    return any(node is layer for node in lib.clone(layer, n).walk())


def _epsilon(lib: Any) -> str:
    """The eps that explains the output for a row with a small variance."""
    row = np.array([[0.0, 1e-4]], "float32")
    Y = lib.LayerNorm(2).initialize().predict(row)[0, 1]
    found = [eps for eps in (1e-8, 1e-5) if np.isclose(Y, 5e-5 / np.sqrt(2.5e-9 + eps), rtol=1e-3)]
    return str(*found)


def _drawn(lib: Any, name: str) -> str:
    """The distribution of W (200, 100); only a normal one exceeds every uniform bound."""
    W = getattr(lib, name)(200, 100).initialize().get_param("W")
    if abs(W).max() > 0.3:
        assert np.isclose(W.std(), np.sqrt(2 / 100), rtol=0.05)
        return "normal"
    nP = 3
    bounds = {"nO + nI": np.sqrt(6 / (200 + 100)), "nO + nP": np.sqrt(6 / (200 + nP))}
    return next(
        name for name, bound in bounds.items() if np.isclose(abs(W).max(), bound, rtol=0.01)
    )


def _seed(lib: Any) -> Any:
    layer = lib.HashEmbed(2, 5)
    return "id" if layer.attrs["seed"] == layer.id else layer.attrs["seed"]


def _params(lib: Any, layer: Any) -> dict[str, tuple[int, ...]]:
    layer.initialize()
    return {name: layer.get_param(name).shape for name in layer.param_names}


def _through(lib: Any, *layers: str, X: Any) -> Any:
    """The output of a chain of the named layers for a list X."""
    made = [lib.ParametricAttention(3) if "Att" in n else getattr(lib, n)() for n in layers]
    model = made[0] if len(made) == 1 else lib.chain(*made)
    return model.initialize([X[-1]] if X else None).predict(X)


def _wrapped(lib: Any, X: Any) -> Any:
    return [Y.shape for Y in lib.with_padded(lib.LSTM(2, 3)).initialize().predict(X)]


def _no_rows(lib: Any) -> list[tuple[int, ...]]:
    names = ("Linear", "Relu", "Maxout", "Softmax")
    return [getattr(lib, name)(2, 3).initialize().predict(NO_ROWS).shape for name in names]


def _no_loss(lib: Any) -> list[Any]:
    results = []
    for loss in (lib.CategoricalCrossentropy(), lib.L2Distance()):
        dY, value = loss(np.zeros((0, 2), "float32"), np.zeros((0, 2), "float32"))
        results += [dY.shape, float(value)]
    return results


def _empty_sequence(lib: Any, name: str) -> Any:
    return _error(lambda: _through(lib, "list2ragged", name, X=[NO_ROWS, X]))


def _pooled(lib: Any, *names: str) -> list[Any]:
    return [float(abs(_through(lib, "list2ragged", *names, X=[NO_ROWS, X])[0]).max())]


# For each row: a function, its result with Thinc, and its result with combinet.
ANSWERS: dict[str, tuple[Callable[[Any], Any], Any, Any]] = {
    "`model(X)`": (lambda lib: _error(lambda: _linear(lib)(X)), "TypeError", "no error"),
    "`is_train`": (_is_train, [True, False], [True, False]),
    "dropout rate": (_zeros, False, True),
    "gradient clipping": (_clipped, False, True),
    "update of a weight": (lambda lib: np.array_equal(*_trained(lib)[1:]), False, True),
    "`has_grad` after `finish_update`": (lambda lib: _trained(lib)[0].has_grad("W"), True, False),
    "second `initialize`": (_twice, False, True),
    "two layers initialized separately": (_same_weights, False, True),
    "dtype of `set_param`": (_dtype, "float64", "float32"),
    "`to_cpu` and `to_gpu`": (lambda lib: _returned(_linear(lib).to_cpu), False, True),
    "gradient of ids": (
        lambda lib: _returned(
            lambda: (lib.Embed(2, 5).initialize().begin_update(np.arange(3))[1])(
                np.ones((3, 2), "float32")
            )
        ),
        True,
        False,
    ),
    "ids (n, 1) for `Embed`": (
        lambda lib: _error(lambda: lib.Embed(2, 5).initialize().predict(np.array([[1], [2]]))),
        "no error",
        "InputError",
    ),
    "`expand_window` in `with_array`": (
        _window,
        [[[0, 1, 2]], [[1, 2, 0]]],
        [[[0, 1, 0]], [[0, 2, 0]]],
    ),
    "`expand_window` on Ragged": (
        lambda lib: _error(lambda: _through(lib, "list2ragged", "expand_window", X=[X])),
        "no error",
        "InputError",
    ),
    "crossentropy": (
        _crossentropy,
        [-0.75, 0.75, round(2 * 0.75**2, 4)],
        [-1 / 0.25, 0.0, round(-np.log(0.25), 4)],
    ),
    "value of `L2Distance`": (_squares, 8 / 4**2, 8 / 2 / 4),
    "schedules": (lambda lib: callable(lib.warmup_linear(1.0, 2, 4)), False, True),
    "operators": (lambda lib: _operators(lib, defined=False), [], [">>", "|"]),
    "`define_operators`": (lambda lib: _operators(lib, defined=True), ["@"], [">>", "|", "@"]),
    "error inside `define_operators`": (_after_an_error, True, False),
    "`clone(layer, n)`": (lambda lib: _cloned(lib, 3), True, False),
    "`clone(layer, 1)`": (lambda lib: _cloned(lib, 1), True, False),
    "`concatenate()`": (lambda lib: _error(lib.concatenate), "no error", "InputError"),
    "`concatenate(layer)`": (
        lambda lib: lib.concatenate(lib.Linear(2)).name,
        "linear",
        "concatenate",
    ),
    "concatenation in a concatenation": (lambda lib: _nested(lib, "concatenate"), [3, 3], [2, 3]),
    "chain in a chain": (lambda lib: _nested(lib, "chain"), [2, 2], [2, 3]),
    "`chain`, `add`, `tuplify` of one layer": (
        lambda lib: {
            _error(lambda f=f: f(_linear(lib))) for f in (lib.chain, lib.add, lib.tuplify)
        },
        {"TypeError"},
        {"no error"},
    ),
    "`model.layers`": (
        lambda lib: type(lib.residual(lib.Linear(3)).layers).__name__,
        "list",
        "tuple",
    ),
    "name of a chain": (
        lambda lib: lib.chain(lib.Linear(2), lib.Relu(2)).name,
        "linear>>relu",
        "chain",
    ),
    "`nO` of a concatenation": (
        lambda lib: lib.concatenate(lib.Linear(2, 3), lib.Linear(5, 3)).maybe_get_dim("nO"),
        None,
        7,
    ),
    "`set_dim` of a chain": (
        lambda lib: _error(lambda: lib.chain(lib.Linear(), lib.Linear()).set_dim("nO", 2)),
        "no error",
        "DimensionError",
    ),
    "epsilon of `LayerNorm`": (_epsilon, "1e-08", "1e-05"),
    "first weights of `Relu`": (lambda lib: _drawn(lib, "Relu"), "nO + nI", "normal"),
    "first weights of `Gelu`": (lambda lib: _drawn(lib, "Gelu"), "normal", "nO + nI"),
    "first weights of `Maxout`": (lambda lib: _drawn(lib, "Maxout"), "nO + nP", "nO + nI"),
    "seed of `HashEmbed`": (_seed, "id", 0),
    "rate of a `Dropout`": (
        lambda lib: [k for k, value in lib.Dropout(0.3).attrs.items() if value == 0.3],
        ["dropout_rate"],
        ["rate"],
    ),
    "parameters of `LSTM`": (
        lambda lib: _params(lib, lib.LSTM(5, 4)),
        {"LSTM": (220,), "HC0": (2, 1, 1, 5)},
        {"W": (5, 4, 4), "U": (5, 4, 5), "b": (5, 4)},
    ),
    "shape of `SparseLinear`'s `W`": (
        lambda lib: _params(lib, lib.SparseLinear(3, length=10))["W"],
        (30,),
        (10, 3),
    ),
    "names of layers": (
        lambda lib: [
            lib.LayerNorm().name,
            lib.HashEmbed(2, 5).name,
            lib.ParametricAttention().name,
        ],
        ["layernorm", "hashembed", "para-attn"],
        ["layer_norm", "hash_embed", "parametric_attention"],
    ),
    "array (0, nI) into a layer of `Linear`, `Relu`, `Maxout`, `Softmax`": (
        _no_rows,
        [(0, 2)] * 4,
        [(0, 2)] * 4,
    ),
    "empty list into `with_array`": (
        lambda lib: _error(lambda: lib.with_array(_linear(lib)).predict([])),
        "ValueError",
        "no error",
    ),
    "empty list into `with_padded(LSTM())`": (
        lambda lib: _error(lambda: _wrapped(lib, [])),
        "IndexError",
        "no error",
    ),
    "empty list into `list2array`, `list2ragged`, `list2padded`": (
        lambda lib: {
            _error(lambda name=name: _through(lib, name, X=[]))
            for name in ("list2array", "list2ragged", "list2padded")
        },
        {"no error"},
        {"InputError"},
    ),
    "empty sequence into `LSTM`": (
        lambda lib: _wrapped(lib, [NO_ROWS, X]),
        [(0, 2), (4, 2)],
        [(0, 2), (4, 2)],
    ),
    "empty sequence into `reduce_sum`, `reduce_mean`": (
        lambda lib: _pooled(lib, "reduce_sum") + _pooled(lib, "reduce_mean"),
        [0, 0],
        [0, 0],
    ),
    "empty sequence into `ParametricAttention`": (
        lambda lib: _pooled(lib, "ParametricAttention", "reduce_sum"),
        [0],
        [0],
    ),
    "empty sequence into `reduce_max`, `reduce_first`, `reduce_last`": (
        lambda lib: {
            _empty_sequence(lib, name) for name in ("reduce_max", "reduce_first", "reduce_last")
        },
        {"ValueError"},
        {"DimensionError"},
    ),
    "loss of no rows": (_no_loss, [(0, 2), 0, (0, 2), 0], [(0, 2), 0, (0, 2), 0]),
}


def _facts(*titles: str) -> list[list[str]]:
    lines = [line for title in titles for line in SECTIONS[title].splitlines() if line[:1] == "|"]
    heads = ("|---", "| What |", "| Input |", "| Mistake |")
    return [_cells(line) for line in lines if not line.startswith(heads)]


def test_answers_are_exactly_the_rows_of_behaviour() -> None:
    assert [what for what, _, _ in _facts(*FACTS)] == [*ANSWERS]


@pytest.mark.parametrize("library", ["combinet", "Thinc"])
@pytest.mark.parametrize("what", ANSWERS)
def test_library_behaves_as_the_row_says(what: str, library: str) -> None:
    question, theirs, ours = ANSWERS[what]
    assert question(_library(library)) == (ours if library == "combinet" else theirs)


@pytest.mark.parametrize("what", [row[0] for row in _facts(*FACTS)])
def test_error_names_in_rows_of_behaviour_match_the_answers(what: str) -> None:
    _, *said = next(row for row in _facts(*FACTS) if row[0] == what)
    for text, answer in zip(said, ANSWERS[what][1:], strict=True):
        named = set(re.findall(r"\w+Error", text))
        assert named == set(re.findall(r"\w+Error", str(answer))) or not named


@pytest.mark.parametrize(
    ("name", "init", "theirs"),
    [("Relu", "glorot_uniform", "nO + nI"), ("Gelu", "he_normal", "normal")],
)
def test_documented_initializer_reproduces_thincs_first_weights(
    name: str, init: str, theirs: str
) -> None:
    assert f"`init_W={init}` is Thinc's." in TEXT
    made = getattr(cb, name)(200, 100, init_W=getattr(cb, init)).initialize().get_param("W")
    assert (abs(made).max() > 0.3) == (theirs == "normal")


def test_layer_norm_with_thincs_eps_matches_thinc() -> None:
    api = pytest.importorskip("thinc.api")
    theirs = api.LayerNorm(3).initialize().predict(X)
    ours = cb.LayerNorm(3, eps=1e-8).initialize().predict(X)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


# -- errors ------------------------------------------------------------------------------------


def _uninitialized(lib: Any) -> Any:
    return lib.Linear(2, 3)


def _bytes_of(lib: Any, *sizes: int) -> bytes:
    return _linear(lib, *sizes).to_bytes()


def _loss(lib: Any, guesses: Any, truths: Any, **options: Any) -> Any:
    return lib.CategoricalCrossentropy(**options)(np.array(guesses, "float32"), truths)


HALF = [[0.5, 0.5], [0.5, 0.5]]
MISTAKES: dict[str, Callable[[Any], Any]] = {
    "unknown parameter in `get_param`": lambda lib: _linear(lib).get_param("Z"),
    "`get_param` before `initialize`": lambda lib: _uninitialized(lib).get_param("W"),
    "`get_grad` without a gradient": lambda lib: _linear(lib).get_grad("W"),
    "`predict` before `initialize`": lambda lib: _uninitialized(lib).predict(X),
    "unknown dim in `get_dim`": lambda lib: _linear(lib).get_dim("nZ"),
    "`get_dim` of a dim without a value": lambda lib: lib.Linear(2).get_dim("nI"),
    "`set_dim` to another value": lambda lib: lib.Linear(2).set_dim("nO", 3),
    "`set_param` with the wrong shape": lambda lib: _linear(lib).set_param("W", np.ones((5, 5))),
    "composing layers whose widths disagree": lambda lib: lib.chain(
        lib.Linear(5, 3), lib.Softmax(2, 4)
    ),
    "composing something that is not a model": lambda lib: lib.chain(lib.Linear(2), 5),
    "`initialize` without the missing size": lambda lib: lib.Linear(2).initialize(),
    "sample with the wrong width": lambda lib: lib.Linear(2, 5).initialize(X),
    "input with the wrong width": lambda lib: _linear(lib, 2, 5).predict(X),
    "input with the wrong number of axes": lambda lib: _linear(lib).predict(X[0]),
    "float64 input for float32 weights": lambda lib: _linear(lib).predict(X.astype("float64")),
    "integers for a dense layer": lambda lib: _linear(lib).predict(np.ones((4, 3), "int32")),
    "list for an array": lambda lib: _linear(lib).predict([X, X]),
    "dY with the wrong width": lambda lib: _linear(lib).begin_update(X)[1](
        np.ones((4, 9), "float32")
    ),
    "dY with the wrong number of rows": lambda lib: _linear(lib).begin_update(X)[1](
        np.ones((3, 2), "float32")
    ),
    "id beyond the table of `Embed`": lambda lib: (
        lib.Embed(2, 5).initialize().predict(np.array([9]))
    ),
    "negative id for `Embed`": lambda lib: lib.Embed(2, 5).initialize().predict(np.array([-1])),
    "rate of `Dropout` above 1": lambda lib: lib.Dropout(2.0),
    "loss of arrays with different shapes": lambda lib: _loss(lib, HALF, np.ones((3, 2), "f")),
    "class number beyond the columns": lambda lib: _loss(lib, HALF, np.array([0, 5])),
    "class name that the loss does not know": lambda lib: _loss(
        lib, HALF, ["a", "z"], names=["a", "b"]
    ),
    "scores that are not probabilities": lambda lib: _loss(lib, [[5, 3]], np.array([0])),
    "None as the optimizer": lambda lib: _linear(lib).finish_update(None),
    "truncated bytes in `from_bytes`": lambda lib: _linear(lib).from_bytes(_bytes_of(lib)[:-9]),
    "bytes of a model with other layers": lambda lib: lib.residual(lib.Linear(3, 3)).from_bytes(
        _bytes_of(lib)
    ),
    "bytes of a model with other sizes": lambda lib: _linear(lib).from_bytes(_bytes_of(lib, 2, 4)),
    "file that does not exist": lambda lib: _linear(lib).from_disk("no/such/file"),
    "unknown order for `walk`": lambda lib: list(_linear(lib).walk(order="sideways")),
}


def test_mistakes_are_exactly_the_rows_of_errors() -> None:
    assert [mistake for mistake, _, _ in _facts("Errors")] == [*MISTAKES]


@pytest.mark.parametrize("library", ["combinet", "Thinc"])
@pytest.mark.parametrize("row", _facts("Errors"), ids=lambda row: row[0])
def test_mistake_raises_the_error_in_its_row(row: list[str], library: str) -> None:
    mistake, theirs, ours = row
    lib = _library(library)
    assert _error(lambda: MISTAKES[mistake](lib)) == (ours if library == "combinet" else theirs)


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("DimensionError", ValueError),
        ("FormatError", ValueError),
        ("InputError", TypeError),
        ("StateError", RuntimeError),
        ("DeviceError", RuntimeError),
    ],
)
def test_errors_derive_from_built_in_exceptions(name: str, base: type[Exception]) -> None:
    assert issubclass(getattr(cb, name), (cb.CombinetError,))
    assert issubclass(getattr(cb, name), base)
