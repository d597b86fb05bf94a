"""A folder of a data set of each kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from faults.data_sets import made


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: made(kind, tmp_path)
