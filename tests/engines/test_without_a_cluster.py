"""What can be said of clusters where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import gaecli
from gaecli.engines.ray import _check_tries
from gaecli.engines.worker_facts import check_alike, facts_here
from gaecli.errors import EngineError, MissingExtraError


def test_without_ray_the_message_names_the_extra(
    sample_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match="`--engine ray` needs ray") as caught:
        gaecli.compute(sample_data / "cartpole.parquet", engine="ray", output=tmp_path / "out.parquet")
    assert caught.value.hint == "pip install 'gaecli[ray]'"
    assert not list(tmp_path.iterdir())


def test_an_address_without_the_engine_says_nothing(sample_data: Path) -> None:
    with pytest.raises(gaecli.UsageError, match="says nothing without `--engine ray`"):
        gaecli.compute(sample_data / "cartpole.parquet", ray_address="10.0.0.1:6379")


def test_a_task_that_takes_all_memory_is_not_tried_without_end() -> None:
    """Ray itself does: it counts no try after which it ended a worker to save memory."""
    _check_tries(9)
    with pytest.raises(
        EngineError, match="lost with its worker 10 times, mostly as memory ran out"
    ) as caught:
        _check_tries(10)
    assert "`--memory`" in str(caught.value.hint)


@pytest.mark.parametrize("what", facts_here()._fields)
def test_machines_that_would_not_do_the_same_are_told_apart(what: str) -> None:
    other = facts_here()._replace(**{what: "0.0"})
    with pytest.raises(EngineError, match=r"worker `b` has another .+ than this machine: 0\.0, and here "):
        check_alike(facts_here(), [("a", facts_here()), ("b", other)])
    check_alike(facts_here(), [("a", facts_here())])
