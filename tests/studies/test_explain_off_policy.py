"""`gae explain` of off-policy estimators: what `gae compute` writes and the papers say, term by term."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from estimators.test_off_policy import NAMES, loop_settings, of_loops, rollout, settings_of, written

import gaecli
from gaecli.explanation import Derivation


def explained(path: Path, row: int, **settings: Any) -> Derivation:
    found = gaecli.explain(path, row, **settings)
    assert isinstance(found, Derivation)
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Environments by turns, in row groups that cut trajectories."""
    path = tmp_path / "rollout.parquet"
    pq.write_table(pa.table(rollout()), path, row_group_size=16)
    return path


@pytest.mark.few(3)
@pytest.mark.parametrize("bootstrap", ["zero", "current"])
@pytest.mark.parametrize("name", NAMES)
def test_the_terms_add_up_to_what_the_papers_and_compute_say(
    path: Path, tmp_path: Path, name: str, bootstrap: str
) -> None:
    settings = {**settings_of(name), "bootstrap": bootstrap}
    exact = of_loops(rollout(), name, bootstrap, **loop_settings(name))
    computed = written(tmp_path / "written.parquet", rollout(), **settings)
    # To a limit, over row groups to where the rows stop, to a terminal state, and to where the rows stop.
    for row in (6, 25, 32, 51):
        found = explained(path, row, **settings)
        table = found.tables[0]
        terms = [line["contribution"] for line in table.lines]
        by_hand = [line["weight"] * line["delta"] for line in table.lines]
        advantage = pytest.approx(exact["advantage"][row], rel=1e-12, abs=1e-13)
        assert (sum(terms), sum(by_hand), table.total, found.derived, found.computed) == (advantage,) * 5
        assert found.numbers["R"] == pytest.approx(exact["return"][row], rel=1e-12, abs=1e-13)
        assert found.numbers["R"] == pytest.approx(found.outputs["return"], rel=1e-12, abs=1e-13)
        assert found.derived == pytest.approx(computed["advantage"][row], rel=1e-5, abs=1e-6)  # float32


def turn_by_turn(columns: dict[str, np.ndarray], turns: np.ndarray) -> dict[str, np.ndarray]:
    """A row for each turn: a policy takes all of its rows as one action."""
    found: dict[str, list[float]] = {name: [] for name in columns}
    for turn in range(turns.max() + 1):
        rows = np.flatnonzero(turns == turn)
        for name, cells in columns.items():
            is_sum = name in ("reward", "target_log_prob", "behaviour_log_prob")
            at = rows[0] if name in ("value", "q_value") else rows[-1]
            found[name].append(float(cells[rows].sum()) if is_sum else cells[at])
    return {name: np.array(cells) for name, cells in found.items()}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", NAMES)
def test_over_units_the_terms_are_those_of_turns_as_rows(tmp_path: Path, name: str) -> None:
    columns = rollout(5)
    turns, count = np.zeros(60, np.int64), 0
    for env in np.unique(columns["env_id"]):
        size, wanted = 0, 1
        for row in np.flatnonzero(columns["env_id"] == env).tolist():
            turns[row], size = count, size + 1
            if size == wanted or columns["terminated"][row] or columns["truncated"][row]:
                count, size, wanted = count + 1, 0, wanted % 3 + 1
        count += size > 0
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({**columns, "turn": turns}), path, row_group_size=16)
    exact = of_loops(turn_by_turn(columns, turns), name, **loop_settings(name))
    for row in (0, 6, 25, 51):
        found = explained(path, row, unit="turn", **settings_of(name))
        rows, errors, *_ = found.tables
        assert [line["row"] for line in rows.lines] == np.flatnonzero(turns == turns[row]).tolist()
        terms = sum(line["weight"] * line["delta"] for line in errors.lines)
        advantage = pytest.approx(exact["advantage"][turns[row]], rel=1e-12, abs=1e-13)
        assert (terms, errors.total, found.derived, found.computed) == (advantage,) * 4
        assert any("product" in remark for remark in found.remarks) == (name not in ("q-lambda", "upgo"))
        assert found.numbers["R"] == pytest.approx(exact["return"][turns[row]], rel=1e-12, abs=1e-13)
        assert found.numbers["R"] == pytest.approx(found.outputs["return"], rel=1e-12, abs=1e-13)


