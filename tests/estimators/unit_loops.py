"""Rollouts with turns, and estimates over them by loops over plain lists: nothing of gaecli."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Columns = dict[str, np.ndarray]


def a_rollout(rng: np.random.Generator, *, time_major: bool, masked: bool) -> Columns:
    """Rows in the order of time, of environments in any order; turns within and over gaps, some of one row."""
    num_envs, count = int(rng.integers(1, 5)), int(rng.integers(5, 80))
    if time_major:
        envs = np.tile(np.arange(num_envs), -(-count // num_envs))
    else:
        envs = rng.integers(0, num_envs, count)
        envs = np.sort(envs) if rng.random() < 0.4 else envs
    count = len(envs)
    ended = rng.random(count) < rng.choice([0.02, 0.1, 0.3])
    is_terminal = rng.random(count) < 0.5
    truncated = ended & ~is_terminal
    share = rng.choice([0.1, 0.5, 0.9])
    turns = np.zeros(count, np.int64)
    for env in range(num_envs):
        rows = np.flatnonzero(envs == env)
        turns[rows] = np.cumsum(rng.random(len(rows)) < share) + rng.integers(0, 3)
        if rng.random() < 0.3:  # ids that come back
            turns[rows] %= 3
    inside = rng.random(count) < rng.choice([1.0, 0.9, 0.5])
    if rng.random() < 0.4:
        gap = int(rng.integers(0, count))
        inside[gap : gap + count // 4] = False
    rewards = rng.normal(size=count)
    if rng.random() < 0.25:
        rewards[rng.integers(0, count)] = np.nan
    return {
        "env_id": envs,
        "reward": rewards,
        "value": rng.normal(size=count),
        "terminated": ended & is_terminal,
        "truncated": truncated,
        "next_value": np.where(truncated & (rng.random(count) < 0.7), rng.normal(size=count), np.nan),
        "turn": turns,
        "ends": rng.random(count) < share,
        "inside": inside,
        "kept": rng.random(count) < (rng.choice([0.95, 0.5]) if masked else 1.0),
        "ratio": rng.exponential(size=count),
    }


def trajectories(columns: Columns, by: str) -> Iterator[tuple[list[list[int]], int]]:
    """(rows of each turn, last row) of each trajectory without NaN, which is left out as a whole."""
    for rows in _episodes(columns):
        kept = [row for row in rows if columns["kept"][row]]
        if not np.isnan(columns["reward"][kept]).any():
            yield turns_of(columns, rows, by), rows[-1]


def _episodes(columns: Columns) -> Iterator[list[int]]:
    for env in np.unique(columns["env_id"]):
        rows: list[int] = []
        for row in np.flatnonzero(columns["env_id"] == env).tolist():
            rows.append(row)
            if columns["terminated"][row] or columns["truncated"][row]:
                yield rows
                rows = []
        if rows:
            yield rows


def turns_of(columns: Columns, rows: list[int], by: str) -> list[list[int]]:
    found: list[list[int]] = []
    before = None
    for row in rows:
        if not columns["inside"][row]:
            continue
        if by == "id":
            begins = before is None or columns["turn"][row] != columns["turn"][before]
        else:
            begins = before is None or bool(columns["ends"][before])
        if begins:
            found.append([])
        if columns["kept"][row]:
            found[-1].append(row)
        before = row
    return [turn for turn in found if turn]


def over_turns(columns: Columns, by: str, settings: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, int]:
    """(A, R, turns), NaN in no turn."""
    advantages, returns = np.full((2, len(columns["reward"])), np.nan)
    count = 0
    for turns, end in trajectories(columns, by):
        count += len(turns)
        if not turns:
            continue
        found = _of_trajectory(columns, turns, end, settings)
        for turn, advantage, result in zip(turns, *found, strict=True):
            if settings.get("turn_gamma") is None:
                advantages[turn], returns[turn] = advantage, result
            else:
                _within(columns, turn, result, settings, advantages, returns)
    return advantages, returns, count


def _of_trajectory(
    columns: Columns, turns: list[list[int]], end: int, settings: dict[str, Any]
) -> tuple[list[float], list[float]]:
    """(A, R) of each turn."""
    at = 0 if settings["unit_value"] == "first" else -1
    rewards = [float(sum(columns["reward"][row] for row in turn)) for turn in turns]
    if settings["unit_reward"] == "mean":
        rewards = [reward / len(turn) for reward, turn in zip(rewards, turns, strict=True)]
    values = [float(columns["value"][turn[at]]) for turn in turns]
    beyond = float(columns["next_value"][end])
    if columns["terminated"][end]:
        beyond = 0.0
    elif np.isnan(beyond):
        beyond = values[-1] if settings["bootstrap"] == "current" else 0.0
    gamma = settings.get("turn_gamma") or settings["gamma"]
    lam, last = settings.get("lam", 1.0), len(turns) - 1
    if settings.get("lam_retain") is not None:
        lam = settings["lam_retain"] ** (1 / last) if last else 1.0
    following = [*values[1:], beyond]
    estimator = settings["estimator"]
    if estimator == "n-step":
        returns = [_n_step(rewards, following, k, gamma, settings["n_steps"]) for k in range(last + 1)]
        return [result - value for result, value in zip(returns, values, strict=True)], returns
    advantages, returns, later = [0.0] * len(turns), [0.0] * len(turns), 0.0
    for k in range(last, -1, -1):
        delta = rewards[k] + gamma * following[k] - values[k]
        if estimator == "mc":
            later = rewards[k] + gamma * (later if k < last else beyond)
            advantages[k] = returns[k] = later
        elif estimator == "vtrace":
            ratio = min(float(np.prod(columns["ratio"][turns[k]])), 1.0)
            advantages[k] = ratio * (delta + gamma * lam * later)
            later = ratio * (delta + gamma * lam * later)
            returns[k] = values[k] + later
        else:
            later = delta + gamma * lam * later
            advantages[k], returns[k] = later, later + values[k]
    return advantages, returns


def _n_step(rewards: list[float], following: list[float], k: int, gamma: float, n: int) -> float:
    total, weight, stop = 0.0, 1.0, min(k + n, len(rewards))
    for j in range(k, stop):
        total += weight * rewards[j]
        weight *= gamma
    return total + weight * following[stop - 1]


def _within(
    columns: Columns,
    turn: list[int],
    result: float,
    settings: dict[str, Any],
    advantages: np.ndarray,
    returns: np.ndarray,
) -> None:
    """GAE over the rows of a turn, which ends with its return."""
    values, later = columns["value"], 0.0
    for index in range(len(turn) - 1, -1, -1):
        row = turn[index]
        if index + 1 == len(turn):
            later = result - float(values[row])
        else:
            delta = settings["gamma"] * float(values[turn[index + 1]]) - float(values[row])
            later = delta + settings["gamma"] * settings["lam"] * later
        advantages[row], returns[row] = later, later + float(values[row])
