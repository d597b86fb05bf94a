"""What an earlier run stored in a file: JSON that anybody may have edited, or that was made to harm.

It is shown, compared and stored again, so it has to be JSON by the letter (no NaN, no number beyond
floats) and no deeper than what gaecli writes. What is not counts as not there: the columns are then
somebody else's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

#: Under which Parquet and Arrow files have it among their metadata.
PROVENANCE_KEY = b"gaecli"

#: Provenance is a document with lists of documents in it.
_MOST_LEVELS = 12
_MOST_BYTES = 16 << 20


def parse_document(text: str | bytes | None) -> dict[str, Any] | None:
    """The JSON object in `text`; None where there is none that can be used."""
    if text is None or len(text) > _MOST_BYTES:
        return None
    try:
        document = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError):  # a number of thousands of digits is a ValueError as well
        return None
    return document if isinstance(document, dict) and not _is_deeper(document, _MOST_LEVELS) else None


def own_columns(provenance: dict[str, Any] | None) -> tuple[str, ...]:
    """All columns of a file that gaecli wrote."""
    names = [name for entry in own_entries(provenance) for name in columns_of(entry)]
    return tuple(dict.fromkeys(names))


def own_entries(provenance: dict[str, Any] | None) -> list[dict[str, Any]]:
    """What each run that has columns in the file stored, the latest first."""
    if provenance is None:
        return []
    earlier = provenance.get("earlier")
    more = [entry for entry in earlier if isinstance(entry, dict)] if isinstance(earlier, list) else []
    return [provenance, *more]


def columns_of(entry: Mapping[str, Any]) -> list[str]:
    """Anybody may have edited the document: what is no name is none."""
    names = entry.get("columns")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is beyond floats")
    return number


def _is_deeper(document: Any, levels: int) -> bool:
    level: list[Any] = [document]
    for _ in range(levels):
        inner: list[Any] = []
        for value in level:
            inner += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        level = [value for value in inner if isinstance(value, dict | list)]
        if not level:
            return False
    return True
