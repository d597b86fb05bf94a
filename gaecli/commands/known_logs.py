"""Groups that are asked for and not named, of a file that says which they are: the command that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gaecli.errors import GaeError, UsageError
from gaecli.group_settings import GroupsNeededError, weighed_rewards
from gaecli.response_logs import ResponseLog, ResponseLogError, likely, recognise
from gaecli.settings import Settings
from gaecli.sources.inputs import plan_streams
from gaecli.storage.pipes import PIPE
from gaecli.storage.schemes import uri_of


def with_command(
    error: GroupsNeededError,
    command: str,
    sources: Sequence[str],
    typed: Sequence[str],
    estimators: str,
    presets: str | None,
    rewards: str | Sequence[str] | None,
) -> UsageError:
    """The error with what the first input takes, where that is a file on this machine, and one of responses.

    Args:
        command: the command that was typed, such as `gae sweep`.
        typed: what it was told beside the inputs, the rewards and the groups.
        estimators, presets, rewards: as they were typed; None: those of the log.
    """
    if not sources or str(sources[0]) == PIPE or uri_of(sources[0]) is not None:
        return error
    try:
        plan = plan_streams(list(sources[:1]), None)[0]
        file = plan.open(plan.paths[0])
        known = recognise(file)
        log = known or likely(file)
    except (GaeError, OSError, MemoryError):  # told once the groups are named
        return error
    if log is None or not _takes(log, error.estimator):
        return error
    log = replace(log, estimator=estimators, preset=presets or log.preset)
    if rewards:
        weights, _ = weighed_rewards(rewards)
        log = replace(log, rewards=tuple(weights), weights={n: w for n, w in weights.items() if w != 1})
    message, lead = f"{error.message}; `{file.path}` looks like {log.name}: {log.says}", None
    if known is None:
        message, lead = error.message, f"{error.hint}; where `{log.group[-1]}` is that column,"
    return ResponseLogError.of(message, log, sources[0], lead).of_command(command, [*sources[1:], *typed])


def _takes(log: ResponseLog, estimator: str) -> bool:
    """Nothing else is missing than what the command says."""
    if not log.can_be_computed:
        return True
    try:
        replace(log, estimator=estimator).settings(Settings())
    except UsageError:
        return False
    return True
