"""Flat HDF5: D4RL's arrays, and buffers that are not full, or went round."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gaecli
from gaecli.formats.hdf5 import texts
from gaecli.formats.registry import open_file

h5py = pytest.importorskip("h5py")

GAMMA, LAM = 0.9, 0.8
STEPS = 60
D4RL = ("rewards", "terminals", "timeouts", "values")
TIANSHOU = ("rew", "terminated", "truncated", "value")
#: What Tianshou 2 and 1 store of a buffer.
STATES = {"2": "_insertion_idx", "1": "_index"}


def steps() -> dict[str, np.ndarray]:
    """Episodes of 7 steps, terminated and cut in turn, and one that goes on at the end."""
    rng = np.random.default_rng(5)
    ends = np.arange(STEPS) % 7 == 6
    is_cut = np.arange(STEPS) // 7 % 2 == 1
    values = (rng.normal(size=STEPS) + 2, ends & ~is_cut, ends & is_cut, rng.normal(size=STEPS) + 3)
    return dict(zip(D4RL, values, strict=True))


def oracle(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Backwards, step by step; 0 behind what is cut."""
    rewards, terminals, timeouts, values = (columns[name] for name in D4RL)
    advantages, following = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        is_last = terminals[t] or timeouts[t] or t == len(rewards) - 1
        beyond = 0.0 if is_last else values[t + 1]
        following = rewards[t] + GAMMA * beyond - values[t] + (0.0 if is_last else GAMMA * LAM * following)
        advantages[t] = following
    return advantages


def d4rl(path: Path, columns: Mapping[str, np.ndarray], **attributes: Any) -> None:
    with h5py.File(path, "w") as file:
        num_rows = len(next(iter(columns.values())))
        for name, cells in columns.items():
            file[name] = cells
        file["observations"] = np.ones((num_rows, 3), np.float32)
        file["actions"] = np.ones((num_rows, 2), np.float32)
        file["infos/qpos"] = np.ones((num_rows, 4))
        file["infos/value"] = np.arange(float(num_rows))
        file["metadata/policy/fc0/weight"] = np.ones((5, 3))
        file["metadata/algorithm"] = np.bytes_("SAC")
        file.attrs.update(attributes)


def tianshou(path: Path, columns: Mapping[str, np.ndarray], index: int, size: int, version: str) -> None:
    """As `ReplayBuffer.save_hdf5` writes it: numbers as attributes, a type with every dataset, `buffers` pickled."""
    capacity = len(next(iter(columns.values())))
    with h5py.File(path, "w") as file:
        meta = file.create_group("_meta")
        meta.attrs["__data_type__"] = "Batch"
        for name, cells in zip(TIANSHOU, columns.values(), strict=True):
            meta[name] = cells
        meta["obs"] = np.ones((capacity, 4))
        file["_indices"] = np.arange(capacity)
        file["last_index"] = np.array([(index - 1) % capacity])
        for item in (*meta.values(), file["_indices"], file["last_index"]):
            item.attrs["__data_type__"] = "ndarray"
        file.attrs.update({"maxsize": capacity, "_size": size, STATES[version]: index, "stack_num": 1})


def compute(path: Path, **settings: Any) -> tuple[str, dict[str, int]]:
    summary = gaecli.compute(path, gamma=GAMMA, lam=LAM, **settings)
    notes = {note.code: note.count for note in summary.warnings if note.code != "bootstrap-zero"}
    return summary.files[0].status, notes


def column(path: Path, name: str) -> np.ndarray:
    with h5py.File(path) as file:
        return file[name][()]


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update({name: (dict(item.attrs), str(getattr(item, "shape", "")))})
        )
    return found


def padded(columns: Mapping[str, np.ndarray], capacity: int) -> dict[str, np.ndarray]:
    return {
        name: np.resize(np.append(cells, np.zeros(capacity - STEPS, cells.dtype)), capacity)
        for name, cells in columns.items()
    }


def test_arrays_at_the_top_get_columns_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    d4rl(path, steps())
    before = content(path)
    assert compute(path) == ("written", {})
    np.testing.assert_allclose(column(path, "advantage"), oracle(steps()), rtol=1e-5)
    np.testing.assert_allclose(column(path, "return"), oracle(steps()) + steps()["values"], rtol=1e-5)
    after = content(path)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"advantage", "return"}
    assert compute(path) == ("up to date", {})


