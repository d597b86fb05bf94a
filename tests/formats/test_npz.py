"""NPZ: what is added, what stays as it was, and archives that mean harm."""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats.npz_files import STEPS, archive, arrays, members, npy, refused, saved

import gaecli
from gaecli.formats.npz.reader import NpzInput

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


@pytest.mark.few(5)
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
        assert file.read("größe.npy") == npy(np.arange(2))
        assert file.read("plänty_.npy") == npy(np.ones(1))
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
