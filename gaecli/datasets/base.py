"""A data set on disk: files that belong together, and what their own loader expects of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any, TypeVar

from gaecli.errors import FileError, UsageError
from gaecli.formats.base import RolloutFile
from gaecli.formats.registry import open_file
from gaecli.records import dataclass

#: The name of a folder that is a number to the columns: it fits 64 bits, and `007` is a name.
WHOLE_NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)

T = TypeVar("T")

_DIGITS = re.compile(r"(\d+)")
#: Of a document that says what a data set holds.
_MOST_DOCUMENT_BYTES = 64 << 20


#: The content of a mark, given by its name relative to the root.
ReadMark = Callable[[Path], bytes]


@dataclass(frozen=True)
class NewColumns:
    """What the files of a data set have, and have no more, once a run is over."""

    #: Name -> the Arrow type of a column whose lists the new one is like; None: a number per row.
    types: Mapping[str, str | None]
    #: The files that have them.
    paths: Sequence[Path]
    #: Of a file, what differs wherever its new numbers may differ; none where that is not known.
    digests: Mapping[Path, str] = field(default_factory=dict)
    #: Name -> the type of its items, where that is not float32: `bool` or `string`.
    items: Mapping[str, str] = field(default_factory=dict)
    #: Columns that were taken out of them.
    gone: Collection[str] = ()

    def item(self, name: str) -> str:
        return self.items.get(name, "float32")


@dataclass(frozen=True)
class DataSet:
    """The files of one data set, in order. Kinds override what is not so with them.

    Attributes:
        root: the folder that the user would name.
        title: what it is, e.g. "LeRobot v3.0 data set".
        streams: the data files; those of one stream follow one another.
    """

    root: Path
    title: str
    streams: tuple[tuple[Path, ...], ...]

    #: No trajectory goes on from one file into the next, and the files are written all or none: neither
    #: `--join` nor `--no-join` has a say.
    is_indivisible = False
    #: `--output` copies the whole root, so that the result can be loaded.
    is_copied_whole = False
    #: A mark lists the columns of all files: neither `--join` nor `--no-join` makes independent files of them.
    lists_columns = False
    #: Its loader keeps a copy of what it has loaded, and may go on with that.
    is_cached = False

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(path for stream in self.streams for path in stream)

    def open(self, path: Path) -> RolloutFile:
        """One of the data files, with the columns that only its place in the data set tells."""
        return open_file(path)

    def with_success(self, file: RolloutFile, column: str, at: str | None) -> RolloutFile:
        """One of the data files, with the flag of success that the data set holds elsewhere; `at`: `--success-at`."""
        return file

    def of_one(self, path: Path) -> DataSet:
        """What opening one of the files takes, and no more: it goes where the file is opened."""
        return replace(self, streams=((path,),))

    def sidecar(self, stream: Sequence[Path], tag: str) -> Path:
        """Where a sidecar does not disturb the data set's own loader: by default, beside the root."""
        name = self.root.absolute().name
        number = self.streams.index(tuple(stream)) if len(self.streams) > 1 else None
        return self.root.absolute().with_name(f"{name}{'' if number is None else f'-{number}'}.gae.parquet")

    def successor(self, path: Path) -> Path:
        """What is written where the data set is written in place: the file itself, or a new one beside it."""
        return path

    def publish(self, new_files: Mapping[Path, Path], columns: Mapping[str, str]) -> None:
        """Make successors the data set, in place of the files by which they are given; if it raises, they are not.

        `columns`: name of a new column -> type of its items, as in `NewColumns`.
        """

    def refuse_in_place(self) -> UsageError | None:
        """Why its files are not written where they are; None where they can be."""
        return None

    @property
    def marks(self) -> tuple[Path, ...]:
        """Files, relative to the root, that say what is there; in a copy they come last."""
        return ()

    @property
    def sidecar_keys(self) -> tuple[str, ...]:
        """Columns that identify a row; where there is none of them, its resolved keys do."""
        return ()

    def together(self, stream: Sequence[Path]) -> tuple[Path, ...]:
        """The files that are written all or none with those of a stream."""
        return self.paths if self.is_indivisible else tuple(stream)

    def closing(self, read: ReadMark, new: NewColumns) -> Mapping[Path, bytes]:
        """What the marks say once the files have their new columns; none that would stay as it is.

        They are put in their places last, in this order, so that a run that is killed leaves a set that fails to
        load rather than one that loads and lacks something.
        """
        return {}


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """`part-10` after `part-2`."""
    return [
        (1, int(part), "") if part.isdecimal() else (0, 0, part) for part in _DIGITS.split(str(path)) if part
    ]


class DamagedMarkError(FileError):
    """What says which files a data set has cannot be read: they are no independent files for that."""


def read_document(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is no file."""
    try:
        if not path.is_file():
            if os.path.lexists(path):
                raise damaged(path, "is a link that leads nowhere" if path.is_symlink() else "is no file")
            return None
        size = path.stat().st_size
        if size > _MOST_DOCUMENT_BYTES:
            raise damaged(path, f"is too large for what it should be: {size / 1e6:,.0f} MB")
        return parsed(path, path.read_bytes())
    except PermissionError as error:
        raise FileError(f"no permission to read `{path}`") from error
    except OSError as error:
        raise damaged(path, f"cannot be read: {error.strerror}") from error


def parsed(path: Path, text: bytes) -> dict[str, Any]:
    """A document that was read before, and may have been changed since."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"is not a JSON document: {error}") from error
    if not isinstance(document, dict):
        raise damaged(path, f"holds no JSON object, but {_kind(document)}")
    return document


def in_the_style_of(text: bytes, document: object, changed: object) -> bytes:
    """`changed` written as `document` is in `text`: the bytes that need not change do not."""
    ending = text[len(text.rstrip()) :]
    for indent in (4, 2, None, 1, "\t", 3, 8):
        for ensure_ascii in (False, True):
            for separators in (None, (",", ":")):
                style: dict[str, Any] = {
                    "indent": indent,
                    "ensure_ascii": ensure_ascii,
                    "separators": separators,
                }
                if json.dumps(document, **style).encode("utf-8", "replace") + ending == text:
                    return json.dumps(changed, **style).encode() + ending
    return json.dumps(changed, indent=4).encode() + ending


def damaged(path: Path, what: str) -> DamagedMarkError:
    return DamagedMarkError(
        f"`{path}` {what}",
        hint="it says what is in the data set: restore it, or move it away to take the files as independent ones",
    )


def member(path: Path, document: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """An entry of a document, of the type that it has to have."""
    if name not in document:
        raise damaged(path, f"has no `{name}`")
    value = document[name]
    if not isinstance(value, kind):
        raise damaged(path, f"has {_kind(value)} where `{name}` should be {_NAMES[kind]}")
    return value


_NAMES: Mapping[type, str] = {dict: "an object", list: "a list", str: "a text"}


def _kind(value: object) -> str:
    return _NAMES.get(type(value), "null" if value is None else f"`{str(value)[:32]}`")
