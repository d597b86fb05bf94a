"""Rules about files among each other, and about the data set that they belong to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gaecli.checks.base import CheckRule, Context, Hits

#: Roles whose names say which convention a file follows.
_TELLING = (
    "reward",
    "value",
    "next_value",
    "terminated",
    "truncated",
    "done",
    "not_done",
    "not_truncated",
    "done_start",
    "mask",
)
#: `<root>/data/chunk-000/file-000.parquet` at most.
_LEVELS_BELOW_ROOT = 4


def mixed_conventions(contexts: Sequence[Context]) -> Hits | None:
    """Files of one command have other columns, layouts or kinds of flags."""
    if not contexts:
        return None
    first = contexts[0]
    others = [context for context in contexts[1:] if _convention(context) != _convention(first)]
    if not others:
        return None
    message = (
        f"`{first.path.name}` has {_described(first)}; `{others[0].path.name}` has {_described(others[0])}"
    )
    return Hits(len(others), message, file=str(others[0].path), unit="file")


def _convention(context: Context) -> dict[str, str]:
    names = {role: context.roles.names[role] for role in _TELLING if role in context.roles.names}
    return {**names, "layout": context.layout.name, "done at": context.flags.done_at}


def _described(context: Context) -> str:
    named = [
        f"{role.replace('_', ' ')} `{context.roles.names[role]}`"
        for role in _TELLING
        if role in context.roles.names
    ]
    flag = f"flags at the {context.flags.done_at} of an episode" if context.flags.any else "no flags"
    return ", ".join([f"layout {context.layout.name}", *named, flag])


def lerobot_features(context: Context) -> Hits | None:
    """Columns of a LeRobot data file and the features of its `meta/info.json` differ."""
    document = _lerobot_info(context.path)
    if document is None:
        return None
    features = document.get("features")
    if not isinstance(features, Mapping):
        return None
    wanted = {name for name, feature in features.items() if not _is_video(feature)}
    there = set(context.file.columns)
    missing, extra = sorted(wanted - there), sorted(there - wanted)
    if not missing and not extra:
        return None
    parts = [f"not in the file: {_listed(missing)}"] if missing else []
    parts += [f"not in `meta/info.json`: {_listed(extra)}"] if extra else []
    return Hits(len(missing) + len(extra), "; ".join(parts), file=str(context.path), unit="column")


def empty_first_row_group(context: Context) -> Hits | None:
    """The first row group of a file has no rows, and others have some."""
    rows = context.file.row_group_rows or ()
    if not rows or rows[0]:
        return None
    count = next((index for index, number in enumerate(rows) if number), len(rows))
    message = f"the first {count:,} of {len(rows):,} row groups have no rows"
    if count == 1:
        message = f"the first of {len(rows):,} row groups has no rows"
    return Hits(count, message, file=str(context.path), unit="row group")


def _lerobot_info(path: Path) -> dict[str, Any] | None:
    """The description of the LeRobot set that a data file belongs to."""
    for folder in list(path.absolute().parents)[:_LEVELS_BELOW_ROOT]:
        info = folder / "meta" / "info.json"
        if info.is_file() and path.absolute().is_relative_to(folder / "data"):
            try:
                document = json.loads(info.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                return None
            return document if isinstance(document, dict) else None
    return None


def _is_video(feature: object) -> bool:
    return isinstance(feature, Mapping) and feature.get("dtype") == "video"


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + more


RULES = (
    CheckRule(
        "GAE501",
        "mixed-conventions",
        "warning",
        "inputs",
        mixed_conventions,
        summary="files of one command follow different conventions",
        why="numbers normalised or compared over all of them mix start and end flags, other rewards or other "
        "values; readers of whole directories fail or fill with nulls",
        fix="run them apart, or name the columns with `--…-column`",
    ),
    CheckRule(
        "GAE502",
        "lerobot-features",
        "error",
        "file",
        lerobot_features,
        summary="a LeRobot data file and `meta/info.json` disagree about the columns",
        why="a column without its feature makes LeRobot refuse the whole set (`column names don't match`), a "
        "feature without its column reads as None",
        fix="run `gae compute` on the root of the set, which keeps both in step, or repair `meta/info.json`",
    ),
    CheckRule(
        "GAE504",
        "empty-first-row-group",
        "warning",
        "file",
        empty_first_row_group,
        summary="the first row group of a Parquet file has no rows",
        why="`datasets` takes the rows of the first row group for the size of its batches, and refuses the file "
        "(`BatchSize must be greater than 0`)",
        fix="write the file again without it; what `gae compute` writes has none",
    ),
)
