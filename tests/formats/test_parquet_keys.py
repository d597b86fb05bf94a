"""Key-value metadata after columns were added: pyarrow, pandas and `datasets` find the columns described."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats.parquet_files import (
    WRITERS,
    append,
    flat_table,
    rich_table,
)

from gaecli.formats.parquet.footer import read_footer


@pytest.mark.parametrize("writer", ["duckdb", "pyarrow without schema"])
def test_no_arrow_schema_is_added_unless_a_type_needs_it(writer: str, tmp_path: Path, target: Path) -> None:
    path = tmp_path / "a.parquet"
    WRITERS[writer](path)
    append(path, target)
    assert b"ARROW:schema" not in read_footer(target).pairs
    before = pq.read_table(path)
    columns = pa.table({"advantage": pa.array([[1.0]] * 100, pa.large_list(pa.float32()))})
    append(path, target, columns)
    after = pq.read_table(target)
    assert after.schema.field("advantage").type == pa.large_list(pa.float32())
    assert after.drop_columns("advantage").equals(before)
    # With ARROW:schema there, pyarrow shows the copies in it, so they must be complete.
    assert (after.schema.metadata or {}).items() >= (before.schema.metadata or {}).items()
    assert after.schema.metadata[b"gaecli"] == b'{"gamma": 0.99}'


def test_metadata_is_added_in_the_file_and_inside_the_arrow_schema(source: Path, target: Path) -> None:
    pq.write_table(rich_table(100), source)
    append(source, target)
    pairs = read_footer(target).pairs
    stored = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(pairs[b"ARROW:schema"] or b"")))
    assert pairs[b"gaecli"] == stored.metadata[b"gaecli"] == b'{"gamma": 0.99}'
    assert pairs[b"origin"] == stored.metadata[b"origin"] == b"test"
    assert pq.read_schema(target).metadata[b"gaecli"] == b'{"gamma": 0.99}'
    assert stored.names[-2:] == ["advantage", "return"]


def test_pandas_metadata_gets_the_columns_and_pandas_reads_them(tmp_path: Path, target: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "a.parquet"
    WRITERS["pandas"](path)
    append(path, target)
    document = json.loads(read_footer(target).pairs[b"pandas"] or b"")
    assert document["columns"][-1] == {
        "name": "return",
        "field_name": "return",
        "pandas_type": "float32",
        "numpy_type": "float32",
        "metadata": None,
    }
    assert json.loads(pq.read_schema(target).metadata[b"pandas"]) == document
    frame = pandas.read_parquet(target)
    assert frame.index.name == "step"
    assert frame.columns.tolist() == ["reward", "word", "list", "advantage", "return"]


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ({"feature": {"dtype": "float32", "_type": "Value"}, "_type": "List"}, "List"),
        ({"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"}, "Sequence"),
        ({"dtype": "float32", "_type": "Value"}, "Sequence"),
    ],
)
def test_huggingface_features_are_extended_in_the_spelling_of_the_file(
    existing: dict[str, Any], expected: str, tmp_path: Path, target: Path
) -> None:
    path = tmp_path / "a.parquet"
    document = {"info": {"features": {"list": existing, "step": {"dtype": "int64", "_type": "Value"}}}}
    table = flat_table(4).replace_schema_metadata({"huggingface": json.dumps(document), "other": "kept"})
    pq.write_table(table, path)
    columns = pa.table(
        {
            "advantage": pa.array([[1.0]] * 4, pa.list_(pa.float32())),
            "return": pa.array([1.0] * 4, pa.float32()),
            "large": pa.array([[1.0]] * 4, pa.large_list(pa.float64())),
        }
    )
    append(path, target, columns)
    written = json.loads(read_footer(target).pairs[b"huggingface"] or b"")
    assert json.loads(pq.read_schema(target).metadata[b"huggingface"]) == written
    features = written["info"]["features"]
    assert features == {
        **document["info"]["features"],
        "advantage": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": expected},
        "return": {"dtype": "float32", "_type": "Value"},
        "large": {"feature": {"dtype": "float64", "_type": "Value"}, "_type": "LargeList"},
    }


@pytest.mark.parametrize("text", ["", "[]", "{", '{"info": 3}', '{"columns": {}}', "[" * 100_000])
def test_metadata_that_is_not_understood_stays_as_it_is(text: str, tmp_path: Path, target: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(flat_table(4).replace_schema_metadata({"huggingface": text, "pandas": text}), path)
    append(path, target)
    assert read_footer(target).pairs[b"huggingface"] == text.encode()
    assert read_footer(target).pairs[b"pandas"] == text.encode()


def test_an_arrow_schema_of_other_columns_is_left_out(tmp_path: Path, target: Path) -> None:
    # pyarrow ignores it for its number of columns, which the new ones would make fit.
    path = tmp_path / "a.parquet"
    other = pa.schema([pa.field(str(i), pa.large_list(pa.int8())) for i in range(6)])
    with pq.ParquetWriter(path, flat_table(4).schema, store_schema=False) as writer:
        writer.write_table(flat_table(4))
        writer.add_key_value_metadata({"ARROW:schema": base64.b64encode(other.serialize()).decode()})
    append(path, target)
    assert b"ARROW:schema" not in read_footer(target).pairs
    assert pq.read_table(target, columns=flat_table(4).column_names).equals(flat_table(4))
