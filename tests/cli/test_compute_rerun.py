"""The same command again: nothing is done twice, and nothing that changed is missed."""

from __future__ import annotations

import json
import os
import shutil
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.rollout_files import ROWS, advantages, columns, document_of, ok, write, write_npz, written

import gaecli


def statuses(result) -> list[str]:
    return [file["status"] for file in document_of(ok(result))["files"]]


def state(path) -> tuple[bytes, int, int]:
    return path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino


@pytest.mark.turns
@pytest.mark.parametrize("make", [lambda f: write(f / "r.parquet"), lambda f: write_npz(f / "r.npz")])
@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--normalize", "all", "--keep-raw"),
        ("--advantage-column", "a", "--bootstrap", "current"),
        ("-o", "elsewhere/"),
        ("--sidecar",),
    ],
    ids=" ".join,
)
def test_the_second_run_says_up_to_date_and_touches_nothing(run_gae, tmp_path, make, flags):
    path = make(tmp_path)
    first = document_of(ok(run_gae("compute", path, *flags, "--json", cwd=tmp_path)))
    (file,) = first["files"]
    assert file["status"] == "written"
    target = tmp_path / file["output"]
    before = state(path), state(target)
    second = document_of(ok(run_gae("compute", path, *flags, "--json", cwd=tmp_path)))
    assert second["files"][0]["status"] == "up to date"
    assert (state(path), state(target)) == before
    assert second["totals"] == first["totals"]
    assert second["bootstrapped"] == first["bootstrapped"]


def test_a_rewrite_is_as_current_as_a_splice(tmp_path):
    """The foreign column stands among the others, so that the file is written anew."""
    path = tmp_path / "r.parquet"
    of = columns()
    pq.write_table(pa.table({"advantage": np.zeros(ROWS), **of}), path)
    first = gaecli.compute(path, overwrite=True)
    assert first.files[0].method.startswith("rewrite")
    assert gaecli.compute(path).files[0].status == "up to date"
    assert written(path) == advantages(of)


def test_two_sets_of_columns_are_both_current(tmp_path):
    path = write(tmp_path / "r.parquet")
    first = {"gamma": 0.9}
    second = {"gamma": 0.8, "advantage_column": "a8", "return_column": "r8"}
    for settings in (first, second):
        assert gaecli.compute(path, **settings).files[0].status == "written"
    for settings in (first, second):
        assert gaecli.compute(path, **settings).files[0].status == "up to date"
    assert written(path) == advantages(columns(), 0.9)
    assert written(path, "a8") == advantages(columns(), 0.8)


@pytest.mark.few(5)
@pytest.mark.parametrize(
    "settings",
    [
        {"gamma": 0.5},
        {"lam": 0.5},
        {"bootstrap": "current"},
        {"normalize": "all"},
        {"norm_eps": 1e-3},
        {"precision": "single"},
        {"columns": {"truncated": "none"}},
    ],
    ids=str,
)
def test_other_settings_are_computed_again(tmp_path, settings):
    path = write(tmp_path / "r.parquet")
    gaecli.compute(path)
    assert gaecli.compute(path, **settings).files[0].status == "written"


def test_how_it_is_computed_is_no_setting(tmp_path):
    path = write(tmp_path / "r.parquet")
    gaecli.compute(path)
    for options in ({"jobs": 2}, {"memory_bytes": 1 << 21}, {"overwrite": True}, {"dry_run": True}):
        assert gaecli.compute(path, **options).files[0].status == "up to date"


def test_another_version_computes_again(tmp_path, monkeypatch):
    from gaecli.writing import provenance

    path = write(tmp_path / "r.parquet")
    gaecli.compute(path)
    monkeypatch.setattr(provenance, "__version__", "99.0")
    assert gaecli.compute(path).files[0].status == "written"


@pytest.mark.parametrize("writer", ["pandas", "pyarrow"])
def test_a_file_that_was_written_anew_without_our_mark_has_foreign_columns(tmp_path, writer):
    path = write(tmp_path / "r.parquet")
    gaecli.compute(path)
    if writer == "pandas":
        pd.read_parquet(path).assign(reward=0.0).to_parquet(path)
    else:
        pq.write_table(pq.read_table(path), path)
    with pytest.raises(gaecli.UsageError, match="which carries no mark"):
        gaecli.compute(path)


