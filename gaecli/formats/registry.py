"""Which format a file is. One line in `FORMATS` registers a format.

The content decides (magic bytes), not the name: a wrong suffix must not make a wrong reader.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from gaecli.errors import FileError
from gaecli.formats.base import RolloutFile
from gaecli.records import dataclass


@dataclass(frozen=True)
class Format:
    """How a format is recognised, and the class that reads it."""

    name: str
    suffixes: tuple[str, ...]
    magic: tuple[bytes, ...]
    #: `module:class or function`; imported when the first file of this format is opened.
    reader: str
    #: As messages name it.
    title: str
    #: Files of this kind are as often something else: a folder's count only where no others are there.
    is_secondary: bool = False
    #: There is no room in the file for what gaecli stores: it stands in one beside it.
    has_record_beside: bool = False
    #: Of a format without magic bytes of its own: `module:function` that tells by more of a file whether it is one.
    look: str = ""
    #: Module that makes a file of it of the rows of another format: `RowTarget` of `formats/rows.py`.
    from_rows: str = ""


FORMATS = (
    Format(
        "parquet",
        (".parquet", ".pq"),
        (b"PAR1", b"PARE"),
        "gaecli.formats.parquet.reader:ParquetInput",
        "Parquet",
        from_rows="gaecli.formats.parquet.from_rows",
    ),
    Format(
        "arrow",
        (".arrow", ".feather", ".ipc", ".arrows"),
        (b"ARROW1\0\0", b"\xff\xff\xff\xff"),
        "gaecli.formats.arrow.ipc:ArrowInput",
        "Arrow IPC",
        from_rows="gaecli.formats.arrow.from_rows",
    ),
    Format(
        "jsonl",
        (".jsonl", ".ndjson"),
        (b"{",),
        "gaecli.formats.jsonl.lines:JsonLinesInput",
        "JSON lines",
        is_secondary=True,
        has_record_beside=True,
        from_rows="gaecli.formats.jsonl.from_rows",
    ),
    Format(
        "hdf5",
        (".hdf5", ".h5"),
        (b"\x89HDF\r\n\x1a\n",),
        "gaecli.formats.hdf5.reader:open_hdf5",
        "HDF5",
        is_secondary=True,
    ),
    Format(
        "pt",
        (".pt", ".pth"),
        (),
        "gaecli.formats.pt.reader:PtInput",
        "torch.save",
        is_secondary=True,
        look="gaecli.formats.pt.look:looks_like_torch",
    ),
    Format(
        "npz",
        (".npz",),
        (b"PK\x03\x04", b"PK\x05\x06"),
        "gaecli.formats.npz.reader:NpzInput",
        "NPZ",
        from_rows="gaecli.formats.npz.from_rows",
    ),
    Format(
        "csv",
        (".csv", ".tsv"),
        (),
        "gaecli.formats.csv.reader:CsvInput",
        "CSV",
        is_secondary=True,
        has_record_beside=True,
        look="gaecli.formats.csv.header:looks_like_csv",
        from_rows="gaecli.formats.csv.from_rows",
    ),
)

#: Suffixes that are picked up from a directory, and those that are if no file has one of the others.
SUFFIXES = tuple(suffix for one in FORMATS if not one.is_secondary for suffix in one.suffixes)
SECONDARY_SUFFIXES = tuple(suffix for one in FORMATS if one.is_secondary for suffix in one.suffixes)

_MAGIC_BYTES = 16
_NAMES = "Parquet, NPZ, Arrow IPC, JSON lines, CSV, HDF5, `torch.save`"

#: Suffixes of files that are not read (`ways_on.py`), as names of directories a mistake.
_OTHER_FILES = frozenset(
    (
        *(".json", ".npy", ".gz", ".zst", ".txt", ".pkl", ".pickle", ".xlsx", ".mat", ".zip"),
        *(".orc", ".safetensors", ".db", ".duckdb", ".tfrecord", ".demo", ".memmap"),
    )
)
#: How files begin that are no text, whatever they look like.
_OTHERS = (
    b"\x93NUMPY",
    b"FEA1",
    b"\x1f\x8b",
    b"\x28\xb5\x2f\xfd",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"\x04\x22\x4d\x18",
    b"[",
    b"<!DOCTYPE",
    b"<!doctype",
    b"<html",
    b"<?xml",
    b"version https:/",
)


def open_file(path: Path) -> RolloutFile:
    """Open a rollout file by its magic bytes; `FileError` says what it is instead."""
    return open_as(format_of(path), path)


def open_as(known: Format, path: Path) -> RolloutFile:
    """Open a file that is known to be of a format."""
    reader: RolloutFile = _imported(known.reader)(path)
    return reader


def _imported(name: str) -> Any:
    module, name = name.split(":")
    return getattr(importlib.import_module(module), name)


def format_of(path: Path) -> Format:
    """The format of a file, by its first bytes; by its name and its text where a format has no such bytes."""
    magic = _read_magic(path)
    may_be_looked_at = bool(magic) and not magic.startswith(_OTHERS)
    for known in FORMATS:
        if magic.startswith(known.magic):
            return known
        if known.look and may_be_looked_at and _imported(known.look)(path):
            return known
    from gaecli.formats.ways_on import unread_file

    raise unread_file(path, magic, _NAMES)


def format_named(name: str) -> Format:
    return next(known for known in FORMATS if known.name == name)


def suffix_format(path: Path) -> Format | None:
    """The format that the name of a file promises."""
    suffix = path.suffix.lower()
    return next((known for known in FORMATS if suffix in known.suffixes), None)


def is_file_suffix(path: Path) -> bool:
    """Whether a name promises a file, of whatever format."""
    return suffix_format(path) is not None or path.suffix.lower() in _OTHER_FILES


def _read_magic(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # to open a pipe would wait for somebody to write to it
            raise FileError(
                f"`{path}` is not a regular file", hint="what comes through a pipe is read from `-`"
            )
        with path.open("rb") as file:
            return file.read(_MAGIC_BYTES)
    except FileNotFoundError as error:
        raise FileError(f"`{path}` does not exist") from error
    except PermissionError as error:
        raise FileError(f"no permission to read `{path}`") from error
    except OSError as error:
        raise FileError(f"`{path}` cannot be read: {error.strerror}") from error
