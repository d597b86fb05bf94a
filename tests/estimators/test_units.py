"""Units of several steps, such as turns: in every layout what a file pooled by hand gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matrix.files import LAYOUTS, outcome, read_column, write
from matrix.rollout import GAMMA, LAM, Rollout, rollout

import gaecli
from gaecli.commands.check import check
from gaecli.settings import Settings

#: Of seven steps each; a unit ends with its trajectory at the latest.
TURNS = np.array([[0, 0, 1, 1, 1, 2, 2], [4, 4, 4, 4, 5, 6, 6], [0, 1, 1, 1, 2, 2, 2]])
#: The same by flags, whatever a trajectory that ends adds.
ENDS = np.append(TURNS[:, 1:] != TURNS[:, :-1], np.ones((3, 1), bool), axis=1)
ESTIMATORS = {"gae": {"lam": LAM}, "td-lambda": {"lam": LAM}, "td0": {}, "n-step": {"n_steps": 2}, "mc": {}}


def arrays_of(given: Rollout, layout: str, **more: np.ndarray) -> dict[str, np.ndarray]:
    envs = np.broadcast_to(np.arange(len(given.rewards))[:, None], given.rewards.shape)
    return {
        "reward": given.rewards,
        "value": given.values,
        "next_value": given.following,
        "terminated": given.terminated,
        "truncated": given.truncated,
        **more,
        **({"env_id": envs} if layout == "long" else {}),
    }


def units_of(given: Rollout, turns: np.ndarray, inside: np.ndarray) -> list[tuple[int, list[int], int]]:
    """(environment, steps of the unit, last step of its trajectory), in order."""
    found = []
    for env in range(len(turns)):
        start = 0
        for stop in [*(np.flatnonzero(given.ended[env]) + 1).tolist(), turns.shape[1]]:
            steps = [t for t in range(start, stop) if inside[env, t]]
            for turn in dict.fromkeys(turns[env, t] for t in steps):
                found.append((env, [t for t in steps if turns[env, t] == turn], stop - 1))
            start = stop
    return found


def pooled(
    tmp_path: Path, given: Rollout, units, reward: str, value: str, **settings
) -> dict[str, np.ndarray]:
    """[N, T] what `exact` makes of a row per unit, copied back; NaN in no unit."""
    rows = {name: [] for name in ("reward", "value", "next_value", "terminated", "truncated", "env_id")}
    for index, (env, steps, end) in enumerate(units):
        is_last = index + 1 == len(units) or units[index + 1][0] != env or units[index + 1][2] != end
        total = float(sum(given.rewards[env, t] for t in steps))
        rows["reward"].append(total / len(steps) if reward == "mean" else total)
        rows["value"].append(float(given.values[env, steps[0] if value == "first" else steps[-1]]))
        rows["next_value"].append(float(given.following[env, end]) if is_last else None)
        rows["terminated"].append(bool(given.terminated[env, end] and is_last))
        rows["truncated"].append(bool(given.truncated[env, end] and is_last))
        rows["env_id"].append(env)
    path = tmp_path / "pooled.parquet"
    pq.write_table(pa.table(rows), path)
    gaecli.compute(path, gamma=GAMMA, **settings)
    table = pq.read_table(path)
    found = {}
    for name in {"advantage", "return"} & set(table.column_names):
        found[name] = np.full(given.rewards.shape, np.nan)
        for (env, steps, _), number in zip(units, table[name].to_pylist(), strict=True):
            found[name][env, steps] = number
    return found


def assert_pooled(path: Path, layout: str, given: Rollout, expected: dict[str, np.ndarray]) -> None:
    for name, numbers in expected.items():
        found = read_column(path, name).astype(float)
        found = found.T if layout == "time-major" else found.reshape(given.rewards.shape)
        np.testing.assert_allclose(found, numbers, rtol=1e-5, atol=1e-6)


@pytest.mark.few(3)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("reward", "value"), [("sum", "first"), ("mean", "last")])
def test_a_file_pooled_by_hand_gives_the_same(
    tmp_path: Path, estimator: str, reward: str, value: str
) -> None:
    given = rollout()
    path = write(tmp_path, "long", ".parquet", arrays_of(given, "long", turn=TURNS))
    settings = {"estimator": estimator, **ESTIMATORS[estimator]}
    gaecli.compute(path, unit="turn", unit_reward=reward, unit_value=value, gamma=GAMMA, **settings)
    units = units_of(given, TURNS, np.ones(TURNS.shape, bool))
    assert_pooled(path, "long", given, pooled(tmp_path, given, units, reward, value, **settings))


@pytest.mark.few(4)
@pytest.mark.parametrize("by", ["id", "end"])
@pytest.mark.parametrize(("layout", "suffix"), [*LAYOUTS, ("nested", ".jsonl"), ("long", ".npz")])
def test_in_every_layout_by_ids_and_by_flags(tmp_path: Path, layout: str, suffix: str, by: str) -> None:
    given = rollout(ends_inside=layout != "nested")
    column = TURNS if by == "id" else ENDS
    path = write(tmp_path, layout, suffix, arrays_of(given, layout, turn=column))
    failure = outcome(path, layout, read=False, unit="turn", gamma=GAMMA, lam=LAM)
    assert failure is None, failure
    units = units_of(given, TURNS, np.ones(TURNS.shape, bool))
    assert_pooled(path, layout, given, pooled(tmp_path, given, units, "sum", "first", lam=LAM))


@pytest.mark.parametrize("how", ["null", "negative", "mask"])
def test_tokens_of_no_unit_have_no_number_and_count_nowhere(tmp_path: Path, how: str) -> None:
    """They stand within a turn and between turns; what they hold is nothing to the others."""
    given = rollout(ends_inside=False)
    inside = np.ones(TURNS.shape, bool)
    inside[0, [0, 3]] = inside[1, 4:6] = inside[2, 6] = False
    turns = np.where(inside, TURNS, {"null": np.nan, "negative": -1, "mask": 9}[how])
    turns = turns if how != "mask" else TURNS
    more = {"turn": turns, **({"mask": inside.astype(int)} if how == "mask" else {})}
    path = write(tmp_path, "nested", ".parquet", arrays_of(given, "nested", **more))
    summary = gaecli.compute(path, unit="turn", gamma=GAMMA, lam=LAM)
    units = units_of(given, TURNS, inside)
    assert_pooled(path, "nested", given, pooled(tmp_path, given, units, "sum", "first", lam=LAM))
    assert summary.columns["advantage"].count == inside.sum()
    assert (summary.units.count, summary.units.reading) == (len(units), "id")
    told = "masked-rewards" if how == "mask" else "rewards-outside-units"
    assert [note.count for note in summary.warnings if note.code == told] == [int((~inside).sum())]


OFF_POLICY = {
    "vtrace": {"log_prob": "sum", "behaviour_log_prob": "sum"},
    "vtrace by ratios": {"ratio": "product"},
    "retrace": {"ratio": "product", "q": "first"},
    "q-lambda": {"q": "last"},
    "tree-backup": {"prob": "product", "q": "first"},
    "tree-backup by logarithms": {"log_prob": "sum", "q": "first"},
    "upgo": {},
}
POOLING = {
    "sum": np.sum,
    "product": np.prod,
    "first": lambda numbers: numbers[0],
    "last": lambda numbers: numbers[-1],
}


@pytest.mark.parametrize("layout", ["nested", "time-major", "batch-major"])
def test_a_unit_ends_at_a_gap_that_ends_its_trajectory(tmp_path: Path, layout: str) -> None:
    """Under `--mask-mode cut`; the token of the gap would be of the same unit."""
    arrays = {
        "reward": np.array([[1.0, 2.0, 9.0, 4.0]]),
        "value": np.array([[0.5, 0.25, 9.0, -1.0]]),
        "turn": np.array([[5, 5, 5, 5]]),
        "mask": np.array([[1, 1, 0, 1]]),
    }
    path = write(tmp_path, layout, ".parquet" if layout == "nested" else ".npz", arrays)
    settings = {"layout": layout} if "major" in layout else {}
    gaecli.compute(path, unit="turn", mask_column="mask", mask_mode="cut", done_column="none", **settings)
    found = np.array(read_column(path, "return"), float).reshape(-1)
    np.testing.assert_allclose(found, [3.0, 3.0, np.nan, 4.0], rtol=1e-6)


@pytest.mark.few(4)
@pytest.mark.parametrize("name", OFF_POLICY)
def test_a_turn_is_one_action_of_a_policy(tmp_path: Path, name: str) -> None:
    """Its ratio is the product over its tokens; Q is read where V is. The same as of a file pooled by hand."""
    rng = np.random.default_rng(3)
    turns = np.repeat(np.arange(9), [1, 3, 2, 4, 1, 1, 3, 2, 4])
    ended = np.isin(np.arange(21), [9, 20])
    of_tokens = {role: rng.normal(size=21) for role in ("reward", "value", "q")}
    of_tokens |= {role: np.log(rng.uniform(0.5, 1, 21)) for role in ("log_prob", "behaviour_log_prob")}
    of_tokens |= {role: rng.uniform(0.5, 1.0, 21) for role in ("ratio", "prob")}
    rules = {"reward": "sum", "value": OFF_POLICY[name].get("q", "first"), **OFF_POLICY[name]}
    of_turns = {
        role: np.array([POOLING[rule](of_tokens[role][turns == turn]) for turn in range(9)])
        for role, rule in rules.items()
    }
    of_turns["terminated"] = ended[np.append(np.diff(turns) > 0, True)]
    pq.write_table(pa.table(of_turns), tmp_path / "turns.parquet")
    of_tokens = {role: of_tokens[role] for role in rules}
    pq.write_table(pa.table({**of_tokens, "turn": turns, "terminated": ended}), tmp_path / "tokens.parquet")
    settings = {"estimator": name.partition(" ")[0], "gamma": 0.9, **({} if name == "upgo" else {"lam": 0.8})}
    roles = {role: role for role in OFF_POLICY[name]}
    gaecli.compute(tmp_path / "turns.parquet", columns=roles, **settings)
    gaecli.compute(
        tmp_path / "tokens.parquet", columns={**roles, "unit": "turn"}, unit_value=rules["value"], **settings
    )
    for column in ("advantage", "return"):
        expected = read_column(tmp_path / "turns.parquet", column)[turns]
        found = read_column(tmp_path / "tokens.parquet", column)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_turns_of_one_token_are_steps(tmp_path: Path) -> None:
    given = rollout()
    path = write(tmp_path, "long", ".parquet", arrays_of(given, "long", turn=np.arange(21).reshape(3, 7)))
    gaecli.compute(path)
    plain = [read_column(path, name) for name in ("advantage", "return")]
    gaecli.compute(path, unit="turn")
    for name, numbers in zip(("advantage", "return"), plain, strict=True):
        np.testing.assert_allclose(read_column(path, name), numbers, rtol=1e-6)


@pytest.mark.few(3)
@pytest.mark.parametrize("bootstrap", ["zero", "current"])
@pytest.mark.parametrize("truncation", ["exact", "current", "zero"])
def test_rules_of_ends_speak_of_the_last_unit(tmp_path: Path, truncation: str, bootstrap: str) -> None:
    given = rollout()
    rules = {"truncation": truncation, "bootstrap": bootstrap, "lam": LAM}
    arrays = arrays_of(given, "long", turn=TURNS)
    arrays["next_value"] = np.where(given.truncated, np.nan, arrays["next_value"])
    path = write(tmp_path, "long", ".parquet", arrays)
    gaecli.compute(path, unit="turn", gamma=GAMMA, **rules)
    bare = Rollout(given.rewards, given.values, arrays["next_value"], given.terminated, given.truncated)
    units = units_of(given, TURNS, np.ones(TURNS.shape, bool))
    assert_pooled(path, "long", given, pooled(tmp_path, bare, units, "sum", "first", **rules))


def test_ends_without_a_value_take_that_of_their_turn_beside_an_open_end(tmp_path: Path) -> None:
    """A truncated episode and one that just stops, of a turn each, whose V is that of the first token."""
    rows = {"reward": [0.0] * 4, "value": [1.0, 10.0, 2.0, 20.0], "turn": [5, 5, 6, 6]}
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({**rows, "truncated": [False, True, False, False]}), path)
    gaecli.compute(path, unit="turn", gamma=0.5, lam=1.0, bootstrap="current")
    assert read_column(path, "advantage").tolist() == [-0.5, -0.5, -1.0, -1.0]


def test_text_ids_and_turns_that_come_back_are_told_apart(tmp_path: Path) -> None:
    """user, assistant, user: three turns."""
    rows = {"reward": [[1.0, 2.0, 4.0]], "value": [[0.0, 0.0, 0.0]], "turn": [["user", "assistant", "user"]]}
    path = tmp_path / "chat.parquet"
    pq.write_table(pa.table(rows), path)
    summary = gaecli.compute(path, unit="turn", gamma=1.0, lam=1.0)
    assert summary.units.count == 3
    assert read_column(path, "advantage").tolist() == [[7.0, 6.0, 4.0]]


def test_zeros_and_ones_are_asked_about_where_it_matters(tmp_path: Path) -> None:
    rows = {"reward": [[1.0, 2.0, 4.0]], "value": [[0.0, 0.0, 0.0]], "turn": [[0, 1, 1]]}
    path = tmp_path / "chat.parquet"
    pq.write_table(pa.table(rows), path)
    with pytest.raises(gaecli.UsageError, match="nothing but 0 and 1") as refused:
        gaecli.compute(path, unit="turn")
    assert "--unit-is" in str(refused.value.hint)
    found = {}
    for reading in ("id", "end"):
        gaecli.compute(path, unit="turn", unit_is=reading, gamma=1.0, lam=1.0)
        found[reading] = read_column(path, "advantage").tolist()
    assert found == {"id": [[7.0, 6.0, 6.0]], "end": [[7.0, 7.0, 4.0]]}


def test_one_id_for_all_tokens_is_told(tmp_path: Path) -> None:
    """AReaL#1666: a template that set every turn id to 0."""
    rows = {"reward": [[1.0, 2.0], [3.0, 4.0]], "value": [[0.0, 0.0]] * 2, "turn": [[0, 0], [0, 0]]}
    path = tmp_path / "chat.parquet"
    pq.write_table(pa.table(rows), path)
    settings = Settings(columns={"unit": "turn"})
    summary = gaecli.compute(path, unit="turn")
    (note,) = (note for note in summary.warnings if note.code == "single-units")
    assert "each of 2 episodes is one single unit" in note.message
    assert [
        finding.rule.code for finding in check([path], settings).findings if "unit" in finding.rule.name
    ] == ["GAE506"]
    again = gaecli.compute(path, unit="turn")
    assert again.files[0].status == "up to date"
    assert again.units == summary.units
    assert [note.code for note in again.warnings if note.code == "single-units"]


