"""Keyword arguments named as in other libraries."""

import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import combinet as cb


@pytest.mark.parametrize(
    ("make", "given", "ours"),
    [
        (cb.Linear, "in_features", "nI"),
        (cb.Linear, "out_features", "nO"),
        (cb.Gelu, "units", "nO"),
        (cb.Maxout, "input_size", "nI"),
        (cb.Softmax, "output_size", "nO"),
        (cb.Conv1d, "kernel_size", "width"),
        (cb.expand_window, "kernel_size", "window_size"),
        (cb.LSTM, "hidden_size", "nO"),
        (cb.FeedForward, "hidden_size", "hidden"),
        (cb.Embed, "num_embeddings", "nV"),
        (cb.HashEmbed, "embedding_dim", "nO"),
        (cb.MultiHeadAttention, "embed_dim", "nO"),
        (cb.MultiHeadAttention, "num_heads", "heads"),
        (cb.LayerNorm, "normalized_shape", "nI"),
        (cb.Dropout, "p", "rate"),
        (cb.Dropout, "dropout", "rate"),
        (cb.Adam, "lr", "learn_rate"),
        (cb.SGD, "learning_rate", "learn_rate"),
        (cb.AdamW, "weight_decay", "L2"),
        (cb.RAdam, "betas", "beta1"),  # whose __init__ is that of Adam
    ],
)
def test_the_error_gives_our_name(make: Callable[..., Any], given: str, ours: str) -> None:
    with pytest.raises(TypeError, match=rf"{make.__name__}: expected {ours}, got {given}"):
        make(**{given: 1})


def test_an_unknown_keyword_stays_pythons_error() -> None:
    make: Any = cb.Linear
    with pytest.raises(TypeError, match="unexpected keyword"):
        make(anything=1)


def test_an_argument_of_that_name_is_not_refused() -> None:
    assert len(cb.Relu(2, dropout=0.1).layers) == 2


def test_constructors_look_as_they_are_written() -> None:
    parameters = inspect.signature(cb.Linear).parameters
    assert [*parameters] == ["nO", "nI", "init_W", "init_b", "bias"]
    assert inspect.getsource(cb.Linear).startswith("def Linear(")


def test_a_constructor_is_one_object_wherever_it_is_imported_from() -> None:
    from combinet.layers.dense import linear as module
    from combinet.layers.dense.linear import Linear

    assert pickle.loads(pickle.dumps(cb.Linear)) is Linear is module.Linear is cb.Linear
