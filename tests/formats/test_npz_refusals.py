"""Archives that are not what they seem: damage, headers that lie, names that lead elsewhere."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from formats.npz_files import STEPS, archive, arrays, header, members, npy, refused, saved

import gaecli


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


@pytest.mark.few(2)
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
    # Not the first line break: the time in the header before it may hold one.
    "a byte of its numbers": lambda raw, info, entry: flip(
        raw, raw.index(b"\n", raw.index(b"NUMPY", info.header_offset)) + 3
    ),
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
