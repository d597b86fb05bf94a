"""`gae compute` on objects of Google's and Azure's stores: the contract of test_s3.py, against their emulators."""

from __future__ import annotations

import gc
import importlib.util
import io
import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.pickling_engine import pickling
from storage.emulators import BUCKET, Request, Store, azure, azurite, google
from storage.store_runs import StoreRunner, rollout

import gaecli
from gaecli.commands import compute
from gaecli.storage.objects import ObjectStore
from gaecli.writing import encode_part

__all__ = ["pickling"]

pytestmark = pytest.mark.stores
#: Parts of 16 MiB: two and a little.
BIG_ROWS, BIG_COLUMNS = 300_000, 14


def columns_of(body: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(body))


@pytest.fixture(scope="module")
def big() -> bytes:
    return rollout(BIG_ROWS, observations=BIG_COLUMNS)


@pytest.fixture(scope="module", params=["gs", "abfs"])
def running(request, tmp_path_factory) -> Iterator[Store]:
    package = "gcsfs" if request.param == "gs" else "adlfs"
    if importlib.util.find_spec(package) is None:
        pytest.skip("needs the extra `stores`")
    if request.param == "abfs" and azurite() is None:
        pytest.skip("needs `npm install azurite`, and its `azurite-blob` on PATH or in AZURITE_BLOB")
    with (google if request.param == "gs" else azure)(tmp_path_factory.mktemp(request.param)) as store:
        yield store


@pytest.fixture
def store(running) -> Store:
    running.proxy.fault = None
    for key in running.keys():  # noqa: SIM118 - a method of ours
        running.remove(key)
    running.proxy.requests.clear()
    return running


@pytest.fixture
def gae(run_gae, gae_command, store, tmp_path):
    return StoreRunner(run_gae, gae_command, store.env, tmp_path / "temporary")


