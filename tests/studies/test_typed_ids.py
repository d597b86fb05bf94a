"""`--episode`: what a listing prints is taken, and so are other ways to write the same moment."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.errors import DataError, UsageError
from gaecli.report.listings import episode_lines
from gaecli.report.text import Canvas

NOON = dt.datetime(2024, 3, 1, 12, 0, 0, 123000)
UUIDS = ["0b9f4f0e-6a3e-4b52-9a2f-3d8f3a1c9e01", "0b9f4f0e-6a3e-4b52-9a2f-3d8f3a1c9e02"]
LONG = [f"{'prompt ' * 30}{number}" for number in range(2)]


def written(tmp_path: Path, ids: list[Any], kind: pa.DataType) -> Path:
    """Two episodes of three steps."""
    path = tmp_path / "r.parquet"
    columns = {"episode_id": pa.array(np.repeat(np.array(ids, object), 3).tolist(), kind)}
    columns |= {"reward": np.arange(6.0), "value": np.ones(6), "terminated": np.arange(6) % 3 == 2}
    pq.write_table(pa.table(columns), path)
    return path


def hours(*more: int) -> list[dt.datetime]:
    return [NOON + dt.timedelta(hours=number) for number in more]


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (hours(0, 1), pa.timestamp("us")),
        (hours(0, 1), pa.timestamp("ms", "Europe/Berlin")),
        ([dt.timedelta(seconds=90), dt.timedelta(days=2)], pa.duration("s")),
        ([Decimal("1.50"), Decimal("2.50")], pa.decimal128(9, 2)),
        ([1234567.25, 1234567.5], pa.float64()),
        ([b"a\x00", b"b"], pa.binary()),
        (LONG, pa.string()),
    ],
)
def test_what_is_listed_is_taken(tmp_path: Path, ids: list[Any], kind: pa.DataType) -> None:
    path = written(tmp_path, ids, kind)
    info = gaecli.inspect(path, episodes=True)
    _, _, *lines = (line.plain for line in episode_lines(info.episodes, Canvas(80)))
    printed = [re.split(r"\s{2,}", line.strip())[1] for line in lines[:2]]
    for number, text in enumerate(printed):
        assert gaecli.explain(path, episode=text, step=1).row == 3 * number + 1


@pytest.mark.parametrize(
    ("zone", "typed"),
    [
        (None, "2024-03-01T12:00:00.123"),
        ("Europe/Berlin", "2024-03-01 13:00:00.123+01:00"),
        ("Europe/Berlin", "2024-03-02T00:30:00.123+1230"),
    ],
)
def test_a_moment_may_be_typed_in_other_words(tmp_path: Path, zone: str | None, typed: str) -> None:
    path = written(tmp_path, hours(1, 0), pa.timestamp("us", zone))
    assert gaecli.explain(path, episode=typed, step=0).row == 3


def test_another_moment_is_not_taken_for_it(tmp_path: Path) -> None:
    """Nor is a text that a column of texts does not have, or a time without the zone that ids have."""
    for kind, ids, typed in (
        (pa.timestamp("us"), hours(0, 1), "2024-03-01T12:00:00"),
        (pa.timestamp("us", "UTC"), hours(0, 1), "2024-03-01T12:00:00.123"),
        (pa.string(), ["2024-03-01 12:00", "x"], "2024-03-01T12:00"),
    ):
        with pytest.raises(DataError, match="no row of"):
            gaecli.explain(written(tmp_path, ids, kind), episode=typed, step=0)


def test_an_id_that_was_cut_is_taken_where_it_is_one(tmp_path: Path) -> None:
    path = written(tmp_path, UUIDS, pa.string())
    assert gaecli.explain(path, episode="0b9f…02", step=0).row == 3
    with pytest.raises(UsageError, match="2 ids read"):
        gaecli.explain(path, episode="0b9f…", step=0)
