"""Over units of several steps: what each is made of, the recursion over them, and what goes back to the step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gaecli.array_types import IndexArray
from gaecli.estimators.bootstrap import fill_bootstrap
from gaecli.estimators.conventions import read_as
from gaecli.estimators.decays import gammas, lams
from gaecli.estimators.pooling import Pooled, pool
from gaecli.explanation import Cell, DerivationTable
from gaecli.rollouts import Block
from gaecli.settings import Settings
from gaecli.studies.derivations.base import Derive, Derived, Question
from gaecli.studies.derivations.steps import RecursionSteps, steps_from
from gaecli.studies.derivations.sums import sum_of_errors
from gaecli.studies.tail import Tail


def over_units(question: Question, own: Derive) -> Derived | None:
    """`own`: of what goes over the units."""
    tail, settings = question.tail, question.settings
    pooled = pool(fill_bootstrap(tail.block, settings.bootstrap, is_whole_stream=True), settings)
    at = int(np.searchsorted(pooled.members, tail.first))
    unit = int(pooled.unit_of[at])
    gamma = settings.turn_gamma
    ours = settings if gamma is None else settings.replace(gamma=gamma, gamma_column=None, turn_gamma=None)
    names = [_named(tail, pooled, number) for number in range(unit, pooled.block.num_steps)]
    block = fill_bootstrap(read_as(pooled.block, ours), ours.bootstrap, is_whole_stream=True)
    found = own(
        replace(
            question,
            tail=_of_units(tail, pooled, block, unit),
            of_stream=ours,
            over=steps_from(block, unit, ours, names),
        )
    )
    if found is None:
        return None
    rows = _rows(question, pooled, unit)
    found = replace(found, tables=[rows, *(_over(table) for table in found.tables)])
    if gamma is None:
        return _at_all_rows(found, pooled, unit)
    return _within(question, pooled, at, found)


def _of_units(tail: Tail, pooled: Pooled, block: Block, unit: int) -> Tail:
    """The trajectory as the recursion over units has it; what is written of a unit stands at each of its steps."""
    last = pooled.members[np.cumsum(pooled.counts) - 1]
    return replace(
        tail,
        block=block,
        first=unit,
        all_rows=tail.all_rows[last],
        all_advantages=tail.all_advantages[last],
        all_returns=tail.all_returns[last],
    )


def _rows(question: Question, pooled: Pooled, unit: int) -> DerivationTable:
    """What is pooled, row by row."""
    tail, settings = question.tail, question.settings
    members = pooled.members[pooled.unit_of == unit]
    at = members[0] if settings.unit_value == "first" else members[-1]
    lines: list[dict[str, Cell]] = [
        {
            **_name(tail, step),
            "reward": float(tail.block.rewards[step]),
            "value": float(tail.block.values[step]) if step == at else None,
            "is_this": step == tail.first,
        }
        for step in members.tolist()
    ]
    pooling = "their sum" if settings.unit_reward == "sum" else "their mean"
    of_value = f", V that of the {settings.unit_value} row" if pooled.block.has_values else ""
    title = f"the unit of this row, of {len(members):,}: its r is {pooling}{of_value}"
    return question.table(title, lines, float(pooled.block.rewards[unit]), by="reward")


def _name(tail: Tail, step: int) -> Mapping[str, Cell]:
    """The row; of an item of a list, its number in the trajectory."""
    return {"item": step} if tail.is_in_lists else {"row": int(tail.all_rows[step])}


def _named(tail: Tail, pooled: Pooled, unit: int) -> Mapping[str, Cell]:
    members = pooled.members[pooled.unit_of == unit]
    ends = [next(iter(_name(tail, int(step)).values())) for step in (members[0], members[-1])]
    text = f"{ends[0]}" if len(members) == 1 else f"{ends[0]}-{ends[1]}"
    return {"items" if tail.is_in_lists else "rows": text}


def _over(table: DerivationTable) -> DerivationTable:
    return replace(table, title=f"over units: {table.title}")


def _at_all_rows(found: Derived, pooled: Pooled, unit: int) -> Derived:
    count = int(np.count_nonzero(pooled.unit_of == unit))
    told = (
        "this row is all of its unit"
        if count == 1
        else f"each of the {count:,} rows of the unit gets this number"
    )
    return replace(found, remarks=[*found.remarks, told])


def _within(question: Question, pooled: Pooled, at: int, of_units: Derived) -> Derived:
    """The second pass of two: from the row to the last one of its unit, whose reward is the return of the unit."""
    tail, settings = question.tail, question.settings
    unit = pooled.unit_of[at]
    members = pooled.members[at:][pooled.unit_of[at:] == unit]
    value = float(pooled.block.values[unit])
    gained = (of_units.derived or 0.0) + value
    second = replace(question, over=_last_rows(tail, members, gained, settings))
    found = sum_of_errors(second)
    assert found is not None
    turn = {f"{name} over units": of_units.numbers.get(name) for name in ("γ", "λ", "V")}
    told = "the reward of the last row of the unit is A + V of the unit, and the sum ends there"
    first = [replace(table, title=f"first pass, {table.title}") for table in of_units.tables[1:]]
    return replace(
        found,
        equation=f"over units, then over the rows of one: {found.equation}",
        numbers={**{name: one for name, one in turn.items() if one is not None}, "A + V of the unit": gained}
        | dict(found.numbers),
        tables=[
            of_units.tables[0],
            *first,
            *(
                replace(table, title=f"second pass, rows of the unit: {table.title}")
                for table in found.tables
            ),
        ],
        bootstrap=of_units.bootstrap,
        bootstrap_value=of_units.bootstrap_value,
        remarks=[*found.remarks, told],
    )


def _last_rows(tail: Tail, members: IndexArray, gained: float, settings: Settings) -> RecursionSteps:
    """Rows of one unit as a trajectory of their own, which is terminal."""
    count = len(members)
    values = tail.block.values[members].astype(np.float64)
    rewards = np.zeros(count)
    rewards[-1] = gained
    every = tail.block.num_steps
    return RecursionSteps(
        names=[_name(tail, step) for step in members.tolist()],
        rewards=rewards,
        values=values,
        following=np.append(values[1:], 0.0),
        is_step=np.ones(count, np.bool_),
        gammas=np.broadcast_to(gammas(tail.block, settings), every)[members].astype(np.float64),
        lams=np.broadcast_to(lams(tail.block, settings), every)[members].astype(np.float64),
        value_lams=None,
        is_passed=np.zeros(count, np.bool_),
        length=count,
        has_values=True,
        bootstrap="none",
    )
