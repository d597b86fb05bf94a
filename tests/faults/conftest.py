"""Shared by what kills and signals runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faults.test_kills import Runner


@pytest.fixture(scope="session")
def runner() -> Iterator[Runner]:
    """One for all: what lakes need is imported once as well."""
    runner = Runner("deltalake", "pyiceberg.catalog.sql", "pyiceberg.io.pyarrow")
    yield runner
    runner.close()
