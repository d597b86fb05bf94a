"""`--reward-at arrival`: the reward of a step stands in the row after it. Against plain loops over episodes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import columns_of, small_blocks

import gaecli

GAMMA, LAM = 0.9, 0.8
ARRIVAL = {"gamma": GAMMA, "lam": LAM, "reward_at": "arrival"}


@dataclass
class Episode:
    """A state in each row, and the reward that came with it; no action follows on the last one."""

    rewards: np.ndarray
    values: np.ndarray
    end: str

    def __len__(self) -> int:
        return len(self.rewards)

    def column(self, name: str) -> np.ndarray:
        last = np.arange(len(self)) == len(self) - 1
        return {
            "reward": self.rewards,
            "value": self.values,
            "terminated": last & (self.end == "terminated"),
            "truncated": last & (self.end == "truncated"),
        }[name]

    def errors(self) -> np.ndarray:
        """δ of each action: its reward and the next state are in the next row."""
        found = []
        for t in range(len(self) - 1):
            is_terminal = t == len(self) - 2 and self.end == "terminated"
            following = 0.0 if is_terminal else self.values[t + 1]
            found.append(self.rewards[t + 1] + GAMMA * following - self.values[t])
        return np.array(found)

    def advantages(self, decay: float = GAMMA * LAM, window: int | None = None) -> np.ndarray:
        """Σ decayᵏ δₜ₊ₖ by a double loop, and 0 in the last row."""
        errors, found = self.errors(), np.zeros(len(self))
        for t in range(len(errors)):
            stop = len(errors) if window is None else min(t + window, len(errors))
            found[t] = sum(decay ** (k - t) * errors[k] for k in range(t, stop))
        return found


def episodes(
    seed: int, count: int, ends: Sequence[str] = ("terminated", "truncated", "none")
) -> list[Episode]:
    """So many rows; the last episode may break off."""
    random, found = np.random.default_rng(seed), []
    while count > 0:
        length = min(int(random.integers(1, 7)), count)
        rewards, values = random.normal(size=(2, length))
        rewards[0] = 0.0
        found.append(Episode(rewards, values, str(random.choice(ends))))
        count -= length
    return found


def rows_of(of_env: list[list[Episode]], *, takes_turns: bool) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """(columns, the order of the rows): environment by environment, or step by step."""
    names = ("reward", "value", "terminated", "truncated")
    columns = {name: np.concatenate([e.column(name) for env in of_env for e in env]) for name in names}
    sizes = [sum(map(len, env)) for env in of_env]
    columns["env_id"] = np.repeat(np.arange(len(of_env)), sizes)
    columns["episode"] = np.concatenate(
        [np.repeat(100 * k + np.arange(len(env)), [len(e) for e in env]) for k, env in enumerate(of_env)]
    )
    order = np.arange(sum(sizes))
    if takes_turns:
        order = order.reshape(len(of_env), -1).T.reshape(-1)
    return {name: column[order] for name, column in columns.items()}, order


def written(path: Path, columns: dict[str, Any], rows: int | None = None) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


def computed(path: Path, rows: int | None = None, **settings: Any) -> np.ndarray:
    with small_blocks(rows, dtype=np.float64):
        given = {name: value for name, value in {**ARRIVAL, **settings}.items() if value is not None}
        gaecli.compute(path, **given)
    return columns_of(path)["advantage"]


@pytest.mark.few(4)
@pytest.mark.parametrize("takes_turns", [False, True])
@pytest.mark.parametrize("rows", [None, 7, 2, 1])
def test_a_step_has_the_reward_of_the_row_after_it(
    tmp_path: Path, rows: int | None, takes_turns: bool
) -> None:
    """Row groups cut episodes anywhere, before their last rows and behind them."""
    of_env = [episodes(seed, 24) for seed in (1, 2)]
    columns, order = rows_of(of_env, takes_turns=takes_turns)
    expected = np.concatenate([e.advantages() for env in of_env for e in env])[order]
    found = computed(written(tmp_path / "r.parquet", columns, rows), rows)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.few(3)
@pytest.mark.parametrize("rows", [None, 2])
@pytest.mark.parametrize(
    ("settings", "decay", "window"),
    [
        ({"estimator": "td-lambda"}, GAMMA * LAM, None),
        ({"estimator": "td0", "lam": None}, 0.0, None),
        ({"estimator": "n-step", "n_steps": 3, "lam": None}, GAMMA, 3),
    ],
)
def test_so_it_is_of_other_estimators(
    tmp_path: Path, settings: dict[str, Any], decay: float, window: int | None, rows: int | None
) -> None:
    of_env = [episodes(seed, 24) for seed in (3, 4)]
    columns, order = rows_of(of_env, takes_turns=True)
    expected = np.concatenate([e.advantages(decay, window) for env in of_env for e in env])[order]
    found = computed(written(tmp_path / "r.parquet", columns, rows), rows, **settings)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("truncation", ["exact", "current"])
@pytest.mark.parametrize("rows", [None, 2, 1])
def test_monte_carlo_returns_end_with_the_value_of_the_last_row(
    tmp_path: Path, rows: int | None, truncation: str
) -> None:
    """Or with that of the last action, where the rule of truncations says so."""
    of_env = [episodes(5, 24)]
    columns, _ = rows_of(of_env, takes_turns=False)
    path = written(tmp_path / "r.parquet", columns, rows)
    with small_blocks(rows, dtype=np.float64):
        gaecli.compute(path, gamma=GAMMA, reward_at="arrival", estimator="mc", truncation=truncation)
    found, start = columns_of(path)["return"], 0
    for episode in of_env[0]:
        is_current = truncation == "current" and episode.end == "truncated"
        last = episode.values[-2 if is_current and len(episode) > 1 else -1]
        later = 0.0 if episode.end == "terminated" else float(last)
        for t in reversed(range(len(episode) - 1)):
            later = float(episode.rewards[t + 1]) + GAMMA * later
            assert found[start + t] == pytest.approx(later, rel=1e-12, abs=1e-12)
        start += len(episode)


@pytest.mark.parametrize("takes_turns", [False, True])
@pytest.mark.parametrize("rows", [None, 5, 1])
def test_monte_carlo_returns_end_with_the_next_value_of_the_last_action(
    tmp_path: Path, rows: int | None, takes_turns: bool
) -> None:
    """Of another critic than the values; row groups part the last action from the last state."""
    of_env = [episodes(seed, 40, ("terminated", "none")) for seed in (8, 9)]
    columns, order = rows_of(of_env, takes_turns=takes_turns)
    columns["next_value"] = np.random.default_rng(10).normal(size=len(order))
    path = written(tmp_path / "r.parquet", columns, rows)
    with small_blocks(rows, dtype=np.float64):
        gaecli.compute(path, gamma=GAMMA, reward_at="arrival", estimator="mc")
    expected, given, start = np.zeros(len(order)), np.empty(len(order)), 0
    given[order] = columns["next_value"]
    for episode in (episode for env in of_env for episode in env):
        stop = start + len(episode) - 1
        later = 0.0 if episode.end == "terminated" or stop == start else float(given[stop - 1])
        for t in reversed(range(start, stop)):
            expected[t] = later = float(episode.rewards[t + 1 - start]) + GAMMA * later
        start = stop + 1
    np.testing.assert_allclose(columns_of(path)["return"], expected[order], rtol=1e-12, atol=1e-12)


def marked(of_env: list[list[Episode]]) -> dict[str, np.ndarray]:
    """The flags of RLDS, as Dreamer and DrQ have them."""
    columns, _ = rows_of(of_env, takes_turns=False)
    sizes = [len(e) for env in of_env for e in env]
    stops = np.cumsum(sizes)
    first, last = np.zeros(stops[-1], np.bool_), np.zeros(stops[-1], np.bool_)
    first[stops - sizes], last[stops - 1] = True, True
    kept = {name: columns[name] for name in ("reward", "value", "episode")}
    return {**kept, "is_first": first, "is_last": last, "is_terminal": columns["terminated"]}


@pytest.mark.few(2)
@pytest.mark.parametrize("rows", [None, 7, 1])
def test_rows_of_last_states_hold_the_last_reward(tmp_path: Path, rows: int | None) -> None:
    of_env = [[one for one in episodes(6, 40, ("terminated", "truncated")) if len(one) > 1]]
    expected = np.concatenate([e.advantages()[:-1] for e in of_env[0]])
    path = written(tmp_path / "r.parquet", marked(of_env), rows)
    found = computed(path, rows)
    is_last = pq.read_table(path)["is_last"].to_numpy()
    assert np.isnan(found[is_last]).all()
    np.testing.assert_allclose(found[~is_last], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.few(2)
@pytest.mark.parametrize("rows", [None, 7, 1])
def test_flags_of_first_rows_alone_end_the_episodes_before_them(tmp_path: Path, rows: int | None) -> None:
    """Terminally, as start flags do; that a row is a last state may stand in the next block."""
    made = [one for one in episodes(13, 40, ("terminated",)) if len(one) > 1]
    made[-1].end = "none"
    columns = {name: np.concatenate([e.column(name) for e in made]) for name in ("reward", "value")}
    columns["is_first"] = np.concatenate([np.arange(len(e)) == 0 for e in made])
    found = computed(written(tmp_path / "r.parquet", columns, rows), rows)
    expected = np.concatenate([e.advantages() for e in made])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_a_row_of_a_list_is_an_episode(tmp_path: Path) -> None:
    made = episodes(7, 40)
    columns = {
        name: [e.column(name) for e in made] for name in ("reward", "value", "terminated", "truncated")
    }
    path = written(tmp_path / "r.parquet", columns, 3)
    with small_blocks(3, dtype=np.float64):
        gaecli.compute(path, **ARRIVAL)
    found = pq.read_table(path)["advantage"].to_pylist()
    for one, expected in zip(found, made, strict=True):
        np.testing.assert_allclose(one, expected.advantages(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layout", ["time-major", "batch-major"])
def test_arrays_of_environments(tmp_path: Path, layout: str) -> None:
    of_env = [episodes(seed, 24) for seed in (8, 9, 10)]
    ids = [np.repeat(np.arange(len(env)), [len(e) for e in env]) for env in of_env]
    arrays = {
        f"{name}s" if name in ("reward", "value") else name: np.stack(
            [np.concatenate([e.column(name) for e in env]) for env in of_env]
        )
        for name in ("reward", "value", "terminated", "truncated")
    }
    arrays["episode_ids"] = np.stack(ids)
    turned = {name: array.T if layout == "time-major" else array for name, array in arrays.items()}
    np.savez(tmp_path / "r.npz", **turned)
    with small_blocks(dtype=np.float64):
        gaecli.compute(tmp_path / "r.npz", layout=layout, **ARRIVAL, episode_column="episode_ids")
    found = np.load(tmp_path / "r.npz")["advantage"]
    found = found.T if layout == "time-major" else found
    for env, got in zip(of_env, found, strict=True):
        np.testing.assert_allclose(got, np.concatenate([e.advantages() for e in env]), rtol=1e-12, atol=1e-12)


@pytest.mark.few(2)
@pytest.mark.parametrize("rows", [None, 3, 1])
def test_where_an_environment_resets_itself_the_next_episode_holds_the_last_reward(
    tmp_path: Path, rows: int | None
) -> None:
    """`done` of a row: its observation begins an episode, and its reward is that of the last action before."""
    random = np.random.default_rng(11)
    rewards, values = random.normal(size=(2, 30))
    starts = random.random(30) < 0.25
    found = computed(
        written(tmp_path / "r.parquet", {"reward": rewards, "value": values, "done": starts}, rows),
        rows,
        done_at="start",
    )
    expected, later = np.zeros(30), 0.0
    for t in reversed(range(29)):
        goes_on = not starts[t + 1]
        later = rewards[t + 1] + GAMMA * values[t + 1] * goes_on - values[t] + GAMMA * LAM * goes_on * later
        expected[t] = later
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_rewards_that_nobody_earned_are_told(tmp_path: Path) -> None:
    columns = {"reward": [5.0, 1.0, 2.0, 7.0, 3.0], "value": [0.5] * 5, "episode": [0, 0, 0, 1, 1]}
    path = written(tmp_path / "r.parquet", columns)
    notes = {note.code: note for note in gaecli.compute(path, **ARRIVAL, dry_run=True).warnings}
    assert notes["first-row-rewards"].count == 2
    assert "--done-at start" in str(notes["first-row-rewards"].hint)
    assert notes["last-rows"].count == 2
    columns["reward"] = [0.0, 1.0, 2.0, 0.0, 3.0]
    notes = {
        note.code: note
        for note in gaecli.compute(written(tmp_path / "s.parquet", columns), **ARRIVAL, dry_run=True).warnings
    }
    assert "first-row-rewards" not in notes


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"truncation": "leak"}, "--truncation leak"),
    ({"truncation": "undiscounted"}, "--truncation undiscounted"),
    ({"preset": "agilerl"}, "agilerl"),
    ({"mask_mode": "zero"}, "--mask-mode zero"),
    ({"unit": "turn"}, "--unit"),
    ({"estimator": "grpo", "group_column": "g"}, "says nothing"),
]


@pytest.mark.parametrize(("given", "told"), REFUSED)
def test_what_does_not_go_with_it_is_refused(tmp_path: Path, given: dict[str, Any], told: str) -> None:
    columns = {"reward": [1.0, 2.0], "value": [0.5, 0.5], "turn": [0, 1], "g": [0, 0]}
    path = written(tmp_path / "r.parquet", columns)
    with pytest.raises(gaecli.UsageError, match=told):
        gaecli.compute(path, reward_at="arrival", dry_run=True, **given)


def test_a_mask_may_leave_out_the_row_with_the_reward(tmp_path: Path) -> None:
    columns = {"reward": [1.0, 2.0], "value": [0.5, 0.5], "mask": [1, 0], "episode": [0, 0]}
    path = written(tmp_path / "r.parquet", columns)
    with pytest.raises(gaecli.UsageError, match="may hold the reward of the step before"):
        gaecli.compute(path, reward_at="arrival", dry_run=True)
    assert gaecli.compute(path, reward_at="arrival", dry_run=True, mask_column="none").files


def test_the_command_explains_a_row_by_the_reward_of_the_next(tmp_path: Path, run_gae) -> None:
    made = Episode(np.array([0.0, 1.0, 2.0, 4.0]), np.array([0.5, 1.5, -1.0, 3.0]), "terminated")
    columns, _ = rows_of([[made]], takes_turns=False)
    path = written(tmp_path / "r.parquet", columns)
    flags = ["--reward-at", "arrival", "--gamma", str(GAMMA), "--lam", str(LAM)]
    assert run_gae("compute", str(path), *flags).returncode == 0
    table = pq.read_table(path)
    np.testing.assert_allclose(table["advantage"].to_numpy(), made.advantages(), rtol=1e-6)
    kept = json.loads(pq.read_metadata(path).metadata[b"gaecli"])
    assert kept["settings"]["reward_at"] == "arrival"
    page = json.loads(run_gae("explain", str(path), "--row", "0", "--json", *flags).stdout)
    assert page["recursion"] == pytest.approx(float(made.advantages()[0]), rel=1e-12)
    assert [step["reward"] for step in page["steps"]] == [1.0, 2.0, 4.0]
    assert (page["num_steps"], page["end_row"]) == (3, 2)
    second = run_gae("compute", str(path), *flags)
    assert "up to date" in second.stdout + second.stderr


@pytest.mark.parametrize("estimator", ["gae", "td-lambda", "mc"])
@pytest.mark.parametrize("end", ["terminated", "truncated", "none"])
def test_a_last_state_is_no_step_of_what_is_explained(tmp_path: Path, end: str, estimator: str) -> None:
    made = Episode(np.array([0.0, 1.0, 2.0, 4.0]), np.array([0.5, 1.5, -1.0, 3.0]), end)
    path = written(tmp_path / "r.parquet", rows_of([[made]], takes_turns=False)[0])
    settings = {"reward_at": "arrival", "gamma": GAMMA, "estimator": estimator}
    found = gaecli.explain(path, row=1, **settings)
    assert (found.num_steps, found.end_row) == (2, 2)
    assert found.end == ("open" if end == "none" else end)
    assert found.bootstrap == ("none" if end == "terminated" else "next value")
    assert found.bootstrap_value == (0.0 if end == "terminated" else 3.0)
    with pytest.raises(gaecli.DataError, match="its reward is that of the row before"):
        gaecli.explain(path, row=3, **settings)


def test_the_check_proposes_it_and_is_content_with_it(tmp_path: Path, run_gae) -> None:
    path = written(
        tmp_path / "r.parquet",
        marked([[one for one in episodes(12, 60, ("terminated",)) if len(one) > 1]]),
    )
    before = run_gae("check", str(path))
    assert "GAE105" in before.stdout
    assert "--reward-at arrival" in before.stdout + before.stderr
    after = run_gae("check", str(path), "--reward-at", "arrival")
    assert "GAE105" not in after.stdout
    (note,) = [n for n in gaecli.compute(path, dry_run=True).warnings if n.code == "arrival-rewards"]
    assert "--reward-at arrival" in str(note.hint)


def test_a_column_that_was_made_so_is_verified_so(tmp_path: Path, run_gae) -> None:
    of_env = [episodes(seed, 60) for seed in (14, 15)]
    columns, _ = rows_of(of_env, takes_turns=False)
    path = written(tmp_path / "r.parquet", columns)
    gaecli.compute(path, **ARRIVAL)
    found = run_gae("verify", str(path), "--reward-at", "arrival", "--preset", "exact", "--json")
    assert found.returncode == 0, found.stdout + found.stderr
    unasked = gaecli.verify(path)
    assert unasked.is_reproduced
    assert unasked.best.flags == {"reward_at": "arrival"}
    assert "--reward-at arrival" in " ".join(unasked.flags)
    assert not gaecli.verify(path, preset="sb3").is_reproduced
    of_all_presets = run_gae("verify", str(path), "--reward-at", "arrival", "--json")
    assert of_all_presets.returncode == 0, of_all_presets.stdout + of_all_presets.stderr


def test_statistics_of_rewards_are_those_of_the_steps_that_earned_them(tmp_path: Path) -> None:
    of_env = [episodes(seed, 24) for seed in (18, 19)]
    columns, _ = rows_of(of_env, takes_turns=False)
    earned = np.concatenate([e.rewards[1:] for env in of_env for e in env])
    for rows in (None, 7):
        with small_blocks(rows):
            summary = gaecli.compute(
                written(tmp_path / "r.parquet", columns, rows or 100), reward_at="arrival", force=True
            )
        found = summary.columns["reward"]
        assert found.count == len(earned)
        np.testing.assert_allclose([found.mean, found.min], [earned.mean(), earned.min()], rtol=1e-6)


def test_a_sweep_goes_by_it(tmp_path: Path) -> None:
    of_env = [episodes(seed, 24) for seed in (16, 17)]
    columns, _ = rows_of(of_env, takes_turns=False)
    path, out = written(tmp_path / "r.parquet", columns, 7), tmp_path / "s.parquet"
    with small_blocks(7):
        gaecli.sweep(path, [GAMMA], [0.0, LAM], output=out, reward_at="arrival")
    swept = pq.read_table(out)
    names = [name for name in swept.column_names if name not in columns]
    for name, decay in zip(names, [0.0, GAMMA * LAM], strict=True):
        expected = np.concatenate([e.advantages(decay) for env in of_env for e in env])
        np.testing.assert_allclose(swept[name].to_numpy(), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_first_rows_without_a_reward_lead_to_0_there(tmp_path: Path, nothing: float | None) -> None:
    """dm_env has none at the first time step; to drop such episodes drops all."""
    columns = {"reward": [nothing, 1.0, 2.0, nothing, 3.0], "value": [0.5] * 5, "episode": [0, 0, 0, 1, 1]}
    with pytest.raises(gaecli.DataError) as refused:
        gaecli.compute(written(tmp_path / "r.parquet", columns), **ARRIVAL, dry_run=True)
    assert str(refused.value.hint).startswith("if only first rows of trajectories lack one, write 0 there")
    columns["reward"] = [0.0, 1.0, 2.0, 0.0, 3.0]
    steps = gaecli.compute(written(tmp_path / "s.parquet", columns), **ARRIVAL, dry_run=True).totals.steps
    assert steps == 5
