"""`gae compute` on files of the Hugging Face Hub: read through `huggingface_hub` from a stand-in for it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from storage.hf_server import REPOSITORY, HubServer
from storage.store_runs import StoreRunner, rollout

pytestmark = pytest.mark.stores
pytest.importorskip("huggingface_hub", reason="needs the extra `stores`")
ROOT = f"hf://datasets/{REPOSITORY}"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def gae(run_gae, gae_command, hub, tmp_path):
    return StoreRunner(run_gae, gae_command, {**hub.env, "HOME": str(tmp_path)}, tmp_path / "temporary")


def test_a_file_becomes_what_a_local_one_becomes(hub, gae, run_gae, tmp_path):
    uri = hub.put("data/a.parquet", rollout(1000))
    result = gae("compute", uri, "-o", tmp_path / "a.parquet")
    assert (result.returncode, result.stderr) == (0, "")
    assert uri in result.stdout
    local = tmp_path / "local.parquet"
    local.write_bytes(rollout(1000))
    assert run_gae("compute", local).returncode == 0
    assert pq.read_table(tmp_path / "a.parquet").equals(pq.read_table(local))


def test_only_what_is_needed_is_read(hub, gae):
    body = rollout(300_000, observations=8)
    result = gae("compute", hub.put("big.parquet", body), "--dry-run")
    assert result.returncode == 0, result.stderr
    assert hub.bytes_read < len(body) / 3


def test_a_large_file_is_read_in_pieces_and_once(hub, gae, tmp_path):
    body = rollout(300_000, observations=8)
    target = tmp_path / "big.parquet"
    assert gae("compute", hub.put("big.parquet", body), "-o", target).returncode == 0
    assert hub.bytes_read == len(body)
    assert sum("/resolve/" in request for request in hub.requests) > 2
    assert pq.read_table(target).drop(["advantage", "return"]).equals(pq.read_table(io.BytesIO(body)))


@pytest.mark.parametrize("page_entries", [1000, 2])
@pytest.mark.parametrize("source", ["runs", "runs/**/*.parquet"])
def test_a_folder_and_a_pattern(hub, gae, tmp_path, source, page_entries):
    hub.page_entries = page_entries
    for name in ("runs/a", "runs/sub/b", "runs/sub/c", "other/d"):
        hub.put(f"{name}.parquet", rollout(50))
    hub.put("runs/notes.txt", b"no data")
    result = gae("compute", f"{ROOT}/{source}", "-o", tmp_path / "out", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    inputs = {file["input"] for file in json.loads(result.stdout)["files"]}
    assert inputs == {f"{ROOT}/runs/{name}.parquet" for name in ("a", "sub/b", "sub/c")}
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.parquet")}
    assert written == {"a.parquet", "sub/b.parquet", "sub/c.parquet"}


@pytest.mark.parametrize("revision", ["v1", "refs/pr/1", "refs%2Fpr%2F1"])
def test_a_revision_is_kept_apart(hub, gae, tmp_path, revision):
    hub.put("runs/a.parquet", rollout(50))
    hub.put("runs/a.parquet", rollout(100), revision=revision.replace("%2F", "/"))
    for source in (f"{ROOT}@{revision}/runs/a.parquet", f"{ROOT}@{revision}/runs"):
        result = gae("compute", source, "--dry-run", "--json")
        assert result.returncode == 0, result.stderr
        (file,) = json.loads(result.stdout)["files"]
        assert (file["input"], file["steps"]) == (f"{ROOT}@{revision}/runs/a.parquet", 100)


@pytest.mark.parametrize("name", ["a b", "é", "100%", "50%25", "a#b", "a+b", "a&b=c", "[x]", "why?"])
def test_odd_names(hub, gae, tmp_path, name):
    uri = hub.put(f"runs {name}/{name}.parquet", rollout(50))
    result = gae("compute", uri, "-o", tmp_path / "out.parquet")
    assert result.returncode == 0, result.stderr
    assert "advantage" in pq.read_schema(tmp_path / "out.parquet").names


@pytest.mark.parametrize("flags", [[], ["--sidecar"], ["-o", f"{ROOT}/new.parquet"], ["-o", f"{ROOT}/new/"]])
def test_nothing_is_written_to_it(hub, gae, flags):
    result = gae("compute", hub.put("a.parquet", rollout(50)), *flags)
    assert result.returncode == 2
    assert "`hf://` can only be read" in result.stderr
    assert hub.bytes_read == 0
    assert all(
        request.startswith(("GET", "HEAD", "POST /api/datasets/user/rollouts/paths-info"))
        for request in hub.requests
    )


def test_a_file_that_is_changed_while_it_is_read_is_not_used(hub, gae, tmp_path):
    uri = hub.put("a.parquet", rollout(50))

    def meddle(method: str, path: str) -> None:
        if "/resolve/" in path:
            hub.fault = None
            hub.revisions["main"]["a.parquet"] = rollout(50).replace(b"obs0", b"obs1")

    hub.fault = meddle
    result = gae("compute", uri, "-o", tmp_path / "out.parquet")
    assert result.returncode == 4
    assert f"`{uri}` was changed by somebody else" in result.stderr
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    "path",
    [
        f"{REPOSITORY}/no.parquet",
        f"{REPOSITORY}@none/a.parquet",
        "user/none/a.parquet",
        f"{REPOSITORY}/no*.parquet",
    ],
)
def test_what_is_not_there_is_said_by_its_uri(hub, gae, path):
    hub.put("a.parquet", rollout(50))
    result = gae("compute", f"hf://datasets/{path}", "--dry-run")
    assert result.returncode == 4
    assert f"`hf://datasets/{path}`" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("status", [401, 403])
def test_no_leave(hub, gae, tmp_path, status):
    uri = hub.put("a.parquet", rollout(50))
    hub.fault = lambda method, path: status
    result = gae("compute", uri, "-o", tmp_path / "out.parquet", timeout=60)
    assert result.returncode == 4
    assert f"`{uri}`" in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path(tmp_path / "out.parquet").exists()
