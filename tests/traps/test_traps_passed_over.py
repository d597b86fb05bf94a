"""Rewards and ids that are there and that no number sees: told, asked about, and never where nothing is wrong."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from traps.passed_over import notes_of, plain_gae, write

import gaecli
from gaecli.commands import check as checkup
from gaecli.commands import compute as run
from gaecli.commands.check import check
from gaecli.errors import UsageError

TABLES = (".parquet", ".jsonl", ".arrow")


MASKED = {
    "rewards": [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 2.0]],
    "values": [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]],
    "response_mask": [[1, 1, 0], [1, 0, 1, 0]],
}


class TestRewardsOnMaskedTokens:
    @pytest.mark.turns
    @pytest.mark.parametrize("suffix", TABLES)
    @pytest.mark.parametrize("mode", ["skip", "zero", "gated"])
    def test_are_counted_and_told(self, tmp_path, suffix, mode):
        (note,) = notes_of(write(tmp_path, MASKED, suffix), "masked-rewards", mask_mode=mode)
        assert note.count == 3
        assert "3 rewards that are not 0 stand where `response_mask` keeps no step" in note.message
        assert "the first at row 0, item 2 of" in note.message
        assert "--mask-mode keep" in note.hint

    @pytest.mark.parametrize("preset", ["verl", "nemo", "openrlhf", "trl"])
    def test_presets_say_that_they_leave_them_out(self, tmp_path, preset):
        (note,) = notes_of(write(tmp_path, MASKED, ".parquet"), "masked-rewards", preset=preset)
        # TRL goes on to the token after the last one kept.
        assert note.count == (1 if preset == "trl" else 3)
        assert f"by preset `{preset}`" in note.message

    @pytest.mark.parametrize("layout", ["batch-major", "time-major"])
    def test_of_dense_arrays_too(self, tmp_path, layout):
        rewards, mask = np.zeros((3, 5)), np.ones((3, 5), np.int64)
        rewards[1, 4], mask[1, 4] = 2.0, 0
        arrays = {"rewards": rewards, "values": np.full((3, 5), 0.5), "response_mask": mask}
        path = write(tmp_path, arrays, ".npz")
        (note,) = notes_of(path, "masked-rewards", layout=layout)
        assert note.count == 1
        assert "the first at [1, 4]" in note.message or "step 1 of environment 4" in note.message

    def test_of_rows_that_count_as_nothing(self, tmp_path):
        columns = {
            "reward": [0.0, 3.0, 0.0, 1.0],
            "value": [0.5] * 4,
            "mask": [1, 0, 1, 1],
            "done": [False, False, False, True],
        }
        (note,) = notes_of(write(tmp_path, columns, ".parquet"), "masked-rewards", mask_mode="zero")
        assert note.count == 1
        assert "the first at row 1 of" in note.message

    @pytest.mark.parametrize("mode", ["skip", "zero", "gated"])
    def test_are_moved_to_the_kept_token_before_them(self, tmp_path, mode):
        path = write(tmp_path, MASKED, ".parquet")
        assert notes_of(path, "masked-rewards", mask_mode=mode, masked_reward="move") == []
        there = {**MASKED, "rewards": [[0.0, 1.0, 0.0], [1.0, 0.0, 2.0, 0.0]]}
        (tmp_path / "there").mkdir()
        other = write(tmp_path / "there", there, ".parquet")
        gaecli.compute(path, mask_mode=mode, masked_reward="move")
        gaecli.compute(other, mask_mode=mode)
        assert pq.read_table(path)["advantage"].equals(pq.read_table(other)["advantage"])
        if mode == "skip":  # λ-weighted by hand: 1 - 0.5, and before it 0.99 · 0.5 - 0.5 + 0.9405 · 0.5
            assert pq.read_table(path)["advantage"][0].as_py() == pytest.approx([0.46525, 0.5, None])

    def test_before_the_first_kept_token_they_go_to_it_and_without_one_they_stay_lost(self, tmp_path):
        columns = {
            "rewards": [[4.0, 0.0, 0.0], [0.0, 3.0], [5.0, 0.0]],
            "values": [[0.0] * 3, [0.0] * 2, [0.0] * 2],
            "response_mask": [[0, 1, 1], [0, 0], [0, 1]],
        }
        path = write(tmp_path, columns, ".parquet")
        (note,) = notes_of(path, "masked-rewards", masked_reward="move")
        assert note.count == 1
        gaecli.compute(path, masked_reward="move")
        assert pq.read_table(path)["advantage"].to_pylist() == [[None, 4.0, 0.0], [None, None], [None, 5.0]]

    def test_may_be_refused(self, tmp_path):
        path = write(tmp_path, MASKED, ".parquet")
        with pytest.raises(gaecli.DataError, match="3 rewards that are not 0 stand where") as caught:
            gaecli.compute(path, masked_reward="error")
        assert "--masked-reward move" in caught.value.hint

    def test_a_row_per_step_is_no_whole_trajectory_to_move_within(self, tmp_path):
        columns = {"reward": [1.0, 2.0], "value": [0.0, 0.0], "mask": [1, 0], "done": [False, True]}
        with pytest.raises(UsageError, match="--masked-reward move"):
            gaecli.compute(write(tmp_path, columns, ".parquet"), mask_mode="zero", masked_reward="move")

    def test_nothing_is_told_where_none_is_left_out(self, tmp_path):
        path = write(tmp_path, MASKED, ".parquet")
        assert notes_of(path, "masked-rewards", mask_mode="keep") == []
        clean = {**MASKED, "rewards": [[0.0, 1.0, 0.0], [1.0, 0.0, 2.0, float("nan")]]}
        assert notes_of(write(tmp_path, clean, ".parquet"), "masked-rewards") == []


class TestRewardsThatCameWithTheObservation:
    @staticmethod
    def rows(num_episodes=6, length=4, *, arrives: bool) -> dict:
        """An episode of `length` rows has `length - 1` steps, and a reward for the last of them."""
        place = np.tile(np.arange(length), num_episodes)
        return {
            "episode": np.repeat(np.arange(num_episodes), length),
            "reward": np.where(place == length - (1 if arrives else 2), 1.0, 0.0),
            "value": np.linspace(0, 1, num_episodes * length),
            "is_first": place == 0,
            "is_last": place == length - 1,
            "is_terminal": place == length - 1,
        }

    @pytest.mark.turns
    @pytest.mark.parametrize("suffix", [*TABLES, ".npz"])
    @pytest.mark.parametrize("num_rows", [5, 1 << 20])
    def test_are_counted_and_told(self, tmp_path, suffix, num_rows, monkeypatch):
        monkeypatch.setattr(run, "rows_per_block", lambda memory_bytes: num_rows)
        (note,) = notes_of(write(tmp_path, self.rows(arrives=True), suffix), "arrival-rewards")
        assert note.count == 6
        assert "6 of 6 rows with `is_last` carry a reward, and none of 6 with `is_first` does" in note.message
        assert "the first at row 3" in note.message

    def test_in_lists(self, tmp_path):
        columns = self.rows(arrives=True)
        lists = {
            name: np.reshape(cells, (-1, 4)).tolist() for name, cells in columns.items() if name != "episode"
        }
        (note,) = notes_of(write(tmp_path, lists, ".parquet"), "arrival-rewards")
        assert note.count == 6

    def test_rewards_of_steps_are_silent(self, tmp_path):
        assert notes_of(write(tmp_path, self.rows(arrives=False), ".parquet"), "arrival-rewards") == []

    def test_what_a_last_row_repeats_is_silent(self, tmp_path):
        """Steps that begin an episode have rewards: those of the last rows mean nothing, as RLDS says."""
        columns = {**self.rows(arrives=False), "reward": np.ones(24)}
        assert notes_of(write(tmp_path, columns, ".parquet"), "arrival-rewards") == []


_NAMES = """
agent agent_name player playerId robot_id env_ids env_no actor worker rank process seed run_id traj trajectory
episode_num ep rollout_id Sim id policy_id worker-index info:env_id envid conversation
"""
NAMES = _NAMES.split()


def interleaved(name, num_rows=24, **more) -> dict:
    random = np.random.default_rng(0)
    who = np.array(["a", "b"] * (num_rows // 2))
    return {
        name: who,
        "reward": random.normal(size=num_rows),
        "value": random.normal(size=num_rows),
        "done": np.arange(num_rows) % 8 >= 6,
        **more,
    }


class TestRowsThatAlternate:
    @pytest.mark.few(9)
    @pytest.mark.parametrize("name", NAMES)
    def test_are_asked_about_and_the_answer_gives_the_numbers(self, tmp_path, name):
        columns = interleaved(name)
        path = write(tmp_path, columns, ".parquet")
        with pytest.raises(UsageError, match=f"alternate by `{name}`") as caught:
            gaecli.compute(path)
        flag = caught.value.hint.split("`")[1].split()
        assert flag[1] == name
        role = flag[0].removeprefix("--").replace("-", "_")
        gaecli.compute(path, **{role: name})
        found = pq.read_table(path)["advantage"].to_numpy()
        for who in "ab":
            rows = np.flatnonzero(columns[name] == who)
            wanted = plain_gae(*(columns[part][rows] for part in ("reward", "value", "done")))
            np.testing.assert_allclose(found[rows], wanted, rtol=1e-5, atol=1e-6)

    @pytest.mark.turns
    @pytest.mark.parametrize("suffix", [*TABLES, ".npz"])
    @pytest.mark.parametrize("kind", ["text", "int", "float"])
    def test_of_any_type_and_format(self, tmp_path, suffix, kind):
        who = {"text": np.array(["a", "b", "c"]), "int": np.arange(3), "float": np.arange(3.0)}[kind]
        path = write(tmp_path, interleaved("player", player=np.tile(who, 8)), suffix)
        with pytest.raises(UsageError, match="alternate by `player`"):
            gaecli.compute(path)
        (finding,) = [finding for finding in check([path]).findings if finding.rule.severity == "error"]
        assert finding.rule.code == "GAE405"
        assert "--env-column player" in finding.fix

    def test_in_no_order_too(self, tmp_path):
        columns = interleaved("robot", num_rows=200, robot=np.random.default_rng(1).integers(0, 4, 200))
        with pytest.raises(UsageError, match="alternate by `robot`"):
            gaecli.compute(write(tmp_path, columns, ".parquet"))

    def test_within_an_episode(self, tmp_path):
        columns = interleaved("agent", episode=np.repeat([0, 1], 12))
        del columns["done"]
        with pytest.raises(UsageError, match="22 of 22 neighbours differ in it, the first at row 1"):
            gaecli.compute(write(tmp_path, columns, ".parquet"))

    def test_within_an_episode_in_which_each_has_an_end(self, tmp_path):
        columns = interleaved("agent", episode=np.repeat([0, 1], 12), done=np.arange(24) % 12 >= 10)
        with pytest.raises(UsageError, match="alternate by `agent`") as caught:
            gaecli.compute(write(tmp_path, columns, ".parquet"))
        assert "`--env-column agent`" in caught.value.hint

    @pytest.mark.parametrize("settings", [{"env_column": "none"}, {"env_column": "slot"}])
    def test_who_has_said_what_tells_them_apart_is_not_asked(self, tmp_path, settings):
        path = write(tmp_path, interleaved("player", slot=np.tile([0, 1], 12)), ".parquet")
        assert gaecli.compute(path, dry_run=True, **settings).exit_code == 0


class TestIdsThatChangeWhereNothingEnds:
    @staticmethod
    def blocks(name, *, flagged: bool) -> dict:
        ids = np.repeat([3, 1, 2], 8)
        ends = np.arange(24) % 8 == 7
        return {
            name: ids,
            "reward": np.linspace(-1, 1, 24),
            "value": np.linspace(0, 2, 24) ** 2,
            "done": ends if flagged else np.arange(24) == 23,
        }

    @pytest.mark.few(2)
    @pytest.mark.parametrize("name", ["traj", "run", "worker", "ep"])
    @pytest.mark.parametrize("num_rows", [8, 5, 100])
    def test_are_told_wherever_blocks_end(self, tmp_path, name, num_rows, monkeypatch):
        for module in (run, checkup):
            monkeypatch.setattr(module, "rows_per_block", lambda memory_bytes: num_rows)
        path = write(tmp_path, self.blocks(name, flagged=False), ".parquet")
        (note,) = notes_of(path, "unused-id")
        assert note.count == 2
        assert "2 of 23 neighbours differ in it, the first at row 8" in note.message
        flag = note.hint.split("`")[1].split()
        gaecli.compute(path, **{flag[0].removeprefix("--").replace("-", "_"): name})
        columns = self.blocks(name, flagged=True)
        wanted = plain_gae(columns["reward"], columns["value"], columns["done"])
        np.testing.assert_allclose(pq.read_table(path)["advantage"], wanted, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("name", ["traj", "run", "worker", "ep"])
    def test_ids_that_agree_with_the_ends_are_silent(self, tmp_path, name):
        assert notes_of(write(tmp_path, self.blocks(name, flagged=True), ".parquet"), "unused-id") == []


@pytest.mark.parametrize(
    ("name", "cells"),
    {
        "agent_pos": np.tile([0, 1], 12),
        "episode_length": np.tile([3, 1], 12),
        "num_agents": np.tile([2, 3], 12),
        "action": np.tile([0, 1], 12),
        "player_score": np.tile([0, 1], 12),
        "task_index": np.tile([0, 1], 12),
        "next_player": np.tile([0, 1], 12),
        "agent_reward": np.tile([0.0, 1.0], 12),
        "trajectory_length": np.tile([4, 5], 12),
        # An id of every row, or of all of them, tells none apart.
        "uid": np.arange(24),
        "seed": np.full(24, 7),
    }.items(),
)
def test_columns_that_are_no_ids_are_passed_over_in_silence(tmp_path, name, cells):
    path = write(tmp_path, interleaved("action", **{name: cells}), ".parquet")
    summary = gaecli.compute(path, dry_run=True)
    assert [note.code for note in summary.warnings if note.code == "unused-id"] == []
    assert summary.exit_code == 0
