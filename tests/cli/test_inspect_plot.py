"""`gae inspect --plot` draws what `gae compute` would compute, and writes nothing else."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("html", b"<!")])
def test_a_picture_is_drawn_and_the_file_stays_as_it_is(run_gae, copy_sample, tmp_path, suffix, magic):
    path = copy_sample("cartpole.parquet")
    before = path.read_bytes()
    picture = tmp_path / f"picture.{suffix}"
    result = run_gae("inspect", path, "--plot", picture)
    assert result.returncode == 0, result.stderr
    assert picture.read_bytes().startswith(magic)
    assert path.read_bytes() == before


def test_another_kind_of_picture_is_refused_before_anything_is_read(run_gae, tmp_path):
    result = run_gae("inspect", tmp_path / "not-there.parquet", "--plot", "picture.bmp")
    assert result.returncode == 2
    assert "`--plot picture.bmp`" in result.stderr
