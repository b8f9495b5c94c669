"""docs/reference.md is up to date and complete."""

import re
import runpy

import combinet as cb
from helpers.commands import ROOT

PAGE = (ROOT / "docs" / "reference.md").read_text(encoding="utf8")


def test_page_matches_the_output_of_the_script() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "reference.py"))["reference"]()
    assert made == PAGE, "run scripts/reference.py"


def test_page_lists_every_public_name_once() -> None:
    assert sorted(re.findall(r"^- `(\w+)", PAGE, re.MULTILINE)) == sorted(cb.__all__)
