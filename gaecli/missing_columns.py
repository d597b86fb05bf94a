"""What is said of a column that is not there: those that are, and the one that may be meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence

from gaecli.errors import UsageError
from gaecli.estimator_kinds import ESTIMATORS, EstimatorKind
from gaecli.formats.base import ColumnInfo, RolloutFile
from gaecli.likely_names import likely_scores
from gaecli.names import ALIASES, RESULT_NAMES, VALUE_FLAG_ROLES, is_alias
from gaecli.shell_words import word

#: What people call these things and what the table leaves out on purpose; only ever suggested.
_SUGGESTED = {
    "reward": ("rew", "score"),
    "value": ("vf", "critic", "baseline", r"\bv_", "val"),
}
#: The same as whole names: one letter says little, and where nothing else is there it may be meant.
_SHORT_NAMES: Mapping[str, tuple[str, ...]] = {"reward": (), "value": ("v", "vs")}

_SEPARATORS = re.compile(r"[/:]")
#: What is computed from rewards and values, or of many of them, or stands one step beside them.
_NEVER_SUGGESTED = (
    "target",
    "next",
    "prev",
    "last",
    "final",
    "bootstrap",
    "return",
    "advantage",
    "adv_",
    "rtg",
    "mean",
    "loss",
    "std",
)
#: Flags that take a test of a column.
_TESTED = frozenset(f"--{role}-column" for role in VALUE_FLAG_ROLES)
#: Letters that two names have to share at their beginning to be alike by that alone.
_BEGINNING = 3
#: Columns that a message lists.
_MOST_NAMED = 24
#: Fields of a struct that a hint lists.
_MOST_FIELDS = 6


class MissingRoleError(UsageError):
    """No column plays a role that there has to be."""


def not_found(name: str, flag: str, file: RolloutFile) -> UsageError:
    """Of a column that the user named by `flag`."""
    hint = _of_test(name, flag, file) if flag in _TESTED else None
    return UsageError(
        f"column `{name}` not found in `{file.path}`\n       columns there: {columns_there(file)}",
        hint=hint or did_you_mean(name, flag, file),
    )


def _of_test(name: str, flag: str, file: RolloutFile) -> str | None:
    """What is meant by `COLUMN=VALUE` or `COLUMN!=VALUE`; None of another name."""
    from gaecli.layouts.value_flags import value_flag_of

    test = value_flag_of(name)
    if test is None:
        return None
    column = test.column
    if column.endswith(("<", ">", "~", ":")) or file.find(column) is not None:
        return f"`{flag}` takes `COLUMN=VALUE` and `COLUMN!=VALUE`, of a column of numbers, flags or texts"
    near = _spelt_like(column, file)
    return f"pass `{flag} {word(f'{near}{name[len(column) :]}')}`" if near else None


def field_instead(
    file: RolloutFile, name: str, role: str, flag: str, fits: Callable[[ColumnInfo | None, str], bool]
) -> str | None:
    """Of a struct: the field that is called as the role is, or all that may play it by their types."""
    inner = [field for field in file.inner_fields() if field.rpartition(".")[0] == name]
    found = {field: info for field in inner if fits(info := file.find(field), role) and info is not None}
    usable = [field for field, info in found.items() if not info.is_list] or list(found)
    fields = [field for field in usable if is_alias(field.rpartition(".")[2], role)] or usable
    if not fields:
        return None
    if len(fields) == 1 or role == "reward":
        return f"name a field of it: `{flag} {word(fields[0])}`"
    return f"name a field of it with `{flag}`: {', '.join(f'`{field}`' for field in fields[:_MOST_FIELDS])}"


def did_you_mean(name: str, flag: str, file: RolloutFile) -> str:
    near = _spelt_like(name, file)
    if near is None and name in RESULT_NAMES:
        return f"`gae compute` writes it; of what is there, name a column with `{flag}`"
    return f"name one of them with `{flag}`" if near is None else f"pass `{flag} {word(near)}`"


def not_in_stream(name: str, stream: str, file: RolloutFile, named: Collection[str]) -> UsageError:
    """Of a column that `--stream stream=…` names; `named`: those of all streams."""
    near = _spelt_like(name, file, named)
    return UsageError(
        f"column `{name}` of the stream `{stream}` not found in `{file.path}`\n"
        f"       columns there: {columns_there(file)}",
        hint=f"in `--stream {stream}=…` name {'one of them' if near is None else f'`{near}`'} instead",
    )


def _spelt_like(name: str, file: RolloutFile, named: Collection[str] = ()) -> str | None:
    """A column that may be meant, but none of those `named`: with a slip in it, or the beginning of it."""
    names = [other for other in file.columns if other not in named]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    begun = (other for other in names if min(len(name), len(other)) >= _BEGINNING and _begins(name, other))
    return next(iter(near), None) or next(begun, None)


def _begins(name: str, other: str) -> bool:
    return name.startswith(other) or other.startswith(name)


def missing_role(
    file: RolloutFile, role: str, flag: str, kind: EstimatorKind, named: Mapping[str, str]
) -> MissingRoleError:
    """Of the reward or the value, which nothing in the file is called; `flag` names it.

    `named`: the columns that the user named, by their roles: nothing else is they.
    """
    numbers = [name for name, info in file.columns.items() if info.kind in ("float", "int")]
    near = _nearest(role, [name for name in numbers if name not in named.values()]) or _inner(file, role)
    if near is None and role == "reward" and kind.is_scored:
        near = next((name for name in likely_scores(file) if name not in named.values()), None)
    elsewhere = next((other for other, name in named.items() if name in ALIASES[role]), None)
    if elsewhere is not None:
        other_flag = f"--{elsewhere.replace('_', '-')}-column"
        hint = f"`{named[elsewhere]}` is named by `{other_flag}`; name the {role} with `{flag}`"
    elif near is not None:
        hint = f"if it is `{near}`: pass `{flag} {word(near)}`"
    elif _is_packed(file):
        hint = (
            "this is RLlib's packed episode format (one msgpack column); record with "
            "`output_write_episodes=False` to get columns"
        )
    else:
        what = "GAE" if kind.name == "gae" else f"`--estimator {kind.name}`"
        steps = "response, or per step" if kind.is_scored else "step"
        hint = f"name a {role} column with `{flag}`, or add one: {what} needs one {role} per {steps}"
        without = [
            f"`--estimator {other.name}`"
            for other in ESTIMATORS.values()
            if role not in other.roles and not other.is_scored
        ]
        found, where = _success(file) if role == "reward" else (None, "")
        if found is not None:
            hint += f"; `--success-column {word(found)}` makes rewards of success{where}"
        elif without:
            hint += f"; {' and '.join(without)} {'needs' if len(without) == 1 else 'need'} none"
    return MissingRoleError(
        f"no {role} column in `{file.path}`\n       columns there: {columns_there(file)}", hint=hint
    )


def _success(file: RolloutFile) -> tuple[str | None, str]:
    """(the column that is called as if it told of success, where it stands if not in the file)."""
    here = next((name for name in file.columns if "success" in name.lower()), None)
    if here is not None:
        return here, ""
    from gaecli.datasets.lerobot import root_of
    from gaecli.datasets.lerobot_episodes import success_columns

    root = root_of(file.path)
    beside = [] if root is None else success_columns(root)
    return (beside[0], ", which `meta/` holds for each episode") if beside else (None, "")


def _nearest(role: str, names: Sequence[str]) -> str | None:
    dotted = {name: _SEPARATORS.sub(".", name.lower()) for name in names}
    exact = [name for name in names if dotted[name] in ALIASES[role]]  # `next/reward`
    fields = [name for name in names if dotted[name].rpartition(".")[2] in ALIASES[role]]
    parts = [name for part in _SUGGESTED[role] for name in names if re.search(part, name.lower()) is not None]
    for name in (*exact, *fields, *parts):
        if name in exact or not any(other in name.lower() for other in _NEVER_SUGGESTED):
            return name
    near = difflib.get_close_matches(role, names, n=len(names) or 1, cutoff=0.6)
    near += [name for name in names if name.lower() in _SHORT_NAMES[role]]
    return next((name for name in near if not any(other in name.lower() for other in _NEVER_SUGGESTED)), None)


def _inner(file: RolloutFile, role: str) -> str | None:
    """A field of that name, wherever it stands."""
    fields = (name for name in file.inner_fields() if is_alias(name.rpartition(".")[2], role))
    return next((name for name in fields if (info := file.find(name)) and info.unusable is None), None)


def _is_packed(file: RolloutFile) -> bool:
    return list(file.columns) == ["item"]


def columns_there(file: RolloutFile) -> str:
    """For messages: those that somebody wrote, not those that a data set makes up (`(padding row)`)."""
    names = [name for name in file.columns if not name.startswith("(")]
    more = f", … ({len(names) - _MOST_NAMED} more)" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more if names else "none"
