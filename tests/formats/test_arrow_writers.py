"""Arrow files and streams of all writers: read, given columns, and still what their own readers take."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from formats.arrow_writers import DATA, PASSENGERS, STEPS, WRITERS, Written, advantages

import gaecli
from gaecli.errors import FileError
from gaecli.formats.base import WritePlan
from gaecli.formats.registry import open_file

OURS = ("advantage", "return")


@pytest.fixture(scope="module", params=WRITERS, ids=str)
def written(request: pytest.FixtureRequest) -> Written:
    return WRITERS[request.param]


@pytest.fixture(scope="module")
def path(written: Written, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As its writer left it."""
    place = tmp_path_factory.mktemp("written") / f"rollouts{written.suffix}"
    written.write(place)
    return place


@pytest.fixture(scope="module")
def computed(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with our columns, in place."""
    place = tmp_path_factory.mktemp("computed") / path.name
    shutil.copyfile(path, place)
    assert gaecli.compute(place).exit_code == 0
    return place


def read(path: Path) -> tuple[list[pa.RecordBatch], list[dict | None], dict | None]:
    """The batches, the metadata of each, and that of the footer."""
    with pa.OSFile(str(path)) as source:
        if path.suffix == ".arrows":
            found = list(pa.ipc.open_stream(source).iter_batches_with_custom_metadata())
            return [batch for batch, _ in found], [notes and dict(notes) for _, notes in found], None
        file = pa.ipc.open_file(source)
        found = [file.get_batch_with_custom_metadata(number) for number in range(file.num_record_batches)]
        return [batch for batch, _ in found], [notes and dict(notes) for _, notes in found], file.metadata


def test_the_numbers_are_right(computed: Path) -> None:
    batches, _, _ = read(computed)
    found = pa.Table.from_batches(batches)
    np.testing.assert_allclose(found.column("advantage").to_pylist(), advantages(), rtol=1e-6)
    returns = [a + v for a, v in zip(advantages(), STEPS["value"], strict=True)]
    np.testing.assert_allclose(found.column("return").to_pylist(), returns, rtol=1e-6)


def test_everything_else_stays(written: Written, path: Path, computed: Path) -> None:
    before, notes_before, footer_before = read(path)
    after, notes_after, footer_after = read(computed)
    assert [batch.num_rows for batch in after] == list(written.num_rows)
    for old, new in zip(before, after, strict=True):
        kept = new.drop_columns(list(OURS))
        kept.validate(full=True)
        assert kept.to_pydict() == old.to_pydict()
        assert kept.schema.remove_metadata().equals(old.schema.remove_metadata(), check_metadata=True)
        metadata = {key: value for key, value in kept.schema.metadata.items() if key != b"gaecli"}
        assert metadata == (old.schema.metadata or {})
    assert notes_after == notes_before
    assert footer_after == footer_before
    assert open_file(computed).batches.codec == written.codec


@pytest.mark.few(12)
def test_a_second_run_is_up_to_date(computed: Path) -> None:
    assert gaecli.compute(computed).files[0].status == "up to date"


def test_rows_come_in_blocks_of_any_size(path: Path) -> None:
    file = open_file(path)
    names = ["episode_id", "reward", "done"]
    found: dict[str, list[float]] = {name: [] for name in names}
    stops = [0]
    for unit in file.units(3, "reward"):
        for start, stop, columns in file.blocks(unit, names, 3):
            assert start == stops[-1]
            assert stop - start <= 3
            stops.append(stop)
            for name in names:
                found[name] += columns[name].values.tolist()
    assert found == {name: STEPS[name] for name in names}


@pytest.mark.few(16)
def test_polars_reads_the_result(written: Written, path: Path, computed: Path) -> None:
    pl = pytest.importorskip("polars")
    opened = pl.read_ipc_stream if written.is_stream else pl.read_ipc
    before = opened(path) if written.is_for_polars else None
    found = opened(computed)
    np.testing.assert_allclose(found["advantage"].to_list(), advantages(), rtol=1e-6)
    assert before is None or found.drop(OURS).equals(before)
    assert before is None or found.drop(OURS).schema == before.schema


def test_arro3_reads_the_result(written: Written, computed: Path) -> None:
    arro3 = pytest.importorskip("arro3.io")
    opened = arro3.read_ipc_stream if written.is_stream else arro3.read_ipc
    found = pa.table(opened(str(computed)).read_all())
    np.testing.assert_allclose(found.column("advantage").to_pylist(), advantages(), rtol=1e-6)


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(config={"threads": 1}) as database:  # several list the batches in any order
        yield database


@pytest.mark.few(16)
def test_duckdb_reads_the_result(computed: Path, database: Any) -> None:
    batches, _, _ = read(computed)
    rows = pa.Table.from_batches(batches)
    # It has no type for halves.
    database.register("rows", rows.select([n for n in rows.column_names if n != "half"]))
    ((found,),) = database.sql("SELECT list(advantage) FROM rows").fetchall()
    np.testing.assert_allclose(found, advantages(), rtol=1e-6)


@pytest.mark.skipif(
    not os.environ.get("APACHE_ARROW"), reason="APACHE_ARROW: a node_modules with apache-arrow"
)
def test_javascript_reads_the_result(written: Written, path: Path, tmp_path: Path) -> None:
    if written.codec is not None:
        pytest.skip("it brings no codecs")
    output = tmp_path / f"output{written.suffix}"
    gaecli.compute(path, output=output)
    done = subprocess.run(
        ["node", DATA / "read_npm.js", path, output],
        env={**os.environ, "NODE_PATH": os.environ["APACHE_ARROW"]},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(json.loads, done.stdout.splitlines())
    np.testing.assert_allclose(after["columns"]["advantage"], advantages(), rtol=1e-6)
    assert {name: after["columns"][name] for name in before["columns"]} == before["columns"]
    assert after["batches"] == before["batches"]


@pytest.mark.parametrize("file", sorted(DATA.glob("*.arrow*")), ids=lambda file: file.name)
def test_the_fixtures_hold_the_rows_of_all_others(file: Path) -> None:
    rows = pa.Table.from_batches(read(file)[0]).to_pydict()
    assert rows == {**STEPS, **{name: cells.to_pylist() for name, cells in PASSENGERS.items()}}


def test_metadata_that_an_older_pyarrow_would_lose_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.arrow"
    WRITERS["pyarrow file, all metadata"].write(path)
    file = open_file(path)
    file.metadata = {}  # as with a pyarrow that reads none
    with pytest.raises(FileError, match="metadata in its footer"):
        file.writer(tmp_path / "new.arrow", WritePlan({"advantage": np.dtype(np.float32)}))
    assert [place.name for place in tmp_path.iterdir()] == ["rollouts.arrow"]


def test_a_polars_file_has_no_framed_message_at_its_start(tmp_path: Path) -> None:
    """What made it unreadable for those who start there; else the tests above would test nothing."""
    path = tmp_path / "polars.arrow"
    WRITERS["polars file, newest, plain"].write(path)
    assert path.read_bytes()[8:12] != b"\xff\xff\xff\xff"


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("kind", ["no batches", "one batch of no rows"])
def test_files_without_rows(is_stream: bool, kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("empty.arrows" if is_stream else "empty.arrow")
    table = pa.table({name: pa.array([], pa.float64()) for name in ("reward", "value", "done")})
    with (pa.ipc.new_stream if is_stream else pa.ipc.new_file)(path, table.schema) as writer:
        if kind != "no batches":
            writer.write_batch(
                pa.RecordBatch.from_pydict({name: [] for name in table.column_names}, schema=table.schema)
            )
    gaecli.compute(path)
    batches, _, _ = read(path)
    assert [batch.num_rows for batch in batches] == ([] if kind == "no batches" else [0])
    assert open_file(path).schema.names == ["reward", "value", "done", *OURS]


def test_nan_and_null_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "passengers.arrow"
    table = pa.table({**STEPS, "x": [1.0, None, math.nan, 2, 3, 4, 5, 6]})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    gaecli.compute(path)
    cells = pa.Table.from_batches(read(path)[0]).column("x").to_pylist()
    assert cells[1] is None
    assert math.isnan(cells[2])
