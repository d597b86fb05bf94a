"""One huge object: its parts are objects that nobody keeps, and the store puts their bytes into the new one."""

from __future__ import annotations

import importlib.util
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline import pickling_engine
from pipeline.pickling_engine import PicklingEngine, pickling

import gaecli
from gaecli.commands import compute
from gaecli.storage.s3_parts import LEAST_PART_BYTES, num_copyable
from gaecli.storage.uploads import StoredBytes
from gaecli.writing import encode_part

pytest.importorskip("werkzeug", reason="comes with moto, of the extra `test`")

from storage.s3_server import BUCKET, Request, S3Server, forbid

pytestmark = pytest.mark.skipif(
    None in map(importlib.util.find_spec, ("moto", "s3fs")), reason="needs the extras `test` and `s3`"
)

__all__ = ["pickling"]


@pytest.fixture
def s3(bucket_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    bucket_server.stands_for_amazon(monkeypatch)
    bucket_server.reset()
    return bucket_server


ROW_GROUPS = 6
NUMBERS = ("reward", "value", "observation")


def body_of(num_rows: int, row_groups: int = ROW_GROUPS) -> bytes:
    """As it is: what is encoded of it has the size that it has in memory."""
    random = np.random.default_rng(0)
    cells: dict[str, Any] = {name: random.normal(size=num_rows).astype("f4") for name in NUMBERS}
    cells["terminated"] = np.arange(num_rows) % 50 == 49
    file = io.BytesIO()
    pq.write_table(
        pa.table(cells), file, row_group_size=num_rows // row_groups, use_dictionary=False, compression="none"
    )
    return file.getvalue()


def made_by_the_local_engine(s3: S3Server, body: bytes) -> bytes:
    gaecli.compute(s3.put("runs/r.parquet", body), normalize="all")
    made = s3.get("runs/r.parquet")
    assert made != body
    s3.put("runs/r.parquet", body)
    s3.forget()
    return made


SMALL_ROWS = 2400
URI = f"s3://{BUCKET}/runs/r.parquet"


@pytest.fixture
def parts_of_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode_part, "PART_BYTES", SMALL_ROWS * 8 // 3)
    monkeypatch.setattr(compute, "rows_per_block", lambda memory_bytes: SMALL_ROWS // ROW_GROUPS)


def test_the_bytes_of_parts_do_not_travel_a_second_time(
    s3: S3Server, pickling: list[PicklingEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    num_rows = 1_400_000
    body = body_of(num_rows, row_groups=14)
    monkeypatch.setattr(encode_part, "PART_BYTES", num_rows * 4)
    monkeypatch.setattr(compute, "rows_per_block", lambda memory_bytes: num_rows // 2)
    expected = made_by_the_local_engine(s3, body)
    gaecli.compute(URI, engine="pickling", normalize="all")
    # Three looks, half of them twice, each at the row groups of its unit; and samples.
    assert s3.bytes_read < 3 * 2 * num_rows * 8
    assert s3.get("runs/r.parquet") == expected
    assert s3.keys() == ["runs/r.parquet"]
    assert s3.pending() == []
    asked = [(request.method, request.key) for request in s3.requests]
    last_part = max(at for at, (method, key) in enumerate(asked) if method == "PUT" and "/.r." in key)
    # What is used of the old columns was read by others: the writer reads headers, and may be lost once.
    assert asked[last_part:].count(("GET", "runs/r.parquet")) <= 2 * 2
    copied = [request.copied for request in s3.requests if request.copied]
    assert [key.startswith(f"{BUCKET}/runs/.r.parquet.") for key in sorted(copied)] == [True, True, False]
    assert pickling[0].largest < 100_000


def test_parts_that_are_too_small_are_sent_by_the_writer(
    s3: S3Server, pickling: list[PicklingEngine], parts_of_few_rows: None
) -> None:
    expected = made_by_the_local_engine(s3, body_of(SMALL_ROWS))
    s3.put("runs/.r.parquet.0123456789abcdef.tmp", b"of a run that was killed")
    s3.put("runs/.other.parquet.0123456789abcdef.tmp", b"of somebody else")
    s3.forget()
    gaecli.compute(URI, engine="pickling", normalize="all")
    assert s3.get("runs/r.parquet") == expected
    assert s3.keys() == ["runs/.other.parquet.0123456789abcdef.tmp", "runs/r.parquet"]
    assert len({request.key for request in s3.requests if "/.r.parquet." in request.key}) == 1 + 3
    assert not any(request.copied for request in s3.requests)


def test_a_part_that_cannot_be_sent_leaves_nothing(
    s3: S3Server, pickling: list[PicklingEngine], parts_of_few_rows: None
) -> None:
    before = body_of(SMALL_ROWS)
    s3.put("runs/r.parquet", before)
    keys: list[str] = []

    def fault(request: Request) -> Any:
        is_part = request.method == "PUT" and "/.r.parquet." in request.key
        keys.extend([request.key] if is_part else [])
        return forbid() if is_part and len(set(keys)) > 1 else None

    s3.fault = fault
    with pytest.raises(gaecli.FileError, match=r"no permission to write `s3://rollouts/runs/.r\.parquet"):
        gaecli.compute(URI, engine="pickling")
    s3.fault = None
    assert s3.keys() == ["runs/r.parquet"]
    assert s3.get("runs/r.parquet") == before
    assert s3.pending() == []


def test_a_bucket_in_which_nothing_may_be_listed_is_written_all_the_same(
    s3: S3Server, pickling: list[PicklingEngine], parts_of_few_rows: None
) -> None:
    expected = made_by_the_local_engine(s3, body_of(SMALL_ROWS))
    s3.fault = lambda request: forbid() if "prefix=runs%2F.r.parquet." in request.query else None
    gaecli.compute(URI, engine="pickling", normalize="all")
    assert any("prefix=runs%2F.r.parquet." in request.query for request in s3.requests)
    assert s3.get("runs/r.parquet") == expected


def test_a_try_that_is_lost_after_it_has_sent_everything_leaves_nothing(
    s3: S3Server, pickling: list[PicklingEngine], parts_of_few_rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickling_engine, "LOSES_EVERY", 1)
    expected = made_by_the_local_engine(s3, body_of(SMALL_ROWS))
    gaecli.compute(URI, engine="pickling", normalize="all")
    assert s3.get("runs/r.parquet") == expected
    assert pickling[0].num_lost < pickling[0].num_sent
    assert s3.pending() == []


LEAST = LEAST_PART_BYTES


@pytest.mark.parametrize(
    ("places", "count"),
    [
        ([(0, LEAST), (LEAST, LEAST)], 2),
        ([(0, LEAST - 1), (LEAST - 1, LEAST)], 0),
        ([(0, LEAST), (LEAST, LEAST - 1), (2 * LEAST - 1, LEAST)], 1),
        ([(LEAST, LEAST)], 1),
        ([(LEAST - 1, LEAST)], 0),
        ([(0, LEAST), (LEAST + 1, LEAST)], 1),
        ([], 0),
    ],
)
def test_a_part_of_an_upload_that_is_not_the_last_has_5_mib(
    places: list[tuple[int, int]], count: int
) -> None:
    stored = [StoredBytes(BUCKET, "key", "tag", 4, length, target) for target, length in places]
    assert num_copyable(stored) == count
