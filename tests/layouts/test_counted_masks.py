"""Trajectories padded to one length, and a column that counts their steps: used if named, asked about if not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.errors import DataError, UsageError

GAMMA, LAM = 0.9, 0.8
WIDTH, COUNTS = 5, [5, 2, 0, 3]
#: Padding holds what a buffer held before.
REWARDS = np.random.default_rng(5).normal(size=(len(COUNTS), WIDTH))
VALUES = np.random.default_rng(6).normal(size=(len(COUNTS), WIDTH))


def wanted() -> np.ndarray:
    """[rows, WIDTH] by the recursion over the first steps of each row; NaN behind them. Rows end terminally."""
    found = np.full((len(COUNTS), WIDTH), np.nan)
    for row, count in enumerate(COUNTS):
        later = value_after = 0.0
        for step in reversed(range(count)):
            delta = REWARDS[row, step] + GAMMA * value_after - VALUES[row, step]
            later = delta + GAMMA * LAM * later
            found[row, step], value_after = later, VALUES[row, step]
    return found


def written(path: Path, counts: Any, name: str = "lengths", **others: Any) -> Path:
    """Lists of a table, or arrays [B, T], or [T, N] where the name of the file says so."""
    if path.suffix == ".npz":
        turned = np.transpose if path.stem == "time" else np.asarray
        np.savez(path, rewards=turned(REWARDS), values=turned(VALUES), **{name: np.array(counts)}, **others)
    elif path.suffix == ".jsonl":
        rows = zip(REWARDS.tolist(), VALUES.tolist(), counts, strict=True)
        lines = [json.dumps({"rewards": r, "values": v, name: count}) for r, v, count in rows]
        path.write_text("\n".join(lines) + "\n")
    else:
        table = pa.table({"rewards": REWARDS.tolist(), "values": VALUES.tolist(), name: counts, **others})
        pq.write_table(table, path, row_group_size=2)
    return path


def advantages(path: Path) -> np.ndarray:
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            found = arrays["advantage"]
            return found.T if path.stem == "time" else found
    if path.suffix == ".jsonl":
        rows = [json.loads(line)["advantage"] for line in path.read_text().splitlines()]
    else:
        rows = pq.read_table(path)["advantage"].to_pylist()
    return np.array([[np.nan if cell is None else cell for cell in row] for row in rows])


LAYOUTS = {"rows.parquet": "auto", "rows.jsonl": "auto", "batch.npz": "auto", "time.npz": "time-major"}


@pytest.mark.parametrize("file", LAYOUTS)
def test_the_steps_are_those_that_are_counted(file: str, tmp_path: Path) -> None:
    path = written(tmp_path / file, COUNTS)
    options: dict[str, Any] = {"layout": LAYOUTS[file], "mask_column": "lengths", "bootstrap": "zero"}
    summary = gaecli.compute(path, gamma=GAMMA, lam=LAM, **options)
    assert summary.totals.steps == sum(COUNTS)
    np.testing.assert_allclose(advantages(path), wanted(), rtol=1e-5, atol=1e-6)


@pytest.mark.few(8)
@pytest.mark.parametrize("file", LAYOUTS)
@pytest.mark.parametrize("name", ["lengths", "seq_lens", "episodeLength", "num_steps", "n_valid_tokens"])
def test_a_count_that_nobody_named_is_asked_about(file: str, name: str, tmp_path: Path) -> None:
    path = written(tmp_path / file, COUNTS, name)
    before = path.read_bytes()
    layout = "batch-major" if file == "batch.npz" else LAYOUTS[file]
    with pytest.raises(
        UsageError, match=rf"`{name}` of .* is 2 in row 1, .* 5 slots like all others"
    ) as raised:
        gaecli.compute(path, layout=layout)
    assert raised.value.hint is not None
    assert f"--mask-column {name}" in raised.value.hint
    assert "--mask-column none" in raised.value.hint
    assert path.read_bytes() == before


def test_all_slots_are_steps_where_the_user_says_so(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.parquet", COUNTS)
    summary = gaecli.compute(path, mask_column="none", bootstrap="zero")
    assert summary.totals.steps == REWARDS.size


#: name -> (name of the column, its cells)
OTHERS: dict[str, tuple[str, list[int]]] = {
    "as many as there are": ("lengths", [WIDTH] * 4),
    "of something else by its name": ("prompt_length", COUNTS),
    "of something else by its numbers": ("episode_length", [200, 3, 2, 1]),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_counts_no_padding_is_not_asked_about(case: str, tmp_path: Path) -> None:
    name, cells = OTHERS[case]
    path = written(tmp_path / "rows.parquet", cells, name)
    assert gaecli.compute(path, bootstrap="zero").totals.steps == REWARDS.size


def test_lists_of_different_lengths_hold_no_padding(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    columns = {"rewards": [[1.0, 2.0, 3.0], [4.0]], "values": [[0.0] * 3, [0.0]], "length": [2, 1]}
    pq.write_table(pa.table(columns), path)
    assert gaecli.compute(path, bootstrap="zero").totals.steps == 4


@pytest.mark.parametrize("cells", [[5, 6, 0, 1], [5, -1, 0, 1], [5, None, 0, 1]])
def test_a_count_that_cannot_be_one_is_refused(cells: list[int | None], tmp_path: Path) -> None:
    path = written(tmp_path / "rows.parquet", cells)
    with pytest.raises(DataError, match=rf"`lengths` of .* is {cells[1]} at row 1, where there are 5 slots"):
        gaecli.compute(path, mask_column="lengths")


def test_by_an_alias_alone_no_number_per_row_is_a_mask(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.parquet", [1, 1, 0, 1], "mask")
    with pytest.raises(DataError, match=r"`mask` of .* has one number per row"):
        gaecli.compute(path)


def by_last_reward(path: Path, counts: list[int], name: str, **others: Any) -> Path:
    """Rows of which each has its only reward at the last step that counts."""
    rewards = np.zeros((len(counts), WIDTH))
    rewards[np.arange(len(counts)), np.array(counts) - 1] = 1.5
    values = np.random.default_rng(7).normal(size=rewards.shape)
    if path.suffix == ".npz":
        np.savez(path, rewards=rewards, values=values, **{name: np.array(counts)}, **others)
    else:
        table = {"rewards": rewards.tolist(), "values": values.tolist(), name: counts, **others}
        pq.write_table(pa.table(table), path)
    return path


@pytest.mark.parametrize("file", ["rows.parquet", "batch.npz"])
@pytest.mark.parametrize("name", ["eos_place", "ntok", "context"])
def test_a_number_that_ends_where_the_rewards_do_is_asked_about_by_whatever_name(
    file: str, name: str, tmp_path: Path
) -> None:
    layout = LAYOUTS[file] if file == "rows.parquet" else "batch-major"
    path = by_last_reward(tmp_path / file, [5, 2, 3, 4], name)
    with pytest.raises(UsageError, match=f"`{name}` of .* nothing says which of them are padding") as caught:
        gaecli.compute(path, layout=layout)
    assert f"--mask-column {name}" in str(caught.value.hint)
    assert gaecli.compute(path, layout=layout, mask_column=name).totals.steps == 14


def test_the_index_of_the_last_step_is_asked_about(tmp_path: Path) -> None:
    """It counts one step too few, so that it is no mask by itself."""
    counts = np.array([5, 2, 3, 4])
    rewards = np.zeros((len(counts), WIDTH))
    rewards[np.arange(len(counts)), counts - 1] = 1.5
    np.savez(tmp_path / "r.npz", rewards=rewards, values=VALUES, final=counts - 1, count=counts * 2)
    with pytest.raises(UsageError, match=r"`final` of .* nothing says which of them are padding") as caught:
        gaecli.compute(tmp_path / "r.npz", layout="batch-major")
    assert "if `final` is the index of the last step, write how many steps" in str(caught.value.hint)
    options = {"layout": "batch-major", "mask_column": "none"}
    assert gaecli.compute(tmp_path / "r.npz", **options).totals.steps == WIDTH * len(counts)


@pytest.mark.parametrize("counts", [[5, 5, 5, 5], [5, 2, 3, 5], [5, 2, 3]])
def test_other_numbers_of_rows_are_left_alone(counts: list[int], tmp_path: Path) -> None:
    """All rows are full, one of them ends elsewhere, or they are too few to say so."""
    path = by_last_reward(tmp_path / "rows.parquet", counts, "seed")
    if counts[-1:] == [5] and counts[1] != 5:
        table = pq.read_table(path)
        pq.write_table(table.set_column(2, "seed", pa.array([5, 2, 3, 4])), path)
    assert gaecli.compute(path).totals.steps == WIDTH * len(counts)


@pytest.mark.parametrize("name", ["seqlens", "completion_tokens", "token_count", "ac_len"])
def test_more_names_of_counts(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"`{name}`"):
        gaecli.compute(written(tmp_path / "rows.parquet", COUNTS, name))
