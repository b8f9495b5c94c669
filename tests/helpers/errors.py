"""What a test says about an error: its type and a few words, not the sentence."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def raises(error: type[Exception] | tuple[type[Exception], ...], *words: Any) -> Iterator[Any]:
    """Expect an error whose message has each of these as whole words, in any order.

    Name the layer or its path, the value or shape that is wrong, and at most one keyword, so that
    the message can be reworded. Where one string holds several, " ... " stands between them.
    """
    with pytest.raises(error) as caught:
        yield caught
    message = str(caught.value)
    parts = [part for word in words for part in str(word).split(" ... ")]
    missing = [part for part in parts if not _has(message, part)]
    assert not missing, f"{missing} not in the message: {message}"


def _has(message: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", message) is not None
