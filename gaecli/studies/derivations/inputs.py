"""Of an estimator without a derivation: what goes into the step and those after it, and what comes out."""

from __future__ import annotations

from gaecli.explanation import Cell
from gaecli.studies.derivations.base import Derived, Question

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
        computed=float(computed[0]),
        tables=[question.table("what goes in and what comes out, from this step on", lines)],
        bootstrap=tail.bootstrap(settings) if has_bootstrap else None,
        bootstrap_value=float(following[-1]) if has_bootstrap else None,
        remarks=[f"{settings.estimator}: {settings.kind.summary}"],
    )
