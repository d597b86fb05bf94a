"""`gae explain --estimator`: what it makes of the terms is what `gae compute` writes, and what a plain loop gives."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from estimators import toy_estimator
from estimators.test_estimator_contract import arrays_of, settings_of
from matrix.files import LAYOUTS, outcome, read_column, write
from matrix.rollout import rollout

import gaecli
from gaecli import estimator_kinds
from gaecli.errors import DataError
from gaecli.estimator_kinds import ESTIMATORS, EstimatorKind
from gaecli.explanation import Derivation, Explanation

#: Those that have an equation here. All others show what goes in.
DERIVED = (
    *("mc", "n-step", "grpo", "grpo-batch", "grpo-loo", "dr-grpo", "rloo", "max-rl", "opo", "gpg", "gdpo"),
    *("rf++-baseline", "flash-reinforce", "passk", "rae"),
    *("vtrace", "retrace", "q-lambda", "tree-backup", "upgo"),
)
#: What is written of them is normalised where nothing is said.
NORMALISED = ("gdpo", "rf++", "rf++-baseline")

KINDS = [*ESTIMATORS.values(), toy_estimator.KIND]
#: Each estimator in one layout by turns, and, as `slow`, one of each family in all of them.
CASES = [
    pytest.param(kind, *layout, marks=() if number % len(LAYOUTS) == turn else pytest.mark.slow)
    for number, kind in enumerate(KINDS)
    for turn, layout in enumerate(LAYOUTS)
    if number % len(LAYOUTS) == turn or kind.name in ("gae", "mc", "grpo")
]


@pytest.mark.few(12)
@pytest.mark.parametrize(
    ("kind", "layout", "suffix"),
    CASES,
    ids=lambda given: given.name if isinstance(given, EstimatorKind) else given,
)
def test_what_is_explained_is_what_compute_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: EstimatorKind, layout: str, suffix: str
) -> None:
    monkeypatch.setitem(estimator_kinds.ESTIMATORS, toy_estimator.KIND.name, toy_estimator.KIND)
    given = rollout(ends_inside=layout != "nested")
    path = write(tmp_path, layout, suffix, arrays_of(kind, given, layout, with_values=True))
    settings = settings_of(kind)
    cells = {"long": [{"row": 8}, {"row": 13}], "nested": [{"row": 1, "step": 1}, {"row": 2, "step": 6}]}.get(
        layout, [{"env": "1", "step": 1}, {"env": "2", "step": 5}]
    )
    how = {"layout": layout} if layout.endswith("major") else {}
    found = [gaecli.explain(path, **cell, **settings, **how) for cell in cells]
    assert outcome(path, layout, read=False, **settings) is None
    written = read_column(path, kind.outputs[0]).reshape(
        given.rewards.shape[::-1] if layout == "time-major" else given.rewards.shape
    )
    written = written.T if layout == "time-major" else written
    for one, (env, t) in zip(
        found, [(1, 1), (1, 6)] if layout == "long" else [(1, 1), (2, _second(layout))], strict=True
    ):
        if isinstance(one, Explanation):
            numbers = [one.written, one.mixture, one.delta_sum]
        else:
            assert (one.equation is not None) == (kind.name in DERIVED)
            assert (one.normalized is not None) == (kind.name in NORMALISED)
            numbers = [one.written, one.outputs[kind.outputs[0]]]
            if one.derived is not None:
                assert one.derived == pytest.approx(one.computed, rel=1e-12, abs=1e-12)
        np.testing.assert_allclose(numbers, written[env, t], rtol=2e-6, atol=1e-6)  # float32 columns


def _second(layout: str) -> int:
    return 6 if layout == "nested" else 5


REWARDS = [1.0, -0.5, 2.0, 0.25, 0.0, 3.0]
VALUES = [0.5, 1.5, -2.0, 0.75, 1.0, -0.25]
GAMMA = Fraction(7, 8)


@pytest.fixture
def two_ends(tmp_path: Path) -> Path:
    """Rows 0-3 end truncated with a next value of 1.25, rows 4-5 terminated with one that must not count."""
    path = tmp_path / "two.parquet"
    columns = {
        "reward": REWARDS,
        "value": VALUES,
        "terminated": [False] * 5 + [True],
        "truncated": [False] * 3 + [True] + [False] * 2,
        "next_value": [1.5, -2.0, 0.75, 1.25, -0.25, 99.0],
    }
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def explained(path: Path, row: int, **settings: object) -> Derivation:
    found = gaecli.explain(path, row, **settings)
    assert isinstance(found, Derivation)
    return found


@pytest.mark.parametrize(
    ("row", "stop", "beyond"), [(0, 4, Fraction(5, 4)), (3, 4, Fraction(5, 4)), (4, 6, 0)]
)
def test_a_monte_carlo_return_is_its_discounted_rewards_and_the_bootstrap(
    two_ends: Path, row: int, stop: int, beyond: Fraction
) -> None:
    found = explained(two_ends, row, estimator="mc", gamma=float(GAMMA))
    (table,) = found.tables
    exact = [GAMMA**lag * Fraction(reward) for lag, reward in enumerate(REWARDS[row:stop])]
    assert [line["contribution"] for line in table.lines] == [float(term) for term in exact]
    assert [line["row"] for line in table.lines] == list(range(row, stop))
    assert found.bootstrap_value == float(beyond)
    assert found.derived == pytest.approx(float(sum(exact) + GAMMA ** (stop - row) * beyond), rel=1e-14)
    assert found.difference == pytest.approx(0.0, abs=1e-14)


@pytest.mark.parametrize(("row", "n", "m"), [(0, 2, 2), (0, 9, 4), (2, 2, 2), (2, 3, 2), (4, 1, 1)])
def test_an_n_step_advantage_is_the_discounted_rewards_of_its_window(
    two_ends: Path, row: int, n: int, m: int
) -> None:
    found = explained(two_ends, row, estimator="n-step", n_steps=n, gamma=float(GAMMA))
    beyond = [*map(Fraction, [1.5, -2.0, 0.75, 1.25, -0.25]), Fraction(0)]
    deltas = [Fraction(REWARDS[t]) + GAMMA * beyond[t] - Fraction(VALUES[t]) for t in range(row, row + m)]
    exact = sum(GAMMA**lag * delta for lag, delta in enumerate(deltas))
    assert found.numbers["m"] == m
    assert found.derived == pytest.approx(float(exact), rel=1e-14)
    assert found.computed == pytest.approx(float(exact), rel=1e-14)
    assert ("clipped" in " ".join(found.remarks)) == (m < n)


@pytest.mark.parametrize("second_value", [1.5, 1.25])
def test_an_n_step_return_is_rewards_and_the_next_value_of_the_last_row(
    tmp_path: Path, second_value: float
) -> None:
    """Whatever the values of the rows between are."""
    columns = {"reward": [1.0, 2.0], "value": [0.5, second_value], "next_value": [1.5, 4.0], "done": [0, 1]}
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({**columns, "truncated": [0, 1]}), path)
    found = explained(path, 0, estimator="n-step", n_steps=2, gamma=0.5)
    assert found.computed == found.derived == 1.0 + 0.5 * 2.0 + 0.25 * 4.0 - 0.5
    assert found.numbers["γ^m V'"] == 0.25 * 4.0


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_lambda_return_shows_the_share_of_each_next_value(tmp_path: Path, row: int) -> None:
    """V' of row 0 is not V of row 1: (1 - λ) of it counts, and all of that of the last row."""
    rewards, values, beyond = [1.0, 2.0, -1.0], [0.5, 1.25, 3.0], [1.5, 3.0, 4.0]
    columns = {"reward": rewards, "value": values, "next_value": beyond, "terminated": [0, 0, 0]}
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({**columns, "truncated": [0, 0, 1]}), path)
    found = gaecli.explain(path, row=row, estimator="td-lambda", gamma=0.5, lam=0.75)
    exact = Fraction(rewards[2]) + Fraction(1, 2) * Fraction(beyond[2])
    for t in reversed(range(row, 2)):
        mixed = Fraction(1, 4) * Fraction(beyond[t]) + Fraction(3, 4) * exact
        exact = Fraction(rewards[t]) + Fraction(1, 2) * mixed
    if row > 0:  # from here on each state has one V
        assert found.recursion == pytest.approx(float(exact) - values[row], rel=1e-14)
        return
    assert found.computed == pytest.approx(float(exact) - values[0], rel=1e-14)
    assert found.derived == pytest.approx(found.computed, rel=1e-14)
    assert [line["share"] for line in found.tables[0].lines] == [0.25, 0.25, 1.0]
    assert [line["weight"] for line in found.tables[0].lines] == [1.0, 0.375, 0.375**2]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "responses.parquet"
    scores = [1.0, 0.0, 0.0, 1.0, 0.7, 0.0, 0.0, 3.0]
    pq.write_table(
        pa.table({"prompt": list("aaaacddd"), "reward": scores, "completion": ["x"] * 8}),
        path,
        row_group_size=3,
    )
    return path


