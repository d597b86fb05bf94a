"""Public bugs about masks, padding and groups, each with the test that catches it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli


def compute(path, rewards, values, mask, **settings):
    """(advantages, returns) that `gaecli.compute` writes for nested rows."""
    columns = {"rewards": rewards, "values": values, "response_mask": mask}
    pq.write_table(pa.table(columns), path)
    gaecli.compute(path, overwrite=True, **settings)
    table = pq.read_table(path)
    return table["advantage"].to_pylist(), table["return"].to_pylist()


@pytest.mark.parametrize("preset", ["exact", "verl", "nemo", "vapo"])
def test_masked_tokens_do_not_exist(tmp_path, preset):
    """radixark/miles#1827, verl-project/verl#2337: observation tokens inside GAE added phantom δ and decay."""
    rng = np.random.default_rng(1)
    mask = np.array([1, 1, 0, 0, 1, 0, 1, 1, 0, 0])
    rewards, values = rng.normal(size=(2, len(mask)))
    kept = mask == 1
    settings = {"gamma": 0.9, "lam": 0.8, "preset": preset, "normalize": "none"}
    found, _ = compute(tmp_path / "r.parquet", [rewards], [values], [mask], **settings)
    alone, _ = compute(
        tmp_path / "k.parquet", [rewards[kept]], [values[kept]], [np.ones(kept.sum(), int)], **settings
    )
    assert [a for a, k in zip(found[0], kept, strict=True) if k] == alone[0]


def test_the_reward_to_go_passes_an_observation(tmp_path):
    """verl-project/verl#6376, #7278: it was reset at a span of observation tokens."""
    _, returns = compute(
        tmp_path / "r.parquet", [[0.0, 0.0, 1.0]], [[0.0] * 3], [[1, 0, 1]], gamma=0.5, lam=1.0
    )
    assert returns == [[0.5, None, 1.0]]


def test_the_value_of_a_masked_token_bootstraps_nothing(tmp_path):
    """alibaba/ROLL#447: [5.7, 6] instead of [0.95, 1]."""
    row = [[0.0, 1.0, 0.0]], [[0.0, 0.0, 100.0]], [[1, 1, 0]]
    for preset in ("exact", "verl", "nemo"):
        found, _ = compute(tmp_path / "r.parquet", *row, preset=preset, gamma=1.0, lam=0.95, normalize="none")
        assert found[0][:2] == pytest.approx([0.95, 1.0])


@pytest.mark.few(4)
@pytest.mark.parametrize("fill", ["null", "zero", "carry"])
@pytest.mark.parametrize("mode", ["skip", "zero", "gated"])
def test_nan_in_masked_cells_reaches_no_other(tmp_path, mode, fill):
    """huggingface/trl#7024, #7044, OpenRLHF/OpenRLHF#1240, areal-project/AReaL#1346, natolambert/rlhf-book#216:
    NaN * 0 is NaN, so that padding reached valid rows."""
    mask = np.array([1, 0, 1, 1, 0, 0])
    rewards, values = np.random.default_rng(2).normal(size=(2, len(mask)))
    settings = {"mask_mode": mode, "mask_fill": fill, "gamma": 0.9, "normalize": "all"}
    clean, clean_returns = compute(tmp_path / "c.parquet", [rewards], [values], [mask], **settings)
    rewards[mask == 0] = values[mask == 0] = np.nan
    dirty, dirty_returns = compute(tmp_path / "d.parquet", [rewards], [values], [mask], **settings)
    assert dirty == clean
    for t in np.flatnonzero(mask):
        assert dirty_returns[0][t] == clean_returns[0][t]


def test_statistics_are_those_of_the_kept_rows(tmp_path):
    """NovaSky-AI/SkyRL#1305, #1782, ray-project/ray#57989, #63900, Denys88/rl_games#365: the mean over padding,
    the variance over the mask."""
    rng = np.random.default_rng(3)
    rewards, values = rng.normal(size=(2, 8, 20))
    mask = np.arange(20) < rng.integers(1, 20, size=8)[:, None]
    rewards[~mask] = values[~mask] = 1e9
    for mode in ("skip", "zero", "gated"):
        found, _ = compute(
            tmp_path / "r.parquet", list(rewards), list(values), list(mask.astype(int)),
            mask_mode=mode, mask_fill="carry", normalize="all",
        )  # fmt: skip
        kept = np.array(
            [a for row, m in zip(found, mask, strict=True) for a, k in zip(row, m, strict=True) if k]
        )
        assert kept.mean() == pytest.approx(0.0, abs=1e-6)
        assert kept.std(ddof=1) == pytest.approx(1.0, abs=1e-6)


