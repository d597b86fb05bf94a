"""The page as one file: its data as JSON and 32-bit numbers, and everything else that it needs inside it.

Texts of files are hostile: none of them is markup here. They reach the page as JSON in which no `<` stands, and its
script shows them as text. A Content-Security-Policy allows the two scripts and the two style sheets by their
digests, and no request at all.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.array_types import Array
from gaecli.diagnosis import Checkup, Finding
from gaecli.report_page.content import (
    PlacedFinding,
    ReportContent,
    ReportCurves,
    ReportEpisode,
    ReportGroups,
    ReportScatter,
)
from gaecli.version import __version__

_UPLOT = "uPlot-1.6.32"
#: In this order in one script.
_SCRIPTS = ("data.js", "charts.js", "episodes.js", "figures.js", "page.js")
_MARK = '<meta name="generator" content="gaecli'
_BYTES_BEFORE_MARK = 4096
#: Names of columns, ids and prompts may be books.
_LONGEST, _LONGEST_LABEL = 2_000, 120
_MOST_NAMED = 20


def is_ours(path: Path) -> bool:
    """A page that gaecli made."""
    with path.open("rb") as file:
        return _MARK.encode() in file.read(_BYTES_BEFORE_MARK)


def page(content: ReportContent) -> bytes:
    """Equal content makes equal bytes."""
    numbers = _Numbers()
    document = json.dumps(_plain(_document(content, numbers)), allow_nan=False, separators=(",", ":"))
    scripts = [_asset(f"{_UPLOT}.iife.min.js"), _script()]
    styles = [_asset(f"{_UPLOT}.min.css"), _asset("page.css")]
    parts = {
        "mark": f'{_MARK} {__version__}">',
        "policy": _policy(scripts, styles),
        "title": html.escape(
            _shown(f"{Path(content.source).name or content.source}: gae report", _LONGEST_LABEL)
        ),
        "styles": "\n".join(f"<style>{style}</style>" for style in styles),
        "licence": html.escape(_asset(f"{_UPLOT}.LICENSE.txt")),
        # `<` is all that could end the element, or begin a comment in it.
        "data": document.replace("<", "\\u003c"),
        "numbers": numbers.text(),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    made = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset("page.html"))
    return made.encode()


def _asset(name: str) -> str:
    return (files("gaecli.report_page") / "assets" / name).read_text(encoding="utf-8")


def _script() -> str:
    body = "\n".join(_asset(name) for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}\n}})();\n'


def _policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    def digests(texts: Sequence[str]) -> str:
        found = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        return " ".join(f"'sha256-{digest}'" for digest in found)

    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {digests(scripts)}",
            f"style-src {digests(styles)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


class _Numbers:
    """All arrays of the page, one after the other, four bytes a number."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._count = 0

    def floats(self, numbers: Array) -> list[int]:
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite
            return self._add(numbers.astype("<f4"))

    def counts(self, numbers: Array) -> list[int]:
        return self._add(numbers.astype("<u4"))

    def text(self) -> str:
        return base64.b64encode(b"".join(self._parts)).decode()

    def _add(self, numbers: Array) -> list[int]:
        """[place, how many]"""
        self._parts.append(numbers.tobytes())
        self._count += len(numbers)
        return [self._count - len(numbers), len(numbers)]


