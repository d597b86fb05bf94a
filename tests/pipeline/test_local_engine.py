"""Threads: results in the order of the tasks, few at a time, and none under way when it is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import small_blocks

import gaecli
from gaecli.engines.threads import Threads
from gaecli.errors import EngineError
from gaecli.pipeline import tasks


@pytest.fixture(params=[1, 2, 5])
def engine(request: pytest.FixtureRequest) -> Iterator[Threads]:
    engine = Threads(request.param)
    yield engine
    engine.close()


def test_results_come_in_the_order_of_the_tasks(engine: Threads) -> None:
    def late(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    assert list(engine.run(late, range(20))) == [number * number for number in range(20)]
    assert list(engine.run(late, [])) == []


@pytest.mark.few("1", "2")
def test_only_a_few_results_wait_for_whoever_takes_them(engine: Threads) -> None:
    started: list[int] = []
    results = engine.run(lambda number: started.append(number) or number, range(50))
    for number in results:
        time.sleep(0.001)
        assert len(started) <= number + 1 + engine.jobs + 1


@pytest.mark.few("1", "2")
def test_the_first_error_in_the_order_of_the_tasks_is_the_error(engine: Threads) -> None:
    def fail(number: int) -> int:
        if number == 3:
            time.sleep(0.02)
        if number >= 3:
            raise ValueError(number)
        return number

    for _ in range(5):
        with pytest.raises(ValueError, match=r"^3$"):
            list(engine.run(fail, range(20)))


def test_an_error_of_the_tasks_themselves_comes_after_the_results_before_it(engine: Threads) -> None:
    """Tasks may be read from a file as they are handed out, further on than what is worked on."""

    def tasks() -> Iterator[int]:
        yield from range(7)
        raise ValueError("no more can be read")

    taken: list[int] = []

    def take(failing: int) -> None:
        taken.clear()

        def work(number: int) -> int:
            if number == failing:
                raise ValueError("of a task")
            return number

        for number in engine.run(work, tasks()):
            taken.append(number)

    with pytest.raises(ValueError, match="no more can be read"):
        take(failing=-1)
    assert taken == list(range(7))
    with pytest.raises(ValueError, match="of a task"):
        take(failing=6)
    assert taken == list(range(6))


@pytest.mark.few(5)
@pytest.mark.parametrize("way", ["error of a task", "error of the taker", "break"])
def test_nothing_is_under_way_any_more_when_it_is_left(engine: Threads, way: str) -> None:
    under_way = threading.Semaphore(0)
    running: set[int] = set()

    def slow(number: int) -> int:
        if number == 0:
            if engine.jobs > 1:
                assert under_way.acquire(timeout=60)
            if way == "error of a task":
                raise ValueError("of a task")
            return number
        running.add(number)
        under_way.release()
        time.sleep(0.05)
        running.discard(number)
        return number

    def take() -> None:
        results = engine.run(slow, range(10))
        try:
            for _ in results:
                if way == "error of the taker":
                    raise ValueError("of the taker")
                break
        finally:
            results.close()

    if way == "break":
        take()
    else:
        with pytest.raises(ValueError, match="of the taker" if "taker" in way else "of a task"):
            take()
    assert not running


def test_tasks_are_drawn_only_as_results_are_taken(engine: Threads) -> None:
    drawn: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(50):
            drawn.append(number)
            yield number

    for number in engine.run(str, tasks()):
        assert len(drawn) <= int(number) + 1 + engine.jobs


def test_an_interrupt_is_told_to_the_tasks() -> None:
    engine = Threads(2)
    seen = []

    def task(number: int) -> int:
        if number == 0:
            raise KeyboardInterrupt
        engine.interrupted.wait(60)
        seen.append(engine.interrupted.is_set())
        return number

    with pytest.raises(KeyboardInterrupt):
        list(engine.run(task, range(4)))
    engine.close()
    assert all(seen)


@pytest.mark.few(2)
@pytest.mark.parametrize("row_group_size", [10, 1000])
@pytest.mark.parametrize("normalize", ["none", "all"])
def test_all_threads_work_on_the_blocks_of_one_file(
    row_group_size: int, normalize: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three blocks at once, for as many threads: none of them only waits for the others."""
    meeting = threading.Barrier(3, timeout=120)
    places = {"summarise": 0, "settle": 0}

    def met(name: str) -> Callable[..., Any]:
        original = getattr(tasks, name)

        def work(*arguments: Any, **settings: Any) -> Any:
            meeting.wait()
            places[name] += 1
            return original(*arguments, **settings)

        return work

    for name in places:
        monkeypatch.setattr(tasks, name, met(name))
    with small_blocks(10, store_bytes=0) as folder:
        columns = {"reward": [1.0] * 60, "value": [0.5] * 60, "done": [False] * 59 + [True]}
        pq.write_table(pa.table(columns), folder / "r.parquet", row_group_size=row_group_size)
        gaecli.compute(folder / "r.parquet", jobs=3, normalize=normalize)
    assert places == {"summarise": 6, "settle": 6 if normalize == "none" else 12}


