"""Ids, agents and steps in lists beside the rewards: a row may hold several trajectories, which are told apart."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from layouts.rows_in_files import TABLES, advantages, column, computed, write

import gaecli
from gaecli.commands.check import check
from gaecli.errors import DataError, UsageError


def batches(
    seed: int, num_rows: int = 5, *, order: str = "in turn"
) -> tuple[dict[str, Any], list[list[float]]]:
    """(lists of several trajectories each, the advantages of their items).

    `order`: one trajectory after the other, step by step in turn ("interleaved"), or any ("shuffled").
    """
    random.seed(seed)
    columns: dict[str, Any] = {
        name: []
        for name in (
            "rewards",
            "vf_preds",
            "eps_id",
            "agent_index",
            "unroll_id",
            "t",
            "terminateds",
            "next_value",
        )
    }
    wanted = []
    for row in range(num_rows):
        items = []
        for number in range(random.randint(1, 4)):
            length = random.randint(1, 5)
            rewards = [round(random.gauss(0, 1), 2) for _ in range(length)]
            values = [round(random.gauss(0, 1), 2) for _ in range(length)]
            end, beyond, first = random.random() < 0.5, round(random.gauss(0, 1), 2), random.randint(0, 9)
            found = advantages(rewards, values, is_terminal=end, beyond=beyond)
            # An episode of two agents: both have its id, and only together with the agent it is a key.
            episode, agent = 10 * row + number // 2, number % 2
            for time in range(length):
                is_last = time == length - 1
                given = beyond if is_last else None
                items.append(
                    (
                        rewards[time],
                        values[time],
                        episode,
                        agent,
                        row,
                        first + time,
                        end and is_last,
                        given,
                        found[time],
                    )
                )
        if order == "shuffled":
            random.shuffle(items)
        elif order == "interleaved":
            items.sort(key=lambda item: item[5])
        for name, cells in zip(columns, zip(*(item[:-1] for item in items), strict=True), strict=True):
            columns[name].append(list(cells))
        wanted.append([item[-1] for item in items])
    return columns, wanted


def flat(lists: Sequence[Sequence[float]]) -> list[float]:
    return [item for items in lists for item in items]


@pytest.mark.turns
@pytest.mark.parametrize("suffix", TABLES)
@pytest.mark.parametrize("order", ["in turn", "interleaved", "shuffled"])
@pytest.mark.parametrize("seeds", [range(2), pytest.param(range(2, 6), marks=pytest.mark.slow)], ids=str)
def test_lists_are_cut_and_ordered_by_their_keys(
    seeds: range, order: str, suffix: str, tmp_path: Path
) -> None:
    for seed in seeds:
        columns, wanted = batches(seed, order=order)
        found, summary = computed(tmp_path / f"batches{suffix}", columns)
        assert [len(items) for items in found] == [len(items) for items in wanted]
        np.testing.assert_allclose(flat(found), flat(wanted), rtol=1e-5, atol=1e-5)  # written as float32
        assert (summary.files[0].layout, summary.warnings) == ("nested", [])


@pytest.mark.parametrize("kind", [pa.large_list, pa.list_view])
def test_lists_of_any_type(kind: Any, tmp_path: Path) -> None:
    columns, wanted = batches(3, order="shuffled")
    typed = {name: pa.array(cells, kind(pa.array(flat(cells)).type)) for name, cells in columns.items()}
    found, _ = computed(tmp_path / "batches.arrow", typed)
    np.testing.assert_allclose(flat(found), flat(wanted), rtol=1e-5, atol=1e-5)


def test_blocks_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gaecli.pipeline.opening as opening

    columns, wanted = batches(8, num_rows=40, order="shuffled")
    monkeypatch.setattr(opening, "rows_per_block", lambda memory_bytes: 16)
    found, _ = computed(tmp_path / "batches.parquet", columns)
    np.testing.assert_allclose(flat(found), flat(wanted), rtol=1e-5, atol=1e-5)


def test_files_of_a_stream_are_batches_of_their_own(tmp_path: Path) -> None:
    """Their rows count from 0 in each file."""
    wanted = []
    for number in range(3):
        columns, part = batches(number, num_rows=1)
        columns["eps_id"] = [[100 * number + item for item in items] for items in columns["eps_id"]]
        write(tmp_path / f"part-0000{number}-of-00003.jsonl", columns)
        wanted.append(part)
    assert gaecli.compute(tmp_path).exit_code == 0
    for number in range(3):
        found = column(tmp_path / f"part-0000{number}-of-00003.jsonl", "advantage")
        np.testing.assert_allclose(flat(found), flat(wanted[number]), rtol=1e-5, atol=1e-5)


def test_keys_may_be_named(tmp_path: Path) -> None:
    columns, wanted = batches(4, order="shuffled")
    columns["which"] = [
        [f"{episode}/{agent}" for episode, agent in zip(*pair, strict=True)]
        for pair in zip(columns.pop("eps_id"), columns.pop("agent_index"), strict=True)
    ]
    columns["when"] = columns.pop("t")
    found, _ = computed(tmp_path / "batches.parquet", columns, episode_column="which", step_column="when")
    np.testing.assert_allclose(flat(found), flat(wanted), rtol=1e-5, atol=1e-5)


def test_steps_alone_order_the_items_of_a_row(tmp_path: Path) -> None:
    columns = {"rewards": [[4.0, 1.0, 2.0], [8.0]], "values": [[0.0] * 3, [0.0]], "t": [[2, 0, 1], [5]]}
    found, _ = computed(tmp_path / "rows.parquet", columns, gamma=1.0, lam=1.0)
    assert found == [[4.0, 7.0, 6.0], [8.0]]


def test_values_that_are_one_longer_end_the_row(tmp_path: Path) -> None:
    columns = {"rewards": [[1.0, 2.0], [4.0]], "values": [[0.0, 0.0, 8.0], [0.0, 16.0]], "t": [[0, 1], [0]]}
    found, summary = computed(tmp_path / "rows.parquet", columns, gamma=1.0, lam=1.0)
    assert found == [[11.0, 10.0], [20.0]]
    assert summary.bootstrapped.next_value == 2


def test_flags_and_values_of_rows_are_those_of_their_last_steps(tmp_path: Path) -> None:
    columns = {
        "rewards": [[1.0, 2.0], [4.0, 8.0]],
        "values": [[0.0, 0.0], [0.0, 0.0]],
        "t": [[0, 1], [0, 1]],
        "terminated": [True, False],
        "bootstrap_value": [None, 16.0],
    }
    found, _ = computed(tmp_path / "rows.parquet", columns, gamma=1.0, lam=1.0)
    assert found == [[3.0, 2.0], [28.0, 24.0]]


def test_empty_and_null_rows_stay_as_they_are(tmp_path: Path) -> None:
    kind, ids = pa.list_(pa.float64()), pa.list_(pa.int64())
    columns = {
        "rewards": pa.array([[1.0, 2.0], [], None, [4.0]], kind),
        "values": pa.array([[0.0, 0.0], [], None, [0.0]], kind),
        "eps_id": pa.array([[1, 2], [], None, [3]], ids),
        "terminateds": pa.array([[True, True], [], None, [True]], pa.list_(pa.bool_())),
    }
    found, _ = computed(tmp_path / "rows.parquet", columns)
    assert found == [[1.0, 2.0], [], None, [4.0]]


ONE = {"rewards": [[1.0, 2.0], [4.0, 8.0]], "values": [[0.0, 0.0], [0.0, 0.0]]}


def test_a_trajectory_that_goes_on_in_the_next_row_is_asked_about(tmp_path: Path) -> None:
    columns = {**ONE, "eps_id": [[7, 7], [7, 7]], "t": [[0, 1], [2, 3]]}
    path = write(tmp_path / "rows.jsonl", columns)
    with pytest.raises(UsageError, match=r"`eps_id` of row 1 .* was in row 0") as raised:
        gaecli.compute(path)
    assert "--layout nested" in str(raised.value.hint)
    found, _ = computed(path, columns, layout="nested", gamma=1.0, lam=1.0)
    assert found == [[3.0, 2.0], [12.0, 8.0]]


def test_an_id_may_come_again_once_its_trajectory_has_ended(tmp_path: Path) -> None:
    columns = {**ONE, "eps_id": [[7, 7], [7, 7]], "terminateds": [[False, True]] * 2}
    found, _ = computed(tmp_path / "rows.jsonl", columns, gamma=1.0, lam=1.0)
    assert found == [[3.0, 2.0], [12.0, 8.0]]


def test_unrolls_of_one_episode_are_trajectories_of_their_own(tmp_path: Path) -> None:
    columns = {**ONE, "eps_id": [[7, 7], [7, 7]], "unroll_id": [[0, 0], [1, 1]]}
    found, summary = computed(tmp_path / "rows.jsonl", columns, gamma=1.0, lam=1.0)
    assert found == [[3.0, 2.0], [12.0, 8.0]]
    assert [note.code for note in summary.warnings] == ["bootstrap-zero"]


@pytest.mark.parametrize("name", ["agent_id", "env_id", "agent_index"])
@pytest.mark.parametrize("flags", [{}, {"dones": [[False, False]] * 4}])
def test_a_row_with_an_item_for_every_agent_is_a_time_step(
    name: str, flags: dict[str, Any], tmp_path: Path
) -> None:
    pairs = [[1.0, 2.0]] * 4
    path = write(tmp_path / "rows.parquet", {"rewards": pairs, "values": pairs, name: [[0, 1]] * 4, **flags})
    with pytest.raises(UsageError, match=f"`{name}`"):
        gaecli.compute(path)


def test_agents_of_every_row_may_be_numbered_alike(tmp_path: Path) -> None:
    columns = {"rewards": [[1.0, 2.0, 4.0]] * 2, "values": [[0.0] * 3] * 2, "agent_id": [["a", "b", "b"]] * 2}
    found, _ = computed(tmp_path / "rows.parquet", columns, gamma=1.0, lam=1.0)
    assert found == [[1.0, 6.0, 4.0]] * 2


#: (what is wrong with the lists, the error, what its message holds)
WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a step twice": ({"t": [[0, 0], [0, 1]]}, DataError, "`t` is 0 twice"),
    "a step missing": (
        {"rewards": [[1.0] * 3] * 2, "values": [[0.0] * 3] * 2, "t": [[0, 1, 3], [0, 1, 2]]},
        DataError,
        "row 0, item 2",
    ),
    "an end inside": (
        {
            "rewards": [[1.0] * 3] * 2,
            "values": [[0.0] * 3] * 2,
            "eps_id": [[1, 1, 1], [2, 2, 2]],
            "done": [[False, False, True], [False, True, False]],
        },
        DataError,
        "row 1 ",
    ),
    "ids of another length": ({"eps_id": [[1, 1], [2]]}, DataError, "`eps_id` has 1 items at row 1"),
    "a mask": ({"eps_id": [[1, 1], [2, 2]], "mask": [[1, 0], [1, 1]]}, UsageError, "`mask`"),
    "a reward that is NaN": (
        {"rewards": [[1.0, 2.0], [4.0, float("nan")]], "eps_id": [[1, 1], [2, 2]]},
        DataError,
        "row 1, item 1",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_its_row_and_item(case: str, tmp_path: Path) -> None:
    columns, error, text = WRONG[case]
    with pytest.raises(error) as raised:
        gaecli.compute(write(tmp_path / "rows.parquet", {**ONE, **columns}))
    assert text in str(raised.value)


def test_no_episode_column_takes_a_row_for_a_trajectory(tmp_path: Path) -> None:
    columns = {**ONE, "eps_id": [[1, 2], [3, 4]]}
    found, _ = computed(tmp_path / "rows.parquet", columns, gamma=1.0, lam=1.0, episode_column="none")
    assert found == [[3.0, 2.0], [12.0, 8.0]]


def test_other_commands_see_the_same(tmp_path: Path) -> None:
    columns, wanted = batches(5, order="shuffled")
    path = write(tmp_path / "batches.parquet", columns)
    info = gaecli.inspect(path, episodes=True)
    assert (info.problem, "cut by `eps_id`" in str(info.layout_reason)) == (None, True)
    assert {episode.row for episode in info.episodes} == set(range(5))
    assert check([path]).findings == []
    row, item = 2, 0
    assert gaecli.explain(path, row, step=item).recursion == pytest.approx(wanted[row][item], abs=1e-9)
