"""However the rows of a long table stand and are cut into blocks and files, the numbers are the same.

The oracle takes whole trajectories and loops over their steps in plain floats. It shares nothing with what
it tests. Results pass through float32 columns, so that they may differ by one unit in the last place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from covers import turns
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

import gaecli
import gaecli.commands.compute as run_module
from gaecli.formats.registry import open_file

GAMMA, LAM = 0.97, 0.9
#: Blocks of so many rows: the smallest memory limit would still take thousands.
ROWS_PER_BLOCK = (5, 10_000)


@dataclass(frozen=True)
class Episode:
    """One trajectory, by itself."""

    env: int
    number: int
    rewards: Sequence[float]
    values: Sequence[float]
    end: str  # "terminated", "truncated" or "open"
    #: V beyond the end where the file has it, else None.
    next_value: float | None
    is_bad: bool = False

    @property
    def num_steps(self) -> int:
        return len(self.rewards)

    def advantages(self) -> list[float]:
        beyond = 0.0 if self.end == "terminated" or self.next_value is None else self.next_value
        found, following = [], 0.0
        for t in reversed(range(self.num_steps)):
            following_value = beyond if t == self.num_steps - 1 else self.values[t + 1]
            following = self.rewards[t] + GAMMA * following_value - self.values[t] + GAMMA * LAM * following
            found.append(following)
        return found[::-1]


Row = dict[str, Any]


def rows_of(episode: Episode) -> list[Row]:
    """Rows with all that a file may say; `wanted` is what is expected of them."""
    wanted = episode.advantages()
    rows = []
    for t in range(episode.num_steps):
        is_last = t == episode.num_steps - 1
        rows.append(
            {
                "env_id": episode.env,
                "episode_id": episode.number,
                "step": t,
                "reward": float("nan") if episode.is_bad and t == 0 else episode.rewards[t],
                "value": episode.values[t],
                "terminated": is_last and episode.end == "terminated",
                "truncated": is_last and episode.end == "truncated",
                "episode_start": t == 0,
                "next_value": episode.next_value if is_last else None,
                "wanted": None if episode.is_bad else wanted[t],
                "group": episode.number % 3,
            }
        )
    return rows


@st.composite
def rollouts(draw: st.DrawFn, *, all_terminated: bool = False, bad: bool = False) -> list[Episode]:
    """Episodes of a few environments, in the order in which each environment ran them.

    The first example takes the first of every choice, and few others come in every run: so choices take turns, and
    two environments of three episodes are the first.
    """
    num_envs = draw(st.sampled_from([2, 1, 3, 4]))
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    episodes = []
    number = 0
    for env in range(num_envs):
        for _ in range(draw(st.sampled_from([3, 1, 2, 4, 5]))):
            length = draw(_by_turns([1, 2, 3, 7, 20], number))
            end = (
                "terminated"
                if all_terminated
                else draw(_by_turns(["terminated", "truncated", "open"], number))
            )
            has_value = draw(_by_turns([False, False, True], number // 2)) and not all_terminated
            episodes.append(
                Episode(
                    env,
                    number,
                    generator.normal(size=length).tolist(),
                    generator.normal(size=length).tolist(),
                    end,
                    float(generator.normal()) if has_value else None,
                    is_bad=bad and draw(_by_turns([False, True], number)),
                )
            )
            number += 1
    return episodes


def _by_turns(choices: list[Any], number: int) -> st.SearchStrategy[Any]:
    turn = number % len(choices)
    return st.sampled_from(choices[turn:] + choices[:turn])


def interleaved(episodes: Sequence[Episode]) -> list[Row]:
    """Row t of every environment, then row t + 1; environments end at different times."""
    lanes: dict[int, list[Row]] = {}
    for episode in episodes:
        lanes.setdefault(episode.env, []).extend(rows_of(episode))
    longest = max(len(rows) for rows in lanes.values())
    return [rows[t] for t in range(longest) for rows in lanes.values() if t < len(rows)]


def contiguous(episodes: Sequence[Episode]) -> list[Row]:
    return [row for episode in episodes for row in rows_of(episode)]


ARRANGEMENTS = {"contiguous": contiguous, "interleaved": interleaved}
#: Columns that a file has beside rewards and values, so that its trajectories can be told apart.
KEYS: Mapping[str, tuple[str, ...]] = {
    "env and episode": ("env_id", "episode_id", "step", "terminated", "truncated"),
    "episode": ("episode_id", "step", "terminated", "truncated"),
    "episode without steps": ("episode_id", "terminated", "truncated"),
    "env and flags": ("env_id", "terminated", "truncated"),
}


def compute(
    rows: Sequence[Row], columns: Sequence[str], folder: Path, rows_per_block: int, **options: Any
) -> pa.Table:
    """The rows through files and blocks; several files where `num_files` says so."""
    num_files = options.pop("num_files", 1)
    names = [*columns, "reward", "value", "next_value", "wanted", "group"]
    schema = pa.schema([(name, TYPES[name]) for name in names])
    table = pa.Table.from_pylist([{name: row[name] for name in names} for row in rows], schema)
    size = -(-len(table) // num_files)
    for old in folder.iterdir():
        old.unlink()
    paths = []
    for number in range(num_files):
        path = folder / f"rows-{number:05d}-of-{num_files:05d}.parquet"
        pq.write_table(table.slice(number * size, size), path, row_group_size=4)
        paths.append(path)
    before = run_module.rows_per_block
    run_module.rows_per_block = lambda memory: rows_per_block  # type: ignore[assignment]
    try:
        gaecli.compute(paths, gamma=GAMMA, lam=LAM, overwrite=True, **options)
    finally:
        run_module.rows_per_block = before
    return pa.concat_tables(pq.read_table(path) for path in paths)


TYPES = {
    "env_id": pa.int32(),
    "episode_id": pa.int64(),
    "step": pa.int64(),
    "reward": pa.float64(),
    "value": pa.float64(),
    "terminated": pa.bool_(),
    "truncated": pa.bool_(),
    "episode_start": pa.bool_(),
    "next_value": pa.float64(),
    "last_values": pa.float64(),
    "wanted": pa.float64(),
    "group": pa.int64(),
}


def assert_wanted(table: pa.Table, wanted: str = "wanted") -> None:
    found = table.column("advantage").to_pylist()
    expected = table.column(wanted).to_pylist()
    assert [value is None for value in found] == [value is None for value in expected]
    present = [(a, b) for a, b in zip(found, expected, strict=True) if a is not None]
    np.testing.assert_allclose(
        [a for a, _ in present], [b for _, b in present], rtol=2e-7, atol=1e-6, err_msg="advantage"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples: every one writes the same names."""
    return tmp_path_factory.mktemp("blocks")


