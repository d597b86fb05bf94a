"""The page of a run: its table, its names, its width."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from profiles import examples
from report.examples import (
    COLUMN_NAMES,
    column_statistics,
    failed_file,
    file_summary,
    rendered,
    summaries,
    summary,
)
from report.shown import WIDTHS, line_with, many_files, several_files, too_wide, verdict
from rich.cells import cell_len

from gaecli.report.shown_names import common_directory, fitted_names
from gaecli.report.text import Canvas, shorten
from gaecli.summary import (
    EpisodeCounts,
    Summary,
)

ONE_FILE = """\
✓ 1 file written · in place
GAE · γ 0.99 · λ 0.95 · long layout

ppo.parquet
  48,213 steps · 312 episodes · 290 terminated · 20 truncated · 2 open

            mean    std     min    median    max  histogram
──────────────────────────────────────────────────────────────────────────
reward     45.12  12.01  -3.120  0.001234  100.0  ▁▁▁▃▃▃███▃▃▃▁▁▁      ▁▁▁
value      45.12  12.01  -3.120  0.001234  100.0  ▁▁▁▃▃▃███▃▃▃▁▁▁      ▁▁▁
advantage  45.12  12.01  -3.120  0.001234  100.0  ▁▁▁▃▃▃███▃▃▃▁▁▁      ▁▁▁
return     45.12  12.01  -3.120  0.001234  100.0  ▁▁▁▃▃▃███▃▃▃▁▁▁      ▁▁▁

explained variance  0.8123  ████████░░ · good
bootstrapped        20 with the next value · 2 with zero
normalised          no
columns             reward · value = vf_preds
method              splice: what was there is copied as bytes
time                412 ms · 117 k steps/s · read 120 ms · kernel 21 ms
                    write 150 ms
"""

SEVERAL_FILES = """\
! 2 ends count as 0
  open-end · runs/a.parquet
  → pass `-x`

✗ 1 of 3 files failed, 1 written, 1 up to date; exit code 2 · ! 1 warning
GAE · γ 0.99 · λ 0.95 · long layout

in runs/
file             steps  episodes  terminated  truncated  open  status
───────────────────────────────────────────────────────────────────────────
a.parquet       48,213       312         290         20     2  ✓ written
b.npz           48,213       312         290         20     2  = up to date
c.parquet            –         –           –          –     –  ✗ failed
  exit code 2: column `value` not found in `runs/c.parquet`
  columns there: reward, vf_pred
  → pass `--value-column vf_pred`
───────────────────────────────────────────────────────────────────────────
total, 3 files  96,426       624         580         40     4

                    mean    std     min    median    max  histogram
──────────────────────────────────────────────────────────────────────────
reward            0.9935  12.01  -3.120  0.001234  100.0  ▁▁▁▂▂▄▆█▄▃▂▁▁ ▁▁
value            45.12    12.01  -3.120  0.001234  100.0  ▁▁▁▂▂▄▆█▄▃▂▁▁ ▁▁
advantage         0.000   12.01  -3.120  0.001234  100.0  ▁▁▁▂▂▄▆█▄▃▂▁▁ ▁▁
return     -123,456       12.01  -3.120  0.001234  100.0  ▁▁▁▂▂▄▆█▄▃▂▁▁ ▁▁
over 48,213 of 96,426 steps

explained variance  0.8123  ████████░░ · good
bootstrapped        20 with the next value · 2 with zero
normalised          over all inputs · (A − 0.1234) / (1.552 + 1e-8) · ddof 1
columns             reward · value = vf_preds
method              splice (1 file) · archive (1 file)
time                412 ms · 117 k steps/s · read 120 ms · kernel 21 ms
                    write 150 ms
"""

SEVERAL_FILES_NARROW_ASCII = """\
! 2 ends count as 0
  open-end | runs/a.parquet
  > pass `-x`

x 1 of 3 files failed, 1 written, 1 up to date; exit code 2
! 1 warning
GAE | gamma 0.99 | lambda 0.95 | long layout

