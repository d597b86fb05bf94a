"""Cells that are more than one number or text, as labels: equal where they are."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from gaecli.array_types import Array, IndexArray

#: A longer text gives way to its beginning and a digest: prompts are long, and there may be a million of them.
_LONGEST_LABEL = 240


def codes_of_runs(items: Array, lengths: IndexArray) -> IndexArray:
    """[n] a number for each run of so many items, the same for runs that have the same bytes."""
    content, width = np.ascontiguousarray(items).tobytes(), items.dtype.itemsize
    stops = (np.cumsum(lengths) * width).tolist()
    known: dict[bytes, int] = {}
    starts = [0, *stops[:-1]]
    return np.array(
        [
            known.setdefault(content[start:stop], len(known))
            for start, stop in zip(starts, stops, strict=True)
        ],
        np.int64,
    )


def label_of(cell: Any) -> str:
    """The cell as JSON. Tables have all fields in all rows: one that is null is one that is not there."""
    text = json.dumps(_plain(cell), ensure_ascii=False, sort_keys=True, default=_text_of)
    if len(text) <= _LONGEST_LABEL:
        return text
    return f"{text[:_LONGEST_LABEL]}… {hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"


def _plain(cell: Any) -> Any:
    """Of what Arrow and JSON make: dicts, lists, and the pairs of a map."""
    kind = type(cell)
    if kind is dict:
        return {name: _plain(item) for name, item in cell.items() if item is not None}
    if kind is list or kind is tuple:
        return [_plain(item) for item in cell]
    return cell


def _text_of(item: Any) -> str:
    """Of what JSON has no word for: images, dates, decimals."""
    if isinstance(item, bytes):
        return f"{len(item)} bytes {hashlib.sha256(item).hexdigest()}"
    return repr(item)
