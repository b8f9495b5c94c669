"""TorchWrapper with several, keyword, nested and packed inputs and outputs matches PyTorch."""

from typing import Any, NamedTuple

import numpy as np
import pytest

import combinet as cb
from combinet.testing import check_layer
from helpers.against_torch import assert_close
from helpers.arrays import floats
from helpers.errors import raises

torch = pytest.importorskip("torch")
nn = torch.nn

from combinet.interop.torch import TorchWrapper, as_torch  # noqa: E402


class Two(NamedTuple):
    product: Any
    rest: Any


class Mixer(nn.Module):
    """Takes and returns tensors, lists, dicts and None."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]).double())

    def forward(self, a: Any, more: Any = None, *, b: Any = None, name: str = "x") -> Any:
        product = a * self.weight
        if more is not None:
            product = product + more["c"] * more["d"][0]
        if b is not None:
            product = product * b
        return Two(product, {name: [a.exp(), torch.tensor([3])], "none": None})


def alone(*arrays: Any) -> list[Any]:
    return [torch.tensor(array, requires_grad=True) for array in arrays]


A, B, C, D = (floats(3, 2, seed=seed) for seed in range(4))


def test_tuple_with_a_dict_becomes_arguments_and_keywords() -> None:
    model = TorchWrapper(Mixer())
    X = (A, {"c": C, "d": [D, 7]}, {"b": B, "name": "y"})
    Y, backprop = model.begin_update(X)
    a, b, c, d = alone(A, B, C, D)
    expected = Mixer()(a, {"c": c, "d": [d, 7]}, b=b, name="y")
    assert_close(Y[0], expected.product)
    assert_close(Y[1]["y"][0], a.exp())
    assert Y[1]["y"][1].tolist() == [3]
    assert Y[1]["none"] is None
    dX = backprop((B, {"y": [C, None], "none": None}))
    torch.autograd.backward([expected.product, expected.rest["y"][0]], [*map(torch.tensor, (B, C))])
    assert_close(dX[0], a.grad)
    assert_close(dX[1]["c"], c.grad)
    assert_close(dX[1]["d"][0], d.grad)
    assert dX[1]["d"][1] is None
    assert_close(dX[2]["b"], b.grad)
    assert dX[2]["name"] is None


def test_dict_becomes_keywords() -> None:
    model = TorchWrapper(Mixer()) >> cb.tuple_getitem(0)
    Y, backprop = model.begin_update({"a": A, "b": B})
    a, b = alone(A, B)
    expected = Mixer()(a, b=b).product
    expected.backward(torch.tensor(C))
    assert_close(Y, expected)
    dX = backprop(C)
    assert_close(dX["a"], a.grad)
    assert_close(dX["b"], b.grad)


def test_empty_keywords_make_a_dict_an_argument() -> None:
    class Takes(nn.Module):
        def forward(self, X: Any) -> Any:
            return X["a"] * 2

    assert_close(TorchWrapper(Takes()).predict(({"a": A}, {})), torch.tensor(2 * A))


def test_integers_have_no_gradient() -> None:
    class Pick(nn.Module):
        def forward(self, X: Any, ids: Any) -> Any:
            return X[ids]

    ids = np.array([2, 0, 2])
    _, backprop = TorchWrapper(Pick()).begin_update((A, ids))
    dX, none = backprop(B)
    expected = np.zeros_like(A)
    np.add.at(expected, ids, B)
    assert none is None
    np.testing.assert_allclose(dX, expected)


def test_input_gradient_is_none_without_wants_dX() -> None:
    model = TorchWrapper(Mixer()) >> cb.tuple_getitem(0)
    _, backprop = model.begin_update(A, wants_dX=False)
    assert backprop(B) is None
    a = torch.tensor(A)
    reference = Mixer()
    reference(a).product.backward(torch.tensor(B))
    assert_close(model.layers[0].get_grad("weight"), reference.weight.grad)


def test_gradient_of_wrong_structure_fails() -> None:
    model = TorchWrapper(Mixer())
    _, backprop = model.begin_update(A)
    with raises(cb.InputError, "dict"):
        backprop((B, {"x": [C, None]}))
    with raises(cb.InputError, "list"):
        backprop((B, {"x": [C], "none": None}))
    with raises(cb.DimensionError, "(3, 2)", "(2, 2)"):
        backprop((B, {"x": [C[:2], None], "none": None}))


# -- sequences -----------------------------------------------------------------------------------

SEQUENCES = [floats(n, 3, seed=n) for n in (2, 4, 1, 4)]


def lstm(**options: Any) -> Any:
    torch.manual_seed(0)
    return nn.LSTM(3, 4, bidirectional=True, **options).double()


def padded() -> Any:
    return cb.list2padded().predict(SEQUENCES)


def test_padded_becomes_packed_and_padded_again() -> None:
    model = TorchWrapper(lstm())
    X = padded()
    Y, backprop = model.begin_update(X)
    tensors = alone(*SEQUENCES)
    packed = nn.utils.rnn.pack_sequence(tensors, enforce_sorted=False)
    outputs, (h, c) = lstm()(packed)
    expected = nn.utils.rnn.unpack_sequence(outputs)
    for found, each in zip(cb.padded2list().predict(Y[0]), expected, strict=True):
        assert_close(found, each)
    assert_close(Y[1][0], h)  # in the order of the input sequences
    assert_close(Y[1][1], c)
    assert Y[0].indices.tolist() == X.indices.tolist()
    assert Y[0].lengths.tolist() == X.lengths.tolist()
    assert Y[0].size_at_t.tolist() == X.size_at_t.tolist()
    dY = (Y[0], (floats(*h.shape), floats(*c.shape)))
    dX = cb.padded2list().predict(backprop(dY))
    tops = [*expected, h, c]
    starts = [each.detach() for each in expected] + [torch.tensor(d) for d in dY[1]]
    torch.autograd.backward(tops, starts)
    for found, each in zip(dX, tensors, strict=True):
        assert_close(found, each.grad)


def test_recurrent_module_works_on_a_list() -> None:
    model = cb.with_padded(TorchWrapper(lstm(num_layers=2)) >> cb.tuple_getitem(0))
    check_layer(model, SEQUENCES)


def test_packed_ids_have_no_gradient() -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(5, 3)
            self.lstm = nn.GRU(3, 2)

        def forward(self, X: Any) -> Any:
            packed = nn.utils.rnn.PackedSequence(self.embed(X.data), *X[1:])
            return self.lstm(packed)[0]

    X = cb.list2padded().predict([np.array([1, 4]), np.array([0, 2, 2])])
    Y, backprop = TorchWrapper(Tagger()).begin_update(X)
    assert isinstance(Y, cb.Padded)
    assert backprop(Y) is None


def test_empty_sequence_fails() -> None:
    X = cb.list2padded().predict([floats(2, 3), floats(0, 3)])
    with raises(cb.InputError, "empty"):
        TorchWrapper(lstm()).predict(X)


def test_as_torch_accepts_and_returns_packed_sequences() -> None:
    model = cb.LSTM(4, 3).initialize(dtype="float64")
    module = as_torch(model)
    tensors = alone(*SEQUENCES)
    packed = nn.utils.rnn.pack_sequence(tensors, enforce_sorted=False)
    outputs = module(packed)
    Y, backprop = model.begin_update(padded())
    for found, each in zip(
        cb.padded2list().predict(Y), nn.utils.rnn.unpack_sequence(outputs), strict=True
    ):
        assert_close(found, each)
    outputs.data.backward(outputs.data.detach())
    for found, each in zip(cb.padded2list().predict(backprop(Y)), tensors, strict=True):
        assert_close(found, each.grad)


def test_as_torch_accepts_lists_and_returns_ragged() -> None:
    model = (cb.list2ragged() >> cb.with_array(cb.Linear(2, 3))).initialize(dtype="float64")
    module = as_torch(model)
    tensors = alone(*SEQUENCES)
    Y = module(tensors)
    assert Y.lengths.tolist() == [2, 4, 1, 4]
    Y.data.sum().backward()
    W = model.layers[1].layers[0].get_param("W")
    assert_close(W.sum(axis=0) * np.ones((4, 1)), tensors[1].grad)
