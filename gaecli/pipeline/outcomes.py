"""What all blocks together say of the success of episodes, and what each block is told of it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from gaecli.datasets.lerobot_success import check_agreement
from gaecli.errors import UsageError
from gaecli.label_summary import SuccessSummary
from gaecli.labels.outcomes import EpisodeOutcomes, Outcomes, SuccessRule, linked
from gaecli.pipeline.blocks import BlockSummary
from gaecli.pipeline.combine import Combined
from gaecli.pipeline.opening import OpenStream
from gaecli.settings import Settings


def outcomes_known(opened: OpenStream, summaries: Sequence[BlockSummary], combined: Combined) -> OpenStream:
    """The stream with rewards of its own, by the longest episode of those that are known so far."""
    check_agreement([one.file for one in opened.files])
    parts = [summary.parts for summary in summaries if summary.parts is not None]
    tally, outcomes = linked(parts, combined.successors)
    settings = opened.settings
    changing = tally.flagged - tally.at_end
    if changing and settings.success_at is None:
        raise UsageError(
            f"`{settings.success_column}` of `{opened.plan.paths[0]}` is set within {changing:,} "
            f"{'episode' if changing == 1 else 'episodes'} and not at the last step",
            hint="pass `--success-at any` if such an episode succeeded, or `--success-at last` if it did not",
        )
    by_file: list[dict[Hashable, Outcomes]] = [{} for _ in opened.files]
    for summary, one in zip(summaries, outcomes, strict=True):
        by_file[summary.address.file][summary.address] = one
    known = replace(opened, outcomes=[_of_file(opened, by_block) for by_block in by_file])
    return with_longest(known, max(opened.longest_episode, tally.longest))


def with_longest(opened: OpenStream, longest: int) -> OpenStream:
    """The same by the longest episode of all inputs."""
    assert opened.outcomes is not None
    told = [replace(one, rule=replace(one.rule, longest=longest)) for one in opened.outcomes]
    return replace(opened, outcomes=told, longest_episode=longest)


def _of_file(opened: OpenStream, by_block: dict[Hashable, Outcomes]) -> EpisodeOutcomes:
    settings = opened.settings
    rule = SuccessRule(settings.success_reward, settings.failure_cost or 0.0, 0)
    return EpisodeOutcomes(rule, settings.success_at == "any", by_block)


def success_summary(settings: Settings, longest: int, episodes: int, successes: int) -> SuccessSummary | None:
    """None where success makes no rewards."""
    if settings.success_column is None:
        return None
    rule = SuccessRule(settings.success_reward, settings.failure_cost or 0.0, longest)
    return SuccessSummary(
        settings.success_column,
        rule.name,
        settings.failure_cost,
        rule.longest,
        rule.scale if rule.name == "recap" else None,
        episodes,
        successes,
    )
