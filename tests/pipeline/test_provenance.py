"""Whose columns are whose, over several runs on one file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.errors import UsageError
from gaecli.estimator_kinds import ESTIMATORS, EstimatorKind
from gaecli.presets import ALL_PRESETS
from gaecli.presets.groups import SCORE_RULES
from gaecli.settings import Settings
from gaecli.writing.provenance import is_up_to_date


@pytest.fixture
def path(copy_sample) -> Path:
    return copy_sample("pendulum.parquet")


def status(path: Path, **settings: object) -> str:
    (file,) = gaecli.compute(path, **settings).files
    return file.status


def test_a_column_stays_ours_when_another_of_its_run_is_replaced(path):
    assert status(path) == "written"
    # `return` is written anew, `advantage` stays: it is no column of somebody else now.
    assert status(path, advantage_column="whitened", normalize="all") == "written"
    assert status(path, gamma=0.5) == "written"
    assert pq.read_schema(path).names[-3:] == ["whitened", "advantage", "return"]


def test_a_run_is_not_up_to_date_once_one_of_its_columns_was_replaced(path):
    assert status(path) == "written"
    before = pq.read_table(path)
    assert status(path, advantage_column="other", gamma=0.5) == "written"
    assert status(path) == "written"
    after = pq.read_table(path)
    assert after.select(["advantage", "return"]).equals(before.select(["advantage", "return"]))


def test_two_runs_with_columns_of_their_own_are_both_up_to_date(path):
    second = {"advantage_column": "a2", "return_column": "r2", "gamma": 0.5}
    assert [status(path), status(path, **second)] == ["written", "written"]
    assert [status(path), status(path, **second)] == ["up to date", "up to date"]


def test_a_column_of_somebody_else_is_refused(path):
    table = pq.read_table(path)
    pq.write_table(table.append_column("advantage", table["reward"]), path)
    with pytest.raises(UsageError, match="carries no mark"):
        gaecli.compute(path)


@pytest.mark.parametrize(
    "settings",
    [
        {"gamma_column": "advantage"},
        {"lam_column": "advantage"},
        {"estimator": "remax", "baseline_column": "advantage"},
        {"estimator": "grpo", "group_column": "episode_id", "rewards": {"reward": 1.0, "advantage": 2.0}},
        {"stream": ["a=reward,value,0.9", "b=advantage,value,0.9"]},
    ],
    ids=lambda settings: list(settings)[-1],
)
def test_the_result_never_takes_the_place_of_what_it_comes_from(path, settings):
    table = pq.read_table(path)
    share = pa.array(np.linspace(0.1, 0.9, len(table)))
    pq.write_table(table.append_column("advantage", share), path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"`advantage` is the column of `--.*cannot take its place"):
        gaecli.compute(path, overwrite=True, **settings)
    assert path.read_bytes() == before


def test_an_entry_that_lost_a_column_is_of_no_use(path):
    gaecli.compute(path)
    entry = json.loads(pq.read_metadata(path).metadata[b"gaecli"])
    facts = {
        "payload": entry["payload"],
        "source": None,
        "inputs": entry["inputs"],
        "names": ["advantage", "return"],
    }
    assert is_up_to_date(entry, Settings(), **facts) == entry
    assert is_up_to_date({**entry, "columns": ["advantage"]}, Settings(), **facts) is None


@pytest.mark.parametrize(
    ("taken", "settings", "flag"),
    [
        ("Advantage", {}, "--advantage-column"),
        ("RETURN", {}, "--return-column"),
        ("ADV_raw", {"advantage_column": "adv", "keep_raw": True, "normalize": "all"}, "--advantage-column"),
    ],
)
def test_a_column_that_differs_in_case_only_is_warned_of(path, taken, settings, flag):
    table = pq.read_table(path)
    pq.write_table(table.append_column(taken, table["reward"]), path)
    before = path.with_name("before.parquet")
    before.write_bytes(path.read_bytes())
    summary = gaecli.compute(path, **settings)
    (note,) = [note for note in summary.warnings if note.code == "names-alike"]
    assert f"`{taken}`" in note.message
    assert f"`{taken.lower()}`" in note.message
    assert flag in note.hint
    assert note.file == str(path)
    assert taken in pq.read_schema(path).names
    assert "names-alike" in [warning.code for warning in gaecli.inspect(before, **settings).warnings]


def test_columns_of_the_very_name_are_no_matter_of_case(path):
    for _ in range(2):
        assert not [note for note in gaecli.compute(path).warnings if note.code == "names-alike"]


def test_a_sidecar_has_no_columns_of_the_file_to_be_taken_for(path):
    table = pq.read_table(path)
    pq.write_table(table.append_column("Advantage", table["reward"]), path)
    summary = gaecli.compute(path, sidecar=True)
    assert not [note for note in summary.warnings if note.code == "names-alike"]


#: What an estimator cannot do without: settings, in columns that `whole_table` has.
NEEDED = {
    "n_steps": 2,
    "group_column": "group",
    "state_column": "state",
    "baseline_column": "greedy",
    "order_column": "episode_id",
    "rewards": {"reward": 1.0, "greedy": 0.5},
}


def needed(kind: EstimatorKind) -> dict[str, object]:
    asked = {name: value for name, value in NEEDED.items() if name != "rewards" or kind.name == "gdpo"}
    given = {name: value for name, value in asked.items() if kind.uses(name)}
    columns = {role: role for role in ("log_prob", "behaviour_log_prob") if role in kind.own_roles}
    return {**given, "columns": columns} if columns else given


def again(settings: Settings) -> Settings:
    """Of what a file would keep of them."""
    given = json.loads(json.dumps(settings.to_dict()))
    return Settings.from_preset(given.pop("preset"), **given)


@pytest.mark.few(20)
@pytest.mark.parametrize("preset", ALL_PRESETS)
def test_what_is_kept_of_settings_makes_the_same_settings(preset):
    """Of every estimator that the library has, with its own rules and with others in their place."""
    only_scores = ALL_PRESETS[preset].only_scores
    kinds = [kind for kind in ESTIMATORS.values() if not only_scores or kind.name in SCORE_RULES[preset]]
    for kind in kinds:
        settings = Settings.from_preset(preset, estimator=kind.name, **needed(kind))
        assert again(settings) == settings, kind.name
        assert not settings.to_dict().keys() & set(kind.unused)
        if kind.uses("gamma"):
            assert again(settings.replace(gamma=0.5)) == settings.replace(gamma=0.5), kind.name


def whole_table() -> pa.Table:
    rng = np.random.default_rng(5)
    numbers = {name: rng.normal(size=12) for name in ("reward", "value", "q", "greedy")}
    policies = {name: -rng.random(12) for name in ("log_prob", "behaviour_log_prob")}
    ends = np.tile([False, False, True], 4)
    keys = {"episode_id": np.repeat(range(4), 3), "group": np.repeat([0, 1], 6), "state": np.tile([0, 1], 6)}
    return pa.table({**keys, **numbers, **policies, "terminated": ends})


@pytest.mark.few(9)
@pytest.mark.parametrize("kind", ESTIMATORS.values(), ids=lambda kind: kind.name)
def test_the_settings_in_a_file_are_those_of_the_same_run(tmp_path, kind):
    path = tmp_path / "r.parquet"
    pq.write_table(whole_table(), path)
    assert status(path, estimator=kind.name, **needed(kind)) == "written"
    kept, written = json.loads(pq.read_metadata(path).metadata[b"gaecli"])["settings"], pq.read_table(path)
    assert status(path, **kept) == "up to date"
    pq.write_table(whole_table(), path)
    assert status(path, **kept) == "written"
    assert pq.read_table(path).equals(written)
