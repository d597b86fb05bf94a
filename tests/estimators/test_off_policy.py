"""V-trace, Retrace, Q(λ), tree backup and UPGO: against loops of the papers, however the rows are cut and ordered."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from covers import others, turns
from estimators.off_policy_loops import Trajectory, by_name
from hypothesis import given
from hypothesis import strategies as st
from pipeline.rollout_tables import a_table
from pipeline.running import STORE_BYTES, columns_of, small_blocks
from profiles import examples

import gaecli
from gaecli.errors import DataError, GaeError, UsageError
from gaecli.settings import Settings

NAMES = ("vtrace", "retrace", "q-lambda", "tree-backup", "upgo")
GAMMA, LAM = 0.9, 0.7
CLIPS = {"rho_bar": 1.3, "c_bar": 0.8, "pg_bar": 1.1}


def rollout(seed: int = 0, count: int = 60, num_envs: int = 3) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed + 1000)
    return {
        **a_table(seed, count, num_envs, end_share=0.15),
        "target_log_prob": -random.exponential(size=count),
        "behaviour_log_prob": -random.exponential(size=count),
        "q_value": random.normal(size=count),
    }


def of_loops(
    columns: dict[str, np.ndarray], name: str, bootstrap: str = "zero", **settings: float
) -> dict[str, np.ndarray]:
    """Environment by environment, trajectory by trajectory."""
    found = {output: np.full(len(columns["reward"]), np.nan) for output in ("advantage", "return")}
    for env in np.unique(columns["env_id"]):
        steps: list[int] = []
        rows = np.flatnonzero(columns["env_id"] == env).tolist()
        for row in rows:
            steps.append(row)
            if not (columns["terminated"][row] or columns["truncated"][row] or row == rows[-1]):
                continue
            behind = float(columns["next_value"][row])
            if math.isnan(behind):
                behind = float(columns["value"][row]) if bootstrap == "current" else 0.0
            behind = 0.0 if columns["terminated"][row] else behind
            names = ("reward", "value", "target_log_prob", "behaviour_log_prob", "q_value")
            rewards, values, target, behaviour, q = (columns[name][steps].tolist() for name in names)
            of = Trajectory(rewards, values, behind, target, behaviour, q, gamma=GAMMA, **settings)
            found["advantage"][steps], found["return"][steps] = by_name(name, of)
            steps = []
    return found


def settings_of(name: str) -> dict[str, Any]:
    clips = CLIPS if name == "vtrace" else {}
    return {"estimator": name, "gamma": GAMMA, **clips, **({} if name == "upgo" else {"lam": LAM})}


def loop_settings(name: str) -> dict[str, float]:
    return {key: value for key, value in settings_of(name).items() if key not in ("estimator", "gamma")}


def written(path: Path, columns: dict[str, np.ndarray], **settings: Any) -> dict[str, np.ndarray]:
    pq.write_table(pa.table(columns), path)
    summary = gaecli.compute(path, **settings)
    assert [file.status for file in summary.files] == ["written"], summary.files[0].error
    return columns_of(path)


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("name", "bootstrap", "block_rows", "store_bytes"),
    [
        *turns(NAMES, ["zero", "current"], [1, 7], STORE_BYTES),
        *others(NAMES, ["zero", "current"], [1000], STORE_BYTES),
    ],
)
@examples(2)
@given(seed=st.integers(0, 99))
def test_rows_cut_anywhere_give_the_numbers_of_the_paper(
    name: str, bootstrap: str, block_rows: int, store_bytes: int | None, seed: int
) -> None:
    columns = rollout(seed, count=40)
    expected = of_loops(columns, name, bootstrap, **loop_settings(name))
    with small_blocks(block_rows, store_bytes=store_bytes, dtype=np.float64) as folder:
        found = written(folder / "r.parquet", columns, bootstrap=bootstrap, **settings_of(name))
    for output, numbers in expected.items():
        np.testing.assert_allclose(found[output], numbers, rtol=1e-12, atol=1e-12)


@pytest.mark.few(2)
@pytest.mark.parametrize("name", NAMES)
def test_many_lanes_at_once_are_no_other_numbers(name: str) -> None:
    """More than are worked on one by one, each of which goes through three blocks."""
    columns = rollout(3, count=600, num_envs=100)
    columns["terminated"][:] = columns["truncated"][:] = False
    columns["next_value"][:] = np.nan
    with small_blocks(200, dtype=np.float64) as folder:
        found = written(folder / "r.parquet", columns, **settings_of(name))
    for output, numbers in of_loops(columns, name, **loop_settings(name)).items():
        np.testing.assert_allclose(found[output], numbers, rtol=1e-12, atol=1e-12)


@pytest.mark.few(2)
@pytest.mark.parametrize("name", NAMES)
def test_a_trajectory_goes_on_in_the_next_file(name: str) -> None:
    columns = rollout(4, num_envs=1)
    expected = of_loops(columns, name, **loop_settings(name))
    with small_blocks(9, dtype=np.float64) as folder:
        for number, rows in enumerate(np.split(np.arange(60), [17, 18, 50])):
            part = pa.table({key: column[rows] for key, column in columns.items()})
            pq.write_table(part, folder / f"train-{number:05d}-of-00004.parquet")
        gaecli.compute(folder, **settings_of(name))
        tables = [pq.read_table(path) for path in sorted(folder.iterdir())]
    for output, numbers in expected.items():
        found = pa.concat_tables(tables)[output].to_numpy()
        np.testing.assert_allclose(found, numbers, rtol=1e-12, atol=1e-12)


def on_policy(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**columns, "target_log_prob": columns["behaviour_log_prob"]}


def both(folder: Path, columns: dict[str, np.ndarray], one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two estimators give the same advantages and returns."""
    found = written(folder / "one.parquet", columns, **one)
    expected = written(folder / "other.parquet", columns, **other)
    for output in ("advantage", "return"):
        np.testing.assert_allclose(found[output], expected[output], rtol=1e-12, atol=1e-12)


