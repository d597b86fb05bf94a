"""Columns of dates and times, by what they hold: numbers that say which came first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from gaecli.array_types import Array
from gaecli.formats.base import Column

#: As ISO 8601 has it.
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?)\d{0,3}(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"
)
_FIRST_TEXTS = 64
_CLOCK = (
    r"(?:[T ,]+(?P<clock>\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,6})?)?)(?: ?(?P<half>[AP]M))?)?"
    r"(?: ?(?:GMT|UTC|[+-]\d{4}))?"
)
#: `30.11.2026`, `11/30/2026 9:05 PM`, `2026/11/30`, `Mon, 30 Nov 2026 09:05:01`, `Mon Nov 30 09:05:01 2026`.
_OTHERS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<first>\d{1,2})(?P<sign>[./-])(?P<second>\d{1,2})(?P=sign)(?P<year>\d{4})" + _CLOCK,
        r"(?P<year>\d{4})/(?P<month>\d{1,2})/(?P<day>\d{1,2})" + _CLOCK,
        r"(?:[a-z]{3,9},? )?(?P<day>\d{1,2})[ -](?P<name>[a-z]{3})[a-z]*[ ,-]+(?P<year>\d{4})" + _CLOCK,
        r"[a-z]{3} (?P<name>[a-z]{3}) +(?P<day>\d{1,2}) (?P<clock>\d\d:\d\d:\d\d) (?P<year>\d{4})",
    )
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
#: Each of these is read by itself, which more of them are not worth.
_MOST_OTHERS = 1 << 18


def moments_in(column: Column) -> Array | None:
    """Of each cell, null or not; None where some are no moments. Where a clock is put back they may be off."""
    if column.coded is not None:
        return column.values if column.values.dtype.kind == "i" else None
    if not column.categories:
        return None
    moments = _moments_of(column.categories)
    return None if moments is None else moments[column.values]


def _moments_of(texts: Sequence[object]) -> Array | None:
    """Whether they are such is told by the first ones: there may be as many as rows."""
    found = [_MOMENT.fullmatch(text) if isinstance(text, str) else None for text in texts[:_FIRST_TEXTS]]
    ends = {match.end(1) for match in found if match is not None}
    if None in found or not ends:
        return _written_otherwise(texts)
    written = [str(text) for text in texts]
    if len(ends) == 1 and len(set(map(len, written))) == 1:
        end = ends.pop()
        moments = [text[:end] for text in written]
    else:  # a fraction of 0 is left out by some
        moments = [match[1] for match in map(_MOMENT.fullmatch, written) if match is not None]
    if len(moments) < len(written):
        return None
    try:
        return np.array(moments, "datetime64[us]").astype(np.int64)
    except ValueError:
        return None


def _written_otherwise(texts: Sequence[object]) -> Array | None:
    """None where some are no dates, or where nothing says which number is the month."""
    if len(texts) > _MOST_OTHERS or not isinstance(texts[0], str):
        return None
    way = next((way for way in _OTHERS if way.fullmatch(texts[0])), None)
    if way is None:
        return None
    found = [way.fullmatch(text) if isinstance(text, str) else None for text in texts]
    parts = [match.groupdict() for match in found if match is not None]
    if len(parts) < len(texts):
        return None
    day_is_first = _day_is_first(parts)
    if day_is_first is None:
        return None
    try:
        moments = np.array([_iso(part, day_is_first=day_is_first) for part in parts], "datetime64[us]")
    except ValueError:
        return None
    return moments.astype(np.int64)


def _day_is_first(parts: Sequence[Mapping[str, str | None]]) -> bool | None:
    """Dots stand behind the day; else a number above 12 tells, and all dates have to be written as one."""
    if "first" not in parts[0] or parts[0]["sign"] == ".":
        return True
    firsts, seconds = ({int(part[side] or 0) for part in parts} for side in ("first", "second"))
    if max(firsts) > 12 or max(seconds) > 12:
        return max(firsts) > 12
    return True if len(firsts) == len(seconds) == 1 else None


def _iso(part: Mapping[str, str | None], *, day_is_first: bool) -> str:
    day, month = part.get("day"), part.get("month")
    if (first := part.get("first")) is not None:
        day, month = (first, part["second"]) if day_is_first else (part["second"], first)
    if (name := part.get("name")) is not None:
        month = str(_MONTHS.index(name.lower()) + 1)
    clock, half = (part.get("clock") or "0:00").replace(",", "."), (part.get("half") or "").lower()
    hour, _, rest = clock.partition(":")
    if half:
        hour = str(int(hour) % 12 + (12 if half == "pm" else 0))
    return f"{part['year']}-{int(month or 0):02}-{int(day or 0):02}T{int(hour):02}:{rest}"
