"""Every flag of `gae compute`, by what it does to the numbers or to the files."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.rollout_files import (
    COUNT,
    LAST_ROWS,
    LENGTH,
    ROWS,
    advantages,
    columns,
    document_of,
    ok,
    write,
    write_npz,
    written,
)
from typer.testing import CliRunner

from gaecli.cli.main import app


def test_defaults_write_advantages_and_returns_into_the_file(run_gae, tmp_path):
    path = write(tmp_path / "r.parquet")
    ok(run_gae("compute", path))
    of = columns()
    assert written(path) == advantages(of)
    assert written(path, "return") == advantages(of) + of["value"]
    schema = pq.read_schema(path)
    assert schema.names == [*of, "advantage", "return"]
    assert schema.field("advantage").type == schema.field("return").type == pa.float32()
    for name, cells in of.items():
        assert pq.read_table(path)[name].to_pylist() == cells.tolist()


@pytest.mark.parametrize(
    ("gamma_flag", "lam_flag"),
    [("--gamma", "--lam"), ("-g", "-l"), ("-g", "--lambda"), ("-g", "--gae-lambda")],
)
def test_gamma_and_lambda_by_all_their_names(run_gae, tmp_path, gamma_flag, lam_flag):
    path = write(tmp_path / "r.parquet")
    ok(run_gae("compute", path, gamma_flag, "0.8", lam_flag, "0.5", "-q"))
    assert written(path) == advantages(columns(), 0.8, 0.5)


def test_bootstrap_says_what_stands_beyond_an_end_that_is_not_terminal(run_gae, tmp_path):
    of, path = columns(), write(tmp_path / "r.parquet")
    ok(run_gae("compute", path, "--bootstrap", "current", "-q"))
    assert written(path) == advantages(of, beyond=of["value"][LAST_ROWS].tolist())
    ok(run_gae("compute", path, "--bootstrap", "zero", "-q"))
    assert written(path) == advantages(of)
    result = run_gae("compute", path, "--bootstrap", "error", "-q")
    assert result.returncode == 3
    assert f"ends at row {LAST_ROWS[1]} of `{path}`" in result.stderr


def test_columns_by_any_name(run_gae, tmp_path):
    of = columns()
    next_values = np.full(ROWS, np.nan)
    next_values[LAST_ROWS] = [9.0, 1.5, 9.0, -2.5]
    table = pa.table(
        {
            "the reward": of["reward"],
            "vf [critic]": of["value"],
            "V+1": next_values,
            "over": of["terminated"],
            "time": of["truncated"],
            "which": np.repeat(np.arange(COUNT), LENGTH),
            "where": np.zeros(ROWS, np.int32),
            "when": np.tile(np.arange(LENGTH), COUNT),
        }
    )
    path = tmp_path / "r.parquet"
    pq.write_table(table, path)
    flags = {
        "reward": "the reward",
        "value": "vf [critic]",
        "next-value": "V+1",
        "terminated": "over",
        "truncated": "time",
        "episode": "which",
        "env": "where",
        "step": "when",
        "advantage": "Â",
        "return": "value target",
    }
    named = [part for role, name in flags.items() for part in (f"--{role}-column", name)]
    result = ok(run_gae("compute", path, "--json", *named))
    assert written(path, "Â") == advantages(of, beyond=next_values[LAST_ROWS].tolist())
    assert (
        written(path, "value target") == advantages(of, beyond=next_values[LAST_ROWS].tolist()) + of["value"]
    )
    used = document_of(result)["files"][0]["columns"]
    assert used == {
        role.replace("-", "_"): name for role, name in flags.items() if role not in ("advantage", "return")
    }


def test_a_done_column_at_the_end_and_at_the_start_of_its_step(run_gae, tmp_path):
    of = columns()
    ends = of["terminated"] | of["truncated"]
    starts = np.roll(ends, 1)
    starts[0] = True
    table = pa.table({"reward": of["reward"], "value": of["value"], "stop": ends, "go": starts})
    path = tmp_path / "r.parquet"
    pq.write_table(table, path)
    ok(run_gae("compute", path, "--done-column", "stop", "--done-at", "end", "-q"))
    at_end = pq.read_table(path)["advantage"]
    ok(run_gae("compute", path, "--done-column", "go", "--done-at", "start", "-q"))
    assert pq.read_table(path)["advantage"] == at_end
    of["terminated"] = ends  # a lone flag counts as terminal
    assert written(path) == advantages(of)


def test_layouts_and_values_beyond_the_last_step(run_gae, tmp_path):
    of = {name: cells.reshape(COUNT, LENGTH) for name, cells in columns().items()}
    beyond = np.array([7.0, 1.5, 7.0, -2.5])
    wanted = advantages(columns(), beyond=beyond.tolist()).reshape(COUNT, LENGTH)
    for layout, turn in (("batch-major", lambda array: array), ("time-major", lambda array: array.T)):
        path = tmp_path / f"{layout}.npz"
        np.savez(path, beyond=beyond, **{name: turn(array) for name, array in of.items()})
        ok(run_gae("compute", path, "--layout", layout, "--bootstrap-value-column", "beyond", "-q"))
        if layout == "time-major":  # a truncated end within the array knows nothing of the last value
            assert turn(np.load(path)["advantage"])[3] == pytest.approx(wanted[3], rel=1e-5)
        else:
            assert written(path) == wanted


def test_the_flags_after_the_last_step_close_what_would_be_open(run_gae, tmp_path):
    of = columns()
    starts = np.zeros((LENGTH, COUNT), np.bool_)
    starts[0] = True
    path = tmp_path / "r.npz"
    dense = {name: of[name].reshape(COUNT, LENGTH).T for name in ("reward", "value")}
    np.savez(path, starts=starts, after=np.array([True, False, True, False]), **dense)
    args = ("--layout", "time-major", "--done-column", "starts", "--done-at", "start")
    result = ok(run_gae("compute", path, *args, "--final-done-column", "after", "--json"))
    totals = document_of(result)["totals"]
    assert (totals["episodes"], totals["terminated"], totals["open"]) == (4, 2, 2)


def test_one_trajectory_without_flags_has_to_be_called_one(run_gae, tmp_path):
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({name: columns()[name] for name in ("reward", "value")}), path)
    assert run_gae("compute", path).returncode == 2
    result = ok(run_gae("compute", path, "--layout", "long", "--json"))
    assert document_of(result)["totals"]["episodes"] == 1


def test_normalization_by_all_its_flags(run_gae, tmp_path):
    path = write(tmp_path / "r.parquet")
    raw = advantages(columns())
    flags = ("--norm-ddof", "0", "--norm-eps", "0.5", "--norm-floor", "rsqrt", "--keep-raw")
    ok(run_gae("compute", path, "--normalize", "all", *flags, "-q"))
    assert written(path) == (raw - raw.mean()) / np.sqrt(raw.var() + 0.5)
    assert written(path, "advantage_raw") == raw
    assert written(path, "return") == raw + columns()["value"]
    ok(run_gae("compute", path, "--normalize", "episode", "-q"))
    by_episode = raw.reshape(COUNT, LENGTH)
    spread = by_episode.std(axis=1, ddof=1, keepdims=True) + 1e-8
    assert written(path) == ((by_episode - by_episode.mean(axis=1, keepdims=True)) / spread).reshape(-1)


def test_normalization_by_a_column(run_gae, tmp_path):
    task = np.arange(ROWS) % 3
    path = write(tmp_path / "r.parquet", task=task)
    result = ok(run_gae("compute", path, "--normalize-by", "task", "--json"))
    raw = advantages(columns())
    wanted = np.empty(ROWS)
    for number in range(3):
        group = raw[task == number]
        wanted[task == number] = (group - group.mean()) / (group.std(ddof=1) + 1e-8)
    assert written(path) == wanted
    normalization = document_of(result)["normalization"]
    assert (normalization["scope"], normalization["num_groups"]) == ("by task", 3)


def test_over_all_or_each_of_several_files(run_gae, tmp_path):
    paths = [write(tmp_path / f"{seed}.parquet", seed) for seed in range(2)]
    raw = [advantages(columns(seed)) for seed in range(2)]
    ok(run_gae("compute", *paths, "--normalize", "all", "-q"))
    union = np.concatenate(raw)
    for path, one in zip(paths, raw, strict=True):
        assert written(path) == (one - union.mean()) / (union.std(ddof=1) + 1e-8)
    ok(run_gae("compute", *paths, "--normalize", "file", "-q"))
    for path, one in zip(paths, raw, strict=True):
        assert written(path) == (one - one.mean()) / (one.std(ddof=1) + 1e-8)


def test_joined_files_are_one_stream(run_gae, tmp_path):
    table = pa.table({name: columns()[name] for name in ("reward", "value", "terminated", "truncated")})
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    pq.write_table(table.slice(0, 20), paths[0])
    pq.write_table(table.slice(20), paths[1])
    joined = document_of(ok(run_gae("compute", "--join", *paths, "--json")))
    assert joined["totals"]["episodes"] == COUNT
    assert joined["streams"] == "one stream of 2 files"
    found = np.concatenate([np.array(pq.read_table(path)["advantage"].to_pylist()) for path in paths])
    assert found == pytest.approx(advantages(columns()), rel=1e-5)
    apart = document_of(ok(run_gae("compute", "--no-join", *paths, "--json")))
    assert apart["totals"]["episodes"] == COUNT + 1


def test_dropped_episodes_are_null(run_gae, tmp_path):
    of = columns()
    of["reward"][20] = np.nan
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(of), path)
    assert run_gae("compute", path).returncode == 3
    result = ok(run_gae("compute", path, "--on-nan", "drop-episode", "--json"))
    nulls = pq.read_table(path)["advantage"].is_null().to_pylist()
    assert nulls == [LENGTH <= row < 2 * LENGTH for row in range(ROWS)]
    assert document_of(result)["totals"]["episodes"] == COUNT - 1


def test_torch_in_double_and_in_single_precision(tmp_path):
    """In this process, which has imported torch."""
    pytest.importorskip("torch")
    path = write(tmp_path / "r.parquet")

    def computed(*flags: str) -> dict[str, Any]:
        return json.loads(CliRunner().invoke(app, ["compute", str(path), *flags, "--json"]).stdout)

    document = computed("--device", "cpu")
    assert written(path) == advantages(columns())
    assert document["device"] == "cpu"
    assert document["backend"].startswith("torch")
    document = computed("--precision", "single")
    found = np.array(pq.read_table(path)["advantage"].to_pylist())
    assert found == pytest.approx(advantages(columns()), rel=2e-6, abs=2e-6)
    assert document["settings"]["precision"] == "single"


def test_memory_and_jobs_change_no_byte(run_gae, tmp_path):
    contents = []
    for flags in (("--memory", "1MiB", "--jobs", "1"), ("--memory", "2e9", "-j", "3")):
        path = write(tmp_path / "r.parquet")
        ok(run_gae("compute", path, *flags, "--normalize", "all", "-q"))
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_an_output_file_leaves_the_input_alone(run_gae, tmp_path):
    path = write(tmp_path / "r.parquet")
    before = path.read_bytes(), path.stat().st_mtime_ns
    ok(run_gae("compute", path, "-o", tmp_path / "out.parquet", "-q"))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert written(tmp_path / "out.parquet") == advantages(columns())


def test_an_output_directory_keeps_the_names_below_the_input(run_gae, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    write(tmp_path / "in" / "a.parquet")
    write_npz(tmp_path / "in" / "deep" / "b.npz")
    ok(run_gae("compute", tmp_path / "in", "--output", tmp_path / "out", "-q"))
    assert written(tmp_path / "out" / "a.parquet") == advantages(columns())
    assert written(tmp_path / "out" / "deep" / "b.npz") == advantages(columns())


def test_a_slash_at_the_end_means_a_directory(run_gae, tmp_path):
    path = write(tmp_path / "r.parquet")
    ok(run_gae("compute", path, "-o", f"{tmp_path}/new/", "-q"))
    assert written(tmp_path / "new" / "r.parquet") == advantages(columns())


def test_a_sidecar_has_keys_and_new_columns_only(run_gae, tmp_path):
    episodes, steps = np.repeat(["a", "b", "c", "d"], LENGTH), np.tile(np.arange(LENGTH), COUNT)
    path = write(tmp_path / "r.parquet", episode_id=episodes, step=steps)
    before = path.read_bytes()
    ok(run_gae("compute", path, "--sidecar", "-q"))
    assert path.read_bytes() == before
    sidecar = pq.read_table(tmp_path / "r.gae.parquet")
    assert sidecar.column_names == ["episode_id", "step", "advantage", "return"]
    assert sidecar["episode_id"].to_pylist() == episodes.tolist()
    assert sidecar["step"].to_pylist() == steps.tolist()
    assert written(tmp_path / "r.gae.parquet") == advantages(columns())


def test_a_sidecar_without_keys_has_row_numbers(run_gae, tmp_path):
    path = write_npz(tmp_path / "r.npz")
    ok(run_gae("compute", path, "--sidecar", "-q"))
    sidecar = pq.read_table(tmp_path / "r.gae.parquet")
    assert sidecar["row"].to_pylist() == list(range(ROWS))
    assert written(tmp_path / "r.gae.parquet") == advantages(columns())


def test_a_sidecar_needs_no_leave_for_columns_of_the_file(run_gae, tmp_path):
    path = write(tmp_path / "r.parquet", advantage=np.zeros(ROWS))
    assert run_gae("compute", path).returncode == 2
    ok(run_gae("compute", path, "--sidecar", "-q"))
    assert written(tmp_path / "r.gae.parquet") == advantages(columns())


def test_overwrite_is_leave_to_replace_a_foreign_column(run_gae, tmp_path):
    path = write(tmp_path / "r.parquet", **{"return": np.zeros(ROWS), "more": np.arange(ROWS)})
    refused = run_gae("compute", path)
    assert refused.returncode == 2
    assert "`return` already, which carries no mark" in refused.stderr
    assert "--overwrite" in refused.stderr
    assert "--return-column" in refused.stderr
    ok(run_gae("compute", path, "--overwrite", "-q"))
    assert written(path, "return") == advantages(columns()) + columns()["value"]
    assert pq.read_table(path)["more"].to_pylist() == list(range(ROWS))


@pytest.mark.parametrize("more", [(), ("-o", "out.parquet"), ("--sidecar",)])
def test_a_dry_run_computes_and_writes_nothing(run_gae, tmp_path, more):
    path = write(tmp_path / "r.parquet")
    before = path.read_bytes(), path.stat().st_mtime_ns
    result = ok(run_gae("compute", path, "--dry-run", "--json", *more, cwd=tmp_path))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.parquet"]
    document = document_of(result)
    assert document["files"][0]["status"] == "dry run"
    raw = advantages(columns())
    assert document["columns"]["advantage"]["mean"] == pytest.approx(raw.mean())
    assert document["columns"]["advantage"]["std"] == pytest.approx(raw.std(ddof=1))
