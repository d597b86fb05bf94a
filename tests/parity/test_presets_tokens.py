"""Every preset over tokens against its published recurrence, through files with masks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parity.token_loops import TOKEN_LOOPS, areal

import gaecli
from gaecli.settings import Settings

#: What is written is float32.
TOLERANCE = {"rtol": 2e-6, "atol": 2e-6}


def responses(seed: int, *, holes: bool, num_rows: int = 12) -> list[dict[str, list]]:
    """Rows of rewards, values and mask; padding and, if `holes`, tokens of others between."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(num_rows):
        length = int(rng.integers(1, 50))
        kept = int(rng.integers(1, length + 1))
        mask = np.arange(length) < kept
        if holes:
            mask &= rng.random(length) < 0.7
            mask[int(rng.integers(0, kept))] = True
        rewards = np.where(np.arange(length) <= kept, rng.normal(size=length), 0.0)
        rows.append(
            {"rewards": rewards.tolist(), "values": rng.normal(size=length).tolist(), "mask": mask.tolist()}
        )
    return rows


def write(path, rows) -> None:
    columns = {
        "rewards": [row["rewards"] for row in rows],
        "values": [row["values"] for row in rows],
        "response_mask": [[int(kept) for kept in row["mask"]] for row in rows],
    }
    pq.write_table(pa.table(columns), path)


def whiten(rows: list[list[float]], masks: list[list[bool]], settings: Settings, *, then_zero: bool):
    """(A - mean) / divisor over the kept tokens of all rows, applied to every slot."""
    kept = np.array(
        [a for row, mask in zip(rows, masks, strict=True) for a, m in zip(row, mask, strict=True) if m]
    )
    std = kept.std(ddof=settings.norm_ddof)
    eps = settings.norm_eps
    divisor = {"add": std + eps, "clamp": max(std, eps), "rsqrt": np.sqrt(std**2 + eps)}[settings.norm_floor]
    return [
        [0.0 if then_zero and not m else (a - kept.mean()) / divisor for a, m in zip(row, mask, strict=True)]
        for row, mask in zip(rows, masks, strict=True)
    ]


def read(path) -> tuple[list, list]:
    table = pq.read_table(path)
    return table["advantage"].to_pylist(), table["return"].to_pylist()


def assert_rows(found, expected):
    assert [len(row) for row in found] == [len(row) for row in expected]
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(expected), **TOLERANCE)


#: TRL has right padding only.
CASES = [(name, holes) for name in TOKEN_LOOPS for holes in (False, True) if not (holes and name == "trl")]


@pytest.mark.parametrize(("name", "holes"), CASES)
class TestNestedFiles:
    @pytest.mark.turns
    def test_raw_advantages_and_returns_of_every_slot(self, tmp_path, name, holes):
        rows = responses(1, holes=holes)
        write(tmp_path / "rows.parquet", rows)
        settings = Settings.from_preset(name)
        gaecli.compute(tmp_path / "rows.parquet", preset=name, normalize="none")
        expected = [TOKEN_LOOPS[name](**row, gamma=settings.gamma, lam=settings.lam) for row in rows]
        advantages, returns = read(tmp_path / "rows.parquet")
        assert_rows(advantages, [result[0] for result in expected])
        assert_rows(returns, [result[1] for result in expected])

    @pytest.mark.few(6)
    def test_other_discounts(self, tmp_path, name, holes):
        if name == "vapo":
            pytest.skip("λ given beside vapo is one λ for all: it is nemo then, with returns of its own")
        rows = responses(2, holes=holes)
        write(tmp_path / "rows.parquet", rows)
        gaecli.compute(tmp_path / "rows.parquet", preset=name, gamma=0.9, lam=0.8, normalize="none")
        expected = [TOKEN_LOOPS[name](**row, gamma=0.9, lam=0.8) for row in rows]
        advantages, returns = read(tmp_path / "rows.parquet")
        assert_rows(advantages, [result[0] for result in expected])
        assert_rows(returns, [result[1] for result in expected])

    @pytest.mark.turns
    def test_stored_advantages_are_whitened_as_the_library_does(self, tmp_path, name, holes):
        rows = responses(3, holes=holes)
        write(tmp_path / "rows.parquet", rows)
        settings = Settings.from_preset(name)
        gaecli.compute(tmp_path / "rows.parquet", preset=name, normalize="all")
        raw = [TOKEN_LOOPS[name](**row, gamma=settings.gamma, lam=settings.lam)[0] for row in rows]
        masks = [row["mask"] for row in rows]
        if name == "areal":
            masks = [[*mask[1:], False] for mask in masks]
        zeroed = settings.mask_fill == "zero"
        assert_rows(read(tmp_path / "rows.parquet")[0], whiten(raw, masks, settings, then_zero=zeroed))


