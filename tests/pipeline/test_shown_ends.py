"""A flag on the first row ends an episode of one step, or begins one: something beside the flags may show which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import small_blocks

import gaecli
from gaecli.commands import check as checkup
from gaecli.errors import GaeError
from gaecli.settings import Settings

LENGTHS = np.array([1, 9, 4, 1, 6])
EPISODES = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
STEPS = np.concatenate([np.arange(length) for length in LENGTHS])
LAST, FIRST = np.append(np.diff(EPISODES) != 0, True), np.append(True, np.diff(EPISODES) != 0)
DAYS = np.datetime64("2026-01-01") + EPISODES.astype("m8[D]")
#: Columns that no role uses, or the step; each another one in each episode, or begun anew in each.
WITNESSES: dict[str, Any] = {
    "trial": [f"t{number}" for number in EPISODES],
    "day": DAYS,
    "code": EPISODES * 7 + 3,
    "t": STEPS,
}


def write(tmp_path: Path, done: np.ndarray, **more: Any) -> Path:
    rng = np.random.default_rng(0)
    columns = {"reward": rng.normal(size=len(done)), "value": rng.normal(size=len(done)), "done": done}
    pq.write_table(pa.table({**columns, **more}), tmp_path / "r.parquet", row_group_size=7)
    return tmp_path / "r.parquet"


def by_a_loop(path: Path) -> np.ndarray:
    rewards, values = (pq.read_table(path)[name].to_numpy() for name in ("reward", "value"))
    found, later = np.zeros(len(rewards)), 0.0
    for t in range(len(rewards) - 1, -1, -1):
        if LAST[t]:
            later = rewards[t] - values[t]
        else:
            later = rewards[t] + 0.99 * values[t + 1] - values[t] + 0.99 * 0.95 * later
        found[t] = later
    return found


@pytest.mark.parametrize("name", [*WITNESSES, None])
def test_ends_are_taken_as_such_where_a_column_shows_it(tmp_path: Path, name: str | None) -> None:
    path = write(tmp_path, LAST, **({} if name is None else {name: WITNESSES[name]}))
    if name is None:
        with pytest.raises(GaeError, match="begins an episode"):
            gaecli.compute(path)
        assert [one.rule.code for one in checkup.check([path], Settings()).findings] == ["GAE002"]
        return
    gaecli.compute(path)
    assert np.allclose(pq.read_table(path)["advantage"].to_numpy(), by_a_loop(path), atol=1e-6)
    assert "GAE002" not in {one.rule.code for one in checkup.check([path], Settings()).findings}


@pytest.mark.parametrize("blocks", [None, 3])
def test_an_id_shows_it_of_a_flag_that_is_named(tmp_path: Path, blocks: int | None) -> None:
    """Then nothing else is looked for that breaks off."""
    path = write(tmp_path, LAST, trial=WITNESSES["trial"])
    table = pq.read_table(path)
    pq.write_table(table.rename_columns([name.replace("done", "over") for name in table.column_names]), path)
    with small_blocks(blocks):
        gaecli.compute(path, done_column="over")
    assert np.allclose(pq.read_table(path)["advantage"].to_numpy(), by_a_loop(path), atol=1e-6)


@pytest.mark.parametrize("name", ["day", "code"])
def test_so_they_are_where_blocks_divide_the_episodes(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, LAST, **{name: WITNESSES[name]})
    with small_blocks(3):
        gaecli.compute(path)
    assert np.allclose(pq.read_table(path)["advantage"].to_numpy(), by_a_loop(path), atol=1e-6)


@pytest.mark.parametrize("name", [*WITNESSES, "global_step", "constant", "row"])
def test_nothing_is_shown_of_flags_that_begin_an_episode_or_by_what_goes_on(
    tmp_path: Path, name: str
) -> None:
    more = {
        "global_step": np.arange(len(FIRST)),
        "constant": np.ones(len(FIRST)),
        "row": np.arange(len(FIRST)),
    }
    done = LAST if name in more else FIRST
    with pytest.raises(GaeError) as caught:
        gaecli.compute(write(tmp_path, done, **{name: {**WITNESSES, **more}[name]}))
    assert "--done-at start" in str(caught.value.hint)
