"""Each rule sees the fault that was planted for it: order, files, columns that nobody uses, other layouts."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checks.planted import (
    Columns,
    Examined,
    ends,
    rows,
    steps_in_episode,
    with_done,
    without,
    write,
)

import gaecli
from gaecli.commands.check import check
from gaecli.settings import Settings


class TestOrder:
    def test_a_step_twice(self, clean, examine):
        row = 100
        assert clean["episode_id"][row] == clean["episode_id"][row + 1]
        columns = rows(clean, np.insert(np.arange(len(clean["t"])), row + 1, row))
        finding = examine(columns).one("GAE401")
        assert (finding.row, finding.count) == (row + 1, 1)

    def test_a_missing_step(self, clean, examine):
        row = 100
        columns = rows(clean, np.delete(np.arange(len(clean["t"])), row))
        finding = examine(columns).one("GAE402")
        assert (finding.row, finding.count) == (row, 1)
        assert "apart elsewhere" in finding.message

    def test_a_regular_stride_misses_nothing(self, clean, examine):
        assert examine({**clean, "t": clean["t"] * 4}).checkup.findings == []

    def test_rows_out_of_order(self, clean, examine):
        order = np.arange(len(clean["t"]))
        order[[100, 101]] = [101, 100]
        finding = examine(rows(clean, order)).one("GAE403")
        assert (finding.row, finding.count) == (101, 1)

    def test_rows_out_of_the_order_of_their_timestamp(self, clean, examine):
        order = np.arange(len(clean["t"]))
        order[[100, 101]] = [101, 100]
        columns = without({**clean, "timestamp": clean["t"] * 0.1}, "t")
        assert examine(columns).checkup.findings == []
        finding = examine(rows(columns, order)).one("GAE403")
        assert (finding.row, finding.count) == (101, 1)
        assert "`timestamp`" in finding.message

    @pytest.mark.few("blocks")
    def test_moments_in_place_of_steps(self, clean, examine):
        columns = {**clean, "t": clean["t"] * 0.1}
        assert examine(columns).checkup.findings == []
        order = np.arange(len(clean["t"]))
        order[[100, 101]] = [101, 100]
        assert examine(rows(columns, order)).one("GAE403").row == 101

    def test_a_reset_without_a_flag(self, clean, examine):
        columns = without(clean, "episode_id", "env_id")
        columns["t"] = steps_in_episode(clean)
        # The last episode of the first environment is open: only its id said that it was over.
        border = int(np.argmax(clean["env_id"] == 1))
        finding = examine(columns).one("GAE404")
        assert (finding.row, finding.count) == (border, 1)


class TestInputs:
    def test_files_of_different_conventions(self, clean, tmp_path):
        one = write(tmp_path / "a.parquet", clean)
        two = write(tmp_path / "b.parquet", {**without(clean, "reward"), "rewards": clean["reward"]})
        assert check([one, one]).findings == []
        (finding,) = check([one, two]).findings
        assert finding.rule.code == "GAE501"
        assert finding.file == str(two)
        assert (finding.count, finding.unit) == (1, "file")

    @pytest.mark.few(3)
    @pytest.mark.parametrize(
        "pattern", ["{:04}", "part-{:05}-1f0c-c000.snappy", "part.{}", "data_{}", "chunk_{:03}"]
    )
    def test_numbered_files_of_which_one_goes_on_in_the_next(self, clean, tmp_path, pattern):
        columns = rows(without(clean, "env_id"), clean["env_id"] == 0)
        cut = ends(columns, "terminated")[4] + 5
        parts = (slice(None, cut), slice(cut, None))
        paths = [
            write(
                tmp_path / f"{pattern.format(number)}.parquet",
                {name: cells[part] for name, cells in columns.items()},
            )
            for number, part in enumerate(parts)
        ]
        (finding,) = check(paths).findings
        assert (finding.rule.code, finding.count, finding.unit) == ("GAE503", 1, "file")
        assert finding.file == str(paths[0])
        assert "`--join`" in str(finding.fix)
        assert check(paths, Settings(join=True)).findings == []
        assert check(paths, Settings(join=False)).findings == []

    def test_lerobot_metadata_out_of_step(self, clean, tmp_path):
        data = tmp_path / "data" / "chunk-000"
        data.mkdir(parents=True)
        (tmp_path / "meta").mkdir()
        info = {"codebase_version": "v3.0", "features": {name: {"dtype": "float32"} for name in clean}}
        info["features"]["observation.images.top"] = {"dtype": "video"}
        info["data_path"] = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        path = write(data / "file-000.parquet", clean)
        (tmp_path / "meta" / "info.json").write_text(json.dumps(info))
        assert "GAE502" not in Examined(check([path])).codes
        write(path, {**clean, "extra": clean["value"]})
        del info["features"]["value"]
        (tmp_path / "meta" / "info.json").write_text(json.dumps(info))
        (finding,) = (f for f in check([path]).findings if f.rule.code == "GAE502")
        assert finding.message == "not in `meta/info.json`: `extra`, `value`"
        assert finding.file == str(path)

    @pytest.mark.parametrize(("sizes", "is_found"), [((0, 2), True), ((0, 0, 2), True), ((2, 0), False)])
    def test_an_empty_first_row_group(self, clean, tmp_path, sizes, is_found):
        table = pq.read_table(write(tmp_path / "whole.parquet", clean))
        path = tmp_path / "groups.parquet"
        with pq.ParquetWriter(path, table.schema) as writer:
            for size in sizes:
                writer.write_table(table if size else table.slice(0, 0))
        found = [finding for finding in check([path]).findings if finding.rule.code == "GAE504"]
        assert len(found) == is_found
        if is_found:
            assert f"of {len(sizes)} row groups" in found[0].message
        gaecli.compute(path)
        assert "GAE504" not in Examined(check([path])).codes

    def test_what_compute_refuses_is_never_called_clean(self, clean, examine):
        finding = examine({**clean, "rewards": clean["reward"] + 1}).one("GAE900")
        assert "differ" in finding.message
        assert "--reward-column" in str(finding.fix)


class TestPassedOver:
    """More of these, in every format, in tests/traps/test_traps_passed_over.py."""

    def test_rewards_on_masked_rows(self, clean, examine):
        mask = np.ones(len(clean["reward"]), np.int8)
        inside = np.flatnonzero(~(clean["terminated"] | clean["truncated"]))[5:8]
        mask[inside] = 0
        masked = {**clean, "mask": mask, "reward": np.where(mask, clean["reward"], 0).astype(np.float32)}
        assert "GAE104" not in examine(masked, mask_mode="zero").codes
        finding = examine({**masked, "reward": clean["reward"]}, mask_mode="zero").one("GAE104")
        assert finding.count == 3
        assert f"the first at row {inside[0]} " in finding.message

    def test_units_that_say_nothing(self, clean, examine):
        one = {**clean, "turn": np.zeros(len(clean["reward"]), np.int64)}
        finding = examine(one, columns={"unit": "turn"}).one("GAE506")
        assert finding.count == len(np.unique(clean["episode_id"]))
        assert "AReaL#1666" in str(finding.fix)

    def test_rewards_in_no_unit(self, clean, examine):
        turns = np.arange(len(clean["reward"]))
        given = {**clean, "turn": np.where(turns % 4 == 0, -1, turns)}
        found = examine(given, columns={"unit": "turn"})
        assert found.one("GAE106").count == np.count_nonzero(clean["reward"][turns % 4 == 0])
        assert "GAE506" not in found.codes

    def test_rewards_beside_the_observation_they_led_to(self, examine):
        place = np.tile(np.arange(10), 12)
        flags = {"is_first": place == 0, "is_last": place == 9, "is_terminal": place == 9}
        random = np.random.default_rng(0)
        columns = {"episode_id": np.repeat(np.arange(12), 10), "value": random.normal(size=120), **flags}
        rewards = random.normal(size=120)
        assert "GAE105" not in examine({**columns, "reward": rewards}).codes
        arrived = {**columns, "reward": np.where(place == 0, 0, rewards)}
        assert examine(arrived).one("GAE105").count == 12

    def test_rows_that_alternate_by_an_id_that_nothing_uses(self, clean, examine):
        first, second = (rows(with_done(clean), clean["env_id"] == env) for env in (0, 1))
        length = min(len(first["t"]), len(second["t"]))
        order = np.arange(2 * length).reshape(2, length).T.reshape(-1)
        both = {
            name: np.concatenate([first[name][:length], second[name][:length]])[order]
            for name in ("reward", "value", "done")
        }
        named = {**both, "walker": np.tile([4, 7], length)}
        finding = examine({**named, "robot": named.pop("walker")}).one("GAE405")
        assert (
            finding.fix
            == "pass `--env-column robot` if it tells trajectories apart, or `--env-column none` if it does not"
        )

    def test_an_id_that_nothing_uses_changes_where_nothing_ends(self, clean, examine):
        columns = without(with_done(clean), "episode_id", "env_id", "t")
        done = columns["done"].copy()
        number = np.concatenate(([0], np.cumsum(done)[:-1]))
        assert "GAE406" not in examine({**columns, "traj": number}).codes
        done[np.flatnonzero(done)[[2, 5]]] = False
        finding = examine({**columns, "done": done, "traj": number}).one("GAE406")
        assert finding.count == 2


class TestOtherLayouts:
    def test_time_major_arrays(self, tmp_path):
        arrays = _time_major()
        path = tmp_path / "a.npz"
        np.savez(path, **arrays)
        assert check([path]).findings == []
        arrays["rewards"][17, 2] = np.nan
        np.savez(path, **arrays)
        (finding,) = check([path]).findings
        assert (finding.rule.code, finding.place) == ("GAE302", "[17, 2]")

    def test_nested_rows(self, clean, tmp_path):
        path = write(tmp_path / "nested.parquet", _nested(clean), row_group_rows=5)
        assert check([path]).findings == []
        columns = _nested(clean)
        values = columns["value"].to_pylist()
        values[3][4] = None
        columns["value"] = pa.array(values, columns["value"].type)
        (finding,) = check([write(path, columns, row_group_rows=5)]).findings
        assert (finding.rule.code, finding.row, finding.place) == ("GAE301", 3, "row 3, item 4")


def _time_major() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    rewards = rng.normal(1, 0.3, (64, 3)).astype(np.float32)
    last = np.array([30, 31, 32], np.float32)
    values = np.zeros((65, 3), np.float32)
    values[64] = last
    for time in range(63, -1, -1):
        values[time] = rewards[time] + 0.99 * values[time + 1]
    noise = rng.normal(0, 0.05, (64, 3)).astype(np.float32)
    flags = np.zeros((64, 3), bool)
    return {"rewards": rewards, "values": values[:64] + noise, "terminated": flags, "last_values": last}


def _nested(columns: Columns) -> dict[str, pa.Array]:
    bounds = np.flatnonzero(np.diff(columns["episode_id"])) + 1
    last = np.append(bounds, len(columns["t"])) - 1
    lists = {name: np.split(columns[name], bounds) for name in ("reward", "value")}
    nested = {
        name: pa.array([part.tolist() for part in parts], pa.list_(pa.float32()))
        for name, parts in lists.items()
    }
    nested["terminated"] = pa.array(columns["terminated"][last])
    nested["truncated"] = pa.array(columns["truncated"][last])
    nested["bootstrap_value"] = pa.array(columns["next_value"][last])
    return nested
