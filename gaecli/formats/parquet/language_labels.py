"""Labels that stand as rows of `language_persistent`, as a column of texts: what is in force at each frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gaecli.errors import UsageError
from gaecli.formats.base import Column, ColumnInfo, RolloutFile, Unit
from gaecli.formats.parquet.language import PIECE_ROWS, STYLE, TIMESTAMP, StoredColumns, language_type
from gaecli.formats.wrapped import WrappedFile
from gaecli.names import LANGUAGE


def with_language_labels(file: RolloutFile) -> RolloutFile:
    """The file as it is, where it has no such column."""
    if file.find(LANGUAGE) is None or file.structure != "table" or file.format_name != "parquet":
        return file
    try:
        language_type(pq.read_schema(file.path), file.path)
    except UsageError:  # it holds something else
        return file
    return _LanguageLabels(file)


class _LanguageLabels(WrappedFile):
    """Blocks are asked for in the order of the rows, once."""

    def __init__(self, file: RolloutFile) -> None:
        super().__init__(file)
        self._stored = StoredColumns(file.path, [TIMESTAMP, LANGUAGE])

    def find(self, name: str) -> ColumnInfo | None:
        info = self._file.find(name)
        if info is None or name != LANGUAGE:
            return info
        return replace(info, kind="id", is_list=False, unusable=None, has_whole_cells=False)

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        others = [name for name in names if name != LANGUAGE]
        for start, stop, columns in self._file.blocks(unit, others, rows_per_block):
            found = {LANGUAGE: self._texts(stop - start)} if LANGUAGE in names else {}
            yield start, stop, {**columns, **found}

    def _texts(self, num_rows: int) -> Column:
        """Piece by piece: a cell may hold all that was said in its episode."""
        known: dict[str, int] = {}
        codes = np.zeros(num_rows, np.int64)
        is_null = np.ones(num_rows, np.bool_)
        for start in range(0, num_rows, PIECE_ROWS):
            piece = slice(start, min(start + PIECE_ROWS, num_rows))
            texts = in_force(self._stored.take(piece.stop - piece.start))
            numbers = [known.setdefault(text, len(known)) for text in texts.dictionary.to_pylist()]
            is_null[piece] = texts.indices.is_null().to_numpy(zero_copy_only=False)
            there = pc.fill_null(texts.indices, 0).to_numpy(zero_copy_only=False)
            if numbers:
                codes[piece] = np.array(numbers, np.int64)[there]
        return Column(codes, is_null, categories=list(known))


def in_force(frames: pa.Table) -> pa.DictionaryArray:
    """[n] of each frame the text of the latest row of the style up to its own time; null where there is none."""
    times = frames.column(TIMESTAMP).to_numpy().astype(np.float64)
    cells = frames.column(LANGUAGE).combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(cells), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    rows = cells.flatten()
    frame_of = np.repeat(np.arange(len(times)), lengths)
    if pa.types.is_null(rows.type) or not len(rows):
        return pa.nulls(len(times), pa.string()).dictionary_encode()
    styles, texts, spoken = (pc.struct_field(rows, name) for name in ("style", "content", "timestamp"))
    is_own = pc.fill_null(pc.equal(styles.cast(pa.string()), STYLE), False).to_numpy(zero_copy_only=False)
    spoken = spoken.cast(pa.float64()).to_numpy(zero_copy_only=False)
    at = np.flatnonzero(is_own & (spoken <= times[frame_of]))
    at = at[np.lexsort((at, spoken[at], frame_of[at]))]
    last = at[np.append(frame_of[at][1:] != frame_of[at][:-1], True)[: len(at)]]
    places = np.full(len(times), -1, np.int64)
    places[frame_of[last]] = last
    return texts.cast(pa.string()).take(pa.array(places, mask=places < 0)).dictionary_encode()
