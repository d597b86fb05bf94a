"""What comes together: rewards into scores, scores beside those of a group, and a normalisation after it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline.running import STORES, small_blocks
from profiles import examples

import gaecli

PROMPTS = ["a", "a", "a", "b", "b", "b", "b", "c", "a", "b"]
SCORES = [1.0, 0.0, 2.5, 0.5, 0.25, 4.0, 0.0, 3.0, 0.75, 1.0]
TASKS = ["x", "x", "y", "y", "x", "x", "y", "y", "x", "y"]


def write(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return path


def run(path: Path, block_rows: int = 4, **settings: Any) -> np.ndarray:
    with small_blocks(block_rows, store_bytes=200, dtype=np.float64):
        gaecli.compute(path, **{"group_column": "prompt", "estimator": "dr-grpo", **settings})
    return pq.read_table(path)["advantage"].to_numpy()


def centred(scores: Sequence[float], groups: Sequence[Hashable]) -> list[Fraction]:
    """By fractions: exact."""
    found = []
    for score, group in zip(scores, groups, strict=True):
        mates = [Fraction(other) for other, its in zip(scores, groups, strict=True) if its == group]
        found.append(Fraction(score) - sum(mates) / len(mates))
    return found


def whitened(numbers: Sequence[Fraction], groups: Sequence[Hashable], ddof: int, eps: float) -> list[float]:
    """The standard deviation is the one root there is."""
    found = []
    for number, group in zip(numbers, groups, strict=True):
        mates = [other for other, its in zip(numbers, groups, strict=True) if its == group]
        mean = sum(mates) / len(mates)
        variance = sum((other - mean) ** 2 for other in mates) / max(len(mates) - ddof, 1)
        std = float(variance) ** 0.5
        found.append(float(number - mean) / (std + eps) if std else 0.0)
    return found


SCOPES: list[tuple[dict[str, Any], Callable[[int], Hashable]]] = [
    ({"normalize": "all"}, lambda row: 0),
    ({"normalize": "file"}, lambda row: row // 5),
    ({"normalize_by": "task"}, lambda row: TASKS[row]),
    ({"normalize": "episode"}, lambda row: row),
]


@pytest.mark.few(2)
@pytest.mark.parametrize(("scope", "group_of"), SCOPES, ids=["all", "file", "column", "episode"])
@pytest.mark.parametrize("ddof", [0, 1])
def test_any_normalisation_may_follow_a_baseline(
    tmp_path: Path, scope: dict[str, Any], group_of: Callable[[int], Hashable], ddof: int
) -> None:
    """Groups go over both files; what comes after them may not."""
    for first in (0, 5):
        rows = slice(first, first + 5)
        columns = {"prompt": PROMPTS[rows], "reward": SCORES[rows], "task": TASKS[rows]}
        write(tmp_path / f"{first}.parquet", **columns)
    paths = [tmp_path / "0.parquet", tmp_path / "5.parquet"]
    with small_blocks(2, store_bytes=200, dtype=np.float64):
        summary = gaecli.compute(
            paths, estimator="dr-grpo", group_column="prompt", norm_ddof=ddof, keep_raw=True, **scope
        )
        again = gaecli.compute(
            paths, estimator="dr-grpo", group_column="prompt", norm_ddof=ddof, keep_raw=True, **scope
        )
    tables = [pq.read_table(path) for path in paths]
    raw = centred(SCORES, PROMPTS)
    expected = whitened(raw, [group_of(row) for row in range(10)], ddof, 1e-8)
    found = np.concatenate([table["advantage"].to_numpy() for table in tables])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    kept = np.concatenate([table["advantage_raw"].to_numpy() for table in tables])
    np.testing.assert_allclose(kept, [float(number) for number in raw], rtol=1e-14, atol=1e-15)
    assert summary.baseline is not None
    assert (summary.baseline.num_groups, summary.baseline.num_alone) == (3, 1)
    assert summary.normalization.num_groups == len({group_of(row) for row in range(10)})
    assert {file.status for file in again.files} == {"up to date"}
    assert again.baseline == summary.baseline


@pytest.mark.few(2)
@pytest.mark.parametrize("floor", ["add", "clamp", "rsqrt"])
def test_the_baseline_may_have_another_rule_than_what_follows(tmp_path: Path, floor: str) -> None:
    columns = {"prompt": PROMPTS, "reward": SCORES}
    one = run(write(tmp_path / "one.parquet", **columns), estimator="grpo", norm_eps=0.5, norm_floor=floor)
    two = run(
        write(tmp_path / "two.parquet", **columns),
        estimator="grpo",
        group_ddof=1,
        group_eps=0.5,
        group_floor=floor,
        normalize="all",
        norm_ddof=0,
        norm_eps=0.0,
    )
    np.testing.assert_allclose(two, (one - one.mean()) / one.std(), rtol=1e-12, atol=1e-15)


def test_gdpo_of_one_reward_is_grpo_and_then_normalised(tmp_path: Path) -> None:
    columns = {"prompt": PROMPTS, "reward": SCORES}
    one = run(write(tmp_path / "one.parquet", **columns), estimator="gdpo", rewards={"reward": 1.0})
    two = run(write(tmp_path / "two.parquet", **columns), estimator="grpo", normalize="all")
    np.testing.assert_array_equal(one, two)


@pytest.mark.few(2)
@pytest.mark.parametrize("name", ["length", "score", "non-zero"])
def test_a_reward_may_be_called_as_a_score_is(tmp_path: Path, name: str) -> None:
    other = [float(number) for number in range(10)]
    columns = {"prompt": PROMPTS, "right": SCORES}
    one = run(
        write(tmp_path / "one.parquet", **columns, form=other), estimator="gdpo", rewards=["right", "form"]
    )
    two = run(
        write(tmp_path / "two.parquet", **columns, **{name: other}), estimator="gdpo", rewards=["right", name]
    )
    np.testing.assert_array_equal(two, one)


def test_weighted_rewards_are_one_score_to_those_that_compare_one(tmp_path: Path) -> None:
    other = [float(number) for number in range(10)]
    one = run(
        write(tmp_path / "one.parquet", prompt=PROMPTS, right=SCORES, form=other),
        rewards=["right", "form=0.25"],
    )
    total = [score + 0.25 * form for score, form in zip(SCORES, other, strict=True)]
    np.testing.assert_allclose(one, [float(x) for x in centred(total, PROMPTS)], rtol=1e-13, atol=1e-15)


def test_a_group_may_be_told_by_several_columns(tmp_path: Path) -> None:
    """The same prompt in two training steps is two groups."""
    path = write(tmp_path / "r.parquet", prompt=PROMPTS, reward=SCORES, step=[1, 1, 2, 2, 1, 1, 2, 2, 1, 2])
    found = run(path, 1, group_column=["prompt", "step"])
    keys = list(zip(PROMPTS, [1, 1, 2, 2, 1, 1, 2, 2, 1, 2], strict=True))
    np.testing.assert_allclose(found, [float(x) for x in centred(SCORES, keys)], rtol=1e-13, atol=1e-15)


class TestSplitRollouts:
    #: Rollout 1 was split into three samples, with the score of the whole on each.
    ROLLOUTS = (1, 1, 1, 2, 3, 2)
    SCORES = (4.0, 4.0, 4.0, 1.0, 1.0, 1.0)

    def path(self, folder: Path, scores: Sequence[float] = SCORES) -> Path:
        return write(folder / "r.parquet", prompt=["p"] * 6, reward=list(scores), rollout=list(self.ROLLOUTS))

    @pytest.mark.parametrize("block_rows", [1, 2, 100])
    def test_a_rollout_counts_once(self, tmp_path: Path, block_rows: int) -> None:
        found = run(self.path(tmp_path), block_rows, sample_of="rollout")
        assert found.tolist() == [2.0, 2.0, 2.0, -1.0, -1.0, -1.0]  # the mean of 4, 1 and 1 is 2

    def test_otherwise_every_row_does(self, tmp_path: Path) -> None:
        assert run(self.path(tmp_path))[0] == 1.5

    def test_in_what_follows_too(self, tmp_path: Path) -> None:
        found = run(self.path(tmp_path), 2, sample_of="rollout", normalize="all", norm_ddof=0, norm_eps=0.0)
        np.testing.assert_allclose(found[[0, 3, 4]], np.array([2, -1, -1]) / 2**0.5, rtol=1e-12)

    def test_of_each_file_or_episode_too(self, tmp_path: Path) -> None:
        """Files beside one another, and rows of which each is a trajectory: its advantage less its own mean is 0."""
        (tmp_path / "other").mkdir()
        scores, ids = [3.0, 3.0, 3.0, 9.0, 0.0, 9.0], [number + 3 for number in self.ROLLOUTS]
        other = write(tmp_path / "other/r.parquet", prompt=["q"] * 6, reward=scores, rollout=ids)
        paths = [self.path(tmp_path), other]
        how: dict[str, Any] = {"group_column": "prompt", "sample_of": "rollout", "estimator": "dr-grpo"}
        with small_blocks(2, dtype=np.float64):
            gaecli.compute(paths, normalize="file", norm_ddof=0, norm_eps=0.0, **how)
        for path, of_rollouts in zip(paths, ([4, 1, 1], [3, 9, 0]), strict=True):
            one_each = np.array(of_rollouts) - np.mean(of_rollouts)
            found = pq.read_table(path)["advantage"].to_numpy()
            np.testing.assert_allclose(found[[0, 3, 4]], one_each / np.std(of_rollouts), rtol=1e-12)
        assert not run(self.path(tmp_path), 2, sample_of="rollout", normalize="episode").any()

    def test_what_tells_groups_apart_tells_no_rollouts_apart(self, tmp_path: Path) -> None:
        with pytest.raises(gaecli.UsageError, match="each group would be one rollout"):
            run(self.path(tmp_path), sample_of="prompt")

    def test_samples_with_scores_of_their_own_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(gaecli.DataError, match="different scores") as caught:
            run(self.path(tmp_path, (4.0, 4.0, 3.0, 1.0, 1.0, 1.0)), 2, sample_of="rollout")
        assert "prompt 'p', rollout 1" in str(caught.value)


class TestMissingRewards:
    def test_one_function_that_is_missing_takes_no_part(self, tmp_path: Path) -> None:
        path = write(tmp_path / "r.parquet", prompt=["p"] * 3, right=[1.0, None, 0.0], form=[1.0, 2.0, None])
        found = run(path, rewards=["right", "form"])
        assert found.tolist() == pytest.approx([2 - 4 / 3, 2 - 4 / 3, -4 / 3], rel=1e-13)

    def test_gdpo_compares_those_that_are_there(self, tmp_path: Path) -> None:
        path = write(tmp_path / "r.parquet", prompt=["p"] * 3, right=[1.0, None, 0.0], form=[1.0, 2.0, 6.0])
        found = run(path, 1, estimator="gdpo", rewards=["right", "form"], norm_eps=0.0)
        form = (np.array([1.0, 2, 6]) - 3) / 7**0.5
        total = np.array([0.5**0.5, 0, -(0.5**0.5)]) + form
        np.testing.assert_allclose(found, (total - total.mean()) / total.std(ddof=1), rtol=1e-12)

    def test_a_response_without_any_is_an_error(self, tmp_path: Path) -> None:
        path = write(tmp_path / "r.parquet", prompt=["p"] * 3, right=[1.0, None, 0.0], form=[1.0, None, 0.0])
        with pytest.raises(gaecli.DataError, match="`right`, `form` are all null or NaN at row 1"):
            run(path, rewards=["right", "form"])

    @pytest.mark.parametrize("how", [{"unscored": "zero"}, {"preset": "trl"}])
    @pytest.mark.parametrize("missing", [None, float("nan")])
    def test_or_is_compared_with_none_and_told(
        self, tmp_path: Path, how: dict[str, str], missing: float | None
    ) -> None:
        path = write(tmp_path / "r.parquet", prompt=["p"] * 4, reward=[1.0, missing, 0.0, 0.5])
        with small_blocks(1, dtype=np.float64):
            summary = gaecli.compute(path, estimator="dr-grpo", group_column="prompt", **how)
        assert pq.read_table(path)["advantage"].to_pylist() == [0.5, 0.0, -0.5, 0.0]
        assert [(note.code, note.count) for note in summary.warnings] == [("unscored", 1)]
        assert summary.columns["advantage"].count == 3

    @pytest.mark.parametrize("how", [{"unscored": "counted"}, {"preset": "ms-swift"}])
    def test_or_counts_as_0_which_is_told(self, tmp_path: Path, how: dict[str, str]) -> None:
        """1 0 0 0.5 is what is compared, also in a second run that computes nothing."""
        path = write(tmp_path / "r.parquet", prompt=["p"] * 4, reward=[1.0, None, 0.0, 0.5])
        for status in ("written", "up to date"):
            with small_blocks(1, dtype=np.float64):
                summary = gaecli.compute(path, estimator="dr-grpo", group_column="prompt", **how)
            assert summary.files[0].status == status
            assert pq.read_table(path)["advantage"].to_pylist() == [0.625, -0.375, -0.375, 0.125]
            assert [(note.code, note.count) for note in summary.warnings] == [("scored-as-zero", 1)]
            assert summary.columns["advantage"].count == 4

    def test_it_stays_out_of_what_follows(self, tmp_path: Path) -> None:
        path = write(tmp_path / "r.parquet", prompt=["p"] * 4, reward=[1.0, None, 0.0, 5.0])
        found = run(path, 2, unscored="zero", normalize="all", norm_ddof=0, norm_eps=0.0)
        rest = np.array([1.0, 0, 5]) - 2
        np.testing.assert_allclose(found, np.insert((rest / rest.std()), 1, 0.0), rtol=1e-12)


class TestLengths:
    def test_tokens_weigh_as_the_column_of_lengths_does(self, tmp_path: Path) -> None:
        tokens = [[0.0, 0.0, 1.0], [0.0, 0.0], [2.0]]
        write(tmp_path / "tokens.parquet", prompt=["p"] * 3, reward=tokens)
        with small_blocks(1, dtype=np.float64):
            gaecli.compute(tmp_path / "tokens.parquet", estimator="opo", group_column="prompt")
        of_tokens = [row[0] for row in pq.read_table(tmp_path / "tokens.parquet")["advantage"].to_pylist()]
        path = write(tmp_path / "rows.parquet", prompt=["p"] * 3, reward=[1.0, 0.0, 2.0], n=[3, 2, 1])
        of_rows = run(path, estimator="opo", length_column="n")
        expected = [float(Fraction(score) - Fraction(3 * 1 + 1 * 2, 6)) for score in (1, 0, 2)]
        assert of_tokens == pytest.approx(expected, rel=1e-14)
        assert of_rows.tolist() == pytest.approx(expected, rel=1e-14)

    @pytest.mark.few(3)
    @pytest.mark.parametrize("block_rows", [1, 3, 100])
    @pytest.mark.parametrize("layout", ["long", "time-major"])
    def test_each_row_of_a_trajectory_may_have_its_length(
        self, tmp_path: Path, layout: str, block_rows: int
    ) -> None:
        """Two environments of five steps; nothing ends the last trajectory of either."""
        rewards = np.array([[1.0, 0, 2, 0, 0], [0, 1, 1, 1, 4]])
        done = np.array([[0, 1, 0, 0, 0], [0, 0, 0, 1, 0]])
        lengths = np.array([[3, 3, 7, 7, 7], [2, 2, 2, 2, 9]])
        how: dict[str, Any] = {"estimator": "opo", "group_column": "prompt", "length_column": "n"}
        prompt = np.zeros((2, 5), int)
        columns = {"reward": rewards, "done": done, "n": lengths, "prompt": prompt}
        path = tmp_path / "r.npz"
        if layout == "long":
            env = np.repeat([0, 1], 5)
            path = write(
                tmp_path / "r.parquet", env=env, **{name: c.reshape(-1) for name, c in columns.items()}
            )
        else:
            np.savez(path, **{name: c.T for name, c in columns.items()})
        with small_blocks(block_rows, store_bytes=200, dtype=np.float64):
            gaecli.compute(path, layout=layout, **how)
        found = (
            pq.read_table(path)["advantage"].to_numpy() if layout == "long" else np.load(path)["advantage"]
        )
        found = found.reshape(2, 5) if layout == "long" else found.T
        centre = Fraction(3 * 1 + 7 * 2 + 2 * 3 + 9 * 4, 3 + 7 + 2 + 9)
        scores = np.array([[1, 1, 2, 2, 2], [3, 3, 3, 3, 4]])
        np.testing.assert_allclose(found, scores - float(centre), rtol=1e-13)

    @pytest.mark.few(2)
    @pytest.mark.parametrize("block_rows", [1, 100])
    @pytest.mark.parametrize("length", [1, 5])
    def test_a_response_is_one_whatever_its_length(
        self, tmp_path: Path, length: int, block_rows: int
    ) -> None:
        path = write(tmp_path / "r.parquet", prompt=["a", "b", "b"], reward=[0.5, 0.0, 1.0], n=[length, 1, 3])
        how: dict[str, Any] = {"estimator": "opo", "length_column": "n"}
        assert run(path, block_rows, singleton="raw", **how).tolist() == [0.5, -0.75, 0.25]
        with pytest.raises(gaecli.DataError, match="single trajectory"):
            run(path, block_rows, singleton="error", **how)


@pytest.mark.few(4)
@pytest.mark.parametrize("block_rows", [1, 2, 100])
@pytest.mark.parametrize(
    ("scores", "ddof"),
    [
        ([3.021, 3.022], 0),  # one other, which has no spread
        ([1.0, 1e-3 + 0.1, 0.1 + 1e-3], 1),
        ([3.0, 7.021, 7.021, 7.021], 1),
        ([0.7, 1000.1, 1000.1, 1000.1], 0),
    ],
)
def test_others_that_are_alike_divide_nothing(
    tmp_path: Path, scores: list[float], ddof: int, block_rows: int
) -> None:
    path = write(tmp_path / "r.parquet", prompt=["a"] * len(scores), reward=scores)
    found = run(path, block_rows, estimator="grpo-loo", group_ddof=ddof, group_eps=0.0)
    others = [scores[:k] + scores[k + 1 :] for k in range(len(scores))]
    centred = [score - sum(rest) / len(rest) for score, rest in zip(scores, others, strict=True)]
    stds = [np.std(rest, ddof=ddof) if len({*rest}) > 1 else 1.0 for rest in others]
    np.testing.assert_allclose(found, np.array(centred) / stds, rtol=1e-9)


@pytest.mark.few(4)
@pytest.mark.parametrize("block_rows", [1, 2, 100])
@pytest.mark.parametrize(
    ("estimator", "settings"),
    [
        *((name, {}) for name in ("grpo", "dr-grpo", "rloo", "max-rl", "grpo-loo", "rf++-baseline")),
        *((name, {}) for name in ("grpo-batch", "gpg", "opo")),
        ("grpo", {"normalize": "all"}),
        ("gdpo", {"rewards": ["reward"]}),
    ],
)
def test_equal_scores_give_exactly_nothing_beside_groups_that_differ(
    tmp_path: Path, estimator: str, settings: dict[str, Any], block_rows: int
) -> None:
    """Not what rounding leaves: a label or a weight by its sign would be one of the order of the rows."""
    scores = [0.1, 0.7, 0.1, 0.1, 0.3, 0.1, 0.1, 0.2, 0.1, 0.1]
    prompts = ["a", "b", "a", "a", "b", "a", "a", "b", "a", "a"]
    path = write(tmp_path / "r.parquet", prompt=prompts, reward=scores, n=[3, 1, 4, 1, 5, 9, 2, 6, 5, 3])
    lengths = {"length_column": "n"} if estimator == "opo" else {}
    found = run(path, block_rows, estimator=estimator, **settings, **lengths)
    assert [number == 0 for number in found] == [prompt == "a" for prompt in prompts]


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("estimator", "options"),
    [("opo", {"length_column": "n", "group_column": "prompt"}), ("remax", {"baseline_column": "n"})],
)
@pytest.mark.parametrize("cell", [None, float("nan"), float("inf")])
def test_a_length_or_a_baseline_that_is_no_number_is_an_error(
    tmp_path: Path, estimator: str, options: dict[str, str], cell: float | None
) -> None:
    path = write(tmp_path / "r.parquet", prompt=["p"] * 3, reward=[1.0, 0.0, None], n=[3.0, cell, None])
    asked = {"estimator": estimator, "layout": "responses", "unscored": "zero", **options}
    with pytest.raises(gaecli.DataError, match="`n` is null, NaN or infinite in 1 of the rows"):
        gaecli.compute(path, **asked)
    write(path, prompt=["p"] * 3, reward=[1.0, 0.0, None], n=[3.0, 1.0, None])
    gaecli.compute(path, **asked)  # what has no score is compared with none
    assert np.isfinite(pq.read_table(path)["advantage"].to_numpy()).all()


def test_batches_may_be_told_by_a_column(tmp_path: Path) -> None:
    path = write(tmp_path / "r.parquet", prompt=PROMPTS, reward=SCORES, task=TASKS)
    with small_blocks(3, dtype=np.float64):
        gaecli.compute(path, estimator="flash-reinforce", batch_column="task")
    found = pq.read_table(path)["advantage"].to_numpy()
    np.testing.assert_allclose(found, [float(x) for x in centred(SCORES, TASKS)], rtol=1e-13, atol=1e-15)


def test_a_batch_of_one_response_divides_by_its_share_all_the_same(tmp_path: Path) -> None:
    """N / N⁺ is 1 where the only response of a batch has a score: its group may have others, in other batches."""
    path = write(tmp_path / "r.parquet", prompt=["a", "a", "a"], reward=[1.0, 4.0, 1.0], task=[0, 1, 1])
    gaecli.compute(path, estimator="gpg", group_column="prompt", batch_column="task")
    assert pq.read_table(path)["advantage"].to_pylist() == [-1.0, 2.0, -1.0]


def test_a_mean_that_is_0_but_for_rounding_is_no_divisor(tmp_path: Path) -> None:
    path = write(tmp_path / "r.parquet", prompt=["a"] * 3, reward=[0.1, 0.2, -0.3])
    gaecli.compute(path, estimator="max-rl", group_column="prompt")
    assert pq.read_table(path)["advantage"].to_pylist() == [0.0] * 3


@examples(25)
@given(
    scores=st.lists(st.integers(-4, 4).map(lambda n: n / 4), min_size=1, max_size=12),
    data=st.data(),
    store_bytes=STORES,
    estimator=st.sampled_from(["grpo", "grpo-batch", "grpo-loo", "rloo", "gpg", "rf++-baseline", "gdpo"]),
)
def test_neither_order_nor_blocks_nor_files_change_anything(
    scores: list[float], data: st.DataObject, store_bytes: int | None, estimator: str
) -> None:
    """Steps of trajectories, cut anywhere, beside one file of one block."""
    lengths = data.draw(st.lists(st.integers(1, 3), min_size=len(scores), max_size=len(scores)))
    groups = data.draw(st.lists(st.integers(0, 2), min_size=len(scores), max_size=len(scores)))
    order = data.draw(st.permutations(range(len(scores))))
    block_rows, num_files = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))

    def table(trajectories: Sequence[int]) -> pa.Table:
        rows = [(k, t) for k in trajectories for t in range(lengths[k])]
        return pa.table(
            {
                "episode_id": [k for k, _ in rows],
                "reward": [scores[k] / lengths[k] for k, _ in rows],
                "prompt": [groups[k] for k, _ in rows],
            }
        )

    how: dict[str, Any] = {"estimator": estimator, "group_column": "prompt"}
    if estimator == "gdpo":
        how["rewards"] = {"reward": 1.0}
    with small_blocks(10_000, dtype=np.float64) as folder:
        pq.write_table(table(range(len(scores))), folder / "whole.parquet")
        gaecli.compute(folder / "whole.parquet", **how)
        whole = pq.read_table(folder / "whole.parquet")
    wanted = dict(zip(whole["episode_id"].to_pylist(), whole["advantage"].to_pylist(), strict=True))
    with small_blocks(block_rows, store_bytes=store_bytes, dtype=np.float64) as folder:
        rows = table(order)
        cuts = [len(rows) * part // num_files for part in range(num_files + 1)]
        paths = []
        for start, stop in pairwise(cuts):
            if stop > start:
                paths.append(folder / f"{start:02d}.parquet")
                pq.write_table(rows[start:stop], paths[-1], row_group_size=4)
        gaecli.compute(paths, join=True, **how)
        tables = [pq.read_table(path) for path in paths]
    for part in tables:
        for episode, found in zip(part["episode_id"].to_pylist(), part["advantage"].to_pylist(), strict=True):
            assert found == pytest.approx(wanted[episode], rel=1e-12, abs=1e-12)
