"""What is in an HDF5 file, taken with care: nothing outside of it, nothing twice, and no cell that is not stored.

Links, virtual datasets and external storage name other files, which somebody else may have written there. A
dataset may claim any size: what was never written to it takes no room, and is not looked at.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.array_types import Array
from gaecli.errors import MissingExtraError
from gaecli.formats.base import ColumnInfo, ColumnKind, unreadable
from gaecli.formats.hdf5.texts import is_text

PROVENANCE_ATTRIBUTE = "gaecli"
#: What h5py raises where a file is damaged.
DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError, MemoryError)
#: HDF5 keeps attributes of up to 64 KiB where readers of all versions find them.
_MAX_ATTRIBUTE_BYTES = 60_000
#: No filter stores less than a thousandth of what it is given; what is smaller than that was not written.
_MOST_EXPANSION = 2_000
#: Below this size it does not matter.
_UNSTORED_BYTES = 64 << 20
_HASH_BYTES = 16 << 20
#: Groups in groups; a path of more has no meaning to anybody.
_MOST_LEVELS = 64


def opened(path: Path, mode: str = "r") -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            f"`{path}` is HDF5, which needs the extra `hdf5`", hint="pip install 'gaecli[hdf5]'"
        ) from error
    # Without locks of its own: on what is only read they may not be to be had, and the copy is ours.
    return h5py.File(path, mode, locking=False)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Any]:
    """The open file; damage in it is told as what it is."""
    try:
        with opened(path) as file:
            yield file
    except DAMAGE as error:
        raise unreadable(path, error, "HDF5", "the file may be truncated") from error


@contextlib.contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Writing a copy of `path`: what the disk refuses passes, all else is damage of the source."""
    try:
        yield
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise unreadable(path, error, "HDF5", "the file may be truncated") from error


def member(group: Any, place: str) -> Any:
    """What lies at a path below a group, or None; links other than to objects of this file lead nowhere."""
    import h5py

    for name in filter(None, place.split("/")):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(name, getlink=True), h5py.HardLink):
            return None
        group = group[name]
    return group


def items(group: Any) -> Iterator[tuple[str, Any]]:
    """Everything below a group by its path, each group once; links to other files are not followed."""
    return _items(group, {_address(group)}, "", 0)


def _items(group: Any, seen: set[int], prefix: str, level: int) -> Iterator[tuple[str, Any]]:
    import h5py

    if level > _MOST_LEVELS:
        raise ValueError(f"groups are nested more than {_MOST_LEVELS} levels deep")
    for name in sorted(group):
        item = member(group, name)
        if item is None:
            continue
        yield f"{prefix}{name}", item
        if isinstance(item, h5py.Group) and (address := _address(item)) not in seen:
            seen.add(address)
            yield from _items(item, seen, f"{prefix}{name}/", level + 1)


def _address(item: Any) -> int:
    import h5py

    return int(h5py.h5o.get_info(item.id).addr)


def is_dataset(item: Any) -> bool:
    import h5py

    return isinstance(item, h5py.Dataset)


def lies_elsewhere(dataset: Any) -> bool:
    """Its cells are in other files."""
    return bool(dataset.is_virtual or dataset.external)


def kind_of(dtype: np.dtype[Any]) -> ColumnKind:
    kinds: dict[str, ColumnKind] = {"b": "bool", "i": "int", "u": "int", "f": "float"}
    return kinds.get(dtype.kind, "other")


def info_of(name: str, dataset: Any, num_rows: int, *, is_list: bool, with_texts: bool = False) -> ColumnInfo:
    """A column whose cells are those of the dataset, and of others like it."""
    kind, shape = kind_of(dataset.dtype), dataset.shape or ()
    if with_texts and is_text(dataset.dtype):
        kind = "id"
    reason = why_unusable(dataset, kind)
    if reason is not None and kind != "other" and (lies_elsewhere(dataset) or math.prod(shape[1:]) != 1):
        kind = "other"
    return ColumnInfo(name, kind, f"{dataset.dtype} {shape}", (num_rows,), is_list, unusable=reason)


