"""Lengths and returns of episodes that stand where each of them ended: told where nothing else says so."""

from __future__ import annotations

import numpy as np
import pytest
from traps.passed_over import notes_of, plain_gae, write

import gaecli
from gaecli.errors import UsageError

T, N = 60, 3
RNG = np.random.default_rng(11)
REWARDS, VALUES = RNG.normal(size=(T, N)), RNG.normal(size=(T, N))
ENDS = np.zeros((T, N), np.bool_)
for lane, places in enumerate([(6, 20, 21, 44), (0, 13, 37, 58), (9, 30, 52)]):
    ENDS[list(places), lane] = True


def of_episodes(of_steps: np.ndarray, none: float) -> np.ndarray:
    """By hand: the sum over each episode where it ends, `none` elsewhere."""
    found = np.full((T, N), none, np.float64)
    for lane in range(N):
        total = 0.0
        for step in range(T):
            total += of_steps[step, lane]
            if ENDS[step, lane]:
                found[step, lane], total = total, 0.0
    return found


LENGTHS = of_episodes(np.ones((T, N)), 0).astype(np.int64)
#: Name, cells, and the test that the hint has.
TOLD = {
    "lengths": ("episode_length", LENGTHS, "episode_length!=0"),
    "lengths by a name of its own": ("n", LENGTHS, "n!=0"),
    "lengths, and -1 elsewhere": ("ep_len", np.where(ENDS, LENGTHS, -1), "ep_len!=-1"),
    "returns": ("ep_ret", of_episodes(REWARDS, 0), "ep_ret!=0"),
    "returns, and NaN elsewhere": ("episode_return", of_episodes(REWARDS, np.nan), "episode_return!=nan"),
}


@pytest.mark.few(3)
@pytest.mark.parametrize("case", TOLD)
def test_they_are_told_and_the_test_in_the_hint_cuts_there(tmp_path, case) -> None:
    name, cells, test = TOLD[case]
    path = write(
        tmp_path, {"rewards": REWARDS, "values": VALUES, "last_values": np.zeros(N), name: cells}, ".npz"
    )
    (note,) = notes_of(path, "unused-flag")
    assert note.count == ENDS.sum()
    assert f"at {ENDS.sum()} steps of {T * N}, as what is told where an episode ended" in note.message
    assert f"--done-column '{test}'" in note.hint or f"--done-column {test}" in note.hint
    gaecli.compute(path, done_column=test)
    assert notes_of(path, "unused-flag", columns={"done": test}) == []
    found = np.load(path)["advantage"]
    for lane in range(N):
        wanted = plain_gae(REWARDS[:, lane], VALUES[:, lane], ENDS[:, lane])
        np.testing.assert_allclose(found[:, lane], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", TOLD)
def test_nothing_is_told_where_the_ends_are_known(tmp_path, case) -> None:
    name, cells, _ = TOLD[case]
    columns = {
        "rewards": REWARDS,
        "values": VALUES,
        "last_values": np.zeros(N),
        "terminated": ENDS,
        name: cells,
    }
    assert notes_of(write(tmp_path, columns, ".npz"), "unused-flag") == []


@pytest.mark.parametrize("name", ["gold", "n_actions"])
def test_numbers_of_few_steps_that_count_none_are_something_else(tmp_path, name) -> None:
    cells = np.where(ENDS, RNG.integers(1, 90, size=(T, N)), 0)
    columns = {"rewards": REWARDS, "values": VALUES, "last_values": np.zeros(N), name: cells}
    assert notes_of(write(tmp_path, columns, ".npz"), "unused-flag") == []


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".jsonl"])
def test_rows_without_any_other_end_are_refused_with_it(tmp_path, suffix) -> None:
    columns = {"reward": REWARDS[:, 0], "value": VALUES[:, 0], "episode_length": LENGTHS[:, 0]}
    path = write(tmp_path, columns, suffix)
    with pytest.raises(UsageError) as raised:
        gaecli.compute(path)
    assert "--done-column 'episode_length!=0'" in str(raised.value.hint)
    gaecli.compute(path, tmp_path / "out.npz", done_column="episode_length!=0")
    found = np.load(tmp_path / "out.npz")["advantage"]
    np.testing.assert_allclose(
        found, plain_gae(REWARDS[:, 0], VALUES[:, 0], ENDS[:, 0]), rtol=1e-5, atol=1e-5
    )
