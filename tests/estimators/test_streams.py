"""Several kinds of reward: each by itself as if it were the only one, and then added up."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from estimators.kind_loops import n_step
from matrix.files import LAYOUTS, read_column, write
from matrix.rollout import GAMMA, rollout
from pipeline.running import small_blocks
from rich.console import Console

import gaecli
from gaecli.commands.check import check
from gaecli.estimator_kinds import ESTIMATORS
from gaecli.inspection import Inspection
from gaecli.report.inspection import render_inspection
from gaecli.report.table import render_summary
from gaecli.reward_streams import RewardStream
from gaecli.settings import Settings
from gaecli.stream_settings import parsed

RNG = np.random.default_rng(11)
MORE = {"bonus": RNG.normal(size=(3, 7)).round(3), "bonus_value": RNG.normal(size=(3, 7)).round(3)}
#: V beyond the last row of each environment.
LAST = RNG.normal(size=3).round(3)


def arrays_of(layout: str, given) -> dict[str, np.ndarray]:
    envs = np.broadcast_to(np.arange(3)[:, None], (3, 7))
    bonus_next = np.full((3, 7), np.nan)
    bonus_next[:, -1] = LAST
    return {
        "rew": given.rewards,
        "val": given.values,
        "val_next": given.following,
        "terminated": given.terminated,
        "truncated": given.truncated,
        **MORE,
        "bonus_next": bonus_next,
        **({"env_id": envs} if layout == "long" else {}),
    }


def loop(rewards, values, following, cuts, terminated, gamma: float, lam: float) -> np.ndarray:
    found = np.zeros((3, 7))
    for env, t in reversed(list(np.ndindex(3, 7))):
        beyond = 0.0 if terminated[env, t] else float(following[env, t])
        found[env, t] = float(rewards[env, t]) + gamma * beyond - float(values[env, t])
        if not cuts[env, t] and t < 6:
            found[env, t] += gamma * lam * found[env, t + 1]
    return found


def expected(given) -> dict[str, np.ndarray]:
    """CleanRL's ppo_rnd: 2 A of rewards that end with episodes, and A of a bonus that never does."""
    no = np.zeros((3, 7), bool)
    outer = loop(given.rewards, given.values, given.following, given.ended, given.terminated, 0.9, 0.8)
    beyond = np.append(MORE["bonus_value"][:, 1:], LAST[:, None], axis=1)
    inner = loop(MORE["bonus"], MORE["bonus_value"], beyond, no, no, 0.7, 0.95)
    return {
        "advantage": 2 * outer + inner,
        "return_ext": outer + given.values,
        "return_int": inner + MORE["bonus_value"],
    }


STREAMS = (
    "int=bonus,bonus_value,0.7,cut=never,next=bonus_next",
    "ext=rew,val,0.9,lam=0.8,weight=2,next=val_next",
)


@pytest.mark.parametrize(("layout", "suffix"), [*LAYOUTS, ("long", ".npz")])
def test_each_is_as_if_alone_and_the_advantage_is_their_sum(tmp_path: Path, layout: str, suffix: str) -> None:
    given = rollout(ends_inside=layout != "nested")
    path = write(tmp_path, layout, suffix, arrays_of(layout, given))
    more = {"layout": layout} if "major" in layout else {}
    gaecli.compute(path, stream=STREAMS, **more)
    for name, numbers in expected(given).items():
        found = read_column(path, name).astype(float)
        found = found.T if layout == "time-major" else found.reshape(3, 7)
        np.testing.assert_allclose(found, numbers, rtol=1e-5, atol=1e-6)


@pytest.mark.few(2)
@pytest.mark.parametrize("block_rows", [1, 2, 5])
def test_nothing_is_lost_at_the_borders_of_blocks(tmp_path: Path, block_rows: int) -> None:
    given = rollout()
    path = write(tmp_path, "long", ".parquet", arrays_of("long", given))
    with small_blocks(block_rows, store_bytes=300, dtype=np.float64):
        gaecli.compute(path, stream=STREAMS)
    table = pq.read_table(path)
    for name, numbers in expected(given).items():
        np.testing.assert_allclose(table[name].to_numpy(), numbers.reshape(-1), rtol=1e-12, atol=1e-12)