@pytest.mark.parametrize(
    ("preset", "estimator", "row", "advantage"),
    [
        ("trl", "grpo", 1, -0.5 / ((1 / 3) ** 0.5 + 1e-4)),
        ("verl", "grpo", 7, 2 / (3**0.5 + 1e-6)),
        ("verl", "grpo", 4, 0.7 / (1 + 1e-6)),
        ("trl", "grpo", 4, 0.0),
        ("exact", "dr-grpo", 7, 2.0),
        ("exact", "rloo", 7, 3.0),
        ("exact", "max-rl", 1, -1.0),
    ],
)
def test_a_baseline_shows_the_scores_of_the_group_and_what_is_made_of_them(
    prompts: Path, preset: str, estimator: str, row: int, advantage: float
) -> None:
    found = explained(prompts, row, preset=preset, estimator=estimator, group_column="prompt")
    members = {1: [0, 1, 2, 3], 4: [4], 7: [5, 6, 7]}[row]
    (table,) = found.tables
    assert [line["row"] for line in table.lines] == members
    assert [line["row"] for line in table.lines if line["is_this"]] == [row]
    assert found.numbers["n"] == len(members)
    assert found.derived == pytest.approx(advantage, rel=1e-12)
    assert found.computed == pytest.approx(advantage, rel=1e-12)


