"""Every rule on a file with one planted fault: found, with the right row; and silent on what is clean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from checks.planted import (
    Columns,
    clean_rollout,
    ends,
    rows,
    steps_in_episode,
    with_done,
    without,
)

import gaecli
from gaecli.checks.registry import RULES


@pytest.mark.few("blocks")
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
        columns["t"] = steps_in_episode(clean)
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

    def test_what_is_done_next_is_an_end_on_the_first_row_too(self, clean, examine, tmp_path):
        columns = without(with_done(clean), "episode_id", "env_id", "t")
        columns["next.done"] = columns.pop("done")
        columns["next.done"][0] = True
        assert examine(columns).checkup.findings == []
        counts = gaecli.compute(tmp_path / "rollout.parquet", dry_run=True).files[0].counts
        assert counts.terminated + counts.truncated == np.count_nonzero(columns["next.done"])
        by_ids = with_done(clean, at="start")
        by_ids["next.done"] = by_ids.pop("done")
        assert "GAE001" in examine(by_ids).codes

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

    def test_flags_stored_as_floats_are_those_of_cleanrl_and_stable_baselines3(self, clean, examine):
        assert examine({**clean, "terminated": clean["terminated"].astype(np.float32)}).codes == set()

    def test_padding_that_a_mask_leaves_out_is_no_end_at_a_limit(self, examine):
        """All padded to the limit, with the flag on the last row of padding."""
        columns = _with_time_limit(25)
        rows = np.arange(len(columns["reward"])) - np.searchsorted(
            columns["episode_id"], columns["episode_id"]
        )
        columns["mask"] = rows < 20
        examined = examine(columns, columns={"mask": "mask"}, mask_mode="zero")
        assert "GAE005" not in examined.codes

    def test_flags_stored_as_integers(self, clean, examine):
        columns = {**clean, "terminated": clean["terminated"].astype(np.int64)}
        finding = examine(columns).one("GAE006")
        assert (finding.count, finding.unit, finding.row) == (1, "column", None)

    def test_a_flag_that_is_neither_0_nor_1(self, clean, examine):
        columns = {**clean, "terminated": clean["terminated"].astype(np.float32)}
        columns["terminated"][[70, 71]] = 0.5
        examined = examine(columns)
        assert examined.codes == {"GAE007"}
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

    @pytest.mark.parametrize("is_masked", [False, True])
    def test_filler_rows_that_a_mask_leaves_out_need_no_word(self, clean, examine, tmp_path, is_masked):
        columns = without(_with_fillers(clean), "episode_id", "t", "next_value")
        end = columns["terminated"] | columns["truncated"]
        is_filler = np.zeros(len(end), np.bool_)
        for env in (0, 1):
            here = np.flatnonzero(columns["env_id"] == env)
            is_filler[here[1:]] = end[here[:-1]]
        columns["mask"] = ~(is_filler & is_masked)
        examined = examine(columns, mask_mode="zero")
        assert ("GAE101" in examined.codes) is not is_masked
        told = {note.code for note in gaecli.compute(tmp_path / "rollout.parquet", mask_mode="zero").warnings}
        assert ("filler-rows" in told) is not is_masked

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
        returns, ended = np.zeros(len(columns["done"])), np.zeros(len(columns["done"]), bool)
        for t in reversed(range(len(returns))):  # of the episodes that a flag ends
            goes_on = not columns["done"][t] and t + 1 < len(returns)
            is_same = goes_on and columns["episode_id"][t] == columns["episode_id"][t + 1]
            returns[t] = columns["reward"][t] + (0.99 * returns[t + 1] if is_same else 0.0)
            ended[t] = columns["done"][t] or (is_same and ended[t + 1])
        values, found = (np.sqrt(np.mean(one[ended] ** 2)) for one in (columns["value"], returns))
        assert f"of the size {values:.4g} and returns of the size {found:.4g} (" in finding.message
        assert f"by a factor of {max(values / found, found / values):.3g}" in finding.message

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

    def test_next_values_of_rows_that_were_shuffled(self, clean, examine):
        columns = rows(clean, np.random.default_rng(1).permutation(len(clean["t"])))
        finding = examine(without(columns, "env_id", "episode_id", "t")).one("GAE205")
        assert "as where rows were shuffled" in finding.message


class TestCells:
    @pytest.mark.few(3)
    @pytest.mark.parametrize("name", ["reward", "value", "terminated"])
    def test_nulls(self, clean, examine, name):
        is_null = np.zeros(len(clean["t"]), bool)
        is_null[[90, 200]] = True
        columns = {**clean, name: pa.array(clean[name], mask=is_null)}
        finding = examine(columns).one("GAE301")
        assert (finding.row, finding.count) == (90, 2)
        assert f"`{name}` is null" in finding.message

    @pytest.mark.few(3)
    @pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
    def test_numbers_that_are_not_finite(self, clean, examine, number):
        columns = {**clean, "value": clean["value"].copy()}
        columns["value"][[130, 131, 5]] = number
        finding = examine(columns).one("GAE302")
        assert (finding.row, finding.count) == (5, 3)


def test_every_rule_has_a_planted_fault():
    """A rule without a test here is a rule that nobody saw firing."""
    sources = [
        Path(__file__),
        *map(Path(__file__).with_name, ("test_checks_order.py", "test_checks_groups.py")),
    ]
    source = "".join(path.read_text(encoding="utf-8") for path in sources)
    assert [rule.code for rule in RULES if f'"{rule.code}"' not in source] == []


def _with_time_limit(limit: int) -> Columns:
    """Episodes cut after so many steps, and called terminated."""
    columns = clean_rollout()
    step = steps_in_episode(columns)
    kept = rows(columns, step < limit)
    episode = kept["episode_id"]
    kept["terminated"] = np.append(episode[1:] != episode[:-1], True)
    kept["t"] = steps_in_episode(kept)
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
