"""Which layout a file has. Shapes decide; where they leave it open, the user does.

`gaecli.layout_kinds` is the table.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gaecli.columns import Roles, flag_of
from gaecli.errors import UsageError
from gaecli.formats.base import RolloutFile
from gaecli.layout_kinds import LAYOUTS
from gaecli.layouts.base import Layout
from gaecli.layouts.row_order import RowOrder
from gaecli.settings import Settings


def choose_layout(
    file: RolloutFile, roles: Roles, settings: Settings, taking: RowOrder | None = None
) -> Layout:
    """The layout of a file whose columns are resolved. `taking`: how the rows of a long table are taken."""
    layout = _recognised(file, roles, settings, taking or RowOrder())
    _check_named(file, roles, layout)
    return layout


def why_layout(file: RolloutFile, layout: Layout, settings: Settings) -> str:
    """How the layout was recognised, in a few words."""
    return str(_module(layout.kind.module).why(file, layout, settings))


def _recognised(file: RolloutFile, roles: Roles, settings: Settings, order: RowOrder) -> Layout:
    """Each says itself why a file is not what was asked for."""
    for module in dict.fromkeys(kind.module for kind in reversed(tuple(LAYOUTS.values()))):
        layout: Layout | None = _module(module).recognise(file, roles, settings, order)
        if layout is not None:
            return layout
    raise AssertionError(f"no layout takes `{file.path}`")


def _module(name: str) -> Any:
    return import_module(name)


def _check_named(file: RolloutFile, roles: Roles, layout: Layout) -> None:
    """Whoever names a column expects it to count."""
    used = set(layout.roles.names.values())
    unread = {"final_done"} if file.structure != "arrays" else set()
    for role in sorted(roles.explicit):
        name = roles.get(role)
        if name is None or (name in used and role not in unread):
            continue
        is_trajectory = layout.kind.row_is == "trajectory"
        what = "each row is a trajectory" if is_trajectory else "no use is made of it"
        raise UsageError(
            f"`{name}` of `{file.path}` is named as the {role.replace('_', ' ')}, but it is read as "
            f"{layout.kind.name}: {what}",
            hint=f"leave `{flag_of(role)}` out, or store the steps in another layout",
        )
