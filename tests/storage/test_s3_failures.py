"""`gae compute` on objects of an S3 server, whatever goes wrong on the way: nothing of it stays."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.storage.spool import Spool
from gaecli.storage.upload_notes import UploadNotes
from gaecli.storage.uploads import SentObject

pytest.importorskip("werkzeug", reason="comes with moto, of the extra `test`")

from storage.s3_server import BUCKET, Request, S3Server, break_down, forbid
from storage.store_runs import rollout

# Not imported here: it takes seconds, in every worker that collects.
pytestmark = pytest.mark.skipif(
    None in map(importlib.util.find_spec, ("moto", "s3fs")), reason="needs the extras `test` and `s3`"
)


class TestUploadsOfKilledRuns:
    """Parts of an object that nobody sees, and which cost money."""

    @staticmethod
    def begin(s3: S3Server, key: str) -> str:
        upload: str = s3.client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
        s3.client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=1, Body=b"half")
        return upload

    def run(self, s3: S3Server, monkeypatch: pytest.MonkeyPatch, days: float) -> list[str]:
        s3.stands_for_amazon(monkeypatch)
        for key in ("many/0.parquet", "many/0.parquet.old", "other.parquet"):
            self.begin(s3, key)
        # The server has it that all of them were begun long ago, and their parts sent just now.
        monkeypatch.setattr("gaecli.storage.s3_leftovers.STALE_AFTER", timedelta(days=days))
        gaecli.compute(s3.put("many/0.parquet", rollout(10)))
        return [upload["Key"] for upload in s3.pending()]

    def test_those_of_the_same_objects_are_taken_back(self, s3, monkeypatch):
        assert self.run(s3, monkeypatch, 0) == ["many/0.parquet.old", "other.parquet"]

    def test_what_may_be_of_a_run_at_work_is_left_alone(self, s3, monkeypatch):
        assert self.run(s3, monkeypatch, 1) == ["many/0.parquet", "many/0.parquet.old", "other.parquet"]

    @pytest.mark.parametrize("is_dead", [True, False])
    def test_one_of_a_process_that_was_killed_here_is_not_waited_for(
        self, s3, tmp_path, monkeypatch, is_dead
    ):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        s3.stands_for_amazon(monkeypatch)
        spool = Spool()
        for key in ("many/0.parquet", "other.parquet"):
            sent = SentObject(BUCKET, key, self.begin(s3, key))
            UploadNotes(spool.path).add(s3.put(key, rollout(10)), sent)
        if is_dead:
            os.close(spool._lock)
            spool._lock = None
        left = {"many/0.parquet", "other.parquet"}
        gaecli.inspect(f"s3://{BUCKET}/many/0.parquet")  # which has a spool, and takes nothing back
        for key in sorted(left):
            assert {upload["Key"] for upload in s3.pending()} == left
            gaecli.compute(f"s3://{BUCKET}/{key}")
            left -= {key} if is_dead else set()
        assert {upload["Key"] for upload in s3.pending()} == left
        assert list(tmp_path.iterdir()) == ([] if is_dead else [spool.path])
        spool.close()

    def test_status_tells_of_them(self, s3, here):
        s3.put("many/0.parquet", rollout(10))
        self.begin(s3, "many/0.parquet")
        found = here("status", f"s3://{BUCKET}/many/", "--json")
        assert found.returncode == 3, found.stderr
        document = json.loads(found.stdout)
        (left,) = document["temporary"]
        told = (f"s3://{BUCKET}/many/0.parquet", True, 4)
        assert (left["path"], left["in_use"], left["num_bytes"]) == told
        assert [file["state"] for file in document["files"]] == ["left"]
        assert here("compute", f"s3://{BUCKET}/many/").returncode == 0
        assert here("status", f"s3://{BUCKET}/many/").returncode == 0


@contextlib.contextmanager
def staying_as_it_is(s3: S3Server, body: bytes) -> Iterator[str]:
    """An object that is there afterwards, and nothing else."""
    uri = s3.put("big.parquet", body)
    etag = s3.etag("big.parquet")
    yield uri
    s3.fault = None
    assert s3.etag("big.parquet") == etag
    assert s3.get("big.parquet") == body
    assert s3.keys() == ["big.parquet"]


class TestFailures:
    """The old object stays, no parts are left, and the command comes to an end."""

    @pytest.fixture
    def old(self, s3, big) -> Iterator[str]:
        with staying_as_it_is(s3, big) as uri:
            yield uri

    @pytest.mark.parametrize("answer", [forbid, break_down])
    def test_a_part_fails(self, s3, here, old, answer):
        s3.fault = lambda request: answer() if "partNumber=2" in request.query else None
        result = here(
            "compute", old, timeout=60, env={"AWS_MAX_ATTEMPTS": "1"}
        )  # s3fs tries again all the same
        assert result.returncode == 4
        assert f"cannot write `{old}`" in result.stderr or f"no permission to write `{old}`" in result.stderr
        assert "Traceback" not in result.stderr
        assert s3.pending() == []

    def test_the_completion_fails(self, s3, here, old):
        s3.fault = lambda request: forbid() if request.is_completion else None
        assert here("compute", old, timeout=60).returncode == 4
        assert s3.pending() == []

    def test_reading_fails(self, s3, here, old):
        s3.fault = lambda request: forbid() if request.method == "GET" and request.key else None
        result = here("compute", old, timeout=60)
        assert result.returncode == 4
        assert not any(request.method in ("PUT", "POST") for request in s3.requests[1:])

    def test_one_bad_object_does_not_stop_the_others(self, s3, here):
        good = [s3.put(f"{name}.parquet", rollout(10)) for name in "ac"]
        bad = s3.put("b.parquet", b"PAR1 is not enough")
        result = here("compute", good[0], bad, good[1])
        assert result.returncode == 4
        assert f"`{bad}`" in result.stderr
        for name in "ac":
            assert "advantage" in pq.read_schema(io.BytesIO(s3.get(f"{name}.parquet"))).names


@contextlib.contextmanager
def stopped_at_part_two(s3: S3Server, start: Any, uri: str) -> Iterator[Any]:
    """A run that waits for an answer in the middle of its upload."""
    arrived, released = threading.Event(), threading.Event()

    def stall(request: Request) -> None:
        if "partNumber=2" in request.query:
            arrived.set()
            released.wait(60)

    s3.fault = stall
    with Path(os.devnull).open("wb") as nothing:
        process = start("compute", uri, stdout=nothing, stderr=nothing)
    try:
        assert arrived.wait(60)
        yield process
    finally:
        released.set()
        process.kill()
        process.wait(timeout=60)


class TestProcesses:
    """The same of one that is ended from outside."""

    @pytest.fixture
    def old(self, s3, huge) -> Iterator[str]:
        with staying_as_it_is(s3, huge) as uri:
            yield uri

    def test_interrupted_in_the_middle(self, s3, gae, start_gae, old):
        with stopped_at_part_two(s3, partial(start_gae, env=gae.store_env), old) as process:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
        assert list(gae.temporary.iterdir()) == []
        assert s3.pending() == []

    def test_killed_in_the_middle_and_run_again(self, s3, gae, start_gae, huge):
        uri = s3.put("big.parquet", huge)
        with stopped_at_part_two(s3, partial(start_gae, env=gae.store_env), uri) as process:
            process.kill()
            process.wait(timeout=60)
        assert len(list(gae.temporary.iterdir())) == 1
        assert s3.get("big.parquet") == huge
        assert [upload["Key"] for upload in s3.pending()] == ["big.parquet"]
        # The same command finds what the dead one had begun, in its spool; `gae` asserts that that is gone.
        assert gae("compute", uri).returncode == 0
        assert s3.pending() == []
        assert s3.get("big.parquet") != huge


class TestChangedMeanwhile:
    def test_somebody_else_writes_the_object_during_the_upload(self, s3, here, big):
        uri = s3.put("big.parquet", big)
        theirs = rollout(5)

        def meddle(request: Request) -> None:
            if "partNumber=1" in request.query:
                s3.fault = None
                s3.put("big.parquet", theirs)

        s3.fault = meddle
        result = here("compute", uri)
        assert result.returncode == 4
        assert f"`{uri}` was changed by somebody else" in result.stderr
        assert s3.get("big.parquet") == theirs
        assert s3.pending() == []

    def test_somebody_removes_it(self, s3, here, big):
        uri = s3.put("big.parquet", big)

        def meddle(request: Request) -> None:
            if request.is_part:
                s3.fault = None
                s3.client.delete_object(Bucket=BUCKET, Key="big.parquet")

        s3.fault = meddle
        result = here("compute", uri)
        assert result.returncode == 4
        assert f"`{uri}` was removed" in result.stderr
        assert s3.keys() == []
        assert s3.pending() == []


class TestMessages:
    def test_what_is_not_there_is_said_by_its_uri(self, here):
        for uri in (
            f"s3://{BUCKET}/no.parquet",
            "s3://no-such-bucket/a.parquet",
            f"s3://{BUCKET}/no*.parquet",
        ):
            result = here("compute", uri)
            assert result.returncode == 4
            assert f"`{uri}`" in result.stderr

    def test_a_missing_column_is_said_by_the_uri(self, s3, here):
        uri = s3.put("a.parquet", rollout(10))
        result = here("compute", uri, "--value-column", "nope")
        assert result.returncode == 2
        assert f"column `nope` not found in `{uri}`" in result.stderr

    def test_no_credentials(self, s3, here, tmp_path):
        uri = s3.put("a.parquet", rollout(10))
        none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(tmp_path)}
        result = here("compute", uri, env=none)
        assert result.returncode == 4
        assert "credentials" in result.stderr

    def test_no_leave(self, s3, here):
        uri = s3.put("a.parquet", rollout(10))
        s3.fault = forbid
        result = here("compute", uri)
        assert result.returncode == 4
        assert f"no permission to read `{uri}`" in result.stderr
