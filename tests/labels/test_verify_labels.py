"""`gae verify` of labels: NumPy's own percentiles over the column in the file, and which rows are others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labels.test_labels import ORACLES, intervened, numbers

import gaecli
from gaecli.errors import DataError, UsageError
from gaecli.label_summary import LabelVerification

TOP = {"label_quantile": 0.3, "label_side": "top"}


def write(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=17)
    return path


def verified(path: Path, column: str = "label", **settings: Any) -> LabelVerification:
    found = gaecli.verify(path, column, **settings)
    assert isinstance(found, LabelVerification)
    return found


@pytest.mark.parametrize("rule", ORACLES)
def test_labels_of_a_library_are_those_of_its_rule_but_where_changed(tmp_path: Path, rule: str) -> None:
    advantages, forced = numbers(3).astype(np.float32), intervened(4)
    labels = ORACLES[rule](advantages.astype(np.float64), forced)
    columns = {"advantage": advantages, "intervention": forced}
    settings = {"label_rule": rule, "force_positive": "intervention"}
    same = verified(write(tmp_path / "same.parquet", label=labels, **columns), **settings)
    assert (same.exit_code, same.num_rows, same.num_positive) == (0, 103, labels.sum())
    changed = labels.copy()
    rows = np.flatnonzero(~forced)[[2, 30, 40]]
    changed[rows] = ~changed[rows]
    other = verified(write(tmp_path / "other.parquet", label=changed, **columns), **settings)
    assert (other.exit_code, other.best.num_differing) == (3, 3)
    assert [(row.row, row.label, row.expected) for row in other.rows] == [
        (row, changed[row], labels[row]) for row in rows.tolist()
    ]
    assert [row.number for row in other.rows] == pytest.approx(advantages[rows].tolist())
    assert sum(one.count for one in other.differences) == 3


@pytest.mark.parametrize("rule", ["rlinf-recap", "lerobot-3764", "crr"])
def test_without_a_rule_the_one_that_fits_is_found(tmp_path: Path, rule: str) -> None:
    advantages = numbers(5, 211).astype(np.float32)
    labels = ORACLES[rule](advantages.astype(np.float64), np.zeros(211, np.bool_))
    found = verified(write(tmp_path / "labels.parquet", label=labels, advantage=advantages))
    assert (found.is_reproduced, found.best.name) == (True, rule)
    assert len(found.attempts) == len(ORACLES)


def test_groups_have_thresholds_of_their_own(tmp_path: Path) -> None:
    advantages, tasks = numbers(6).astype(np.float32), np.array(["a", "b", None], object)[np.arange(103) % 3]
    labels = np.zeros(103, np.bool_)
    for task in ("a", "b", None):
        rows = np.array([one == task for one in tasks])
        labels[rows] = advantages[rows] >= np.percentile(advantages[rows].astype(np.float64), 70)
    path = write(tmp_path / "labels.parquet", label=labels, advantage=advantages, task=tasks.tolist())
    assert verified(path, label_by="task", **TOP).is_reproduced
    assert not verified(path, **TOP).is_reproduced


def test_the_operator_tells_rows_at_the_threshold_apart(tmp_path: Path) -> None:
    advantages = np.array([0.0, 1.0, 1.0, 2.0, 3.0])
    path = write(tmp_path / "labels.parquet", label=advantages > 1.0, advantage=advantages)
    found = verified(path, label_threshold=1.0)
    (difference,) = found.differences
    assert (difference.label, difference.expected) == ("negative", "positive")
    assert (difference.count, difference.num_at_threshold, difference.first_row) == (2, 2, 1)
    assert found.between == (1.0, 2.0)
    assert verified(path, label_threshold=1.0, label_operator="gt").is_reproduced


def test_labels_that_no_threshold_makes_are_told_apart_from_those_that_one_does(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.parquet", label=[True, False, True], advantage=[0.0, 1.0, 2.0])
    found = verified(path, label_threshold=1.0)
    assert found.between is None
    assert found.best.num_differing == 2


@pytest.mark.parametrize(
    "texts", [("positive", "negative"), (" Advantage: positive", " Advantage: negative")]
)
def test_texts_and_absent_labels_are_read(tmp_path: Path, texts: tuple[str, str]) -> None:
    """Where there is no number there is no label; a label there, and none elsewhere, differ."""
    labels = [texts[1], texts[0], None, texts[0], None]
    path = write(tmp_path / "labels.parquet", label=labels, advantage=[0.0, 2.0, None, None, 3.0])
    found = verified(path, label_threshold=1.0)
    assert {(one.label, one.expected): one.first_row for one in found.differences} == {
        ("positive", "none"): 3,
        ("none", "positive"): 4,
    }
    assert found.num_rows == 4


@pytest.mark.parametrize("kind", ["nested", "npz", "hdf5", "jsonl"])
def test_every_format_is_read(tmp_path: Path, kind: str) -> None:
    """Six cells, of which the last has the wrong label; forced by row where rows are lists."""
    advantages, labels = np.array([0.0, 2.0, 3.0, -1.0, 4.0, -2.0], np.float32), [0, 1, 1, 0, 1, 1]
    path = tmp_path / f"labels.{ {'nested': 'parquet'}.get(kind, kind) }"
    if kind == "nested":
        flags = [[bool(one) for one in labels[:4]], [bool(one) for one in labels[4:]]]
        write(path, advantage=[advantages[:4].tolist(), advantages[4:].tolist()], label=flags)
    elif kind == "npz":
        np.savez(path, advantage=advantages.reshape(3, 2), label=np.array(labels, np.int8).reshape(3, 2))
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            file["advantage"], file["label"] = advantages, np.array(labels, np.int8)
    else:
        lines = [
            {"advantage": float(a), "label": bool(one)} for a, one in zip(advantages, labels, strict=True)
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = verified(path, label_threshold=1.0)
    (row,) = found.rows
    assert (row.row, row.item) == ((1, 1) if kind == "nested" else (5, None))
    assert (row.label, row.expected, row.number) == (True, False, -2.0)


@pytest.mark.parametrize("preset", ["verl", "exact"])
def test_what_a_mask_leaves_out_has_no_label(tmp_path: Path, preset: str) -> None:
    """verl writes numbers there; they are none of those that the quantile is of."""
    random, lengths = np.random.default_rng(1), [5, 7, 4, 6]
    columns: dict[str, Any] = {
        name: [random.normal(size=length).tolist() for length in lengths] for name in ("rewards", "values")
    }
    columns["response_mask"] = [(random.random(length) < 0.7).astype(int).tolist() for length in lengths]
    path = write(tmp_path / "tokens.parquet", **columns)
    gaecli.compute(path, preset=preset, **TOP)
    assert verified(path).is_reproduced
    assert verified(path, **TOP).is_reproduced
    table = pq.read_table(path)
    kept = [
        pair
        for row in zip(table["label"].to_pylist(), columns["response_mask"], strict=True)
        for pair in zip(*row, strict=True)
    ]
    assert {label is None for label, mask in kept if not mask} == {True}
    bare = table.replace_schema_metadata(None)
    pq.write_table(bare, tmp_path / "bare.parquet")
    assert verified(tmp_path / "bare.parquet", **TOP).is_reproduced
    kept_all = verified(tmp_path / "bare.parquet", mask_mode="keep", **TOP)
    assert kept_all.is_reproduced == (preset == "exact")  # whose numbers there are null


def test_what_a_row_says_is_of_all_items_of_its_lists(tmp_path: Path) -> None:
    columns = {"advantage": [[0.0, 2.0, 3.0], [4.0]], "human": [True, False], "task": ["a", "b"]}
    path = write(tmp_path / "lists.parquet", label=[[True, True, True], [False]], **columns)
    settings = {"force_positive": "human", "label_by": "task", "label_rule": "rlinf-steam"}
    assert verified(path, **settings).is_reproduced


def test_what_gaecli_wrote_is_held_against_its_own_rule(tmp_path: Path) -> None:
    """Over two files the threshold is of neither of them alone."""
    paths = []
    for number in range(2):
        advantages = numbers(number + 10) + 2.0 * number
        ends = np.arange(103) % 5 == 4
        table = {"reward": advantages, "value": np.zeros(103), "terminated": ends}
        paths.append(write(tmp_path / f"{number}.parquet", **table))
    gaecli.compute(paths, lam=0.0, gamma=1.0, **TOP)
    found = verified(paths[0])
    assert (found.best.name, found.is_reproduced) == ("as gaecli wrote it", True)
    assert found.attempts[1].num_differing > 0
    assert verified(paths[0], **TOP).is_reproduced
    assert not verified(paths[0], label_rule="kai0").is_reproduced


def test_what_is_no_label_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.parquet", label=["good", "bad"], advantage=[0.0, 1.0], other=[3, 4])
    with pytest.raises(DataError, match="holds `good`"):
        gaecli.verify(path, "label", label_threshold=0.0)
    with pytest.raises(DataError, match="holds 3, and a label is 0 or 1"):
        gaecli.verify(path, "other", label_threshold=0.0)
    bare = write(tmp_path / "bare.parquet", label=[True, False])
    with pytest.raises(UsageError, match="no column of advantages"):
        gaecli.verify(bare, "label", label_threshold=0.0)
    with pytest.raises(UsageError, match="`--preset` says nothing to labels"):
        gaecli.verify(path, "label", label_threshold=0.0, preset="sb3")


def test_the_page_names_the_rows(run_gae: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "labels.parquet", label=[True, False, True], advantage=[0.0, 1.0, 2.0])
    result = run_gae("verify", path, "--label-threshold", "0.5")
    assert result.returncode == 3
    assert "1 row positive, and negative by the rule; first at row 0" in result.stdout
    assert "2 of 3 labels differ from the rule" in result.stdout
    document = json.loads(run_gae("verify", path, "--label-threshold", "0.5", "--json").stdout)
    assert [row["row"] for row in document["rows"]] == [0, 1]
    assert document["exit_code"] == 3
