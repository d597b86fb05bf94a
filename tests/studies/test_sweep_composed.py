"""`gae sweep` over units and streams, with γ and λ by column and by length: point by point what compute writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.results import Sweep
from gaecli.studies import sweep_grid

RNG = np.random.default_rng(6)
N = 600


@pytest.fixture(scope="module")
def rows() -> dict[str, np.ndarray]:
    ends = RNG.random(N) < 0.05
    numbers = {name: RNG.normal(size=N).round(3) for name in ("reward", "value", "bonus", "bonus_value")}
    return {
        **numbers,
        "g": RNG.random(N).round(3),
        "l": RNG.random(N).round(3),
        "turn": np.arange(N) // 4 - (RNG.random(N) < 0.1) * N,
        "terminated": ends,
    }


@pytest.fixture
def path(tmp_path: Path, rows: dict[str, np.ndarray]) -> Path:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(pa.table(rows), path, row_group_size=64)
    return path


_STREAMS = ("ext=reward,value,weight=2", "int=bonus,bonus_value,0.7,0.6,0.5,cut=never")
#: Settings that stand still, and the axes that are swept.
CASES: dict[str, tuple[dict[str, Any], dict[str, list[float]]]] = {
    "units": ({"unit": "turn"}, {"gamma": [0.9], "lam": [0.5, 1.0]}),
    "bi-level": (
        {"unit": "turn", "unit_value": "last", "turn_gamma": 0.8},
        {"gamma": [0.9, 1.0], "lam": [0.5]},
    ),
    "units of n": ({"unit": "turn", "estimator": "n-step"}, {"gamma": [0.9], "n_steps": [2, 5]}),
    "γ column": ({"gamma_column": "g"}, {"lam": [0.5, 1.0]}),
    "λ column": ({"lam_column": "l"}, {"gamma": [0.9, 1.0]}),
    "length": ({"lam_retain": 0.3}, {"gamma": [0.9, 1.0]}),
    "returns": ({"lam_value": 0.9}, {"gamma": [0.9], "lam": [0.5, 1.0]}),
    "streams": ({"stream": _STREAMS}, {"gamma": [0.9], "lam": [0.5, 1.0]}),
    "streams of n": (
        {"stream": ("a=reward,value", "b=bonus,bonus_value,0.7"), "estimator": "n-step"},
        {"gamma": [0.9], "n_steps": [3]},
    ),
}


def swept(path: Path, fixed: dict[str, Any], axes: dict[str, list[float]], **more: Any) -> Sweep:
    return gaecli.sweep(path, **axes, **fixed, **more)


#: One of each kind.
IN_BLOCKS = ("units", "bi-level", "λ column", "returns", "streams")


@pytest.mark.few(6)
@pytest.mark.parametrize(
    ("case", "block_rows"),
    [
        *((name, 64 if name in IN_BLOCKS else None) for name in CASES),
        *(pytest.param(name, None, marks=pytest.mark.slow) for name in IN_BLOCKS),
    ],
)
def test_every_column_is_that_of_compute_and_every_number_is_of_it(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: dict[str, np.ndarray],
    case: str,
    block_rows: int | None,
) -> None:
    fixed, axes = CASES[case]
    out = tmp_path / "swept.parquet"
    if block_rows is not None:
        monkeypatch.setattr(sweep_grid, "_MIN_ROWS_PER_BLOCK", block_rows)
        monkeypatch.setattr(sweep_grid, "rows_per_block", lambda memory_bytes: block_rows)
    found = swept(path, fixed, axes, output=out)
    columns = pq.read_table(out)
    assert len(found.points) == int(np.prod([len(numbers) for numbers in axes.values()]))
    for point in found.points:
        given = {"gamma": point.gamma, "lam": point.lam, "n_steps": point.n_steps}
        given = {name: number for name, number in given.items() if name in axes}
        gaecli.compute(path, **{**fixed, **given}, overwrite=True)
        written = pq.read_table(path)
        np.testing.assert_array_equal(columns[point.column].to_numpy(), written["advantage"].to_numpy())
        numbers = written["advantage"].to_numpy()
        held = np.isfinite(numbers)
        assert point.mean == pytest.approx(numbers[held].mean(), rel=1e-4, abs=1e-6)
        assert point.std == pytest.approx(numbers[held].std(ddof=1), rel=1e-5)
        if "stream" in fixed:
            assert point.explained_variance is None
            continue
        returns = written["return"].to_numpy()[held]
        left = (returns - rows["value"][held]).var(ddof=1) / returns.var(ddof=1)
        assert point.explained_variance == pytest.approx(1 - left, rel=1e-4, abs=1e-6)


def test_the_bias_of_a_lambda_by_length_is_told_from_one_at_every_step(path: Path) -> None:
    (point,) = gaecli.sweep(path, [0.9], lam_retain=0.3).points
    numbers = []
    for lam in ({"lam_retain": 0.3}, {"lam": 1.0}):
        gaecli.compute(path, gamma=0.9, **lam)
        numbers.append(pq.read_table(path)["advantage"].to_numpy().astype(float))
    rms = np.sqrt(np.square(numbers[0] - numbers[1]).mean())
    assert point.bias == pytest.approx(rms / numbers[1].std(ddof=1), rel=1e-5)
    assert (point.lam, point.effective_horizon) == (None, None)


@pytest.mark.parametrize(
    ("given", "said", "hint"),
    [
        (
            {"gamma": [0.9], "lam": [1.0], "gamma_column": "g"},
            "`--gamma` would change .*`--gamma-column g`",
            "drop",
        ),
        (
            {"gamma": [0.9], "lam": [1.0], "lam_column": "l"},
            "`--lam` would change .*`--lam-column l`",
            "drop",
        ),
        (
            {"gamma": [0.9], "lam": [1.0], "lam_alpha": 0.2},
            "`--lam` would change .*`--lam-alpha 0.2`",
            "drop",
        ),
        ({"gamma_column": "g", "lam_column": "l"}, "nothing is left to sweep", "gae compute"),
        (
            {"gamma": [0.9], "lam": [1.0], "stream": "a=reward,value,0.9"},
            "every `--stream` has a γ",
            "leave γ out",
        ),
    ],
)
def test_what_a_grid_would_not_change_is_refused_by_name(
    path: Path, given: dict[str, Any], said: str, hint: str
) -> None:
    with pytest.raises(gaecli.UsageError, match=said) as refused:
        gaecli.sweep(path, **given)
    assert hint in str(refused.value.hint)


def test_a_lambda_of_a_preset_gives_way_to_one_that_is_swept(path: Path) -> None:
    assert [point.lam for point in gaecli.sweep(path, [0.9], [0.5, 1.0], preset="vapo").points] == [0.5, 1.0]


def test_the_command_sweeps_what_is_left_and_says_what_it_compares_with(run_gae, path: Path) -> None:
    page = run_gae("sweep", path, "--gamma-column", "g", "--lam", "0.5,1").stdout
    assert "reference λ 0.95" in page
    assert "γ" not in page.splitlines()[2]
    assert "expl. var.:" in page


def test_units_stand_side_by_side(path: Path) -> None:
    found = gaecli.sweep(path, estimator=["gae", "td0"], unit="turn")
    for point in found.points:
        gaecli.compute(path, estimator=point.estimator, unit="turn", overwrite=True)
        numbers = pq.read_table(path)["advantage"].to_numpy()
        assert point.std == pytest.approx(numbers[np.isfinite(numbers)].std(ddof=1), rel=1e-5)
