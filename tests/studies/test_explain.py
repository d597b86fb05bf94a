"""`gae explain` against exact fractions: every term, every weight, and all three forms."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gaecli.commands.explain import explain
from gaecli.errors import DataError, UsageError
from gaecli.settings import Settings
from gaecli.studies.locate import StepQuery

GAMMA, LAM = Fraction(7, 8), Fraction(3, 4)
EXACT = Settings(gamma=float(GAMMA), lam=float(LAM))


def write_long(path, *, rewards, values, terminated, truncated, episodes, row_group_size=None, **more):
    columns = {
        "episode_id": episodes,
        "reward": np.array(rewards, np.float64),
        "value": np.array(values, np.float64),
        "terminated": terminated,
        "truncated": truncated,
        **more,
    }
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size or len(rewards))
    return path


def exact_parts(rewards, values, bootstrap, gamma=GAMMA, lam=LAM):
    """δ's, k-step advantages, and A by its definition; `bootstrap` is V after the last step, 0 if terminal."""
    rewards, values = [Fraction(r) for r in rewards], [Fraction(v) for v in values]
    following = [*values[1:], Fraction(bootstrap)]
    num_steps = len(rewards)
    k_step_returns = [
        sum(gamma**i * rewards[i] for i in range(k)) + gamma**k * following[k - 1]
        for k in range(1, num_steps + 1)
    ]
    k_step = [g - values[0] for g in k_step_returns]
    weights = [(1 - lam) * lam ** (k - 1) for k in range(1, num_steps)] + [lam ** (num_steps - 1)]
    deltas = [r + gamma * n - v for r, n, v in zip(rewards, following, values, strict=True)]
    mixture = sum(w * a for w, a in zip(weights, k_step, strict=True))
    assert mixture == sum((gamma * lam) ** i * delta for i, delta in enumerate(deltas))
    return deltas, k_step, k_step_returns, weights, mixture


# Numbers that floats hold exactly.
REWARDS = [1.0, -0.5, 2.0, 0.25, 0.0, 3.0, -1.0, 0.5]
VALUES = [0.5, 1.5, -2.0, 0.75, 1.0, -0.25, 2.5, 4.0]


@pytest.fixture
def two_episodes(tmp_path):
    """Rows 0-4 end truncated with a next value of 1.25, rows 5-7 terminated with one that must not count."""
    flags = {"terminated": [False] * 7 + [True], "truncated": [False] * 4 + [True] + [False] * 3}
    next_values = [1.5, -2.0, 0.75, 1.0, 1.25, 2.5, 4.0, 99.0]
    return write_long(
        tmp_path / "two.parquet",
        rewards=REWARDS,
        values=VALUES,
        episodes=[3] * 5 + [8] * 3,
        next_value=next_values,
        **flags,
    )


@pytest.mark.parametrize(
    ("row", "stop", "bootstrap", "end", "source"),
    [
        (0, 5, 1.25, "truncated", "next value"),
        (1, 5, 1.25, "truncated", "next value"),
        (4, 5, 1.25, "truncated", "next value"),
        (5, 8, 0.0, "terminated", "none"),
        (7, 8, 0.0, "terminated", "none"),
    ],
)
def test_every_number_is_that_of_the_exact_sum(two_episodes, row, stop, bootstrap, end, source):
    deltas, k_step, k_returns, weights, advantage = exact_parts(
        REWARDS[row:stop], VALUES[row:stop], bootstrap
    )
    found = explain(two_episodes, StepQuery(row=row), EXACT)
    assert (found.end, found.bootstrap, found.num_steps, found.end_row) == (end, source, stop - row, stop - 1)
    assert found.bootstrap_value == bootstrap
    assert found.recursion == pytest.approx(float(advantage), rel=1e-14)
    assert found.mixture == pytest.approx(float(advantage), rel=1e-14)
    assert found.delta_sum == pytest.approx(float(advantage), rel=1e-14)
    running, mixed = Fraction(0), Fraction(0)
    for step, delta, a_k, g_k, weight in zip(found.steps, deltas, k_step, k_returns, weights, strict=True):
        lag = step.lag
        running += (GAMMA * LAM) ** lag * delta
        mixed += weight * a_k
        exact = {
            "delta": delta,
            "weight": (GAMMA * LAM) ** lag,
            "contribution": (GAMMA * LAM) ** lag * delta,
            "running_sum": running,
            "k_step_advantage": a_k,
            "k_step_return": g_k,
            "k_step_weight": weight,
            "k_step_sum": mixed,
        }
        for name, number in exact.items():
            assert getattr(step, name) == pytest.approx(float(number), rel=1e-13, abs=1e-15), name
        assert step.row == row + lag
    assert sum(weights) == 1


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_the_ends_of_the_range_of_lambda(two_episodes, lam):
    found = explain(two_episodes, StepQuery(row=0), EXACT.replace(lam=lam))
    weights = [step.k_step_weight for step in found.steps]
    assert weights == ([1.0, 0, 0, 0, 0] if lam == 0 else [0, 0, 0, 0, 1.0])
    deltas, *_, advantage = exact_parts(REWARDS[:5], VALUES[:5], 1.25, lam=Fraction(lam))
    assert found.mixture == pytest.approx(float(advantage), rel=1e-14)
    assert found.delta_sum == pytest.approx(float(advantage), rel=1e-14)
    if lam == 0:
        assert found.recursion == float(deltas[0])


