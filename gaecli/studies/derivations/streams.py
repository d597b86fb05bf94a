"""Several kinds of reward: the number of each by its own derivation, and what they add up to by weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gaecli.explanation import Cell
from gaecli.studies.derivations.base import Derived, Question
from gaecli.studies.tail import tail_from

#: How an end is called where it stands beside others.
_ENDS = {"terminated": "terminated", "truncated": "truncated", "open": "just stops"}


def by_streams(question: Question, derive: Callable[[Question], Derived]) -> Derived:
    settings = question.settings
    total = 0.0
    lines: list[dict[str, Cell]] = []
    tables, returns, remarks = [], {}, []
    for number, (one, its_settings) in enumerate(zip(settings.stream, settings.of_streams, strict=True)):
        tail = tail_from(question.reading, question.place, is_whole=True, number=number)
        found = derive(replace(question, tail=tail, of_stream=its_settings))
        advantage = found.computed if found.derived is None else found.derived
        total += one.weight * advantage
        lines.append(
            {
                "of": one.name,
                "gamma": its_settings.gamma if its_settings.gamma_column is None else None,
                "lam": found.numbers.get("λ"),
                "steps": tail.num_steps,
                "ends": "never, but with the file" if one.cut == "never" else _ENDS[tail.end],
                "next_value": found.bootstrap_value,
                its_settings.kind.outputs[0]: advantage,
                "weight": one.weight,
                "contribution": one.weight * advantage,
                "running_sum": total,
            }
        )
        returns[f"return {one.name}"] = float(tail.returns[0])
        tables += [replace(table, title=f"{one.name}: {table.title}") for table in found.tables]
        remarks += [f"{one.name}: {remark}" for remark in found.remarks]
    return Derived(
        computed=float(question.tail.advantages[0]),
        equation="A = Σ w A of each stream"
        if "advantage" in settings.kind.outputs
        else "R = Σ w R of each stream",
        tables=[*tables, question.table("the streams, added up by weight", lines, total)],
        derived=total,
        returns=returns,
        remarks=remarks,
    )
