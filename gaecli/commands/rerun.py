"""The same run again: what an earlier one left, where it is all that this one would write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaecli.errors import GaeError
from gaecli.formats.base import RolloutFile
from gaecli.formats.registry import open_file
from gaecli.pipeline.opening import OpenStream
from gaecli.settings import Settings
from gaecli.storage.places import Places
from gaecli.writing.provenance import is_up_to_date, payload_of, source_of
from gaecli.writing.targets import Target


def earlier_entries(
    stream: OpenStream, targets: Mapping[Path, Target], places: Places, settings: Settings, inputs: str
) -> list[dict[str, Any]] | None:
    """What the earlier run stored, per file, if all results of the stream are just what this run would write.

    `inputs` is the fingerprint of all files the numbers depend on, as in the provenance. A shared sidecar
    tells of all its files together: its entry stands at the first of them, and an empty one at the others.
    """
    if places.options.force:
        return None
    entries: list[dict[str, Any]] = []
    for opened in stream.files:
        target = targets[opened.file.path]
        is_shared = sum(targets[path] == target for path in stream.plan.paths) > 1
        entry = _earlier_entry(opened.file, target, is_shared, places, settings, inputs)
        if entry is None:
            return None
        entries.append({} if is_shared and entries else entry)
    return entries


def may_be_done(stream: OpenStream, targets: Mapping[Path, Target], places: Places) -> bool:
    """Whether all results of a stream may be there from an earlier run; told without a look at what is in them."""
    if places.options.force:
        return False
    for opened in stream.files:
        target = targets[opened.file.path]
        if target.in_place:
            if opened.file.provenance is None:
                return False
            continue
        places.results.look_up(target.path)
        if places.options.overwrite or not target.path.exists():
            return False
    return True


def _earlier_entry(
    file: RolloutFile, target: Target, is_shared: bool, places: Places, settings: Settings, inputs: str
) -> dict[str, Any] | None:
    """`is_shared`: by several files, so that what it was made of is told by `inputs` alone."""
    source = None
    if not target.in_place:
        if places.options.overwrite:
            return None
        places.results.look_up(target.path)
        if not target.path.exists():
            return None
        if not is_shared:
            source = source_of(file, in_place=False)
        try:
            file = open_file(target.path)
        except GaeError:
            return None
    if file.provenance is None:
        return None
    return is_up_to_date(
        file.provenance,
        settings,
        payload=payload_of(file),
        source=source,
        inputs=inputs,
        names=list(file.columns),
    )