def test_one_stream_of_weight_one_is_plain_gae(tmp_path: Path) -> None:
    path = write(tmp_path, "long", ".parquet", arrays_of("long", rollout()))
    gaecli.compute(path, reward_column="rew", value_column="val", next_value_column="val_next")
    plain = [read_column(path, name) for name in ("advantage", "return")]
    gaecli.compute(path, stream="all=rew,val,next=val_next")
    for name, numbers in zip(("advantage", "return_all"), plain, strict=True):
        np.testing.assert_array_equal(read_column(path, name), numbers)


def test_values_behind_the_last_step_are_those_of_each_stream(tmp_path: Path) -> None:
    """[T + 1, N] arrays of V, as a trainer of RND holds them."""
    rng = np.random.default_rng(2)
    rewards, bonus = rng.normal(size=(2, 5, 2))
    values, bonus_values = rng.normal(size=(2, 6, 2))
    path = tmp_path / "rnd.npz"
    done = np.zeros((5, 2), bool)
    done[2, 0] = True
    np.savez(path, r=rewards, v=values, i=bonus, iv=bonus_values, terminated=done)
    gaecli.compute(path, stream=["ext=r,v,0.99,0.9", "int=i,iv,0.9,0.8,cut=never"])
    for name, (x, v, gamma, lam, ends) in {
        "ext": (rewards, values, 0.99, 0.9, done),
        "int": (bonus, bonus_values, 0.9, 0.8, np.zeros_like(done)),
    }.items():
        later, expected = np.zeros(2), np.zeros((5, 2))
        for t in reversed(range(5)):
            later = x[t] + gamma * v[t + 1] * ~ends[t] - v[t] + gamma * lam * ~ends[t] * later
            expected[t] = later + v[t]
        np.testing.assert_allclose(np.load(path)[f"return_{name}"], expected, rtol=1e-5, atol=1e-6)


def test_normalisation_is_of_the_sum(tmp_path: Path) -> None:
    given = rollout()
    path = write(tmp_path, "long", ".parquet", arrays_of("long", given))
    gaecli.compute(path, stream=STREAMS, normalize="all", keep_raw=True)
    raw = expected(given)["advantage"].reshape(-1)
    np.testing.assert_allclose(read_column(path, "advantage_raw"), raw, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        read_column(path, "advantage"), (raw - raw.mean()) / (raw.std(ddof=1) + 1e-8), rtol=1e-5, atol=1e-6
    )


def test_documents_and_a_second_run_tell_of_each(tmp_path: Path) -> None:
    path = write(tmp_path, "long", ".parquet", arrays_of("long", rollout()))
    first = gaecli.compute(path, stream=STREAMS)
    assert list(first.columns) == [
        *("reward ext", "reward int", "value ext", "value int", "advantage", "return ext", "return int")
    ]
    again = gaecli.compute(path, stream=STREAMS)
    assert (again.files[0].status, list(again.columns)) == ("up to date", list(first.columns))
    provenance = gaecli.inspect(path).provenance
    assert provenance is not None
    assert '"cut": "never"' in json.dumps(provenance)
    assert gaecli.compute(path, stream=STREAMS[1:], overwrite=True).files[0].status == "written"


def test_ends_without_a_value_are_told_of_every_stream(tmp_path: Path) -> None:
    path = write(tmp_path, "long", ".parquet", arrays_of("long", rollout()))
    summary = gaecli.compute(path, stream=["ext=rew,val,next=val_next", "int=bonus,bonus_value,cut=never"])
    (note,) = (note for note in summary.warnings if note.code == "stream-bootstrap-zero")
    assert note.count == 3
    again = gaecli.compute(path, stream=["ext=rew,val,next=val_next", "int=bonus,bonus_value,cut=never"])
    assert (again.files[0].status, again.warnings) == ("up to date", summary.warnings)
    with pytest.raises(gaecli.DataError, match="neither a terminal flag nor a next value"):
        gaecli.compute(path, stream=["ext=rew,val,next=val_next", "int=bonus,bonus_value"], bootstrap="error")


