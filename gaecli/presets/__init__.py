"""The presets: one table of data, each row a library's convention. Nothing is computed here.

A new preset is a row in one of the files; `tests/parity/` then asks for its recurrence as a plain loop.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from gaecli.errors import UsageError
from gaecli.presets.aliases import ALIASES
from gaecli.presets.base import Preset
from gaecli.presets.groups import SCORE_PRESETS
from gaecli.presets.jax_libraries import JAX_PRESETS
from gaecli.presets.robots import ROBOT_PRESETS
from gaecli.presets.steps import STEP_PRESETS
from gaecli.presets.tokens import TOKEN_PRESETS
from gaecli.presets.turns import TURN_PRESETS

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (*STEP_PRESETS, *ROBOT_PRESETS, *JAX_PRESETS, *TOKEN_PRESETS, *TURN_PRESETS)
    }
)

#: And those of libraries that only compare scores.
ALL_PRESETS: Mapping[str, Preset] = MappingProxyType({**PRESETS, **SCORE_PRESETS})

#: More names than these help nobody.
_MOST_NEAR = 4

__all__ = ["ALIASES", "ALL_PRESETS", "PRESETS", "Preset", "find_preset"]


def find_preset(name: str) -> Preset:
    """The preset of that name, or of a library that computes as it does; `UsageError` with the nearest names if none.

    Capitals, and underscores for hyphens, make no other name.
    """
    if name in ALL_PRESETS:
        return ALL_PRESETS[name]
    plain = name.lower().replace("_", "-")
    known = ALIASES[plain].preset if plain in ALIASES else plain
    if known in ALL_PRESETS:
        return ALL_PRESETS[known]
    near = _near(plain)
    guess = f"did you mean {' or '.join(f'`{known}`' for known in near)}? " if near else ""
    raise UsageError(f"no preset `{name}`", hint=f"{guess}`gae presets` lists them")


def _near(plain: str) -> list[str]:
    """Names that it begins, else those of libraries that are called so, else those that are spelt like it."""
    names = [*ALL_PRESETS, *ALIASES]
    begun = [name for name in names if plain and name.startswith(plain)]
    called = [name for name, preset in ALL_PRESETS.items() if plain in _words(preset.library)]
    spelt = difflib.get_close_matches(plain, names, n=3, cutoff=0.75)
    within = [name for name, preset in ALL_PRESETS.items() if plain and plain in preset.library.lower()]
    near = begun or called or spelt or within or difflib.get_close_matches(plain, names, n=3, cutoff=0.5)
    return near[:_MOST_NEAR]


def _words(library: str) -> list[str]:
    return library.lower().replace(",", " ").split()
