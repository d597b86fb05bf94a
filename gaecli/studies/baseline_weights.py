"""Weights that no one told: those of rewards that are scaled one by one, and what a column says of any weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gaecli.array_types import FloatArray
from gaecli.errors import GaeError
from gaecli.settings import Settings
from gaecli.studies.asked import Asked
from gaecli.studies.baseline_candidates import Rule, rules, with_rewards
from gaecli.studies.baseline_choices import Choice, Choices
from gaecli.studies.baseline_trials import BaselineTrial, held_against
from gaecli.studies.reward_weights import are_weights_open, unseen_rewards, weights_of_parts


def weighed_rules(asked: Asked, choice: Choice) -> Iterator[Rule]:
    """`gdpo` as each library has it, with the weights by which its parts add up to the column."""
    is_other = asked.only.estimator not in (None, "gdpo")
    if not choice.is_of_several or not asked.only.are_weights_open or is_other:
        return
    for rule in rules(choice.settings, asked.only, "gdpo", has_steps=choice.has_steps):
        try:
            parts = {name: _part(choice, rule, name) for name in rule.settings.rewards}
        except GaeError:
            continue
        for weights in weights_of_parts(parts, choice.column.column):
            yield Rule(rule.presets, with_rewards(rule.settings, weights), has_fitted_weights=True)


def _part(choice: Choice, rule: Rule, name: str) -> FloatArray:
    """[n] what one reward has of the sum that is normalised in the end."""
    settings = with_rewards(rule.settings, {name: 1.0}).replace(normalize="none", unscored="zero")
    return choice.written(settings)[choice.column.held]


def weight_remarks(choices: Choices, choice: Choice, best: BaselineTrial) -> list[str]:
    """What the column leaves open of the weights of several rewards."""
    settings = best.rule.settings
    names = choices.named_rewards or list(settings.rewards)
    if len(names) < 2:
        return []
    remarks = []
    column = choice.column
    numbers = choices.numbers(choice, names)
    is_fitted = best.rule.has_fitted_weights or choice.is_fitted
    if is_fitted:
        shows = "" if _size_shows(choice, best) else ": it shows their ratios, not their size"
        remarks.append(f"the weights are fitted to the column{shows}")
    unseen = unseen_rewards(numbers, column.groups)
    if unseen:
        listed = ", ".join(f"`{name}`" for name in unseen)
        remarks.append(f"{listed}: equal within every group, so that any weight gives the same column")
    seen = {name: numbers[name] for name in settings.rewards if name not in unseen and name in numbers}
    if len(seen) > 1 and are_weights_open(seen, column.column, column.groups):
        remarks.append("other weights give the same column: these rewards do not differ enough within groups")
    return remarks


def _size_shows(choice: Choice, best: BaselineTrial) -> bool:
    """Whether twice the weights make another column."""
    settings: Settings = best.rule.settings
    doubled = {name: 2 * weight for name, weight in settings.rewards.items()}
    rule = Rule(best.rule.presets, with_rewards(settings, doubled))
    column = replace(choice.column, column=best.computed)
    return not held_against(rule, choice.written(rule.settings), column).attempt.is_reproduced
