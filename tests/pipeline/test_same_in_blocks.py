"""What is said of a file, and what is written, is the same wherever its blocks are cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.commands.check import check
from gaecli.errors import DataError, UsageError
from gaecli.pipeline import memory
from gaecli.settings import Settings

Columns = dict[str, np.ndarray]


def rollout(num_envs: int, num_steps: int = 60) -> Columns:
    """Time by time; an episode of an environment ends after 7, 9, 11, ... steps."""
    rng = np.random.default_rng(num_envs)
    rows = num_envs * num_steps
    env, time = np.arange(rows) % num_envs, np.arange(rows) // num_envs
    length = 7 + 2 * env
    step, number = time % length, time // length
    return {
        "reward": rng.normal(1.0, 0.5, rows),
        "value": rng.normal(size=rows),
        "env_id": env,
        "terminated": step == length - 1,
        "step_of_it": step,
        "number_of_it": number * num_envs + env,
    }


def without(columns: Columns, *names: str) -> Columns:
    return {name: cells for name, cells in columns.items() if name not in names}


def flags_a_row_early(columns: Columns) -> Columns:
    """At every known end, and at those between two blocks too, the counter begins anew a row later."""
    env, ended = columns["env_id"], columns["terminated"].copy()
    for one in np.unique(env):
        ended[env == one] = np.roll(ended[env == one], -1)
    return {**without(columns, "number_of_it"), "terminated": ended}


def held_tails(columns: Columns) -> Columns:
    """V of the last step over and over, from 20 steps and more before the end of each environment."""
    found = {name: cells.copy() for name, cells in without(columns, "step_of_it", "number_of_it").items()}
    for env in np.unique(found["env_id"]):
        rows = np.flatnonzero(found["env_id"] == env)
        last, tail = rows[-21 - env], rows[-20 - env :]
        found["reward"][tail], found["value"][tail] = 0.0, found["value"][last]
        found["terminated"][tail] = False
    return found


def held_episodes(columns: Columns) -> Columns:
    """The last row of each episode four times more, without its reward and its flag."""
    columns = without(columns, "step_of_it", "number_of_it")
    order = np.argsort(columns["env_id"], kind="stable")
    repeats = np.where(columns["terminated"], 5, 1)[order]
    rows = np.repeat(order, repeats)
    is_first = np.concatenate(([True], rows[1:] != rows[:-1]))
    found = {name: cells[rows] for name, cells in columns.items()}
    found["reward"] = np.where(is_first, found["reward"], 0.0)
    found["terminated"] &= is_first
    # Every environment has as many rows, and they take turns again.
    starts = np.flatnonzero(np.diff(found["env_id"], prepend=-1))
    time = np.arange(len(rows)) - starts[found["env_id"]]
    return {name: cells[np.argsort(time, kind="stable")] for name, cells in found.items()}


def status(columns: Columns) -> Columns:
    """2 at ends, and 1 now and then: in many a block it holds 0 and 1 alone."""
    found = without(columns, "step_of_it", "number_of_it")
    is_odd = (np.arange(len(found["reward"])) % 29 == 3) & ~found["terminated"]
    return {**found, "status": np.where(found["terminated"], 2, np.where(is_odd, 1, 0))}


def masked_padding(columns: Columns) -> Columns:
    """Episodes of padding alone, which the mask leaves out, and that end nowhere."""
    found = without(columns, "step_of_it", "number_of_it")
    found["episode_id"] = columns["number_of_it"]
    found["mask"] = columns["number_of_it"] // (columns["env_id"].max() + 1) % 2 == 0
    found["terminated"] = found["terminated"] & found["mask"]
    return found


def steps_are_missing(columns: Columns) -> Columns:
    """In each environment, and first in the one that is not the first."""
    found = {**without(columns, "number_of_it"), "episode_id": columns["number_of_it"]}
    found["t"] = found.pop("step_of_it")
    gone = np.isin(np.arange(len(found["t"])), [28, 63, 66, 110])
    return {name: cells[~gone] for name, cells in found.items()}


def ids_alone(columns: Columns) -> Columns:
    """Episodes of several environments that take turns, told apart by their ids and by no environment."""
    return {
        **without(columns, "env_id", "step_of_it", "number_of_it"),
        "episode_id": columns["number_of_it"],
        "t": columns["step_of_it"],
    }


def of(planted: Callable[[Columns], Columns], num_envs: int, **settings: Any) -> Any:
    name = f"{planted.__name__}-{num_envs}-{settings.get('mask_mode', '')}"
    return pytest.param(planted, num_envs, settings, id=name)


CASES = [
    of(flags_a_row_early, 1),
    of(flags_a_row_early, 3),
    of(held_tails, 3),
    of(held_episodes, 1),
    of(held_episodes, 3),
    of(status, 2),
    of(masked_padding, 3, mask_mode="zero"),
    of(masked_padding, 1, mask_mode="keep"),
    of(masked_padding, 2, mask_mode="cut"),
    of(masked_padding, 1, mask_mode="skip"),
    of(steps_are_missing, 3),
    of(ids_alone, 3),
]


def told(path: Path, settings: dict[str, Any]) -> tuple[Any, ...]:
    """Findings of the check, warnings, counts, and the numbers that are written; the first alone of a refusal."""
    found = check([path], Settings(gamma=0.9, **settings)).findings
    findings = [(one.rule.code, one.count, one.message, one.row) for one in found]
    output = path.with_name("out.parquet")
    try:
        summary = gaecli.compute(path, output, overwrite=True, gamma=0.9, **settings)
    except (DataError, UsageError):
        return findings, None, None, {}
    notes = [(note.code, note.count, note.message, note.hint) for note in summary.warnings]
    numbers = pq.read_table(output, columns=["advantage", "return"])
    return findings, notes, summary.totals, {name: numbers[name].to_numpy() for name in numbers.column_names}


@pytest.mark.few(3)
@pytest.mark.parametrize("block_rows", [16, 5, 7])
@pytest.mark.parametrize(("planted", "num_envs", "settings"), CASES)
def test_blocks_of_any_size_tell_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    planted: Callable[[Columns], Columns],
    num_envs: int,
    settings: dict[str, Any],
    block_rows: int,
) -> None:
    path = tmp_path / "run.parquet"
    pq.write_table(pa.table(planted(rollout(num_envs))), path)
    whole = told(path, settings)
    monkeypatch.setattr(memory, "_MIN_ROWS_PER_BLOCK", block_rows)
    monkeypatch.setattr(memory, "_MAX_ROWS_PER_BLOCK", block_rows)
    cut = told(path, settings)
    assert cut[:3] == whole[:3]
    assert cut[3].keys() == whole[3].keys()
    for name, numbers in whole[3].items():
        np.testing.assert_allclose(cut[3][name], numbers, rtol=1e-6, atol=1e-6)
