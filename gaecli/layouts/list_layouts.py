"""Which layout lists have: a row is a trajectory, or a batch whose items have ids or steps of their own."""

from __future__ import annotations

from gaecli.columns import Roles
from gaecli.formats.base import RolloutFile
from gaecli.layouts.base import Layout
from gaecli.layouts.demands import check_wanted, refuse_prompt_mask
from gaecli.layouts.row_order import RowOrder
from gaecli.layouts.tokens import token_column
from gaecli.settings import Settings


def recognise(file: RolloutFile, roles: Roles, settings: Settings, order: RowOrder) -> Layout | None:
    """The layout of a file whose rewards are lists."""
    reward = file.find(roles.names["reward"])
    assert reward is not None
    tokens = token_column(file, roles, settings)
    if tokens is None and not reward.is_list:
        return None
    from gaecli.layouts.keyed_lists import KeyedListsLayout, has_keys, keys_in_lists
    from gaecli.layouts.nested import NestedLayout

    if tokens is not None:
        refuse_prompt_mask(file, roles)
        return NestedLayout(file, roles, settings, tokens)
    check_wanted(
        settings.layout, ("nested", "long"), file, "its reward column holds lists, one trajectory per row"
    )
    refuse_prompt_mask(file, roles)
    keyed = keys_in_lists(file, roles)
    if has_keys(keyed) or settings.layout == "long":
        return KeyedListsLayout(file, roles, keyed, settings)
    return NestedLayout(file, roles, settings)


def why(file: RolloutFile, layout: Layout, settings: Settings) -> str:
    if layout.like_column != layout.roles.names["reward"]:
        reward = layout.roles.names["reward"]
        return f"`{reward}` is one number per row, that of the last token of `{layout.like_column}`"
    keys = [layout.roles.get("episode"), layout.roles.get("env"), *layout.roles.key_parts]
    cut = ", ".join(f"`{name}`" for name in keys if name is not None)
    how = f", cut by {cut}" if cut else ", whose items are steps" if settings.layout == "long" else ""
    return f"`{layout.roles.names['reward']}` holds a list per row{how}"
