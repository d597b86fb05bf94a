"""Steps taken out of blocks, and put together again: what an estimator reads of them, without their lanes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, IndexArray
from gaecli.rollouts import NO_LANES, Block, Placement


def part(block: Block, rows: slice | IndexArray) -> Block:
    """Some steps of a block, one after the other."""

    def taken(numbers: Array | None) -> Array | None:
        return None if numbers is None else numbers[rows]

    rewards = block.rewards[rows]
    return Block(
        rewards=rewards,
        values=block.values[rows],
        terminated=block.terminated[rows],
        truncated=block.truncated[rows],
        cuts=block.cuts[rows],
        next_values=taken(block.next_values),
        lanes=NO_LANES,
        placement=Placement(len(rewards)),
        is_step=taken(block.is_step),
        dropped=taken(block.dropped),
        masked=taken(block.masked),
        filled=taken(block.filled),
        has_values=block.has_values,
        extras={name: numbers[rows] for name, numbers in block.extras.items()},
        units=None if block.units is None else replace(block.units, numbers=block.units.numbers[rows]),
    )


def joined(parts: Sequence[Block]) -> Block:
    """The steps of all of them, in this order."""

    def all_of(name: str, absent: float | bool) -> Array | None:
        found = [getattr(one, name) for one in parts]
        if all(numbers is None for numbers in found):
            return None
        return np.concatenate(
            [
                np.full(one.num_steps, absent) if numbers is None else numbers
                for one, numbers in zip(parts, found, strict=True)
            ]
        )

    def every(name: str) -> Array:
        return np.concatenate([getattr(one, name) for one in parts])

    return Block(
        rewards=every("rewards"),
        values=every("values"),
        terminated=every("terminated"),
        truncated=every("truncated"),
        cuts=every("cuts"),
        next_values=all_of("next_values", np.nan),
        lanes=NO_LANES,
        placement=Placement(sum(one.num_steps for one in parts)),
        is_step=all_of("is_step", True),
        dropped=all_of("dropped", False),
        masked=all_of("masked", False),
        filled=all_of("filled", False),
        has_values=all(one.has_values for one in parts),
        extras={name: np.concatenate([one.extras[name] for one in parts]) for name in parts[0].extras},
    )


def num_bytes(block: Block) -> int:
    """Of the arrays of a part."""
    arrays = [*vars(block).values(), *block.extras.values()]
    return sum(numbers.nbytes for numbers in arrays if isinstance(numbers, np.ndarray))
