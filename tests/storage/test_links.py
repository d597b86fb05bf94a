"""Links on the way to a result: whose they are, where they lie, and those that lead in a circle."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gaecli import compute
from gaecli.cli.values import check_plot
from gaecli.errors import FileError
from gaecli.storage.links import check_links


@pytest.fixture
def rollout(tmp_path):
    columns = {"reward": np.ones(4), "value": np.zeros(4), "terminated": np.zeros(4, bool)}
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    return tmp_path / "r.parquet"


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """A folder like /tmp, in which every link is one of somebody else."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    me, real = os.geteuid(), Path.stat

    def stat(path, **how):
        found = real(path, **how)
        return os.stat_result((*found[:4], me + 1, *found[5:])) if path == folder else found

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(os, "geteuid", lambda: me + 2)
    return folder


def at_once(shared, target):
    (shared / "out.parquet").symlink_to(target / "x.parquet")
    return shared / "out.parquet"


def in_a_parent(shared, target):
    (shared / "way").symlink_to(target)
    return shared / "way" / "x.parquet"


def deeper_in_a_chain(shared, target):
    (shared / "hop").symlink_to(target / "x.parquet")
    mine = shared.parent / "mine.parquet"
    mine.symlink_to("./shared/../shared/hop")
    return mine


WAYS = [at_once, in_a_parent, deeper_in_a_chain]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_sidecar", [False, True])
def test_a_link_of_somebody_else_in_a_shared_folder_is_not_followed(rollout, shared, way, is_sidecar):
    target = shared.parent / "target"
    target.mkdir()
    output = way(shared, target)
    with pytest.raises(FileError, match="somebody else") as failure:
        compute(rollout, output, sidecar=is_sidecar)
    assert failure.value.exit_code == 4
    assert f"`{shared}/" in str(failure.value)
    assert not list(target.iterdir())


def test_a_sidecar_beside_the_input_is_looked_at_too(rollout, shared):
    (shared / "r.parquet").write_bytes(rollout.read_bytes())
    (shared / "r.gae.parquet").symlink_to(shared.parent / "theirs.parquet")
    with pytest.raises(FileError, match=r"r\.gae\.parquet` is a link that somebody else"):
        compute(shared / "r.parquet", sidecar=True)
    assert not (shared.parent / "theirs.parquet").exists()


def test_a_file_in_an_output_folder_is_looked_at_too(rollout, shared):
    folder = shared.parent / "out"
    folder.mkdir()
    (folder / "r.parquet").symlink_to(shared / "hop")
    (shared / "hop").symlink_to(shared.parent / "theirs.parquet")
    with pytest.raises(FileError, match="hop` on the way to"):
        compute(rollout, f"{folder}/")


def test_a_picture_is_not_drawn_behind_a_link_of_somebody_else(shared):
    (shared / "way").symlink_to(shared.parent)
    with pytest.raises(FileError, match="somebody else"):
        check_plot(str(shared / "way" / "x.svg"))


@pytest.mark.parametrize("mode", [0o755, 0o1755, 0o777])
def test_links_in_other_folders_are_followed(rollout, shared, mode):
    shared.chmod(mode)
    compute(rollout, at_once(shared, shared.parent))
    assert "advantage" in pq.read_schema(shared.parent / "x.parquet").names


def test_own_links_and_those_of_the_owner_of_the_folder_are_followed(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    for way in WAYS:
        check_links(way(shared, tmp_path))


@pytest.mark.parametrize("is_sidecar", [False, True])
@pytest.mark.parametrize("name", ["a.parquet", "a.parquet/x.parquet", "mine.parquet"])
def test_links_in_a_circle_are_named(rollout, tmp_path, name, is_sidecar):
    (tmp_path / "a.parquet").symlink_to("b")
    (tmp_path / "b").symlink_to(tmp_path / "a.parquet")
    (tmp_path / "mine.parquet").symlink_to("a.parquet")
    with pytest.raises(FileError, match=r"/(a\.parquet|b)` on the way to it leads in a circle") as failure:
        compute(rollout, tmp_path / name, sidecar=is_sidecar)
    assert failure.value.exit_code == 4
