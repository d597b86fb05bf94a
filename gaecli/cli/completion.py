"""What a shell offers for the value of an option: choices, presets, rules, columns of the file that stands there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

import typer

from gaecli.cli.option import Option

Completer = Callable[[typer.Context, str], list[str]]

#: Names go through the shell, zsh's through `eval`: of a file that somebody else wrote, none that it would act on.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
_CHOICE = re.compile(r"[a-z][a-z0-9_-]*")


def completer(option: Option) -> Completer | None:
    """None: nothing can be offered, or the names of files, which is what shells do by themselves."""
    words = _words(option)
    if words is None:
        return None

    is_list = "," in (option.metavar or "") or option.metavar == "CODES"

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        """What goes wrong is nobody's business while a line is typed."""
        before = incomplete[: incomplete.rfind(",") + 1] if is_list else ""
        with contextlib.suppress(Exception):
            return [before + word for word in words(ctx) if word.startswith(incomplete[len(before) :])]
        return []

    return complete


def _words(option: Option) -> Callable[[typer.Context], Iterable[str]] | None:
    metavar = option.metavar or ""
    if option.name in _OFFERED:
        return _OFFERED[option.name]
    choices = metavar.split("|")
    if len(choices) > 1 and any(map(_CHOICE.fullmatch, choices)):
        return lambda _: [choice for choice in choices if _CHOICE.fullmatch(choice)]
    if option.fills == "role" or metavar.startswith("COLUMN") or metavar == "A,B":
        return _columns
    return None


def _columns(ctx: typer.Context) -> Sequence[str]:
    from gaecli.sources.column_names import column_names

    # While the value of a flag is missing, what stands before it is still among the words that are left.
    typed: list[Any] = [*(ctx.params.get("inputs") or ()), ctx.params.get("input"), *ctx.args]
    names = column_names(word for word in typed if word and not word.startswith("-"))
    return [name for name in names if _PLAIN.fullmatch(name)]


def _presets(_: typer.Context) -> list[str]:
    from gaecli.presets import ALIASES, ALL_PRESETS

    return [*ALL_PRESETS, *ALIASES]


def _estimators(_: typer.Context) -> list[str]:
    from gaecli.estimator_kinds import ESTIMATORS

    return list(ESTIMATORS)


def _rules(_: typer.Context) -> list[str]:
    from gaecli.checks.registry import RULES

    return [word for rule in RULES for word in (rule.info.code, rule.info.name)]


def _label_rules(_: typer.Context) -> list[str]:
    from gaecli.choices import LabelRuleName

    return list(get_args(LabelRuleName))


def _truncations(_: typer.Context) -> list[str]:
    from gaecli.choices import Truncation

    return [word for word in get_args(Truncation) if word != "ask"]


#: By the name of the option.
_OFFERED: dict[str, Callable[[typer.Context], Iterable[str]]] = {
    **dict.fromkeys(("preset", "swept_presets", "only_preset", "name"), _presets),
    **dict.fromkeys(("estimator", "swept_estimators", "only_estimator"), _estimators),
    **dict.fromkeys(("select", "ignore"), _rules),
    "label_rule": _label_rules,
    "truncation": _truncations,
    "token_column": _columns,
}
