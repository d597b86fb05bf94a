"""Which layout arrays have. A flat one is a table; of two axes, companions or the user say which is time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gaecli.columns import Roles, flag_of
from gaecli.errors import DataError, UsageError
from gaecli.formats.base import ColumnInfo, RolloutFile
from gaecli.layouts.alternates import check_alternate_shapes
from gaecli.layouts.base import Layout
from gaecli.layouts.demands import check_wanted, need_ends, refuse_prompt_mask
from gaecli.layouts.dense import DenseLayout
from gaecli.layouts.frames import Frame, core
from gaecli.layouts.long import LongLayout
from gaecli.layouts.masks import is_doubtful, which_mask
from gaecli.layouts.row_order import RowOrder
from gaecli.names import INVERTED_ROLES
from gaecli.settings import Settings
from gaecli.shell_words import word

#: Roles with a number per step, or one more for the state behind the last one.
_OF_STATES = ("value", "done_start", "done", "terminated", "truncated", "padding", *INVERTED_ROLES)


def recognise(file: RolloutFile, roles: Roles, settings: Settings, order: RowOrder) -> Layout | None:
    """The layout of arrays whose roles are known. Headers decide, before any array is read."""
    if file.structure != "arrays":
        return None
    reward = file.find(roles.names["reward"])
    assert reward is not None
    frames = _frames(reward)
    if not frames:
        raise DataError(
            f"`{reward.name}` of `{file.path}` has shape {reward.shape}; rewards are [N], [T, N] or [B, T]"
        )
    flat = Frame(math.prod(reward.shape), (), is_time_major=True)
    if len(reward.shape) == 1:
        check_wanted(settings.layout, ("long",), file, "its rewards are one number per row")
        return _table(file, roles, settings, flat, order)
    if settings.layout == "long" and len(core(reward.shape)) <= 1:
        return _table(file, roles, settings, flat, order)
    refuse_prompt_mask(file, roles)
    check_wanted(settings.layout, tuple(frames), file, f"its rewards are {reward.shape}")
    name = settings.layout
    if name == "auto":
        name = "batch-major" if _tokens(file) is not None else _by_companions(file, roles, settings, frames)
    frame = frames[name]
    roles = _fitted(file, roles, frame)
    if frame.num_lanes == 1:
        _refuse_scores(file, roles, reward)
    if frame.num_lanes == 1 and not _votes(file, roles, frames):
        need_ends(file, roles, reward, settings, name)
    not_done = file.find(roles.get("not_done") or "")
    is_per_step = not_done is not None and frame.form(not_done.shape, "not_done") == "steps"
    if not frame.is_time_major and is_doubtful(roles) and is_per_step:
        raise which_mask(roles.names["not_done"], file.path)
    _decide_dones(file, roles, settings, frame)
    check_alternate_shapes(file, roles)
    _check_counts(file, roles, settings, frame)
    layout = DenseLayout(file, roles, settings, frame)
    layout.like_column = _tokens(file) or layout.like_column
    return layout


def _tokens(file: RolloutFile) -> str | None:
    from gaecli.layouts.token_arrays import array_of_tokens

    return array_of_tokens(file)


def _check_counts(file: RolloutFile, roles: Roles, settings: Settings, frame: Frame) -> None:
    """Lanes are as long as the arrays, and a file may say of each how far it is filled."""
    from gaecli.layouts.evidence.padded_rows import CountedSlots, check_counted_slots, names_of_counts

    widths = np.full(frame.num_lanes, frame.num_times)
    for name in names_of_counts(file, roles, settings):
        if frame.form(file.columns[name].shape, "bootstrap_value") != "lanes":
            continue
        counts = file.read_whole(name)
        slots = CountedSlots.of(counts.values.reshape(-1), counts.is_null, widths, 0)
        check_counted_slots([(file.path, {} if slots is None else {name: slots})])


def why(file: RolloutFile, layout: Layout, settings: Settings) -> str:
    """How the axis of time was recognised, in a few words."""
    roles, frame = layout.roles, layout.frame
    assert frame is not None
    if settings.layout != "auto":
        return "asked for with `--layout`"
    reward = file.find(roles.names["reward"])
    assert reward is not None
    if layout.like_column not in (None, reward.name):
        return f"`{reward.name}` is one number per row, that of the last token of `{layout.like_column}`"
    size = " by ".join(map(str, reward.shape))
    votes = _votes(file, roles, _frames(reward))
    if not votes and settings.convention.dense_layout is not None:
        return f"`{reward.name}` is {size}, and preset `{settings.preset}` stores it so"
    if not votes:
        return f"`{reward.name}` is {size}: {frame.num_times} steps of one trajectory after the other"
    names = ", ".join(f"`{name}` {file.columns[name].shape}" for name in votes)
    return f"`{reward.name}` is {size}, and {names} {'says' if len(votes) == 1 else 'say'} which axis is time"


def _table(file: RolloutFile, roles: Roles, settings: Settings, frame: Frame, order: RowOrder) -> Layout:
    reward = file.find(roles.names["reward"])
    assert reward is not None
    _refuse_scores(file, roles, reward)
    roles = _fitted(file, roles, frame)
    if not _votes(file, roles, {"long": frame}):
        need_ends(file, roles, reward, settings)
    check_alternate_shapes(file, roles)
    return LongLayout(file, roles, settings, order, frame)


def _refuse_scores(file: RolloutFile, roles: Roles, reward: ColumnInfo) -> None:
    """One reward of each response beside values of its tokens: which token it is of, lists alone can tell."""
    value = file.find(roles.get("value") or "")
    axes = () if value is None else core(value.shape)
    if value is None or len(axes) != 2 or axes[0] != math.prod(reward.shape):
        return
    raise DataError(
        f"`{value.name}` of `{file.path}` has {axes[1]} numbers for each of `{reward.name}`",
        hint=f"pass `--token-column {word(value.name)}` if `{reward.name}` is the score of a response, and "
        f"`{value.name}` has a number for each of its {axes[1]} tokens; else store rewards as {axes}",
    )


def _frames(reward: ColumnInfo) -> dict[str, Frame]:
    """What the axes may be, by the name of the layout. Of three, the first one can be time alone."""
    shape = reward.shape
    axes = core(shape)
    if not shape:
        return {}
    if len(axes) > 2:
        return {"time-major": Frame(axes[0], axes[1:], is_time_major=True)}
    if len(axes) < 2:
        size = math.prod(shape)
        axes = (1, size) if shape[0] == 1 else (size, 1)
    rows, columns = axes
    return {
        "time-major": Frame(rows, (columns,), is_time_major=True),
        "batch-major": Frame(columns, (rows,), is_time_major=False),
    }


def _by_companions(file: RolloutFile, roles: Roles, settings: Settings, frames: Mapping[str, Frame]) -> str:
    reward = file.find(roles.names["reward"])
    assert reward is not None
    votes = _votes(file, roles, frames)
    if len(set(votes.values())) == 1:
        return next(iter(votes.values()))
    known = settings.convention.dense_layout
    if not votes and known is not None and known in frames:
        return known
    if not votes and len(core(reward.shape)) <= 1:  # one lane, whose steps are along the only axis there is
        return next(name for name, frame in frames.items() if frame.num_lanes == 1)
    _check_shapes(file, roles, settings, frames)
    reason = (
        "its companions disagree: " + ", ".join(f"`{name}` says {vote}" for name, vote in votes.items())
        if votes
        else "no last value per environment, or array with one time more, says which axis is time"
    )
    size = " by ".join(map(str, reward.shape))
    first, *others = reward.shape
    hint = (
        f"pass `--layout time-major` if it is {first} steps of {' by '.join(map(str, others))} environments"
    )
    if "batch-major" in frames:
        hint += f", `--layout batch-major` if it is {first} rows of {others[0]} steps"
    raise UsageError(f"`{file.path}` is {size}, and {reason}", hint=hint)


def _check_shapes(file: RolloutFile, roles: Roles, settings: Settings, frames: Mapping[str, Frame]) -> None:
    """What fits neither way is an error, before anything is asked."""
    errors = []
    for frame in frames.values():
        try:
            DenseLayout(file, _fitted(file, roles, frame), settings, frame)
        except DataError as error:
            errors.append(error)
    if len(errors) == len(frames):
        raise errors[0]


def _votes(file: RolloutFile, roles: Roles, frames: Mapping[str, Frame]) -> dict[str, str]:
    """Arrays with one number per lane, or one time more than the rewards, tell which axis is time.

    One of the rewards' own shape, such as a mask, tells nothing.
    """
    votes: dict[str, str] = {}
    reward = file.find(roles.names["reward"])
    assert reward is not None
    wanted = [(role, "states") for role in _OF_STATES]
    wanted += [(role, "lanes") for role in ("bootstrap_value", "final_done", "env", "mask")]
    wanted += [("bootstrap_value", "lanes")] if roles.get("bootstrap_value") else [("next_value", "lanes")]
    for role, form in wanted:
        for info in _infos(file, roles, role):
            if info.shape == reward.shape or (role == "env" and not info.shape):
                continue
            if role == "next_value" and any(frame.form(info.shape, role) for frame in frames.values()):
                continue
            as_role = "bootstrap_value" if role == "next_value" else role
            found = [layout for layout, frame in frames.items() if frame.form(info.shape, as_role) == form]
            if len(found) == 1:
                votes[info.name] = found[0]
    return votes


def _fitted(file: RolloutFile, roles: Roles, frame: Frame) -> Roles:
    """The roles as the shapes of their arrays have them."""
    roles = _without_other_things(file, _without_constant_steps(file, roles, frame), frame)
    final = roles.get("final_done")
    if final is not None and "final_done" not in roles.explicit:
        info = file.find(final)
        assert info is not None
        if frame.form(info.shape, "final_done") is None and frame.form(info.shape, "done") == "steps":
            roles = roles.without("final_done")  # it is of each step, and not of the last one
            if final not in roles.names.values() and not roles.get("done") and not roles.get("done_start"):
                roles = replace(roles, names={**roles.names, "done": final})
    mask = roles.get("mask")
    if mask is not None and mask.lower() == "action_mask" and "mask" not in roles.explicit:
        info = file.find(mask)
        if info is not None and frame.form(info.shape, "mask") != "steps":
            roles = roles.without("mask")  # under this name libraries keep which actions are legal
    return _per_lane_next_value(file, roles, frame)


def _without_other_things(file: RolloutFile, roles: Roles, frame: Frame) -> Roles:
    """`discount` is often one number for all, and `masks` may be of images: no flags, and no errors."""
    num_axes = len(core(frame.with_times(frame.num_times)))
    for role in INVERTED_ROLES:
        name = roles.get(role)
        info = file.find(name) if name is not None else None
        if info is None or role in roles.explicit or frame.form(info.shape, role) is not None:
            continue
        if math.prod(info.shape) == 1 or len(core(info.shape)) > num_axes:
            roles = roles.without(role)
    return roles


def _per_lane_next_value(file: RolloutFile, roles: Roles, frame: Frame) -> Roles:
    """`next_value` of one number per lane (CleanRL) is a bootstrap, not a value per step."""
    next_values = _infos(file, roles, "next_value")
    per_lane = [
        info.name
        for info in next_values
        if frame.form(info.shape, "next_value") is None
        and frame.form(info.shape, "bootstrap_value") == "lanes"
    ]
    if not per_lane:
        return roles
    per_step = [info.name for info in next_values if info.name not in per_lane]
    bootstraps = [*(info.name for info in _infos(file, roles, "bootstrap_value")), *per_lane]
    names, alternates = dict(roles.names), dict(roles.alternates)
    for role, found in (("next_value", per_step), ("bootstrap_value", bootstraps)):
        names.pop(role, None)
        alternates.pop(role, None)
        if found:
            names[role] = found[0]
        if found[1:]:
            alternates[role] = tuple(found[1:])
    return replace(roles, names=names, alternates=alternates)


def _infos(file: RolloutFile, roles: Roles, role: str) -> list[ColumnInfo]:
    """The arrays that could play a role."""
    names = [roles.get(role), *roles.alternates.get(role, ())]
    return [info for name in names if name is not None and (info := file.find(name)) is not None]


def _without_constant_steps(file: RolloutFile, roles: Roles, frame: Frame) -> Roles:
    """One number for a whole lane counts no steps of it: the training step of a dump."""
    chosen = roles.get("step")
    if chosen is None:
        return roles
    infos = _infos(file, roles, "step")
    kept = [
        info.name
        for info in infos
        if math.prod(info.shape) != 1 or frame.num_cells == 1
        if frame.form(info.shape, "step") != "lanes"
    ]
    if not kept and "step" in roles.explicit:
        raise UsageError(
            f"`{chosen}` of `{file.path}` has shape {infos[0].shape}: one number for all steps orders none",
            hint=f"name another array with `{flag_of('step')}`, or pass `{flag_of('step')} none`",
        )
    roles = roles.without("step")
    if not kept:
        return roles
    alternates = {**roles.alternates, "step": tuple(kept[1:])} if kept[1:] else roles.alternates
    return replace(roles, names={**roles.names, "step": kept[0]}, alternates=alternates)


def _decide_dones(file: RolloutFile, roles: Roles, settings: Settings, frame: Frame) -> None:
    """`dones` of dense arrays is a start flag for CleanRL and an end flag for others: nothing tells."""
    done = roles.get("done")
    if roles.get("terminated") is not None and roles.get("truncated") is not None:
        return  # both are there to check it against
    if done is None and "not_done" in roles.by_preset and roles.get("terminated") is None:
        _decide_masks(file, roles, settings, frame)
    is_said = settings.done_at is not None or settings.convention.done_at is not None
    if done is None or done.lower() != "dones" or is_said:
        return
    info = file.find(done)
    if info is not None and frame.form(info.shape, "done") == "states":
        return  # one for each state, the last one included
    raise UsageError(
        f"`{done}` of `{file.path}` has two meanings in use: the step ended the episode (Gymnasium, RLlib), "
        "or its observation begins one (CleanRL, Stable-Baselines3)",
        hint=_which_dones(roles.get("final_done")),
    )


def _which_dones(final_done: str | None) -> str:
    """What begins with an observation has one flag more, of that behind the last step; an end needs none."""
    if final_done is None:
        return "pass `--done-at end` or `--done-at start`, or the `--preset` of the library that wrote it"
    return (
        f"`{final_done}` beside it speaks for observations: pass `--done-at start`, or `--preset cleanrl` if CleanRL "
        "wrote it; else `--done-at end`"
    )


def _decide_masks(file: RolloutFile, roles: Roles, settings: Settings, frame: Frame) -> None:
    """`masks` of the libraries that have T + 1 of them, cut to T: the first or the last may be gone."""
    name = roles.names["not_done"]
    info = file.find(name)
    is_cut = info is not None and frame.form(info.shape, "not_done") == "steps"
    if name.lower() == "masks" and is_cut and settings.done_at is None:
        raise UsageError(
            f"`{name}` of `{file.path}` has one entry per step, and in {settings.convention.library} one more, of "
            "the first state",
            hint="store all of them; or pass `--done-at end` if the first is gone, `--done-at start` if the last is",
        )
