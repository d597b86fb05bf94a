"""Which layout a file has. Shapes decide; where they leave it open, the user does."""

from __future__ import annotations

import math
from dataclasses import replace

from gaecli.columns import INVERTED_ROLES, Roles
from gaecli.errors import DataError, UsageError
from gaecli.formats.base import ColumnInfo, RolloutFile
from gaecli.layouts.alternates import check_alternate_shapes
from gaecli.layouts.base import Layout
from gaecli.layouts.dense import DenseLayout, squeezed
from gaecli.layouts.long import LongLayout, Taking
from gaecli.layouts.masks import is_doubtful, which_mask
from gaecli.layouts.nested import NestedLayout
from gaecli.layouts.unused_flags import likely_ends
from gaecli.settings import Settings

#: A mask that people have beside that of the response, and that is no mask of actions.
_PROMPT_MASK = "attention_mask"
#: TRL's: 1 where the response is over.
_PADDING_MASK = "padding_mask"


def choose_layout(
    file: RolloutFile, roles: Roles, settings: Settings, taking: Taking | None = None
) -> Layout:
    """The layout of a file whose columns are resolved. `taking`: how the rows of a long table are taken."""
    reward = file.find(roles.names["reward"])
    assert reward is not None
    shape = squeezed(reward.shape)
    wanted = settings.layout
    if reward.is_list:
        _check_wanted(wanted, ("nested",), file, "its reward column holds lists, one trajectory per row")
        _refuse_prompt_mask(file, roles)
        return NestedLayout(file, roles, settings)
    if len(shape) == 2:
        return _dense(file, roles, settings, (shape[0], shape[1]))
    if len(shape) != 1:
        raise DataError(
            f"`{reward.name}` of `{file.path}` has shape {reward.shape}; rewards are [N], [T, N] or [B, T]"
        )
    _check_wanted(wanted, ("long",), file, "its rewards are one number per row")
    roles = _fit_lengths(file, roles, reward, settings)
    roles = _only_scalars(file, roles, reward)
    _need_ends(file, roles, reward, settings)
    return LongLayout(file, roles, settings, taking or Taking())


def why_layout(file: RolloutFile, layout: Layout, settings: Settings) -> str:
    """How the layout was recognised, in a few words."""
    reward = file.find(layout.roles.names["reward"])
    assert reward is not None
    if layout.name == "nested":
        return f"`{reward.name}` holds a list per row"
    shape = squeezed(reward.shape)
    if layout.name == "long":
        return f"`{reward.name}` is one number per row{', in a list' if reward.is_unpacked else ''}"
    if settings.layout != "auto":
        return "asked for with `--layout`"
    votes = _companion_votes(file, layout.roles, (shape[0], shape[1]))
    names = ", ".join(f"`{name}` {file.columns[name].shape}" for name in votes)
    if not votes:
        return f"preset `{settings.preset}` stores it so"
    return f"`{reward.name}` is {shape[0]} by {shape[1]}, and {names} says which axis is time"


def _refuse_prompt_mask(file: RolloutFile, roles: Roles) -> None:
    """`attention_mask` covers the prompt as well: GAE over it would take the prompt for actions."""
    mask = roles.get("mask")
    is_named = mask is not None and mask.rpartition(".")[2].lower() == _PROMPT_MASK
    is_alone = mask is None and "mask" not in roles.explicit and _PROMPT_MASK in file.columns
    if mask is None and "mask" not in roles.explicit and _PADDING_MASK in file.columns:
        raise UsageError(
            f"`{_PADDING_MASK}` of `{file.path}` marks the tokens that do not count, and a mask marks those that do",
            hint="store its inverse and name it with `--mask-column`, or pass `--mask-column none` if every token "
            "counts",
        )
    if is_named or is_alone:
        raise UsageError(
            f"`{_PROMPT_MASK}` of `{file.path}` covers the prompt as well as the response, so it does not say "
            "which tokens are actions",
            hint="name the mask of the response with `--mask-column`, or pass `--mask-column none` if every "
            "token is one",
        )


