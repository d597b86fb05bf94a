"""Shared by the tests of all stores."""

from __future__ import annotations

import pytest


@pytest.fixture
def locally(run_gae, tmp_path):
    """The bytes that `gae compute` makes of the same bytes in a local file."""

    def run(body: bytes, *flags: str, name: str = "local.parquet") -> bytes:
        path = tmp_path / name
        path.write_bytes(body)
        result = run_gae("compute", path, *flags)
        assert result.returncode == 0, result.stderr
        return path.read_bytes()

    return run