class TestResults:
    def test_an_object_becomes_what_a_local_file_becomes(self, store, gae, locally):
        body = rollout(1000)
        uri = store.put("runs/a.parquet", body)
        result = gae("compute", uri)
        assert (result.returncode, result.stderr) == (0, "")
        assert store.get("runs/a.parquet") == locally(body)
        assert store.keys() == ["runs/a.parquet"]
        assert store.pending() == []
        assert uri in result.stdout

    def test_an_upload_in_parts_is_the_same(self, store, gae, locally, big):
        result = gae("compute", store.put("big.parquet", big))
        assert result.returncode == 0, result.stderr
        assert sum(map(store.is_part, store.proxy.requests)) > 1
        assert store.get("big.parquet") == locally(big)
        assert store.pending() == []

    def test_a_second_run_reads_the_footer_and_writes_nothing(self, store, gae, big):
        uri = store.put("big.parquet", big)
        assert gae("compute", uri).returncode == 0
        before = store.head("big.parquet")
        store.proxy.requests.clear()
        result = gae("compute", uri)
        assert "up to date" in result.stdout
        assert bytes_read(store) < 100_000
        assert store.head("big.parquet") == before

    @pytest.mark.parametrize("flags", [["--dry-run"], ["--sidecar"]])
    def test_the_other_columns_are_left_where_they_are(self, store, gae, big, flags):
        result = gae("compute", store.put("big.parquet", big), *flags)
        assert result.returncode == 0, result.stderr
        assert bytes_read(store) < len(big) / 2
        assert store.get("big.parquet") == big

    def test_a_sidecar_lies_beside_its_object(self, store, gae):
        store.put("runs/a.parquet", rollout(10))
        assert gae("compute", f"{store.scheme}://{BUCKET}/runs/a.parquet", "--sidecar").returncode == 0
        (name,) = set(store.keys()) - {"runs/a.parquet"}
        assert name.startswith("runs/a.")
        assert "advantage" in columns_of(store.get(name)).column_names

    def test_a_prefix_keeps_its_tree(self, store, gae, locally):
        bodies = {
            f"in/{name}.parquet": rollout(50, seed) for seed, name in enumerate(["a", "sub/b", "sub/c"])
        }
        for key, body in bodies.items():
            store.put(key, body)
        root = f"{store.scheme}://{BUCKET}"
        result = gae("compute", f"{root}/in", "-o", f"{root}/out/", "--json")
        assert (result.returncode, result.stderr) == (0, "")
        assert {file["input"] for file in json.loads(result.stdout)["files"]} == {
            f"{root}/{key}" for key in bodies
        }
        for key, body in bodies.items():
            assert store.get(key) == body
            assert columns_of(store.get(key.replace("in/", "out/", 1))).equals(columns_of(locally(body)))
        assert len(store.keys()) == 6

    def test_a_pattern_picks_objects(self, store, gae):
        for key in ("x/1.parquet", "x/2.parquet", "y/3.parquet"):
            store.put(key, rollout(10))
        root = f"{store.scheme}://{BUCKET}"
        result = gae("compute", f"{root}/x/*.parquet", "--json")
        assert result.returncode == 0, result.stderr
        inputs = [file["input"] for file in json.loads(result.stdout)["files"]]
        assert inputs == [f"{root}/x/1.parquet", f"{root}/x/2.parquet"]

    def test_down_and_up(self, store, gae, tmp_path):
        uri = store.put("a.parquet", rollout(10))
        assert gae("compute", uri, "-o", tmp_path / "a.parquet").returncode == 0
        target = f"{store.scheme}://{BUCKET}/b.parquet"
        assert gae("compute", tmp_path / "a.parquet", "-o", target).returncode == 0
        assert columns_of(store.get("b.parquet")).equals(pq.read_table(tmp_path / "a.parquet"))
        assert gae("compute", tmp_path / "a.parquet", "-o", uri).returncode == 2
        assert store.get("a.parquet") == rollout(10)

    @pytest.mark.parametrize(
        "name", ["a b", "é", "100%", "50%25", "a#b", "a#1", "a+b", "a&b=c", "[x]", "why?"]
    )
    def test_odd_names(self, store, gae, name):
        key = f"runs {name}/{name}.parquet"
        result = gae("compute", store.put(key, rollout(10)))
        assert result.returncode == 0, result.stderr
        assert store.keys() == [key]
        assert "advantage" in columns_of(store.get(key)).column_names

    def test_what_an_object_says_of_itself_stays(self, store, gae):
        uri = store.put("a.parquet", rollout(10))
        store.describe("a.parquet", "application/x-rollouts", {"run": "7"})
        assert gae("compute", uri).returncode == 0
        head = store.head("a.parquet")
        assert (head["type"], head["metadata"]) == ("application/x-rollouts", {"run": "7"})


