"""What `save_to_disk` of Hugging Face `datasets` writes: a folder per split, or one alone.

`state.json` lists the Arrow files of a split in their order, `dataset_info.json` its features, and
`load_from_disk` refuses a folder where these are not the columns of the files (`Keys mismatch`). By the
`_fingerprint` caches know what was computed from the rows, so that it changes with the columns.
`dataset_dict.json` lists splits.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from gaecli.datasets.base import (
    DataSet,
    NewColumns,
    ReadMark,
    damaged,
    in_the_style_of,
    member,
    parsed,
    read_document,
)
from gaecli.datasets.hub.features import with_features
from gaecli.errors import UsageError
from gaecli.records import dataclass

INFO, STATE, SPLITS = "dataset_info.json", "state.json", "dataset_dict.json"
_TITLE = "`datasets` folder"
#: The columns of its trajectories; those with rewards have `rews`.
_OF_IMITATION = {"obs", "acts", "infos", "terminal"}


@dataclass(frozen=True)
class Saved(DataSet):
    """A stream per split; all of them are written together."""

    is_copied_whole = True
    lists_columns = True

    def together(self, stream: Sequence[Path]) -> tuple[Path, ...]:
        return self.paths

    def refuse_in_place(self) -> UsageError | None:
        """imitation 1.0.1, data/huggingface_utils.py: a row is made a trajectory with each of its columns."""
        info = read_document(self.root / self._folder(self.streams[0]) / INFO) or {}
        features = info.get("features")
        if not isinstance(features, dict) or features.keys() - {"rews"} != _OF_IMITATION:
            return None
        return UsageError(
            f"`{self.root}` holds trajectories of imitation, whose loader fails with any column of another name",
            hint="write keys and new columns alone with `--sidecar`, or a copy with `--output`",
        )

    @property
    def marks(self) -> tuple[Path, ...]:
        """Of each split, what says its columns comes after all else; then what says the splits."""
        named = [self._folder(stream) / name for stream in self.streams for name in (STATE, INFO)]
        return (*named, Path(SPLITS)) if (self.root / SPLITS).is_file() else tuple(named)

    def closing(self, read: ReadMark, new: NewColumns) -> Mapping[Path, bytes]:
        found: dict[Path, bytes] = {}
        for stream in self.streams:
            state = self._folder(stream) / STATE
            info = self._folder(stream) / INFO
            for mark in (state, info):
                text = read(mark)
                document = parsed(self.root / mark, text)
                changed = (
                    _with_fingerprint(document, stream, new) if mark == state else _listing(document, new)
                )
                if changed != document:
                    found[mark] = in_the_style_of(text, document, changed)
        return found

    def _folder(self, stream: Sequence[Path]) -> Path:
        return stream[0].parent.relative_to(self.root)


def recognise(directory: Path) -> Saved | None:
    """The data set whose root `directory` is, if it is one."""
    path = directory / SPLITS
    document = read_document(path)
    if document is not None and "splits" in document:
        names = member(path, document, "splits", list)
        if not names or not all(_is_name(name) for name in names):
            raise damaged(path, f"names no splits: {json.dumps(names)[:80]}")
        return Saved(directory, _TITLE, tuple(_split(directory / name, path) for name in names))
    if not _is_split(directory):
        return None
    return Saved(directory, _TITLE, (_split(directory, directory / STATE),))


def is_marked(folder: Path) -> bool:
    return _is_split(folder) or os.path.lexists(folder / SPLITS)


def root_of(path: Path) -> Path | None:
    """The folder of all splits, if there is one; else that of its own."""
    folder = path.absolute().parent
    if not _is_split(folder):
        return None
    return folder.parent if os.path.lexists(folder.parent / SPLITS) else folder


def _is_split(folder: Path) -> bool:
    return all(os.path.lexists(folder / name) for name in (STATE, INFO))


def _split(folder: Path, named_in: Path) -> tuple[Path, ...]:
    state, info = read_document(folder / STATE), read_document(folder / INFO)
    if state is None or info is None:
        lacking = STATE if state is None else INFO
        raise damaged(named_in, f"speaks of a split in `{folder}`, where there is no `{lacking}`")
    member(folder / INFO, info, "features", dict)
    files = member(folder / STATE, state, "_data_files", list)
    names = [file.get("filename") if isinstance(file, dict) else None for file in files]
    if not names or not all(_is_name(name) for name in names):
        raise damaged(folder / STATE, f"names no files in `_data_files`: {json.dumps(files)[:80]}")
    if state.get("_indices_data_files"):
        raise UsageError(
            f"`{folder}` is a selection of rows: `{STATE}` lists them in `_indices_data_files`",
            hint="save it again with a current `datasets`, which writes the rows themselves",
        )
    paths = tuple(folder / str(name) for name in names)
    for path in paths:
        if not path.is_file():
            raise damaged(folder / STATE, f"lists `{path.name}`, which is not there")
    return paths


def _is_name(text: object) -> bool:
    """No path: a file is never looked for outside of its folder."""
    return (
        isinstance(text, str)
        and text not in ("", ".", "..")
        and "\0" not in text
        and PurePath(text).name == text
    )


def _listing(info: dict[str, Any], new: NewColumns) -> dict[str, Any]:
    return {**info, "features": with_features(info["features"], new)}


def _with_fingerprint(state: dict[str, Any], stream: Sequence[Path], new: NewColumns) -> dict[str, Any]:
    digests = [new.digests.get(path, "") for path in stream]
    fingerprint = hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]
    return {**state, "_fingerprint": fingerprint} if all(digests) else state
