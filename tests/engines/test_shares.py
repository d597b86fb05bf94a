"""Shares: every number once, with whoever had it before, and little at a time at the end."""

from __future__ import annotations

import random
from itertools import chain

from gaecli.engines.shares import Shares


def drawn_by_all(shares: Shares, processes: list[str], most: int) -> dict[str, list[int]]:
    """What each draws, in any turns, until nothing is left."""
    turns = random.Random(0)
    found: dict[str, list[int]] = {process: [] for process in processes}
    left = list(processes)
    while left:
        process = turns.choice(left)
        if numbers := shares.draw(process, most, 10**9):
            found[process] += numbers
        else:
            left.remove(process)
    return found


def test_every_number_is_drawn_once_and_stays_with_who_had_it() -> None:
    shares = Shares(3)
    shares.begin(range(100, 0, -1))
    first = drawn_by_all(shares, ["a", "b", "c"], 8)
    assert sorted(chain.from_iterable(first.values())) == list(range(1, 101))
    assert all(first.values())
    some = list(range(1, 131, 2))
    shares.begin(some)
    second = drawn_by_all(shares, ["a", "b", "c"], 8)
    assert sorted(chain.from_iterable(second.values())) == some
    for name, numbers in second.items():
        assert [number for number in numbers if number <= 100] == sorted(
            number for number in first[name] if number % 2
        )


def test_what_is_left_at_the_end_is_drawn_by_few() -> None:
    shares = Shares(2)
    shares.begin(range(1000))
    sizes = [len(shares.draw("a", 16, 10**9)) for _ in range(200)]
    assert sum(sizes) == 1000
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[:40] == [16] * 40
    assert sizes.count(1) == 15  # while there are fewer than two for each of eight parts


def test_nothing_is_drawn_from_the_end_on_and_the_first_of_both_queues_comes_first() -> None:
    shares = Shares(1)
    shares.begin([5, 6])
    assert shares.draw("a", 1, 1) == [5]
    assert shares.draw("a", 1, 1) == []
    shares.begin([7, 5, 8])
    assert [shares.draw("a", 16, 3), shares.draw("a", 16, 3), shares.draw("a", 16, 2)] == [[7], [5], []]
