"""What a preset says: the rules by which one library computes advantages, and what to know about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from gaecli.choices import (
    ArrayLayoutName,
    DoneAt,
    MaskedReturns,
    MaskFill,
    MaskMode,
    NormalizeScope,
    NormFloor,
    OpenEnds,
    Recursion,
    ReturnRule,
    RewardAt,
    Truncation,
    UnitReward,
    UnitValue,
)
from gaecli.records import dataclass


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One row of the table. Whatever a flag can change is also a field of `Settings` of the same name.

    In the formulas: γ and λ; r, V and A of step t, a prime for those of step t + 1; d, `term` and
    `trunc` for the flags of step t, as 0 or 1; `cut` for the last step of a trajectory.
    """

    name: str
    library: str
    #: One line for the list.
    summary: str
    source: str
    delta: str
    recursion_text: str
    returns_text: str = "A + V"
    bootstrap_text: str
    #: Where the library normalises, and over what.
    normalization_text: str
    traps: tuple[str, ...] = ()
    #: Role -> what the library's own arrays and columns are called; they come before all other names.
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: What its arrays are where no other array tells. None: either.
    dense_layout: ArrayLayoutName | None = None

    #: The library has no values, and nothing to say but of scores (`gaecli.presets.groups`).
    only_scores: bool = False

    gamma: float = 0.99
    lam: float = 0.95
    #: False: the library has no defaults of its own for γ and λ; these are gaecli's.
    has_own_defaults: bool = True
    #: `ask`: the library does one thing or the other, by an option that the file does not keep.
    truncation: Truncation = "exact"
    #: What to pass then, and what it stands for.
    truncation_options: Mapping[str, str] = field(default_factory=dict)
    lam_alpha: float | None = None
    mask_mode: MaskMode | None = None
    mask_fill: MaskFill = "null"
    normalize: NormalizeScope = "none"
    norm_ddof: int = 1
    norm_eps: float = 1e-8
    norm_floor: NormFloor = "add"
    unit_reward: UnitReward = "sum"
    unit_value: UnitValue = "first"
    turn_gamma: float | None = None
    #: `arrival`: reward and flags are stored with the observation they arrived with.
    reward_at: RewardAt = "action"

    #: To which end of a step a flag called `done` belongs, where its name does not tell.
    done_at: DoneAt | None = None
    recursion: Recursion = "gae"
    returns: ReturnRule = "sum"
    #: `terminal`: a trajectory that ends without a flag has no value beyond its end.
    open_ends: OpenEnds = "bootstrap"
    #: A lone done flag says that the episode ended, and its last state has a value all the same.
    done_is_truncated: bool = False
    #: Its steps are units, whose column is called as `names` says; mean and spread are those of units, too.
    over_units: bool = False
    normalizes_units: bool = False
    #: The flag of an end is read with the step before it.
    early_ends: bool = False
    #: A step without an advantage (`drop`) enters mean and standard deviation as 0.
    counts_dropped: bool = False
    #: What masked slots hold as returns, where they are no steps.
    masked_returns: MaskedReturns = "carry"
    #: The mask of a step is that of the token after it.
    mask_shift: bool = False
    #: The recursion goes on to the slot after the last one kept.
    mask_reach: bool = False
    #: The reward of a masked token is 0, even where the mode lets its value count.
    masks_rewards: bool = False

    def settings(self) -> dict[str, Any]:
        """The fields of `Settings` that this preset decides."""
        return {name: getattr(self, name) for name in SETTING_FIELDS}


SETTING_FIELDS = (
    "gamma",
    "lam",
    "truncation",
    "lam_alpha",
    "mask_mode",
    "mask_fill",
    "normalize",
    "norm_ddof",
    "norm_eps",
    "norm_floor",
    "unit_reward",
    "unit_value",
    "turn_gamma",
    "reward_at",
)
