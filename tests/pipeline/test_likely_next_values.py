"""An end without a value is told with the column that has it, by the name that such columns have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli

NUM_TIMES, NUM_ENVS = 12, 2
TRUNCATED = np.repeat(np.arange(NUM_TIMES) % 4 == 3, NUM_ENVS).reshape(NUM_TIMES, NUM_ENVS)


def hint_of(path: Path) -> str:
    layout = "time-major" if path.suffix == ".npz" else "auto"
    notes = gaecli.compute(path, dry_run=True, layout=layout).warnings
    (hint,) = [str(note.hint) for note in notes if note.code == "bootstrap-zero"]
    return hint


def arrays(tmp_path: Path, name: str, shape: tuple[int, ...]) -> Path:
    rng = np.random.default_rng(0)
    given = {"rewards": rng.normal(size=TRUNCATED.shape), "values": rng.normal(size=TRUNCATED.shape)}
    np.savez(tmp_path / "r.npz", **given, truncated=TRUNCATED, **{name: rng.normal(size=shape)})
    return tmp_path / "r.npz"


@pytest.mark.parametrize(
    "name", ["v_next", "final_value", "terminal_value", "last_obs_values", "nextVal", "policy.v_s_"]
)
def test_an_array_of_steps_is_named(tmp_path: Path, name: str) -> None:
    path = arrays(tmp_path, name, TRUNCATED.shape)
    assert f"--next-value-column {name}" in hint_of(path).replace('"', "")
    named = gaecli.compute(path, dry_run=True, layout="time-major", next_value_column=name)
    assert named.bootstrapped.next_value == np.count_nonzero(TRUNCATED)


def test_so_is_a_number_for_each_environment(tmp_path: Path) -> None:
    assert "--bootstrap-value-column v_final" in hint_of(arrays(tmp_path, "v_final", (NUM_ENVS,)))


@pytest.mark.parametrize(
    "name",
    ["value_target", "next_return", "values_mean", "q_next", "next_obs", "final_reward", "v", "last_done"],
)
def test_what_is_something_else_is_not(tmp_path: Path, name: str) -> None:
    hint = hint_of(arrays(tmp_path, name, TRUNCATED.shape))
    assert hint.startswith("name a column with")


def test_columns_of_tables_and_of_lists_are_named(tmp_path: Path) -> None:
    cells = {"reward": np.ones(8), "value": np.zeros(8), "truncated": np.arange(8) % 4 == 3}
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({**cells, "value_next": np.ones(8)}), path)
    assert "--next-value-column value_next" in hint_of(path)
    rows = {name: [column[:4].tolist(), column[4:].tolist()] for name, column in cells.items()}
    pq.write_table(pa.table({**rows, "terminal_value": [0.5, 1.5]}), path)
    assert "--bootstrap-value-column terminal_value" in hint_of(path)


def test_it_is_named_too_where_such_an_end_is_an_error(tmp_path: Path) -> None:
    path = arrays(tmp_path, "v_next", TRUNCATED.shape)
    with pytest.raises(gaecli.DataError) as refused:
        gaecli.compute(path, dry_run=True, layout="time-major", bootstrap="error")
    hint = str(refused.value.hint)
    assert "--next-value-column v_next" in hint
    assert "--bootstrap zero" in hint


def test_none_is_named_where_it_was_said_that_there_is_none(tmp_path: Path) -> None:
    path = arrays(tmp_path, "next_values", TRUNCATED.shape)
    notes = gaecli.compute(path, dry_run=True, layout="time-major", next_value_column="none").warnings
    (hint,) = [str(note.hint) for note in notes if note.code == "bootstrap-zero"]
    assert hint.startswith("name a column with")
