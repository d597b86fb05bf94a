"""Which column plays which role.

Order: the user's option, then exact alias in the order of the table, then alias without regard to
case, else an error. Never by substring: `value_target` is not a value. The table is `gaecli.names`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import cache, cached_property
from itertools import accumulate

from gaecli.choices import DoneAt, RoleReason
from gaecli.errors import DataError, UsageError
from gaecli.estimator_kinds import ESTIMATOR_ROLES
from gaecli.formats.base import TWO_COLUMNS, ColumnInfo, RolloutFile, damaged
from gaecli.formats.stored import own_columns
from gaecli.names import (
    ALIASES,
    CLOCKS,
    DISCOUNTS,
    ESTIMATOR_ROLE_NAMES,
    FLAG_ROLES,
    INVERTED_ROLES,
    KEY_PARTS,
    NUMBER_ROLES,
    RLDS_FLAGS,
    START_FLAGS,
    VALUE_FLAG_ROLES,
)
from gaecli.records import dataclass
from gaecli.setting_fields import ROLES
from gaecli.settings import Settings
from gaecli.shell_words import word

_LONGEST_REASON = 300
#: Roles that a file can do without: a column that has the name and cannot play it is not used, which is told.
_OPTIONAL = (
    "step",
    "env",
    "episode",
    "mask",
    "final_done",
    "bootstrap_value",
    "next_value",
    *INVERTED_ROLES,
)


@dataclass(frozen=True)
class Unused:
    """A column that has the name of a role and cannot play it."""

    role: str
    name: str
    why: str


@dataclass(frozen=True)
class Roles:
    """The resolved columns of one input."""

    names: Mapping[str, str]
    #: Further aliases of a role that are there too: they must agree, block by block.
    alternates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    key_parts: tuple[str, ...] = ()
    #: Roles that the user named by a flag.
    explicit: frozenset[str] = frozenset()
    #: Roles whose column has the name that it has in the library of the preset.
    by_preset: frozenset[str] = frozenset()
    #: What is told of columns that their name promises and their type does not keep.
    unused: tuple[Unused, ...] = ()
    #: When a row was recorded, where there is no step column.
    clock: str | None = None

    def get(self, role: str) -> str | None:
        return self.names.get(role)

    @property
    def row_columns(self) -> tuple[str, ...]:
        """Every column that is read row by row."""
        alternates = [name for names in self.alternates.values() for name in names]
        return tuple(dict.fromkeys([*self.names.values(), *alternates, *self.key_parts]))

    def without(self, *roles: str) -> Roles:
        return replace(
            self,
            names={role: name for role, name in self.names.items() if role not in roles},
            alternates={role: names for role, names in self.alternates.items() if role not in roles},
        )

    def passing_over(self, role: str, why: str) -> Roles:
        """Without a role, and with the reason for it."""
        unused = Unused(role, self.names[role], why)
        return replace(self.without(role), unused=(*self.unused, unused))


def resolve(file: RolloutFile, settings: Settings) -> Roles:
    """Find the columns of `file`. `UsageError` where one is missing or two claim a role."""
    roles = find_roles(file, settings)
    if settings.success_column is not None:
        roles = _with_success(file, roles, settings.success_column)
    for role in settings.kind.roles:
        if role not in roles.names:
            raise _missing(file, settings, role)
    if settings.kind.ways:
        from gaecli.missing_columns import columns_there
        from gaecli.off_policy_columns import other_ways

        there = columns_there(file)
        roles = roles.without(*other_ways(settings.kind, roles.names, roles.explicit, file.path, there))
    if "value" not in roles.names:
        _check_without_values(file, settings)
    if settings.arrives and settings.mask_mode != "keep" and "mask" in roles.names:
        raise UsageError(
            f"`{roles.names['mask']}` of `{file.path}` leaves out rows, which may hold the reward of the step before "
            "them (`--reward-at arrival`)",
            hint="pass `--mask-mode keep` if masked rows are steps, or `--mask-column none`",
        )
    if settings.is_over_units and "unit" not in roles.names:
        from gaecli.missing_columns import columns_there

        raise UsageError(
            f"preset `{settings.preset}` computes over turns, and nothing in `{file.path}` is named that tells them "
            f"apart\n       columns there: {columns_there(file)}",
            hint="pass `--unit` with the id of the turn, or with a flag at its last token",
        )
    return _check_kinds(file, roles)


def _check_without_values(file: RolloutFile, settings: Settings) -> None:
    """V of the last state cannot stand for that of the next one where there is none."""
    for name in ("bootstrap", "truncation"):
        if getattr(settings, name) == "current":
            raise UsageError(
                f"`--{name} current` takes V of the last state, and `{file.path}` has no value column",
                hint="name it with `--value-column`, or pass `--bootstrap zero`"
                if name == "bootstrap"
                else "name it with `--value-column`, or pass `--truncation exact`",
            )


def _with_success(file: RolloutFile, roles: Roles, name: str) -> Roles:
    """Success in place of the rewards; where it is of whole episodes, a column that says which steps there are."""
    _named(file, "success", name, flag_of("success"))
    steps = [roles.names.get(role, name) for role in ("mask", "terminated", "truncated", "done", "value")]
    deepest = max([name, *steps], key=lambda each: _depth(file.find(each)))  # the first of equals
    found = roles.without("reward")
    explicit = found.explicit | {"reward"} if deepest == name else found.explicit
    return replace(found, names={**found.names, "reward": deepest}, explicit=explicit)


def _depth(info: ColumnInfo | None) -> tuple[bool, int]:
    return (False, 0) if info is None else (info.is_list, sum(size != 1 for size in info.shape))


def find_roles(file: RolloutFile, settings: Settings) -> Roles:
    """The columns by option and alias, whether or not they are enough and fit their roles."""
    names: dict[str, str] = {}
    alternates: dict[str, tuple[str, ...]] = {}
    there = _named_columns(file, settings)
    padding = _padding(there, settings)
    own = _own_names(file, there, settings, padding)
    taken = {*padding.values(), *settings.columns.values(), *_rlds_discounts(there), *settings.decay_columns}
    taken |= {name for found in own.values() for name in found}
    over_units = {"unit": ()} if settings.is_over_units else {}
    aliases = {
        **ALIASES,
        **over_units,
        **{role: ESTIMATOR_ROLE_NAMES[role] for role in settings.kind.own_roles},
    }
    for role, usual in aliases.items():
        option = "done" if role == "done_start" else role
        if role == "done_start" and settings.columns.get("not_done", "none") != "none":
            continue
        if option in settings.columns:
            if role == option:
                is_summed = role == "reward" and bool(settings.rewards)
                flag = "--reward" if is_summed else flag_of(role)
                names[role] = _named(file, role, settings.columns[option], flag)
            continue
        found = own.get(role) or [name for name in _by_names(file, there, role, usual) if name not in taken]
        if found:
            names[role], *others = found
            if others:
                alternates[role] = tuple(others)
    known = {role: name for role, name in file.known_roles.items() if role not in settings.columns}
    names = {role: name for role, name in {**names, **padding, **known}.items() if name}
    clock = _clock(file) if "step" not in names and "step" not in settings.columns else None
    return Roles(
        names, alternates, _key_parts(file), frozenset(settings.columns), frozenset(own), clock=clock
    )


def _own_names(
    file: RolloutFile, there: _NamedColumns, settings: Settings, padding: Mapping[str, str]
) -> dict[str, list[str]]:
    """Role -> columns that are called as the library of the preset calls them."""
    taken = {*padding.values(), *settings.columns.values()}
    found: dict[str, list[str]] = {}
    for role, aliases in settings.convention.names.items():
        option = "done" if role == "done_start" else role
        if option in settings.columns:
            continue
        named = _by_names(file, there, role, aliases, by_case=False)
        free = [name for name in named if name not in taken]
        if free:
            found[role] = free
    return found


def _padding(there: _NamedColumns, settings: Settings) -> dict[str, str]:
    """RLDS: where `is_first`, `is_last` and `is_terminal` are all there, the last row of an episode is no step.

    It holds the last observation: its value is the bootstrap, unless it is terminal. Who names an end flag
    says that every row is a step.
    """
    if {"done", "terminated", "truncated"} & settings.columns.keys():
        return {}
    roles = dict(zip(("first", "padding", "padding_terminal"), RLDS_FLAGS, strict=True))
    if not all(name in there.columns for name in roles.values()):
        return {}
    return {role: there.columns[name] for role, name in roles.items()}


def _rlds_discounts(there: _NamedColumns) -> list[str]:
    is_rlds = all(name in there.columns for name in RLDS_FLAGS)
    return [there.columns[name] for name in DISCOUNTS if is_rlds and name in there.columns]


def why_found(roles: Roles, role: str) -> RoleReason:
    """How the column of a role was found."""
    if role in roles.explicit or (role == "done_start" and "done" in roles.explicit):
        return "flag"
    if role in roles.by_preset:
        return "preset"
    known = (*ALIASES.values(), *ESTIMATOR_ROLE_NAMES.values())
    is_alias = any(roles.names[role] in aliases for aliases in known)
    return "name" if is_alias else "case"


def done_at(roles: Roles, settings: Settings) -> DoneAt:
    """Whether the done flag of a row belongs to the end of its step or to the start.

    A preset decides only over a lone flag called `done` or the like: beside `terminated` or `truncated` it
    repeats what those say of the end.
    """
    if settings.done_at is not None:
        return settings.done_at
    name = roles.get("done") or roles.get("not_done")
    if name is None:
        return "start" if roles.get("done_start") is not None else "end"
    if name in START_FLAGS:
        return "start"
    is_alone = not any(roles.get(role) for role in ("terminated", "truncated", "not_truncated"))
    return (settings.convention.done_at if is_alone else None) or "end"


def _named(file: RolloutFile, role: str, name: str, flag: str) -> str:
    """A column that the user named; `none` says that no column plays this role."""
    if file.find(name) is not None:
        return name
    if name == "none" and role != "reward":
        return ""
    from gaecli.missing_columns import not_found

    raise not_found(name, flag, file)


def flag_of(role: str) -> str:
    if role == "unit":
        return "--unit"
    return f"--{role.replace('_', '-')}-column" if role in (*ROLES, "success") else "--done-column"


def _by_names(
    file: RolloutFile, there: _NamedColumns, role: str, aliases: tuple[str, ...], *, by_case: bool = True
) -> list[str]:
    """Columns that have one of the names, those that fit the role before all others."""
    if not there.columns.keys().isdisjoint(aliases):
        found = [there.columns[alias] for alias in aliases if alias in there.columns]
    else:
        # `next.reward` may also be a field of a struct `next`, as torchrl's tensors are stored.
        found = [
            alias for alias, head in _paths(aliases) if head in there.heads and file.find(alias) is not None
        ]
    if not found and by_case and not there.lowered.keys().isdisjoint(aliases):
        found = [name for alias in aliases for name in there.lowered.get(alias, [])]
    if not found:
        return found
    fitting = [name for name in found if _fits(file.find(name), role)]
    fitting = [name for name in fitting if not _is_deep(file, name)] or fitting
    if role == "step":
        fitting.sort(key=lambda name: _STEP_KINDS.index(_kind_of(file, name)))
    return fitting or found[:1]


def _kind_of(file: RolloutFile, name: str) -> str:
    info = file.find(name)
    assert info is not None
    return info.kind


@cache
def _paths(aliases: tuple[str, ...]) -> Sequence[tuple[str, str]]:
    """Those that may be paths into structs, each with what it begins with."""
    return [(alias, alias.partition(".")[0]) for alias in aliases if "." in alias]


@dataclass(frozen=True, eq=False)
class _NamedColumns:
    """What may be an alias -> its column: the names there, and the fields of the structs that are steps."""

    columns: Mapping[str, str]
    #: What names of the file begin with, up to their first dot.
    heads: frozenset[str]

    @cached_property
    def lowered(self) -> Mapping[str, Sequence[str]]:
        """By the name in small letters, which several may have."""
        found: dict[str, list[str]] = {}
        for name, column in self.columns.items():
            found.setdefault(name.lower(), []).append(column)
        return found


def _named_columns(file: RolloutFile, settings: Settings) -> _NamedColumns:
    """What gaecli wrote says nothing of the file: `is_terminal` may be the last step of an episode that was cut."""
    ours = own_columns(file.provenance)
    fields = _fields_of_steps(file, settings)
    lists = {name.removesuffix(f".{field_name}") for field_name, name in fields.items()}
    found = {name: name for name in file.columns if name not in ours and name not in lists}
    for field_name, name in fields.items():
        found.setdefault(field_name, name)
    return _NamedColumns(found, frozenset(name.partition(".")[0] for name in file.columns))


def _fields_of_steps(file: RolloutFile, settings: Settings) -> Mapping[str, str]:
    """Field -> its column, of the list of structs that are steps. Of several that whose reward the user names."""
    head = list_around(file, settings.columns.get("reward", ""))
    if head is not None:
        names = file.inner_fields()
    else:
        heads = [name for name, info in file.columns.items() if _holds_structs(info)]
        heads = [one for one in heads if any(name.startswith(f"{one}.") for name in file.columns)]
        head, names = (heads[0], list(file.columns)) if len(heads) == 1 else ("", ())
    return {name.removeprefix(f"{head}."): name for name in names if name.startswith(f"{head}.")}


def list_around(file: RolloutFile, name: str) -> str | None:
    """The list of structs that a column is a field of, if it is one. Fields may have dots, and be structs."""
    heads = accumulate(name.split(".")[:-1], "{}.{}".format)
    found = {head: info for head in heads if (info := file.find(head)) is not None and _holds_structs(info)}
    # A struct in the items of a list is a list of structs as well, but no list of its own.
    depths = [info.is_deep for info in found.values()]
    return next((head for head, info in found.items() if info.is_deep == depths[-1]), None)


def _holds_structs(info: ColumnInfo | None) -> bool:
    return info is not None and info.is_list and info.has_whole_cells


def _is_deep(file: RolloutFile, name: str) -> bool:
    info = file.find(name)
    return info is not None and info.is_deep


#: Kinds of columns that may count or order steps, the surest first. Of text, the cells tell.
_STEP_KINDS: Sequence[str] = ("int", "float", "time", "id")


def _fits(info: ColumnInfo | None, role: str) -> bool:
    """Whether a column found by its name can play the role."""
    if info is None:
        return False
    if info.unusable == TWO_COLUMNS or info.damage is not None:
        return True  # to be refused, and not passed over
    if info.unusable is not None or (role in _OPTIONAL and info.kind == "null"):
        return False
    if role == "step":
        return info.kind in _STEP_KINDS
    is_number = info.kind in ("float", "int", "bool", "null")
    return is_number or role not in (*NUMBER_ROLES, *ESTIMATOR_ROLES, *FLAG_ROLES, "mask")


def mask_may_count(file: RolloutFile, roles: Roles) -> bool:
    """Whoever names a column of whole numbers as the mask may mean how many steps there are; no alias does."""
    info = file.find(roles.get("mask") or "")
    return "mask" in roles.explicit and info is not None and info.kind == "int"


def _clock(file: RolloutFile) -> str | None:
    there = {name.lower(): name for name in file.columns}
    found = [there[name] for name in CLOCKS if name in there]
    return next((name for name in found if _is_clock(file.columns[name])), None)


def _is_clock(info: ColumnInfo) -> bool:
    return info.kind in ("float", "int", "time") and info.unusable is None and not info.is_list


def _key_parts(file: RolloutFile) -> tuple[str, ...]:
    usable = [name for name in KEY_PARTS if name in file.columns and file.columns[name].kind != "null"]
    # agent_index is RLlib's number for agent_id: one of them is enough.
    return tuple(name for name in usable if name != "agent_index" or "agent_id" not in usable)


def _check_kinds(file: RolloutFile, roles: Roles) -> Roles:
    """Roles need numbers, flags or ids. What an optional role cannot use is told, if it says anything."""
    for name in roles.key_parts:
        part = file.columns[name]
        if part.unusable is not None:
            raise DataError(
                f"column `{name}` of `{file.path}` cannot tell trajectories apart: {part.unusable}",
                hint="store it as a number or a text; a column that is no part of the key needs another name",
            )
    checked = roles
    for role, name in roles.names.items():
        info = file.find(name)
        assert info is not None
        if info.damage is not None:
            raise damaged(file.path, info)
        if _fits(info, role) and info.unusable is None:
            continue
        if role in roles.explicit and info.unusable is None and info.kind in ("float", "null"):
            continue  # named: the cells will tell
        is_flag = role in FLAG_ROLES
        wanted = (
            "a flag is true or false, or 1 or 0" if is_flag else f"a {role.replace('_', ' ')} is a number"
        )
        reason = info.unusable or f"its type is {info.type_name}, and {wanted}"
        if role in _OPTIONAL and role not in roles.explicit and info.unusable != TWO_COLUMNS:
            checked = checked.without(role) if info.kind == "null" else checked.passing_over(role, reason)
            continue
        is_text = role in NUMBER_ROLES and info.unusable is None and info.kind == "id"
        written = (
            "write it as booleans, or " if is_flag else "write its texts as numbers, or " if is_text else ""
        )
        other = f"{written}name another column with `{flag_of(role)}`"
        if role in VALUE_FLAG_ROLES and info.kind == "id":
            value = _likely_text(file, role, name)
            by_value = f"{flag_of(role)} {word(f'{name}={value}')}"
            what = "a step that counts" if role == "mask" else "an end"
            other = f"pass `{by_value}` if `{value}` is what it says of {what}, {other}"
        from gaecli.formats.ways_on import way_of_column

        if info.unusable is not None:
            from gaecli.missing_columns import field_instead

            other = field_instead(file, name, role, flag_of(role), _fits) or other
        raise DataError(
            f"column `{name}` of `{file.path}` cannot be the {role.replace('_', ' ')}: {_shortened(reason)}",
            hint=way_of_column(file, info) or other,
        )
    return checked


def _likely_text(file: RolloutFile, role: str, name: str) -> str:
    """What a column of texts may say of an end; the rarest of them is no step that counts."""
    from gaecli.layouts.evidence.valued import likely_value

    return (None if role == "mask" else likely_value(file, name, name)) or "True"


def _shortened(reason: str) -> str:
    """A struct of thousands of fields has a type as long."""
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"


def _missing(file: RolloutFile, settings: Settings, role: str) -> UsageError:
    from gaecli.missing_columns import columns_there, missing_role
    from gaecli.off_policy_columns import missing_own

    if role not in ESTIMATOR_ROLES:
        return missing_role(file, role, flag_of(role), settings.kind, settings.columns)
    return missing_own(settings.kind, role, file.path, columns_there(file))
