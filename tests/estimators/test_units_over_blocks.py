"""Turns over the borders of blocks and files: what a plain loop over the whole rollout gives, however it is cut."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from estimators.unit_loops import Columns, a_rollout, over_turns
from pipeline.running import STORE_BYTES, small_blocks

import gaecli
from gaecli.summary import Summary

NUMBERS = ("reward", "value", "terminated", "truncated", "next_value", "ratio")
#: Together they have as many pairs of an estimator, a layout, a mask and a kind of id with one another and with the
#: other settings as the first thirty seeds have: the default run tries these.
CHOSEN = (0, 2, 6, 10, 11, 14, 53, 108, 146, 188, 215, 250, 319, 378)
SEEDS = [
    pytest.param(seed, marks=() if seed in CHOSEN else pytest.mark.slow, id=str(seed)) for seed in range(400)
]
FEW_SEEDS = [
    pytest.param(seed, marks=() if seed in (0, 6, 10, 11) else pytest.mark.slow, id=str(seed))
    for seed in range(200)
]


def some_settings(rng: np.random.Generator) -> dict[str, Any]:
    found: dict[str, Any] = {
        "estimator": str(rng.choice(["gae", "gae", "gae", "td-lambda", "n-step", "mc", "vtrace"])),
        "gamma": 0.9,
        "unit_reward": str(rng.choice(["sum", "mean"])),
        "unit_value": str(rng.choice(["first", "last"])),
        "bootstrap": str(rng.choice(["zero", "current"])),
        "unit_is": str(rng.choice(["id", "end"])),
        "on_nan": "drop-episode",
    }
    if found["estimator"] in ("gae", "td-lambda", "vtrace"):
        found["lam"] = 0.8
    if found["estimator"] == "n-step":
        found["n_steps"] = int(rng.integers(1, 5))
    if found["estimator"] == "gae" and rng.random() < 0.7:
        found |= {"turn_gamma": 0.7, "unit_value": "last"}
    elif found["estimator"] == "gae" and rng.random() < 0.5:
        found["lam_retain"] = 0.3
    return found


def turn_column(columns: Columns, by: str, *, as_text: bool) -> list[Any]:
    cells = columns["turn"] if by == "id" else columns["ends"].astype(int)
    name = (lambda cell: f"t{cell}") if as_text else int
    return [
        name(cell) if inside else None for cell, inside in zip(cells.tolist(), columns["inside"], strict=True)
    ]


def bounds_of(rng: np.random.Generator, count: int) -> list[tuple[int, int]]:
    cuts = np.unique(rng.integers(1, max(count, 2), int(rng.integers(0, 4)))).tolist()
    cuts = [0, *[cut for cut in cuts if cut < count], count]
    return list(pairwise(cuts))


def written_long(folder: Path, rng: np.random.Generator, columns: Columns, by: str, masked: bool) -> None:
    turns = turn_column(columns, by, as_text=by == "id" and rng.random() < 0.3)
    suffix = rng.choice([".parquet", ".jsonl"])
    for index, (start, stop) in enumerate(bounds_of(rng, len(turns))):
        table = {name: columns[name][start:stop] for name in ("env_id", *NUMBERS)}
        table |= {"kept": columns["kept"][start:stop].astype(int)} if masked else {}
        rows = pa.table({**table, "turn": turns[start:stop]})
        if suffix == ".parquet" or np.isnan(columns["next_value"][start:stop]).all():
            pq.write_table(rows, folder / f"r{index}.parquet", row_group_size=int(rng.integers(1, 30)))
        else:
            text = (json.dumps(row) for row in rows.to_pylist())
            (folder / f"r{index}.jsonl").write_text("\n".join(text).replace("NaN", "null"))


def written_time_major(
    folder: Path, rng: np.random.Generator, columns: Columns, by: str, masked: bool
) -> None:
    num_envs = len(np.unique(columns["env_id"]))
    turns = np.array([-1.0 if cell is None else cell for cell in turn_column(columns, by, as_text=False)])
    turns = np.where((turns < 0) & (by == "end"), np.nan, turns).reshape(-1, num_envs)
    for index, (start, stop) in enumerate(bounds_of(rng, len(turns))):
        names = (*NUMBERS, *(["kept"] if masked else []))
        arrays = {name: columns[name].reshape(-1, num_envs)[start:stop] for name in names}
        np.savez(folder / f"r{index}.npz", turn=turns[start:stop], **arrays)


def read(folder: Path, name: str) -> np.ndarray:
    found = []
    for path in sorted(folder.glob("r*")):
        if path.suffix == ".npz":
            found.append(np.load(path)[name].reshape(-1))
        elif path.suffix == ".parquet":
            found.append(pq.read_table(path)[name].to_numpy())
        else:
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            found.append([row.get(name) for row in rows])
    return np.concatenate(found).astype(float)


def checked(folder: Path, summary: Summary, columns: Columns, settings: dict[str, Any]) -> None:
    assert [file.status for file in summary.files] == ["written"] * len(summary.files), summary.files
    advantages, returns, count = over_turns(columns, settings["unit_is"], settings)
    for name, expected in (("advantage", advantages), ("return", returns)):
        if name == "return" or settings["estimator"] != "mc":
            inside = ~np.isnan(expected)
            found = read(folder, name)
            np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-12, atol=1e-12)
            if settings.get("mask_mode") == "skip":
                assert np.isnan(found[~columns["kept"]]).all()
    assert summary.units.count == count


@pytest.mark.few(6)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_turn_is_one_wherever_rows_are_cut(seed: int) -> None:
    rng = np.random.default_rng(seed)
    time_major, masked = bool(rng.random() < 0.3), bool(rng.random() < 0.4)
    columns, settings = a_rollout(rng, time_major=time_major, masked=masked), some_settings(rng)
    block_rows = [None, 1, 2, 3, 7, 20][rng.integers(0, 6)]
    store = STORE_BYTES[rng.integers(0, len(STORE_BYTES))]
    with small_blocks(block_rows, store_bytes=store, dtype=np.float64) as folder:
        if time_major:
            written_time_major(folder, rng, columns, settings["unit_is"], masked)
        else:
            written_long(folder, rng, columns, settings["unit_is"], masked)
        how = {**settings, "layout": "time-major" if time_major else "long"}
        if masked:
            how |= {"mask_column": "kept", "mask_mode": str(rng.choice(["skip", "zero"]))}
        suffixes = {path.suffix for path in folder.iterdir()}
        if len(suffixes) == 1:
            checked(folder, gaecli.compute(folder, join=True, unit="turn", **how), columns, how)


def of_next_rows(columns: Columns) -> tuple[np.ndarray, np.ndarray, int]:
    """(A, R, turns) as AReaL has them, where each row is in the turn of the row after it; NaN in no turn."""
    advantages, returns = np.full((2, len(columns["reward"])), np.nan)
    count = 0
    for env in np.unique(columns["env_id"]):
        rows = np.flatnonzero(columns["env_id"] == env).tolist()
        while rows:
            stops = [
                n for n, row in enumerate(rows) if columns["terminated"][row] or columns["truncated"][row]
            ]
            size = stops[0] + 1 if stops else len(rows)
            episode, rows = rows[:size], rows[size:]
            turns: list[list[int]] = []
            before = None
            for row, after in pairwise(episode):
                if not columns["inside"][after]:
                    continue
                known = episode[0] if before is None and columns["inside"][episode[0]] else before
                if turns and known is not None and columns["turn"][after] == columns["turn"][known]:
                    turns[-1].append(row)
                else:
                    turns.append([row])
                before = after
            later, following, last = 0.0, 0.0, episode[-1]
            if columns["truncated"][last] and not columns["terminated"][last]:
                following = float(columns["value"][last])
            for turn in reversed(turns):
                value = float(columns["value"][turn[0]])
                later = sum(columns["reward"][turn]) + 0.9 * following - value + 0.9 * 0.8 * later
                advantages[turn], returns[turn], following = later, later + value, value
            count += len(turns)
    return advantages, returns, count


@pytest.mark.few(2)
@pytest.mark.parametrize("seed", FEW_SEEDS)
def test_a_row_in_the_turn_of_the_next_row_may_find_it_in_another_block(seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    time_major = bool(rng.random() < 0.3)
    columns = a_rollout(rng, time_major=time_major, masked=False)
    columns["reward"] = np.nan_to_num(columns["reward"])
    store = STORE_BYTES[rng.integers(0, len(STORE_BYTES))]
    with small_blocks(
        [None, 1, 2, 3, 7, 20][rng.integers(0, 6)], store_bytes=store, dtype=np.float64
    ) as folder:
        written = written_time_major if time_major else written_long
        written(folder, rng, columns, "id", False)
        how = {"layout": "time-major" if time_major else "long", "unit_is": "id", "mask_column": "none"}
        if len({path.suffix for path in folder.iterdir()}) > 1:
            return
        summary = gaecli.compute(
            folder, join=True, preset="areal-turn", unit="turn", gamma=0.9, lam=0.8, **how
        )
        assert [file.status for file in summary.files] == ["written"] * len(summary.files), summary.files
        advantages, returns, count = of_next_rows(columns)
        inside = ~np.isnan(advantages)
        found = read(folder, "advantage")
        np.testing.assert_allclose(found[inside], advantages[inside], rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(found[~inside], 0.0)
        np.testing.assert_allclose(read(folder, "return")[inside], returns[inside], rtol=1e-12, atol=1e-12)
        assert summary.units.count == count
        lost = [note.count for note in summary.warnings if note.code == "rewards-outside-units"]
        assert sum(lost) == np.count_nonzero(columns["reward"][~inside])


def long_table(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return path


def test_the_rows_of_one_unbounded_conversation_need_not_fit(tmp_path: Path) -> None:
    """100,000 tokens without an end under a limit that a tenth of them would break: only turns are kept."""
    count = 100_000
    table = pa.table({"reward": np.ones(count, np.float32), "value": np.zeros(count, np.float32)})
    path = tmp_path / "r.parquet"
    table = table.append_column("turn", pa.array(np.arange(count) // 100))
    pq.write_table(table, path, row_group_size=30_000)
    gaecli.compute(path, layout="long", unit="turn", gamma=1.0, lam=1.0, memory_bytes=1 << 20)
    left = 1000 - np.arange(count) // 100
    np.testing.assert_array_equal(pq.read_table(path)["advantage"].to_numpy(), 100.0 * left)


@pytest.mark.few(2)
@pytest.mark.parametrize("block_rows", [None, 1, 2, 5])
def test_a_turn_over_a_border_enters_the_whitening_once(block_rows: int | None) -> None:
    """AgileRL: mean and spread are over turns."""
    turns = np.repeat([0, 1, 2, 3], [1, 4, 3, 4])
    rewards = np.arange(12.0)
    with small_blocks(block_rows, dtype=np.float64) as folder:
        path = long_table(
            folder / "r.parquet",
            rewards=rewards,
            values=np.zeros(12),
            turn_ids=turns,
            terminated=np.append(np.zeros(11, bool), True),
        )
        gaecli.compute(path, preset="agilerl-llm-turn", gamma=0.5, lam=1.0)
        found = pq.read_table(path)["advantage"].to_numpy()
    later, raw = 0.0, np.zeros(4)
    for turn in range(3, -1, -1):
        later = rewards[turns == turn].mean() + 0.5 * later
        raw[turn] = later
    expected = (raw - raw.mean()) / np.sqrt(raw.var(ddof=1) + 1e-8)
    np.testing.assert_allclose(found, expected[turns], rtol=1e-12)


@pytest.mark.few(2)
@pytest.mark.parametrize("estimator", ["gae", "n-step"])
@pytest.mark.parametrize("block_rows", [1, 4, None])
def test_each_stream_of_rewards_goes_over_borders(estimator: str, block_rows: int | None) -> None:
    """One of them never ends: its last turn of an episode is followed by the first of the next, of the same id."""
    rng = np.random.default_rng(5)
    numbers = {name: rng.normal(size=12) for name in ("r", "v", "i", "iv")}
    ended = np.arange(12) % 6 == 5
    turns = [[0, 1], [2, 3, 4, 5], [6, 7, 8], [9], [10, 11]]
    ids = np.repeat([0, 1, 1, 2, 3], [2, 4, 3, 1, 2])
    more = {"n_steps": 2} if estimator == "n-step" else {"lam": 0.8}
    with small_blocks(block_rows, store_bytes=300, dtype=np.float64) as folder:
        path = long_table(
            folder / "r.parquet", **numbers, terminated=ended, turn=ids, episode=ended.cumsum() - ended
        )
        gaecli.compute(
            path,
            unit="turn",
            gamma=0.9,
            estimator=estimator,
            stream=["ext=r,v", "int=i,iv,weight=2,cut=never"],
            **more,
        )
        found = pq.read_table(path)
    total = np.zeros(12)
    for name, (reward, value, ends, weight) in {
        "ext": ("r", "v", [1, 4], 1.0),
        "int": ("i", "iv", [4], 2.0),
    }.items():
        rewards = [numbers[reward][turn].sum() for turn in turns]
        values = [numbers[value][turn[0]] for turn in turns]
        advantages = np.zeros(5)
        for k in range(4, -1, -1):
            if estimator == "gae":
                goes_on = k not in ends
                advantages[k] = rewards[k] - values[k]
                if goes_on:
                    advantages[k] += 0.9 * values[k + 1] + 0.9 * 0.8 * advantages[k + 1]
            else:
                advantages[k] = rewards[k] - values[k]
                if k not in ends:
                    advantages[k] += 0.9 * rewards[k + 1]
                    if k + 1 not in ends:
                        advantages[k] += 0.81 * values[k + 2]
        of_rows = advantages[np.repeat(np.arange(5), [len(turn) for turn in turns])]
        total += weight * of_rows
        returns = of_rows + np.array(values)[np.repeat(np.arange(5), [len(turn) for turn in turns])]
        np.testing.assert_allclose(found[f"return_{name}"].to_numpy(), returns, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found["advantage"].to_numpy(), total, rtol=1e-12, atol=1e-12)


@pytest.mark.few(4)
@pytest.mark.parametrize("block_rows", [1, 2, None])
@pytest.mark.parametrize(
    ("turns", "asks"), [([0, 1, 1], True), ([1, 0, 1], True), ([0, 0, 0], False), ([0, 1, 2], False)]
)
def test_zeros_and_ones_are_asked_about_by_all_rows_together(
    block_rows: int | None, turns: list[int], asks: bool
) -> None:
    with small_blocks(block_rows) as folder:
        path = long_table(folder / "r.parquet", reward=[1.0] * 3, value=[0.0] * 3, turn=turns)
        if asks:
            with pytest.raises(gaecli.UsageError, match="nothing but 0 and 1"):
                gaecli.compute(path, unit="turn", layout="long")
        else:
            assert gaecli.compute(path, unit="turn", layout="long").units.count == len(set(turns))


@pytest.mark.few(3)
@pytest.mark.parametrize("block_rows", [1, 2, 3, None])
@pytest.mark.parametrize(("turns", "told"), [([7, 7, 7, 7], True), ([7, 7, 8, 8], False)])
def test_one_id_for_all_tokens_is_told_of_whole_episodes(
    block_rows: int | None, turns: list[int], told: bool
) -> None:
    with small_blocks(block_rows) as folder:
        path = long_table(folder / "r.parquet", reward=[1.0] * 4, value=[0.0] * 4, turn=turns)
        summary = gaecli.compute(path, unit="turn", layout="long")
    assert [note.count for note in summary.warnings if note.code == "single-units"] == ([1] if told else [])


def test_files_of_which_one_holds_flags_and_one_ids_are_refused(tmp_path: Path) -> None:
    for name, turns in (("a", [False, True]), ("b", [4, 5])):
        long_table(tmp_path / f"{name}.parquet", reward=[1.0, 2.0], value=[0.0, 0.0], turn=turns)
    summary = gaecli.compute(tmp_path, unit="turn", join=True, layout="long")
    assert "holds flags in" in str(summary.files[0].error)
