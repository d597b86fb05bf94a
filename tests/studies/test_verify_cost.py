"""What `gae verify` does once, however many conventions it tries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gaecli.commands.verify import verify
from gaecli.decay_settings import with_decays
from gaecli.errors import UsageError
from gaecli.formats.parquet import reader
from gaecli.settings import Settings
from gaecli.sources import inputs
from gaecli.studies import scored_streams
from gaecli.studies.search import search

TRL = Path(__file__).parents[2] / "sample_data" / "logs" / "trl_completions_00003.parquet"


@pytest.fixture
def opened(monkeypatch):
    paths = []

    def counting(path):
        paths.append(path)
        return open_file(path)

    open_file = inputs.open_file
    monkeypatch.setattr(inputs, "open_file", counting)
    return paths


def test_the_file_is_opened_once_for_all_conventions(tmp_path, opened):
    path = tmp_path / "steps.parquet"
    columns = {"reward": np.ones(40), "value": np.zeros(40), "done": np.arange(40) % 10 == 9}
    pq.write_table(pa.table({**columns, "advantage": np.ones(40)}), path)
    assert verify(path, settings=Settings(layout="long")).is_reproduced  # γ = 0
    assert opened == [path]


def test_a_log_is_opened_once_for_all_rules_of_groups(opened):
    assert verify(TRL).is_reproduced
    assert opened == [TRL]


@pytest.mark.parametrize("memory_bytes", [1 << 30, 1 << 16], ids=["all kept", "the last one kept"])
def test_rules_that_take_the_rows_alike_share_them(monkeypatch, memory_bytes):
    """Rules of nine libraries differ in what they make of scores, and hardly in what they take for one."""
    taken = []

    def counting(plan, settings, *more, **given):
        taken.append(settings)
        return open_stream(plan, settings, *more, **given)

    open_stream = scored_streams.open_stream
    monkeypatch.setattr(scored_streams, "open_stream", counting)
    found = verify(TRL, memory_bytes=memory_bytes)
    assert found.best.name == "trl grpo"
    assert len(found.attempts) > 3 * len(taken)


def test_each_set_of_columns_is_read_once(tmp_path, monkeypatch):
    """Forty conventions look at the same rewards; two of them know another name for the flags of ends."""
    path = tmp_path / "steps.parquet"
    columns = {"reward": np.ones(40), "value": np.zeros(40), "done": np.arange(40) % 10 == 9}
    pq.write_table(pa.table({**columns, "advantage": np.arange(40.0)}), path)
    read, blocks = [], reader.ParquetInput.blocks

    def counting(self, unit, names, rows_per_block):
        read.append(tuple(sorted(names)))
        return blocks(self, unit, names, rows_per_block)

    monkeypatch.setattr(reader.ParquetInput, "blocks", counting)
    assert not verify(path, settings=Settings(layout="long")).is_reproduced
    assert len(read) == len(set(read)) <= 6


def test_a_step_that_is_refused_takes_no_derivatives_anew():
    """At the best point of noise all steps are refused, a dozen of dampings; other stages begin at the same point."""
    random = np.random.default_rng(0)
    first, other, column = random.normal(size=(3, 50))
    column += 0.4 * (first + other)  # with nothing in common there would be no descent
    points = []

    def model(gamma, lam):
        points.append((gamma, lam))
        return gamma * first + lam * other

    search(model, column, [(0.5, 0.5)], affine=False)
    assert len(set(points)) > 10
    assert max(points.count(point) for point in points) <= 4


@pytest.mark.parametrize("preset", ["exact", "brax", "trl"])
def test_another_gamma_and_lam_are_all_that_changes(preset):
    settings = Settings.from_preset(preset)
    assert with_decays(settings, 0.5, 0.25) == settings.replace(gamma=0.5, lam=0.25)
    assert settings == Settings.from_preset(preset)
    with pytest.raises(UsageError, match="--lam"):
        with_decays(settings, 0.5, 1.5)
