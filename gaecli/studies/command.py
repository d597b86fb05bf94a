"""The flags with which `gae compute` makes a column again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gaecli.columns import flag_of
from gaecli.decay_settings import FAMILIES
from gaecli.settings import Settings
from gaecli.shell_words import file_word, word

#: Settings that need no flag of their own here: they come first, or are of columns, or of no number.
_APART = (
    "preset",
    "gamma",
    "lam",
    "columns",
    "join",
    "estimator",
    "precision",
    "keep_raw",
    "rewards",
    "group_column",
    "stream",
)
#: Which the streams of rewards name.
_OF_STREAMS = ("reward", "value", "next_value", "bootstrap_value")


def compute_command(sources: Sequence[str | Path], settings: Settings) -> str:
    """The command that computes these files by these settings."""
    return " ".join(["gae compute", *map(file_word, sources), *flags_of(settings)])


def flags_of(settings: Settings) -> list[str]:
    """As one would type them: γ and λ in any case that uses them, and whatever the preset would not do by itself."""
    usual = Settings.usual(settings.preset, settings.estimator)
    words = [f"--preset {settings.preset}"] if settings.preset != "exact" else []
    if settings.estimator != "gae":
        words.append(f"--estimator {settings.estimator}")
    if settings.uses("gamma") and settings.gamma_column is None:
        words.append(f"--gamma {_typed(settings.gamma)}")
    if settings.uses("lam") and all(getattr(settings, name) is None for name in FAMILIES["lam"]):
        words.append(f"--lam {_typed(settings.lam)}")
    words += [
        f"--{name.replace('_', '-')} {_typed(value)}"
        for name, value in _changed(settings.to_dict(), usual).items()
        if name not in _APART and value is not None
    ]
    if settings.join is not None:
        words.append("--join" if settings.join else "--no-join")
    columns = {
        role: name for role, name in settings.columns.items() if role != "reward" or not settings.rewards
    }
    columns = {
        role: name for role, name in columns.items() if settings.stream == () or role not in _OF_STREAMS
    }
    words += [f"--stream {word(one.text)}" for one in settings.stream]
    words += [f"{flag_of(role)} {word(name)}" for role, name in columns.items()]
    words += [f"--group-column {word(name)}" for name in settings.group_columns]
    words += [f"--reward {word(_weighed(*item))}" for item in settings.rewards.items()]
    return words


def _weighed(name: str, weight: float) -> str:
    return name if weight == 1 and "=" not in name else f"{name}={weight:g}"


def _changed(settings: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value != usual.get(name)}


def _typed(value: object) -> str:
    if isinstance(value, float):
        return f"{value!r}".removesuffix(".0").replace("e-0", "e-")
    return word(str(value))
