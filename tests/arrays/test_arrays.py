"""`gaecli.arrays.gae`: layouts, ends, kinds of array, and every complaint."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaecli.arrays import gae
from gaecli.errors import DataError, DeviceError, UsageError

GAMMA, LAM = 0.9, 0.8


def loop_gae(rewards, values, next_values, terminated, cuts, gamma=GAMMA, lam=LAM):
    """The textbook loop over one lane; next_values are those of the true next state."""
    advantages, following = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        value_after = 0.0 if terminated[t] else next_values[t]
        delta = rewards[t] + gamma * value_after - values[t]
        following = delta + (0.0 if cuts[t] else gamma * lam * following)
        advantages[t] = following
    return advantages


def rectangle(num_steps: int, num_lanes: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    rewards, values = rng.normal(size=(2, num_steps, num_lanes))
    terminated, truncated = rng.random((2, num_steps, num_lanes)) < 0.1
    return rewards, values, terminated, truncated, rng.normal(size=num_lanes)


def loop_over_lanes(rewards, values, terminated, truncated, bootstrap):
    """[T, N]; a truncated step inside a lane has no next value and counts as 0 there."""
    advantages = np.zeros_like(rewards)
    for lane in range(rewards.shape[1]):
        done = terminated[:, lane] | truncated[:, lane]
        following = np.where(done[:-1], 0.0, values[1:, lane])
        following = np.append(following, bootstrap[lane])
        cuts = done.copy()
        cuts[-1] = True
        advantages[:, lane] = loop_gae(
            rewards[:, lane], values[:, lane], following, terminated[:, lane], cuts
        )
    return advantages


def test_the_example_of_the_docstring():
    advantages, returns = gae([1.0, 1.0], [0.5, 0.5], terminated=[0, 1], gamma=0.5, lam=1.0)
    assert advantages.tolist() == [1.0, 0.5]
    assert returns.tolist() == [1.5, 1.0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (40, 7), (0, 3), (3, 0)])
@pytest.mark.parametrize("layout", ["time-major", "batch-major", "flat"])
def test_layouts_equal_the_loop_over_lanes(shape, layout):
    rewards, values, terminated, truncated, bootstrap = rectangle(*shape)
    expected = np.zeros(shape) if 0 in shape else loop_over_lanes(*rectangle(*shape))
    columns = [rewards, values, terminated, truncated]
    how = {"bootstrap": bootstrap, "gamma": GAMMA, "lam": LAM}
    if layout != "time-major":
        columns, expected = [column.T for column in columns], expected.T
    if layout == "flat":
        columns, expected = [column.ravel() for column in columns], expected.ravel()
        how["offsets"] = np.arange(shape[1] + 1) * shape[0]
    else:
        how["layout"] = layout
    rewards, values, terminated, truncated = columns
    advantages, returns = gae(rewards, values, terminated=terminated, truncated=truncated, **how)
    assert advantages.shape == expected.shape
    np.testing.assert_allclose(advantages, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(returns, advantages + values)


@given(st.lists(st.integers(0, 6), max_size=8), st.integers(0, 100))
def test_segments_equal_segments_run_one_by_one(lengths, seed):
    rng = np.random.default_rng(seed)
    offsets = np.cumsum([0, *lengths])
    num_rows = offsets[-1]
    rewards, values = rng.normal(size=(2, num_rows))
    terminated = rng.random(num_rows) < 0.2
    bootstrap = rng.normal(size=len(lengths))
    together = gae(rewards, values, terminated=terminated, bootstrap=bootstrap, offsets=offsets)
    for k, (start, stop) in enumerate(pairwise(offsets)):
        rows = slice(start, stop)
        alone = gae(rewards[rows], values[rows], terminated=terminated[rows], bootstrap=bootstrap[k])
        np.testing.assert_allclose(together.advantages[rows], alone.advantages, rtol=1e-12, atol=1e-12)


def test_next_values_come_before_bootstrap_and_terminated_before_both():
    # Three segments of one step: next value 2, none given, terminated. delta = 1 + V(s') - 0
    advantages, _ = gae(
        np.ones(3),
        np.zeros(3),
        terminated=[False, False, True],
        truncated=[False, False, True],
        next_values=np.array([2.0, np.nan, np.inf]),
        bootstrap=np.array([np.nan, 4.0, np.nan]),  # what is not used may be anything
        offsets=[0, 1, 2, 3],
        gamma=1.0,
    )
    assert advantages.tolist() == [3.0, 5.0, 1.0]


def test_bootstrap_is_for_the_end_of_a_segment_only():
    # The truncated step inside the segment has no next value of its own: 0, not the bootstrap.
    advantages, _ = gae(np.zeros(2), np.zeros(2), truncated=[1, 0], bootstrap=5.0, gamma=1.0, lam=1.0)
    assert advantages.tolist() == [0.0, 5.0]


def test_next_values_inside_a_trajectory_replace_the_next_row():
    advantages, _ = gae(np.zeros(2), np.zeros(2), next_values=[7.0, np.nan], gamma=1.0, lam=0.0)
    assert advantages.tolist() == [7.0, 0.0]


def test_no_bootstrap_is_zero():
    rewards, values = np.ones(3), np.ones(3)
    with_zero = gae(rewards, values, bootstrap=0.0)
    np.testing.assert_array_equal(gae(rewards, values).advantages, with_zero.advantages)


def test_one_bootstrap_serves_all_segments():
    one = gae(np.zeros(4), np.zeros(4), offsets=[0, 2, 4], bootstrap=3)
    each = gae(np.zeros(4), np.zeros(4), offsets=[0, 2, 4], bootstrap=[3, 3])
    np.testing.assert_array_equal(one.advantages, each.advantages)
    assert one.advantages.any()


@pytest.mark.parametrize("flag_dtype", [bool, np.int8, np.uint8, np.int64, np.float32, np.float64])
def test_flags_of_any_dtype_mean_the_same(flag_dtype):
    rewards, values, terminated, truncated, bootstrap = rectangle(30, 4)
    how = {"bootstrap": bootstrap, "layout": "time-major"}
    expected = gae(rewards, values, terminated=terminated, truncated=truncated, **how)
    actual = gae(
        rewards,
        values,
        terminated=terminated.astype(flag_dtype),
        truncated=truncated.astype(flag_dtype),
        **how,
    )
    np.testing.assert_array_equal(actual.advantages, expected.advantages)


@pytest.mark.parametrize(
    ("rewards", "values", "expected"),
    [
        ("f4", "f4", "f4"),
        ("f8", "f4", "f8"),
        ("f4", "f8", "f8"),
        ("i8", "f4", "f4"),
        ("i8", "i8", "f8"),
        ("f2", "f2", "f4"),
    ],
)
def test_dtype_of_the_result(rewards, values, expected):
    import torch  # here: it takes a second and a half, in every worker that collects

    for kind in (np.asarray, torch.as_tensor):
        result = gae(kind(np.ones(3, rewards)), kind(np.ones(3, values)))
        for array in result:
            assert np.asarray(array).dtype == expected


@pytest.mark.parametrize("layout", ["time-major", "batch-major"])
def test_tensors_come_back_as_tensors_and_equal_numpy(layout):
    import torch

    rewards, values, terminated, truncated, _ = rectangle(20, 20)
    how = {"bootstrap": np.ones(20), "layout": layout}
    ours = gae(rewards, values, terminated=terminated, truncated=truncated, **how)
    for device in ("auto", "cpu"):
        theirs = gae(
            torch.tensor(rewards, requires_grad=True),
            torch.from_numpy(values),
            terminated=torch.from_numpy(terminated),
            truncated=truncated,  # other arguments may be of the other kind
            device=device,
            **how,
        )
        for tensor, array in zip(theirs, ours, strict=True):
            assert isinstance(tensor, torch.Tensor)
            assert tensor.dtype == torch.float64
            assert not tensor.requires_grad
            np.testing.assert_allclose(tensor.numpy(), array, rtol=2e-15, atol=2e-15)


def test_bfloat16_tensors_are_taken():
    import torch

    result = gae(torch.ones(3, dtype=torch.bfloat16), torch.zeros(3, dtype=torch.bfloat16), gamma=0.0)
    assert result.advantages.dtype == torch.float32
    assert result.advantages.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_inputs_of_any_strides_are_read_and_left_alone(device):
    rewards, values, terminated, truncated, bootstrap = rectangle(30, 8)
    how = {"bootstrap": bootstrap, "layout": "time-major", "device": device}
    expected = gae(rewards, values, terminated=terminated, truncated=truncated, **how)
    views = []
    for column in (rewards, values, terminated, truncated):
        view = np.repeat(np.asfortranarray(column), 3, axis=1)[:, ::3]
        view.setflags(write=False)
        views.append(view)
    before = [view.copy() for view in views]
    actual = gae(views[0], views[1], terminated=views[2], truncated=views[3], **how)
    np.testing.assert_array_equal(actual.advantages, expected.advantages)
    for view, copied in zip(views, before, strict=True):
        np.testing.assert_array_equal(view, copied)


def test_flags_given_flat_are_left_alone():
    terminated = np.array([False, True, False])
    gae(np.ones(3), np.ones(3), terminated=terminated, truncated=np.zeros(3, bool))
    assert terminated.tolist() == [False, True, False]


def test_single_precision_changes_the_arithmetic_and_not_the_dtype():
    rewards, values = np.random.default_rng(0).normal(size=(2, 500))
    double, single = (gae(rewards, values, precision=precision) for precision in ("double", "single"))
    assert single.advantages.dtype == np.float64
    np.testing.assert_allclose(single.advantages, double.advantages, rtol=1e-3, atol=1e-4)
    assert not np.array_equal(single.advantages, double.advantages)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_no_rows(library):
    empty = np.empty(0, np.float32)
    if library == "torch":
        import torch

        empty = torch.empty(0)
    for offsets in (None, [0], [0, 0, 0]):
        result = gae(empty, empty, offsets=offsets)
        assert len(result.advantages) == len(result.returns) == 0


def test_more_rows_than_a_tile():
    num_rows = 600_001
    advantages, _ = gae(np.ones(num_rows), np.zeros(num_rows), gamma=1.0, lam=1.0)
    np.testing.assert_array_equal(advantages, np.arange(num_rows, 0, -1.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": np.ones(3)}, r"`values` has shape \(3,\), but `rewards` has \(4,\)"),
        ({"terminated": np.zeros(5)}, r"`terminated` has shape \(5,\), but `rewards` has \(4,\)"),
        ({"next_values": np.zeros(1)}, r"`next_values` has shape \(1,\)"),
        ({"rewards": [0, np.nan, 0, np.inf]}, r"`rewards` is nan at row 1; 2 such in all"),
        ({"values": [0, 0, 0, -np.inf]}, r"`values` is -inf at row 3; 1 such in all"),
        ({"next_values": [0, 0, np.inf, 0]}, r"`next_values` is inf at row 2"),
        ({"terminated": [0, 2, 0, 1]}, r"`terminated` is 2 at row 1; it must be 0 or 1"),
        ({"truncated": [0, 1, 0.5, 1]}, r"`truncated` is 0.5 at row 2"),
        ({"truncated": [0, 1, 0, np.nan]}, r"`truncated` is nan at row 3"),
        ({"terminated": ["no", "no", "no", "yes"]}, r"`terminated` has dtype <U3"),
        ({"rewards": [[1], [1, 2]]}, r"`rewards` is not an array"),
        ({"rewards": np.ma.masked_greater(np.arange(4.0), 2)}, r"`rewards` is a masked array, and 1 of"),
        ({"rewards": np.ma.masked_array(np.arange(4.0))}, None),
        ({"offsets": [0, 5]}, r"goes from 0 to 5; it must ascend from 0 to 4"),
        ({"offsets": [1, 4]}, r"goes from 1 to 4"),
        ({"offsets": [0, 3, 2, 4]}, r"falls at 2"),
        ({"offsets": [0.0, 4.0]}, r"must be whole numbers"),
        ({"offsets": []}, r"must be whole numbers"),
        (
            {"bootstrap": [1.0, 2.0]},
            r"`bootstrap` has shape \(2,\); it must be one number, or one per segment",
        ),
        ({"bootstrap": [1.0, np.nan, 0.0], "offsets": [0, 2, 2, 4]}, None),  # segment 1 has no step
        ({"bootstrap": [1.0, 0.0, np.nan], "offsets": [0, 2, 2, 4]}, r"`bootstrap` is nan at segment 2"),
    ],
)
def test_bad_data_is_named(changes, message):
    arguments = {"rewards": np.zeros(4), "values": np.zeros(4)} | changes
    if message is None:
        gae(**arguments)
        return
    with pytest.raises(DataError, match=message):
        gae(**arguments)


@pytest.mark.parametrize(
    ("layout", "shape", "is_one_longer"),
    [
        (None, (5,), True),
        (None, (6,), False),
        ("time-major", (5, 3), True),
        ("batch-major", (4, 4), True),
        ("batch-major", (5, 4), False),
    ],
)
def test_values_of_one_state_more_are_told_to_be_a_bootstrap(layout, shape, is_one_longer):
    rewards = np.zeros(4 if layout is None else (4, 3))
    with pytest.raises(DataError) as raised:
        gae(rewards, np.zeros(shape), layout=layout)
    assert ("as `bootstrap`" in str(raised.value.hint)) == is_one_longer


@pytest.mark.parametrize("name", ["layout", "precision"])
@pytest.mark.parametrize("given", ["sideways", 3, ["double"], np.zeros(2)], ids=repr)
def test_what_is_none_of_two_words_is_told(name, given):
    with pytest.raises(UsageError, match=rf"`{name}` is .*; it must be '[a-z-]+' or '[a-z-]+'"):
        gae(np.zeros((2, 2)), np.zeros((2, 2)), **{"layout": "time-major"} | {name: given})


@pytest.mark.parametrize(("layout", "place"), [("time-major", r"\[2, 1\]"), ("batch-major", r"\[2, 1\]")])
def test_a_bad_cell_of_a_rectangle_is_named_by_its_index(layout, place):
    rewards = np.zeros((4, 3))
    rewards[2, 1] = np.nan
    with pytest.raises(DataError, match=place):
        gae(rewards, np.zeros((4, 3)), layout=layout)


@pytest.mark.parametrize("names", [("gamma",), ("lam",), ("gamma", "lam")])
def test_decays_of_steps_are_multiplied_as_wide_as_all_is_computed(names):
    rng = np.random.default_rng(4)
    rewards, values = rng.normal(size=(2, 50))
    narrow = {name: rng.random(50).astype(np.float32) for name in names}
    wide = {name: decays.astype(np.float64) for name, decays in narrow.items()}
    found, expected = (gae(rewards, values, **{"gamma": 0.9, "lam": 0.7} | one) for one in (narrow, wide))
    np.testing.assert_array_equal(found.advantages, expected.advantages)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gamma": 1.01}, r"`gamma` is 1.01; it must lie in \[0, 1\]"),
        ({"gamma": float("nan")}, r"`gamma` is nan"),
        ({"lam": -0.1}, r"`lam` is -0.1"),
        ({"lam": "0.9"}, r"`lam` is '0.9'; it must be a number"),
        ({"precision": "half"}, r"`precision` is 'half'"),
        ({"layout": "time-major"}, r"it must have two dimensions"),
        ({"layout": "sideways"}, r"`layout` is 'sideways'"),
        ({"device": "gpu"}, r"`--device` is `gpu`"),
        ({"rewards": np.zeros((2, 2)), "values": np.zeros((2, 2))}, r"which axis is time is not said"),
        (
            {
                "rewards": np.zeros((2, 2)),
                "values": np.zeros((2, 2)),
                "layout": "time-major",
                "offsets": [0, 4],
            },
            r"`offsets` goes with flat arrays",
        ),
    ],
)
def test_bad_settings_are_usage_errors(changes, message):
    with pytest.raises(UsageError, match=message):
        gae(**{"rewards": np.zeros(4), "values": np.zeros(4)} | changes)


def test_an_absent_device_is_an_error():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(DeviceError, match="cuda"):
        gae(np.zeros(4), np.zeros(4), device="cuda")


def test_numpy_arrays_need_no_torch():
    code = (
        "import sys, numpy as np; from gaecli.arrays import gae; "
        "gae(np.ones(3), np.ones(3)); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
