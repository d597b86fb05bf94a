"""Rules about groups of responses: what their scores can teach, and what is counted twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gaecli.checks.base import CheckRule, Hits
from gaecli.checks.group_ledger import GroupLedger, ResponseGroup, are_alike
from gaecli.shell_words import word

#: Equal texts may be two responses that came out alike: this share of all rows has to have a like.
_SHARE_OF_REPEATS = 0.5


def recognised(ledger: GroupLedger) -> Hits | None:
    if not ledger.read_as:
        return None
    path, message = ledger.read_as[0]
    return Hits(len(ledger.read_as), message, file=str(path), unit="input")


def zero_variance(ledger: GroupLedger) -> Hits | None:
    """Groups of several responses with one score."""
    flat = [group for group in ledger.groups.values() if group.count > 1 and are_alike(group.low, group.high)]
    return _of_groups(ledger, flat, "have one score throughout: every response in them gets advantage 0")


def singletons(ledger: GroupLedger) -> Hits | None:
    alone = [group for group in ledger.groups.values() if group.count == 1]
    return _of_groups(ledger, alone, "have a single response, which is compared with nothing")


def unequal_sizes(ledger: GroupLedger) -> Hits | None:
    """Singletons are told by themselves."""
    sizes = {group.count for group in ledger.groups.values()} - {1}
    if len(sizes) < 2:
        return None
    largest = max(sizes)
    smaller = [group for group in ledger.groups.values() if 1 < group.count < largest]
    return _of_groups(ledger, smaller, f"have fewer responses than {largest:,}, the most there are")


def spread_groups(ledger: GroupLedger) -> Hits | None:
    spread = [group for group in ledger.groups.values() if group.is_spread]
    return _of_groups(ledger, spread, "have responses in several files")


def mixed_prompts(ledger: GroupLedger) -> Hits | None:
    mixed = [group for group in ledger.groups.values() if "prompt" in group.differing]
    return _of_groups(
        ledger, mixed, f"hold responses to different prompts (`{ledger.compared.get('prompt')}`)"
    )


def mixed_steps(ledger: GroupLedger) -> Hits | None:
    mixed = [group for group in ledger.groups.values() if "step" in group.differing]
    name = ledger.compared.get("step", "")
    found = _of_groups(ledger, mixed, f"hold responses of different steps of training (`{name}`)")
    flags = " ".join(f"--group-column {word(column)}" for column in (name, *ledger.names))
    return None if found is None else replace(found, fix=f"pass `{flags}`")


def split_rollouts(ledger: GroupLedger) -> Hits | None:
    """One rollout in several rows: it counts as often in mean and std."""
    found = ledger.repeats
    if found.file is None:
        return None
    num_alike = found.num_rollouts + found.num_rows
    if not found.is_id and num_alike < _SHARE_OF_REPEATS * ledger.num_responses:
        return None
    what = "rollouts" if found.is_id else "responses"
    message = (
        f"{found.num_rollouts:,} {what} stand in several rows of their group, with the same `{found.column}` and the "
        f"same score: {found.num_rows:,} rows more than there are {what}"
    )
    return Hits(
        found.num_rows,
        message,
        found.row,
        f"row {found.row}",
        str(found.file),
        fix=f"pass `--sample-of {word(found.column)}`, if equal ones are samples of one rollout",
    )


def unscored_as_zero(ledger: GroupLedger) -> Hits | None:
    """Reward 0 exactly where every reward function said nothing."""
    if (
        not ledger.num_unscored
        or ledger.num_zero_unscored < ledger.num_unscored
        or ledger.first_unscored is None
    ):
        return None
    path, row = ledger.first_unscored
    names = ", ".join(f"`{name}`" for name in ledger.functions)
    message = (
        f"the reward is 0 wherever {names} {'is' if len(ledger.functions) == 1 else 'are all'} null or NaN, "
        f"in {ledger.num_unscored:,} of {ledger.num_responses:,} responses"
    )
    return Hits(ledger.num_unscored, message, row, f"row {row}", str(path), unit="response")


def _of_groups(ledger: GroupLedger, groups: Sequence[ResponseGroup], what: str) -> Hits | None:
    """`12 of 40 groups (30%) have one score throughout`"""
    if not groups:
        return None
    first = groups[0]
    share = 100 * len(groups) / len(ledger.groups)
    message = f"{len(groups):,} of {len(ledger.groups):,} groups ({share:.3g}%) {what}"
    return Hits(len(groups), message, first.row, f"row {first.row}", str(first.file), unit="group")


RULES = (
    CheckRule(
        "GAE600",
        "response-log",
        "note",
        "groups",
        recognised,
        summary="the file is a log of responses that a library wrote, and is checked as one",
        why="nothing was said of groups and rewards, and `gae compute` would ask about them",
        fix="`gae inspect FILE` shows the command that such a file takes",
    ),
    CheckRule(
        "GAE601",
        "zero-variance-groups",
        "note",
        "groups",
        zero_variance,
        summary="all responses of a group have one score",
        why="their advantage is 0, so that they cost a generation and teach nothing; a share that grows over "
        "training says that prompts are too easy, or too hard",
        fix="filter such prompts or sample more of each; nothing has to be done for the numbers to be right",
        bugs=("huggingface/trl#7068", "huggingface/trl#6365"),
    ),
    CheckRule(
        "GAE602",
        "singleton-groups",
        "warning",
        "groups",
        singletons,
        summary="a group has a single response",
        why="libraries disagree about what it gets: 0, its score, or an error (`--singleton`); where most groups are "
        "like that, the column does not tell prompts",
        fix="name the column that is equal for responses to one prompt with `--group-column`, or give the files with "
        "the other responses in the same command",
    ),
    CheckRule(
        "GAE603",
        "split-rollouts",
        "warning",
        "groups",
        split_rollouts,
        summary="one rollout stands in several rows of its group, each with its score",
        why="a rollout that was split into k samples counts k times in mean and standard deviation of its group",
        fix="pass `--sample-of COLUMN` with the column that tells rollouts apart",
        bugs=(
            "microsoft/agent-lightning#445",
            "microsoft/agent-lightning#462",
            "microsoft/agent-lightning#489",
        ),
    ),
    CheckRule(
        "GAE604",
        "unscored-as-zero",
        "warning",
        "groups",
        unscored_as_zero,
        summary="the reward is 0 exactly where no reward function gave one",
        why="a sum that leaves missing rewards out is 0 where all are missing: what could not be scored is then "
        "compared as the worst answer",
        fix="leave such rows out or make their reward null, and pass `--on-nan drop-episode` or `--unscored zero`",
        bugs=("huggingface/trl#5773",),
    ),
    CheckRule(
        "GAE605",
        "unequal-groups",
        "note",
        "groups",
        unequal_sizes,
        summary="groups have different numbers of responses",
        why="a log that was cut, or two equal prompts in one batch, makes groups smaller or larger than the number "
        "of generations; a library that groups by position then mixes prompts",
        fix="nothing, if responses were filtered; else add the column that tells batches apart, such as the training "
        "step, with a second `--group-column`",
        bugs=("PrimeIntellect-ai/prime-rl#600",),
    ),
    CheckRule(
        "GAE606",
        "mixed-prompts",
        "warning",
        "groups",
        mixed_prompts,
        summary="a group holds responses to different prompts",
        why="groups that were cut by position are wrong from the first row on that is missing: scores are then "
        "compared across prompts",
        fix="name the column of the prompt itself with `--group-column`",
        bugs=("PrimeIntellect-ai/prime-rl#600",),
    ),
    CheckRule(
        "GAE607",
        "spread-groups",
        "note",
        "groups",
        spread_groups,
        summary="a group has responses in several files",
        why="computed file by file, each part is compared with itself alone",
        fix="give all files in one command, as here",
    ),
    CheckRule(
        "GAE608",
        "mixed-steps",
        "warning",
        "groups",
        mixed_steps,
        summary="a group holds responses of several steps of training",
        why="a prompt that comes again at another step is answered by another policy: scores are then compared "
        "across policies, and what a better one says looks better than it is",
        fix="add the column of the training step with a second `--group-column`",
    ),
)
