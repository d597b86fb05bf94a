"""What calls in a pickle of `torch.save` are tensors, where their numbers lie, and how they are read."""

from __future__ import annotations

import math
import zipfile
from typing import IO, Any, NamedTuple

import numpy as np

from gaecli.array_types import Array
from gaecli.formats.base import ColumnInfo, ColumnKind
from gaecli.formats.npz.arrays import RowReader, fill, rows_first
from gaecli.formats.pt.pickled import ORDERED_DICT, Persistent, PickledNode, Symbol

#: As NumPy has them. bfloat16, which it has not, is the upper half of a float32.
BFLOAT16 = "bfloat16"
_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_DTYPES = frozenset({*_STORAGES.values(), "uint16", "uint32", "uint64"})
_UTILS = "torch._utils"
_OTHER_TENSORS = {
    "_rebuild_sparse_tensor": "a sparse tensor: save it as `.to_dense()`",
    "_rebuild_qtensor": "a quantized tensor: save it as `.dequantize()`",
    "_rebuild_meta_tensor_no_storage": "a tensor of the device `meta`, which has no numbers",
}
#: A tensor whose numbers do not lie one after the other is read as a whole.
_MOST_BYTES = 256 << 20


class Tensor(NamedTuple):
    """Where the numbers of a tensor lie: items of a storage."""

    storage: str
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def item_bytes(self) -> int:
        return 2 if self.dtype == BFLOAT16 else np.dtype(self.dtype).itemsize

    @property
    def span(self) -> int:
        """Items of the storage from its first to its last one."""
        if 0 in self.shape:
            return 0
        return 1 + sum((axis - 1) * step for axis, step in zip(self.shape, self.strides, strict=True))

    @property
    def is_contiguous(self) -> bool:
        expected = 1
        for axis, step in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if axis != 1 and step != expected:
                return False
            expected *= axis
        return True


def tensor_of(value: Any) -> Tensor | str:
    """What a node stands for: a tensor, or why it is none that can be read."""
    if not isinstance(value, PickledNode):
        return f"a {type(value).__name__}, not a tensor"
    function = value.function
    if value.kind in ("dict", "list"):
        return f"a {value.kind}, not a tensor"
    if function == Symbol(_UTILS, "_rebuild_parameter") and isinstance(value.args, tuple) and value.args:
        return tensor_of(value.args[0])
    is_tensor = function in (Symbol(_UTILS, "_rebuild_tensor_v2"), Symbol(_UTILS, "_rebuild_tensor_v3"))
    if value.kind == "call" and is_tensor and not value.states:
        return _tensor(value.args)
    if isinstance(function, Symbol) and function.module == _UTILS and function.name in _OTHER_TENSORS:
        return _OTHER_TENSORS[function.name]
    if isinstance(function, Symbol) and function.module == "torch._tensor":
        return "a tensor of a class of its own: save it as `.as_subclass(torch.Tensor)`"
    named = f" of `{function}`" if isinstance(function, Symbol) else ""
    return f"an object{named}, which is never made: save plain tensors"


def _tensor(args: Any) -> Tensor | str:
    damaged = "a tensor that says less or more than tensors do"
    try:
        (storage, offset, shape, strides), more = args[:4], args[6:]
        _, kind, key, _, num_items = storage.id
    except (AttributeError, TypeError, ValueError):
        return damaged
    dtype = _STORAGES.get(kind.name) if isinstance(kind, Symbol) else None
    if more and isinstance(more[0], Symbol) and more[0].module == "torch":
        dtype = more[0].name
    if any(isinstance(extra, PickledNode) and extra.items for extra in more):
        return (
            "a view whose numbers torch changes as it reads them: save it as `.resolve_conj().resolve_neg()`"
        )
    if dtype not in _DTYPES:
        return f"of type {dtype or getattr(kind, 'name', '?')}, whose numbers are not read"
    if not isinstance(shape, tuple) or not isinstance(strides, tuple):
        return damaged
    sizes = (offset, num_items, *shape, *strides)
    is_whole = all(type(size) is int and 0 <= size < 1 << 62 for size in sizes)
    if not is_whole or len(shape) != len(strides) or not isinstance(key, str):
        return damaged
    return Tensor(key, dtype, offset, tuple(shape), tuple(strides))


