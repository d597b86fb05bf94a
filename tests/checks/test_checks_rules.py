"""Every rule on a file with one planted fault: found, with the right row; and silent on what is clean."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checks.planted import (
    Columns,
    clean_rollout,
    ends,
    rows,
    with_done,
    without,
    write,
)

import gaecli
from gaecli.checks.registry import RULES
from gaecli.commands.check import check
from gaecli.diagnosis import Checkup, Finding
from gaecli.settings import Settings


@pytest.fixture
def clean() -> Columns:
    return clean_rollout()


#: Several blocks to a file: what a rule says must not depend on where they end.
@pytest.fixture(params=[1 << 30, 1 << 20], ids=["one-block", "blocks"])
def memory(request, monkeypatch) -> int:
    import gaecli.commands.check as checkup

    if request.param < 1 << 30:
        monkeypatch.setattr(checkup, "rows_per_block", lambda memory_bytes: 64)
    return request.param


@dataclass
class Examined:
    checkup: Checkup

    @property
    def codes(self) -> set[str]:
        return {finding.rule.code for finding in self.checkup.findings}

    def one(self, code: str) -> Finding:
        assert self.codes == {code}, [(f.rule.code, f.message) for f in self.checkup.findings]
        (finding,) = self.checkup.findings
        return finding


@pytest.fixture
def examine(tmp_path, memory):
    def run(columns: Columns, /, **settings) -> Examined:
        path = write(tmp_path / "rollout.parquet", columns)
        return Examined(check([path], Settings(**settings), memory_bytes=memory))

    return run


def test_a_clean_rollout_has_no_findings(clean, examine):
    assert examine(clean).checkup.findings == []
    assert examine(with_done(clean)).checkup.findings == []
    assert examine(with_done(clean, at="start"), done_at="start").checkup.findings == []


class TestFlags:
    def test_start_flags_read_as_end_flags(self, clean, examine):
        finding = examine(with_done(clean, at="start")).one("GAE001")
        starts = np.flatnonzero(np.diff(clean["episode_id"])) + 1
        # The first row of the second environment is not below the one before it in time.
        within = [row for row in starts if clean["env_id"][row] == clean["env_id"][row - 1]]
        assert finding.count == len(within)
        assert finding.row == 0
        assert finding.fix == "pass `--done-at start`"

    def test_end_flags_read_as_start_flags(self, clean, examine):
        finding = examine(with_done(clean), done_at="start").one("GAE001")
        assert finding.row == ends(clean, "terminated", "truncated")[0] + 1
        assert finding.fix == "pass `--done-at end`"

    def test_start_flags_without_ids_are_told_by_the_steps(self, clean, examine):
        columns = without(with_done(clean, at="start"), "episode_id")
        columns["t"] = _steps_in_episode(clean)
        assert "GAE001" in examine(columns).codes

    def test_start_flags_on_the_first_row_of_every_environment(self, clean, examine):
        columns = without(with_done(clean, at="start"), "episode_id", "t")
        finding = examine(columns).one("GAE001")
        assert (finding.row, finding.count) == (0, 2)

    def test_done_on_the_first_row(self, clean, examine):
        columns = without(with_done(clean), "episode_id", "env_id", "t")
        columns["done"][0] = True
        finding = examine(columns).one("GAE002")
        assert (finding.row, finding.count) == (0, 1)
        assert examine(columns, done_at="end").checkup.findings == []

    def test_done_inside_an_episode(self, clean, examine):
        columns = with_done(clean)
        middle = ends(clean, "terminated")[3] - 5
        columns["done"][middle] = True
        finding = examine(columns).one("GAE003")
        assert (finding.row, finding.count) == (middle, 1)
        assert f"step {clean['t'][middle]}" in str(finding.place)

    def test_terminated_and_truncated(self, clean, examine):
        columns = dict(clean)
        both = ends(clean, "truncated")[1]
        columns["terminated"] = clean["terminated"].copy()
        columns["terminated"][both] = True
        finding = examine(columns).one("GAE004")
        assert (finding.row, finding.count) == (both, 1)

    def test_truncation_stored_as_termination(self, examine):
        columns = _with_time_limit(25)
        finding = examine(columns).one("GAE005")
        lengths = np.bincount(columns["episode_id"])
        at_limit = [episode for episode in np.unique(columns["episode_id"]) if lengths[episode] == 25]
        assert finding.count == len(at_limit)
        assert finding.row == np.flatnonzero(columns["episode_id"] == at_limit[0])[-1]

    def test_flags_stored_as_numbers(self, clean, examine):
        columns = {**clean, "terminated": clean["terminated"].astype(np.int64)}
        finding = examine(columns).one("GAE006")
        assert (finding.count, finding.unit, finding.row) == (1, "column", None)

    def test_a_flag_that_is_neither_0_nor_1(self, clean, examine):
        columns = {**clean, "terminated": clean["terminated"].astype(np.float32)}
        columns["terminated"][[70, 71]] = 0.5
        examined = examine(columns)
        assert examined.codes == {"GAE006", "GAE007"}
        (finding,) = (f for f in examined.checkup.findings if f.rule.code == "GAE007")
        assert (finding.row, finding.count) == (70, 2)

    def test_flags_that_disagree(self, clean, examine):
        columns = {**clean, "done": clean["terminated"] | clean["truncated"]}
        assert examine(columns).checkup.findings == []
        row = ends(clean, "truncated")[0]
        columns["done"][row] = False
        finding = examine(columns).one("GAE008")
        assert (finding.row, finding.count) == (row, 1)


class TestUnseenEnds:
    def test_an_end_flag_of_an_unknown_name(self, clean, examine):
        columns = without(with_done(clean), "episode_id", "t")
        columns["is_over"] = columns.pop("done")
        finding = examine(columns).one("GAE009")
        assert "`is_over`" in finding.message
        assert "`--done-column is_over`" in str(finding.fix)
        assert examine(columns, columns={"done": "is_over"}).checkup.findings == []

    def test_a_second_flag_beside_the_known_ends(self, clean, examine):
        columns = with_done(clean)
        columns["x7"] = columns["done"] & (np.cumsum(columns["done"]) % 2 == 0)
        finding = examine(columns).one("GAE010")
        assert finding.count == int(columns["x7"].sum())
        assert examine(columns, columns={"terminated": "x7"}).checkup.findings == []

    def test_flags_that_are_never_set(self, examine):
        parts = [without(clean_rollout(seed), "env_id", "episode_id", "t", "next_value") for seed in range(3)]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        columns["terminated"] = columns["truncated"] = np.zeros(len(columns["reward"]), bool)
        finding = examine(columns).one("GAE011")
        assert finding.count == len(columns["reward"]) > 1_000

    def test_success_actions_and_contacts_are_no_flags_of_ends(self, clean, examine):
        count = len(clean["reward"])
        columns = {
            **clean,
            "action": np.arange(count) % 2,
            "next.success": clean["terminated"],
            "contact": np.arange(count) // 9 % 2 == 0,
        }
        assert examine(columns).checkup.findings == []
        assert examine(without(columns, "terminated", "truncated")).checkup.findings == []


class TestUnfilled:
    @pytest.mark.parametrize("filler", [0, np.nan], ids=["zero", "nan"])
    def test_a_buffer_saved_at_its_capacity(self, clean, examine, filler):
        columns = without(with_done(clean), "env_id", "episode_id", "t")
        recorded = len(columns["reward"])
        longer = {name: np.concatenate((cells, np.zeros(90, cells.dtype))) for name, cells in columns.items()}
        for name in ("reward", "value"):
            longer[name][recorded:] = filler
        findings = {finding.rule.code: finding for finding in examine(longer).checkup.findings}
        assert findings.keys() == ({"GAE012"} if filler == 0 else {"GAE012", "GAE302"})
        assert "saved before it was full" in findings["GAE012"].message
        assert findings["GAE012"].count == (90 if filler == 0 else 0)


class TestRewards:
    def test_filler_rows_after_every_end(self, clean, examine):
        columns = without(_with_fillers(clean), "episode_id")
        finding = examine(columns).one("GAE101")
        assert finding.row == ends(clean, "terminated", "truncated")[0] + 1
        assert finding.count == len(ends(clean, "terminated", "truncated"))

    def test_sparse_rewards_are_no_filler_rows(self, clean, examine):
        columns = dict(clean)
        columns["reward"] = np.where(clean["terminated"], np.float32(20), np.float32(0))
        assert "GAE101" not in examine(columns).codes

    def test_rewards_that_hold_the_bootstrap_already(self, clean, examine):
        at = ends(clean, "truncated")
        columns = dict(clean)
        columns["reward"] = clean["reward"].copy()
        columns["reward"][at] += 0.99 * clean["next_value"][at]
        finding = examine(columns).one("GAE102")
        assert (finding.row, finding.count) == (at[0], len(at))
        del columns["next_value"]  # V(s) stands in for V of the last observation
        assert "GAE102" in examine(columns).codes

    def test_rewards_one_row_late(self, clean, examine):
        columns = dict(clean)
        columns["reward"] = np.roll(clean["reward"], 1)
        finding = examine(columns).one("GAE103")
        assert "row after" in finding.message

    def test_rewards_one_row_early(self, clean, examine):
        columns = dict(clean)
        columns["reward"] = np.roll(clean["reward"], -1)
        finding = examine(columns).one("GAE103")
        assert "row before" in finding.message


class TestValues:
    def test_constant_values(self, clean, examine):
        columns = {**without(clean, "next_value"), "value": np.full_like(clean["value"], 0.25)}
        finding = examine(columns).one("GAE201")
        assert (finding.row, finding.count) == (0, len(clean["value"]))

    @pytest.mark.parametrize(("scale", "words"), [(0.01, "too small"), (100, "too large")])
    def test_values_of_another_scale(self, clean, examine, scale, words):
        columns = with_done(clean)  # no value is given for the ends, so the returns are made of rewards
        columns["value"] = clean["value"] * np.float32(scale)
        finding = examine(columns).one("GAE202")
        assert words in finding.message
        assert (finding.row, finding.count) == (None, 0)

    def test_half_precision(self, clean, examine):
        columns = {**clean, "value": clean["value"].astype(np.float16)}
        finding = examine(columns).one("GAE203")
        assert "`value`" in finding.message

    def test_a_column_that_cannot_play_the_role_of_its_name(self, clean, examine):
        columns = {**clean, "next_value": clean["value"].astype(str)}
        finding = examine(columns).one("GAE505")
        assert "`next_value`" in finding.message
        assert "--next-value-column none" in str(finding.fix)

    def test_the_next_value_of_the_next_episode(self, clean, examine):
        columns = {**clean, "next_value": np.append(clean["value"][1:], np.float32(0))}
        finding = examine(columns).one("GAE204")
        at = _cuts_with_a_row_below(clean)
        assert (finding.row, finding.count) == (at[0], len(at))


class TestCells:
    @pytest.mark.parametrize("name", ["reward", "value", "terminated"])
    def test_nulls(self, clean, examine, name):
        is_null = np.zeros(len(clean["t"]), bool)
        is_null[[90, 200]] = True
        columns = {**clean, name: pa.array(clean[name], mask=is_null)}
        finding = examine(columns).one("GAE301")
        assert (finding.row, finding.count) == (90, 2)
        assert f"`{name}` is null" in finding.message

    @pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
    def test_numbers_that_are_not_finite(self, clean, examine, number):
        columns = {**clean, "value": clean["value"].copy()}
        columns["value"][[130, 131, 5]] = number
        finding = examine(columns).one("GAE302")
        assert (finding.row, finding.count) == (5, 3)


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

    def test_moments_in_place_of_steps(self, clean, examine):
        columns = {**clean, "t": clean["t"] * 0.1}
        assert examine(columns).checkup.findings == []
        order = np.arange(len(clean["t"]))
        order[[100, 101]] = [101, 100]
        assert examine(rows(columns, order)).one("GAE403").row == 101

    def test_a_reset_without_a_flag(self, clean, examine):
        columns = without(clean, "episode_id", "env_id")
        columns["t"] = _steps_in_episode(clean)
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


def test_every_rule_has_a_planted_fault():
    """A rule without a test here is a rule that nobody saw firing."""
    source = Path(__file__).read_text(encoding="utf-8")
    assert [rule.code for rule in RULES if f'"{rule.code}"' not in source] == []


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


def _steps_in_episode(columns: Columns) -> np.ndarray:
    episode = columns["episode_id"]
    starts = np.concatenate(([True], episode[1:] != episode[:-1]))
    first = np.maximum.accumulate(np.where(starts, np.arange(len(episode)), 0))
    return (np.arange(len(episode)) - first).astype(np.int64)


def _with_time_limit(limit: int) -> Columns:
    """Episodes cut after so many steps, and called terminated."""
    columns = clean_rollout()
    step = _steps_in_episode(columns)
    kept = rows(columns, step < limit)
    episode = kept["episode_id"]
    kept["terminated"] = np.append(episode[1:] != episode[:-1], True)
    kept["t"] = _steps_in_episode(kept)
    return without(kept, "truncated", "next_value")


def _with_fillers(columns: Columns) -> Columns:
    at = ends(columns, "terminated", "truncated")
    repeated = np.sort(np.concatenate((np.arange(len(columns["t"])), at)))
    longer = rows(columns, repeated)
    is_filler = np.concatenate(([False], repeated[1:] == repeated[:-1]))
    for name in ("reward", "terminated", "truncated"):
        longer[name] = np.where(is_filler, longer[name].dtype.type(0), longer[name])
    longer["next_value"] = np.where(is_filler, np.float32(np.nan), longer["next_value"])
    for env in (0, 1):
        here = longer["env_id"] == env
        longer["t"][here] = np.arange(here.sum())
    # The first filler of the report is the row after the first end.
    return longer


def _cuts_with_a_row_below(columns: Columns) -> np.ndarray:
    """Truncated ends; the open one of an environment has no row below it in time."""
    return ends(columns, "truncated")


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
