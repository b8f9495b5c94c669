"""Plain objects that follow the Model API, with NumPy weights of their own."""

from contextlib import contextmanager
from typing import Any

import msgpack
import numpy as np

import combinet as cb


class Affine:
    """Y = X @ W.T + b, with every method of the Model API but predict. It logs its calls."""

    def __init__(self, nO: int | None = None, nI: int | None = None, key: str = "affine") -> None:
        self.nO, self.nI, self.key = nO, nI, key
        self.calls: list[str] = []
        self.ops: cb.Ops = cb.NumpyOps()
        self.W: Any = None
        if nI is not None:
            self._allocate(nI)

    def _allocate(self, nI: int) -> None:
        rng, self.nI = np.random.default_rng(7), nI
        self.W, self.b = rng.normal(size=(self.nO, nI)), np.zeros(self.nO)
        self.dW, self.db = np.zeros_like(self.W), np.zeros_like(self.b)

    def initialize(self, X: Any = None, Y: Any = None) -> None:
        self.calls.append("initialize")
        if self.W is None and X is not None:
            self._allocate(X.shape[1])

    def begin_update(self, X: Any, drop: float = 0.0) -> Any:
        self.calls.append(f"begin_update {drop}")
        W = self.W

        def backprop(dY: Any, sgd: Any = None) -> Any:
            self.dW, self.db = self.dW + dY.T @ X, self.db + dY.sum(axis=0)
            if sgd is not None:
                self.finish_update(sgd)
            return dY @ W

        return X @ W.T + self.b, backprop

    def finish_update(self, sgd: Any) -> None:
        self.calls.append("finish_update")
        self.W, self.dW = sgd((self.key, "W"), self.W, self.dW)
        self.b, self.db = sgd((self.key, "b"), self.b, self.db)

    @contextmanager
    def use_params(self, params: Any) -> Any:
        before = self.W, self.b
        self.W = params.get((self.key, "W"), self.W)
        self.b = params.get((self.key, "b"), self.b)
        try:
            yield
        finally:
            self.W, self.b = before

    def to_bytes(self, **exclude: bool) -> bytes:
        W, b = self.W.tolist(), self.b.tolist()
        return msgpack.packb({"b": b} if "params" in exclude else {"W": W, "b": b})

    def from_bytes(self, data: bytes, **exclude: bool) -> None:
        saved = msgpack.unpackb(data)
        W, b = np.array(saved["W"]), np.array(saved["b"])
        self.nO, self.nI = W.shape
        self.W, self.b, self.dW, self.db = W, b, np.zeros_like(W), np.zeros_like(b)
        self._put()

    def to_gpu(self, device_num: int = 0) -> None:
        self.calls.append(f"to_gpu {device_num}")
        self.ops = cb.CupyOps(device_num)
        self._put()

    def to_cpu(self) -> None:
        self.calls.append("to_cpu")
        self.ops = cb.NumpyOps()
        self._put()

    def _put(self) -> None:
        for name in ("W", "b", "dW", "db"):
            array = getattr(self, name)
            host = array.get() if hasattr(array, "get") else array
            setattr(self, name, self.ops.asarray(host))

    def resize_output(self, nO: int) -> None:
        W, b, self.nO = self.W, self.b, nO
        self.W, self.b = np.zeros((nO, W.shape[1])), np.zeros(nO)
        n = min(nO, len(b))
        self.W[:n], self.b[:n] = W[:n], b[:n]
        self.dW, self.db = np.zeros_like(self.W), np.zeros_like(self.b)

    def resize_input(self, nI: int) -> None:
        W, self.nI = self.W, nI
        self.W = np.zeros((len(W), nI))
        n = min(nI, W.shape[1])
        self.W[:, :n] = W[:, :n]
        self.dW = np.zeros_like(self.W)


class Doubled:
    """Y = 2 * X. It has no state, and no method but begin_update."""

    def begin_update(self, X: Any, drop: float = 0.0) -> Any:
        return 2 * X, lambda dY, sgd=None: 2 * dY


def linear_like(obj: Affine) -> Any:
    """A Linear with the weights of an Affine."""
    layer: Any = cb.Linear(obj.nO, obj.nI).initialize(dtype="float64")
    layer.set_param("W", obj.W)
    layer.set_param("b", obj.b)
    return layer