def test_the_target_of_v_trace_is_a_sum_of_its_own(path: Path) -> None:
    """Its weights begin at min(ρ, ρ̄), those of the advantage at min(ρ, ρ_pg)."""
    found = explained(path, 25, **settings_of("vtrace"))
    errors, targets = found.tables
    exact = of_loops(rollout(), "vtrace", **loop_settings("vtrace"))
    assert targets.total == pytest.approx(exact["return"][25] - found.numbers["V"], rel=1e-12)
    ratio = errors.lines[0]["ratio"]
    assert [errors.lines[0]["weight"], targets.lines[0]["weight"]] == [min(ratio, 1.1), min(ratio, 1.3)]


@pytest.mark.parametrize("name", ["vtrace", "retrace", "tree-backup"])
def test_a_line_tells_the_ratio_and_the_trace_that_it_comes_to(path: Path, name: str) -> None:
    columns = rollout()
    found = explained(path, 25, **settings_of(name))
    for line in found.tables[0].lines:
        ratio = np.exp(columns["target_log_prob"][line["row"]] - columns["behaviour_log_prob"][line["row"]])
        expected = {
            "vtrace": {"ratio": ratio, "clipped_ratio": min(ratio, 1.3), "trace": 0.7 * min(ratio, 0.8)},
            "retrace": {"ratio": ratio, "trace": 0.7 * min(ratio, 1.0)},
            "tree-backup": {"trace": 0.7 * np.exp(columns["target_log_prob"][line["row"]])},
        }[name]
        assert {key: line[key] for key in expected} == pytest.approx(expected, rel=1e-12)


def steps(path: Path, **columns: Any) -> Path:
    table = {"terminated": [False, False, False, True], "value": [0.0, 1.0, 2.0, 0.5], **columns}
    pq.write_table(pa.table(table), path)
    return path


def test_upgo_stops_where_the_next_step_does_worse(tmp_path: Path) -> None:
    """δ of the third step is -1.5: the return goes on over the second, and ends in V = 2 of the third."""
    found = explained(
        steps(tmp_path / "a.parquet", reward=[1.0, 0.25, 0.0, 3.0]), 0, estimator="upgo", gamma=1.0
    )
    assert [line["delta"] for line in found.tables[0].lines] == [2.0, 1.25, -1.5]
    assert [line["weight"] for line in found.tables[0].lines] == [1.0, 1.0, 0.0]
    assert found.derived == found.computed == 1.0 + 0.25 + 2.0
    assert found.bootstrap is None
    assert "δ is negative at k = 2: V of that step stands for what follows" in found.remarks


def test_a_trace_of_nothing_ends_the_sum(tmp_path: Path) -> None:
    """What the evaluated policy never does at the second step leaves r + γ V' of the first."""
    columns = {"reward": [1.0, 0.25, 0.0, 3.0], "q_value": [5.0, 6.0, 7.0, 8.0], "prob": [0.5, 0.0, 0.5, 0.5]}
    path = steps(tmp_path / "b.parquet", **columns)
    found = explained(path, 0, estimator="tree-backup", gamma=0.5, prob_column="prob", q_column="q_value")
    assert found.derived == found.computed == 1.0 + 0.5 * 1.0
    assert len(found.tables[0].lines) == 2


def test_a_step_that_the_convention_drops_hands_nothing_on(path: Path, tmp_path: Path) -> None:
    columns, settings = rollout(), {**settings_of("retrace"), "truncation": "drop"}
    computed = written(tmp_path / "written.parquet", columns, **settings)
    rows = [row for row in range(57) if columns["truncated"][row + 3] and not columns["truncated"][row]]
    assert rows
    for row in rows[:3]:
        found = explained(path, row, **settings)
        assert found.derived == pytest.approx(computed["advantage"][row], rel=1e-5, abs=1e-6)
        assert found.derived == pytest.approx(found.computed, rel=1e-12)


