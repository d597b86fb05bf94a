"""What a run over a folder of a data set leaves, and says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from faults.data_sets import data_files, is_labelled

import gaecli

NEW = [{"name": "advantage", "dtype": "float32"}, {"name": "return", "dtype": "float32"}]


def labelled(root: Path) -> list[bool]:
    return [is_labelled(path) for path in data_files(root)]


def statuses(root: Path, **settings: Any) -> list[str]:
    return [file.status for file in gaecli.compute(root, **settings).files]


def codes(root: Path, **settings: Any) -> list[str]:
    return [note.code for note in gaecli.compute(root, **settings).warnings]