in runs/
a.parquet  + written
  48,213 steps | 312 episodes | 290 terminated
  20 truncated | 2 open
b.npz  = up to date
  48,213 steps | 312 episodes | 290 terminated
  20 truncated | 2 open
c.parquet  x failed
  exit code 2: column `value` not found in `runs/c.parquet`
  columns there: reward, vf_pred
  > pass `--value-column vf_pred`
total, 3 files
  96,426 steps | 624 episodes | 580 terminated
  40 truncated | 4 open

                    mean    std     min    median    max
--------------------------------------------------------
reward            0.9935  12.01  -3.120  0.001234  100.0
value            45.12    12.01  -3.120  0.001234  100.0
advantage         0.000   12.01  -3.120  0.001234  100.0
return     -123,456       12.01  -3.120  0.001234  100.0
over 48,213 of 96,426 steps

explained variance  0.8123  ########.. | good
bootstrapped        20 with the next value | 2 with zero
normalised          over all inputs
                    (A - 0.1234) / (1.552 + 1e-8) | ddof 1
columns             reward | value = vf_preds
method              splice (1 file) | archive (1 file)
time                412 ms | 117 k steps/s | read 120 ms
                    kernel 21 ms | write 150 ms
"""


@pytest.mark.parametrize(
    ("shown", "width", "encoding", "text"),
    [
        (summary(), 80, "utf-8", ONE_FILE),
        (several_files(), 80, "utf-8", SEVERAL_FILES),
        (several_files(), 60, "ascii", SEVERAL_FILES_NARROW_ASCII),
    ],
    ids=["one file", "several files", "several files, 60 columns of ASCII"],
)
def test_a_report_looks_like_this(shown: Summary, width: int, encoding: str, text: str) -> None:
    assert rendered(shown, width, encoding) == text


@examples(100, suppress_health_check=[HealthCheck.too_slow])
@given(summaries, st.integers(60, 160), st.sampled_from(["utf-8", "ascii", "latin-1", "cp437"]))
def test_any_summary_fits_any_width_with_every_count_in_full(
    random_summary: Summary, width: int, encoding: str
) -> None:
    text = rendered(random_summary, width, encoding)
    assert not too_wide(text, width)
    assert not any(letter for letter in text if not (letter.isprintable() or letter == "\n"))
    files = random_summary.files
    listed = files if len(files) <= 20 else [*files[:10], *files[-5:]]
    counts = [file.counts for file in listed if file.status not in ("failed", "not written")]
    if len(files) > 1:
        counts.append(random_summary.totals)
    shown = [
        number
        for each in counts
        for number in (each.steps, each.episodes, each.terminated, each.truncated, each.open)
    ]
    bootstrapped = random_summary.bootstrapped
    shown += [
        number for number in (bootstrapped.next_value, bootstrapped.zero, bootstrapped.current) if number
    ]
    words = set(text.split())
    assert {f"{number:,}" for number in shown} <= words


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("number", [1e12, -1.23456e12, 1e-9, -99_999.9])
def test_statistics_are_never_broken(width: int, number: float) -> None:
    extreme = column_statistics(
        mean=number, std=abs(number), min=number, max=number, median=number, count=10**10
    )
    text = rendered(summary(columns=dict.fromkeys(COLUMN_NAMES, extreme)), width)
    assert not too_wide(text, width)
    shown = {1e12: "1.000e12", -1.23456e12: "-1.235e12", 1e-9: "1.000e-9", -99_999.9: "-100,000"}[number]
    words = text.replace("≈", " ").split()
    # mean, min, median, max of four columns; std is the same number where that is positive
    assert words.count(shown) == (20 if number > 0 else 16)


def test_decimal_points_of_a_statistic_stand_below_each_other() -> None:
    means = {"reward": 0.9935, "value": 45.12, "advantage": -0.001234, "return": 123_456.0}
    columns = {name: column_statistics(mean=mean) for name, mean in means.items()}
    lines = rendered(summary(columns=columns)).split("\n")
    heading = next(k for k, line in enumerate(lines) if line.lstrip().startswith("mean"))
    rows = lines[heading + 2 : heading + 6]
    assert [row.split()[:2] for row in rows] == [
        ["reward", "0.9935"],
        ["value", "45.12"],
        ["advantage", "-0.001234"],
        ["return", "123,456"],
    ]
    assert len({row.index(".") for row in rows[:3]}) == 1
    assert rows[3].index("123,456") + len("123,456") == rows[0].index(".")


def test_the_histogram_goes_first_where_there_is_little_room() -> None:
    wide, narrow = rendered(summary(), 60), rendered(summary(), 59)
    assert "histogram" in wide
    assert "█" in line_with(wide, "reward  ")
    assert "histogram" not in narrow
    for word in ("mean", "std", "min", "median", "max", "45.12", "0.001234"):
        assert word in narrow.split()


def test_a_sampled_median_says_so() -> None:
    columns = {"reward": column_statistics(sample_count=20_000), "value": column_statistics()}
    text = rendered(summary(columns=columns))
    assert "≈0.001234" in line_with(text, "reward  ")
    assert line_with(text, "reward  ").count("≈") == 1
    assert "≈" not in line_with(text, "value  ")
    assert "≈ from a sample of 20,000 rows" in text


def test_statistics_over_fewer_rows_than_there_are_steps_say_so() -> None:
    columns = {"reward": column_statistics(count=40_000, sample_count=40_000)}
    assert "over 40,000 of 48,213 steps" in rendered(summary(columns=columns))
    columns["value"] = column_statistics()
    different = rendered(summary(columns=columns))
    assert "40,000" in line_with(different, "reward  ")
    assert "48,213" in line_with(different, "value  ")


@pytest.mark.parametrize("width", WIDTHS)
def test_names_are_shown_as_they_are_or_escaped(width: int) -> None:
    names = [
        "run[a].parquet",
        "[bold]x[/bold].npz",
        "a b.parquet",
        "evil\x1b[31m\nx\u202e.parquet",
        "軌跡.parquet",
    ]
    text = rendered(summary(*(file_summary(name) for name in names)), width, force_terminal=True)
    for shown in [
        "run[a].parquet",
        "[bold]x[/bold].npz",
        "a b.parquet",
        "evil\\x1b[31m\\nx\\u202e.parquet",
        "軌跡.parquet",
    ]:
        assert shown in text
    assert "\x1b[31m\n" not in text
    assert "\u202e" not in text


def test_a_table_of_chinese_names_is_still_aligned() -> None:
    text = rendered(summary(file_summary("軌跡.parquet"), file_summary("a.parquet")), 100)
    columns = {cell_len(line[: line.index("48,213")]) for line in text.split("\n") if ".parquet" in line}
    assert len(columns) == 1


@pytest.mark.parametrize("width", range(58, 70))
def test_a_column_of_names_shorter_than_its_heading_still_fits(width: int) -> None:
    files = [file_summary(name, counts=EpisodeCounts()) for name in ("a", "b")]
    assert not too_wide(rendered(summary(*files), width), width)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_failed_file_shows_its_error_hint_and_exit_code(width: int) -> None:
    text = rendered(summary(file_summary("a.parquet"), failed_file("b.parquet"), exit_code=2), width)
    assert "✗ failed" in text
    assert "  exit code 2: column `value` not found in" in text
    assert "  columns there: reward, vf_pred" in text
    assert "  → pass `--value-column vf_pred`" in text
    assert verdict(text) == "✗ 1 of 2 files failed, 1 written; exit code 2"


def test_counts_of_a_failed_file_are_not_shown_as_zeros() -> None:
    text = rendered(summary(file_summary("a.parquet"), failed_file("b.parquet")), 80)
    assert line_with(text, "✗ failed").split() == ["b.parquet", *["–"] * 5, "✗", "failed"]


@pytest.mark.parametrize("width", WIDTHS)
def test_of_many_files_the_first_the_last_and_all_failed_ones_are_listed(width: int) -> None:
    text = rendered(many_files(200, failed=(0, 50, 120, 199)), width)
    listed = [line.split()[0] for line in text.split("\n") if line.startswith("seed-")]
    positions = [int(name.removeprefix("seed-")[:3]) for name in listed]
    assert positions == [*range(10), 50, 120, *range(195, 200)]
    assert "… 183 more: 183 written" in text
    assert not too_wide(text, width)
    assert "total, 200 files" in text
    assert f"{196 * 48_213:,}" in text
    assert "4 of 200 files failed, 196 written; exit code 2" in verdict(text)


def test_twenty_files_are_all_listed_and_twenty_one_are_not() -> None:
    assert " more: " not in rendered(many_files(20))
    assert "… 6 more: 6 written" in rendered(many_files(21))


def test_a_common_directory_is_said_once() -> None:
    text = rendered(many_files(3), 120)
    assert (
        line_with(text, "s3://bucket/ppo/") == "in s3://bucket/ppo/seed-00" or "in s3://bucket/ppo/\n" in text
    )
    assert common_directory(["runs/a/x.npz", "runs/ab/y.npz"]) == "runs/"
    assert common_directory(["s3://a/x.npz", "s3://b/x.npz"]) == "s3://"
    assert common_directory(["runs/x.npz"]) == common_directory(["x.npz", "y.npz"]) == ""


def test_a_long_name_is_cut_once_and_keeps_its_ending() -> None:
    names = [f"{letter * 80}.parquet" for letter in "xy"]
    for name, short in zip(names, fitted_names([*names, "z.parquet"], 40, Canvas()) or [], strict=False):
        assert len(short) == 40
        assert short.count("…") == 1
        assert short.startswith(name[:10])
        assert short.endswith(".parquet")


def test_short_names_stay_different_or_there_are_none() -> None:
    canvas = Canvas()
    shards = [f"rollouts-{k:05d}-of-00200.parquet" for k in range(3)]
    assert fitted_names(shards, 40, canvas) == shards
    assert fitted_names(shards, 16, canvas) == ["rollouts-00000…", "rollouts-00001…", "rollouts-00002…"]
    assert fitted_names([f"{'a' * 30}{k}{'b' * 30}" for k in range(9)], 12, canvas) is None
    names = fitted_names(["run[a].parquet", "a-much-longer-name.parquet"], 14, canvas)
    assert names == ["run[a].parquet", "a-muc….parquet"]


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [("abcdefghij", 10, "abcdefghij"), ("abcdefghij", 6, "ab…hij"), ("軌跡軌跡軌跡", 8, "軌…軌跡")],
)
def test_names_are_shortened_in_the_middle(text: str, width: int, shown: str) -> None:
    assert shorten(text, width) == shown


def test_a_column_that_never_changes_is_one_bar() -> None:
    """Its bins have no width, and all of them would be full."""
    same = column_statistics(min=2.0, max=2.0, histogram=(48_213,), histogram_range=(2.0, 2.0))
    text = rendered(summary(columns={"reward": same, "value": column_statistics()}))
    assert line_with(text, "reward  ").endswith("2.000  █")
    assert line_with(text, "value  ").count("█") == 3


@pytest.mark.parametrize(
    ("device", "backend", "told"),
    [("cpu", "numpy 2.4.1", None), ("cpu", "torch 2.13", "cpu, torch 2.13"), ("cuda:0", "x", "cuda:0, x")],
)
def test_what_computes_is_told_where_it_is_not_the_usual(device: str, backend: str, told: str | None) -> None:
    text = rendered(summary(device=device, backend=backend, device_reason="it pays from here on"))
    assert ("numpy" in text, "it pays" in text) == (False, False)
    method = line_with(text, "method ")
    assert method.endswith(f" · {told}" if told else "as bytes")
