"""Shared by the tests of all stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import warm_start
from in_process import run_here
from storage.store_runs import BIG_ROWS, SCALE, StoreRunner, rollout


@pytest.fixture
def locally(tmp_path):
    """The bytes that `gae compute` makes of the same bytes in a local file."""

    def run(body: bytes, *flags: str, name: str = "local.parquet") -> bytes:
        path = tmp_path / name
        path.write_bytes(body)
        result = run_here("compute", path, *flags)
        assert result.returncode == 0, result.stderr
        return path.read_bytes()

    return run


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[Any]:
    """Not imported before: it takes seconds, in every worker that collects."""
    from storage.s3_server import S3Server

    warm_start.read_what_botocore_reads()
    with S3Server() as server:
        yield server


@pytest.fixture
def s3(bucket_server: Any) -> Any:
    bucket_server.reset()
    return bucket_server


@pytest.fixture
def gae(s3: Any, gae_command: Any, run_gae: Callable[..., Any], tmp_path: Any) -> StoreRunner:
    """The installed command, with this server for Amazon and a folder of its own for temporary files."""
    return StoreRunner(run_gae, gae_command, s3.env, tmp_path / "temporary")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is counted in MiB is a sixteenth of what it is, here and at the server."""
    from moto.s3 import models

    from gaecli.storage import mirror, objects, s3_parts, uploads

    for module, name in (
        (uploads, "PART_BYTES"),
        (s3_parts, "PART_BYTES"),
        (s3_parts, "LEAST_PART_BYTES"),
        (s3_parts, "_COPY_BYTES"),
        (mirror, "LEAST_HEAD_BYTES"),
        (mirror, "SMALL_BYTES"),
        (objects, "READ_BYTES"),
        (models, "S3_UPLOAD_PART_MIN_SIZE"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name) // SCALE)


@pytest.fixture
def here(s3: Any, gae_command: Any, small_parts: None, tmp_path: Any) -> StoreRunner:
    """The same in this process, with small parts."""
    from storage.s3_server import take_driver_for

    def run(*args: Any, env: Mapping[str, str], **options: Any) -> Any:
        take_driver_for(env)
        return run_here(*args, env=env, **options)

    return StoreRunner(run, gae_command, s3.env, tmp_path / "temporary")


@pytest.fixture(scope="module")
def big() -> bytes:
    """Two of the small parts of an upload and a little; what is observed is most of it."""
    return rollout(BIG_ROWS // SCALE, observations=8, row_group_rows=100_000 // SCALE)


@pytest.fixture(scope="module")
def huge() -> bytes:
    """Two parts for a process of its own."""
    return rollout(BIG_ROWS, observations=8)
