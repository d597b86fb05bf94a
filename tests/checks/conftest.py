"""A clean rollout, and what the rules say of one that is not."""

from __future__ import annotations

import pytest
from checks.planted import (
    Columns,
    Examined,
    clean_rollout,
    write,
)

from gaecli.commands.check import check
from gaecli.settings import Settings


@pytest.fixture
def clean() -> Columns:
    return clean_rollout()


#: Several blocks to a file: what a rule says must not depend on where they end.
@pytest.fixture(params=[1 << 30, 1 << 20], ids=["one-block", "blocks"])
def memory(request, monkeypatch) -> int:
    import gaecli.commands.check as checkup

    if request.param < 1 << 30:
        monkeypatch.setattr(checkup, "rows_per_block", lambda memory_bytes: 150)
    return request.param


@pytest.fixture
def examine(tmp_path, memory):
    def run(columns: Columns, /, **settings) -> Examined:
        path = write(tmp_path / "rollout.parquet", columns)
        return Examined(check([path], Settings(**settings), memory_bytes=memory))

    return run
