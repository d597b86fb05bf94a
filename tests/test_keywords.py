"""Keyword arguments of the functions: their types are those of the settings, and messages speak of them."""

from __future__ import annotations

import html.parser
import inspect
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.rollout_files import advantages, columns

import gaecli
import gaecli.polars
from gaecli.api import keyword_words, keywords
from gaecli.arrays.estimates import GaeKeywords
from gaecli.setting_fields import ROLES, SettingFields
from gaecli.settings import OPTION_NAMES, SETTING_NAMES, RunOptions

pytestmark = [pytest.mark.filterwarnings("ignore:.*bootstrap-zero"), pytest.mark.keywords]

#: Settings that take more than what they become.
_IN_OTHER_FORMS = {"stream", "rewards", "reward", "group_column", "order_column", "columns"}
_OF_ROLES = {keywords.role_keyword(role) for role in ROLES}


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keywords") / "r.parquet"
    pq.write_table(pa.table(columns()), path)
    return path


def test_there_is_a_keyword_for_every_setting_option_and_role() -> None:
    named = set(get_type_hints(keywords.ComputeKeywords)) | {"output"}
    assert named == SETTING_NAMES | OPTION_NAMES | _OF_ROLES | {"reward"}


@pytest.mark.parametrize("fields", [SettingFields, RunOptions])
def test_a_keyword_has_the_type_of_what_it_sets_or_is_none(fields: type) -> None:
    typed = get_type_hints(keywords.ComputeKeywords)
    expected = get_type_hints(fields, localns={"RewardStream": keywords.RewardStream})
    for name in (expected.keys() & typed.keys()) - _IN_OTHER_FORMS:
        assert (typed[name] | None) == (expected[name] | None), name


def test_a_sweep_has_the_keywords_of_reading_but_for_those_it_has_many_of() -> None:
    own = {"preset", "estimator", "gamma", "lam", "n_steps"}
    swept = set(get_type_hints(keywords.SweepKeywords)) - {"device", "overwrite"}
    assert swept == set(get_type_hints(keywords.ReadKeywords)) - own


def test_the_overloads_of_gae_have_its_arguments() -> None:
    signature = inspect.signature(gaecli.gae)
    named = {name for name, one in signature.parameters.items() if one.kind is one.KEYWORD_ONLY}
    assert set(get_type_hints(GaeKeywords)) == named


CALLS: dict[str, Callable[..., Any]] = {
    "inspect": gaecli.inspect,
    "check": gaecli.check,
    "read": gaecli.read,
    "explain": lambda path, **given: gaecli.explain(path, 0, **given),
    "sweep": lambda path, **given: gaecli.sweep(path, [0.9], [0.8], **given),
    "verify": lambda path, **given: gaecli.verify(path, "value", **given),
    "diff": lambda path, **given: gaecli.diff(path, columns=("value", "reward"), **given),
    "strip": lambda path, **given: gaecli.strip(path, dry_run=True, **given),
    "doctor": gaecli.doctor,
    "write_report": lambda path, **given: gaecli.write_report(path, "-", **given),
}


@pytest.mark.parametrize("call", CALLS)
def test_an_option_that_says_nothing_to_a_function_is_refused(call: str, rollouts: Path) -> None:
    with pytest.raises(gaecli.UsageError, match="`sidecar` says nothing here"):
        CALLS[call](rollouts, sidecar=True)


@pytest.mark.parametrize("call", [*CALLS, "compute"])
def test_errors_of_files_speak_of_keywords(call: str, rollouts: Path) -> None:
    run = {**CALLS, "compute": gaecli.compute}[call]
    with pytest.raises(gaecli.UsageError, match=r"no setting `gama`") as error:
        run(rollouts, gama=0.9)
    assert error.value.hint is not None
    assert "`gamma` is one" in error.value.hint
    if call != "strip":
        with pytest.raises(gaecli.UsageError, match=r"`norm_ddof` is 2; it must be 0 or 1"):
            run(rollouts, norm_ddof=2)


def test_messages_in_results_speak_of_keywords(rollouts: Path, tmp_path: Path) -> None:
    broken = tmp_path / "b.parquet"
    pq.write_table(pa.table({"rewards": [1.0, 2.0], "values": [0.0, 0.0], "dones": [True, False]}), broken)
    with pytest.raises(gaecli.UsageError) as alone:
        gaecli.compute(broken)
    assert alone.value.hint is not None
    assert '`done_at="end"`' in alone.value.hint
    summary = gaecli.compute([rollouts, broken], dry_run=True)
    (failure,) = summary.failures
    assert failure.hint == alone.value.hint
    info = gaecli.inspect(broken)
    assert '`done_at="end"`' in f"{info.hint} {info.plan}"
    assert "`--" not in f"{info.hint} {summary.warnings} {failure}"