def why_unusable(dataset: Any, kind: ColumnKind | None = None) -> str | None:
    """Why a dataset is not one number per step, or one text; None where it is."""
    shape = dataset.shape or ()
    if (kind or kind_of(dataset.dtype)) == "other":
        return f"type {dataset.dtype} holds no numbers"
    if math.prod(shape[1:]) != 1:
        return f"shape {shape} holds more than one number per step; arrays of two axes are read from NPZ and `.pt`"
    if lies_elsewhere(dataset):
        return "its content lies in another file"
    num_bytes, stored = math.prod(shape) * int(dataset.dtype.itemsize), dataset.id.get_storage_size()
    if num_bytes > max(_UNSTORED_BYTES, _MOST_EXPANSION * stored):
        return (
            f"shape {shape} takes {num_bytes:,} bytes, and the file has {stored:,} of them: it was not filled"
        )
    return None


def digest_item(name: str, item: Any, digest: Any) -> None:
    """Add all that tells an object from another one: its name, attributes, type, shape and what is stored of it."""
    digest.update(name.encode("utf-8", "surrogateescape"))
    for key in sorted(item.attrs):
        if key != PROVENANCE_ATTRIBUTE:
            digest.update(f"{key}={item.attrs[key]!r}".encode("utf-8", "surrogateescape"))
    if not is_dataset(item):
        return
    digest.update(f"{item.dtype}{item.shape}".encode())
    if item.is_virtual:
        digest.update(repr([tuple(map(str, source[1:3])) for source in item.virtual_sources()]).encode())
    elif item.external:
        digest.update(repr(item.external).encode())
    elif item.chunks is not None:
        _digest_chunks(item, digest)
    elif item.shape == ():
        digest.update(repr(item[()]).encode())
    elif item.shape and item.id.get_storage_size():
        _digest_rows(item, digest)


def _digest_chunks(item: Any, digest: Any) -> None:
    """Those that are there, as they are stored; what lies on a heap by what it says."""
    chunks: list[Any] = []
    item.id.chunk_iter(chunks.append)
    for chunk in sorted(chunks, key=lambda chunk: chunk.chunk_offset):
        digest.update(f"{chunk.chunk_offset}".encode())
        if item.dtype.hasobject:
            region = tuple(
                slice(at, at + side) for at, side in zip(chunk.chunk_offset, item.chunks, strict=True)
            )
            digest.update(repr(item[region].tolist()).encode())
        else:
            mask, content = item.id.read_direct_chunk(chunk.chunk_offset)
            digest.update(f"{mask}".encode())
            digest.update(content)


def _digest_rows(item: Any, digest: Any) -> None:
    rows = max(1, _HASH_BYTES // max(1, item.dtype.itemsize * math.prod(item.shape[1:])))
    is_plain = item.dtype.kind in "biufSV" and not item.dtype.hasobject
    for start in range(0, item.shape[0], rows):
        part = item[start : start + rows]
        digest.update(np.ascontiguousarray(part).tobytes() if is_plain else repr(part.tolist()).encode())


def payload_digest(file: Any, own: set[str]) -> str:
    """Of all names, shapes, attributes and stored cells of a file, but of the datasets at some places."""
    digest = hashlib.sha256()
    for name, item in items(file):
        if name not in own:
            digest_item(name, item, digest)
    return digest.hexdigest()


def column_digests(file: Any, groups: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Of the datasets of these names in all groups, where there are any."""
    found: dict[str, str] = {}
    for name in names:
        digest = hashlib.sha256()
        places = [f"{group}/{name}".strip("/") for group in groups]
        datasets = [(place, item) for place in places if (item := member(file, place)) is not None]
        for place, item in datasets:
            digest_item(place, item, digest)
        if datasets:
            found[name] = digest.hexdigest()
    return found


def storable(cells: Array) -> Array:
    """Texts as bytes: of NumPy's own HDF5 knows nothing."""
    return cells.astype(f"S{cells.dtype.itemsize // 4}") if cells.dtype.kind == "U" else cells


def stored_provenance(file: Any) -> str | None:
    stored = file.attrs.get(PROVENANCE_ATTRIBUTE)
    return stored if isinstance(stored, str) else None


def as_attribute(document: dict[str, Any]) -> str:
    """The provenance, shortened where an attribute cannot hold it."""
    for dropped in ((), ("normalization",), ("normalization", "earlier")):
        kept = {key: value for key, value in document.items() if key not in dropped}
        text = json.dumps(kept, allow_nan=False, separators=(",", ":"))
        if len(text) <= _MAX_ATTRIBUTE_BYTES:
            return text
    return "{}"