def info_of(name: str, tensor: Tensor, member: zipfile.ZipInfo | None) -> ColumnInfo:
    """The column of a tensor, once it is known that its numbers are there."""
    num_bytes = math.prod(tensor.shape) * tensor.item_bytes
    dtype = np.dtype(np.float32) if tensor.dtype == BFLOAT16 else np.dtype(tensor.dtype)
    kind: ColumnKind = "float" if dtype.kind == "f" else "bool" if dtype.kind == "b" else "int"
    unusable = None
    if member is None:
        unusable = "its numbers are not in the file"
    elif member.compress_type != zipfile.ZIP_STORED:
        unusable = "its numbers are compressed, as `torch.save` never does"
    elif (tensor.offset + tensor.span) * tensor.item_bytes > member.file_size:
        unusable = "its shape and the size of its numbers disagree"
    elif not tensor.is_contiguous and max(num_bytes, tensor.span * tensor.item_bytes) > _MOST_BYTES:
        unusable = "its numbers do not lie one after the other, and are many: save it as `.contiguous()`"
    return ColumnInfo(
        name,
        kind,
        tensor.dtype,
        tensor.shape,
        unusable=unusable,
        whole_bytes=num_bytes,
        stored_bytes=0 if member is None else member.compress_size,
    )


def rows_of(member: IO[bytes], tensor: Tensor) -> RowReader:
    """The numbers of a tensor, in ranges of rows; `member` is its storage."""
    if tensor.offset:  # else the checksum is compared with the last byte
        member.seek(tensor.offset * tensor.item_bytes)
    return _InOrder(member, tensor) if tensor.is_contiguous else _Strided(member, tensor)


class _InOrder:
    """Those that lie one after the other."""

    def __init__(self, member: IO[bytes], tensor: Tensor) -> None:
        self._member = member
        self._tensor = tensor
        self._row = 0

    def read(self, stop: int) -> Array:
        rows = np.empty((stop - self._row, *rows_first(self._tensor.shape)[1:]), _stored(self._tensor))
        fill(self._member, rows.reshape(-1))
        self._row = stop
        return _numbers(rows, self._tensor)


class _Strided:
    """Those that do not: transposed, sliced, repeated."""

    def __init__(self, member: IO[bytes], tensor: Tensor) -> None:
        items = np.empty(tensor.span, _stored(tensor))
        fill(member, items)
        steps = [step * tensor.item_bytes for step in tensor.strides]
        found = np.lib.stride_tricks.as_strided(items, tensor.shape, steps, writeable=False)
        self._rows = _numbers(np.ascontiguousarray(found).reshape(rows_first(tensor.shape)), tensor)
        self._row = 0

    def read(self, stop: int) -> Array:
        rows = self._rows[self._row : stop]
        self._row = stop
        return rows


def _stored(tensor: Tensor) -> np.dtype[Any]:
    return np.dtype("<u2") if tensor.dtype == BFLOAT16 else np.dtype(tensor.dtype).newbyteorder("<")


def _numbers(values: Array, tensor: Tensor) -> Array:
    if tensor.dtype != BFLOAT16:
        return values
    return (values.astype(np.uint32) << 16).view(np.float32)


def tensor_node(key: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> PickledNode:
    """The call that stands for a new tensor."""
    name = next(name for name, known in _STORAGES.items() if known == dtype.name)
    storage = Persistent(("storage", Symbol("torch", name), key, "cpu", math.prod(shape)))
    hooks = PickledNode("call", ORDERED_DICT, ())
    return PickledNode(
        "call", Symbol(_UTILS, "_rebuild_tensor_v2"), (storage, 0, shape, strides_of(shape), False, hooks)
    )


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of items that follow one another, in items."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
