"""NPZ: what is added, what stays as it was, and archives that mean harm."""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gaecli
from gaecli.commands.check import check
from gaecli.commands.inspect import InspectOptions, inspect
from gaecli.formats.npz.reader import NpzInput

STEPS = 24


def arrays(shape: tuple[int, ...] = (STEPS,), seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "rewards": random.normal(size=shape).astype(np.float32),
        "values": random.normal(size=shape).astype(np.float32),
        "terminated": random.random(shape) < 0.2,
    }


def saved(path: Path, **more: np.ndarray) -> Path:
    np.savez(path, **arrays(), **more)
    return path


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array)
    return buffer.getvalue()


def header(text: str, version: tuple[int, int] = (1, 0), claimed: int | None = None) -> bytes:
    encoded = text.encode() + b"\n"
    size = len(encoded) if claimed is None else claimed
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", size) + encoded


def archive(path: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def members(**more: bytes) -> dict[str, bytes]:
    return {f"{name}.npy": npy(array) for name, array in arrays().items()} | more


def refused(path: Path, kind: type[gaecli.GaeError], match: str, **settings: object) -> gaecli.GaeError:
    """`compute` refuses the file, and leaves it and its folder as they were."""
    before, beside = path.read_bytes(), sorted(path.parent.iterdir())
    with pytest.raises(kind, match=match) as caught:
        gaecli.compute(path, **settings)
    assert path.read_bytes() == before
    assert sorted(path.parent.iterdir()) == beside
    return caught.value


# What is added


@pytest.mark.parametrize(
    ("layout", "shape"),
    [("long", (STEPS,)), ("time-major", (6, 4)), ("batch-major", (4, 6)), ("time-major", (6, 4, 1))],
)
def test_new_arrays_have_the_shape_of_the_rewards(
    layout: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "r.npz"
    np.savez(path, **arrays(shape))
    gaecli.compute(path, layout=layout)
    written = np.load(path)
    for name in ("advantage", "return"):
        assert written[name].shape == shape
        assert written[name].dtype == np.float32


def test_time_major_is_batch_major_on_its_side(tmp_path: Path) -> None:
    given = arrays((7, 5))
    np.savez(tmp_path / "time.npz", **given)
    np.savez(tmp_path / "batch.npz", **{name: array.T for name, array in given.items()})
    gaecli.compute(tmp_path / "time.npz", layout="time-major")
    gaecli.compute(tmp_path / "batch.npz", layout="batch-major")
    one, other = np.load(tmp_path / "time.npz"), np.load(tmp_path / "batch.npz")
    for name in ("advantage", "return"):
        assert one[name].T.tobytes() == other[name].tobytes()


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, ">f4", ">f8", np.longdouble, np.int8, np.uint64]
)
def test_numbers_of_every_type_are_taken_as_what_they_are(dtype: object, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rewards, values = (random.integers(0, 9, STEPS).astype(dtype) for _ in range(2))
    terminated = arrays()["terminated"]
    np.savez(tmp_path / "odd.npz", rewards=rewards, values=values, terminated=terminated)
    plain = {"rewards": rewards.astype(np.float64), "values": values.astype(np.float64)}
    np.savez(tmp_path / "plain.npz", terminated=terminated, **plain)
    for name in ("odd.npz", "plain.npz"):
        gaecli.compute(tmp_path / name)
    odd, same = np.load(tmp_path / "odd.npz"), np.load(tmp_path / "plain.npz")
    assert odd["advantage"].tobytes() == same["advantage"].tobytes()


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_columns_first_and_big_endian_are_only_ways_to_lie_in_memory(device: str, tmp_path: Path) -> None:
    if device == "cpu":
        pytest.importorskip("torch")
    given = arrays((6, 4))
    np.savez(tmp_path / "c.npz", **given)
    moved = {name: np.asfortranarray(array) for name, array in given.items()}
    moved["rewards"] = moved["rewards"].astype(">f4")
    np.savez(tmp_path / "f.npz", **moved)
    for name in ("c.npz", "f.npz"):
        gaecli.compute(tmp_path / name, layout="time-major", device=device)
    one, other = np.load(tmp_path / "c.npz"), np.load(tmp_path / "f.npz")
    assert one["advantage"].tobytes() == other["advantage"].tobytes()


# What stays as it was


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_every_other_member_keeps_its_bytes_and_its_compression(compression: int, tmp_path: Path) -> None:
    more = {"note.txt": b"not an array", "sub/folder/x.npy": npy(np.arange(3)), "empty.npy": b""}
    path = archive(tmp_path / "r.npz", members(**more), compression)
    old = compressed_members(path)
    gaecli.compute(path)
    new = compressed_members(path)
    assert list(new) == [*old, "advantage.npy", "return.npy"]
    assert {name: new[name] for name in old} == old
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        assert file.getinfo("advantage.npy").compress_type == compression


def compressed_members(path: Path) -> dict[str, tuple[int, int, bytes]]:
    """Method, checksum and the very bytes of every member, by its local header."""
    found = {}
    with path.open("rb") as file, zipfile.ZipFile(path) as zipped:
        for info in zipped.infolist():
            file.seek(info.header_offset + 26)
            lengths = struct.unpack("<HH", file.read(4))
            file.seek(sum(lengths), 1)
            found[info.filename] = (info.compress_type, info.CRC, file.read(info.compress_size))
    return found


def test_other_levels_of_compression_stay_although_python_has_one_only(tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name, content in members(**{"zeros.npy": npy(np.zeros(100_000))}).items():
            file.writestr(name, content)
    old = compressed_members(path)
    gaecli.compute(path)
    assert {name: compressed_members(path)[name] for name in old} == old


def test_a_file_written_to_a_pipe_has_sizes_behind_its_members_and_they_stay(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self, target: io.BufferedWriter) -> None:
            self.target = target

        def writable(self) -> bool:
            return True

        def write(self, block: object) -> int:
            return self.target.write(block)  # type: ignore[arg-type]

    path = tmp_path / "r.npz"
    with path.open("wb") as target, zipfile.ZipFile(Pipe(target), "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members().items():
            file.writestr(name, content)
    with zipfile.ZipFile(path) as file:
        assert all(info.flag_bits & 0x08 for info in file.infolist())
    gaecli.compute(path)
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
    for name, array in arrays().items():
        assert np.load(path)[name].tobytes() == array.tobytes()


def test_names_in_utf8_and_in_the_code_page_of_old_zips_stay(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "r.npz", members(**{"größe.npy": npy(np.arange(2)), "plaenty.npy": npy(np.ones(1))})
    )
    # Without the flag for UTF-8, names are in code page 437, where ä is 0x84.
    raw = path.read_bytes().replace(b"plaenty.npy", b"pl\x84nty_.npy")
    path.write_bytes(raw)
    gaecli.compute(path)
    with zipfile.ZipFile(path) as file:
        assert {"größe.npy", "plänty_.npy"} <= set(file.namelist())
        assert file.testzip() is None
        for info in file.infolist():
            assert local_name(path, info) == info.filename


def local_name(path: Path, info: zipfile.ZipInfo) -> str:
    """The name before the data, as those zip tools see it that do not look into the directory first."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        flags, length = struct.unpack("<6xH18xH2x", file.read(30))
        assert flags & 0x800 == info.flag_bits & 0x800
        return file.read(length).decode("utf-8" if flags & 0x800 else "cp437")


def test_replacing_our_arrays_leaves_no_trace_of_the_old_ones(tmp_path: Path) -> None:
    path = saved(tmp_path / "r.npz")
    gaecli.compute(path, gamma=0.9)
    first = path.stat().st_size
    gaecli.compute(path, gamma=0.8)
    with zipfile.ZipFile(path) as file:
        assert file.namelist().count("advantage.npy") == 1
    assert abs(path.stat().st_size - first) < 100  # the provenance may be longer


def test_a_comment_of_somebody_else_is_kept_beside_the_provenance(tmp_path: Path) -> None:
    for number, comment in enumerate((b"made on a sunny day", b'{"who": "me"}')):
        path = saved(tmp_path / f"{number}.npz")
        with zipfile.ZipFile(path, "a") as file:
            file.comment = comment
        gaecli.compute(path)
        with zipfile.ZipFile(path) as file:
            document = json.loads(file.comment)
        assert document["gaecli"]["settings"]["gamma"] == 0.99
        assert document.get("comment", document.get("who")) in ("made on a sunny day", "me")
        assert gaecli.compute(path).files[0].status == "up to date"


def test_the_provenance_is_gone_with_the_comment_and_then_the_arrays_are_foreign(tmp_path: Path) -> None:
    path = saved(tmp_path / "r.npz")
    gaecli.compute(path)
    with np.load(path) as loaded:
        np.savez(path, **loaded)
    error = refused(path, gaecli.UsageError, "`advantage` already, which carries no mark")
    assert "--overwrite" in str(error.hint)
    assert gaecli.compute(path, overwrite=True).files[0].status == "written"


def test_a_changed_array_is_seen_and_computed_with(tmp_path: Path) -> None:
    path = saved(tmp_path / "r.npz")
    gaecli.compute(path)
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()}
        comment = file.comment
    content["rewards.npy"] = npy(arrays()["rewards"] + 1)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in content.items():
            file.writestr(name, data)
        file.comment = comment
    assert gaecli.compute(path).files[0].status == "written"


# Archives that are not what they seem


def test_a_bare_array_under_the_wrong_name_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    np.save(tmp_path / "r.npy", np.zeros(3))
    (tmp_path / "r.npy").rename(path)
    refused(path, gaecli.FileError, "a single NumPy array")


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"PK\x03\x04", b"PK\x05\x06" + b"\0" * 10, b"PK\x03\x04" * 50]
)
def test_less_than_an_archive_is_an_error_of_the_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    path.write_bytes(content)
    refused(path, gaecli.FileError, r"r\.npz")


def test_an_archive_without_arrays_has_no_reward(tmp_path: Path) -> None:
    path = archive(tmp_path / "r.npz", {})
    refused(path, gaecli.UsageError, "no reward column")


def test_every_truncation_is_an_error_of_the_file(tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole.npz").read_bytes()
    path = tmp_path / "r.npz"
    for length in range(1, len(whole), 7):
        path.write_bytes(whole[:length])
        refused(path, gaecli.FileError, r"r\.npz")


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_damage_in_the_middle_of_an_array_is_an_error_of_the_file(compression: int, tmp_path: Path) -> None:
    """Behind the header, which is all that was looked at when the file was opened."""
    random = np.random.default_rng(0)
    content = {"rewards.npy": npy(random.integers(0, 50, 40_000) / 7), "values.npy": npy(np.zeros(40_000)),
               "terminated.npy": npy(np.zeros(40_000, np.bool_))}  # fmt: skip
    path = archive(tmp_path / "r.npz", content, compression)
    with zipfile.ZipFile(path) as file:
        info = file.getinfo("rewards.npy")
    whole = path.read_bytes()
    for share in (0.5, 0.7, 0.9):
        middle = info.header_offset + int(info.compress_size * share)
        damaged = bytearray(whole)
        damaged[middle : middle + 64] = bytes(byte ^ 0xFF for byte in whole[middle : middle + 64])
        path.write_bytes(damaged)
        refused(path, gaecli.FileError, "`rewards`")


class Exploit:
    """Unpickling this would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_object_arrays_are_never_unpickled(tmp_path: Path) -> None:
    victim = tmp_path / "unpickled"
    objects = np.array([Exploit(victim)] * STEPS, dtype=object)
    bad = {"rewards.npy": npy_of_objects(objects), "infos.npy": npy_of_objects(objects)}
    path = archive(tmp_path / "r.npz", members() | bad)
    refused(path, gaecli.DataError, "unpickling, which can run code")
    # In an array that nobody uses they are carried along.
    path = archive(tmp_path / "s.npz", members(**{"infos.npy": bad["infos.npy"]}))
    gaecli.compute(path)
    with zipfile.ZipFile(path) as file:
        assert file.read("infos.npy") == bad["infos.npy"]
    assert not victim.exists()


def npy_of_objects(array: np.ndarray) -> bytes:
    text = repr({"descr": "|O", "fortran_order": False, "shape": array.shape})
    return header(text) + pickle.dumps(array.tolist())


def test_members_of_one_name_are_refused_where_they_are_used(tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path, "w") as file:
            for name, content in [*members().items(), ("rewards.npy", npy(np.zeros(STEPS)))]:
                file.writestr(name, content)
    refused(path, gaecli.DataError, "`rewards` .*two arrays have this name")


def test_members_of_one_name_stay_where_they_are_not_used(tmp_path: Path, recwarn) -> None:
    path = tmp_path / "r.npz"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path, "w") as file:
            for name, content in [
                *members().items(),
                ("x.npy", npy(np.zeros(1))),
                ("x.npy", npy(np.ones(1))),
            ]:
                file.writestr(name, content)
    gaecli.compute(path)
    with zipfile.ZipFile(path) as file:
        contents = [file.read(info) for info in file.infolist() if info.filename == "x.npy"]
    assert contents == [npy(np.zeros(1)), npy(np.ones(1))]
    assert not recwarn.list


def test_names_that_point_elsewhere_are_never_extracted(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    evil = {
        name: npy(np.arange(3)) for name in ("../evil.npy", "/evil_root.npy", "..\\evil.npy", "a/../../b.npy")
    }
    path = archive(inner / "r.npz", members(**evil))
    gaecli.compute(path)
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["inner", "r.npz"]
    with zipfile.ZipFile(path) as file:
        assert set(evil) <= set(file.namelist())
    assert not Path("/evil_root.npy").exists()


@pytest.mark.parametrize(
    ("descr", "shape"),
    [
        ("'<f4'", f"({1 << 40},)"),
        ("'<f4'", f"({STEPS}, {1 << 40})"),
        ("'<U1000000000'", f"({STEPS},)"),
        ("'<f4'", f"(-{STEPS},)"),
        ("'<f4'", "(-4, -6)"),
        ("'<f4'", "(True,)"),
        ("'<f4'", "('a',)"),
        ("'<f4'", str((1,) * 100)),
        ("'nonsense'", f"({STEPS},)"),
        ("[('a', '<f4')]", f"({STEPS},)"),
        ("'<f4' if", f"({STEPS},)"),
        ("'<c8'", f"({STEPS},)"),
    ],
)
def test_headers_that_lie_are_an_error_of_the_data(descr: str, shape: str, tmp_path: Path) -> None:
    lie = header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}")
    data = arrays()["rewards"].tobytes()
    path = archive(tmp_path / "r.npz", members() | {"rewards.npy": lie + data})
    refused(path, gaecli.DataError, "`rewards`")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000,
        "{" + "'a': 1, " * 2000 + "}",
        "\t 'x'\n y",
        "b'' * 9999999999",
        "__import__('os').getpid()",
        "\0",
    ],
)
def test_headers_that_are_no_header_are_an_error_of_the_data(text: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "r.npz", members() | {"rewards.npy": header(text)})
    refused(path, gaecli.DataError, "`rewards`")


