"""The score of a trajectory beside those of its group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

import numpy as np

from gaecli.estimators.baselines import divided_by, group_rule
from gaecli.estimators.stages import BEFORE
from gaecli.explanation import Cell, DerivationTable
from gaecli.moments import Moments
from gaecli.pipeline.block_stages import StageTerm
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.studies.baseline_equations import equation_of, has_spread
from gaecli.studies.derivations.base import MOST_LINES, Derived, Question
from gaecli.studies.final_numbers import grouping_of
from gaecli.studies.tail import step_at

#: What is made of the score s, and of the mean of n scores.
_CENTRED: Mapping[str, Callable[[float, float, int], float]] = {
    "dr-grpo": lambda score, mean, n: score - mean,
    "rloo": lambda score, mean, n: score - (n * mean - score) / (n - 1) if n > 1 else 0.0,
    "max-rl": lambda score, mean, n: (score - mean) / mean if mean > 0 else 0.0,
}


@dataclass(eq=False)
class _Members:
    """All trajectories of one group, as blocks come by."""

    rows: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    #: Of all of them; the lists end at some length.
    moments: Moments = field(default_factory=Moments)
    own: int | None = None
    own_rewards: list[float] = field(default_factory=list)
    #: What the baseline makes of the score of the step, reward by reward.
    terms: list[StageTerm] = field(default_factory=list)


def group_baseline(question: Question) -> Derived | None:
    """The equation of the estimator, where there is one here, with the scores of the group."""
    settings, stream = question.settings, question.reading.stream
    finish, group = question.finish, _Members()

    def look(file: int, start: int, settled: Settled, carry: Carry) -> None:
        step = step_at(file, start, settled, question.place)
        if step is not None:
            terms = finish.terms(file, settled, carry, step)
            group.terms = [term for term in terms if term.stage == 0]
        _add(group, settled, question, start, step)

    for _ in stream.visit(question.reading.context, look):
        pass
    equation = equation_of(settings)
    rule = group_rule(settings)
    std = group.moments.std(rule.ddof)
    return Derived(
        computed=sum(term.contribution for term in group.terms),
        equation=None if equation is None else f"A = {equation}",
        numbers={
            "s": float(question.tail.advantages[0]),
            **_of_group(group, settings, std, float(question.tail.advantages[0])),
            **({"ε": rule.eps, "ddof": rule.ddof} if has_spread(settings) else {}),
        },
        tables=_tables(group, question),
        derived=_derived(settings, group, question),
        remarks=(
            *_remarks(settings, group.moments),
            *([f"rows with one value of `{settings.sample_of}` count once"] if settings.sample_of else []),
        ),
    )


def _of_group(
    group: _Members, settings: Settings, std: float | None, score: float
) -> dict[str, float | int | None]:
    """What the score is compared with. Of rows; where a rollout has several of them, it counts once, which these
    would not say."""
    if settings.uses("order_column"):
        return {"b": group.terms[0].group.centre}
    if settings.sample_columns:
        return {}
    count, mean = group.moments.count, group.moments.mean
    is_of_others = settings.estimator in ("rloo", "grpo-loo") and count > 1
    others = {"mean of the others": (count * mean - score) / (count - 1)} if is_of_others else {}
    return {"n": count, "mean": mean, **others, "std": std}


def _add(group: _Members, settled: Settled, question: Question, start: int, step: int | None) -> None:
    """The trajectories of the block that are of the group; each is where its last step is."""
    grouping = grouping_of(settled, question.settings.group_columns)
    ends = settled.entering("trajectories")
    assert ends is not None
    every = np.flatnonzero(ends)
    members = every if grouping is None else every[grouping.steps_of(question.tail.group)[every]]
    rows = start + settled.block.file_rows(members)
    group.moments = group.moments.merge(Moments.of(settled.advantages[members]))
    for row, member in zip(rows.tolist(), members.tolist(), strict=True):
        if step is not None and group.own is None and member >= step:
            group.own = row
            first = step
            while first > 0 and not settled.prepared.cuts[first - 1]:
                first -= 1
            group.own_rewards = settled.prepared.rewards[first : member + 1].astype(np.float64).tolist()
        if len(group.scores) < MOST_LINES:
            group.rows.append(row)
            group.scores.append(float(settled.advantages[member]))


def _derived(settings: Settings, group: _Members, question: Question) -> float:
    """From the scores of the lines themselves, by plain sums; of others out of their stages."""
    name, n = settings.estimator, group.moments.count
    is_plain = divided_by(settings) == ("group" if name == "grpo" else "none") and name in ("grpo", *_CENTRED)
    if not is_plain or settings.sample_columns or n != len(group.scores):
        return sum(term.contribution for term in group.terms)
    score = float(question.tail.advantages[0])
    if n == 1:
        if settings.singleton != "raw":
            return 0.0
        return score / _divisor(1.0, settings) if name == "grpo" else score
    mean = sum(group.scores) / n
    if name == "max-rl" and settings.group_eps is not None:
        return (score - mean) / (mean + settings.group_eps) if score != mean else 0.0
    if name in _CENTRED:
        return _CENTRED[name](score, mean, n)
    std = (sum((one - mean) ** 2 for one in group.scores) / (n - group_rule(settings).ddof)) ** 0.5
    return 0.0 if std <= 1e-12 * abs(mean) else (score - mean) / _divisor(std, settings)


def _divisor(std: float, settings: Settings) -> float:
    rule = group_rule(settings)
    if rule.floor == "add":
        return std + rule.eps
    return max(std, rule.eps) if rule.floor == "clamp" else (std * std + rule.eps) ** 0.5


def _tables(group: _Members, question: Question) -> list[DerivationTable]:
    mean = sum(group.scores) / max(len(group.scores), 1)
    members: list[dict[str, Cell]] = [
        {"row": row, "score": score, "deviation": score - mean, "is_this": row == group.own}
        for row, score in zip(group.rows, group.scores, strict=True)
    ]
    label = question.tail.group
    title = f"scores of the group {question.settings.group_column} {_short(label)}, and their mean"
    tables = [question.table(title, members, mean, by="deviation")]
    if len(group.own_rewards) > 1:
        running, lines = 0.0, []
        for lag, reward in enumerate(group.own_rewards):
            running += reward
            lines.append({"lag": lag, "contribution": reward, "running_sum": running})
        tables.insert(0, question.table("rewards of the trajectory: its score s", lines, running))
    return [*tables, *_parts(group.terms, question)]


def _parts(terms: Sequence[StageTerm], question: Question) -> list[DerivationTable]:
    """Component by component, where there are several: rewards, or the episode and its states."""
    if len(terms) < 2:
        return []
    total = 0.0
    lines: list[dict[str, Cell]] = []
    for term in terms:
        total += term.contribution
        name = "score" if term.score_name == BEFORE else term.score_name
        line: dict[str, Cell] = {
            "of": name,
            "over": term.scope,
            "score": term.score,
            "mean": term.group.centre,
        }
        lines.append({**line, "scale": term.scale, "weight": term.weight, "contribution": term.contribution})
    return [question.table("baseline: weight (s - mean) scale", lines, total)]


def _short(label: object) -> str:
    text = "null" if label is None else str(label)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _remarks(settings: Settings, moments: Moments) -> list[str]:
    if moments.count == 1:
        gets = {"zero": "0", "raw": "its score", "error": "nothing"}[settings.singleton]
        return [f"the only trajectory of its group, which gets {gets} (`--singleton {settings.singleton}`)"]
    is_flat = moments.m2 <= moments.count * (1e-12 * abs(moments.mean)) ** 2
    return ["all scores of the group are alike: nothing tells them apart"] if is_flat else []