def with_metadata(table):
    """pyarrow hands the metadata of a file on to the next one where its schema has any, as pandas' have."""
    return table.replace_schema_metadata({"somebody": "else"})


PLAIN = {"use_dictionary": False, "compression": "none"}


@pytest.mark.parametrize("how", [{}, {"use_dictionary": False}, {"compression": "none"}, PLAIN], ids=str)
def test_a_cell_that_pyarrow_changed_is_computed_with_although_the_file_says_it_is_ours(tmp_path, how):
    """pyarrow carries the provenance over; the numbers take the very room that the old ones took."""
    path = tmp_path / "r.parquet"
    of = columns()
    pq.write_table(with_metadata(pa.table(of)), path, **how)
    gaecli.compute(path)
    size = path.stat().st_size
    table = pq.read_table(path)
    assert b"gaecli" in table.schema.metadata
    of["reward"][30] = of["reward"][31]  # within the range that the statistics of the column tell
    table = table.set_column(table.column_names.index("reward"), "reward", pa.array(of["reward"]))
    pq.write_table(table, path, **how)
    assert abs(path.stat().st_size - size) < 4096
    assert gaecli.compute(path).files[0].status == "written"
    assert written(path) == advantages(of)
    assert gaecli.compute(path).files[0].status == "up to date"


def test_a_result_that_pyarrow_changed_is_computed_again(tmp_path):
    path = tmp_path / "r.parquet"
    pq.write_table(with_metadata(pa.table(columns())), path, **PLAIN)
    gaecli.compute(path)
    table = pq.read_table(path)
    wrong = pa.array(np.zeros(ROWS, np.float32))
    index = table.column_names.index("advantage")
    pq.write_table(table.set_column(index, "advantage", wrong), path, **PLAIN)
    assert gaecli.compute(path).files[0].status == "written"
    assert written(path) == advantages(columns())


@pytest.mark.parametrize("flags", [{"output": "out"}, {"sidecar": True}], ids=str)
def test_new_rollouts_under_the_old_name_are_computed_although_the_output_is_there(tmp_path, flags):
    """Every iteration of a training loop writes a file of the same shape, to the byte."""
    path = tmp_path / "r.parquet"
    if "output" in flags:
        flags = {"output": tmp_path / "out.parquet"}
    target = tmp_path / "out.parquet" if "output" in flags else tmp_path / "r.gae.parquet"
    sizes = set()
    for seed in range(3):
        of = columns()
        of["reward"] = columns(seed)["reward"]
        of["reward"][:2] = (-9.0, 9.0)  # the same statistics as well
        pq.write_table(pa.table(of), path, use_dictionary=False, compression="none")
        sizes.add(path.stat().st_size)
        assert gaecli.compute(path, **flags).files[0].status == "written"
        assert written(target) == advantages(of)
        assert gaecli.compute(path, **flags).files[0].status == "up to date"
    assert len(sizes) == 1


def test_an_output_that_is_gone_is_written_again(tmp_path):
    path, output = write(tmp_path / "r.parquet"), tmp_path / "out.parquet"
    for _ in range(2):
        assert gaecli.compute(path, output).files[0].status == "written"
        output.unlink()


def test_a_copy_is_as_current_as_the_file(tmp_path):
    path = write(tmp_path / "r.parquet")
    gaecli.compute(path)
    shutil.copyfile(path, tmp_path / "copy.parquet")
    assert gaecli.compute(tmp_path / "copy.parquet").files[0].status == "up to date"


def test_columns_that_were_dropped_are_written_again(tmp_path):
    path = tmp_path / "r.parquet"
    pq.write_table(with_metadata(pa.table(columns())), path)
    gaecli.compute(path)
    pq.write_table(pq.read_table(path).drop_columns(["return"]), path)
    assert gaecli.compute(path).files[0].status == "written"
    assert "return" in pq.read_schema(path).names


def test_normalization_over_all_files_depends_on_all_files(tmp_path):
    paths = [write(tmp_path / f"{seed}.parquet", seed) for seed in range(3)]
    gaecli.compute(paths, normalize="all")
    assert {file.status for file in gaecli.compute(paths, normalize="all").files} == {"up to date"}
    again = gaecli.compute(paths[:2], normalize="all")
    assert {file.status for file in again.files} == {"written"}
    write(paths[2], seed=9)
    again = gaecli.compute(paths, normalize="all")
    assert {file.status for file in again.files} == {"written"}


