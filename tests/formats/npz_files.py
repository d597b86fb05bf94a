"""Small archives of arrays, and those that an archive must not be."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import gaecli

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