def test_the_memory_limit_does_not_change_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    many = {name: np.tile(cells, 200) for name, cells in steps().items()}
    d4rl(path, many)
    compute(path, memory_bytes=1 << 20)
    np.testing.assert_allclose(column(path, "advantage"), oracle(many), rtol=1e-4, atol=1e-5)


def test_other_arrays_keep_their_content(tmp_path: Path) -> None:
    path, target = tmp_path / "x.hdf5", tmp_path / "out.hdf5"
    d4rl(path, steps())
    source = path.read_bytes()
    compute(path, output=target)
    assert path.read_bytes() == source
    for name in ("observations", "infos/qpos", "metadata/policy/fc0/weight", "rewards"):
        np.testing.assert_array_equal(column(target, name), column(path, name))
    np.testing.assert_allclose(column(target, "advantage"), oracle(steps()), rtol=1e-5)


def test_values_may_stand_in_a_group(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    columns = steps()
    d4rl(path, {name: columns[name] for name in D4RL[:3]})
    with pytest.raises(gaecli.UsageError, match="no value column") as raised:
        compute(path)
    assert "infos.value" in raised.value.message
    compute(path, value_column="infos.value")
    columns["values"] = np.arange(float(STEPS))
    np.testing.assert_allclose(column(path, "advantage"), oracle(columns), rtol=1e-5)


def test_columns_of_somebody_else_are_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    d4rl(path, {**steps(), "advantage": np.zeros(STEPS)})
    with pytest.raises(gaecli.UsageError, match="`advantage` already"):
        compute(path)
    compute(path, overwrite=True)
    np.testing.assert_allclose(column(path, "advantage"), oracle(steps()), rtol=1e-5)


def test_a_result_that_somebody_edited_is_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    d4rl(path, steps())
    compute(path)
    with h5py.File(path, "r+") as file:
        file["advantage"][0] = 7.0
    assert compute(path)[0] == "written"
    assert compute(path)[0] == "up to date"


@pytest.mark.parametrize("version", STATES)
def test_rows_that_were_not_filled_are_no_steps(version: str, tmp_path: Path) -> None:
    path = tmp_path / "buffer.hdf5"
    tianshou(path, padded(steps(), 100), index=STEPS, size=STEPS, version=version)
    assert compute(path) == ("written", {"unfilled-rows": 40})
    found = column(path, "_meta/advantage")
    np.testing.assert_allclose(found[:STEPS], oracle(steps()), rtol=1e-5)
    assert found.shape == (100,)
    assert np.isnan(found[STEPS:]).all()
    assert compute(path)[0] == "up to date"
    # Tianshou's loader asks every dataset for this.
    with h5py.File(path) as file:
        assert {item.attrs["__data_type__"] for item in file["_meta"].values()} == {"ndarray"}


@pytest.mark.few(3)
@pytest.mark.parametrize("version", STATES)
@pytest.mark.parametrize("index", [1, 25, STEPS - 1])
def test_a_full_buffer_is_read_from_its_oldest_row_on(version: str, index: int, tmp_path: Path) -> None:
    path = tmp_path / "buffer.hdf5"
    rolled = {name: np.roll(cells, index) for name, cells in steps().items()}
    tianshou(path, rolled, index=index, size=STEPS, version=version)
    assert compute(path) == ("written", {"ring-order": STEPS})
    np.testing.assert_allclose(column(path, "_meta/advantage"), np.roll(oracle(steps()), index), rtol=1e-5)


def test_the_end_of_the_array_may_be_within_a_block(tmp_path: Path) -> None:
    path = tmp_path / "buffer.hdf5"
    many = {name: np.tile(cells, 200) for name, cells in steps().items()}
    tianshou(path, {name: np.roll(cells, 5_000) for name, cells in many.items()}, 5_000, 200 * STEPS, "2")
    compute(path, memory_bytes=1 << 20)
    expected = np.roll(oracle(many), 5_000)
    np.testing.assert_allclose(column(path, "_meta/advantage"), expected, rtol=1e-4, atol=1e-5)


def test_a_full_buffer_that_did_not_go_round_is_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "buffer.hdf5"
    tianshou(path, steps(), index=0, size=STEPS, version="2")
    assert compute(path) == ("written", {})
    np.testing.assert_allclose(column(path, "_meta/advantage"), oracle(steps()), rtol=1e-5)


@pytest.mark.parametrize(
    ("state", "filled", "first"),
    [
        ({"size": STEPS, "ptr": STEPS}, STEPS, 0),
        ({"pos": STEPS, "full": False}, STEPS, 0),
        ({"pos": 30, "full": True}, 100, 30),
        ({"size": 100, "ptr": 30}, 100, 30),
    ],
)
def test_buffers_of_ones_own_say_it_in_other_words(
    state: dict[str, Any], filled: int, first: int, tmp_path: Path
) -> None:
    path = tmp_path / "buffer.hdf5"
    d4rl(path, padded(steps(), 100), **state)
    code = "ring-order" if first else "unfilled-rows"
    assert code in compute(path, dry_run=True)[1]
    file = open_file(path)
    ((_, _, found),) = file.blocks(file.units(100, "rewards")[0], ["rewards"], 100)
    expected = np.roll(padded(steps(), 100)["rewards"], -first)[:filled]
    np.testing.assert_array_equal(found["rewards"].values, expected)


def test_a_position_alone_is_asked_about(tmp_path: Path) -> None:
    path = tmp_path / "buffer.hdf5"
    d4rl(path, steps(), ptr=20)
    with pytest.raises(gaecli.UsageError, match="`ptr` = 20, and has 60 rows") as raised:
        compute(path)
    assert "attribute `size`" in str(raised.value.hint)


def test_several_buffers_in_one_array_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "buffer.hdf5"
    tianshou(path, steps(), index=0, size=STEPS, version="2")
    with h5py.File(path, "r+") as file:
        file["_lengths"] = np.array([30, 30])
    with pytest.raises(gaecli.UsageError, match="holds 2 buffers") as raised:
        compute(path)
    assert "save_hdf5" in str(raised.value.hint)


def test_zeros_at_the_end_are_told_where_nothing_else_tells(tmp_path: Path) -> None:
    path = tmp_path / "buffer.hdf5"
    d4rl(path, padded(steps(), 100))
    assert compute(path)[1]["unfilled-tail"] == 40


@pytest.mark.parametrize("name", ["rewards", "values"])
def test_links_at_the_top_are_not_followed(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    d4rl(tmp_path / "other.hdf5", steps())
    d4rl(path, steps())
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = h5py.ExternalLink("other.hdf5", name)
    with pytest.raises(gaecli.UsageError, match=r"no .* column"):
        compute(path)


def test_unstored_rows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        for name in D4RL:
            file.create_dataset(name, shape=(2**36,), dtype="f8", chunks=(1 << 16,))
    with pytest.raises(gaecli.GaeError, match="was not filled"):
        compute(path)


@pytest.mark.parametrize("dtype", ["S3", h5py.string_dtype()])
def test_texts_tell_groups_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: Any) -> None:
    monkeypatch.setattr(texts, "_MOST_ROWS", 2)
    path = tmp_path / "responses.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("prompt", data=[text.encode() for text in ("a", "é", "a", "é", "b")], dtype=dtype)
        file["reward"] = [1.0, 0.0, 3.0, 5.0, 2.0]
    gaecli.compute(path, estimator="dr-grpo", group_column="prompt")
    assert column(path, "advantage").tolist() == [-1.0, -2.5, 1.0, 2.5, 0.0]


@pytest.mark.parametrize("group", ["", "episode_0/", "data/demo_0/"])
def test_a_name_may_have_a_dot(tmp_path: Path, group: str) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        for name in ("next.reward", "value.old", "infos/v.now", "terminated"):
            file[group + name] = np.array([0.0, 0.0, 1.0])
    gaecli.compute(path, columns={"reward": "next.reward", "value": "infos.v.now"}, gamma=0.5, lam=1.0)
    assert column(path, f"{group}advantage").tolist() == [0.25, 0.5, 0.0]
