"""Real files: nothing is reported but what is truly in them."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev

import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.commands.check import check
from gaecli.settings import Settings

ROOT = Path(__file__).parents[2]
#: Files of other writers: a few in the repository, more of them where a checkout has them beside it.
SAMPLE_FOLDERS = [ROOT / "tests" / "data" / "samples", ROOT.parent / "shared" / "samples"]

#: The critics of these runs had hardly begun to learn: |V| < 0.5 where returns reach 250, or 12.
UNTRAINED = "GAE202"

SAMPLE_DATA = {
    "cartpole.parquet": set(),
    "cartpole_TN.npz": set(),
    "pendulum.parquet": {UNTRAINED},
    "pendulum_TN.npz": {UNTRAINED},
    "sb3_rollout_buffer_cartpole.npz": set(),
}

SAMPLES = {
    "sb3/sb3_pendulum_long.parquet": {UNTRAINED},
    "sb3/sb3_pendulum_long_timemajor.parquet": {UNTRAINED},
    "sb3/sb3_pendulum_TN_raw.npz": {UNTRAINED},
    # Every end is Pendulum's time limit, which Stable-Baselines3 turns into a termination.
    "sb3/sb3_pendulum_TN.npz": {UNTRAINED, "GAE005"},
    # LeRobot has one flag for both ends; these were CartPole with a limit of 25 steps.
    "lerobot/v30_state": {UNTRAINED, "GAE005"},
    "lerobot/v21_state": {UNTRAINED, "GAE005"},
    "minari/cartpole/parquet-v0": set(),
    "rlhf/verl_like_ragged.parquet": set(),
    "hf/sharded": {UNTRAINED},
    "misc/ragged_episodes.parquet": {UNTRAINED},
    "misc/torture_zstd.parquet": {UNTRAINED, "GAE203"},
}
SETTINGS = {
    "minari/cartpole/parquet-v0": Settings(columns={"value": "infos.value"}),
    "rlhf/verl_like_ragged.parquet": Settings(gamma=1.0),
}


@pytest.mark.parametrize("name", SAMPLE_DATA)
def test_sample_data(sample_data, name):
    checkup = check([sample_data / name])
    assert {finding.rule.code for finding in checkup.findings} == SAMPLE_DATA[name]
    assert checkup.exit_code == 0


@pytest.mark.few(6)
@pytest.mark.parametrize("name", SAMPLES)
def test_files_of_other_writers(name):
    found = [folder / name for folder in SAMPLE_FOLDERS if (folder / name).exists()]
    if not found:
        pytest.skip("the sample is not here")
    checkup = check([found[0]], SETTINGS.get(name))
    assert {finding.rule.code for finding in checkup.findings} == SAMPLES[name], checkup.findings
    assert checkup.exit_code == 0


def test_logs_of_responses_are_told_apart_from_steps():
    name = "rlhf/completions_00003.parquet"
    found = [folder / name for folder in SAMPLE_FOLDERS if (folder / name).exists()]
    if not found:
        pytest.skip("the sample is not here")
    checkup = check([found[0]])
    assert (checkup.exit_code, checkup.num_warnings) == (0, 0)
    assert [finding.rule.code for finding in checkup.findings] == ["GAE600"]


def test_the_sample_log_has_the_advantages_of_its_library():
    path = ROOT / "tests/data/samples/rlhf/completions_00003.parquet"
    table = pq.read_table(path).to_pydict()
    rewards = table["accuracy_reward"]
    wanted = [(reward - mean(rewards)) / (stdev(rewards) + 1e-4) for reward in rewards]
    assert table["advantage"] == pytest.approx(wanted, abs=1e-6)  # stored in float32
    assert gaecli.verify(path).is_reproduced
