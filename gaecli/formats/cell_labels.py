"""Cells that are more than one number or text, as labels: equal where they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

#: A longer text gives way to its beginning and a digest: prompts are long, and there may be a million of them.
_LONGEST_LABEL = 240


def label_of(cell: Any) -> str:
    """The cell as JSON. Tables have all fields in all rows: one that is null is one that is not there."""
    text = json.dumps(_plain(cell), ensure_ascii=False, sort_keys=True, default=_text_of)
    if len(text) <= _LONGEST_LABEL:
        return text
    return f"{text[:_LONGEST_LABEL]}… {hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"


def _plain(cell: Any) -> Any:
    if isinstance(cell, Mapping):
        return {name: _plain(item) for name, item in cell.items() if item is not None}
    if isinstance(cell, list | tuple):
        return [_plain(item) for item in cell]
    return cell


def _text_of(item: Any) -> str:
    """Of what JSON has no word for: images, dates, decimals."""
    if isinstance(item, bytes):
        return f"{len(item)} bytes {hashlib.sha256(item).hexdigest()}"
    return repr(item)
