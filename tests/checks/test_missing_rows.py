"""Padding that was written as NaN: what is refused for it is told with the mask that takes the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.errors import DataError

GAMMA, LAM = 0.9, 0.8
LENGTHS, PADDED = (5, 7, 6), 8


def padded(tmp_path: Path, missing: float | None, **others: list) -> tuple[Path, np.ndarray]:
    """(a file whose episodes are filled up with rows of nothing, which of its rows are steps)."""
    rng = np.random.default_rng(0)
    step = np.tile(np.arange(PADDED), len(LENGTHS))
    is_step = step < np.repeat(LENGTHS, PADDED)
    cells = {
        name: [
            float(x) if real else missing for x, real in zip(rng.normal(size=len(step)), is_step, strict=True)
        ]
        for name in ("reward", "value")
    }
    ends = step == np.repeat(LENGTHS, PADDED) - 1
    path = tmp_path / "padded.parquet"
    pq.write_table(pa.table({**cells, "terminated": ends, **others}), path)
    return path, is_step


def by_hand(path: Path, is_step: np.ndarray) -> list[float]:
    """Aₜ = δₜ + γ λ Aₜ₊₁, step by step, of the steps alone; every episode ends in a terminal state."""
    rows = [row for row, real in zip(pq.read_table(path).to_pylist(), is_step, strict=True) if real]
    found, later, value = [0.0] * len(rows), 0.0, 0.0
    for at in reversed(range(len(rows))):
        if rows[at]["terminated"]:
            later = value = 0.0
        delta = rows[at]["reward"] + GAMMA * value - rows[at]["value"]
        found[at] = later = delta + GAMMA * LAM * later
        value = rows[at]["value"]
    return found


@pytest.mark.parametrize(("missing", "test"), [(np.nan, "reward!=nan"), (None, "reward!=null")])
def test_the_mask_that_is_proposed_takes_the_file(tmp_path, missing, test):
    path, is_step = padded(tmp_path, missing)
    flags = f"--mask-column '{test}' --mask-mode zero"
    with pytest.raises(DataError) as refused:
        gaecli.compute(path, gamma=GAMMA, lam=LAM)
    assert f"pass `{flags}` if such cells are padding; else repair the file" in refused.value.hint
    (finding,) = gaecli.check(path, select="GAE3").findings
    assert f"`{flags}`" in finding.fix
    gaecli.compute(path, gamma=GAMMA, lam=LAM, mask_column=test, mask_mode="zero")
    advantages = pq.read_table(path)["advantage"].to_numpy()[is_step]
    np.testing.assert_allclose(advantages, by_hand(path, is_step), rtol=1e-6)


def test_one_faulty_row_is_not_taken_for_padding(tmp_path):
    path, _ = padded(tmp_path, 0.0)
    table = pq.read_table(path)
    for lacking in (("reward", "value"), ("reward",), ("value",)):
        spoilt = table
        for name in lacking:
            cells = table[name].to_numpy().copy()
            cells[3 : 4 if len(lacking) == 2 else 6] = np.nan
            spoilt = spoilt.set_column(table.schema.get_field_index(name), name, pa.array(cells))
        pq.write_table(spoilt, path)
        with pytest.raises(DataError) as refused:
            gaecli.compute(path)
        assert "mask" not in refused.value.hint
        (finding,) = gaecli.check(path, select="GAE302").findings
        assert finding.fix is None


def test_padding_behind_an_end_goes_on_with_no_episode_under_cut(tmp_path):
    ids = np.repeat(np.arange(len(LENGTHS)), PADDED)
    path, is_step = padded(tmp_path, np.nan, episode_id=ids)
    with pytest.raises(DataError, match="has the same episode id") as refused:
        gaecli.compute(path, mask_column="reward!=nan", mask_mode="zero")
    assert "`--mask-mode cut`" in refused.value.hint
    summary = gaecli.compute(path, gamma=GAMMA, lam=LAM, mask_column="reward!=nan", mask_mode="cut")
    assert (summary.files[0].counts.episodes, summary.files[0].counts.terminated) == (
        len(LENGTHS),
        len(LENGTHS),
    )
    advantages = pq.read_table(path)["advantage"].to_numpy()[is_step]
    np.testing.assert_allclose(advantages, by_hand(path, is_step), rtol=1e-6)


def test_presets_under_which_no_mask_stays_in_a_table_propose_none(tmp_path):
    path, _ = padded(tmp_path, np.nan)
    with pytest.raises(gaecli.GaeError) as refused:
        gaecli.compute(path, preset="trl", mask_column="reward!=nan", mask_mode="zero")
    assert "zero" not in refused.value.hint
    assert "as a row of lists" in refused.value.hint
