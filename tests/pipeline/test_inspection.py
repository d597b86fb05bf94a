"""What `inspect` says of a file, against the same computed by pandas or by plain loops."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
import gaecli.commands.inspect as inspection
import gaecli.summary
from gaecli.commands.inspect import InspectOptions
from gaecli.errors import FileError, UsageError
from gaecli.settings import Settings

GAMMA = 0.99
SAMPLES = Path(__file__).parents[1] / "data" / "samples"


@pytest.fixture(params=["one block", "small blocks"])
def block_size(request, monkeypatch):
    """What is said must not depend on where blocks end."""
    if request.param == "small blocks":
        monkeypatch.setattr(inspection, "rows_per_block", lambda memory_bytes: 50)


@pytest.fixture
def cartpole(sample_data) -> pd.DataFrame:
    return pd.read_parquet(sample_data / "cartpole.parquet")


def look(path, *, episodes=False, head=0, **settings):
    (info,) = inspection.inspect(
        [path], Settings(**settings), InspectOptions(episodes=episodes, head=head)
    ).infos
    return info


def returns_at_lambda_one(frame: pd.DataFrame, gamma: float) -> np.ndarray:
    """Step by step, in Python floats: R = r + γ (R' inside an episode, V' at a cut, 0 at a terminal end)."""
    found = np.zeros(len(frame))
    for _, episode in frame.groupby(["env_id", "episode_id"]):
        following = None
        for row in reversed(list(episode.itertuples())):
            beyond = row.next_value if following is None else following
            following = float(row.reward) + gamma * (0.0 if row.terminated else float(beyond))
            found[row.Index] = following
    return found


class TestStatistics:
    pytestmark = pytest.mark.usefixtures("block_size")

    def test_episodes_and_how_they_end(self, sample_data, cartpole):
        info = look(sample_data / "cartpole.parquet")
        last = cartpole.groupby(["env_id", "episode_id"]).tail(1)
        assert info.counts.steps == len(cartpole)
        assert info.counts.episodes == len(last)
        assert info.counts.terminated == last["terminated"].sum()
        assert info.counts.truncated == last["truncated"].sum()
        assert info.counts.open == (~last["terminated"] & ~last["truncated"]).sum()

    @pytest.mark.turns
    @pytest.mark.parametrize("name", ["cartpole", "pendulum"])
    def test_lengths_and_returns_of_episodes(self, sample_data, name):
        frame = pd.read_parquet(sample_data / f"{name}.parquet")
        info = look(sample_data / f"{name}.parquet")
        episodes = frame.groupby(["env_id", "episode_id"])["reward"]
        sums = episodes.apply(lambda rewards: float(np.sum(rewards.to_numpy(np.float64))))
        for found, expected in ((info.lengths, episodes.size()), (info.episode_rewards, sums)):
            assert found.count == len(expected)
            assert found.mean == pytest.approx(expected.mean(), rel=1e-12)
            assert found.std == pytest.approx(expected.std(), rel=1e-9)
            assert found.min == pytest.approx(expected.min(), rel=1e-12)
            assert found.max == pytest.approx(expected.max(), rel=1e-12)
            assert found.median == pytest.approx(expected.median(), rel=1e-12)
            histogram, _ = np.histogram(expected, bins=24)
            assert list(found.histogram) == histogram.tolist()

    def test_rewards_and_values(self, sample_data):
        frame = pd.read_parquet(sample_data / "pendulum.parquet")
        info = look(sample_data / "pendulum.parquet")
        for role in ("reward", "value"):
            cells = frame[role].to_numpy(np.float64)
            found = info.statistics[role]
            assert found.count == len(cells)
            assert found.mean == pytest.approx(cells.mean(), rel=1e-12)
            assert found.std == pytest.approx(cells.std(ddof=1), rel=1e-12)
            assert (found.min, found.max) == (cells.min(), cells.max())
            assert found.median == np.median(cells)

    @pytest.mark.turns
    @pytest.mark.parametrize("gamma", [0.9, GAMMA, 1.0])
    def test_explained_variance_is_that_of_returns_at_lambda_one(self, sample_data, cartpole, gamma):
        returns = returns_at_lambda_one(cartpole, gamma)
        error = returns - cartpole["value"].to_numpy(np.float64)
        expected = 1 - error.var() / returns.var()
        info = look(sample_data / "cartpole.parquet", gamma=gamma)
        assert info.explained_variance == pytest.approx(expected, rel=1e-9)

    @pytest.mark.few("small blocks")
    def test_the_preset_and_lambda_of_a_run_do_not_change_it(self, sample_data):
        path = sample_data / "cartpole.parquet"
        assert look(path, lam=0.1).explained_variance == look(path).explained_variance

    def test_ends_that_would_be_bootstrapped(self, sample_data, cartpole):
        info = look(sample_data / "cartpole.parquet")
        last = cartpole.groupby(["env_id", "episode_id"]).tail(1)
        assert info.plan.bootstrapped.next_value == (~last["terminated"]).sum()
        bare = look(sample_data / "cartpole.parquet", columns={"next_value": "none"})
        assert bare.plan.bootstrapped.zero == (~last["terminated"]).sum()

    def test_a_preset_with_a_rule_of_its_own_bootstraps_what_that_leaves(self, sample_data, cartpole):
        """CleanRL takes truncated ends for terminal ones; the last rows of the others have next values."""
        settings = Settings.from_preset("cleanrl")
        (info,) = inspection.inspect([sample_data / "cartpole.parquet"], settings).infos
        last = cartpole.groupby(["env_id", "episode_id"]).tail(1)
        open_ends = (~last["terminated"] & ~last["truncated"]).sum()
        assert info.plan.bootstrapped == gaecli.summary.BootstrapCounts(next_value=open_ends)
        assert f"{last['truncated'].sum()} truncated ends as terminal" in info.warnings[0].message
        assert info.explained_variance == look(sample_data / "cartpole.parquet").explained_variance

    def test_an_episode_over_many_blocks_is_one(self, tmp_path):
        num_rows = 777
        table = pa.table(
            {
                "episode_id": np.zeros(num_rows, np.int64),
                "reward": np.arange(num_rows, dtype=np.float32),
                "value": np.zeros(num_rows, np.float32),
            }
        )
        pq.write_table(table, tmp_path / "one.parquet", row_group_size=20)
        info = look(tmp_path / "one.parquet", episodes=True)
        assert (info.lengths.count, info.lengths.max) == (1, num_rows)
        assert info.episode_rewards.mean == num_rows * (num_rows - 1) / 2
        (episode,) = info.episodes
        assert (episode.row, episode.length, episode.end) == (0, num_rows, "open")

    @pytest.mark.few("small blocks")
    def test_interleaved_environments(self, sample_data, tmp_path):
        frame = pd.read_parquet(sample_data / "cartpole.parquet")
        mixed = frame.sort_values(["t", "env_id"]).reset_index(drop=True)
        mixed.to_parquet(tmp_path / "mixed.parquet", row_group_size=100)
        one, other = look(sample_data / "cartpole.parquet"), look(tmp_path / "mixed.parquet")
        assert other.counts == one.counts
        assert other.lengths.mean == pytest.approx(one.lengths.mean)
        assert other.explained_variance == pytest.approx(one.explained_variance, rel=1e-12)

    def test_steps_that_are_masked_out_do_not_count(self, tmp_path):
        columns = {
            "rewards": [[1.0, 100.0, 2.0], [3.0]],
            "values": [[0.5, 7.0, 0.5], [0.5]],
            "response_mask": [[1, 0, 1], [1]],
        }
        pq.write_table(pa.table(columns), tmp_path / "tokens.parquet")
        info = look(tmp_path / "tokens.parquet")
        assert info.counts.steps == 3
        assert (info.lengths.min, info.lengths.max) == (1, 2)
        assert info.episode_rewards.max == 3.0


class TestEpisodes:
    def test_lists_what_pandas_groups(self, sample_data, cartpole):
        listed = look(sample_data / "cartpole.parquet", episodes=True).episodes
        expected = []
        for (env, episode), group in cartpole.groupby(["env_id", "episode_id"]):
            last = group.iloc[-1]
            end = "terminated" if last["terminated"] else "truncated" if last["truncated"] else "open"
            expected.append((group.index[0], {"env": env, "episode": episode}, len(group), end))
        assert [(e.row, e.key, e.length, e.end) for e in listed] == expected
        means = cartpole.groupby(["env_id", "episode_id"])["value"].apply(
            lambda v: np.mean(v.to_numpy(float))
        )
        assert [e.mean_value for e in listed] == pytest.approx(means.tolist(), rel=1e-6)

    def test_dense_arrays_say_time_and_environment(self, sample_data):
        listed = look(sample_data / "cartpole_TN.npz", episodes=True).episodes
        long = look(sample_data / "cartpole.parquet", episodes=True).episodes
        found = sorted((e.key["env"], e.length, e.end, e.total_reward) for e in listed)
        assert found == sorted((e.key["env"], e.length, e.end, e.total_reward) for e in long)
        assert {e.key["time"] for e in listed if e.row < 4} == {0}

    def test_are_not_kept_unless_asked_for(self, sample_data):
        assert look(sample_data / "cartpole.parquet").episodes == []


class TestHead:
    def test_shows_the_cells_as_they_are_in_the_file(self, sample_data, cartpole):
        steps = look(sample_data / "cartpole.parquet", head=3).head
        assert [step.row for step in steps] == [0, 1, 2]
        for step, (_, row) in zip(steps, cartpole.iterrows(), strict=False):
            assert step.cells["reward"] == row["reward"]
            assert step.cells["value"] == row["value"]
            assert step.cells["episode"] == row["episode_id"]
            assert step.cells["terminated"] == row["terminated"]

    def test_of_lists_and_arrays_it_shows_items(self, sample_data, tmp_path):
        table = pa.table(
            {"reward": [[1.0, 2.0], [3.0]], "value": [[0.0, 0.0], [0.0]], "terminated": [True, False]}
        )
        pq.write_table(table, tmp_path / "nested.parquet")
        steps = look(tmp_path / "nested.parquet", head=9).head
        assert [(step.row, step.cells["item"], step.cells["reward"]) for step in steps] == [
            (0, 0, 1.0),
            (0, 1, 2.0),
            (1, 0, 3.0),
        ]
        assert [step.cells["terminated"] for step in steps] == [True, True, False]
        dense = look(sample_data / "pendulum_TN.npz", head=4).head
        rewards = np.load(sample_data / "pendulum_TN.npz")["rewards"]
        assert [step.cells["reward"] for step in dense] == rewards.reshape(-1)[:4].tolist()

    def test_more_rows_than_there_are(self, sample_data):
        assert len(look(sample_data / "pendulum.parquet", head=10_000).head) == 750

    def test_a_null_is_none(self, tmp_path):
        table = pa.table({"reward": [1.0, None], "value": [0.0, 0.0], "done": [False, True]})
        pq.write_table(table, tmp_path / "null.parquet")
        assert [step.cells["reward"] for step in look(tmp_path / "null.parquet", head=2).head] == [1.0, None]


class TestFacts:
    def test_rows_row_groups_and_bytes(self, sample_data):
        path = sample_data / "cartpole.parquet"
        info = look(path)
        metadata = pq.ParquetFile(path).metadata
        assert (info.num_rows, info.num_row_groups) == (metadata.num_rows, metadata.num_row_groups)
        assert info.num_bytes == path.stat().st_size
        assert look(sample_data / "cartpole_TN.npz").num_row_groups is None

    def test_why_a_column_plays_its_role(self, tmp_path):
        table = pa.table({"Reward": [1.0], "critic": [0.0], "done": [True]})
        pq.write_table(table, tmp_path / "names.parquet")
        info = look(tmp_path / "names.parquet", columns={"value": "critic"})
        assert info.role_reasons == {"reward": "case", "value": "flag", "done": "name"}
        assert info.role_types == {"reward": "double", "value": "double", "done": "bool"}

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("cartpole.parquet", "`reward` is one number per row"),
            ("cartpole_TN.npz", "`rewards` is 256 by 4, and `last_values` (4,) says which axis is time"),
        ],
    )
    def test_how_the_layout_was_recognised(self, sample_data, name, reason):
        assert look(sample_data / name).layout_reason == reason

    def test_columns_that_are_there_already(self, copy_sample):
        path = copy_sample("cartpole.parquet")
        gaecli.compute(path, gamma=0.9)
        own, other = look(path).existing
        assert (own.name, other.name) == ("advantage", "return")
        assert own.is_own
        assert own.provenance["settings"]["gamma"] == 0.9

    def test_foreign_advantages_are_told_apart(self, tmp_path):
        table = pa.table({"reward": [1.0], "value": [0.0], "done": [True], "advantages": [0.5]})
        pq.write_table(table, tmp_path / "foreign.parquet")
        (column,) = look(tmp_path / "foreign.parquet").existing
        assert (column.name, column.type, column.is_own) == ("advantages", "double", False)


class TestPlan:
    """What it says a run would do is what the run then does."""

    @pytest.mark.few(2)
    @pytest.mark.parametrize("name", ["cartpole.parquet", "cartpole_TN.npz", "pendulum.parquet"])
    def test_the_method(self, copy_sample, name):
        path = copy_sample(name)
        plan = look(path).plan
        (file,) = gaecli.compute(path).files
        assert (plan.action, plan.method) == ("write", file.method)
        again = look(path).plan
        assert again.action == "up to date"
        plan = look(path, gamma=0.5).plan
        (file,) = gaecli.compute(path, gamma=0.5).files
        assert (plan.action, plan.method) == ("write", file.method)
        assert list(plan.replaced_columns) == ["advantage", "return"]

    def test_own_columns_that_no_longer_come_last(self, copy_sample):
        path = copy_sample("cartpole.parquet")
        gaecli.compute(path)
        gaecli.compute(path, advantage_column="a", return_column="b")
        plan = look(path, gamma=0.5).plan
        (file,) = gaecli.compute(path, gamma=0.5).files
        assert plan.method == file.method

    def test_foreign_columns_are_asked_about(self, tmp_path):
        table = pa.table({"reward": [1.0], "value": [0.0], "done": [True], "advantage": [0.5]})
        path = tmp_path / "foreign.parquet"
        pq.write_table(table, path)
        plan = look(path).plan
        with pytest.raises(UsageError) as error:
            gaecli.compute(path)
        assert (plan.action, plan.error, plan.hint) == ("refuse", error.value.message, error.value.hint)
        assert plan.exit_code == 2

    @pytest.mark.parametrize(
        ("columns", "exit_code"),
        [
            ({"reward": [1.0], "prompt": ["a"]}, 2),
            ({"reward": [1.0], "value": [0.0]}, 2),
            ({"reward": [1.0, float("nan")], "value": [0.0, 0.0], "done": [False, True]}, 3),
            ({"reward": [1.0, 2.0], "value": [0.0, 0.0], "done": [0, 7]}, 3),
            ({"reward": ["a"], "value": [0.0], "done": [True]}, 3),
        ],
        ids=["no value", "no end", "NaN", "no flag", "text"],
    )
    def test_a_file_that_compute_refuses_is_shown_all_the_same(self, tmp_path, columns, exit_code):
        path = tmp_path / "odd.parquet"
        pq.write_table(pa.table(columns), path)
        info = look(path, head=1)
        with pytest.raises(gaecli.GaeError) as error:
            gaecli.compute(path)
        assert (info.problem, info.hint) == (error.value.message, error.value.hint)
        assert info.plan.exit_code == error.value.exit_code == exit_code
        assert list(info.columns) == list(columns)
        assert info.counts is None
        if exit_code == 3 and "prompt" not in columns and columns["reward"] != ["a"]:
            assert info.statistics["reward"].count == sum(np.isfinite(columns["reward"]))

    @pytest.mark.parametrize(
        "settings",
        [{"return_column": "value"}, {"advantage_column": "advantages"}, {"advantage_column": "reward"}],
        ids=["takes the place of a value", "foreign in the second file", "takes the place of a reward"],
    )
    def test_what_may_not_be_written_is_foretold(self, tmp_path, settings):
        for number, more in enumerate(({}, {"advantages": [0.5]})):
            columns = {"reward": [1.0], "value": [0.0], "terminated": [True], "episode": [number], **more}
            pq.write_table(pa.table(columns), tmp_path / f"r-{number:05d}-of-00002.parquet")
        plan = look(tmp_path, **settings).plan
        file, _ = gaecli.compute(tmp_path, dry_run=True, **settings).files
        assert (plan.action, plan.error, plan.hint) == ("refuse", file.error, file.hint)
        assert plan.exit_code == file.exit_code == 2

    def test_a_part_of_a_data_set_is_not_written_alone(self):
        path = SAMPLES / "minari/cartpole/parquet-v0/data/3/part-0.parquet"
        plan = look(path, columns={"value": "infos.value"}).plan
        with pytest.raises(UsageError) as error:
            gaecli.compute(path, value_column="infos.value", dry_run=True)
        assert (plan.action, plan.error, plan.hint) == ("refuse", error.value.message, error.value.hint)


class TestCells:
    """Of a file of which no steps can be made."""

    pytestmark = pytest.mark.usefixtures("block_size")

    def test_padding_rows_are_none_of_the_rewards(self, tmp_path):
        columns = {
            "reward": [1.0, 2.0, 99.0, 3.0, 99.0],
            "is_first": [True, False, False, True, False],
            "is_last": [False, False, True, False, True],
            "is_terminal": [False, False, True, False, False],
        }
        pq.write_table(pa.table(columns), tmp_path / "r.parquet")
        info = look(tmp_path / "r.parquet")
        assert "no value column" in info.problem
        assert (info.statistics["reward"].count, info.statistics["reward"].mean) == (3, 2.0)

    @pytest.mark.few("small blocks")
    def test_nor_is_the_last_row_of_each_table_of_a_minari_set(self):
        root = SAMPLES / "minari/cartpole/parquet-v0"
        rewards = [pq.read_table(path)["rewards"].to_numpy()[:-1] for path in root.glob("data/*/*.parquet")]
        info = look(root)
        assert "no value column" in info.problem
        assert info.statistics["reward"].count == sum(map(len, rewards))
        assert info.statistics["reward"].mean == pytest.approx(np.concatenate(rewards).mean(), rel=1e-12)

    def test_nor_are_masked_tokens(self, tmp_path):
        columns = {"reward": [[9.0, 1.0], [2.0, 9.0, 3.0]], "response_mask": [[0, 1], [1, 0, 1]]}
        pq.write_table(pa.table(columns), tmp_path / "r.parquet")
        info = look(tmp_path / "r.parquet")
        assert "no value column" in info.problem
        assert (info.statistics["reward"].count, info.statistics["reward"].mean) == (3, 2.0)


class TestPython:
    def test_inspect_returns_the_info_of_one_input(self, sample_data):
        info = gaecli.inspect(sample_data / "cartpole.parquet", gamma=0.9, episodes=True, head=2)
        assert isinstance(info, gaecli.FileInfo)
        assert (len(info.episodes), len(info.head)) == (29, 2)
        assert info.plan.settings["gamma"] == 0.9

    def test_a_source_that_is_not_there(self, tmp_path):
        with pytest.raises(FileError, match="does not exist"):
            gaecli.inspect(tmp_path / "none.parquet")

    def test_a_file_that_cannot_be_opened(self, tmp_path):
        path = tmp_path / "text.parquet"
        path.write_text("text")
        with pytest.raises(FileError, match="is not a"):
            gaecli.inspect(path)

    def test_several_independent_inputs(self, sample_data, tmp_path):
        for name in ("a.parquet", "b.parquet"):
            (tmp_path / name).write_bytes((sample_data / "cartpole.parquet").read_bytes())
        with pytest.raises(UsageError, match="2 independent inputs"):
            gaecli.inspect(tmp_path)
        joined = gaecli.inspect(tmp_path, join=True)
        assert joined.num_rows == 2048
        assert len(joined.files) == 2


class TestCommand:
    def test_json_is_one_document_without_nan(self, run_gae, sample_data):
        paths = [sample_data / "cartpole.parquet", sample_data / "pendulum_TN.npz"]
        result = run_gae("inspect", *paths, "--json", "--episodes", "--head", "2")
        assert result.returncode == 0, result.stderr
        document = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(name))
        assert document["schema_version"] == 2
        first, second = document["files"]
        assert (first["layout"], second["layout"]) == ("long", "time-major")
        assert first["counts"]["episodes"] == len(first["episodes"]) == 29
        assert len(second["head"]) == 2
        assert first["plan"]["action"] == "write"
        assert 0 < first["explained_variance"] < 1

    def test_what_cannot_be_opened_does_not_stop_the_others(self, run_gae, sample_data, tmp_path):
        broken = tmp_path / "broken.parquet"
        broken.write_bytes(b"PAR1 and no more")
        result = run_gae("inspect", sample_data / "cartpole.parquet", broken)
        assert result.returncode == 4
        assert "1,024 steps" in result.stdout
        assert "broken.parquet" in result.stderr
        assert "Traceback" not in result.stderr

    def test_a_refused_file_is_no_failure(self, run_gae, tmp_path):
        pq.write_table(pa.table({"reward": [1.0], "score": [2.0]}), tmp_path / "dump.parquet")
        result = run_gae("inspect", tmp_path / "dump.parquet")
        assert result.returncode == 0
        assert "gae compute would ask" in result.stdout
        assert "--value-column" in result.stdout

    def test_no_input(self, run_gae):
        result = run_gae("inspect")
        assert result.returncode == 2
        assert "no input given" in result.stderr

    def test_nothing_is_written(self, run_gae, copy_sample):
        path = copy_sample("cartpole.parquet")
        before = (path.read_bytes(), path.stat().st_mtime_ns)
        assert run_gae("inspect", path, "--episodes").returncode == 0
        assert (path.read_bytes(), path.stat().st_mtime_ns) == before
        assert list(path.parent.iterdir()) == [path]
