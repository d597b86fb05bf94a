"""Every engine gives the bytes of the local one, whatever is sent where, in whichever order, and tried again."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faults import data_sets
from pipeline import pickling_engine
from pipeline.pickling_engine import PicklingEngine, pickling
from pipeline.running import small_blocks

import gaecli
from gaecli.engine_kinds import ENGINES
from gaecli.engines.base import Engine, Task
from gaecli.engines.registry import make_engine
from gaecli.engines.threads import Threads
from gaecli.errors import GaeError
from gaecli.formats.parquet.reader import ParquetInput
from gaecli.layouts.evidence.unused_flags import EndsUnrecognised
from gaecli.pipeline.notes import WORDS, counted, merged
from gaecli.pipeline.opening import FileSource, open_stream
from gaecli.pipeline.tasks import SummariseUnit
from gaecli.pipeline.worker import WorkerRecipe
from gaecli.settings import Settings
from gaecli.sources.inputs import plan_streams
from gaecli.summary import Seconds, Summary
from gaecli.writing import write_stream

__all__ = ["pickling"]

#: Those of a cluster need one: `tests/engines/`.
NAMES = [*(name for name, kind in ENGINES.items() if kind.is_here), "pickling"]
ROWS = 72


@dataclass(frozen=True)
class Squared:
    """A task of no file. It takes part in any engine."""

    number: int
    failing: bool = False

    def __call__(self, worker: Any) -> list[int]:
        if self.failing:
            raise ValueError(self.number)
        return [self.number, self.number**2]

    def parts(self, worker: Any) -> Iterator[Task[Any, int]]:
        yield self


@dataclass(frozen=True)
class NoWorker:
    def __call__(self) -> None:
        return None


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest, pickling: list[PicklingEngine]) -> Iterator[Engine[None]]:
    threads = Threads(3)
    engine = make_engine(request.param, threads, None, NoWorker())
    if isinstance(engine, PicklingEngine):
        engine._end = lambda sent: _without_losses(engine, sent)  # type: ignore[method-assign]
    yield engine
    engine.close()
    threads.close()


def _without_losses(engine: PicklingEngine, sent: bytes) -> tuple[bytes, Exception | None]:
    try:
        return pickle.dumps(pickle.loads(sent)(None)), None
    except ValueError as error:
        return b"", error


def test_results_come_in_the_order_of_the_tasks(engine: Engine[None]) -> None:
    assert list(engine.run(map(Squared, range(20)))) == [[n, n * n] for n in range(20)]
    assert list(engine.run([])) == []


def test_tasks_are_drawn_as_results_are_taken(engine: Engine[None]) -> None:
    drawn: list[int] = []

    def tasks() -> Iterator[Squared]:
        for number in range(100):
            drawn.append(number)
            yield Squared(number)

    for number, _ in engine.run(tasks()):
        assert len(drawn) <= number + 1 + engine.jobs


def test_the_first_error_in_the_order_of_the_tasks_is_the_error(engine: Engine[None]) -> None:
    taken = []

    def take() -> None:
        for number, _ in engine.run(Squared(number, failing=number in (7, 8)) for number in range(20)):
            taken.append(number)

    with pytest.raises(ValueError, match=r"^7$"):
        take()
    assert taken == list(range(7))


def steps(count: int = ROWS, seed: int = 0) -> dict[str, Any]:
    """Episodes of 7 steps, so that row groups of 20 and blocks of 8 or 12 cut them."""
    random = np.random.default_rng(seed)
    rows = np.arange(count)
    return {
        "reward": random.normal(size=count).astype(np.float32),
        "value": random.normal(size=count).astype(np.float32),
        "terminated": rows % 7 == 6,
        "task": rows % 7 % 3,
    }


def table(**more: Any) -> pa.Table:
    return pa.table({**steps(), **more})


def parquet(folder: Path, name: str = "r.parquet", rows: pa.Table | None = None, size: int = 20) -> None:
    pq.write_table(table() if rows is None else rows, folder / name, row_group_size=size)


def in_lanes(folder: Path) -> None:
    parquet(folder, rows=table(env_id=np.arange(ROWS) % 4))


def returning_ids(folder: Path) -> None:
    rows = np.arange(ROWS)
    numbers = {"episode_id": rows // 2 % 5, "t": rows // 10 * 2 + rows % 2}
    cells = {name: cells for name, cells in steps().items() if name != "terminated"}
    parquet(folder, rows=pa.table({**cells, **numbers}))


def out_of_order(folder: Path) -> None:
    rows = np.random.default_rng(1).permutation(ROWS)
    numbers = {"episode_id": np.arange(ROWS) // 7, "t": np.arange(ROWS) % 7}
    parquet(folder, rows=table(**numbers).take(rows))


def nested(folder: Path) -> None:
    cells = steps()
    lists = {name: list(cells[name].reshape(-1, 6)) for name in ("reward", "value")}
    ends = [[False] * 5 + [number % 3 > 0] for number in range(ROWS // 6)]
    parquet(folder, rows=pa.table({**lists, "terminated": ends}), size=5)


def lists_of_one(folder: Path) -> None:
    """In the first file all have one item, in the second as well: both together say that they are numbers."""
    for number in range(2):
        cells = steps(seed=number)
        rows = pa.table({name: list(column.reshape(-1, 1)) for name, column in cells.items()})
        parquet(folder, f"train-{number:05d}-of-00002.parquet", rows)


def dense(folder: Path) -> None:
    cells = {name: steps()[name].reshape(-1, 4) for name in ("reward", "value", "terminated")}
    np.savez(folder / "r.npz", **cells, last_values=np.arange(4.0))


def flat_arrays(folder: Path) -> None:
    np.savez(folder / "r.npz", **steps())


def json_lines(folder: Path) -> None:
    (folder / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table().to_pylist()))


def arrow(folder: Path) -> None:
    with pa.ipc.new_file(str(folder / "r.arrow"), table().schema) as writer:
        writer.write_table(table(), max_chunksize=20)


def several(folder: Path) -> None:
    for number in range(4):
        parquet(folder, f"{number}.parquet", pa.table(steps(30 + 20 * number, number)))


def bad_cell(folder: Path) -> None:
    cells = steps()
    cells["reward"][50] = np.nan
    parquet(folder, rows=pa.table(cells))


def truncated(folder: Path) -> None:
    rows = np.arange(ROWS)
    parquet(
        folder, rows=table(truncated=(rows % 7 == 3) & (rows > 40), next_value=np.where(rows % 2, 0.5, None))
    )


#: Name -> (what is written, how it is computed).
CASES: dict[str, tuple[Callable[[Path], None], dict[str, Any]]] = {
    "row groups": (parquet, {}),
    "row groups, all": (parquet, {"normalize": "all", "keep_raw": True}),
    "row groups, file": (parquet, {"normalize": "file"}),
    "row groups, episode": (parquet, {"normalize": "episode"}),
    "row groups, column": (parquet, {"normalize_by": "task"}),
    "row groups, returns": (parquet, {"estimator": "mc"}),
    "row groups, elsewhere": (parquet, {"output": "out/"}),
    "row groups, dry": (parquet, {"dry_run": True, "normalize": "all"}),
    "row groups, drawn": (parquet, {"gallery": True}),
    "truncated": (truncated, {"preset": "sb3", "normalize": "episode"}),
    "truncated, leaking": (truncated, {"preset": "skrl-2.1"}),
    "several, joined, arrival rows": (several, {"join": True, "preset": "pufferlib"}),
    "lanes": (in_lanes, {"normalize": "episode"}),
    "returning ids": (returning_ids, {"normalize": "all"}),
    "out of order": (out_of_order, {}),
    "nested": (nested, {"normalize": "all"}),
    "lists of one": (lists_of_one, {"normalize": "file"}),
    "dense arrays": (dense, {"normalize": "all"}),
    "flat arrays": (flat_arrays, {}),
    "JSON lines": (json_lines, {"normalize": "episode"}),
    "Arrow": (arrow, {}),
    "dropped": (bad_cell, {"on_nan": "drop-episode", "normalize": "all"}),
    "sidecar": (parquet, {"sidecar": True}),
    "several": (several, {"normalize": "all"}),
    "several, column": (several, {"normalize_by": "task"}),
    "several, joined": (several, {"join": True, "normalize": "file", "gallery": True}),
    "several, apart": (several, {"normalize": "file"}),
    "several, turns": (several, {"join": True, "unit": "task", "unit_value": "last", "turn_gamma": 0.9}),
    "streams over turns": (
        parquet,
        {
            "unit": "task",
            "estimator": "n-step",
            "n_steps": 2,
            "stream": ["a=reward,value", "b=value,reward,cut=never"],
        },
    ),
    "LeRobot": (data_sets.lerobot_v2, {"normalize": "file"}),
    "Minari": (data_sets.minari, {"normalize": "all"}),
    "RLlib": (data_sets.rllib, {}),
    "hive": (data_sets.hive, {"normalize_by": "env_id"}),
    "hive, sidecar": (data_sets.hive, {"sidecar": True, "normalize": "file"}),
    "save_to_disk": (data_sets.saved, {"normalize": "all"}),
}


def run(folder: Path, engine: str, **settings: Any) -> tuple[Summary, dict[str, bytes]]:
    """Of the same bytes in the same place, at the same time of change."""
    place = folder / "data"
    shutil.rmtree(place, ignore_errors=True)
    shutil.rmtree(folder / "out", ignore_errors=True)
    for sidecar in folder.glob("*.gae.parquet"):
        sidecar.unlink()
    shutil.copytree(folder / "source", place)
    if "output" in settings:
        settings["output"] = f"{folder / settings['output']}/"
    summary = gaecli.compute(place, engine=engine, **settings)
    content = data_sets.content(folder)
    assert not [name for name in content if name.endswith(".tmp")]
    # Which device it is, workers elsewhere find out.
    return replace(summary, seconds=Seconds(), device_reason=""), content


#: What each of these says others say as well, together with something else.
SAID_TWICE = {
    *("row groups", "row groups, file", "row groups, episode", "row groups, column", "flat arrays", "hive"),
    *("several, apart", "several, column", "several, joined", "row groups, elsewhere", "row groups, returns"),
    *("sidecar", "truncated"),
}


@pytest.mark.turns
@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=pytest.mark.slow) if name in SAID_TWICE else name for name in CASES]
)
@pytest.mark.parametrize("files_per_job", [1000, 0])
def test_the_bytes_are_those_of_the_local_engine(
    case: str, files_per_job: int, pickling: list[PicklingEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether tasks are for units of files, or, where there are many files, for all that is to be done for one."""
    write, settings = CASES[case]
    with small_blocks(12) as folder:
        (folder / "source").mkdir()
        write(folder / "source")
        expected = run(folder, "local", **settings)
        monkeypatch.setattr(write_stream, "FILES_PER_JOB", files_per_job)
        summary, content = run(folder, "pickling", **settings)
        assert {file.status for file in summary.files} == {"dry run" if "dry_run" in settings else "written"}
        assert summary == expected[0]
        assert content == expected[1]
        assert pickling[-1].num_lost > 0


