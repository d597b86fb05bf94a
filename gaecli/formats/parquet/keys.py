"""The key-value metadata of a Parquet file, brought up to date with columns added and taken away.

Four keys describe the columns a second time, and readers trust them over the Parquet schema:

    ARROW:schema   base64 of an Arrow IPC schema message; pyarrow and Polars take types from it by position,
                   and ignore it where the number of columns differs
    huggingface    {"info": {"features": {name: feature}}}; `datasets` casts to it
    pandas         {"columns": [{"name", "field_name", "pandas_type", "numpy_type", "metadata"}]}
    org.apache.spark.sql.parquet.row.metadata
                   {"fields": [{"name", "type", "nullable", "metadata"}]}; Spark sees no other columns

ARROW:schema carries copies of the other keys, and pyarrow shows those instead of the file's own
(https://github.com/apache/arrow/issues/31723), so what changes is changed in both places.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa

from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.footer import KeyValue
from gaecli.formats.parquet.thrift_compact import List, Struct

ARROW_SCHEMA = b"ARROW:schema"
HUGGINGFACE = b"huggingface"
PANDAS = b"pandas"
SPARK = b"org.apache.spark.sql.parquet.row.metadata"

Pairs = Mapping[bytes, bytes | None]


def updated_keys(
    pairs: Pairs,
    columns: Sequence[str],
    dropped: Collection[int],
    added: pa.Schema,
    extra: Mapping[bytes, bytes],
) -> dict[bytes, bytes | None]:
    """What `pairs` become, in their order, for a file that loses and gains columns.

    Args:
        pairs: the metadata of the file as it was.
        columns: its top-level columns; `dropped` are positions among them.
        added: the new columns, behind all others.
        extra: further pairs; they replace those of the same key.

    Raises:
        ValueError: if `ARROW:schema` is there and cannot be decoded.
    """
    gone = {columns[index] for index in dropped}
    updated = dict(pairs)
    changed = dict(extra)
    for key, update in (
        (HUGGINGFACE, _with_features),
        (PANDAS, _with_pandas_columns),
        (SPARK, _with_spark_fields),
    ):
        if key not in extra and (text := update(pairs.get(key), gone, added)) is not None:
            changed[key] = text
    updated.update(changed)
    if (stored := pairs.get(ARROW_SCHEMA)) is not None:
        text = _with_fields(stored, len(columns), frozenset(dropped), added.serialize().to_pybytes())
        if isinstance(text, pa.Schema):
            text = encode_schema(text.with_metadata({**text.metadata, **changed}))
        if text is None:
            del updated[ARROW_SCHEMA]
        else:
            updated[ARROW_SCHEMA] = text
    return updated


def without_key(pairs: Pairs, key: bytes) -> dict[bytes, bytes | None]:
    """The pairs without one, nor its copy in `ARROW:schema`."""
    left = {name: value for name, value in pairs.items() if name != key}
    stored = left.get(ARROW_SCHEMA)
    if stored is not None:
        schema = decode_schema(stored)
        if key in (schema.metadata or {}):
            inside = {name: value for name, value in schema.metadata.items() if name != key}
            left[ARROW_SCHEMA] = encode_schema(schema.with_metadata(inside or None))
    return left


def to_thrift(pairs: Pairs) -> List:
    """The pairs as the footer's list of `KeyValue`."""
    structs = List(thrift.STRUCT)
    for key, value in pairs.items():
        pair = Struct({KeyValue.KEY: (thrift.BINARY, key)})
        if value is not None:
            pair.put(KeyValue.VALUE, thrift.BINARY, value)
        structs.append(pair)
    return structs


def encode_schema(schema: pa.Schema) -> bytes:
    return base64.b64encode(schema.serialize())


def decode_schema(text: bytes) -> pa.Schema:
    """Raises ValueError, whatever is wrong with the text."""
    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
    except (ValueError, OSError, pa.ArrowException) as error:
        raise ValueError(f"its `ARROW:schema` cannot be decoded ({error})") from error


def needs_arrow_schema(data_type: pa.DataType) -> bool:
    """Whether a reader takes the Parquet type for another one unless `ARROW:schema` says better."""
    if pa.types.is_list(data_type):
        return needs_arrow_schema(data_type.value_type)
    kinds = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_float32, pa.types.is_float64)
    return not any(kind(data_type) for kind in (*kinds, pa.types.is_string, pa.types.is_binary))


@lru_cache(maxsize=2)
def _with_fields(
    text: bytes, num_columns: int, dropped: frozenset[int], added: bytes
) -> pa.Schema | bytes | None:
    """The stored schema brought up to date; None if it describes other columns.

    Encoded already where it has no pairs of its own, which go by the file: it is the same for thousands of them.
    `added` is encoded because schemas are equal whose fields differ in their metadata.
    """
    schema = decode_schema(text)
    if len(schema) != num_columns:
        # Readers ignored it so far. With columns added, the numbers might agree by accident.
        return None
    fields = [field for index, field in enumerate(schema) if index not in dropped]
    new = pa.ipc.read_schema(pa.py_buffer(added))
    found = pa.schema([*fields, *new], metadata=schema.metadata or None)
    return found if found.metadata else encode_schema(found)


