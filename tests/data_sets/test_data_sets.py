"""Folders that mean something: which files are taken, in which order, and what else changes with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.datasets.registry import KINDS, recognise
from gaecli.errors import DataError, FileError, UsageError
from gaecli.sources.inputs import describe_streams, plan_streams

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
Run = Callable[..., Any]
#: Written by hand: (1 + 0.9 · 3 - 2) + 0.9 · 0.5 · (4 - 3) = 2.15
HALF = {"gamma": 0.9, "lam": 0.5}


@pytest.fixture
def lerobot(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLES / "lerobot/v30_state", tmp_path / "set"))


def rows(*rewards: float, **columns: Any) -> pa.Table:
    """One episode: values 0, the last step terminated."""
    count = len(rewards)
    return pa.table(
        {
            "reward": list(rewards),
            "value": [0.0] * count,
            "terminated": [False] * (count - 1) + [True],
            **columns,
        }
    )


def write(path: Path, table: pa.Table) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def names(*sources: Path, join: bool | None = None) -> list[list[str]]:
    return [[path.name for path in plan.paths] for plan in plan_streams(sources, join)]


# LeRobot


def test_a_lerobot_root_is_one_stream_of_its_data_files(lerobot: Path) -> None:
    (plan,) = plan_streams([lerobot], None)
    assert [path.name for path in plan.paths] == ["file-000.parquet", "file-001.parquet"] * 2 + [
        "file-000.parquet"
    ]
    assert describe_streams([plan]) == "LeRobot v3.0 data set, 5 files as one stream"
    # An episode never goes on in another file, so there is nothing to join or to part.
    for join in (True, False):
        assert plan_streams([lerobot], join)[0].paths == plan.paths


def test_one_file_of_a_lerobot_set_is_not_written_in_place(lerobot: Path, run_gae: Run) -> None:
    before = content(lerobot)
    file = lerobot / "data/chunk-000/file-001.parquet"
    done = run_gae("compute", file)
    assert done.returncode == 2
    assert "one of the 5 files of the LeRobot v3.0 data set" in done.stderr
    for way in (str(lerobot), "--output", "--sidecar"):
        assert way in done.stderr
    assert run_gae("compute", file, "-o", lerobot.parent / "alone.parquet").returncode == 0
    assert content(lerobot) == before


def test_a_sidecar_of_one_file_of_a_set_lies_where_its_loader_does_not_look(lerobot: Path) -> None:
    gaecli.compute(lerobot / "data/chunk-000/file-001.parquet", sidecar=True)
    assert (lerobot / "meta/data-chunk-000-file-001.gae.parquet").exists()


def test_all_files_of_a_set_named_one_by_one_are_the_set(lerobot: Path) -> None:
    gaecli.compute(sorted((lerobot / "data").rglob("*.parquet")))
    assert "advantage" in json.loads((lerobot / "meta/info.json").read_text())["features"]


def test_a_copy_of_a_lerobot_set_is_a_set(lerobot: Path, tmp_path: Path) -> None:
    (lerobot / "videos").mkdir()
    (lerobot / "videos/large.mp4").write_bytes(b"x" * (2 << 20))
    before = content(lerobot)
    target = tmp_path / "copy"
    gaecli.compute(lerobot, output=target)
    assert content(lerobot) == before
    copied = content(target)
    assert copied.keys() == before.keys()
    changed = {name for name in before if copied[name] != before[name]}
    assert changed == {"meta/info.json", *(name for name in before if name.startswith("data/"))}
    assert "advantage" in json.loads((target / "meta/info.json").read_text())["features"]
    summary = gaecli.compute(lerobot, output=target)
    assert {file.status for file in summary.files} == {"up to date"}


def test_a_copy_does_not_overwrite_what_is_there(lerobot: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    (target / "meta").mkdir(parents=True)
    (target / "meta/stats.json").write_text("{}")
    with pytest.raises(UsageError, match=r"stats\.json.*differs") as raised:
        _raise_first(gaecli.compute(lerobot, output=target))
    assert "--overwrite" in str(raised.value.hint)
    with pytest.raises(UsageError, match="lies within"):
        gaecli.compute(lerobot, output=lerobot / "data")


def _raise_first(summary: Any) -> None:
    failed = next(file for file in summary.files if file.status == "failed")
    raise {2: UsageError, 3: DataError, 4: FileError}[failed.exit_code](failed.error, hint=failed.hint)


def test_a_lerobot_set_may_hold_its_numbers_in_lists_of_one(lerobot: Path, tmp_path: Path) -> None:
    plain = Path(shutil.copytree(lerobot, tmp_path / "plain"))
    gaecli.compute(plain)
    files = sorted(file.relative_to(lerobot) for file in (lerobot / "data").rglob("*.parquet"))
    for file in files:
        table = pq.read_table(lerobot / file)
        for index, field in enumerate(table.schema):
            if field.name in ("next.reward", "value", "next.done", "frame_index", "episode_index"):
                cells = pa.array([[cell] for cell in table[field.name].to_pylist()], pa.list_(field.type))
                table = table.set_column(index, field.name, cells)
        pq.write_table(table, lerobot / file)
    assert gaecli.compute(lerobot).warnings == gaecli.compute(plain, dry_run=True, overwrite=True).warnings
    for file in files:
        assert pq.read_table(lerobot / file)["advantage"].equals(pq.read_table(plain / file)["advantage"])


def test_one_sidecar_holds_the_keys_of_a_lerobot_set(lerobot: Path) -> None:
    before = content(lerobot)
    gaecli.compute(lerobot, sidecar=True)
    after = content(lerobot)
    assert after.keys() - before.keys() == {"meta/advantages_gae.parquet"}
    assert {name: after[name] for name in before} == before
    table = pq.read_table(lerobot / "meta/advantages_gae.parquet")
    assert table.column_names == ["index", "episode_index", "frame_index", "advantage", "return"]
    assert table.column("index").to_pylist() == list(range(990))
    wanted = pq.read_table(SAMPLES / "lerobot/v30_state_expected.parquet")
    np.testing.assert_allclose(
        table.column("advantage").to_numpy(), wanted.column("advantage").to_numpy(), rtol=1e-5
    )
    again = gaecli.compute(lerobot, sidecar=True)
    assert {file.status for file in again.files} == {"up to date"}
    assert (again.totals.steps, again.totals.episodes) == (990, 50)
    gaecli.compute(lerobot, sidecar=True, advantage_column="low", return_column="low_return", gamma=0.5)
    assert (lerobot / "meta/advantages_low.parquet").exists()


def test_a_run_that_stopped_before_info_json_is_finished_by_the_next_one(lerobot: Path) -> None:
    info = (lerobot / "meta/info.json").read_bytes()
    gaecli.compute(lerobot)
    (lerobot / "meta/info.json").write_bytes(info)
    summary = gaecli.compute(lerobot)
    assert {file.status for file in summary.files} == {"up to date"}
    assert "advantage" in json.loads((lerobot / "meta/info.json").read_text())["features"]


def test_one_bad_file_leaves_a_whole_set_as_it_was(lerobot: Path) -> None:
    path = lerobot / "data/chunk-002/file-000.parquet"
    table = pq.read_table(path)
    index = table.column_names.index("next.reward")
    pq.write_table(table.set_column(index, "next.reward", pa.array([float("nan")] * len(table))), path)
    before = content(lerobot)
    summary = gaecli.compute(lerobot)
    assert summary.exit_code == 3
    assert content(lerobot) == before


def test_a_dry_run_writes_nothing_anywhere(lerobot: Path) -> None:
    before = content(lerobot)
    gaecli.compute(lerobot, dry_run=True)
    assert content(lerobot) == before


@pytest.mark.parametrize("template", ["../outside-{x}.parquet", "/etc/{x}.parquet", "data/{x:"])
def test_a_template_cannot_lead_out_of_the_set(lerobot: Path, template: str) -> None:
    info = json.loads((lerobot / "meta/info.json").read_text())
    (lerobot / "meta/info.json").write_text(json.dumps({**info, "data_path": template}))
    with pytest.raises(FileError):
        plan_streams([lerobot], None)


@pytest.mark.parametrize(
    "template",
    ["data/" + "{a}" * 30 + "x.parquet", "data/" + "{a}1" * 9 + "x.parquet"],
    ids=["side by side", "apart"],
)
def test_a_template_of_many_places_ends_in_an_error(lerobot: Path, template: str) -> None:
    (lerobot / "data" / ("1" * 200)).mkdir()
    info = json.loads((lerobot / "meta/info.json").read_text())
    (lerobot / "meta/info.json").write_text(json.dumps({**info, "data_path": template}))
    with pytest.raises(FileError):
        plan_streams([lerobot], None)


def test_a_damaged_info_json_is_an_error_of_the_file(lerobot: Path, run_gae: Run) -> None:
    (lerobot / "meta/info.json").write_text("{")
    done = run_gae("compute", lerobot)
    assert done.returncode == 4
    assert "info.json" in done.stderr


# Minari


@pytest.fixture
def minari(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLES / "minari/cartpole/parquet-v0", tmp_path / "minari"))


def test_minari_episodes_come_in_the_order_of_their_numbers(minari: Path) -> None:
    (plan,) = plan_streams([minari], None)
    assert [path.parent.name for path in plan.paths] == [str(number) for number in range(12)]
    assert describe_streams([plan]) == "Minari data set (parquet), 12 files as one stream"


def test_a_minari_folder_with_a_number_beyond_64_bits_is_a_name(minari: Path) -> None:
    (minari / "data/11").rename(minari / "data/12345678901234567890")
    summary = gaecli.compute(minari, value_column="infos.value", dry_run=True)
    assert summary.totals.episodes == 12


def test_a_minari_sidecar_has_the_episode_of_the_folder(minari: Path) -> None:
    gaecli.compute(minari, sidecar=True, value_column="infos.value")
    table = pq.read_table(minari / "advantages_gae.parquet")
    assert table.column_names[:2] == ["episode", "step"]
    assert table.column("episode").to_pylist() == sorted(table.column("episode").to_pylist())
    assert table.column("advantage").null_count == 12


@pytest.mark.few(8)
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.parametrize("beyond", [3.0, None, float("nan")])
@pytest.mark.parametrize("end", ["terminated", "truncated", "open"])
def test_the_padding_row_gives_the_value_beyond_the_end(
    tmp_path: Path, suffix: str, beyond: float | None, end: str
) -> None:
    root = tmp_path / "set"
    table = pa.table(
        {
            "rewards": [1.0, 2.0, None],
            "values": [0.5, 0.25, beyond],
            "terminations": [False, end == "terminated", False],
            "truncations": [False, end == "truncated", False],
        }
    )
    path = root / f"data/0/part-0.{suffix}"
    path.parent.mkdir(parents=True)
    if suffix == "parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    (root / "data/metadata.json").write_text(json.dumps({"data_format": suffix}))
    summary = gaecli.compute(root, **HALF)
    after = pq.read_table(path) if suffix == "parquet" else pa.ipc.open_file(path).read_all()
    value = beyond if end != "terminated" and beyond is not None and beyond == beyond else 0.0
    last = 2.0 + 0.9 * value - 0.25
    first = 1.0 + 0.9 * 0.25 - 0.5 + 0.9 * 0.5 * last
    found = after.column("advantage").to_pylist()
    assert found[2] is None
    assert found[:2] == pytest.approx([first, last])
    assert summary.totals.steps == 2
    assert getattr(summary.totals, end) == 1
    is_given = end != "terminated" and value != 0.0
    assert summary.bootstrapped.next_value == int(is_given)
    assert summary.bootstrapped.zero == int(end != "terminated" and not is_given)


# RLlib, hive, shards


def test_rllib_files_are_one_stream_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for run, numbers in (("run-000000-00002", (1,)), ("run-000000-00001", (10, 2))):
        for number in numbers:
            write(tmp_path / f"env/{run}/x_{number}-0.parquet", rows(1.0))
    assert names(tmp_path) == [["x_2-0.parquet", "x_10-0.parquet", "x_1-0.parquet"]]
    assert describe_streams(plan_streams([tmp_path], None)) == "RLlib output, 3 files as one stream"
    assert len(names(tmp_path, join=False)) == 3


def test_rllib_episodes_run_over_files(tmp_path: Path) -> None:
    for number in range(60):
        table = pa.table(
            {"eps_id": ["a"], "rewards": [1.0], "vf_preds": [0.0], "terminateds": [number == 59]}
        )
        write(tmp_path / f"env/run-000000-00001/x_{number:06d}-0.parquet", table)
    gaecli.compute(tmp_path, gamma=1.0, lam=1.0)
    first = pq.read_table(tmp_path / "env/run-000000-00001/x_000000-0.parquet")
    assert first.column("advantage").to_pylist() == [60.0]


def test_msgpack_episodes_of_rllib_name_the_option(tmp_path: Path, run_gae: Run) -> None:
    path = write(tmp_path / "packed.parquet", pa.table({"item": [b"\x81"]}))
    done = run_gae("compute", path)
    assert done.returncode == 2
    assert "output_write_episodes=False" in done.stderr


def test_hive_keys_are_columns_that_are_never_written(tmp_path: Path) -> None:
    root = tmp_path / "table"
    for env in (10, 2):
        write(root / f"env_id={env}/part-0.parquet", rows(1.0, float(env), terminated=[False, False]))
    summary = gaecli.compute(root, **HALF, normalize_by="env_id")
    assert [group.label for group in summary.normalization.groups] == ["2", "10"]
    table = pq.read_table(root / "env_id=2/part-0.parquet", partitioning=None)
    assert table.column_names == ["reward", "value", "terminated", "advantage", "return"]
    assert summary.files[0].columns["env"] == "env_id"
    assert summary.streams == "hive-partitioned directory, 2 files as one stream"


def test_hive_keys_tell_trajectories_apart_and_a_real_column_wins(tmp_path: Path) -> None:
    root = tmp_path / "table"
    for name in ("a", "b%20c"):
        write(root / f"episode_id={name}/part-0.parquet", rows(1.0, 1.0, terminated=[False, False]))
    gaecli.compute(root, gamma=1.0, lam=1.0)
    for name in ("a", "b%20c"):
        table = pq.read_table(root / f"episode_id={name}/part-0.parquet", partitioning=None)
        assert table.column("return").to_pylist() == [2.0, 1.0]
    one = write(tmp_path / "other/env_id=7/part-0.parquet", rows(1.0, env_id=[3]))
    file = recognise(tmp_path / "other").open(one)  # type: ignore[union-attr]
    assert file.read_whole("env_id").values.tolist() == [3]


def test_shards_of_a_folder_are_streams_by_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for number in (0, 1):
            write(tmp_path / f"data/{split}-{number:05d}-of-00002.parquet", rows(1.0))
    (tmp_path / "README.md").write_text("# Set")
    assert names(tmp_path) == [
        ["test-00000-of-00002.parquet", "test-00001-of-00002.parquet"],
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
    ]
    gaecli.compute(tmp_path, output=tmp_path.parent / "copy")
    assert (tmp_path.parent / "copy/README.md").exists()
    gaecli.compute(sorted(tmp_path.glob("data/train-*")), sidecar=True)
    assert (tmp_path / "train.gae.parquet").exists()


def test_one_shard_of_several_is_not_written_in_place_unless_it_stands_alone(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"train-{number:05d}-of-00003.parquet", rows(1.0)) for number in range(3)]
    with pytest.raises(UsageError, match="one of the 3 files"):
        gaecli.compute(paths[1])
    gaecli.compute(paths[1], join=False)
    with pytest.raises(UsageError, match="shard 00001 is missing"):
        gaecli.compute([paths[0], paths[2]])
    paths[1].unlink()
    with pytest.raises(UsageError, match="shard 00001 is missing"):
        gaecli.compute(tmp_path)


# Plain folders


def test_a_plain_folder_holds_independent_files_in_natural_order(tmp_path: Path) -> None:
    for name in ("part-10.parquet", "part-2.parquet", "part-1.npz"):
        (tmp_path / name).touch()
    for name in (".hidden.parquet", "_meta.parquet", "x.gae.parquet", "part-3.parquet.tmp", "notes.txt"):
        (tmp_path / name).touch()
    for folder in (".cache", "_delta_log"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.parquet").touch()
    assert names(tmp_path) == [["part-1.npz"], ["part-2.parquet"], ["part-10.parquet"]]
    assert names(tmp_path, join=True) == [["part-1.npz", "part-2.parquet", "part-10.parquet"]]


def test_json_lines_beside_tables_are_taken_for_logs(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    assert names(tmp_path) == [["metrics.jsonl"]]
    (tmp_path / "rollouts.parquet").touch()
    assert names(tmp_path) == [["rollouts.parquet"]]


def test_a_data_set_below_a_plain_folder_is_found(lerobot: Path, minari: Path) -> None:
    plans = plan_streams([lerobot.parent], None)
    assert [plan.data_set.title if plan.data_set else None for plan in plans] == [
        "Minari data set (parquet)",
        "LeRobot v3.0 data set",
    ]


def test_every_kind_leaves_an_ordinary_folder_alone(tmp_path: Path) -> None:
    write(tmp_path / "data/rollouts.parquet", rows(1.0))
    for kind in KINDS:
        assert kind.recognise(tmp_path) is None
        assert kind.root_of(tmp_path / "data/rollouts.parquet") is None


def test_digits_of_other_scripts_do_not_break_the_order(tmp_path: Path) -> None:
    for name in ("a².parquet", "a٣.parquet"):
        (tmp_path / name).touch()
    assert sorted(name for (name,) in names(tmp_path)) == ["a².parquet", "a٣.parquet"]


@pytest.mark.parametrize(
    ("name", "start", "what"),
    [
        ("rollouts.parquet.gz", b"\x1f\x8b\x08", "gzip"),
        ("rollouts.feather", b"FEA1", "Feather version 1"),
        ("rollouts.pkl", b"\x80\x04", "pickle"),
        ("rollouts.zst", b"\x28\xb5\x2f\xfd", "zstd"),
        ("rollouts.json", b"[1, 2]", "one JSON array"),
    ],
)
def test_what_cannot_be_read_is_called_by_its_name(
    tmp_path: Path, run_gae: Run, name: str, start: bytes, what: str
) -> None:
    path = tmp_path / name
    path.write_bytes(start + bytes(32))
    done = run_gae("compute", path)
    assert done.returncode == 4
    assert what in done.stderr


def test_hdf5_without_the_extra_names_it(tmp_path: Path, run_gae: Run) -> None:
    path = tmp_path / "x.hdf5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    (tmp_path / "h5py.py").write_text("raise ImportError('not here')")
    done = run_gae("compute", path, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 5
    assert "gaecli[hdf5]" in done.stderr
