"""Which settings go with rewards that stand in the row after their step (`--reward-at arrival`)."""

from __future__ import annotations

from gaecli.errors import UsageError
from gaecli.setting_fields import SettingFields

#: Rules of truncated ends that do not read rewards, or values, of another trajectory's rows.
_RULES = ("exact", "current", "zero", "drop", "ask")


def check(settings: SettingFields) -> None:
    """`UsageError` where a step has no row after it, or that row is another one."""
    if not settings.arrives:
        return
    rules = (*_RULES, "leak") if settings.resets_itself else _RULES
    if settings.truncation not in rules:
        raise _beside(
            f"`--truncation {settings.truncation}`",
            "truncated ends follow `exact`, `current`, `zero`, `drop`",
        )
    if settings.convention.early_ends:
        raise _beside(f"preset `{settings.preset}`, which moves flags by a row,", "pass `--reward-at action`")
    if settings.success_column is not None:
        raise _beside("`--success-column`", "rewards of success are those of the action; drop `--reward-at`")
    if settings.is_over_units:
        raise _beside("`--unit`", "move each reward to the row before it, within its episode")
    if settings.mask_mode not in (None, "keep"):
        raise _beside(
            f"`--mask-mode {settings.mask_mode}`", "pass `--mask-mode keep`, or `--mask-column none`"
        )


def _beside(what: str, hint: str) -> UsageError:
    return UsageError(
        f"{what} does not go with rewards of the row after a step (`--reward-at arrival`)", hint=hint
    )
