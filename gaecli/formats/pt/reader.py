"""Files of `torch.save`: an archive of a pickle and of storages. Neither torch nor pickle reads them here.

The pickle is parsed and never carried out (`pickled.py`), so nothing in a file can run, whatever version of torch is
there or is not; what it says of tensors is checked against the archive, and their numbers are read as those of NPZ
are. The tensors are those of a dict, or of the only dict in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.array_types import Array
from gaecli.errors import FileError
from gaecli.formats.base import Column, ColumnInfo, WritePlan
from gaecli.formats.npz.arrays import RowReader, overlapping
from gaecli.formats.npz.members import MALFORMED, checksum, open_member
from gaecli.formats.npz.reader import NpzInput
from gaecli.formats.pt.look import PICKLE, pt_error
from gaecli.formats.pt.pickled import (
    MOST_BYTES,
    PickledNode,
    PickleError,
    emit,
    items_without,
    named,
    parse,
    storage_keys,
)
from gaecli.formats.pt.tensors import Tensor, info_of, rows_of, tensor_of
from gaecli.formats.pt.writer import PROVENANCE_MEMBER, PtOutput
from gaecli.formats.stored import parse_document

_DAMAGE = (*MALFORMED, OSError)
_MOST_PROVENANCE_BYTES = 16 << 20
#: The state of a replay buffer of TorchRL: of its rows, these say which were filled and which is the first.
_BUFFER_OF_TORCHRL = frozenset({"_storage._len", "_writer._cursor"})


class PtInput(NpzInput):
    """One file of `torch.save`, opened by its directory and its pickle."""

    format_name = "pt"

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            status = path.stat()
            with zipfile.ZipFile(path) as archive:
                self._infos = archive.infolist()
                self._by_name = _by_name(self._infos)
                self.root, self.tree = self._parsed(archive)
                self._stored = self._document(archive)
        except _DAMAGE as error:
            raise pt_error(path, error) from error
        self.container = _container(path, self.tree)
        if named(self.container.items).keys() >= _BUFFER_OF_TORCHRL:
            from gaecli.formats.ways_on import unread_buffer

            raise unread_buffer(path)
        self.tensors: dict[str, Tensor] = {}
        self._values: dict[str, Array] = {}
        self.columns: Mapping[str, ColumnInfo] = dict(self._columns())
        self._members = {name: self.storage(tensor.storage) for name, tensor in self.tensors.items()}
        if not any(info.unusable is None and info.shape for info in self.columns.values()):
            raise _no_tensors(path, self.columns, self.tree)
        self.identity = (status.st_size, status.st_mtime_ns, status.st_ino)
        self.num_rows = max((info.shape[0] for info in self.columns.values() if info.shape), default=0)

    def _parsed(self, archive: zipfile.ZipFile) -> tuple[str, Any]:
        (member, *others) = [info for info in self._infos if info.filename.rpartition("/")[2] == PICKLE]
        if others or member.file_size > MOST_BYTES:
            raise PickleError("it has more than one pickle" if others else "its pickle is too long")
        root = member.filename.removesuffix(PICKLE)
        order = self._by_name.get(f"{root}byteorder")
        if order is not None and _content(archive, order, 16).strip() != b"little":
            raise PickleError("its numbers are big-endian")
        tree = parse(_content(archive, member, MOST_BYTES))
        emit(tree)  # what cannot be written again is told before anything is computed
        return root, tree

    def _document(self, archive: zipfile.ZipFile) -> dict[str, Any] | None:
        member = self._by_name.get(self.root + PROVENANCE_MEMBER)
        if member is None or member.file_size > _MOST_PROVENANCE_BYTES:
            return None
        return parse_document(_content(archive, member, _MOST_PROVENANCE_BYTES))

    def _columns(self) -> Iterator[tuple[str, ColumnInfo]]:
        for name, value in named(self.container.items).items():
            if isinstance(value, bool | int | float | str) and (array := np.asarray(value)).dtype != object:
                self._values[name] = array
                kind = {"b": "bool", "i": "int", "f": "float", "U": "id"}.get(array.dtype.kind, "other")
                yield name, ColumnInfo(name, kind, str(array.dtype), ())  # type: ignore[arg-type]
                continue
            tensor = tensor_of(value)
            if isinstance(tensor, str):
                yield name, ColumnInfo(name, "other", "no tensor", (), unusable=tensor)
                continue
            self.tensors[name] = tensor
            yield name, info_of(name, tensor, self._by_name.get(f"{self.root}data/{tensor.storage}"))

    def storage(self, key: str) -> zipfile.ZipInfo:
        """The member that holds a storage; an empty one where none does, which no column is read from."""
        return self._by_name.get(f"{self.root}data/{key}", zipfile.ZipInfo())

    @cached_property
    def provenance(self) -> dict[str, Any] | None:
        return self._stored

    def digests(self, names: Sequence[str]) -> dict[str, str]:
        return {
            name: f"{checksum(self._members[name])} {self.tensors[name][1:]}"
            for name in names
            if name in self.tensors
        }

    def payload(self, own_columns: Sequence[str]) -> str:
        """What the pickle says without these tensors, and sizes and checksums of all that is not theirs."""
        tree = self.without(own_columns)
        gone = self.storages(own_columns)
        passed_over = {self.root + PICKLE, self.root + PROVENANCE_MEMBER, *gone}
        lines = sorted(
            f"{info.filename}:{checksum(info)}" for info in self._infos if info.filename not in passed_over
        )
        return hashlib.sha256(emit(tree) + "\n".join(lines).encode()).hexdigest()

    def without(self, names: Sequence[str]) -> Any:
        """The tree without some of its tensors."""
        return self.with_items(items_without(self.container.items, names))

    def with_items(self, items: list[tuple[Any, Any]]) -> Any:
        """The tree with these in the dict of tensors."""
        changed = replace(self.container, items=items)
        if self.container is self.tree:
            return changed
        outer = [(key, changed if value is self.container else value) for key, value in self.tree.items]
        return replace(self.tree, items=outer)

    def storages(self, names: Sequence[str]) -> set[str]:
        """Members that hold nothing but these tensors, wherever else in the pickle a tensor may stand."""
        own = {tensor.storage for name, tensor in self.tensors.items() if name in names}
        return {f"{self.root}data/{key}" for key in own - storage_keys(self.without(names))}

    def _rows(
        self, archive: zipfile.ZipFile, name: str, handles: contextlib.ExitStack, num_ahead: int = 0
    ) -> RowReader:
        member = handles.enter_context(open_member(archive, self._members[name]))
        return overlapping(rows_of(member, self.tensors[name]), num_ahead)

    def read_whole(self, name: str) -> Column:
        if name in self._values:
            return self._column(name, self._values[name])
        return super().read_whole(name)

    def _unreadable(self, error: Exception, member: str | None) -> FileError:
        return pt_error(self.path, error, member)

    def planned_method(
        self, own_columns: Sequence[str], drop_columns: Sequence[str], *, adds: bool = True
    ) -> str:
        return PtOutput.method

    def writer(self, temporary: Path, plan: WritePlan) -> PtOutput:  # type: ignore[override]
        return PtOutput(self, temporary, plan)


def _by_name(infos: Sequence[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    for info in infos:
        if _leads_out(info):
            raise PickleError(
                f"its member `{info.filename}` leads out of the archive, into which `torch.save` puts none; whoever "
                "unpacks it, or what is made of it, would write there"
            )
    found = {info.filename: info for info in infos}
    if len(found) < len(infos):
        raise PickleError("two of its members have one name, of which another reader may take the other")
    return found


def _leads_out(info: zipfile.ZipInfo) -> bool:
    """As the directory has the name, and as it would be on Windows."""
    names = {name.replace("\\", "/") for name in (info.filename, info.orig_filename)}
    return any(
        name.startswith("/") or name[1:2] == ":" or "\0" in name or ".." in name.split("/") for name in names
    )


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    with open_member(archive, member) as file:
        content = file.read(most + 1)
        if len(content) > most:
            raise PickleError("one of its members is longer than it says")
        return content


def _container(path: Path, tree: Any) -> PickledNode:
    """The dict that holds the tensors: the outer one, or the only one in it, where no tensor stands beside it.

    Of several in it the only one that holds tensors: beside the steps may stand a dict of what they are.
    """
    if not isinstance(tree, PickledNode) or not tree.is_dict:
        what = tensor_of(tree)
        raise _refusal(path, "it holds " + (what if isinstance(what, str) else "one tensor"), tree)
    inner = [value for _, value in tree.items if isinstance(value, PickledNode) and value.is_dict]
    if _holds_tensors(tree):
        return tree
    holders = inner if len(inner) == 1 else [node for node in inner if _holds_tensors(node)]
    return holders[0] if len(holders) == 1 else tree


def _holds_tensors(node: PickledNode) -> bool:
    return any(isinstance(tensor_of(value), Tensor) for _, value in node.items)


def _no_tensors(path: Path, columns: Mapping[str, ColumnInfo], tree: Any) -> FileError:
    reasons = [f"`{name}` is {info.unusable}" for name, info in columns.items() if info.unusable is not None]
    return _refusal(path, "; ".join(reasons[:3]) or "it holds no tensor", tree)


def _refusal(path: Path, what: str, tree: Any) -> FileError:
    from gaecli.formats.pt.ways_on import way_on

    if "tensordict." in what:
        from gaecli.formats.ways_on import unread_tensor_dict

        return unread_tensor_dict(path)
    return FileError(
        f"`{path}` was written by `torch.save`, and is no dict of tensors: {what}",
        hint=f"tensors of a dict are read, and nothing else, which could run code; {way_on(path, tree)}",
    )
