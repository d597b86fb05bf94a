"""The names of the columns of a file, for who is still typing: at once, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from gaecli.formats.registry import SECONDARY_SUFFIXES, SUFFIXES, format_of, open_file

#: Of formats whose columns stand all over the file.
_MOST_BYTES = 4 << 20
#: Entries of folders that are looked at for a file.
_MOST_ENTRIES = 2000


def column_names(sources: Iterable[str]) -> Sequence[str]:
    """Those of the first of `sources` that is a rollout file of this machine, a folder or a pattern with one."""
    for source in sources:
        path = next(_files(source), None)
        if path is not None:
            return _names(path)
    return ()


def _files(source: str) -> Iterator[Path]:
    path = Path(source)
    if path.is_dir():
        entries = (Path(folder, name) for folder, _, names in os.walk(path) for name in sorted(names))
        yield from (one for one in islice(entries, _MOST_ENTRIES) if _is_rollouts(one))
    elif any(letter in source for letter in "*?["):
        yield from (one for one in islice(Path().glob(source), _MOST_ENTRIES) if _is_rollouts(one))
    if path.is_file():
        yield path


def _is_rollouts(path: Path) -> bool:
    return path.suffix.lower() in (*SUFFIXES, *SECONDARY_SUFFIXES) and path.is_file()


def _names(path: Path) -> Sequence[str]:
    kind = format_of(path)
    if kind.name == "parquet":  # without pyarrow, whose import takes longer than a person waits for a key
        from gaecli.formats.parquet.footer import read_footer

        return read_footer(path).columns
    if kind.has_record_beside and path.stat().st_size > _MOST_BYTES:
        return ()
    return list(open_file(path).columns)
