"""Whose columns are whose, over several runs on one file."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.errors import UsageError
from gaecli.pipeline.provenance import is_up_to_date
from gaecli.settings import Settings


@pytest.fixture
def path(copy_sample) -> Path:
    return copy_sample("pendulum.parquet")


def status(path: Path, **settings: object) -> str:
    (file,) = gaecli.compute(path, **settings).files
    return file.status


def test_a_column_stays_ours_when_another_of_its_run_is_replaced(path):
    assert status(path) == "written"
    # `return` is written anew, `advantage` stays: it is no column of somebody else now.
    assert status(path, advantage_column="whitened", normalize="all") == "written"
    assert status(path, gamma=0.5) == "written"
    assert pq.read_schema(path).names[-3:] == ["whitened", "advantage", "return"]


def test_a_run_is_not_up_to_date_once_one_of_its_columns_was_replaced(path):
    assert status(path) == "written"
    before = pq.read_table(path)
    assert status(path, advantage_column="other", gamma=0.5) == "written"
    assert status(path) == "written"
    after = pq.read_table(path)
    assert after.select(["advantage", "return"]).equals(before.select(["advantage", "return"]))


def test_two_runs_with_columns_of_their_own_are_both_up_to_date(path):
    second = {"advantage_column": "a2", "return_column": "r2", "gamma": 0.5}
    assert [status(path), status(path, **second)] == ["written", "written"]
    assert [status(path), status(path, **second)] == ["up to date", "up to date"]


def test_a_column_of_somebody_else_is_refused(path):
    table = pq.read_table(path)
    pq.write_table(table.append_column("advantage", table["reward"]), path)
    with pytest.raises(UsageError, match="did not write"):
        gaecli.compute(path)


def test_an_entry_that_lost_a_column_is_of_no_use(path):
    gaecli.compute(path)
    entry = json.loads(pq.read_metadata(path).metadata[b"gaecli"])
    facts = {
        "payload": entry["payload"],
        "source": None,
        "inputs": entry["inputs"],
        "names": ["advantage", "return"],
    }
    assert is_up_to_date(entry, Settings(), **facts) == entry
    assert is_up_to_date({**entry, "columns": ["advantage"]}, Settings(), **facts) is None
