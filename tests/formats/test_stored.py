"""What an earlier run stored may be anything by now."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.formats.stored import parse_document

GOOD = {"version": "0.1.0", "settings": {"gamma": 0.99}, "earlier": [{"columns": ["a"]}]}
BAD = {
    "NaN": '{"version": NaN}',
    "infinite": '{"settings": {"gamma": 1e999}}',
    "too many digits": '{"version": %s}' % ("9" * 5000),
    "deep": '{"earlier": ' * 40 + "{}" + "}" * 40,
    "deeper than the parser goes": '{"a":' + "[" * 5000 + "]" * 5000 + "}",
    "a list": "[1]",
    "cut off": '{"version": "0.1',
    "not UTF-8": b'{"version": "\xff"}',
}


def test_what_gaecli_stores_is_read() -> None:
    assert parse_document(json.dumps(GOOD)) == GOOD
    assert parse_document(json.dumps(GOOD).encode()) == GOOD
    assert parse_document(None) is None


@pytest.mark.parametrize("stored", BAD.values(), ids=BAD.keys())
def test_what_is_no_document_of_gaecli_is_none(stored: str | bytes) -> None:
    assert parse_document(stored) is None


@pytest.mark.parametrize("stored", BAD.values(), ids=BAD.keys())
def test_a_file_that_holds_it_is_inspected_as_somebody_elses(tmp_path, stored: str | bytes) -> None:
    table = pa.table({"reward": np.ones(3), "value": np.zeros(3), "done": [0, 0, 1], "advantage": np.ones(3)})
    path = tmp_path / "x.parquet"
    pq.write_table(table.replace_schema_metadata({"gaecli": stored}), path)
    document = gaecli.inspect(path)
    assert document.provenance is None
    assert [column.is_own for column in document.existing] == [False]
