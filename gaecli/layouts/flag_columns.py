"""Which columns say how trajectories end, and what each of them says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from gaecli.choices import DoneAt
from gaecli.columns import Roles, done_at, flag_of
from gaecli.errors import UsageError
from gaecli.formats.base import Column
from gaecli.layouts.cells import level_of
from gaecli.names import INVERTED_ROLES, NOT_DONE_FLAGS
from gaecli.records import dataclass
from gaecli.settings import Settings


class EndsOnFirstRow(UsageError):
    """The done flag is set on the first row of a file, and nothing shows that an episode ended there."""


@dataclass(frozen=True)
class FlagColumns:
    """Which flag columns are used, and to which end of a step the done flag belongs.

    An inverted flag takes the place of a plain one that is not there; beside it, it has to agree.
    """

    terminated: str | None
    truncated: str | None
    done: str | None
    done_at: DoneAt
    #: Inverted flags that only repeat what the others say.
    not_done: str | None = None
    not_truncated: str | None = None
    #: Column -> role of those in which 0 stands for an end, whatever place they take.
    inverted: Mapping[str, str] = field(default_factory=dict)
    #: `not_done` may be of terminal states alone, as a discount is.
    is_terminal_only: bool = False
    #: A lone done flag says that the episode was cut.
    done_is_truncated: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for role in FLAGS if (name := getattr(self, role)) is not None)

    @property
    def any(self) -> bool:
        return bool(self.names)

    def flag_of(self, name: str) -> str:
        """The option that names the column."""
        role = self.inverted.get(name)
        role = role or next(role for role in FLAGS if getattr(self, role) == name)
        return flag_of(role)

    def no_end(self, column: Column, name: str) -> object:
        """What a cell of the column says where nothing ends: 0, or what an inverted flag has there."""
        if name not in self.inverted:
            return False
        return level_of(column) or 1


#: The places of `FlagColumns`.
FLAGS = ("terminated", "truncated", "done", "not_done", "not_truncated")


def flag_columns(roles: Roles, settings: Settings) -> FlagColumns:
    """End flags are preferred to start flags: they need no look at the next row."""
    at = done_at(roles, settings)
    terminated, truncated, done, not_done, not_truncated = (roles.get(role) for role in FLAGS)
    inverted = {name: role for role in INVERTED_ROLES if (name := roles.get(role)) is not None}
    is_terminal_only = not_done is not None and not_done.lower() not in NOT_DONE_FLAGS
    if settings.resets_itself and settings.done_at is None:
        # All flags came with the observation that follows their action, whatever they are called.
        arrived = done or terminated or not_done or roles.get("done_start")
        return FlagColumns(None, None, arrived, "start", inverted=inverted)
    if truncated is None:
        truncated, not_truncated = not_truncated, None
    if done is None and (terminated is None or not is_terminal_only):
        done, not_done = not_done, None
    elif is_terminal_only and terminated is None and truncated is None:
        terminated, not_done = not_done, None
    if done is None and terminated is None:
        done = roles.get("done_start")
    is_own = bool(roles.by_preset & {"done", "done_start"})
    return FlagColumns(
        terminated,
        truncated,
        done,
        at,
        not_done,
        not_truncated,
        inverted,
        is_terminal_only,
        done_is_truncated=is_own and settings.convention.done_is_truncated,
    )
