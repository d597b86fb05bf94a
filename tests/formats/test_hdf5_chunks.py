"""Chunks of HDF5 datasets that hold less than their header says are refused; whole ones are not."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaecli.formats.hdf5.chunks import check_chunks

h5py = pytest.importorskip("h5py")

FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "deflate": {"compression": "gzip"},
    "shuffle": {"compression": "gzip", "shuffle": True},
    "checksum": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "checksum alone": {"fletcher32": True},
    "another": {"compression": "lzf"},
}


@pytest.mark.parametrize("name", FILTERS)
def test_whole_chunks_are_whole(name: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        cells = np.arange(10, dtype=np.float32)
        check_chunks(file.create_dataset("x", data=cells, chunks=(4,), **FILTERS[name]))
        check_chunks(file.create_dataset("later", (10,), np.int8, chunks=(4,), **FILTERS[name]))
        check_chunks(file.create_dataset("plain", data=cells))


@pytest.mark.parametrize("num_bytes", [0, 15, 17])
def test_a_packed_chunk_of_another_size_is_refused(num_bytes: int, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        dataset = file.create_dataset("x", (10,), np.float32, chunks=(4,), compression="gzip")
        dataset.id.write_direct_chunk((4,), zlib.compress(bytes(num_bytes)))
        with pytest.raises(ValueError, match="a chunk of `/x` does not hold the 16 bytes"):
            check_chunks(dataset)


def test_a_packed_chunk_of_no_bytes_that_make_sense_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        dataset = file.create_dataset("x", (10,), np.float32, chunks=(4,), compression="gzip")
        dataset.id.write_direct_chunk((0,), b"no deflate")
        with pytest.raises(ValueError, match="does not hold"):
            check_chunks(dataset)
