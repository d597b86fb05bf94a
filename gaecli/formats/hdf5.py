"""HDF5 with a group per episode (Minari `episode_0`, robomimic `data/demo_0`), behind the extra `hdf5`.

A group is a row and its one-dimensional datasets are lists. New datasets are added to each group of a
copy, so that everything else in the file stays as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.errors import DataError, FileError, MissingExtraError
from gaecli.formats.base import NO_ROLES, Column, ColumnInfo, Kind, OutputColumn, Unit, WritePlan
from gaecli.formats.hdf5_chunks import check_chunks
from gaecli.formats.own_columns import fingerprint, signature
from gaecli.formats.stored import parse_document
from gaecli.rollouts import Array

PROVENANCE_ATTRIBUTE = "gaecli"
#: HDF5 keeps attributes of up to 64 KiB where readers of all versions find them.
_MAX_ATTRIBUTE_BYTES = 60_000
_EPISODE = re.compile(r"(?P<name>episode|demo|traj|trajectory)_?(?P<number>\d+)")
_HASH_BYTES = 16 << 20
_DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError)


class Hdf5Input:
    """One HDF5 file, opened by the names and shapes of what is in its episodes."""

    format_name = "hdf5"
    known_roles = NO_ROLES

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            status = path.stat()
            with _opened(path) as file:
                self.groups = _episode_groups(file, path)
                stored = file.attrs.get(PROVENANCE_ATTRIBUTE)
                self._provenance = stored if isinstance(stored, str) else None
                self.columns: Mapping[str, ColumnInfo] = _columns(file[self.groups[0]], len(self.groups))
        except _DAMAGE as error:
            raise _unreadable(path, error) from error
        self.identity = (status.st_size, status.st_mtime_ns, status.st_ino)
        self.num_rows = len(self.groups)

    @property
    def provenance(self) -> dict[str, Any] | None:
        return parse_document(self._provenance)

    def fingerprint(self, own_columns: Sequence[str]) -> str:
        return fingerprint(self, own_columns)

    def digests(self, names: Sequence[str]) -> dict[str, str]:
        try:
            with _opened(self.path) as file:
                return _digests(file, self.groups, names)
        except _DAMAGE as error:
            raise _unreadable(self.path, error) from error

    def payload(self, own_columns: Sequence[str]) -> str:
        """Of all names, shapes, attributes and cells but gaecli's."""
        own = {f"{group}/{name}" for group in self.groups for name in own_columns}
        digest = hashlib.sha256()
        try:
            with _opened(self.path) as file:
                for name, item in _items(file):
                    if name not in own:
                        _digest(name, item, digest)
        except _DAMAGE as error:
            raise _unreadable(self.path, error) from error
        return digest.hexdigest()

    def struct_fields(self) -> Sequence[str]:
        return ()

    def may_hold_flags(self, name: str) -> bool:
        return name in self.columns

    def find(self, name: str) -> ColumnInfo | None:
        return self.columns.get(name)

    def units(self, rows_per_block: int, like: str) -> Sequence[Unit]:
        """Episodes of at most so many steps together; a longer one alone."""
        units: list[Unit] = []
        start = steps = 0
        for row, length in enumerate(self._lengths_of(like)):
            if row > start and steps + length > rows_per_block:
                units.append(Unit(start, row))
                start, steps = row, 0
            steps += length
        return [*units, Unit(start, self.num_rows)]

    def _lengths_of(self, name: str) -> list[int]:
        try:
            with _opened(self.path) as file:
                return [int(_dataset(file, group, name, self.path).shape[0]) for group in self.groups]
        except _DAMAGE as error:
            raise _unreadable(self.path, error) from error

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        groups = self.groups[unit.start : unit.stop]
        try:
            with _opened(self.path) as file:
                columns = {name: self._column(file, groups, name) for name in names}
        except _DAMAGE as error:
            raise _unreadable(self.path, error) from error
        yield unit.start, unit.stop, columns

    def _column(self, file: Any, groups: Sequence[str], name: str) -> Column:
        info = self.columns[name]
        if info.unusable is not None:
            raise DataError(f"`{name}` of `{self.path}` cannot be used: {info.unusable}")
        arrays = [_read(_dataset(file, group, name, self.path), name, self.path) for group in groups]
        if not info.is_list:
            return Column(np.array([array.reshape(-1)[0] for array in arrays]))
        offsets = np.concatenate(([0], np.cumsum([len(array) for array in arrays]))).astype(np.int64)
        return Column(np.concatenate(arrays), offsets=offsets)

    def has_single_items(self, name: str) -> bool:
        """A group is an episode, of whatever length."""
        return False

    def read_whole(self, name: str) -> Column:
        return next(self.blocks(Unit(0, self.num_rows), [name], self.num_rows))[2][name]

    def writer(self, temporary: Path, plan: WritePlan) -> Hdf5Output:
        return Hdf5Output(self, temporary, plan)


