"""`gae inspect --plot` draws what `gae compute` would compute, and writes nothing else."""

from __future__ import annotations

from typer.testing import CliRunner

from gaecli.cli.main import app


def test_a_picture_is_drawn_and_the_file_stays_as_it_is(copy_sample, tmp_path):
    """The other kinds of picture: tests/studies/test_plots.py."""
    path = copy_sample("cartpole.parquet")
    before = path.read_bytes()
    picture = tmp_path / "picture.svg"
    result = CliRunner().invoke(app, ["inspect", str(path), "--plot", str(picture)])
    assert result.exit_code == 0, result.output
    assert picture.read_bytes().startswith(b"<?xml")
    assert path.read_bytes() == before


def test_another_kind_of_picture_is_refused_before_anything_is_read(run_gae, tmp_path):
    result = run_gae("inspect", tmp_path / "not-there.parquet", "--plot", "picture.bmp")
    assert result.returncode == 2
    assert "`--plot picture.bmp`" in result.stderr
