"""scripts/count_lines.py counts only code; no file of the package has more than 300 lines."""

import runpy
from pathlib import Path
from typing import Any

import pytest

import combinet

LIMIT = 300
SCRIPT = Path(combinet.__file__).parents[1] / "scripts" / "count_lines.py"
PACKAGE = Path(combinet.__file__).parent

SOURCE = '''"""A module.

Two paragraphs.
"""

# A comment.
import os  # 1: another comment


class Some:
    """A docstring."""

    text = """2

    5"""  # the blank line is in a string


def function(  # 6
    a,  # 7
):  # 8
    """A docstring
    of two lines.
    """
    return a  # 9
'''


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_count_skips_docstrings_comments_and_blank_lines(script: dict[str, Any]) -> None:
    assert script["code_lines"](SOURCE) == 9


def test_no_file_exceeds_the_limit(script: dict[str, Any]) -> None:
    files = script["count"](PACKAGE)
    assert len(files) > 50
    assert not {str(path): lines for path, lines in files.items() if lines > LIMIT}
