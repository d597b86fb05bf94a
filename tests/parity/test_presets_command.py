"""`gae compute --preset NAME` on real files, against the loops."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parity.loops import STEP_LOOPS, arrival_rows, sample_factory
from parity.rollouts import Rollout, random_rollout
from parity.token_loops import TOKEN_LOOPS

import gaecli
from gaecli.settings import Settings

#: What is written is float32.
TOLERANCE = {"rtol": 2e-6, "atol": 2e-6}


def write_dense(path, rollout: Rollout, **more) -> None:
    """[T, N] with flags at the end of their step, and V of the last observations."""
    given = np.where(rollout.ended, rollout.following, np.nan)
    np.savez(
        path,
        rewards=rollout.rewards.T,
        values=rollout.values.T,
        terminated=rollout.terminated.T,
        truncated=rollout.truncated.T,
        terminal_values=given.T,
        last_values=rollout.last_values,
        **more,
    )


def write_starts(path, rollout: Rollout, rewards=None, name="dones") -> None:
    """[T, N] as SB3, CleanRL and PufferLib hold it: start flags and nothing else."""
    starts = np.zeros(rollout.shape, bool)
    starts[:, 1:] = rollout.ended[:, :-1]
    np.savez(
        path,
        rewards=(rollout.rewards if rewards is None else rewards).T,
        values=rollout.values.T,
        last_values=rollout.last_values,
        next_done=rollout.ended[:, -1],
        **{name: starts.T.astype(np.float32)},
    )


def write_long(path, rollout: Rollout) -> None:
    """A row per step, one environment after the other."""
    num_envs, num_steps = rollout.shape
    ended = np.zeros(rollout.shape, bool)
    ended[:, 1:] = rollout.ended[:, :-1]
    cut = rollout.ended.copy()
    cut[:, -1] = True
    columns = {
        "env_id": np.repeat(np.arange(num_envs), num_steps),
        "t": np.tile(np.arange(num_steps), num_envs),
        "reward": rollout.rewards.reshape(-1),
        "value": rollout.values.reshape(-1),
        "next_value": np.where(cut, rollout.following, np.nan).reshape(-1),
        "terminated": rollout.terminated.reshape(-1),
        "truncated": rollout.truncated.reshape(-1),
    }
    pq.write_table(pa.table(columns), path, row_group_size=1000)


def expected(name, rollout: Rollout, settings: Settings) -> list[np.ndarray]:
    """[N, T] advantages and returns, normalised where the settings say so."""
    rows = [
        STEP_LOOPS[name](**rollout.env(env), gamma=settings.gamma, lam=settings.lam)
        for env in range(rollout.shape[0])
    ]
    advantages, returns = (np.array([row[part] for row in rows]) for part in (0, 1))
    if settings.normalize == "all":
        std = advantages.std(ddof=settings.norm_ddof)
        eps = settings.norm_eps
        divisor = {"add": std + eps, "clamp": max(std, eps), "rsqrt": np.sqrt(std**2 + eps)}[
            settings.norm_floor
        ]
        advantages = (advantages - advantages.mean()) / divisor
    return [advantages, returns]


def assert_is_expected(name, rollout: Rollout, written) -> None:
    """`written`: a column by its name, as [N, T]."""
    wanted = expected(name, rollout, Settings.from_preset(name))
    for column, numbers in zip(("advantage", "return"), wanted, strict=True):
        np.testing.assert_allclose(written(column), numbers, **TOLERANCE)


class TestTimeMajorNpz:
    @pytest.mark.parametrize(
        "name", ["rsl-rl", "skrl-2.1", "skrl-1.4", "brax", "stoix", "evorl", "agilerl", "elegantrl"]
    )
    def test_end_flags_of_both_kinds(self, tmp_path, run_gae, name):
        rollout = random_rollout(21, num_envs=4, num_steps=64)
        write_dense(tmp_path / "r.npz", rollout)
        result = run_gae("compute", tmp_path / "r.npz", "--preset", name)
        assert result.returncode == 0, result.stderr
        arrays = np.load(tmp_path / "r.npz")
        assert_is_expected(name, rollout, lambda column: arrays[column].T)

    @pytest.mark.parametrize("name", ["cleanrl", "baselines-ppo2"])
    def test_dones_that_are_start_flags(self, tmp_path, run_gae, name):
        rollout = random_rollout(22, num_envs=4, num_steps=64)
        write_starts(tmp_path / "r.npz", rollout)
        assert run_gae("compute", tmp_path / "r.npz").returncode == 2, "without a preset it must ask"
        result = run_gae("compute", tmp_path / "r.npz", "--preset", name)
        assert result.returncode == 0, result.stderr
        arrays = np.load(tmp_path / "r.npz")
        assert_is_expected(name, rollout, lambda column: arrays[column].T)

    def test_arrival_rows(self, tmp_path, run_gae):
        rollout = random_rollout(23, num_envs=4, num_steps=64)
        rollout = Rollout(
            rollout.rewards, rollout.values, rollout.following, rollout.ended, np.zeros_like(rollout.ended)
        )
        stored = [
            arrival_rows(row.tolist(), end.tolist())[0]
            for row, end in zip(rollout.rewards, rollout.terminated, strict=True)
        ]
        write_starts(tmp_path / "r.npz", rollout, np.array(stored), name="terminals")
        result = run_gae("compute", tmp_path / "r.npz", "--preset", "pufferlib", "--json")
        assert result.returncode == 0, result.stderr
        arrays = np.load(tmp_path / "r.npz")
        advantages, returns = expected("pufferlib", rollout, Settings.from_preset("pufferlib"))
        np.testing.assert_allclose(arrays["advantage"].T, advantages, **TOLERANCE)
        np.testing.assert_allclose(arrays["return"].T, returns, **TOLERANCE)
        notes = {note["code"]: note["count"] for note in json.loads(result.stdout)["warnings"]}
        assert notes["last-rows"] == 4

    def test_invalid_steps(self, tmp_path, run_gae):
        rollout = random_rollout(24, num_envs=4, num_steps=64)
        valids = np.random.default_rng(24).random(rollout.shape) < 0.7
        write_dense(tmp_path / "r.npz", rollout, valids=valids.T)
        result = run_gae(
            "compute", tmp_path / "r.npz", "--preset", "sample-factory", "--mask-column", "valids",
            "--layout", "time-major",
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        advantages = [
            sample_factory(**rollout.env(env), gamma=0.99, lam=0.95, valids=valids[env].tolist())[0]
            for env in range(4)
        ]
        np.testing.assert_allclose(np.load(tmp_path / "r.npz")["advantage"].T, advantages, **TOLERANCE)


def own_arrays(name: str, rollout: Rollout) -> dict[str, np.ndarray]:
    """[T, N] under the names that the library has for them."""
    terminated, ended, last = rollout.terminated.T, rollout.ended.T, rollout.following[:, -1]
    truncated = rollout.truncated.T & ~terminated
    one = {"reward": rollout.rewards.T, "value": rollout.values.T}
    many = {"rewards": rollout.rewards.T, "values": rollout.values.T}
    return {
        "purejaxrl": {**one, "done": ended, "last_val": last},
        "stoix": {
            **one,
            "bootstrap_value": rollout.following.T,
            "done": terminated,
            "truncated": truncated,
        },
        "evorl": {
            "rewards": many["rewards"],
            "values": np.vstack([many["values"], last]),
            "dones": ended.astype(np.float32),
            "termination": terminated.astype(np.float32),
        },
        "elegantrl": {**many, "undones": ~terminated, "unmasks": ~truncated, "last_values": last},
        "agilerl": {**many, "dones": ended.astype(np.float32), "last_values": last},
    }[name]


@pytest.mark.parametrize("name", ["purejaxrl", "stoix", "evorl", "elegantrl", "agilerl"])
def test_arrays_under_the_names_of_the_library_need_no_flags(tmp_path, name):
    rollout = random_rollout(31, num_envs=4, num_steps=64)
    np.savez(tmp_path / "r.npz", **own_arrays(name, rollout))
    gaecli.compute(tmp_path / "r.npz", preset=name)
    arrays = np.load(tmp_path / "r.npz")
    wanted = expected(name, rollout, Settings.from_preset(name))
    for found, numbers in zip(("advantage", "return"), wanted, strict=True):
        np.testing.assert_allclose(arrays[found].T, numbers, **TOLERANCE)


def test_ends_that_a_preset_reads_early_are_told(tmp_path):
    rollout = random_rollout(31, num_envs=4, num_steps=64)
    np.savez(tmp_path / "r.npz", **own_arrays("agilerl", rollout))
    notes = {note.code: note for note in gaecli.compute(tmp_path / "r.npz", preset="agilerl").warnings}
    assert notes["preset-early-ends"].count == rollout.ended.sum()


def test_filler_rows_of_rl_games_are_left_out_of_statistics(tmp_path):
    """rl_games 2.0 with next-step autoreset: the row after an end is no step; advantages flow as they did."""
    rollout = random_rollout(32, num_envs=4, num_steps=64)
    starts = np.ones(rollout.shape, bool)
    starts[:, 1:] = rollout.ended[:, :-1]
    is_step = ~starts
    is_step[:, 0] = True
    np.savez(
        tmp_path / "r.npz",
        mb_rewards=rollout.rewards.T,
        mb_values=rollout.values.T,
        mb_dones=starts.T.astype(np.float32),
        time_outs=rollout.truncated.T & ~rollout.terminated.T,
        last_values=rollout.following[:, -1],
        fdones=rollout.ended[:, -1],
        valid=is_step.T,
    )
    given = {"gamma": 0.99, "lam": 0.95, "mask_mode": "keep", "mask_column": "valid"}
    gaecli.compute(tmp_path / "r.npz", preset="rl-games", **given)
    raw = expected("rl-games", rollout, Settings.from_preset("rl-games", normalize="none"))[0]
    wanted = (raw - raw[is_step].mean()) / (raw[is_step].std(ddof=1) + 1e-8)
    found = np.load(tmp_path / "r.npz")["advantage"].T
    np.testing.assert_allclose(found[is_step], wanted[is_step], **TOLERANCE)
    assert np.isnan(found[~is_step]).all()


def test_discounted_sums_are_not_cut_early(tmp_path):
    """AgileRL without GAE reads the flag of the row itself; before the last row, either kind of end is terminal."""
    rollout = random_rollout(31, num_envs=4, num_steps=64)
    np.savez(tmp_path / "r.npz", **own_arrays("agilerl", rollout))
    summary = gaecli.compute(tmp_path / "r.npz", preset="agilerl", estimator="mc")
    wanted = np.zeros(rollout.shape)
    for env in range(4):
        later = rollout.following[env, -1] * (not rollout.ended[env, -1])
        for t in reversed(range(64)):
            later = rollout.rewards[env, t] + 0.99 * later * (t == 63 or not rollout.ended[env, t])
            wanted[env, t] = later
    np.testing.assert_allclose(np.load(tmp_path / "r.npz")["return"].T, wanted, **TOLERANCE)
    assert not [note for note in summary.warnings if note.code == "preset-early-ends"]


@pytest.mark.parametrize("name", ["spinup", "rllib", "tianshou-npg", "finite-horizon"])
def test_long_parquet(tmp_path, run_gae, name):
    rollout = random_rollout(25, num_envs=3, num_steps=200)
    write_long(tmp_path / "r.parquet", rollout)
    result = run_gae("compute", tmp_path / "r.parquet", "--preset", name)
    assert result.returncode == 0, result.stderr
    table = pq.read_table(tmp_path / "r.parquet")
    assert_is_expected(name, rollout, lambda column: table[column].to_numpy().reshape(rollout.shape))


def test_nested_tokens(tmp_path, run_gae):
    rows = {
        "rewards": [[0.0, 0.5, 1.0, 0.0]],
        "values": [[0.1, 0.2, 0.3, 0.4]],
        "response_mask": [[1, 0, 1, 0]],
    }
    pq.write_table(pa.table(rows), tmp_path / "r.parquet")
    result = run_gae("compute", tmp_path / "r.parquet", "--preset", "verl", "--normalize", "none")
    assert result.returncode == 0, result.stderr
    mask = [True, False, True, False]
    advantages, returns = TOKEN_LOOPS["verl"](rows["rewards"][0], rows["values"][0], mask, 1.0, 1.0)
    table = pq.read_table(tmp_path / "r.parquet")
    assert table["advantage"].to_pylist()[0] == pytest.approx(advantages, abs=1e-6)
    assert table["return"].to_pylist()[0] == pytest.approx(returns, abs=1e-6)


def test_verl_on_ragged_responses_with_holes(tmp_path, run_gae):
    """verl's own function wrote the expected numbers: whitened advantages, and what masked slots hold."""
    samples = Path(__file__).parents[1] / "data" / "samples" / "rlhf"
    path = tmp_path / "r.parquet"
    path.write_bytes((samples / "verl_like_ragged.parquet").read_bytes())
    result = run_gae("compute", path, "--preset", "verl", "--lam", "0.95", "--json")
    assert result.returncode == 0, result.stderr
    found = pq.read_table(path)
    wanted = pq.read_table(samples / "verl_expected_g1.0_l0.95.parquet")
    for name, other in (("advantage", "advantages_whitened"), ("return", "returns")):
        got, numbers = (
            np.concatenate(table[column].to_pylist()) for table, column in ((found, name), (wanted, other))
        )
        np.testing.assert_allclose(got, numbers, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "ddof", "eps"), [("brax", 0, 1e-8), ("ikostrikov", 1, 1e-5), ("mappo", 0, 1e-5)]
)
@pytest.mark.parametrize("write", [write_long, write_dense])
def test_steps_without_an_advantage_count_as_zero_in_statistics(tmp_path, name, ddof, eps, write):
    rollout = random_rollout(29, num_envs=3, num_steps=200)
    path = tmp_path / ("r.parquet" if write is write_long else "r.npz")
    write(path, rollout)
    gaecli.compute(path, preset=name, truncation="drop", normalize="all", memory_bytes=4 << 20)
    raw = expected(name, rollout, Settings.from_preset(name, truncation="drop"))[0]
    assert (raw == 0).sum() == (rollout.truncated & ~rollout.terminated).sum() > 0
    advantages = (raw - raw.mean()) / (raw.std(ddof=ddof) + eps)
    found = pq.read_table(path)["advantage"] if write is write_long else np.load(path)["advantage"].T
    np.testing.assert_allclose(np.reshape(found, -1), advantages.reshape(-1), **TOLERANCE)


