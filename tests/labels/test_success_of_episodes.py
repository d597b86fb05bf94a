"""Success that stands beside the data files of a LeRobot set: of v3.0 in tables of episodes, of v2.1 in lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labels.recorded import TASKS, Recording, random_recording, read_all, write_lerobot
from pipeline.running import small_blocks

import gaecli
from gaecli.commands.check import check
from gaecli.datasets import lerobot_episodes
from gaecli.errors import DataError, FileError, GaeError, UsageError
from gaecli.settings import Settings

COST = 5.0
#: RECAP's rewards at γ = 1.
RECAP = {"estimator": "mc", "gamma": 1.0, "failure_cost": COST}


def bare(recording: Recording) -> dict[str, Any]:
    """The columns that are always there: nothing of success."""
    return {name: cells for name, cells in recording.columns().items() if name != "next.success"}


def tables(root: Path, columns: dict[str, Sequence[Any]], parts: int = 1) -> Path:
    """`meta/episodes` as v3.0 has it, in so many files."""
    table = pa.table(columns)
    each = -(-table.num_rows // parts)
    for part in range(parts):
        path = root / f"meta/episodes/chunk-{part // 2:03d}/file-{part % 2:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.slice(part * each, each), path)
    return root


def lines(root: Path, objects: Sequence[dict[str, Any]], name: str = "episodes") -> Path:
    (root / f"meta/{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in objects))
    return root


def v3_column(root: Path, flags: Sequence[Any]) -> str:
    tables(root, {"episode_index": range(len(flags)), "success": flags}, parts=3)
    return "success"


def v3_statistics(root: Path, flags: Sequence[Any]) -> str:
    tables(root, {"episode_index": range(len(flags)), "stats/next.success/max": [[flag] for flag in flags]})
    return "next.success"


def v2_lines(root: Path, flags: Sequence[Any]) -> str:
    lines(root, [{"episode_index": number, "success": flag} for number, flag in enumerate(flags)])
    return "success"


def v2_statistics(root: Path, flags: Sequence[Any]) -> str:
    of_each = [
        {"episode_index": number, "stats": {"ok": {"min": [0], "max": [flag]}}}
        for number, flag in enumerate(flags)
    ]
    lines(root, of_each, "episodes_stats")
    return "stats/ok/max"


PLACES: dict[str, tuple[str, Callable[[Path, Sequence[Any]], str]]] = {
    "a column of meta/episodes": ("v3.0", v3_column),
    "statistics of meta/episodes": ("v3.0", v3_statistics),
    "episodes.jsonl": ("v2.1", v2_lines),
    "episodes_stats.jsonl": ("v2.1", v2_statistics),
}


@pytest.mark.few(2)
@pytest.mark.parametrize(("place", "rows"), list(zip(PLACES, (1, None, 4, 1), strict=True)))
def test_success_of_episodes_labels_a_set_in_one_command(place: str, rows: int | None) -> None:
    """Whatever the blocks: the longest episode fails, and goes on over borders."""
    version, write = PLACES[place]
    recording = TASKS
    with small_blocks(rows) as folder:
        root = write_lerobot(folder / "set", bare(recording), [4, 12], version)
        column = write(root, recording.succeeded)
        summary = gaecli.compute(root, **RECAP, success_column=column, label_rule="lerobot-3764")
        found = read_all(root)
        again = gaecli.compute(root, **RECAP, success_column=column, label_rule="lerobot-3764")
    assert {file.status for file in summary.files} == {"written"}
    returns = np.array(recording.returns(recording.rewards("recap", COST), 1.0))
    np.testing.assert_allclose(found["return"], returns, rtol=1e-6)
    threshold = np.percentile(np.array(found["return"], np.float32), 30)
    np.testing.assert_array_equal(found["label"], np.array(found["return"], np.float32) > threshold)
    assert summary.success is not None
    assert (summary.success.successes, summary.success.episodes) == (sum(recording.succeeded), 5)
    assert column not in found  # nothing but the numbers is written
    assert {file.status for file in again.files} == {"up to date"}


def test_numbers_follow_what_the_episodes_say(tmp_path: Path) -> None:
    """A set of one file as well: what is up to date depends on more than that file."""
    root = write_lerobot(tmp_path / "set", bare(TASKS), [])
    options = {**RECAP, "success_column": "success"}
    v3_column(root, TASKS.succeeded)
    gaecli.compute(root, **options)
    v3_column(root, [not flag for flag in TASKS.succeeded])
    summary = gaecli.compute(root, **options)
    assert [file.status for file in summary.files] == ["written"]
    turned = Recording(TASKS.lengths, [not flag for flag in TASKS.succeeded])
    np.testing.assert_allclose(
        read_all(root)["return"], turned.returns(turned.rewards("recap", COST), 1.0), rtol=1e-6
    )


@pytest.mark.parametrize(
    "cells", [[1, 0, 1, 0, 1], [1.0, 0.0, 1.0, 0.0, 1.0], [[True], [False]] * 2 + [[True]]]
)
def test_flags_are_numbers_or_lists_of_one_too(tmp_path: Path, cells: list[Any]) -> None:
    root = write_lerobot(tmp_path / "set", bare(TASKS), [])
    summary = gaecli.compute(root, **RECAP, success_column=v3_column(root, cells))
    assert summary.success is not None
    assert summary.success.successes == 3


def test_one_file_of_a_set_and_a_copy_know_it_too(tmp_path: Path) -> None:
    root = write_lerobot(tmp_path / "set", bare(TASKS), [4])
    column = v2_lines(root, TASKS.succeeded)
    options = {**RECAP, "success_column": column}
    gaecli.compute(root / "data/chunk-000/file-001.parquet", output=tmp_path / "one.parquet", **options)
    gaecli.compute(root, output=tmp_path / "copy", **options)
    whole = read_all(tmp_path / "copy")["return"]
    np.testing.assert_array_equal(pq.read_table(tmp_path / "one.parquet")["return"], whole[4:])


def test_inspect_check_and_read_know_it(tmp_path: Path) -> None:
    root = write_lerobot(tmp_path / "set", bare(TASKS), [4])
    column = v3_column(root, TASKS.succeeded)
    settings = Settings(estimator="mc", success_column=column, failure_cost=COST)
    info = gaecli.inspect(root, estimator="mc", success_column=column, failure_cost=COST)
    assert info.problem is None
    assert info.roles["reward"] == "success"
    assert info.role_types["reward"] == "bool, in meta/episodes"
    assert check([root], settings).exit_code == 0
    read = gaecli.read(root, estimator="mc", success_column=column, failure_cost=COST)
    assert int(np.sum(read.rewards == 0)) == sum(TASKS.succeeded)


def test_without_a_flag_inspect_names_the_column_of_episodes(tmp_path: Path) -> None:
    root = write_lerobot(tmp_path / "set", bare(TASKS), [4])
    v3_column(root, TASKS.succeeded)
    info = gaecli.inspect(root)
    assert "--success-column success" in (info.hint or "")
    with pytest.raises(UsageError, match=r"neither in .* nor in the episodes") as raised:
        gaecli.read(root, estimator="mc", success_column="succes", failure_cost=COST)
    assert "--success-column success" in str(raised.value.hint)


# ----- two places


def disagreeing(root: Path, what: str) -> None:
    """Episode 1, which failed, succeeded elsewhere."""
    other = [True, True, True, False, True]
    if what == "data and episodes":
        tables(root, {"episode_index": range(5), "next.success": other})
    elif what == "data and statistics":
        v3_statistics(root, other)
    elif what == "table and lines":
        tables(root, {"episode_index": range(5), "next.success": TASKS.succeeded})
        lines(root, [{"episode_index": number, "next.success": flag} for number, flag in enumerate(other)])


@pytest.mark.parametrize(
    ("what", "rows"), [("data and episodes", 2), ("data and statistics", None), ("table and lines", None)]
)
def test_places_that_disagree_are_refused_and_one_can_be_named(what: str, rows: int | None) -> None:
    columns = bare(TASKS) if what == "table and lines" else TASKS.columns()
    with small_blocks(rows) as folder:
        root = write_lerobot(folder / "set", columns, [4])
        disagreeing(root, what)
        with pytest.raises(DataError, match=r"disagree: one says that episode 1 ") as raised:
            gaecli.read(root, **RECAP, success_column="next.success")
        assert "`--success-column data/next.success`" in str(raised.value.hint)
        if what == "table and lines":
            return
        one_place = "meta/episodes/next.success" if what == "data and episodes" else "stats/next.success/max"
        for column, successes in (("data/next.success", 3), (one_place, 4)):
            summary = gaecli.compute(root, **RECAP, success_column=column, dry_run=True)
            assert summary.success is not None
            assert summary.success.successes == successes


@pytest.mark.parametrize("write", [v3_statistics, v3_column, v2_lines])
def test_places_that_agree_are_one(tmp_path: Path, write: Callable[[Path, Sequence[Any]], str]) -> None:
    recording = random_recording(3)
    columns = recording.columns()
    if write is not v3_statistics:
        columns["success"] = columns.pop("next.success")
    root = write_lerobot(tmp_path / "set", columns, [50, 200])
    column = write(root, recording.succeeded)
    summary = gaecli.compute(root, **RECAP, success_column=column, dry_run=True)
    assert summary.success is not None
    assert summary.success.successes == sum(recording.succeeded)


def test_a_flag_within_an_episode_is_compared_as_it_counts(tmp_path: Path) -> None:
    """Set at the second of four steps: no success at the end, and one at some step."""
    flags = [False, True, False, False]
    columns = {"episode_index": [0] * 4, "frame_index": range(4), "next.success": flags}
    root = write_lerobot(tmp_path / "set", columns, [])
    options = {**RECAP, "success_column": "next.success"}
    tables(root, {"episode_index": [0], "next.success": [False]})
    with pytest.raises(UsageError, match="within 1 episode"):
        gaecli.read(root, **options)
    gaecli.read(root, **options, success_at="last")
    with pytest.raises(DataError, match="disagree"):
        gaecli.read(root, **options, success_at="any")


# ----- what says too little


CASES: dict[str, tuple[Callable[[Path], Any], type[GaeError], str]] = {
    "an episode is missing": (
        lambda root: v3_column(root, [True] * 4),
        DataError,
        "says nothing of episode 4, of which row 3 of",
    ),
    "an empty cell": (
        lambda root: v2_lines(root, [True, None, True, True, True]),
        DataError,
        "says nothing of episode 1",
    ),
    "a word": (lambda root: v2_lines(root, ["success"] * 5), DataError, 'is "success" for episode 0'),
    "a number": (lambda root: v3_column(root, [0.5] * 5), DataError, "is 0.5 for episode 0"),
    "an episode twice": (
        lambda root: tables(root, {"episode_index": [0, 1, 2, 3, 4, 1], "success": [True] * 5 + [False]}),
        DataError,
        "says of episode 1 both",
    ),
    "no JSON": (
        lambda root: (root / "meta/episodes.jsonl").write_text("{"),
        FileError,
        "line 1 of .* no JSON",
    ),
    "no object": (lambda root: (root / "meta/episodes.jsonl").write_text("3"), FileError, "no JSON object"),
    "lines without episodes": (
        lambda root: lines(root, [{"success": True}]),
        FileError,
        "no whole number as `episode_index`",
    ),
    "a damaged table": (
        lambda root: (
            tables(root, {"episode_index": [0], "success": [True]})
            .joinpath("meta/episodes/chunk-000/file-000.parquet")
            .write_bytes(b"PAR1 and no more")
        ),
        FileError,
        "cannot be read",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_says_too_little_is_refused(tmp_path: Path, case: str) -> None:
    make, error, words = CASES[case]
    root = write_lerobot(tmp_path / "set", bare(TASKS), [4, 12])
    make(root)
    with pytest.raises(error, match=words):
        gaecli.read(root, **RECAP, success_column="success")


def test_the_episodes_are_read_once_for_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set of v2.1 has a file per episode: read for each, they would be read as often as there are episodes."""
    root = write_lerobot(tmp_path / "set", bare(TASKS), [4, 11, 12, 15], "v2.1")
    column = v2_lines(root, TASKS.succeeded)
    read: list[Path] = []
    monkeypatch.setattr(
        lerobot_episodes,
        "_lines",
        lambda path, lines=lerobot_episodes._lines: (read.append(path), lines(path))[1],
    )
    gaecli.compute(root, **RECAP, success_column=column)
    assert read == [root / "meta/episodes.jsonl"]
