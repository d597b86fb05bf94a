"""A real Ray of two machines gives the bytes of the local engine, whatever is lost on the way.

Both machines are processes of this one: nodes of `ray.cluster_utils.Cluster`.
"""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines.cluster import files_of, gae, killing, wait_until, worker_processes, written
from engines.ray_tasks import Assigned, Failing, NoWorker, Sleeping, Summed, Unsendable, slowly
from faults import data_sets
from pipeline.running import small_blocks
from pipeline.test_engines import (  # the tests run here as well, with the engine of this file
    CASES,
    Squared,
    run,
    test_results_come_in_the_order_of_the_tasks,
    test_tasks_are_drawn_as_results_are_taken,
    test_the_first_error_in_the_order_of_the_tasks_is_the_error,
)

import gaecli
from gaecli.engines.base import EngineOptions
from gaecli.engines.registry import make_engine
from gaecli.engines.threads import Threads
from gaecli.errors import DeviceError, EngineError

__all__ = [
    "test_results_come_in_the_order_of_the_tasks",
    "test_tasks_are_drawn_as_results_are_taken",
    "test_the_first_error_in_the_order_of_the_tasks_is_the_error",
]

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("case", CASES)
def test_the_bytes_are_those_of_the_local_engine(case: str, connected: Any) -> None:
    write, settings = CASES[case]
    with small_blocks(8) as folder:
        (folder / "source").mkdir()
        write(folder / "source")
        summary, content = run(folder, "local", **settings)
        assert run(folder, "ray", **settings)[1] == content
    assert connected.is_initialized()
    assert {file.status for file in summary.files} == {"dry run" if "dry_run" in settings else "written"}


@pytest.mark.parametrize("normalize", ["all", "file"])
def test_workers_that_are_killed_in_both_looks_change_no_byte(
    normalize: Any, tmp_path: Path, connected: Any
) -> None:
    """Looks that are tasks of their own, and those that one task takes at a file."""
    (tmp_path / "source").mkdir()
    files_of(tmp_path / "source")
    expected = run(tmp_path, "local", normalize=normalize, memory_bytes=16 << 20)
    with killing() as killed:
        summary, content = run(tmp_path, "ray", jobs=4, normalize=normalize, memory_bytes=16 << 20)
    assert len(killed) > 1
    assert content == expected[1]
    assert {file.status for file in summary.files} == {"written"}


def test_a_machine_that_is_lost_changes_no_byte(tmp_path: Path, cluster: Any, connected: Any) -> None:
    (tmp_path / "source").mkdir()
    files_of(tmp_path / "source")
    expected = run(tmp_path, "local", normalize="all")
    lost = cluster.add_node(num_cpus=2)
    is_lost = threading.Event()

    def lose() -> None:
        while len(worker_processes()) < 5:  # more than the others have
            time.sleep(0.01)
        cluster.remove_node(lost, allow_graceful=False)
        is_lost.set()

    threading.Thread(target=lose, daemon=True).start()
    _, content = run(tmp_path, "ray", jobs=6, normalize="all")
    assert is_lost.is_set()
    assert content == expected[1]
    cluster.wait_for_nodes()


@pytest.fixture
def engine(connected: Any) -> Iterator[Any]:
    threads = Threads(1)
    engine = make_engine("ray", threads, None, NoWorker(), EngineOptions(jobs=3))
    yield engine
    engine.close()


