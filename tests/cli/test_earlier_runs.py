"""What an earlier run left in a file is told as its own, with the flags that made it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import gaecli
from gaecli.errors import UsageError

COLUMNS = {"reward": "rew", "value": "vv"}


@pytest.fixture
def rollouts(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "rollouts.parquet"
    numbers = {name: rng.normal(size=12) for name in ("rew", "vv", "int_rew", "int_vv")}
    turns = {"turn": np.arange(12) // 2, "done": np.arange(12) % 6 == 5}
    pl.DataFrame({**numbers, **turns}).write_parquet(path)
    return path


LABELS: dict[str, Any] = {"label_quantile": 0.5, "label_side": "top", "weight": "awr", "weight_max": 20.0}
BESIDE = {
    "labels and weights": (LABELS, "`label`, `weight`"),
    "raw advantages": ({"normalize": "all", "keep_raw": True}, "`advantage_raw`"),
}


@pytest.mark.parametrize(("options", "names"), BESIDE.values(), ids=BESIDE)
def test_columns_that_rest_on_replaced_advantages_are_told(
    rollouts: Path, options: dict[str, Any], names: str
) -> None:
    def told(**more: Any) -> list[str]:
        summary = gaecli.compute(rollouts, columns=COLUMNS, **more)
        return [note.message for note in summary.warnings if note.code == "earlier-columns"]

    assert told(**options) == []
    assert told(gamma=0.5, **options) == []  # all of them are computed anew
    (message,) = told(gamma=0.9)
    assert message.startswith(names)
    assert told(gamma=0.9) == [message]  # nothing to do, and still so
    (again,) = told(gamma=0.8)
    assert again == message
    assert told(gamma=0.8, advantage_column="other", return_column="another") == []


def test_the_flags_that_made_a_column_are_all_shown(run_gae: Callable[..., Any], rollouts: Path) -> None:
    gaecli.compute(rollouts, columns={**COLUMNS, "unit": "turn"})
    result = run_gae("inspect", rollouts, "--reward-column", "rew", "--value-column", "vv")
    assert "named by a flag" in result.stdout
    there = " ".join(result.stdout.partition("already there")[2].split())
    assert "--reward-column rew" in there
    assert "--value-column vv" in there
    assert "--unit turn" in there


def test_several_kinds_of_reward_are_read_one_by_one(rollouts: Path) -> None:
    streams = ["ext=rew,vv", "int=int_rew,int_vv"]
    with pytest.raises(UsageError, match="one stream of rewards, and `stream` has 2") as raised:
        gaecli.read(rollouts, stream=streams)
    assert "'int_rew'" in str(raised.value.hint)
    found = gaecli.read(rollouts, columns={"reward": "int_rew", "value": "int_vv"})
    assert found.rewards.tolist() == pl.read_parquet(rollouts)["int_rew"].to_list()
