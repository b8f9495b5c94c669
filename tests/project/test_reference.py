"""docs/reference.md: it is what its script makes, and no name is missing."""

import re
import runpy

import combinet as cb
from helpers.commands import ROOT

PAGE = (ROOT / "docs" / "reference.md").read_text(encoding="utf8")


def test_it_is_what_the_script_makes() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "reference.py"))["reference"]()
    assert made == PAGE, "run scripts/reference.py"


def test_every_name_is_in_it_once() -> None:
    assert sorted(re.findall(r"^- `(\w+)", PAGE, re.MULTILINE)) == sorted(cb.__all__)
