"""What writers call the columns of each role, and what other names say of ends: the tables are data.

What is not in it has to be named by a flag, or is the business of a preset (`Preset.names`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gaecli.choices import UnitIs

#: Role -> aliases in order of preference (`done` at the end of a step, `done_start` at its start).
ALIASES: Mapping[str, tuple[str, ...]] = {
    "reward": ("reward", "rewards", "next.reward", "token_level_rewards", "rew", "rews", "rew_buf", "r"),
    "value": (
        "value",
        "values",
        "vf_preds",
        "state_value",
        "value_current",
        "v_s",
        "vpred",
        "value_preds",
        "val_buf",
    ),
    "next_value": (
        "next_value",
        "next_values",
        "next.state_value",
        "values_bootstrapped",
        "terminal_values",
        "final_values",
        "v_s_",
    ),
    "bootstrap_value": ("bootstrap_value", "last_value", "last_values"),
    "terminated": (
        "terminated",
        "terminateds",
        "terminations",
        "terminals",
        "terminal",
        "next.terminated",
        "is_terminal",
        "termination",
    ),
    "truncated": (
        "truncated",
        "truncateds",
        "truncations",
        "timeouts",
        "timeout",
        "next.truncated",
        "time_outs",
        "truncation",
    ),
    "not_done": (
        "not_done",
        "not_dones",
        "masks",
        "nonterminal",
        "nonterminals",
        "non_terminal",
        "non_terminals",
        "undone",
        "undones",
        "continue",
        "continues",
        "cont",
        "discount",
        "discounts",
    ),
    "not_truncated": ("bad_masks", "unmasks"),
    "done": ("done", "next.done", "is_last", "dones", "done_buf"),
    "done_start": ("episode_start", "episode_starts", "is_first"),
    "final_done": ("last_dones", "next_done"),
    "episode": (
        "episode_index",
        "episode_id",
        "eps_id",
        "ep_id",
        "episode",
        "traj_id",
        "trajectory_id",
    ),
    "env": ("env_id", "env", "env_index", "env_idx", "actor_id", "worker_id"),
    "step": ("frame_index", "step", "t", "timestep", "step_index", "time_step"),
    "mask": ("response_mask", "action_mask", "loss_mask", "mask", "token_loss_mask"),
}

#: The same for roles that some estimators alone have a use for. A bare `log_prob` is not here: with a collector it
#: is that of the policy that acted, in a training step that of the one that learns.
ESTIMATOR_ROLE_NAMES: Mapping[str, tuple[str, ...]] = {
    "log_prob": (
        "target_log_prob",
        "target_log_probs",
        "target_logp",
        "target_action_log_probs",
        "new_log_prob",
        "new_log_probs",
        "new_logp",
        "current_log_prob",
        "current_log_probs",
        "log_pi",
    ),
    "behaviour_log_prob": (
        "behaviour_log_prob",
        "behaviour_log_probs",
        "behavior_log_prob",
        "behavior_log_probs",
        "behaviour_logp",
        "behavior_logp",
        "behaviour_action_log_probs",
        "behavior_action_log_probs",
        "sample_log_prob",
        "action_logp",
        "rollout_log_probs",
        "old_log_prob",
        "old_log_probs",
        "old_logp",
        "logp_old",
        "log_mu",
    ),
    "ratio": ("ratio", "ratios", "rho", "rhos", "importance_ratio", "importance_ratios", "is_ratio"),
    "prob": ("target_prob", "target_probs", "target_action_prob"),
    "q": (
        "q",
        "q_value",
        "q_values",
        "qvalue",
        "qvalues",
        "chosen_action_value",
        "state_action_value",
        "action_value",
    ),
}

#: Parts of the trajectory key beside the episode, where they hold anything.
KEY_PARTS = ("unroll_id", "agent_id", "agent_index")

#: What people call a list that holds the steps of one trajectory, a struct each.
STEP_LISTS = frozenset(
    {
        *("steps", "timesteps", "time_steps", "transitions", "experience", "experiences", "frames", "turns"),
        *("trajectory", "traj", "episode", "rollout", "path"),
    }
)

#: Roles of flags that may be told by the value of a column: `--done-column status=finished`.
VALUE_FLAG_ROLES = ("done", "terminated", "truncated", "mask")

#: Names that begin an episode by definition; every other flag defaults to the end of its step.
START_FLAGS = frozenset(ALIASES["done_start"])

#: Roles in which 0 says what 1 says in the others.
INVERTED_ROLES = ("not_done", "not_truncated")

#: Inverted flags of 1 - done; the others of their role may speak of terminal states alone, as a discount does.
NOT_DONE_FLAGS = frozenset({"not_done", "not_dones", "masks"})

#: In RLDS the discount of an episode's last row means nothing, and that of others stands for no end.
DISCOUNTS = frozenset({"discount", "discounts"})
RLDS_FLAGS = ("is_first", "is_last", "is_terminal")

#: LeRobot's column of what is said of its frames, in rows of several styles: labels go beside those of others.
LANGUAGE = "language_persistent"

FLAG_ROLES = (
    "terminated",
    "truncated",
    "done",
    *INVERTED_ROLES,
    "done_start",
    "final_done",
    "first",
    "padding",
    "padding_terminal",
)
NUMBER_ROLES = ("reward", "value", "next_value", "bootstrap_value")

#: Of columns that presets over turns have names for: ids, or flags at the last token of each.
UNIT_READINGS: Mapping[str, UnitIs] = {"turn_ids": "id", "end_of_response_position_mask": "end"}

#: Names of columns that say when a row was recorded. They do not order the rows by themselves.
CLOCKS = ("timestamp", "timestamps", "time", "datetime", "ts")

#: Names under which advantages and returns stand in files of other tools, the likelier first.
ADVANTAGE_NAMES = ("advantage", "advantages", "adv", "advs", "gae")
RETURN_NAMES = ("return", "returns", "value_target", "value_targets", "ret", "rets", "td_target", "mc_return")
#: What people tell the responses to one prompt by, the surest first.
GROUP_NAMES = (
    "group_id",
    "group_index",
    "group.id",
    "group",
    "uid",
    "prompt_id",
    "prompt_idx",
    "example_id",
    "problem_id",
    "question_id",
    "prompt",
    "prompts",
    "question",
    "problem",
    "input",
    "messages",
)
_OTHER_NAMES = ("advantage_raw", "advantage_continuous", "absolute_advantage")
RESULT_NAMES = frozenset((*ADVANTAGE_NAMES, *RETURN_NAMES, *_OTHER_NAMES))

_PATH = re.compile(r"[.:/]")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def word_set(words: str) -> frozenset[str]:
    """Of a text of words, for tables of names."""
    return frozenset(words.split())


def words_of(name: str) -> list[str]:
    """The words of the last part of a path, in small letters: `info.episodeLength`, `info:env_id` of EnvPool."""
    return [found.lower() for found in _WORDS.findall(_PATH.split(name)[-1])]


#: Words of names that speak of ends, whatever else the name says.
_END_WORDS = word_set(
    "done dones undone undones dead died death alive end ends ended ending eoe eos term terms terminal terminals "
    "terminate terminated terminates termination terminations nonterminal nonterminals trunc truncate truncated "
    "truncates truncation truncations timeout timeouts expired reset resets finish finished finishes over "
    "absorbing boundary cutoff crash crashed"
)
#: Words that do so where no other word says what the column is about.
_WEAK_END_WORDS = word_set("last final first start starts begin begins new continue continues mask masks")
#: Words of columns that say which steps count.
_MASK_WORDS = word_set("mask masks masked valid valids validity invalid pad pads padded padding filler")
#: Words beside those of columns that say which part of a data set an episode is of.
_PART_WORDS = word_set("split splits train training test tests validation val eval holdout fold")
#: Abbreviations in use, as a whole name.
_SHORT_NAMES = word_set("d dn ds dw nd tm tr fin stop")
#: Words of what is recorded beside ends and is no end: a column named by one of them is never asked about.
_OTHER_WORDS = word_set(
    "success successes succeeded successful solved correct intervention interventions intervened human expert "
    "teleop teleoperated action actions act acts gripper attention prompt obs observation observations state "
    "states reward rewards value values advantage advantages return returns logp logprob logprobs image images "
    "camera label labels task subtask"
)
_SHORT_OTHERS = word_set("a u s o ob x")
#: Roles whose names are not those of ends.
_OTHER_ROLES = ("reward", "value", "next_value", "bootstrap_value", "episode", "env", "step", "mask")
_OTHER_ALIASES = frozenset([*(name.lower() for role in _OTHER_ROLES for name in ALIASES[role]), *KEY_PARTS])
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SMALL_WORD = re.compile(r"[a-z]+")
#: The same where words are run together.
_END_STEM = re.compile(
    r"done|(?<!de)termin|trunc|timed?_?out|(time|step)_?limit|limit_reached|steps?_reached|absorb|finish"
)
#: Words of columns of which one value may be an end.
_VALUE_WORDS = word_set("reason status outcome event type kind")
#: Of others, of which a value has to say it itself.
_MARK_WORDS = word_set("phase phases stage marker mark tag flag mode signal transition state")

#: Words of names of what is told once an episode is over: of what, and how much of it.
_OF_EPISODES = word_set("episode episodes ep eps epi traj trajectory trajectories final terminal rollout")
_AMOUNTS = word_set(
    "length lengths len lens l duration durations steps return returns ret rets r reward rewards score scores total "
    "sum statistics stats"
)
_RUN_TOGETHER = word_set("eplen eplens epret eprets eprew eprews")


def is_alias(name: str, *roles: str) -> bool:
    """Whether a name, without regard to case, is one of those of these roles."""
    return any(name.lower() in ALIASES[role] for role in roles)


def suggests_end(name: str) -> bool:
    """Whether a name speaks of the ends of episodes."""
    words = all_words_of(name)
    return speaks_of_ends(name) or bool(words & _WEAK_END_WORDS and not words & _OTHER_WORDS)


def suggests_mask(name: str) -> bool:
    """Whether a name speaks of steps that count, or of such as do not; not of parts of a data set."""
    words = all_words_of(name)
    return bool(words & _MASK_WORDS and not words & _PART_WORDS)


def is_something_else(name: str) -> bool:
    """Whether a name says that the column is no flag of ends."""
    if name.lower() in _OTHER_ALIASES or name.rpartition(".")[2].lower() in _SHORT_OTHERS:
        return True
    return bool(all_words_of(name) & _OTHER_WORDS) and not speaks_of_ends(name)


def holds_kinds(name: str) -> bool:
    """Whether a name is that of a column of which one value may be an end: `step_type`, `status`."""
    return bool(all_words_of(name) & _VALUE_WORDS)


def may_hold_marks(name: str) -> bool:
    """Whether a name is that of a column of which a value may be an end if its own word says so: `phase`."""
    return bool(all_words_of(name) & _MARK_WORDS)


def speaks_of_next_state(name: str) -> bool:
    """Whether a flag is by its name of the state after the step, as `next.done` of LeRobot and TorchRL is."""
    return name.lower().startswith(("next.", "next/"))


def tells_at_ends(name: str) -> bool:
    """Whether a name is that of a length or a return of episodes."""
    words = all_words_of(name)
    return bool(words & _RUN_TOGETHER or (words & _OF_EPISODES and words & _AMOUNTS))


def speaks_of_ends(name: str) -> bool:
    """Whether a name does, whatever else it says."""
    lowered = name.lower()
    return bool(all_words_of(name) & _END_WORDS) or lowered in _SHORT_NAMES or bool(_END_STEM.search(lowered))


def speaks_of_limits(name: str) -> bool:
    """Whether a name of an end says that a limit cut the episode."""
    return any(part in name.lower() for part in ("trunc", "time", "limit", "max_step", "horizon"))


def all_words_of(name: str) -> set[str]:
    """The words of every part of a path, in small letters."""
    return set(_SMALL_WORD.findall(_CAMEL.sub("_", name).lower()))
