"""Which layout a file has. Shapes decide; where they leave it open, the user does."""

from __future__ import annotations

from gaecli.columns import Roles, flag_of
from gaecli.errors import DataError, UsageError
from gaecli.formats.base import ColumnInfo, RolloutFile
from gaecli.layouts.array_layouts import choose_array_layout, why_lanes
from gaecli.layouts.base import Layout
from gaecli.layouts.demands import are_responses, check_wanted, need_ends, or_nested, refuse_prompt_mask
from gaecli.layouts.dense import DenseLayout
from gaecli.layouts.keyed_lists import KeyedListsLayout, keys_in_lists
from gaecli.layouts.long import LongLayout, RowOrder
from gaecli.layouts.nested import NestedLayout
from gaecli.layouts.responses import ResponsesLayout
from gaecli.names import INVERTED_ROLES
from gaecli.settings import Settings


def choose_layout(
    file: RolloutFile, roles: Roles, settings: Settings, taking: RowOrder | None = None
) -> Layout:
    """The layout of a file whose columns are resolved. `taking`: how the rows of a long table are taken."""
    layout = _layout(file, roles, settings, taking or RowOrder())
    _check_named(file, roles, layout)
    return layout


def _check_named(file: RolloutFile, roles: Roles, layout: Layout) -> None:
    """Whoever names a column expects it to count."""
    used = set(layout.roles.names.values())
    unread = {"final_done"} if file.format_name != "npz" else set()
    for role in sorted(roles.explicit):
        name = roles.get(role)
        if name is None or (name in used and role not in unread):
            continue
        what = "each row is a trajectory" if layout.name == "nested" else "no use is made of it"
        raise UsageError(
            f"`{name}` of `{file.path}` is named as the {role.replace('_', ' ')}, but it is read as "
            f"{layout.name}: {what}",
            hint=f"leave `{flag_of(role)}` out, or store the steps in another layout",
        )


def _layout(file: RolloutFile, roles: Roles, settings: Settings, taking: RowOrder) -> Layout:
    reward = file.find(roles.names["reward"])
    assert reward is not None
    if reward.is_list:
        check_wanted(
            settings.layout, ("nested",), file, "its reward column holds lists, one trajectory per row"
        )
        refuse_prompt_mask(file, roles)
        keyed = keys_in_lists(file, roles)
        if keyed is not None:
            return KeyedListsLayout(file, roles, keyed, settings)
        return NestedLayout(file, roles, settings)
    if file.format_name == "npz":
        return choose_array_layout(file, roles, settings, taking)
    if settings.kind.is_grouped and are_responses(file, roles, settings):
        return ResponsesLayout(file, roles, settings)
    check_wanted(settings.layout, ("long",), file, "its rewards are one number per row")
    roles = _only_scalars(file, roles, reward)
    need_ends(file, roles, reward, settings)
    return LongLayout(file, roles, settings, taking)


def why_layout(file: RolloutFile, layout: Layout, settings: Settings) -> str:
    """How the layout was recognised, in a few words."""
    reward = file.find(layout.roles.names["reward"])
    assert reward is not None
    if layout.name == "nested":
        keys = [layout.roles.get("episode"), layout.roles.get("env"), *layout.roles.key_parts]
        cut = ", ".join(f"`{name}`" for name in keys if name is not None)
        return f"`{reward.name}` holds a list per row{f', cut by {cut}' if cut else ''}"
    if layout.name == "long":
        return f"`{reward.name}` is one number per row{', in a list' if reward.is_unpacked else ''}"
    if layout.name == "responses":
        return "nothing tells steps apart, so that each row is a trajectory"
    assert isinstance(layout, DenseLayout)
    return why_lanes(file, layout.roles, layout.frame, settings)


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
        raise _holds_lists(file, name, reward)
    return roles


def _holds_lists(file: RolloutFile, name: str, reward: ColumnInfo) -> DataError:
    return DataError(
        f"`{name}` of `{file.path}` holds lists, but `{reward.name}` one number per row",
        hint="every role has one number per row; name another column with its `--…-column`"
        + or_nested(reward, "of one step"),
    )
