"""The copy of a file that is going to be replaced: its memory is given back as it is read for the last time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import small_blocks

import gaecli
from gaecli.formats.page_cache import can_be_given_back
from gaecli.formats.parquet import copy_range
from gaecli.formats.parquet.copy_range import Copier, Copy
from gaecli.formats.parquet.footer import read_footer
from gaecli.formats.parquet.splice import RowsWritten

CONTENT = bytes(range(250)) * 4
GIVEN_BACK = "gaecli.formats.page_cache.give_back"


class Copied:
    """What is copied of 1,000 bytes, at most 300 ahead, and which of them are given back."""

    def __init__(self, folder: Path) -> None:
        self.given: list[tuple[int, int]] = []
        self._copied = threading.Condition()
        self._num_copied = 0
        self.source, self.target = folder / "source", folder / "target"
        self.source.write_bytes(CONTENT)
        self.target.touch()

    def begin(self, **options: Any) -> Copier:
        file = self.source.open("rb", buffering=0)
        os.fdatasync(file.fileno())
        return Copier(file, "source", self.target, [Copy(0, 0, len(CONTENT))], **options)

    def copy(self, source: Any, target: Any, copy: Copy, *_: Any) -> None:
        os.pwrite(target.fileno(), os.pread(source.fileno(), copy.length, copy.source), copy.target)
        with self._copied:
            self._num_copied = copy.target + copy.length
            self._copied.notify()

    def give_back(self, handle: int, start: int, stop: int) -> None:
        with self._copied:
            self.given.append((start, stop))
            self._copied.notify()

    def until_given(self, offset: int) -> None:
        with self._copied:
            assert self._copied.wait_for(lambda: self.given and self.given[-1][1] >= offset, timeout=60)

    def until(self, num_bytes: int) -> int:
        """How much is copied, once it is so much, or after a while."""
        with self._copied:
            self._copied.wait_for(lambda: self._num_copied >= num_bytes, timeout=0.2)
            return self._num_copied


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copied:
    found = Copied(tmp_path)
    for name, size in {
        "SYNCHRONOUS_BYTES": 0,
        "_PIECE_BYTES": 100,
        "_AHEAD_BYTES": 300,
        "_STALLED_SECONDS": 100,
        "_FOLIO_BYTES": 50,
    }.items():
        monkeypatch.setattr(copy_range, name, size)
    monkeypatch.setattr(copy_range, "copy_range", found.copy)
    monkeypatch.setattr(GIVEN_BACK, found.give_back)
    return found


def test_the_copy_keeps_pace_with_what_is_read_for_the_last_time(copied: Copied) -> None:
    copying = copied.begin(follows=True)
    assert copied.until(500) == 400, "300 bytes ahead, and the piece that begins there"
    copying.read_to(120)
    assert copied.until(600) == 500
    assert copied.given == [(0, 100)], "what was read, in whole folios"
    copying.join()
    assert copied.target.read_bytes() == CONTENT, "at the end nothing is waited for"
    assert copied.given == [(0, 100)]


@pytest.mark.parametrize(
    "options", [{}, {"follows": True, "largest_group": 1000}], ids=["stays", "one group"]
)
def test_other_copies_wait_for_nobody(copied: Copied, options: dict[str, Any]) -> None:
    copying = copied.begin(**options)
    assert copied.until(1000) == 1000
    copying.join()
    assert copied.given == []


def test_nobody_is_waited_for_who_gets_no_further(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_range, "_STALLED_SECONDS", 0.01)
    copying = copied.begin(follows=True)
    assert copied.until(1000) == 1000
    assert copied.given == []
    copying.read_to(420)
    copying.read_to(470)
    copied.until_given(450)
    copying.join()
    assert copied.given[0][0] == 0
    assert copied.given[-1][1] == 450, "what was copied before it was read"


def test_a_copy_that_waits_can_be_stopped(copied: Copied) -> None:
    copying = copied.begin(follows=True)
    copied.until(400)
    copying.stop()
    assert copied.until(500) == 400


def test_what_stands_behind_is_written_while_the_copy_waits(copied: Copied) -> None:
    copying = copied.begin(follows=True)
    copied.until(400)
    for offset in (1000, 1003):
        copying.put(b"new", offset)
    copying.put_all()
    assert copied.target.read_bytes()[1000:] == b"newnew"
    assert copied.until(500) == 400
    copying.put(b"end", 1006)
    copying.join()
    assert copied.target.read_bytes() == CONTENT + b"newnewend"


@pytest.mark.parametrize(
    "waits", [lambda copying: copying.put(b"new", 1003), Copier.put_all], ids=["room", "all"]
)
def test_who_waits_behind_a_copy_that_fails_is_told(
    waits: Callable[[Copier], None], copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, fails = threading.Event(), threading.Event()

    def fail(*_: Any) -> None:
        begun.set()
        assert fails.wait(timeout=60)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copy_range, "copy_range", fail)
    monkeypatch.setattr(copy_range, "_WAITING_BYTES", 0)
    copying = copied.begin()
    assert begun.wait(timeout=60)
    copying.put(b"new", 1000)
    threading.Timer(0.02, fails.set).start()
    with pytest.raises(OSError, match="No space"):
        waits(copying)
    copying.stop()


def test_what_the_disk_has_not_yet_is_not_given_back(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with path.open("wb", buffering=0) as file:
        file.write(CONTENT)
        unwritten = can_be_given_back(file.fileno())
        os.fdatasync(file.fileno())
        assert can_be_given_back(file.fileno())
    if unwritten:
        pytest.skip("this kernel, or this file system, does not tell")


def test_rows_that_are_written_are_read_no_more(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": np.arange(100), "b": np.arange(100.0)}), path, row_group_size=40)
    metadata = pq.read_metadata(path)
    starts = [metadata.row_group(group).column(0).dictionary_page_offset for group in range(3)]
    rows = RowsWritten(read_footer(path))
    assert [rows.read_to(num_rows) for num_rows in (39, 1, 30, 20, 10)] == [
        starts[0],
        starts[1],
        starts[1],
        starts[2],
        read_footer(path).start,
    ]


@pytest.mark.parametrize(
    ("settings", "follows"),
    [({}, True), ({"normalize": "all"}, True), ({"output": "other.parquet"}, False)],
    ids=["in place", "read twice", "elsewhere"],
)
def test_a_file_that_is_replaced_gives_its_memory(
    settings: dict[str, Any], follows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []

    class Noted(Copier):
        def __init__(self, *args: Any, **options: Any) -> None:
            found.append(options["follows"])
            super().__init__(*args, **options)

    monkeypatch.setattr("gaecli.formats.parquet.splice.Copier", Noted)
    with small_blocks(10) as folder:
        table = pa.table({"reward": np.ones(40), "value": np.ones(40), "done": np.arange(40) % 4 == 3})
        pq.write_table(table, folder / "r.parquet", row_group_size=10)
        if "output" in settings:
            settings = {"output": folder / "other.parquet"}
        gaecli.compute(folder / "r.parquet", **settings)
    assert found == [follows]
