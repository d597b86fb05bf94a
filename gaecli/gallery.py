"""What pictures of rollouts are drawn from: plain numbers, bounded in size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gaecli.records import dataclass


@dataclass(frozen=True)
class EpisodeStrip:
    """One episode, step by step; the beginning of it where it is long."""

    #: Row of its first step.
    row: int
    length: int
    end: str
    rewards: Sequence[float]
    values: Sequence[float]
    advantages: Sequence[float]
    returns: Sequence[float]


@dataclass(frozen=True)
class Gallery:
    """What pictures of rollouts are drawn from. Samples are evenly spread rows."""

    #: "reward", "value", "advantage", "return".
    samples: Mapping[str, Sequence[float]]
    num_rows: int
    #: Entry i of all samples is of the same row.
    is_aligned: bool
    #: Rewards of an episode summed, in the order of the files; evenly spread episodes.
    episode_rewards: Sequence[float]
    num_episodes: int
    strip: EpisodeStrip | None = None
