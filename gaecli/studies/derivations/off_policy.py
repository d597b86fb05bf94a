"""Off-policy numbers: TD errors, each with a weight that is the product of the traces on the way to it.

    A = Σ wₖ δₜ₊ₖ        wₖ = w₀ l (Π_{0<j<k} γ cₜ₊ⱼ) uₜ₊ₖ  for k > 0

V-trace has w₀ = min(ρ, ρ_pg), l = γλ and u = min(ρ, ρ̄); the others w₀ = 1, l = γ and u = c, so that wₖ = γᵏ c₁ … cₖ.
The equations of `gaecli.estimators.off_policy` without the recursion: every term is written out by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from gaecli.records import dataclass
from gaecli.results import Cell, DerivationTable
from gaecli.rollouts import FloatArray
from gaecli.settings import Settings
from gaecli.studies.derivations.base import Derived, Question
from gaecli.studies.tail import Tail


@dataclass(frozen=True, eq=False)
class _Traces:
    """[K] each, from the step on; `shown`: of them what a line tells, by name."""

    #: c and u.
    traces: FloatArray
    weights: FloatArray
    first: float
    lead: float
    shown: Mapping[str, FloatArray]


def off_policy(question: Question) -> Derived | None:
    tail, settings = question.tail, question.settings
    if settings.mask_mode == "gated":
        return None
    errors = _errors(tail, settings)
    traces = _TRACES[settings.estimator](tail, settings, errors)
    coefficients = _coefficients(traces, tail.gammas(settings))
    # What the convention drops has no error, and hands nothing on.
    count = _num_reached(np.where(tail.is_step, traces.traces, 0.0))
    title, shown = "TD errors, by the traces on the way to them", {"delta": errors, **traces.shown}
    table = _table(question, title, shown, coefficients[:count])
    derived, value = table.total, float(tail.values[0])
    assert derived is not None
    is_to_end = count == tail.num_steps
    tables, target = [table], value + derived
    if settings.estimator == "vtrace":
        target_weights = traces.weights * np.cumprod([1.0, *(tail.gammas(settings) * traces.traces)[:-1]])
        title = "the target: R - V, with weights that begin at min(ρ, rho_bar)"
        tables.append(_table(question, title, {"delta": errors}, target_weights[:count], is_short=True))
        target = value + (tables[1].total or 0.0)
    return Derived(
        computed=float(tail.advantages[0]),
        equation=_EQUATIONS[settings.estimator],
        numbers={**_numbers(settings), "V": value, "R": target},
        tables=tables,
        derived=derived,
        bootstrap=tail.bootstrap(settings) if is_to_end else None,
        bootstrap_value=float(tail.following(settings)[-1]) if is_to_end else None,
        remarks=[_WEIGHTS[settings.estimator], *([] if is_to_end else [_stopped(settings, count - 1)])],
    )


def _errors(tail: Tail, settings: Settings) -> FloatArray:
    """[K] δ: of the step itself beside V, of those after it beside Q where there is one."""
    base = tail.extra("q") if "q" in settings.kind.roles else tail.values
    base = np.concatenate((tail.values[:1], base[1:]))
    with np.errstate(over="ignore", invalid="ignore"):
        errors = tail.rewards + tail.gammas(settings) * tail.following(settings) - base
    return np.where(tail.is_step, errors, 0.0)


def _vtrace(tail: Tail, settings: Settings, errors: FloatArray) -> _Traces:
    ratios, lams = _ratios(tail), tail.lams(settings)
    rho_bar, c_bar, pg_bar = _clips(settings)
    clipped, traces = np.minimum(ratios, rho_bar), lams * np.minimum(ratios, c_bar)
    shown = {"ratio": ratios, "clipped_ratio": clipped, "trace": traces}
    lead = float(tail.gammas(settings)[0] * lams[0])
    return _Traces(traces, clipped, min(float(ratios[0]), pg_bar), lead, shown)


def _retrace(tail: Tail, settings: Settings, errors: FloatArray) -> _Traces:
    ratios = _ratios(tail)
    traces = tail.lams(settings) * np.minimum(ratios, 1.0)
    return _corrected(tail, settings, traces, {"ratio": ratios, "trace": traces})


def _q_lambda(tail: Tail, settings: Settings, errors: FloatArray) -> _Traces:
    traces = tail.lams(settings)
    return _corrected(tail, settings, traces, {"trace": traces})


def _tree_backup(tail: Tail, settings: Settings, errors: FloatArray) -> _Traces:
    has_prob = "prob" in tail.extras
    probabilities = tail.extra("prob") if has_prob else np.exp(tail.extra("log_prob"))
    probabilities = np.minimum(probabilities, 1.0)
    traces = tail.lams(settings) * probabilities
    return _corrected(tail, settings, traces, {"prob": probabilities, "trace": traces})


def _upgo(tail: Tail, settings: Settings, errors: FloatArray) -> _Traces:
    traces = (errors >= 0).astype(np.float64)
    return _corrected(tail, settings, traces, {"trace": traces})


def _corrected(
    tail: Tail, settings: Settings, traces: FloatArray, shown: Mapping[str, FloatArray]
) -> _Traces:
    return _Traces(traces, traces, 1.0, float(tail.gammas(settings)[0]), shown)


_TRACES: Mapping[str, Callable[[Tail, Settings, FloatArray], _Traces]] = {
    "vtrace": _vtrace,
    "retrace": _retrace,
    "q-lambda": _q_lambda,
    "tree-backup": _tree_backup,
    "upgo": _upgo,
}
_OF_VALUES = "A = Σ w δ,  δ = r + γ V' - V"
_OF_ACTIONS = "A = Σ w δ,  δ = r + γ V' - Q, and r + γ V' - V at k = 0"
_EQUATIONS = {
    "vtrace": _OF_VALUES,
    "retrace": _OF_ACTIONS,
    "q-lambda": _OF_ACTIONS,
    "tree-backup": _OF_ACTIONS,
    "upgo": _OF_VALUES,
}
_WEIGHTS = {
    "vtrace": "w is min(ρ, pg_bar) at k = 0; after it that times γ λ, γ c of the steps between, and min(ρ, rho_bar)"
    " of its own; c = λ min(ρ, c_bar)",
    "retrace": "w = γ^k times c of the steps after the first, up to its own; c = λ min(1, ρ)",
    "q-lambda": "w = γ^k times c of the steps after the first, up to its own; c = λ",
    "tree-backup": "w = γ^k times c of the steps after the first, up to its own; c = λ π(a|s)",
    "upgo": "w = γ^k while no δ after the first is negative, then 0",
}


def _ratios(tail: Tail) -> FloatArray:
    if "ratio" in tail.extras:
        return tail.extra("ratio")
    with np.errstate(over="ignore"):
        found: FloatArray = np.exp(tail.extra("log_prob") - tail.extra("behaviour_log_prob"))
    return found


def _clips(settings: Settings) -> tuple[float, float, float]:
    rho_bar = 1.0 if settings.rho_bar is None else settings.rho_bar
    c_bar = 1.0 if settings.c_bar is None else settings.c_bar
    return rho_bar, c_bar, rho_bar if settings.pg_bar is None else settings.pg_bar


def _numbers(settings: Settings) -> dict[str, float | int | None]:
    found: dict[str, float | int | None] = {"γ": settings.gamma}
    if settings.uses("lam"):
        found["λ"] = settings.lam
    if settings.estimator == "vtrace":
        found |= dict(zip(("rho_bar", "c_bar", "pg_bar"), _clips(settings), strict=True))
    return found


def _coefficients(of: _Traces, gammas: FloatArray) -> FloatArray:
    """[K] w."""
    between = np.cumprod([1.0, *(gammas * of.traces)[1:-1]])[: len(gammas) - 1]
    return np.concatenate(([of.first], of.first * of.lead * between * of.weights[1:]))


def _num_reached(traces: FloatArray) -> int:
    """RecursionSteps up to the first after this one that hands nothing on; all, where each does."""
    stops = np.flatnonzero(traces[1:] == 0.0)
    return int(stops[0]) + 2 if len(stops) else len(traces)


def _stopped(settings: Settings, last: int) -> str:
    if settings.estimator == "upgo":
        return f"δ is negative at k = {last:,}: V of that step stands for what follows"
    return f"c is 0 at k = {last:,}: nothing after it enters"


def _table(
    question: Question,
    title: str,
    shown: Mapping[str, FloatArray],
    weights: FloatArray,
    *,
    is_short: bool = False,
) -> DerivationTable:
    """`is_short`: what δ is made of is told already."""
    tail, settings = question.tail, question.settings
    columns: dict[str, FloatArray] = {}
    if not is_short:
        columns |= {"reward": tail.rewards, "value": tail.values}
        if "q" in settings.kind.roles:
            columns["q"] = tail.extra("q")
        columns["next_value"] = tail.following(settings)
    columns |= shown
    lines: list[dict[str, Cell]] = []
    total = 0.0
    for lag, weight in enumerate(weights.tolist()):
        contribution = weight * float(shown["delta"][lag]) if weight else 0.0
        total += contribution
        line: dict[str, Cell] = {"lag": lag, **question.steps.names[lag]}
        line |= {name: float(numbers[lag]) for name, numbers in columns.items()}
        lines.append({**line, "weight": weight, "contribution": contribution, "running_sum": total})
    return question.table(title, lines, total)
