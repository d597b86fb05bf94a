"""Settings that `gae verify` takes as they are, while it looks for γ, λ and the rule of a library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, get_args

from gaecli.choices import UnitReward, UnitValue
from gaecli.decay_settings import FAMILIES, OTHER_LAMS
from gaecli.setting_fields import UNIT_SETTINGS
from gaecli.settings import Settings

#: By the name of the setting; the column of units is one of those of the file.
TESTED = ("gamma_column", *OTHER_LAMS, *UNIT_SETTINGS, "stream")
#: An end that is cut by a limit counts as it is, or as terminal, where nobody's rules are meant.
_TRUNCATIONS = ("exact", "zero")


def given_of(tested: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tested.items() if value is not None and value not in ((), [])}


def unit_rules(tested: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What may become of the rows of a unit where no library is meant, as far as nothing is said of it."""
    rewards = [None] if "unit_reward" in tested else get_args(UnitReward)
    values = [None] if "unit_value" in tested or "turn_gamma" in tested else get_args(UnitValue)
    for reward, value, truncation in product(rewards, values, _TRUNCATIONS):
        flags = {"unit_reward": reward, "unit_value": value, "truncation": truncation}
        usual = {"unit_reward": "sum", "unit_value": "first", "truncation": "exact"}
        yield {name: word for name, word in flags.items() if word is not None and word != usual[name]}


def searched(settings: Settings, holds: str) -> tuple[int, ...]:
    """Of γ and λ (0 and 1), those that nothing says."""
    ways = FAMILIES["lam"] if holds == "advantage" else OTHER_LAMS
    is_open = {
        "gamma": settings.uses("gamma") and settings.gamma_column is None,
        "lam": settings.uses("lam") and all(getattr(settings, name) is None for name in ways),
    }
    streams = settings.stream
    return tuple(
        axis
        for axis, name in enumerate(("gamma", "lam"))
        if is_open[name] and not (streams and all(getattr(one, name) is not None for one in streams))
    )


def has_one_scan(settings: Settings) -> bool:
    """One γ and one λ for all rows, each of which is a step: only then is a row an equation in them."""
    others = ("gamma_column", *FAMILIES["lam"], *FAMILIES["returns"])
    has_one = all(getattr(settings, name) is None for name in others)
    return has_one and not settings.stream and not settings.is_over_units
