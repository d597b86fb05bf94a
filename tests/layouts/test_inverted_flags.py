"""Flags in which 0 stands for an end: alone, beside plain ones, as discounts, and where they say something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import small_blocks

import gaecli
from gaecli.errors import GaeError

REWARDS = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
VALUES = [0.5, 1.5, -0.5, 2.5, 1.0, 0.25]
#: V of the true next state; at the end of step 2 and of step 5 it is that of no row.
FOLLOWING = [1.5, -0.5, 9.0, 1.0, 0.25, 7.0]
TERMINATED = [0, 0, 1, 0, 0, 0]
TRUNCATED = [0, 0, 0, 0, 0, 1]
DONE = [0, 0, 1, 0, 0, 1]
NOT_DONE = [1, 1, 0, 1, 1, 0]
NOT_TERMINATED = [1, 1, 0, 1, 1, 1]
GAMMA, LAM = 0.5, 0.5


def by_hand(terminated: list[int], ended: list[int]) -> list[float]:
    found, later = [], 0.0
    for t in reversed(range(len(REWARDS))):
        delta = REWARDS[t] + GAMMA * (0.0 if terminated[t] else FOLLOWING[t]) - VALUES[t]
        later = delta + (0.0 if ended[t] else GAMMA * LAM * later)
        found.append(later)
    return found[::-1]


EXACT = by_hand(TERMINATED, DONE)
ALL_TERMINAL = by_hand(DONE, DONE)


def write(folder: Path, **columns: Any) -> Path:
    path = folder / "rollout.parquet"
    table = {"reward": REWARDS, "value": VALUES, "next_value": FOLLOWING, **columns}
    pq.write_table(pa.table(table), path)
    return path


def compute(path: Path, **settings: Any) -> tuple[list[float], list[str]]:
    summary = gaecli.compute(path, **{"gamma": GAMMA, "lam": LAM, **settings})
    return pq.read_table(path).column("advantage").to_pylist(), [note.code for note in summary.warnings]


def discounts(flags: list[int], gamma: float = GAMMA) -> list[float]:
    return [gamma * flag for flag in flags]


class TestBesidePlainFlags:
    @pytest.mark.few(6)
    @pytest.mark.parametrize(
        ("columns", "expected"),
        [
            ({"masks": NOT_DONE}, ALL_TERMINAL),
            ({"masks": NOT_DONE, "done": DONE}, ALL_TERMINAL),
            ({"masks": NOT_DONE, "terminated": TERMINATED}, EXACT),
            ({"masks": NOT_DONE, "truncated": TRUNCATED}, EXACT),
            ({"masks": NOT_DONE, "terminated": TERMINATED, "truncated": TRUNCATED, "done": DONE}, EXACT),
            ({"masks": NOT_DONE, "bad_masks": [1, 1, 1, 1, 1, 0]}, EXACT),
            ({"done": DONE, "bad_masks": [1, 1, 1, 1, 1, 0]}, EXACT),
            ({"undones": NOT_TERMINATED, "unmasks": [1, 1, 1, 1, 1, 0]}, EXACT),
            ({"discount": NOT_TERMINATED, "done": DONE}, EXACT),
            ({"discount": discounts(NOT_TERMINATED), "done": DONE}, EXACT),
            ({"continues": NOT_TERMINATED, "terminated": TERMINATED, "truncated": TRUNCATED}, EXACT),
            ({"discount": NOT_DONE, "terminated": TERMINATED, "truncated": TRUNCATED}, EXACT),
            ({"discount": NOT_DONE, "truncated": TRUNCATED}, EXACT),
            ({"discount": [1.0] * 6, "terminated": TERMINATED, "truncated": TRUNCATED}, EXACT),
        ],
    )
    def test_they_agree(self, tmp_path, columns, expected):
        found, warnings = compute(write(tmp_path, **columns))
        assert found == pytest.approx(expected, rel=1e-6)
        assert warnings == []

    @pytest.mark.parametrize(
        ("columns", "flags"),
        [
            ({"masks": [1, 0, 1, 1, 1, 0], "done": DONE}, {"--not-done-column", "--done-column"}),
            (
                {"masks": [1, 0, 1, 1, 1, 0], "terminated": TERMINATED},
                {"--not-done-column", "--terminated-column"},
            ),
            ({"masks": NOT_TERMINATED, "truncated": TRUNCATED}, {"--not-done-column", "--truncated-column"}),
            ({"masks": NOT_TERMINATED, "done": DONE}, {"--not-done-column", "--done-column"}),
            (
                {"masks": NOT_TERMINATED, "terminated": TERMINATED, "truncated": TRUNCATED},
                {"--not-done-column"},
            ),
            ({"bad_masks": [1, 0, 1, 1, 1, 1], "done": DONE}, {"--not-truncated-column", "--done-column"}),
            ({"bad_masks": [1, 0, 1, 1, 1, 1], "truncated": TRUNCATED}, {"--not-truncated-column"}),
            ({"discount": [1, 0, 1, 1, 1, 1], "done": DONE}, {"--not-done-column", "--done-column"}),
            ({"discount": [1, 0, 1, 1, 1, 1], "terminated": TERMINATED}, {"--not-done-column"}),
            ({"discount": NOT_DONE, "terminated": TERMINATED}, {"--not-done-column", "--terminated-column"}),
        ],
    )
    def test_they_differ(self, tmp_path, columns, flags):
        with pytest.raises(GaeError) as found:
            compute(write(tmp_path, **columns))
        assert found.value.exit_code == 3
        assert all(f"`{name}`" in str(found.value) for name in columns), found.value
        assert all(f"`{flag} none`" in (found.value.hint or "") for flag in flags), found.value.hint

    def test_none_leaves_an_inverted_flag_out(self, tmp_path):
        path = write(tmp_path, masks=[1, 0, 1, 1, 1, 0], terminated=TERMINATED, truncated=TRUNCATED)
        assert compute(path, not_done_column="none")[0] == pytest.approx(EXACT, rel=1e-6)

    def test_a_start_flag_beside_it(self, tmp_path):
        path = write(tmp_path, masks=NOT_DONE, episode_start=[1, 0, 0, 1, 0, 0])
        assert compute(path)[0] == pytest.approx(ALL_TERMINAL, rel=1e-6)
        path = write(tmp_path, masks=NOT_DONE, episode_start=[1, 0, 1, 0, 0, 0])
        with pytest.raises(GaeError, match="does not end an episode at row 1, and `episode_start`") as found:
            compute(path)
        assert "`--not-done-column masks --done-at end`" in (found.value.hint or "")
        assert compute(path, not_done_column="masks", done_at="end")[0] == pytest.approx(
            ALL_TERMINAL, rel=1e-6
        )


class TestNamedByTheUser:
    def test_any_name(self, tmp_path):
        path = write(tmp_path, alive=NOT_DONE)
        assert compute(path, not_done_column="alive")[0] == pytest.approx(ALL_TERMINAL, rel=1e-6)

    def test_a_flag_at_the_start_of_its_step(self, tmp_path):
        path = write(tmp_path, alive=[0, 1, 1, 0, 1, 1])
        found, _ = compute(path, not_done_column="alive", done_at="start")
        assert found == pytest.approx(by_hand([0, 0, 1, 0, 0, 0], DONE), rel=1e-6)

    def test_a_column_named_for_another_role_is_none(self, tmp_path):
        path = write(tmp_path, masks=NOT_DONE)
        found, _ = compute(path, terminated_column="masks", not_done_column="none")
        assert found == pytest.approx(by_hand(NOT_DONE, NOT_DONE), rel=1e-6)


class TestDiscounts:
    def test_the_discount_of_the_run(self, tmp_path):
        path = write(tmp_path, discount=np.float32(discounts(NOT_DONE)))
        assert compute(path) == (pytest.approx(ALL_TERMINAL, rel=1e-6), [])

    def test_half_precision_rounds_the_discount(self, tmp_path):
        path = write(tmp_path, discount=np.float16(discounts(NOT_DONE, 0.99)))
        assert compute(path, gamma=0.99)[1] == []

    @pytest.mark.parametrize("other", [0.99, 0.499])
    def test_another_discount_is_warned_of(self, tmp_path, other):
        path = write(tmp_path, discount=discounts(NOT_DONE, other))
        assert compute(path) == (pytest.approx(ALL_TERMINAL, rel=1e-6), ["discount-differs"])

    @pytest.mark.parametrize(
        "cells", [[0.9, 0.8, 0.0, 0.9, 0.9, 0.0], [1, 1, 0, 2, 1, 0], [-1, -1, 0, -1, -1, 0]]
    )
    def test_several_numbers_are_no_flag(self, tmp_path, cells):
        path = write(tmp_path, discount=cells)
        with pytest.raises(GaeError, match=r"`discount` is .*no inverted flag") as found:
            compute(path)
        assert found.value.exit_code == 3
        assert "`--not-done-column none`" in (found.value.hint or "")

    def test_other_numbers_in_other_blocks_are_no_flag(self):
        with small_blocks(3) as folder:
            discount = np.array([0.9, 0.9, 0.0, 0.8, 0.8, 0.0])
            np.savez(
                folder / "r.npz",
                **{
                    name: np.reshape(cells, (6, 1))
                    for name, cells in (("rewards", REWARDS), ("values", VALUES), ("discount", discount))
                },
            )
            with pytest.raises(GaeError, match=r"`discount` of .* holds 0.8 and 0.9"):
                gaecli.compute(folder / "r.npz", layout="time-major")

    def test_a_discount_that_is_never_0_is_told(self, tmp_path):
        """As dm_env has it: an end that the discount does not mark is a cut."""
        path = write(tmp_path, discount=[1.0] * 6, done=DONE)
        assert compute(path) == (pytest.approx(by_hand([0] * 6, DONE), rel=1e-6), ["discount-never-0"])

    def test_the_discount_of_rlds_is_not_read(self, tmp_path):
        flags = {"is_first": [1, 0, 0, 1, 0, 0], "is_last": DONE, "is_terminal": TERMINATED}
        path = write(tmp_path, **flags, discount=[0.3, 1.0, 0.7, 1.0, 1.0, 0.2])
        with_it = compute(path)
        assert with_it == compute(write(tmp_path, **flags))

    def test_one_number_for_the_whole_archive_is_no_flag(self, tmp_path):
        path = tmp_path / "rollout.npz"
        arrays = {"rewards": REWARDS, "values": VALUES, "next_values": FOLLOWING, "done": DONE}
        np.savez(path, **arrays, discount=0.99)
        gaecli.compute(path, gamma=GAMMA, lam=LAM)
        np.testing.assert_allclose(np.load(path)["advantage"], ALL_TERMINAL, rtol=1e-6)


LISTS = {"rewards": [REWARDS[:3], REWARDS[3:]], "values": [VALUES[:3], VALUES[3:]]}
LAST_IS_0 = [[1, 1, 0], [1, 1, 0]]


class TestMasksOfTokens:
    """`masks` of lists or of [B, T] says that an episode goes on, or that a token counts."""

    def write(self, folder: Path, suffix: str, **columns: Any) -> Path:
        path = folder / f"rollout{suffix}"
        if suffix == ".npz":
            np.savez(path, **LISTS, **columns)
        else:
            pq.write_table(pa.table({**LISTS, **columns}), path)
        return path

    @pytest.mark.parametrize("suffix", [".parquet", ".npz"])
    def test_it_asks(self, tmp_path, suffix):
        path = self.write(tmp_path, suffix, masks=LAST_IS_0)
        with pytest.raises(GaeError) as found:
            gaecli.compute(path, layout="batch-major" if suffix == ".npz" else "auto")
        assert found.value.exit_code == 2
        for flag in ("--not-done-column masks", "--mask-column masks", "--not-done-column none"):
            assert f"`{flag}`" in (found.value.hint or "")

    def test_the_flags_decide(self, tmp_path):
        found = {}
        for role in ("not_done", "mask"):
            path = self.write(tmp_path, ".parquet", masks=LAST_IS_0)
            gaecli.compute(path, gamma=GAMMA, lam=LAM, columns={role: "masks"})
            found[role] = pq.read_table(path).column("advantage").to_pylist()[0]
        last = REWARDS[2] - VALUES[2]
        middle = REWARDS[1] + GAMMA * VALUES[2] - VALUES[1]
        assert found["not_done"][1:] == pytest.approx([middle + GAMMA * LAM * last, last])
        assert found["mask"][1:] == [pytest.approx(REWARDS[1] - VALUES[1]), None]

    def test_a_number_per_row_is_no_mask_of_tokens(self, tmp_path):
        path = self.write(tmp_path, ".parquet", masks=[0.0, 1.0], bootstrap_value=[5.0, 5.0])
        summary = gaecli.compute(path)
        assert (summary.totals.terminated, summary.totals.open) == (1, 1)

    @pytest.mark.parametrize("suffix", [".parquet", ".npz"])
    def test_a_mask_with_zeros_where_rows_end_and_nowhere_else_is_asked_about(self, tmp_path, suffix):
        layout = "batch-major" if suffix == ".npz" else "auto"
        path = self.write(tmp_path, suffix, mask=LAST_IS_0)
        with pytest.raises(GaeError, match="`mask` of") as found:
            gaecli.compute(path, layout=layout)
        assert found.value.exit_code == 2
        for role in ("--not-done-column", "--mask-column"):
            assert f"`{role} mask`" in (found.value.hint or "")
        assert gaecli.compute(path, layout=layout, not_done_column="mask").totals.terminated == 2
        path = self.write(tmp_path, suffix, mask=LAST_IS_0)
        assert gaecli.compute(path, layout=layout, mask_column="mask").totals.terminated == 0

    @pytest.mark.parametrize("mask", [[[1, 1, 0], [1, 0, 0]], [[1, 0, 1], [1, 1, 0]], [[1, 1, 1], [1, 1, 0]]])
    def test_other_masks_are_masks(self, tmp_path, mask):
        assert gaecli.compute(self.write(tmp_path, ".parquet", mask=mask)).exit_code == 0

    def test_a_mask_over_time_is_seldom_0_for_one_step_at_a_time(self, tmp_path):
        arrays = {"rewards": np.ones((5, 2)), "values": np.zeros((5, 2))}
        mask = np.array([[1, 1], [0, 1], [1, 0], [1, 1], [1, 1]])
        np.savez(tmp_path / "r.npz", **arrays, mask=mask)
        with pytest.raises(GaeError, match="`mask` of"):
            gaecli.compute(tmp_path / "r.npz", layout="time-major")
        np.savez(tmp_path / "r.npz", **arrays, mask=np.where(np.arange(5)[:, None] < 3, mask, 0))
        assert gaecli.compute(tmp_path / "r.npz", layout="time-major").exit_code == 0


class TestOfStates:
    def test_masks_cut_to_the_steps_are_asked_about_under_their_preset(self, tmp_path):
        """`masks[1:]` ends the steps, `masks[:-1]` begins them."""
        arrays = {"rewards": np.ones((4, 2)), "value_preds": np.zeros((5, 2)), "masks": np.ones((4, 2))}
        arrays["masks"][1, 0] = 0
        np.savez(tmp_path / "r.npz", **arrays)
        with pytest.raises(GaeError, match="one entry per step") as found:
            gaecli.compute(tmp_path / "r.npz", preset="ikostrikov")
        assert "`--done-at end`" in (found.value.hint or "")
        gaecli.compute(tmp_path / "r.npz", preset="ikostrikov", done_at="end")
        # A = 1 + 0.99 * 0.95 * (the next A), cut after step 1.
        assert np.load(tmp_path / "r.npz")["advantage"][0, 0] == pytest.approx(1 + 0.99 * 0.95)

    @pytest.mark.parametrize("name", ["dones", "last_dones"])
    def test_what_comes_after_the_last_step_of_sb3(self, tmp_path, name):
        arrays = {"rewards": np.ones((3, 2)), "values": np.zeros((3, 2)), "episode_starts": np.zeros((3, 2))}
        np.savez(tmp_path / "r.npz", **arrays, last_values=np.full(2, 9.0), **{name: [1, 0]})
        gaecli.compute(tmp_path / "r.npz", preset="sb3")
        assert np.load(tmp_path / "r.npz")["advantage"][2].tolist() == pytest.approx([1.0, 1 + 0.99 * 9])