@pytest.mark.few(2)
@pytest.mark.parametrize(("rows_per_block", "keys", "arrangement"), turns(ROWS_PER_BLOCK, KEYS, ARRANGEMENTS))
@given(episodes=rollouts(), num_files=st.sampled_from([2, 1, 3]))
@examples(5)
def test_blocks_and_files_do_not_change_the_numbers(
    folder: Path, arrangement: str, keys: str, rows_per_block: int, episodes: list[Episode], num_files: int
) -> None:
    if keys == "env and flags":  # without ids only a flag tells where an episode ends
        episodes = [
            replace(
                one, end="truncated" if one.end == "open" and not is_last_of_env(one, episodes) else one.end
            )
            for one in episodes
        ]
    rows = ARRANGEMENTS[arrangement](episodes)
    assert_wanted(compute(rows, KEYS[keys], folder, rows_per_block, num_files=num_files))


def is_last_of_env(episode: Episode, episodes: Sequence[Episode]) -> bool:
    return episode is [other for other in episodes if other.env == episode.env][-1]


@pytest.mark.parametrize(
    ("rows_per_block", "arrangement", "columns"),
    turns(
        ROWS_PER_BLOCK,
        ARRANGEMENTS,
        [("env_id", "episode_start"), ("env_id", "episode_id", "episode_start")],
    ),
)
@given(episodes=rollouts(all_terminated=True), num_files=st.sampled_from([2, 1, 3]))
@examples(5)
def test_start_flags_end_the_step_before_them_wherever_it_stands(
    folder: Path,
    columns: tuple[str, ...],
    arrangement: str,
    rows_per_block: int,
    episodes: list[Episode],
    num_files: int,
) -> None:
    """The last episode of an environment has no flag after it: it is open, which counts as 0 here as well."""
    rows = ARRANGEMENTS[arrangement](episodes)
    assert_wanted(compute(rows, columns, folder, rows_per_block, num_files=num_files))


@pytest.mark.parametrize("rows_per_block", ROWS_PER_BLOCK)
@given(episodes=rollouts(), order=st.randoms(use_true_random=False))
@examples(5)
def test_shuffled_rows_are_sorted_by_their_step_and_written_where_they_stood(
    folder: Path, rows_per_block: int, episodes: list[Episode], order: Any
) -> None:
    rows = contiguous(episodes)
    order.shuffle(rows)
    table = compute(rows, KEYS["env and episode"], folder, rows_per_block)
    assert table.column("value").to_pylist() == [row["value"] for row in rows]
    assert_wanted(table)