class Hdf5Output:
    """A copy of the file with new datasets in each episode."""

    method = "copy: datasets added"

    def __init__(self, source: Hdf5Input, temporary: Path, plan: WritePlan) -> None:
        self._source = source
        self._temporary = temporary
        self._plan = plan
        self._replaced = {*plan.own_columns, *plan.drop_columns, *plan.new_columns}
        self._file: Any = None
        self._row = 0

    def write(self, columns: Mapping[str, OutputColumn]) -> None:
        with self._told():
            file = self._copy()
            episodes = [_episodes(columns[name]) for name in self._plan.new_columns]
            for arrays in zip(*episodes, strict=True):
                group = file[self._source.groups[self._row]]
                for name in self._replaced & set(group):
                    del group[name]
                for name, array in zip(self._plan.new_columns, arrays, strict=True):
                    group.create_dataset(name, data=array)
                self._row += 1

    def _copy(self) -> Any:
        """The copy, made before the first rows are written to it."""
        if self._file is None:
            shutil.copyfile(self._source.path, self._temporary)
            self._file = _opened(self._temporary, "r+")
        return self._file

    def finish(self, provenance: dict[str, Any]) -> None:
        with self._told():
            written = _digests(self._copy(), self._source.groups, list(self._plan.new_columns))
        document = {**provenance, **signature(self._source, self._plan, written)}
        with self._told():
            self._file.attrs[PROVENANCE_ATTRIBUTE] = _attribute(document)
            self._file.close()

    def abort(self) -> None:
        if self._file is not None:
            with contextlib.suppress(*_DAMAGE):
                self._file.close()
        self._temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise _unreadable(self._source.path, error) from error


def _episodes(column: OutputColumn) -> list[Array]:
    assert column.offsets is not None
    return np.split(column.with_nan(), column.offsets[1:-1])


def _opened(path: Path, mode: str = "r") -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            f"`{path}` is HDF5, which needs the extra `hdf5`", hint="pip install 'gaecli[hdf5]'"
        ) from error
    # Without locks of its own: on what is only read they may not be to be had, and the copy is ours.
    return h5py.File(path, mode, locking=False)


def _episode_groups(file: Any, path: Path) -> list[str]:
    """Names of the groups that are episodes, in natural order."""
    import h5py

    for container in ("/", "data"):
        if container not in file or file.get(container, getclass=True) is not h5py.Group:
            continue
        found = []
        for name in file[container]:
            match = _EPISODE.fullmatch(name)
            if match is None:
                continue
            if isinstance(file[container].get(name, getlink=True), h5py.ExternalLink):
                raise FileError(
                    f"`{path}` keeps episode `{name}` in another file, which cannot be written along with it",
                    hint="copy the episodes into one file, for example with `minari combine`",
                )
            found.append((match["name"], int(match["number"]), f"{container.strip('/')}/{name}".strip("/")))
        if found:
            return [name for _, _, name in sorted(found)]
    raise FileError(
        f"`{path}` is HDF5 without a group per episode",
        hint="groups are named `episode_0` (Minari) or `data/demo_0` (robomimic); save flat arrays with "
        "`numpy.savez`",
    )


def _columns(group: Any, num_rows: int) -> dict[str, ColumnInfo]:
    columns = {}
    for name, item in _items(group):
        if hasattr(item, "shape"):
            columns[name.replace("/", ".")] = _info(name.replace("/", "."), item, num_rows)
    return columns


