"""Shared by what kills and signals runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faults.test_kills import Runner


@pytest.fixture(scope="session")
def runner() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    runner.close()
