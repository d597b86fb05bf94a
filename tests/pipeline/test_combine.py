"""What flows into the lanes of many blocks, against a plain loop over lanes from the last to the first."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest

from gaecli.block_facts import BlockFacts
from gaecli.estimators.base import Borders
from gaecli.layouts.evidence.flags import BlockEnds, EndCounts
from gaecli.pipeline.blocks import BlockAddress, BlockSummary
from gaecli.pipeline.combine import Carry, combine
from gaecli.rollouts import Lanes


def blocks(seed: int, num_blocks: int, width: int, *, are_named: bool, is_gated: bool) -> list[BlockSummary]:
    """Blocks of some lanes each: keys that come and go, twice in a block as well, flags, padding, own values."""
    random = np.random.default_rng(seed)
    return [_block(random, number, width, are_named, is_gated) for number in range(num_blocks)]


def _block(
    random: np.random.Generator, number: int, width: int, are_named: bool, is_gated: bool
) -> BlockSummary:
    count = int(random.integers(0, width + 1))
    keys = random.integers(0, width, count)
    ids = random.integers(0, 2, (2, count))

    def some(chance: float) -> np.ndarray:
        return np.where(random.random(count) < chance, random.normal(size=count), np.nan)

    def flags(chance: float) -> np.ndarray:
        return random.random(count) < chance

    lanes = Lanes(
        starts=np.arange(count),
        stops=np.arange(count) + 1,
        keys=[(f"env {key}",) for key in keys] if are_named else keys,
        first_ids=[(f"{one}",) for one in ids[0]] if are_named else ids[0],
        last_ids=[(f"{one}",) for one in ids[1]] if are_named else ids[1],
        open_ends=flags(0.9),
        first_is_start=flags(0.1),
        first_padding=random.choice([-1, -1, -1, -1, -1, 0, 1], count).astype(np.int8),
        last_bootstraps=some(0.5) if random.random() < 0.5 else None,
        last_next_values=some(0.3) if random.random() < 0.5 else None,
    )
    numbers = [random.normal(size=count) for _ in range(6)]
    borders = Borders(
        value_weights=numbers[0],
        end_weights=numbers[1] * flags(0.8),
        trace_weights=numbers[2],
        offsets=numbers[3],
        gains=numbers[4],
        last_cut=flags(0.2),
        first_values=numbers[5],
        last_values=random.normal(size=count),
        is_through=flags(0.7),
        end_values=some(0.4) if random.random() < 0.5 else None,
        own_shares=random.choice([0.0, 0.3, 1.0], count) if random.random() < 0.5 else None,
        first_idle=flags(0.2) if random.random() < 0.5 else None,
        gates=some(0.6) if is_gated and random.random() < 0.8 else None,
    )
    nothing = np.zeros(count, np.bool_)
    address, ends = BlockAddress(0, number, 0), BlockEnds(EndCounts(), {})
    return BlockSummary(
        address, 0, count, lanes, borders, BlockFacts(), ends, None, np.arange(count), nothing, nothing
    )


class PlainLanes:
    """The same lane by lane."""

    def __init__(self, summaries: list[BlockSummary]) -> None:
        self.heads: dict[Any, tuple[BlockSummary, int, tuple[int, int], dict[str, float]]] = {}
        self.found: dict[tuple[int, int], dict[str, float]] = {}
        self.after: dict[tuple[int, int], tuple[int, int]] = {}
        for number in range(len(summaries) - 1, -1, -1):
            summary = summaries[number]
            told = {lane: self.of_lane(summary, (number, lane)) for lane in range(summary.lanes.count)}
            for lane in range(summary.lanes.count - 1, -1, -1):  # of two runs the first is met
                key = _plain(summary.lanes.keys[lane])
                self.heads[key] = summary, lane, (number, lane), told[lane]
            self.found.update({(number, lane): one for lane, one in told.items()})

    def of_lane(self, summary: BlockSummary, at: tuple[int, int]) -> dict[str, float]:
        lanes, borders, lane = summary.lanes, summary.borders, at[1]
        told = {"inflow": 0.0, "values": 0.0, "estimates": 0.0, "next_values": math.nan}
        follower = self.heads.get(_plain(lanes.keys[lane]))
        is_same = is_start = False
        padding, head_value, estimate = -1, 0.0, 0.0
        if follower is not None and lanes.open_ends[lane]:
            there, its, place, its_told = follower
            is_same = _plain(there.lanes.first_ids[its]) == _plain(lanes.last_ids[lane])
            is_start = bool(there.lanes.first_is_start[its])
            padding = int(there.lanes.first_padding[its])
            head_value = float(there.borders.first_values[its])
            estimate = float(there.borders.offsets[its] + there.borders.gains[its] * its_told["inflow"])
        is_cut = bool(borders.last_cut[lane])
        before_padding = is_same and padding >= 0
        before_start = is_start and not is_cut and not before_padding
        goes_on = is_same and not is_cut and not before_padding and not before_start
        own = _at(lanes.last_next_values, lane)
        if goes_on:
            told["values"], told["estimates"] = head_value, estimate
            if not math.isnan(own):
                told["next_values"] = own
            own = own if not math.isnan(own) else _at(borders.end_values, lane)
            share = 1.0 if borders.end_values is None else 0.0
            if borders.own_shares is not None:
                is_idle = there.borders.first_idle is not None and there.borders.first_idle[its]
                share = 1.0 if is_idle else float(borders.own_shares[lane])
            if not math.isnan(own):
                told["values"] = own if share == 1 else head_value + share * (own - head_value)
            self.after[at] = place
        else:
            given = [own, _at(borders.end_values, lane), _at(lanes.last_bootstraps, lane)]
            if before_padding:
                given = [head_value]
            value = next((one for one in given if not math.isnan(one)), math.nan)
            is_asked = (before_padding and padding == 0) or not (before_padding or before_start)
            if lanes.open_ends[lane] and is_asked and borders.end_weights[lane] and not math.isnan(value):
                told["values"] = told["next_values"] = value
        weight = (borders.value_weights if goes_on else borders.end_weights)[lane]
        error, gate = float(weight * told["values"]), _at(borders.gates, lane)
        if not math.isnan(gate):
            error += gate
        is_shut = not math.isnan(gate) and error < 0
        told["inflow"] = 0.0 if is_shut else error + float(borders.trace_weights[lane]) * told["estimates"]
        return told


def _plain(name: Any) -> Any:
    return name if isinstance(name, tuple) else int(name)


def _at(numbers: Any, lane: int) -> float:
    return math.nan if numbers is None else float(numbers[lane])


@pytest.mark.turns
@pytest.mark.parametrize("is_gated", [False, True])
@pytest.mark.parametrize("are_named", [False, True])
@pytest.mark.parametrize(("num_blocks", "width"), [(60, 3), (6, 60), (1, 4)])
def test_what_flows_into_lanes_is_that_of_a_plain_loop(
    num_blocks: int, width: int, are_named: bool, is_gated: bool
) -> None:
    summaries = blocks(num_blocks + width, num_blocks, width, are_named=are_named, is_gated=is_gated)
    combined = combine(summaries, "zero", ["a.parquet"])
    plain = PlainLanes(summaries)
    assert sum(len(carry.inflow) for carry in combined.carries) == len(plain.found)
    for (block, lane), told in plain.found.items():
        carry = combined.carries[block]
        for name, number in told.items():  # bit by bit: the same operations in the same order
            np.testing.assert_array_equal(getattr(carry, name)[lane], number, err_msg=f"{name} of {block}")
        after = plain.after.get((block, lane))
        there = -1 if after is None else combined.offsets[after[0]] + after[1]
        assert combined.successors[combined.offsets[block] + lane] == there


@pytest.mark.parametrize("num_blocks", [12, 300])
def test_a_trajectory_has_one_number_in_all_its_blocks(num_blocks: int) -> None:
    summaries = blocks(7, num_blocks, 4, are_named=False, is_gated=False)
    combined = combine(summaries, "zero", ["a.parquet"])
    after = PlainLanes(summaries).after
    side: dict[Literal["head_chains", "tail_chains"], dict[tuple[int, int], int]]
    side = {"head_chains": {}, "tail_chains": {}}
    count = 0
    for block, summary in enumerate(summaries):
        for lane in range(summary.lanes.count):
            place = block, lane
            if place in after:
                if side["tail_chains"].setdefault(place, count) == count:
                    count += 1
                chain = side["head_chains"][after[place]] = side["tail_chains"][place]
                there = summaries[after[place][0]].borders.is_through[after[place][1]]
                if there:
                    side["tail_chains"][after[place]] = chain
    assert count > 0
    for block, carry in enumerate(combined.carries):
        for lane in range(len(carry.inflow)):
            for name, known in side.items():
                assert getattr(carry, name)[lane] == known.get((block, lane), -1)


def test_carries_are_a_sequence() -> None:
    carries = combine(blocks(1, 5, 3, are_named=False, is_gated=False), "zero", ["a.parquet"]).carries
    assert [carry.inflow.tolist() for carry in carries] == [carries[n].inflow.tolist() for n in range(5)]
    assert carries[-1].inflow.tolist() == carries[1:][-1].inflow.tolist()
    assert isinstance(carries[0], Carry)
    with pytest.raises(IndexError):
        carries[5]
