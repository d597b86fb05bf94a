"""Ids of groups have to be of one type in all files: 0 and "0" are equal to nobody but a reader."""

from __future__ import annotations

from collections.abc import Iterable

from gaecli.errors import DataError
from gaecli.formats.base import ColumnInfo
from gaecli.pipeline.opening import OpenFile
from gaecli.settings import Settings

#: What can be equal to each other. A column of nulls alone may be of any type.
_NUMBERS = ("int", "float", "bool")


def check_same_types(files: Iterable[OpenFile], settings: Settings) -> None:
    """`DataError` where columns whose equal values belong together are numbers here and text there."""
    first: dict[str, tuple[OpenFile, ColumnInfo]] = {}
    for opened in files:
        for name in settings.label_columns:
            info = opened.file.find(name)
            if info is None or info.kind == "null":
                continue
            other, its = first.setdefault(name, (opened, info))
            if _type(info) != _type(its):
                raise DataError(
                    f"`{name}` is {its.type_name} in `{other.file.path}` and {info.type_name} in "
                    f"`{opened.file.path}`: what is one group in both would be two",
                    hint=f"store it in one type, name another column with `{settings.label_flags[name]}`, or "
                    "give the files in commands of their own",
                )


def _type(info: ColumnInfo) -> str:
    return "number" if info.kind in _NUMBERS else info.kind
