"""An empty name is a variable that was not set, and never the current directory."""

from __future__ import annotations

import pytest
from cli.rollout_files import write

import gaecli


@pytest.mark.parametrize("command", ["compute", "inspect", "check", "explain", "sweep", "verify"])
def test_an_empty_name_is_not_the_current_directory(run_gae, tmp_path, command):
    before = write(tmp_path / "a.parquet").read_bytes()
    result = run_gae(command, "", *(("--row", "0") if command == "explain" else ()), cwd=tmp_path)
    assert result.returncode == 2
    assert "an input has an empty name" in result.stderr
    assert "variable" in result.stderr
    assert (tmp_path / "a.parquet").read_bytes() == before


@pytest.mark.parametrize(
    "flags",
    [("-o", ""), ("--sidecar", "-o", ""), ("--dry-run", "-o", ""), ("--files-from", "")],
    ids=" ".join,
)
def test_an_empty_name_is_no_place(run_gae, tmp_path, flags):
    path = write(tmp_path / "a.parquet")
    before = path.read_bytes()
    result = run_gae("compute", path, *flags, cwd=tmp_path)
    assert result.returncode == 2
    assert (
        f"`{'--files-from' if flags[0] == '--files-from' else '--output'}` is an empty name" in result.stderr
    )
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_empty_names_from_python(tmp_path, monkeypatch):
    write(tmp_path / "a.parquet")
    monkeypatch.chdir(tmp_path)
    for call in (
        lambda: gaecli.compute(""),
        lambda: gaecli.compute(["a.parquet", ""]),
        lambda: gaecli.compute("a.parquet", output=""),
        lambda: gaecli.read(""),
        lambda: gaecli.inspect(""),
        lambda: gaecli.verify("a.parquet", column_source=""),
    ):
        with pytest.raises(gaecli.UsageError, match="empty name"):
            call()