def test_every_row_ends_at_its_own_last_token(tmp_path):
    """RLinf `reinpp` (rlinf/algorithms/advantages.py): `fliplr` on a transposed mask took the end of another row."""
    lengths, width = [1, 3, 5], 6
    mask = [[int(t < length) for t in range(width)] for length in lengths]
    rewards = [[100.0 if t == length - 1 else 0.0 for t in range(width)] for length in lengths]
    np.savez(
        tmp_path / "r.npz",
        rewards=np.array(rewards),
        values=np.zeros((3, width)),
        response_mask=np.array(mask),
    )
    gaecli.compute(tmp_path / "r.npz", preset="nemo", gamma=0.5, lam=1.0, normalize="none")
    found = np.load(tmp_path / "r.npz")["advantage"]
    for row, length in enumerate(lengths):
        assert found[row].tolist() == [100.0 * 0.5 ** (length - 1 - t) for t in range(length)] + [0.0] * (
            width - length
        )


@pytest.mark.parametrize("ids", [["a", "b", "a", "b"], [-1, 3, -1, 1_000_000], [2**62, -(2**62), 2**62, 0]])
def test_groups_go_by_their_id(tmp_path, ids):
    """PrimeIntellect-ai/prime-rl#600, verl-project/verl#7150: groups by position, and ids used as positions."""
    rng = np.random.default_rng(4)
    rewards = rng.normal(size=(4, 6))
    columns = {"uid": ids, "rewards": list(rewards), "values": list(np.zeros((4, 6)))}
    found = {}
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        table = pa.table(columns).take(order)
        pq.write_table(table, tmp_path / "r.parquet")
        gaecli.compute(tmp_path / "r.parquet", normalize_by="uid", gamma=0.0)
        written = pq.read_table(tmp_path / "r.parquet")["advantage"].to_pylist()
        found[tuple(order)] = {row: written[place] for place, row in enumerate(order)}
    first, second = found.values()
    assert {row: pytest.approx(numbers) for row, numbers in first.items()} == second
    together = rewards[[0, 2]]
    expected = (rewards[0] - together.mean()) / (together.std(ddof=1) + 1e-8)
    assert first[0] == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_masked_reward_is_dropped_or_kept_by_choice(tmp_path):
    """radixark/miles#1827: the reward of a masked tail vanished unseen."""
    row = [[0.0, 1.0]], [[0.0, 0.0]], [[1, 0]]
    by_mode = {
        mode: compute(tmp_path / "r.parquet", *row, mask_mode=mode, gamma=1.0, lam=1.0)[0][0][0]
        for mode in ("skip", "zero", "gated", "keep")
    }
    assert by_mode == {"skip": 0.0, "zero": 0.0, "gated": 0.0, "keep": 1.0}


def padded(cells, num_items, side, filler):
    """One list per row, filled up to `num_items` behind its cells, or before them."""
    return [
        [*row, *[filler] * (num_items - len(row))]
        if side == "behind"
        else [*[filler] * (num_items - len(row)), *row]
        for row in cells
    ]


@pytest.mark.few(5)
@pytest.mark.parametrize("end", ["open", "truncated", "flags"])
@pytest.mark.parametrize("side", ["behind", "before"])
@pytest.mark.parametrize("filler", [0.0, 7.0, "V of the last step"])
def test_one_value_beyond_the_row_is_that_of_its_last_step_whatever_the_padding(tmp_path, end, side, filler):
    """It was taken for that of the padding, and 0 counted."""
    lengths, rng = [4, 1, 6, 5], np.random.default_rng(4)
    rewards, values = ([rng.normal(size=length).tolist() for length in lengths] for _ in range(2))
    beyond = rng.normal(size=len(lengths))
    fillers = [row[-1] if isinstance(filler, str) else filler for row in values]
    columns = {
        "reward": padded(rewards, 6, side, 0.0),
        "value": [padded([row], 6, side, fill)[0] for row, fill in zip(values, fillers, strict=True)],
        "mask": padded([[1] * length for length in lengths], 6, side, 0),
        "last_value": beyond,
    }
    if end == "truncated":
        columns["truncated"] = [True] * len(lengths)
    if end == "flags":
        flags = padded([[False] * (length - 1) + [True] for length in lengths], 6, side, False)
        columns |= {"truncated": flags, "terminated": [[False] * 6] * len(lengths)}
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(columns), path)
    summary = gaecli.compute(path, gamma=0.9, lam=0.8)
    assert (summary.bootstrapped.next_value, summary.bootstrapped.zero) == (len(lengths), 0)
    for row, found in enumerate(pq.read_table(path)["advantage"].to_pylist()):
        later, follows, wanted = 0.0, beyond[row], []
        for reward, value in zip(reversed(rewards[row]), reversed(values[row]), strict=True):
            later = reward + 0.9 * follows - value + 0.9 * 0.8 * later
            follows = value
            wanted.insert(0, later)
        assert [cell for cell in found if cell is not None] == pytest.approx(wanted, abs=1e-5)


