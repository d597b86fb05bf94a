"""Rules about rewards and ids that are there and enter no number, in the words in which `compute` asks or warns."""

from __future__ import annotations

from gaecli.checks.base import CheckRule, FirstLook, Hits
from gaecli.layouts.evidence.ids import RowsAlternate


def masked_rewards(look: FirstLook) -> Hits | None:
    """Rewards that are not 0 stand on tokens that a mask leaves out."""
    return look.told("masked-rewards")


def arrival_rewards(look: FirstLook) -> Hits | None:
    """Rows that hold the last observation of an episode carry rewards, and those that begin one do not."""
    return look.told("arrival-rewards")


def single_units(look: FirstLook) -> Hits | None:
    """Every episode is one single unit of those that `--unit` names."""
    return look.told("single-units", "episode")


def rewards_outside_units(look: FirstLook) -> Hits | None:
    """Rewards that are not 0 stand in rows of no unit."""
    return look.told("rewards-outside-units")


def rows_alternate(look: FirstLook) -> Hits | None:
    """A column that is named like an id goes back and forth within a trajectory."""
    error = look.error
    if not isinstance(error, RowsAlternate):
        return None
    return Hits(0, error.message, file=str(look.path), fix=error.hint)


def unused_id(look: FirstLook) -> Hits | None:
    """A column changes, or counts anew, within a trajectory, as an id or a step would."""
    return look.told("unused-id")


RULES = (
    CheckRule(
        "GAE104",
        "masked-rewards",
        "warning",
        "run",
        masked_rewards,
        summary="rewards that are not 0 stand on tokens that the mask leaves out",
        why="the score of an answer on the token after it, or on the output of a tool, is often its only reward; "
        "libraries that leave masked tokens out drop it without a word",
        fix="pass `--masked-reward move` to give it to the last kept token, or `--mask-mode keep` if masked tokens "
        "are steps",
        bugs=("radixark/miles#1827",),
    ),
    CheckRule(
        "GAE106",
        "rewards-outside-units",
        "warning",
        "run",
        rewards_outside_units,
        summary="rewards that are not 0 stand in rows of no unit",
        why="a turn has the rewards of its own tokens; one on the answer of a tool, or on padding, is nobody's",
        fix="give them to a token of the turn that earned them",
    ),
    CheckRule(
        "GAE506",
        "single-units",
        "warning",
        "run",
        single_units,
        summary="every episode is one single unit of those that `--unit` names",
        why="over one turn nothing is discounted and no trace runs: A is the sum of rewards less V at the first "
        "token. A chat template that set every turn id to 0 went unseen so",
        fix="look at the column of `--unit`",
        bugs=("areal-project/AReaL#1666",),
    ),
    CheckRule(
        "GAE105",
        "arrival-rewards",
        "warning",
        "run",
        arrival_rewards,
        summary="rows with `is_last` carry rewards, and no row with `is_first` does",
        why="replay buffers of Dreamer and DrQ store a reward beside the observation that it came with; read as that "
        "of the row's own action, every reward is one step late and the last of each episode is lost, with sparse "
        "rewards all there is",
        fix="pass `--reward-at arrival`",
    ),
    CheckRule(
        "GAE405",
        "rows-alternate",
        "error",
        "run",
        rows_alternate,
        summary="rows alternate by a column that is named like an id and that no role uses",
        why="steps of several agents, environments or episodes that stand between each other are taken for one "
        "trajectory: each gets the rewards and values of the others",
        fix="name the column with `--env-column` or `--episode-column`, or say `none` if it tells nothing apart",
    ),
    CheckRule(
        "GAE406",
        "unused-id",
        "warning",
        "run",
        unused_id,
        summary="a column that no role uses changes, or counts anew, within a trajectory or one row beside every "
        "end, as an id or a counter of steps does, or goes up and down as a number of rows does that were shuffled",
        why="where nothing else ends the trajectory, the next one flows into it; flags one row beside move all ends; "
        "rows in another order than that of time are steps of nothing",
        fix="name what orders the rows with `--step-column`, an id with `--env-column` or `--episode-column`, or "
        "what ends the trajectory where a counter begins anew; `--episode-column none` if it has nothing to do with "
        "ends",
    ),
)
