"""Arrays beside the rewards that do not fit: refused, with shapes and the flag that decides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts.lane_arrays import ENDS, REWARDS, STEPS, VALUES, N, T, dense, refused
from pipeline.running import small_blocks

_TURNS = np.arange(T)[:, None] % 2 + np.zeros(N, int)
REFUSED: Mapping[str, tuple[dict[str, Any], dict[str, Any], int, tuple[str, ...]]] = {
    "steps that begin again": (
        dense(terminated=ENDS & False, step=STEPS[:, None] + np.zeros(N, int)),
        {},
        3,
        ("`step` ", "from 1 to 0 at ", "--step-column none"),
    ),
    "steps of times that begin again": (
        dense(terminated=ENDS & False, step=STEPS),
        {},
        3,
        ("`step` ", "from 1 to 0 at ", "--step-column none"),
    ),
    "steps that are missing": (
        dense(step=np.array([0, 1, 2, 4, 5, 6])[:, None] + np.zeros(N, int)),
        {},
        3,
        ("`step` ", "steps are missing", "--step-column none"),
    ),
    "agents that take turns": (
        dense(terminated=ENDS & False, agent_id=_TURNS),
        {},
        3,
        ("comes back", "--episode-column none"),
    ),
    "episodes that come back": (
        dense(terminated=ENDS & False, episode_id=_TURNS),
        {},
        3,
        ("comes back", "--episode-column none"),
    ),
    "environments that take turns": (
        dense(env_id=_TURNS),
        {},
        3,
        ("`env_id`", "within a lane", "--env-column"),
    ),
    "an end within an episode": (
        dense(episode_id=np.zeros((T, N), int)),
        {},
        3,
        ("ends an episode", "same episode id", "--episode-column none"),
    ),
    "one step for all, named": (
        dense(steps=9),
        {"step_column": "steps"},
        2,
        ("`steps`", "()", "--step-column"),
    ),
    "ids of another shape": (
        dense(episode_id=np.zeros((T, N + 1))),
        {},
        3,
        ("`episode_id`", "(6, 4)", "(6, 3)", "--episode-column none"),
    ),
    "a last value too many": (
        dense(last_values=np.zeros(N + 1), terminated=np.vstack((ENDS, ENDS[:1]))),
        {},
        3,
        ("`last_values`", "(4,)", "(6, 3)", "3 numbers", "--bootstrap-value-column"),
    ),
    "lengths for a mask": (
        dense(mask=np.array([4, 5, 6])),
        {},
        3,
        ("`mask`", "(3,)", "(6, 3)", "--mask-column none"),
    ),
    "a final flag against the flags": (
        dense(last_dones=np.array([False, True, True])),
        {},
        2,
        ("`last_dones`", "[5, 1]", "1 such", "--done-at start", "--final-done-column none"),
    ),
    "flags of states that speak of their own step": (
        {**dense(done=np.vstack((ENDS, ENDS[:1]))), "terminated": ENDS},
        {"done_at": "end"},
        2,
        ("`done`", "one entry more", "--done-at end"),
    ),
    "only a mask": (
        {"rewards": REWARDS, "values": VALUES, "terminated": ENDS, "loss_mask": np.ones((T, N))},
        {},
        2,
        ("6 by 3", "--layout time-major", "--layout batch-major"),
    ),
    "agents, and nothing says time": (
        {"rewards": np.zeros((4, 3, 2, 1)), "values": np.zeros((4, 3, 2, 1))},
        {},
        2,
        ("4 by 3 by 2", "--layout time-major"),
    ),
    "agents, batch-major": (
        {"rewards": np.zeros((4, 3, 2)), "values": np.zeros((4, 3, 2))},
        {"layout": "batch-major"},
        2,
        ("(4, 3, 2)", "time-major"),
    ),
    "one column, and nothing says where it ends": (
        {"rewards": REWARDS[:, :1], "values": VALUES[:, :1]},
        {},
        2,
        ("where a trajectory ends", "--layout time-major"),
    ),
    "flat values of another shape": (
        {"rewards": np.zeros(8), "values": np.zeros((2, 4)), "done": np.zeros(8)},
        {},
        3,
        ("`values`", "(2, 4)", "(8,)", "--value-column"),
    ),
    "flat values two longer": (
        {"rewards": np.zeros(8), "values": np.zeros(10), "done": np.zeros(8)},
        {},
        3,
        ("`values`", "(10,)", "(8,)", "(9,)"),
    ),
    "last values of more than one lane": (
        {"rewards": np.zeros(8), "values": np.zeros(8), "done": np.zeros(8), "last_value": np.zeros(2)},
        {},
        3,
        ("`last_value`", "(2,)", "(8,)", "--bootstrap-value-column"),
    ),
    "one last value for environments that take turns": (
        {
            "rewards": np.zeros(8),
            "values": np.zeros(8),
            "done": np.zeros(8),
            "env_id": np.arange(8) % 2,
            "last_value": 1.0,
        },
        {},
        3,
        ("`last_value`", "2 environments", "--bootstrap-value-column none"),
    ),
    "a last value behind rows that are out of order": (
        {
            "rewards": np.zeros(4),
            "values": np.zeros(4),
            "episode_id": np.array([0, 0, 1, 1]),
            "step": np.array([1, 0, 1, 0]),
            "last_value": 1.0,
        },
        {},
        3,
        ("`last_value`", "row 3", "--bootstrap-value-column none"),
    ),
    "an infinite last value": (dense(last_values=np.full(N, np.inf)), {}, 3, ("`last_values` is infinite",)),
    "no shape at all": ({"rewards": 1.0, "values": 1.0}, {}, 3, ("`rewards`", "()")),
}


@pytest.mark.turns
@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("rows", [None, 6])
def test_what_does_not_fit_is_refused(case: str, rows: int | None, tmp_path: Path) -> None:
    arrays, options, exit_code, texts = REFUSED[case]
    with small_blocks(rows, store_bytes=0):
        found, message = refused(tmp_path / "r.npz", arrays, **options)
    assert found == exit_code, message
    for text in texts:
        assert text in message


@pytest.mark.parametrize("name", ["agent_id", "episode_id", "env_id"])
def test_ids_that_take_turns_are_refused_where_every_block_has_one_of_them(name: str, tmp_path: Path) -> None:
    with small_blocks(N, store_bytes=0):
        found, message = refused(tmp_path / "r.npz", dense(terminated=ENDS & False, **{name: _TURNS}))
    assert found == 3
    assert ("within a lane" if name == "env_id" else "comes back") in message