def test_an_episode_that_one_stream_leaves_out_is_left_out_of_all(tmp_path: Path) -> None:
    given = rollout()
    arrays = arrays_of("long", given)
    arrays["bonus"] = arrays["bonus"].copy()
    arrays["bonus"][1, 4] = np.nan
    path = write(tmp_path, "long", ".parquet", arrays)
    both = ["ext=rew,val,next=val_next", "int=bonus,bonus_value"]
    gaecli.compute(path, stream=both, on_nan="drop-episode")
    for name in ("advantage", "return_ext", "return_int"):
        is_null = np.isnan(read_column(path, name).astype(float)).reshape(3, 7)
        np.testing.assert_array_equal(
            is_null, np.arange(21).reshape(3, 7) // 7 == np.where(np.arange(7) > 2, 1, 9)
        )


def test_texts_and_mappings_say_the_same() -> None:
    told = RewardStream("int", "i", "iv", 0.99, 0.95, 2.0, "never", bootstrap_value="last")
    for given in (
        "int=i,iv,0.99,0.95,2,cut=never,bootstrap=last",
        "int=value=iv,reward=i,gamma=.99,lam=.95,weight=2,cut=never,bootstrap=last",
        told,
        told.text,
        {
            "name": "int",
            "reward": "i",
            "value": "iv",
            "gamma": 0.99,
            "lam": 0.95,
            "weight": 2.0,
            "cut": "never",
        }
        | {"bootstrap_value": "last"},
    ):
        assert parsed(given) == (told,)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stream": "reward,value"}, "no name, reward and value|none of"),
        ({"stream": "a=r"}, "no name, reward and value"),
        ({"stream": "a=r,v,fast"}, "must be a number"),
        ({"stream": "a=r,v,1.5"}, r"in \[0, 1\]"),
        ({"stream": "a=r,v,cut=often"}, "ends or never"),
        ({"stream": "a=r,v,colour=red"}, "none of reward"),
        ({"stream": ["a=r,v", "a=s,w"]}, "one name"),
        ({"stream": "a=r,v", "columns": {"reward": "x"}}, "--reward-column"),
        ({"stream": "a=r,v", "estimator": "grpo", "group_column": "g"}, "scores trajectories as wholes"),
        ({"stream": "a=r,v", "estimator": "retrace"}, "no Q"),
        ({"stream": "a=r,v,q=q"}, "names Q"),
        ({"stream": "a=r,v,0.9", "gamma_column": "g"}, "one for each step"),
        ({"stream": ["b=s,w", "a=r,v,cut=never"], "on_nan": "drop-episode"}, "has none"),
        ({"stream": "a=r,v,cut=never"}, "no stream follows"),
    ],
)
def test_what_is_no_stream_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(gaecli.UsageError, match=said):
        Settings.from_preset("exact", **given)


OTHERS = {
    "mc": {},
    "td0": {},
    "td-lambda": {"lam": 0.8},
    "n-step": {"n_steps": 3},
    "vtrace": {"lam": 0.8, "columns": {"ratio": "ratio"}},
    "retrace": {"lam": 0.8, "columns": {"ratio": "ratio"}},
    "q-lambda": {"lam": 0.8},
    "tree-backup": {"lam": 0.8, "columns": {"prob": "prob"}},
    "upgo": {},
}