def test_one_of_its_own_threads_works_alone_on_what_it_asks_for(engine: Threads) -> None:
    """Or all of them would wait for a thread that is free."""

    def inner(number: int) -> list[int]:
        here = threading.get_ident()
        return list(engine.run(lambda other: number * other * (threading.get_ident() == here), range(4)))

    assert list(engine.run(inner, range(9))) == [[n * m for m in range(4)] for n in range(9)]


@pytest.mark.parametrize("count", [0, 1])
def test_where_no_more_threads_can_be_started_an_error_says_so(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, begun = threading.Thread.start, []

    def limited(self: threading.Thread) -> None:
        if len(begun) == count:
            raise RuntimeError("can't start new thread")
        begun.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", limited)
    over = threading.Event()
    engine = Threads(2)
    try:
        with pytest.raises(EngineError, match="may start no more threads") as caught:
            list(engine.run(lambda number: over.wait(0.2), range(4)))
    finally:
        over.set()
        engine.close()
    assert "--jobs 1" in str(caught.value.hint)


def test_the_next_thing_is_drawn_while_one_is_worked_with(engine: Threads) -> None:
    drawn: list[tuple[int, bool]] = []
    two_are_drawn = threading.Event()

    def things() -> Iterator[int]:
        for number in range(6):
            drawn.append((number, threading.current_thread() is threading.main_thread()))
            if number == 1:
                two_are_drawn.set()
            yield number

    taken = []
    for number in engine.ahead(things()):
        if number == 0 and engine.jobs > 1:
            assert two_are_drawn.wait(60)
        assert len(drawn) <= number + 2
        taken.append(number)
    assert taken == list(range(6))
    assert {in_main for _, in_main in drawn} == {engine.jobs == 1}


def test_what_cannot_be_drawn_is_told_when_its_turn_comes(engine: Threads) -> None:
    def things() -> Iterator[int]:
        yield from range(3)
        raise ValueError("no more can be read")

    drawn = engine.ahead(things())
    assert [next(drawn) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no more can be read"):
        next(drawn)


@pytest.mark.few("1", "2")
def test_nothing_is_drawn_any_more_when_it_is_left(engine: Threads) -> None:
    is_drawing = threading.Event()
    over: list[int] = []

    def things() -> Iterator[int]:
        for number in range(5):
            is_drawing.set()
            time.sleep(0.02)
            over.append(number)
            yield number

    drawn = engine.ahead(things())
    assert next(drawn) == 0
    is_drawing.clear()
    if engine.jobs > 1:
        assert is_drawing.wait(60)
    drawn.close()  # type: ignore[attr-defined]
    found = list(over)
    time.sleep(0.05)
    assert over == found
