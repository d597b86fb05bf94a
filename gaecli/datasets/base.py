"""A data set on disk: files that belong together, and what their own loader expects of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gaecli.errors import FileError, UsageError
from gaecli.formats.base import RolloutFile
from gaecli.formats.registry import open_file

#: The name of a folder that is a number to the columns: it fits 64 bits, and `007` is a name.
WHOLE_NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)

_DIGITS = re.compile(r"(\d+)")


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

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(path for stream in self.streams for path in stream)

    def open(self, path: Path) -> RolloutFile:
        """One of the data files, with the columns that only its place in the data set tells."""
        return open_file(path)

    def sidecar(self, stream: Sequence[Path], tag: str) -> Path:
        """Where a sidecar does not disturb the data set's own loader: by default, beside the root."""
        name = self.root.absolute().name
        number = self.streams.index(tuple(stream)) if len(self.streams) > 1 else None
        return self.root.absolute().with_name(f"{name}{'' if number is None else f'-{number}'}.gae.parquet")

    def successor(self, path: Path) -> Path:
        """What is written where the data set is written in place: the file itself, or a new one beside it."""
        return path

    def publish(self, new_files: Mapping[Path, Path], columns: Sequence[str]) -> None:
        """Make successors the data set, in place of the files by which they are given; if it raises, they are not."""

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

    def closing(self, root: Path, columns: Sequence[str]) -> Mapping[Path, bytes]:
        """What the data set at `root` says of its columns once all data files have these new ones.

        Files relative to the root; none that would stay as it is. They are put in their places last, so that
        a run that is killed leaves a set that fails to load rather than one that loads and lacks something.
        """
        return {}


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """`part-10` after `part-2`."""
    return [
        (1, int(part), "") if part.isdecimal() else (0, 0, part) for part in _DIGITS.split(str(path)) if part
    ]


def read_document(path: Path, most_bytes: int = 64 << 20) -> object:
    """A JSON document; None where there is none. `FileError` where it cannot be read."""
    import json

    try:
        if not path.is_file():
            return None
        if path.stat().st_size > most_bytes:
            raise FileError(f"`{path}` is too large for what it should be")
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FileError(
            f"`{path}` is not a JSON document: {error}", hint="restore it; it says what is in the data set"
        ) from error
    except OSError as error:
        raise FileError(f"`{path}` cannot be read: {error.strerror}") from error