@pytest.mark.parametrize(
    ("estimator", "row", "others"),
    [("rloo", 1, 2 / 3), ("grpo-loo", 5, 1.5), ("rloo", 4, None), ("grpo", 1, None)],
)
def test_what_leaves_a_score_out_shows_the_mean_of_the_others(
    prompts: Path, estimator: str, row: int, others: float | None
) -> None:
    found = explained(prompts, row, estimator=estimator, group_column="prompt")
    assert found.numbers.get("mean of the others") == (None if others is None else pytest.approx(others))


@pytest.mark.parametrize(("row", "advantage"), [(7, 3 / (3**0.5 + 1e-6)), (5, 0.0), (0, 0.0)])
def test_the_best_of_a_group_is_shown_beside_the_next_one(prompts: Path, row: int, advantage: float) -> None:
    how = {"preset": "verl", "estimator": "passk", "group_column": "prompt"}
    with pytest.raises(DataError, match="single trajectory") as caught:
        explained(prompts, row, **how)
    assert "raw" not in str(caught.value.hint)
    found = explained(prompts, row, **how, singleton="zero")
    assert found.equation == "A = (s - second of the best) / (std + ε)"
    assert found.derived == pytest.approx(advantage, rel=1e-12)
    assert found.computed == pytest.approx(advantage, rel=1e-12)


def test_a_score_of_several_steps_is_added_up_first(tmp_path: Path) -> None:
    path = tmp_path / "steps.parquet"
    ends = [False, True, True, False, False, True]
    columns = {"prompt": ["a"] * 6, "reward": [0.25, 0.75, 0.0, 0.0, 0.5, 2.0], "terminated": ends}
    pq.write_table(pa.table(columns), path)
    found = explained(path, 4, estimator="dr-grpo", group_column="prompt")
    steps, group = found.tables
    assert [line["contribution"] for line in steps.lines] == [0.0, 0.5, 2.0]
    assert steps.total == found.numbers["s"] == 2.5
    assert [line["score"] for line in group.lines] == [1.0, 0.0, 2.5]
    assert found.derived == pytest.approx(2.5 - 3.5 / 3)


