"""Where compiled kernels are cached: beside their files, in the user's cache, or nowhere."""

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
    """A copy of the package that no cache can be written to: a file stands in the folder's way."""
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


def test_a_package_that_cannot_be_written_to_caches_its_kernels_for_the_user(
    installed: Path, tmp_path: Path
) -> None:
    run(installed, tmp_path / "home")
    assert list((tmp_path / "home").rglob("*.softmax-*.nbc"))


def test_kernels_work_where_no_cache_can_be_written_at_all(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run(installed, tmp_path / "file" / "home")
    assert not list(tmp_path.rglob("*.nbc"))