def _only_scalars(file: RolloutFile, roles: Roles, reward: ColumnInfo) -> Roles:
    """A table with a row per step has one number per row in every role."""
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
        raise DataError(
            f"`{name}` of `{file.path}` holds lists, but `{reward.name}` one number per row",
            hint="every role has one number per row; name another column with its `--…-column`"
            + _or_nested(reward, "of one step"),
        )
    return roles


def _or_nested(reward: ColumnInfo, what: str) -> str:
    return f"; if each row is a trajectory {what}, pass `--layout nested`" if reward.is_unpacked else ""


def _check_wanted(wanted: str, fitting: tuple[str, ...], file: RolloutFile, why: str) -> None:
    if wanted not in ("auto", *fitting):
        raise UsageError(
            f"`{file.path}` is not `{wanted}`: {why}", hint=f"leave `--layout` out, or pass {fitting[0]}"
        )


def _need_ends(file: RolloutFile, roles: Roles, reward: ColumnInfo, settings: Settings) -> None:
    """A long table without flags and keys could be one trajectory or a hundred."""
    tells = ("terminated", "truncated", "done", "not_done", "done_start", "padding", "episode", "env")
    if settings.layout == "long" or roles.key_parts or any(roles.get(role) for role in tells):
        return
    likely = likely_ends(file, roles)
    named = f"pass `--done-column {likely[0]}` if it says so, or " if likely else ""
    raise UsageError(
        f"nothing in `{file.path}` tells where a trajectory ends\n"
        f"       columns there: {', '.join(list(file.columns)[:24])}",
        hint=f"{named}name a flag with `--done-column` or an id with `--episode-column`; "
        "if the file is one single trajectory, pass `--layout long`" + _or_nested(reward, "of one step"),
    )


def _fit_lengths(file: RolloutFile, roles: Roles, reward: ColumnInfo, settings: Settings) -> Roles:
    """All arrays of a flat file have one length; a last value of length 1 is not one of them."""
    if file.format_name != "npz":
        return roles
    num_rows = math.prod(reward.shape)
    roles = _without_other_things(file, roles, 1)
    for role, name in roles.names.items():
        info = file.find(name)
        assert info is not None
        if math.prod(info.shape) == num_rows:
            continue
        if role in ("bootstrap_value", "final_done", "step") and role not in roles.explicit:
            roles = roles.without(role)
            continue
        raise DataError(
            f"`{name}` of `{file.path}` has shape {info.shape}, but `{reward.name}` has {reward.shape}",
            hint="arrays of one rollout must have the same length; name another one with its `--…-column`",
        )
    check_alternate_shapes(file, roles)
    group = file.find(settings.normalize_by) if settings.normalize_by is not None else None
    if group is not None and math.prod(group.shape) != num_rows:
        raise DataError(
            f"`{group.name}` of `{file.path}` has shape {group.shape}, but `{reward.name}` has {reward.shape}",
            hint="`--normalize-by` names an array with a label per step",
        )
    return roles


def _dense(file: RolloutFile, roles: Roles, settings: Settings, shape: tuple[int, int]) -> Layout:
    roles = roles.without("episode", "env", "step")
    _refuse_prompt_mask(file, roles)
    if settings.layout in ("long", "nested"):
        _check_wanted(settings.layout, ("time-major", "batch-major"), file, f"its rewards are {shape}")
    roles = _without_other_things(file, roles, 2)
    roles = _per_lane_next_value(file, roles, shape)
    found = settings.layout if settings.layout != "auto" else _by_companions(file, roles, settings, shape)
    if found == "batch-major" and is_doubtful(roles) and squeezed(_not_done(file, roles)) == shape:
        raise which_mask(roles.get("not_done"), file.path)
    _decide_dones(file, roles, settings)
    check_alternate_shapes(file, roles)
    return DenseLayout(file, roles, settings, shape, is_time_major=found == "time-major")


def _without_other_things(file: RolloutFile, roles: Roles, num_axes: int) -> Roles:
    """`discount` is often one number for all, and `masks` may be of images: no flags, and no errors."""
    for role in INVERTED_ROLES:
        name = roles.get(role)
        info = file.find(name) if name is not None else None
        if info is None or role in roles.explicit:
            continue
        if math.prod(info.shape) == 1 or len(squeezed(info.shape)) > num_axes:
            roles = roles.without(role)
    return roles