def test_gamma_of_a_unit_is_that_of_its_last_row_and_lambda_counts_units(tmp_path: Path) -> None:
    given = rollout(ends_inside=False)
    gammas = np.random.default_rng(1).random(TURNS.shape)
    path = write(tmp_path, "nested", ".parquet", arrays_of(given, "nested", turn=TURNS, g=gammas))
    gaecli.compute(path, unit="turn", gamma_column="g", lam_retain=0.25)
    found = read_column(path, "advantage")
    units = units_of(given, TURNS, np.ones(TURNS.shape, bool))
    for env in range(3):
        mine = [steps for its, steps, _ in units if its == env]
        later, beyond = 0.0, 0.0 if given.terminated[env, -1] else float(given.following[env, -1])
        for steps in reversed(mine):
            gamma, value = gammas[env, steps[-1]], float(given.values[env, steps[0]])
            reward = float(sum(given.rewards[env, t] for t in steps))
            later = reward + gamma * beyond - value + gamma * 0.25 ** (1 / (len(mine) - 1)) * later
            beyond = value
            np.testing.assert_allclose(found[env, steps].astype(float), later, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"unit_is": "id"}, "none are named"),
        ({"turn_gamma": 0.9}, "none are named"),
        ({"columns": {"unit": "t"}, "estimator": "grpo", "group_column": "g"}, "says nothing to"),
        ({"columns": {"unit": "t"}, "truncation": "leak"}, "rule for single steps"),
        ({"columns": {"unit": "t"}, "preset": "pufferlib"}, "rule for single steps"),
        ({"columns": {"unit": "t"}, "unit_reward": "max"}, "sum, mean"),
        ({"columns": {"unit": "t"}, "turn_gamma": 0.9}, "last token"),
        ({"columns": {"unit": "t"}, "turn_gamma": 1.5, "unit_value": "last"}, r"in \[0, 1\]"),
        (
            {"columns": {"unit": "t"}, "unit_value": "last", "turn_gamma": 0.9, "estimator": "td-lambda"},
            "two passes",
        ),
        ({"preset": "vagen-bilevel", "lam_value": 0.5}, "no one length"),
    ],
)
def test_what_makes_no_sense_over_units_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(gaecli.UsageError, match=said):
        Settings.from_preset(str(given.pop("preset", "exact")), **given)