def test_vtrace_of_one_policy_is_td_lambda() -> None:
    with small_blocks(11, dtype=np.float64) as folder:
        shared = {"gamma": GAMMA, "lam": LAM}
        both(
            folder,
            on_policy(rollout()),
            {"estimator": "vtrace", **shared},
            {"estimator": "td-lambda", **shared},
        )


def test_retrace_of_a_policy_that_acts_no_less_often_is_q_lambda() -> None:
    columns = rollout()
    columns["target_log_prob"] = columns["behaviour_log_prob"] + 0.5
    with small_blocks(11, dtype=np.float64) as folder:
        shared = {"gamma": GAMMA, "lam": LAM}
        both(folder, columns, {"estimator": "retrace", **shared}, {"estimator": "q-lambda", **shared})


@pytest.mark.few(2)
@pytest.mark.parametrize("name", ["vtrace", "retrace", "q-lambda", "tree-backup"])
def test_lambda_zero_gives_the_target_of_one_step(name: str) -> None:
    with small_blocks(11, dtype=np.float64) as folder:
        both(
            folder,
            on_policy(rollout()),
            {"estimator": name, "gamma": GAMMA, "bootstrap": "current", "lam": 0.0},
            {"estimator": "td0", "gamma": GAMMA, "bootstrap": "current"},
        )


@pytest.mark.few(2)
@pytest.mark.parametrize("name", [*NAMES[:-1], "gae"])
def test_lambda_by_length_of_a_trajectory_that_nothing_ends(name: str, tmp_path: Path) -> None:
    """The last of the file; and λ = 1 - 1 / (α n) of the one trajectory is a λ as any other."""
    columns = rollout(num_envs=1)
    columns["terminated"][:] = columns["truncated"][:] = False
    columns["next_value"][:] = np.nan
    found = written(tmp_path / "r.parquet", columns, estimator=name, gamma=GAMMA, lam_alpha=0.1)
    expected = written(tmp_path / "r.parquet", columns, estimator=name, gamma=GAMMA, lam=1 - 1 / 6)
    np.testing.assert_allclose(found["advantage"], expected["advantage"], rtol=1e-6)