def test_a_trajectory_over_many_blocks_is_one_sum(tmp_path):
    """One episode in row groups of 5,000, read in blocks of 4,096 rows: pieces join as they should."""
    random = np.random.default_rng(3)
    num_rows = 20_000
    rewards, values = random.normal(size=num_rows), random.normal(size=num_rows)
    flags = np.zeros(num_rows, bool)
    path = write_long(
        tmp_path / "one.parquet",
        rewards=rewards,
        values=values,
        terminated=flags,
        truncated=flags,
        episodes=[0] * num_rows,
        row_group_size=5_000,
    )
    settings = Settings(gamma=0.999, lam=0.9999, bootstrap="current")
    whole = explain(path, StepQuery(row=17), settings)
    pieces = explain(path, StepQuery(row=17), settings, memory_bytes=1 << 20)
    assert pieces.num_steps == whole.num_steps == num_rows - 17
    assert pieces.steps == whole.steps
    assert (pieces.end, pieces.bootstrap) == ("open", "current")
    assert pieces.bootstrap_value == values[-1]
    assert pieces.recursion == pytest.approx(whole.recursion, rel=1e-12)
    assert pieces.delta_sum == pytest.approx(pieces.recursion, rel=1e-10)
    assert pieces.mixture == pytest.approx(pieces.recursion, rel=1e-8)


def test_an_open_end_without_a_value_is_told(tmp_path):
    path = write_long(
        tmp_path / "open.parquet",
        rewards=[1.0, 2.0],
        values=[0.5, 0.5],
        terminated=[False, False],
        truncated=[False, False],
        episodes=[0, 0],
    )
    found = explain(path, StepQuery(row=0), EXACT)
    assert (found.end, found.bootstrap, found.bootstrap_value) == ("open", "zero", 0.0)
    assert found.delta_sum == float(exact_parts([1.0, 2.0], [0.5, 0.5], 0)[-1])


def test_a_preset_cuts_as_it_does(two_episodes):
    """CleanRL takes a time limit for terminal: nothing bootstraps the end, and the report says so."""
    settings = Settings.from_preset("cleanrl", gamma=float(GAMMA), lam=float(LAM))
    found = explain(two_episodes, StepQuery(row=0), settings)
    assert (found.end, found.bootstrap) == ("truncated", "none")
    assert found.delta_sum == pytest.approx(float(exact_parts(REWARDS[:5], VALUES[:5], 0)[-1]), rel=1e-14)


def test_top_keeps_the_largest_contributions_in_order_of_time(two_episodes):
    every = explain(two_episodes, StepQuery(row=0), EXACT)
    top = explain(two_episodes, StepQuery(row=0), EXACT, top=2)
    largest = sorted(every.steps, key=lambda step: -abs(step.contribution))[:2]
    assert list(top.steps) == sorted(largest, key=lambda step: step.lag)
    assert top.num_steps == 5
    assert top.mixture == every.mixture