def test_of_many_files_each_is_one_task_and_is_read_once(
    pickling: list[PicklingEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickling_engine, "LOSES_EVERY", 0)
    with small_blocks(8) as folder:
        for number in range(write_stream.FILES_PER_JOB * pickling_engine.WINDOW):
            parquet(folder, f"{number:02d}.parquet", pa.table(steps(40)))
        read: list[Path] = []
        plain = ParquetInput.blocks
        monkeypatch.setattr(
            ParquetInput, "blocks", lambda self, *rest: read.append(self.path) or plain(self, *rest)
        )
        gaecli.compute(folder, engine="pickling", normalize="file")
        (engine,) = pickling
        assert engine.num_sent == len(list(folder.iterdir())) == 10
        assert sorted(read) == sorted(path for path in folder.iterdir() for _ in range(2))


def test_a_file_that_was_tried_twice_has_the_mode_of_the_old_one(
    pickling: list[PicklingEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try takes the empty file away that was made for it, so that the second makes another."""
    monkeypatch.setattr(pickling_engine, "LOSES_EVERY", 1)
    with small_blocks(8) as folder:
        parquet(folder)
        path = folder / "r.parquet"
        path.chmod(0o664)
        gaecli.compute(path, engine="pickling")
        assert "advantage" in pq.read_schema(path).names
        assert path.stat().st_mode & 0o777 == 0o664
    assert pickling[0].num_lost == pickling[0].num_sent > 1


def test_what_is_refused_is_refused_in_the_same_words(pickling: list[PicklingEngine]) -> None:
    with small_blocks(8) as folder:
        bad_cell(folder)
        before = data_sets.content(folder)
        told = []
        for engine in ("local", "pickling"):
            with pytest.raises(gaecli.DataError) as caught:
                gaecli.compute(folder / "r.parquet", engine=engine)
            told.append((caught.value.message, caught.value.hint))
        assert data_sets.content(folder) == before
    assert told[0] == told[1]
    assert "row 50" in told[0][0]


def test_tasks_are_carried_out_by_processes_that_share_nothing(tmp_path: Path) -> None:
    parquet(tmp_path)
    tasks, recipe = _summaries(tmp_path / "r.parquet")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = [pool.submit(_carry_out, recipe, task).result() for task in tasks]
    rows = [summary.num_rows for summaries in found for summary in summaries]
    assert sum(rows) == ROWS


def _summaries(path: Path, index: int = 0) -> tuple[list[SummariseUnit], WorkerRecipe]:
    settings = Settings()
    (plan,) = plan_streams([path], None)
    opened = open_stream(plan, settings, 1 << 30, block_rows=8)
    units = range(len(opened.files[index].units))
    return [SummariseUnit(opened.source(index), unit) for unit in units], WorkerRecipe(settings, "auto")


def _carry_out(recipe: WorkerRecipe, task: SummariseUnit) -> list[Any]:
    return task(recipe())


def test_a_task_on_one_of_many_files_says_nothing_of_the_others(tmp_path: Path) -> None:
    """Ten thousand tasks on ten thousand files would be gigabytes."""
    sizes = []
    for count in (2, 60):
        root = tmp_path / f"{count:02d}"
        for number in range(count):
            data_sets.write(root / f"env_id={number:02d}/part-0.parquet", data_sets.rows(t=[0, 1]))
        tasks, _ = _summaries(root, index=1)
        sizes.append(len(pickle.dumps(tasks[0])))
    assert sizes[0] == sizes[1] < 5000


def test_a_descriptor_opens_what_is_open_here(tmp_path: Path) -> None:
    lists_of_one(tmp_path)
    (plan,) = plan_streams([tmp_path], None)
    opened = open_stream(plan, Settings(), 1 << 30, block_rows=8)
    source: FileSource = pickle.loads(pickle.dumps(opened.source(1)))
    there, here = source.open(), opened.files[1]
    assert there.file.path == here.file.path
    assert (there.layout.kind, there.layout.roles) == (here.layout.kind, here.layout.roles)
    assert (list(there.units), there.unused) == (list(here.units), here.unused)
    assert there.layout.kind.name == "long"


@pytest.mark.parametrize("kind", [GaeError, *GaeError.__subclasses__(), EndsUnrecognised])
def test_an_error_says_the_same_elsewhere(kind: type[GaeError]) -> None:
    error = kind("`x` is 3", hint="pass `--x 4`")
    sent = pickle.loads(pickle.dumps(error))
    assert type(sent) is kind
    assert (sent.message, sent.hint, str(sent)) == (error.message, error.hint, str(error))


#: Of every warning that holds numbers: some, and what else it holds.
NOTES: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "bootstrap-current": ((2, 5), ()),
    "bootstrap-zero": ((2, 5), ()),
    "dropped-episodes": ((2, 50), ()),
    "first-row-rewards": ((2,), ()),
    "flat-groups": ((2, 1), ()),
    "last-rows": ((2,), ("`--reward-at arrival`", "states")),
    "masked-ends": ((2,), ("next_value", "mask")),
    "no-lengths": ((2,), ("len",)),
    "scored-as-zero": ((2,), ()),
    "unscored": ((2,), ()),
    "flag-never-set": ((2000, 3), ("`done` is never set",)),
    "preset-early-ends": ((2,), ("agilerl",)),
    "preset-truncation": ((1,), ("preset `sb3`", "zero")),
    "rewards-outside-units": ((2,), ()),
    "second-values": ((2,), ("vtrace",)),
    "single-units": ((2,), ()),
    "stream-bootstrap-zero": ((2,), ()),
    "unchained-values": ((2, 50), ("they are 0",)),
    "unfilled-tail": ((2, 50), ()),
    "zero-variance": ((1,), ("groups",)),
}


def test_every_warning_with_numbers_is_tried() -> None:
    assert NOTES.keys() == WORDS.keys()


@pytest.mark.parametrize("code", NOTES)
def test_a_warning_is_the_same_elsewhere_and_its_numbers_add_up(code: str) -> None:
    numbers, names = NOTES[code]
    note = counted(code, numbers, "a", names=names)
    sent = pickle.loads(pickle.dumps(note))
    assert sent == note
    (both,) = merged([note, sent])
    assert both.count == 2 * numbers[0]
    assert all(f"{2 * number:,}" in both.message for number in numbers)
    assert both.message.endswith(" (in 2 inputs)")
