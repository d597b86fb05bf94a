"""What the user named, as ordered streams of files.

A stream is one sequence of rows: trajectories may run on from one of its files into the next. Files
given in a list, by a glob or by a plain directory are independent streams; shards of one data set
(`train-00000-of-00003`) are one.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gaecli.errors import FileError, UsageError
from gaecli.formats.registry import SUFFIXES

_SHARD = re.compile(r"^(?P<name>.*)-(?P<index>\d{5,})-of-(?P<total>\d{5,})(?P<rest>\..*)?$")
_DIGITS = re.compile(r"(\d+)")
#: Files beside the data that are never data themselves.
_IGNORED_ENDINGS = (".gae.parquet",)


@dataclass(frozen=True)
class StreamPlan:
    """Files that follow one another. `root` is what output paths are relative to."""

    paths: tuple[Path, ...]
    root: Path
    kind: str = "files"


@dataclass(frozen=True)
class _Found:
    path: Path
    root: Path


def plan_streams(sources: Sequence[str | Path], join: bool | None) -> list[StreamPlan]:
    """Expand sources into streams. Raises where a source matches nothing."""
    found: list[_Found] = []
    seen: set[Path] = set()
    for source in sources:
        for file in _expand(source):
            key = file.path.absolute()
            if key not in seen:
                seen.add(key)
                found.append(file)
    if join:
        return [StreamPlan(tuple(file.path for file in found), found[0].root)] if found else []
    if join is False:
        return [StreamPlan((file.path,), file.root) for file in found]
    return _by_shards(found)


def describe_streams(streams: Sequence[StreamPlan]) -> str:
    """How the inputs relate, in a few words."""
    num_files = sum(len(stream.paths) for stream in streams)
    if num_files <= 1:
        return "one file"
    if len(streams) == 1:
        return f"one stream of {num_files:,} files"
    if len(streams) == num_files:
        return f"{num_files:,} independent files"
    return f"{num_files:,} files in {len(streams):,} independent streams"


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """`part-10` after `part-2`."""
    return [
        (1, int(part), "") if part.isdigit() else (0, 0, part) for part in _DIGITS.split(str(path)) if part
    ]


def _by_shards(found: Sequence[_Found]) -> list[StreamPlan]:
    groups: dict[object, list[_Found]] = {}
    for file in found:
        match = _SHARD.match(file.path.name)
        key: object = file.path
        if match:
            key = (file.path.parent, match["name"], match["total"], match["rest"])
        groups.setdefault(key, []).append(file)
    streams = []
    for files in groups.values():
        ordered = sorted(files, key=lambda file: natural_key(file.path)) if len(files) > 1 else files
        streams.append(StreamPlan(tuple(file.path for file in ordered), ordered[0].root))
    return streams


def _expand(source: str | Path) -> Iterable[_Found]:
    path = Path(source)
    if path.is_dir():
        files = _files_below(path)
        if not files:
            raise FileError(
                f"directory `{path}` holds no rollout files", hint=f"looked for {', '.join(SUFFIXES)}"
            )
        return [_Found(file, path) for file in files]
    if path.exists() or path.is_symlink():
        return [_Found(path, path.parent)]
    text = str(source)
    if glob.has_magic(text):
        matches = sorted((Path(match) for match in glob.glob(text, recursive=True)), key=natural_key)
        root = _fixed_part(text)
        files = [match for match in matches if match.is_file()]
        if not files:
            raise FileError(f"`{text}` matches no file")
        return [_Found(file, root) for file in files]
    raise _not_there(path)


def _files_below(directory: Path) -> list[Path]:
    found: list[Path] = []
    for parent, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        for name in names:
            if name.endswith(SUFFIXES) and not name.endswith(_IGNORED_ENDINGS) and not _is_hidden(name):
                found.append(Path(parent) / name)
    return sorted(found, key=natural_key)


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _fixed_part(pattern: str) -> Path:
    """The folder of a glob before its first wildcard."""
    fixed = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed) if fixed else Path()


def _not_there(path: Path) -> FileError | UsageError:
    import difflib

    folder = path.parent
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    near = difflib.get_close_matches(path.name, [n for n in names if n.endswith(SUFFIXES)], n=1, cutoff=0.6)
    hint = f"did you mean `{folder / near[0]}`?" if near else None
    return FileError(f"`{path}` does not exist", hint=hint)
