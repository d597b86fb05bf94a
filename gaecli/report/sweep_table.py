"""A sweep for a person: a line per setting, and a map of the one number that matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from gaecli.report.charts import align_decimals, format_number, format_seconds, format_setting
from gaecli.report.counts import are_responses
from gaecli.report.heatmap import heat_map_lines
from gaecli.report.labels import success_items
from gaecli.report.notes import warning_lines
from gaecli.report.table import print_lines
from gaecli.report.text import BAD, GOOD, QUIET, STRONG, Canvas, plural
from gaecli.report.text_flow import TextColumn, TextGrid, flow, labelled_rows, paragraph, stacked
from gaecli.results import Sweep, SweepPoint

if TYPE_CHECKING:
    from rich.console import Console

#: Metric -> heading, and what it says.
METRICS = {
    "mean": ("mean", "mean of A"),
    "std": ("std", "standard deviation of A"),
    "explained_variance": (
        "expl. var.",
        "1 - Var(A) / Var(R), the share of the target R = A + V that V explains",
    ),
    "zero_share": ("zeros", "share of steps at which A is 0"),
    "bias": ("bias", "RMS of A(γ, λ) - A(γ, 1), over the std of A(γ, 1)"),
    "sign_agreement": ("same sign", "share of steps at which A has the sign it has at the reference"),
    "threshold": ("threshold", "the number from which on rows are labelled positive"),
    "positive_share": ("positive", "share of rows that are labelled positive"),
    "label_agreement": ("same label", "share of rows with the label that they have at the reference"),
    "effective_horizon": ("horizon", "1 / (1 - γλ) steps"),
}
#: Settings that say more than one γ or λ. λ of a preset gives way to one that is swept.
_MANY_DECAYS = ("stream", "gamma_column", "lam_column", "lam_retain", "lam_alpha", "turn_gamma")
_OF_LABELS = ("threshold", "positive_share", "label_agreement")
#: What goes first where the terminal is narrow.
_DISPENSABLE = ("mean", "effective_horizon", "sign_agreement", "bias", "explained_variance", "std")
#: The table takes so many lines at most; the map has all settings.
MOST_LINES = 24


def render_sweep(sweep: Sweep, console: Console, metric: str) -> None:
    print_lines(sweep_lines(sweep, Canvas.of(console), metric), console)


def sweep_lines(sweep: Sweep, canvas: Canvas, metric: str) -> list[Text]:
    return stacked(
        [
            warning_lines(sweep.warnings, canvas),
            _verdict(sweep, canvas),
            _header(sweep, canvas),
            _table(sweep, canvas),
            _inputs(sweep, canvas),
            _map(sweep, metric, canvas),
            _meanings(sweep, metric, canvas),
        ]
    )


def _header(sweep: Sweep, canvas: Canvas) -> list[Text]:
    glyphs = canvas.glyphs
    items = [Text("sweep", STRONG)]
    estimator = str(sweep.settings.get("estimator", "gae"))
    if not sweep.is_grid:
        items.append(Text(plural(len(sweep.points), "rule")))
    else:
        sizes = [(sweep.gammas, glyphs.gamma), (sweep.lams, glyphs.lam), (sweep.windows, "n")]
        items += [Text(estimator, STRONG)] if estimator != "gae" else []
        items.append(Text(f" {glyphs.times} ".join(f"{len(of)} {letter}" for of, letter in sizes if of)))
    if _is_of_responses(sweep):
        items.append(Text(plural(sweep.counts.episodes, "response")))
    else:
        items.append(
            Text(f"{plural(sweep.counts.steps, 'step')} in {plural(sweep.counts.episodes, 'episode')}")
        )
    items += [] if sweep.labels is None else [Text(f"labels {canvas.clean(sweep.labels)}")]
    items += [Text(f"reference {_reference(sweep, canvas)}"), Text(canvas.clean(sweep.streams))]
    lines = flow(items, canvas.width, glyphs.separator)
    if sweep.success is not None:
        lines += labelled_rows(
            [("rewards", success_items(sweep.success, canvas))], 9, canvas.width, glyphs.separator
        )
    return lines


def _is_of_responses(sweep: Sweep) -> bool:
    return are_responses(file.layout for file in sweep.files)


def _reference(sweep: Sweep, canvas: Canvas) -> str:
    """What signs are compared with."""
    glyphs, settings = canvas.glyphs, sweep.settings
    if not sweep.is_grid:
        return canvas.clean(rule_of(sweep.points[0])) if sweep.points else glyphs.missing
    parts = [f"{glyphs.gamma} {format_setting(float(settings['gamma']))}"] if sweep.gammas else []
    parts += [f"{glyphs.lam} {format_setting(sweep.reference[1])}"] if sweep.reference is not None else []
    parts += [f"n {settings['n_steps']:,}"] if sweep.windows else []
    return " ".join(parts)


def rule_of(point: SweepPoint) -> str:
    return point.estimator if point.preset == "exact" else f"{point.preset} {point.estimator}"


def is_reference(sweep: Sweep, point: SweepPoint) -> bool:
    if not sweep.is_grid:
        return point is sweep.points[0]
    if sweep.reference is None:
        return (point.gamma, point.n_steps) == (sweep.settings["gamma"], sweep.settings.get("n_steps"))
    return (point.gamma, point.lam) == sweep.reference


def _table(sweep: Sweep, canvas: Canvas) -> list[Text]:
    if not sweep.counts.steps:
        return []
    points = _some_points(sweep)
    lines = _lines(sweep, points, _settings(sweep, points, canvas), canvas)
    if missing := [METRICS[name][0] for name in _names(sweep) if name not in _shown_names(sweep, canvas)]:
        note = f"{canvas.glyphs.ellipsis} no room for {', '.join(missing)}; `--json` has all"
        lines += paragraph(Text(note, "italic"), canvas.width)
    if len(points) < len(sweep.points):
        note = f"{canvas.glyphs.ellipsis} {len(points)} of {len(sweep.points):,} settings; `--json` has all"
        lines.append(Text(note, "italic"))
    return lines


def _shown_names(sweep: Sweep, canvas: Canvas) -> list[str]:
    """Metrics of the table, as far as the terminal has room for them."""
    points = _some_points(sweep)
    return _fitting_names(sweep, points, _settings(sweep, points, canvas), canvas)


def _inputs(sweep: Sweep, canvas: Canvas) -> list[Text]:
    """Each of several inputs by itself: under all rules, or at the reference of a grid."""
    if len(sweep.inputs) < 2:
        return []
    chosen = [(one, point) for one in sweep.inputs for point in _compared_points(sweep, one.points)]
    shown, points = chosen[:MOST_LINES], [point for _, point in chosen[:MOST_LINES]]
    names = [canvas.shorten(one.input, canvas.width // 3) for one, _ in shown]
    headings = {"input": names} | (_settings(sweep, points, canvas) if not sweep.is_grid else {})
    at = f", at {_said(shown_setting(points[0]), canvas)}" if sweep.is_grid else ""
    lines = [Text(f"each input by itself{at}", "italic"), *_lines(sweep, points, headings, canvas)]
    if len(shown) < len(chosen):
        note = f"{canvas.glyphs.ellipsis} {len(shown)} of {len(chosen):,} lines; `--json` has more"
        lines.append(Text(note, "italic"))
    return lines


def _compared_points(sweep: Sweep, points: Sequence[SweepPoint]) -> list[SweepPoint]:
    if not sweep.is_grid:
        return list(points)
    at = next((index for index, point in enumerate(sweep.points) if is_reference(sweep, point)), 0)
    return [points[at]]


def shown_setting(point: SweepPoint) -> str:
    """γ, λ and n of a point of a grid, in words."""
    parts = [("γ", point.gamma), ("λ", point.lam)]
    words = [f"{letter} {format_setting(number)}" for letter, number in parts if number is not None]
    return " ".join([*words, *([f"n {point.n_steps:,}"] if point.n_steps is not None else [])])


def _lines(
    sweep: Sweep, points: list[SweepPoint], settings: Mapping[str, list[str]], canvas: Canvas
) -> list[Text]:
    """A table of points: what tells them apart, then as many metrics as fit."""
    grid = TextGrid(
        _columns(sweep, points, _fitting_names(sweep, points, settings, canvas), settings, canvas)
    )
    heading, *rows = grid.lines()
    return [heading, Text(canvas.glyphs.rule * grid.width, QUIET), *rows]


def _fitting_names(
    sweep: Sweep, points: list[SweepPoint], settings: Mapping[str, list[str]], canvas: Canvas
) -> list[str]:
    names = _names(sweep)
    for dropped in (None, *_DISPENSABLE):
        names = [name for name in names if name != dropped]
        if TextGrid(_columns(sweep, points, names, settings, canvas)).width <= canvas.width:
            break
    return names


def _names(sweep: Sweep) -> list[str]:
    """Metrics that say something: of sums hardly any step has 0."""
    names = [name for name in METRICS if name != ("zero_share" if sweep.is_grid else "bias")]
    return [name for name in names if any(_has(sweep, point, name) for point in sweep.points)]


def _has_many_decays(sweep: Sweep) -> bool:
    """Steps, streams or units have γ or λ of their own."""
    given = [name for name in _MANY_DECAYS if sweep.settings.get(name) is not None]
    return any(name != "lam_alpha" or not sweep.lams for name in given)


def _has(sweep: Sweep, point: SweepPoint, name: str) -> bool:
    if name == "effective_horizon":  # None is infinite where there are a γ and λ that it is of
        return point.gamma is not None and point.n_steps is None and not _has_many_decays(sweep)
    if name == "threshold":
        return any(group.threshold is not None for group in point.label_groups)
    return getattr(point, name) is not None


def _some_points(sweep: Sweep) -> list[SweepPoint]:
    """The same λ under every γ, and the reference in any case."""
    if not sweep.lams:
        return list(sweep.points[:MOST_LINES])
    stride = -(-len(sweep.points) // MOST_LINES)
    lams = set(sweep.lams[::stride])
    return [
        point for point in sweep.points if point.lam in lams or (point.gamma, point.lam) == sweep.reference
    ]


def _settings(sweep: Sweep, points: list[SweepPoint], canvas: Canvas) -> dict[str, list[str]]:
    """Heading -> cells of what is swept."""
    glyphs, found = canvas.glyphs, {}
    if not sweep.is_grid:
        found["rule"] = [canvas.clean(rule_of(point)) for point in points]
    if sweep.gammas:
        found[glyphs.gamma] = align_decimals([_set(point.gamma) for point in points])
    if sweep.lams:
        found[glyphs.lam] = align_decimals([_set(point.lam) for point in points])
    if sweep.windows:
        found["n"] = [f"{point.n_steps or 0:,}" for point in points]
    return found


def _columns(
    sweep: Sweep,
    points: list[SweepPoint],
    names: list[str],
    settings: Mapping[str, list[str]],
    canvas: Canvas,
) -> list[TextColumn]:
    is_of_all = "input" not in settings
    styles = [GOOD if is_of_all and is_reference(sweep, point) else "" for point in points]

    def column(heading: str, cells: list[str]) -> TextColumn:
        texts = [Text(cell, style) for cell, style in zip(cells, styles, strict=True)]
        return TextColumn(heading, texts, align="left" if heading in ("rule", "input") else "right")

    columns = [column(heading, cells) for heading, cells in settings.items()]
    for name in names:
        cells = [_number(point, name, canvas.glyphs.missing) for point in points]
        columns.append(column(METRICS[name][0], align_decimals(cells)))
    return columns


def _set(number: float | None) -> str:
    return "" if number is None else format_setting(number)


def _number(point: SweepPoint, name: str, missing: str) -> str:
    number: float | None = getattr(point, name)
    if name == "effective_horizon" and number is None:
        return "inf"
    if name == "threshold" and len(point.label_groups) > 1:
        return _range([group.threshold for group in point.label_groups], missing)
    return format_number(number, scale=point.std if name == "mean" else None, missing=missing)


def _range(numbers: Sequence[float | None], missing: str) -> str:
    """Of groups with thresholds of their own."""
    known = [number for number in numbers if number is not None]
    return f"{format_number(min(known))} to {format_number(max(known))}" if known else missing


def _map(sweep: Sweep, metric: str, canvas: Canvas) -> list[Text]:
    """λ across where it fits, else down."""
    if not (sweep.lams and sweep.gammas) or sweep.reference is None:
        return []
    glyphs = canvas.glyphs
    values = {(point.gamma, point.lam): getattr(point, metric) for point in sweep.points}
    if all(number is None for number in values.values()):
        return []
    gammas = [format_setting(gamma) for gamma in sweep.gammas]
    lams = [format_setting(lam) for lam in sweep.lams]
    if not values or len(values) == 1:
        return []
    by_gamma = [[values[gamma, lam] for lam in sweep.lams] for gamma in sweep.gammas]
    heading = paragraph(
        Text(f"{METRICS[metric][0]}: {_said(METRICS[metric][1], canvas)}", "italic"), canvas.width
    )
    gamma, lam = sweep.reference
    assert gamma is not None
    row = list(sweep.gammas).index(gamma) if gamma in sweep.gammas else -1
    column = list(sweep.lams).index(lam) if lam in sweep.lams else -1
    if 8 + 6 * len(lams) <= canvas.width:
        corner = f"{glyphs.gamma} \\ {glyphs.lam}"
        return heading + heat_map_lines(by_gamma, gammas, lams, corner, canvas, (row, column))
    by_lam = [list(line) for line in zip(*by_gamma, strict=True)]
    corner = f"{glyphs.lam} \\ {glyphs.gamma}"
    return heading + heat_map_lines(by_lam, lams, gammas, corner, canvas, (column, row))


def _said(words: str, canvas: Canvas) -> str:
    return words.replace("γ", canvas.glyphs.gamma).replace("λ", canvas.glyphs.lam)


def _meanings(sweep: Sweep, shown: str, canvas: Canvas) -> list[Text]:
    """What the headings mean; that of the map has been told above it."""
    lines: list[Text] = []
    there, has_map = _shown_names(sweep, canvas), bool(_map(sweep, shown, canvas))
    for name in ("explained_variance", "zero_share", "bias", "sign_agreement", *_OF_LABELS):
        if (name == shown and has_map) or name not in there:
            continue
        heading, words = METRICS[name]
        if _is_of_responses(sweep):
            words = words.replace("steps", "responses")
        lines += paragraph(Text(f"{heading}: {_said(words, canvas)}", QUIET), canvas.width)
    return lines


def _verdict(sweep: Sweep, canvas: Canvas) -> list[Text]:
    glyphs = canvas.glyphs
    written = [file.output for file in sweep.files if file.output and not file.error]
    failed = sum(file.error is not None for file in sweep.files)
    items = [
        Text(f"{glyphs.written} {plural(len(sweep.points), 'setting')}", GOOD),
        Text(format_seconds(sweep.seconds)),
    ]
    if not sweep.counts.steps:
        items.append(Text("there are no steps"))
    if failed:
        which = f"{failed:,} of {plural(len(sweep.files), 'file')} failed"
        items.append(Text(f"{glyphs.failed} {which}", BAD))
    if len(written) == 1:
        items.append(Text(f"{glyphs.hint} {canvas.shorten(written[0], canvas.width - 4)}"))
    elif written:
        items.append(Text(f"{plural(len(written), 'file')} written"))
    return flow(items, canvas.width, glyphs.separator)