def _not_done(file: RolloutFile, roles: Roles) -> tuple[int, ...]:
    info = file.find(roles.names["not_done"])
    assert info is not None
    return info.shape


def _per_lane_next_value(file: RolloutFile, roles: Roles, shape: tuple[int, int]) -> Roles:
    """`next_value` of one number per lane (CleanRL) is a bootstrap, not a value per step."""
    name = roles.get("next_value")
    if name is None or roles.get("bootstrap_value") is not None:
        return roles
    there = [name, *roles.alternates.get("next_value", ())]
    per_step = [each for each in there if math.prod(file.columns[each].shape) == math.prod(shape)]
    per_lane = [each for each in there if each not in per_step]
    names, alternates = dict(roles.names), dict(roles.alternates)
    for role, found in (("next_value", per_step), ("bootstrap_value", per_lane)):
        names.pop(role, None)
        alternates.pop(role, None)
        if found:
            names[role] = found[0]
        if found[1:]:
            alternates[role] = tuple(found[1:])
    return replace(roles, names=names, alternates=alternates)


def _companion_votes(file: RolloutFile, roles: Roles, shape: tuple[int, int]) -> dict[str, str]:
    """Arrays with one number per lane, or one time more than the rewards, tell which axis is time."""
    rows, columns = shape
    votes: dict[str, str] = {}
    for role in ("bootstrap_value", "final_done"):
        name = roles.get(role)
        info = file.find(name) if name is not None else None
        if info is None or name is None or rows == columns:
            continue
        if math.prod(info.shape) == columns:
            votes[name] = "time-major"
        elif math.prod(info.shape) == rows:
            votes[name] = "batch-major"
    for role in ("value", "done_start", "done", "terminated", "truncated", *INVERTED_ROLES):
        name = roles.get(role)
        info = file.find(name) if name is not None else None
        if info is None or name is None:
            continue
        longer = squeezed(info.shape)
        if longer == (rows + 1, columns):
            votes[name] = "time-major"
        elif longer == (rows, columns + 1):
            votes[name] = "batch-major"
    if roles.get("mask") is not None:
        votes[roles.names["mask"]] = "batch-major"
    return votes


def _by_companions(file: RolloutFile, roles: Roles, settings: Settings, shape: tuple[int, int]) -> str:
    rows, columns = shape
    votes = _companion_votes(file, roles, shape)
    if len(set(votes.values())) == 1:
        return next(iter(votes.values()))
    if not votes and settings.convention.dense_layout is not None:
        return settings.convention.dense_layout
    reason = (
        "its companions disagree: " + ", ".join(f"`{name}` says {vote}" for name, vote in votes.items())
        if votes
        else "no last value per environment, mask, or array with one time more says which axis is time"
    )
    raise UsageError(
        f"`{file.path}` is {rows} by {columns}, and {reason}",
        hint=f"pass `--layout time-major` if it is {rows} steps of {columns} environments, "
        f"`--layout batch-major` if it is {rows} rows of {columns} steps",
    )


def _decide_dones(file: RolloutFile, roles: Roles, settings: Settings) -> None:
    """`dones` of dense arrays is a start flag for CleanRL and an end flag for others: nothing tells."""
    done = roles.get("done")
    if roles.get("terminated") is not None and roles.get("truncated") is not None:
        return  # both are there to check it against
    is_said = settings.done_at is not None or settings.convention.done_at is not None
    if done is not None and done.lower() == "dones" and not is_said:
        _ask_done_at(file, done)


def _ask_done_at(file: RolloutFile, done: str) -> None:
    raise UsageError(
        f"`{done}` of `{file.path}` has two meanings in use: the step ended the episode (Gymnasium, RLlib), "
        "or its observation begins one (CleanRL, Stable-Baselines3)",
        hint="pass `--done-at end` or `--done-at start`, or the `--preset` of the library that wrote it",
    )
