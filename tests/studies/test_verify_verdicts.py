"""What `gae verify` certifies, and what it must not: constants, returns, and the command that it prints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from covers import turns
from parity.loops import brax, spinning_up, stable_baselines3
from typer.testing import CliRunner

import gaecli
from gaecli.cli.main import app
from gaecli.commands.verify import verify
from gaecli.errors import UsageError

NUM_STEPS, LENGTH = 240, 20
ENDS = np.arange(NUM_STEPS) % LENGTH == LENGTH - 1


def rollout(seed: int = 0) -> dict[str, np.ndarray]:
    """Episodes of LENGTH steps; every third ends by a limit, with the value of the state after it."""
    random = np.random.default_rng(seed)
    truncated = ENDS & (np.arange(NUM_STEPS) // LENGTH % 3 == 0)
    values = random.normal(0.5, 1.5, NUM_STEPS)
    following = np.append(values[1:], 0.0)
    following[truncated] = random.normal(size=truncated.sum())
    return {
        "reward": random.normal(size=NUM_STEPS),
        "value": values,
        "next_value": following,
        "terminated": ENDS & ~truncated,
        "truncated": truncated,
    }


def made_by(loop, gamma: float, lam: float, columns: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    names = ("reward", "value", "next_value", "terminated", "truncated")
    advantages, returns = loop(*(columns[name].tolist() for name in names), gamma, lam)[:2]
    return np.array(advantages), np.array(returns)


def write(path: Path, columns: dict[str, np.ndarray]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def noisy(size: float) -> np.ndarray:
    return 0.5 + size * np.random.default_rng(1).normal(size=NUM_STEPS)


CONSTANT = {
    "float32": np.full(NUM_STEPS, 0.5, np.float32),
    "float64": np.full(NUM_STEPS, 0.5),
    "half": np.full(NUM_STEPS, 0.1, np.float16),
    "whole": np.ones(NUM_STEPS, np.int32),
    "zero": np.zeros(NUM_STEPS),
    "huge": np.full(NUM_STEPS, 1e30),
    "tiny": np.full(NUM_STEPS, 1e-30),
    "to 1e-9": noisy(1e-9),
    "to 1e-7": noisy(1e-7),
    "to 1e-5": noisy(1e-5),
    "to 1e-4 in half precision": noisy(1e-4).astype(np.float16),
    "but for one row": np.append(np.full(NUM_STEPS - 1, 0.5), 0.7),
}


@pytest.mark.few(5)
@pytest.mark.parametrize(
    ("kind", "name"),
    [*((kind, "advantage") for kind in CONSTANT), ("float32", "return"), ("to 1e-9", "column")],
)
def test_a_constant_column_is_certified_by_nothing(tmp_path, kind, name):
    columns = {**rollout(), name: CONSTANT[kind]}
    found = verify(write(tmp_path / "r.parquet", columns), name, preset="sb3")
    assert found.exit_code == 3
    assert not found.best.is_affine
    assert found.constant == pytest.approx(float(CONSTANT[kind][0]), rel=1e-3)
    assert found.num_constant > 0.9 * NUM_STEPS


def test_any_column_where_all_advantages_are_alike_is_no_affine_map_of_them(tmp_path):
    """A = 1e-18 x + m holds for every x, to rounding."""
    columns = {
        "reward": np.ones(NUM_STEPS),
        "value": np.full(NUM_STEPS, 0.5),
        "terminated": np.ones(NUM_STEPS, bool),
        "advantage": np.random.default_rng(0).normal(size=NUM_STEPS),
    }
    found = verify(write(tmp_path / "r.parquet", columns))
    assert found.exit_code == 3
    assert not found.best.is_affine


def test_advantages_that_are_constant_in_truth_are_reproduced(tmp_path):
    columns = {"reward": np.ones(30), "value": np.full(30, 0.5), "terminated": np.ones(30, bool)}
    path = write(tmp_path / "r.parquet", {**columns, "advantage": np.full(30, 0.5)})
    found = verify(path)
    assert found.is_reproduced
    assert found.constant is None
    assert not found.best.is_gamma_determined


def test_the_page_says_constant(tmp_path, run_gae):
    path = write(tmp_path / "r.parquet", {**rollout(), "advantage": np.full(NUM_STEPS, 0.5)})
    result = run_gae("verify", path.name, "--preset", "sb3", cwd=tmp_path, env={"COLUMNS": "60"})
    assert result.returncode == 3
    assert f"constant: 0.5000 at {NUM_STEPS} of {NUM_STEPS} rows" in " ".join(result.stdout.split())
    assert max(map(len, result.stdout.splitlines())) <= 60
    document = json.loads(run_gae("verify", path, "--preset", "sb3", "--json").stdout)
    assert (document["constant"], document["num_constant"]) == (0.5, NUM_STEPS)


class TestReturns:
    @pytest.mark.few(3)
    @pytest.mark.parametrize(
        ("name", "preset"),
        turns(["return", "returns", "value_targets", "ret", "my_targets"], [None, "sb3", "sb3"]),
    )
    def test_are_reproduced(self, tmp_path, name, preset):
        _, returns = made_by(stable_baselines3, 0.97, 0.9, rollout())
        dtype = np.float32 if name.startswith("ret") else np.float64
        path = write(tmp_path / "r.parquet", {**rollout(), name: returns.astype(dtype)})
        found = verify(path, name, preset=preset)
        assert found.is_reproduced
        assert found.holds == "return"
        assert (found.best.gamma, found.best.lam) == (0.97, 0.9)
        assert "sb3" in [found.best.presets[0], *found.equivalent]

    @pytest.mark.parametrize(("preset", "loop"), [("brax", brax), ("spinup", spinning_up)])
    def test_that_are_not_advantage_and_value_are_those_of_their_preset(self, tmp_path, preset, loop):
        _, returns = made_by(loop, 0.97, 0.9, rollout())
        path = write(tmp_path / "r.parquet", {**rollout(), "return": returns})
        found = verify(path, "return", preset=preset)
        assert found.is_reproduced
        assert found.best.gamma == pytest.approx(0.97, abs=1e-4)

    def test_a_row_that_is_wrong_is_told_in_returns(self, tmp_path):
        _, returns = made_by(stable_baselines3, 0.97, 0.9, rollout())
        right = returns[33]
        returns[33] += 1.0
        path = write(tmp_path / "r.parquet", {**rollout(), "return": returns})
        (deviation,) = verify(path, "return", preset="sb3").deviations
        assert deviation.first_row == 33
        assert deviation.found == pytest.approx(right + 1.0)
        assert deviation.expected == pytest.approx(right, abs=1e-6)

    def test_what_gae_compute_writes(self, tmp_path, run_gae):
        path = write(tmp_path / "r.parquet", rollout())
        gaecli.compute(path, gamma=0.9, lam=0.8)
        result = run_gae("verify", path, "--against", "return", "--json")
        document = json.loads(result.stdout)
        assert (result.returncode, document["holds"]) == (0, "return")
        assert (document["attempts"][0]["gamma"], document["attempts"][0]["lam"]) == (0.9, 0.8)


class TestNames:
    @pytest.mark.parametrize(
        ("stored", "asked"),
        [
            ("advantages", "advantage"),
            ("ADV", "advantage"),
            ("returns", "return"),
            ("value_target", "return"),
            ("return", "returns"),
        ],
    )
    def test_another_usual_name_for_the_same_is_found(self, tmp_path, stored, asked):
        both = made_by(stable_baselines3, 0.97, 0.9, rollout())
        column = both[0 if asked == "advantage" else 1]
        found = verify(write(tmp_path / "r.parquet", {**rollout(), stored: column}), asked, preset="sb3")
        assert found.is_reproduced
        assert found.column == stored

    def test_two_that_stand_for_it_are_asked_about(self, tmp_path):
        path = write(tmp_path / "r.parquet", {**rollout(), "adv": ENDS * 1.0, "advantages": ENDS * 1.0})
        with pytest.raises(UsageError, match="`advantages`, `adv`") as caught:
            verify(path)
        assert "--against advantages" in caught.value.hint

    def test_a_file_with_returns_only_says_how_to_verify_them(self, tmp_path):
        path = write(tmp_path / "r.parquet", {**rollout(), "returns": ENDS * 1.0})
        with pytest.raises(UsageError) as caught:
            verify(path)
        assert "--against returns" in caught.value.hint


COMMANDS = {
    "raw": {},
    "rounded nowhere": {"gamma": 0.98765, "lam": 0.91234},
    "normalised": {"normalize": "all"},
    "normalised by another rule": {"normalize": "all", "norm_ddof": 0, "norm_floor": "rsqrt"},
    "a preset": {"preset": "rl-games"},
    "a preset that normalises, without": {"preset": "verl", "normalize": "none"},
    "a preset that normalises": {"preset": "verl"},
    "another recursion": {"preset": "brax", "lam": 0.8},
    "another recursion, normalised": {"preset": "brax", "lam": 0.8, "normalize": "all"},
    "lengths decide lambda": {"preset": "vapo"},
    "truncation": {"truncation": "leak"},
    "columns": {"value_column": "next_value", "next_value_column": "none"},
    "bootstrap": {"next_value_column": "none", "bootstrap": "current"},
}


#: What these say others say as well, together with something else.
SLOW_COMMANDS = (
    *("rounded nowhere", "normalised", "a preset that normalises", "another recursion"),
    "a preset that normalises, without",
)


@pytest.mark.few(5)
@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.slow if kind in SLOW_COMMANDS else ()) for kind in COMMANDS],
)
def test_the_printed_command_makes_that_very_column(tmp_path, kind):
    made = COMMANDS[kind]
    path = write(tmp_path / "r.parquet", rollout(3))
    gaecli.compute(path, **made)
    reading = {name: value for name, value in made.items() if name.endswith("_column") or name == "bootstrap"}
    found = verify(path, settings=gaecli_settings(reading))
    assert found.is_reproduced
    words = " ".join(found.flags).split()
    output = ["--output", str(tmp_path / "again.parquet"), "--overwrite"]
    result = CliRunner().invoke(app, ["compute", str(path), *words, *output])
    assert result.exit_code == 0, result.output
    wanted = pq.read_table(path)["advantage"].to_numpy()
    again = pq.read_table(tmp_path / "again.parquet")["advantage"].to_numpy()
    # γ and λ to four digits and more, through sums of twenty steps.
    np.testing.assert_allclose(again, wanted, rtol=1e-5, atol=1e-5)


def gaecli_settings(reading):
    from gaecli.api.keywords import settings_and_options

    return settings_and_options(reading)[0]


@pytest.mark.parametrize("shift", [0.0, 7.0])
def test_where_no_command_makes_a_whitened_column_none_is_printed(tmp_path, shift, run_gae):
    """Constants of other rows; in the first case so near to those of these that one could take them for the same."""
    raw, _ = made_by(stable_baselines3, 0.97, 0.9, rollout())
    mean, std = raw.mean() + shift, raw.std(ddof=1) * (1.00007 if not shift else 3.0)
    path = write(tmp_path / "r.parquet", {**rollout(), "advantage": (raw - mean) / std})
    found = verify(path, preset="sb3")
    assert found.is_reproduced
    assert found.best.is_affine
    assert found.flags == []
    result = run_gae("verify", path, "--preset", "sb3", env={"COLUMNS": "120"})
    assert "no flags of gae compute make this column" in result.stdout
    assert "gae compute --" not in result.stdout
