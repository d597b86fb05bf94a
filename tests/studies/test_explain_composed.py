"""`gae explain` over units, of several streams, with γ and λ by column and by length.

The terms add up to what a plain loop gives, which is what `gae compute` writes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import columns_of, small_blocks

import gaecli
from gaecli.commands import explain as command
from gaecli.errors import DataError
from gaecli.explanation import Derivation
from gaecli.pipeline.opening import open_stream

RNG = np.random.default_rng(5)
#: Three trajectories: terminated, open, truncated with a next value of 0.7.
ENDS = (5, 9, 14)
N = ENDS[-1]
#: The first rows of each trajectory, and its last ones.
AT_ENDS = (0, 1, 4, 5, 8, 9, 12, 13)
NUMBERS = {name: RNG.normal(size=N).round(3) for name in ("reward", "value", "bonus", "bonus_value")}
DECAYS = {name: RNG.random(N).round(3) for name in ("g", "l")}
TURNS = np.array([0, 0, 1, 1, 1, 0, 0, 0, 1, 3, 3, -1, 4, 4])
BEYOND = np.append(np.full(N - 1, np.nan), 0.7)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    columns = {
        **NUMBERS,
        **DECAYS,
        "turn": TURNS,
        "next_value": BEYOND,
        "terminated": np.arange(N) == 4,
        "truncated": np.arange(N) == N - 1,
        "episode_id": np.repeat([0, 1, 2], np.diff([0, *ENDS])),
    }
    path = tmp_path / "rollouts.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def scan(rewards, values, beyond, gammas, lams) -> np.ndarray:
    """A of one trajectory, from its end; `beyond` is V after it."""
    found, later, following = np.zeros(len(rewards)), 0.0, beyond
    for t in reversed(range(len(rewards))):
        later = rewards[t] + gammas[t] * following - values[t] + gammas[t] * lams[t] * later
        found[t], following = later, values[t]
    return found


def by_trajectory(
    lam_of, lam_value_of=None, reward="reward", value="value", gammas=None
) -> dict[str, np.ndarray]:
    """A and R of every row; λ by (rows of the trajectory)."""
    found = {"advantage": np.zeros(N), "return": np.zeros(N)}
    gammas = np.full(N, 0.9) if gammas is None else gammas
    for first, stop, beyond in zip((0, *ENDS), ENDS, (0.0, 0.0, 0.7), strict=False):
        rows = slice(first, stop)
        given = NUMBERS[reward][rows], NUMBERS[value][rows], beyond, gammas[rows]
        found["advantage"][rows] = scan(*given, lam_of(rows))
        found["return"][rows] = NUMBERS[value][rows] + scan(*given, (lam_value_of or lam_of)(rows))
    return found


def retaining(q: float):
    return lambda rows: np.full(rows.stop - rows.start, q ** (1 / (rows.stop - rows.start - 1)))


def over_turns(how_reward: str, how_value: str, turn_gamma: float | None = None) -> dict[str, np.ndarray]:
    found = {"advantage": np.full(N, np.nan), "return": np.full(N, np.nan)}
    for first, stop, beyond in zip((0, *ENDS), ENDS, (0.0, 0.0, 0.7), strict=False):
        turns = [
            [t for t in range(first, stop) if TURNS[t] == turn]
            for turn in dict.fromkeys(TURNS[first:stop].tolist())
            if turn >= 0
        ]
        pooled = np.mean if how_reward == "mean" else np.sum
        rewards = [pooled(NUMBERS["reward"][rows]) for rows in turns]
        values = [NUMBERS["value"][rows[0 if how_value == "first" else -1]] for rows in turns]
        gammas, lams = np.full(len(turns), turn_gamma or 0.9), np.full(len(turns), 0.8)
        advantages = scan(rewards, values, beyond, gammas, lams)
        for rows, advantage, value in zip(turns, advantages, values, strict=True):
            found["advantage"][rows], found["return"][rows] = advantage, advantage + value
            if turn_gamma is not None:
                inside = [0.0] * (len(rows) - 1) + [advantage + value]
                its = NUMBERS["value"][rows]
                again = scan(inside, its, 0.0, np.full(len(rows), 0.9), np.full(len(rows), 0.8))
                found["advantage"][rows], found["return"][rows] = again, again + its
    return found


def rnd() -> dict[str, np.ndarray]:
    """Twice the rewards that end with episodes, and a bonus that never does and whose V beyond is not known."""
    outer = by_trajectory(lambda rows: np.full(rows.stop - rows.start, 0.8), gammas=np.full(N, 0.9))
    inner = scan(NUMBERS["bonus"], NUMBERS["bonus_value"], 0.0, np.full(N, 0.7), np.full(N, 0.6))
    return {
        "advantage": 2 * outer["advantage"] + inner,
        "return_ext": outer["return"],
        "return_int": inner + NUMBERS["bonus_value"],
    }


def column(name: str):
    return lambda rows: DECAYS[name][rows]


def one(lam: float):
    return lambda rows: np.full(rows.stop - rows.start, lam)


_UNITS = {"unit": "turn", "gamma": 0.9, "lam": 0.8}
_STREAMS = ("ext=reward,value,0.9,0.8,2,next=next_value", "int=bonus,bonus_value,0.7,0.6,cut=never")
CASES = {
    "columns": (
        {"gamma_column": "g", "lam_column": "l"},
        lambda: by_trajectory(column("l"), gammas=DECAYS["g"]),
    ),
    "td-lambda": (
        {"estimator": "td-lambda", "lam_column": "l", "gamma": 0.9},
        lambda: by_trajectory(column("l")),
    ),
    "td0": ({"estimator": "td0", "gamma_column": "g"}, lambda: by_trajectory(one(0.0), gammas=DECAYS["g"])),
    "length": (
        {"lam_alpha": 0.5, "gamma": 0.9},
        lambda: by_trajectory(lambda rows: np.full(rows.stop - rows.start, 1 - 2 / (rows.stop - rows.start))),
    ),
    "position": (
        {"lam_retain": 0.3, "lam_value": 0.4, "gamma": 0.9},
        lambda: by_trajectory(retaining(0.3), one(0.4)),
    ),
    "returns": (
        {"lam": 0.8, "lam_value_retain": 0.2, "gamma": 0.9},
        lambda: by_trajectory(one(0.8), retaining(0.2)),
    ),
    "units": (_UNITS, lambda: over_turns("sum", "first")),
    "agilerl": ({**_UNITS, "unit_reward": "mean", "unit_value": "last"}, lambda: over_turns("mean", "last")),
    "bi-level": (
        {**_UNITS, "unit_value": "last", "turn_gamma": 0.5},
        lambda: over_turns("sum", "last", 0.5),
    ),
    "streams": ({"stream": _STREAMS}, rnd),
}


#: One of each kind.
IN_BLOCKS = ("columns", "position", "units", "bi-level", "streams")


@pytest.mark.few(6)
@pytest.mark.parametrize(
    ("case", "block_rows"),
    [
        *((name, 2 if name in IN_BLOCKS else None) for name in CASES),
        *(pytest.param(name, None, marks=pytest.mark.slow) for name in IN_BLOCKS),
    ],
)
def test_the_terms_add_up_to_what_a_plain_loop_gives_and_compute_writes(
    path: Path, monkeypatch: pytest.MonkeyPatch, case: str, block_rows: int | None
) -> None:
    settings, loop = CASES[case]
    monkeypatch.setattr(command, "open_stream", partial(open_stream, block_rows=block_rows))
    expected = loop()
    found = {
        row: gaecli.explain(path, row, **settings)
        for row in (AT_ENDS if block_rows is None else (0, 6, 13))
        if not np.isnan(expected["advantage"][row])
    }
    with small_blocks(dtype=np.float64):
        gaecli.compute(path, **settings)
    written = columns_of(path)
    for row, one in found.items():
        assert isinstance(one, Derivation)
        wanted = expected["advantage"][row]
        assert [one.derived, one.computed] == pytest.approx([wanted] * 2, rel=1e-12, abs=1e-12)
        assert one.tables[-1].total is not None
        np.testing.assert_allclose(written["advantage"][row], wanted, rtol=1e-12, atol=1e-12)
        for name, numbers in expected.items():
            output = name.replace("return_", "return ")
            np.testing.assert_allclose([one.outputs[output], written[name][row]], numbers[row], rtol=1e-12)
        if "stream" not in settings:
            told = one.numbers.get("R", one.numbers.get("R = A + V"))
            assert told == pytest.approx(expected["return"][row], rel=1e-12)
        for table in one.tables:
            if table.lines and "contribution" in table.lines[0]:
                assert sum(line["contribution"] for line in table.lines) == pytest.approx(table.total)


def test_each_term_shows_gamma_and_lambda_of_its_own_row(path: Path) -> None:
    (table,) = gaecli.explain(path, 6, gamma_column="g", lam_column="l").tables
    assert [line["row"] for line in table.lines] == [6, 7, 8]
    assert [line["gamma"] for line in table.lines] == DECAYS["g"][6:9].tolist()
    assert [line["lam"] for line in table.lines] == DECAYS["l"][6:9].tolist()
    weights = np.cumprod([1.0, *(DECAYS["g"] * DECAYS["l"])[6:8]])
    assert [line["weight"] for line in table.lines] == pytest.approx(weights.tolist(), rel=1e-15)


def test_the_length_that_lambda_goes_by_is_that_of_the_whole_trajectory(path: Path) -> None:
    found = gaecli.explain(path, 11, lam_retain=0.3, lam_value_alpha=0.9)
    assert found.numbers["n"] == 5
    assert found.numbers["λ"] == pytest.approx(0.3**0.25)
    assert found.numbers["λ of R"] == pytest.approx(1 - 1 / 4.5)
    assert any("n = 5 steps" in remark for remark in found.remarks)


def test_a_unit_is_shown_row_by_row_and_then_all_from_it_on(path: Path) -> None:
    rows, units = gaecli.explain(path, 3, unit="turn", unit_reward="mean", unit_value="last").tables
    assert [line["row"] for line in rows.lines] == [2, 3, 4]
    assert [line["value"] for line in rows.lines] == [None, None, NUMBERS["value"][4]]
    assert [line["is_this"] for line in rows.lines] == [False, True, False]
    assert rows.total == pytest.approx(NUMBERS["reward"][2:5].mean())
    assert [line["rows"] for line in units.lines] == ["2-4"]
    assert [line["rows"] for line in gaecli.explain(path, 0, unit="turn").tables[1].lines] == ["0-1", "2-4"]


def test_both_passes_of_two_are_shown(path: Path) -> None:
    found = gaecli.explain(path, 12, **CASES["bi-level"][0])
    titles = [table.title for table in found.tables]
    assert ["first pass" in title for title in titles] == [False, True, False]
    assert "second pass" in titles[2]
    assert [line["reward"] for line in found.tables[2].lines][:-1] == [0.0]
    assert found.tables[2].lines[-1]["reward"] == pytest.approx(found.numbers["A + V of the unit"])


def test_each_stream_says_where_it_ends_and_what_it_adds(path: Path) -> None:
    found = gaecli.explain(path, 3, stream=_STREAMS)
    lines = found.tables[-1].lines
    assert [(line["of"], line["steps"], line["ends"]) for line in lines] == [
        ("ext", 2, "terminated"),
        ("int", 11, "never, but with the file"),
    ]
    assert [line["weight"] for line in lines] == [2.0, 1.0]
    assert [line["gamma"] for line in lines] == [0.9, 0.7]
    assert sum(line["contribution"] for line in lines) == pytest.approx(found.computed, rel=1e-12)


def test_a_row_of_no_unit_has_nothing_to_explain(path: Path) -> None:
    with pytest.raises(DataError, match=r"row 11 .* is in no unit"):
        gaecli.explain(path, 11, unit="turn")


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "preset", ["areal-turn", "agilerl-llm-turn", "vagen-bilevel", "finite-horizon", "brax", "vapo"]
)
def test_rules_of_presets_add_up(tmp_path: Path, preset: str) -> None:
    """Of lists, whose items have no rows of their own."""
    numbers = {name: RNG.normal(size=(2, 6)).round(3) for name in ("rewards", "values")}
    table = {name: list(each) for name, each in numbers.items()}
    table |= {"turn_ids": [[0, 0, 1, 1, 1, 2]] * 2}
    path = tmp_path / "lists.parquet"
    pq.write_table(pa.table(table), path)
    settings = {"preset": preset, "lam": 0.7} if preset != "vapo" else {"preset": preset}
    found = [gaecli.explain(path, 1, step=step, **settings) for step in (0, 3)]
    with small_blocks(dtype=np.float64):
        gaecli.compute(path, normalize="none", **settings)
    written = columns_of(path)["advantage"][1]
    for step, one in zip((0, 3), found, strict=True):
        assert one.equation is not None
        assert [one.derived, one.computed] == pytest.approx([written[step]] * 2, rel=1e-12)


def test_returns_of_streams_are_added_up_where_nothing_else_is_written(path: Path) -> None:
    found = gaecli.explain(path, 3, estimator="mc", gamma=0.5, stream=("a=reward", "b=bonus,weight=-2"))
    sums = {name: NUMBERS[name][3] + 0.5 * NUMBERS[name][4] for name in ("reward", "bonus")}
    assert found.outputs == pytest.approx(
        {"return": sums["reward"] - 2 * sums["bonus"], "return a": sums["reward"], "return b": sums["bonus"]}
    )
    assert [line["return"] for line in found.tables[-1].lines] == pytest.approx(list(sums.values()))