def test_k_steps_are_n_steps(path: Path) -> None:
    """Either name has the equation of the other: k rewards, and V after them."""
    columns, gamma = rollout(), 0.9
    found = explained(path, 6, estimator="k-step", n_steps=2, gamma=gamma)
    rows = [line["row"] for line in found.tables[0].lines]
    rewards = [float(columns["reward"][row]) for row in rows]
    target = rewards[0] + gamma * rewards[1] + gamma**2 * found.numbers["V'"]
    assert found.numbers["R = A + V"] == pytest.approx(target, rel=1e-12)
    assert found.derived == explained(path, 6, estimator="n-step", n_steps=2, gamma=gamma).derived


@pytest.mark.few(2)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["columns", "by length"])
def test_every_step_may_have_decays_of_its_own(tmp_path: Path, name: str, how: str) -> None:
    """γ and λ of columns, and λ by the length of the trajectory, end in what `gae compute` writes."""
    random = np.random.default_rng(3)
    columns = {**rollout(), "g": random.uniform(0.7, 1.0, 60), "l": random.uniform(0.5, 1.0, 60)}
    decays: dict[str, Any] = (
        {"gamma_column": "g", "lam_column": "l"} if how == "columns" else {"lam_retain": 0.3}
    )
    if name == "upgo":
        decays = {"gamma_column": "g"}
    computed = written(tmp_path / "written.parquet", columns, estimator=name, **decays)
    pq.write_table(pa.table(columns), tmp_path / "raw.parquet", row_group_size=16)
    for row in (6, 25, 51):
        found = explained(tmp_path / "raw.parquet", row, estimator=name, **decays)
        assert found.derived == pytest.approx(computed["advantage"][row], rel=1e-5, abs=1e-6)  # float32
        assert found.derived == pytest.approx(found.computed, rel=1e-12, abs=1e-13)
        assert found.numbers["R"] == pytest.approx(found.outputs["return"], rel=1e-12, abs=1e-13)


def test_the_page_shows_the_decays_of_the_steps(run_gae: Any, tmp_path: Path) -> None:
    columns = {**rollout(), "g": np.full(60, 0.75), "l": np.full(60, 0.5)}
    pq.write_table(pa.table(columns), tmp_path / "raw.parquet")
    flags = ("--estimator", "vtrace", "--gamma-column", "g", "--lam-column", "l")
    page = run_gae("explain", tmp_path / "raw.parquet", "--row", "25", *flags)
    assert page.returncode == 0, page.stderr
    assert "0.7500" in page.stdout
    assert "difference" in page.stdout


@pytest.mark.parametrize("last", [0, 1])
def test_a_trace_passes_masked_items_without_decay(tmp_path: Path, last: int) -> None:
    """`--mask-mode gated`: what stands behind the gap has the weight that it has without it.

    V behind a last item that is masked is that of no step.
    """
    names = ("reward", "value", "q_value", "target_log_prob", "behaviour_log_prob")
    lists = {name: [rollout()[name][:8].tolist()] for name in names}
    columns = {**lists, "response_mask": [[1, 1, 0, 0, 1, 1, 0, last]], "last_value": [0.75]}
    settings = {**settings_of("retrace"), "mask_mode": "gated", "masked_reward": "drop"}
    pq.write_table(pa.table(columns), tmp_path / "raw.parquet")
    gaecli.compute(tmp_path / "raw.parquet", tmp_path / "out.parquet", **settings)
    computed = pq.read_table(tmp_path / "out.parquet")["advantage"].to_pylist()[0]
    for step in (0, 1, 5):
        found = explained(tmp_path / "raw.parquet", 0, step=step, **settings)
        assert found.derived == pytest.approx(computed[step], rel=1e-5)
        assert found.derived == pytest.approx(found.computed, rel=1e-12)
