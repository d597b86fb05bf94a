"""Features of Hugging Face `datasets`, for new columns: as JSON has them, and as lines of YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from gaecli.datasets.base import NewColumns

_FIXED = re.compile(r"fixed_size_list<.*>\[(?P<length>\d+)\]", re.DOTALL)


def with_features(features: Mapping[str, Any], new: NewColumns) -> dict[str, Any]:
    """The features with those of the new columns, less those that are gone; one that is there keeps its place.

    A list was a `Sequence` up to `datasets` 3 and is a `List` since 4, which reads both.
    """
    is_old = '"_type": "Sequence"' in json.dumps(features)
    list_type = "Sequence" if is_old else "List"
    kept = {name: feature for name, feature in features.items() if name not in new.gone}
    return {**kept, **{name: _feature(name, new, list_type) for name in new.types}}


def yaml_feature(name: str, new: NewColumns, list_key: str) -> dict[str, str]:
    """Keys and values of an item of a list of features, besides its name."""
    found = _feature(name, new, "List")
    if found["_type"] == "Value":
        return {"dtype": str(found["dtype"])}
    key = "large_list" if found["_type"] == "LargeList" else list_key
    length = {"length": str(found["length"])} if "length" in found else {}
    return {key: new.item(name), **length}


def _feature(name: str, new: NewColumns, list_type: str) -> dict[str, Any]:
    """Of a column of items, or of lists of them in the manner of the column that it stands beside."""
    item = {"dtype": new.item(name), "_type": "Value"}
    shape = new.types[name] or ""
    if shape.startswith("large_list"):
        return {"feature": item, "_type": "LargeList"}
    if (fixed := _FIXED.fullmatch(shape)) is not None:
        return {"feature": item, "length": int(fixed["length"]), "_type": list_type}
    if shape.startswith("list"):
        return {"feature": item, "_type": list_type}
    return item
