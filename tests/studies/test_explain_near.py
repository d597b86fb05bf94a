"""`gae explain --row` of a large file: the rows that the number is made of, and no others."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli.commands.explain as command
from gaecli.commands.explain import explain
from gaecli.errors import DataError
from gaecli.explanation import Explanation
from gaecli.formats.parquet.reader import ParquetInput
from gaecli.pipeline.opening import open_stream
from gaecli.report.explanation import explanation_lines
from gaecli.report.study_documents import explanation_to_dict
from gaecli.report.text import Canvas
from gaecli.settings import Settings
from gaecli.studies.locate import StepQuery

GROUP, N = 10, 120
GAMMA, LAM = 0.9, 0.8


@pytest.fixture(autouse=True)
def _units_of_a_row_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "open_stream", partial(open_stream, block_rows=GROUP))


def episodes_of(lengths: list[int]) -> Any:
    return np.repeat(np.arange(len(lengths)) * 3, lengths)


def last_of(ids: Any) -> Any:
    return np.append(ids[1:] != ids[:-1], True)


IDS = episodes_of([7, 13, 4, 31, 20, 5, 25, 15])  # one of 31 rows lies in four row groups
LATE = np.where(IDS == 3, 21, IDS)  # the last id, far from its other rows
#: Columns that tell trajectories, and the trajectory of each row, as it goes on from there.
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "flags": ({"done": last_of(IDS)}, IDS),
    "flags and ids": ({"done": last_of(IDS), "episode_id": IDS}, IDS),
    "ids alone": ({"episode_id": IDS}, IDS),
    "ids as texts": ({"episode_id": [f"run {one}" for one in IDS], "done": last_of(IDS)}, IDS),
    "environments in turn": (
        {"env_id": np.arange(N) % 3, "done": np.arange(N) // 3 % 8 == 7},
        np.arange(N) % 3 + np.arange(N) // 24 * 3,
    ),
    "an id that comes back": (
        {"episode_id": LATE, "step": np.argsort(np.argsort(LATE, kind="stable"))},
        LATE,
    ),
}


def plain(rewards: Any, values: Any, rows: Any) -> float:
    """From the first of these rows on, one after the other."""
    found = following = 0.0
    for position, row in enumerate(reversed(rows.tolist())):
        is_end = position == 0
        beyond = 0.0 if is_end else following
        found = rewards[row] + GAMMA * beyond - values[row] + (0.0 if is_end else GAMMA * LAM * found)
        following = values[row]
    return float(found)


def written(tmp_path: Path, columns: dict[str, Any], **changed: Any) -> Path:
    path = tmp_path / "rollouts.parquet"
    random = np.random.default_rng(5)
    numbers = {"reward": random.normal(size=N), "value": random.normal(size=N)}
    pq.write_table(pa.table({**numbers, **columns, **changed}), path, row_group_size=GROUP)
    return path


def explained(path: Path, row: int) -> Explanation:
    found = explain(path, StepQuery(row=row), Settings(gamma=GAMMA, lam=LAM))
    assert isinstance(found, Explanation)
    return found


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "at", [(0, 25, 54, 62, 119), pytest.param((6, 8, 39, 88), marks=pytest.mark.slow)], ids=str
)
@pytest.mark.parametrize("case", CASES)
def test_the_number_is_that_of_its_whole_trajectory(tmp_path: Path, case: str, at: tuple[int, ...]) -> None:
    columns, trajectories = CASES[case]
    path = written(tmp_path, columns)
    table = pq.read_table(path)
    rewards, values = (table.column(name).to_numpy() for name in ("reward", "value"))
    for row in at:
        rows = row + np.flatnonzero(trajectories[row:] == trajectories[row])
        found = explained(path, row)
        # Sums of at most 31 terms, each rounded a few times.
        assert found.recursion == pytest.approx(plain(rewards, values, rows), rel=1e-12, abs=1e-12)
        assert found.end_row == rows[-1]


@pytest.mark.parametrize(
    ("case", "row", "first", "last"),
    [
        ("flags", 2, 0, 9),
        ("flags", 26, 20, 59),  # two row groups would do, and four are what comes after two
        ("flags and ids", 62, 60, 79),
        ("ids alone", 88, 80, 119),
        ("ids alone", 76, 70, 89),  # it stops with the row group, and could go on
        ("environments in turn", 45, 40, 49),
    ],
)
def test_row_groups_from_its_own_to_the_end_of_its_trajectory_are_read(
    tmp_path: Path, case: str, row: int, first: int, last: int
) -> None:
    found = explained(written(tmp_path, CASES[case][0]), row)
    assert explanation_to_dict(found)["rows_seen"] == {"first": first, "last": last, "num_rows": N}


def test_an_id_that_comes_back_far_away_is_found(tmp_path: Path) -> None:
    assert explained(written(tmp_path, CASES["an id that comes back"][0]), 8).rows_seen is None


def test_flags_at_starts_end_no_episode_where_ids_come_back_far_away(tmp_path: Path) -> None:
    starts, beyond = np.append(True, IDS[1:] != IDS[:-1]), np.full(N, 2.0)
    starts[105] = False  # there an episode goes on that stands in rows 7 to 19
    path = written(tmp_path, {"episode_id": LATE, "episode_start": starts, "next_value": beyond})
    table = pq.read_table(path)
    rewards, values = (table.column(name).to_numpy() for name in ("reward", "value"))
    expected = 0.0
    for row in (23, 22, 21):
        expected = rewards[row] + GAMMA * 2.0 - values[row] + GAMMA * LAM * expected
    assert explained(path, 21).recursion == pytest.approx(expected, rel=1e-12)


def swapped() -> Any:
    """Of rows 24 to 54, an episode in four row groups, the later half comes first, cut where a row group ends."""
    steps = np.concatenate([np.arange(length) for length in np.unique(IDS, return_counts=True)[1]])
    steps[24:55] = np.roll(steps[24:55], 16)
    return steps


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["step", "timestamp"])
@pytest.mark.parametrize("order", ["halves", "all"])
def test_rows_that_come_later_by_their_steps_may_stand_before(tmp_path: Path, name: str, order: str) -> None:
    """Each row group alone is in order, or says that the others are needed."""
    steps = swapped()
    if order == "all":
        mixed = np.random.default_rng(1).permutation(N)
        steps = np.argsort(np.argsort(IDS * N + mixed)) - np.searchsorted(IDS, IDS)
    path = written(tmp_path, {"episode_id": IDS, name: steps})
    table = pq.read_table(path)
    rewards, values = (table.column(name).to_numpy() for name in ("reward", "value"))
    for row in (2, 30, 42, 54, 70, 119):
        later = np.flatnonzero((steps >= steps[row]) & (IDS[row] == IDS))
        rows = later[np.argsort(steps[later])]
        found = explained(path, row)
        assert found.recursion == pytest.approx(plain(rewards, values, rows), rel=1e-12, abs=1e-12)
        assert found.end_row == rows[-1]


@pytest.mark.parametrize(
    ("case", "has_statistics"), [("flags and ids", True), ("ids as texts", True), ("ids alone", False)]
)
def test_row_groups_that_cannot_have_its_ids_are_not_read_and_a_row_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, has_statistics: bool
) -> None:
    """Ids of texts are in the order of texts: run 12 lies between run 0 and run 3."""
    path = tmp_path / "rollouts.parquet"
    numbers = {"reward": np.ones(N), "value": np.zeros(N), **CASES[case][0]}
    pq.write_table(pa.table(numbers), path, row_group_size=GROUP, write_statistics=has_statistics)
    read: list[tuple[int, int]] = []
    plain_blocks = ParquetInput.blocks

    def blocks(file: Any, unit: Any, names: Any, rows_per_block: int) -> Any:
        read.append((unit.start, len(names)))
        return plain_blocks(file, unit, names, rows_per_block)

    monkeypatch.setattr(ParquetInput, "blocks", blocks)
    found = explained(path, 62)
    assert found.end_row == 74
    assert [start for start, count in read if count > 1].count(70) == 1
    others = {start for start, _ in read} - {60, 70}
    if has_statistics:
        # In 50 to 59 its trajectory begins.
        assert others == {50, *([0] if case == "ids as texts" else [])}
    else:
        assert others == set(range(0, N, GROUP)) - {60, 70}


def test_what_is_wrong_elsewhere_is_for_check_and_what_is_wrong_here_is_an_error(tmp_path: Path) -> None:
    rewards = np.ones(N)
    rewards[47] = np.nan
    path = written(tmp_path, CASES["flags and ids"][0], reward=rewards)
    assert explained(path, 100).rows_seen is not None
    with pytest.raises(DataError, match=r"`reward` is NaN at row 47"):
        explained(path, 41)


def test_the_page_says_what_was_looked_at(tmp_path: Path) -> None:
    lines = explanation_lines(explained(written(tmp_path, CASES["flags"][0]), 2), Canvas(80))
    assert "looked at     rows 0 to 9 of 120 · `gae check` looks at all" in [str(line) for line in lines]
