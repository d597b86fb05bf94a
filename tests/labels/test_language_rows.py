"""Labels as rows of LeRobot's `language_persistent`, beside what others wrote there."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labels.recorded import TASKS, read_all, write_lerobot
from pipeline.running import small_blocks

import gaecli
from gaecli.errors import UsageError
from gaecli.formats.parquet import language
from gaecli.settings import Settings

COST = 5.0
OPTIONS = {
    "estimator": "mc",
    "gamma": 1.0,
    "success_column": "next.success",
    "failure_cost": COST,
    "label_rule": "lerobot-3764",
    "label_type": "language",
}
LANGUAGE = "language_persistent"
FPS = 10
#: Both are in force from the start of an episode; what comes later is not yet.
PLAN = {"role": "assistant", "content": "grasp, lift", "style": "plan", "timestamp": 0.0}
SUBTASK = {"role": "assistant", "content": "lift", "style": "subtask", "timestamp": 0.2}


def times() -> list[float]:
    return [frame / FPS for frame in TASKS.frames]


def columns(**more: Any) -> dict[str, Any]:
    return TASKS.columns(timestamp=pa.array(times(), pa.float32()), **more)


def as_annotated(rows: list[dict[str, Any]]) -> pa.Array:
    """As `lerobot-annotate` of 0.6.1 leaves it: pyarrow finds the types, so what is never there is null."""
    return pa.array([[{**row, "camera": None, "tool_calls": None} for row in rows] for _ in times()])


def active_at(t: float, rows: list[dict[str, Any]], style: str) -> str | None:
    """lerobot 0.6.1 datasets/language_render.py: of a style, the row of the latest timestamp up to t."""
    found = [row for row in rows if row["style"] == style and row["timestamp"] <= t]
    latest = [row for row in found if row["timestamp"] == max(one["timestamp"] for one in found)]
    assert len(latest) < 2
    return latest[0]["content"] if latest else None


def said(found: dict[str, list[Any]], style: str) -> list[str | None]:
    pairs = zip(found["timestamp"], found[LANGUAGE], strict=True)
    return [active_at(t, rows, style) for t, rows in pairs]


def wanted() -> list[str]:
    returns = np.array(TASKS.returns(TASKS.rewards("recap", COST), 1.0), np.float32)
    threshold = np.percentile(returns, 30)
    return ["positive" if one > threshold else "negative" for one in returns]


@pytest.mark.few(1)
@pytest.mark.parametrize("rows", [3, None])
def test_every_frame_gets_a_row_of_its_own(monkeypatch: pytest.MonkeyPatch, rows: int | None) -> None:
    monkeypatch.setattr(language, "PIECE_ROWS", 7)
    with small_blocks(rows) as folder:
        root = write_lerobot(folder / "set", columns(), [4, 12])
        gaecli.compute(root, **OPTIONS)
        found = read_all(root)
        info = json.loads((root / "meta/info.json").read_text())
        again = gaecli.compute(root, **OPTIONS)
    assert said(found, "advantage") == wanted()
    assert {len(cell) for cell in found[LANGUAGE]} == {1}
    first = {"role": "user", "style": "advantage", "timestamp": 0.0, "camera": None, "tool_calls": None}
    assert found[LANGUAGE][0] == [{**first, "content": wanted()[0]}]
    assert info["features"][LANGUAGE] == {"dtype": "language", "shape": [1], "names": None}
    assert {file.status for file in again.files} == {"up to date"}


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "make", ["annotated", "of several types", "null cells", "large lists", "nothing said"]
)
def test_rows_of_other_styles_stay_as_they_are(tmp_path: Path, make: str) -> None:
    cells = as_annotated([PLAN, SUBTASK])
    if make == "of several types":
        kind = pa.struct(
            [
                ("style", pa.string()),
                ("role", pa.dictionary(pa.int32(), pa.string())),
                ("content", pa.large_string()),
                ("timestamp", pa.float64()),
                ("confidence", pa.float32()),
            ]
        )
        cells = pa.array([[{**PLAN, "confidence": 0.5}, SUBTASK] for _ in times()], pa.list_(kind))
    elif make == "null cells":
        listed = cells.to_pylist()
        cells = pa.array([None if frame % 2 else cell for frame, cell in enumerate(listed)], cells.type)
    elif make == "large lists":
        cells = cells.cast(pa.large_list(cells.type.value_type))
    elif make == "nothing said":
        cells = pa.array([[] for _ in times()])
    root = write_lerobot(tmp_path / "set", columns(**{LANGUAGE: cells}), [4, 12])
    before = read_all(root)
    gaecli.compute(root, **OPTIONS)
    found = read_all(root)
    assert said(found, "advantage") == wanted()
    others = [[row for row in cell if row["style"] != "advantage"] for cell in found[LANGUAGE]]
    assert others == [cell or [] for cell in before[LANGUAGE]]
    assert {name: found[name] for name in before if name != LANGUAGE} == {
        name: cells for name, cells in before.items() if name != LANGUAGE
    }


def test_other_settings_replace_its_own_rows_and_no_others(tmp_path: Path) -> None:
    root = write_lerobot(tmp_path / "set", columns(**{LANGUAGE: as_annotated([PLAN])}), [4])
    gaecli.compute(root, **OPTIONS)
    gaecli.compute(root, **{**OPTIONS, "label_rule": None, "label_threshold": -100.0})
    found = read_all(root)
    assert said(found, "advantage") == ["positive"] * 20
    assert said(found, "plan") == ["grasp, lift"] * 20
    assert {len(cell) for cell in found[LANGUAGE]} == {2}


def test_labels_of_others_are_asked_about(tmp_path: Path) -> None:
    theirs = {**PLAN, "style": "advantage", "content": "negative"}
    root = write_lerobot(tmp_path / "set", columns(**{LANGUAGE: as_annotated([theirs, SUBTASK])}), [4])
    before = read_all(root)
    with pytest.raises(UsageError, match="rows of the style `advantage` already"):
        _raise_first(gaecli.compute(root, **OPTIONS))
    assert read_all(root) == before
    gaecli.compute(root, **OPTIONS, overwrite=True)
    assert said(read_all(root), "advantage") == wanted()


def test_a_row_without_a_label_gets_none(tmp_path: Path) -> None:
    """Values are there for all but one episode, which is left out."""
    values = [float("nan") if episode == 1 else 0.0 for episode in TASKS.episodes]
    root = write_lerobot(tmp_path / "set", columns(value=values, reward=TASKS.rewards("steps", 1)), [4])
    gaecli.compute(root, label_rule="crr", label_type="language", on_nan="drop-episode")
    found = read_all(root)[LANGUAGE]
    assert [len(cell) for cell in found] == [0 if episode == 1 else 1 for episode in TASKS.episodes]


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a sidecar": ({}, {"sidecar": True}, "which a sidecar leaves alone"),
    "no time": ({"timestamp": None}, {}, "no numbers `timestamp`"),
    "another column": ({LANGUAGE: ["grasp"] * 20}, {}, "no rows as LeRobot has them"),
    "other rows": ({LANGUAGE: [[{"text": "grasp"}]] * 20}, {}, "no rows as LeRobot has them"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_take_rows_is_refused(tmp_path: Path, case: str) -> None:
    more, options, words = REFUSED[case]
    cells = {name: column for name, column in {**columns(), **more}.items() if column is not None}
    root = write_lerobot(tmp_path / "set", cells, [4])
    before = read_all(root)
    with pytest.raises(UsageError, match=words):
        _raise_first(gaecli.compute(root, **OPTIONS, **options))
    assert read_all(root) == before


def test_only_sets_of_lerobot_have_the_column(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(pa.table(columns()), path)
    with pytest.raises(UsageError, match="of a LeRobot set"):
        _raise_first(gaecli.compute(path, **OPTIONS))
    with pytest.raises(UsageError, match="names another column than"):
        Settings(label_rule="crr", label_type="language", label_column="mine")


def _raise_first(summary: gaecli.Summary) -> None:
    failed = next(file for file in summary.files if file.status == "failed")
    assert failed.exit_code == 2
    raise UsageError(failed.error or "", hint=failed.hint)


@pytest.mark.few(1)
@pytest.mark.parametrize("memory", [1 << 20, 1 << 30])
def test_verify_reads_the_labels_in_force(tmp_path: Path, memory: int) -> None:
    """Its own rows, those of an annotator that has the rows of all frames in each, and where one was changed."""
    rows = [
        {"role": "user", "content": text, "style": "advantage", "timestamp": t}
        for t, text in zip(times(), wanted(), strict=True)
    ]
    returns = np.array(TASKS.returns(TASKS.rewards("recap", COST), 1.0), np.float32)
    own = write_lerobot(tmp_path / "own", columns(), [4, 12])
    gaecli.compute(own, **OPTIONS)
    found = gaecli.verify(own, LANGUAGE, memory_bytes=memory)
    assert (found.exit_code, found.num_rows) == (0, len(rows))
    assert found.num_positive == wanted().count("positive")
    starts = [index for index, t in enumerate(times()) if t == 0.0]
    for changed in (None, starts[-1] + 1):
        cells = []
        for first, stop in pairwise([*starts, len(rows)]):
            said_there = [dict(row) for row in rows[first:stop]]
            if changed is not None and first <= changed < stop:
                text = said_there[changed - first]["content"]
                said_there[changed - first]["content"] = "negative" if text == "positive" else "positive"
            cells += [[PLAN, *reversed(said_there)]] * (stop - first)
        path = tmp_path / f"theirs{changed}.parquet"
        pq.write_table(pa.table(columns(**{LANGUAGE: pa.array(cells), "return": returns})), path)
        theirs = gaecli.verify(path, LANGUAGE, label_rule="lerobot-3764", memory_bytes=memory)
        assert [row.row for row in theirs.rows] == ([] if changed is None else [changed])
