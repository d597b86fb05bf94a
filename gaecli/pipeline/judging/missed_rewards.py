"""Rewards that no advantage sees, because no step is where they stand: told, with what decides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gaecli.columns import Roles
from gaecli.errors import DataError
from gaecli.pipeline.blocks import BlockSummary
from gaecli.settings import Settings
from gaecli.summary import WarningNote

_MOVE = "pass `--masked-reward move` to give them to the last kept step before them"
_HINT = f"{_MOVE}, or `--mask-mode keep` if masked tokens are steps"


def missed_rewards(
    paths: Sequence[Path], roles: Roles, settings: Settings, summaries: Sequence[BlockSummary]
) -> list[WarningNote]:
    return [*_masked(paths, roles, settings, summaries), *_with_arrivals(paths, roles, settings, summaries)]


def _masked(
    paths: Sequence[Path], roles: Roles, settings: Settings, summaries: Sequence[BlockSummary]
) -> list[WarningNote]:
    count = sum(summary.facts.lost.masked for summary in summaries)
    if not count:
        return []
    first = next(summary for summary in summaries if summary.facts.lost.masked)
    path = paths[first.address.file]
    of_next = "of the next token " if settings.convention.mask_shift else ""
    by = f" by preset `{settings.preset}`" if settings.convention.mask_mode else ""
    one, many = "1 reward that is not 0 stands", f"{count:,} rewards that are not 0 stand"
    if settings.success_column is not None:
        one, many = "1 flag of success stands", f"{count:,} flags of success stand"
    they = one if count == 1 else many
    message = (
        f"{they} where `{roles.get('mask')}` {of_next}keeps no step, and {'is' if count == 1 else 'are'} left "
        f"out{by}: the first at {first.facts.lost.first_masked} of `{path}`"
    )
    hint = _MOVE if settings.mask_mode == "keep" else _HINT
    if settings.masked_reward == "error":
        raise DataError(f"{message.replace(' left out', ' to be left out', 1)}", hint=hint)
    return [
        WarningNote(
            "masked-rewards",
            message,
            str(path),
            count,
            hint=hint,
        )
    ]


def _with_arrivals(
    paths: Sequence[Path], roles: Roles, settings: Settings, summaries: Sequence[BlockSummary]
) -> list[WarningNote]:
    """Replay of Dreamer and DrQ: a row holds the reward that came with its observation, the first row none."""
    lost = [summary.facts.lost for summary in summaries]
    count, num_starts = sum(one.last for one in lost), sum(one.num_starts for one in lost)
    if settings.arrives or not count or not num_starts or any(one.starts for one in lost):
        return []
    first = next(summary for summary in summaries if summary.facts.lost.last)
    path = paths[first.address.file]
    num_last, last_name = sum(one.num_last for one in lost), roles.get("padding")
    message = (
        f"{count:,} of {num_last:,} rows with `{last_name}` carry a reward, and none of {num_starts:,} with "
        f"`{roles.get('first')}` does: rewards seem to stand beside the observation that they led to; those of the "
        f"last rows are left out, the first at {first.facts.lost.first_last} of `{path}`"
    )
    return [
        WarningNote(
            "arrival-rewards",
            message,
            str(path),
            count,
            hint="pass `--reward-at arrival`: the action in the row before such a reward earned it",
        )
    ]
