"""Blocks of rows against the explicit double sum, identities, and what must not matter."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
from covers import turns
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gaecli.estimators.recursion import gae_block
from gaecli.kernels import scan
from gaecli.kernels.devices import choose_device

#: Tree and explicit sum round differently; relative to the largest term of the sums.
TOLERANCE = 1e-12


def rollout(num_rows: int, *, seed: int = 0, cut_rate: float = 0.1, offset: float = 0.0, terminal_rate=0.5):
    """Keyword arguments of gae_block: a random block with some next values given."""
    rng = np.random.default_rng(seed)
    cuts = rng.random(num_rows) < cut_rate
    cuts[-1:] = True
    return {
        "rewards": rng.normal(size=num_rows),
        "values": rng.normal(size=num_rows) + offset,
        "cuts": cuts,
        "terminated": cuts & (rng.random(num_rows) < terminal_rate),
        "next_values": np.where(rng.random(num_rows) < 0.3, rng.normal(size=num_rows) + offset, np.nan),
    }


def following_value(block, t: int) -> float:
    """V(s_{t+1}) of one row, straight from the definition."""
    if block["terminated"][t]:
        return 0.0
    if block.get("next_values") is not None and not np.isnan(block["next_values"][t]):
        return float(block["next_values"][t])
    return 0.0 if block["cuts"][t] else float(block["values"][t + 1])


def td_errors(block, gamma: float) -> np.ndarray:
    return np.array(
        [
            block["rewards"][t] + gamma * following_value(block, t) - block["values"][t]
            for t in range(len(block["rewards"]))
        ]
    )


def trajectories(block) -> list[slice]:
    borders = [0, *(np.flatnonzero(block["cuts"]) + 1).tolist()]
    return [slice(start, stop) for start, stop in pairwise(borders)]


def explicit_sum(block, gamma: float, lam: float) -> np.ndarray:
    """A_t = sum over l of (gamma lam)^l delta_{t+l}, l up to the end of the trajectory: no recursion."""
    deltas, advantages = td_errors(block, gamma), np.zeros(len(block["rewards"]))
    for rows in trajectories(block):
        length = rows.stop - rows.start
        weights = (gamma * lam) ** np.arange(float(length))
        for k in range(length):
            advantages[rows.start + k] = weights[: length - k] @ deltas[rows][k:]
    return advantages


def assert_equals_explicit_sum(block, gamma: float, lam: float, **how) -> None:
    expected = explicit_sum(block, gamma, lam)
    actual = gae_block(**block, gamma=gamma, lam=lam, **how)
    scale = max(np.abs(block["values"]).max(initial=1.0), np.abs(expected).max(initial=1.0))
    np.testing.assert_allclose(actual, expected, rtol=TOLERANCE, atol=TOLERANCE * scale)


def test_a_hand_worked_example():
    # delta = 1 + 0.5*2 - 1, 2 + 0.5*4 - 2 (truncated, next value 4), 3 - 3 (terminated) = 1, 2, 0
    advantages = gae_block(
        np.array([1.0, 2.0, 3.0]),
        np.array([1.0, 2.0, 3.0]),
        cuts=np.array([False, True, True]),
        terminated=np.array([False, False, True]),
        next_values=np.array([np.nan, 4.0, 7.0]),
        gamma=0.5,
        lam=0.5,
    )
    assert advantages.tolist() == [1.5, 2.0, 0.0]


@given(
    num_rows=st.integers(0, 300),
    seed=st.integers(0, 10**6),
    cut_rate=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
    gamma=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
    lam=st.sampled_from([0.0, 0.7, 0.95, 1.0]),
    tile_rows=st.sampled_from([1, 7, 64, 100, 1000]),
    root_size=st.sampled_from([8, 9, 256]),
    threads=st.integers(1, 3),
)
@examples(60)
def test_any_segmentation_and_tiling_equals_the_explicit_sum(
    num_rows, seed, cut_rate, gamma, lam, tile_rows, root_size, threads
):
    block = rollout(num_rows, seed=seed, cut_rate=cut_rate)
    with mock.patch.object(scan, "ROOT_SIZE", root_size):
        assert_equals_explicit_sum(block, gamma, lam, tile_rows=tile_rows, threads=threads)


@given(
    st.lists(
        st.tuples(st.integers(-4, 4), st.integers(-4, 4), st.booleans(), st.booleans()),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([Fraction(0), Fraction(1, 2), Fraction(3, 4), Fraction(1)]),
    st.sampled_from([Fraction(0), Fraction(1, 2), Fraction(7, 8), Fraction(1)]),
)
@examples(40)
def test_small_blocks_equal_exact_fractions(steps, gamma, lam):
    rewards, values, cuts, terminated = (list(column) for column in zip(*steps, strict=True))
    cuts[-1] = True
    terminated = [cut and end for cut, end in zip(cuts, terminated, strict=True)]
    exact = [Fraction(0)] * len(steps)
    for t in reversed(range(len(steps))):
        following = Fraction(0) if cuts[t] else Fraction(values[t + 1])
        exact[t] = rewards[t] + gamma * following - values[t]
        if not cuts[t]:
            exact[t] += gamma * lam * exact[t + 1]
    actual = gae_block(
        np.array(rewards),  # integers
        np.array(values),
        cuts=np.array(cuts),
        terminated=np.array(terminated),
        gamma=float(gamma),
        lam=float(lam),
    )
    np.testing.assert_allclose(actual, [float(number) for number in exact], rtol=TOLERANCE, atol=TOLERANCE)


def test_lambda_zero_gives_td_errors():
    block = rollout(1000)
    np.testing.assert_array_equal(gae_block(**block, gamma=0.9, lam=0.0), td_errors(block, 0.9))


def test_gamma_zero_gives_reward_minus_value():
    block = rollout(1000)
    np.testing.assert_array_equal(gae_block(**block, gamma=0.0, lam=0.9), block["rewards"] - block["values"])


@pytest.mark.parametrize("gamma", [0.9, 1.0])
def test_lambda_one_gives_discounted_return_minus_value(gamma):
    block = rollout(1000) | {"next_values": None}
    expected = np.zeros(1000)
    for rows in trajectories(block):
        discounts = gamma ** np.arange(float(rows.stop - rows.start))
        for t in range(rows.start, rows.stop):
            expected[t] = discounts[: rows.stop - t] @ block["rewards"][t : rows.stop] - block["values"][t]
    np.testing.assert_allclose(gae_block(**block, gamma=gamma, lam=1.0), expected, rtol=1e-12, atol=1e-12)


def test_advantage_is_the_mixture_of_k_step_advantages():
    # A = (1-lam) sum_{k<n} lam^(k-1) A^(k) + lam^(n-1) A^(n), A^(k) = k rewards, then the value, minus V
    gamma, lam, last_value = 0.97, 0.9, 1.25
    rng = np.random.default_rng(1)
    rewards, values = rng.normal(size=40), rng.normal(size=40)
    cuts = np.arange(40) == 39
    next_values = np.where(cuts, last_value, np.nan)
    following = np.append(values, last_value)
    expected = []
    for t in range(40):
        longest = 40 - t
        by_steps = [
            gamma ** np.arange(k) @ rewards[t : t + k] + gamma**k * following[t + k] - values[t]
            for k in range(1, longest + 1)
        ]
        mixture = sum((1 - lam) * lam ** (k - 1) * by_steps[k - 1] for k in range(1, longest))
        expected.append(mixture + lam ** (longest - 1) * by_steps[-1])
    actual = gae_block(rewards, values, cuts=cuts, next_values=next_values, gamma=gamma, lam=lam)
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e8])
@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (1.0, 1.0)])
def test_one_trajectory_over_everything(offset, gamma, lam):
    block = rollout(2000, cut_rate=0.0, offset=offset) | {"next_values": None}
    assert_equals_explicit_sum(block, gamma, lam, tile_rows=300)


def test_done_on_every_row_gives_reward_minus_value():
    block = rollout(3000, cut_rate=1.0, terminal_rate=1.0)
    expected = block["rewards"] - block["values"]
    np.testing.assert_array_equal(gae_block(**block, gamma=0.9, lam=0.9, tile_rows=1000), expected)


@pytest.mark.parametrize("num_rows", [0, 1])
def test_no_row_and_one_row(num_rows):
    assert_equals_explicit_sum(rollout(num_rows), 0.9, 0.9)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf])
def test_what_is_not_used_changes_nothing(garbage):
    block = rollout(3000)
    is_step = np.ones(3000, bool)
    is_step[np.flatnonzero(block["cuts"])[::2] + 1 - 3000] = False  # rows at which trajectories begin
    block["cuts"] |= ~is_step
    block["cuts"][:-1] |= ~is_step[1:]
    clean = gae_block(**block, is_step=is_step, gamma=0.9, lam=0.9, tile_rows=700)
    dirty = {name: column.copy() for name, column in block.items()}
    dirty["next_values"][block["terminated"] | ~is_step] = garbage
    for name in ("rewards", "values"):
        dirty[name][~is_step] = garbage
    actual = gae_block(**dirty, is_step=is_step, gamma=0.9, lam=0.9, tile_rows=700)
    np.testing.assert_array_equal(actual, clean)
    assert not actual[~is_step].any()


@given(
    bad_rows=st.sets(st.integers(0, 499), max_size=4),
    seed=st.integers(0, 1000),
    cut_rate=st.sampled_from([0.0, 0.02, 0.2]),
    tile_rows=st.sampled_from([1, 60, 1000]),
    garbage=st.sampled_from([np.nan, np.inf]),
)
@examples(40)
def test_nan_spoils_its_trajectory_up_to_its_row_and_nothing_else(
    bad_rows, seed, cut_rate, tile_rows, garbage
):
    block = rollout(500, seed=seed, cut_rate=cut_rate)
    clean = gae_block(**block, gamma=0.9, lam=0.9, tile_rows=tile_rows)
    block["rewards"][list(bad_rows)] = garbage
    is_spoilt = np.zeros(500, bool)
    for rows in trajectories(block):
        for row in bad_rows:
            if rows.start <= row < rows.stop:
                is_spoilt[rows.start : row + 1] = True
    actual = gae_block(**block, gamma=0.9, lam=0.9, tile_rows=tile_rows, threads=2)
    np.testing.assert_array_equal(np.isnan(actual), is_spoilt)
    # Rows after a bad one in its trajectory keep their sums up to rounding: the tile plan is the same.
    np.testing.assert_array_equal(actual[~is_spoilt], clean[~is_spoilt])


@given(st.integers(2, 600), st.integers(1, 599), st.integers(0, 1000), st.sampled_from([0.0, 0.05]))
@examples(30)
def test_splitting_into_blocks_with_inflow_changes_rounding_only(num_rows, at, seed, cut_rate):
    gamma, lam = 0.98, 0.9
    block = rollout(num_rows, seed=seed, cut_rate=cut_rate)
    at = min(at, num_rows - 1)
    whole = gae_block(**block, gamma=gamma, lam=lam)
    later = gae_block(**{name: column[at:] for name, column in block.items()}, gamma=gamma, lam=lam)
    first = {name: column[:at] for name, column in block.items()}
    rows, inflow = np.empty(0, np.int64), np.empty(0)
    if not block["cuts"][at - 1]:
        # gamma V(s') + gamma lam A' enters; the value only if the row has no next value of its own
        is_given = not np.isnan(block["next_values"][at - 1])
        value = 0.0 if is_given else block["values"][at]
        rows, inflow = np.array([at - 1]), np.array([gamma * (value + lam * later[0])])
    earlier = gae_block(**first, gamma=gamma, lam=lam, inflow_rows=rows, inflow=inflow)
    np.testing.assert_allclose(np.concatenate([earlier, later]), whole, rtol=1e-12, atol=1e-12)


def test_inflow_rows_need_no_order_and_reach_every_tile():
    block = rollout(1000)
    rows = np.flatnonzero(block["cuts"])[::-1]
    inflow = np.linspace(1.0, 2.0, len(rows))
    raised = block | {"rewards": block["rewards"].copy()}
    raised["rewards"][rows] += inflow
    actual = gae_block(**block, gamma=0.9, lam=0.9, inflow_rows=rows, inflow=inflow, tile_rows=64)
    expected = gae_block(**raised, gamma=0.9, lam=0.9, tile_rows=64)
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("precision", "device"), turns(["double", "single"], ["cpu", None]))
def test_threads_never_change_a_bit(precision, device):
    block = rollout(50_000, cut_rate=0.001)
    how = {
        "precision": precision,
        "device": choose_device(device, 0) if device else None,
        "tile_rows": 4096,
        "gamma": 0.99,
        "lam": 0.95,
    }
    alone = gae_block(**block, **how)
    for threads in (2, 3, 8, 100):
        np.testing.assert_array_equal(gae_block(**block, **how, threads=threads), alone)


@pytest.mark.parametrize("num_rows", [0, 1, 5000])
def test_torch_equals_numpy(num_rows):
    block = rollout(num_rows, cut_rate=0.01)
    is_step = np.arange(num_rows) % 50 != 7
    how = {
        "gamma": np.full(num_rows, 0.99),
        "lam": 0.95,
        "is_step": is_step,
        "inflow_rows": np.arange(num_rows)[::100],
        "inflow": np.ones(len(range(0, num_rows, 100))),
        "tile_rows": 900,
    }
    ours = gae_block(**block, **how)
    theirs = gae_block(**block, **how, device=choose_device("cpu", 0))
    assert isinstance(theirs, np.ndarray)
    np.testing.assert_allclose(theirs, ours, rtol=2e-15, atol=2e-15)


def test_torch_spoils_the_same_rows_as_numpy():
    block = rollout(3000, cut_rate=0.003)
    block["rewards"][[5, 1500, 2999]] = [np.nan, np.inf, np.nan]
    how = {"gamma": 0.9, "lam": 0.9, "tile_rows": 700}
    ours = gae_block(**block, **how)
    theirs = gae_block(**block, **how, device=choose_device("cpu", 0))
    assert np.isnan(ours).any()
    np.testing.assert_array_equal(np.isnan(theirs), np.isnan(ours))


def test_gamma_and_lambda_may_differ_by_row():
    block = rollout(400)
    gamma, lam = np.random.default_rng(2).uniform(size=(2, 400))
    expected, following = np.zeros(400), 0.0
    for t in reversed(range(400)):
        following = 0.0 if block["cuts"][t] else following
        delta = block["rewards"][t] + gamma[t] * following_value(block, t) - block["values"][t]
        following = expected[t] = delta + gamma[t] * lam[t] * following
    actual = gae_block(**block, gamma=gamma, lam=lam, tile_rows=90)
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint8, np.int64, ">f8"])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_rewards_of_any_dtype_are_read_as_what_they_are(dtype, device):
    block = rollout(500)
    rewards = np.random.default_rng(3).integers(0, 5, 500)
    chosen = choose_device(device, 0) if device else None
    expected = gae_block(**block | {"rewards": rewards.astype(np.float64)}, gamma=0.9, lam=0.9)
    actual = gae_block(**block | {"rewards": rewards.astype(dtype)}, gamma=0.9, lam=0.9, device=chosen)
    np.testing.assert_allclose(actual, expected, rtol=2e-15, atol=2e-15)


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.filterwarnings("error")
def test_strided_read_only_inputs_are_read_and_left_alone(device):
    block = rollout(1000)
    wide = {name: np.repeat(column, 2) for name, column in block.items()}
    strided = {name: column[::2] for name, column in wide.items()}
    for column in strided.values():
        column.setflags(write=False)
    before = {name: column.copy() for name, column in strided.items()}
    chosen = choose_device(device, 0) if device else None
    actual = gae_block(**strided, gamma=0.9, lam=0.9, device=chosen)
    np.testing.assert_array_equal(actual, gae_block(**block, gamma=0.9, lam=0.9, device=chosen))
    for name, column in strided.items():
        np.testing.assert_array_equal(column, before[name])


def test_single_precision_is_float32_and_close():
    block = rollout(5000, cut_rate=0.01)
    single = gae_block(**block, gamma=0.99, lam=0.95, precision="single")
    assert single.dtype == np.float32
    near = 100 * np.finfo(np.float32).eps  # roundings of sums that stay below 14
    np.testing.assert_allclose(single, gae_block(**block, gamma=0.99, lam=0.95), rtol=near, atol=near)


def test_out_is_written_and_returned():
    block = rollout(5000)
    columns = np.zeros((5000, 2), np.float32)
    out = columns[:, 1]
    assert gae_block(**block, gamma=0.9, lam=0.9, out=out, tile_rows=1000, threads=2) is out
    np.testing.assert_array_equal(out, gae_block(**block, gamma=0.9, lam=0.9, tile_rows=1000).astype("f4"))
    assert not columns[:, 0].any()


def test_the_last_row_of_a_block_counts_as_cut():
    block = rollout(300, cut_rate=0.0) | {"next_values": None, "terminated": None}
    unmarked = block | {"cuts": np.zeros(300, bool)}
    np.testing.assert_array_equal(
        gae_block(**unmarked, gamma=0.9, lam=0.9), gae_block(**block, gamma=0.9, lam=0.9)
    )


def test_an_error_in_one_thread_reaches_the_caller():
    too_short = np.empty(2500)  # the tiles behind it cannot be written
    with pytest.raises(ValueError, match="broadcast"):
        gae_block(**rollout(5000), gamma=0.9, lam=0.9, tile_rows=500, threads=2, out=too_short)
