"""One huge file: encoded by the workers of a cluster, put together by one of them, the bytes of the local engine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from engines.cluster import files_of, killing
from storage.s3_server import BUCKET, S3Server

import gaecli
from gaecli.commands import compute
from gaecli.writing import encode_part

pytestmark = pytest.mark.ray

ROWS = 2_000_000
SETTINGS: dict[str, Any] = {"normalize": "all", "keep_raw": True}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the driver: it decides how a file is divided."""
    monkeypatch.setattr(encode_part, "PART_BYTES", ROWS)
    monkeypatch.setattr(compute, "rows_per_block", lambda memory_bytes: 8192 * 8)


def huge(folder: Path) -> Path:
    files_of(folder, 1, ROWS)
    return folder / "00.parquet"


@pytest.mark.parametrize("num_killed", [0, 5])
def test_a_file_in_place(num_killed: int, tmp_path: Path, connected: Any) -> None:
    path = huge(tmp_path)
    shutil.copy2(path, tmp_path / "source")
    gaecli.compute(path, **SETTINGS)
    expected = path.read_bytes()
    path.unlink()
    shutil.copy2(tmp_path / "source", path)
    with killing(num_killed) as killed:
        gaecli.compute(path, engine="ray", **SETTINGS)
    assert len(killed) >= min(num_killed, 2)
    assert path.read_bytes() == expected
    assert {found.name for found in tmp_path.iterdir()} == {"00.parquet", "source"}


@pytest.mark.parametrize("num_killed", [0, 5])
def test_an_object(
    num_killed: int, tmp_path: Path, bucket: S3Server, connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.stands_for_amazon(monkeypatch)
    bucket.reset()
    body = huge(tmp_path).read_bytes()
    uri = bucket.put("runs/r.parquet", body)
    gaecli.compute(uri, **SETTINGS)
    expected = bucket.get("runs/r.parquet")
    bucket.put("runs/r.parquet", body)
    bucket.forget()
    with killing(num_killed) as killed:
        gaecli.compute(uri, engine="ray", **SETTINGS)
    assert len(killed) >= min(num_killed, 2)
    assert bucket.get("runs/r.parquet") == expected
    assert "advantage" in pq.read_schema(_saved(tmp_path, expected)).names
    assert set(bucket.keys()) == {"runs/r.parquet"}
    assert BUCKET in {request.copied.partition("/")[0] for request in bucket.requests}


def _saved(folder: Path, content: bytes) -> Path:
    (folder / "made.parquet").write_bytes(content)
    return folder / "made.parquet"
