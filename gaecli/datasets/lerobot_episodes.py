"""What LeRobot keeps of whole episodes, beside the data files: whether they succeeded.

    v3.0    meta/episodes/chunk-000/file-000.parquet    a row per episode; `stats/NAME/max` and others of its steps
    v2.1    meta/episodes.jsonl                         a line per episode
            meta/episodes_stats.jsonl                   {"episode_index": 0, "stats": {NAME: {"max": [...]}}}

A flag of success is looked for in all of them and in the data files. Where it stands in several places, they
have to agree: nothing tells which of them is right. `meta/episodes/NAME` and `data/NAME` name one place alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

from gaecli.errors import DataError, FileError, UsageError, first_line
from gaecli.records import dataclass
from gaecli.shell_words import word

EPISODE = "episode_index"
#: Before the name of a column: that of the episodes alone, or that of the data files alone.
OF_EPISODES, OF_DATA = "meta/episodes/", "data/"
_LINES, _STATS = Path("meta", "episodes.jsonl"), Path("meta", "episodes_stats.jsonl")
_BATCH_ROWS = 1 << 14
#: Not found out yet, and nothing there.
_NOTHING = -1


@dataclass(frozen=True, eq=False)
class Told:
    """One place that says of episodes whether they succeeded. None: it says nothing of this one."""

    #: As messages name it, e.g. "`success` of `meta/episodes.jsonl`".
    title: str
    #: The files, as a type is shown: `meta/episodes.jsonl`.
    where: str
    flags: Mapping[int, bool | None]
    root: Path
    #: It says whether a flag was set at any step, not what it was at the end.
    is_any_step: bool = False


@dataclass(frozen=True, eq=False)
class SuccessPlaces:
    found: Sequence[Told]
    #: Another one wherever a flag is another one.
    digest: str


def success_columns(root: Path) -> list[str]:
    """Columns of whole episodes that are called as if they said whether these succeeded."""
    try:
        names = [
            name for path in _tables(root) for name in _schema_names(path) if not name.startswith("stats/")
        ]
        for one in _lines(root / _LINES):
            names += one
            break
    except FileError:
        return []
    return [name for name in dict.fromkeys(names) if "success" in name.lower()]


def told(root: Path, column: str) -> SuccessPlaces:
    """All places beside the data files in which a column stands; `DataError` where they disagree."""
    files = [path for path in (*_tables(root), root / _LINES, root / _STATS) if path.is_file()]
    stamps = tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files)
    return _places(root, column, stamps)


@lru_cache(maxsize=8)
def _places(root: Path, column: str, stamps: tuple[tuple[Path, int, int], ...]) -> SuccessPlaces:
    """Once for all data files of a set. `stamps`: what changes whenever the content of a file does."""
    found = _found(root, column, {path for path, *_ in stamps})
    for one, other in combinations(found, 2):
        differing = [
            episode
            for episode, flag in one.flags.items()
            if flag is not None and other.flags.get(episode) not in (None, flag)
        ]
        if differing:
            raise disagreement(one.title, other.title, differing, column)
    flags = [sorted((number, str(flag)) for number, flag in one.flags.items()) for one in found]
    return SuccessPlaces(found, hashlib.sha256(json.dumps(flags).encode()).hexdigest())


def disagreement(first: str, second: str, episodes: Sequence[int], column: str) -> DataError:
    name = column.rpartition("/")[2] if column.startswith(("stats/", OF_EPISODES, OF_DATA)) else column
    several = f"; {len(episodes):,} such in all" if len(episodes) > 1 else ""
    return DataError(
        f"{first} and {second} disagree: one says that episode {min(episodes)} succeeded, the other that it did "
        f"not{several}",
        hint=f"correct one of them; or pass `--success-column {word(OF_DATA + name)}`, "
        f"`{word(OF_EPISODES + name)}` or `stats/{name}/max`, which go by that place alone",
    )


def _found(root: Path, column: str, paths: set[Path]) -> list[Told]:
    tables = [path for path in _tables(root) if path in paths]
    name = column.removeprefix(OF_EPISODES)
    if name.startswith("stats/"):
        return _of_statistics(root, name, tables, paths)
    found = [
        *_of_tables(root, tables, name),
        *(_of_lines(root, name) if root / _LINES in paths else []),
    ]
    if column != name:
        return found
    return [*found, *_of_statistics(root, f"stats/{name}/max", tables, paths, is_needed=False)]


def _of_tables(root: Path, tables: Sequence[Path], column: str) -> list[Told]:
    where = "meta/episodes"
    title = f"`{column}` of `{where}`"
    cells: list[tuple[int, Any]] = []
    for path in tables:
        names = _schema_names(path)
        if column in names and EPISODE in names:
            cells += _cells(path, column)
    return [Told(title, where, _flags(cells, title), root)] if cells else []


def _of_lines(root: Path, name: str) -> list[Told]:
    where = "meta/episodes.jsonl"
    title = f"`{name}` of `{where}`"
    path = root / _LINES
    cells = [(_number(path, one), one[name]) for one in _lines(path) if name in one]
    return [Told(title, where, _flags(cells, title), root)] if cells else []


def _of_statistics(
    root: Path, name: str, tables: Sequence[Path], paths: set[Path], *, is_needed: bool = True
) -> list[Told]:
    """Of `stats/NAME/max`. Numbers that are no flags are no place of success, unless the user names them."""
    _, _, rest = name.partition("/")
    column, _, statistic = rest.rpartition("/")
    if statistic != "max":
        if is_needed and column:
            raise UsageError(
                f"`{name}` does not say whether an episode succeeded",
                hint=f"pass `--success-column stats/{column}/max`: the flag was set at a step",
            )
        return []
    try:
        found = _of_tables(root, tables, name)
        if root / _STATS in paths:
            found += _of_stored_statistics(root, column)
    except DataError:
        if is_needed:
            raise
        return []
    return [replace(one, is_any_step=True) for one in found]


def _of_stored_statistics(root: Path, column: str) -> list[Told]:
    path = root / _STATS
    cells: list[tuple[int, Any]] = []
    for one in _lines(path):
        of_all = one.get("stats")
        of_column = of_all.get(column) if isinstance(of_all, dict) else None
        if isinstance(of_column, dict) and "max" in of_column:
            cells.append((_number(path, one), of_column["max"]))
        elif not cells:
            break  # the file may be large, and its lines are alike
    where = "meta/episodes_stats.jsonl"
    title = f"`stats/{column}/max` of `{where}`"
    return [Told(title, where, _flags(cells, title), root)] if cells else []


def _flags(cells: Iterable[tuple[int, Any]], title: str) -> dict[int, bool | None]:
    found: dict[int, bool | None] = {}
    for episode, cell in cells:
        flag = _flag(cell)
        if flag == _NOTHING:
            raise DataError(
                f"{title} is {_shown(cell)} for episode {episode}, which is no flag (0 or 1)",
                hint="name another column with `--success-column`, or write 0 or 1",
            )
        value = None if flag is None else bool(flag)
        if episode in found and None not in (found[episode], value) and found[episode] != value:
            raise DataError(
                f"{title} says of episode {episode} both that it succeeded and that it did not",
                hint="an episode has one row there: correct the file",
            )
        if value is not None or episode not in found:
            found[episode] = value
    return found


def _flag(cell: Any) -> int | None:
    """0 or 1; None for an empty cell; `_NOTHING` for what is no flag."""
    while isinstance(cell, list) and len(cell) == 1:
        cell = cell[0]
    if cell is None or cell != cell or cell == []:
        return None
    if isinstance(cell, bool | int | float) and cell in (0, 1):
        return int(cell)
    return _NOTHING


def _shown(cell: Any) -> str:
    text = json.dumps(cell, default=str)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _tables(root: Path) -> list[Path]:
    folder = root / "meta" / "episodes"
    whole = root / "meta" / "episodes.parquet"
    found = sorted(folder.glob("*/*.parquet")) + sorted(folder.glob("*.parquet")) if folder.is_dir() else []
    return [path for path in (*found, whole) if path.is_file() and not path.name.startswith(".")]


def _schema_names(path: Path) -> list[str]:
    import pyarrow.parquet as pq

    with _readable(path):
        return list(pq.read_schema(path).names)


def _cells(path: Path, column: str) -> list[tuple[int, Any]]:
    import pyarrow.parquet as pq

    found: list[tuple[int, Any]] = []
    with _readable(path), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=[EPISODE, column]):
            numbers = batch.column(EPISODE).to_pylist()
            if any(not isinstance(number, int) for number in numbers):
                raise FileError(f"`{EPISODE}` of `{path}` holds cells that are no whole numbers")
            found += zip(numbers, batch.column(column).to_pylist(), strict=True)
    return found


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What goes wrong in a file of metadata is told of that file."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, KeyError) as error:
        raise FileError(
            f"`{path}` cannot be read: {first_line(error)}",
            hint="it says which episodes there are: download or write it anew",
        ) from error


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects in a file of JSON lines; none where there is no file."""
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    one = json.loads(line)
                    if not isinstance(one, dict):
                        raise FileError(f"line {number} of `{path}` holds no JSON object")
                    yield one
    except PermissionError as error:
        raise FileError(f"no permission to read `{path}`") from error
    except OSError as error:
        raise FileError(f"`{path}` cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"line {number} of `{path}` is no JSON: {error}") from error


def _number(path: Path, one: Mapping[str, Any]) -> int:
    number = one.get(EPISODE)
    if isinstance(number, bool) or not isinstance(number, int):
        raise FileError(f"a line of `{path}` has no whole number as `{EPISODE}`")
    return number
