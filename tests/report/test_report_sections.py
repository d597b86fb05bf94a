"""The page of a run: what is said of it, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report.examples import (
    COLUMN_NAMES,
    column_statistics,
    failed_file,
    file_summary,
    rendered,
    summary,
)
from report.shown import WIDTHS, line_with, many_files, too_wide, verdict
from rich.text import Text

from gaecli.report.details import read_explained_variance
from gaecli.report.text import ASCII, UNICODE, Canvas
from gaecli.report.text_flow import flow
from gaecli.settings import Settings
from gaecli.summary import (
    BootstrapCounts,
    EpisodeCounts,
    Normalization,
    NormalizationGroup,
    Seconds,
    Spread,
    Status,
    WarningNote,
)


def test_when_all_files_are_up_to_date_nothing_is_said_about_numbers() -> None:
    files = [file_summary(name, status="up to date") for name in ("a.parquet", "b.parquet")]
    text = rendered(summary(*files, columns={}, explained_variance=None, bootstrapped=BootstrapCounts()))
    assert text.count("= up to date") == 2
    assert verdict(text) == "= 2 files up to date, nothing to do"
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
    assert verdict(text) == "○ dry run of 1 file, nothing written · → out.parquet"


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
        (-1e-9, "none: no better than a constant"),
        (-0.01, "negative: worse than a constant"),
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
    assert text.split("\n")[1] == "GAE · γ 0.5 · λ 0.95 · preset sb3 · long layout"
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
    assert verdict(text) == "✓ 1 file written · in place · ! 1 warning"


def test_a_warning_does_not_repeat_what_its_message_says() -> None:
    note = WarningNote("open-end", "1,200 ends in `a.npz`", file="a.npz", count=1200)
    assert line_with(rendered(summary(warnings=[note])), "open-end") == "  open-end"


def test_different_warnings_are_capped_and_counted() -> None:
    notes = [WarningNote("code", f"message number {k}") for k in range(15)]
    text = rendered(summary(warnings=notes))
    assert text.count("message number") == 12
    assert "… 3 more warnings; `--json` lists all of them" in text
    assert "! 15 warnings" in verdict(text)


def test_brackets_in_a_warning_are_no_markup() -> None:
    text = rendered(summary(warnings=[WarningNote("code", "see [this]")]))
    assert "! see [this]\n  code\n" in text


def test_an_output_elsewhere_is_named() -> None:
    one = summary(file_summary(output="out/x.parquet"))
    assert verdict(rendered(one)) == "✓ 1 file written · → out/x.parquet"
    two = summary(*(file_summary(name, output=f"out/{name}") for name in ("a.npz", "b.npz")))
    assert verdict(rendered(two)) == "✓ 2 files written · → out/"


def test_files_that_were_replaced_are_told_and_no_others() -> None:
    assert (
        verdict(rendered(summary(file_summary("a.npz"), file_summary("b.npz"))))
        == "✓ 2 files written · in place"
    )
    others = [
        file_summary("-", output="-"),
        file_summary(status="dry run"),
        file_summary(status="up to date"),
    ]
    for other in others:
        assert "in place" not in verdict(rendered(summary(other)))


def test_an_interrupted_run_says_so() -> None:
    files = [file_summary("a.npz"), file_summary("b.npz", status="not written")]
    text = rendered(summary(*files, interrupted=True, exit_code=130))
    assert verdict(text) == "✗ interrupted: 1 written, 1 not written; exit code 130"


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