def test_an_error_of_the_system_that_may_pass_is_tried_again(engine: Any, tmp_path: Path) -> None:
    passing = Failing(tmp_path / "a", ConnectionResetError(104, "Connection reset by peer"), most=2)
    assert list(engine.run([passing])) == [[2]]
    assert (tmp_path / "a").read_text().count("tried") == 3


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), gaecli.DataError("row 3 is bad")])
def test_an_error_that_comes_again_is_told_at_once(
    engine: Any, tmp_path: Path, error: Exception, connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To cancel the task, which has just ended, makes Ray 2.60 abort this process now and then."""
    cancelled: list[Any] = []
    monkeypatch.setattr(connected, "cancel", lambda reference, **how: cancelled.append(reference))
    with pytest.raises(type(error), match=str(error.args[-1])):
        list(engine.run([Failing(tmp_path / "a", error)]))
    assert (tmp_path / "a").read_text() == "tried\n"
    assert cancelled == []


def test_a_bug_is_a_bug(engine: Any, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        list(engine.run([Failing(tmp_path / "a", ZeroDivisionError("1 / 0"))]))


def test_a_large_array_goes_to_the_cluster_once(engine: Any) -> None:
    numbers = np.arange(100_000.0)
    found = list(engine.run(Summed(numbers) for _ in range(5)))
    assert found == [[numbers.sum()]] * 5
    assert len(engine._shared) == 1


def test_an_interrupt_ends_the_tasks_of_the_run_and_no_others(connected: Any, tmp_path: Path) -> None:
    others = connected.remote(slowly).options(num_cpus=0).remote(6.0)

    def stop() -> None:
        if (tmp_path / "a").exists():
            raise KeyboardInterrupt

    engine = make_engine("ray", Threads(1), None, NoWorker(), EngineOptions(jobs=2, check_stop=stop))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(engine.run(Sleeping(tmp_path / "a") for _ in range(4)))
    assert time.monotonic() - began < 30
    assert worker_processes() == []
    assert connected.get(others) == "done"
    engine.close()


def test_tasks_of_a_run_with_many_streams_are_no_more_than_its_jobs(connected: Any) -> None:
    threads = Threads(6)
    engine = make_engine("ray", threads, None, NoWorker(), EngineOptions(jobs=2))
    results = list(
        threads.run(lambda first: list(engine.run(map(Squared, range(first, first + 9)))), range(6))
    )
    assert results == [[[n, n * n] for n in range(first, first + 9)] for first in range(6)]
    engine.close()
    threads.close()


@pytest.mark.parametrize("bad", [Unsendable(), Failing(Path("/none"), ZeroDivisionError())])
def test_a_task_that_fails_gives_back_its_place(bad: Any, engine: Any, tmp_path: Path) -> None:
    for _ in range(engine.jobs + 2):
        with pytest.raises((ZeroDivisionError, FileNotFoundError)):
            list(engine.run([bad]))
    places = [engine._free.acquire(blocking=False) for _ in range(engine.jobs + 2)]
    assert places == [True] * (engine.jobs + 1) + [False]


def test_tasks_for_an_accelerator_ask_for_one(cluster: Any, connected: Any) -> None:
    options = EngineOptions(needs_gpu=True)
    with pytest.raises(DeviceError, match="no machine of the Ray cluster has a GPU"):
        make_engine("ray", Threads(1), None, NoWorker(), options)
    node = cluster.add_node(num_cpus=2, num_gpus=1)
    try:
        engine = make_engine("ray", Threads(1), None, NoWorker(), options)
        assert engine.jobs == 1
        assert [found for (found,) in engine.run([Assigned(), Assigned()])] == [{"CPU": 1.0, "GPU": 1.0}] * 2
        engine.close()
    finally:
        cluster.remove_node(node)
    plain = make_engine("ray", Threads(1), None, NoWorker(), EngineOptions())
    assert list(plain.run([Assigned()])) == [[{"CPU": 1.0}]]


def test_a_device_that_workers_have_not_is_told_before_any_work(
    cluster: Any, connected: Any, tmp_path: Path
) -> None:
    """The machine says that it has a GPU, and there is none."""
    files_of(tmp_path, 1)
    before = data_sets.content(tmp_path)
    node = cluster.add_node(num_cpus=2, num_gpus=1)
    try:
        with pytest.raises(
            DeviceError, match=r"worker `.+` of the Ray cluster: device `cuda` is not available"
        ):
            gaecli.compute(tmp_path, engine="ray", device="cuda")
    finally:
        cluster.remove_node(node)
    assert data_sets.content(tmp_path) == before


def test_a_worker_of_another_version_is_an_error_before_any_work(
    connected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gaecli.engines import ray_nodes, worker_facts

    files_of(tmp_path, 1)
    before = data_sets.content(tmp_path)
    other = worker_facts.facts_here()._replace(pyarrow="1.0")
    monkeypatch.setattr(ray_nodes, "facts_here", lambda: other)
    with pytest.raises(
        EngineError, match=r"worker `.+` has another pyarrow than this machine: \d+.*, and here 1\.0"
    ):
        gaecli.compute(tmp_path, engine="ray")
    assert data_sets.content(tmp_path) == before


def test_what_only_this_process_sees_is_refused(tmp_path: Path) -> None:
    files_of(tmp_path, 1)
    with pytest.raises(gaecli.UsageError, match="`-` cannot be seen by the workers of `--engine ray`"):
        gaecli.compute(tmp_path / "00.parquet", engine="ray", output="-")


class TestCommand:
    """The installed command, which connects itself and runs where a cluster is that was there before."""

    def test_stdout_is_the_document_though_workers_die(self, tmp_path: Path, cluster: Any) -> None:
        files_of(tmp_path)
        with killing(3) as killed:
            stdout, stderr = gae(cluster, tmp_path, "--json").communicate(timeout=120)
        assert len(killed) == 3
        assert {file["status"] for file in json.loads(stdout)["files"]} == {"written"}
        assert "ray" not in stderr

    def test_a_run_whose_driver_is_killed_goes_on_where_it_was(self, tmp_path: Path, cluster: Any) -> None:
        (tmp_path / "source").mkdir()
        files_of(tmp_path / "source")
        expected = run(tmp_path, "local", normalize="file")[1]
        place = tmp_path / "data"
        shutil.rmtree(place)
        shutil.copytree(tmp_path / "source", place)
        first = gae(cluster, place, "--normalize", "file", "--jobs", 2)
        while not any(written(path) for path in place.glob("*.parquet")):
            assert first.poll() is None
            time.sleep(0.05)
        first.kill()
        first.communicate()
        done = {path: path.stat().st_mtime_ns for path in place.glob("*.parquet") if written(path)}
        assert 0 < len(done) < 12
        stdout, _ = gae(cluster, place, "--normalize", "file", "--json").communicate(timeout=120)
        statuses = [file["status"] for file in json.loads(stdout)["files"]]
        assert statuses.count("up to date") >= len(done)
        assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in done.items())
        assert data_sets.content(tmp_path) == expected

    def test_ctrl_c_leaves_nothing_half_written_and_the_cluster_as_it_is(
        self, tmp_path: Path, cluster: Any
    ) -> None:
        files_of(tmp_path, 30)
        process = gae(cluster, tmp_path, "--normalize", "all", "--memory", "8MiB")
        while not worker_processes():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "nothing was left half-written" in stderr
        assert not list(tmp_path.glob(".*"))
        wait_until(lambda: not worker_processes())
        again = gae(cluster, tmp_path, "--json")
        files = json.loads(again.communicate(timeout=120)[0])["files"]
        assert {file["status"] for file in files} == {"written"}

    def test_an_address_without_a_cluster_is_told(self, tmp_path: Path, cluster: Any) -> None:
        files_of(tmp_path, 1)
        process = gae(cluster, tmp_path, "--ray-address", "127.0.0.1:1")
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 5
        assert "no Ray cluster at `127.0.0.1:1`" in stderr
        assert "Traceback" not in stderr
