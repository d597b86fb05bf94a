"""What `gae inspect` found, for a person: what is in the file, and what `gae compute` would make of it.

From top to bottom: the file, what to look at, what comes next, the columns and their roles, the episodes, the
numbers, what they say about the values, and what is there already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from gaecli.decay_settings import OPTIONAL
from gaecli.estimator_kinds import ESTIMATORS, FEW
from gaecli.inspection import ComputePlan, ExistingColumn, FileInfo, Inspection
from gaecli.presets import ALL_PRESETS
from gaecli.report.charts import format_bytes, format_setting
from gaecli.report.counts import all_responses, compares_scores, estimator_of, what_counts
from gaecli.report.details import LABEL_WIDTH, as_flag, bootstraps, explained_items, flag_of_role
from gaecli.report.listings import episode_lines, head_lines
from gaecli.report.messages import message_lines
from gaecli.report.notes import warning_lines
from gaecli.report.overview import overview_lines
from gaecli.report.statistics_table import column_lines
from gaecli.report.table import print_lines
from gaecli.report.text import BAD, CAUTION, GOOD, QUIET, STRONG, Canvas, plural
from gaecli.report.text_flow import TextColumn, TextGrid, flow, hanging, labelled, paragraph, stacked
from gaecli.setting_fields import LABEL_DEFAULTS, UNIT_SETTINGS
from gaecli.settings import Settings
from gaecli.summary import ColumnStatistics

if TYPE_CHECKING:
    from rich.console import Console

#: Why a column has its role, for a person.
REASONS = {
    "flag": "named by a flag",
    "name": "by its name",
    "preset": "by its name in the library of the preset",
    "case": "by its name but for case",
    "data set": "by the data set",
    "log": "as such a log has it",
}
#: More inputs than this are a line each.
MOST_IN_FULL = 3
#: A table of roles whose names get fewer cells than this loses a column.
NARROWEST_NAME = 12
#: More names than this are counted rather than listed.
MOST_OTHERS = 24


def render_inspection(inspection: Inspection, console: Console) -> None:
    print_lines(inspection_lines(inspection, Canvas.of(console)), console)


def inspection_lines(inspection: Inspection, canvas: Canvas) -> list[Text]:
    together = _explained_together(inspection, canvas)
    if len(inspection.infos) > MOST_IN_FULL:
        return [*overview_lines(inspection.infos, canvas), *together]
    blocks = [block for info in inspection.infos for block in _blocks(info, inspection, canvas)]
    return stacked([*blocks, together])


def brief_lines(inspection: Inspection, canvas: Canvas) -> list[Text]:
    """What is in the files and which columns play which roles, without the numbers."""
    if len(inspection.infos) > MOST_IN_FULL:
        return overview_lines(inspection.infos, canvas)
    return stacked(
        [block for info in inspection.infos for block in (_file(info, canvas), _roles(info, canvas))]
    )


def _blocks(info: FileInfo, inspection: Inspection, canvas: Canvas) -> list[list[Text]]:
    return [
        _file(info, canvas),
        warning_lines(info.warnings, canvas),
        _plan(info, canvas),
        _roles(info, canvas),
        _numbers(info, canvas),
        _findings(info, inspection.gamma, canvas),
        head_lines(info.head, canvas),
        episode_lines(info.episodes, canvas, are_responses=all_responses([info])),
    ]


def _file(info: FileInfo, canvas: Canvas) -> list[Text]:
    """Name; format, size and rows; layout; episodes."""
    number = f" ({plural(len(info.files), 'file')})" if len(info.files) > 1 else ""
    rows = plural(info.num_rows, "row")
    if info.num_row_groups is not None:
        rows += f" in {plural(info.num_row_groups, 'row group')}"
    facts = [
        *([info.data_set] if info.data_set else []),
        info.format,
        format_bytes(info.num_bytes),
        rows,
        plural(len(info.columns), "column"),
    ]
    lines = flow([Text(canvas.clean(fact)) for fact in facts], canvas.width - 2, canvas.glyphs.separator)
    if info.layout is not None:
        layout = Text.assemble((canvas.clean(info.layout), STRONG), " layout")
        if info.layout_reason:
            layout.append(f": {canvas.clean(info.layout_reason)}")
        lines += paragraph(layout, canvas.width - 2)
    if info.log is not None:
        looks = f"looks like {info.log.name}: {info.log.says}"
        lines += paragraph(Text(canvas.clean(looks)), canvas.width - 2)
    lines += _episodes(info, canvas)
    name = canvas.shorten(info.path, canvas.width - len(number))
    return [Text.assemble((name, STRONG), number), *hanging(Text("  "), lines)]


def _episodes(info: FileInfo, canvas: Canvas) -> list[Text]:
    counts = info.counts
    if counts is None:
        return []
    items = []
    for counted in what_counts(estimator_of(info), [info.layout]):
        is_share = not counted.singular and counts.episodes
        share = f" ({_percent(getattr(counts, counted.field), counts.episodes)})" if is_share else ""
        items.append(Text(f"{counted.phrase(counts)}{share}"))
    return flow(items, canvas.width - 2, canvas.glyphs.separator)


def _percent(part: int, whole: int) -> str:
    """`0%` and `100%` only where they are exact."""
    percent = 100 * part / whole
    if 0 < percent < 1:
        return "<1%"
    return ">99%" if 99 < percent < 100 else f"{percent:.0f}%"


def _roles(info: FileInfo, canvas: Canvas) -> list[Text]:
    """Which column plays which role and why, then the columns that play none."""
    lines: list[Text] = []
    if info.roles:
        heading, *rows = _role_grid(info, canvas).lines()
        lines = [heading, Text(canvas.glyphs.rule * max(line.cell_len for line in rows), QUIET), *rows]
    used = set(info.roles.values())
    others = [name for name in info.columns if name not in used]
    if not others:
        return lines
    label = "other columns  " if used else "columns  "
    room = canvas.width - len(label)
    shown = [Text(canvas.shorten(name, room)) for name in others[:MOST_OTHERS]]
    if len(others) > MOST_OTHERS:
        shown.append(Text(f"{canvas.glyphs.ellipsis} {len(others) - MOST_OTHERS:,} more", "italic"))
    return [*lines, *hanging(Text(label), flow(shown, room, canvas.glyphs.separator))]


def _role_grid(info: FileInfo, canvas: Canvas) -> TextGrid:
    """Names and types share what the roles leave of a line. Where it is short, types go first, then reasons."""
    roles = TextColumn("role", [Text(role.replace("_", " ")) for role in info.roles], align="left")
    reasons = [Text(REASONS.get(info.role_reasons.get(role, ""), "")) for role in info.roles]
    why = TextColumn("why", reasons, align="left")
    types = [canvas.shorten(info.role_types.get(role, ""), canvas.width // 3) for role in info.roles]
    kinds = TextColumn("type", [Text(kind) for kind in types], align="left")
    for rest in ([kinds, why], [why], []):
        room = canvas.width - TextGrid([roles, *rest]).width - 2
        if room >= NARROWEST_NAME or not rest:
            break
    names = [Text(canvas.shorten(name, max(room, 1)), STRONG) for name in info.roles.values()]
    return TextGrid([roles, TextColumn("column", names, align="left"), *rest])


def _numbers(info: FileInfo, canvas: Canvas) -> list[Text]:
    statistics = _statistics(info)
    if not statistics:
        return []
    samples = [found.sample_count for found in statistics.values() if found.sample_count < found.count]
    lines = column_lines(statistics, canvas)
    if samples:
        note = f"{canvas.glyphs.approximately} from a sample of {plural(min(samples), 'row')}"
        lines += paragraph(Text(note, "italic"), canvas.width)
    return lines


def _statistics(info: FileInfo) -> dict[str, ColumnStatistics]:
    # A response has one reward and no length.
    by_episode = {"episode length": info.lengths, "episode return": info.episode_rewards}
    found = {**({} if all_responses([info]) else by_episode), **info.statistics}
    return {name: statistics for name, statistics in found.items() if statistics and statistics.count}


def _findings(info: FileInfo, gamma: float, canvas: Canvas) -> list[Text]:
    lines: list[Text] = []
    lines += _explained(explained_items(info.explained_variance, None, canvas), gamma, canvas)
    for position, column in enumerate(info.existing):
        value = flow(_existing(column, canvas), canvas.width - LABEL_WIDTH, canvas.glyphs.separator)
        lines += labelled("" if position else "already there", value, LABEL_WIDTH)
    return lines


def _explained_together(inspection: Inspection, canvas: Canvas) -> list[Text]:
    """Of several inputs, where each by itself is not all that one wants to know."""
    spread = inspection.explained_variances
    if spread is None:
        return []
    return _explained(
        explained_items(inspection.explained_variance, spread, canvas), inspection.gamma, canvas
    )


def _explained(items: list[Text], gamma: float, canvas: Canvas) -> list[Text]:
    if not items:
        return []
    returns = f"of returns at {canvas.glyphs.gamma} {format_setting(gamma)}, {canvas.glyphs.lam} 1"
    value = flow([*items, Text(returns, QUIET)], canvas.width - LABEL_WIDTH, canvas.glyphs.separator)
    return labelled("explained variance", value, LABEL_WIDTH)


def _existing(column: ExistingColumn, canvas: Canvas) -> list[Text]:
    name = Text.assemble((canvas.clean(column.name), STRONG), f" {canvas.clean(column.type)}")
    if not column.is_own or column.provenance is None:
        return [name, Text("not written by gaecli", CAUTION)]
    stored = column.provenance
    settings = stored.get("settings")
    items = [name, Text(f"gaecli {canvas.clean(str(stored.get('version', '')))}")]
    if isinstance(settings, Mapping):
        items += [*_stored_settings(settings, canvas), *_named_columns(settings.get("columns"), canvas)]
    return items


def _named_columns(columns: object, canvas: Canvas) -> list[Text]:
    """Columns that were named by flags, as one would type them."""
    if not isinstance(columns, Mapping):
        return []
    return [
        Text(f"{canvas.clean(flag_of_role(str(role)))} {canvas.clean(str(name))}")
        for role, name in columns.items()
    ]


def _stored_settings(settings: Mapping[str, Any], canvas: Canvas) -> list[Text]:
    kind = ESTIMATORS.get(str(settings.get("estimator", "gae")))
    items = [
        Text(f"{symbol} {format_setting(settings[name])}")
        for symbol, name in ((canvas.glyphs.gamma, "gamma"), (canvas.glyphs.lam, "lam"))
        if isinstance(settings.get(name), int | float) and (kind is None or name not in kind.unused)
    ]
    for name, usual in (
        ("estimator", "gae"),
        ("preset", "exact"),
        ("normalize", "none"),
        ("bootstrap", "zero"),
    ):
        value = settings.get(name)
        if value is not None and value != usual:
            items.append(Text(f"{name} {canvas.clean(str(value))}"))
    return items + _other_flags(settings, canvas)


#: Settings that are told only where the preset would have another one.
_TOLD_BY_PRESET = (
    "truncation",
    "done_at",
    "reward_at",
    "mask_mode",
    "masked_reward",
    "on_nan",
    "stream",
    "lam_alpha",
    *OPTIONAL,
    *UNIT_SETTINGS,
    "n_steps",
    *FEW,
    *LABEL_DEFAULTS,
    "normalize_by",
    "keep_raw",
    "join",
)


def _other_flags(settings: Mapping[str, Any], canvas: Canvas) -> list[Text]:
    """As one would type them, after the preset."""
    preset = str(settings.get("preset"))
    estimator = str(settings.get("estimator", "gae"))
    usual = Settings.usual(
        preset if preset in ALL_PRESETS else "exact", estimator if estimator in ESTIMATORS else "gae"
    )
    found = {
        name: value
        for name in _TOLD_BY_PRESET
        if (value := settings.get(name)) is not None and value != usual.get(name)
    }
    return [
        *_streams(found.pop("stream", ()), canvas),
        *(Text(as_flag(name, value, canvas)) for name, value in found.items()),
    ]


def _streams(given: Sequence[Mapping[str, Any]], canvas: Canvas) -> list[Text]:
    if not given:
        return []
    from gaecli.stream_settings import parsed

    return [Text(f"--stream {canvas.clean(one.text)}") for one in parsed(given)]


def _plan(info: FileInfo, canvas: Canvas) -> list[Text]:
    """What `gae compute` would do, with the error and the hint that it would end in."""
    plan = info.plan
    if plan is None:
        return []
    glyphs = canvas.glyphs
    if plan.action == "refuse":
        lead = Text(f"{glyphs.failed} gae compute would ask; exit code {plan.exit_code}", BAD)
        message = message_lines("error", BAD, plan.error or "", plan.hint, canvas)
        folded = [piece for line in message for piece in _folded(line, canvas.width - 2)]
        return [lead, *(Text.assemble("  ", line) if line.plain else line for line in folded)]
    if plan.action == "up to date":
        return [Text(f"{glyphs.up_to_date} gae compute would find the file up to date", GOOD)]
    lead = Text.assemble((f"{glyphs.written} gae compute would write ", GOOD), (_names(plan, canvas), STRONG))
    items = [lead, *_settings_of(plan, canvas)]
    if plan.method:
        items.append(Text(canvas.clean(plan.method)))
    items += _bootstraps(plan)
    return flow(items, canvas.width, glyphs.separator)


def _folded(line: Text, width: int) -> list[Text]:
    """A line of a message, its indent kept where it is broken."""
    indent = len(line.plain) - len(line.plain.lstrip())
    _, rest = line.divide([indent]) if indent else (Text(), line)
    return hanging(Text(" " * indent), paragraph(rest, width - indent)) if rest.plain else [Text()]


def _names(plan: ComputePlan, canvas: Canvas) -> str:
    return " and ".join(canvas.clean(name) for name in plan.new_columns)


def _settings_of(plan: ComputePlan, canvas: Canvas) -> list[Text]:
    return _stored_settings(plan.settings, canvas)


def _bootstraps(plan: ComputePlan) -> Sequence[Text]:
    if compares_scores(plan.settings.get("estimator")):
        return []
    return [
        Text(f"{plural(count, 'end')} bootstrapped {words}", style)
        for count, words, style in bootstraps(plan.bootstrapped)
    ]