class TestFailures:
    @pytest.fixture
    def old(self, store, big) -> Iterator[str]:
        uri = store.put("big.parquet", big)
        before = store.head("big.parquet")
        yield uri
        store.proxy.fault = None
        assert store.head("big.parquet") == before
        assert store.get("big.parquet") == big
        assert store.keys() == ["big.parquet"]
        assert store.pending() == []

    def test_a_part_fails(self, store, gae, old):
        seen: list[Request] = []

        def fail(request: Request) -> int | None:
            seen.extend([request] if store.is_part(request) else [])
            return 403 if len(seen) > 1 and store.is_part(request) else None

        store.proxy.fault = fail
        result = gae("compute", old, timeout=60)
        assert result.returncode == 4
        assert f"`{old}`" in result.stderr
        assert "Traceback" not in result.stderr
        assert len(seen) > 1

    def test_the_completion_fails(self, store, gae, old):
        store.proxy.fault = lambda request: 403 if store.is_completion(request) else None
        result = gae("compute", old, timeout=60)
        assert result.returncode == 4
        assert f"`{old}`" in result.stderr

    def test_reading_fails(self, store, gae, old):
        store.proxy.fault = lambda request: 403 if store.is_read(request) else None
        result = gae("compute", old, timeout=60)
        assert result.returncode == 4
        assert f"`{old}`" in result.stderr

    def test_interrupted_in_the_middle(self, store, gae, old):
        arrived, released = threading.Event(), threading.Event()

        def stall(request: Request) -> None:
            if store.is_part(request):
                arrived.set()
                released.wait(60)

        store.proxy.fault = stall
        process = subprocess.Popen([gae.path, "compute", old], env=gae.env, stderr=subprocess.PIPE, text=True)
        try:
            assert arrived.wait(60)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=120)  # while the server still says nothing
        finally:
            released.set()
            process.kill()
            process.wait(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in stderr
        assert list(gae.temporary.iterdir()) == []


class TestOtherProcesses:
    @pytest.fixture
    def here(self, store, monkeypatch) -> Store:
        """For runs in this process, whose tasks go as bytes through workers that fail."""
        for name, value in store.env.items():
            monkeypatch.setenv(name, value)
        fsspec.get_filesystem_class(store.scheme).clear_instance_cache()
        return store

    @pytest.mark.parametrize("settings", [{"normalize": "all"}, {"output": "out/"}, {"sidecar": True}])
    def test_what_workers_send_is_what_this_process_sends(self, here, settings, pickling):
        root = f"{here.scheme}://{BUCKET}"
        bodies = {f"runs/{number}.parquet": rollout(60_000, number) for number in range(3)}
        for key, body in bodies.items():
            here.put(key, body)
        if "output" in settings:
            settings = {"output": f"{root}/out/"}
        gaecli.compute(f"{root}/runs/", **settings)
        expected = contents(here)
        assert expected != bodies
        for key in expected:
            if key not in bodies:
                here.remove(key)
            elif expected[key] != bodies[key]:  # others stay: a result elsewhere tells of their time
                here.put(key, bodies[key])
        gaecli.compute(f"{root}/runs/", engine="pickling", **settings)
        assert contents(here) == expected
        # A worker that is lost when it has sent all leaves a session of Google's, which ends by itself.
        assert len(here.pending()) <= pickling[0].num_sent // 2
        assert pickling[0].num_lost > 0

    def test_one_huge_object_in_parts(self, here, pickling, monkeypatch):
        monkeypatch.setattr(encode_part, "PART_BYTES", 1 << 20)
        monkeypatch.setattr(compute, "rows_per_block", lambda memory_bytes: 100_000)
        body = rollout(300_000, observations=4)
        uri = here.put("runs/r.parquet", body)
        gaecli.compute(uri, normalize="all")
        expected = here.get("runs/r.parquet")
        here.put("runs/r.parquet", body)
        here.put("runs/.r.parquet.0123456789abcdef.tmp", b"of a run that was killed")
        gaecli.compute(uri, engine="pickling", normalize="all")
        assert contents(here) == {"runs/r.parquet": expected}
        assert any("/.r." in request.path or "%2F.r." in request.path for request in here.proxy.requests)

    def test_a_run_that_is_killed_leaves_the_old_object_and_is_run_again(self, store, gae, big):
        uri = store.put("big.parquet", big)
        before = store.head("big.parquet")
        arrived, released = threading.Event(), threading.Event()

        def stall(request: Request) -> None:
            if store.is_part(request):
                arrived.set()
                released.wait(60)

        store.proxy.fault = stall
        process = subprocess.Popen([gae.path, "compute", uri], env=gae.env, stderr=subprocess.DEVNULL)
        try:
            assert arrived.wait(60)
        finally:
            process.kill()
            process.wait(timeout=60)
            released.set()
        store.proxy.fault = None
        time.sleep(0.5)  # what had arrived is passed on
        assert store.head("big.parquet") == before
        assert store.keys() == ["big.parquet"]
        for (
            left
        ) in gae.temporary.iterdir():  # a spool, which the next run removes: not what is looked at here
            shutil.rmtree(left)
        assert gae("compute", uri).returncode == 0
        assert store.head("big.parquet") != before

    def test_results_of_a_folder_are_listed_and_not_asked_for_one_by_one(self, store, gae):
        for number in range(6):
            store.put(f"runs/{number}.parquet", rollout(10, number))
        root = f"{store.scheme}://{BUCKET}"
        assert gae("compute", f"{root}/runs", "-o", f"{root}/out/").returncode == 0
        before = {key: store.head(key) for key in store.keys()}  # noqa: SIM118
        store.proxy.requests.clear()
        result = gae("compute", f"{root}/runs", "-o", f"{root}/out/")
        assert result.stdout.count("up to date") >= 1
        assert {key: store.head(key) for key in store.keys()} == before  # noqa: SIM118
        seen = [
            request
            for request in store.proxy.requests
            if ".parquet" in request.path and ("out%2F" in request.path or "/out/" in request.path)
        ]
        assert len([request for request in seen if store.is_read(request)]) == len(seen) == 6


def contents(store: Store) -> dict[str, bytes]:
    return {key: store.get(key) for key in store.keys()}  # noqa: SIM118


def test_what_was_taken_back_does_not_appear_later(store, tmp_path, monkeypatch):
    """With some drivers closing a file, or collecting it, completes its upload."""
    for name, value in store.env.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class(store.scheme).clear_instance_cache()
    (tmp_path / "new").write_bytes(bytes(100_000))
    uri = store.put("a.parquet", b"old")
    upload = ObjectStore(uri).upload(uri, tmp_path / "new")
    upload.send()
    upload.discard()
    del upload
    gc.collect()
    time.sleep(0.5)  # drivers may do so in a thread of theirs
    assert store.get("a.parquet") == b"old"
    assert store.pending() == []


class TestChangedMeanwhile:
    def test_somebody_else_writes_the_object_during_the_upload(self, store, gae, big):
        uri, theirs = store.put("big.parquet", big), rollout(5)

        def meddle(request: Request) -> None:
            if store.is_part(request):
                store.proxy.fault = None
                store.put("big.parquet", theirs)

        store.proxy.fault = meddle
        result = gae("compute", uri)
        assert result.returncode == 4
        assert f"`{uri}` was changed by somebody else" in result.stderr
        assert store.get("big.parquet") == theirs
        assert store.pending() == []

    def test_somebody_removes_it(self, store, gae, big):
        uri = store.put("big.parquet", big)

        def meddle(request: Request) -> None:
            if store.is_part(request):
                store.proxy.fault = None
                store.remove("big.parquet")

        store.proxy.fault = meddle
        result = gae("compute", uri)
        assert result.returncode == 4
        assert f"`{uri}` was removed" in result.stderr
        assert store.keys() == []


class TestMessages:
    def test_what_is_not_there_is_said_by_its_uri(self, store, gae):
        root = f"{store.scheme}://"
        for uri in (
            f"{root}{BUCKET}/no.parquet",
            f"{root}no-such-bucket/a.parquet",
            f"{root}{BUCKET}/no*.parquet",
        ):
            result = gae("compute", uri)
            assert result.returncode == 4
            assert f"`{uri}`" in result.stderr
            assert "Traceback" not in result.stderr


def test_azure_takes_the_account_in_the_uri(store, gae):
    """As Spark and Azure's own tools write it."""
    if store.scheme != "abfs":
        pytest.skip("of Azure only")
    for name in "ab":
        store.put(f"runs/{name}.parquet", rollout(50))
    root = f"abfs://{BUCKET}@devstoreaccount1.dfs.core.windows.net"
    for arguments in (
        [f"{root}/runs"],
        [f"{root}/runs/a.parquet"],
        [f"{root}/runs/*.parquet", "-o", f"{root}/out"],
    ):
        result = gae("compute", *arguments, "--json")
        assert (result.returncode, result.stderr) == (0, "")
        assert all(file["input"].startswith(f"{root}/runs/") for file in json.loads(result.stdout)["files"])
    assert store.keys() == ["out/a.parquet", "out/b.parquet", "runs/a.parquet", "runs/b.parquet"]
    assert all("advantage" in columns_of(store.get(key)).column_names for key in store.keys())  # noqa: SIM118


def bytes_read(store: Store) -> int:
    return sum(request.bytes_sent for request in store.proxy.requests if store.is_read(request))
