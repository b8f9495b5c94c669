"""The models of the comparison with other libraries.

`build(name, data, sparse=False)` returns three functions of a step number: train (forward pass,
gradient of the loss, backward pass, Adam), predict a batch, predict its first document. The
functions include hashing and concatenation. An unknown name raises SystemExit. With more than one
processor, those models that gain from it divide batches and updates between threads.
"""

from collections.abc import Callable
from typing import Any

from combinet import (
    LSTM,
    Adam,
    CategoricalCrossentropy,
    EmbedBag,
    HashEmbed,
    LayerNorm,
    Maxout,
    Model,
    Ops,
    Relu,
    SequenceCategoricalCrossentropy,
    Softmax,
    TransformerEncoder,
    concatenate,
    expand_window,
    list2ragged,
    residual,
    with_array,
    with_flatten,
    with_padded,
    with_threads,
)
from combinet.ops.blas.threads import processors

Step = Callable[[int], Any]


def mlp() -> Model[Any, Any]:
    """A network with two hidden layers."""
    return Relu(512) >> Relu(512) >> Softmax(10)


def tagger(width: int = 96, depth: int = 4) -> Model[Any, Any]:
    """A tagger: four hashed features, then residual layers over windows."""
    tables = [HashEmbed(width, n, column=i) for i, n in enumerate((5000, 1000, 2500, 2500))]
    embed = concatenate(*tables) >> Maxout(width, pieces=3) >> LayerNorm()
    encode = residual(expand_window(1) >> Maxout(width, pieces=3) >> LayerNorm()) ** depth
    return with_flatten(embed >> encode >> Softmax(17))


def textcat(rows: int = 50_000) -> Model[Any, Any]:
    """A text classifier: the mean of word vectors, then a hidden layer."""
    return list2ragged() >> EmbedBag(64, rows) >> Relu(128) >> Softmax(4)


def bilstm() -> Model[Any, Any]:
    """A bidirectional LSTM with a class for each row."""
    return with_padded(LSTM(128, 96, bi=True)) >> with_array(Softmax(17))


def transformer() -> Model[Any, Any]:
    """A transformer: four pre-norm blocks, then a class for each row."""
    return with_flatten(TransformerEncoder(256, heads=4, hidden=1024, depth=4) >> Softmax(17))


MODELS = {
    "bilstm": bilstm,
    "mlp": mlp,
    "tagger": tagger,
    "textcat": textcat,
    "transformer": transformer,
}

IN_THREADS = ("tagger", "transformer")  # the steps of the others are too short
# Most of a training step is the update. BLAS's threads would slow it down, because they keep
# spinning after each product.
ONE_BLAS_THREAD = ("textcat",)


def build(name: str, data: list[tuple[Any, Any]], sparse: bool = False) -> tuple[Step, Step, Step]:
    """Returns the three functions for one of MODELS on `data`, a list of batches (X, classes)."""
    if name not in MODELS:
        raise SystemExit(f"expected one of {', '.join(MODELS)}, got {name}")
    if name == "transformer":  # (batch, length, width): a list of sequences, as views
        data = [(list(X), list(classes)) for X, classes in data]
    model = MODELS[name]()
    if name in IN_THREADS:
        model = with_threads(model)
    train, predict, predict_one = steps(model.initialize(data[0][0]), data, sparse, processors())
    if name in ONE_BLAS_THREAD:
        train = with_one_blas_thread(train, model.ops)
    return train, predict, predict_one


def with_one_blas_thread(train: Step, ops: Ops) -> Step:
    """Returns the step with BLAS limited to one thread while it runs."""

    def alone(step: int) -> Any:
        with ops.single_threaded_blas():
            return train(step)

    return alone


def steps(
    model: Model[Any, Any], data: list[tuple[Any, Any]], sparse: bool = False, threads: int = 1
) -> tuple[Step, Step, Step]:
    """Returns the three functions for an initialized model on batches (X, classes)."""
    listed = isinstance(data[0][1], list)
    loss: Any = SequenceCategoricalCrossentropy() if listed else CategoricalCrossentropy()
    sgd = Adam(0.001, grad_clip=0, use_averages=False, sparse=sparse, threads=threads)

    def train(step: int) -> None:
        X, classes = data[step % len(data)]
        Y, backprop = model.begin_update(X, wants_dX=False)
        backprop(loss(Y, classes)[0], sgd)

    def predict(step: int) -> Any:
        return model.predict(data[step % len(data)][0])

    def predict_one(step: int) -> Any:
        return model.predict(data[step % len(data)][0][:1])

    return train, predict, predict_one
