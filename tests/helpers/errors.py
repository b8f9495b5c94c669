"""Checks an error's type and a few words of its message."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def raises(error: type[Exception] | tuple[type[Exception], ...], *words: Any) -> Iterator[Any]:
    """Expects an error whose message contains each of these words as whole words, in any order.

    Pass the layer's name or path, the wrong value or shape, and at most one keyword, so that
    the message can be reworded. One string can hold several words, separated by " ... ".
    """
    with pytest.raises(error) as caught:
        yield caught
    message = str(caught.value)
    parts = [part for word in words for part in str(word).split(" ... ")]
    missing = [part for part in parts if not _has(message, part)]
    assert not missing, f"{missing} not in the message: {message}"


def _has(message: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", message) is not None