def test_episode_and_step_find_the_row(two_episodes):
    by_row = explain(two_episodes, StepQuery(row=6), EXACT)
    by_key = explain(two_episodes, StepQuery(episode="8", step=1), EXACT)
    assert (by_key.row, by_key.recursion) == (6, by_row.recursion)


def test_a_dense_array_is_found_by_environment_and_time(sample_data):
    by_key = explain(sample_data / "cartpole_TN.npz", StepQuery(env="2", step=7))
    by_row = explain(sample_data / "cartpole_TN.npz", StepQuery(row=7 * 4 + 2))
    in_table = explain(sample_data / "cartpole.parquet", StepQuery(env="2", step=7))
    assert by_key.recursion == by_row.recursion == pytest.approx(in_table.recursion, rel=1e-12)


def test_a_list_is_found_by_its_row_and_step(tmp_path):
    table = pa.table({"reward": [[1.0, 2.0], [3.0, 4.0, 5.0]], "value": [[0.5, 0.5], [1.0, 1.0, 1.0]]})
    pq.write_table(table, tmp_path / "lists.parquet")
    found = explain(tmp_path / "lists.parquet", StepQuery(row=1, step=1), EXACT)
    assert (found.num_steps, found.reward, found.end_row) == (2, 4.0, None)
    assert found.delta_sum == float(exact_parts([4.0, 5.0], [1.0, 1.0], 0)[-1])


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({}, UsageError),
        ({"row": 8}, UsageError),
        ({"row": -1}, UsageError),
        ({"row": 1, "episode": "3"}, UsageError),
        ({"episode": "3"}, UsageError),
        ({"episode": "3", "step": 5}, UsageError),
        ({"episode": "4", "step": 0}, DataError),
        ({"env": "0", "step": 0}, UsageError),
    ],
    ids=str,
)
def test_a_step_that_is_not_there_is_told(two_episodes, query, error):
    with pytest.raises(error):
        explain(two_episodes, StepQuery(**query), EXACT)


def test_a_file_without_rows_is_told_to_have_none(tmp_path):
    none = {name: np.zeros(0, np.bool_) for name in ("terminated", "truncated")}
    path = write_long(
        tmp_path / "empty.parquet", rewards=[], values=[], episodes=np.zeros(0, int), row_group_size=1, **none
    )
    with pytest.raises(UsageError) as raised:
        explain(path, StepQuery(row=0), EXACT)
    assert raised.value.hint == "there are no rows at all"


ASCII = {"PYTHONIOENCODING": "ascii"}


class TestCommand:
    def test_compares_with_the_column_that_gae_compute_wrote(self, run_gae, copy_sample):
        path = copy_sample("cartpole.parquet")
        assert run_gae("compute", path, "--normalize", "all").returncode == 0
        stored = json.loads(run_gae("explain", path, "--row", "100", "--json").stdout)["stored"]
        written = pq.read_table(path)["advantage"][100].as_py()
        assert stored["value"] == pytest.approx(written)
        assert stored["expected"] == pytest.approx(written, rel=1e-6)
        other = json.loads(run_gae("explain", path, "--row", "100", "-g", "0.9", "--json").stdout)["stored"]
        assert other["expected"] is None
        assert other["differing"] == {"gamma": 0.99}

    @pytest.mark.parametrize(
        ("columns", "more"),
        [
            ("40", {}),
            *(pytest.param(n, {}, marks=pytest.mark.slow) for n in ("60", "80")),
            ("120", {}),
            ("40", ASCII),
            pytest.param("120", ASCII, marks=pytest.mark.slow),
        ],
    )
    def test_the_page_fits(self, run_gae, sample_data, columns, more):
        env = {"COLUMNS": columns, **more}
        result = run_gae("explain", sample_data / "pendulum.parquet", "--row", "20", env=env)
        assert result.returncode == 0, result.stderr
        lines = result.stdout.splitlines()
        assert max(map(len, lines)) <= int(columns)
        assert any("mixture of A(k)" in line for line in lines)

    def test_json_has_all_steps_and_no_nan(self, run_gae, sample_data):
        document = json.loads(
            run_gae(
                "explain", sample_data / "cartpole.parquet", "--row", "0", "-g", "1", "-l", "1", "--json"
            ).stdout
        )
        assert len(document["steps"]) == document["num_steps"]
        assert document["effective_horizon"] is None
