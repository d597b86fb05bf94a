"""Labels: each library's rule as a loop over NumPy's own percentiles, whatever the blocks, files and formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faults.data_sets import MAKERS
from labels.recorded import TASKS, random_recording, read_all, write_lerobot
from pipeline.running import small_blocks

import gaecli
from gaecli.errors import DataError, UsageError

#: With λ = 0 and V = 0 an advantage is its reward.
AS_REWARDS = {"lam": 0.0, "gamma": 1.0}


def table_of(advantages: Any, **more: Any) -> pa.Table:
    """Rows whose advantages, at λ = 0, are as given."""
    numbers = np.asarray(advantages, np.float64)
    ends = np.zeros(len(numbers), np.bool_)
    ends[4::5] = True
    return pa.table({"reward": numbers, "value": np.zeros(len(numbers)), "terminated": ends, **more})


def numbers(seed: int, count: int = 103) -> np.ndarray:
    """With many that are equal."""
    return np.round(np.random.default_rng(seed).normal(size=count) * 4) / 4


def percentile(numbers: np.ndarray, percent: float) -> float:
    return float(np.percentile(numbers, percent, method="linear"))


def intervened(seed: int, count: int = 103) -> np.ndarray:
    return np.random.default_rng(seed).random(count) < 0.2


#: The table of docs/labels.md: A, intervention -> label.
ORACLES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "rlinf-recap": lambda a, forced: (a >= percentile(a, 100 * (1 - 0.3))) | forced,
    "rlinf-steam": lambda a, forced: (a > percentile(a, 70)) | forced,
    "kai0": lambda a, forced: (a >= percentile(a, 100 - 70)) | forced,
    "lerobot-3245": lambda a, forced: (a > percentile(a, 70)) | forced,
    "lerobot-3764": lambda a, forced: (a > percentile(a[~forced], 30)) | forced,
    "opentau": lambda a, forced: (a >= 0.0) | forced,
    "crr": lambda a, forced: (a > 0) | forced,
}


@pytest.mark.parametrize("rule", ORACLES)
def test_a_rule_labels_as_its_library_does(tmp_path: Path, rule: str) -> None:
    advantages, forced = numbers(1), intervened(2)
    path = tmp_path / "rollouts.parquet"
    pq.write_table(table_of(advantages, intervention=forced), path)
    gaecli.compute(path, **AS_REWARDS, label_rule=rule, force_positive="intervention")
    found = pq.read_table(path)
    np.testing.assert_array_equal(found["advantage"].to_numpy(), advantages)  # the loop's input
    assert pa.types.is_boolean(found["label"].type)
    np.testing.assert_array_equal(found["label"].to_pylist(), ORACLES[rule](advantages, forced))


@pytest.mark.parametrize("side", ["top", "above"])
@pytest.mark.parametrize("operator", ["ge", "gt", None])
def test_sides_and_operators_are_one_flag_each(tmp_path: Path, side: str, operator: str | None) -> None:
    advantages = numbers(3)
    path = tmp_path / "rollouts.parquet"
    pq.write_table(table_of(advantages), path)
    more = {} if operator is None else {"label_operator": operator}
    summary = gaecli.compute(path, **AS_REWARDS, label_quantile=0.3, label_side=side, **more)
    threshold = percentile(advantages, 70 if side == "top" else 30)
    is_strict = operator == "gt" if operator else side == "above"
    wanted = advantages > threshold if is_strict else advantages >= threshold
    np.testing.assert_array_equal(pq.read_table(path)["label"].to_pylist(), wanted)
    told = summary.labels
    assert told is not None
    assert told.words == {"top": "top 30 %", "above": "above the 30th percentile"}[side]
    assert told.groups[0].threshold == threshold
    assert (told.positive, told.labelled) == (wanted.sum(), 103)


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("rows", "store", "normalize"),
    [(2, 0, "none"), (7, None, "all"), (4, 0, "episode"), (7, 0, "file"), (1000, None, "none")],
)
def test_labels_do_not_depend_on_blocks_files_or_memory(rows: int, store: int | None, normalize: str) -> None:
    """One threshold over all inputs, of advantages as they are written."""
    parts = [numbers(4, 30), numbers(5, 3), numbers(6, 21)]
    with small_blocks(rows, store_bytes=store) as folder:
        for index, part in enumerate(parts):
            pq.write_table(table_of(part), folder / f"{index}.parquet")
        paths = [folder / f"{index}.parquet" for index in (2, 0, 1)]
        gaecli.compute(paths, **AS_REWARDS, normalize=normalize, label_quantile=0.25, label_side="top")
        tables = [pq.read_table(path) for path in paths]
    written = np.concatenate([table["advantage"].to_numpy() for table in tables]).astype(np.float64)
    labels = [label for table in tables for label in table["label"].to_pylist()]
    np.testing.assert_array_equal(labels, written >= percentile(written, 75))


def test_groups_have_thresholds_of_their_own(tmp_path: Path) -> None:
    """A null is a group, too; and one whose rows are all left out has nothing but those."""
    advantages = numbers(7)
    tasks = [["a", "b", None][index % 3] for index in range(102)] + ["c"]
    forced = intervened(8)
    forced[-1] = True
    with small_blocks(11) as folder:
        path = folder / "rollouts.parquet"
        pq.write_table(table_of(advantages, task=tasks, expert=forced), path)
        summary = gaecli.compute(
            path, **AS_REWARDS, label_rule="lerobot-3764", label_by="task", force_positive="expert"
        )
        labels = np.array(pq.read_table(path)["label"].to_pylist())
    wanted = forced.copy()
    for task in ("a", "b", None):
        of_task = np.array([one == task for one in tasks])
        wanted |= of_task & (advantages > percentile(advantages[of_task & ~forced], 30))
    np.testing.assert_array_equal(labels, wanted)
    assert summary.labels is not None
    assert {group.label for group in summary.labels.groups} == {"a", "b", "None"}
    assert summary.labels.forced == forced.sum()


def test_equal_advantages_are_all_positive_or_none(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(table_of([0.5] * 10), path)
    for operator, share in (("ge", 10), ("gt", 0)):
        options = {"label_quantile": 0.3, "label_side": "top", "label_operator": operator}
        summary = gaecli.compute(path, **AS_REWARDS, **options)
        assert summary.labels is not None
        assert summary.labels.positive == share


def test_returns_are_labelled_where_there_is_no_advantage(tmp_path: Path) -> None:
    recording = random_recording(9)
    root = write_lerobot(tmp_path / "set", recording.columns(), [])
    options = {
        "success_column": "next.success",
        "failure_cost": 5,
        "label_quantile": 0.4,
        "label_side": "top",
    }
    summary = gaecli.compute(root, estimator="mc", **options)
    found = read_all(root)
    returns = np.array(found["return"])
    np.testing.assert_array_equal(found["label"], returns >= percentile(returns, 60))
    assert summary.labels is not None
    assert summary.labels.number == "return"


def test_scores_of_groups_are_labelled(tmp_path: Path) -> None:
    path = tmp_path / "responses.parquet"
    pq.write_table(pa.table({"prompt": [1, 1, 1, 2, 2], "reward": [1.0, 0, 0, 3, 5]}), path)
    gaecli.compute(path, estimator="dr-grpo", group_column="prompt", label_rule="crr")
    assert pq.read_table(path)["label"].to_pylist() == [True, False, False, False, True]


@pytest.mark.parametrize("fill", ["null", "zero", "carry"])
def test_what_is_masked_or_left_out_has_no_label(tmp_path: Path, fill: str) -> None:
    path = tmp_path / "tokens.parquet"
    table = {
        "rewards": [[1.0, 5.0, 2.0], [float("nan"), 1.0], []],
        "values": [[0.0, 0.0, 0.0], [0.0, 0.0], []],
        "mask": [[1, 0, 1], [1, 1], []],
        "done": [[0, 0, 1], [0, 1], []],
    }
    pq.write_table(pa.table(table), path)
    summary = gaecli.compute(
        path,
        **AS_REWARDS,
        on_nan="drop-episode",
        mask_fill=fill,
        masked_reward="drop",
        label_quantile=0.5,
        label_side="top",
    )
    assert pq.read_table(path)["label"].to_pylist() == [[False, None, True], [None, None], []]
    assert summary.labels is not None
    assert (summary.labels.positive, summary.labels.labelled) == (1, 2)


def test_a_file_without_rows_gets_a_column_without_labels(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(table_of(np.zeros(0)), path)
    gaecli.compute(path, label_quantile=0.3, label_side="top", label_type="text", terminal_column="last")
    schema = pq.read_schema(path)
    assert (schema.field("label").type, schema.field("last").type) == (pa.string(), pa.bool_())


# ----- formats


def test_texts_for_policies_that_read(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(table_of([-1.0, 0.0, 2.0]), path)
    gaecli.compute(path, **AS_REWARDS, label_rule="crr", label_type="text", label_column="advantage_text")
    assert pl.read_parquet(path)["advantage_text"].to_list() == ["negative", "negative", "positive"]


def test_lines_of_json_have_flags_and_texts(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"
    rows = [
        {"rewards": [1.0, 2.0], "values": [0.0, 0.0], "mask": [1, 0]},
        {"rewards": [-3.0], "values": [0.0], "mask": [1]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for kind, cells in (("bool", [[True, None], [False]]), ("text", [["positive", None], ["negative"]])):
        gaecli.compute(path, **AS_REWARDS, label_rule="crr", label_type=kind, masked_reward="drop")
        assert [json.loads(line)["label"] for line in path.read_text().splitlines()] == cells
        again = gaecli.compute(path, **AS_REWARDS, label_rule="crr", label_type=kind, masked_reward="drop")
        assert [file.status for file in again.files] == ["up to date"]


@pytest.mark.parametrize("kind", ["bool", "text"])
def test_arrays_have_numbers_where_a_flag_may_be_absent(tmp_path: Path, kind: str) -> None:
    """In NPZ and HDF5 there is no null: 1, 0, and -1 where there is no label."""
    arrays = {
        "rewards": np.array([[1.0, 5.0, -2.0]]),
        "values": np.zeros((1, 3)),
        "mask": np.array([[1, 0, 1]]),
    }
    expected = {"bool": [[1, -1, 0]], "text": [["positive", "", "negative"]]}[kind]
    path = tmp_path / "tokens.npz"
    np.savez(path, **arrays)
    settings = {**AS_REWARDS, "label_rule": "crr", "label_type": kind, "masked_reward": "drop"}
    gaecli.compute(path, **settings, layout="batch-major")
    found = np.load(path, allow_pickle=False)["label"]
    assert found.dtype == (np.int8 if kind == "bool" else np.dtype("<U8"))
    assert found.tolist() == expected

    path = tmp_path / "tokens.hdf5"
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[f"episode_0/{name}"] = array[0]
    gaecli.compute(path, **settings)
    with h5py.File(path) as file:
        stored = file["episode_0/label"][()]
    texts = [cell.decode() if isinstance(cell, bytes) else int(cell) for cell in stored.tolist()]
    assert texts == expected[0]


def test_flat_hdf5_and_arrow_take_them(tmp_path: Path) -> None:
    table = table_of([1.0, -1.0, 2.0, 0.0, 0.0])
    path = tmp_path / "rollouts.hdf5"
    with h5py.File(path, "w") as file:
        for name in table.column_names:
            file[name] = table[name].to_numpy()
    gaecli.compute(path, **AS_REWARDS, label_rule="crr", terminal_column="last")
    with h5py.File(path) as file:
        assert file["label"][()].tolist() == [1, 0, 1, 0, 0]
        assert file["last"][()].tolist() == [0, 0, 0, 0, 1]
    path = tmp_path / "rollouts.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    for kind in ("bool", "text"):
        gaecli.compute(path, **AS_REWARDS, label_rule="crr", label_type=kind)
        again = gaecli.compute(path, **AS_REWARDS, label_rule="crr", label_type=kind)
        assert [file.status for file in again.files] == ["up to date"]
        cells = pa.ipc.open_file(path).read_all()["label"].to_pylist()
        assert cells == [
            {"bool": n > 0, "text": "positive" if n > 0 else "negative"}[kind] for n in (1, -1, 2, 0, 0)
        ]


def test_a_set_of_lerobot_lists_its_new_features(tmp_path: Path) -> None:
    root = write_lerobot(tmp_path / "set", TASKS.columns(), [4])
    options = {"success_column": "next.success", "failure_cost": 5, "names": "lerobot"}
    gaecli.compute(root, estimator="mc", **options, label_rule="lerobot-3764", label_type="text")
    features = json.loads((root / "meta" / "info.json").read_text())["features"]
    assert {name: features[name]["dtype"] for name in list(features)[4:]} == {
        "mc_return": "float32",
        "label": "string",
        "is_terminal": "bool",
    }
    found = read_all(root)
    assert found["is_terminal"] == TASKS.ends
    again = gaecli.compute(root, estimator="mc", **options, label_rule="lerobot-3764", label_type="text")
    assert {file.status for file in again.files} == {"up to date"}
    assert again.labels is not None
    assert again.success is not None
    assert (again.labels.labelled, again.success.successes, again.success.longest_episode) == (20, 3, 7)


def test_names_of_lerobot_hold_on_the_command_line(tmp_path: Path, run_gae: Any) -> None:
    root = write_lerobot(tmp_path / "set", TASKS.columns(), [4])
    command = (
        "compute",
        root,
        "--success-column",
        "next.success",
        "--failure-cost",
        "5",
        "--names",
        "lerobot",
    )
    assert run_gae(*command, "--estimator", "mc").returncode == 0
    assert list(read_all(root))[-2:] == ["mc_return", "is_terminal"]
    result = run_gae(
        *command, "--estimator", "n-step", "--n-steps", "3", "--value-column", "timestamp", "--force"
    )
    assert result.returncode == 2
    assert "`mc_return` of `--names lerobot` is a Monte-Carlo return" in result.stderr


def test_the_sidecar_of_a_set_has_labels(tmp_path: Path) -> None:
    root = write_lerobot(tmp_path / "set", TASKS.columns(), [4])
    options = {"success_column": "next.success", "failure_cost": 5, "sidecar": True}
    gaecli.compute(root, estimator="mc", **options, label_rule="kai0", label_type="text")
    (sidecar,) = (root / "meta").glob("*.parquet")
    table = pq.read_table(sidecar)
    assert table.column_names == ["index", "episode_index", "frame_index", "return", "label"]
    assert set(table["label"].to_pylist()) == {"positive", "negative"}


def test_what_gaecli_wrote_is_no_flag_of_the_file(tmp_path: Path) -> None:
    """`is_terminal` of an earlier run is the last step of an episode, which a limit may have cut."""
    path = tmp_path / "rollouts.parquet"
    table = {"reward": [1.0] * 4, "value": [0.5] * 4, "episode_index": [0, 0, 1, 1]}
    pq.write_table(pa.table(table), path)
    options = {"bootstrap": "current", "gamma": 0.5, "lam": 1.0}
    gaecli.compute(path, **options, terminal_column="is_terminal")
    first = pq.read_table(path)["advantage"].to_pylist()
    gaecli.compute(path, **options, terminal_column="is_terminal", label_rule="crr")
    assert pq.read_table(path)["advantage"].to_pylist() == first


# ----- refusals


@pytest.mark.parametrize(
    ("settings", "words", "hint"),
    [
        (
            {"label_quantile": 0.3},
            "is the top 30 % to some tools, and all above the 30th",
            "--label-side top",
        ),
        ({"label_quantile": 30, "label_side": "top"}, "must lie between 0 and 1", "0.3"),
        ({"label_quantile": 0.3, "label_threshold": 0.0, "label_side": "top"}, "twice", "drop one"),
        ({"label_side": "top"}, "`--label-side` needs labels", "--label-quantile"),
        ({"label_threshold": 0.0, "label_by": "x"}, "says nothing to a fixed threshold", "drop"),
        ({"label_rule": "crr", "force_positive": "none_such"}, "`none_such` not found", None),
        ({"label_rule": "kai0", "label_by": "none_such"}, "`none_such` not found", "--label-by"),
        ({"label_rule": "crr", "label_column": "return"}, "different names", None),
        ({"label_rule": "of mine"}, "must be one of rlinf-recap", None),
    ],
)
def test_what_is_not_clear_is_asked(
    tmp_path: Path, settings: dict[str, Any], words: str, hint: str | None
) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(table_of([1.0, 2.0]), path)
    with pytest.raises(UsageError, match=words) as raised:
        gaecli.compute(path, **settings)
    if hint is not None:
        assert hint in str(raised.value.hint)


def test_a_forced_flag_is_0_or_1(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(table_of([1.0, 2.0], expert=[0.0, 0.5]), path)
    with pytest.raises(DataError, match=r"`expert` is 0.5 at row 1 .* no flag"):
        gaecli.compute(path, label_rule="crr", force_positive="expert")


def test_settings_that_say_nothing_are_in_no_document(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(table_of([1.0, 2.0]), path)
    summary = gaecli.compute(path)
    assert not {name for name in summary.settings if "label" in name or "success" in name or "weight" in name}


@pytest.mark.parametrize("flag", ["label_by", "force_positive"])
def test_a_label_does_not_take_the_place_of_what_it_rests_on(tmp_path: Path, flag: str) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(table_of([1.0, 2.0], expert=[0, 1]), path)
    with pytest.raises(UsageError, match="`expert` is the column of"):
        gaecli.compute(path, label_rule="kai0", label_column="expert", overwrite=True, **{flag: "expert"})


def test_the_summary_says_which_side_is_meant(tmp_path: Path, run_gae: Callable[..., Any]) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(table_of(np.arange(100) / 64, task=[index % 2 for index in range(100)]), path)
    flags = ("--gamma", "1", "--lam", "0", "--label-quantile", "0.3")
    top = run_gae("compute", path, *flags, "--label-side", "top").stdout
    assert "top 30 %: advantage >= 1.083 · 30 of 100 rows" in top  # 69.3 / 64
    above = run_gae("compute", path, *flags, "--label-side", "above", "--label-by", "task", "--json")
    labels = json.loads(above.stdout)["labels"]
    assert (labels["words"], labels["operator"], labels["by"]) == ("above the 30th percentile", ">", "task")
    assert [group["label"] for group in labels["groups"]] == ["0", "1"]
    assert [group["threshold"] for group in labels["groups"]] == [29.4 / 64, 30.4 / 64]


@pytest.mark.parametrize("kind", ["Hub", "save_to_disk"])
def test_folders_of_datasets_list_the_types_of_labels(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "set"
    root.mkdir()
    MAKERS[kind](root)
    options = {"label_rule": "kai0", "label_type": "text", "terminal_column": "last"}
    gaecli.compute(root, **options)
    card = root / ("README.md" if kind == "Hub" else "dataset_info.json")
    text = card.read_text()
    if kind == "Hub":
        assert "  - name: label\n    dtype: string\n  - name: last\n    dtype: bool\n" in text
    else:
        features = json.loads(text)["features"]
        assert (features["label"]["dtype"], features["last"]["dtype"]) == ("string", "bool")
    again = gaecli.compute(root, **options)
    assert {file.status for file in again.files} == {"up to date"}


@pytest.mark.parametrize(
    ("name", "flag"),
    [("label", "--label-column"), ("weight", "--weight-column"), ("last", "--terminal-column")],
)
def test_a_column_of_somebody_else_is_kept_and_the_flag_named(tmp_path: Path, name: str, flag: str) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(table_of([1.0, 2.0], **{name: [7, 8]}), path)
    with pytest.raises(UsageError, match=f"has a column `{name}` already") as raised:
        gaecli.compute(path, label_rule="crr", weight="iql", terminal_column="last")
    assert (
        str(raised.value.hint)
        == f"pass `--overwrite` to replace it, or write under another name with `{flag}`"
    )


def test_stages_of_kai0_are_labelled_by_a_column_of_stages(tmp_path: Path) -> None:
    """discretize_advantage.py 9d93078: a threshold for each stage, of which progress tells the number."""
    advantages, progress = numbers(11), np.random.default_rng(12).random(103)
    progress[[0, 1, 2]] = [0.0, 0.5, 1.0]
    stages = np.minimum((progress / (1 / 3)).astype(np.int64), 2)
    path = tmp_path / "rollouts.parquet"
    pq.write_table(table_of(advantages, stage=stages), path)
    gaecli.compute(path, **AS_REWARDS, label_rule="kai0", label_by="stage")
    thresholds = [percentile(advantages[stages == stage], 100 - 70) for stage in range(3)]
    wanted = [a >= thresholds[stage] for a, stage in zip(advantages, stages.tolist(), strict=True)]
    assert pq.read_table(path)["label"].to_pylist() == wanted
