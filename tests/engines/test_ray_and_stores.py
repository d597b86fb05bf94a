"""Workers read objects and send new ones; the command that began them makes these visible, or takes them back."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from engines.cluster import files_of, gae, killing, wait_until, worker_processes
from faults import data_sets
from storage.s3_server import BUCKET, Request, S3Server, break_down
from storage.store_runs import rollout

import gaecli
from gaecli.storage.s3_parts import LEAST_HEAD_BYTES

pytestmark = pytest.mark.ray


@pytest.fixture
def s3(bucket: S3Server, connected: Any, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    bucket.stands_for_amazon(monkeypatch)
    bucket.reset()
    return bucket


def content(s3: S3Server) -> dict[str, bytes]:
    keys = s3.keys()
    return {key: s3.get(key) for key in keys}


def put_all(s3: S3Server, folder: Path) -> dict[str, bytes]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            s3.put(f"runs/{path.relative_to(folder)}", path.read_bytes())
    return content(s3)


def made_by_the_local_engine(s3: S3Server, folder: Path, **settings: Any) -> dict[str, bytes]:
    """The objects of a folder as it leaves them; they are as before when this returns."""
    before = put_all(s3, folder)
    gaecli.compute(f"s3://{BUCKET}/runs/", **settings)
    after = content(s3)
    for key in after:
        if key not in before:
            s3.client.delete_object(Bucket=BUCKET, Key=key)
        elif after[key] != before[key]:  # others stay: a result elsewhere tells of their time
            s3.put(key, before[key])
    assert after != before == content(s3)
    return after


SETTINGS: dict[str, dict[str, Any]] = {
    "in place": {"normalize": "all"},
    "elsewhere": {"output": f"s3://{BUCKET}/out/", "normalize": "file"},
    "sidecar": {"sidecar": True},
}


@pytest.mark.parametrize("case", SETTINGS)
def test_objects_become_what_the_local_engine_makes_of_them(case: str, s3: S3Server, tmp_path: Path) -> None:
    files_of(tmp_path, 4)
    expected = made_by_the_local_engine(s3, tmp_path, **SETTINGS[case])
    gaecli.compute(f"s3://{BUCKET}/runs/", engine="ray", **SETTINGS[case])
    assert content(s3) == expected
    assert s3.pending() == []


@pytest.mark.parametrize("data_set", ["lerobot_v2", "minari", "rllib", "hive"])
def test_data_sets_too(data_set: str, s3: S3Server, tmp_path: Path) -> None:
    getattr(data_sets, data_set)(tmp_path)
    expected = made_by_the_local_engine(s3, tmp_path, normalize="file")
    summary = gaecli.compute(f"s3://{BUCKET}/runs/", engine="ray", normalize="file")
    assert {file.status for file in summary.files} == {"written"}
    assert content(s3) == expected


def test_objects_go_to_a_shared_folder_and_files_to_a_bucket(s3: S3Server, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    files_of(source, 3)
    put_all(s3, source)
    found: dict[str, list[Any]] = {"local": [], "ray": []}
    for engine, made in found.items():
        gaecli.compute(f"s3://{BUCKET}/runs/", engine=engine, output=f"{out}/")
        made.append(data_sets.content(out))
        shutil.rmtree(out)
        gaecli.compute(source, engine=engine, output=f"s3://{BUCKET}/out/")
        made.append({key: cells for key, cells in content(s3).items() if key.startswith("out/")})
        for key in made[-1]:
            s3.client.delete_object(Bucket=BUCKET, Key=key)
    assert found["ray"] == found["local"]
    assert [len(made) for made in found["ray"]] == [3, 3]


def test_what_is_up_to_date_is_not_read_again(s3: S3Server, tmp_path: Path) -> None:
    files_of(tmp_path, 3)
    put_all(s3, tmp_path)
    gaecli.compute(f"s3://{BUCKET}/runs/", engine="ray")
    s3.forget()
    summary = gaecli.compute(f"s3://{BUCKET}/runs/", engine="ray")
    assert {file.status for file in summary.files} == {"up to date"}
    assert not any(request.method in ("PUT", "POST") for request in s3.requests)


def test_workers_that_are_killed_change_no_byte(s3: S3Server, tmp_path: Path) -> None:
    files_of(tmp_path, 8)
    expected = made_by_the_local_engine(s3, tmp_path, normalize="all")
    with killing(4) as killed:
        gaecli.compute(f"s3://{BUCKET}/runs/", engine="ray", normalize="all")
    assert len(killed) > 1
    assert content(s3) == expected


def test_a_command_that_is_killed_leaves_nothing_that_the_next_one_does_not_take_back(
    s3: S3Server, tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    files_of(tmp_path, 12)
    expected = made_by_the_local_engine(s3, tmp_path, normalize="file")
    before = content(s3)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    first = gae(cluster, f"s3://{BUCKET}/runs/", "--normalize", "file", "--jobs", 2)
    wait_until(lambda: first.poll() is not None or (s3.pending() and content(s3) != before))
    first.kill()
    first.communicate()
    assert 0 < len(s3.pending()) < 12
    wait_until(lambda: not worker_processes())
    summary = gaecli.compute(f"s3://{BUCKET}/runs/", engine="ray", normalize="file")
    assert {file.status for file in summary.files} == {"written", "up to date"}
    assert content(s3) == expected
    assert s3.pending() == []
    assert not [path for path in temporary.iterdir() if path.name.startswith("gaecli-spool-")]


def test_a_store_that_fails_in_mid_upload_leaves_the_old_object(s3: S3Server, tmp_path: Path) -> None:
    files_of(tmp_path, 2)
    before = put_all(s3, tmp_path)

    def fault(request: Request) -> Any:
        return break_down() if request.is_part and request.key.endswith("01.parquet") else None

    s3.fault = fault
    with pytest.raises(gaecli.FileError, match=f"cannot write `s3://{BUCKET}/runs/01.parquet`"):
        gaecli.compute(f"s3://{BUCKET}/runs/01.parquet", engine="ray")
    s3.fault = None
    assert content(s3) == before
    assert s3.pending() == []
    gaecli.compute(f"s3://{BUCKET}/runs/", engine="ray")
    assert s3.get("runs/01.parquet") != before["runs/01.parquet"]


def test_a_bad_row_is_told_by_the_name_of_the_object(s3: S3Server, tmp_path: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = {"reward": np.array([1.0, np.nan]), "value": np.zeros(2), "terminated": np.array([False, True])}
    pq.write_table(pa.table(cells), tmp_path / "bad.parquet")
    before = put_all(s3, tmp_path)
    told = []
    for engine in ("local", "ray"):
        with pytest.raises(gaecli.DataError) as caught:
            gaecli.compute(f"s3://{BUCKET}/runs/bad.parquet", engine=engine)
        told.append((caught.value.message, caught.value.hint))
    assert told[0] == told[1]
    assert f"s3://{BUCKET}/runs/bad.parquet" in told[0][0]
    assert content(s3) == before


def test_what_stays_of_a_large_object_does_not_travel(s3: S3Server) -> None:
    body = rollout(300_000, observations=8)
    assert len(body) > LEAST_HEAD_BYTES
    uri = s3.put("big.parquet", body)
    gaecli.compute(uri, normalize="all")
    expected = s3.get("big.parquet")
    s3.put("big.parquet", body)
    s3.forget()
    gaecli.compute(uri, engine="ray", normalize="all")
    assert s3.bytes_read < len(body) / 2
    assert any(request.copied for request in s3.requests)
    assert s3.get("big.parquet") == expected
    assert s3.pending() == []
