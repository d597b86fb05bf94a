"""The layout of columns with one number per row: a row is a step."""

from __future__ import annotations

from gaecli.columns import Roles
from gaecli.errors import DataError
from gaecli.formats.base import ColumnInfo, RolloutFile
from gaecli.layouts.base import Layout
from gaecli.layouts.demands import check_wanted, need_ends, or_nested
from gaecli.layouts.long import LongLayout
from gaecli.layouts.row_order import RowOrder
from gaecli.names import ALIASES, INVERTED_ROLES
from gaecli.settings import Settings
from gaecli.shell_words import word


def recognise(file: RolloutFile, roles: Roles, settings: Settings, order: RowOrder) -> Layout | None:
    """The layout of a table whose rewards are single numbers."""
    reward = file.find(roles.names["reward"])
    assert reward is not None
    if reward.is_list or file.structure == "arrays":
        return None
    check_wanted(
        settings.layout,
        ("long",),
        file,
        "its rewards are one number per row, and there are no lists beside them",
    )
    roles = _only_scalars(file, roles, reward)
    if settings.layout == "auto":
        _check_lengths(file, roles)
    need_ends(file, roles, reward, settings)
    if reward.name.endswith("rewards.0"):
        from gaecli.layouts.evidence.skrl_rows import check_environments

        check_environments(file, roles)
    return LongLayout(file, roles, settings, order)


def _check_lengths(file: RolloutFile, roles: Roles) -> None:
    """The lengths of episodes stand in tables of other rows than steps."""
    lowered = [name.lower() for name in file.columns]
    if not any(name == "l" or "len" in name or "steps" in name for name in lowered):
        return
    from gaecli.layouts.evidence.episode_rows import check_rows_are_steps, lengths_in

    if names := lengths_in(file, roles):
        check_rows_are_steps(file, roles, names)


def why(file: RolloutFile, layout: Layout, settings: Settings) -> str:
    """Of flat arrays as well."""
    reward = file.find(layout.roles.names["reward"])
    assert reward is not None
    return f"`{reward.name}` is one number per row{', in a list' if reward.is_unpacked else ''}"


def _only_scalars(file: RolloutFile, roles: Roles, reward: ColumnInfo) -> Roles:
    """A table with a row per step has one number per row in every role."""
    for name in roles.key_parts:
        if file.columns[name].is_list:
            raise _holds_lists(file, name, reward)
    for role, name in roles.names.items():
        info = file.find(name)
        if info is None or not info.is_list:
            continue
        if (
            role in ("mask", "bootstrap_value", "final_done", "step", "next_value", *INVERTED_ROLES)
            and role not in roles.explicit
        ):
            # Under this name libraries keep which actions are legal.
            is_known = name.lower() == "action_mask"
            why = f"it holds lists, and `{reward.name}` one number per row"
            roles = roles.without(role) if is_known else roles.passing_over(role, why)
            continue
        raise _holds_lists(file, name, reward, of_tokens=role == "value")
    return roles


def _reward_beside(file: RolloutFile, name: str) -> str | None:
    """The field of the same list of structs that is called as a reward is: rows may have their sum as well."""
    outer = name.rpartition(".")[0]
    fields = [f"{outer}.{alias}" for alias in ALIASES["reward"]] if outer else []
    return next((field for field in fields if (info := file.find(field)) and info.is_list), None)


def _holds_lists(file: RolloutFile, name: str, reward: ColumnInfo, *, of_tokens: bool = False) -> DataError:
    hint = "every role has one number per row; name another column with its `--…-column`"
    if of_tokens:
        hint = (
            f"pass `--token-column {word(name)}` if `{reward.name}` is the score of a response, and the list has an "
            f"item for each of its tokens; else {hint}"
        )
        if (beside := _reward_beside(file, name)) is not None:
            hint = f"pass `--reward-column {word(beside)}` if that is the reward of each step; {hint}"
    return DataError(
        f"`{name}` of `{file.path}` holds lists, but `{reward.name}` one number per row",
        hint=hint + or_nested(reward),
    )
