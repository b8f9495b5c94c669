"""all-MiniLM-L6-v2, a BERT with six layers that encodes sentences, built from combinet's layers.

Wang et al. 2020, "MiniLM", arXiv:2002.10957; Reimers and Gurevych 2019, "Sentence-BERT",
arXiv:1908.10084. The weights and the vocabulary are read from a folder that contains the
published `model.safetensors` and `tokenizer.json`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from combinet import (
    DimensionError,
    Dropout,
    Embed,
    LayerNorm,
    LearnedPositions,
    Model,
    Ragged,
    Run,
    TransformerEncoder,
    list2ragged,
    reduce_mean,
    with_array,
)
from combinet.shapes import preserves
from combinet.types import Floats2d, Ints1d
from lines import MalformedLine

WIDTH, HEADS, DEPTH, HIDDEN = 384, 12, 6, 1536
PIECES, PLACES, EPS = 30522, 512, 1e-12
LONGEST = 256  # pieces per sentence; later ones are cut off, as in sentence-transformers

Bert: TypeAlias = Model[list[Ints1d], Ragged]
Encoder: TypeAlias = Model[list[Ints1d], Floats2d]
Weights: TypeAlias = dict[str, Any]


# -- sentences to ids --------------------------------------------------------------------------


def read_tokenizer(folder: Path) -> Tokenizer:
    """Reads the tokenizer, which splits sentences into pieces. Raises MalformedLine or OSError."""
    path = folder / "tokenizer.json"
    text = path.read_text(encoding="utf8")
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises no narrower type
        raise MalformedLine(f"{path}: {error}") from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    return tokenizer


def encode(tokenizer: Tokenizer, sentences: Sequence[str]) -> list[Ints1d]:
    """Returns the ids of each sentence's pieces, including [CLS] and [SEP]."""
    return [np.array(found.ids) for found in tokenizer.encode_batch_fast(list(sentences))]


# -- ids to vectors ----------------------------------------------------------------------------


def bert() -> Bert:
    """Returns the model without weights: X ids of pieces -> Y Ragged (pieces, WIDTH)."""
    embed = Embed(WIDTH, PIECES) >> LearnedPositions(WIDTH, longest=PLACES)
    blocks = TransformerEncoder(
        WIDTH, heads=HEADS, hidden=HIDDEN, depth=DEPTH, pre_norm=False, eps=EPS
    )
    return list2ragged() >> with_array(embed >> LayerNorm(WIDTH, eps=EPS) >> Dropout() >> blocks)


def pooled(layer: Bert) -> Encoder:
    """Returns a model of sentence vectors: the mean of the pieces' vectors, scaled to length 1."""
    return layer >> reduce_mean() >> unit_length()


def unit_length() -> Model[Floats2d, Floats2d]:
    """A custom layer that scales each row to length 1: Y = X / |X|. X (n, nI) -> Y (n, nI)."""
    return Model("unit_length", _unit_length, accepts="floats2d", widths=preserves)


def _unit_length(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    lengths = run.ops.xp.sqrt((X * X).sum(axis=1, keepdims=True))
    Y = X / lengths

    def backprop(dY: Floats2d) -> Floats2d:
        along = (dY * Y).sum(axis=1, keepdims=True)
        dX: Floats2d = (dY - along * Y) / lengths
        return dX

    return Y, backprop


# -- weights -----------------------------------------------------------------------------------


def read_bert(folder: Path) -> Bert:
    """Returns the model with the weights of a folder. Raises MalformedLine or OSError."""
    path, model = folder / "model.safetensors", bert().initialize()
    try:
        layers = [node for node in model.walk("dfs_pre") if node.param_names]
        for layer, weights in zip(layers, _weights(load_file(path)), strict=True):
            for name, value in weights.items():
                layer.set_param(name, value)
    except (SafetensorError, DimensionError) as error:
        raise MalformedLine(f"{path}: {error}") from None
    except KeyError as error:
        raise MalformedLine(f"{path}: expected weights {error}, found none") from None
    return model


def _weights(tensors: Mapping[str, Any]) -> Iterator[Weights]:
    """Yields the weights of each layer in order, given BERT's tensors by name."""
    kinds = tensors["embeddings.token_type_embeddings.weight"]
    yield {"E": tensors["embeddings.word_embeddings.weight"]}
    # All pieces of a single sentence have kind 0, so its vector can be added to every position.
    yield {"P": tensors["embeddings.position_embeddings.weight"] + kinds[0]}
    yield _pair(tensors, "G", "embeddings.LayerNorm")
    for i in range(DEPTH):
        block = f"encoder.layer.{i}"
        attention = f"{block}.attention"
        parts = [_pair(tensors, "W", f"{attention}.self.{x}") for x in ("query", "key", "value")]
        yield {name: np.concatenate([part[name] for part in parts]) for name in ("W", "b")}
        yield _pair(tensors, "W", f"{attention}.output.dense")
        yield _pair(tensors, "G", f"{attention}.output.LayerNorm")
        yield _pair(tensors, "W", f"{block}.intermediate.dense")
        yield _pair(tensors, "W", f"{block}.output.dense")
        yield _pair(tensors, "G", f"{block}.output.LayerNorm")


def _pair(tensors: Mapping[str, Any], name: str, prefix: str) -> Weights:
    """Returns a weight under combinet's name, and the bias that belongs to it."""
    return {name: tensors[f"{prefix}.weight"], "b": tensors[f"{prefix}.bias"]}
