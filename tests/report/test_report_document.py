from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hypothesis import HealthCheck, given
from profiles import examples
from report.examples import COLUMN_NAMES, column_statistics, failed_file, file_summary, summaries, summary

from gaecli.report import summary_to_dict, to_json
from gaecli.summary import Normalization, NormalizationGroup, Seconds, Summary, WarningNote

COUNTS = {"steps", "episodes", "terminated", "truncated", "open"}


def document(of: Summary) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(to_json(summary_to_dict(of)), parse_constant=_refuse)
    return loaded


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_every_key_of_the_schema_is_there() -> None:
    loaded = document(summary(file_summary(), failed_file("b"), warnings=[WarningNote("code", "message")]))
    assert loaded["schema_version"] == 2
    assert set(loaded) == {
        "schema_version", "settings", "device", "files", "totals", "bootstrapped", "columns",
        "explained_variance", "normalization", "baseline", "warnings", "seconds", "steps_per_second",
        "exit_code", "interrupted", "backend", "device_reason", "streams", "explained_variances",
        "command", "gaecli", "failures", "units", "labels", "success",
    }  # fmt: skip
    assert set(loaded["files"][0]) == COUNTS | {
        "input", "output", "status", "format", "layout", "error", "hint", "exit_code", "method", "columns",
    }  # fmt: skip
    assert set(loaded["totals"]) == COUNTS
    assert set(loaded["bootstrapped"]) == {"next_value", "zero", "current"}
    assert list(loaded["columns"]) == list(COLUMN_NAMES)
    assert {"count", "mean", "std", "min", "max"} <= set(loaded["columns"]["reward"])
    assert {"scope", "mean", "std", "ddof", "eps"} <= set(loaded["normalization"])
    assert {"code", "message", "file", "count"} <= set(loaded["warnings"][0])
    assert set(loaded["seconds"]) == {"total", "read", "kernel", "write"}


def test_values_are_those_of_the_summary() -> None:
    loaded = document(summary(file_summary("run[a].parquet"), failed_file("b.npz"), exit_code=2))
    assert loaded["files"][0]["input"] == "run[a].parquet"
    assert loaded["files"][0]["steps"] == loaded["totals"]["steps"] == 48_213
    assert loaded["files"][1]["status"] == "failed"
    assert loaded["files"][1]["exit_code"] == 2
    assert loaded["settings"]["gamma"] == 0.99
    assert loaded["columns"]["value"]["mean"] == 45.1249
    assert loaded["steps_per_second"] == 48_213 / 0.412


def test_what_is_not_finite_is_null() -> None:
    infinite = column_statistics(
        mean=float("nan"), std=float("inf"), min=float("-inf"), histogram_range=(0.0, float("inf"))
    )
    group = NormalizationGroup("a", 1, float("nan"), 0.0)
    normalization = Normalization("file", 1, 1e-8, "add", num_groups=2, groups=(group,))
    loaded = document(
        summary(
            columns={"reward": infinite},
            normalization=normalization,
            explained_variance=float("nan"),
            seconds=Seconds(),
            settings={"gamma": float("nan")},
        )
    )
    reward = loaded["columns"]["reward"]
    assert [reward[name] for name in ("mean", "std", "min")] == [None] * 3
    assert reward["histogram_range"] == [0.0, None]
    assert loaded["normalization"]["groups"][0]["mean"] is None
    assert loaded["explained_variance"] is loaded["steps_per_second"] is loaded["settings"]["gamma"] is None


def test_settings_may_hold_anything_that_can_be_said() -> None:
    class Scalar:  # as NumPy has them
        def item(self) -> float:
            return 0.5

    given_settings = {
        "path": Path("a/b"),
        "columns": MappingProxyType({"x": 1}),
        "names": {"b", "a"},
        "s": Scalar(),
    }
    loaded = document(summary(settings=given_settings))
    assert loaded["settings"] == {
        "path": str(Path("a/b")),
        "columns": {"x": 1},
        "names": ["a", "b"],
        "s": 0.5,
    }


def test_json_is_ascii_and_keeps_any_name() -> None:
    name = "軌跡\udcff\n\x1b.npz"
    text = to_json(summary_to_dict(summary(file_summary(name))))
    assert text.isascii()
    assert json.loads(text)["files"][0]["input"] == name


def test_a_histogram_takes_one_line() -> None:
    text = to_json({"histogram": list(range(50)), "names": ["a", "b"], "text": "[\n  1,\n  2\n]"})
    assert f'"histogram": {list(range(50))}' in text
    assert json.loads(text)["text"] == "[\n  1,\n  2\n]"
    spaced = {"names": ["1  2", "a   b"], "mixed": [1, "2  3", None], "nothing": []}
    assert json.loads(to_json(spaced)) == spaced


@examples(100, suppress_health_check=[HealthCheck.too_slow])
@given(summaries)
def test_any_summary_survives_the_round_trip(random_summary: Summary) -> None:
    assert document(random_summary) == summary_to_dict(random_summary)
