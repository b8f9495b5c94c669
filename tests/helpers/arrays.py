"""Random arrays and batches with fixed seeds."""

from typing import Any

import numpy as np

import combinet as cb
from combinet.batches.padded import ragged_to_padded


def floats(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def listed(*lengths: int, width: int = 3) -> Any:
    return [floats(n, width, seed=i) for i, n in enumerate(lengths)]


def ragged(*lengths: int, width: int = 3) -> cb.Ragged:
    return cb.Ragged(floats(sum(lengths), width), lengths)


def padded(*lengths: int, width: int = 3) -> cb.Padded:
    return ragged_to_padded(ragged(*lengths, width=width))


def ids(n: int, below: int = 7) -> Any:
    return np.random.default_rng(n).integers(0, below, n)


def sparse(*lengths: int) -> Any:
    total = sum(lengths)
    return keys(total, 1)[:, 0], floats(total), np.array(lengths, "int64")


def keys(n: int, columns: int = 3) -> Any:
    return np.random.default_rng(n).integers(0, 2**63, (n, columns)).astype("uint64")


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def probs(*shape: int, seed: int = 0) -> Any:
    """Random rows that each sum to 1."""
    weights = np.exp(floats(*shape, seed=seed))
    return weights / weights.sum(axis=-1, keepdims=True)


def ragged_of_ragged() -> cb.Ragged:
    """Four documents of 2, 0, 1 and 1 sentences."""
    return cb.Ragged(ragged(2, 1, 3, 1), [2, 0, 1, 1])