def test_a_header_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    bomb = header("{", (2, 0), claimed=1 << 31) + b" " * (64 << 20)
    path = archive(tmp_path / "r.npz", members() | {"rewards.npy": bomb}, zipfile.ZIP_DEFLATED)
    error = refused(path, gaecli.DataError, "`rewards`.*claims 2,147,483,648 bytes")
    assert error.exit_code == 3


def a_bomb(path: Path, name: str, num_bytes: int) -> Path:
    """An archive of a few kilobytes, one array of which really expands to so many bytes."""
    count = num_bytes // 4
    start = header(repr({"descr": "<f4", "fortran_order": False, "shape": (count,)}))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for other, content in members().items():
            if other != f"{name}.npy":
                file.writestr(other, content)
        with file.open(f"{name}.npy", "w", force_zip64=True) as member:
            member.write(start)
            for _ in range(num_bytes // (1 << 20)):
                member.write(bytes(1 << 20))
    return path


def test_one_array_longer_than_the_others_is_never_expanded(tmp_path: Path) -> None:
    path = a_bomb(tmp_path / "r.npz", "rewards", 64 << 20)
    assert path.stat().st_size < 1 << 20
    refused(path, gaecli.DataError, "has shape", memory_bytes=1 << 30)


def test_arrays_that_expand_a_thousandfold_beyond_the_memory_limit_are_refused(tmp_path: Path) -> None:
    path = same_length_bomb(tmp_path / "r.npz", 64 << 20)
    error = refused(
        path, gaecli.FileError, "`rewards` from 65,314 to 67,108,864.*bomb", memory_bytes=16 << 20
    )
    assert "--memory" in str(error.hint)
    gaecli.compute(path, memory_bytes=256 << 20, dry_run=True)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_any_shape_and_order_is_read_as_it_is(save: Any, order: str, tmp_path: Path) -> None:
    shapes = [(), (0,), (1,), (7,), (3, 4), (3, 4, 5), (0, 4)]
    numbers = {f"a{index}": np.arange(math.prod(shape)).reshape(shape) for index, shape in enumerate(shapes)}
    content = {name: np.array(array, ">i8", order=order) for name, array in numbers.items()}
    path = tmp_path / "r.npz"
    save(path, **content)
    file = NpzInput(path)
    for name, array in content.items():
        found = file.read_whole(name).values
        assert found.shape == array.shape
        assert np.array_equal(found, array)


def same_length_bomb(path: Path, num_bytes: int) -> Path:
    """Rewards, values and flags of one length, so that nothing but their size is wrong."""
    count = num_bytes // 4
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, descr, size in (("rewards", "<f4", 4), ("values", "<f4", 4), ("terminated", "|b1", 1)):
            start = header(repr({"descr": descr, "fortran_order": False, "shape": (count,)}))
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                member.write(start)
                for _ in range(count * size // (1 << 20)):
                    member.write(bytes(1 << 20))
    return path


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    """A gigabyte in a megabyte: refused, and the process never had more than it has anyway."""
    path = same_length_bomb(tmp_path / "r.npz", 512 << 20)
    assert path.stat().st_size < 2 << 20
    # Not `ru_maxrss`: a child takes that over from the process that started it.
    script = (
        "import re, sys, gaecli\n"
        "try:\n"
        "    gaecli.compute(sys.argv[1], memory_bytes=256 << 20)\n"
        "except gaecli.FileError as error:\n"
        "    print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True, timeout=60
    )
    peak_kib = int(done.stdout)
    assert peak_kib < 400 << 10


METHODS = {"deflate": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}


def lone_bomb(path: Path, name: str, compression: int, num_bytes: int = 256 << 20) -> Path:
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


@pytest.mark.parametrize(
    ("name", "method"), [("rewards", "bzip2"), ("values", "deflate"), ("values", "lzma"), ("video", "bzip2")]
)
def test_no_command_expands_more_of_a_bomb_than_it_has_memory_for(
    name: str, method: str, tmp_path: Path
) -> None:
    """bzip2 makes a quarter of a gigabyte of three hundred bytes, and the header of an array is among them."""
    path = lone_bomb(tmp_path / "r.npz", name, METHODS[method])
    script = (
        "import re, sys, gaecli\n"
        "from gaecli.commands.inspect import InspectOptions, inspect\n"
        "from gaecli.commands.check import check\n"
        "def compute(path): gaecli.compute(path, memory_bytes=16 << 20, dry_run=True)\n"
        "def look(path): inspect([path], options=InspectOptions(head=3, memory_bytes=16 << 20))\n"
        "def apply_rules(path): check([path], memory_bytes=16 << 20)\n"
        "for command in (compute, look, apply_rules):\n"
        "    try:\n"
        "        command(sys.argv[1])\n"
        "    except gaecli.GaeError as error:\n"
        "        assert 'shape' in str(error), error\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 180 << 10


def test_check_refuses_a_bomb_before_it_reads_a_row(tmp_path: Path) -> None:
    path = same_length_bomb(tmp_path / "r.npz", 64 << 20)
    ((_, message, _, exit_code),) = check([path], memory_bytes=16 << 20).failures
    assert "bomb" in message
    assert exit_code == 4


def test_inspect_tells_of_a_bomb_and_reads_none_of_it(tmp_path: Path) -> None:
    path = same_length_bomb(tmp_path / "r.npz", 64 << 20)
    (found,) = inspect([path], options=InspectOptions(head=3, memory_bytes=16 << 20)).infos
    assert "bomb" in str(found.problem)
    assert not found.statistics
    assert all(step.cells.keys() <= {"terminated"} for step in found.head)


def test_aliases_of_different_shapes_are_told_from_their_headers(tmp_path: Path) -> None:
    path = saved(tmp_path / "r.npz", vf_preds=np.zeros(STEPS + 5))
    refused(path, gaecli.UsageError, rf"`values` and `vf_preds` .*shapes \({STEPS},\) and \({STEPS + 5},\)")


def test_a_bomb_in_an_array_that_is_not_used_is_copied_as_it_is(tmp_path: Path) -> None:
    path = a_bomb(tmp_path / "r.npz", "video", 256 << 20)
    size = path.stat().st_size
    gaecli.compute(path, memory_bytes=16 << 20)
    assert path.stat().st_size < size + 4096
    with zipfile.ZipFile(path) as file:
        assert file.getinfo("video.npy").file_size > 256 << 20


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """The other kind of bomb: one kernel of data that a thousand entries of the directory point to."""
    path = archive(tmp_path / "r.npz", members(**{"x.npy": npy(np.zeros(9)), "y.npy": npy(np.zeros(9))}))
    raw = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        x, y = (file.getinfo(f"{name}.npy").header_offset for name in "xy")
    entry = raw.rindex(b"y.npy") - 4  # its offset stands before its name in the directory
    assert struct.unpack("<I", raw[entry : entry + 4]) == (y,)
    path.write_bytes(raw[:entry] + struct.pack("<I", x) + raw[entry + 4 :])
    refused(path, gaecli.FileError, "overlaps")


def test_an_encrypted_member_is_an_error_where_it_is_used(tmp_path: Path) -> None:
    path = archive(tmp_path / "r.npz", members())
    raw = bytearray(path.read_bytes())
    local, central = raw.index(b"PK\x03\x04"), raw.index(b"PK\x01\x02")  # of the first member: the rewards
    raw[local + 6] |= 1
    raw[central + 8] |= 1
    path.write_bytes(bytes(raw))
    refused(path, gaecli.FileError, "`rewards`.*encrypted")


#: What is done to a member: to its entry in the directory, or to its bytes.
HARM: dict[str, Callable[[bytearray, zipfile.ZipInfo, int], None]] = {
    "a byte of its numbers": lambda raw, info, entry: flip(raw, raw.index(b"\n", info.header_offset) + 3),
    "a digit of its shape": lambda raw, info, entry: flip(raw, raw.index(b"(4,)", info.header_offset) + 1),
    "its type": lambda raw, info, entry: flip(raw, raw.index(b"<f4", info.header_offset) + 1),
    "its beginning": lambda raw, info, entry: flip(raw, raw.index(b"NUMPY", info.header_offset)),
    "an unknown method": lambda raw, info, entry: struct.pack_into("<H", raw, entry + 10, 77),
    "a flag of encryption": lambda raw, info, entry: struct.pack_into("<H", raw, entry + 8, 1),
    "a place past the end": lambda raw, info, entry: struct.pack_into("<I", raw, entry + 42, len(raw) + 999),
    "the place of another member": lambda raw, info, entry: struct.pack_into("<I", raw, entry + 42, 0),
}


def flip(raw: bytearray, position: int) -> None:
    raw[position] ^= 1


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", ["values", "last_values"])
def test_a_damaged_member_is_an_error_of_the_file_where_it_is_used(
    name: str, harm: str, tmp_path: Path
) -> None:
    given = arrays((6, 4)) | {"last_values": np.zeros(4, np.float32)}
    if name == "values":
        given = {key: array.reshape(-1)[:4] for key, array in given.items() if key != "last_values"}
    path = archive(tmp_path / "r.npz", {f"{key}.npy": npy(array) for key, array in given.items()})
    raw = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        info = file.getinfo(f"{name}.npy")
    entry = raw.index(f"{name}.npy".encode(), raw.index(b"PK\x01\x02")) - 46
    while raw[entry : entry + 4] != b"PK\x01\x02":  # `last_values` ends as `values` does
        entry = raw.index(f"{name}.npy".encode(), entry + 47) - 46
    HARM[harm](raw, info, entry)
    path.write_bytes(raw)
    error = refused(path, gaecli.FileError, rf"`{name}` of `.*r\.npz`")
    assert error.exit_code == 4
    assert "--" not in str(error.hint)


def test_a_damaged_member_that_nobody_uses_does_no_harm(tmp_path: Path) -> None:
    path = archive(tmp_path / "r.npz", members(**{"video.npy": npy(np.zeros(50))}))
    raw = bytearray(path.read_bytes())
    flip(raw, raw.index(b"NUMPY", raw.index(b"video.npy")))
    path.write_bytes(raw)
    assert gaecli.compute(path).files[0].status == "written"
