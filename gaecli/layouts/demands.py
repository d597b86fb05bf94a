"""What a file has to say before its layout can be taken; where it does not, the user is asked."""

from __future__ import annotations

from gaecli.columns import Roles
from gaecli.errors import UsageError
from gaecli.formats.base import ColumnInfo, RolloutFile
from gaecli.formats.stored import own_columns
from gaecli.layouts.evidence.unused_flags import likely_ends
from gaecli.names import (
    holds_kinds,
    may_hold_marks,
    speaks_of_ends,
    speaks_of_limits,
    suggests_end,
    tells_at_ends,
)
from gaecli.settings import Settings
from gaecli.shell_words import word

#: A mask that people have beside that of the response, and that is no mask of actions.
_PROMPT_MASK = "attention_mask"
#: TRL's: 1 where the response is over.
_PADDING_MASK = "padding_mask"


def refuse_prompt_mask(file: RolloutFile, roles: Roles) -> None:
    """`attention_mask` covers the prompt as well: GAE over it would take the prompt for actions."""
    mask = roles.get("mask")
    is_named = mask is not None and mask.rpartition(".")[2].lower() == _PROMPT_MASK
    is_alone = mask is None and "mask" not in roles.explicit and _PROMPT_MASK in file.columns
    if mask is None and "mask" not in roles.explicit and _PADDING_MASK in file.columns:
        raise UsageError(
            f"`{_PADDING_MASK}` of `{file.path}` marks the tokens that do not count, and a mask marks those that do",
            hint=f"pass `--mask-column {word(f'{_PADDING_MASK}=0')}`, or `--mask-column none` if every token counts",
        )
    if is_named or is_alone:
        raise UsageError(
            f"`{_PROMPT_MASK}` of `{file.path}` covers the prompt as well as the response, so it does not say "
            "which tokens are actions",
            hint="name the mask of the response with `--mask-column`; pass `--mask-column "
            f"{word(f'{_PROMPT_MASK}=1')}` if no row holds a prompt, or `--mask-column none` if every token is one",
        )


def check_wanted(wanted: str, fitting: tuple[str, ...], file: RolloutFile, why: str) -> None:
    if wanted not in ("auto", *fitting):
        raise UsageError(
            f"`{file.path}` is not `{wanted}`: {why}", hint=f"leave `--layout` out, or pass {fitting[0]}"
        )


def need_ends(
    file: RolloutFile, roles: Roles, reward: ColumnInfo, settings: Settings, layout: str = "long"
) -> None:
    """Steps without flags and keys could be one trajectory or a hundred. `layout`: what says that it is one."""
    if settings.layout == layout or tells_ends(roles):
        return
    from gaecli.missing_columns import columns_there

    likely = f"{found}, or " if (found := _likely(file, roles, settings)) else ""
    raise UsageError(
        f"nothing in `{file.path}` tells where a trajectory ends\n"
        f"       columns there: {columns_there(file)}",
        hint=f"{likely}name a flag with `--done-column` or an id with `--episode-column`; "
        f"if the file is one single trajectory, pass `--layout {layout}`" + or_nested(reward),
    )


def _likely(file: RolloutFile, roles: Roles, settings: Settings) -> str:
    """What to pass if the likeliest column is what it seems to be: by its name, else by what it holds."""
    from gaecli.layouts.evidence.first_rows import border_in_first_rows
    from gaecli.layouts.evidence.ids import is_named_id
    from gaecli.layouts.evidence.valued import likely_value
    from gaecli.layouts.runs import runs_of

    like = roles.names["reward"]
    if runs := list(runs_of(file, like)):
        return f"pass `--episode-column {word(runs[0])}` if it has an entry per trajectory"
    flags = likely_ends(file, roles)
    named = [name for name in flags if speaks_of_ends(name)]
    limits = [name for name in named if speaks_of_limits(name)]
    if limits and len(named) > len(limits):
        over = next(name for name in named if name not in limits)
        return f"pass `--terminated-column {word(over)} --truncated-column {word(limits[0])}` if they say so"
    if flags and suggests_end(flags[0]):
        return f"pass `--done-column {word(flags[0])}` if it says so"
    if ids := [name for name in file.columns if is_named_id(name, roles)]:
        return f"pass `--episode-column {word(ids[0])}` if it tells trajectories apart"
    for name in _of_few_values(file):
        value = likely_value(file, name, like)
        if value is not None and (not _is_mark_alone(name) or suggests_end(value)):
            flag = f"--done-column {word(f'{name}={value}')}"
            return f"pass `{flag}` if `{value}` is what it says of a last step"
    told = [
        name for name, info in file.columns.items() if tells_at_ends(name) and info.kind in ("int", "float")
    ]
    if told and not file.columns[told[0]].is_list:
        return f"pass `--done-column {word(f'{told[0]}!=0')}` if it is 0 but where an episode ends"
    if (found := border_in_first_rows(file, roles, settings)) is not None:
        return found
    return f"pass `--done-column {word(flags[0])}` if it says so" if flags else ""


def _of_few_values(file: RolloutFile) -> list[str]:
    """Columns of which one value may be an end by their names: texts that speak of ends, else kinds of steps."""
    single = {name: info.kind for name, info in file.columns.items() if not info.is_list}
    told = [name for name, kind in single.items() if kind == "id" and suggests_end(name)]
    kinds = [name for name, kind in single.items() if kind in ("int", "id") and holds_kinds(name)]
    marks = [name for name, kind in single.items() if kind == "id" and may_hold_marks(name)]
    return list(dict.fromkeys([*told, *kinds, *marks]))


def _is_mark_alone(name: str) -> bool:
    """Its name says so little that a value has to say it: `task_state`."""
    return may_hold_marks(name) and not suggests_end(name) and not holds_kinds(name)


def are_responses(file: RolloutFile, roles: Roles, settings: Settings) -> bool:
    """Whether a row is a trajectory: the user says so, or nothing there speaks of steps of one."""
    if settings.layout != "auto":
        return settings.layout == "responses"
    if tells_ends(roles):
        return False
    doubtful = [name for name in likely_flags(file) if name not in roles.row_columns]
    if doubtful:
        raise UsageError(
            f"`{doubtful[0]}` of `{file.path}` may say where trajectories end, and nothing else does",
            hint=f"pass `--done-column {word(doubtful[0])}` if it does; if each row is a "
            "trajectory, `--layout responses`",
        )
    return True


def likely_flags(file: RolloutFile) -> list[str]:
    """Columns that may be flags of ends by their names and types: a text such as a finish reason is none."""
    ours = own_columns(file.provenance)
    return [
        name
        for name, info in file.columns.items()
        if name not in ours
        and suggests_end(name)
        and info.kind in ("bool", "int", "float")
        and not info.is_list
    ]


def tells_ends(roles: Roles) -> bool:
    """Flags, ids or environments are there."""
    tells = ("terminated", "truncated", "done", "not_done", "done_start", "padding", "episode", "env")
    return bool(roles.key_parts) or any(roles.get(role) for role in tells)


def or_nested(reward: ColumnInfo) -> str:
    return "; if each row is a trajectory of one step, pass `--layout nested`" if reward.is_unpacked else ""
