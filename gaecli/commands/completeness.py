"""Whether all files of a stream have their columns from one and the same run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from gaecli.datasets.base import NewColumns
from gaecli.errors import GaeError
from gaecli.formats.base import RolloutFile
from gaecli.formats.stored import own_columns, own_entries
from gaecli.sources.inputs import StreamPlan
from gaecli.summary import WarningNote
from gaecli.writing.provenance import digest_of

_HINT = "a run was interrupted, or somebody else wrote some of them: `gae compute` with your settings does the others"


def partly_written(plan: StreamPlan, files: Sequence[RolloutFile]) -> list[WarningNote]:
    """What a run leaves that is killed while its files take their places, one after the other."""
    files = _together(plan, files)
    names = list(dict.fromkeys(name for file in files for name in own_columns(file.provenance)))
    if not names:
        return []
    listed = ", ".join(f"`{name}`" for name in names)
    having = sum(set(own_columns(file.provenance)) == set(names) for file in files)
    if having < len(files):
        message = f"{having:,} of the {len(files):,} files have {listed}, the others have not"
        return [WarningNote("partly-written", message, _place(plan), len(files) - having, _HINT)]
    (_, same), *others = Counter(map(_settings, files)).most_common()
    if others:
        message = f"{listed} of {len(files) - same:,} of the {len(files):,} files come from other settings"
        return [WarningNote("partly-written", message, _place(plan), len(files) - same, _HINT)]
    return _unlisted(plan, files, names, listed)


def _together(plan: StreamPlan, files: Sequence[RolloutFile]) -> Sequence[RolloutFile]:
    """With those of other streams that are written all or none with these."""
    data_set = plan.data_set
    if data_set is None or plan.is_part:
        return files
    opened = {path.absolute(): file for path, file in zip(plan.paths, files, strict=True)}
    try:
        return [opened.get(path.absolute()) or data_set.open(path) for path in plan.together]
    except GaeError:
        return files


def _settings(file: RolloutFile) -> str:
    return json.dumps((file.provenance or {}).get("settings"), sort_keys=True)


def _unlisted(
    plan: StreamPlan, files: Sequence[RolloutFile], names: Sequence[str], listed: str
) -> list[WarningNote]:
    data_set = plan.data_set
    if data_set is None or plan.is_part:
        return []
    try:
        columns = {name: files[0].find(name) for name in names}
        types = {name: None if column is None else column.type_name for name, column in columns.items()}
        paths = {path.absolute(): path for path in data_set.paths}
        entries = {file.path: (own_entries(file.provenance) or [{}])[0] for file in files}
        digests = {paths[path.absolute()]: digest_of(entry) for path, entry in entries.items()}
        new = NewColumns(types, list(digests), digests, _items(types))
        changes = data_set.closing(lambda mark: (data_set.root / mark).read_bytes(), new)
    except (GaeError, OSError):
        return []
    return [
        WarningNote(
            "partly-written",
            f"all files have {listed}, but `{path}` does not say so",
            _place(plan),
            1,
            _HINT,
        )
        for path in changes
    ]


def _items(types: Mapping[str, str | None]) -> dict[str, str]:
    """What columns hold that hold no numbers, alone or in lists."""
    return {name: kind for name in types for kind in ("bool", "string") if kind in (types[name] or "")}


def _place(plan: StreamPlan) -> str:
    return str(plan.data_set.root if plan.data_set is not None else plan.paths[0])
