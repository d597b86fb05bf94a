from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report.examples import (
    COLUMN_NAMES,
    column_statistics,
    failed_file,
    file_summary,
    rendered,
    summaries,
    summary,
)
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from gaecli.report import render_warnings
from gaecli.report.details import read_explained_variance
from gaecli.report.layout import flow
from gaecli.report.shown_names import common_directory, fitted_names
from gaecli.report.text import ASCII, UNICODE, Canvas, shorten
from gaecli.settings import Settings
from gaecli.summary import (
    BootstrapCounts,
    EpisodeCounts,
    Normalization,
    NormalizationGroup,
    Seconds,
    Spread,
    Status,
    Summary,
    WarningNote,
)

WIDTHS = (60, 80, 120)


def too_wide(text: str, width: int) -> list[str]:
    return [line for line in text.split("\n") if cell_len(line) > width]


def line_with(text: str, part: str) -> str:
    (line,) = (line for line in text.split("\n") if part in line)
    return line


def last_line(text: str) -> str:
    return text.rstrip("\n").split("\n")[-1]


def many_files(num_files: int, failed: tuple[int, ...] = ()) -> Summary:
    def name(position: int) -> str:
        return f"s3://bucket/ppo/seed-{position:03d}/rollouts-of-00200.parquet"

    files = [failed_file(name(k)) if k in failed else file_summary(name(k)) for k in range(num_files)]
    return summary(*files, exit_code=2 if failed else 0)


def several_files() -> Summary:
    """Two files and a failed one, numbers of every size, a warning."""
    means = {"reward": 0.9935, "value": 45.12, "advantage": 1e-17, "return": -123_456.0}
    bell = (1, 2, 5, 16, 40, 16, 5, 1, 0, 1)
    return summary(
        file_summary("runs/a.parquet"),
        file_summary("runs/b.npz", method="archive", status="up to date"),
        failed_file("runs/c.parquet"),
        columns={name: column_statistics(mean=mean, histogram=bell) for name, mean in means.items()},
        normalization=Normalization("all", 1, 1e-8, "add", mean=0.12344, std=1.5521, num_groups=1),
        warnings=[
            WarningNote("open-end", "2 ends count as 0", file="runs/a.parquet", count=2, hint="pass `-x`")
        ],
        exit_code=2,
    )


ONE_FILE = """\
GAE · γ 0.99 · λ 0.95 · long layout
cpu, numpy 2.4.1 (numpy below 20,000,000 steps)

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
method              splice
time                412 ms · 117 k steps/s · read 120 ms · kernel 21 ms
                    write 150 ms

✓ 1 file written
"""

SEVERAL_FILES = """\
GAE · γ 0.99 · λ 0.95 · long layout
cpu, numpy 2.4.1 (numpy below 20,000,000 steps)

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

! 2 ends count as 0
  open-end · runs/a.parquet
  → pass `-x`

✗ 1 of 3 files failed, 1 written, 1 up to date; exit code 2 · ! 1 warning
"""

