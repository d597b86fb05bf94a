"""While a large new file is synced, the memory of the old one is given back, if nobody else has a use for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gaecli.formats import page_cache
from gaecli.storage import new_file
from gaecli.storage.new_file import NewFile


@pytest.fixture
def given_back(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(inode, length) of what the kernel was told of, 0: all."""
    if not hasattr(os, "posix_fadvise"):
        pytest.skip("this system has no such call")
    found: list[tuple[int, int]] = []

    def noted(handle: int, offset: int, length: int, advice: int) -> None:
        assert (offset, advice) == (0, os.POSIX_FADV_DONTNEED)
        found.append((os.fstat(handle).st_ino, length))

    monkeypatch.setattr(os, "posix_fadvise", noted)
    monkeypatch.setattr(new_file, "_LARGE_BYTES", 10)
    return found


def write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fdatasync(file.fileno())


def replace(path: Path, content: bytes) -> None:
    new = NewFile(path)
    new.create()
    new.temporary.write_bytes(content)
    new.seal()
    new.commit()


def test_the_old_file_is_given_back_before_it_is_replaced(
    tmp_path: Path, given_back: list[tuple[int, int]]
) -> None:
    path = tmp_path / "r.parquet"
    write_synced(path, b"old")
    inode = path.stat().st_ino
    replace(path, b"new" * 10)
    assert given_back == [(inode, 0)]
    assert path.read_bytes() == b"new" * 10


@pytest.mark.parametrize("case", ["small", "new", "has another name", "not on the disk yet"])
def test_nothing_else_is(
    tmp_path: Path, given_back: list[tuple[int, int]], case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.parquet"
    if case != "new":
        write_synced(path, b"old")
    if case == "has another name":
        os.link(path, tmp_path / "same.parquet")
    if case == "not on the disk yet":
        monkeypatch.setattr(page_cache, "_num_unwritten", lambda handle: 1)
    replace(path, b"new" if case == "small" else b"new" * 10)
    assert given_back == []
