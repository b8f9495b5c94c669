"""Cache of compiled kernels: next to their files, in the cache of the user, or nowhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import combinet as cb

pytest.importorskip("numba")

PROGRAM = """
import numpy as np
import combinet as cb
X = np.arange(12, dtype="f").reshape(3, 4) ** 2
Y = cb.NumbaOps().softmax(X)
np.testing.assert_allclose(Y, np.exp(X - X[:, 3:]) / np.exp(X - X[:, 3:]).sum(1, keepdims=True))
print(cb.__file__)
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Returns a copy of the package whose cache folder cannot be made: a file has its name."""
    package = tmp_path / "site" / "combinet"
    shutil.copytree(Path(cb.__file__).parent, package, ignore=lambda *_: ["__pycache__"])
    (package / "ops" / "kernels" / "__pycache__").touch()
    return package


def run(package: Path, home: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    env |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "LOCALAPPDATA": str(home)}
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=package.parent)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent == package


def test_package_without_write_access_uses_the_cache_of_the_user(
    installed: Path, tmp_path: Path
) -> None:
    run(installed, tmp_path / "home")
    assert list((tmp_path / "home").rglob("*.softmax-*.nbc"))


def test_kernels_work_without_a_writable_cache(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run(installed, tmp_path / "file" / "home")
    assert not list(tmp_path.rglob("*.nbc"))
