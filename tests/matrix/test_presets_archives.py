"""Every preset on the arrays of its own library, by the names that they have there: right, or refused.

An archive is what a user of the library stores, without a flag beside `--preset`; the numbers are those of
the library's recurrence, a plain loop (`parity/loops.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parity.loops import SAID, STEP_LOOPS, arrival_rows
from parity.rollouts import Rollout, random_rollout
from parity.token_loops import TOKEN_LOOPS

import gaecli
from gaecli.errors import GaeError
from gaecli.presets import PRESETS
from gaecli.settings import Settings

Arrays = Mapping[str, np.ndarray]
#: What is written is float32.
TOLERANCE = {"rtol": 2e-6, "atol": 2e-6}
NUM_ENVS, NUM_STEPS = 3, 24
#: No episode ends with its first step, which start flags do; both kinds of end, and an end on a last step.
SEED = 27


def starts(r: Rollout) -> np.ndarray:
    found = np.zeros(r.shape, np.float32)
    found[:, 1:] = r.ended[:, :-1]
    return found


def states(cells: np.ndarray, first: float, dtype: Any = np.float32) -> np.ndarray:
    """[N, T + 1] of what each step leads to."""
    return np.concatenate((np.full((len(cells), 1), first), cells), axis=1).astype(dtype)


def values_of_states(r: Rollout) -> np.ndarray:
    return np.concatenate((r.values, r.following[:, -1:]), axis=1)


def encoded(r: Rollout, gamma: float) -> np.ndarray:
    """Rewards with γ V(final observation) at a time limit, as SB3 and users of RLax store them."""
    return np.where(r.truncated, r.rewards + gamma * r.following, r.rewards)


def time_major(**arrays: np.ndarray) -> dict[str, np.ndarray]:
    return {name: cells.T if cells.ndim == 2 else cells for name, cells in arrays.items()}


def column(arrays: Arrays) -> dict[str, np.ndarray]:
    """[T, N, 1], as skrl, RSL-RL and pytorch-a2c-ppo-acktr have it."""
    return {name: cells[..., None] if cells.ndim == 2 else cells for name, cells in arrays.items()}


def flat(**columns: np.ndarray) -> dict[str, np.ndarray]:
    return {name: cells.reshape(-1) for name, cells in columns.items()}


def env_ids(r: Rollout) -> np.ndarray:
    return np.repeat(np.arange(len(r.rewards)), r.rewards.shape[1])


def sb3(r: Rollout) -> Arrays:
    return time_major(
        rewards=encoded(r, 0.99),
        values=r.values,
        episode_starts=starts(r),
        last_values=r.last_values,
        last_dones=r.ended[:, -1],
    )


def cleanrl(r: Rollout) -> Arrays:
    more = {"next_value": r.last_values[None], "next_done": r.ended[:, -1]}
    return {**time_major(rewards=r.rewards, values=r.values, dones=starts(r)), **more}


def torchrl(r: Rollout) -> Arrays:
    return column(
        {
            "next.reward": r.rewards,
            "state_value": r.values,
            "next.state_value": r.following,
            "next.done": r.ended,
            "next.terminated": r.terminated,
            "next.truncated": r.truncated,
            # Of the state before the step; an automatic reset has cleared them.
            "done": r.ended & False,
            "terminated": r.ended & False,
            "truncated": r.ended & False,
        }
    )


def rllib(r: Rollout) -> Arrays:
    cut = r.ended.copy()
    cut[:, -1] = True
    number = np.concatenate(([0], np.cumsum(cut.reshape(-1))[:-1]))
    return {
        "eps_id": np.array([f"e{index}" for index in number]),
        **flat(
            rewards=r.rewards,
            vf_preds=r.values,
            values_bootstrapped=np.where(cut & ~r.terminated, r.following, 0.0),
            terminateds=r.terminated,
            truncateds=r.truncated,
        ),
    }


def rllib_old(r: Rollout) -> Arrays:
    arrays = {**rllib(r), "t": np.tile(np.arange(r.shape[1]), len(r.rewards))}
    arrays["agent_index"] = np.zeros(r.rewards.size, np.int64)
    return arrays


def tianshou(r: Rollout) -> Arrays:
    return {
        "env_id": env_ids(r),
        **flat(
            rew=r.rewards,
            v_s=r.values,
            v_s_=np.where(r.terminated, 0.0, r.following),
            terminated=r.terminated,
            truncated=r.truncated,
            done=r.ended,
        ),
    }


def rlax(r: Rollout) -> Arrays:
    gamma = Settings.from_preset("rlax").gamma
    return {
        "r_t": encoded(r, gamma)[0],
        "discount_t": np.where(r.ended, 0.0, gamma)[0].astype(np.float32),
        "values": values_of_states(r)[0],
    }


def spinup(r: Rollout) -> Arrays:
    return flat(rew_buf=r.rewards, val_buf=r.values)


def ppo2(r: Rollout) -> Arrays:
    return time_major(
        mb_rewards=r.rewards,
        mb_values=r.values,
        mb_dones=starts(r),
        last_values=r.last_values,
        last_dones=r.ended[:, -1],
    )


def ppo1(r: Rollout) -> Arrays:
    return {
        "rew": r.rewards[0],
        "vpred": r.values[0],
        "new": starts(r)[0].astype(np.int32),
        "nextvpred": np.array(0.0 if r.ended[0, -1] else r.following[0, -1]),
    }


def pufferlib(r: Rollout) -> Arrays:
    stored = [
        arrival_rows(row.tolist(), end.tolist()) for row, end in zip(r.rewards, r.terminated, strict=True)
    ]
    return {
        "rewards": np.array([row for row, _ in stored]),
        "values": r.values,
        "terminals": np.array([row for _, row in stored], np.float32),
        "truncations": np.zeros(r.shape, np.float32),
    }


def sample_factory(r: Rollout) -> Arrays:
    return {
        "rewards": r.rewards,
        "values": values_of_states(r),
        "dones": r.ended,
        "time_outs": r.truncated,
        "valids": np.ones((len(r.rewards), r.shape[1] + 1), bool),
    }


def rl_games(r: Rollout) -> Arrays:
    more = {"last_values": r.last_values[:, None], "fdones": r.ended[:, -1].astype(np.float32)}
    arrays = time_major(dones=starts(r).astype(np.uint8), time_outs=r.truncated)
    return {**column(time_major(rewards=r.rewards, values=r.values)), **arrays, **more}


def rsl_rl(r: Rollout) -> Arrays:
    return column(
        time_major(rewards=r.rewards, values=r.values, dones=r.ended.astype(np.uint8), time_outs=r.truncated)
    ) | {"last_values": r.last_values[:, None]}


def skrl(r: Rollout) -> Arrays:
    arrays = time_major(rewards=r.rewards, values=r.values, terminated=r.terminated, truncated=r.truncated)
    return column(arrays) | {"last_values": r.last_values[:, None]}


def brax(r: Rollout) -> Arrays:
    arrays = time_major(
        reward=r.rewards, values=r.values, discount=1.0 - r.ended, truncation=1.0 * r.truncated
    )
    return {**arrays, "bootstrap_value": r.following[:, -1]}


def brax_losses(r: Rollout) -> Arrays:
    arrays = time_major(
        rewards=r.rewards, values=r.values, termination=1.0 * r.terminated, truncation=1.0 * r.truncated
    )
    return {**arrays, "bootstrap_value": r.following[:, -1]}


def maniskill(r: Rollout) -> Arrays:
    arrays = time_major(
        rewards=r.rewards, values=r.values, dones=starts(r), final_values=np.where(r.ended, r.following, 0.0)
    )
    return {**arrays, "next_value": r.last_values[None], "next_done": r.ended[:, -1]}


def ikostrikov(r: Rollout) -> Arrays:
    return column(
        time_major(
            rewards=r.rewards,
            value_preds=values_of_states(r),
            masks=states(~r.ended, 1.0),
            bad_masks=states(~r.truncated, 1.0),
        )
    )


def mappo(r: Rollout) -> Arrays:
    """[T, N, agents, 1]: here one environment with an agent for each row of the rollout."""
    arrays = {name: cells[:, None] for name, cells in ikostrikov(r).items()}
    return {**arrays, "active_masks": np.ones_like(arrays["masks"])}


Ends = Callable[[Rollout], Rollout]


def all_terminal(r: Rollout) -> Rollout:
    return Rollout(r.rewards, r.values, r.following, r.ended, r.ended & False)


def all_cut(r: Rollout) -> Rollout:
    return Rollout(r.rewards, r.values, r.following, r.ended & False, r.ended)


def as_told(r: Rollout) -> Rollout:
    return r


#: (preset, its library's arrays, suffix, the rollout as those arrays know it)
ARCHIVES: list[tuple[str, Callable[[Rollout], Arrays], str, Ends]] = [
    ("sb3", sb3, ".npz", as_told),
    ("a2c", sb3, ".npz", as_told),
    ("cleanrl", cleanrl, ".npz", as_told),
    ("cleanrl-jax", cleanrl, ".npz", as_told),
    ("torchrl", torchrl, ".npz", as_told),
    ("rllib", rllib, ".parquet", as_told),
    ("rllib-old", rllib_old, ".parquet", as_told),
    ("tianshou", tianshou, ".parquet", as_told),
    ("tianshou", tianshou, ".npz", as_told),
    ("tianshou-npg", tianshou, ".parquet", as_told),
    ("rlax", rlax, ".npz", as_told),
    ("spinup", spinup, ".npz", as_told),
    ("baselines-ppo2", ppo2, ".npz", as_told),
    ("baselines-ppo1", ppo1, ".npz", as_told),
    ("pufferlib", pufferlib, ".npz", all_terminal),
    ("sample-factory", sample_factory, ".npz", as_told),
    ("rl-games", rl_games, ".npz", as_told),
    ("rsl-rl", rsl_rl, ".npz", as_told),
    ("skrl-1.4", skrl, ".npz", as_told),
    ("skrl-2.0", skrl, ".npz", as_told),
    ("skrl-2.1", skrl, ".npz", as_told),
    ("brax", brax, ".npz", as_told),
    ("brax", brax_losses, ".npz", as_told),
    ("finite-horizon", maniskill, ".npz", all_cut),
    ("ikostrikov", ikostrikov, ".npz", as_told),
    ("mappo", mappo, ".npz", as_told),
]
#: What its arrays hold is not enough, or cannot be read: asked, or refused.
ASKS = {
    "spinup",  # where a path ends, the buffer does not keep
}


def write(folder: Path, suffix: str, arrays: Arrays) -> Path:
    path = folder / f"rollout{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        pq.write_table(pa.table({name: pa.array(cells) for name, cells in arrays.items()}), path)
    return path


def read(path: Path, name: str) -> np.ndarray:
    found = np.load(path)[name] if path.suffix == ".npz" else pq.read_table(path)[name].to_numpy()
    return np.asarray(found, np.float64)


@pytest.mark.few(14)
@pytest.mark.parametrize(
    ("preset", "arrays", "suffix", "told"),
    ARCHIVES,
    ids=[f"{name}-{made.__name__}{at}" for name, made, at, _ in ARCHIVES],
)
def test_a_preset_reads_its_librarys_arrays(tmp_path, preset, arrays, suffix, told):
    rollout = told(random_rollout(SEED, NUM_ENVS, NUM_STEPS, end_rate=0.2))
    made = arrays(rollout)
    path = write(tmp_path, suffix, made)
    settings = Settings.from_preset(preset, **SAID.get(preset, {}))
    call = {"preset": preset, "normalize": "none", **SAID.get(preset, {})}
    if preset in ASKS:
        with pytest.raises(GaeError) as found:
            gaecli.compute(path, **call)
        assert found.value.exit_code in (2, 3)
        return
    gaecli.compute(path, **call)
    envs = [0] if next(iter(made.values())).size == NUM_STEPS else range(NUM_ENVS)
    rows = [STEP_LOOPS[preset](**rollout.env(env), gamma=settings.gamma, lam=settings.lam) for env in envs]
    for name, part in (("advantage", 0), ("return", 1)):
        expected = np.array([row[part] for row in rows])
        got = read(path, name)
        got = got.reshape(-1, len(envs)).T if _is_time_major(preset, made) else got.reshape(expected.shape)
        np.testing.assert_allclose(got, expected, **TOLERANCE, err_msg=name)


def _is_time_major(preset: str, made: Arrays) -> bool:
    return next(iter(made.values())).shape[:2] == (NUM_STEPS, NUM_ENVS) or preset == "mappo"


@pytest.mark.few(5)
@pytest.mark.parametrize("preset", TOKEN_LOOPS)
@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_a_preset_reads_its_librarys_tokens(tmp_path, preset, suffix):
    rng = np.random.default_rng(3)
    rewards, values = rng.normal(size=(2, 4, 9))
    mask = np.arange(9) < np.array([9, 7, 5, 8])[:, None]
    own = PRESETS[preset].names
    rewards, values = np.where(mask, rewards, 0), np.where(mask, values, 0)
    arrays = {own["reward"][0]: rewards, "values": values}
    if "mask" in own:
        arrays[own["mask"][0]] = mask
    else:
        arrays["padding_mask"] = ~mask
    path = tmp_path / f"rollout{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        pq.write_table(pa.table({name: list(cells) for name, cells in arrays.items()}), path)
    if "mask" not in own:
        with pytest.raises(GaeError, match="padding_mask") as found:
            gaecli.compute(path, preset=preset)
        assert found.value.exit_code == 2
        return
    gaecli.compute(path, preset=preset, normalize="none")
    settings = Settings.from_preset(preset)
    found_rows = (
        np.load(path)["advantage"] if suffix == ".npz" else pq.read_table(path)["advantage"].to_pylist()
    )
    for row, (got, kept) in enumerate(zip(found_rows, mask, strict=True)):
        expected, _ = TOKEN_LOOPS[preset](
            rewards[row].tolist(), values[row].tolist(), kept.tolist(), settings.gamma, settings.lam
        )
        np.testing.assert_allclose(np.array(got, np.float64)[kept], np.array(expected)[kept], **TOLERANCE)


#: Those whose arrays are made in `parity/test_presets_command.py`, and turns in `parity/test_presets_turns.py`.
ELSEWHERE = {
    *("purejaxrl", "stoix", "evorl", "elegantrl", "agilerl"),
    *("areal-turn", "agilerl-llm-turn", "vagen-bilevel"),
}


def test_every_preset_with_names_has_an_archive():
    named = {name for name, preset in PRESETS.items() if preset.names}
    assert named == {preset for preset, *_ in ARCHIVES} | set(TOKEN_LOOPS) | ELSEWHERE
