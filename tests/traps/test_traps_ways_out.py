"""The command in a hint is one that goes on: with it, a file is computed as its episodes are."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from traps.passed_over import notes_of, plain_gae, write

import gaecli

LENGTHS = [5, 3, 7, 4, 6, 9, 8]
EPISODE = np.repeat(np.arange(7), LENGTHS)
STEP = np.concatenate([np.arange(length) for length in LENGTHS])
LEFT = np.repeat(LENGTHS, LENGTHS) - 1 - STEP
LAST = LEFT == 0
RNG = np.random.default_rng(3)
STEPS = {"reward": RNG.normal(size=len(STEP)), "value": RNG.normal(size=len(STEP))}
WANTED = plain_gae(STEPS["reward"], STEPS["value"], LAST)
SOME = LAST & (EPISODE % 2 == 0)

#: Columns -> the flags that the hint begins with.
REFUSED = {
    "yes": ({"done": np.where(LAST, "yes", "no")}, "--done-column done=yes"),
    "ja": ({"done": np.where(LAST, "ja", "nein")}, "--done-column done=ja"),
    "one": ({"terminated": np.where(LAST, "1", "0")}, "--terminated-column terminated=1"),
    "minus": ({"done": np.where(LAST, 1, -(STEP == 2).astype(int))}, "--done-column done=1"),
    "minus_alone": ({"done": np.where(LAST, -1, 0)}, "--done-column done=-1"),
    "byte": ({"truncated": np.where(LAST, 255, 0)}, "--truncated-column truncated=255"),
    "step": ({"step": STEP}, "--done-column step=0 --done-at start"),
    "from_one": ({"t": STEP + 1}, "--done-column t=1 --done-at start"),
    "clock": ({"timestamp": STEP * 0.25}, "--done-column timestamp=0 --done-at start"),
    "countdown": ({"remaining": LEFT + 0.5}, "--done-column remaining=0.5 --done-at end"),
    "id": ({"Lauf": EPISODE * 11}, "--episode-column Lauf"),
    "text": ({"run": np.array(list("gadbcfe"))[EPISODE]}, "--episode-column run"),
    "two": ({"done": LAST, "dones": STEP == 0}, "--done-column done"),
    "terminated": ({"terminated": SOME, "step": STEP}, "--done-column step=0 --done-at start"),
    "one_id": (
        {"episode": np.zeros(len(STEP), int), "step": STEP},
        "--episode-column none --done-column step=0 --done-at start",
    ),
    "id_again": (
        {"episode": EPISODE % 3, "t": STEP},
        "--episode-column none --done-column t=0 --done-at start",
    ),
}


def commands(hint):
    return re.findall(r"`(--[^`]+)`", hint)


def keywords(flags):
    """`--done-at start` as done_at="start"."""
    words = shlex.split(flags)
    return {
        flag.removeprefix("--").replace("-", "_"): value
        for flag, value in zip(words[::2], words[1::2], strict=True)
    }


@pytest.mark.few(8)
@pytest.mark.parametrize("name", REFUSED)
def test_a_command_of_a_refusal_goes_on(tmp_path, name):
    columns, flags = REFUSED[name]
    path = write(tmp_path, STEPS | columns, ".parquet")
    with pytest.raises(gaecli.GaeError) as error:
        gaecli.compute(path)
    assert flags in commands(error.value.hint)[:2]  # another column may be meant
    gaecli.compute(path, **keywords(flags))
    # float32 columns of float64 numbers
    np.testing.assert_allclose(pq.read_table(path)["advantage"], WANTED, rtol=1e-5, atol=1e-6)


@pytest.mark.few(3)
@pytest.mark.parametrize("num_rows", [4, 9, 1_000])
@pytest.mark.parametrize(
    ("cells", "flags"),
    [
        (STEP * 20, "--done-column sim_tick=0 --done-at start"),
        (LEFT + 3, "--done-column sim_tick=3 --done-at end"),
    ],
)
def test_a_counter_is_told_with_the_flags_that_cut_by_it(tmp_path, cells, flags, num_rows, monkeypatch):
    from gaecli.commands import check, compute

    for module in (check, compute):
        monkeypatch.setattr(module, "rows_per_block", lambda memory_bytes: num_rows)
    path = write(tmp_path, STEPS | {"terminated": SOME, "sim_tick": cells}, ".parquet")
    (note,) = notes_of(path, "unused-id")
    assert commands(note.hint)[0] == flags
    gaecli.compute(path, **keywords(flags))
    np.testing.assert_allclose(pq.read_table(path)["advantage"], WANTED, rtol=1e-5, atol=1e-6)


def test_a_counter_that_begins_anywhere_has_no_such_flags(tmp_path):
    cells = STEP * 20 + np.repeat([0, 3, 1, 4, 1, 5, 9], LENGTHS)
    path = write(tmp_path, STEPS | {"terminated": SOME, "sim_tick": cells}, ".parquet")
    (note,) = notes_of(path, "unused-id")
    assert "sim_tick=" not in note.hint


def test_steps_of_a_rollout_that_go_on_beyond_ends_are_no_flag_of_ends(tmp_path):
    """An iteration of CleanRL counts its steps from 0, and an episode may go on into the next one."""
    path = write(tmp_path, STEPS | {"done": LAST, "step": np.arange(len(STEP)) % 12}, ".parquet")
    with pytest.raises(gaecli.DataError, match="`step` falls from 11 to 0") as error:
        gaecli.compute(path)
    assert commands(error.value.hint)[0] == "--step-column none"
    gaecli.compute(path, step_column="none")
    np.testing.assert_allclose(pq.read_table(path)["advantage"], WANTED, rtol=1e-5, atol=1e-6)


def test_steps_of_agents_are_told_apart_by_the_column_of_a_likely_name(tmp_path):
    twice = {
        name: np.repeat(cells, 2) for name, cells in (STEPS | {"episode": EPISODE, "step": STEP}).items()
    }
    path = write(tmp_path, twice | {"agent": np.tile(["red", "blue"], len(STEP))}, ".parquet")
    with pytest.raises(gaecli.DataError, match="twice in one trajectory") as error:
        gaecli.compute(path)
    assert commands(error.value.hint)[0] == "--env-column agent"
    gaecli.compute(path, env_column="agent")
    np.testing.assert_allclose(pq.read_table(path)["advantage"], np.repeat(WANTED, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("names", "command"),
    [
        (("next/reward", "value"), "--reward-column next/reward"),
        (("rew", "policy/v_s"), "--value-column policy/v_s"),
    ],
)
def test_a_path_that_ends_as_a_role_is_called_is_named_first(tmp_path, names, command):
    columns = dict(zip(names, STEPS.values(), strict=True))
    path = write(tmp_path, {"info/env_id": EPISODE} | columns | {"done": LAST}, ".npz")
    with pytest.raises(gaecli.UsageError) as error:
        gaecli.compute(path)
    assert commands(error.value.hint) == [command]


def test_one_id_throughout_whose_steps_begin_anew_leads_to_the_steps(tmp_path):
    """A flag on the last row alone made it a counter of rollouts, as rows were looked at in the order of steps."""
    steps = np.tile(np.arange(5), 3)
    columns = {"reward": steps * 1.0, "value": steps * 0.5, "episode_id": steps * 0, "t": steps}
    pq.write_table(pa.table(columns | {"terminated": np.arange(15) == 14}), tmp_path / "r.parquet")
    with pytest.raises(gaecli.DataError, match="`t` is 0 twice") as refused:
        gaecli.compute(tmp_path / "r.parquet")
    assert refused.value.hint.startswith("pass `--episode-column none --done-column t=0 --done-at start`")
