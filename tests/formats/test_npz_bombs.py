"""Archives that expand a thousandfold: refused, or copied without being expanded."""

from __future__ import annotations

import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from formats.npz_files import STEPS, arrays, header, members, npy, refused, saved

import gaecli
from gaecli.commands.check import check
from gaecli.commands.inspect import InspectOptions, inspect


def a_bomb(path: Path, name: str, num_bytes: int) -> Path:
    """An archive of a few kilobytes, one array of which really expands to so many bytes."""
    count = num_bytes // 4
    start = header(repr({"descr": "<f4", "fortran_order": False, "shape": (count,)}))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for other, content in members().items():
            if other != f"{name}.npy":
                file.writestr(other, content)
        with deflated(file, f"{name}.npy") as member:
            member.write(start)
            for _ in range(num_bytes // len(NOTHING)):
                member.write(NOTHING)
    return path


NOTHING = bytes(1 << 20)


class Repeated:
    """What deflate makes of `NOTHING`: made once, and given each time."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        self._again = b""

    def compress(self, content: bytes) -> bytes:
        if content is NOTHING and self._again:
            return self._again
        # After a full flush it knows nothing of what was before.
        made = self._deflate.compress(content) + self._deflate.flush(zlib.Z_FULL_FLUSH)
        if content is NOTHING:
            self._again = made
        return made

    def flush(self) -> bytes:
        return self._deflate.flush()


def deflated(file: zipfile.ZipFile, name: str) -> Any:
    """To be written to."""
    member: Any = file.open(name, "w", force_zip64=True)
    member._compressor = Repeated()
    return member


def test_one_array_longer_than_the_others_is_never_expanded(tmp_path: Path) -> None:
    path = a_bomb(tmp_path / "r.npz", "rewards", 64 << 20)
    assert path.stat().st_size < 1 << 20
    refused(path, gaecli.DataError, "has shape", memory_bytes=1 << 30)


def test_arrays_that_expand_a_thousandfold_beyond_the_memory_limit_are_refused(tmp_path: Path) -> None:
    path = same_length_bomb(tmp_path / "r.npz", 4 << 20)
    with zipfile.ZipFile(path) as file:
        packed = file.getinfo("rewards.npy").compress_size
    error = refused(
        path, gaecli.FileError, f"`rewards` from {packed:,} to 4,194,304.*bomb", memory_bytes=1 << 20
    )
    assert "--memory" in str(error.hint)
    gaecli.compute(path, memory_bytes=16 << 20, dry_run=True)


def same_length_bomb(path: Path, num_bytes: int) -> Path:
    """Rewards, values and flags of one length, so that nothing but their size is wrong."""
    count = num_bytes // 4
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, descr, size in (("rewards", "<f4", 4), ("values", "<f4", 4), ("terminated", "|b1", 1)):
            start = header(repr({"descr": descr, "fortran_order": False, "shape": (count,)}))
            with deflated(file, f"{name}.npy") as member:
                member.write(start)
                for _ in range(count * size // len(NOTHING)):
                    member.write(NOTHING)
    return path


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    """A quarter of a gigabyte in a quarter of a megabyte: refused, and the process never had more than usual."""
    path = same_length_bomb(tmp_path / "r.npz", 128 << 20)
    assert path.stat().st_size < 1 << 20
    # Not `ru_maxrss`: a child takes that over from the process that started it.
    script = (
        "import re, sys, gaecli\n"
        "try:\n"
        "    gaecli.compute(sys.argv[1], memory_bytes=64 << 20)\n"
        "except gaecli.FileError as error:\n"
        "    print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True, timeout=60
    )
    peak_kib = int(done.stdout)
    assert peak_kib < 180 << 10


METHODS = {"deflate": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}


def lone_bomb(path: Path, name: str, compression: int, num_bytes: int) -> Path:
    """One array that expands beside three of a few bytes, which have another shape."""
    given = arrays((6, 4)) | {"last_values": np.zeros(4, np.float32)}
    start = header(repr({"descr": "<f4", "fortran_order": False, "shape": (num_bytes // 16, 4)}))
    with zipfile.ZipFile(path, "w", compression) as file:
        for other, array in given.items():
            if other != name:
                file.writestr(f"{other}.npy", npy(array))
        with file.open(f"{name}.npy", "w", force_zip64=True) as member:
            member.write(start)
            for _ in range(num_bytes // (8 << 20)):
                member.write(bytes(8 << 20))
    return path


BOMBS = (("values", "deflate"), ("values", "lzma"), ("rewards", "bzip2"), ("video", "bzip2"))


def test_no_command_expands_more_of_a_bomb_than_it_has_memory_for(tmp_path: Path) -> None:
    """bzip2 makes megabytes of two hundred bytes, and the header of an array is among them.

    One process for all: its peak only grows, and what it is before the first of them is what the commands
    themselves need.
    """
    saved(tmp_path / "0.npz")
    for number, (name, method) in enumerate(BOMBS, start=1):
        lone_bomb(tmp_path / f"{number}.npz", name, METHODS[method], num_bytes=24 << 20)
    script = (
        "import re, sys, gaecli\n"
        "from gaecli.commands.inspect import InspectOptions, inspect\n"
        "from gaecli.commands.check import check\n"
        "def compute(path): gaecli.compute(path, memory_bytes=8 << 20, dry_run=True)\n"
        "def look(path): inspect([path], options=InspectOptions(head=3, memory_bytes=8 << 20))\n"
        "def apply_rules(path): check([path], memory_bytes=8 << 20)\n"
        "def refused(command, path):\n"
        "    try:\n"
        "        command(path)\n"
        "    except gaecli.GaeError as error:\n"
        "        assert 'shape' in str(error), error\n"
        "for path in sys.argv[1:]:\n"
        "    for command in (compute, look, apply_rules):\n"
        "        refused(command, path)\n"
        "    print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    paths = [tmp_path / f"{number}.npz" for number in range(len(BOMBS) + 1)]
    done = subprocess.run(
        [sys.executable, "-c", script, *paths], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    peaks_kib = [*map(int, done.stdout.split())]
    grown = dict(zip(BOMBS, (peak - peaks_kib[0] for peak in peaks_kib[1:]), strict=True))
    assert max(grown.values()) < 20 << 10, grown


def test_check_refuses_a_bomb_before_it_reads_a_row(tmp_path: Path) -> None:
    path = same_length_bomb(tmp_path / "r.npz", 16 << 20)
    (failure,) = check([path], memory_bytes=4 << 20).failures
    assert "bomb" in failure.error
    assert failure.exit_code == 4


def test_inspect_tells_of_a_bomb_and_reads_none_of_it(tmp_path: Path) -> None:
    path = same_length_bomb(tmp_path / "r.npz", 16 << 20)
    (found,) = inspect([path], options=InspectOptions(head=3, memory_bytes=4 << 20)).infos
    assert "bomb" in str(found.problem)
    assert not found.statistics
    assert all(step.cells.keys() <= {"terminated"} for step in found.head)


def test_aliases_of_different_shapes_are_told_from_their_headers(tmp_path: Path) -> None:
    path = saved(tmp_path / "r.npz", vf_preds=np.zeros(STEPS + 5))
    refused(path, gaecli.UsageError, rf"`values` and `vf_preds` .*shapes \({STEPS},\) and \({STEPS + 5},\)")


def test_a_bomb_in_an_array_that_is_not_used_is_copied_as_it_is(tmp_path: Path) -> None:
    path = a_bomb(tmp_path / "r.npz", "video", 64 << 20)
    size = path.stat().st_size
    gaecli.compute(path, memory_bytes=4 << 20)
    assert path.stat().st_size < size + 4096
    with zipfile.ZipFile(path) as file:
        assert file.getinfo("video.npy").file_size > 64 << 20
