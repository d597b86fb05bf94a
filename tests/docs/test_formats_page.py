"""The page on formats has the tables that the code has."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from gaecli.datasets.registry import KINDS
from gaecli.names import ALIASES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "formats.md"


def test_the_tables_are_current() -> None:
    written = runpy.run_path(str(ROOT / "docs" / "make_formats.py"))["document"]()
    assert PAGE.read_text(encoding="utf-8") == written, "run docs/make_formats.py"
    for names in ALIASES.values():
        for name in names:
            assert f"`{name}`" in written


def test_every_kind_of_data_set_has_a_row() -> None:
    section = PAGE.read_text(encoding="utf-8").split("## Data sets")[1].split("##")[0]
    table = re.findall(r"^\| (?!folder|-)(.+?) \|", section.replace("|---|---|---|", ""), flags=re.MULTILINE)
    assert len(table) == len(KINDS)