@pytest.mark.parametrize(
    ("flags", "keywords"),
    [
        ("`--gamma 0.99 --lam 0.95`", "`gamma=0.99, lam=0.95`"),
        ("`--episode ID --step T`", "`episode=ID, step=T`"),
        ("`--done-column d --done-at start`", '`done_column="d", done_at="start"`'),
        ("`--value-column 'V of s'`", '`value_column="V of s"`'),
        ("`--group-column step --group-column prompt`", '`group_column=["step", "prompt"]`'),
        ("`--value-column $'a\\x07 \"λ\\xe2\\x80\\x8b'`", "`value_column='a\\x07 \"λ\\u200b'`"),
        ("`--no-join --overwrite`", "`join=False, overwrite=True`"),
        (
            "`gae compute 'a b.parquet' --estimator grpo --reward a=0.5`",
            '`gaecli.compute("a b.parquet", estimator="grpo", reward="a=0.5")`',
        ),
        ("what `gae compute` writes, `gae presets` lists", "what `gae compute` writes, `gae presets` lists"),
    ],
)
def test_every_flag_between_backticks_is_a_keyword(flags: str, keywords: str) -> None:
    assert keyword_words.in_keywords(flags) == keywords


def test_a_traceback_has_the_hint_once(rollouts: Path) -> None:
    with pytest.raises(gaecli.UsageError) as error:
        gaecli.compute(rollouts, normalize="al", dry_run=True)
    assert error.value.hint is not None
    shown = "".join(traceback.format_exception(error.value))
    assert shown.count(f"hint: {error.value.hint}") == 1


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (3, "a `int` is neither"),
        (None, "a `NoneType` is neither"),
        (pl.LazyFrame(), "`frame.collect"),
        ([], "no input"),
    ],
    ids=["number", "none", "lazy", "empty"],
)
@pytest.mark.parametrize("call", [gaecli.compute, gaecli.inspect, gaecli.doctor])
def test_what_rollouts_do_not_come_in_is_told(call: Callable[..., Any], source: Any, says: str) -> None:
    with pytest.raises(gaecli.UsageError) as error:
        call(source)
    assert says in f"{error.value.message} {error.value.hint}"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"preset": ["exact", "sb3"]}, "`preset` is ['exact', 'sb3']; it must be one name"),
        ({"estimator": ["gae"]}, "`estimator` is ['gae']; it must be one name"),
        ({"value_column": 3}, "`value_column` is 3; it must be the name of a column"),
        ({"group_column": 3}, "`group_column` is 3; it must be the name of a column, or"),
        ({"columns": ["reward"]}, "`columns` is ['reward']; it must be a mapping"),
        ({"memory_bytes": "1GiB"}, "`memory_bytes` is '1GiB'; it must be a whole number"),
    ],
)
def test_several_names_where_one_is_meant_are_told(rollouts: Path, given: dict[str, Any], says: str) -> None:
    with pytest.raises(gaecli.UsageError) as error:
        gaecli.inspect(rollouts, **given)
    assert says in error.value.message


@pytest.mark.parametrize(
    "call",
    [lambda paths: gaecli.explain(paths, 0), lambda paths: gaecli.write_report(paths, "-"), gaecli.diff],
    ids=["explain", "write_report", "diff"],
)
def test_several_inputs_where_one_is_looked_at_are_told(rollouts: Path, call: Callable[..., Any]) -> None:
    with pytest.raises(gaecli.UsageError, match="2 inputs are given, and this looks at one"):
        call([rollouts, rollouts])


def test_codes_of_rules_may_stand_in_one_text(rollouts: Path) -> None:
    assert (
        gaecli.check(rollouts, select="GAE0, GAE101").codes
        == gaecli.check(rollouts, select=["GAE0", "GAE101"]).codes
    )


def test_the_command_for_a_table_is_a_call_that_runs() -> None:
    table = pl.DataFrame(columns())
    command = gaecli.doctor(table).command
    assert command is not None
    found = eval(command, {"gaecli": gaecli, "table": table})
    assert np.allclose(found["advantage"], advantages(columns(), 0.99, 0.95), rtol=1e-5)


