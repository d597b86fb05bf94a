"""What a rule says does not depend on where blocks end, nor on where files do that follow one another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checks.planted import Columns, clean_rollout, ends, rows, steps_in_episode, with_done, without, write
from pipeline.running import small_blocks

import gaecli
from gaecli.checks.registry import RULES
from gaecli.commands import check as checkup
from gaecli.settings import Settings


def filler_rows(columns: Columns) -> Columns:
    """A row that is no step after every end, as next-step autoreset leaves it."""
    found = without(with_done(columns), "t", "episode_id", "env_id")
    at = np.flatnonzero(found["done"][:-1]) + 1
    longer = {name: np.insert(values, at, values[at]) for name, values in found.items()}
    places = at + np.arange(len(at))
    longer["reward"][places], longer["done"][places] = 0.0, False
    return longer


def out_of_order(columns: Columns) -> Columns:
    order = np.arange(len(columns["t"]))
    order[[20, 21, 62, 63]] = order[[21, 20, 63, 62]]
    return rows(columns, order)


def gaps(columns: Columns) -> Columns:
    return rows(columns, np.delete(np.arange(len(columns["t"])), [30, 63, 64, 100]))


def repeated(columns: Columns) -> Columns:
    steps = columns["t"].copy()
    steps[[50, 64]] = steps[[49, 63]]
    return {**columns, "t": steps}


def flags_inside(columns: Columns) -> Columns:
    flags = columns["terminated"].copy()
    flags[[10, 62, 127]] = True
    return {**columns, "terminated": flags}


def start_flags(columns: Columns) -> Columns:
    return with_done(columns, at="start")


def first_row_ends(columns: Columns) -> Columns:
    return without(with_done(columns, at="start"), "episode_id", "env_id", "t")


def no_flags(columns: Columns) -> Columns:
    never = np.zeros(len(columns["t"]), np.bool_)
    found = without(columns, "episode_id", "env_id", "terminated", "truncated", "next_value")
    return {**found, "t": steps_in_episode(columns), "done": never}


def added(columns: Columns) -> Columns:
    rewards, at = columns["reward"].copy(), ends(columns, "truncated")
    rewards[at] += np.float32(0.99) * columns["next_value"][at]
    return {**columns, "reward": rewards}


def a_row_late(columns: Columns) -> Columns:
    return {**without(columns, "next_value"), "reward": np.roll(columns["reward"], 1)}


def a_row_early(columns: Columns) -> Columns:
    return {**without(columns, "next_value"), "reward": np.roll(columns["reward"], -1)}


def values_of_the_row_below(columns: Columns) -> Columns:
    return {**columns, "next_value": np.append(columns["value"][1:], np.float32(0))}


def small_values(columns: Columns) -> Columns:
    """Each episode goes on over several blocks, and so do its returns."""
    found = with_done(columns)
    return {**found, "value": found["value"] * np.float32(0.01)}


PLANTED: dict[str, tuple[Callable[[Columns], Columns], set[str]]] = {
    "GAE101": (filler_rows, {"GAE101"}),
    "GAE403": (out_of_order, {"GAE403"}),
    "GAE402": (gaps, {"GAE402"}),
    "GAE401": (repeated, {"GAE401", "GAE402"}),
    "GAE003": (flags_inside, {"GAE003"}),
    "GAE001": (start_flags, {"GAE001"}),
    "GAE002": (first_row_ends, {"GAE002"}),
    "GAE404": (no_flags, {"GAE404"}),
    "GAE102": (added, {"GAE102"}),
    "GAE103 late": (a_row_late, {"GAE103"}),
    "GAE103 early": (a_row_early, {"GAE103"}),
    "GAE204": (values_of_the_row_below, {"GAE204"}),
    "GAE202": (small_values, {"GAE202"}),
}
#: Rows of a group and of a block: blocks of several groups, and groups of several blocks.
CUTS = ((23, 23), (1 << 20, 19))
MORE_CUTS = ((1, 1), (2, 2), (3, 3), (9, 9), (1 << 20, 7), (64, 64), *CUTS)


def short_rollout() -> Columns:
    columns = clean_rollout()
    return rows(columns, np.flatnonzero(columns["t"] < 140))


def found_in(paths: list[Path], block_rows: int, patch: pytest.MonkeyPatch, **settings: bool) -> list[tuple]:
    with patch.context() as here:
        here.setattr(checkup, "rows_per_block", lambda memory_bytes: block_rows)
        checked = checkup.check(paths, Settings(**settings))
    assert not checked.failures
    return [
        (one.rule.code, one.count, one.message, one.row, one.place, Path(one.file).name)
        for one in checked.findings
    ]


def test_that_every_rule_about_steps_is_tried() -> None:
    """But those that look at one step alone, or at the longest episode, which carries its age."""
    steps = {rule.code for rule in RULES if rule.scope == "steps"}
    assert steps - set().union(*(codes for _, codes in PLANTED.values())) == {"GAE005", "GAE201"}


@pytest.mark.few(7)
@pytest.mark.parametrize(
    ("planted", "cut"),
    [
        *((planted, CUTS[number % 2]) for number, planted in enumerate(PLANTED)),
        *(
            pytest.param(planted, cut, marks=pytest.mark.slow)
            for number, planted in enumerate(PLANTED)
            for cut in MORE_CUTS
            if cut != CUTS[number % 2]
        ),
    ],
)
def test_findings_do_not_depend_on_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str, cut: tuple[int, int]
) -> None:
    spoil, codes = PLANTED[planted]
    columns = spoil(short_rollout())
    path = tmp_path / "rollouts.parquet"
    whole = found_in([write(path, columns, row_group_rows=1 << 20)], 1 << 30, monkeypatch)
    assert {code for code, *_ in whole} == codes
    group_rows, block_rows = cut
    write(path, columns, row_group_rows=group_rows)
    assert found_in([path], block_rows, monkeypatch) == whole


@pytest.mark.parametrize("planted", ["GAE101", "GAE003", "GAE103 late"])
def test_findings_do_not_depend_on_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    """A border just behind an end that is found, and others anywhere: codes, counts and words are the same."""
    spoil, _ = PLANTED[planted]
    columns = spoil(short_rollout())
    num_rows = len(columns["reward"])
    whole = found_in([write(tmp_path / "all.parquet", columns)], 1 << 30, monkeypatch)
    cuts = [0, 11, 12, 63, 128, num_rows]
    paths = [
        write(tmp_path / f"part-{number}.parquet", rows(columns, np.arange(*cuts[number : number + 2])))
        for number in range(len(cuts) - 1)
    ]
    parts = found_in(paths, 1 << 30, monkeypatch, join=True)
    assert [one[:3] for one in parts] == [one[:3] for one in whole]
    for *_, row, place, name in parts:
        if row is not None:  # of the file that is named
            assert row < cuts[int(name[5]) + 1] - cuts[int(name[5])]
            assert place.startswith(f"row {row}")


@pytest.mark.few(3)
@pytest.mark.parametrize("reset", [0.0, 1.0])
@pytest.mark.parametrize("with_env", [False, True])
@pytest.mark.parametrize("rows", [1, 4, None])
def test_compute_counts_filler_rows_over_borders(rows: int | None, with_env: bool, reset: float) -> None:
    """Episodes of four steps and a row behind each, so that a block of one or four rows ends with many of them."""
    rewards = np.tile([1.0, 1.0, 1.0, 1.0, reset], 6)
    columns = {
        "reward": np.roll(rewards, -1)[:-1],
        "value": np.zeros(29),
        "done": np.tile([False, False, True, False, False], 6)[:-1],
    }
    if with_env:  # row by row
        columns = {name: np.repeat(values, 2) for name, values in columns.items()}
        columns["env_id"] = np.tile([0, 1], 29)
    with small_blocks(rows) as folder:
        path = write(folder / "rollouts.parquet", columns, row_group_rows=4)
        summary = gaecli.compute(path)
    counts = [note.count for note in summary.warnings if note.code == "filler-rows"]
    assert counts == ([6 * (1 + with_env)] if reset == 0 else [])