@pytest.mark.few(4)
@pytest.mark.parametrize("unit", [None, "turn"])
@pytest.mark.parametrize("estimator", OTHERS)
def test_every_estimator_of_steps_adds_them_up(tmp_path: Path, estimator: str, unit: str | None) -> None:
    """With the ratios of the one policy for each of them; Q is of the rewards of a stream."""
    given = rollout()
    arrays = arrays_of("long", given)
    arrays |= {name: RNG.random(21).reshape(3, 7) for name in ("ratio", "prob", "q", "bonus_q")}
    path = write(tmp_path, "long", ".parquet", {**arrays, "turn": np.arange(21).reshape(3, 7) // 2})
    kind = ESTIMATORS[estimator]
    settings = {"estimator": estimator, "gamma": 0.9, **OTHERS[estimator]}
    columns = {**settings.pop("columns", {}), **({} if unit is None else {"unit": unit})}
    streams, alone = [], {}
    for name, reward, value, q, following, weight in (
        ("ext", "rew", "val", "q", "val_next", 2.0),
        ("int", "bonus", "bonus_value", "bonus_q", "bonus_next", -0.5),
    ):
        text = f"{name}={reward}" if estimator == "mc" else f"{name}={reward},{value}"
        own = {**columns, "reward": reward, "value": value, "next_value": following}
        if "q" in kind.own_roles:
            text, own["q"] = f"{text},q={q}", q
        streams.append(f"{text},weight={weight},next={following}")
        gaecli.compute(path, tmp_path / "alone.parquet", overwrite=True, columns=own, **settings)
        table = pq.read_table(tmp_path / "alone.parquet")
        alone[name] = (weight, *(table[what].to_numpy() for what in ("return", kind.outputs[0])))
    summary = gaecli.compute(path, stream=streams, columns=columns, **settings)
    found = pq.read_table(path)
    for name, (_, returns, _) in alone.items():
        np.testing.assert_array_equal(found[f"return_{name}"].to_numpy(), returns)
    total = sum(weight * numbers.astype(float) for weight, _, numbers in alone.values())
    np.testing.assert_allclose(found[kind.outputs[0]].to_numpy(), total, rtol=1e-5, atol=1e-6)
    assert summary.columns[kind.outputs[0]].count == 21
    pages = Console(file=io.StringIO(), width=200)
    render_summary(summary, pages)
    assert "weight -0.5" in pages.file.getvalue()


def test_a_third_stream_is_its_own_where_trajectories_lie_in_several_blocks(tmp_path: Path) -> None:
    """Of an estimator that puts their pieces together."""
    given = rollout()
    never = given.with_ends(terminated=np.zeros((3, 7), bool), truncated=np.zeros((3, 7), bool))
    columns = {"terminated": given.terminated, "truncated": given.truncated, "env_id": np.indices((3, 7))[0]}
    streams, wanted, rng = [], {}, np.random.default_rng(3)
    for name, kind, cut in (("a", given, "ends"), ("b", given, "ends"), ("c", never, "never")):
        rewards, values, finals = rng.normal(size=(3, 3, 7))
        inside = np.append(values[:, 1:], finals[:, -1:], axis=1)
        following = np.where(kind.ended, finals, inside)
        columns |= {f"r{name}": rewards, f"v{name}": values, f"n{name}": following}
        streams.append(f"{name}=r{name},v{name},next=n{name},cut={cut}")
        alone = replace(kind, rewards=rewards, values=values, following=following)
        wanted[f"return_{name}"] = n_step(alone, 3) + values
    path = write(tmp_path, "long", ".parquet", columns)
    with small_blocks(2, dtype=np.float64):
        gaecli.compute(path, stream=streams, estimator="n-step", n_steps=3, gamma=GAMMA)
    table = pq.read_table(path)
    for name, numbers in wanted.items():
        np.testing.assert_allclose(table[name].to_numpy(), numbers.reshape(-1), rtol=1e-12, atol=1e-12)


def test_a_stream_that_never_ends_goes_on_over_ids_of_episodes(tmp_path: Path) -> None:
    """The rows of two environments take turns, and each has its own number of the episode."""
    given = rollout()
    arrays = {name: cells.T.reshape(-1) for name, cells in arrays_of("batch-major", given).items()}
    began = np.append(np.zeros((3, 1), bool), given.ended[:, :-1], axis=1)
    arrays["env_id"] = np.tile(np.arange(3), 7)
    arrays["episode_id"] = (began.cumsum(axis=1) + 10 * np.arange(3)[:, None]).T.reshape(-1)
    path = tmp_path / "rollout.parquet"
    pq.write_table(pa.table(arrays), path)
    gaecli.compute(path, stream=STREAMS)
    for name, numbers in expected(given).items():
        np.testing.assert_allclose(read_column(path, name), numbers.T.reshape(-1), rtol=1e-5, atol=1e-6)


def test_rewards_of_other_steps_are_refused(tmp_path: Path) -> None:
    lists = {"r": [[1.0, 2.0]], "v": [[0.0, 0.0]], "i": [[1.0] * 3], "iv": [[0.0] * 3]}
    path = tmp_path / "lists.parquet"
    pq.write_table(pa.table(lists), path)
    with pytest.raises(gaecli.DataError, match=r"`i` of .* has other steps than `r`"):
        gaecli.compute(path, stream=["ext=r,v", "int=i,iv"])


def test_other_commands_look_at_the_first_and_tell_of_all(tmp_path: Path) -> None:
    """Values are held against returns by the γ of their own rewards."""
    path = write(tmp_path, "long", ".parquet", arrays_of("long", rollout()))
    settings = Settings(stream=parsed(STREAMS))
    assert not check([path], settings).failures
    info = gaecli.inspect(path, stream=STREAMS)
    assert info.plan.new_columns == ("advantage", "return_ext", "return_int")
    alone = gaecli.inspect(
        path, reward_column="rew", value_column="val", next_value_column="val_next", gamma=0.9
    )
    assert info.explained_variance == alone.explained_variance
    pages = Console(file=io.StringIO(), width=200)
    render_inspection(Inspection([info], 0.9), pages)
    assert "cut=never" in pages.file.getvalue()


@pytest.mark.few(2)
@pytest.mark.parametrize("block_rows", [1, 2, 3, 1000])
@pytest.mark.parametrize("done_at", ["end", "start"])
def test_turns_of_two_episodes_are_two_where_the_stream_goes_on(block_rows: int, done_at: str) -> None:
    """Flags alone tell the episodes apart; the next one has a turn of the same number, beside rows of none."""
    turns = [0, 1, 1, 1, None, None, 1, 1, 1, None, 1]
    ended = np.isin(np.arange(11), [2, 5, 8])
    units = [[0], [1, 2], [3], [6, 7, 8], [10]]
    rewards, values = np.random.default_rng(4).normal(size=(2, 11))
    columns = {"r": rewards, "v": values, "turn": pa.array(turns)}
    columns["done"] = ended if done_at == "end" else np.append(False, ended[:-1])
    with small_blocks(block_rows, dtype=np.float64) as folder:
        path = folder / "r.parquet"
        pq.write_table(pa.table(columns), path)
        gaecli.compute(
            path,
            stream=["a=r,v", "b=r,v,0.7,0.9,cut=never"],
            unit="turn",
            unit_is="id",
            done_column="done",
            done_at=done_at,
        )
        found = read_column(path, "return_b").astype(float)
    expected, value, later = np.full(11, np.nan), 0.0, 0.0
    for unit in reversed(units):
        later = rewards[unit].sum() + 0.7 * value - values[unit[0]] + 0.7 * 0.9 * later
        value = values[unit[0]]
        expected[unit] = later + value
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_gap_of_the_mask_ends_a_stream_that_no_flag_ends(tmp_path: Path) -> None:
    rows = {"r": [1.0, 2.0, 9.0, 4.0, 3.0], "v": [0.5, 0.25, 9.0, -1.0, 0.75], "done": [0, 0, 0, 1, 0]}
    path = tmp_path / "r.npz"
    np.savez(path, m=[[1, 1, 0, 1, 1]], **{name: [cells] for name, cells in rows.items()})
    settings = {"layout": "batch-major", "mask_column": "m", "mask_mode": "cut", "done_column": "done"}
    gaecli.compute(path, stream=["a=r,v", "b=r,v,0.5,1,cut=never"], done_at="end", **settings)
    expected = [1 + 0.5 * 2.0, 2.0, np.nan, 4 + 0.5 * 3.0, 3.0]
    np.testing.assert_array_equal(np.load(path)["return_b"], [expected])


@pytest.mark.few(2)
@pytest.mark.parametrize("block_rows", [1, 2, 3, 1000])
def test_rows_that_take_turns_are_no_order_of_time(block_rows: int) -> None:
    """Ids that come back say that there is more than one environment, whichever blocks they stand in."""
    ids = ["a", "a", "b", "b", "a", "a", "b", "b"]
    columns = {"r": np.ones(8), "v": np.ones(8), "terminated": np.zeros(8, bool), "episode_id": ids}
    with small_blocks(block_rows) as folder:
        path = folder / "r.parquet"
        pq.write_table(pa.table(columns), path)
        with pytest.raises(gaecli.DataError, match=r"stand between each other.*`b` \(`cut=never`\)"):
            gaecli.compute(path, stream=["a=r,v", "b=r,v,cut=never"])
        gaecli.compute(path, stream=["a=r,v", "b=r,v"])
