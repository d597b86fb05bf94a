"""Flags with odd values, and messages about many files at once."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from gaecli.cli.main import app
from gaecli.commands.inspect import inspect
from gaecli.commands.sweep import sweep
from gaecli.errors import UsageError
from gaecli.formats.registry import open_file
from gaecli.missing_columns import columns_there
from gaecli.report.overview import overview_lines
from gaecli.report.text import Canvas


def write(path, **columns):
    table = {"reward": [1.0, 2.0], "value": [0.5, 0.5], "terminated": [False, True], **columns}
    pq.write_table(pa.table(table), path)
    return path


def test_a_negative_number_of_rows_is_refused(tmp_path):
    path = write(tmp_path / "r.parquet")
    error = CliRunner().invoke(app, ["inspect", str(path), "--head", "-3"]).exception
    assert isinstance(error, UsageError)
    assert "`--head` is -3" in error.message


@pytest.mark.parametrize("command", ["inspect", "check", "sweep"])
def test_what_a_preset_asks_for_can_be_answered(tmp_path, command):
    path = tmp_path / "r.npz"
    zeros = np.zeros((4, 2))
    masks = np.vstack([np.ones((3, 2)), np.zeros((2, 2))])
    np.savez(path, rewards=zeros, value_preds=np.zeros((5, 2)), masks=masks, bad_masks=np.ones((5, 2)))
    arguments = [command, str(path), "--preset", "ikostrikov"]
    assert CliRunner().invoke(app, [*arguments, "--truncation", "drop"]).exit_code == 0


def test_inspect_leaves_out_episodes_that_compute_leaves_out(tmp_path):
    path = write(tmp_path / "r.parquet", reward=[1.0, float("nan")])
    actions = []
    for flags in ([], ["--on-nan", "drop-episode"]):
        found = CliRunner().invoke(app, ["inspect", str(path), "--json", *flags])
        actions.append(json.loads(found.stdout)["files"][0]["plan"]["action"])
    assert actions == ["refuse", "write"]


def test_the_overview_of_many_inputs_counts_their_warnings(tmp_path):
    flags = [[False, True], [False, True], [False, True], [False, False]]
    paths = [write(tmp_path / f"{n}.parquet", terminated=ends) for n, ends in enumerate(flags)]
    infos = inspect(paths).infos
    told = sum(len(info.warnings) for info in infos)
    assert told
    words = " ".join(line.plain for line in overview_lines(infos, Canvas(100)))
    assert f"{told} warning" in words


def test_an_error_of_a_stream_is_told_once_with_a_count(tmp_path):
    for number in range(3):
        write(tmp_path / f"x-{number:05}-of-00003.parquet", reward=[1.0, float("nan")], episode=[number] * 2)
    first, *others = sweep([tmp_path], [0.9], [0.9]).files
    assert "NaN" in first.error
    assert {file.error for file in others} == {f"`{first.input}` of the same stream failed"}
    found = CliRunner().invoke(app, ["sweep", str(tmp_path)])
    assert found.output.count("error:") == 1
    assert "all 3 files of its stream are left out" in found.output


def test_a_column_that_a_data_set_makes_up_is_not_listed(tmp_path):
    file = open_file(write(tmp_path / "r.parquet", **{"(padding row)": [0, 1]}))
    assert columns_there(file) == "reward, value, terminated"
