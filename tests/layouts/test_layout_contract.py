"""What every layout of the table does, and one that is registered here by its row alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from estimators import toy_estimator
from layouts import toy_layout
from matrix.files import FORMATS, read_column, write
from matrix.rollout import GAMMA, LAM, Rollout, advantages, rollout
from pipeline.running import small_blocks

import gaecli
from gaecli import estimator_kinds, layout_kinds
from gaecli.cli.options import OPTIONS
from gaecli.columns import resolve
from gaecli.commands.single_rows import episode_keys
from gaecli.formats.registry import open_file
from gaecli.layout_kinds import LAYOUTS, LayoutKind
from gaecli.layouts.base import Layout
from gaecli.layouts.registry import choose_layout, why_layout
from gaecli.rollouts import Block
from gaecli.settings import Settings

KINDS = [*LAYOUTS.values(), toy_layout.KIND]
#: A row of it is a trajectory of one step, for estimators that compare those of a group.
RESPONSES = LAYOUTS["responses"]


@pytest.fixture(autouse=True)
def one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(layout_kinds.LAYOUTS, toy_layout.KIND.name, toy_layout.KIND)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> LayoutKind:
    return request.param


def given_rollout(kind: LayoutKind) -> Rollout:
    """Where a row is a trajectory, nothing ends inside of it."""
    return rollout(ends_inside=kind.row_is != "trajectory")


def arrays_of(given: Rollout, *, with_values: bool = True) -> dict[str, np.ndarray]:
    arrays = {"reward": given.rewards, "terminated": given.terminated, "truncated": given.truncated}
    arrays["next_value"] = given.following
    return arrays | ({"value": given.values} if with_values else {})


def write_as(kind: LayoutKind, folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A file that `auto` knows. `arrays`: [N, T] each."""
    num_envs, num_steps = arrays["reward"].shape
    envs = np.broadcast_to(np.arange(num_envs)[:, None], (num_envs, num_steps))
    if kind is RESPONSES:
        told = {name: arrays[name] for name in ("reward", "value", "bonus") if name in arrays}
        return write(folder, "long", ".parquet", {**told, "prompt": envs})
    if kind is toy_layout.KIND:
        lengths = np.full(num_envs, num_steps)
        return write(folder, "long", ".npz", {**arrays, "lengths": lengths})
    if kind.row_is == "cell":  # an id per environment says which axis is time
        return write(folder, kind.name, ".npz", {**arrays, "env_id": np.arange(num_envs)})
    arrays = arrays | ({"env_id": envs} if kind.row_is == "step" else {})
    return write(folder, kind.name, FORMATS[kind.name][0], arrays)


def settings_of(kind: LayoutKind) -> dict[str, object]:
    if kind is RESPONSES:
        return {"estimator": "rloo", "group_column": "prompt"}
    return {"gamma": GAMMA, "lam": LAM}


def expected(kind: LayoutKind, given: Rollout) -> np.ndarray:
    if kind is not RESPONSES:
        return advantages(given)
    found = np.zeros(given.rewards.shape)
    for env, step in np.ndindex(found.shape):
        others = [score for at, score in enumerate(given.rewards[env].tolist()) if at != step]
        found[env, step] = given.rewards[env, step] - sum(others) / len(others)
    return found


