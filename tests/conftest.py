"""Folders that pytest does not collect, and fixtures that several test modules use."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

collect_ignore = ["helpers"]  # contains no tests; some modules need optional libraries
pytest.register_assert_rewrite("helpers")


@pytest.fixture
def often_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The strict CuPy replacement, with two devices."""
    pytest.importorskip("cupy", reason="strict_cupy checks names against the real CuPy")
    strict_cupy = pytest.importorskip("helpers.strict_cupy")
    strict_cupy.install(monkeypatch)
    return strict_cupy
