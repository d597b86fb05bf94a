"""stdout that is full or closed, and stdin that is closed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cli.rollout_files import write

FULL = Path("/dev/full")


@pytest.fixture
def shell(gae_command, tmp_path):
    """A command line in a folder with `r.parquet`; `gae` is ours."""
    write(tmp_path / "r.parquet")

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", line.replace("gae ", f"{gae_command} ", 1)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "line",
    [
        "gae compute r.parquet --dry-run",
        "gae compute r.parquet --dry-run --json",
        "gae compute - -o - -q < r.parquet",
        "gae inspect r.parquet",
        "gae check r.parquet --json",
        "gae explain r.parquet --row 0",
        "gae sweep r.parquet",
        "gae verify r.parquet --against value",
        "gae presets",
        "gae --version",
        "gae compute --help",
    ],
)
def test_a_full_stdout_is_told(shell, line):
    result = shell(f"{line} > /dev/full")
    assert result.returncode == 4
    assert result.stderr.endswith("error: no space left to write stdout\n")
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_where_stderr_is_full_the_exit_code_remains(shell):
    assert shell("gae compute gone.parquet 2> /dev/full").returncode == 4


def test_a_limit_on_files_is_told(shell, tmp_path):
    (tmp_path / "t").mkdir()
    result = shell("ulimit -f 1; TMPDIR=$PWD/t gae compute - --dry-run < r.parquet")
    assert result.returncode == 4
    assert "to spool stdin" in result.stderr
    result = shell("ulimit -f 0; gae compute - --dry-run < r.parquet")
    assert result.returncode == 4
    assert "no temporary directory can be made" in result.stderr


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("gae compute r.parquet -o - >&-", "`--output -` writes to stdout, which is closed"),
        ("gae compute - --dry-run <&-", "from stdin, which is closed"),
        ("gae compute --files-from - <&-", "`--files-from -` reads stdin, which is closed"),
    ],
)
def test_a_closed_stream_carries_nothing(shell, line, says):
    result = shell(line)
    assert result.returncode == 2
    assert says in result.stderr


@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_what_needs_no_stream_does_without(shell, closing):
    assert shell(f"gae compute r.parquet --dry-run {closing}").returncode == 0
