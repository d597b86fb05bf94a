"""What the screen says of episodes, steps and findings: plain text out of what a report holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from rich.text import Text

from gaecli.diagnosis import Finding
from gaecli.explanation import BootstrapSource
from gaecli.records import dataclass
from gaecli.report.charts import format_number, histogram_bar
from gaecli.report.text import BAD, BAR, CAUTION, GOOD, QUIET, STRONG, Canvas
from gaecli.report_page.content import ReportContent, ReportEpisode
from gaecli.shown import listed, plural

CANVAS = Canvas()
#: A number of four digits.
AXIS_WIDTH = 8
#: From so many cells on there is room for a median.
_WIDE = 56
SEVERITIES = {"error": BAD, "warning": CAUTION, "note": GOOD}
#: What stands for V behind the last step.
_BOOTSTRAPS: Mapping[BootstrapSource, str] = {
    "none": "no V after it",
    "next value": "V after it",
    "current": "V after it, that of its last step,",
    "zero": "V after it not given, so 0",
}


@dataclass(frozen=True)
class Measure:
    """A column of the list of episodes."""

    name: str
    width: int
    of: Callable[[ReportEpisode], float | str | None]
    form: Callable[[float], str] = format_number
    #: The first order is that of what is worth a look.
    is_ascending: bool = False

    def text(self, episode: ReportEpisode) -> str:
        value = self.of(episode)
        if value is None or isinstance(value, str):
            return value or "–"
        return self.form(value)


#: In the order in which they stand; those that fit are shown.
MEASURES = (
    Measure("Steps", 7, lambda one: one.num_steps, "{:,}".format),
    Measure("Σ r", 8, lambda one: one.total_reward, is_ascending=True),
    Measure("max |A|", 8, lambda one: one.largest_advantage),
    Measure("V error", 8, lambda one: one.value_error),
    Measure("Strange", 8, lambda one: one.strangeness, "{:.1f}".format),
    Measure("End", 10, lambda one: one.end, is_ascending=True),
)


def label(episode: ReportEpisode) -> str:
    """What the file calls it; else its place, from 1."""
    parts = [f"{role} {value}" for role, value in episode.key.items()]
    return CANVAS.clean(", ".join(parts)) or f"#{episode.number + 1}"


def short_label(episode: ReportEpisode) -> str:
    """The same in a list whose head has the roles."""
    return CANVAS.clean(", ".join(map(str, episode.key.values()))) or f"#{episode.number + 1}"


def label_head(content: ReportContent) -> str:
    """Those roles."""
    key = content.episodes[0].key if content.episodes else {}
    return CANVAS.clean(", ".join(key)) or "episode"


def codes(content: ReportContent, index: int) -> list[str]:
    """Of the findings in an episode."""
    return [content.checkup.findings[one.finding].rule.code for one in content.placed if one.episode == index]


def searched_text(content: ReportContent, index: int) -> str:
    episode = content.episodes[index]
    group = (
        "" if content.groups is None or episode.group is None else content.groups.groups[episode.group].label
    )
    words = [label(episode), episode.end, *episode.chosen_as, *codes(content, index), CANVAS.clean(group)]
    return " ".join(words).lower()


def headline(content: ReportContent) -> Text:
    """What is looked at."""
    counts = content.counts
    settings = [
        f"{letter} {content.settings[name]:g}"
        for letter, name in (("γ", "gamma"), ("λ", "lam"))
        if isinstance(content.settings.get(name), float)
    ]
    shown = len(content.episodes)
    of_all = "" if shown == content.num_episodes else f" ({shown:,} of them here: {content.how_chosen})"
    line = Text(CANVAS.shorten(content.source, 30), STRONG)
    line.append(" · ", QUIET).append(
        listed(plural(counts.steps, "step"), plural(content.num_episodes, "episode") + CANVAS.clean(of_all))
    )
    line.append(" · ", QUIET).append(" ".join([str(content.settings["estimator"]), *settings]))
    if content.remark is not None:
        line.append(f"\n{CANVAS.clean(content.remark)}", QUIET)
    return line


def facts(content: ReportContent, index: int, *, is_short: bool = False) -> Text:
    """Of one episode: how long, how it ends; where there is room, why it is strange."""
    episode = content.episodes[index]
    masked = episode.num_positions - episode.num_steps
    line = Text(label(episode), STRONG)
    parts = [plural(episode.num_steps, "step") + (f" and {masked:,} masked" if masked else "")]
    if len(content.files) > 1:
        parts.append(f"in {CANVAS.clean(episode.file)}")
    line.append(" · ", QUIET).append(", ".join(parts)).append(" · ", QUIET)
    line.append(episode.end, GOOD if episode.end == "terminated" else CAUTION)
    if content.has_values:
        has_number = episode.bootstrap in ("next value", "current")
        number = f" {told(episode.bootstrap_value)}" if has_number else ""
        line.append(f": {_BOOTSTRAPS[episode.bootstrap]}{number}")
    found = codes(content, index)
    if found:
        line.append(" · ", QUIET).append(" ".join(found), CAUTION)
    if is_short:
        return line
    line.append(" · ", QUIET).append(
        f"{episode.strangest} {format_number(episode.measure)}, median {format_number(episode.median)}"
    )
    if content.groups is not None and episode.group is not None:
        group = content.groups.groups[episode.group]
        line.append(" · ", QUIET).append(
            f"group {CANVAS.shorten(group.label, 30)}: {plural(group.count, 'response')}, "
            + ("all scores equal" if group.is_flat else f"scores {told(group.min)} to {told(group.max)}")
        )
    thinned = len(episode.curves.steps)
    if thinned < episode.num_positions:
        line.append(" · ", QUIET).append(f"{thinned:,} of its steps are drawn, the extremes among them")
    return line


def step_line(content: ReportContent, index: int, point: int) -> Text:
    """Where the cursor is, and the command that takes that advantage apart."""
    curves = content.episodes[index].curves
    row, item = int(curves.rows[point]), None if curves.items is None else int(curves.items[point])
    line = Text(f"step {int(curves.steps[point]):,}", STRONG)
    line.append(f" · row {row:,}" + (f", item {item:,}" if content.is_by_item and item is not None else ""))
    for placed in content.placed:
        if placed.episode == index and placed.position == int(curves.steps[point]):
            rule = content.checkup.findings[placed.finding].rule
            line.append(f" · {rule.code} {rule.name}", SEVERITIES[rule.severity])
    return line.append(f"\n{explain_command(content, index, point)}", QUIET)


def explain_command(content: ReportContent, index: int, point: int) -> str:
    curves = content.episodes[index].curves
    step = f" --step {int(curves.items[point])}" if content.is_by_item and curves.items is not None else ""
    return CANVAS.clean(f"{content.explain.rstrip()} --row {int(curves.rows[point])}{step}")


def finding_text(finding: Finding, is_placed: bool) -> Text:
    """As `gae check` tells it; whether Enter leads anywhere."""
    rule = finding.rule
    lines = Text.assemble((f"{rule.code} {rule.severity}", SEVERITIES[rule.severity]), f" {rule.name}\n")
    for line in CANVAS.clean_lines(finding.message):
        lines.append(f"{line}\n")
    where = listed(
        plural(finding.count, finding.unit) if finding.count else None,
        None if finding.row is None else f"first in row {finding.row:,}",
        None if finding.place is None else CANVAS.clean(finding.place),
        "Enter goes there" if is_placed else None,
    )
    if where:
        lines.append(f"{where}\n", STRONG if is_placed else QUIET)
    lines.append(f"→ {CANVAS.clean(finding.fix or rule.fix)}\n", QUIET)
    return lines


def notes(content: ReportContent) -> Text:
    """What a run would warn of, below the findings."""
    text = Text()
    if not content.checkup.findings:
        text.append(f"{plural(len(content.checkup.codes), 'rule')} of gae check found nothing.\n", GOOD)
    for note in content.warnings:
        text.append(f"\n{note.code} ", CAUTION).append("\n".join(CANVAS.clean_lines(note.message)))
        if note.hint:
            text.append(f"\n→ {CANVAS.clean(note.hint)}", QUIET)
        text.append("\n")
    return text


def distributions(content: ReportContent, width: int) -> Text:
    """Mean ± standard deviation and a histogram of each column, and what is told of all."""
    text = Text()
    for name, one in content.statistics.items():
        mean = format_number(one.mean, scale=one.std)
        text.append(name, STRONG).append(f" · {mean} ± {format_number(one.std)}")
        text.append(f", median {format_number(one.median)}\n" if width >= _WIDE else "\n")
        low, high = format_number(one.min), format_number(one.max)
        room = max(width - 2 * AXIS_WIDTH - 4, 8)
        is_constant = one.min == one.max
        bar = "█" if is_constant else histogram_bar(one.histogram, room)
        text.append(f"{low:>{AXIS_WIDTH}} ").append(bar, BAR).append("\n" if is_constant else f" {high}\n")
    if content.explained_variance is not None:
        text.append(f"\nexplained variance of V: {format_number(content.explained_variance)}")
    stored, groups = content.stored, content.groups
    if stored is not None:
        text.append(f"\n`{CANVAS.clean(stored.column)}` in the file: ")
        text.append(
            f"{stored.num_differing:,} of {plural(stored.num_compared, 'step')} differ, "
            f"by {format_number(stored.max_abs)} at most"
            if stored.num_differing
            else f"the same at all {plural(stored.num_compared, 'step')}"
        )
    if groups is not None:
        text.append(f"\n{plural(groups.num_groups, 'group')}, {groups.num_flat:,} with all scores equal")
    return text.append(f"\n{content.method}", QUIET)


def told(number: float) -> str:
    """Six digits, a whole number with all of its own."""
    if math.isnan(number):
        return "–"
    if math.isinf(number):
        return "∞" if number > 0 else "−∞"
    return f"{number:,.0f}" if number == int(number) and abs(number) < 1e9 else f"{number:.6g}"


def in_order(episodes: Sequence[ReportEpisode], measure: Measure | None, *, ascending: bool) -> list[int]:
    """Their indices. What has no number comes last, whichever way; equals as they lie in the input."""
    by_number = sorted(range(len(episodes)), key=lambda index: episodes[index].number)
    values = [one.number if measure is None else measure.of(one) for one in episodes]
    missing = [index for index in by_number if values[index] is None or values[index] != values[index]]
    known = [index for index in by_number if index not in set(missing)]
    # Python keeps the order of equals under `reverse` as well.
    return sorted(known, key=lambda index: values[index], reverse=not ascending) + missing  # type: ignore[arg-type,return-value]
