"""Keyword arguments with the names of other libraries raise a helpful error."""

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
        (cb.RAdam, "betas", "beta1"),  # inherits __init__ from Adam
    ],
)
def test_error_for_a_foreign_keyword_suggests_our_name(
    make: Callable[..., Any], given: str, ours: str
) -> None:
    with pytest.raises(TypeError, match=rf"{make.__name__}: expected {ours}, got {given}"):
        make(**{given: 1})


def test_unknown_keyword_raises_the_normal_type_error() -> None:
    make: Any = cb.Linear
    with pytest.raises(TypeError, match="unexpected keyword"):
        make(anything=1)


def test_foreign_name_that_is_a_real_argument_works() -> None:
    assert len(cb.Relu(2, dropout=0.1).layers) == 2


def test_constructors_keep_their_signature_and_source() -> None:
    parameters = inspect.signature(cb.Linear).parameters
    assert [*parameters] == ["nO", "nI", "init_W", "init_b", "bias"]
    assert inspect.getsource(cb.Linear).startswith("def Linear(")


def test_constructor_is_the_same_object_in_all_modules() -> None:
    from combinet.layers.dense import linear as module
    from combinet.layers.dense.linear import Linear

    assert pickle.loads(pickle.dumps(cb.Linear)) is Linear is module.Linear is cb.Linear