def test_documents_speak_of_units_only_where_there_are_some() -> None:
    assert not {"unit_reward", "unit_value", "turn_gamma"} & set(Settings().to_dict())
    over = Settings.from_preset("exact", columns={"unit": "t"}).to_dict()
    assert (over["unit_reward"], over["unit_value"]) == ("sum", "first")


def test_streams_of_turns_that_are_read_at_the_token_before_need_one_block(
    tmp_path: Path,
) -> None:
    count = 10_000
    table = {"reward": np.ones(count), "value": np.zeros(count), "turn": np.arange(count) // 5}
    path = tmp_path / "long.parquet"
    pq.write_table(pa.table({**table, "terminated": np.arange(count) % 50 == 49}), path)
    streams = ["a=reward,value", "b=reward,value"]
    with pytest.raises(gaecli.UsageError, match="takes more than `--memory`") as refused:
        gaecli.compute(path, memory_bytes=1 << 20, preset="areal-turn", unit="turn", stream=streams)
    assert str(refused.value).startswith(
        "`--stream` under preset `areal-turn` is computed over whole streams"
    )
    gaecli.compute(path, memory_bytes=1 << 20, unit="turn", gamma=1.0, lam=1.0)
    turns_left = 10 - np.arange(count) % 50 // 5
    np.testing.assert_array_equal(read_column(path, "advantage"), 5.0 * turns_left)
