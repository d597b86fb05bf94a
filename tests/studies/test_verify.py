"""`gae verify` on columns that other conventions made, each by a plain loop of its own, with random γ and λ."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from covers import turns
from parity.loops import brax, finite_horizon, skrl_2
from studies.made_columns import LIKE, NUM_ENVS, NUM_STEPS, Rollout, gamma_and_lam, torchrl_like

from gaecli.commands.verify import verify
from gaecli.errors import DataError, FileError, UsageError
from gaecli.settings import Settings
from gaecli.studies import sampling


@pytest.mark.few(2)
@pytest.mark.parametrize(("seed", "library"), turns(range(2), LIKE))
def test_libraries_are_identified_with_random_gamma_and_lam(tmp_path, library, seed):
    gamma, lam = gamma_and_lam(seed)
    path = Rollout(seed).write(tmp_path / "r.parquet", LIKE[library](Rollout(seed), gamma, lam))
    found = verify(path, "adv")
    assert found.is_reproduced
    assert found.exit_code == 0
    assert library in [found.best.presets[0], *found.equivalent]
    assert "cleanrl" not in [found.best.presets[0], *found.equivalent]
    assert found.best.gamma == pytest.approx(gamma, abs=1e-6)
    assert found.best.lam == pytest.approx(lam, abs=1e-5)
    assert found.best.max_error < 1e-4


@pytest.mark.few(3)
@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (0.997, 0.9), (1.0, 1.0), (0.9, 0.0), (0.0, 0.0)])
def test_round_numbers_are_found_round(tmp_path, gamma, lam):
    path = Rollout(5).write(tmp_path / "r.parquet", torchrl_like(Rollout(5), gamma, lam))
    found = verify(path, "adv", preset="torchrl")
    assert found.is_reproduced
    assert found.best.gamma == gamma
    if gamma:
        assert found.best.lam == lam
    assert found.best.is_lam_determined == (gamma > 0)


@pytest.mark.few(2)
@pytest.mark.parametrize(("library", "ddof"), turns(LIKE, [0, 1]))
def test_whitened_columns_are_recognised(tmp_path, library, ddof):
    seed = len(library) + ddof  # each with numbers of its own
    gamma, lam = gamma_and_lam(seed)
    raw = np.asarray(LIKE[library](Rollout(seed), gamma, lam), np.float64)
    whitened = (raw - raw.mean()) / (raw.std(ddof=ddof) + 1e-8)
    found = verify(Rollout(seed).write(tmp_path / "r.parquet", whitened), "adv")
    assert found.is_reproduced
    assert library in [found.best.presets[0], *found.equivalent]
    assert (found.best.gamma, found.best.lam) == (
        pytest.approx(gamma, abs=1e-4),
        pytest.approx(lam, abs=1e-4),
    )
    assert found.best.scale == pytest.approx(raw.std(ddof=ddof), rel=1e-4)
    assert found.best.shift == pytest.approx(raw.mean(), abs=1e-4 * raw.std())
    assert "normalised over all rows" in found.normalization
    assert "--normalize all" in found.flags


@pytest.mark.parametrize("seeds", [range(4), pytest.param(range(4, 12), marks=pytest.mark.slow)], ids=str)
def test_whitened_columns_are_reproduced_to_the_last_rows(tmp_path, seeds):
    """Scale and shift are fitted together with γ and λ: what is linear alone misses a row here and there."""
    for seed in seeds:
        raw = torchrl_like(Rollout(seed), *gamma_and_lam(seed))
        path = Rollout(seed).write(tmp_path / "r.parquet", (raw - raw.mean()) / raw.std())
        assert verify(path, "adv", preset="torchrl").is_reproduced, seed


@pytest.mark.turns
@pytest.mark.parametrize("is_whitened", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_a_large_minority_of_other_rows_does_not_draw_the_fit_away(tmp_path, seed, is_whitened):
    """Three rows in eight were computed with another γ and λ, and are three times as large."""
    gamma, lam = gamma_and_lam(seed)
    column = torchrl_like(Rollout(seed), gamma, lam)
    other = 3 * torchrl_like(Rollout(seed), 0.6, 0.2)
    column[0], column[1, :45] = other[0], other[1, :45]
    if is_whitened:
        column = (column - column.mean()) / column.std()
    found = verify(Rollout(seed).write(tmp_path / "r.parquet", column), "adv", preset="torchrl")
    assert found.best.gamma == pytest.approx(gamma, abs=1e-4)
    assert found.best.lam == pytest.approx(lam, abs=1e-3)
    assert found.best.num_deviating <= NUM_STEPS + 45


@pytest.mark.parametrize("memory_bytes", [1 << 30, 1 << 20])
def test_trajectories_that_run_on_from_file_to_file(tmp_path, memory_bytes):
    """Three shards of one stream, each with all environments; episodes go on in the next."""
    rollout = Rollout(12, end_rate=0.02)
    column = torchrl_like(rollout, 0.97, 0.9).astype(np.float32)
    column[1, 50] += 0.5
    names = ("rewards", "values", "following", "terminated", "truncated")
    for index, steps in enumerate((slice(0, 30), slice(30, 60), slice(60, 90))):
        part = {name: getattr(rollout, name)[:, steps].reshape(-1) for name in names}
        table = pa.table(
            {
                "env_id": np.repeat(np.arange(NUM_ENVS), 30),
                "reward": part["rewards"],
                "value": part["values"],
                "next_value": part["following"],
                "terminated": part["terminated"],
                "truncated": part["truncated"],
                "adv": column[:, steps].reshape(-1),
            }
        )
        pq.write_table(table, tmp_path / f"part-{index:05d}-of-00003.parquet", row_group_size=50)
    found = verify(tmp_path, "adv", preset="torchrl", memory_bytes=memory_bytes)
    assert (found.best.gamma, found.best.lam) == (0.97, 0.9)
    assert found.best.num_rows == NUM_ENVS * NUM_STEPS
    (deviation,) = found.deviations
    assert deviation.first_row == 120 + 30 + 20  # the second file, environment 1, step 50 - 30


@pytest.mark.parametrize("preset", ["torchrl", pytest.param(None, marks=pytest.mark.slow)])
def test_lists_are_verified_item_by_item(tmp_path, preset):
    rollout = Rollout(13)
    column = torchrl_like(rollout, 0.9, 0.7)
    lists = {"reward": [], "value": [], "terminated": [], "bootstrap_value": [], "adv": []}
    for env in range(NUM_ENVS):
        ends = np.flatnonzero(rollout.terminated[env] | rollout.truncated[env])
        for start, stop in zip([0, *(ends + 1)], [*(ends + 1), NUM_STEPS], strict=True):
            if start < stop:
                lists["reward"].append(rollout.rewards[env, start:stop].tolist())
                lists["value"].append(rollout.values[env, start:stop].tolist())
                lists["terminated"].append(bool(rollout.terminated[env, stop - 1]))
                lists["bootstrap_value"].append(float(rollout.following[env, stop - 1]))
                lists["adv"].append(column[env, start:stop].tolist())
    lists["adv"][7][0] += 1.0
    pq.write_table(pa.table(lists), tmp_path / "lists.parquet", row_group_size=5)
    found = verify(tmp_path / "lists.parquet", "adv", preset=preset)
    assert (found.best.gamma, found.best.lam) == (0.9, 0.7)
    assert [deviation.first_row for deviation in found.deviations] == [7]


def test_a_whitening_with_constants_from_elsewhere_is_told(tmp_path):
    raw = torchrl_like(Rollout(1), 0.9, 0.8)
    found = verify(Rollout(1).write(tmp_path / "r.parquet", (raw - 7) / 3), "adv")
    assert found.is_reproduced
    assert found.best.scale == pytest.approx(3, rel=1e-5)
    assert found.best.shift == pytest.approx(7, rel=1e-5)
    assert "not with the mean and std of these rows" in found.normalization


def verl_like(rewards, values, mask, gamma, lam):
    """Masked tokens carry the state of the recursion through; whitened over kept tokens."""
    batch, length = rewards.shape
    advantages = np.zeros((batch, length))
    next_values, last = np.zeros(batch), np.zeros(batch)
    for t in reversed(range(length)):
        delta = rewards[:, t] + gamma * next_values - values[:, t]
        now = delta + gamma * lam * last
        next_values = values[:, t] * mask[:, t] + (1 - mask[:, t]) * next_values
        last = now * mask[:, t] + (1 - mask[:, t]) * last
        advantages[:, t] = last
    kept = advantages[mask == 1]
    return (advantages - kept.mean()) / np.sqrt(kept.var(ddof=1) + 1e-8), advantages


@pytest.mark.few(1)
@pytest.mark.parametrize(("seed", "is_whitened"), turns(range(2), [True, False]))
def test_verl_with_a_mask_is_identified(tmp_path, seed, is_whitened):
    random = np.random.default_rng(seed)
    gamma, lam = (1.0, 1.0) if seed == 0 else gamma_and_lam(seed)
    shape = (24, 30)
    mask = (random.random(shape) < 0.75).astype(np.int64)
    mask[:, 0] = 1
    rewards, values = random.normal(size=shape) * mask, random.normal(size=shape)
    whitened, raw = verl_like(rewards, values, mask, gamma, lam)
    arrays = {"token_level_rewards": rewards, "values": values, "response_mask": mask}
    arrays |= {"advantages": (whitened if is_whitened else raw).astype(np.float32)}
    np.savez(tmp_path / "batch.npz", **arrays)
    found = verify(tmp_path / "batch.npz", "advantages", Settings(layout="batch-major"))
    assert found.is_reproduced
    assert "verl" in [found.best.presets[0], *found.equivalent]
    # With γ = λ = 1 the sums telescope: what happens at masked tokens makes no difference.
    others = {"openrlhf", "slime", "trl"} & {found.best.presets[0], *found.equivalent}
    assert bool(others) == (gamma == lam == 1.0)
    assert found.best.gamma == pytest.approx(gamma, abs=1e-4)
    assert found.best.lam == pytest.approx(lam, abs=1e-4)
    assert found.best.is_affine == is_whitened
    if is_whitened:
        assert "ddof 1" in found.normalization


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("convention", "is_whitened"),
    turns([("brax", brax), ("finite-horizon", finite_horizon), ("skrl-2.0", skrl_2)], [True, False]),
)
def test_other_recursions_are_searched_for(tmp_path, convention, is_whitened):
    preset, loop = convention
    rollout = Rollout(9)
    gamma, lam = 0.93, 0.81
    rows = []
    for env in range(NUM_ENVS):
        names = ("rewards", "values", "following", "terminated", "truncated")
        lists = [getattr(rollout, name)[env].tolist() for name in names]
        rows.append(np.asarray(loop(*lists, gamma, lam)[0], np.float64))
    raw = np.stack(rows)
    column = (raw - raw.mean()) / raw.std() if is_whitened else raw
    found = verify(rollout.write(tmp_path / "r.parquet", column), "adv")
    assert found.is_reproduced
    assert preset in found.best.presets
    assert found.best.gamma == pytest.approx(gamma, abs=1e-4)
    assert found.best.lam == pytest.approx(lam, abs=1e-4)


SB3_SAMPLES = [
    ("cartpole.parquet", "expected/cartpole.parquet"),
    pytest.param("pendulum.parquet", "expected/pendulum.parquet", marks=pytest.mark.slow),
    pytest.param("cartpole_TN.npz", "expected/cartpole_TN.npz", marks=pytest.mark.slow),
    ("pendulum_TN.npz", "expected/pendulum_TN.npz"),
    ("sb3_rollout_buffer_cartpole.npz", "expected/cartpole_TN.npz"),
]


@pytest.mark.few(2)
@pytest.mark.parametrize(("name", "expected"), SB3_SAMPLES)
def test_the_numbers_of_stable_baselines3_itself(sample_data, name, expected):
    found = verify(sample_data / name, "advantage", column_source=sample_data / expected)
    assert found.is_reproduced
    assert "sb3" in [found.best.presets[0], *found.equivalent]
    assert (found.best.gamma, found.best.lam) == (0.99, 0.95)


def test_what_gae_compute_writes_is_verified(run_gae, copy_sample):
    path = copy_sample("cartpole.parquet")
    run_gae("compute", path, "--preset", "rl-games", "-g", "0.97", "-l", "0.6", "--bootstrap", "current")
    document = json.loads(run_gae("verify", path, "--json").stdout)
    assert document["is_reproduced"]
    best = document["attempts"][0]
    assert best["presets"][0] == "rl-games"
    assert (best["gamma"], best["lam"]) == (0.97, 0.6)


def test_rows_that_leave_gamma_open_say_so(tmp_path):
    """Without values only the product γλ can be seen."""
    rollout = Rollout(3)
    rollout.values[:] = 0
    rollout.following[:] = 0
    path = rollout.write(tmp_path / "r.parquet", torchrl_like(rollout, 0.99, 0.9))
    found = verify(path, "adv")
    assert found.is_reproduced
    assert not found.best.is_gamma_determined
    assert not found.best.is_lam_determined
    assert found.best.gamma * found.best.lam == pytest.approx(0.99 * 0.9, abs=1e-6)


@pytest.mark.parametrize(
    ("column", "why"), [("nope", "`nope` not found"), ("terminated", "--advantage-column")]
)
def test_a_column_that_cannot_be_verified(tmp_path, column, why):
    """Flags are labels, of numbers that are not there."""
    path = Rollout(3).write(tmp_path / "r.parquet", np.zeros((NUM_ENVS, NUM_STEPS)), name="numbers")
    with pytest.raises(UsageError) as caught:
        verify(path, column)
    assert why in f"{caught.value.message} {caught.value.hint}"


def test_a_column_of_another_length(tmp_path, sample_data):
    with pytest.raises(DataError, match="750"):
        verify(
            sample_data / "cartpole.parquet",
            "advantage",
            column_source=sample_data / "expected" / "pendulum.parquet",
        )


def as_npz(path, columns):
    np.savez(path, **columns)


def as_parquet(path, columns):
    pq.write_table(pa.table({name: rows.tolist() for name, rows in columns.items()}), path)


def as_arrow(path, columns):
    table = pa.table({name: rows.tolist() for name, rows in columns.items()})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def as_json_lines(path, columns):
    rows = [
        dict(zip(columns, row, strict=True))
        for row in zip(*map(np.ndarray.tolist, columns.values()), strict=True)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


WRITERS = [("r.npz", as_npz), ("r.parquet", as_parquet), ("r.arrow", as_arrow), ("r.jsonl", as_json_lines)]


@pytest.mark.few(2)
@pytest.mark.parametrize(("writer", "is_beside"), turns(WRITERS, [False, True]))
def test_steps_count_for_the_memory_not_the_rows_that_hold_them(tmp_path, monkeypatch, writer, is_beside):
    """Three rows of 400 steps: where all are held at once, at 500 bytes each they fit into 600,000 and no less."""
    name, write = writer
    shape = (3, 400)
    rewards, values = np.random.default_rng(0).normal(size=(2, *shape))
    columns = {"rewards": rewards, "values": values, "terminated": np.zeros(shape, bool)}
    columns["terminated"][:, -1] = True
    columns["adv"] = rewards - values  # λ = 0 and γ = 0
    path, beside = tmp_path / name, tmp_path / f"beside-{name}"
    write(beside, {"adv": columns["adv"], "rewards": rewards})
    write(path, {key: column for key, column in columns.items() if key != "adv" or not is_beside})
    settings = Settings(layout="batch-major" if name.endswith("npz") else "auto")
    source = beside if is_beside else None
    sized = partial(verify, path, "adv", settings, column_source=source, preset="exact")
    assert sized(memory_bytes=100_000).is_reproduced
    monkeypatch.setattr(sampling, "SEARCH_STEPS", 800)
    streams = {
        "stream": ("a=rewards,values,0.0,0.0", "b=rewards,values,0.0,0.0,weight=0")
    }  # they may never end
    assert sized(memory_bytes=600_000, tested=streams).is_reproduced
    with pytest.raises(UsageError, match="with 1,200 steps takes more than `--memory`"):
        sized(memory_bytes=599_999, tested=streams)


def test_a_file_that_cannot_be_read_is_told_before_a_column_that_is_not_there(tmp_path):
    rollout, other = tmp_path / "r.parquet", tmp_path / "other.parquet"
    rollout.write_bytes(b"PAR1 no more")
    Rollout(3).write(other, np.zeros((NUM_ENVS, NUM_STEPS)))
    with pytest.raises(FileError, match=r"r\.parquet"):
        verify(rollout, "nonsense", column_source=other)


class TestCommand:
    @pytest.mark.parametrize(
        ("columns", "is_right", "flags"), [("60", False, ()), ("120", True, ("--preset", "torchrl"))]
    )
    def test_exit_code_and_page(self, run_gae, tmp_path, columns, is_right, flags):
        rollout = Rollout(2)
        column = torchrl_like(rollout, 0.99, 0.95)
        column[0, 5] += 0.0 if is_right else 1.0
        path = rollout.write(tmp_path / "r.parquet", column)
        command = ("verify", path.name, "--against", "adv", *flags)
        result = run_gae(*command, cwd=tmp_path, env={"COLUMNS": columns})
        assert result.returncode == (0 if is_right else 3)
        assert max(map(len, result.stdout.splitlines())) <= int(columns)
        words = " ".join(result.stdout.split())
        assert ("first at row 5," in words) != is_right
        assert ("✓ reproduced" in words) == is_right

    def test_quiet_says_it_by_the_exit_code(self, run_gae, sample_data):
        path = sample_data / "cartpole.parquet"
        against = ("--against-file", sample_data / "expected" / "cartpole.parquet")
        result = run_gae("verify", path, "-q", "--preset", "sb3", *against)
        assert (result.returncode, result.stdout) == (0, "")
        only = run_gae("verify", path, "-q", "--preset", "cleanrl", *against)
        assert (only.returncode, only.stdout) == (3, "")
