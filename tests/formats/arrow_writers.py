"""The same rollouts in Arrow files and streams of several libraries, in two batches of four rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

DATA = Path(__file__).parents[1] / "data" / "arrow"
#: Where the first batch ends, within the second episode.
BORDER = 4
STEPS: Mapping[str, list[Any]] = {
    "episode_id": [0, 0, 0, 1, 1, 1, 1, 1],
    "reward": [1, 0.5, -1, 2, 0.25, 3, -0.5, 1.5],
    "value": [0.5, 0.25, 0.125, -1, 2, 0.75, -0.25, 1],
    "done": [False, False, True, False, False, False, False, True],
}
_BEGIN = datetime.fromtimestamp(10**9, UTC).replace(tzinfo=None)
_TIMES = [None if ms in (2, 5) else _BEGIN + timedelta(milliseconds=ms) for ms in range(8)]
_TEXTS = ["x", None, "a text of more than twelve bytes", "y"]
_HALVES = [0.5, 1, 1.5, None, 2, None, 2.5, 3]
#: What a file may hold beside them, in types that Arrow libraries write.
PASSENGERS: Mapping[str, pa.Array] = {
    "note": pa.array(["a", "b", "a", None, "c", "a", None, "d"]).dictionary_encode(),
    "text": pa.array([*_TEXTS, "z", "another text of more than twelve bytes", None, ""], pa.string_view()),
    "observation": pa.array([[1, 2], [], None, [3], [4], None, [], [5, 6]], pa.list_(pa.float32())),
    "large": pa.array([[1], None, [2, 3], [], [], [4], None, [5]], pa.large_list(pa.int16())),
    "pair": pa.array(
        [[1, 2], [3, 4], None, [5, 6], None, [7, 8], [9, 10], [11, 12]], pa.list_(pa.float64(), 2)
    ),
    "time": pa.array(_TIMES, pa.timestamp("ms")),
    "half": pa.array([None if x is None else np.float16(x) for x in _HALVES], pa.float16()),
}


def rich_table() -> pa.Table:
    """All rows, in one chunk per batch."""
    table = pa.table({**STEPS, **PASSENGERS}).replace_schema_metadata({"mine": "1"})
    return in_batches(table)


def in_batches(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(0, BORDER), table.slice(BORDER)])


def advantages(gamma: float = 0.99, lam: float = 0.95) -> list[float]:
    """A plain loop over the steps."""
    found, following, beyond = [], 0.0, 0.0
    for reward, value, done in reversed(list(zip(*list(STEPS.values())[1:], strict=True))):
        following, beyond = (0.0, 0.0) if done else (following, beyond)
        following = reward + gamma * beyond - value + gamma * lam * following
        beyond = value
        found.append(following)
    return found[::-1]


@dataclass(frozen=True)
class Written:
    """One way to make the file."""

    write: Callable[[Path], None]
    is_stream: bool = False
    codec: str | None = None
    num_rows: tuple[int, ...] = (4, 4)
    #: Polars reads what came in: it takes no dictionary that grows.
    is_for_polars: bool = True

    @property
    def suffix(self) -> str:
        return ".arrows" if self.is_stream else ".arrow"


def with_pyarrow(
    is_stream: bool = False, of_batches: bool = False, empty: bool = False, **options: Any
) -> Callable[[Path], None]:
    """`of_batches`: metadata of every batch and of the footer. `empty`: batches without rows as well."""

    def write(path: Path) -> None:
        table = rich_table()
        opened = pa.ipc.new_stream if is_stream else pa.ipc.new_file
        footer = {"metadata": {"foot": "note"}} if of_batches and not is_stream else {}
        with opened(path, table.schema, options=pa.ipc.IpcWriteOptions(**options), **footer) as writer:
            for number, batch in enumerate(table.to_batches()):
                if empty:
                    writer.write_batch(batch.slice(0, 0))
                writer.write_batch(batch, {"number": str(number)} if of_batches else None)

    return write


def with_dictionaries(is_stream: bool, **options: Any) -> Callable[[Path], None]:
    """A dictionary before each batch: the second one adds to the first, or takes its place."""

    def write(path: Path) -> None:
        table = rich_table()
        at = table.column_names.index("note")
        grows = bool(options)
        notes = [["a", "b"], ["a", "b", "c", "d"] if grows else ["d", "c", "a"]]
        codes = [[0, 1, 0, None], [2, 0, None, 3] if grows else [1, 2, None, 0]]
        opened = pa.ipc.new_stream if is_stream else pa.ipc.new_file
        with opened(path, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
            for batch, labels, cells in zip(table.to_batches(), notes, codes, strict=True):
                note = pa.DictionaryArray.from_arrays(pa.array(cells, pa.int32()), pa.array(labels))
                writer.write_batch(batch.set_column(at, table.schema.field(at), note))

    return write


def with_polars(is_stream: bool, level: str, compression: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        pl = pytest.importorskip("polars")
        # In one chunk: Polars cannot take slices of lists of a fixed size that have nulls.
        whole = pl.from_arrow(rich_table().drop_columns(["note"]).combine_chunks())
        whole = whole.with_columns(
            pl.Series("note", PASSENGERS["note"].to_pylist(), dtype=pl.Categorical),
            pl.Series("side", list("abababab"), dtype=pl.Enum(["a", "b"])),
            pl.struct(pl.col("text"), pl.col("large")).alias("both"),
        )
        frame = pl.concat([whole[:BORDER], whole[BORDER:]], rechunk=False)
        options = {"compression": compression, "compat_level": getattr(pl.CompatLevel, level)()}
        if is_stream:
            frame.write_ipc_stream(path, **options)
        else:
            frame.write_ipc(path, record_batch_size=BORDER, **options)

    return write


def with_duckdb(path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    rows = rich_table().drop_columns(["half"])  # it has no type for those
    with duckdb.connect() as database:
        database.register("rows", rows)
        table = database.sql("FROM rows").to_arrow_table().combine_chunks()
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=BORDER)


def fixture(name: str) -> Callable[[Path], None]:
    return lambda path: shutil.copy(DATA / name, path)


V4 = pa.ipc.MetadataVersion.V4
WRITERS: dict[str, Written] = {
    "pyarrow file": Written(with_pyarrow()),
    "pyarrow stream": Written(with_pyarrow(is_stream=True), is_stream=True),
    "pyarrow file, lz4": Written(with_pyarrow(compression="lz4"), codec="lz4"),
    "pyarrow stream, zstd": Written(with_pyarrow(True, compression="zstd"), True, "zstd"),
    "pyarrow file as before 0.15": Written(with_pyarrow(use_legacy_format=True)),
    "pyarrow file as before 1.0": Written(with_pyarrow(metadata_version=V4)),
    "pyarrow stream as before 1.0": Written(with_pyarrow(True, metadata_version=V4), True),
    "pyarrow file, all metadata": Written(with_pyarrow(of_batches=True)),
    "pyarrow stream, all metadata": Written(with_pyarrow(True, of_batches=True), True),
    "pyarrow file, empty batches": Written(with_pyarrow(empty=True), num_rows=(0, 4, 0, 4)),
    "pyarrow stream, empty batches": Written(with_pyarrow(True, empty=True), True, num_rows=(0, 4, 0, 4)),
    "pyarrow file, a dictionary that grows": Written(
        with_dictionaries(False, emit_dictionary_deltas=True), is_for_polars=False
    ),
    "pyarrow stream, a dictionary that grows": Written(
        with_dictionaries(True, emit_dictionary_deltas=True), True, is_for_polars=False
    ),
    "pyarrow stream, a dictionary in place of another": Written(with_dictionaries(True), True),
    **{
        f"polars {'stream' if is_stream else 'file'}, {level}, {codec or 'plain'}": Written(
            with_polars(is_stream, level, codec or "uncompressed"),
            is_stream,
            codec,
            num_rows=(8,) if is_stream else (4, 4),
        )
        for is_stream in (False, True)
        for level in ("oldest", "newest")
        for codec in (None, "lz4", "zstd")
    },
    "duckdb": Written(with_duckdb),
    "arro3 file": Written(fixture("arro3.arrow")),
    "arro3 file, lz4": Written(fixture("arro3_lz4.arrow"), codec="lz4"),
    "arro3 stream, zstd": Written(fixture("arro3_zstd.arrows"), True, "zstd"),
    "apache-arrow of npm, file": Written(fixture("npm.arrow"), is_for_polars=False),
    "apache-arrow of npm, stream": Written(fixture("npm.arrows"), True, is_for_polars=False),
}
