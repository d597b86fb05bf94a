"""`--estimator`: what else than GAE each command computes, or says that it does not."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.rollout_files import LAST_ROWS, LENGTH, ROWS, columns, document_of, ok, write, written

import gaecli


@pytest.fixture
def without_values(tmp_path):
    path = tmp_path / "rewards.parquet"
    of = columns()
    pq.write_table(pa.table({name: of[name] for name in ("reward", "terminated", "truncated")}), path)
    return path


def monte_carlo(of, gamma):
    """Backwards through each episode, in plain floats; nothing is known beyond an end."""
    found = [0.0] * ROWS
    for last in LAST_ROWS.tolist():
        later = 0.0
        for row in range(last, last - LENGTH, -1):
            found[row] = later = float(of["reward"][row]) + gamma * later
    return np.array(found)


def test_returns_of_a_file_without_values(run_gae, without_values):
    ok(run_gae("compute", without_values, "--estimator", "mc", "--gamma", "0.9"))
    assert pq.read_schema(without_values).names == ["reward", "terminated", "truncated", "return"]
    assert written(without_values, "return") == monte_carlo(columns(), 0.9)


def test_n_step_returns_take_their_number_from_its_flag(run_gae, tmp_path):
    path = write(tmp_path / "r.parquet")
    ok(run_gae("compute", path, "--estimator", "n-step", "--n-steps", "1"))
    of, last = columns(), np.isin(np.arange(ROWS), LAST_ROWS)
    following = np.where(last, 0.0, np.append(of["value"][1:], 0.0))
    assert written(path, "return") == of["reward"] + 0.99 * following


def test_inspect_says_what_it_would_write(run_gae, without_values):
    (found,) = document_of(run_gae("inspect", without_values, "--estimator", "mc", "--episodes", "--json"))[
        "files"
    ]
    assert found["plan"]["action"] == "write"
    assert found["plan"]["new_columns"] == ["return"]
    assert found["explained_variance"] is None
    assert "value" not in found["statistics"]
    assert {episode["mean_value"] for episode in found["episodes"]} == {None}


def test_inspect_of_a_file_without_values_counts_its_episodes_and_names_the_way_out(run_gae, without_values):
    (found,) = document_of(run_gae("inspect", without_values, "--json"))["files"]
    assert found["plan"]["action"] == "refuse"
    assert "`--estimator mc` needs none" in found["plan"]["hint"]
    assert (found["counts"]["steps"], found["counts"]["episodes"]) == (ROWS, len(LAST_ROWS))


def test_check_has_nothing_against_values_that_are_not_there(run_gae, without_values):
    result = run_gae("check", without_values, "--estimator", "mc", "--json")
    assert result.returncode == 0, result.stderr
    codes = {finding["code"] for finding in json.loads(result.stdout)["findings"]}
    assert not codes & {"GAE201", "GAE202"}


def test_no_values_explain_no_variance(run_gae, without_values):
    document = document_of(run_gae("compute", without_values, "--estimator", "mc", "--dry-run", "--json"))
    assert document["explained_variance"] is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--estimator", "ppo"), "`--estimator` is `ppo`; it must be one of gae, "),
        (("--estimator", "GRPO"), "did you mean `grpo`?"),
        (("--estimator", "mc", "--lam", "0.9"), "`--lam` says nothing to `--estimator mc`"),
        (("--estimator", "n-step"), "pass `--n-steps N`"),
        (("--n-steps", "5"), "`--n-steps` says nothing to `--estimator gae`"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(run_gae, without_values, flags, message):
    before = without_values.read_bytes()
    result = run_gae("compute", without_values, *flags)
    assert result.returncode == 2
    assert message in result.stderr
    assert without_values.read_bytes() == before


def test_k_step_is_n_step_to_every_command(run_gae, tmp_path):
    path = write(tmp_path / "r.parquet")
    swept = document_of(
        run_gae("sweep", path, "--estimator", "k-step", "--n-steps", "2", "--gamma", "0.9", "--json")
    )
    assert swept["settings"]["estimator"] == "n-step"
    made = tmp_path / "made.parquet"
    ok(run_gae("compute", path, "-o", made, "--estimator", "n-step", "--n-steps", "2", "--quiet"))
    assert gaecli.verify(made, "return", estimator="k-step", n_steps=2).best.estimator == "n-step"


def test_a_grid_of_several_estimators_is_refused_by_the_flag_that_asks_for_it(run_gae, tmp_path):
    path = write(tmp_path / "r.parquet")
    result = run_gae("sweep", path, "--estimator", "n-step,mc", "--n-steps", "1,3")
    assert result.returncode == 2
    assert "`--n-steps` makes a grid of one estimator" in result.stderr
