"""`gae verify` on columns in which something is wrong: what, and where."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from studies.made_columns import NUM_ENVS, NUM_STEPS, Rollout, torchrl_like

from gaecli.commands.verify import verify


def against_all_or(preset):
    """What is wrong is the same whether a column is held against one convention, or against all, which is `slow`."""
    return pytest.mark.parametrize("preset", [preset, pytest.param(None, marks=pytest.mark.slow)])


class TestDeviations:
    """One thing wrong in the column, and `verify` says what and where."""

    def column(self, seed=2, gamma=0.95, lam=0.9):
        rollout = Rollout(seed)
        return rollout, torchrl_like(rollout, gamma, lam)

    def test_a_single_row(self, tmp_path):
        rollout, column = self.column()
        column[1, 40] += 0.5
        found = verify(rollout.write(tmp_path / "r.parquet", column), "adv", preset="torchrl")
        assert found.exit_code == 3
        assert (found.best.gamma, found.best.lam) == (0.95, 0.9)
        assert [(d.count, d.first_row) for d in found.deviations] == [(1, NUM_STEPS + 40)]
        assert found.deviations[0].found - found.deviations[0].expected == pytest.approx(0.5, abs=1e-4)

    def by_hand(self, rollout, end_term, gamma=0.95, lam=0.9):
        """GAE with what `end_term(env, t)` gives in the place of γ V' + γλ A' at ends; None: the usual."""
        advantages = np.zeros((NUM_ENVS, NUM_STEPS))
        for env in range(NUM_ENVS):
            running = 0.0
            for t in reversed(range(NUM_STEPS)):
                ends = rollout.terminated[env, t] or rollout.truncated[env, t]
                usual = 0.0 if rollout.terminated[env, t] else gamma * float(rollout.following[env, t])
                beyond = usual if ends else usual + gamma * lam * running
                if ends and end_term(env, t) is not None:
                    beyond = end_term(env, t)
                running = float(rollout.rewards[env, t]) - float(rollout.values[env, t]) + beyond
                advantages[env, t] = running
        return advantages

    @against_all_or("torchrl")
    def test_terminated_ends_that_use_the_last_state(self, tmp_path, preset):
        rollout = Rollout(4)

        def beyond(env, t):
            return 0.95 * float(rollout.values[env, t]) if rollout.terminated[env, t] else None

        path = rollout.write(tmp_path / "r.parquet", self.by_hand(rollout, beyond))
        found = verify(path, "adv", preset=preset)
        assert not found.is_reproduced
        (deviation,) = found.deviations
        assert deviation.where == "terminated ends"
        assert deviation.count == deviation.total == rollout.terminated.sum()
        assert "V(s_t) in the place of V(s_t+1)" in deviation.reading
        assert deviation.first_row == int(np.argmax(rollout.terminated.reshape(-1)))
        assert (found.best.gamma, found.best.lam) == (0.95, 0.9)

    def test_truncated_ends_that_use_the_last_state_are_a_flag(self, tmp_path):
        """That one is known: it has a name."""
        rollout = Rollout(4)

        def beyond(env, t):
            return 0.95 * float(rollout.values[env, t]) if rollout.truncated[env, t] else None

        found = verify(rollout.write(tmp_path / "r.parquet", self.by_hand(rollout, beyond)), "adv")
        assert found.is_reproduced
        assert set(found.best.presets) == {"rl-games", "rsl-rl"}

    def test_a_preset_that_is_not_the_one_tells_what_the_column_does(self, tmp_path):
        rollout, column = self.column()
        found = verify(rollout.write(tmp_path / "r.parquet", column), "adv", preset="cleanrl")
        (deviation,) = found.deviations
        assert deviation.where == "truncated ends"
        assert deviation.count == rollout.truncated.sum()
        assert deviation.reading == "use V(s_t+1) as the file gives it"

    @against_all_or("torchrl")
    def test_ends_that_leak_into_the_next_episode(self, tmp_path, preset):
        """Terminated ends are no ends to the column: V and A of the next row flow in."""
        rollout = Rollout(8)
        advantages = np.zeros((NUM_ENVS, NUM_STEPS))
        for env in range(NUM_ENVS):
            running = 0.0
            for t in reversed(range(NUM_STEPS)):
                after = rollout.values[env, t + 1] if t + 1 < NUM_STEPS else rollout.following[env, t]
                delta = rollout.rewards[env, t] + 0.95 * after - rollout.values[env, t]
                if rollout.truncated[env, t]:
                    delta = (
                        rollout.rewards[env, t] + 0.95 * rollout.following[env, t] - rollout.values[env, t]
                    )
                    running = 0.0
                running = delta + 0.95 * 0.9 * running
                advantages[env, t] = running
        found = verify(rollout.write(tmp_path / "r.parquet", advantages), "adv", preset=preset)
        assert not found.is_reproduced
        (deviation,) = found.deviations
        assert deviation.where == "terminated ends"
        assert deviation.reading == "leak: V and A of the next row flow in"

    @against_all_or("rl-games")
    def test_two_kinds_of_ends_at_once(self, tmp_path, preset):
        rollout = Rollout(6)

        def beyond(env, t):
            if rollout.truncated[env, t]:
                return 0.95 * float(rollout.values[env, t])
            return 0.95 * float(rollout.following[env, t]) if env == 0 else None

        path = rollout.write(tmp_path / "r.parquet", self.by_hand(rollout, beyond))
        found = verify(path, "adv", preset=preset)
        assert found.exit_code == 3
        assert "terminated ends" in [deviation.where for deviation in found.deviations]
        assert found.best.num_deviating == rollout.terminated[0].sum()

    @pytest.mark.parametrize("is_null", [False, True])
    def test_missing_numbers(self, tmp_path, is_null):
        rollout, column = self.column()
        column[2, 10] = np.nan
        path = rollout.write(tmp_path / "r.parquet", column)
        if is_null:
            table = pq.read_table(path)
            nulls = pa.array(table["adv"].to_numpy(), from_pandas=True)
            pq.write_table(table.set_column(table.column_names.index("adv"), "adv", nulls), path)
        found = verify(path, "adv", preset="torchrl")
        assert found.exit_code == 3
        assert [(d.where, d.count, d.first_row) for d in found.deviations] == [
            ("no number", 1, 2 * NUM_STEPS + 10)
        ]

    @against_all_or("torchrl")
    def test_half_precision_is_seen_as_what_it_is(self, tmp_path, preset):
        rollout, column = self.column()
        half = rollout.write(tmp_path / "half.parquet", column, dtype=np.float16)
        as_half = verify(half, "adv", preset=preset)
        assert as_half.is_reproduced
        widened = column.astype(np.float16).astype(np.float32)
        as_single = verify(rollout.write(tmp_path / "single.parquet", widened), "adv", preset=preset)
        assert not as_single.is_reproduced
        assert as_single.best.gamma == pytest.approx(0.95, abs=1e-3)
        assert as_single.best.max_error < 2e-2

    def test_a_column_of_something_else(self, tmp_path):
        rollout = Rollout(7)
        noise = np.random.default_rng(0).normal(size=(NUM_ENVS, NUM_STEPS))
        found = verify(rollout.write(tmp_path / "r.parquet", noise), "adv")
        assert found.exit_code == 3
        assert found.best.num_deviating > 0.9 * noise.size
