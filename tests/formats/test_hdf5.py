"""HDF5 files that claim more than they hold, or name what lies outside of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gaecli

h5py = pytest.importorskip("h5py")

#: Nothing of this size can be read: 512 GiB of float64.
HUGE = 2**36


def rollout(path: Path) -> Any:
    """An open file of one episode, whose last step has the advantage 1 - 0.25."""
    file = h5py.File(path, "w")
    group = file.create_group("episode_0")
    group["rewards"] = np.ones(4)
    group["values"] = np.full(4, 0.25)
    group["terminations"] = np.array([False, False, False, True])
    return file


def computed(path: Path) -> str:
    return gaecli.compute(path).files[0].status


def unstored_chunks(group: Any, path: Path) -> None:
    group.create_dataset("big", shape=(HUGE,), dtype="f8", chunks=(1 << 16,))


def unstored_growing_chunks(group: Any, path: Path) -> None:
    group.create_dataset("big", shape=(HUGE, 3), dtype="f4", chunks=(1 << 10, 3), maxshape=(None, 3))


def unstored_bytes(group: Any, path: Path) -> None:
    group.create_dataset("big", shape=(HUGE,), dtype="f8")


def unstored_texts(group: Any, path: Path) -> None:
    group.create_dataset("big", shape=(HUGE,), dtype=h5py.string_dtype(), chunks=(1 << 16,))


def three_stored_chunks(group: Any, path: Path) -> None:
    big = group.create_dataset("big", shape=(HUGE,), dtype="f8", chunks=(1 << 12,), compression="gzip")
    for row in (5, HUGE // 2, HUGE - 1):
        big[row] = 1.0


def stored_texts(group: Any, path: Path) -> None:
    big = group.create_dataset("big", shape=(HUGE,), dtype=h5py.string_dtype(), chunks=(16,))
    big[HUGE - 1] = "ä"


def a_virtual_one(group: Any, path: Path) -> None:
    with h5py.File(path.with_name("elsewhere.h5"), "w") as other:
        other["x"] = np.ones(8)
    layout = h5py.VirtualLayout(shape=(HUGE,), dtype="f8")
    layout[:8] = h5py.VirtualSource(path.with_name("elsewhere.h5"), "x", shape=(8,))
    group.create_virtual_dataset("big", layout)


def an_external_one(group: Any, path: Path) -> None:
    path.with_name("elsewhere.bin").write_bytes(bytes(64))
    group.create_dataset("big", shape=(8,), dtype="f8", external=[(path.with_name("elsewhere.bin"), 0, 64)])


def groups_in_a_circle(group: Any, path: Path) -> None:
    for name in "abcdefgh":
        group[name] = group
        group.create_group(f"{name}_")["back"] = group.file["/"]


UNUSED = [
    unstored_chunks,
    unstored_growing_chunks,
    unstored_bytes,
    unstored_texts,
    three_stored_chunks,
    stored_texts,
    a_virtual_one,
    an_external_one,
    groups_in_a_circle,
]


@pytest.mark.few(4)
@pytest.mark.parametrize("add", UNUSED)
def test_what_is_not_used_costs_what_is_stored_of_it(
    add: Callable[[Any, Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "x.h5"
    with rollout(path) as file:
        add(file["episode_0"], path)
    start = time.process_time()
    assert [computed(path), computed(path)] == ["written", "up to date"]
    assert time.process_time() - start < 10
    with h5py.File(path) as file:
        assert file["episode_0/advantage"][3] == 0.75
        if "big" in file["episode_0"]:
            assert file["episode_0/big"].shape[0] in (HUGE, 8)


@pytest.mark.parametrize("add", [three_stored_chunks, stored_texts])
def test_a_change_of_one_stored_cell_is_noticed(add: Callable[[Any, Path], None], tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with rollout(path) as file:
        add(file["episode_0"], path)
    computed(path)
    with h5py.File(path, "r+") as file:
        big = file["episode_0/big"]
        big[HUGE - 1] = "ö" if big.dtype.hasobject else 2.0
    assert [computed(path), computed(path)] == ["written", "up to date"]


@pytest.mark.parametrize("add", [a_virtual_one, an_external_one])
def test_files_outside_are_not_opened(
    add: Callable[[Any, Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.h5"
    with rollout(path) as file:
        add(file["episode_0"], path)
    for other in tmp_path.glob("elsewhere.*"):
        other.unlink()
        other.symlink_to("/dev/zero")
    assert [computed(path), computed(path)] == ["written", "up to date"]


@pytest.mark.parametrize("add", [unstored_chunks, unstored_bytes, a_virtual_one, an_external_one])
def test_what_is_used_has_to_be_stored(add: Callable[[Any, Path], None], tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with rollout(path) as file:
        add(file["episode_0"], path)
    with pytest.raises(gaecli.GaeError, match=r"was not filled|lies in another file") as raised:
        gaecli.compute(path, value_column="big")
    assert raised.value.exit_code in (2, 3)


@pytest.mark.parametrize(
    "link", [h5py.ExternalLink("other.h5", "rewards"), h5py.SoftLink("/episode_0/rewards")]
)
def test_links_in_an_episode_are_not_followed(link: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["rewards"] = np.ones(4)
    with rollout(path) as file:
        second = file.create_group("episode_1")
        second["values"] = np.ones(4)
        second["terminations"] = np.array([False, False, False, True])
        second["rewards"] = link
    with pytest.raises(gaecli.DataError, match="`rewards` is not in `episode_1`"):
        gaecli.compute(path)


@pytest.mark.parametrize(
    ("link", "told"),
    [(h5py.ExternalLink("other.h5", "/"), "in another file"), (h5py.SoftLink("/episode_0"), "soft link")],
)
def test_episodes_that_are_links_are_refused(link: Any, told: str, tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with rollout(path) as file:
        file["episode_1"] = link
    with pytest.raises(gaecli.FileError, match=told):
        gaecli.compute(path)


def test_groups_in_groups_without_end_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with rollout(path) as file:
        group = file
        for _ in range(2_000):
            group = group.create_group("a")
    with pytest.raises(gaecli.FileError, match="nested more than 64 levels"):
        gaecli.compute(path)


def test_a_name_that_is_listed_and_leads_nowhere_is_damage(tmp_path: Path) -> None:
    """The name of a link, changed where it is stored: the tree that finds it by name has the old order."""
    path = tmp_path / "main_data.hdf5"
    with h5py.File(path, "w", libver="earliest") as file:
        for number in range(3):
            group = file.create_group(f"episode_{number}")
            group["rewards"], group["values"] = np.ones(2), np.zeros(2)
            group["terminations"] = [False, True]
    content = path.read_bytes()
    assert content.count(b"episode_0\0") == 1
    path.write_bytes(content.replace(b"episode_0\0", b"episode_9\0"))
    before = path.read_bytes()
    with pytest.raises(gaecli.FileError, match="nothing is found under that name"):
        gaecli.compute(path)
    assert path.read_bytes() == before
