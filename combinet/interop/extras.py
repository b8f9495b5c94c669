"""Importing libraries that an extra installs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str, *libraries: str) -> Iterator[None]:
    """Import optional libraries inside this block.

    Raises ImportError, which names the extra to install, if one of the libraries is missing.

    Example:
        >>> with extra("some", "nowhere"):
        ...     import nowhere
        Traceback (most recent call last):
        ImportError: nowhere is not installed: pip install 'combinet[some]' brings it
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in libraries:
            raise  # the library is installed, but something that it needs is not
        raise ImportError(
            f"{library} is not installed: pip install 'combinet[{name}]' brings it"
        ) from None
