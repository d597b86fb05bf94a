"""Whether the chunks of an HDF5 dataset hold as many bytes as its header says.

HDF5 itself (2.0.0) takes the header's word for it and reads behind the end of a chunk that holds less.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3
_CHECKSUM_BYTES = 4


def check_chunks(dataset: Any) -> None:
    """Raises ValueError if a chunk is too short or too long; of filters that are not known here nothing is said."""
    if dataset.chunks is None:
        return
    wanted = math.prod(dataset.chunks) * dataset.dtype.itemsize
    filters = _filters(dataset)
    if not set(filters) <= {_DEFLATE, _SHUFFLE, _FLETCHER32}:
        return
    for index in range(dataset.id.get_num_chunks()):
        info = dataset.id.get_chunk_info(index)
        found = info.size
        if filters:
            mask, raw = dataset.id.read_direct_chunk(info.chunk_offset)
            found = _unpacked_bytes(
                raw, [code for at, code in enumerate(filters) if not mask >> at & 1], wanted
            )
        if found != wanted:
            raise ValueError(f"a chunk of `{dataset.name}` does not hold the {wanted} bytes that it should")


def _filters(dataset: Any) -> list[int]:
    """Their codes, in the order in which they were applied."""
    plan = dataset.id.get_create_plist()
    return [plan.get_filter(at)[0] for at in range(plan.get_nfilters())]


def _unpacked_bytes(raw: bytes, filters: list[int], wanted: int) -> int:
    """How much comes out of a chunk, up to one byte more than there should be."""
    size = len(raw)
    for code in reversed(filters):
        if code == _FLETCHER32:
            size -= _CHECKSUM_BYTES
        elif code == _DEFLATE:
            try:
                size = len(zlib.decompressobj().decompress(raw[:size], wanted + 1))
            except zlib.error:
                return 0
    return size