@given(episodes=rollouts(), order=st.randoms(use_true_random=False))
@examples(5)
def test_shuffled_rows_of_environments_are_sorted_by_the_time_of_each(
    folder: Path, episodes: list[Episode], order: Any
) -> None:
    """No ids: `t` counts through all episodes of an environment, so that it gives the order."""
    rows = contiguous([replace(one, end="truncated" if one.end == "open" else one.end) for one in episodes])
    time: dict[int, int] = {}
    for row in rows:
        row["step"] = time[row["env_id"]] = time.get(row["env_id"], -1) + 1
    order.shuffle(rows)
    assert_wanted(compute(rows, ("env_id", "step", "terminated", "truncated"), folder, 10_000))


@pytest.mark.turns
@pytest.mark.parametrize("rows_per_block", ROWS_PER_BLOCK)
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@given(episodes=rollouts(bad=True), num_files=st.sampled_from([2, 1, 3]))
@examples(5)
def test_one_bad_cell_leaves_its_whole_episode_out_and_no_other(
    folder: Path, arrangement: str, rows_per_block: int, episodes: list[Episode], num_files: int
) -> None:
    rows = ARRANGEMENTS[arrangement](episodes)
    options = {"num_files": num_files, "on_nan": "drop-episode"}
    assert_wanted(compute(rows, KEYS["env and episode"], folder, rows_per_block, **options))


def normalized(rows: Sequence[Row], key: str | None) -> list[Row]:
    """(A - mean) / (std + 1e-8) within equal values of `key`; one step, or no spread, gives 0."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(None if key is None else row[key], []).append(row)
    for group in groups.values():
        numbers = np.array([row["wanted"] for row in group])
        spread = numbers.std(ddof=1) if len(numbers) > 1 else 0.0
        for row, number in zip(group, numbers, strict=True):
            row["wanted"] = float((number - numbers.mean()) / (spread + 1e-8)) if spread > 0 else 0.0
    return list(rows)


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("rows_per_block", "arrangement", "scope"),
    turns(ROWS_PER_BLOCK, ARRANGEMENTS, ["all", "episode", "column"]),
)
@given(episodes=rollouts(), num_files=st.sampled_from([2, 1, 3]))
@examples(4)
def test_normalisation_reaches_over_blocks_and_files(
    folder: Path, scope: str, arrangement: str, rows_per_block: int, episodes: list[Episode], num_files: int
) -> None:
    key = {"all": None, "episode": "episode_id", "column": "group"}[scope]
    rows = normalized(ARRANGEMENTS[arrangement](episodes), key)
    options = {"normalize_by": "group"} if scope == "column" else {"normalize": scope}
    table = compute(rows, KEYS["env and episode"], folder, rows_per_block, num_files=num_files, **options)
    np.testing.assert_allclose(
        table.column("advantage").to_numpy(), table.column("wanted").to_numpy(), rtol=1e-6, atol=1e-5
    )


@pytest.mark.parametrize("rows_per_block", ROWS_PER_BLOCK)
@given(episodes=rollouts(), num_files=st.sampled_from([2, 1, 3]))
@examples(5)
def test_a_column_that_holds_values_at_ends_only_is_filler_elsewhere(
    folder: Path, rows_per_block: int, episodes: list[Episode], num_files: int
) -> None:
    """RLlib's `values_bootstrapped` is 0 in all other rows, the last ones of blocks among them."""
    rows = contiguous(episodes)
    for row in rows:
        row["last_values"] = 0.0 if row["next_value"] is None else row["next_value"]
        row["next_value"] = None
    columns = ("episode_id", "terminated", "truncated", "last_values")
    assert_wanted(compute(rows, columns, folder, rows_per_block, num_files=num_files))


def test_long_lists_are_read_in_blocks_of_items(tmp_path: Path) -> None:
    """A thousand rows of a thousand tokens are a million steps, and none of the memory limits is meant for that."""
    rewards = [[1.0] * 1000 for _ in range(30)]
    path = tmp_path / "tokens.parquet"
    pq.write_table(pa.table({"rewards": rewards, "values": rewards}), path, row_group_size=10)
    file = open_file(path)
    units = file.units(5_000, "rewards")
    assert [unit.num_rows for unit in units] == [10, 10, 10]
    blocks = [stop - start for unit in units for start, stop, _ in file.blocks(unit, ["rewards"], 5_000)]
    assert blocks == [5] * 6
