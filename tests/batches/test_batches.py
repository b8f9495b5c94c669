"""Batches of sequences: indexing, conversions, checks, devices and the form of gradients."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import combinet as cb
from combinet.batches.convert import list_to_ragged, ragged_to_list
from combinet.batches.padded import padded_to_ragged, ragged_to_padded
from combinet.batches.structure import map_arrays, match_gradient, spec_of
from helpers.arrays import floats
from helpers.errors import raises


def make_list(lengths: Any, width: int = 2) -> list[Any]:
    """Returns sequences whose numbers are all different."""
    data = np.arange(1.0, sum(lengths) * width + 1).reshape(-1, width)
    return np.split(data, np.cumsum(lengths)[:-1]) if len(lengths) else []


def make_ragged(lengths: Any) -> cb.Ragged:
    arrays = make_list(lengths)
    return cb.Ragged(np.concatenate(arrays) if arrays else np.zeros((0, 2)), lengths)


def make_padded(lengths: Any) -> cb.Padded:
    return ragged_to_padded(make_ragged(lengths))


FORMS = {"ragged": make_ragged, "padded": make_padded}
forms = pytest.mark.parametrize("make", FORMS.values(), ids=FORMS)


def to_list(X: Any) -> list[Any]:
    return ragged_to_list(padded_to_ragged(X) if isinstance(X, cb.Padded) else X)


SUM = cb.layerize(lambda X: (X.sum(axis=1, keepdims=True), lambda dY: np.repeat(dY, 2, axis=1)))


def assert_same(found: list[Any], expected: list[Any]) -> None:
    assert [x.tolist() for x in found] == [x.tolist() for x in expected]


LENGTHS = [3, 0, 2, 1, 4]
law = settings(max_examples=200, deadline=None)
all_lengths = st.lists(st.integers(0, 4), max_size=6)
bounds = st.none() | st.integers(-8, 8)
slices = st.builds(slice, bounds, bounds, st.none() | st.integers(-3, 3).filter(bool))


@forms
@law
@given(lengths=all_lengths, chosen=slices)
def test_slice_matches_the_slice_of_a_list(make: Any, lengths: Any, chosen: slice) -> None:
    assert_same(to_list(make(lengths)[chosen]), make_list(lengths)[chosen])


@forms
@law
@given(data=st.data())
def test_list_of_numbers_selects_sequences_in_its_order(make: Any, data: Any) -> None:
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))
    numbers = data.draw(st.lists(st.integers(-len(lengths), len(lengths) - 1)))
    arrays = make_list(lengths)
    assert_same(to_list(make(lengths)[numbers]), [arrays[i] for i in numbers])
    assert_same(to_list(make(lengths)[np.array(numbers, int)]), [arrays[i] for i in numbers])


@forms
@law
@given(lengths=all_lengths, data=st.data())
def test_mask_selects_sequences_where_it_is_true(make: Any, lengths: Any, data: Any) -> None:
    mask = data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)))
    expected = [x for x, chosen in zip(make_list(lengths), mask, strict=True) if chosen]
    assert_same(to_list(make(lengths)[np.array(mask, bool)]), expected)


@forms
@pytest.mark.parametrize("i", [0, 1, 4, -1, -5, np.int64(2), np.uint8(2)])
def test_number_selects_a_batch_of_one_sequence(make: Any, i: Any) -> None:
    assert_same(to_list(make(LENGTHS)[i]), [make_list(LENGTHS)[i]])


@forms
def test_iteration_ends_after_the_last_sequence(make: Any) -> None:
    assert_same([to_list(one)[0] for one in make(LENGTHS)], make_list(LENGTHS))
    assert len(make(LENGTHS)) == 5


@forms
@pytest.mark.parametrize(
    "index",
    [5, -6, [0, 5], [-6], [0.5], "ab", None, [[0, 1]], [True, False], 1.0],
    ids=repr,
)
def test_invalid_index_is_refused(make: Any, index: Any) -> None:
    with pytest.raises(IndexError):
        make(LENGTHS)[index]


@pytest.mark.parametrize("index", [2, -1, slice(1, 4), slice(None), [1, 2, 3]], ids=repr)
def test_selection_of_neighbours_is_a_view(index: Any) -> None:
    ragged = make_ragged(LENGTHS)
    assert np.shares_memory(ragged[index].data, ragged.data)


@pytest.mark.parametrize("index", [slice(None, None, 2), slice(None, None, -1), [2, 0]], ids=repr)
def test_selection_of_other_sequences_is_a_copy(index: Any) -> None:
    ragged = make_ragged(LENGTHS)
    assert not np.shares_memory(ragged[index].data, ragged.data)


def test_ragged_to_list_returns_views() -> None:
    ragged = make_ragged([2, 0, 1])
    for array in ragged_to_list(ragged):
        assert np.shares_memory(array, ragged.data) == bool(len(array))


@law
@given(lengths=all_lengths.filter(len))
def test_conversion_and_back_keeps_the_sequences(lengths: Any) -> None:
    arrays = make_list(lengths)
    ragged = list_to_ragged(arrays)
    assert ragged.lengths.tolist() == lengths
    assert_same(ragged_to_list(ragged), arrays)
    assert_same(ragged_to_list(padded_to_ragged(ragged_to_padded(ragged))), arrays)


@law
@given(lengths=all_lengths)
def test_padded_sorts_the_sequences_by_length_longest_first(lengths: Any) -> None:
    padded, arrays = make_padded(lengths), make_list(lengths)
    longest = max(lengths, default=0)
    assert padded.data.shape == (longest, len(lengths), 2)
    assert padded.lengths.tolist() == sorted(lengths, reverse=True)
    for column, given_as in enumerate(padded.indices):
        n = lengths[given_as]
        assert padded.lengths[column] == n
        np.testing.assert_array_equal(padded.data[:n, column], arrays[given_as])
        assert not padded.data[n:, column].any()
    for t in range(longest):
        assert padded.size_at_t[t] == sum(n > t for n in lengths)


def test_sequences_of_equal_length_stay_in_order() -> None:
    assert make_padded([1, 2] * 50).indices.tolist() == [*range(1, 100, 2), *range(0, 100, 2)]


@pytest.mark.parametrize("shape", [(3,), (3, 2), (3, 2, 4)], ids=str)
def test_rows_may_have_any_number_of_axes(shape: tuple[int, ...]) -> None:
    X = floats(*shape)
    padded = ragged_to_padded(cb.Ragged(X, [1, 2]))
    assert padded.data.shape == (2, 2, *shape[1:])
    np.testing.assert_array_equal(padded_to_ragged(padded).data, X)
    np.testing.assert_array_equal(padded[1].data[:, 0], X[1:])


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint64"])
def test_dtype_is_preserved(dtype: str) -> None:
    ragged = cb.Ragged(np.arange(3, dtype=dtype), [1, 2])
    assert ragged_to_padded(ragged).data.dtype == dtype
    assert ragged_to_padded(ragged)[::-1].data.dtype == ragged[::-1].data.dtype == dtype


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([2, 2], "3 ... 4"),
        ([4, -1], "0"),
        ([[3]], "int64 ... (1, 1)"),
        ([1.5, 1.5], "float64 ... (2,)"),
        ([], "0"),
        (3, "int64 ... ()"),
        (None, "object"),
        ([[1], [1, 1]], "list"),
    ],
)
def test_ragged_refuses_invalid_lengths(lengths: Any, message: str) -> None:
    with raises((cb.DimensionError, cb.InputError), message):
        cb.Ragged(np.zeros((3, 2)), lengths)


@pytest.mark.parametrize("data", [[[1.0, 2.0]], 5, None, np.array(1.0), "a"], ids=str)
def test_data_that_is_not_an_array_of_rows_is_refused(data: Any) -> None:
    with raises(cb.InputError, "Ragged"):
        cb.Ragged(data, [1])
    with raises(cb.InputError, "Padded"):
        cb.Padded(data, [1], [1], [0])


@pytest.mark.parametrize(
    "changed",
    [
        {"data": np.zeros((2, 3, 1))},
        {"data": np.zeros((1, 2, 1))},
        {"data": np.zeros(2)},
        {"lengths": [1, 2]},
        {"lengths": [2, 1, 0]},
        {"lengths": [2, -1]},
        {"lengths": [[2, 1]]},
        {"lengths": 2},
        {"lengths": [2, 2]},
        {"size_at_t": [2, 2]},
        {"size_at_t": [2]},
        {"indices": [0, 0]},
        {"indices": [1, 2]},
        {"indices": [0.0, 1.0]},
    ],
    ids=str,
)
def test_padded_refuses_inconsistent_arguments(changed: Any) -> None:
    parts = {"data": np.zeros((2, 2, 1)), "size_at_t": [2, 1], "lengths": [2, 1], "indices": [1, 0]}
    assert len(cb.Padded(**parts)) == 2
    with pytest.raises((cb.DimensionError, cb.InputError)):
        cb.Padded(**{**parts, **changed})


# The sequences [1, 2], [3, 4], [5], [6], with unsorted columns and an empty last time step.
OTHERWISE = {
    "data": np.array([[3.0, 1, 6, 5], [4, 2, 0, 0], [0, 0, 0, 0]])[:, :, None],
    "size_at_t": [4, 2, 0],
    "lengths": [2, 2, 1, 1],
    "indices": [1, 0, 3, 2],
}
NUMBERS = [[1.0, 2], [3, 4], [5], [6]]


@pytest.mark.parametrize(
    ("model", "times"),
    [
        (cb.noop(), 1),
        (cb.residual(cb.with_array(cb.noop())), 2),
        (cb.add(cb.noop(), cb.with_list(cb.noop())), 2),
        (cb.concatenate(cb.noop(), cb.with_array(cb.noop())) >> cb.with_array(SUM), 2),
    ],
    ids=["noop", "residual", "add", "concatenate"],
)
def test_padded_with_another_column_order_is_the_same_batch(model: Any, times: int) -> None:
    X = cb.Padded(**OTHERWISE)
    assert X.indices.tolist() == [0, 1, 2, 3]
    assert X.data.shape == (2, 4, 1)
    Y, backprop = model.begin_update(X)
    for found in (Y, backprop(cb.Padded(**OTHERWISE))):
        sequences = [x[:, 0] / times for x in cb.padded2list().predict(found)]
        assert_same(sequences, [np.array(x) for x in NUMBERS])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (floats(3, 2), "float64 ... (3, 2)"),
        ([floats(3, 2), [1.0]], "list"),
        ([floats(3, 2), np.array(1.0)], "float64 ... ()"),
        ([floats(3, 2), floats(3, 4)], "(3, 2) ... (3, 4)"),
        ([floats(3, 2), floats(3, 2).astype("f")], "float32"),
        ([floats(3, 2).astype("f"), floats(3, 2)], "float64"),
        ([floats(3000, 2).astype("f"), floats(3000, 2)], "float64"),
        ([floats(3000, 2), floats(3000, 3)], "(3000, 2) ... (3000, 3)"),
        ([floats(3), [1.0]], "list"),
        ([floats(3, 2), floats(3)], "(3, 2) ... (3,)"),
        ([[1.0], [2.0]], "list"),
        ([], "empty"),
    ],
)
def test_list_that_is_not_a_batch_is_refused(X: Any, message: str) -> None:
    with raises(cb.InputError, message):
        list_to_ragged(X)


def test_to_device_keeps_the_form_of_a_batch() -> None:
    class Elsewhere(cb.NumpyOps):
        def asarray(self, X: Any, dtype: Any = None) -> Any:
            return -X

    padded = make_padded([1, 2])
    batch = [(floats(2), None), make_ragged([2]), padded]
    moved = cb.to_device(batch, Elsewhere())
    assert moved[0][1] is None
    np.testing.assert_array_equal(moved[0][0], -floats(2))
    np.testing.assert_array_equal(moved[1].data, -make_ragged([2]).data)
    np.testing.assert_array_equal(moved[2].data, -padded.data)
    assert [type(x) for x in moved] == [tuple, cb.Ragged, cb.Padded]
    for name in ("size_at_t", "lengths", "indices"):
        np.testing.assert_array_equal(getattr(moved[2], name), getattr(padded, name))


OUTPUTS = {
    "array": floats(3, 2),
    "list": make_list([2, 1]),
    "ragged": make_ragged([2, 0, 1]),
    "padded": make_padded([1, 2]),
    "tuple": (floats(3, 2), make_ragged([1])),
}
outputs = pytest.mark.parametrize("Y", OUTPUTS.values(), ids=OUTPUTS)


@outputs
def test_gradient_that_matches_its_output_is_returned_unchanged(Y: Any) -> None:
    for form in (Y, spec_of(Y)):
        matched = match_gradient(form, Y)
        assert type(matched) is type(Y)
        assert_same_arrays(matched, Y)


def assert_same_arrays(X: Any, Y: Any) -> None:
    found, expected = [], []
    map_arrays(X, lambda x: found.append(x) or x)
    map_arrays(Y, lambda y: expected.append(y) or y)
    assert [id(x) for x in found] == [id(y) for y in expected]


@outputs
def test_gradient_is_converted_to_the_dtype_of_its_output(Y: Any) -> None:
    half = map_arrays(Y, lambda y: y.astype("float32"))
    dtypes = []
    matched = match_gradient(spec_of(half), Y)
    map_arrays(matched, lambda y: dtypes.append(y.dtype) or y)
    assert {str(dtype) for dtype in dtypes} == {"float32"}
    assert type(matched) is type(Y)


def test_spec_of_a_batch_holds_no_data() -> None:
    Y = spec_of(make_ragged([2, 1]))
    assert not isinstance(Y.data, np.ndarray)
    assert (Y.data.shape, Y.data.dtype, Y.lengths.tolist()) == ((3, 2), "float64", [2, 1])


def test_gradient_of_a_tuple_item_may_be_none() -> None:
    Y = ((floats(3, 2), floats(1)), floats(2))
    dY = ((floats(3, 2).astype("f"), None), None)
    matched = match_gradient(spec_of(Y), dY)
    assert matched[0][0].dtype == "float64"
    assert (matched[0][1], matched[1]) == (None, None)


def test_float_gradient_of_integers_is_not_rounded() -> None:
    np.testing.assert_array_equal(
        match_gradient(spec_of(np.arange(2)), np.array([0.5, 1.5])), [0.5, 1.5]
    )


class Pair(NamedTuple):
    first: Any
    second: Any


def test_named_tuple_keeps_its_type() -> None:
    layer = cb.layerize(lambda X: (Pair(X, 2 * X), lambda dY: dY.first + 2 * dY.second))
    _, backprop = layer.begin_update(np.ones(2))
    np.testing.assert_array_equal(backprop((np.ones(2), np.ones(2))), [3, 3])
    both = cb.add(layer, layer).predict(np.ones(2))
    np.testing.assert_array_equal(both.second, [4, 4])


SWAPPED = cb.Padded(make_padded([1, 2]).data, [2, 1], [2, 1], [0, 1])


@pytest.mark.parametrize(
    ("Y", "dY", "message"),
    [
        ("array", floats(2, 3), "(3, 2) ... (2, 3)"),
        ("array", [floats(3, 2)], "list"),
        ("array", np.ones((3, 2), int), "int64 ... (3, 2)"),
        ("array", 1.0, "float"),
        ("list", make_list([2]), "list ... 2 ... 1"),
        ("list", make_list([1, 2]), "(2, 2) ... (1, 2)"),
        ("list", floats(3, 2), "list ... float64 ... (3, 2)"),
        ("ragged", make_ragged([2, 1, 0]), "[2, 1, 0] ... [2, 0, 1]"),
        ("ragged", make_padded([2, 0, 1]), "Ragged ... Padded"),
        ("ragged", floats(3, 2), "Ragged ... float64"),
        ("padded", make_padded([1, 1]), "[1, 1] ... [1, 2]"),
        ("padded", SWAPPED, "[2, 1] ... [1, 2]"),
        ("tuple", (floats(3, 2),), "tuple ... 2 ... 1"),
        ("tuple", (None, make_ragged([2])), "item 1 ... [2] ... [1]"),
        ("list", [make_list([2])[0], None], "item 1 ... NoneType"),
    ],
)
def test_gradient_that_does_not_match_its_output_is_refused(Y: str, dY: Any, message: str) -> None:
    for form in (OUTPUTS[Y], spec_of(OUTPUTS[Y])):
        with raises((cb.InputError, cb.DimensionError), message):
            match_gradient(form, dY)


@pytest.mark.parametrize(
    ("to", "make"), [("ragged2list", make_ragged), ("padded2list", make_padded)]
)
def test_batch_without_sequences_converts_to_a_list_and_back(to: str, make: Any) -> None:
    Y, backprop = getattr(cb, to)().begin_update(make([]))
    assert Y == []
    assert len(backprop([])) == 0
