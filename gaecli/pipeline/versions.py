"""Data sets whose files never change: new ones beside them become the next version, all at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gaecli.datasets.base import DataSet
from gaecli.unfinished import forget, remember


@contextlib.contextmanager
def new_version(data_set: DataSet, new_files: Mapping[Path, Path], columns: Sequence[str]) -> Iterator[None]:
    """The files that get their names within this block are the data set after it, or gone.

    `new_files` are by those whose place they take, in the order of the stream.
    """

    def withdraw() -> None:
        data_set.withdraw(list(new_files.values()))

    remember(withdraw)
    try:
        yield
        data_set.publish(new_files, columns)
    except BaseException:
        withdraw()
        raise
    finally:
        forget(withdraw)
