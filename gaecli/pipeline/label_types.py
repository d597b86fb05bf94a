"""Ids of groups have to be of one type in all files: 0 and "0" are equal to nobody but a reader."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from gaecli.errors import DataError
from gaecli.pipeline.opening import OpenStream

#: What can be equal to each other. A column of nulls alone may be of any type, and so may one without rows.
_NUMBERS = ("int", "float", "bool")


class LabelledColumn(NamedTuple):
    """A column of one file whose equal values belong together."""

    path: Path
    name: str
    kind: str
    type_name: str
    flag: str


class LabelTypes:
    """Of the columns whose equal values belong together, file by file."""

    def __init__(self) -> None:
        self._first: dict[str, LabelledColumn] = {}

    def add(self, stream: OpenStream) -> None:
        """`DataError` where they are numbers here and were text there."""
        self.add_columns(labelled_columns(stream))

    def add_columns(self, columns: Iterable[LabelledColumn]) -> None:
        """The same of those that some stream has."""
        for column in columns:
            other = self._first.setdefault(column.name, column)
            if _type(column) != _type(other):
                raise DataError(
                    f"`{column.name}` is {other.type_name} in `{other.path}` and {column.type_name} in "
                    f"`{column.path}`: what is one group in both would be two",
                    hint=f"store it in one type, name another column with `{column.flag}`, or give the files in "
                    "commands of their own",
                )


def labelled_columns(stream: OpenStream) -> list[LabelledColumn]:
    """Those that have a type, in the order of the files."""
    return [
        LabelledColumn(opened.file.path, info.name, info.kind, info.type_name, flag)
        for opened in stream.files
        for name, flag in stream.settings.label_flags.items()
        if (info := opened.file.find(name)) is not None and info.kind != "null" and opened.file.num_rows
    ]


def _type(column: LabelledColumn) -> str:
    return "number" if column.kind in _NUMBERS else column.kind
