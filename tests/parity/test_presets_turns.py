"""Every preset over turns against its published recurrence."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parity.token_loops import TURN_LOOPS, areal_turn, bilevel, carry

import gaecli
from gaecli.settings import Settings

#: What is written is float32.
TOLERANCE = {"rtol": 2e-6, "atol": 2e-6}


def conversations(seed: int, num_rows: int = 12) -> list[dict[str, list]]:
    """Prompt and tool tokens between the turns are masked, and their id is -1."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(num_rows):
        turns: list[int] = []
        for turn in range(int(rng.integers(1, 5))):
            turns += [-1] * int(rng.integers(1, 4)) + [turn] * int(rng.integers(1, 6))
        turns += [-1] * int(rng.integers(0, 3))
        mask = [int(turn >= 0) for turn in turns]
        numbers = rng.normal(size=(2, len(turns)))
        rewards = np.where(mask, numbers[0], 0.0)
        rows.append(
            {"rewards": rewards.tolist(), "values": numbers[1].tolist(), "mask": mask, "turns": turns}
        )
    return rows


#: Columns as each library calls them.
NAMES = {
    "areal-turn": ("rewards", "values", "loss_mask", "turn_ids"),
    "agilerl-llm-turn": ("rewards", "values", "action_masks", "turn_ids"),
    "vagen-bilevel": ("token_level_rewards", "values", "response_mask", "turn_ids"),
}


def write(path, rows, preset, **more) -> None:
    columns = {
        name: [row[key] for row in rows]
        for name, key in zip(NAMES[preset], ("rewards", "values", "mask", "turns"), strict=True)
    }
    pq.write_table(pa.table({**columns, **more}), path)


def assert_is(path, expected) -> None:
    table = pq.read_table(path)
    for name, rows in zip(("advantage", "return"), zip(*expected, strict=True), strict=True):
        found = np.concatenate(table[name].to_pylist()).astype(float)
        np.testing.assert_allclose(found, np.concatenate(rows), **TOLERANCE)


@pytest.mark.parametrize("preset", TURN_LOOPS)
@pytest.mark.parametrize("discounts", [{}, {"gamma": 0.9, "lam": 0.8}], ids=["own", "other"])
def test_raw_numbers_of_every_slot(tmp_path, preset, discounts):
    rows, path = conversations(1), tmp_path / "rows.parquet"
    write(path, rows, preset)
    settings = Settings.from_preset(preset, **discounts)
    gaecli.compute(path, preset=preset, normalize="none", **discounts)
    assert_is(path, [TURN_LOOPS[preset](**row, gamma=settings.gamma, lam=settings.lam) for row in rows])


def test_dense_arrays_hold_the_same(tmp_path):
    """[B, T] with padding, as the trainers have them."""
    rows = conversations(2)
    width = max(len(row["turns"]) for row in rows)
    padded = {
        key: np.array([row[key] + [fill] * (width - len(row[key])) for row in rows])
        for key, fill in (("rewards", 0.0), ("values", 0.0), ("mask", 0), ("turns", -1))
    }
    for preset, names in NAMES.items():
        path = tmp_path / f"{preset}.npz"
        np.savez(path, **dict(zip(names, padded.values(), strict=True)))
        gaecli.compute(path, preset=preset, normalize="none")
        settings = Settings.from_preset(preset)
        found = np.load(path)
        for index, row in enumerate(rows):
            length = len(row["turns"])
            expected = TURN_LOOPS[preset](**row, gamma=settings.gamma, lam=settings.lam)
            np.testing.assert_allclose(found["advantage"][index, :length], expected[0], **TOLERANCE)


@pytest.mark.parametrize("preset", ["agilerl-llm-turn", "vagen-bilevel"])
def test_what_is_whitened_over_turns_and_what_over_tokens(tmp_path, preset):
    rows, path = conversations(3), tmp_path / "rows.parquet"
    write(path, rows, preset)
    settings = Settings.from_preset(preset)
    gaecli.compute(path, preset=preset)
    raw = [TURN_LOOPS[preset](**row, gamma=settings.gamma, lam=settings.lam)[0] for row in rows]
    counted = []
    for row, numbers in zip(rows, raw, strict=True):
        at = [t for t, kept in enumerate(row["mask"]) if kept]
        if preset == "agilerl-llm-turn":
            at = [row["turns"].index(turn) for turn in sorted(set(row["turns"]) - {-1})]
        counted += [numbers[t] for t in at]
    mean, std = np.mean(counted), np.sqrt(np.var(counted, ddof=1) + 1e-8)
    table = pq.read_table(path)
    for row, numbers, found in zip(rows, raw, table["advantage"].to_pylist(), strict=True):
        expected = np.where(row["mask"], (np.array(numbers) - mean) / std, 0.0)
        np.testing.assert_allclose(np.array(found, float), expected, **TOLERANCE)


