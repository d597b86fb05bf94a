"""A large file whose name another one takes is freed while nobody waits, and at once where somebody could notice."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gaecli.storage import new_file, old_file
from gaecli.storage.new_file import NewFile
from gaecli.storage.old_file import freed_behind

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="who has a file open is not told here"
)


class Closings:
    """Threads that are about to close a file, held up until they are let go."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.num_begun = 0
        self._close = os.close

    def __call__(self, handle: int) -> None:
        if threading.current_thread().name == "gae-old-file":
            self.num_begun += 1
            self.may_go_on.wait(60)
        self._close(handle)


@pytest.fixture
def closings(monkeypatch: pytest.MonkeyPatch) -> Closings:
    found = Closings()
    monkeypatch.setattr(old_file, "_LARGE_BYTES", 1)
    monkeypatch.setattr(new_file, "_LARGE_BYTES", 1)
    monkeypatch.setattr(os, "major", lambda device: 8)  # wherever the tests have their files
    monkeypatch.setattr(os, "close", found)
    return found


def write(path: Path, content: bytes) -> Path:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # it has blocks from here on
    return path


def replace(path: Path, content: bytes) -> None:
    new = NewFile(path)
    new.create()
    new.temporary.write_bytes(content)
    new.seal()
    new.commit()


def open_files() -> list[str]:
    """What this process has open, by names that the kernel marks as deleted where they are gone."""
    found = []
    for handle in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found.append(str(handle.readlink()))
    return found


def wait_until_closed(path: Path) -> None:
    end = time.monotonic() + 120
    while f"{path} (deleted)" in open_files() and time.monotonic() < end:
        time.sleep(0.01)
    assert f"{path} (deleted)" not in open_files()


def test_a_new_file_is_there_before_the_old_one_is_freed(tmp_path: Path, closings: Closings) -> None:
    path = write(tmp_path / "r.parquet", b"old" * 1000)
    replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
    assert f"{path} (deleted)" in open_files()
    closings.may_go_on.set()
    wait_until_closed(path)


@pytest.mark.parametrize("case", ["small", "another name", "no disk", "no room", "a folder", "not there"])
def test_nothing_is_put_off_where_nothing_is_won_or_somebody_could_notice(
    tmp_path: Path, closings: Closings, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.parquet"
    if case == "a folder":
        path.mkdir()
    elif case != "not there":
        write(path, b"old" * 1000)
    if case == "small":
        monkeypatch.setattr(old_file, "_LARGE_BYTES", 1 << 20)
    elif case == "another name":
        os.link(path, tmp_path / "same.parquet")
    elif case == "no disk":
        monkeypatch.setattr(os, "major", lambda device: 0)
    elif case == "no room":
        room = os.statvfs(tmp_path)
        blocks = 2 * path.stat().st_blocks * 512 // room.f_frsize
        fields = list(room)
        fields[4] = blocks - 1  # f_bavail
        monkeypatch.setattr(os, "fstatvfs", lambda handle: os.statvfs_result(fields))
    with freed_behind(path):
        assert str(path) not in open_files()
    assert closings.num_begun == 0


def test_there_is_room_from_twice_the_old_file_on(
    tmp_path: Path, closings: Closings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "r.parquet", b"old" * 1000)
    fields = list(os.statvfs(tmp_path))
    fields[4] = -(-2 * path.stat().st_blocks * 512 // fields[1])
    monkeypatch.setattr(os, "fstatvfs", lambda handle: os.statvfs_result(fields))
    with freed_behind(path):
        path.unlink()
    assert f"{path} (deleted)" in open_files()
    closings.may_go_on.set()
    wait_until_closed(path)


def test_a_file_that_gets_a_hidden_name_is_closed_at_once(tmp_path: Path, closings: Closings) -> None:
    """As file systems do that have no files without names: it goes with the last who has it open."""
    path = write(tmp_path / "r.parquet", b"old" * 1000)
    with freed_behind(path):
        path.rename(tmp_path / ".fuse_hidden0001")
    assert closings.num_begun == 0
    assert not any("fuse_hidden" in name for name in open_files())


def test_a_failure_leaves_nothing_open(tmp_path: Path, closings: Closings) -> None:
    path = write(tmp_path / "r.parquet", b"old" * 1000)
    with pytest.raises(PermissionError), freed_behind(path):
        raise PermissionError
    assert closings.num_begun == 0
    assert str(path) not in open_files()


#: A process that is there for one command, and a shell that tells what it has open and is slow to end: with the
#: folder of the test at the latest, which may be gone before it looks again.
_COMMAND = """
import os, sys
from pathlib import Path
from gaecli.storage import new_file, old_file
from gaecli.unfinished import end_is_waited_for
old_file._LARGE_BYTES, old_file._SHELL = 1, sys.argv[2]
os.major = lambda device: 8
end_is_waited_for()
with old_file.freed_behind(Path(sys.argv[1])):
    os.unlink(sys.argv[1])
print("done", flush=True)
os._exit(0)
"""
_SLOW = """#!/bin/sh
ls -l /proc/$$/fd > "{told}.part"
mv "{told}.part" "{told}"
while [ -e "{told}" ] && [ ! -e "{end}" ]; do sleep 0.05; done
"""


def test_a_command_ends_before_the_old_file_is_freed(tmp_path: Path) -> None:
    path = write(tmp_path / "r.parquet", b"old" * 1000)
    told, end, shell = tmp_path / "told", tmp_path / "end", tmp_path / "slow"
    shell.write_text(_SLOW.format(told=told, end=end))
    shell.chmod(0o755)
    try:
        # Its output ends with it, though its child lives on.
        ran = subprocess.run(
            [sys.executable, "-c", _COMMAND, path, shell],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert (ran.stdout, ran.stderr) == ("done\n", "")
        limit = time.monotonic() + 120
        while not told.exists() and time.monotonic() < limit:
            time.sleep(0.01)
        targets = [line.partition(" -> ")[2] for line in told.read_text().splitlines() if " -> " in line]
        assert f"{path} (deleted)" in targets
        others = [
            one for one in targets if one not in (f"{path} (deleted)", str(shell)) and "/proc/" not in one
        ]
        assert set(others) <= {os.devnull, str(told) + ".part"}
    finally:
        end.touch()


def test_without_a_shell_the_command_frees_it_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "r.parquet", b"old" * 1000)
    words = [sys.executable, "-c", _COMMAND, path, tmp_path / "no shell"]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert (ran.stdout, ran.stderr) == ("done\n", "")
    assert not path.exists()