SEVERAL_FILES_NARROW_ASCII = """\
GAE | gamma 0.99 | lambda 0.95 | long layout
cpu, numpy 2.4.1 (numpy below 20,000,000 steps)

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

! 2 ends count as 0
  open-end | runs/a.parquet
  > pass `-x`

x 1 of 3 files failed, 1 written, 1 up to date; exit code 2
! 1 warning
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


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(summaries, st.integers(60, 160), st.sampled_from(["utf-8", "ascii", "latin-1", "cp437"]))
def test_any_summary_fits_any_width_with_every_count_in_full(
    random_summary: Summary, width: int, encoding: str
) -> None:
    text = rendered(random_summary, width, encoding)
    assert not too_wide(text, width)
    assert not any(letter for letter in text if not (letter.isprintable() or letter == "\n"))
    files = random_summary.files
    listed = files if len(files) <= 20 else [*files[:10], *files[-5:]]
    counts = [file.counts for file in listed if file.status != "failed"]
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
    assert last_line(text) == "✗ 1 of 2 files failed, 1 written; exit code 2"


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
    assert "4 of 200 files failed, 196 written; exit code 2" in last_line(text)


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


def test_when_all_files_are_up_to_date_nothing_is_said_about_numbers() -> None:
    files = [file_summary(name, status="up to date") for name in ("a.parquet", "b.parquet")]
    text = rendered(summary(*files, columns={}, explained_variance=None, bootstrapped=BootstrapCounts()))
    assert text.count("= up to date") == 2
    assert last_line(text) == "= 2 files up to date, nothing to do"
    for word in ("mean", "explained", "bootstrapped", "normalised", "steps/s"):
        assert word not in text


def test_a_dry_run_without_statistics_shows_the_plan() -> None:
    empty = {
        name: column_statistics(
            count=0, mean=None, std=None, min=None, max=None, median=None, sample_count=0, histogram=()
        )
        for name in COLUMN_NAMES
    }
    planned = summary(
        file_summary(status="dry run", output="out.parquet"), columns=empty, explained_variance=None
    )
    text = rendered(planned)
    assert "48,213 steps" in text
    assert "mean" not in text
    assert last_line(text) == "○ dry run of 1 file, nothing written · → out.parquet"


def test_unknown_statistics_are_dashes() -> None:
    unknown = column_statistics(mean=None, std=None, min=None, max=None, median=None, histogram=())
    text = rendered(summary(columns={"reward": unknown}))
    assert line_with(text, "reward  ").split()[1:] == ["–"] * 5
    assert "histogram" not in text


def test_no_files_at_all_is_no_success() -> None:
    text = rendered(summary(columns={}, exit_code=4), 80)
    assert "✓ 1 file written; exit code 4" in text
    nothing = rendered(replace(summary(columns={}), files=()))
    assert "no input files" in nothing
    assert "✓" not in nothing


def test_explained_variance_within_several_inputs_has_median_and_range() -> None:
    spread = Spread(count=3, min=-0.71, median=0.1, max=0.27)
    text = rendered(summary(*(file_summary(),) * 3, explained_variance=0.05, explained_variances=spread))
    assert "explained variance  0.05000  ░░░░░░░░░░ · weak · within 3 inputs" in text
    assert "median 0.1000" in text
    assert "from -0.7100 to 0.2700" in text


@pytest.mark.parametrize(
    ("explained_variance", "reading"),
    [
        (1.0, "good"),
        (0.7, "good"),
        (0.69, "fair"),
        (0.1, "weak"),
        (0.0, "none: no better than a constant"),
        (-1e-9, "negative: worse than a constant"),
        (-1e12, "negative: worse than a constant"),
        (None, "not known"),
        (float("nan"), "not known"),
    ],
)
def test_explained_variance_is_read(explained_variance: float | None, reading: str) -> None:
    assert read_explained_variance(explained_variance)[0] == reading


def test_bootstraps_are_counted_by_kind() -> None:
    text = rendered(summary(bootstrapped=BootstrapCounts(next_value=1_700, zero=0, current=13)))
    assert (
        line_with(text, "bootstrapped").split("  ")[-1].strip()
        == "1,700 with the next value · 13 with the current value"
    )
    counts = EpisodeCounts(steps=10, episodes=2, terminated=2)
    terminal = summary(file_summary(counts=counts), bootstrapped=BootstrapCounts())
    assert "nothing: every trajectory ends in a terminal state" in rendered(terminal)


@pytest.mark.parametrize(
    ("floor", "mean", "formula"),
    [
        ("add", 0.12344, "(A − 0.1234) / (1.552 + 1e-8)"),
        ("add", -0.12344, "(A + 0.1234) / (1.552 + 1e-8)"),
        ("clamp", 0.0, "(A − 0) / max(1.552, 1e-8)"),
        ("rsqrt", 1.0, "(A − 1.000) / √(1.552² + 1e-8)"),
    ],
)
def test_normalisation_is_shown_as_what_was_done(floor: str, mean: float, formula: str) -> None:
    normalization = Normalization("all", ddof=0, eps=1e-8, floor=floor, mean=mean, std=1.5521, num_groups=1)
    line = line_with(rendered(summary(normalization=normalization)), "normalised")
    assert line.split("  ")[-1].strip() == f"over all inputs · {formula} · ddof 0"


@pytest.mark.parametrize("width", WIDTHS)
def test_of_many_groups_eight_are_listed_and_the_others_counted(width: int) -> None:
    means = [-1.2345e-100, -123_456.0] * 6
    groups = [NormalizationGroup(f"task [{k}]", 10**10 + k, mean, abs(mean)) for k, mean in enumerate(means)]
    normalization = Normalization("by task", 1, 1e-8, "add", num_groups=90, groups=groups)
    text = rendered(summary(normalization=normalization), width)
    assert not too_wide(text, width)
    assert "10,000,000,007" in text
    assert "10,000,000,008" not in text
    assert "… 82 more groups" in text
    assert "task [7]" in text


def test_settings_that_differ_are_shown_as_flags_and_defaults_are_not() -> None:
    changed = Settings(
        gamma=0.5, preset="sb3", normalize="all", keep_raw=True, join=False, columns={"value": "v[0]"}
    )
    text = rendered(summary(settings=changed.to_dict()), 120)
    flags = "--value-column v[0] · --normalize all · --keep-raw · --no-join"
    assert line_with(text, "settings").split("  ")[-1].strip() == flags
    assert text.split("\n")[0] == "GAE · γ 0.5 · λ 0.95 · preset sb3 · long layout"
    assert "--" not in rendered(summary())


def test_what_was_taken_for_what_is_shown() -> None:
    other = file_summary("b.parquet", columns={"reward": "r"})
    text = rendered(summary(file_summary("a.parquet"), other))
    assert (
        line_with(text, "vf_preds").split("  ")[-1].strip()
        == "reward · value = vf_preds · otherwise in 1 file"
    )


def test_time_is_shown_by_phase() -> None:
    slow = Seconds(total=83.2, read=40.0, kernel=2.0, write=0.0)
    text = rendered(summary(seconds=slow))
    line = line_with(text, "time  ")
    assert "write" not in text.split("time  ")[1].split("\n\n")[0]
    assert line.split("  ")[-1].strip() == "1 min 23 s · 579 steps/s · read 40.0 s · kernel 2.00 s"


def test_warnings_that_repeat_are_said_once_with_a_count() -> None:
    notes = [
        WarningNote("open-end", "V counts as 0", file=f"{k}.npz", count=2, hint="pass `-x`")
        for k in range(40)
    ]
    text = rendered(summary(warnings=notes))
    assert text.count("V counts as 0") == 1
    assert "open-end · × 80 · 0.npz · and 39 more files" in text
    assert "→ pass `-x`" in text
    assert last_line(text) == "✓ 1 file written · ! 1 warning"


def test_a_warning_does_not_repeat_what_its_message_says() -> None:
    note = WarningNote("open-end", "1,200 ends in `a.npz`", file="a.npz", count=1200)
    assert line_with(rendered(summary(warnings=[note])), "open-end") == "  open-end"


def test_different_warnings_are_capped_and_counted() -> None:
    notes = [WarningNote("code", f"message number {k}") for k in range(15)]
    text = rendered(summary(warnings=notes))
    assert text.count("message number") == 12
    assert "… 3 more warnings; `--json` lists all of them" in text
    assert "! 15 warnings" in last_line(text)


def test_warnings_can_be_shown_alone(capsys: pytest.CaptureFixture[str]) -> None:
    render_warnings([WarningNote("code", "see [this]")], Console(width=80))
    assert capsys.readouterr().out == "! see [this]\n  code\n"


def test_an_output_elsewhere_is_named() -> None:
    one = summary(file_summary(output="out/x.parquet"))
    assert last_line(rendered(one)) == "✓ 1 file written · → out/x.parquet"
    two = summary(*(file_summary(name, output=f"out/{name}") for name in ("a.npz", "b.npz")))
    assert last_line(rendered(two)) == "✓ 2 files written · → out/"


def test_an_interrupted_run_says_so() -> None:
    files = [file_summary("a.npz"), file_summary("b.npz", status="not written")]
    text = rendered(summary(*files, interrupted=True, exit_code=130))
    assert last_line(text) == "✗ interrupted: 1 written, 1 not written; exit code 130"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "no-such-encoding"])
def test_a_console_without_unicode_gets_ascii(encoding: str) -> None:
    canvas = Canvas(80, encoding)
    assert canvas.glyphs is ASCII
    assert Canvas(80, "utf-8").glyphs is Canvas(80, "utf-16").glyphs is UNICODE


def test_ascii_says_all_that_unicode_says() -> None:
    text = rendered(summary(file_summary("軌跡.npz"), failed_file("b.npz")), 80, "ascii")
    for part in (
        "gamma 0.99 | lambda 0.95",
        "\\u8ecc\\u8de1.npz",
        "x failed",
        "+ written",
        "########..",
        "@",
    ):
        assert part in text


def test_colour_is_never_the_only_signal() -> None:
    coloured = rendered(
        summary(failed_file("b.npz")), force_terminal=True, color_system="standard", no_color=False
    )
    plain = rendered(summary(failed_file("b.npz")))
    assert "\x1b[" in coloured
    assert "\x1b[" not in plain
    assert "failed" in plain


def test_the_style_of_one_item_does_not_reach_the_next() -> None:
    (line,) = flow([Text("GAE", "bold"), Text("long layout")], 80)
    assert line.style == ""
    assert [(span.start, span.end) for span in line.spans if span.style == "bold"] == [(0, 3)]


def test_what_is_left_out_is_told_in_lines_that_fit() -> None:
    statuses: list[Status] = ["written", "up to date", "dry run", "not written"]
    files = [file_summary(f"{k}.npz", status=statuses[k % 4]) for k in range(10_000)]
    text = rendered(summary(*files), 60)
    assert not too_wide(text, 60)
    assert "9,985 more:" in text


def test_no_line_ends_in_spaces() -> None:
    text = rendered(many_files(30, failed=(3,)))
    assert [line for line in text.split("\n") if line != line.rstrip()] == []
