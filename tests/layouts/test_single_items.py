"""Lists of one item are the scalars that they hold, in every role, type and format; unless rows are trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts.rows_in_files import TABLES, advantages, column, computed, write

import gaecli
from gaecli.errors import DataError, UsageError

ROWS: dict[str, Any] = {
    "reward": [1.5, -0.25, 2.0, 0.5, -1.0, 3.0, 0.75, 0.25],
    "value": [0.5, 1.0, -0.5, 2.0, 0.25, 1.5, -1.0, 0.125],
    "terminated": [False, False, False, True, False, False, False, False],
    "truncated": [False] * 7 + [True],
    "next_value": [None] * 7 + [2.5],
    "mask": [1] * 8,
    "episode_id": [7, 7, 7, 7, 8, 8, 8, 8],
    "env_id": [0, 0, 0, 0, 1, 1, 1, 1],
    "step": [0, 1, 2, 3, 0, 1, 2, 3],
    "agent_id": ["a"] * 8,
}
WANTED = advantages(ROWS["reward"][:4], ROWS["value"][:4], is_terminal=True)
WANTED += advantages(ROWS["reward"][4:], ROWS["value"][4:], beyond=2.5)
SHUFFLED = [2, 0, 6, 3, 1, 4, 7, 5]

#: How many lists stand around each number: name -> (type, formats that have it).
LISTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "list": (pa.list_, TABLES),
    "large_list": (pa.large_list, (".parquet", ".arrow")),
    "fixed_size_list": (lambda item: pa.list_(item, 1), (".parquet", ".arrow")),
    "list_view": (pa.list_view, (".arrow",)),
    "large_list_view": (pa.large_list_view, (".arrow",)),
    "list of lists": (lambda item: pa.list_(pa.list_(item)), TABLES),
    "fixed in a list": (lambda item: pa.list_(pa.list_(item, 1)), (".parquet", ".arrow")),
    "three lists": (lambda item: pa.list_(pa.list_(pa.list_(item))), (".parquet", ".arrow")),
}
CASES = [
    pytest.param(make, suffix, id=f"{name}{suffix}")
    for name, (make, suffixes) in LISTS.items()
    for suffix in suffixes
]


def packed(cells: Any, make: Any) -> pa.Array:
    """Each cell in as many lists as the type has."""
    items = pa.array(cells)
    data_type, depth = make(items.type), 0
    inner = data_type
    while hasattr(inner, "value_type"):
        inner, depth = inner.value_type, depth + 1
    for _ in range(depth):
        cells = [[cell] for cell in cells]
    return pa.array(cells, data_type)


@pytest.mark.few(8)
@pytest.mark.parametrize(("make", "suffix"), CASES)
def test_every_role_may_stand_in_a_list_of_one(make: Any, suffix: str, tmp_path: Path) -> None:
    rows = {name: [cells[row] for row in SHUFFLED] for name, cells in ROWS.items()}
    columns = {name: packed(cells, make) for name, cells in rows.items()}
    found, summary = computed(tmp_path / f"rollouts{suffix}", columns)
    np.testing.assert_allclose(found, np.array(WANTED)[SHUFFLED], rtol=1e-6)
    assert (summary.files[0].layout, summary.warnings) == ("long", [])


@pytest.mark.few(5)
@pytest.mark.parametrize("role", ROWS)
@pytest.mark.parametrize("suffix", TABLES)
def test_any_one_role_may(role: str, suffix: str, tmp_path: Path) -> None:
    columns = {**ROWS, role: packed(ROWS[role], pa.list_)}
    found, summary = computed(tmp_path / f"rollouts{suffix}", columns)
    np.testing.assert_allclose(found, WANTED, rtol=1e-6)
    assert summary.warnings == []


def test_tensors_of_one_number(tmp_path: Path) -> None:
    kind = pa.fixed_shape_tensor(pa.float64(), (1, 1))
    storage = pa.array([[cell] for cell in ROWS["value"]], kind.storage_type)
    columns = {**ROWS, "value": pa.ExtensionArray.from_storage(kind, storage)}
    for suffix in (".parquet", ".arrow"):
        found, _ = computed(tmp_path / f"rollouts{suffix}", columns)
        np.testing.assert_allclose(found, WANTED, rtol=1e-6)


@pytest.mark.parametrize("layout", ["auto", "long"])
def test_the_keys_may_be_named(layout: str, tmp_path: Path) -> None:
    columns = {
        "reward": packed(ROWS["reward"], pa.list_),
        "value": packed(ROWS["value"], pa.list_),
        "which": packed(ROWS["episode_id"], pa.list_),
        "when": packed(ROWS["step"], pa.list_),
    }
    options = {"episode_column": "which", "step_column": "when", "bootstrap": "zero", "layout": layout}
    found, _ = computed(tmp_path / "rollouts.parquet", columns, **options)
    open_end = advantages(ROWS["reward"][:4], ROWS["value"][:4])
    np.testing.assert_allclose(found[:4], open_end, rtol=1e-6)


@pytest.mark.parametrize("suffix", TABLES)
def test_an_empty_or_null_list_is_a_value_that_is_not_given(suffix: str, tmp_path: Path) -> None:
    given = pa.array([[]] * 4 + [None] * 3 + [[2.5]], pa.list_(pa.float64()))
    found, _ = computed(tmp_path / f"rollouts{suffix}", {**ROWS, "next_value": given})
    np.testing.assert_allclose(found, WANTED, rtol=1e-6)


def one_step_each() -> dict[str, Any]:
    """Trajectories that all happen to have one step, and nothing that says so."""
    return {"rewards": [[1.0], [2.0], [4.0]], "values": [[0.5], [0.25], [1.0]]}


@pytest.mark.parametrize("suffix", TABLES)
def test_trajectories_of_one_step_are_asked_about(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"rollouts{suffix}", one_step_each())
    with pytest.raises(UsageError, match="where a trajectory ends") as raised:
        gaecli.compute(path)
    assert "--layout nested" in str(raised.value.hint)


@pytest.mark.parametrize("make", [pa.list_, lambda item: pa.list_(item, 1)])
def test_layout_nested_takes_every_row_for_a_trajectory(make: Any, tmp_path: Path) -> None:
    columns = {name: pa.array(cells, make(pa.float64())) for name, cells in one_step_each().items()}
    found, summary = computed(tmp_path / "rollouts.parquet", columns, layout="nested")
    np.testing.assert_allclose(found, [[0.5], [1.75], [3.0]], rtol=1e-6)  # each: reward - value
    assert summary.files[0].layout == "nested"


def test_trajectories_with_flags_are_the_same_either_way(tmp_path: Path) -> None:
    columns = {**one_step_each(), "terminated": [[True]] * 3}
    long, _ = computed(tmp_path / "long.parquet", columns)
    nested, _ = computed(tmp_path / "nested.parquet", columns, layout="nested")
    np.testing.assert_allclose(long, np.ravel(nested), rtol=0)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".arrow"])
def test_all_files_of_a_stream_decide(suffix: str, tmp_path: Path) -> None:
    """A shard whose trajectories happen to have one step is no table of scalars."""
    other = {"rewards": [[1.0, 2.0], [3.0]], "values": [[0.5, 0.25], [1.0]]}
    write(tmp_path / f"part-00000-of-00002{suffix}", one_step_each())
    write(tmp_path / f"part-00001-of-00002{suffix}", other)
    summary = gaecli.compute(tmp_path)
    assert {file.layout for file in summary.files} == {"nested"}
    found = column(tmp_path / f"part-00000-of-00002{suffix}", "advantage")
    np.testing.assert_allclose(found, [[0.5], [1.75], [3.0]], rtol=1e-6)


def test_independent_files_decide_alone(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {**one_step_each(), "done": [[True]] * 3})
    write(tmp_path / "b.parquet", {"rewards": [[1.0, 2.0], [3.0]], "values": [[0.5, 0.25], [1.0]]})
    summary = gaecli.compute([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert [file.layout for file in summary.files] == ["long", "nested"]


def test_lists_of_more_beside_lists_of_one_are_refused(tmp_path: Path) -> None:
    columns = {**ROWS, "reward": packed(ROWS["reward"], pa.list_), "value": [[1.0, 2.0]] * 8}
    with pytest.raises(DataError, match=r"`value`.*holds lists") as raised:
        gaecli.compute(write(tmp_path / "rollouts.parquet", columns))
    assert "--layout nested" in str(raised.value.hint)


def test_a_footer_that_is_wrong_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gaecli.formats.parquet.reader import ParquetInput

    monkeypatch.setattr(ParquetInput, "has_single_items", lambda file, name: True)
    columns = {**ROWS, "value": [[1.0]] * 5 + [[1.0, 2.0]] + [[1.0]] * 2}
    with pytest.raises(DataError, match="`value` has 2 items at row 5"):
        gaecli.compute(write(tmp_path / "rollouts.parquet", columns))


@pytest.mark.parametrize("suffix", TABLES)
def test_a_column_of_t_by_one_is_a_list(suffix: str, tmp_path: Path) -> None:
    """A critic's output of [T, 1] beside rewards of [T], a row per trajectory."""
    columns = {
        "rewards": [ROWS["reward"][:4], ROWS["reward"][4:]],
        "values": [[[cell] for cell in ROWS["value"][:4]], [[cell] for cell in ROWS["value"][4:]]],
        "terminated": [[False] * 3 + [True]] * 2,
    }
    found, _ = computed(tmp_path / f"rollouts{suffix}", columns)
    wanted = [
        advantages(ROWS["reward"][part], ROWS["value"][part], is_terminal=True)
        for part in (slice(4), slice(4, 8))
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_a_batch_of_one_by_t_is_a_list(tmp_path: Path) -> None:
    columns = {"rewards": [[[1.0, 2.0]], [[3.0]]], "values": [[[0.0, 0.0]], [[0.0]]]}
    found, _ = computed(tmp_path / "rollouts.parquet", columns, gamma=1.0, lam=1.0)
    assert found == [[3.0, 2.0], [3.0]]


def test_lists_of_lists_of_more_are_refused(tmp_path: Path) -> None:
    columns = {"rewards": [[[1.0, 2.0], [3.0, 4.0]]], "values": [[[0.0, 0.0], [0.0, 0.0]]]}
    with pytest.raises(DataError, match=r"`rewards`.*lists of lists"):
        gaecli.compute(write(tmp_path / "rollouts.parquet", columns))


@pytest.mark.parametrize("command", ["inspect", "read", "check", "verify"])
def test_every_command_sees_scalars(command: str, tmp_path: Path) -> None:
    from gaecli.commands.check import check

    columns = {name: packed(cells, pa.list_) for name, cells in ROWS.items()}
    path = write(tmp_path / "rollouts.parquet", {**columns, "old": packed(WANTED, pa.list_)})
    if command == "inspect":
        info = gaecli.inspect(path)
        assert (info.layout, info.counts.episodes, info.problem) == ("long", 2, None)
    elif command == "read":
        assert gaecli.read(path).offsets.tolist() == [0, 4, 8]
    elif command == "check":
        assert check([path]).findings == []
    else:
        assert gaecli.verify(path, "old").best.is_reproduced


def test_new_columns_are_scalars_and_all_else_is_kept(tmp_path: Path) -> None:
    columns = {name: packed(cells, pa.list_) for name, cells in ROWS.items()}
    path = write(tmp_path / "rollouts.parquet", columns)
    before = pq.read_table(path)
    gaecli.compute(path)
    after = pq.read_table(path)
    assert after.schema.field("advantage").type == pa.float32()
    assert after.select(before.column_names).equals(before)
    assert gaecli.compute(path).files[0].status == "up to date"