def test_the_largest_lines_stay_and_the_sum_is_of_all(two_ends: Path) -> None:
    found = explained(two_ends, 0, estimator="mc", gamma=1.0, top=1)
    (table,) = found.tables
    assert [line["row"] for line in table.lines] == [2]
    assert (table.num_lines, table.total) == (4, 2.75)


def test_the_column_that_compute_wrote_is_compared(prompts: Path) -> None:
    gaecli.compute(prompts, preset="trl", estimator="grpo", group_column="prompt")
    same = explained(prompts, 7, preset="trl", estimator="grpo", group_column="prompt").stored
    assert same is not None
    assert same.expected is not None
    assert same.difference == pytest.approx(0.0, abs=1e-7)
    other = explained(prompts, 7, preset="verl", estimator="grpo", group_column="prompt").stored
    assert other is not None
    assert other.differing["norm_eps"] == 1e-4


def test_a_masked_step_has_no_number_of_any_estimator(tmp_path: Path) -> None:
    path = tmp_path / "masked.parquet"
    pq.write_table(
        pa.table({"reward": [[1.0, 2.0, 3.0]], "response_mask": [[1, 0, 1]]}),
        path,
    )
    with pytest.raises(DataError, match=r"is masked|holds no step"):
        gaecli.explain(path, 0, step=1, estimator="mc", mask_column="response_mask")


def test_the_page_and_the_document_say_the_same(run_gae, prompts: Path) -> None:
    flags = (
        "explain",
        prompts,
        "--row",
        "7",
        "--estimator",
        "grpo",
        "--preset",
        "trl",
        "--group-column",
        "prompt",
    )
    document = json.loads(run_gae(*flags, "--json").stdout)
    assert document["numbers"]["n"] == 3
    assert document["difference"] == 0.0
    page = run_gae(*flags).stdout
    assert "A = (s - mean) / (std + ε)" in page
    assert "this one" in page
    assert f"{document['derived']:.12g}" in page


def test_several_rewards_are_explained_one_by_one(tmp_path: Path) -> None:
    """gdpo: of each reward (r - mean) / (std + 1e-4) in its group, their weighted sum, and that over all rows."""
    path = tmp_path / "several.parquet"
    first, second, prompts = [1.0, 0.0, 0.0, 1.0, 0.0], [0.5, 1.0, 0.0, 2.0, 3.0], list("aaabb")
    table = {"prompt": prompts, "acc": first, "fmt": second, "completion": ["x"] * 5}
    pq.write_table(pa.table(table), path)

    def scaled(column: list[float], row: int) -> float:
        group = [number for number, prompt in zip(column, prompts, strict=True) if prompt == prompts[row]]
        return (column[row] - np.mean(group)) / (np.std(group, ddof=1) + 1e-4)

    sums = [scaled(first, row) + 0.5 * scaled(second, row) for row in range(5)]
    rewards = {"acc": 1.0, "fmt": 0.5}
    found = explained(path, 3, preset="trl", estimator="gdpo", group_column="prompt", rewards=rewards)
    *_, baseline = found.tables
    assert [line["contribution"] for line in baseline.lines] == pytest.approx(
        [scaled(first, 3), 0.5 * scaled(second, 3)]
    )
    assert (baseline.total, found.derived, found.computed) == pytest.approx((sums[3],) * 3)
    exact = (sums[3] - np.mean(sums)) / (np.std(sums, ddof=1) + 1e-4)
    assert found.written == pytest.approx(exact)


def test_a_group_of_split_rollouts_is_not_described_by_its_rows(tmp_path):
    """Of 4, 1 and 1 the mean is 2; that of the rows is another."""
    path = tmp_path / "split.parquet"
    table = {"g": ["a"] * 5, "rollout": [1, 1, 1, 2, 3], "reward": [4.0, 4.0, 4.0, 1.0, 1.0]}
    pq.write_table(pa.table(table), path)
    found = gaecli.explain(path, 0, estimator="dr-grpo", group_column="g", sample_of="rollout")
    assert found.computed == 2.0
    assert "mean" not in found.numbers
    assert "rows with one value of `rollout` count once" in found.remarks