def _info(name: str, dataset: Any, num_rows: int) -> ColumnInfo:
    kind = _kind(dataset.dtype)
    shape = dataset.shape or ()
    num_columns = int(np.prod(shape[1:])) if shape else 1
    reason = None
    if kind == "other":
        reason = f"type {dataset.dtype} holds no numbers"
    elif num_columns != 1:
        kind, reason = "other", f"shape {shape} holds more than one number per step"
    elif dataset.is_virtual or dataset.external:
        kind, reason = "other", "its content lies in another file"
    return ColumnInfo(name, kind, f"{dataset.dtype} {shape}", (num_rows,), bool(shape), unusable=reason)


def _kind(dtype: np.dtype[Any]) -> Kind:
    kinds: dict[str, Kind] = {"b": "bool", "i": "int", "u": "int", "f": "float"}
    return kinds.get(dtype.kind, "other")


def _items(group: Any) -> Iterator[tuple[str, Any]]:
    """Everything below a group by its path; links to other files are not followed."""
    import h5py

    for name in sorted(group):
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        item = group[name]
        yield name, item
        if isinstance(item, h5py.Group):
            for inner, below in _items(item):
                yield f"{name}/{inner}", below


def _dataset(file: Any, group: str, name: str, path: Path) -> Any:
    place = f"{group}/{name.replace('.', '/')}"
    if place not in file or not hasattr(file[place], "shape"):
        raise DataError(
            f"`{name}` is not in `{group}` of `{path}`, though other episodes have it",
            hint="every episode needs the same datasets; name another one with its `--…-column`",
        )
    return file[place]


def _read(dataset: Any, name: str, path: Path) -> Array:
    if _kind(dataset.dtype) == "other" or dataset.is_virtual or dataset.external:
        raise DataError(f"`{name}` of `{dataset.name}` in `{path}` holds no numbers of its own")
    check_chunks(dataset)
    values: Array = dataset[()]
    return np.asarray(values).reshape(-1)


def _digests(file: Any, groups: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Of the datasets of these names in all episodes, where there are any."""
    found: dict[str, str] = {}
    for name in names:
        digest = hashlib.sha256()
        places = [place for group in groups if (place := f"{group}/{name}") in file]
        for place in places:
            _digest(place, file[place], digest)
        if places:
            found[name] = digest.hexdigest()
    return found


def _digest(name: str, item: Any, digest: Any) -> None:
    digest.update(name.encode("utf-8", "surrogateescape"))
    for key in sorted(item.attrs):
        if key != PROVENANCE_ATTRIBUTE:
            digest.update(f"{key}={item.attrs[key]!r}".encode("utf-8", "surrogateescape"))
    if not hasattr(item, "shape"):
        return
    digest.update(f"{item.dtype}{item.shape}".encode())
    if not item.shape:
        digest.update(repr(item[()]).encode() if item.shape == () else b"")
        return
    rows = max(1, _HASH_BYTES // max(1, item.dtype.itemsize * int(np.prod(item.shape[1:]))))
    for start in range(0, item.shape[0], rows):
        part = item[start : start + rows]
        is_plain = item.dtype.kind in "biufSV" and not item.dtype.hasobject
        digest.update(np.ascontiguousarray(part).tobytes() if is_plain else repr(part.tolist()).encode())


def _attribute(document: dict[str, Any]) -> str:
    """The provenance, shortened where an attribute cannot hold it."""
    for dropped in ((), ("normalization",), ("normalization", "earlier")):
        kept = {key: value for key, value in document.items() if key not in dropped}
        text = json.dumps(kept, allow_nan=False, separators=(",", ":"))
        if len(text) <= _MAX_ATTRIBUTE_BYTES:
            return text
    return "{}"


def _unreadable(path: Path, error: Exception) -> FileError:
    if isinstance(error, FileNotFoundError):
        return FileError(f"`{path}` does not exist")
    if isinstance(error, PermissionError):
        return FileError(f"no permission to read `{path}`")
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return FileError(f"`{path}` cannot be read as HDF5: {reason}", hint="the file may be truncated")