def in_cells(kind: LayoutKind, column: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """[N, T] of what was written."""
    return column.reshape(shape[::-1]).T if kind.name == "time-major" else column.reshape(shape)


def layout_of(path: Path, **settings: object) -> Layout:
    chosen = Settings(**settings)
    file = open_file(path)
    return choose_layout(file, resolve(file, chosen), chosen)


def blocks_of(path: Path, layout: Layout, rows: int) -> Iterator[tuple[int, Block]]:
    file = open_file(path)
    for unit in file.units(rows, layout.roles.names["reward"]):
        for start, _, columns in file.blocks(unit, layout.row_columns, rows):
            yield start, layout.block(start, columns)


def test_the_command_line_names_every_layout() -> None:
    known = set(LAYOUTS) - {toy_layout.KIND.name}
    assert set(str(OPTIONS["layout"].metavar).split("|")) == {"auto", *known}


def test_auto_knows_it_and_says_by_what(kind: LayoutKind, tmp_path: Path) -> None:
    path = write_as(kind, tmp_path, arrays_of(given_rollout(kind)))
    layout = layout_of(path, **settings_of(kind))
    assert layout.kind is kind
    assert len(why_layout(open_file(path), layout, Settings())) > 20
    assert gaecli.inspect(path, **settings_of(kind)).layout == kind.name


def test_its_name_means_it(kind: LayoutKind, tmp_path: Path) -> None:
    path = write_as(kind, tmp_path, arrays_of(given_rollout(kind)))
    assert layout_of(path, layout=kind.name, **settings_of(kind)).kind is kind


def test_another_name_is_refused_in_words_that_name_the_flag(kind: LayoutKind, tmp_path: Path) -> None:
    path = write_as(kind, tmp_path, arrays_of(given_rollout(kind)))
    others = [other for other in LAYOUTS.values() if other.row_is != kind.row_is]
    if kind.row_is == "cell":
        others = [other for other in others if other.name != "long"] + [toy_layout.KIND]
    if kind in (RESPONSES, LAYOUTS["nested"]):  # a row may be a step all the same, and the items of lists are
        others.remove(LAYOUTS["long"])
    for other in others:
        with pytest.raises(gaecli.UsageError, match=f"is not `{other.name}`") as error:
            layout_of(path, **{**settings_of(kind), "layout": other.name})
        assert "--layout" in str(error.value.hint)


def test_a_name_that_nobody_registered_is_refused() -> None:
    with pytest.raises(gaecli.UsageError, match="wide") as error:
        Settings(layout="wide")
    told = f"{error.value.message} {error.value.hint}"
    assert all(name in told for name in LAYOUTS)


def test_its_module_has_what_the_registry_calls(kind: LayoutKind) -> None:
    module = import_module(kind.module)
    assert callable(module.recognise)
    assert callable(module.why)


@pytest.mark.few(4)
@pytest.mark.parametrize("block_rows", [1, 2, 5, 10_000])
def test_blocks_of_any_size_give_the_numbers_of_the_loop(
    kind: LayoutKind, tmp_path: Path, block_rows: int
) -> None:
    given = given_rollout(kind)
    path = write_as(kind, tmp_path, arrays_of(given))
    with small_blocks(block_rows, store_bytes=300, dtype=np.float64):
        gaecli.compute(path, **settings_of(kind))
    found = in_cells(kind, read_column(path, "advantage"), given.rewards.shape)
    np.testing.assert_allclose(found, expected(kind, given), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("block_rows", [1, 2, 5, 10_000])
def test_steps_stand_where_it_says_that_they_do(kind: LayoutKind, tmp_path: Path, block_rows: int) -> None:
    given = given_rollout(kind)
    path = write_as(kind, tmp_path, arrays_of(given))
    layout = layout_of(path, **settings_of(kind))
    assert (layout.frame is not None) == (kind.row_is == "cell")
    if layout.needs_all_rows:
        block_rows = given.rewards.size
    num_steps, seen = given.rewards.shape[1], 0
    for start, block in blocks_of(path, layout, block_rows):
        rows = start + block.file_rows(np.arange(block.num_steps))
        for step, row in enumerate(rows.tolist()):
            if layout.frame is not None:
                place = layout.frame.place_of(row)
                time, lane = place.get("time", place.get("step")), place.get("env", place.get("row"))
                assert layout.frame.cell_of(time=time, lane=lane) == row
            elif block.list_offsets is not None:
                assert kind.row_is == "trajectory"
                time, lane = step - int(block.list_offsets[row - start]), row
            else:
                lane, time = divmod(row, num_steps)
            assert block.rewards[step] == given.rewards[lane, time]
            seen += 1
    assert seen == given.rewards.size


def test_a_step_is_found_by_what_people_call_it(kind: LayoutKind, tmp_path: Path) -> None:
    if kind is RESPONSES:
        pytest.skip("there are no steps to take apart")
    given = given_rollout(kind)
    path = write_as(kind, tmp_path, arrays_of(given))
    wanted = advantages(given)
    steps = list(np.ndindex(given.rewards.shape))
    for lane, time in [*steps[::4], steps[-1]]:
        called = {"env": lane, "step": time}
        if kind.row_is == "trajectory":
            called = {"row": lane, "step": time}
        elif kind is toy_layout.KIND:  # it has no ids
            called = {"row": lane * given.rewards.shape[1] + time}
        found = gaecli.explain(path, gamma=GAMMA, lam=LAM, **called)
        assert found.reward == given.rewards[lane, time]
        assert found.recursion == pytest.approx(wanted[lane, time], rel=1e-9, abs=1e-12)


def test_what_names_an_episode_is_the_same_in_all_its_rows(kind: LayoutKind, tmp_path: Path) -> None:
    given = given_rollout(kind)
    num_envs, num_steps = given.rewards.shape
    if kind.row_is == "cell" or kind is RESPONSES:
        pytest.skip("it is named by its place")
    path = write_as(kind, tmp_path, arrays_of(given))
    numbers = np.repeat([7, 3, 5], num_steps).reshape(num_envs, num_steps)
    if kind.row_is == "trajectory":
        ids = {"episode_id": numbers[:, 0], "env_id": np.arange(num_envs)}
    else:
        ids = {"episode_id": numbers, "env_id": np.arange(num_envs).repeat(num_steps).reshape(numbers.shape)}
    suffix = path.suffix
    path.unlink()
    lengths = {"lengths": np.full(num_envs, num_steps)} if kind is toy_layout.KIND else {}
    ends = {"terminated": np.arange(num_steps) == np.full((num_envs, 1), num_steps - 1)}
    arrays = {**arrays_of(given), **ends, "truncated": np.zeros_like(given.truncated), **ids, **lengths}
    path = write(tmp_path, "nested" if kind.row_is == "trajectory" else "long", suffix, arrays)
    layout = layout_of(path)
    rows = list(range(num_envs if kind.row_is == "trajectory" else given.rewards.size))
    keys = episode_keys(open_file(path), layout.key_roles, rows)
    per_episode = 1 if kind.row_is == "trajectory" else num_steps
    assert keys == [
        {"env": env, "episode": episode} for env, episode in enumerate([7, 3, 5]) for _ in range(per_episode)
    ]
    assert [one.key for one in gaecli.inspect(path, episodes=True).episodes] == keys[::per_episode]


@pytest.mark.parametrize("with_values", [True, False], ids=["values", "no values"])
def test_further_columns_and_no_values_come_through(
    kind: LayoutKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_values: bool
) -> None:
    estimator = toy_estimator.KIND
    if kind is RESPONSES:
        estimator = replace(
            estimator, is_grouped=True, is_scored=True, takes=("group_column",), outputs=("advantage",)
        )
    monkeypatch.setitem(estimator_kinds.ESTIMATORS, estimator.name, estimator)
    given = given_rollout(kind)
    bonus = np.random.default_rng(3).normal(size=given.rewards.shape)
    arrays = {**arrays_of(given, with_values=with_values), "bonus": bonus}
    path = write_as(kind, tmp_path, arrays)
    groups = {"group_column": "prompt"} if estimator.is_grouped else {}
    layout = layout_of(path, estimator=estimator.name, **groups)
    assert layout.kind is kind
    ((_, block),) = blocks_of(path, layout, 10_000)
    assert block.has_values == with_values
    np.testing.assert_array_equal(block.values, given.values.reshape(-1) if with_values else 0)
    np.testing.assert_array_equal(block.extras["bonus"], bonus.reshape(-1))
