"""`gae verify` with units, streams, γ and λ by column and by length as settings under test: the rest is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.studies import sampling

RNG = np.random.default_rng(8)
N = 160
COLUMNS: dict[str, np.ndarray] = {
    **{name: RNG.normal(size=N) for name in ("reward", "value", "bonus", "bonus_value")},
    "g": RNG.random(N),
    "l": RNG.random(N),
    "turn": np.arange(N) // 3 - (RNG.random(N) < 0.1) * N,
    "terminated": RNG.random(N) < 0.06,
}
_STREAMS = ("ext=reward,value,weight=2", "int=bonus,bonus_value,0.7,0.6,0.5,cut=never")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(pa.table(COLUMNS), path)
    return path


@pytest.mark.few(5)
@pytest.mark.parametrize(
    ("tested", "found", "column"),
    [
        (
            {"unit": "turn"},
            {"gamma": 0.9, "lam": 0.8, "unit_reward": "mean", "unit_value": "last"},
            "advantage",
        ),
        ({"unit": "turn", "unit_value": "last", "turn_gamma": 0.8}, {"gamma": 0.9, "lam": 0.7}, "advantage"),
        ({"gamma_column": "g"}, {"lam": 0.7}, "advantage"),
        ({"lam_column": "l"}, {"gamma": 0.7}, "return"),
        ({"gamma_column": "g", "lam_column": "l"}, {}, "advantage"),
        ({"lam_retain": 0.3}, {"gamma": 0.9}, "advantage"),
        ({"lam_value": 0.5}, {"gamma": 0.9}, "return"),
        ({"stream": _STREAMS}, {"gamma": 0.9, "lam": 0.8}, "advantage"),
    ],
)
def test_what_is_not_given_is_found(
    path: Path, monkeypatch: pytest.MonkeyPatch, tested: dict[str, Any], found: dict[str, Any], column: str
) -> None:
    """In parts, too: of more rows γ and λ are searched for on some of them."""
    monkeypatch.setattr(sampling, "SEARCH_STEPS", 100)
    gaecli.compute(path, **tested, **found)
    verified = gaecli.verify(path, column, preset="exact", **tested)
    best = verified.best
    assert verified.is_reproduced
    assert (best.gamma, best.lam) == (found.get("gamma"), found.get("lam"))
    assert dict(best.flags) == {name: word for name, word in found.items() if name.startswith("unit")}
    for name in tested:
        assert any(flag.startswith(f"--{name.replace('_', '-')} ") for flag in verified.flags)


@pytest.mark.slow
def test_a_column_of_steps_is_none_of_units(path: Path) -> None:
    gaecli.compute(path, gamma=0.9, lam=0.8)
    verified = gaecli.verify(path, unit="turn", preset="exact", estimator="gae")
    assert (verified.is_reproduced, verified.exit_code) == (False, 3)
    assert {tuple(attempt.flags) for attempt in verified.attempts} >= {(), ("unit_reward", "unit_value")}


def test_units_that_lie_in_two_files_are_one(tmp_path: Path) -> None:
    """Ten rows in, a turn and a trajectory go on in the next file."""
    rows = {name: column[:40] for name, column in COLUMNS.items()} | {"terminated": np.arange(40) % 20 == 19}
    rows |= {"turn": np.arange(40) // 4, "episode_id": np.arange(40) // 20}
    for number, part in enumerate((slice(0, 10), slice(10, 40))):
        table = pa.table({name: column[part] for name, column in rows.items()})
        pq.write_table(table, tmp_path / f"part-0000{number}-of-00002.parquet")
    gaecli.compute(tmp_path, unit="turn", gamma=0.9, lam=0.8)
    best = gaecli.verify(tmp_path, unit="turn", preset="exact", estimator="gae").best
    assert (best.is_reproduced, best.gamma, best.lam) == (True, 0.9, 0.8)


def turns(tmp_path: Path, **settings: Any) -> Path:
    """Lists under the names of libraries that compute over turns."""
    lengths = [5, 7, 6, 8, 4, 9]
    lists = {name: [RNG.normal(size=length) for length in lengths] for name in ("rewards", "values")}
    lists["turn_ids"] = [np.sort(RNG.integers(0, 3, length)) for length in lengths]
    path = tmp_path / "turns.parquet"
    pq.write_table(pa.table(lists), path)
    gaecli.compute(path, gamma=0.9, lam=0.8, normalize="none", **settings)
    return path


def test_a_preset_over_turns_is_tried_where_the_file_has_its_own_name_for_them(tmp_path: Path) -> None:
    verified = gaecli.verify(turns(tmp_path, preset="agilerl-llm-turn"))
    assert verified.is_reproduced
    assert verified.best.presets[0] == "agilerl-llm-turn"
    assert (verified.best.gamma, verified.best.lam) == (0.9, 0.8)


def test_one_preset_over_turns_with_the_column_that_is_named(tmp_path: Path) -> None:
    path = turns(tmp_path, preset="areal-turn")
    verified = gaecli.verify(path, preset="areal-turn", unit="turn_ids")
    assert (verified.is_reproduced, verified.best.presets) == (True, ("areal-turn",))
    assert "--unit turn_ids" in verified.flags


def test_returns_of_one_stream_are_verified_by_its_own_columns(path: Path) -> None:
    gaecli.compute(path, stream=_STREAMS, gamma=0.9, lam=0.8)
    pq.write_table(pq.read_table(path).append_column("return", pa.array(np.zeros(N))), path)
    with pytest.raises(gaecli.UsageError, match="returns are those of one stream") as refused:
        gaecli.verify(path, "return", stream=_STREAMS, preset="exact")
    assert "--reward-column" in str(refused.value.hint)
    best = gaecli.verify(
        path, "return_ext", reward_column="reward", value_column="value", preset="exact"
    ).best
    assert (best.is_reproduced, best.gamma, best.lam) == (True, 0.9, 0.8)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lam_alpha": -1.0}, "more than 0"),
        ({"gamma_column": "nope"}, "nope"),
        ({"unit_reward": "mean"}, "none are named"),
        ({"preset": "areal-turn"}, "computes over turns"),
    ],
)
def test_what_compute_would_not_take_is_refused_as_there(
    path: Path, given: dict[str, Any], said: str
) -> None:
    gaecli.compute(path)
    with pytest.raises(gaecli.UsageError, match=said):
        gaecli.verify(path, **given)


class TestPolicies:
    @pytest.fixture
    def policies(self, tmp_path: Path) -> Path:
        """Advantages of V-trace under clips of its own, by a column of ratios that nobody would guess."""
        random = np.random.default_rng(2)
        cells = {name: random.normal(size=60) for name in ("reward", "value")}
        path = tmp_path / "r.parquet"
        ends = random.random(60) < 0.2
        pq.write_table(pa.table({**cells, "terminated": ends, "rr": random.exponential(size=60)}), path)
        gaecli.compute(path, estimator="vtrace", ratio_column="rr", rho_bar=0.8, gamma=0.9, lam=0.7)
        return path

    @pytest.mark.parametrize("named", [{}, {"estimator": "vtrace"}])
    def test_columns_of_policies_and_clips_are_for_the_estimators_that_have_them(
        self, policies, named
    ) -> None:
        found = gaecli.verify(policies, ratio_column="rr", rho_bar=0.8, **named)
        assert (found.best.estimator, found.is_reproduced) == ("vtrace", True)
        assert (found.best.gamma, found.best.lam) == pytest.approx((0.9, 0.7), abs=1e-4)

    def test_clips_that_are_not_named_are_not_guessed(self, policies) -> None:
        assert not gaecli.verify(policies, ratio_column="rr", estimator="vtrace").is_reproduced

    def test_they_are_refused_where_they_say_nothing(self, policies) -> None:
        with pytest.raises(gaecli.UsageError, match="`--ratio-column` says nothing to `--estimator td0`"):
            gaecli.verify(policies, estimator="td0", ratio_column="rr")

    def test_the_command_takes_them(self, policies, run_gae) -> None:
        result = run_gae(
            "verify", policies, "--estimator", "vtrace", "--ratio-column", "rr", "--rho-bar", "0.8"
        )
        assert result.returncode == 0, result.stderr
