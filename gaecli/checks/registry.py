"""All rules, in the order of their codes. One line here registers a family."""

from __future__ import annotations

from collections.abc import Sequence

from gaecli.checks import cells, files, flags, groups, order, passed_over, refusals, rewards, unseen, values
from gaecli.checks.base import CheckRule
from gaecli.errors import UsageError

RULES: tuple[CheckRule, ...] = tuple(
    sorted(
        (
            *flags.RULES,
            *unseen.RULES,
            *cells.RULES,
            *rewards.RULES,
            *values.RULES,
            *order.RULES,
            *passed_over.RULES,
            *files.RULES,
            *groups.RULES,
            *refusals.RULES,
        ),
        key=lambda rule: rule.code,
    )
)


def choose_rules(select: Sequence[str] = (), ignore: Sequence[str] = ()) -> list[CheckRule]:
    """Rules whose code or name begins with one of `select` (all, if empty) and with none of `ignore`."""
    wanted, unwanted = _parts(select), _parts(ignore)
    for part in (*wanted, *unwanted):
        if not any(_begins(rule, part) for rule in RULES):
            raise UsageError(f"no rule begins with `{part}`", hint="`gae check --list` shows all of them")
    return [
        rule
        for rule in RULES
        if (not wanted or any(_begins(rule, part) for part in wanted))
        and not any(_begins(rule, part) for part in unwanted)
    ]


def _parts(given: Sequence[str]) -> list[str]:
    return [part.strip() for text in given for part in text.split(",") if part.strip()]


def _begins(rule: CheckRule, part: str) -> bool:
    return rule.code.startswith(part.upper()) or rule.name == part.lower()
