"""Fields that hold values of several types: a text in one line, a list in another. They are read as texts.

pyarrow reads one type per field, and one field that nobody asks for would keep all others from being read: an answer
that is a number here and a text there, messages of a chat that hold a text or a list of parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa

from gaecli.formats.arrow.columns import is_list
from gaecli.formats.cell_labels import label_of
from gaecli.names import ALIASES

#: More than these in one file, and it is another kind of file; each takes one more look at the lines.
MOST_PATHS = 16
_CHANGED = re.compile(r"Column\(/(.*)\) changed from (\w+) to (\w+) in row \d+")
_ITEMS = "[]"
#: What a column of numbers or flags is when somebody wrote one of its cells in another way.
_NUMBERS = {"number", "boolean"}
_ROLE_NAMES = frozenset(name for names in ALIASES.values() for name in names)


def changed_path(error: Exception) -> str | None:
    """`prompt/[]/content`, where that is what pyarrow says of a field that has another type in another line.

    None of numbers beside flags, and of what has the name of a role: that is damage, and no text.
    """
    found = _CHANGED.search(str(error))
    if found is None or {found[2], found[3]} == _NUMBERS or found[1].lower() in _ROLE_NAMES:
        return None
    return found[1]


def conflicts(one: pa.DataType, other: pa.DataType, path: str = "") -> Iterator[str]:
    """Paths at which two types of a field cannot be one."""
    if one.equals(other) or pa.types.is_null(one) or pa.types.is_null(other):
        return
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        for field in one:
            if other.get_field_index(field.name) >= 0:
                inner = f"{path}/{field.name}" if path else field.name
                yield from conflicts(field.type, other.field(field.name).type, inner)
    elif is_list(one) and is_list(other):
        yield from conflicts(one.value_type, other.value_type, f"{path}/{_ITEMS}" if path else _ITEMS)
    elif path.lower() not in _ROLE_NAMES and not (_is_number(one) and _is_number(other)):
        yield path


def _is_number(data_type: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(data_type) or pa.types.is_floating(data_type) or pa.types.is_boolean(data_type)
    )


def with_texts(content: bytes, paths: Collection[str]) -> bytes:
    """Whole lines, with the values at these paths as texts: a text as it is, others as JSON."""
    lines = []
    for line in content.splitlines():
        if line.strip():
            row = json.loads(line)
            for path in paths:
                row = _changed(row, path)
            lines.append(json.dumps(row).encode())
    return b"\n".join([*lines, b""])


def _changed(value: Any, path: str) -> Any:
    """Names may have slashes of their own."""
    if not path:
        return value if value is None or isinstance(value, str) else label_of(value)
    if isinstance(value, list):
        rest = path.removeprefix(_ITEMS)
        return value if rest == path else [_changed(item, rest.removeprefix("/")) for item in value]
    if isinstance(value, dict):
        return {
            name: _changed(inner, path[len(name) + 1 :])
            if path == name or path.startswith(f"{name}/")
            else inner
            for name, inner in value.items()
        }
    return value
