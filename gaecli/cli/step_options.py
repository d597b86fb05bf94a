"""The options of what a step is and where trajectories end: ends, layouts, masks, units of rows."""

from __future__ import annotations

from gaecli.cli.option import Option, number
from gaecli.layout_kinds import LAYOUTS

_ENDS = "Ends of trajectories"
_LAYOUT = "Layout"
_MASKS = "Masks"
_UNITS = "Turns, or other units of rows"

END_OPTIONS = (
    Option(
        "truncation",
        "A truncated end: V of its next state (`exact`), of its own (`current`; without γ: `undiscounted`), of the "
        "next row (`reset`), 0 (`zero`); no advantage (`drop`); no end (`leak`). Default: `exact`, or the preset's.",
        _ENDS,
        "RULE",
    ),
    Option(
        "bootstrap",
        "V after an end that is not terminal and has no next value: 0, V of the last state, or an error.",
        _ENDS,
        "zero|current|error",
        "zero",
    ),
    Option(
        "done_at",
        "A done flag says that its step ended the episode, or that its observation begins one. Default: by name, "
        "checked against ids.",
        _ENDS,
        "end|start",
    ),
    Option(
        "reward_at",
        "A row's reward is that of its own action, or came with its observation (`arrival`): the action in the row "
        "before it earned it. Default: `action`, or the preset's.",
        _ENDS,
        "action|arrival",
    ),
    Option(
        "layout",
        "How steps are laid out; `auto` goes by shapes and asks where they leave it open.",
        _LAYOUT,
        "|".join(("auto", *LAYOUTS)),
        "auto",
    ),
    Option(
        "token_column",
        "The list with an item for each token of a response, where its reward is one number of the row: the last "
        "token has it. Default: the mask, or log-probabilities. `--layout responses`: one advantage per row.",
        _LAYOUT,
        "NAME",
    ),
)

MASK_OPTIONS = (
    Option(
        "mask_mode",
        "Masked steps do not exist, or also `cut` trajectories; count as 0, or let the trace pass (`gated`); or "
        "are left out of statistics only (`keep`). Default: `skip`, or the preset's.",
        _MASKS,
        "skip|cut|zero|gated|keep",
    ),
    Option(
        "mask_fill",
        "What masked rows hold: nothing, 0, or what the recursion carries through them. Default: `null`, or the "
        "preset's.",
        _MASKS,
        "null|zero|carry",
    ),
    Option(
        "masked_reward",
        "A reward on a masked step is left out with a warning, goes to the last kept step before it, or is an error.",
        _MASKS,
        "drop|move|error",
        "drop",
    ),
)

UNIT_ROLE = Option(
    "unit",
    "Compute over units: column with the id of each, or a flag at its last row. A row where it is null or negative "
    "is in none.",
    _UNITS,
    "COLUMN",
    fills="role",
)

UNIT_OPTIONS = (
    Option(
        "unit_is",
        "What `--unit` holds: ids or flags. Default: flags if it is boolean; asked where it matters.",
        _UNITS,
        "id|end",
    ),
    Option(
        "unit_reward",
        "Reward of a unit, of those of its rows. Default: `sum`, or the preset's.",
        _UNITS,
        "sum|mean",
    ),
    Option(
        "unit_value",
        "The row of a unit whose V counts. Default: `first`, or the preset's.",
        _UNITS,
        "first|last",
    ),
    number(
        "turn_gamma",
        "γ over units; `--gamma` is then that within each of them, in a second pass (VAGEN).",
        _UNITS,
        float,
        metavar="GAMMA",
    ),
)
