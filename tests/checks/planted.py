"""A clean rollout with a good critic, and the files in which one thing is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gaecli.diagnosis import Checkup, Finding

GAMMA = 0.99
NUM_ENVS = 2
EPISODES_PER_ENV = 12

Columns = dict[str, np.ndarray]


def clean_rollout(seed: int = 0) -> Columns:
    """Two environments one after the other; every third episode is truncated, the last one stays open.

    Values are the discounted returns and a little noise, so that every statistical rule has a
    critic to believe.
    """
    rng = np.random.default_rng(seed)
    parts: list[Columns] = []
    episode = 0
    for env in range(NUM_ENVS):
        time = 0
        for number in range(EPISODES_PER_ENV):
            length = int(rng.integers(12, 40)) + number  # no two of one length at the top
            end = (
                "open" if number == EPISODES_PER_ENV - 1 else "truncated" if number % 3 == 2 else "terminated"
            )
            parts.append(_episode(rng, env, episode, time, length, end))
            episode += 1
            time += length
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _episode(rng: np.random.Generator, env: int, episode: int, time: int, length: int, end: str) -> Columns:
    rewards = rng.normal(1.0, 0.5, length)
    beyond = 0.0 if end == "terminated" else rng.normal(40.0, 3.0)
    returns = np.zeros(length + 1)
    returns[-1] = beyond
    for step in range(length - 1, -1, -1):
        returns[step] = rewards[step] + GAMMA * returns[step + 1]
    values = returns + np.append(rng.normal(0, 0.05, length), 0.0)
    next_values = values[1:].copy()
    flags = np.zeros(length, bool)
    last = flags.copy()
    last[-1] = True
    return {
        "env_id": np.full(length, env, np.int32),
        "episode_id": np.full(length, episode, np.int32),
        "t": np.arange(time, time + length, dtype=np.int32),
        "reward": rewards.astype(np.float32),
        "value": values[:-1].astype(np.float32),
        "next_value": next_values.astype(np.float32),
        "terminated": last if end == "terminated" else flags,
        "truncated": last if end == "truncated" else flags,
    }


def without(columns: Mapping[str, np.ndarray], *names: str) -> Columns:
    return {name: values for name, values in columns.items() if name not in names}


def with_done(columns: Columns, *, at: str = "end") -> Columns:
    """One `done` column in the place of terminated and truncated."""
    done = columns["terminated"] | columns["truncated"]
    if at == "start":
        env = columns["env_id"]
        starts = np.concatenate(([True], done[:-1] | (env[1:] != env[:-1])))
        done = starts
    return {**without(columns, "terminated", "truncated", "next_value"), "done": done}


def rows(columns: Mapping[str, np.ndarray], which: np.ndarray) -> Columns:
    return {name: values[which] for name, values in columns.items()}


def write(path: Path, columns: Mapping[str, object], row_group_rows: int = 64) -> Path:
    """Small row groups, so that episodes cross blocks."""
    arrays = {
        name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()
    }
    pq.write_table(pa.table(arrays), path, row_group_size=row_group_rows)
    return path


def ends(columns: Columns, *kinds: str) -> np.ndarray:
    """Rows at which episodes end in these ways."""
    return np.flatnonzero(np.logical_or.reduce([columns[kind] for kind in kinds]))


def steps_in_episode(columns: Columns) -> np.ndarray:
    episode = columns["episode_id"]
    starts = np.concatenate(([True], episode[1:] != episode[:-1]))
    first = np.maximum.accumulate(np.where(starts, np.arange(len(episode)), 0))
    return (np.arange(len(episode)) - first).astype(np.int64)


@dataclass
class Examined:
    checkup: Checkup

    @property
    def codes(self) -> set[str]:
        return {finding.rule.code for finding in self.checkup.findings}

    def one(self, code: str) -> Finding:
        assert self.codes == {code}, [(f.rule.code, f.message) for f in self.checkup.findings]
        (finding,) = self.checkup.findings
        return finding
