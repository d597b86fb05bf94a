"""Summaries for the tests of the report: small ones with known numbers, and any that one can think of."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from rich.console import Console

from gaecli.report import render_summary
from gaecli.settings import Settings
from gaecli.summary import (
    BootstrapCounts,
    ColumnStatistics,
    EpisodeCounts,
    FileSummary,
    Normalization,
    NormalizationGroup,
    Seconds,
    Summary,
    WarningNote,
)

COLUMN_NAMES = ("reward", "value", "advantage", "return")


class EncodedFile(io.StringIO):
    """What a console writes to where the locale is not UTF-8: it raises, as sys.stdout would."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def write(self, text: str) -> int:
        text.encode(self._encoding)
        return super().write(text)


def rendered(summary: Summary, width: int = 80, encoding: str = "utf-8", **console_options: Any) -> str:
    file = EncodedFile(encoding)
    render_summary(summary, Console(file=file, width=width, **console_options))
    return file.getvalue()


def file_summary(name: str = "ppo.parquet", **changes: Any) -> FileSummary:
    file = FileSummary(
        input=name,
        output=name,
        status="written",
        format="parquet",
        layout="long",
        counts=EpisodeCounts(steps=48_213, episodes=312, terminated=290, truncated=20, open=2),
        method="splice",
        columns={"reward": "reward", "value": "vf_preds"},
    )
    return replace(file, **changes)


def failed_file(name: str, **changes: Any) -> FileSummary:
    failure = {
        "output": None,
        "status": "failed",
        "counts": EpisodeCounts(),
        "error": f"column `value` not found in `{name}`\n       columns there: reward, vf_pred",
        "hint": "pass `--value-column vf_pred`",
        "exit_code": 2,
    }
    return file_summary(name, **{**failure, **changes})


def column_statistics(**changes: Any) -> ColumnStatistics:
    statistics = ColumnStatistics(
        count=48_213,
        mean=45.1249,
        std=12.01,
        min=-3.12,
        max=100.0,
        median=0.0012344,
        sample_count=48_213,
        histogram=(1, 5, 20, 5, 1, 0, 0, 1),
        histogram_range=(-3.12, 100.0),
    )
    return replace(statistics, **changes)


def summary(*files: FileSummary, **changes: Any) -> Summary:
    plain = Summary(
        settings=Settings().to_dict(),
        device="cpu",
        backend="numpy 2.4.1",
        files=files or (file_summary(),),
        bootstrapped=BootstrapCounts(next_value=20, zero=2),
        columns={name: column_statistics() for name in COLUMN_NAMES},
        explained_variance=0.8123,
        normalization=Normalization(scope="none", ddof=1, eps=1e-8, floor="add"),
        seconds=Seconds(total=0.412, read=0.12, kernel=0.021, write=0.15),
        device_reason="numpy below 20,000,000 steps",
    )
    return replace(plain, **changes)


counts = st.integers(0, 10**12)
numbers = st.one_of(
    st.none(),
    st.sampled_from([0.0, 1e12, -1e12, 1e-9, -99_999.95, float("nan"), float("-inf")]),
    st.floats(width=64),
)
#: Any letter at all, lone surrogates and control characters too: a file may be called so.
texts = st.text(st.characters(codec=None), max_size=60)
names = st.one_of(
    texts, st.sampled_from(["run[a].parquet", "a b.npz", "\x1b[31mred", "x\ny", "名前のある軌跡"])
)
episode_counts = st.builds(EpisodeCounts, counts, counts, counts, counts, counts)
files = st.builds(
    FileSummary,
    input=names,
    output=st.none() | names,
    status=st.sampled_from(["written", "up to date", "dry run", "failed", "not written"]),
    format=st.just("parquet"),
    layout=st.none() | st.sampled_from(["long", "nested"]),
    counts=episode_counts,
    method=st.none() | texts,
    error=st.none() | texts,
    hint=st.none() | texts,
    exit_code=st.integers(0, 5),
    columns=st.dictionaries(st.sampled_from(["reward", "value"]), texts),
)
statistics = st.builds(
    ColumnStatistics,
    count=counts,
    mean=numbers,
    std=numbers,
    min=numbers,
    max=numbers,
    median=numbers,
    sample_count=counts,
    histogram=st.lists(counts, max_size=70),
)
groups = st.builds(
    NormalizationGroup, texts, counts, st.floats(allow_nan=False), st.floats(0, allow_nan=False)
)
normalizations = st.builds(
    Normalization,
    scope=st.sampled_from(["none", "all", "file", "by task"]),
    ddof=st.integers(0, 1),
    eps=st.floats(0, 1),
    floor=st.sampled_from(["add", "clamp", "rsqrt"]),
    mean=numbers,
    std=numbers,
    num_groups=st.integers(0, 10**6),
    groups=st.lists(groups, max_size=12),
)
warnings = st.builds(WarningNote, texts, texts, st.none() | names, counts, st.none() | texts)
durations = st.floats(0, 1e7)
summaries = st.builds(
    Summary,
    settings=st.just(Settings(gamma=0.5, normalize="all", keep_raw=True, columns={"value": "v"}).to_dict()),
    device=texts,
    backend=texts,
    files=st.lists(files, max_size=24),
    bootstrapped=st.builds(BootstrapCounts, counts, counts, counts),
    columns=st.just({}) | st.fixed_dictionaries(dict.fromkeys(COLUMN_NAMES, statistics)),
    explained_variance=numbers,
    normalization=normalizations,
    warnings=st.lists(warnings, max_size=15),
    seconds=st.builds(Seconds, durations, durations, durations, durations),
    streams=texts,
    device_reason=texts,
    exit_code=st.integers(0, 5),
    interrupted=st.booleans(),
)
