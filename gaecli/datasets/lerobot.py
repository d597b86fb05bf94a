"""LeRobot data sets, versions 2 and 3: `meta/info.json` says which files hold the data.

Files under `meta/` and `videos/` are never data, whatever their suffix. The loader compares the columns of
the data files with the features in `meta/info.json` and refuses a set where a column has no feature, so
the features are added when all data files are there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

from gaecli.datasets.base import DataSet, natural_key, read_document
from gaecli.errors import FileError

INFO = Path("meta", "info.json")
_FEATURE = {"dtype": "float32", "shape": [1], "names": None}
#: So far above a data file its root is looked for.
_LEVELS = 6
#: Those that stand side by side are one run of digits: nothing tells where one number ends.
_PLACEHOLDER = re.compile(r"(?:\{\w+(?::[^{}]*)?\})+")
#: LeRobot's own templates have two. Every one more multiplies the ways in which a long name may match.
_MOST_PLACEHOLDERS = 4


@dataclass(frozen=True)
class LeRobot(DataSet):
    """All data files are one stream, in the order of their numbers."""

    is_indivisible = True
    is_copied_whole = True

    def sidecar(self, stream: Sequence[Path], tag: str) -> Path:
        return self.root / "meta" / f"advantages_{tag}.parquet"

    @property
    def marks(self) -> tuple[Path, ...]:
        return (INFO,)

    @property
    def sidecar_keys(self) -> tuple[str, ...]:
        return ("index", "episode_index", "frame_index")

    def closing(self, root: Path, columns: Sequence[str]) -> Mapping[Path, bytes]:
        path = root / INFO
        info = _read_info(root)
        if info is None:
            raise FileError(f"`{path}` is gone: the new columns are in the data files, but not listed there")
        features = {**info["features"], **{name: dict(_FEATURE) for name in columns}}
        if features == info["features"]:
            return {}
        # As LeRobot writes it.
        text = json.dumps({**info, "features": features}, indent=4, ensure_ascii=False)
        return {INFO: text.encode()}


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


def root_of(path: Path) -> Path | None:
    """The folder above `path` whose `data_path` it is a file of."""
    for root in path.absolute().parents[:_LEVELS]:
        if (root / INFO).is_file():
            try:
                info = _read_info(root)
            except FileError:  # of somebody else, for all that is known here
                return None
            if info is None:
                return None
            relative = path.absolute().relative_to(root).as_posix()
            return root if _pattern(root, str(info["data_path"])).fullmatch(relative) else None
    return None


def _read_info(root: Path) -> dict[str, Any] | None:
    info = read_document(root / INFO)
    if not isinstance(info, dict) or not isinstance(info.get("features"), dict):
        return None
    return info if isinstance(info.get("data_path"), str) else None


def _data_files(root: Path, template: str) -> tuple[Path, ...]:
    pattern = _pattern(root, template)
    fixed = takewhile(lambda part: not _PLACEHOLDER.search(part), PurePosixPath(template).parts[:-1])
    start = root.joinpath(*fixed)
    found = [
        path
        for path in start.rglob("*")
        if pattern.fullmatch(path.relative_to(root).as_posix()) and path.is_file()
    ]
    return tuple(sorted(found, key=natural_key))


def _pattern(root: Path, template: str) -> re.Pattern[str]:
    """`data/chunk-{chunk_index:03d}/…` as an expression; numbers stand in the braces."""
    parts = PurePosixPath(template).parts
    if not parts or ".." in parts or PurePosixPath(template).is_absolute():
        raise FileError(
            f"`data_path` in `{root / INFO}` leads out of the data set: `{template}`",
            hint="it is a path below the root, such as data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        )
    pieces = _PLACEHOLDER.split(template)
    if len(pieces) - 1 > _MOST_PLACEHOLDERS:
        raise FileError(
            f"`data_path` in `{root / INFO}` has {len(pieces) - 1} places for numbers: `{template}`",
            hint=f"LeRobot's own have two, and {_MOST_PLACEHOLDERS} are read at most",
        )
    return re.compile(r"\d+".join(re.escape(piece) for piece in pieces))
