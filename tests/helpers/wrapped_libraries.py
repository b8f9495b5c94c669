"""The same layer, eight columns to four, in each library, and a spaCy architecture with it.

`spacy train --code` loads this file.
"""

from typing import Any

import numpy as np

import combinet as cb


class Plain:
    """Y = tanh(X @ W.T) with NumPy weights, a plain class that follows the Model API."""

    nI, nO = 8, 4

    def __init__(self) -> None:
        self.W = np.random.default_rng(1).normal(size=(4, 8)).astype("float32") / 2
        self.dW = np.zeros_like(self.W)

    def begin_update(self, X: Any, drop: float = 0.0) -> Any:
        W, Y = self.W, np.tanh(X @ self.W.T)

        def backprop(dY: Any, sgd: Any = None) -> Any:
            self.dW = self.dW + (dY * (1 - Y**2)).T @ X
            if sgd is not None:
                self.finish_update(sgd)
            return (dY * (1 - Y**2)) @ W

        return Y, backprop

    def finish_update(self, sgd: Any) -> None:
        self.W, self.dW = sgd(("plain", "W"), self.W, self.dW)

    def to_bytes(self, **exclude: bool) -> bytes:
        return self.W.tobytes()

    def from_bytes(self, data: bytes, **exclude: bool) -> None:
        self.W = np.frombuffer(data, "float32").reshape(4, 8).copy()
        self.dW = np.zeros_like(self.W)


def of_plain() -> Any:
    return cb.wrap(Plain())


def of_torch() -> Any:
    import torch

    from combinet.interop.torch import TorchWrapper

    torch.manual_seed(0)
    return TorchWrapper(torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Tanh()))


def of_jax() -> Any:
    import jax.numpy as jnp

    from combinet.interop.jax import JaxWrapper

    W = np.random.default_rng(1).normal(size=(8, 4)) / 2
    return JaxWrapper(lambda p, X: jnp.tanh(X @ p["W"]), {"W": W}, nI=8, nO=4).initialize()


def of_keras() -> Any:
    import keras

    from combinet.interop.keras import KerasWrapper

    keras.utils.set_random_seed(0)
    return KerasWrapper(keras.layers.Dense(4, activation="tanh"), nI=8, nO=4)


def of_sklearn(nO: int = 4) -> Any:
    from sklearn.linear_model import SGDClassifier

    from combinet.interop.sklearn import SklearnWrapper

    estimator = SGDClassifier(loss="log_loss", alpha=0.01, random_state=0)
    return SklearnWrapper(estimator, classes=range(nO), nI=8)


BUILDERS = {"plain": of_plain, "torch": of_torch, "jax": of_jax, "keras": of_keras,
            "sklearn": of_sklearn}  # fmt: skip


def network(library: str, nO: int) -> Any:
    """The library's layer between layers of combinet.

    An estimator learns the classes themselves, so it comes right before the softmax.
    """
    if library == "sklearn":
        return cb.Relu(8) >> of_sklearn(nO) >> cb.softmax_activation()
    return cb.Relu(8) >> BUILDERS[library]() >> cb.Softmax(nO)


def architecture(library: str) -> Any:
    """A model for spaCy's textcat, with the library's layer between layers of combinet."""
    import thinc.api as thinc
    from spacy.util import registry

    from combinet.interop.thinc import to_thinc

    config = {"width": 16, "depth": 1, "rows": [50, 50], "attrs": ["NORM", "SHAPE"]}
    tok2vec = registry.architectures.get("combinet.Tok2Vec.v1")(**config)
    head = to_thinc(cb.list2ragged() >> cb.reduce_mean() >> network(library, 2))
    model = thinc.chain(tok2vec, head)
    model.set_ref("tok2vec", tok2vec)
    model.attrs["multi_label"] = False
    return model


try:
    import spacy

    import combinet.interop.spacy  # the architecture of the tok2vec
except ImportError:
    pass
else:
    spacy.registry.architectures("combinet_tests.WithLibrary.v1", func=architecture)
