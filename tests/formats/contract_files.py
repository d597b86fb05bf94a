"""One small rollout file in every format: how it is made, and how its content is read back.

A new format needs an entry in `BUILDERS`; the contract tests then run over it.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Rows = Mapping[str, list[Any]]

#: Two episodes: a terminated one, and one that is cut with a value beyond its end.
NESTED: Rows = {
    "rewards": [[1.0, 0.5, -1.0], [2.0, 0.25]],
    "values": [[0.1, 0.2, 0.3], [0.4, 0.5]],
    "terminated": [[False, False, True], [False, False]],
    "next_values": [[None, None, None], [None, 3.0]],
}


def flat(rows: Rows) -> dict[str, list[Any]]:
    """The same steps in rows of their own, with the number of the episode."""
    steps = {name: [cell for row in lists for cell in row] for name, lists in rows.items()}
    episodes = [number for number, row in enumerate(rows["rewards"]) for _ in row]
    return {**steps, "episode_id": episodes}


@dataclass(frozen=True)
class Builder:
    """`write(path, extra)` makes the file; `extra` names a column of somebody else to be in it."""

    suffix: str
    write: Callable[[Path, str | None], None]
    #: Numbers of a column, episode by episode.
    column: Callable[[Path, str], list[float]]
    #: All content that is not gaecli's, in a form that can be compared.
    other: Callable[[Path], Any]
    #: Replaces the first number of a column by 7 and leaves all else, provenance included, as it is.
    edit: Callable[[Path, str], None]


def table_of(rows: Rows, extra: str | None) -> pa.Table:
    columns = dict(rows)
    if extra is not None:
        columns[extra] = rows["rewards"]
    return pa.table({**columns, "note": ["ä", None][: len(rows["rewards"])]})


def numbers(column: pa.ChunkedArray) -> list[float]:
    return column.combine_chunks().flatten().to_pylist()


OURS = ("advantage", "return")


def kept(table: pa.Table) -> Any:
    names = [name for name in table.column_names if name not in OURS]
    metadata = {key: value for key, value in (table.schema.metadata or {}).items() if key != b"gaecli"}
    return table.select(names).to_pydict(), [table.schema.field(name) for name in names], metadata


def write_parquet(path: Path, extra: str | None) -> None:
    pq.write_table(table_of(NESTED, extra).replace_schema_metadata({"mine": "1"}), path, compression="zstd")


def write_arrow_file(path: Path, extra: str | None) -> None:
    table = table_of(NESTED, extra).replace_schema_metadata({"mine": "1"})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)


def write_json_lines(path: Path, extra: str | None) -> None:
    lines = []
    for row in table_of(NESTED, extra).to_pylist():
        lines.append(json.dumps({**row, "price": 1.50}, ensure_ascii=False))
    lines[1] = lines[1].replace(": ", ":").replace(", ", ",").replace("1.5", "1.50")
    path.write_text("\n".join(lines) + "\n")


def read_json_lines(path: Path, name: str) -> list[float]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [cell for row in rows for cell in row[name]]


def json_text_without_ours(path: Path) -> list[str]:
    """The beginning of every line, up to the first of our fields."""
    return [line.split('"advantage"')[0].rstrip(", }") for line in path.read_text().splitlines()]


def write_csv(path: Path, extra: str | None) -> None:
    columns = flat(NESTED)
    if extra is not None:
        columns[extra] = columns["rewards"]
    columns["note"] = ["'ä'", "", " 1.50", "007", "x"]
    rows = [
        ",".join("" if cell is None else str(cell) for cell in row)
        for row in zip(*columns.values(), strict=True)
    ]
    path.write_text("\n".join([",".join(columns), *rows]) + "\n")


def csv_cells(path: Path) -> dict[str, list[str]]:
    names, *rows = (line.split(",") for line in path.read_text().splitlines())
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def edit_csv(path: Path, name: str) -> None:
    names, first, *rest = path.read_text().split("\n")
    cells = first.split(",")
    cells[names.split(",").index(name)] = "7"
    path.write_text("\n".join([names, ",".join(cells), *rest]))


def write_npz(path: Path, extra: str | None) -> None:
    arrays = {name: np.array(cells, float) for name, cells in flat(NESTED).items()}
    if extra is not None:
        arrays[extra] = arrays["rewards"]
    np.savez_compressed(path, note=np.array("ä"), **arrays)


def read_npz(path: Path, name: str) -> list[float]:
    with np.load(path) as arrays:
        return arrays[name].tolist()


def npz_members(path: Path) -> dict[str, str]:
    with np.load(path) as arrays:
        return {name: str(arrays[name].tolist()) for name in arrays.files if name not in OURS}


def write_pt(path: Path, extra: str | None) -> None:
    torch = pytest.importorskip("torch")
    tensors = {name: torch.tensor(np.array(cells, float)) for name, cells in flat(NESTED).items()}
    if extra is not None:
        tensors[extra] = tensors["rewards"]
    torch.save({**tensors, "note": "ä"}, path)


def load_pt(path: Path) -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    return torch.load(path, weights_only=True)


def edit_pt(path: Path, name: str) -> None:
    """In its storage, with all that stands beside it."""
    value = load_pt(path)[name]
    before = value.numpy().tobytes()
    value[0] = 7
    with zipfile.ZipFile(path) as file:
        members = {info.filename: file.read(info) for info in file.infolist()}
    (place,) = [member for member, content in members.items() if content == before]
    members[place] = value.numpy().tobytes()
    with zipfile.ZipFile(path, "w") as file:
        for member, content in members.items():
            file.writestr(member, content)


def write_hdf5(path: Path, extra: str | None) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.attrs["mine"] = "1"
        for number in range(2):
            group = file.create_group(f"episode_{number}")
            group.attrs["seed"] = number
            for name, lists in NESTED.items():
                group.create_dataset(name, data=np.array(lists[number], float))
            group.create_dataset("observations", data=np.ones((4, 3), np.uint8), compression="gzip")
            if extra is not None:
                group.create_dataset(extra, data=np.zeros(len(NESTED["rewards"][number])))


def read_hdf5(path: Path, name: str) -> list[float]:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path) as file:
        return [float(cell) for number in range(2) for cell in file[f"episode_{number}"][name][()]]


def hdf5_content(path: Path) -> Any:
    h5py = pytest.importorskip("h5py")
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        content = item[()].tolist() if isinstance(item, h5py.Dataset) else None
        if name.rsplit("/", maxsplit=1)[-1] not in OURS:
            found[name] = ({key: str(value) for key, value in item.attrs.items()}, str(content))

    with h5py.File(path) as file:
        file.visititems(visit)
        return found, file.attrs["mine"]


def edited(table: pa.Table, name: str) -> pa.Table:
    """With the type of the column and the metadata of the schema."""
    cells = table.column(name).to_pylist()
    cells[0] = [7.0, *cells[0][1:]]
    index = table.column_names.index(name)
    return table.set_column(index, table.schema.field(index), pa.array(cells, table.schema.field(index).type))


def edit_parquet(path: Path, name: str) -> None:
    with pq.ParquetFile(path) as file:
        stored = file.metadata.metadata[b"gaecli"]
    table = edited(pq.read_table(path), name)
    keys = {**(table.schema.metadata or {}), b"gaecli": stored}
    pq.write_table(table.replace_schema_metadata(keys), path, compression="zstd")


def edit_arrow(path: Path, name: str) -> None:
    table = edited(read_arrow(path), name)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)


def edit_json_lines(path: Path, name: str) -> None:
    path.write_text(re.sub(rf'("{name}": ?\[)[^,\]]+', r"\g<1>7.0", path.read_text(), count=1))


def edit_npz(path: Path, name: str) -> None:
    with np.load(path) as arrays, zipfile.ZipFile(path) as file:
        contents, comment = dict(arrays), file.comment
    contents[name][0] = 7
    np.savez_compressed(path, **contents)
    with zipfile.ZipFile(path, "a") as file:
        file.comment = comment


def edit_hdf5(path: Path, name: str) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "r+") as file:
        file["episode_0"][name][0] = 7.0


def read_arrow(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


#: Format name -> how its files are made. Every registered format has an entry.
BUILDERS: Mapping[str, Builder] = {
    "parquet": Builder(
        ".parquet",
        write_parquet,
        lambda path, name: numbers(pq.read_table(path).column(name)),
        lambda path: kept(pq.read_table(path)),
        edit_parquet,
    ),
    "arrow": Builder(
        ".arrow",
        write_arrow_file,
        lambda path, name: numbers(read_arrow(path).column(name)),
        lambda path: kept(read_arrow(path)),
        edit_arrow,
    ),
    "jsonl": Builder(".jsonl", write_json_lines, read_json_lines, json_text_without_ours, edit_json_lines),
    "csv": Builder(
        ".csv",
        write_csv,
        lambda path, name: [float(cell) for cell in csv_cells(path)[name]],
        lambda path: {name: cells for name, cells in csv_cells(path).items() if name not in OURS},
        edit_csv,
    ),
    "npz": Builder(".npz", write_npz, read_npz, npz_members, edit_npz),
    "pt": Builder(
        ".pt",
        write_pt,
        lambda path, name: load_pt(path)[name].tolist(),
        lambda path: {name: str(value) for name, value in load_pt(path).items() if name not in OURS},
        edit_pt,
    ),
    "hdf5": Builder(".hdf5", write_hdf5, read_hdf5, hdf5_content, edit_hdf5),
}
