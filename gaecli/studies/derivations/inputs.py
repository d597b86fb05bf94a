"""Of an estimator without a derivation: what goes into the step and those after it, and what comes out."""

from __future__ import annotations

from gaecli.pipeline.combine import Carry
from gaecli.pipeline.settle import Settled
from gaecli.results import Cell
from gaecli.studies.derivations.base import Derived, Question
from gaecli.studies.final_numbers import finisher
from gaecli.studies.tail import step_at

#: The step and so many after it.
_NEIGHBOURS = 5


def inputs(question: Question) -> Derived:
    tail, settings = question.tail, question.settings
    outputs = settings.kind.outputs
    computed = tail.advantages if "advantage" in outputs else tail.returns
    following = tail.following(settings)
    extras = {name: tail.extra(name) for name in tail.extras}
    lines = []
    for lag in range(min(tail.num_steps, _NEIGHBOURS + 1)):
        line: dict[str, Cell] = {"lag": lag, "row": question.rows[lag], "reward": float(tail.rewards[lag])}
        if tail.has_values:
            line |= {"value": float(tail.values[lag]), "next_value": float(following[lag])}
        line |= {name: float(cells[lag]) for name, cells in extras.items()}
        if "advantage" in outputs:
            line["advantage"] = float(tail.advantages[lag])
        if "return" in outputs:
            line["return"] = float(tail.returns[lag])
        lines.append(line)
    has_bootstrap = tail.has_values
    return Derived(
        computed=_final(question) if settings.normalizes and "advantage" in outputs else float(computed[0]),
        tables=[question.table("what goes in and what comes out, from this step on", lines)],
        bootstrap=tail.bootstrap(settings) if has_bootstrap else None,
        bootstrap_value=float(following[-1]) if has_bootstrap else None,
        remarks=[f"{settings.estimator}: {settings.kind.summary}"],
    )


def _final(question: Question) -> float:
    """Of the step, once it is normalised beside all others."""
    finish = finisher(question.reading)

    def look(file: int, start: int, settled: Settled, carry: Carry) -> float | None:
        step = step_at(file, start, settled, question.place)
        return None if step is None else float(finish(file, start, settled, carry)[step])

    seen = question.reading.stream.visit(question.reading.context, look)
    return next(number for number in seen if number is not None)
