"""The pages on explain, sweep and verify show what the commands print."""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gaecli.cli.main import app

ROOT = Path(__file__).parents[2]


def load_script():
    specification = importlib.util.spec_from_file_location("make_studies", ROOT / "docs" / "make_studies.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


make_studies = load_script()


def comparable(text: str) -> str:
    """Without what rounding decides: differences of 1e-15, and the width of their column."""
    text = re.sub(r"(?<=\d) +(0|-?\d\.\d+e-1\d)$", "  ~0", text, flags=re.MULTILINE)
    return re.sub(r"─+", "─", text)


@pytest.mark.parametrize("page", make_studies.PAGES)
def test_a_page_shows_what_its_commands_print(page, run_gae, sample_data, tmp_path, monkeypatch):
    def run(words, folder):
        """In a process that is warm, unlike those of the script."""
        return run_gae(*words, cwd=folder, env={"COLUMNS": make_studies.WIDTH})

    monkeypatch.setattr(make_studies, "run", run)
    folder = tmp_path / "samples"
    shutil.copytree(sample_data, folder)
    written = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert make_studies.commands(written)
    current = make_studies.filled(written, folder)
    assert comparable(current) == comparable(written), "run `python docs/make_studies.py`"


@functools.cache
def help_of(command: str) -> str:
    return CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout


@pytest.mark.parametrize("page", make_studies.PAGES)
def test_every_command_of_the_synopsis_has_flags_that_exist(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    lines = re.findall(r"^    gae (\w+)(.*)$", text, re.MULTILINE)
    assert lines
    for command, rest in lines:
        assert all(flag in help_of(command) for flag in re.findall(r"--[a-z-]+", rest.split("     ")[0]))
