"""Columns of the right name and an unexpected type: used where their meaning is plain, else told or asked about."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts.rows_in_files import TABLES, advantages, computed, write

import gaecli
from gaecli.engines.threads import Threads
from gaecli.errors import DataError, UsageError
from gaecli.pipeline.opening import open_stream
from gaecli.pipeline.stream import RunContext, summarised
from gaecli.settings import Settings
from gaecli.sources.inputs import plan_streams
from gaecli.studies.reading import plain_estimator

REWARDS = [1.5, -0.25, 2.0, 0.5, -1.0, 3.0, 0.75, 0.25]
VALUES = [0.5, 1.0, -0.5, 2.0, 0.25, 1.5, -1.0, 0.125]
EPISODES = [0, 0, 0, 0, 1, 1, 1, 1]
STEPS = [0, 1, 2, 3, 0, 1, 2, 3]
SHUFFLED = [2, 0, 3, 1, 6, 4, 7, 5]
WANTED = advantages(REWARDS[:4], VALUES[:4]) + advantages(REWARDS[4:], VALUES[4:])
BEGIN = datetime(2024, 3, 31, 1, 59)


def shuffled(name: str, steps: Any, **others: Any) -> dict[str, Any]:
    """The rows in another order, with `steps` in a column of this name."""
    order = pa.array(SHUFFLED)
    columns = {"episode_id": EPISODES, "reward": REWARDS, "value": VALUES, name: steps, **others}
    return {
        key: (cells if isinstance(cells, pa.Array) else pa.array(cells)).take(order)
        for key, cells in columns.items()
    }


#: The steps in a type -> the formats that have it.
COUNTED: dict[str, tuple[Any, tuple[str, ...]]] = {
    "int64": (pa.array(STEPS), (*TABLES, ".npz")),
    "uint8": (pa.array(STEPS, pa.uint8()), (*TABLES, ".npz")),
    "uint64 beyond int64": (
        pa.array([2**63 + t for t in STEPS], pa.uint64()),
        (".parquet", ".arrow", ".npz"),
    ),
    "double": (pa.array(STEPS, pa.float64()), (*TABLES, ".npz")),
    "float": (pa.array(STEPS, pa.float32()), (*TABLES, ".npz")),
    "half": (pa.array(np.array(STEPS, np.float16)), (".parquet", ".arrow", ".npz")),
    "decimal128(38, 0)": (pa.array(STEPS).cast(pa.decimal128(38, 0)), (".parquet", ".arrow")),
    "decimal128(12, 3)": (pa.array(STEPS).cast(pa.decimal128(22, 3)), (".parquet", ".arrow")),
    "decimal256": (pa.array(STEPS).cast(pa.decimal256(50, 0)), (".parquet", ".arrow")),
    "decimal32": (pa.array([Decimal(t) for t in STEPS], pa.decimal32(5, 0)), (".parquet", ".arrow")),
    "text": (pa.array([f"{t:03d}" for t in STEPS]), (*TABLES, ".npz")),
    "text in a dictionary": (pa.array([str(t) for t in STEPS]).dictionary_encode(), (".parquet", ".arrow")),
    "numbers in a dictionary": (pa.array(STEPS).dictionary_encode(), (".parquet", ".arrow")),
}
SECONDS = [0.5 * t for t in STEPS]
ORDERED: dict[str, tuple[Any, tuple[str, ...]]] = {
    "seconds as double": (pa.array(SECONDS), (*TABLES, ".npz")),
    "seconds as float": (pa.array(SECONDS, pa.float32()), (*TABLES, ".npz")),
    "decimal fractions": (pa.array([Decimal(str(t)) for t in SECONDS]), (".parquet", ".arrow")),
    "timestamp[ns]": (
        pa.array([10**18 + t for t in STEPS], pa.timestamp("ns")),
        (".parquet", ".arrow"),
    ),
    "timestamp[s], zoned": (
        pa.array([10**9 + t for t in STEPS], pa.timestamp("s", "Europe/Berlin")),
        (".parquet", ".arrow"),
    ),
    "datetime64": (np.array([BEGIN + timedelta(minutes=t) for t in STEPS], "datetime64[us]"), (".npz",)),
    "timedelta64": (np.array(STEPS, "timedelta64[ms]"), (".npz",)),
    "duration": (pa.array([timedelta(seconds=t) for t in STEPS]), (".parquet", ".arrow")),
    "date32": (
        pa.array([date(2024, 2, 27 + t) if t < 3 else date(2024, 3, 1) for t in STEPS]),
        (".parquet",),
    ),
    "time64": (pa.array([10**9 * t for t in STEPS], pa.time64("ns")), (".parquet", ".arrow")),
    "time32": (pa.array([1000 * t for t in STEPS], pa.time32("ms")), (".parquet", ".arrow")),
}


def _cells(types: dict[str, tuple[Any, tuple[str, ...]]]) -> list[Any]:
    """Each type in a format that has it, by turns, and in the others as `slow`."""
    return [
        pytest.param(
            cells,
            suffix,
            marks=() if index == number % len(suffixes) else pytest.mark.slow,
            id=f"{name}{suffix}",
        )
        for number, (name, (cells, suffixes)) in enumerate(types.items())
        for index, suffix in enumerate(suffixes)
    ]


@pytest.mark.few(10)
@pytest.mark.parametrize(("steps", "suffix"), _cells({**COUNTED, **ORDERED}))
def test_rows_out_of_order_are_sorted_by_a_step_column_of_any_type(
    steps: Any, suffix: str, tmp_path: Path
) -> None:
    columns = shuffled("step", steps)
    found, summary = computed(tmp_path / f"rollouts{suffix}", columns)
    np.testing.assert_allclose(found, np.array(WANTED)[SHUFFLED], rtol=1e-6)  # written as float32
    assert [note.code for note in summary.warnings] == ["bootstrap-zero"]


@pytest.mark.parametrize(("steps", "suffix"), _cells(COUNTED))
def test_what_counts_steps_tells_that_one_is_missing(steps: Any, suffix: str, tmp_path: Path) -> None:
    columns = {"episode_id": EPISODES, "reward": REWARDS, "value": VALUES, "step": steps}
    without_steps_2 = pa.array([0, 1, 3, 4, 5, 7])
    less = {
        name: (cells if isinstance(cells, pa.Array) else pa.array(cells)).take(without_steps_2)
        for name, cells in columns.items()
    }
    with pytest.raises(DataError, match="2 such gaps in all"):
        gaecli.compute(write(tmp_path / f"rollouts{suffix}", less))


@pytest.mark.parametrize(("steps", "suffix"), _cells(ORDERED))
def test_what_only_orders_may_repeat_and_skip_where_rows_are_in_order(
    steps: Any, suffix: str, tmp_path: Path
) -> None:
    cells = pa.array(steps) if isinstance(steps, np.ndarray) else steps
    again = cells.take(pa.array([0, 0, 2, 3, 4, 7, 7, 7]))
    columns = {"episode_id": EPISODES, "reward": REWARDS, "value": VALUES, "t": again}
    found, _ = computed(tmp_path / f"rollouts{suffix}", columns)
    np.testing.assert_allclose(found, WANTED, rtol=1e-6)


def test_moments_that_repeat_do_not_say_how_rows_out_of_order_follow(tmp_path: Path) -> None:
    columns = shuffled("t", pa.array([0.5, 0.5, 1.5, 2.5, 0.5, 1.5, 2.5, 3.5]))
    with pytest.raises(DataError, match="does not tell which it was") as raised:
        gaecli.compute(write(tmp_path / "rollouts.parquet", columns))
    assert "--step-column none" in str(raised.value.hint)


@pytest.mark.turns
@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["first", "second", "third", "fourth"] * 2, "'third'"),
        (["0", "1", "2.5", "3"] * 2, "'2.5'"),
        ([0.0, 1.0, float("nan"), 3.0] * 2, "NaN"),
        ([0.0, 1.0, float("inf"), 3.0] * 2, "inf"),
        ([0, 1, None, 3] * 2, "null"),
    ],
)
@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_steps_that_cannot_be_compared_are_asked_about(
    steps: Any, message: str, suffix: str, tmp_path: Path
) -> None:
    columns = shuffled("step", pa.array(steps))
    path = write(tmp_path / f"rollouts{suffix}", columns)
    with pytest.raises(DataError) as raised:
        gaecli.compute(path)
    assert message in raised.value.message
    assert "--step-column none" in str(raised.value.hint)
    gaecli.compute(path, step_column="none")


def test_a_step_of_nan_alone_says_nothing(tmp_path: Path) -> None:
    columns = {"episode_id": EPISODES, "reward": REWARDS, "value": VALUES, "step": [float("nan")] * 8}
    found, _ = computed(tmp_path / "rollouts.parquet", columns)
    np.testing.assert_allclose(found, WANTED, rtol=1e-6)


def test_a_column_that_counts_is_preferred_to_one_that_orders(tmp_path: Path) -> None:
    """`t` falls, but the steps say that the rows are in order."""
    columns = {
        "episode_id": EPISODES,
        "reward": REWARDS,
        "value": VALUES,
        "t": [0.5, 0.25, 0.75, 0.1] * 2,
        "step": pa.array(STEPS, pa.float64()),
    }
    found, _ = computed(tmp_path / "rollouts.parquet", columns)
    np.testing.assert_allclose(found, WANTED, rtol=1e-6)


@pytest.mark.parametrize("suffix", [*TABLES, ".npz"])
def test_rows_out_of_the_order_of_their_timestamp_are_sorted_and_told(suffix: str, tmp_path: Path) -> None:
    columns = shuffled("timestamp", pa.array(SECONDS, pa.float32()))
    found, summary = computed(tmp_path / f"rollouts{suffix}", columns)
    np.testing.assert_allclose(found, np.array(WANTED)[SHUFFLED], rtol=1e-6)
    (note,) = [note for note in summary.warnings if note.code == "unsorted-rows"]
    assert note.count == 4
    assert "row 1 " in note.message
    assert "--step-column timestamp" in str(note.hint)
    assert "--step-column none" in str(note.hint)


def test_a_timestamp_that_falls_from_block_to_block_alone_is_seen(tmp_path: Path) -> None:
    """One episode in two row groups, the later one first."""
    order = [4, 5, 6, 7, 0, 1, 2, 3]
    table = {
        "episode_id": [3] * 8,
        "timestamp": [0.1 * step for step in order],
        "reward": [float(1 + step) for step in order],
        "value": [0.0] * 8,
    }
    path = tmp_path / "rollouts.parquet"
    pq.write_table(pa.table(table), path, row_group_size=4)
    (plan,) = plan_streams([path], "auto")
    opened = open_stream(plan, Settings(gamma=1.0, lam=1.0), 1 << 30, block_rows=4)
    context = RunContext.plain(plain_estimator(opened.settings), 0, Threads(1))
    stream = summarised(opened, context)
    assert stream.opened.row_order.is_whole
    assert "unsorted-rows" in [note.code for note in stream.warnings]


@pytest.mark.parametrize("answer", ["timestamp", "none"])
def test_who_says_what_the_timestamp_means_is_not_told(answer: str, tmp_path: Path) -> None:
    columns = shuffled("timestamp", pa.array(SECONDS))
    found, summary = computed(tmp_path / "rollouts.parquet", columns, step_column=answer)
    assert [note.code for note in summary.warnings] == ["bootstrap-zero"]
    in_file = [REWARDS[row] for row in SHUFFLED], [VALUES[row] for row in SHUFFLED]
    as_stored = [
        advantage
        for part in (slice(4), slice(4, 8))
        for advantage in advantages(in_file[0][part], in_file[1][part])
    ]
    wanted = np.array(WANTED)[SHUFFLED] if answer == "timestamp" else as_stored
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_a_timestamp_beside_a_step_column_orders_nothing(tmp_path: Path) -> None:
    columns = {
        "episode_id": EPISODES,
        "reward": REWARDS,
        "value": VALUES,
        "step": STEPS,
        "timestamp": SECONDS[::-1],
    }
    found, summary = computed(tmp_path / "rollouts.parquet", columns)
    np.testing.assert_allclose(found, WANTED, rtol=1e-6)
    assert [note.code for note in summary.warnings] == ["bootstrap-zero"]


#: Columns that cannot play the role of their name: (role, column, cells).
ODD: dict[str, tuple[str, str, Any]] = {
    "bool step": ("step", "step", pa.array([True, False] * 4)),
    "struct step": ("step", "step", pa.array([{"n": 1}] * 8)),
    "text next value": ("next_value", "next_value", pa.array(["0.5"] * 8)),
    "time as next value": ("next_value", "next_values", pa.array([1] * 8, pa.timestamp("s"))),
    "text bootstrap": ("bootstrap_value", "last_value", pa.array(["0.5"] * 8)),
    "struct episode": ("episode", "episode", pa.array([{"n": 1}] * 8)),
    "struct env": ("env", "env", pa.array([{"name": "x"}] * 8)),
    "text mask": ("mask", "mask", pa.array(["yes", "no"] * 4)),
    "picture mask": ("mask", "mask", pa.array([b"png"] * 8)),
    "lists as mask": ("mask", "mask", pa.array([[1, 0]] * 8)),
    "lists as step": ("step", "t", pa.array([[1, 0]] * 8)),
}


@pytest.mark.turns
@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_column_that_cannot_play_its_role_is_told(case: str, suffix: str, tmp_path: Path) -> None:
    role, name, cells = ODD[case]
    columns = {"done": [False, False, False, True] * 2, "reward": REWARDS, "value": VALUES, name: cells}
    path = tmp_path / f"rollouts{suffix}"
    found, summary = computed(path, columns)
    wanted = advantages(REWARDS[:4], VALUES[:4], is_terminal=True)
    wanted += advantages(REWARDS[4:], VALUES[4:], is_terminal=True)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    flag = f"--{role.replace('_', '-')}-column"
    (note,) = summary.warnings
    assert note.code == "unused-column"
    assert f"`{name}`" in note.message
    assert f"{flag} none" in str(note.hint)
    assert [note.code for note in gaecli.inspect(path).warnings] == ["unused-column"]
    silent = gaecli.compute(path, **{f"{role}_column": "none"})
    assert silent.warnings == []


def test_legal_actions_are_known_to_be_no_mask_of_steps(tmp_path: Path) -> None:
    columns = {"done": [True] * 8, "reward": REWARDS, "value": VALUES, "action_mask": [[1, 0]] * 8}
    _, summary = computed(tmp_path / "rollouts.parquet", columns)
    assert summary.warnings == []


LARGE = 2**100
#: Ids that differ, and are one number in float64.
CLOSE: dict[str, tuple[Any, tuple[str, ...]]] = {
    "int64": ([2**53 + n for n in EPISODES], (*TABLES, ".npz")),
    "uint64": (pa.array([2**63 + n for n in EPISODES], pa.uint64()), (*TABLES, ".npz")),
    "decimal": (
        pa.array([Decimal(LARGE + n) for n in EPISODES], pa.decimal128(38, 0)),
        (".parquet", ".arrow"),
    ),
    "decimal256": (pa.array([Decimal(10**60 + n) for n in EPISODES], pa.decimal256(70, 0)), (".parquet",)),
    "decimal fractions": (
        pa.array([Decimal(10**20 + n).scaleb(-2) for n in EPISODES], pa.decimal128(38, 2)),
        (".parquet", ".arrow"),
    ),
    "timestamp[ns]": (pa.array([10**18 + n for n in EPISODES], pa.timestamp("ns")), (".parquet", ".arrow")),
}


@pytest.mark.turns
@pytest.mark.parametrize(("ids", "suffix"), _cells(CLOSE))
@pytest.mark.parametrize("role", ["episode", "env", "agent_id"])
def test_ids_keep_every_digit(role: str, ids: Any, suffix: str, tmp_path: Path) -> None:
    name = {"episode": "episode_id", "env": "env_id"}.get(role, role)
    found, summary = computed(tmp_path / f"rollouts{suffix}", {name: ids, "reward": REWARDS, "value": VALUES})
    np.testing.assert_allclose(found, WANTED, rtol=1e-6)
    assert summary.totals.episodes == 2


@pytest.mark.parametrize("ids", [[LARGE, LARGE + 1], [2**127, 2**128 - 1], [1e17, 10**17 + 1], [5, 2**64]])
def test_whole_numbers_of_json_keep_every_digit_as_ids(ids: Any, tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"
    path.write_text(
        "".join(
            f'{{"episode_id": {ids[EPISODES[row]]}, "reward": {REWARDS[row]}, "value": {VALUES[row]}}}\n'
            for row in range(8)
        )
    )
    summary = gaecli.compute(path)
    assert summary.totals.episodes == 2


def test_large_numbers_of_json_are_rewards_all_the_same(tmp_path: Path) -> None:
    """2^70 has one bit, so that it and its half are the same in every type."""
    path = tmp_path / "rollouts.jsonl"
    path.write_text("".join(f'{{"done": true, "reward": {2**70}, "value": {2**69}}}\n' for _ in range(2)))
    gaecli.compute(path)
    assert '"advantage": 5.9029581e+20' in path.read_text() or "5.902958e+20" in path.read_text()


@pytest.mark.parametrize("ids", [[7, None], [None, 2**64 - 1], [0.5, float("nan")], [-(2**63), None]])
def test_a_part_of_a_key_that_is_missing_is_one_of_its_own(ids: Any, tmp_path: Path) -> None:
    """Rows of both alternate, so that they have to be told apart one by one."""
    kind = pa.uint64() if 2**64 - 1 in ids else None
    order = [0, 4, 1, 5, 2, 6, 3, 7]
    columns = {
        "episode_id": [5] * 8,
        "agent_id": pa.array([ids[EPISODES[row]] for row in order], kind),
        "step": [STEPS[row] for row in order],
        "reward": [REWARDS[row] for row in order],
        "value": [VALUES[row] for row in order],
    }
    found, summary = computed(tmp_path / "rollouts.parquet", columns)
    assert summary.totals.episodes == 2
    np.testing.assert_allclose(found, np.array(WANTED)[order], rtol=1e-6)


def test_what_a_flag_names_and_no_layout_can_use_is_refused(tmp_path: Path) -> None:
    columns = {"done": [True] * 8, "reward": REWARDS, "value": VALUES, "note": ["x"] * 8}
    path = write(tmp_path / "rollouts.parquet", columns)
    for role in ("next_value", "mask", "bootstrap_value"):
        with pytest.raises((DataError, UsageError)) as raised:
            gaecli.compute(path, **{f"{role}_column": "note"})
        assert f"--{role.replace('_', '-')}-column" in str(raised.value.hint)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("cells", [[{"n": 1}] * 8, [["a", "b"]] * 8])
def test_agents_that_cannot_tell_rows_apart_are_refused(cells: Any, suffix: str, tmp_path: Path) -> None:
    columns = {"done": [True] * 8, "reward": REWARDS, "value": VALUES, "agent_id": cells}
    with pytest.raises(DataError, match="`agent_id`"):
        gaecli.compute(write(tmp_path / f"rollouts{suffix}", columns))