def test_tables_are_compared_and_not_stripped() -> None:
    table = pl.DataFrame(columns())
    found = gaecli.diff(gaecli.compute(table, gamma=0.9), gaecli.compute(table, gamma=0.8))
    expected = np.array(advantages(columns(), 0.8, 0.95)) - advantages(columns(), 0.9, 0.95)
    assert found.max_abs == pytest.approx(np.abs(expected).max(), rel=1e-5)
    with pytest.raises(gaecli.UsageError, match="a table in memory does not say"):
        gaecli.strip(table)


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_results_are_short_in_a_session_and_whole_in_a_notebook(tmp_path: Path) -> None:
    path = tmp_path / "<b>&.parquet"
    pq.write_table(pa.table(columns()), path)
    summary = gaecli.compute(path, gamma=0.9, lam=0.8)
    steps = len(columns()["reward"])
    found = {
        "Summary": summary,
        "FileInfo": gaecli.inspect(path),
        "Checkup": gaecli.check(path),
        "Explanation": gaecli.explain(path, 0),
        "Derivation": gaecli.explain(path, 0, estimator="mc"),
        "Sweep": gaecli.sweep(path, [0.9], [0.8, 1.0]),
        "Verification": gaecli.verify(path),
        "Verifications": gaecli.verify([path, path]),
        "ColumnDifference": gaecli.diff(path, columns=("advantage", "return")),
        "StripResult": gaecli.strip(path, dry_run=True),
    }
    for name, result in found.items():
        assert repr(result).startswith(f"<{name}: ")
        assert len(repr(result)) < 120 + len(str(path))
        page = _Tags()
        page.feed(result._repr_html_())
        assert page.open == []
        assert page.seen == {"pre", "span"}
        assert len(page.text.strip()) > 30
    assert f"{steps:,} steps" in repr(summary)
    assert f"{steps:,}" in summary._repr_html_()
    assert "0.9" in repr(found["Verification"])
    assert f"{steps:,} steps" in repr(gaecli.read(path))


def test_polars_has_expressions_of_a_struct_of_columns() -> None:
    frame = pl.DataFrame(columns())
    expected = advantages(columns(), 0.9, 0.8)
    rows = pl.struct(pl.all())
    found = (
        frame.lazy()
        .with_columns(
            rows.gae.advantage(gamma=0.9, lam=0.8),
            rows.gae.returns(gamma=0.9, lam=0.8, return_column="R"),
        )
        .collect()
    )
    assert found.columns == [*frame.columns, "advantage", "R"]
    assert np.allclose(found["advantage"], expected, rtol=1e-6)
    assert np.allclose(found["R"], expected + columns()["value"], rtol=1e-6)
    with pytest.raises(gaecli.UsageError, match=r"of a column of Float64"):
        frame.select(pl.col("reward").gae.advantage())
    with pytest.raises(gaecli.UsageError, match=r"`mc` makes no column `advantage`"):
        frame.select(rows.gae.advantage(estimator="mc"))
    with pytest.raises(gaecli.UsageError, match=r"hint: `gamma` is one"):
        frame.select(rows.gae.advantage(gama=0.9))


@pytest.mark.slow
def test_a_type_checker_knows_the_keywords_and_what_comes_back(tmp_path: Path) -> None:
    script = tmp_path / "user.py"
    script.write_text(
        "import gaecli, polars as pl, torch\n"
        "frame: pl.DataFrame = gaecli.compute(pl.DataFrame(), gamma=0.9, normalize='all')\n"
        "steps: int = gaecli.compute('r.parquet', 'o.parquet', device='cpu').totals.steps\n"
        "result = gaecli.gae(torch.zeros(2), torch.zeros(2), gamma=0.9)\n"
        "tensor: torch.Tensor = result.advantages + gaecli.gae([1.0], [0.5]).returns.sum()\n"
        "gaecli.compute('r.parquet', gama=0.9)\n"
        "gaecli.compute('r.parquet', normalize='some')\n"
        "gaecli.inspect('r.parquet', overwrite=True)\n"
        "reveal_type(gaecli.explain('r.parquet', 3))\n"
        "gaecli.sweep('r.parquet', gamma=0.9, lam=[0.9, 1.0])\n"
        "gaecli.diff('r.parquet', preset=['exact', 'sb3'])\n"
        "gaecli.sweep('r.parquet', gamma='all')\n",
        encoding="utf-8",
    )
    run = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(script)]
    told = subprocess.run(run, capture_output=True, text=True, check=False, cwd=tmp_path).stdout
    wrong = [
        line.partition(": error")[0].rpartition(":")[2] for line in told.splitlines() if "error:" in line
    ]
    assert sorted(set(wrong)) == ["12", "6", "7", "8"], told
    assert "Explanation" in told
    assert "Derivation" in told
