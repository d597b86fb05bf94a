"""Tables with a row per episode are no steps, where a column counts the steps of each."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import gaecli

RNG = np.random.default_rng(2)
NUMBERS = {"reward": RNG.normal(size=6), "value": RNG.normal(size=6)}
IDS = {"episode": list("bdacfe")}
DONE = {"done": [True] * 6}
LENGTHS = [200, 13, 187, 1, 200, 54]

EPISODES = {
    "ids": NUMBERS | IDS | {"length": LENGTHS},
    "flags": NUMBERS | DONE | {"episode_length": LENGTHS},
    "counts": NUMBERS | DONE | {"num_steps": LENGTHS},
    "monitor": {"r": RNG.normal(size=6), "l": LENGTHS, "t": np.cumsum(RNG.random(6)), "value": [0.0] * 6},
}


def written(path, columns):
    write = pyarrow.csv.write_csv if path.suffix == ".csv" else pq.write_table
    write(pa.table(columns), path)
    return path


@pytest.mark.few(5)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("name", EPISODES)
def test_rows_that_are_episodes_are_refused(tmp_path, name, suffix):
    path = written(tmp_path / f"log{suffix}", EPISODES[name])
    with pytest.raises(gaecli.UsageError, match="is an episode, of which") as error:
        gaecli.compute(path)
    assert "`--layout long`" in error.value.hint
    gaecli.compute(path, layout="long", dry_run=True)


STEPS = {
    "lengths_of_one": NUMBERS | DONE | {"length": [1] * 6},
    "no_lengths": NUMBERS | DONE | {"arm": LENGTHS},
    "length_of_a_prompt": NUMBERS | DONE | {"prompt_length": LENGTHS},
}


@pytest.mark.parametrize("name", STEPS)
def test_steps_that_each_end_an_episode_are_computed(tmp_path, name):
    path = written(tmp_path / "bandit.parquet", STEPS[name])
    gaecli.compute(path)
    # float32 columns of float64 numbers
    np.testing.assert_allclose(
        pq.read_table(path)["advantage"], NUMBERS["reward"] - NUMBERS["value"], rtol=1e-5, atol=1e-6
    )


def test_the_length_of_an_episode_in_each_of_its_rows_is_none_of_the_row(tmp_path):
    columns = NUMBERS | {"episode": list("aaabbb"), "episode_length": [3] * 6}
    gaecli.compute(written(tmp_path / "steps.parquet", columns), dry_run=True)
