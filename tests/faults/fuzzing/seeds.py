"""Small whole files of every format, to be damaged: writers, codecs, encodings, page versions, layouts."""

from __future__ import annotations

import csv
import itertools
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import gaecli

ROWS = 12


def write_seeds(format_name: str, folder: Path) -> None:
    _WRITERS[format_name](folder)


def numbers() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "reward": random.normal(size=ROWS).astype(np.float32),
        "value": random.normal(size=ROWS).astype(np.float32),
        "done": np.arange(ROWS) % 5 == 4,
    }


def _lists() -> dict[str, list[Any]]:
    flat = numbers()
    ends = (0, 5, 6, 12)
    spans = list(itertools.pairwise(ends))
    return {name: [values[a:b].tolist() for a, b in spans] for name, values in flat.items() if name != "done"}


def _rich() -> pa.Table:
    """Of every type that has levels, ids or a logical type."""
    return pa.table(
        {
            **numbers(),
            "word": pa.array(["a", "bb", None] * 4).dictionary_encode(),
            "text": pa.array([f"n{row}" for row in range(ROWS)]),
            "observation": pa.array([[1.0, 2.0], [], None, [3.0]] * 3, pa.list_(pa.float32())),
            "info": pa.array([{"a": 1, "b": [True, None]}, None] * 6),
            "price": pa.array([row + 1 for row in range(ROWS)], pa.decimal128(9, 2)),
            "at": pa.array(range(ROWS), pa.timestamp("us")),
            "small": pa.array(range(ROWS), pa.uint8()),
        }
    )


def _parquet(folder: Path) -> None:
    table = pa.table(numbers())
    plain = {"compression": "none", "use_dictionary": False, "store_schema": False}
    pq.write_table(table, folder / "plain.parquet", row_group_size=7, **plain)
    pq.write_table(table, folder / "usual.parquet", row_group_size=7)
    pq.write_table(
        _rich(), folder / "rich.parquet", write_page_index=True, compression="gzip", row_group_size=5
    )
    second = {"data_page_version": "2.0", "compression": "zstd", "write_page_index": True}
    pq.write_table(pa.table(_lists()), folder / "lists.parquet", row_group_size=2, **second)
    pq.write_table(_rich(), folder / "pages.parquet", data_page_size=16, write_batch_size=3, **second)
    encodings = {
        "reward": "BYTE_STREAM_SPLIT",
        "value": "PLAIN",
        "done": "RLE",
        "step": "DELTA_BINARY_PACKED",
    }
    encodings["name"] = "DELTA_BYTE_ARRAY"
    stepped = table.append_column("step", pa.array(range(ROWS)))
    stepped = stepped.append_column("name", pa.array([f"run {row}" for row in range(ROWS)]))
    options = {"use_dictionary": False, "column_encoding": encodings, "compression": "brotli"}
    pq.write_table(stepped, folder / "encodings.parquet", **options)
    pq.write_table(table, folder / "labelled.parquet")
    gaecli.compute(folder / "labelled.parquet", jobs=1, done_at="end")
    import duckdb
    import polars

    polars.DataFrame(numbers()).write_parquet(folder / "polars.parquet")
    duckdb.sql("SET threads = 1")
    found = polars.DataFrame(numbers())  # noqa: F841 - DuckDB finds it by its name
    duckdb.sql("SELECT * FROM found").write_parquet(str(folder / "duckdb.parquet"))


def _npz(folder: Path) -> None:
    np.savez(folder / "plain.npz", **numbers())
    np.savez_compressed(folder / "deflated.npz", **numbers())
    lanes = {name: values.reshape(6, 2) for name, values in numbers().items()}
    np.savez(folder / "lanes.npz", **lanes, last_values=np.zeros(2, np.float32))
    with zipfile.ZipFile(folder / "more.npz", "w", zipfile.ZIP_LZMA) as archive:
        for name, values in {**numbers(), "names": np.array(["a"] * ROWS)}.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, values)


