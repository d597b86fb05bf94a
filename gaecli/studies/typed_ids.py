"""Ids as people type them: a moment or a number has several spellings, and all of them mean it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache

_CLOCK = r"(?P<hours>\d{1,2}):(?P<minutes>\d\d)(?::(?P<seconds>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?"
_MOMENT = re.compile(rf"(?P<date>\d{{4}}-\d\d-\d\d)(?:[T ]{_CLOCK}\s*(?P<zone>Z|[+-]\d\d:?\d\d)?)?")
_SPAN = re.compile(rf"(?:(?P<days>-?\d+) days?,? )?{_CLOCK}")
_SECOND = 10**9
_DAY = 24 * 60 * 60 * _SECOND
#: Digits of a second that are written, and of a number.
_FRACTIONS = (0, 3, 6, 9)
_MOST_DECIMALS = 38


@lru_cache(maxsize=8)
def spellings(text: str) -> frozenset[str]:
    """The text, and all other ways in which a table may write the moment, the span or the number that it is."""
    found = {text}
    if moment := _MOMENT.fullmatch(text):
        found.update(_of_moment(moment))
    elif span := _SPAN.fullmatch(text):
        found.update(_of_span(int(span["days"] or 0), _nanoseconds(span)))
    else:
        found.update(_of_number(text))
    return frozenset(found)


def _nanoseconds(match: re.Match[str]) -> int:
    hours, minutes, seconds = (int(match[name] or 0) for name in ("hours", "minutes", "seconds"))
    return (hours * 3600 + minutes * 60 + seconds) * _SECOND + int((match["fraction"] or "").ljust(9, "0"))


def _of_moment(match: re.Match[str]) -> Iterator[str]:
    """Of a moment with a zone, in UTC, as ids are listed."""
    nanoseconds, zone = _nanoseconds(match), match["zone"]
    if zone not in (None, "Z"):
        digits = zone[1:].replace(":", "")
        offset = (int(digits[:2]) * 60 + int(digits[2:])) * 60 * _SECOND
        nanoseconds += offset if zone[0] == "-" else -offset
    days, rest = divmod(nanoseconds, _DAY)
    try:
        day = date.fromisoformat(match["date"]) + timedelta(days=days)
    except (ValueError, OverflowError):
        return
    if rest == 0 and zone is None:
        yield str(day)
    for clock in _clocks(rest):
        yield from (f"{day} {clock}{end}" for end in (("",) if zone is None else ("+00:00", "Z")))


def _of_span(days: int, nanoseconds: int) -> Iterator[str]:
    """Of a time of the day too."""
    named = f"{days} day{'' if abs(days) == 1 else 's'}"
    for clock in _clocks(nanoseconds):
        short = clock.removeprefix("0")
        yield from (f"{days} days {clock}", f"{named}, {short}")
        if days == 0:
            yield from (clock, short)


def _clocks(nanoseconds: int) -> Iterator[str]:
    seconds, fraction = divmod(nanoseconds, _SECOND)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    digits = f"{fraction:09}"
    for count in _FRACTIONS:
        if not digits[count:].strip("0"):
            yield f"{clock}.{digits[:count]}" if count else clock


def _of_number(text: str) -> Iterator[str]:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return
    if not number.is_finite() or abs(number.adjusted()) > _MOST_DECIMALS:
        return
    if number == number.to_integral_value():
        yield str(int(number))
    least = max(-int(number.normalize().as_tuple().exponent), 0)
    yield from (f"{number:.{count}f}" for count in range(max(least, 1), _MOST_DECIMALS + 1))
