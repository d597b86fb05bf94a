"""A copy of a file of `torch.save` with new tensors: other storages keep their bytes, and the pickle tells of all."""

from __future__ import annotations

import json
import math
import struct
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from gaecli.errors import UsageError
from gaecli.formats.base import ColumnInfo, OutputColumn, WritePlan, array_dtype
from gaecli.formats.npz.members import MALFORMED, checksum, open_member
from gaecli.formats.own_columns import SelfKnowing, signature
from gaecli.formats.pt.look import PICKLE, pt_error
from gaecli.formats.pt.pickled import PickledNode, emit, items_without
from gaecli.formats.pt.tensors import strides_of, tensor_node

#: What gaecli knows of its tensors: `torch.load` passes over what the pickle does not name.
PROVENANCE_MEMBER = "extra/gaecli.json"
_COPY_BYTES = 1 << 20
_SPOOL_BYTES = 8 << 20
#: Numbers begin where a multiple of this does, so that `torch.load(mmap=True)` can use them as they lie.
_ALIGNMENT = 64
_LOCAL_HEADER_BYTES, _PADDING_HEADER = 30, struct.Struct("<HH")
_PADDING_ID = 0x4246


class TensorSource(SelfKnowing, Protocol):
    """The file that is copied."""

    path: Path
    root: str
    container: PickledNode
    columns: Mapping[str, ColumnInfo]

    def with_items(self, items: list[tuple[Any, Any]]) -> Any: ...

    def storages(self, names: Sequence[str]) -> set[str]: ...


class PtOutput:
    """The tensors grow side by side, but members of an archive stand one after the other: they wait for the end."""

    method = "archive: tensors"

    def __init__(self, source: TensorSource, temporary: Path, plan: WritePlan) -> None:
        texts = [name for name, dtype in plan.new_columns.items() if dtype.kind == "U"]
        if texts:
            raise UsageError(
                f"`{texts[0]}` is of texts, and `{source.path}` holds tensors",
                hint="write it beside them, with `--sidecar`, or convert: `--output FILE.npz`",
            )
        self._source = source
        self._temporary = temporary
        self._plan = plan
        self._shape = () if plan.like_column is None else source.columns[plan.like_column].shape
        self._dtypes = {name: array_dtype(dtype) for name, dtype in plan.new_columns.items()}
        self._contents: dict[str, IO[bytes]] = {
            name: tempfile.SpooledTemporaryFile(_SPOOL_BYTES, dir=str(temporary.parent))  # noqa: SIM115 - kept
            for name in plan.new_columns
        }

    def write(self, columns: Mapping[str, OutputColumn]) -> None:
        for name, content in self._contents.items():
            content.write(np.ascontiguousarray(columns[name].without_nulls(), self._dtypes[name]).data)

    def finish(self, provenance: dict[str, Any] | None) -> None:
        source, plan = self._source, self._plan
        gone = {*plan.own_columns, *plan.drop_columns, *plan.new_columns}
        root = source.root
        try:
            with zipfile.ZipFile(source.path) as archive, zipfile.ZipFile(self._temporary, "w") as target:
                left_out = {root + PROVENANCE_MEMBER, *source.storages(tuple(gone))}
                kept = [info for info in archive.infolist() if info.filename not in left_out]
                keys = _free_keys([info.filename for info in kept], f"{root}data/", list(self._contents))
                tensors = [
                    (name, tensor_node(keys[name], self._dtypes[name], self._shape))
                    for name in self._contents
                ]
                items = items_without(source.container.items, gone)
                pickle = emit(source.with_items([*items, *tensors]))
                for info in kept:
                    if info.filename == root + PICKLE:
                        _put(target, info.filename, pickle)
                        continue
                    with open_member(archive, info) as member:
                        _copy(target, info.filename, member, info.file_size)
                written = {
                    name: self._put_tensor(target, f"{root}data/{keys[name]}", name)
                    for name in self._contents
                }
                if provenance is not None:
                    document = {**provenance, **signature(source, plan, written)}
                    text = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
                    _put(target, root + PROVENANCE_MEMBER, text)
        except MALFORMED as error:
            raise pt_error(source.path, error) from error
        self._close()

    def abort(self) -> None:
        self._close()
        self._temporary.unlink(missing_ok=True)

    def _put_tensor(self, target: zipfile.ZipFile, member: str, name: str) -> str:
        """Its digest, as `digests` of the reader has it."""
        content, dtype = self._contents[name], self._dtypes[name]
        size = content.tell()
        if size != math.prod(self._shape) * dtype.itemsize:
            raise AssertionError(f"{size:,} bytes written for {name}, of shape {self._shape}")
        content.seek(0)
        _copy(target, member, content, size)
        tensor = (dtype.name, 0, self._shape, strides_of(self._shape))
        return f"{checksum(target.getinfo(member))} {tensor}"

    def _close(self) -> None:
        for content in self._contents.values():
            content.close()


def _free_keys(members: Sequence[str], folder: str, names: Sequence[str]) -> dict[str, str]:
    taken = [member.removeprefix(folder) for member in members if member.startswith(folder)]
    first = 1 + max(
        (int(key) for key in taken if key.isascii() and key.isdigit() and len(key) < 18), default=-1
    )
    return {name: str(first + number) for number, name in enumerate(names)}


def _put(target: zipfile.ZipFile, name: str, content: bytes) -> None:
    target.writestr(_member(target, name, len(content)), content)


def _copy(target: zipfile.ZipFile, name: str, source: IO[bytes], size: int) -> None:
    with target.open(_member(target, name, size), "w") as member:
        while piece := source.read(_COPY_BYTES):
            member.write(piece)


def _member(target: zipfile.ZipFile, name: str, size: int) -> zipfile.ZipInfo:
    """Stored, as torch has all of them, behind padding to where numbers may begin."""
    info = zipfile.ZipInfo(name)
    info.file_size = size
    begin = target.start_dir + _LOCAL_HEADER_BYTES + len(name.encode()) + _PADDING_HEADER.size
    num_bytes = -begin % _ALIGNMENT
    info.extra = _PADDING_HEADER.pack(_PADDING_ID, num_bytes) + b"Z" * num_bytes
    return info
