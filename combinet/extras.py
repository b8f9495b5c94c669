"""Imports of optional libraries, with an error that names the extra to install."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str, *libraries: str) -> Iterator[None]:
    """Imports optional libraries inside this block.

    Args:
        name: The extra of combinet that installs the libraries, such as "torch".
        *libraries: The names of the libraries, as in an import statement.

    Raises:
        ImportError: If one of the libraries is not installed. The message names the extra.

    Example:
        >>> with extra("some", "nowhere"):
        ...     import nowhere
        Traceback (most recent call last):
        ImportError: nowhere is not installed; run pip install 'combinet[some]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in libraries:
            raise  # the library is installed, but one of its dependencies is not
        raise ImportError(
            f"{library} is not installed; run pip install 'combinet[{name}]'"
        ) from None