def test_lists_that_count_their_items_are_masked_once_the_counter_is_out_of_the_way(tmp_path):
    columns = {
        "reward": [[1.0, 2.0, 0.0]],
        "value": [[0.5, 0.25, 0.0]],
        "mask": [[1, 1, 0]],
        "t": [[0, 1, 2]],
    }
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(gaecli.UsageError, match="in lists whose items `t` may order or cut") as refused:
        gaecli.compute(path)
    assert refused.value.hint.startswith(
        "pass `--step-column none` if `t` only counts the items of each list"
    )
    gaecli.compute(path, step_column="none", gamma=1.0, lam=1.0)
    assert pq.read_table(path)["advantage"].to_pylist() == [[2.5, 1.75, None]]


@pytest.mark.few(4)
@pytest.mark.parametrize("mask", ["mask", "padding_mask=0", "lengths"])
@pytest.mark.parametrize("layout", ["time-major", "batch-major"])
def test_v_beyond_a_lane_is_that_of_the_state_after_a_limit_with_padding_behind(tmp_path, layout, mask):
    lengths, num_slots, rng = np.array([4, 1, 6, 5]), 6, np.random.default_rng(5)
    rewards, values = rng.normal(size=(2, 4, num_slots))
    beyond, is_kept = rng.normal(size=4), np.arange(num_slots) < lengths[:, None]
    is_last = np.arange(num_slots) == lengths[:, None] - 1
    is_terminal = is_last & (np.arange(4) == 3)[:, None]
    cells = {
        "rewards": rewards,
        "values": values,
        "terminated": is_terminal,
        "truncated": is_last & ~is_terminal,
    }
    cells |= {"mask": is_kept} if mask == "mask" else {"padding_mask": ~is_kept} if "pad" in mask else {}
    if layout == "time-major":
        cells = {name: array.T for name, array in cells.items()}
    if mask == "lengths":
        cells["lengths"] = lengths
    np.savez(tmp_path / "r.npz", **cells, last_values=beyond)
    gaecli.compute(tmp_path / "r.npz", layout=layout, mask_column=mask, gamma=0.9, lam=0.8)
    found = np.load(tmp_path / "r.npz")["advantage"]
    found = found.T if layout == "time-major" else found
    for lane, length in enumerate(lengths):
        later, follows = 0.0, 0.0 if lane == 3 else beyond[lane]
        for t in range(length - 1, -1, -1):
            later = rewards[lane, t] + 0.9 * follows - values[lane, t] + 0.9 * 0.8 * later
            follows = values[lane, t]
            assert found[lane, t] == pytest.approx(later, abs=1e-5)


STEPS = {"reward": [1.0, 2.0, 3.0, 9.0, 9.0], "value": [0.5] * 5}
WANTED = [5.5, 4.5, 2.5]


@pytest.mark.parametrize("mask", ["valid", "invalid"])
def test_a_column_that_is_called_as_masks_are_is_asked_about(tmp_path, mask):
    is_real = np.array([1, 1, 1, 0, 0])
    path = tmp_path / "r.parquet"
    cells = STEPS | {mask: is_real if mask == "valid" else 1 - is_real}
    pq.write_table(pa.table({name: [column, column] for name, column in cells.items()}), path)
    with pytest.raises(gaecli.UsageError, match=mask) as asked:
        gaecli.compute(path)
    named = mask if mask == "valid" else "invalid=0"
    assert f"`--mask-column {named}`" in asked.value.hint
    gaecli.compute(path, mask_column=named, gamma=1.0, lam=1.0)
    assert pq.read_table(path)["advantage"].to_pylist() == [[*WANTED, None, None]] * 2


def test_beside_known_ends_it_is_told(tmp_path):
    """It was passed over, so that padding counted as steps."""
    path, two = tmp_path / "r.npz", np.ones((2, 1))
    ends = {"terminated": np.array([0, 0, 1, 0, 0], bool), "valid": np.array([1, 1, 1, 0, 0])}
    np.savez(
        path,
        **{
            name: (two * column).astype(np.asarray(column).dtype)
            for name, column in {**STEPS, **ends}.items()
        },
    )

    def told(**settings):
        notes = gaecli.compute(path, dry_run=True, layout="batch-major", **settings).warnings
        return [note.hint for note in notes if note.code == "unused-flag"]

    (hint,) = told()
    assert "`--mask-column valid`" in hint
    assert told(mask_column="none") == told(mask_column="valid") == []
    gaecli.compute(path, layout="batch-major", mask_column="valid", gamma=1.0, lam=1.0)
    assert np.load(path)["advantage"][:, :3].tolist() == [WANTED] * 2


def test_which_part_of_a_data_set_an_episode_is_of_is_no_mask(tmp_path):
    episode = np.repeat(np.arange(6), 4)
    cells = {
        "reward": episode * 0.5,
        "value": episode * 0.25,
        "episode_id": episode,
        "done": np.arange(24) % 4 == 3,
    }
    pq.write_table(pa.table(cells | {"split_valid": episode % 3 == 0}), tmp_path / "r.parquet")
    notes = gaecli.compute(tmp_path / "r.parquet", dry_run=True).warnings
    assert "unused-flag" not in [note.code for note in notes]
