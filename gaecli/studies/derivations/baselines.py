"""The score of a trajectory beside those of its group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field

import numpy as np

from gaecli.estimators.normalization import NormRule
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.groups import group_keys, normalized
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.results import Cell, DerivationTable
from gaecli.settings import Settings
from gaecli.studies.derivations.base import MOST_LINES, Derived, Question
from gaecli.studies.tail import step_at

_DIVISORS = {"add": "(std + ε)", "clamp": "max(std, ε)", "rsqrt": "sqrt(std^2 + ε)"}
#: What is made of the score s and the mean of n scores, and how that is written.
_CENTRED: Mapping[str, tuple[str, Callable[[float, float, int], float]]] = {
    "dr-grpo": ("A = s - mean", lambda score, mean, n: score - mean),
    "rloo": (
        "A = s - mean of the others = n / (n - 1) (s - mean)",
        lambda score, mean, n: score - (n * mean - score) / (n - 1) if n > 1 else 0.0,
    ),
    "max-rl": (
        "A = (s - mean) / mean, 0 where the mean is not positive",
        lambda score, mean, n: (score - mean) / mean if mean > 0 else 0.0,
    ),
}


@dataclass(eq=False)
class _Members:
    """All trajectories of one group, as blocks come by."""

    rows: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    count: int = 0
    #: Σ s and Σ (s - first)² are of all; the lists end at some length.
    total: float = 0.0
    own: int | None = None
    own_rewards: list[float] = field(default_factory=list)
    computed: float = 0.0


def group_baseline(question: Question) -> Derived | None:
    """(s - mean) · scale, with the equation of the estimator where there is one here."""
    settings, stream = question.settings, question.reading.stream
    rule = NormRule.of(settings)
    moments = stream.measure(question.reading.context)
    constants = {key: rule.constants(one) for key, one in moments.items()}
    group = _Members()

    def look(file: int, start: int, settled: Settled, carry: Carry) -> None:
        keys = group_keys(settled, carry, settings)
        assert keys is not None
        step = step_at(file, start, settled, question.place)
        if step is not None:
            group.computed = float(normalized(settled, keys, constants, rule).advantages[step])
        _add(group, settled, keys.keys, keys.indices, question, start, step)

    for _ in stream.visit(question.reading.context, look):
        pass
    own = constants[question.tail.group]
    std = own.std if rule.ddof < own.count else None
    equation, derived = _derived(settings, rule, group, question)
    return Derived(
        computed=group.computed,
        equation=equation,
        numbers={
            "s": float(question.tail.advantages[0]),
            "n": own.count,
            "mean": moments[question.tail.group].mean,
            "std": std,
            **({"ε": rule.eps, "ddof": rule.ddof} if rule.baseline == "grpo" else {}),
            "scale": own.scale,
        },
        tables=_tables(group, question),
        derived=derived,
        remarks=_remarks(settings, own.count, is_degenerate=own.is_degenerate),
    )


def _add(
    group: _Members,
    settled: Settled,
    keys: list[object],
    indices: np.ndarray,
    question: Question,
    start: int,
    step: int | None,
) -> None:
    """The trajectories of the block that are of the group; each is where its last step is."""
    wanted = np.array([key == question.tail.group for key in keys], np.bool_)
    is_last = settled.measured(np.arange(len(indices)))
    members = is_last[wanted[indices[is_last]]]
    rows = start + settled.block.file_rows(members)
    for row, member in zip(rows.tolist(), members.tolist(), strict=True):
        if step is not None and group.own is None and member >= step:
            group.own = row
            first = step
            while first > 0 and not settled.prepared.cuts[first - 1]:
                first -= 1
            group.own_rewards = settled.prepared.rewards[first : member + 1].astype(np.float64).tolist()
        group.count += 1
        if len(group.scores) < MOST_LINES:
            group.rows.append(row)
            group.scores.append(float(settled.advantages[member]))


def _derived(
    settings: Settings, rule: NormRule, group: _Members, question: Question
) -> tuple[str | None, float | None]:
    """From the scores of the lines themselves, by plain sums."""
    name = settings.estimator
    if name not in ("grpo", *_CENTRED):
        return None, None
    centred, of_scores = _CENTRED.get(name, (f"A = (s - mean) / {_DIVISORS[rule.floor]}", None))
    if group.count != len(group.scores):
        return centred, None
    score, n = float(question.tail.advantages[0]), group.count
    if n == 1:
        if rule.singleton != "raw":
            return centred, 0.0
        return centred, score / _divisor(1.0, rule) if name == "grpo" else score
    mean = sum(group.scores) / n
    if of_scores is not None:
        return centred, of_scores(score, mean, n)
    std = (sum((one - mean) ** 2 for one in group.scores) / (n - rule.ddof)) ** 0.5
    return centred, 0.0 if std <= 1e-12 * abs(mean) else (score - mean) / _divisor(std, rule)


def _divisor(std: float, rule: NormRule) -> float:
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
    return tables


def _short(label: object) -> str:
    text = "null" if label is None else str(label)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _remarks(settings: Settings, count: int, *, is_degenerate: bool) -> list[str]:
    if count == 1:
        gets = {"zero": "0", "raw": "its score", "error": "nothing"}[settings.singleton]
        return [f"the only trajectory of its group, which gets {gets} (`--singleton {settings.singleton}`)"]
    return ["all scores of the group are alike: nothing tells them apart"] if is_degenerate else []