def test_q_lambda_with_q_for_v_is_td_lambda() -> None:
    columns = rollout()
    columns["q_value"] = columns["value"]
    with small_blocks(11, dtype=np.float64) as folder:
        shared = {"gamma": GAMMA, "lam": LAM}
        both(folder, columns, {"estimator": "q-lambda", **shared}, {"estimator": "td-lambda", **shared})


def test_upgo_of_steps_that_all_do_well_is_the_monte_carlo_return() -> None:
    columns = rollout()
    columns["reward"] += 100
    with small_blocks(11, dtype=np.float64) as folder:
        found = written(folder / "one.parquet", columns, estimator="upgo", gamma=GAMMA)
        expected = written(folder / "other.parquet", columns, estimator="mc", gamma=GAMMA)
    np.testing.assert_allclose(found["return"], expected["return"], rtol=1e-12)


@pytest.mark.few(2)
@pytest.mark.parametrize("name", NAMES)
def test_a_ratio_says_the_same_as_two_log_probabilities(name: str, tmp_path: Path) -> None:
    if name in ("q-lambda", "upgo"):
        return
    columns = rollout()
    expected = written(tmp_path / "r.parquet", columns, **settings_of(name))
    target, behaviour = columns.pop("target_log_prob"), columns.pop("behaviour_log_prob")
    if name == "tree-backup":
        columns["target_prob"] = np.exp(target)
    else:
        columns["ratio"] = np.exp(target - behaviour)
    found = written(tmp_path / "r.parquet", columns, **settings_of(name))
    np.testing.assert_allclose(found["advantage"], expected["advantage"], rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_next_trajectory_comes_over_a_truncated_end(name: str, tmp_path: Path) -> None:
    """pytorch/rl#4209: V = 1, then 100, no reward, one policy: A is 0 in both, and was 99 at the end of the first."""
    columns = {
        "reward": np.zeros(6),
        "value": np.repeat([1.0, 100.0], 3),
        "truncated": np.array([False, False, True] * 2),
        "next_value": np.repeat([1.0, 100.0], 3),
        "target_log_prob": np.zeros(6),
        "behaviour_log_prob": np.zeros(6),
        "q_value": np.repeat([1.0, 100.0], 3),
    }
    found = written(tmp_path / "r.parquet", columns, **{**settings_of(name), "gamma": 1.0})
    np.testing.assert_array_equal(found["advantage"], 0)
    np.testing.assert_array_equal(found["return"], columns["value"])


class TestColumns:
    def refusal(self, tmp_path: Path, columns: dict[str, np.ndarray], name: str, **settings: Any) -> str:
        path = tmp_path / "r.parquet"
        pq.write_table(pa.table(columns), path)
        with pytest.raises(GaeError) as caught:
            gaecli.compute(path, estimator=name, **settings)
        return f"{caught.value.message} {caught.value.hint}"

    def without(self, *names: str) -> dict[str, np.ndarray]:
        return {name: column for name, column in rollout().items() if name not in names}

    def test_a_policy_that_is_not_named_is_asked_for(self, tmp_path: Path) -> None:
        columns = {**self.without("target_log_prob"), "log_prob": np.zeros(60)}
        said = self.refusal(tmp_path, columns, "vtrace")
        assert "`--ratio-column`" in said
        assert "`--log-prob-column`" in said
        assert "`behaviour_log_prob` is log μ(a|s)" in said
        written(tmp_path / "r.parquet", columns, estimator="vtrace", log_prob_column="log_prob")

    def test_the_other_half_of_a_named_way_is_asked_for(self, tmp_path: Path) -> None:
        columns = {**self.without("target_log_prob", "behaviour_log_prob"), "logp": np.zeros(60)}
        said = self.refusal(tmp_path, columns, "vtrace", log_prob_column="logp")
        assert "`--behaviour-log-prob-column`" in said

    def test_two_ways_to_one_weight_are_a_question(self, tmp_path: Path) -> None:
        columns = {**rollout(), "ratio": np.ones(60)}
        said = self.refusal(tmp_path, columns, "retrace")
        assert "takes one of them" in said
        found = written(tmp_path / "r.parquet", columns, ratio_column="ratio", **settings_of("retrace"))
        expected = of_loops(on_policy(columns), "retrace", **loop_settings("retrace"))
        np.testing.assert_allclose(found["return"], expected["return"], rtol=1e-5)

    def test_two_columns_of_one_role_that_differ_are_a_question(self, tmp_path: Path) -> None:
        columns = {**rollout(), "action_logp": np.zeros(60)}
        said = self.refusal(tmp_path, columns, "vtrace")
        assert (
            "`--behaviour-log-prob-column behaviour_log_prob` or `--behaviour-log-prob-column action_logp`"
            in said
        )

    def test_values_of_actions_are_asked_for(self, tmp_path: Path) -> None:
        assert "`--q-column`" in self.refusal(tmp_path, self.without("q_value"), "retrace")

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("name", ["target_log_prob", "behaviour_log_prob", "q_value"])
    def test_what_is_no_number_is_an_error_that_says_where(
        self, tmp_path: Path, bad: float, name: str
    ) -> None:
        columns = rollout()
        columns[name][7] = bad
        said = self.refusal(tmp_path, columns, "retrace")
        assert f"`{name}` is" in said
        assert "row 7" in said
        with pytest.raises(DataError):
            gaecli.read(tmp_path / "r.parquet", estimator="retrace")

    @pytest.mark.parametrize(
        ("name", "column", "number"),
        [
            ("vtrace", "ratio", -0.1),
            ("tree-backup", "target_prob", 1.5),
            ("tree-backup", "target_log_prob", 0.5),
        ],
    )
    def test_what_is_no_probability_is_an_error(
        self, tmp_path: Path, name: str, column: str, number: float
    ) -> None:
        columns = {**self.without("target_log_prob", "behaviour_log_prob"), column: np.zeros(60)}
        columns[column][5] = number
        assert "row 5" in self.refusal(tmp_path, columns, name)

    def test_an_episode_without_its_policy_can_be_left_out(self, tmp_path: Path) -> None:
        columns = rollout(num_envs=1)
        columns["target_log_prob"][2] = math.nan
        found = written(tmp_path / "r.parquet", columns, on_nan="drop-episode", **settings_of("vtrace"))
        ended = np.flatnonzero(columns["terminated"] | columns["truncated"])
        stop = int(ended[ended >= 2][0]) + 1
        assert np.isnan(found["advantage"][:stop]).all()
        np.testing.assert_allclose(
            found["advantage"][stop:],
            of_loops(columns, "vtrace", **loop_settings("vtrace"))["advantage"][stop:],
            rtol=1e-5,
        )

    def test_they_say_nothing_to_gae(self) -> None:
        for given_ in ({"columns": {"ratio": "rho"}}, {"rho_bar": 2.0}):
            with pytest.raises(UsageError, match="says nothing to `--estimator gae`"):
                Settings(**given_)

    @pytest.mark.parametrize("name", ["rho_bar", "c_bar", "pg_bar"])
    def test_clips_are_positive_numbers(self, name: str) -> None:
        with pytest.raises(UsageError, match="finite and more than 0"):
            Settings(estimator="vtrace", **{name: 0.0})

    def test_a_file_of_gae_is_read_without_them(self, tmp_path: Path) -> None:
        columns = rollout()
        columns["q_value"][:] = columns["target_log_prob"][:] = math.nan
        written(tmp_path / "r.parquet", columns)


@pytest.mark.parametrize("has_ratio", [False, True])
@pytest.mark.parametrize("mode", ["skip", "zero"])
def test_masked_cells_may_hold_anything(tmp_path: Path, mode: str, has_ratio: bool) -> None:
    lists = {
        "reward": [[1.0, 2.0, math.nan, 3.0]],
        "value": [[0.5, 0.25, math.nan, -1.0]],
        "mask": [[1, 1, 0, 1]],
        "target_log_prob": [[-0.5, -0.25, math.nan, -1.0]],
        "behaviour_log_prob": [[-1.0, -0.5, -math.inf, -0.25]],
    }
    cells = {name: rows[0] for name, rows in lists.items()}
    if has_ratio:
        pairs = zip(cells.pop("target_log_prob"), cells.pop("behaviour_log_prob"), strict=True)
        cells["ratio"] = [math.exp(one - other) if other > -9 else math.nan for one, other in pairs]
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(cells).replace("NaN", "null").replace("-Infinity", "null"))
    with small_blocks(dtype=np.float64):
        (file,) = gaecli.compute(path, mask_mode=mode, **settings_of("vtrace")).files
    assert file.status == "written", file.error
    found = json.loads(path.read_text())
    kept = [0, 1, 3]
    rewards, values, target, behaviour = (
        [rows[0][t] for t in (kept if mode == "skip" else range(4))]
        for rows in (lists[name] for name in ("reward", "value", "target_log_prob", "behaviour_log_prob"))
    )
    if mode == "zero":  # time goes on, of one policy
        rewards[2] = values[2] = target[2] = behaviour[2] = 0.0
    of = Trajectory(rewards, values, 0.0, target, behaviour, [], GAMMA, **loop_settings("vtrace"))
    advantages, returns = by_name("vtrace", of)
    for output, numbers in (("advantage", advantages), ("return", returns)):
        expected = numbers if mode == "skip" else [numbers[t] for t in kept]
        assert [found[output][t] for t in kept] == pytest.approx(expected, rel=1e-12)
        assert found[output][2] is None


