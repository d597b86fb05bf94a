"""A folder of a data set of each kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from faults.data_sets import MAKERS


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Path]:
    def make(kind: str) -> Path:
        root = tmp_path / "set"
        root.mkdir()
        MAKERS[kind](root)
        return root

    return make
