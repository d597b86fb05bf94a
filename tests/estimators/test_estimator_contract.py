"""What every estimator of the table does, in every layout, and however the rows are cut into blocks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from estimators import toy_estimator
from estimators.kind_loops import (
    N_STEPS,
    bonus_of,
    expected,
    greedy_of,
    policies_of,
    prompts_of,
    states_of,
    turns_of,
)
from matrix.files import CELLS, FORMATS, outcome, read_column, write
from matrix.rollout import GAMMA, LAM, Rollout, rollout
from pipeline.running import small_blocks

import gaecli
from gaecli import estimator_kinds
from gaecli.estimator_kinds import ESTIMATORS, EstimatorKind
from gaecli.settings import Settings

KINDS = [*ESTIMATORS.values(), toy_estimator.KIND]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name, autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> EstimatorKind:
    """Each of them, and one that is registered here, by its row alone."""
    monkeypatch.setitem(estimator_kinds.ESTIMATORS, toy_estimator.KIND.name, toy_estimator.KIND)
    return request.param


def arrays_of(
    kind: EstimatorKind, given: Rollout, layout: str, *, with_values: bool
) -> dict[str, np.ndarray]:
    envs = np.broadcast_to(np.arange(given.rewards.shape[0])[:, None], given.rewards.shape)
    arrays = {
        "reward": given.rewards,
        "terminated": given.terminated,
        "truncated": given.truncated,
        "bonus": bonus_of(given),
        "prompt": prompts_of(given),
        **policies_of(given),
        "state": states_of(given),
        "greedy": greedy_of(given),
        "came": turns_of(given),
    }
    if with_values:
        arrays |= {"value": given.values, "next_value": given.following}
    return arrays | ({"env_id": envs} if layout == "long" else {})


def settings_of(kind: EstimatorKind) -> dict[str, object]:
    found: dict[str, object] = {"estimator": kind.name, "gamma": GAMMA}
    if "lam" not in kind.unused:
        found["lam"] = LAM
    if "gamma" in kind.unused:
        del found["gamma"]
    more = {
        "group_column": "prompt",
        "state_column": "state",
        "step_weight": 0.5,
        "baseline_column": "greedy",
        "order_column": "came",
        "ema_decay": 0.75,
    }
    found |= {name: given for name, given in more.items() if name in kind.takes}
    if kind.name == "gdpo":
        found["rewards"] = {"reward": 1.0, "bonus": 0.5}
    found |= {name: given for name, given in kind.defaults.items() if name == "normalize"}
    if "singleton" in kind.defaults:
        found["singleton"] = "zero"
    return found if "n_steps" in kind.unused else {**found, "n_steps": N_STEPS}


def _grid(is_due: Callable[[int, int], bool]) -> Iterator[Any]:
    """Every estimator in every cell; those whose turn it is not, by the numbers of both, are `slow`."""
    for number, kind in enumerate(KINDS):
        for index, (layout, suffix) in enumerate(CELLS):
            marks = () if is_due(number, index) else pytest.mark.slow
            yield pytest.param(kind, layout, suffix, marks=marks, id=f"{kind.name}-{layout}-{suffix}")


def _is_of_its_layout(number: int, index: int) -> bool:
    """Each estimator in each layout, in its formats by turns: files say nothing of estimators."""
    layout, suffix = CELLS[index]
    suffixes = FORMATS[layout]
    return suffix == suffixes[number % len(suffixes)]


@pytest.mark.few(40)
@pytest.mark.parametrize(("kind", "layout", "suffix"), [*_grid(_is_of_its_layout)], indirect=["kind"])
def test_every_layout_and_format_gives_the_numbers_of_the_loop(
    kind: EstimatorKind, tmp_path: Path, layout: str, suffix: str
) -> None:
    given = rollout(ends_inside=layout != "nested")
    path = write(tmp_path, layout, suffix, arrays_of(kind, given, layout, with_values=True))
    failure = outcome(path, layout, read=False, **settings_of(kind))
    assert failure is None, failure
    for name, numbers in expected(kind, given, with_values=True).items():
        found = read_column(path, name).reshape(
            given.rewards.shape[::-1] if layout == "time-major" else given.rewards.shape
        )
        np.testing.assert_allclose(
            found.T if layout == "time-major" else found, numbers, rtol=1e-5, atol=1e-6
        )


@pytest.mark.few(14)
@pytest.mark.parametrize(
    ("kind", "layout", "suffix"),
    [*_grid(lambda number, index: (number - index) % len(CELLS) == 0)],
    indirect=["kind"],
)
def test_without_values_it_is_refused_or_bootstraps_with_nothing(
    kind: EstimatorKind, tmp_path: Path, layout: str, suffix: str
) -> None:
    given = rollout(ends_inside=layout != "nested")
    path = write(tmp_path, layout, suffix, arrays_of(kind, given, layout, with_values=False))
    before = path.read_bytes()
    failure = outcome(path, layout, read=False, **settings_of(kind))
    if "value" in kind.roles:
        assert "no value column" in str(failure)
        assert path.read_bytes() == before
        return
    assert failure is None, failure
    for name, numbers in expected(kind, given, with_values=False).items():
        found = read_column(path, name).reshape(
            given.rewards.shape[::-1] if layout == "time-major" else given.rewards.shape
        )
        np.testing.assert_allclose(
            found.T if layout == "time-major" else found, numbers, rtol=1e-5, atol=1e-6
        )


def _cuts() -> Iterator[Any]:
    """Sizes by turns; values are what enters over borders, and every second estimator that needs none has none."""
    for (number, kind), (block_rows, with_values) in product(
        enumerate(KINDS), product((1, 2, 5), (True, False))
    ):
        has_values = number % 2 == 1 or "value" in kind.roles
        is_due = (block_rows, with_values) == ((1, 2, 5)[number % 3], has_values)
        marks = () if is_due else pytest.mark.slow
        yield pytest.param(
            kind, block_rows, with_values, marks=marks, id=f"{kind.name}-{block_rows}-{with_values}"
        )


@pytest.mark.few(18)
@pytest.mark.parametrize(("kind", "block_rows", "with_values"), [*_cuts()], indirect=["kind"])
def test_blocks_of_any_size_change_nothing(
    kind: EstimatorKind, tmp_path: Path, block_rows: int, with_values: bool
) -> None:
    if "value" in kind.roles and not with_values:
        pytest.skip("it needs them")
    given = replace_middle_ends(rollout())
    path = write(tmp_path, "long", ".parquet", arrays_of(kind, given, "long", with_values=with_values))
    with small_blocks(block_rows, store_bytes=300, dtype=np.float64):
        gaecli.compute(path, **settings_of(kind))
    table = pq.read_table(path)
    for name, numbers in expected(kind, given, with_values=with_values).items():
        found = table[name].to_numpy().reshape(given.rewards.shape)
        np.testing.assert_allclose(found, numbers, rtol=1e-12, atol=1e-12)


def replace_middle_ends(given: Rollout) -> Rollout:
    """One environment has no end at all, so that a trajectory goes through every block of it."""
    terminated, truncated = given.terminated.copy(), given.truncated.copy()
    terminated[0] = truncated[0] = False
    following = given.following.copy()
    following[0, :-1] = given.values[0, 1:]
    return replace(given, terminated=terminated, truncated=truncated, following=following)


@pytest.mark.few(14)
@pytest.mark.parametrize("name", ["bootstrap", "truncation"])
def test_no_value_of_a_last_state_is_taken_where_there_is_none(
    kind: EstimatorKind, tmp_path: Path, name: str
) -> None:
    path = write(tmp_path, "long", ".parquet", arrays_of(kind, rollout(), "long", with_values=False))
    with pytest.raises(gaecli.UsageError, match=r"no value column|says nothing to"):
        gaecli.compute(path, **settings_of(kind), **{name: "current"})


@pytest.mark.few(9)
def test_a_second_run_is_up_to_date_and_another_estimator_is_not(kind: EstimatorKind, tmp_path: Path) -> None:
    """What the first one writes is its outputs, and nothing else."""
    path = write(tmp_path, "long", ".parquet", arrays_of(kind, rollout(), "long", with_values=True))
    there, names = pq.read_schema(path).names, {"advantage_column": "A", "return_column": "R"}
    statuses = [gaecli.compute(path, **settings_of(kind), **names).files[0].status for _ in range(2)]
    new = [name for name in pq.read_schema(path).names if name not in there]
    assert new == [names[f"{output}_column"] for output in kind.outputs]
    other = "mc" if kind.name != "mc" else "gae"
    statuses.append(gaecli.compute(path, estimator=other, gamma=GAMMA, **names).files[0].status)
    assert statuses == ["written", "up to date", "written"]


def test_what_it_does_not_look_at_is_refused_where_it_is_named(kind: EstimatorKind) -> None:
    given = {"lam": 0.5, "lam_alpha": 0.1, "n_steps": 3}
    for name in kind.unused:
        if name in given:
            with pytest.raises(gaecli.UsageError, match="says nothing to"):
                Settings.from_preset("exact", estimator=kind.name, **{name: given[name]})


def test_its_settings_as_documents_have_them_are_settings_again(kind: EstimatorKind) -> None:
    for columns in ({}, *({f"{name}_column": "decay"} for name in kind.by_column)):
        given = {name: value for name, value in settings_of(kind).items() if f"{name}_column" not in columns}
        settings = Settings.from_preset("exact", **given, **columns)
        document = json.loads(json.dumps(settings.to_dict()))
        assert not {*document} & {*kind.unused}
        assert Settings.from_preset(document.pop("preset"), **document) == settings


def test_normalising_needs_an_advantage(kind: EstimatorKind) -> None:
    if "advantage" in kind.outputs:
        assert Settings(**{**settings_of(kind), "normalize": "all"}).normalizes
        return
    with pytest.raises(gaecli.UsageError, match="writes none"):
        Settings(estimator=kind.name, normalize="all")
    for preset in ("sb3", "slime"):  # which normalise by themselves
        assert not Settings.from_preset(preset, estimator=kind.name).normalizes


def test_its_module_has_what_the_registry_calls(kind: EstimatorKind) -> None:
    module = import_module(kind.module)
    assert callable(module.make)
    is_whole = kind.name == "n-step"  # windows reach over borders
    assert module.needs_whole_trajectories(Settings(**settings_of(kind))) is is_whole