def test_areal_bootstraps_rows_that_are_flagged_as_truncated(tmp_path):
    rows, path = conversations(4), tmp_path / "rows.parquet"
    fills = [index % 2 == 0 for index in range(len(rows))]
    write(path, rows, "areal-turn", truncated=fills)
    gaecli.compute(path, preset="areal-turn")
    expected = [
        areal_turn(**row, gamma=1.0, lam=1.0, fills_row=fill) for row, fill in zip(rows, fills, strict=True)
    ]
    assert_is(path, expected)


@pytest.mark.parametrize("has_mask", [False, True])
@pytest.mark.parametrize("layout", ["long", "nested"])
def test_areal_bootstraps_where_all_tokens_are_the_policys(tmp_path, layout, has_mask):
    """V of the last slot, which is in no turn, whether a mask says so or the ids alone."""
    row = {
        "rewards": [0.5, 0.0, 1.0, -1.0, 2.0],
        "values": [0.1, 0.2, 0.3, 0.4, 7.0],
        "turns": [0, 0, 1, 1, 1],
    }
    columns = dict(zip(("rewards", "values", "turn_ids"), row.values(), strict=True))
    if has_mask:
        columns["loss_mask"] = [1] * 5
    columns["truncated"] = [False] * 4 + [True]
    if layout == "nested":
        columns = {name: [cells] for name, cells in columns.items()}
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    gaecli.compute(path, preset="areal-turn", gamma=0.9, lam=0.8, unit_is="id")
    expected = areal_turn(**row, mask=[1] * 5, gamma=0.9, lam=0.8, fills_row=True)
    table = pq.read_table(path)
    for name, numbers in zip(("advantage", "return"), expected, strict=True):
        np.testing.assert_allclose(np.ravel(table[name].to_pylist()), numbers, **TOLERANCE)


def test_a_mask_of_the_next_token_in_a_table_of_rows_is_refused(tmp_path):
    """It leaves out the last row of each trajectory, also where it is 1 everywhere."""
    path = tmp_path / "rows.parquet"
    columns = {"rewards": [1.0, 2.0], "values": [0.0, 0.0], "loss_mask": [1, 1], "terminated": [False, True]}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(gaecli.UsageError, match="of the token after each row"):
        gaecli.compute(path, preset="areal")
    gaecli.compute(path, preset="areal", mask_column="none")


def test_undiscounted_at_lambda_one_two_levels_are_one(tmp_path):
    """What VAGEN's own source warns of: the V at the ends of turns cancel."""
    rows, path = conversations(5), tmp_path / "rows.parquet"
    for row in rows:  # a reward in the middle of a turn goes to its end
        ends = [
            t for t, turn in enumerate(row["turns"]) if turn >= 0 and row["turns"][t + 1 : t + 2] != [turn]
        ]
        row["rewards"] = [r if t in ends else 0.0 for t, r in enumerate(row["rewards"])]
    write(path, rows, "vagen-bilevel")
    gaecli.compute(path, preset="vagen-bilevel", turn_gamma=1.0, normalize="none")
    expected = []
    for row in rows:
        loop, one = bilevel(**row, gamma=1.0, lam=1.0, turn_gamma=1.0), dict(row)
        one.pop("turns")
        expected.append(loop)
        kept = np.array(row["mask"], bool)
        np.testing.assert_allclose(
            np.array(loop[0])[kept], np.array(carry(**one, gamma=1.0, lam=1.0)[0])[kept]
        )
    assert_is(path, expected)


@pytest.mark.parametrize("preset", TURN_LOOPS)
def test_without_turns_it_says_what_to_pass(tmp_path, preset):
    path = tmp_path / "rows.parquet"
    write(path, conversations(6), preset)
    pq.write_table(pq.read_table(path).drop_columns(["turn_ids"]), path)
    with pytest.raises(gaecli.UsageError) as refused:
        gaecli.compute(path, preset=preset)
    assert "computes over turns" in str(refused.value)
    assert "--unit" in str(refused.value.hint)


def test_under_its_own_name_a_column_of_two_turns_is_one_of_ids(tmp_path):
    """0 and 1 are asked about elsewhere."""
    path = tmp_path / "rows.parquet"
    row = {"rewards": [1.0, 2.0, 4.0], "values": [0.5, 0.25, 1.0], "mask": [1, 1, 1], "turns": [0, 1, 1]}
    write(path, [row], "agilerl-llm-turn")
    summary = gaecli.compute(path, preset="agilerl-llm-turn", normalize="none")
    assert (summary.units.count, summary.units.reading) == (2, "id")
    with pytest.raises(gaecli.UsageError, match="nothing but 0 and 1"):
        gaecli.compute(path, unit="turn_ids")
    table = pq.read_table(path).rename_columns({"turn_ids": "end_of_response_position_mask"})
    pq.write_table(table.drop_columns(["advantage", "return"]), path)
    assert gaecli.compute(path, preset="vagen-bilevel", dry_run=True).units.reading == "end"