class TestBorders:
    """Blocks and row groups cut episodes; numbers must not show it."""

    @pytest.mark.few(4)
    @pytest.mark.parametrize(
        "name",
        [
            "cleanrl", "rsl-rl", "skrl-2.1", "brax", "spinup", "finite-horizon", "evorl",
            pytest.param("agilerl", marks=pytest.mark.slow), pytest.param("elegantrl", marks=pytest.mark.slow),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("bootstrap", ["zero", "current"])
    def test_small_blocks_give_the_same_numbers(self, tmp_path, name, bootstrap):
        # The least memory makes blocks of 4,096 rows.
        rollout = random_rollout(26, num_envs=3, num_steps=5_000, end_rate=0.01)
        path = tmp_path / "r.parquet"
        write_long(path, rollout)
        found = []
        for memory in (4 << 20, 1 << 30):
            gaecli.compute(path, preset=name, bootstrap=bootstrap, memory_bytes=memory, overwrite=True)
            table = pq.read_table(path)
            found.append([table[column].to_numpy() for column in ("advantage", "return")])
        np.testing.assert_array_equal(found[0], found[1])
        for got, numbers in zip(found[0], expected(name, rollout, Settings.from_preset(name)), strict=True):
            np.testing.assert_allclose(got, numbers.reshape(-1), **TOLERANCE)
