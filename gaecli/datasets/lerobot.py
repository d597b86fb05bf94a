"""LeRobot data sets, versions 2 and 3: `meta/info.json` says which files hold the data.

Files under `meta/` and `videos/` are never data, whatever their suffix. The loader compares the columns of
the data files with the features in `meta/info.json` and refuses a set where a column has no feature, so
the features are added when all data files are there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from gaecli.datasets.base import (
    DataSet,
    NewColumns,
    ReadMark,
    in_the_style_of,
    member,
    natural_key,
    parsed,
    read_document,
)
from gaecli.errors import FileError
from gaecli.formats.base import RolloutFile
from gaecli.names import LANGUAGE
from gaecli.records import dataclass

INFO = Path("meta", "info.json")
#: So far above a data file its root is looked for.
_LEVELS = 6
#: Those that stand side by side are one run of digits: nothing tells where one number ends.
_PLACEHOLDERS = re.compile(r"(?:\{\w+(?::[^{}]*)?\})+")
#: Something of this name that has none of them is not LeRobot's.
_KEYS = {"codebase_version", "data_path", "features", "robot_type", "total_episodes"}
#: LeRobot's own templates have two. Every one more multiplies the ways in which a long name may match.
_MOST_PLACEHOLDERS = 4


@dataclass(frozen=True)
class LeRobot(DataSet):
    """All data files are one stream, in the order of their numbers."""

    is_indivisible = True
    is_copied_whole = True

    def sidecar(self, stream: Sequence[Path], tag: str) -> Path:
        return self.root / "meta" / f"advantages_{tag}.parquet"

    def with_success(self, file: RolloutFile, column: str, at: str | None) -> RolloutFile:
        from gaecli.datasets.lerobot_success import with_success

        return with_success(file, self.root, column, at)

    @property
    def marks(self) -> tuple[Path, ...]:
        return (INFO,)

    @property
    def sidecar_keys(self) -> tuple[str, ...]:
        return ("index", "episode_index", "frame_index")

    def closing(self, read: ReadMark, new: NewColumns) -> Mapping[Path, bytes]:
        text = read(INFO)
        info = parsed(self.root / INFO, text)
        features = member(self.root / INFO, info, "features", dict)
        kinds = {name: "language" if name == LANGUAGE else new.item(name) for name in new.types}
        added = {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in kinds.items()}
        kept = {name: feature for name, feature in features.items() if name not in new.gone}
        changed = {**kept, **added}
        if changed == features:
            return {}
        return {INFO: in_the_style_of(text, info, {**info, "features": changed})}


def recognise(directory: Path) -> LeRobot | None:
    """The data set whose root `directory` is, if it is one."""
    info = _read_info(directory)
    if info is None:
        return None
    template = str(info["data_path"])
    files = _data_files(directory, template)
    if not files:
        raise FileError(
            f"LeRobot data set `{directory}` holds no data files: none is named `{template}`",
            hint="download the data, or correct `data_path` in `meta/info.json`",
        )
    version = str(info.get("codebase_version", "")) or "of unknown version"
    return LeRobot(directory, f"LeRobot {version} data set", (files,))


def is_marked(folder: Path) -> bool:
    return os.path.lexists(folder / INFO)


def root_of(path: Path) -> Path | None:
    """The folder above `path` whose `data_path` it is a file of."""
    for root in path.absolute().parents[:_LEVELS]:
        if is_marked(root):
            relative = path.absolute().relative_to(root).as_posix()
            try:
                info = _read_info(root)
                patterns = _patterns(root, str(info["data_path"])) if info is not None else []
            except FileError:
                if relative.startswith("data/"):
                    raise
                return None  # of somebody else, for all that is known here
            parts = relative.split("/")
            is_data = len(parts) == len(patterns) and all(map(_matches, patterns, parts))
            return root if is_data else None
    return None


def _read_info(root: Path) -> dict[str, Any] | None:
    path = root / INFO
    info = read_document(path)
    if info is None or (not info.keys() & _KEYS and not any(root.glob("data/chunk-*"))):
        return None  # nothing, or something else of this name
    member(path, info, "features", dict)
    member(path, info, "data_path", str)
    return info


def _data_files(root: Path, template: str) -> tuple[Path, ...]:
    """Part by part, so that folders may be links."""
    found = [root]
    *folders, name = _patterns(root, template)
    for pattern in folders:
        found = [path for folder in found for path in _named(folder, pattern) if path.is_dir()]
    files = [path for folder in found for path in _named(folder, name) if path.is_file()]
    return tuple(sorted(files, key=natural_key))


def _named(folder: Path, pattern: str | re.Pattern[str]) -> list[Path]:
    if isinstance(pattern, str):
        return [folder / pattern]
    return [path for path in folder.iterdir() if pattern.fullmatch(path.name)]


def _matches(pattern: str | re.Pattern[str], part: str) -> bool:
    return part == pattern if isinstance(pattern, str) else pattern.fullmatch(part) is not None


def _patterns(root: Path, template: str) -> list[str | re.Pattern[str]]:
    """`data/chunk-{chunk_index:03d}/…`, part by part; numbers stand in the braces."""
    parts = PurePosixPath(template).parts
    if not parts or ".." in parts or PurePosixPath(template).is_absolute():
        raise FileError(
            f"`data_path` in `{root / INFO}` leads out of the data set: `{template}`",
            hint="it is a path below the root, such as data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        )
    num_places = len(_PLACEHOLDERS.findall(template))
    if num_places > _MOST_PLACEHOLDERS:
        raise FileError(
            f"`data_path` in `{root / INFO}` has {num_places} places for numbers: `{template}`",
            hint=f"LeRobot's own have two, and {_MOST_PLACEHOLDERS} are read at most",
        )
    return [_pattern(part) for part in parts]


def _pattern(part: str) -> str | re.Pattern[str]:
    texts = _PLACEHOLDERS.split(part)
    return part if len(texts) == 1 else re.compile(r"\d+".join(map(re.escape, texts)))
