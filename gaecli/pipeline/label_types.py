"""Ids of groups have to be of one type in all files: 0 and "0" are equal to nobody but a reader."""

from __future__ import annotations

from gaecli.errors import DataError
from gaecli.formats.base import ColumnInfo
from gaecli.pipeline.opening import OpenFile, OpenStream

#: What can be equal to each other. A column of nulls alone may be of any type, and so may one without rows.
_NUMBERS = ("int", "float", "bool")


class LabelTypes:
    """Of the columns whose equal values belong together, file by file."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[OpenFile, ColumnInfo]] = {}

    def add(self, stream: OpenStream) -> None:
        """`DataError` where they are numbers here and were text there."""
        flags = stream.settings.label_flags
        for opened in stream.files:
            for name, flag in flags.items():
                info = opened.file.find(name)
                if info is not None and info.kind != "null" and opened.file.num_rows:
                    self._add(opened, info, flag)

    def _add(self, opened: OpenFile, info: ColumnInfo, flag: str) -> None:
        other, its = self._first.setdefault(info.name, (opened, info))
        if _type(info) != _type(its):
            raise DataError(
                f"`{info.name}` is {its.type_name} in `{other.file.path}` and {info.type_name} in "
                f"`{opened.file.path}`: what is one group in both would be two",
                hint=f"store it in one type, name another column with `{flag}`, or give the files in commands of "
                "their own",
            )


def _type(info: ColumnInfo) -> str:
    return "number" if info.kind in _NUMBERS else info.kind
