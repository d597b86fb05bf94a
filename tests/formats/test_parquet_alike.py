"""What is looked at once for files that are alike is looked at anew for one that only looks like them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gaecli.formats.parquet.keys import ARROW_SCHEMA, decode_schema, encode_schema, updated_keys
from gaecli.formats.registry import open_file


def test_files_that_are_alike_have_their_own_rows_and_others_their_own_types(tmp_path: Path) -> None:
    """All have the same columns in the Parquet schema; of the last two the stored Arrow schema differs."""
    numbers = {"reward": [1.0, 2.0, 3.0], "episode_id": ["a", "b", "b"]}
    table = pa.table(numbers)
    coded = table.set_column(1, "episode_id", table.column(1).dictionary_encode())
    noted = table.replace_schema_metadata({"note": "another"})
    paths = {}
    for name, one in (
        ("first", table),
        ("longer", pa.concat_tables([table, table])),
        ("coded", coded),
        ("noted", noted),
    ):
        paths[name] = tmp_path / f"{name}.parquet"
        pq.write_table(one, paths[name], row_group_size=2)

    found = {name: open_file(path) for name, path in paths.items()}

    assert {name: file.num_rows for name, file in found.items()} == {
        "first": 3,
        "longer": 6,
        "coded": 3,
        "noted": 3,
    }
    types = {name: file.columns["episode_id"].type_name for name, file in found.items()}
    assert types["first"] == types["longer"] == types["noted"] == "string"
    assert "dictionary" in types["coded"]
    for name, file in found.items():
        (unit,) = file.units(100, "reward")
        ((_, _, columns),) = file.blocks(unit, ["reward"], 100)
        assert columns["reward"].values.tolist() == [1.0, 2.0, 3.0] * (2 if name == "longer" else 1)


def test_new_columns_that_differ_in_their_field_ids_alone_keep_them_in_the_stored_schema() -> None:
    """Arrow takes such schemas for equal."""
    stored = {ARROW_SCHEMA: encode_schema(pa.schema([("reward", pa.float32())]))}
    ids = []
    for number in (b"7", b"8", b"7"):
        added = pa.schema([pa.field("advantage", pa.float32(), metadata={b"PARQUET:field_id": number})])
        updated = updated_keys(stored, ["reward"], (), added, {b"gaecli": b"{}"})
        schema = decode_schema(updated[ARROW_SCHEMA] or b"")
        assert schema.names == ["reward", "advantage"]
        ids.append(schema.field("advantage").metadata[b"PARQUET:field_id"])
    assert ids == [b"7", b"8", b"7"]
