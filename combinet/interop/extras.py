"""What is there if an extra has been installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load(module: str, extra: str) -> Any:
    """Import another library's module.

    Raises ImportError, with the extra that brings the library, where it is missing.

    Example:
        >>> load("json", "none").loads("[1]")
        [1]
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # it is there, but something that it needs is not
        library = module.partition(".")[0]
        raise ImportError(
            f"{library} is not installed: pip install 'combinet[{extra}]' brings it"
        ) from None
