"""What is not collected here, and fixtures that several test modules use."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

collect_ignore = ["helpers"]  # it has no tests, and some of it needs a library
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
    """The stand-in for CuPy, with two devices."""
    pytest.importorskip("cupy", reason="the stand-in checks names against the real CuPy")
    strict_cupy = pytest.importorskip("helpers.strict_cupy")
    strict_cupy.install(monkeypatch)
    return strict_cupy
