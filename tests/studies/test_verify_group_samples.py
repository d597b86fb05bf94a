"""Group baselines of long files: found on whole groups of a sample, and held against every cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.formats.registry import open_file
from gaecli.studies import sampling
from gaecli.studies.group_sample import group_places

SEARCHED = 60


@pytest.fixture(autouse=True)
def small_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "SEARCH_STEPS", SEARCHED)


def less_mean(scores: np.ndarray) -> np.ndarray:
    return scores - scores.mean()


def trl_grpo(scores: np.ndarray) -> np.ndarray:
    return less_mean(scores) / (scores.std(ddof=1) + 1e-4) if len(scores) > 1 else np.zeros(1)


def whitened(numbers: np.ndarray) -> np.ndarray:
    """OpenRLHF, over all responses."""
    return (numbers - numbers.mean()) / max(numbers.std(), 1e-4)


def written(folder: Path, baseline, *, over_all=None, alone: int | None = None, **changed: float) -> Path:
    """1,500 rows of 300 prompts, shuffled, in row groups of 400; `changed`: what is added at row `r7`."""
    random = np.random.default_rng(3)
    prompts = random.permutation(np.repeat(np.arange(300), 5))
    if alone is not None:
        prompts[alone] = 999
    scores = random.random(len(prompts)).astype(np.float32).astype(np.float64)
    column = np.zeros(len(prompts))
    for prompt in np.unique(prompts):
        column[prompts == prompt] = baseline(scores[prompts == prompt])
    column = column if over_all is None else over_all(column)
    for name, number in changed.items():
        column[int(name[1:])] += number
    path = folder / "scores.parquet"
    names = [f"prompt {number}" for number in prompts]
    table = {"prompt": names, "reward": np.float32(scores), "advantage": np.float32(column)}
    pq.write_table(pa.table(table), path, row_group_size=400)
    return path


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("baseline", "over_all", "name"),
    [
        (trl_grpo, None, "trl grpo"),
        (less_mean, None, "trl dr-grpo"),
        (less_mean, whitened, "openrlhf rf++-baseline"),
    ],
    ids=["of groups", "not divided", "whitened over all"],
)
def test_a_rule_is_found_on_a_sample_and_proved_on_all_rows(
    tmp_path: Path, baseline, over_all, name: str
) -> None:
    found = gaecli.verify(written(tmp_path, baseline, over_all=over_all))
    assert found.is_reproduced
    assert found.best.name == name
    assert (found.best.num_rows, found.best.is_sampled) == (1500, False)
    assert found.num_searched is not None
    assert SEARCHED / 3 < found.num_searched < 3 * SEARCHED


def test_one_wrong_row_anywhere_is_found(tmp_path: Path) -> None:
    for row in (0, 777, 1499):
        found = gaecli.verify(written(tmp_path, trl_grpo, **{f"r{row}": 0.5}))
        assert found.best.name == "trl grpo"
        assert found.best.num_deviating == 1
        assert [(one.where, one.count, one.total, one.first_row) for one in found.deviations] == [
            ("groups", 1, 1500, row)
        ]


def test_what_a_sample_does_not_tell_apart_all_rows_do(tmp_path: Path) -> None:
    """One response that is alone among 1,500: TRL gives it 0, and verl its score."""
    rows = written(tmp_path, less_mean, alone=741)
    table = pq.read_table(rows)
    column = table["advantage"].to_numpy().copy()
    column[741] = table["reward"][741].as_py()
    place = table.schema.get_field_index("advantage")
    pq.write_table(table.set_column(place, "advantage", pa.array(column)), rows)
    found = gaecli.verify(rows)
    assert found.best.name == "verl dr-grpo"
    assert found.best.num_rows == 1500
    assert "trl dr-grpo" not in found.equivalent


def test_numbers_are_the_same_groups_in_a_block_with_nulls(tmp_path: Path) -> None:
    """A row that is in no comparison has no id; the ids beside it come again in other row groups."""
    ids = np.arange(600) % 300
    path = tmp_path / "ids.parquet"
    pq.write_table(pa.table({"id": pa.array(ids, mask=np.arange(600) == 599)}), path, row_group_size=300)
    first, second = (places[codes] for _, places, codes in group_places(open_file(path), ("id",), 300))
    assert (first[:299] == second[:299]).all()
    assert len(set(first.tolist())) == 300


def test_of_noise_the_rows_of_the_sample_are_told(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    found = gaecli.verify(written(tmp_path, lambda scores: random.normal(size=len(scores))))
    assert not found.is_reproduced
    assert found.best.is_sampled
    assert found.best.num_rows == found.num_searched < 3 * SEARCHED
    table = pq.read_table(tmp_path / "scores.parquet")
    first = found.deviations[0]
    assert first.found == pytest.approx(table["advantage"][first.first_row].as_py())


def test_lists_of_tokens_have_a_number_per_response(tmp_path: Path) -> None:
    path = written(tmp_path, trl_grpo)
    table = pq.read_table(path)
    lengths = np.arange(1500) % 3 + 1
    rewards = [
        [0.0] * (length - 1) + [score]
        for length, score in zip(lengths.tolist(), table["reward"].to_pylist(), strict=True)
    ]
    pq.write_table(table.set_column(1, "reward", pa.array(rewards)), path, row_group_size=400)
    found = gaecli.verify(path, group_column="prompt")
    assert found.is_reproduced
    assert found.best.name == "trl grpo"
    assert found.num_searched is not None
    assert found.best.num_rows == lengths.sum()


def test_rules_by_batches_are_held_against_all_rows_at_once(tmp_path: Path) -> None:
    """Each batch has a scale of its own, so that no sample of groups says what it is."""
    path = written(tmp_path, less_mean)
    table = pq.read_table(path)
    batches = np.arange(1500) // 500
    column, prompts = table["advantage"].to_numpy().astype(np.float64), table["prompt"].to_numpy()
    scores = table["reward"].to_numpy().astype(np.float64) * (1 + 10 * batches)
    names = np.array([f"{prompt} of {batch}" for prompt, batch in zip(prompts, batches, strict=True)])
    for name in np.unique(names):
        column[names == name] = less_mean(scores[names == name])
    for batch in range(3):
        column[batches == batch] /= scores[batches == batch].std(ddof=1) + 1e-4
    columns = {"prompt": names, "batch": batches, "reward": scores, "advantage": np.float32(column)}
    pq.write_table(pa.table(columns), path, row_group_size=400)
    found = gaecli.verify(path, group_column="prompt", batch_column="batch")
    assert found.is_reproduced
    assert (found.best.name, found.best.is_sampled) == ("trl grpo-batch", False)
