"""Where tests of Parquet's bytes have their file, and what is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source.parquet"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """As a run calls the new file until it is whole."""
    return tmp_path / ".source.parquet.tmp"