def test_a_probability_says_the_same_as_its_logarithm_at_a_masked_step(tmp_path: Path) -> None:
    """No action of the policy: the trace goes through, whatever the cell holds."""
    lists = {"reward": [1.0, 2.0, 3.0], "value": [0.5, 0.25, -1.0], "q": [0.0, 5.0, 1.0], "mask": [1, 0, 1]}
    path, found = tmp_path / "r.jsonl", []
    for role, cells in {"prob": [0.5, 0.1, 0.25], "log_prob": np.log([0.5, 0.1, 0.25]).tolist()}.items():
        path.write_text(json.dumps({**lists, role: cells}))
        columns = {role: role, "q": "q", "mask": "mask"}
        gaecli.compute(path, estimator="tree-backup", gamma=1.0, mask_mode="zero", columns=columns)
        found.append(json.loads(path.read_text())["return"])
    # Of the masked step r, V and Q are 0: R = 1 + 1 · (0 + R'), and R' = V'' + 0.25 (R'' - Q'').
    assert found == [[pytest.approx(1.0 - 1.0 + 0.25 * (3.0 - 1.0)), None, 3.0]] * 2


def test_presets_bring_the_clip_of_their_library() -> None:
    assert Settings.from_preset("rlax", estimator="vtrace", rho_bar=2.0).pg_bar == 1.0
    assert Settings.from_preset("torchrl", estimator="vtrace", rho_bar=2.0).pg_bar is None
    assert Settings.from_preset("sb3", estimator="vtrace").lam == 1.0
    assert Settings.from_preset("sb3", estimator="q-lambda").lam == 0.95


def test_k_step_is_the_n_step_advantage_by_another_name() -> None:
    settings = Settings.from_preset("exact", estimator="k-step", n_steps=3)
    assert settings == Settings.from_preset("exact", estimator="n-step", n_steps=3)


def test_every_command_knows_the_other_name(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    written(path, rollout(num_envs=1), estimator="k-step", n_steps=3)
    assert gaecli.sweep(path, [0.9], [], n_steps=[3], estimator="k-step").files[0].error is None
    asked = [gaecli.verify(path, "advantage", estimator=name, n_steps=3) for name in ("k-step", "n-step")]
    assert asked[0] == asked[1]
