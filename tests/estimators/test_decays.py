"""γ and λ of each step, of each length, and of the returns alone, against plain loops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from matrix.files import LAYOUTS, outcome, read_column, write
from matrix.rollout import GAMMA, LAM, Rollout, rollout
from pipeline.running import small_blocks

import gaecli
from gaecli.settings import Settings


def loop(given: Rollout, gammas, lams) -> np.ndarray:
    """[N, T] A = δ + γₜλₜ A', δ = r + γₜ V' - V, by floats."""
    gammas, lams = (np.broadcast_to(numbers, given.rewards.shape) for numbers in (gammas, lams))
    found = np.zeros(given.rewards.shape)
    for env, t in reversed(list(np.ndindex(found.shape))):
        beyond = 0.0 if given.terminated[env, t] else float(given.following[env, t])
        found[env, t] = float(given.rewards[env, t]) + gammas[env, t] * beyond - float(given.values[env, t])
        if not given.ended[env, t] and t + 1 < found.shape[1]:
            found[env, t] += gammas[env, t] * lams[env, t] * found[env, t + 1]
    return found


def decays(given: Rollout) -> dict[str, np.ndarray]:
    """Some are 0, and some 1."""
    gammas, lams = np.random.default_rng(3).uniform(-0.2, 1.2, (2, *given.rewards.shape)).clip(0, 1)
    return {"discount": gammas, "trace": lams}


def arrays_of(given: Rollout, layout: str, **more: np.ndarray) -> dict[str, np.ndarray]:
    envs = np.broadcast_to(np.arange(given.rewards.shape[0])[:, None], given.rewards.shape)
    return {
        "reward": given.rewards,
        "value": given.values,
        "next_value": given.following,
        "terminated": given.terminated,
        "truncated": given.truncated,
        **more,
        **({"env_id": envs} if layout == "long" else {}),
    }


COLUMNS = {"gamma_column": "discount", "lam_column": "trace"}


@pytest.mark.parametrize(("layout", "suffix"), [*LAYOUTS, ("long", ".npz"), ("nested", ".jsonl")])
def test_columns_of_gamma_and_lambda_are_those_of_the_loop(tmp_path: Path, layout: str, suffix: str) -> None:
    given = rollout(ends_inside=layout != "nested")
    more = decays(given)
    path = write(tmp_path, layout, suffix, arrays_of(given, layout, **more))
    found = outcome(path, layout, **COLUMNS)
    expected = loop(given, more["discount"], more["trace"])
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.few(2)
@pytest.mark.parametrize("estimator", ["gae", "td-lambda", "td0", "mc"])
@pytest.mark.parametrize("block_rows", [1, 3])
def test_nothing_is_lost_at_the_borders_of_blocks(tmp_path: Path, estimator: str, block_rows: int) -> None:
    """One trajectory goes through every block."""
    given = rollout()
    none = np.zeros_like(given.terminated)
    following = given.following.copy()
    following[:, :-1] = given.values[:, 1:]
    given = replace(given.with_ends(terminated=none, truncated=none), following=following)
    more = decays(given)
    more["discount"] = more["discount"].clip(0.5)
    narrow = {
        name: numbers.astype(np.float32) for name, numbers in more.items()
    }  # γλ is more than float32 holds
    more = {name: numbers.astype(np.float64) for name, numbers in narrow.items()}
    path = write(tmp_path, "long", ".parquet", arrays_of(given, "long", **narrow))
    columns = COLUMNS if estimator in ("gae", "td-lambda") else {"gamma_column": "discount"}
    with small_blocks(block_rows, store_bytes=300, dtype=np.float64):
        gaecli.compute(path, estimator=estimator, **columns)
    table = pq.read_table(path)
    if estimator == "mc":
        bare = replace(given, values=np.zeros_like(given.values), following=given.following * 0)
        bare.following[:, -1] = given.following[:, -1]
        returns = loop(bare, more["discount"], 1.0)
    else:
        lams = 0.0 if estimator == "td0" else more["trace"]
        expected = loop(given, more["discount"], lams)
        np.testing.assert_allclose(
            table["advantage"].to_numpy(), expected.reshape(-1), rtol=1e-12, atol=1e-12
        )
        returns = expected + given.values
    np.testing.assert_allclose(table["return"].to_numpy(), returns.reshape(-1), rtol=1e-12, atol=1e-12)


@pytest.mark.few(3)
@pytest.mark.parametrize("preset", ["exact", "brax", "finite-horizon", "pufferlib", "spinup", "openrlhf"])
def test_a_column_of_one_number_is_that_number_for_all(tmp_path: Path, preset: str) -> None:
    """Under every recursion; whatever λ the preset has itself."""
    given = rollout()
    settings = Settings.from_preset(preset)
    full = {name: np.full(given.rewards.shape, getattr(settings, name)) for name in ("gamma", "lam")}
    path = write(tmp_path, "long", ".parquet", arrays_of(given, "long", g=full["gamma"], l=full["lam"]))
    gaecli.compute(path, preset=preset)
    plain = [read_column(path, name) for name in ("advantage", "return")]
    gaecli.compute(path, preset=preset, gamma_column="g", lam_column="l")
    for before, name in zip(plain, ("advantage", "return"), strict=True):
        np.testing.assert_array_equal(read_column(path, name), before)


def test_an_array_with_a_number_per_lane_is_of_all_its_steps(tmp_path: Path) -> None:
    given = rollout()
    gammas = np.array([0.5, 0.9, 1.0])
    path = write(tmp_path, "batch-major", ".npz", arrays_of(given, "batch-major", g=gammas))
    found = outcome(path, "batch-major", gamma_column="g")
    np.testing.assert_allclose(found, loop(given, gammas[:, None], 0.95), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("cell", "said"), [(1.5, "is 1.5"), (-0.1, "is -0.1"), (np.nan, "is NaN")])
def test_a_cell_that_is_no_discount_is_named_with_its_row(tmp_path: Path, cell: float, said: str) -> None:
    given = rollout()
    gammas = np.full(given.rewards.shape, 0.9)
    gammas[1, 3] = cell
    path = write(tmp_path, "long", ".parquet", arrays_of(given, "long", g=gammas))
    with pytest.raises(gaecli.DataError, match=rf"`g` {said}.* row 10 "):
        gaecli.compute(path, gamma_column="g")


def test_an_episode_without_its_discount_can_be_left_out(tmp_path: Path) -> None:
    given = rollout()
    gammas = np.full(given.rewards.shape, 0.9)
    gammas[1, 4] = np.nan  # of the second episode of its environment
    path = write(tmp_path, "long", ".parquet", arrays_of(given, "long", g=gammas))
    gaecli.compute(path, gamma_column="g", on_nan="drop-episode")
    found = read_column(path, "advantage").reshape(given.rewards.shape).astype(float)
    expected = loop(given, 0.9, 0.95)
    expected[1, 3:] = np.nan
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["skip", "zero", "gated", "keep"])
def test_the_discount_of_a_masked_token_counts_where_time_goes_on(tmp_path: Path, mode: str) -> None:
    given = rollout(ends_inside=False)
    mask = np.ones(given.rewards.shape, int)
    mask[:, 3] = 0
    gammas = np.full(given.rewards.shape, 0.9)
    gammas[:, 3] = np.nan
    path = write(tmp_path, "nested", ".parquet", arrays_of(given, "nested", g=gammas, mask=mask))
    found = outcome(path, "nested", gamma_column="g", mask_mode=mode)
    if mode == "skip":
        assert np.isfinite(found[:, :3].astype(float)).all()
    else:
        assert "`g` is NaN" in str(found)


def test_returns_have_a_lambda_of_their_own(tmp_path: Path) -> None:
    given = rollout()
    path = write(tmp_path, "long", ".parquet", arrays_of(given, "long"))
    gaecli.compute(path, gamma=GAMMA, lam=LAM, lam_value=0.3)
    advantages, returns = (
        read_column(path, name).reshape(given.rewards.shape) for name in ("advantage", "return")
    )
    np.testing.assert_allclose(advantages, loop(given, GAMMA, LAM), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(returns, loop(given, GAMMA, 0.3) + given.values, rtol=1e-5, atol=1e-6)


def lam_of(n: int, name: str, number: float) -> float:
    if name.endswith("alpha"):
        return 1 - 1 / max(number * n, 1)
    return number ** (1 / (n - 1)) if n > 1 else 1.0


@pytest.mark.few(2)
@pytest.mark.parametrize("mode", ["skip", "keep"])
@pytest.mark.parametrize(("name", "number"), [("lam_retain", 0.4), ("lam_alpha", 0.6)])
def test_a_lambda_by_the_length_counts_the_steps_that_are_kept(
    tmp_path: Path, name: str, number: float, mode: str
) -> None:
    """Rows of 7, 3 and 1 kept tokens; of the advantages, and then of the returns."""
    given = rollout(ends_inside=False)
    kept = np.array([7, 3, 1])
    mask = (np.arange(7) < kept[:, None]).astype(int)
    lams = np.array([lam_of(n, name, number) for n in kept.tolist()])[:, None]
    if mode == "skip":  # the last kept token ends its row
        last = mask.astype(bool) & ~np.append(mask[:, 1:], np.zeros((3, 1), int), axis=1).astype(bool)
        ends = given.ended[:, -1:] & last
        beyond = np.where(last, given.following[:, -1:], np.roll(given.values, -1, axis=1))
        cut = replace(
            given, following=beyond, terminated=given.terminated[:, -1:] & last, truncated=last | ends
        )
        cut = replace(cut, truncated=last & ~cut.terminated)
    else:
        cut = given
    path = write(tmp_path, "nested", ".parquet", arrays_of(given, "nested", mask=mask))
    found = outcome(path, "nested", mask_mode=mode, gamma=GAMMA, **{name: number})
    for row, count in enumerate(kept):
        np.testing.assert_allclose(
            found[row, :count].astype(float), loop(cut, GAMMA, lams)[row, :count], rtol=1e-5, atol=1e-6
        )
    outcome(
        path, "nested", mask_mode=mode, gamma=GAMMA, lam=LAM, **{name.replace("lam", "lam_value"): number}
    )
    returns = read_column(path, "return")
    for row, count in enumerate(kept):
        expected = loop(cut, GAMMA, lams)[row, :count] + given.values[row, :count]
        np.testing.assert_allclose(returns[row, :count].astype(float), expected, rtol=1e-5, atol=1e-6)


def test_so_much_of_the_last_reward_is_left_at_the_first_step(tmp_path: Path) -> None:
    """The identity that it was made for, at γ = 1 and V = 0."""
    rewards = np.zeros((3, 7))
    rewards[:, -1] = 1.0
    path = write(tmp_path, "nested", ".parquet", {"reward": rewards, "value": 0 * rewards})
    found = outcome(path, "nested", gamma=1.0, lam_retain=0.25)
    np.testing.assert_allclose(found[:, [0, 3, -1]].astype(float), [[0.25, 0.5, 1.0]] * 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gamma": 0.9, "gamma_column": "g"}, "one number for all steps"),
        ({"lam_alpha": 0.1, "lam_column": "g"}, "two things of one λ"),
        ({"lam_retain": 0.0}, r"in \(0, 1\]"),
        ({"lam_value": 1.1}, r"in \[0, 1\]"),
        ({"estimator": "td-lambda", "lam_value": 0.9}, "says nothing to"),
        ({"estimator": "td0", "lam_column": "g"}, "says nothing to"),
        ({"preset": "brax", "lam_value": 0.9}, "says nothing to preset"),
    ],
)
def test_what_would_say_nothing_or_two_things_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(gaecli.UsageError, match=said):
        Settings.from_preset(str(given.pop("preset", "exact")), **given)


def test_a_discount_named_as_gamma_is_no_flag(tmp_path: Path) -> None:
    """Which would be refused, for it changes by the step."""
    given = rollout()
    discount = np.where(given.terminated, 0.0, decays(given)["discount"].clip(0.5))
    path = write(tmp_path, "long", ".parquet", arrays_of(given, "long", discount=discount))
    with pytest.raises(gaecli.DataError) as refused:
        gaecli.compute(path)
    assert "--gamma-column discount" in str(refused.value.hint)
    gaecli.compute(path, gamma_column="discount")
    found = read_column(path, "advantage").reshape(given.rewards.shape)
    np.testing.assert_allclose(found, loop(given, discount, 0.95), rtol=1e-5, atol=1e-6)


def test_what_is_beyond_a_lane_is_not_lost_where_flags_begin_episodes(tmp_path: Path) -> None:
    """By the length of a trajectory a stream is one block, and the last value of an environment its end."""
    arrays = {
        "rewards": [[1.0], [2.0]],
        "values": [[0.5], [0.25]],
        "episode_starts": [[1], [0]],
        "last_values": [8.0],
    }
    path = tmp_path / "rollout.npz"
    np.savez(path, **arrays)
    gaecli.compute(path, gamma=0.5, lam_alpha=1.0, layout="time-major")
    second = 2.0 + 0.5 * 8.0 - 0.25
    np.testing.assert_allclose(
        np.load(path)["advantage"][:, 0], [1.0 + 0.5 * 0.25 - 0.5 + 0.25 * second, second]
    )


@pytest.mark.turns
@pytest.mark.parametrize("n", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("block_rows", [2, None])
def test_an_n_step_window_discounts_each_of_its_rows(tmp_path: Path, n: int, block_rows: int | None) -> None:
    given, gammas = rollout(), decays(rollout())["discount"]
    path = write(tmp_path, "long", ".parquet", arrays_of(given, "long", g=gammas))
    with small_blocks(block_rows, dtype=np.float64):
        gaecli.compute(path, estimator="n-step", n_steps=n, gamma_column="g")
    errors, expected = loop(given, gammas, 0.0), np.zeros(gammas.shape)
    for env, t in np.ndindex(gammas.shape):
        weight = 1.0
        for k in range(t, min(t + n, 7)):
            expected[env, t] += weight * errors[env, k]
            weight *= gammas[env, k]
            if given.ended[env, k]:
                break
    np.testing.assert_allclose(read_column(path, "advantage"), expected.reshape(-1), rtol=1e-12, atol=1e-12)