def _arrow(folder: Path) -> None:
    table = pa.table(
        {**numbers(), "note": pa.array([f"n{row % 3}" for row in range(ROWS)]).dictionary_encode()}
    )
    for name, options in (
        ("plain", {}),
        ("packed", {"compression": "zstd"}),
        ("packed4", {"compression": "lz4"}),
    ):
        for suffix, opened in ((".arrow", pa.ipc.new_file), (".arrows", pa.ipc.new_stream)):
            path = folder / f"{name}{suffix}"
            with opened(path, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
                writer.write_table(table, max_chunksize=7)
    rows = pa.table(_lists())
    with pa.ipc.new_file(folder / "lists.arrow", rows.schema) as writer:
        writer.write_table(rows)
    import polars

    polars.DataFrame(numbers()).write_ipc(folder / "polars.arrow")


def _json_lines(folder: Path) -> None:
    flat = {name: values.tolist() for name, values in numbers().items()}
    rows = [dict(zip(flat, row, strict=True)) for row in zip(*flat.values(), strict=True)]
    lists = _lists()
    whole = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    rich = [
        {"id": row // 5, "info": {"a": [row, None], "t": "é\n\u2028"}, **cells}
        for row, cells in enumerate(rows)
    ]
    for name, lines in (("flat", rows), ("lists", whole), ("rich", rich)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (folder / "labelled.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows))
    gaecli.compute(folder / "labelled.jsonl", jobs=1, done_at="end")
    (folder / ".labelled.jsonl.gae.json").unlink(missing_ok=True)


def _hdf5(folder: Path) -> None:
    import h5py

    for name, options, chunked in (
        ("old", {}, {}),
        ("chunked", {}, {"chunks": (2,), "compression": "gzip", "shuffle": True}),
        ("new", {"libver": "latest"}, {"chunks": (2,), "maxshape": (None,)}),
    ):
        with h5py.File(folder / f"{name}.hdf5", "w", **options) as file:
            file.attrs["total"] = ROWS
            for episode, (start, stop) in enumerate(((0, 5), (5, 10), (10, 12))):
                group = file.create_group(f"episode_{episode}")
                group.attrs["id"] = episode
                for column, cells in numbers().items():
                    group.create_dataset(column, data=cells[start:stop], **chunked)


def _csv(folder: Path) -> None:
    flat = {name: values.tolist() for name, values in numbers().items()}
    rich = {"id": [row // 5 for row in range(ROWS)], "note": ['a "b", c\nd', "", "é\u2028"] * 4, **flat}
    for name, columns, delimiter, ends in (
        ("plain", flat, ",", "\n"),
        ("rich", rich, ",", "\n"),
        ("tabs", rich, "\t", "\r\n"),
        ("semicolons", flat, ";", "\r\n"),
        ("labelled", flat, ",", "\n"),
    ):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=delimiter, lineterminator=ends)
            writer.writerows([columns, *zip(*columns.values(), strict=True)])
    gaecli.compute(folder / "labelled.csv", jobs=1, done_at="end")
    (folder / ".labelled.csv.gae.json").unlink(missing_ok=True)


def _pt(folder: Path) -> None:
    import torch

    flat = {name: torch.from_numpy(values) for name, values in numbers().items()}
    lanes = {name: values.reshape(6, 2) for name, values in flat.items()}
    torch.save(flat, folder / "flat.pt")
    torch.save({"rollout": lanes, "seed": 3}, folder / "inner.pt")
    strided = {name: values.repeat_interleave(2)[::2] for name, values in flat.items()}
    more = {"obs": torch.zeros(ROWS, 2, dtype=torch.bfloat16), "config": {"a": [1, (2.5, None)]}, "name": "é"}
    torch.save({**strided, **more, "value": torch.nn.Parameter(flat["value"])}, folder / "more.pt")
    torch.save(flat, folder / "labelled.pt")
    gaecli.compute(folder / "labelled.pt", jobs=1, done_at="end")


_WRITERS = {
    "parquet": _parquet,
    "npz": _npz,
    "arrow": _arrow,
    "jsonl": _json_lines,
    "hdf5": _hdf5,
    "csv": _csv,
    "pt": _pt,
}
