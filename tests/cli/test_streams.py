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


@pytest.mark.few(4)
@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "line",
    [
        "compute r.parquet --dry-run",
        "compute r.parquet --dry-run --json",
        "compute - -o - -q",
        "inspect r.parquet",
        "presets",
        "--version",
        "compute --help",
        *(
            pytest.param(line, marks=pytest.mark.slow)
            for line in (
                "check r.parquet --json",
                "explain r.parquet --row 0",
                "sweep r.parquet",
                "verify r.parquet --against value",
            )
        ),
    ],
)
def test_a_full_stdout_is_told(start_gae, tmp_path, line):
    path = write(tmp_path / "r.parquet")
    with FULL.open("wb") as full, path.open("rb") as stdin:
        run = start_gae(*line.split(), cwd=tmp_path, stdin=stdin, stdout=full)
        errors = run.communicate(timeout=60)[1]
    assert run.returncode == 4
    assert errors.endswith(b"error: no space left to write stdout\n")
    assert b"Traceback" not in errors


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_where_stderr_is_full_the_exit_code_remains(start_gae, tmp_path):
    with FULL.open("wb") as full:
        assert start_gae("compute", tmp_path / "gone.parquet", stderr=full).wait(timeout=60) == 4


@pytest.mark.parametrize(
    ("limit", "says"), [(1024, b"to spool stdin"), (0, b"no temporary directory can be made")]
)
def test_a_limit_on_files_is_told(start_gae, tmp_path, limit, says):
    path, folder = write(tmp_path / "r.parquet"), tmp_path / "t"
    folder.mkdir()
    with path.open("rb") as stdin:
        run = start_gae(
            "compute", "-", "--dry-run", stdin=stdin, env={"TMPDIR": str(folder)}, file_size=limit
        )
        errors = run.communicate(timeout=60)[1]
    assert run.returncode == 4
    assert says in errors


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


@pytest.mark.few(">&- 2>&- <&-")
@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_what_needs_no_stream_does_without(shell, closing):
    assert shell(f"gae compute r.parquet --dry-run {closing}").returncode == 0
