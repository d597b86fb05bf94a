"""`compute` against the double sum that GAE is, however files, row groups and blocks cut the rows."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from covers import turns
from hypothesis import example, given
from hypothesis import strategies as st
from pipeline.rollout_tables import KEYS, Rollout, Trajectory, as_rollout, rollouts, write
from pipeline.running import STORES, columns_of, computed, small_blocks
from profiles import examples

import gaecli

GAMMAS = st.sampled_from([0.0, 0.5, 0.99, 1.0])
#: Of the largest sum that could come about: float64 rounds each of its terms.
TOLERANCE = 1e-12


def assert_close(found: np.ndarray, wanted: np.ndarray, scale: float) -> None:
    assert found.shape == wanted.shape
    worst = np.max(np.abs(found - wanted), initial=0.0)
    assert worst <= TOLERANCE * scale, f"off by {worst / scale:.1e} of {scale}"


def a_rollout(lengths=(5, 1, 7), ends=("terminated", "truncated", "open"), kind="flags", seed=0) -> Rollout:
    random = np.random.default_rng(seed)
    trajectories = [
        Trajectory(random.normal(size=n), random.normal(size=n), np.full(n, np.nan), end)
        for n, end in zip(lengths, ends, strict=True)
    ]
    order = [(index, step) for index, t in enumerate(trajectories) for step in range(t.num_steps)]
    return as_rollout(trajectories, order, kind, has_next_values=False)


@examples(60)
@given(
    rollout=rollouts(),
    row_group_size=st.integers(1, 25),
    rows_per_block=st.integers(1, 25),
    gamma=GAMMAS,
    lam=GAMMAS,
    bootstrap=st.sampled_from(["zero", "current"]),
    store_bytes=STORES,
    ahead=st.booleans(),
)
def test_any_table_in_any_blocks_gives_the_double_sum(
    rollout: Rollout,
    row_group_size: int,
    rows_per_block: int,
    gamma: float,
    lam: float,
    bootstrap: str,
    store_bytes: int | None,
    ahead: bool,
) -> None:
    with small_blocks(rows_per_block, store_bytes=store_bytes, dtype=np.float64, ahead=ahead) as folder:
        path = write(rollout, folder / "r.parquet", row_group_size)
        _, columns = computed(path, gamma=gamma, lam=lam, bootstrap=bootstrap)
    wanted = rollout.advantages(gamma, lam, bootstrap)
    assert_close(columns["advantage"], wanted, rollout.scale)
    assert_close(columns["return"], wanted + rollout.values, rollout.scale)


@examples(30)
@given(
    rollout=rollouts(keys=("interleaved ids",), max_trajectories=3),
    row_group_size=st.integers(3, 12),
    store_bytes=st.integers(200, 900),
)
def test_blocks_kept_of_a_first_attempt_have_no_part_in_the_second(
    rollout: Rollout, row_group_size: int, store_bytes: int
) -> None:
    """Rows are taken as they stand first, and key by key once an id comes back: the same blocks, other lanes."""
    with small_blocks(row_group_size, store_bytes=store_bytes, dtype=np.float64) as folder:
        path = write(rollout, folder / "r.parquet", row_group_size)
        _, columns = computed(path)
    assert_close(columns["advantage"], rollout.advantages(0.99, 0.95), rollout.scale)


@examples(25)
@given(rollout=rollouts(), rows_per_block=st.integers(1, 25), row_group_size=st.integers(1, 25))
def test_written_columns_are_the_double_sum_to_the_last_place_of_float32(
    rollout: Rollout, rows_per_block: int, row_group_size: int
) -> None:
    with small_blocks(rows_per_block) as folder:
        path = write(rollout, folder / "r.parquet", row_group_size)
        _, columns = computed(path)
        types = pq.read_schema(path)
    assert types.field("advantage").type == types.field("return").type == pa.float32()
    wanted = rollout.advantages(0.99, 0.95)
    for found, right in ((columns["advantage"], wanted), (columns["return"], wanted + rollout.values)):
        one_place = np.spacing(np.abs(right).astype(np.float32)).astype(np.float64)
        places_off = np.abs(found - right) / (one_place + TOLERANCE * rollout.scale)
        assert places_off.max() <= 1


@examples(25)
@given(
    rollout=rollouts(keys=("ids", "ids and flags", "flags")),
    cuts=st.lists(st.integers(0, 60), max_size=3),
    rows_per_block=st.integers(1, 25),
)
def test_one_stream_in_several_files_gives_what_one_file_gives(
    rollout: Rollout, cuts: list[int], rows_per_block: int
) -> None:
    bounds = sorted({0, rollout.num_rows, *(cut for cut in cuts if cut < rollout.num_rows)})
    with small_blocks(rows_per_block, dtype=np.float64) as folder:
        paths = []
        for number, (start, stop) in enumerate(itertools.pairwise(bounds)):
            paths.append(folder / f"part-{number}.parquet")
            pq.write_table(rollout.table.slice(start, stop - start), paths[-1])
        summary = gaecli.compute(paths, join=True)
        assert {file.status for file in summary.files} == {"written"}
        found = np.concatenate([columns_of(path)["advantage"] for path in paths])
    assert_close(found, rollout.advantages(0.99, 0.95), rollout.scale)
    assert summary.totals.episodes == len(rollout.trajectories)


def test_several_files_are_separate_streams_unless_joined(tmp_path: Path) -> None:
    rollout = a_rollout(lengths=(8,), ends=("open",), kind="ids")
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path, start in zip(paths, (0, 4), strict=True):
        pq.write_table(rollout.table.slice(start, 4), path)
    summary = gaecli.compute(paths)
    assert summary.totals.episodes == 2
    whole = rollout.advantages(0.99, 0.95)
    assert columns_of(paths[0])["advantage"][0] != pytest.approx(whole[0], rel=1e-3)
    assert columns_of(paths[1])["advantage"] == pytest.approx(whole[4:], rel=1e-6)
    joined = gaecli.compute(paths, join=True)
    assert joined.totals.episodes == 1
    assert columns_of(paths[0])["advantage"] == pytest.approx(whole[:4], rel=1e-6)


def test_shards_of_one_data_set_are_one_stream_without_being_told(tmp_path: Path) -> None:
    rollout = a_rollout(lengths=(8,), ends=("open",), kind="ids")
    paths = [tmp_path / f"train-0000{number}-of-00002.parquet" for number in range(2)]
    for path, start in zip(paths, (0, 4), strict=True):
        pq.write_table(rollout.table.slice(start, 4), path)
    assert gaecli.compute(tmp_path).totals.episodes == 1
    found = np.concatenate([columns_of(path)["advantage"] for path in paths])
    assert found == pytest.approx(rollout.advantages(0.99, 0.95), rel=1e-6)


EPISODES = [
    ((1,), ("terminated",)),
    ((1,), ("open",)),
    ((40,), ("open",)),
    ((40,), ("truncated",)),
    ((1,) * 9, ("terminated",) * 9),
    ((1,) * 9, ("truncated",) * 9),
    ((2, 1, 2), ("terminated", "truncated", "terminated")),
]


@pytest.mark.few(5)
@pytest.mark.parametrize(
    ("kind", "rows_per_block", "episodes"), turns(["flags", "ids and flags"], [1, 2, 3, 100], EPISODES)
)
def test_edges_of_episodes_and_blocks(kind: str, rows_per_block: int, episodes) -> None:
    lengths, ends = episodes
    rollout = a_rollout(lengths, ends, kind)
    with small_blocks(rows_per_block, dtype=np.float64) as folder:
        summary, columns = computed(write(rollout, folder / "r.parquet", 3))
    assert_close(columns["advantage"], rollout.advantages(0.99, 0.95), rollout.scale)
    assert summary.totals.episodes == len(lengths)


def test_lambda_zero_gives_the_td_errors() -> None:
    rollout = a_rollout()
    with small_blocks(2, dtype=np.float64) as folder:
        _, columns = computed(write(rollout, folder / "r.parquet", 4), lam=0.0, gamma=0.9)
    rewards, values = rollout.column("reward"), rollout.column("value")
    # By hand: episodes are rows 0-4 (terminated), 5 (truncated, no value given) and 6-12 (open, likewise).
    following = np.append(values[1:], 0.0)
    following[[4, 5, 12]] = 0.0
    assert columns["advantage"] == pytest.approx(rewards + 0.9 * following - values, abs=1e-12)


def test_gamma_zero_gives_reward_minus_value() -> None:
    rollout = a_rollout()
    with small_blocks(2, dtype=np.float64) as folder:
        _, columns = computed(write(rollout, folder / "r.parquet", 4), gamma=0.0, lam=0.7)
    assert columns["advantage"] == pytest.approx(
        rollout.column("reward") - rollout.column("value"), abs=1e-12
    )
    assert columns["return"] == pytest.approx(rollout.column("reward"), abs=1e-12)


def test_gamma_and_lambda_one_give_the_sum_of_rewards_to_go() -> None:
    rollout = a_rollout()
    with small_blocks(2, dtype=np.float64) as folder:
        _, columns = computed(write(rollout, folder / "r.parquet", 4), gamma=1.0, lam=1.0)
    rewards = rollout.column("reward")
    to_go = np.concatenate([rewards[rows][::-1].cumsum()[::-1] for rows in rollout.rows])
    assert columns["return"] == pytest.approx(to_go, abs=1e-12)


def test_the_advantage_is_the_mixture_of_k_step_advantages() -> None:
    rollout = a_rollout(lengths=(9,), ends=("terminated",))
    gamma, lam = 0.9, 0.8
    with small_blocks(2, dtype=np.float64) as folder:
        _, columns = computed(write(rollout, folder / "r.parquet", 4), gamma=gamma, lam=lam)
    rewards, values = rollout.column("reward"), np.append(rollout.column("value"), 0.0)
    for t in range(9):
        left = 9 - t
        k_step = [
            sum(gamma**i * rewards[t + i] for i in range(k)) + gamma**k * values[t + k] - values[t]
            for k in range(1, left + 1)
        ]
        mixture = sum((1 - lam) * lam ** (k - 1) * k_step[k - 1] for k in range(1, left))
        mixture += lam ** (left - 1) * k_step[-1]
        assert columns["advantage"][t] == pytest.approx(mixture, abs=1e-12)


@pytest.mark.parametrize("kind", KEYS)
def test_a_file_without_rows_gets_empty_columns(kind: str, tmp_path: Path) -> None:
    rollout = as_rollout([], [], kind, has_next_values=True, has_steps=True)
    path = tmp_path / "empty.parquet"
    pq.write_table(rollout.table, path)
    summary, _ = computed(path, normalize="all")
    table = pq.read_table(path)
    assert table.num_rows == 0
    assert table.column_names == [*rollout.table.column_names, "advantage", "return"]
    assert summary.totals.steps == summary.totals.episodes == 0


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_an_archive_without_steps_gets_empty_arrays(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "empty.npz"
    empty = np.zeros(shape, np.float32)
    np.savez(path, rewards=empty, values=empty, terminated=np.zeros(shape, np.bool_))
    gaecli.compute(path, layout="auto" if len(shape) == 1 else "time-major", normalize="all")
    assert np.load(path)["advantage"].shape == np.load(path)["return"].shape == shape


@examples(25)
@given(rollout=rollouts(), rows_per_block=st.integers(1, 8), row_group_size=st.integers(1, 8))
@example(rollout=a_rollout(), rows_per_block=2, row_group_size=3)
def test_jobs_change_no_byte_of_the_file(rollout: Rollout, rows_per_block: int, row_group_size: int) -> None:
    with small_blocks(rows_per_block) as folder:
        contents = []
        for jobs in (1, 4):
            path = write(rollout, folder / "r.parquet", row_group_size)
            computed(path, jobs=jobs, normalize="episode", keep_raw=True)
            contents.append(path.read_bytes())
    assert contents[0] == contents[1]


@examples(25)
@given(rollout=rollouts(), rows_per_block=st.integers(1, 8), row_group_size=st.integers(1, 8))
def test_blocks_read_twice_give_what_blocks_kept_give(
    rollout: Rollout, rows_per_block: int, row_group_size: int
) -> None:
    contents = []
    for store_bytes in (None, 0, 1000):
        with small_blocks(rows_per_block, store_bytes=store_bytes) as folder:
            path = write(rollout, folder / "r.parquet", row_group_size)
            computed(path, normalize="all", keep_raw=True)
            contents.append(path.read_bytes())
    assert contents[0] == contents[1] == contents[2]


def test_the_least_memory_gives_what_the_most_gives(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    rows = 30_000  # with 1 MiB eight blocks, of which a few are kept
    table = pa.table(
        {
            "reward": random.normal(size=rows),
            "value": random.normal(size=rows),
            "done": random.random(rows) < 0.001,
        }
    )
    found = []
    for memory_bytes in (1 << 20, 1 << 30):
        path = tmp_path / "r.parquet"
        pq.write_table(table, path, row_group_size=7_000)
        computed(path, memory_bytes=memory_bytes, normalize="all", done_at="end")
        found.append(pq.read_table(path)["advantage"].to_numpy())
    assert found[0] == pytest.approx(found[1], rel=1e-6, abs=1e-6)


@examples(30)
@given(
    rollout=rollouts(keys=("ids and flags", "ids"), max_steps=8),
    data=st.data(),
    rows_per_block=st.integers(1, 20),
)
def test_rows_in_any_order_are_put_in_order_by_their_steps(
    rollout: Rollout, data: st.DataObject, rows_per_block: int
) -> None:
    steps = np.concatenate([np.arange(len(rows)) for rows in rollout.rows])
    table = rollout.table.drop_columns([n for n in ("step",) if n in rollout.table.column_names])
    table = table.append_column("step", pa.array(steps))
    shuffled = data.draw(st.permutations(range(rollout.num_rows)))
    with small_blocks(rows_per_block, dtype=np.float64) as folder:
        path = folder / "r.parquet"
        pq.write_table(table.take(shuffled), path, row_group_size=4)
        _, columns = computed(path, normalize="none")
    assert_close(columns["advantage"], rollout.advantages(0.99, 0.95)[shuffled], rollout.scale)


def test_the_plain_loop_over_padded_rows_gives_what_the_command_gives(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(3)
    rewards, values = (torch.randn(6, 11, generator=generator, dtype=torch.float64) for _ in range(2))
    last_values = torch.randn(6, generator=generator, dtype=torch.float64)
    gamma, lam = 0.98, 0.9
    advantages, last, following = torch.zeros_like(rewards), torch.zeros(6), last_values
    for t in reversed(range(11)):
        delta = rewards[:, t] + gamma * following - values[:, t]
        last = delta + gamma * lam * last
        advantages[:, t] = last
        following = values[:, t]
    returns = advantages + values
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    path = tmp_path / "x.npz"
    np.savez(path, rewards=rewards.numpy(), values=values.numpy(), last_values=last_values.numpy())
    gaecli.compute(path, gamma=gamma, lam=lam, layout="batch-major", normalize="all")
    written = np.load(path)
    # float32 as written
    assert written["advantage"] == pytest.approx(advantages.numpy(), rel=1e-6, abs=1e-6)
    assert written["return"] == pytest.approx(returns.numpy(), rel=1e-6, abs=1e-6)
