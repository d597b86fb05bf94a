"""Damage to a Parquet file at a place that means something: a field of the footer, of a page's header or of a page
index, the levels and values of a page, or its compressed bytes. Lengths and offsets around it stay right."""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import NamedTuple

import pyarrow as pa
from faults.fuzzing import trees
from faults.fuzzing.drawing import raw

from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.footer import (
    CHUNK_OFFSETS,
    MAGIC,
    META_DATA_OFFSETS,
    TAIL_SIZE,
    ColumnChunk,
    ColumnMetaData,
    Footer,
    data_extent,
    parse_footer,
)
from gaecli.formats.parquet.thrift_compact import Struct

_CODECS = {0: None, 1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd"}


class _PageHeader:
    UNCOMPRESSED_SIZE, COMPRESSED_SIZE = 2, 3
    DATA, DICTIONARY, DATA_V2 = 5, 7, 8


class _Page(NamedTuple):
    chunk: Struct
    start: int
    header: Struct
    body_start: int
    end: int


def damage(draw: Random, data: bytes) -> tuple[bytes, str]:
    footer = footer_of(data)
    what = draw.choices(("footer", "header", "body", "bytes", "index"), (50, 18, 18, 6, 8))[0]
    if what == "footer":
        told = [trees.damage(draw, footer.tree) for _ in range(draw.choice((1, 1, 1, 2, 3)))]
        return with_footer(data[: footer.start], footer.tree), f"footer: {', '.join(told)}"
    if what == "index":
        return _with_index(draw, data, footer)
    page = draw.choice(_pages(data, footer))
    header, body = page.header, data[page.body_start : page.end]
    if what == "header":
        told = trees.damage(draw, header)
    elif what == "bytes":
        body, told = raw(draw, body), "bytes"
        header.put(_PageHeader.COMPRESSED_SIZE, thrift.I32, len(body))
    else:
        body, told = _other_body(draw, page, body), "levels and values"
    new = thrift.encode(header) + body
    return _replaced(
        data, footer, page.chunk, page.start, page.end, new
    ), f"page at {page.start}, {what}: {told}"


def footer_of(data: bytes) -> Footer:
    end = len(data) - TAIL_SIZE
    start = end - int.from_bytes(data[end : end + 4], "little")
    return deepcopy(parse_footer(data[start:end], start))  # a tree of its own, to be damaged


def with_footer(payload: bytes, tree: Struct) -> bytes:
    raw_footer = thrift.encode(tree)
    return payload + raw_footer + len(raw_footer).to_bytes(4, "little") + MAGIC


def _pages(data: bytes, footer: Footer) -> list[_Page]:
    pages = []
    for chunk in footer.chunks():
        start, end = data_extent(chunk)
        while start < end:
            header, body_start = thrift.decode(data, start)
            page_end = body_start + header.value(_PageHeader.COMPRESSED_SIZE)
            pages.append(_Page(chunk, start, header, body_start, page_end))
            start = page_end
    return pages


def _other_body(draw: Random, page: _Page, body: bytes) -> bytes:
    """The page unpacked, damaged and packed again; its header tells the new sizes."""
    header, meta = page.header, page.chunk.value(ColumnChunk.META_DATA)
    codec = _CODECS.get(meta.value(ColumnMetaData.CODEC))
    v2 = header.value(_PageHeader.DATA_V2)
    num_plain = v2.value(5, 0) + v2.value(6, 0) if v2 is not None else 0  # levels are never packed
    if v2 is not None and not v2.value(7, True):
        codec = None
    levels, values = body[:num_plain], body[num_plain:]
    if codec is not None and values:
        size = header.value(_PageHeader.UNCOMPRESSED_SIZE) - num_plain
        values = pa.Codec(codec).decompress(values, size, asbytes=True)
    if levels and draw.random() < 0.5:
        levels = raw(draw, levels)
    else:
        values = raw(draw, values)
    if v2 is not None and draw.random() < 0.8:
        v2.put(5, thrift.I32, max(0, len(levels) - v2.value(6, 0)))
    whole = len(levels) + len(values)
    if codec is not None and values:
        values = pa.Codec(codec).compress(values, asbytes=True)
    header.put(_PageHeader.UNCOMPRESSED_SIZE, thrift.I32, whole)
    header.put(_PageHeader.COMPRESSED_SIZE, thrift.I32, len(levels) + len(values))
    return levels + values


def _with_index(draw: Random, data: bytes, footer: Footer) -> tuple[bytes, str]:
    """A field of a column index or an offset index."""
    found = [
        (chunk, offset, length)
        for chunk in footer.chunks()
        for offset, length in (
            (ColumnChunk.OFFSET_INDEX_OFFSET, ColumnChunk.OFFSET_INDEX_LENGTH),
            (ColumnChunk.COLUMN_INDEX_OFFSET, ColumnChunk.COLUMN_INDEX_LENGTH),
        )
        if offset in chunk
    ]
    if not found:
        return with_footer(data[: footer.start], footer.tree), "nothing"
    chunk, offset, length = draw.choice(found)
    start = chunk.value(offset)
    end = start + chunk.value(length)
    index, _ = thrift.decode(data, start)
    told = trees.damage(draw, index)
    new = thrift.encode(index)
    chunk.put(length, thrift.I32, len(new))
    return _replaced(data, footer, None, start, end, new), f"page index {offset}: {told}"


def _replaced(data: bytes, footer: Footer, chunk: Struct | None, start: int, end: int, new: bytes) -> bytes:
    """The file with other bytes in this place, and everything behind it moved along."""
    delta = len(new) - (end - start)
    for other in footer.chunks():
        for tree, fields in (
            (other, CHUNK_OFFSETS),
            (other.value(ColumnChunk.META_DATA), META_DATA_OFFSETS),
        ):
            for field_id in fields:
                if tree.value(field_id, 0) > start:
                    tree.put(field_id, thrift.I64, tree.value(field_id) + delta)
    if chunk is not None:
        meta = chunk.value(ColumnChunk.META_DATA)
        size = meta.value(ColumnMetaData.TOTAL_COMPRESSED_SIZE) + delta
        meta.put(ColumnMetaData.TOTAL_COMPRESSED_SIZE, thrift.I64, size)
    return with_footer(data[:start] + new + data[end : footer.start], footer.tree)
