"""Compressed archives by either library: what is written anybody can inflate, and what anybody wrote is read."""

from __future__ import annotations

import importlib.util
import io
import random
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gaecli
from gaecli.formats.npz import deflate, reader
from gaecli.formats.npz.members import open_member

PIECE = 1000


@pytest.fixture(params=["isal", "zlib"], autouse=True)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(reader, "_LARGE_BYTES", 0)  # side by side, as large arrays are
    if request.param == "zlib":
        monkeypatch.setattr(deflate, "_isal", lambda: None)
    elif importlib.util.find_spec("isal") is None:
        pytest.skip("has no wheels for this machine, or was left out")
    return str(request.param)


def content_of(size: int) -> bytes:
    """Half of it noise, half of it not."""
    return random.Random(size).randbytes(size // 2) + bytes(size - size // 2)


def packed(content: bytes, num_threads: int, write_at_once: int) -> tuple[deflate.DeflatedContent, bytes]:
    threads = deflate.DeflaterThreads()
    threads.count = num_threads
    file = io.BytesIO()
    new = deflate.DeflatedContent(threads, file)
    for start in range(0, len(content), write_at_once):
        new.write(content[start : start + write_at_once])
    new.finish()
    threads.close()
    return new, file.getvalue()


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 7 * PIECE + 13])
def test_zlib_inflates_what_was_deflated_in_pieces(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deflate, "PIECE_BYTES", PIECE)
    content, found = content_of(size), set()
    for num_threads, write_at_once in [(1, 10_000), (3, 10_000), (2, 300)]:
        new, body = packed(content, num_threads, write_at_once)
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        assert inflater.decompress(body) == content
        assert (inflater.eof, inflater.unused_data) == (True, b"")
        assert (new.num_bytes, new.packed_bytes, new.crc) == (size, len(body), zlib.crc32(content))
        found.add(body)
    assert len(found) == 1


def rollouts(num_steps: int) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(num_steps)
    shape = (num_steps, 4)
    return {
        "rewards": random.normal(size=shape).astype("f4"),
        "values": random.normal(size=shape).astype("f4"),
        "terminated": random.random(shape) < 0.1,
        "last_values": random.normal(size=4).astype("f4"),
    }


def one_loop(cells: dict[str, np.ndarray[Any, Any]], gamma: float, lam: float) -> np.ndarray[Any, Any]:
    carry, following = np.zeros(4), cells["last_values"].astype("f8")
    advantages = np.empty(cells["rewards"].shape)
    for step in reversed(range(len(advantages))):
        alive = ~cells["terminated"][step]
        delta = cells["rewards"][step] + gamma * alive * following - cells["values"][step].astype("f8")
        carry = delta + gamma * lam * alive * carry
        advantages[step], following = carry, cells["values"][step].astype("f8")
    return advantages


def test_results_are_read_by_numpy_and_other_members_keep_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setattr(deflate, "PIECE_BYTES", PIECE)
    cells, path = rollouts(3000), tmp_path / "r.npz"
    np.savez_compressed(path, **cells)
    before = raw_members(path)
    gaecli.compute(path, layout="time-major", gamma=0.9, lam=0.8)
    with np.load(path) as found, zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        np.testing.assert_allclose(found["advantage"], one_loop(cells, 0.9, 0.8), rtol=1e-5, atol=1e-6)
        assert archive.getinfo("advantage.npy").compress_type == zipfile.ZIP_DEFLATED
        assert archive.comment.decode().count(f'"deflate":"{library} ') == 1
    after = raw_members(path)
    assert {name: after[name] for name in before} == before


def raw_members(path: Path) -> dict[str, bytes]:
    body = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
        ends = [info.header_offset for info in infos[1:]] + [archive.start_dir]
    return {info.filename: body[info.header_offset : end] for info, end in zip(infos, ends, strict=True)}


@pytest.mark.parametrize("where", ["first", "middle", "checksum"])
def test_a_damaged_member_is_told_by_its_name(where: str, tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    np.savez_compressed(path, **rollouts(3000))
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("rewards.npy")
        last = archive.start_dir
    body = bytearray(path.read_bytes())
    start = info.header_offset + 30 + len(info.filename)
    if where == "checksum":
        at = body.index(info.CRC.to_bytes(4, "little"), last)
    else:
        at = start + 30 if where == "first" else start + info.compress_size // 2
    body[at] ^= 0xFF
    path.write_bytes(body)
    with pytest.raises(gaecli.FileError, match=r"`rewards` of `.+` cannot be read"):
        gaecli.compute(path, layout="time-major", gamma=0.9, lam=0.8)
    assert path.read_bytes() == body
    assert list(tmp_path.iterdir()) == [path]


def test_no_more_is_inflated_than_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.npy", bytes(16 << 20))
    import tracemalloc

    with zipfile.ZipFile(path) as archive, open_member(archive, archive.getinfo("zeros.npy")) as member:
        tracemalloc.start()
        try:
            assert member.read(100) == bytes(100)
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()