def test_vapo_with_long_responses_and_another_alpha(tmp_path):
    rows = responses(4, holes=True, num_rows=30)
    write(tmp_path / "rows.parquet", rows)
    gaecli.compute(tmp_path / "rows.parquet", preset="vapo", lam_alpha=0.5, normalize="none")
    expected = [TOKEN_LOOPS["vapo"](**row, gamma=1.0, lam=1.0, alpha=0.5) for row in rows]
    assert_rows(read(tmp_path / "rows.parquet")[0], [result[0] for result in expected])


def test_a_lambda_beside_vapo_holds_for_every_response(tmp_path):
    rows = responses(5, holes=False)
    write(tmp_path / "rows.parquet", rows)
    gaecli.compute(tmp_path / "rows.parquet", preset="vapo", lam=0.9, normalize="none")
    expected = [TOKEN_LOOPS["nemo"](**row, gamma=1.0, lam=0.9)[0] for row in rows]
    assert_rows(read(tmp_path / "rows.parquet")[0], expected)


def test_areal_bootstraps_rows_that_are_flagged_as_truncated(tmp_path):
    rows = responses(6, holes=True)
    truncated = [index % 2 == 0 for index in range(len(rows))]
    write(tmp_path / "rows.parquet", rows)
    table = pq.read_table(tmp_path / "rows.parquet").append_column("truncated", pa.array(truncated))
    pq.write_table(table, tmp_path / "rows.parquet")
    gaecli.compute(tmp_path / "rows.parquet", preset="areal")
    expected = [
        areal(**row, gamma=1.0, lam=1.0, fills_row=fills)[0]
        for row, fills in zip(rows, truncated, strict=True)
    ]
    assert_rows(read(tmp_path / "rows.parquet")[0], expected)


#: γ = λ = 1/2, two tokens: r 1, 10; V 2, 4, and 8 beyond the last. A response has ended after it, whatever its flags
#: say: A₁ = 10 - 4 = 6, A₀ = 1 + 4/2 - 2 + 6/4 = 2.5. AReaL bootstraps one that was cut by length: A₁ = 10 + 8/2 - 4
#: = 10, A₀ = 3.5.
BY_HAND = {name: [2.5, 2.5, 2.5, 2.5] for name in TOKEN_LOOPS} | {"areal": [2.5, 2.5, 3.5, 2.5]}


@pytest.mark.parametrize("name", TOKEN_LOOPS)
def test_four_kinds_of_end_by_hand(tmp_path, name):
    found = []
    for terminated, truncated in [(0, 0), (1, 0), (0, 1), (1, 1)]:
        columns = {
            "rewards": [[1.0, 10.0]],
            "values": [[2.0, 4.0]],
            "next_values": [[4.0, 8.0]],
            "terminated": [terminated],
            "truncated": [truncated],
        }
        pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
        gaecli.compute(tmp_path / "rows.parquet", preset=name, gamma=0.5, lam=0.5, normalize="none")
        found.append(read(tmp_path / "rows.parquet")[0][0][0])
    assert found == pytest.approx(BY_HAND[name], abs=1e-6)


def test_rewards_that_roll_masks_are_told(tmp_path):
    write(tmp_path / "rows.parquet", [{"rewards": [1.0, 2.0], "values": [0.0, 0.0], "mask": [True, False]}])
    summary = gaecli.compute(tmp_path / "rows.parquet", preset="roll", dry_run=True)
    (note,) = (note for note in summary.warnings if note.code == "masked-rewards")
    assert "--mask-mode" not in str(note.hint), "values count there already"
    gaecli.compute(tmp_path / "rows.parquet", preset="roll", masked_reward="move")
    assert read(tmp_path / "rows.parquet") == ([[3.0, 0.0]], [[3.0, 0.0]])