def _loads(text: bytes | None) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None  # not a document that gaecli can add to, so it stays as it is


def _dumps(document: Any) -> bytes:
    return json.dumps(document).encode()


def _with_features(text: bytes | None, gone: Collection[str], added: pa.Schema) -> bytes | None:
    document = _loads(text)
    info = document.get("info") if isinstance(document, dict) else None
    features = info.get("features") if isinstance(info, dict) else None
    if info is None or not isinstance(features, dict):
        return None
    list_type = "List" if b'"_type": "List"' in (text or b"") else "Sequence"
    kept = {name: feature for name, feature in features.items() if name not in gone}
    new = {field.name: _feature(field.type, list_type) for field in added}
    return _dumps({**document, "info": {**info, "features": {**kept, **new}}})


def _feature(data_type: pa.DataType, list_type: str) -> Any:
    """The feature of one column in the words of `datasets`.

    A list was a `Sequence` up to `datasets` 3 and is a `List` since 4. Version 4 and later read both, so
    `Sequence` is what a file without other lists gets; large lists have had one name throughout.
    """
    if pa.types.is_large_list(data_type):
        return {"feature": _feature(data_type.value_type, list_type), "_type": "LargeList"}
    if pa.types.is_fixed_size_list(data_type):
        inner = _feature(data_type.value_type, list_type)
        return {"feature": inner, "length": data_type.list_size, "_type": list_type}
    if pa.types.is_list(data_type) and pa.types.is_struct(data_type.value_type) and list_type == "Sequence":
        return [
            _feature(data_type.value_type, list_type)
        ]  # a `Sequence` of structs would be a struct of lists
    if pa.types.is_list(data_type):
        return {"feature": _feature(data_type.value_type, list_type), "_type": list_type}
    if pa.types.is_struct(data_type):
        return {field.name: _feature(field.type, list_type) for field in data_type}
    return {"dtype": _type_name(data_type), "_type": "Value"}


def _type_name(data_type: pa.DataType) -> str:
    name = str(data_type)
    return {"float": "float32", "double": "float64", "halffloat": "float16"}.get(name, name)


def _with_pandas_columns(text: bytes | None, gone: Collection[str], added: pa.Schema) -> bytes | None:
    document = _loads(text)
    columns = document.get("columns") if isinstance(document, dict) else None
    if not isinstance(columns, list):
        return None
    names = {*gone, *added.names}
    kept = [
        column for column in columns if not isinstance(column, dict) or column.get("field_name") not in names
    ]
    return _dumps({**document, "columns": [*kept, *(_pandas_column(field) for field in added)]})


def _pandas_column(field: pa.Field) -> dict[str, Any]:
    is_nested = pa.types.is_nested(field.type)
    return {
        "name": field.name,
        "field_name": field.name,
        "pandas_type": _pandas_type(field.type),
        "numpy_type": "object" if is_nested else _type_name(field.type),
        "metadata": None,
    }


def _pandas_type(data_type: pa.DataType) -> str:
    is_list = pa.types.is_list(data_type) or pa.types.is_large_list(data_type)
    if is_list or pa.types.is_fixed_size_list(data_type):
        return f"list[{_pandas_type(data_type.value_type)}]"
    return _type_name(data_type)


def _with_spark_fields(text: bytes | None, gone: Collection[str], added: pa.Schema) -> bytes | None:
    document = _loads(text)
    fields = document.get("fields") if isinstance(document, dict) else None
    if not isinstance(fields, list):
        return None
    names = {*gone, *added.names}
    kept = [field for field in fields if not isinstance(field, dict) or field.get("name") not in names]
    new = [
        {"name": field.name, "type": data_type, "nullable": True, "metadata": {}}
        for field in added
        if (data_type := _spark_type(field.type)) is not None
    ]
    return _dumps({**document, "fields": [*kept, *new]})


def _spark_type(data_type: pa.DataType) -> Any:
    """None for what Spark has no type for: such a column it does not see."""
    is_list = pa.types.is_list(data_type) or pa.types.is_large_list(data_type)
    if is_list or pa.types.is_fixed_size_list(data_type):
        inner = _spark_type(data_type.value_type)
        return None if inner is None else {"type": "array", "elementType": inner, "containsNull": True}
    return _SPARK_TYPES.get(str(data_type))


_SPARK_TYPES = {
    "bool": "boolean",
    "int8": "byte",
    "int16": "short",
    "int32": "integer",
    "int64": "long",
    "float": "float",
    "double": "double",
    "string": "string",
    "large_string": "string",
    "binary": "binary",
}
