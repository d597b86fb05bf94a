"""What lies behind the numbers: explained variance, bootstraps, normalisation, columns, settings, time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.text import Text

from gaecli.estimator_kinds import ESTIMATORS
from gaecli.presets import ALL_PRESETS
from gaecli.report.charts import (
    align_decimals,
    format_count,
    format_number,
    format_rate,
    format_seconds,
    format_setting,
    gauge_bar,
)
from gaecli.report.counts import compares_scores
from gaecli.report.statistics_table import has_statistics
from gaecli.report.text import BAD, BAR, CAUTION, GOOD, QUIET, STRONG, Canvas, plural
from gaecli.report.text_flow import TextColumn, TextGrid, flow, labelled
from gaecli.settings import Settings
from gaecli.summary import Baseline, BootstrapCounts, Normalization, NormalizationGroup, Spread, Summary

LABEL_WIDTH = len("explained variance") + 2
GAUGE_WIDTH = 10
MOST_GROUPS = 8
MOST_METHODS = 3
#: Ways to write a file whose names say little.
WORDS = {
    "splice": "splice: what was there is copied as bytes",
    "archive": "archive: what was there is copied as bytes",
}
#: Cells that a group's name should get before its table moves to the left edge.
WIDTH_OF_GROUP = 16

#: From which explained variance on a word holds, and the style of the word.
READINGS = (
    (0.7, "good", GOOD),
    (0.3, "fair", STRONG),
    (0.05, "weak", CAUTION),
    (-0.005, "none: no better than a constant", CAUTION),
    (float("-inf"), "negative: worse than a constant", BAD),
)
#: These stand in the header whatever they are.
HEADER_SETTINGS = ("gamma", "lam", "preset", "estimator", "overrides", "stream")


def detail_lines(summary: Summary, canvas: Canvas) -> list[Text]:
    rows = [
        ("explained variance", _explained_variance(summary, canvas)),
        ("bootstrapped", _bootstrapped(summary)),
        ("baseline", _baseline(summary, canvas)),
        ("normalised", _normalized(summary, canvas)),
        *_labels(summary, canvas),
        ("columns", _column_roles(summary, canvas)),
        ("settings", _changed_settings(summary, canvas)),
        ("method", _methods(summary, canvas)),
        ("time", _time(summary, canvas)),
    ]
    lines: list[Text] = []
    for label, items in rows:
        if items:
            value = flow(items, canvas.width - LABEL_WIDTH, canvas.glyphs.separator)
            lines += labelled(label, value, LABEL_WIDTH)
        if label == "baseline" and summary.baseline is not None:
            lines += _groups(summary.baseline, canvas)
        if label == "normalised":
            lines += _groups(summary.normalization, canvas)
    return lines


def _labels(summary: Summary, canvas: Canvas) -> list[tuple[str, list[Text]]]:
    if summary.labels is None and summary.success is None:
        return []
    from gaecli.report.labels import label_items, success_items

    return [("rewards", success_items(summary.success, canvas)), ("labels", label_items(summary, canvas))]


def read_explained_variance(explained_variance: float | None) -> tuple[str, str]:
    """A word for 1 - Var(A) / Var(R), and its style."""
    if explained_variance is None or explained_variance != explained_variance:
        return "not known", ""
    return next((word, style) for least, word, style in READINGS if explained_variance >= least)


def _explained_variance(summary: Summary, canvas: Canvas) -> list[Text]:
    """Number, gauge and word: the fastest check of the values that the advantages rest on."""
    return explained_items(summary.explained_variance, summary.explained_variances, canvas)


def explained_items(explained: float | None, spread: Spread | None, canvas: Canvas) -> list[Text]:
    """Empty if not known. Of several inputs the figure is that within them, and `spread` shows theirs."""
    if explained is None:
        return []
    word, style = read_explained_variance(explained)
    gauge = gauge_bar(explained, GAUGE_WIDTH, canvas.glyphs.gauge)
    items = [Text.assemble((format_number(explained), STRONG), "  ", (gauge, BAR)), Text(word, style)]
    if spread is not None:
        low, median, high = (format_number(number) for number in (spread.min, spread.median, spread.max))
        items += [
            Text(f"within {plural(spread.count, 'input')}"),
            Text(f"median {median}"),
            Text(f"from {low} to {high}"),
        ]
    return items


def bootstraps(counts: BootstrapCounts) -> list[tuple[int, str, str]]:
    """How many ends needed a value, what stood in for it, and the style in which that is shown."""
    found = (
        (counts.next_value, "with the next value", ""),
        (counts.zero, "with zero", CAUTION),
        (counts.current, "with the current value", CAUTION),
    )
    return [one for one in found if one[0]]


def _bootstrapped(summary: Summary) -> list[Text]:
    """Ends of trajectories that needed a value, by what stood in for it."""
    if compares_scores(summary.settings.get("estimator")):
        return []
    counts = summary.bootstrapped
    items = [Text(f"{count:,} {words}", style) for count, words, style in bootstraps(counts)]
    if items or not has_statistics(summary):
        return items
    totals = summary.totals
    reason = ": every trajectory ends in a terminal state" if totals.terminated == totals.episodes else ""
    return [Text(f"nothing{reason}")]


def _normalized(summary: Summary, canvas: Canvas) -> list[Text]:
    """`over all inputs · (A - 0.1234) / (1.552 + 1e-8) · ddof 1`"""
    normalization = summary.normalization
    if normalization.scope == "none":
        has_advantages = "advantage" in summary.columns and summary.baseline is None
        return [Text("no")] if has_statistics(summary) and has_advantages else []
    scopes = {"all": "over all inputs", "file": "per file", "episode": "per episode"}
    scope = scopes.get(normalization.scope, canvas.clean(normalization.scope))
    items = [Text(scope, STRONG), Text(_formula(normalization, canvas))]
    items.append(Text(f"ddof {normalization.ddof}"))
    if normalization.num_groups > 1:
        items.append(Text(plural(normalization.num_groups, "group")))
    return items


def _formula(normalization: Normalization, canvas: Canvas) -> str:
    glyphs = canvas.glyphs
    mean = "mean" if normalization.mean is None else format_number(normalization.mean)
    std = "std" if normalization.std is None else format_number(normalization.std)
    eps = format_setting(normalization.eps)
    denominators = {
        "add": f"({std} + {eps})",
        "clamp": f"max({std}, {eps})",
        "rsqrt": f"{glyphs.root}({std}{glyphs.squared} + {eps})",
    }
    sign = "+" if mean.startswith("-") else glyphs.minus
    centred = f"A {sign} {mean.removeprefix('-')}"
    return f"({centred}) / {denominators.get(normalization.floor, std)}"


def _groups(normalization: Normalization | Baseline, canvas: Canvas) -> list[Text]:
    """A row per group, where there are several."""
    if normalization.num_groups <= 1 or not normalization.groups:
        return []
    shown = normalization.groups[:MOST_GROUPS]
    columns = _group_columns(shown, aligned=True)
    indent = LABEL_WIDTH
    if TextGrid(columns).width + indent + WIDTH_OF_GROUP > canvas.width:
        columns = _group_columns(shown, aligned=False)
        indent = 2
    room = max(canvas.width - indent - TextGrid(columns).width - 2, len("group"))
    labels = [Text(canvas.shorten(group.label, room)) for group in shown]
    grid = TextGrid([TextColumn("group", labels, align="left"), *columns])
    heading, *rows = grid.lines()
    lines = [heading, Text(canvas.glyphs.rule * grid.width, QUIET), *rows]
    num_more = normalization.num_groups - len(shown)
    if num_more > 0:
        lines.append(Text(f"{canvas.glyphs.ellipsis} {plural(num_more, 'more group')}", "italic"))
    return labelled("", lines, indent)


def _group_columns(groups: Sequence[NormalizationGroup], *, aligned: bool) -> list[TextColumn]:
    means = [format_number(group.mean, scale=group.std) for group in groups]
    stds = [format_number(group.std) for group in groups]
    if aligned:
        means, stds = align_decimals(means), align_decimals(stds)
    return [
        TextColumn("count", [Text(format_count(group.count)) for group in groups]),
        TextColumn("mean", [Text(mean) for mean in means]),
        TextColumn("std", [Text(std) for std in stds]),
    ]


def _column_roles(summary: Summary, canvas: Canvas) -> list[Text]:
    """Which column was taken for what; a wrong guess here explains every wrong number."""
    resolved = [file.columns for file in summary.files if file.columns]
    roles = resolved[0] if resolved else {}
    items = [*_rewards(summary, canvas), *(_role(role, name, canvas) for role, name in roles.items())]
    num_others = sum(columns != roles for columns in resolved)
    if num_others:
        items.append(Text(f"otherwise in {plural(num_others, 'file')}", CAUTION))
    return items


def _baseline(summary: Summary, canvas: Canvas) -> list[Text]:
    if summary.baseline is None:
        return []
    from gaecli.report.baselines import baseline_items

    return baseline_items(summary.baseline, canvas)


def _rewards(summary: Summary, canvas: Canvas) -> list[Text]:
    """Of several columns `reward = accuracy + 0.5 format`, whose sum the row of statistics has."""
    weights: Mapping[str, float] = summary.settings.get("rewards") or {}
    if not weights:
        return []
    from gaecli.group_settings import weighted_sum

    return [_role("reward", weighted_sum(weights), canvas)]


def _role(role: str, name: str, canvas: Canvas) -> Text:
    words = role.replace("_", " ")
    shown = canvas.shorten(name, canvas.width - LABEL_WIDTH)
    return Text(words) if name == role else Text.assemble(f"{words} = ", (shown, STRONG))


def _changed_settings(summary: Summary, canvas: Canvas) -> list[Text]:
    """As flags, so that they can be typed again. What a preset says is not repeated, what beats it is."""
    preset = str(summary.settings.get("preset", "exact"))
    estimator = str(summary.settings.get("estimator", "gae"))
    usual = Settings.usual(
        preset if preset in ALL_PRESETS else "exact", estimator if estimator in ESTIMATORS else "gae"
    )
    overrides = summary.settings.get("overrides", {}) if preset != "exact" else {}
    items: list[Text] = []
    for name, value in summary.settings.items():
        if value is None:
            continue
        if name in overrides:
            words = f"{as_flag(name, value, canvas)} over the preset's {_setting(usual[name], canvas)}"
            items.append(Text(words, CAUTION))
        elif name in HEADER_SETTINGS or value == usual.get(name):
            continue
        elif name == "columns":
            named = value.items()
            items += [Text(f"{flag_of_role(role)} {canvas.clean(col)}") for role, col in named]
        else:
            items.append(Text(as_flag(name, value, canvas)))
    return items


def flag_of_role(role: str) -> str:
    return "--unit" if role == "unit" else f"--{role.replace('_', '-')}-column"


def as_flag(name: str, value: object, canvas: Canvas) -> str:
    """As one would type it; of several columns, once for each."""
    if name == "rewards" and isinstance(value, Mapping):
        return " ".join(f"--reward {canvas.clean(column)}={weight:g}" for column, weight in value.items())
    if isinstance(value, list):
        return " ".join(as_flag(name, one, canvas) for one in value)
    flag = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return flag if value else f"--no-{flag[2:]}"
    return f"{flag} {_setting(value, canvas)}"


def _setting(value: object, canvas: Canvas) -> str:
    return format_setting(value) if isinstance(value, float) else canvas.clean(str(value))


def _methods(summary: Summary, canvas: Canvas) -> list[Text]:
    """How files are written, dim: it matters to who wonders why a file took long. And what computed, if not NumPy."""
    unusual = summary.device != "cpu" or not summary.backend.startswith("numpy")
    device = f"{summary.device}, {summary.backend}".strip(", ") if unusual else ""
    return [*_writing(summary, canvas), *([Text(canvas.clean(device), QUIET)] if device else [])]


def _writing(summary: Summary, canvas: Canvas) -> list[Text]:
    used = (file.method for file in summary.files if file.method and file.status != "failed")
    methods = Counter(used).most_common()
    if len(summary.files) == 1:
        return [Text(canvas.clean(WORDS.get(method, method)), QUIET) for method, _ in methods]
    items = [f"{canvas.clean(method)} ({plural(count, 'file')})" for method, count in methods[:MOST_METHODS]]
    num_more = sum(count for _, count in methods[MOST_METHODS:])
    if num_more:
        items.append(f"otherwise ({plural(num_more, 'file')})")
    return [Text(item, QUIET) for item in items]


def _time(summary: Summary, canvas: Canvas) -> list[Text]:
    seconds = summary.seconds
    if seconds.total <= 0:
        return []
    phases: Sequence[tuple[str, float]] = (
        ("read", seconds.read),
        ("kernel", seconds.kernel),
        ("write", seconds.write),
    )
    items = [Text(format_seconds(seconds.total), STRONG)]
    if summary.steps_per_second and has_statistics(summary):
        layouts = {file.layout for file in summary.files if file.layout is not None}
        unit = "responses" if layouts == {"responses"} else "steps"
        items.append(Text(format_rate(summary.steps_per_second, unit)))
    items += [Text(f"{name} {format_seconds(phase)}") for name, phase in phases if phase > 0]
    return items
