"""Terminals and pipes of odd widths and old encodings."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.text import Text

from gaecli.report.text_flow import paragraph


@pytest.mark.parametrize("width", [-7, -1, 0, 1])
def test_a_word_is_broken_into_single_characters_where_no_more_fit(width: int) -> None:
    lines = paragraph(Text("ab 文c"), width)
    assert "".join(line.plain for line in lines) == "ab文c"
    assert all(len(line.plain) == 1 for line in lines)


@pytest.mark.parametrize("columns", ["1", "19"])
def test_a_narrow_pipe_gets_a_table_of_twenty_columns(run_gae, sample_data: Path, columns: str) -> None:
    result = run_gae("inspect", sample_data / "cartpole.parquet", env={"COLUMNS": columns}, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "reward" in result.stdout


@pytest.mark.parametrize("columns", ["9" * 5000, "²", "-3"])
def test_what_is_no_width_is_none(run_gae, columns: str) -> None:
    result = run_gae("compute", "--help", env={"COLUMNS": columns, "LINES": columns})
    assert result.returncode == 0, result.stderr
    assert "--gamma" in result.stdout


@pytest.mark.few(2)
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii"])
def test_help_spells_out_what_an_encoding_cannot_carry(run_gae, encoding: str) -> None:
    result = run_gae("compute", "--help", env={"PYTHONIOENCODING": encoding}, text=False)
    assert result.returncode == 0, result.stderr
    shown = result.stdout.decode(encoding)
    assert "gamma" in shown
    assert "lambda" in shown
    assert "\\u03" not in shown
