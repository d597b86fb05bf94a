"""The column that is probably V beyond the ends of trajectories, by its name: only suggested."""

from __future__ import annotations

from gaecli.choices import Bootstrap
from gaecli.columns import Roles, flag_of
from gaecli.formats.base import ColumnInfo, RolloutFile
from gaecli.formats.stored import own_columns
from gaecli.layouts.base import Layout
from gaecli.layouts.frames import core
from gaecli.names import all_words_of, is_alias, word_set
from gaecli.settings import Settings
from gaecli.shell_words import word

_VALUE_WORDS = word_set("v value values val vals vf vpred critic")
_BEYOND_WORDS = word_set(
    "next final terminal last bootstrap bootstrapped truncated trunc truncation timeout tp1 end"
)
#: Of what is made of values, or is beside them.
_OTHER_WORDS = word_set(
    "target targets return returns ret advantage advantages adv reward rewards rew loss error errors mean std var "
    "min max avg running ema count num log logp prob q action actions mask done dones flag index id"
)


def hint_for_ends(
    file: RolloutFile, layout: Layout, settings: Settings, instead: tuple[Bootstrap, Bootstrap]
) -> str:
    """What to do about ends without V of the state after them; `instead`: what `--bootstrap` may say of them."""
    way = _way_to_next_values(file, layout, settings)
    first = (
        "name a column with `--next-value-column`"
        if way is None
        else f"pass `{way}` if that is V of the next state"
    )
    return f"{first}, or pass `--bootstrap {instead[0]}` or `--bootstrap {instead[1]}`"


def _way_to_next_values(file: RolloutFile, layout: Layout, settings: Settings) -> str | None:
    """The flag with the column, where no role has it yet and the user has not said that none has it."""
    roles, reward = layout.roles, file.find(layout.like_column or layout.roles.names["reward"])
    known = {*roles.row_columns, *settings.columns.values(), *settings.stream_columns}
    known |= {*own_columns(file.provenance), *settings.output_columns}
    for name, info in file.columns.items():
        if name not in known and reward is not None and _speaks_of_it(name) and _is_number(info):
            role = _role(info, reward, roles, layout)
            if role is not None and settings.columns.get(role) != "none":
                return f"{flag_of(role)} {word(name)}"
    return None


def _speaks_of_it(name: str) -> bool:
    words = all_words_of(name)
    if is_alias(name.rpartition(".")[2], "next_value"):  # `policy.v_s_` of Tianshou
        return True
    return bool(words & _VALUE_WORDS and words & _BEYOND_WORDS) and not words & _OTHER_WORDS


def _is_number(info: ColumnInfo) -> bool:
    return info.kind == "float" and info.unusable is None and info.damage is None and not info.is_deep


def _role(info: ColumnInfo, reward: ColumnInfo, roles: Roles, layout: Layout) -> str | None:
    """One number for each step, or for each trajectory that stands by itself."""
    if (info.is_list, core(info.shape)) == (reward.is_list, core(reward.shape)):
        return "next_value" if roles.get("next_value") is None else None
    if roles.get("bootstrap_value") is not None or info.is_list:
        return None
    frame = layout.frame
    is_of_lanes = frame is not None and core(info.shape) == core(frame.lane_shape)
    is_of_rows = reward.is_list and info.shape == reward.shape[:1]
    return "bootstrap_value" if is_of_lanes or is_of_rows else None
