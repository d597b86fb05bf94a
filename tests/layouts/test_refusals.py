"""What is refused rather than guessed: exit code, message, the flag that decides, and a file left as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from layouts.small_inputs import BASE, DENSE, IDS, LISTS, NAN, TWO_NAMES, but, is_arrays, write

import gaecli
from gaecli.errors import GaeError

#: name -> (columns, options, exit code, what the message and its hint must hold)
CASES: dict[str, tuple[Any, dict[str, Any], int, tuple[str, ...]]] = {
    "no reward": (but(reward=None), {}, 2, ("no reward column", "value, done", "--reward-column")),
    "no value": (but(value=None), {}, 2, ("no value column", "reward, done", "--value-column")),
    "no value, but one like it": (but(value=None, vf_pred=[0.0] * 4), {}, 2, ("--value-column vf_pred",)),
    "no value, but a letter": (but(value=None, V=[0.0] * 4), {}, 2, ("if it is `V`", "--value-column V")),
    "no value, but those of a trainer and beyond the end": (
        but(value=None, value_loss=[0.0] * 4, last_values=[0.0] * 4),
        {},
        2,
        ("no value column", "name a value column with `--value-column`"),
    ),
    "scalar score": ({"step": [1], "prompt": ["a"], "score": [0.5]}, {}, 2, ("no reward column", "score")),
    "aliases differ": (
        but(rewards=[1.0, 2.0, 3.5, 5.0]),
        {},
        2,
        ("`reward` and `rewards`", "row 2", "2 such", "--reward-column"),
    ),
    "named column missing": (BASE, {"value_column": "valu"}, 2, ("`valu` not found", "--value-column value")),
    "two columns of one name": (TWO_NAMES, {}, 3, ("`reward`", "two columns have this name")),
    "two id columns of one name": (
        pa.Table.from_arrays(
            [pa.array(BASE["reward"]), pa.array(BASE["value"]), *[pa.array([0, 0, 1, 1])] * 2],
            names=["reward", "value", "episode_id", "episode_id"],
        ),
        {},
        3,
        ("`episode_id`", "two columns have this name", "--episode-column"),
    ),
    "flags that are texts": (
        but(done=["no", "yes", "no", "yes"]),
        {},
        3,
        ("its type is string, and a flag is true or false", "write it as booleans", "--done-column"),
    ),
    "start flags read as end flags": (
        but(done=[True, False, True, False], **IDS),
        {},
        2,
        ("first row of every episode", "--done-at start"),
    ),
    "start flags without ids": (but(done=[True, False, False, True]), {}, 2, ("`done`", "--done-at start")),
    "end flags read as start flags": (
        but(done=[False, True, False, True], **IDS),
        {"done_at": "start"},
        3,
        ("row 0", "same episode id", "--done-at end"),
    ),
    "start and end flags disagree": (
        but(episode_start=[True, False, False, True]),
        {},
        2,
        ("`done`", "`episode_start`", "row 1", "--done-column"),
    ),
    "end inside an id": (
        but(done=[True, False, False, True], **IDS),
        {},
        3,
        ("row 0", "1 such", "--episode-column none"),
    ),
    "three flags": (
        but(terminated=[False, True, False, False], truncated=[False, False, False, False]),
        {},
        3,
        ("`done` of", "row 3", "1 such", "--done-column none"),
    ),
    "nothing tells where it ends": (
        but(done=None),
        {},
        2,
        ("where a trajectory ends", "--done-column", "--layout long"),
    ),
    "NaN reward": (
        but(reward=[1.0, NAN, NAN, 1.0]),
        {},
        3,
        ("`reward` is NaN", "row 1", "2 such", "--on-nan"),
    ),
    "null value": (but(value=[0.5, None, 0.5, 0.5]), {}, 3, ("`value` is null", "row 1", "1 such")),
    "infinite value": (but(value=[0.5, 0.5, 0.5, float("inf")]), {}, 3, ("`value` is infinite", "row 3")),
    "infinite next value in use": (
        but(done=None, truncated=BASE["done"], next_value=[0.0, float("inf"), 0.0, 0.0]),
        {},
        3,
        ("`next_value` is infinite", "row 1"),
    ),
    "null flag": (but(done=[False, None, False, True]), {}, 3, ("`done` is null", "row 1", "--on-nan")),
    "NaN flag": (but(done=[0.0, NAN, 0.0, 1.0]), {}, 3, ("`done` is null or NaN", "row 1")),
    "a flag of 2": (but(done=[0, 2, 0, 1]), {}, 3, ("`done` is 2", "row 1", "0 or 1")),
    "a flag of 0.5": (but(done=[0.0, 1.0, 0.5, 1.0]), {}, 3, ("`done` is 0.5", "row 2")),
    "reward of text": (but(reward=["1", "2", "3", "4"]), {}, 3, ("`reward`", "string", "--reward-column")),
    "reward of nulls": (but(reward=pa.nulls(4)), {}, 3, ("`reward` is null", "row 0", "4 such")),
    "a step twice": (
        but(done=[False] * 3 + [True], step=[0, 1, 1, 2]),
        {},
        3,
        ("`step` is 1 twice", "row 2", "--env-column"),
    ),
    "a step missing": (but(step=[0, 1, 0, 2]), {}, 3, ("`step`", "gap")),
    "environments mixed without a key": (
        but(done=[False, False, True, True], step=[0, 0, 1, 1]),
        {},
        3,
        ("`step` is 0 twice", "--env-column"),
    ),
    "a null step": (but(step=[0, None, 0, 1]), {}, 3, ("`step` is null", "row 1", "--step-column none")),
    "moments that fall without an end": (
        but(done=[False, False, False, True], time=[0.0, 0.5, 0.0, 0.5]),
        {"step_column": "time"},
        3,
        ("`time` falls from 0.5 to 0.0", "row 2", "--step-column none"),
    ),
    "an id comes back": (
        but(done=None, episode_id=[0, 1, 0, 1]),
        {},
        3,
        ("0", "comes back after other episodes", "--step-column"),
    ),
    "an id comes back after its end": (
        but(done=[True, True, True, True], episode_id=[0, 1, 0, 1]),
        {},
        3,
        ("ends an episode", "same episode id"),
    ),
    "no value at a cut": (
        but(done=None, truncated=BASE["done"]),
        {"bootstrap": "error"},
        3,
        ("row 1", "--next-value-column"),
    ),
    "no value at an open end": (
        but(done=[False] * 4),
        {"bootstrap": "error"},
        3,
        ("row 3", "--bootstrap zero"),
    ),
    "reward in lists, value not": (
        {"rewards": LISTS["rewards"], "value": [0.5, 0.5]},
        {},
        3,
        ("`value`", "one number per row"),
    ),
    "value in lists, reward not": (
        {"reward": [1.0, 2.0], "value": LISTS["values"], "done": [False, True]},
        {},
        3,
        ("`value`", "holds lists"),
    ),
    "lists of different lengths": (
        {**LISTS, "values": [[0.5, 0.5], [0.5, 0.5, 0.5]]},
        {},
        3,
        ("`values` has 3 items at row 1", "1 such"),
    ),
    "a mask of another length": (
        {**LISTS, "response_mask": [[1], [1]]},
        {},
        3,
        ("`response_mask` has 1 items at row 0",),
    ),
    "a mask of the prompt": (
        {**LISTS, "attention_mask": [[1, 1], [1]]},
        {},
        2,
        ("`attention_mask`", "--mask-column none"),
    ),
    "a mask of the prompt, named": (
        {**LISTS, "attention_mask": [[1, 1], [1]]},
        {"mask_column": "attention_mask"},
        2,
        ("`attention_mask`", "prompt"),
    ),
    "an end inside a list": (
        {**LISTS, "dones": [[True, False], [True]]},
        {},
        3,
        ("row 0, item 0", "--done-column none"),
    ),
    "a mask in a long table": (
        but(loss_mask=[1, 0, 1, 1]),
        {},
        2,
        ("`loss_mask`", "row 1", "--mask-mode zero"),
    ),
    "RLDS terminal that is not last": (
        but(done=None, is_first=[True, False] * 2, is_last=[False, True] * 2, is_terminal=[True, False] * 2),
        {},
        3,
        ("`is_terminal`", "row 0", "2 such", "--done-column is_last"),
    ),
    "result in place of an input": (
        BASE,
        {"advantage_column": "reward"},
        2,
        ("`reward`", "--advantage-column"),
    ),
    "a column of somebody else": (but(advantage=[0.0] * 4), {}, 2, ("`advantage`", "--overwrite")),
    "a group column that is not there": (
        BASE,
        {"normalize_by": "task"},
        2,
        ("`task` not found", "--normalize-by"),
    ),
    "a group column with other lengths than the steps": (
        {**LISTS, "task": [[1], [1, 2]]},
        {"normalize_by": "task"},
        3,
        ("`task` has 1 items at row 0", "`rewards` has 2"),
    ),
    "a group array of another length": (
        {name: np.array(cells) for name, cells in but(task=[1, 2]).items()},
        {"normalize_by": "task"},
        3,
        ("`task`", "(2,)", "--normalize-by"),
    ),
    "another layout": (BASE, {"layout": "time-major"}, 2, ("not `time-major`", "--layout")),
    # Arrays
    "dones of a buffer": (
        {**{name: DENSE[name] for name in ("rewards", "values", "last_values")}, "dones": np.zeros((4, 3))},
        {},
        2,
        ("`dones`", "--done-at end", "--done-at start"),
    ),
    "dones with one flag more for each environment": (
        {
            **{name: DENSE[name] for name in ("rewards", "values", "last_values")},
            "dones": np.zeros((4, 3)),
            "next_done": np.zeros(3),
        },
        {},
        2,
        (
            "`dones`",
            "`next_done` beside it speaks for observations: pass `--done-at start`",
            "--preset cleanrl",
        ),
    ),
    "square arrays": (
        {"rewards": np.ones((3, 3)), "values": np.ones((3, 3)), "last_values": np.zeros(3)},
        {},
        2,
        ("3 by 3", "--layout time-major", "--layout batch-major"),
    ),
    "no companion": (
        {"rewards": np.ones((4, 3)), "values": np.ones((4, 3))},
        {},
        2,
        ("--layout time-major",),
    ),
    "shapes differ": ({**DENSE, "values": np.zeros((4, 2))}, {}, 3, ("`values`", "(4, 2)", "(4, 3)")),
    "a mask of another shape": (
        {"rewards": np.ones((4, 3)), "values": np.ones((4, 3)), "mask": np.ones((4, 2))},
        {},
        3,
        ("`mask`", "(4, 2)"),
    ),
    "a flat mask of another length": (
        {"rewards": np.ones(4), "values": np.ones(4), "dones": np.ones(4), "mask": np.ones(3)},
        {},
        3,
        ("`mask`", "(3,)"),
    ),
    "an object array": (
        {**DENSE, "rewards": np.array([[{}] * 3] * 4, dtype=object)},
        {},
        3,
        ("`rewards`", "unpickling"),
    ),
    "starts and ends of a buffer disagree": (
        {**DENSE, "episode_starts": np.array([[1.0, 1, 1], [0, 0, 0], [0, 1, 0], [0, 0, 0]])},
        {},
        2,
        ("`terminated`", "`episode_starts`", "[1, 1]", "1 such"),
    ),
    "all starts of a buffer flagged as ends": (
        {
            **{name: DENSE[name] for name in ("rewards", "values", "last_values")},
            "done": np.eye(4, 3)[:, :1].repeat(3, 1),
        },
        {},
        2,
        ("`done`", "--done-at start"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_and_the_file_is_left_alone(case: str, tmp_path: Path) -> None:
    columns, options, exit_code, texts = CASES[case]
    path = write(tmp_path / ("rollouts.npz" if is_arrays(columns) else "rollouts.parquet"), columns)
    before = path.read_bytes()
    with pytest.raises(GaeError) as raised:
        gaecli.compute(path, **options)
    message = f"{raised.value.message}\n{raised.value.hint}"
    assert raised.value.exit_code == exit_code, message
    for text in (*texts, str(path)):
        assert text in message
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