def test_of_a_killed_run_over_all_files_only_what_is_missing_is_written(tmp_path):
    paths = [write(tmp_path / f"{seed}.parquet", seed) for seed in range(3)]
    gaecli.compute(paths, normalize="all")
    wanted = [path.read_bytes() for path in paths]
    write(paths[1], seed=1)  # as it was before
    before = state(paths[0]), state(paths[2])
    again = gaecli.compute(paths, normalize="all")
    assert [file.status for file in again.files] == ["up to date", "written", "up to date"]
    assert (state(paths[0]), state(paths[2])) == before
    assert [path.read_bytes() for path in paths] == wanted


def test_a_file_that_always_fails_does_not_make_the_others_be_done_again(tmp_path):
    paths = [write(tmp_path / f"{seed}.parquet", seed) for seed in range(2)]
    paths.append(write(tmp_path / "bad.parquet", reward=[float("nan")] * ROWS))
    first = gaecli.compute(paths, normalize="all")
    assert [file.status for file in first.files] == ["written", "written", "failed"]
    again = gaecli.compute(paths, normalize="all")
    assert [file.status for file in again.files] == ["up to date", "up to date", "failed"]
    write(paths[2], reward=[float("inf")] * ROWS)  # bad in another way, and as little part of the result
    again = gaecli.compute(paths, normalize="all")
    assert [file.status for file in again.files] == ["up to date", "up to date", "failed"]
    raw = np.concatenate([advantages(columns(seed)) for seed in range(2)])
    assert written(paths[0]) == (raw[:ROWS] - raw.mean()) / (raw.std(ddof=1) + 1e-8)


# What is remembered


def provenance_of(path) -> dict:
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.comment)["gaecli"]
    return json.loads(pq.read_metadata(path).metadata[b"gaecli"])


@pytest.mark.parametrize("make", [lambda f: write(f / "r.parquet"), lambda f: write_npz(f / "r.npz")])
def test_the_file_says_how_its_columns_came_about(run_gae, tmp_path, make):
    path = make(tmp_path)
    ok(run_gae("compute", path, "--gamma", "0.9", "--normalize", "all", "--value-column", "value", "-q"))
    document = provenance_of(path)
    assert document["version"] == gaecli.__version__
    assert document["settings"]["gamma"] == 0.9
    assert document["settings"]["columns"] == {"value": "value"}
    assert document["columns"] == ["advantage", "return"]
    assert document["roles"]["reward"] == "reward"
    assert document["layout"] == "long"
    assert document["counts"] == {"steps": ROWS, "episodes": 4, "terminated": 2, "truncated": 1, "open": 1}
    assert document["bootstrapped"] == {"next_value": 0, "zero": 2, "current": 0}
    raw = advantages(columns(), 0.9)
    (group,) = document["normalization"]
    assert group["count"] == ROWS
    assert group["mean"] == pytest.approx(raw.mean())
    assert group["std"] == pytest.approx(raw.std(ddof=1))
    assert str(tmp_path) not in json.dumps(document)


@pytest.mark.parametrize(
    "nonsense",
    [
        "[1, 2]",
        "{}",
        '{"columns": 5, "earlier": "x"}',
        '{"columns": [["a"], {}], "settings": []}',
        "\\",
        "[" * 9999,
    ],
    ids=range(6),
)
def test_a_provenance_that_somebody_edited_is_no_provenance(tmp_path, nonsense):
    parquet, npz = tmp_path / "r.parquet", tmp_path / "r.npz"
    pq.write_table(pa.table(columns()).replace_schema_metadata({"gaecli": nonsense}), parquet)
    write_npz(npz)
    with zipfile.ZipFile(npz, "a") as archive:
        archive.comment = f'{{"gaecli": {nonsense}}}'.encode()
    for path in (parquet, npz):
        assert gaecli.compute(path).files[0].status == "written"
        assert written(path) == advantages(columns())


def test_files_without_the_mark_of_another_writer_are_read_by_all_of_them(tmp_path):
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    path = write(tmp_path / "r.parquet")
    gaecli.compute(path)
    wanted = pq.read_table(path)["advantage"].to_pylist()
    assert polars.read_parquet(path)["advantage"].to_list() == wanted
    found = duckdb.sql(f"select advantage from '{os.fspath(path)}'").fetchall()
    assert [row[0] for row in found] == wanted
    assert pd.read_parquet(path)["advantage"].tolist() == wanted
