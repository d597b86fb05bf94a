"""Labels, and rewards out of success, in words."""

from __future__ import annotations

from rich.text import Text

from gaecli.label_summary import SuccessSummary
from gaecli.report.charts import format_number, format_setting
from gaecli.report.text import STRONG, Canvas, plural
from gaecli.summary import Summary


def label_items(summary: Summary, canvas: Canvas) -> list[Text]:
    """`top 30 %: return >= -0.1234 · 3,012 of 10,040 rows`"""
    told = summary.labels
    if told is None:
        return []
    thresholds = [group.threshold for group in told.groups if group.threshold is not None]
    shown = (
        [format_number(number) for number in (min(thresholds), max(thresholds))] if thresholds else ["none"]
    )
    rule = f"{told.number} {told.operator} {shown[0]}"
    if told.by is not None:
        whose = f"of each {canvas.clean(told.by)}, {plural(told.num_groups, 'group')}"
        rule = f"{whose}, {rule}" + (f" to {shown[-1]}" if shown[-1] != shown[0] else "")
    items = [
        Text.assemble((f"{told.words}: " if told.words else "", STRONG), (rule, STRONG)),
        Text(f"{told.positive:,} of {plural(told.labelled, 'row')}"),
    ]
    if told.forced is not None:
        others = "" if told.forced_count or not told.words else ", left out of the quantile"
        items.append(Text(f"{told.forced:,} forced{others}"))
    return items


def success_items(told: SuccessSummary | None, canvas: Canvas) -> list[Text]:
    """`recap: -1/Z a step, at the end 0 or -C/Z · C 50, Z 119, longest episode 70 · 12 of 20 episodes succeeded`"""
    if told is None:
        return []
    minus = canvas.glyphs.minus
    words = {
        "recap": f"{minus}1/Z a step, at the end 0 or {minus}C/Z",
        "steps": f"{minus}1 a step, at the end 0 or {minus}C",
        "sparse": "1 at the end of a success",
    }
    items = [Text.assemble((told.reward, STRONG), f": {words.get(told.reward, '')}")]
    if told.failure_cost is not None:
        items.append(Text(f"C {format_setting(told.failure_cost)}"))
    if told.scale is not None:
        items.append(Text(f"Z {format_setting(told.scale)}, longest episode {told.longest_episode:,}"))
    items.append(Text(f"{told.successes:,} of {plural(told.episodes, 'episode')} succeeded"))
    return items