def _document(content: ReportContent, numbers: _Numbers) -> dict[str, Any]:
    names = content.files
    return {
        "version": __version__,
        "source": content.source,
        "format": content.format,
        "layout": content.layout,
        "numFiles": len(names),
        "files": names[:_MOST_NAMED],
        "numRows": content.num_rows,
        "numBytes": content.num_bytes,
        "roles": dict(content.roles),
        "provenance": [_short(entry) for entry in content.provenance],
        "command": content.command,
        "explain": content.explain,
        "byItem": content.is_by_item,
        "estimator": content.settings.get("estimator"),
        "settings": {
            name: value for name, value in content.settings.items() if value not in (None, [], {}, ())
        },
        "method": content.method,
        "remark": content.remark,
        "hasValues": content.has_values,
        "counts": {
            name: getattr(content.counts, name)
            for name in ("steps", "episodes", "terminated", "truncated", "open")
        },
        "bootstrapped": {
            "next value": content.bootstrapped.next_value,
            "zero": content.bootstrapped.zero,
            "current": content.bootstrapped.current,
        },
        "statistics": {name: _fields(one) for name, one in content.statistics.items()},
        "explainedVariance": content.explained_variance,
        "warnings": [
            {"code": note.code, "message": note.message, "hint": note.hint} for note in content.warnings
        ],
        "checks": _checks(content.checkup, content.placed),
        "scatter": None if content.scatter is None else _scatter(content.scatter, numbers),
        "stored": None if content.stored is None else _fields(content.stored),
        "episodes": [_episode(one, numbers) for one in content.episodes],
        "numEpisodes": content.num_episodes,
        "howChosen": content.how_chosen,
        "numPoints": content.num_points,
        "groups": None if content.groups is None else _groups(content.groups),
    }


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _short(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An earlier run, without what was kept of its numbers."""
    return {
        name: value
        for name, value in entry.items()
        if name not in ("earlier", "report", "digests", "payload")
    }


def _checks(checkup: Checkup, placed: Sequence[PlacedFinding]) -> dict[str, Any]:
    places = {one.finding: one for one in placed}
    return {
        "numRules": len(checkup.codes),
        "findings": [_finding(one, places.get(index)) for index, one in enumerate(checkup.findings)],
        "failures": [{"file": failure.input, "message": failure.error} for failure in checkup.failures],
    }


def _finding(finding: Finding, place: PlacedFinding | None) -> dict[str, Any]:
    return {
        "code": finding.rule.code,
        "severity": finding.rule.severity,
        "name": finding.rule.name,
        "why": finding.rule.why,
        "message": finding.message,
        "count": finding.count,
        "unit": finding.unit,
        "file": finding.file,
        "row": finding.row,
        "place": finding.place,
        "fix": finding.fix or finding.rule.fix,
        "episode": None if place is None else place.episode,
        "position": None if place is None else place.position,
    }


def _scatter(scatter: ReportScatter, numbers: _Numbers) -> dict[str, Any]:
    order = np.argsort(scatter.values, kind="stable")
    return {
        "values": numbers.floats(scatter.values[order]),
        "returns": numbers.floats(scatter.returns[order]),
        "rows": numbers.counts(scatter.rows[order]),
        "numSteps": scatter.num_steps,
    }


def _episode(episode: ReportEpisode, numbers: _Numbers) -> dict[str, Any]:
    return {
        "number": episode.number,
        "key": dict(episode.key),
        "file": episode.file,
        "row": episode.row,
        "steps": episode.num_steps,
        "positions": episode.num_positions,
        "reward": episode.total_reward,
        "value": episode.mean_value,
        "advantage": episode.largest_advantage,
        "error": episode.value_error,
        "delta": episode.largest_delta,
        "end": episode.end,
        "bootstrap": episode.bootstrap,
        "bootstrapValue": episode.bootstrap_value,
        "strangeness": episode.strangeness,
        "strangest": episode.strangest,
        "measure": episode.measure,
        "median": episode.median,
        "chosenAs": list(episode.chosen_as),
        "group": episode.group,
        "curves": _curves(episode.curves, episode.num_positions, numbers),
    }


def _curves(curves: ReportCurves, num_positions: int, numbers: _Numbers) -> dict[str, Any]:
    """Steps that are all there, and rows that follow one another, need no numbers of their own."""
    first = int(curves.rows.min(initial=0 if not len(curves.rows) else int(curves.rows[0])))
    stride = _stride(curves.steps, curves.rows)
    item_stride = None if curves.items is None else _stride(curves.steps, curves.items)
    return {
        "count": len(curves.steps),
        "steps": None if len(curves.steps) == num_positions else numbers.counts(curves.steps),
        "firstRow": int(curves.rows[0]) - (stride or 0) * int(curves.steps[0])
        if stride is not None
        else first,
        "rowStride": stride,
        "rows": None if stride is not None else numbers.counts(curves.rows - first),
        "firstItem": None if curves.items is None else int(curves.items[0]),
        "items": None if curves.items is None or item_stride == 1 else numbers.counts(curves.items),
        "series": {name: numbers.floats(series) for name, series in curves.series.items()},
        "masked": [list(run) for run in curves.masked],
    }


def _stride(steps: Array, rows: Array) -> int | None:
    """By how much `rows` grow with each step, if that is the same everywhere."""
    if len(rows) < 2:
        return 0
    stride = int((rows[-1] - rows[0]) // (steps[-1] - steps[0]))
    return stride if np.array_equal(rows, rows[0] + stride * (steps - steps[0])) else None


def _groups(groups: ReportGroups) -> dict[str, Any]:
    return {
        "columns": list(groups.columns),
        "numGroups": groups.num_groups,
        "numFlat": groups.num_flat,
        "numAlone": groups.num_alone,
        "howChosen": groups.how_chosen,
        "groups": [
            {**_fields(group), "label": _shown(group.label, _LONGEST_LABEL)} for group in groups.groups
        ],
    }


def _plain(value: Any) -> Any:
    """What JSON holds: texts that can be shown, numbers that are some."""
    if isinstance(value, Mapping):
        return {_shown(str(name), _LONGEST_LABEL): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | int):
        return value if not isinstance(value, int) or abs(value) < 1 << 53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _shown(str(value), _LONGEST)


def _shown(text: str, most: int) -> str:
    """Cut, and with what cannot be seen, or turns what follows around, as an escape."""
    if len(text) > most:
        text = f"{text[: most - 1]}…"
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in _UNSEEN else f"\\u{ord(char):04x}"
        for char in text
    )


#: Controls, what formats (it reverses the direction of text), surrogates, separators of lines and paragraphs.
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
