"""Which format a file is. One line here registers a format.

The content decides (magic bytes), not the name: a wrong suffix must not make a wrong reader.
"""

from __future__ import annotations

from pathlib import Path

from gaecli.errors import FileError, MissingExtraError
from gaecli.formats.base import RolloutFile

PARQUET_SUFFIXES = (".parquet", ".pq")
NPZ_SUFFIXES = (".npz",)
#: Suffixes that are picked up from a directory.
SUFFIXES = (*PARQUET_SUFFIXES, *NPZ_SUFFIXES)

_MAGIC_BYTES = 16


def open_file(path: Path) -> RolloutFile:
    """Open a rollout file by its magic bytes; `FileError` says what it is instead."""
    magic = _read_magic(path)
    if magic.startswith((b"PAR1", b"PARE")):
        from gaecli.formats.parquet import ParquetInput

        return ParquetInput(path)
    if magic.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        from gaecli.formats.npz import NpzInput

        return NpzInput(path)
    raise _not_a_rollout_file(path, magic)


def _read_magic(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC_BYTES)
    except FileNotFoundError as error:
        raise FileError(f"`{path}` does not exist") from error
    except PermissionError as error:
        raise FileError(f"no permission to read `{path}`") from error
    except OSError as error:
        raise FileError(f"`{path}` cannot be read: {error.strerror}") from error


def _not_a_rollout_file(path: Path, magic: bytes) -> Exception:
    known = {
        b"\x89HDF\r\n\x1a\n": "HDF5",
        b"ARROW1": "Arrow IPC",
        b"\x93NUMPY": "a single NumPy array (.npy)",
        b"\x80": "a pickle",
        b"\x1f\x8b": "gzip",
    }
    if not magic:
        return FileError(f"`{path}` is empty: 0 bytes", hint="expected a Parquet or NPZ file")
    kind = next((name for start, name in known.items() if magic.startswith(start)), None)
    if kind == "HDF5":
        return MissingExtraError(
            f"`{path}` is HDF5, which needs the extra `hdf5`", hint="pip install 'gaecli[hdf5]'"
        )
    if kind == "a pickle":
        return FileError(
            f"`{path}` is a pickle; reading one can run code, so it is never loaded",
            hint="save the arrays with `numpy.savez` or as Parquet",
        )
    what = f"it looks like {kind}" if kind else "it does not start like one"
    return FileError(f"`{path}` is not a Parquet or NPZ file: {what}")
